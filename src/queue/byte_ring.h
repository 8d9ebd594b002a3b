// SPDX-License-Identifier: Apache-2.0
// Single-producer single-consumer ring of variable-length records. The producer claims, fills and
// commits records and makes them visible in batches with publish(); the consumer reads in place and
// gives the room back in batches with release(). Each side touches the other's cache line only when
// its cached copy says full or empty.
// A record is {u32 size, u16 type, u16 0} and its bytes, 8-byte aligned and never wrapped: a record
// of type 0 fills the end of the ring where the next one does not fit.
// Thread: one producer, one consumer. Owner: mailbox::Fabric. Limits: capacity, a power of two; a
// record is at most a quarter of it.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <new>

#include "base/assert.h"
#include "base/bytes.h"

namespace tidegate::queue {

struct Record {
  uint16_t type = 0;
  base::Bytes bytes;
};

class ByteRing {
 public:
  static constexpr uint16_t kPaddingType = 0;

  explicit ByteRing(uint32_t capacity);
  ~ByteRing();
  ByteRing(const ByteRing&) = delete;
  ByteRing& operator=(const ByteRing&) = delete;

  // --- producer ---
  // Room for a record; nullptr when the ring is full. Fill it, then commit().
  uint8_t* claim(uint16_t type, uint32_t size) {
    const uint32_t need = kHeaderBytes + aligned(size);
    TG_ASSERT(type != kPaddingType && need <= capacity_ / 4);
    uint32_t at = static_cast<uint32_t>(producer_.tail) & mask_;
    const uint32_t to_end = capacity_ - at;
    const uint32_t total = need <= to_end ? need : to_end + need;
    if (producer_.tail + total - producer_.head_seen > capacity_) {
      producer_.head_seen = head_.load(std::memory_order_acquire);  // pairs with release()
      if (producer_.tail + total - producer_.head_seen > capacity_) return nullptr;
    }
    if (need > to_end) {
      write_header(at, to_end - kHeaderBytes, kPaddingType);
      producer_.tail += to_end;
      at = 0;
    }
    write_header(at, size, type);
    producer_.claimed = need;
    return data_ + at + kHeaderBytes;
  }
  void commit() {
    producer_.tail += producer_.claimed;
    producer_.claimed = 0;
  }
  // Makes what was committed visible to the consumer.
  void publish() { tail_.store(producer_.tail, std::memory_order_release); }  // pairs with peek()

  // --- consumer ---
  // The oldest record, in place; false when there is none. Valid until release().
  bool peek(Record* record) {
    for (;;) {
      if (consumer_.head == consumer_.tail_seen) {
        consumer_.tail_seen = tail_.load(std::memory_order_acquire);  // pairs with publish()
        if (consumer_.head == consumer_.tail_seen) return false;
      }
      const uint32_t at = static_cast<uint32_t>(consumer_.head) & mask_;
      const uint64_t header = base::load_le<uint64_t>(data_ + at);
      const uint32_t size = static_cast<uint32_t>(header);
      const uint16_t type = static_cast<uint16_t>(header >> 32);
      if (type == kPaddingType) {
        consumer_.head += kHeaderBytes + size;
        continue;
      }
      record->type = type;
      record->bytes = {data_ + at + kHeaderBytes, size};
      consumer_.step = kHeaderBytes + aligned(size);
      return true;
    }
  }
  // Steps over the record that peek() gave.
  void pop() { consumer_.head += consumer_.step; }
  // Gives the room of popped records back.
  void release() { head_.store(consumer_.head, std::memory_order_release); }  // pairs with claim()

  uint32_t capacity() const { return capacity_; }

 private:
  static constexpr uint32_t kHeaderBytes = 8;
  static uint32_t aligned(uint32_t size) { return (size + 7) & ~7u; }
  void write_header(uint32_t at, uint32_t size, uint16_t type) {
    base::store_le<uint64_t>(data_ + at, uint64_t{size} | uint64_t{type} << 32);
  }

  struct alignas(64) Producer {
    uint64_t tail = 0;       // next byte to write, committed
    uint64_t head_seen = 0;  // consumer's position as last read
    uint32_t claimed = 0;
  };
  struct alignas(64) Consumer {
    uint64_t head = 0;
    uint64_t tail_seen = 0;
    uint32_t step = 0;
  };

  uint8_t* data_;
  uint32_t capacity_;
  uint32_t mask_;
  Producer producer_;
  Consumer consumer_;
  alignas(64) std::atomic<uint64_t> tail_{0};  // written by the producer
  alignas(64) std::atomic<uint64_t> head_{0};  // written by the consumer
};

inline ByteRing::ByteRing(uint32_t capacity) : capacity_(capacity), mask_(capacity - 1) {
  TG_ASSERT(capacity >= 4096 && (capacity & mask_) == 0);
  data_ = static_cast<uint8_t*>(::operator new(capacity, std::align_val_t{64}));
}
inline ByteRing::~ByteRing() { ::operator delete(data_, std::align_val_t{64}); }

}  // namespace tidegate::queue
