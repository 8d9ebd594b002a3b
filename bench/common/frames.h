// SPDX-License-Identifier: Apache-2.0
// WebSocket frames as the benchmarks need them: building one binary frame of a given payload size
// and counting whole frames in a received byte stream. Not a protocol implementation: control
// frames are skipped over, nothing is unmasked.
// Thread: any. Owner: value types. Limits: payloads to 2^32 - 1.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace tidegate::bench {

enum class Mask : uint8_t { kServer, kClient };  // only a client masks

inline size_t frame_bytes(size_t payload, Mask mask) {
  const size_t length = payload < 126 ? 2 : payload < 65536 ? 4 : 10;
  return length + (mask == Mask::kClient ? 4 : 0) + payload;
}

// Appends one binary frame.
inline void append_frame(std::vector<uint8_t>& out, const uint8_t* payload, size_t size,
                         Mask mask) {
  const uint8_t bit = mask == Mask::kClient ? 0x80 : 0;
  out.push_back(0x82);
  if (size < 126) {
    out.push_back(static_cast<uint8_t>(bit | size));
  } else {
    const unsigned bytes = size < 65536 ? 2 : 8;
    out.push_back(static_cast<uint8_t>(bit | (bytes == 2 ? 126 : 127)));
    for (unsigned i = bytes; i-- > 0;)
      out.push_back(static_cast<uint8_t>(uint64_t{size} >> (8 * i)));
  }
  constexpr uint8_t kKey[4] = {0x37, 0xfa, 0x21, 0x3d};  // a fixed key: nothing here is secret
  if (mask == Mask::kClient) out.insert(out.end(), kKey, kKey + 4);
  for (size_t i = 0; i < size; ++i)
    out.push_back(mask == Mask::kClient ? payload[i] ^ kKey[i & 3] : payload[i]);
}

// Byte i of every benchmark payload; a client can so check an echo.
inline uint8_t pattern(size_t i) { return static_cast<uint8_t>(i * 7 + 1); }

inline std::vector<uint8_t> pattern_payload(size_t size) {
  std::vector<uint8_t> out(size);
  for (size_t i = 0; i < size; ++i) out[i] = pattern(i);
  return out;
}

// Counts data frames of a server's byte stream; fed with pieces of any size.
class FrameCounter {
 public:
  // Number of data frames completed by these bytes.
  unsigned feed(const uint8_t* p, size_t n) {
    unsigned frames = 0;
    while (n > 0) {
      if (left_ > 0) {
        const size_t k = left_ < n ? left_ : n;
        left_ -= static_cast<uint32_t>(k);
        p += k;
        n -= k;
        if (left_ == 0) frames += finish();
        continue;
      }
      head_[have_++] = *p++;
      --n;
      if (have_ < 2) continue;
      const unsigned code = head_[1] & 0x7f;
      const unsigned need = code < 126 ? 2 : code == 126 ? 4 : 10;
      if (have_ < need) continue;
      uint64_t size = code;
      if (need > 2) {
        size = 0;
        for (unsigned i = 2; i < need; ++i) size = size << 8 | head_[i];
      }
      have_ = 0;
      left_ = static_cast<uint32_t>(size);
      payload_ += size;
      if (left_ == 0) frames += finish();
    }
    return frames;
  }
  uint64_t take_payload_bytes() {
    const uint64_t n = payload_;
    payload_ = 0;
    return n;
  }
  bool saw_close() const { return (head_[0] & 0x0f) == 8; }

 private:
  // A message counts with its last frame; control frames (bit 3 of the opcode) do not.
  unsigned finish() const { return (head_[0] & 0x80) && !(head_[0] & 0x08) ? 1 : 0; }

  uint64_t payload_ = 0;  // payload bytes announced since take_payload_bytes()
  uint32_t left_ = 0;     // payload bytes still to come
  uint8_t have_ = 0;      // header bytes in head_
  uint8_t head_[10] = {};
};

}  // namespace tidegate::bench
