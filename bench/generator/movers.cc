// SPDX-License-Identifier: Apache-2.0
#include "generator/movers.h"

#include <cmath>
#include <cstring>

#include "common/frames.h"

namespace tidegate::bench {
namespace {

using Out = std::vector<uint8_t>;

void put_varint(Out& out, uint64_t v) {
  for (; v >= 0x80; v >>= 7) out.push_back(static_cast<uint8_t>(v | 0x80));
  out.push_back(static_cast<uint8_t>(v));
}
void put_number(Out& out, unsigned field, uint64_t v) {
  put_varint(out, field << 3);
  put_varint(out, v);
}
void put_float(Out& out, unsigned field, float v) {
  put_varint(out, field << 3 | 5);
  uint8_t bytes[4];
  std::memcpy(bytes, &v, 4);
  out.insert(out.end(), bytes, bytes + 4);
}
void put_bytes(Out& out, unsigned field, const Out& v) {
  put_varint(out, field << 3 | 2);
  put_varint(out, v.size());
  out.insert(out.end(), v.begin(), v.end());
}
Out vector3(float x, float y, float z) {
  Out out;
  put_float(out, 1, x);
  put_float(out, 2, y);
  put_float(out, 3, z);
  return out;
}

void append_message(Out& out, unsigned type, const Out& payload) {
  Out message;
  put_number(message, 1, 1);
  put_number(message, 5, type);
  put_bytes(message, 6, payload);
  const uint32_t n = static_cast<uint32_t>(message.size());
  Out frame = {0x4d,
               0x4d,
               0x00,
               0x01,
               static_cast<uint8_t>(n >> 24),
               static_cast<uint8_t>(n >> 16),
               static_cast<uint8_t>(n >> 8),
               static_cast<uint8_t>(n)};
  frame.insert(frame.end(), message.begin(), message.end());
  append_frame(out, frame.data(), frame.size(), Mask::kClient);
}

}  // namespace

void append_hello(Out& out, float view_distance) {
  Out payload;
  put_number(payload, 2, 1);  // state_encoding: packed
  put_float(payload, 3, view_distance);
  append_message(out, 9, payload);
}

void append_subscribe(Out& out, const std::string& topic) {
  Out payload;
  put_bytes(payload, 1, Out(topic.begin(), topic.end()));
  append_message(out, 10, payload);
}

void append_publish(Out& out, const std::string& topic, unsigned bytes) {
  Out payload;
  put_bytes(payload, 1, Out(topic.begin(), topic.end()));
  put_bytes(payload, 2, pattern_payload(bytes));
  append_message(out, 12, payload);
}

void append_move(Out& out, const Walk& walk, unsigned walker, double seconds,
                 uint32_t client_tick) {
  // A triangle wave: constant speed, two turns a period. Walkers start spread over the period.
  const double period = 4.0 * walk.reach / walk.speed;
  const double phase = std::fmod(seconds / period + walker * 0.618, 1.0);
  const double side = phase < 0.5 ? 4 * phase - 1 : 3 - 4 * phase;
  Out payload;
  put_bytes(
      payload, 1,
      vector3(walk.spawn[0] + static_cast<float>(side) * walk.reach, walk.spawn[1], walk.spawn[2]));
  put_bytes(payload, 3, vector3(phase < 0.5 ? walk.speed : -walk.speed, 0, 0));
  put_number(payload, 5, client_tick);
  append_message(out, 100, payload);
}

}  // namespace tidegate::bench
