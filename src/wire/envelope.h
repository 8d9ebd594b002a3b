// SPDX-License-Identifier: Apache-2.0
// The 8-byte frame (magic, version, payload length, big-endian) and the NetworkMessage in it.
// FrameReader walks the frames of one WebSocket message; MessageWriter makes one whole frame in a
// single pass: header, envelope and payload, with room kept for the lengths.
// Thread: any. Owner: borrows. Limits: the buffer given.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "wire/limits.h"
#include "wire/message_types.h"
#include "wire/pb.h"

namespace tidegate::wire {

inline constexpr uint32_t kFrameHeaderBytes = 8;
inline constexpr uint16_t kFrameMagic = 0x4d4d;
inline constexpr uint16_t kFrameVersion = 1;

enum class FrameStatus : uint8_t {
  kFrame,
  kEnd,        // nothing left
  kMalformed,  // wrong magic, a length that does not fit, trailing bytes: ERROR 4000
  kVersion,    // another version: ERROR 4001
};

class FrameReader {
 public:
  explicit FrameReader(base::Bytes message) : rest_(message) {}
  FrameStatus next(base::Bytes* payload) {
    if (rest_.empty()) return FrameStatus::kEnd;
    if (rest_.size() < kFrameHeaderBytes || base::load_be16(rest_.data()) != kFrameMagic) {
      return FrameStatus::kMalformed;
    }
    if (base::load_be16(rest_.data() + 2) != kFrameVersion) return FrameStatus::kVersion;
    const uint32_t size = base::load_be32(rest_.data() + 4);
    if (size > rest_.size() - kFrameHeaderBytes) return FrameStatus::kMalformed;
    *payload = rest_.subspan(kFrameHeaderBytes, size);
    rest_ = rest_.subspan(kFrameHeaderBytes + size);
    return FrameStatus::kFrame;
  }

 private:
  base::Bytes rest_;
};

struct Envelope {
  uint32_t version = 0;
  uint64_t sequence = 0;
  int64_t timestamp = 0;
  std::string_view session_id;
  uint32_t type = 0;
  base::Bytes payload;
  bool requires_ack = false;
  uint32_t priority = 0;
  uint64_t ack = 0;
  uint32_t compression = 0;
  uint32_t raw_size = 0;
};

// False: not a NetworkMessage (ERROR 4002).
bool decode_envelope(base::Bytes bytes, Envelope* out);

// Whether text is UTF-8, as protobuf asks of its strings.
bool is_utf8(std::string_view text);

struct EnvelopeHead {
  MessageType type;
  int64_t timestamp = 0;  // Unix ms
  uint64_t sequence = 0;
  uint64_t ack = 0;  // cumulative, 0: left out
  bool requires_ack = false;
  std::string_view session_id;
  uint32_t compression = 0;  // of the payload, enum of protocol.md
  uint32_t raw_size = 0;     // of the payload before it was packed
};

// One frame written front to back into `out`. Not finished, or overflow(): nothing to send.
class MessageWriter {
 public:
  MessageWriter(base::MutableBytes out, const EnvelopeHead& head);
  // For the fields of the payload.
  PbWriter& payload() { return writer_; }
  // Payload bytes that the caller sends behind this frame's own bytes; counted in its lengths.
  void add_shared(uint32_t bytes) { shared_ += bytes; }
  // Closes the frame; returns its own bytes, 0 when they did not fit.
  uint32_t finish();

 private:
  static constexpr uint32_t kLengthRoom = 3;  // a payload of up to 2 MiB

  uint8_t* begin_;
  PbWriter writer_;
  size_t payload_length_at_ = 0;
  uint32_t shared_ = 0;
};

}  // namespace tidegate::wire
