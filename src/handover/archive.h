// SPDX-License-Identifier: Apache-2.0
// Records as they stand in a hand-over: type u16, reserved u16 = 0, bytes u32, then the fields of
// the record in a fixed order, little-endian. A record is described once, by its static function
// fields(archive, record), from which both directions follow.
//
// Two binaries of different age read each other: a record that ends early leaves the rest of its
// fields as they were, bytes behind the last field are passed over, and so are records of types not
// known here. What changes the meaning of a field needs a new kVersion (records.h).
//
// Nothing in the bytes is believed: every length is held against what is left.
//
// Thread: any. Owner: Writer appends to the caller's vector; what Reader gives is borrowed from the
// input. Limits: 1 GiB a record.
#pragma once

#include <cstdint>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/bytes.h"

namespace tidegate::handover {

enum class RecordType : uint16_t;  // records.h

inline constexpr size_t kRecordHead = 8;
inline constexpr uint32_t kRecordBytesMax = 1u << 30;

template <class T>
concept Number = std::is_integral_v<T> || std::is_floating_point_v<T> || std::is_enum_v<T>;

class Writer {
 public:
  explicit Writer(std::vector<uint8_t>& out) : out_(out) {}

  template <class Record>
  void add(const Record& record) {
    const size_t at = out_.size();
    out_.resize(at + kRecordHead);
    base::store_le(out_.data() + at, static_cast<uint16_t>(Record::kType));
    Record::fields(*this, record);
    base::store_le(out_.data() + at + 4, static_cast<uint32_t>(out_.size() - at - kRecordHead));
  }

  // For fields() only.
  template <class... Field>
  void operator()(const Field&... field) {
    (put(field), ...);
  }

 private:
  template <Number T>
  void put(const T& value) {
    const auto* p = reinterpret_cast<const uint8_t*>(&value);
    out_.insert(out_.end(), p, p + sizeof value);
  }
  void put(base::Bytes bytes) {
    put(static_cast<uint32_t>(bytes.size()));
    out_.insert(out_.end(), bytes.begin(), bytes.end());
  }
  void put(std::string_view text) { put(base::as_bytes(text)); }
  template <Number T, size_t kCount>
  void put(const T (&values)[kCount]) {
    for (const T& value : values) put(value);
  }
  template <Number T>
  void put(const std::vector<T>& values) {
    put(static_cast<uint32_t>(values.size()));
    for (const T& value : values) put(value);
  }

  std::vector<uint8_t>& out_;
};

class Reader {
 public:
  explicit Reader(base::Bytes in) : in_(in) {}

  // The next record; false at the end, or when what is left is none (then ok() is false).
  bool next();
  RecordType type() const { return type_; }
  bool ok() const { return ok_; }

  // The record that next() found. False: it is cut in the middle of a field.
  template <class Record>
  bool read(Record* record) {
    left_ = body_;
    bool whole = true;
    Fields fields{*this, whole};
    Record::fields(fields, *record);
    if (!whole) ok_ = false;
    return whole;
  }

 private:
  struct Fields {
    template <class... Field>
    void operator()(Field&... field) {
      (get(field), ...);
    }
    template <Number T>
    void get(T& value) {
      if (!whole || reader.left_.empty()) return;  // written before the field was there
      if (reader.left_.size() < sizeof value) {
        whole = false;
        return;
      }
      if constexpr (std::is_same_v<T, bool>) {
        value = reader.left_[0] != 0;
      } else {
        value = base::load_le<T>(reader.left_.data());
      }
      reader.left_ = reader.left_.subspan(sizeof value);
    }
    void get(base::Bytes& bytes) {
      if (!whole || reader.left_.empty()) return;
      uint32_t size = 0;
      get(size);
      if (!whole || size > reader.left_.size()) {
        whole = false;
        return;
      }
      bytes = reader.left_.first(size);
      reader.left_ = reader.left_.subspan(size);
    }
    void get(std::string_view& text) {
      base::Bytes bytes = base::as_bytes(text);
      get(bytes);
      text = base::as_text(bytes);
    }
    template <Number T, size_t kCount>
    void get(T (&values)[kCount]) {
      if (!whole || reader.left_.empty()) return;
      if (reader.left_.size() < sizeof values) {
        whole = false;
        return;
      }
      for (T& value : values) get(value);
    }
    template <Number T>
    void get(std::vector<T>& values) {
      if (!whole || reader.left_.empty()) return;
      uint32_t count = 0;
      get(count);
      if (!whole || count > reader.left_.size() / sizeof(T)) {
        whole = false;
        return;
      }
      values.resize(count);
      for (T& value : values) get(value);
    }
    Reader& reader;
    bool& whole;
  };

  base::Bytes in_;
  base::Bytes body_;
  base::Bytes left_;
  RecordType type_{};
  bool ok_ = true;
};

}  // namespace tidegate::handover
