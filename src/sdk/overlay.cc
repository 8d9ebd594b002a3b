// SPDX-License-Identifier: Apache-2.0
#include "sdk/overlay.h"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <iterator>

#include "wire/message_types.h"

namespace tidegate::sdk {

namespace {

constexpr uint32_t kBack = 0x101418c0;
constexpr uint32_t kInk = 0xe8eef0ff;
constexpr uint32_t kQuiet = 0x8fa0a8ff;
constexpr uint32_t kGood = 0x5fd38dff;
constexpr uint32_t kBad = 0xff7a6bff;
constexpr uint32_t kCurve = 0x6bb5ffff;
constexpr float kGraphWidth = 240;
constexpr float kGraphHeight = 40;
constexpr float kMargin = 4;
constexpr uint32_t kColumns = 48;  // characters of the widest line

constexpr uint32_t kTypes[] = {
#define X(id, number, name) number,
    TIDEGATE_MESSAGE_TYPES(X)
#undef X
};

}  // namespace

void Overlay::sample(tidegate_client* client) {
  stats_ = {};
  stats_.struct_size = sizeof stats_;
  tidegate_client_get_stats(client, &stats_);
  state_ = tidegate_client_get_state(client);
  values_[kRoundTrip][at_] = static_cast<float>(stats_.rtt_last_ms);
  values_[kBytesIn][at_] = static_cast<float>(stats_.bytes_in_per_second);
  values_[kDelay][at_] = static_cast<float>(stats_.delay_ms);
  values_[kError][at_] = static_cast<float>(stats_.prediction_error_m);
  at_ = (at_ + 1) % kSamples;
  count_ = std::min(count_ + 1, kSamples);
  for (int32_t direction = 0; direction < 2; ++direction) {
    Type* const top = types_[direction];
    std::fill_n(top, kTypesShown, Type{});
    for (const uint32_t type : kTypes) {
      Type t{type, 0, 0};
      tidegate_client_traffic(client, type, direction, &t.messages, &t.bytes);
      if (t.messages == 0 || t.bytes < top[kTypesShown - 1].bytes) continue;
      top[kTypesShown - 1] = t;
      for (uint32_t i = kTypesShown - 1; i > 0 && top[i].bytes > top[i - 1].bytes; --i) {
        std::swap(top[i], top[i - 1]);
      }
    }
  }
}

tidegate_client_shape* Overlay::shape(int32_t kind) {
  if (shape_count_ == kShapesMost) return nullptr;
  tidegate_client_shape* const s = &shapes_[shape_count_++];
  *s = {};
  s->kind = kind;
  return s;
}

void Overlay::rect(float x0, float y0, float x1, float y1, uint32_t rgba) {
  put(TIDEGATE_SHAPE_RECT, x0, y0, x1, y1, rgba);
}

void Overlay::line(float x0, float y0, float x1, float y1, uint32_t rgba) {
  put(TIDEGATE_SHAPE_LINE, x0, y0, x1, y1, rgba);
}

void Overlay::put(int32_t kind, float x0, float y0, float x1, float y1, uint32_t rgba) {
  tidegate_client_shape* const s = shape(kind);
  if (s == nullptr) return;
  s->x0 = x0;
  s->y0 = y0;
  s->x1 = x1;
  s->y1 = y1;
  s->rgba = rgba;
}

void Overlay::text(float x, float y, uint32_t rgba, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  const uint32_t room = kTextMost - text_used_;
  const int size = std::vsnprintf(texts_ + text_used_, room, format, arguments);
  va_end(arguments);
  if (size <= 0 || room <= 1) return;
  const uint32_t used = std::min(static_cast<uint32_t>(size), room - 1);
  tidegate_client_shape* const s = shape(TIDEGATE_SHAPE_TEXT);
  if (s == nullptr) return;
  s->x0 = x;
  s->y0 = y;
  s->x1 = x + static_cast<float>(used) * char_width_;
  s->y1 = y + line_height_;
  s->rgba = rgba;
  s->text = {texts_ + text_used_, used};
  text_used_ += used;
}

// Returns where the next thing may begin.
float Overlay::graph(Graph which, float x, float y, const char* name, const char* unit) {
  const float* const values = values_[which];
  float most = 1e-6F;
  for (uint32_t i = 0; i < count_; ++i) most = std::max(most, values[i]);
  const uint32_t newest = (at_ + kSamples - 1) % kSamples;
  text(x, y, kInk, "%s %.*f %s, most %.*f", name, which == kError ? 2 : 0,
       static_cast<double>(count_ != 0 ? values[newest] : 0), unit, which == kError ? 2 : 0,
       static_cast<double>(count_ != 0 ? most : 0));
  const float top = y + line_height_;
  const float bottom = top + kGraphHeight;
  line(x, bottom, x + kGraphWidth, bottom, kQuiet);
  const float step = kGraphWidth / static_cast<float>(kSamples - 1);
  for (uint32_t i = 1; i < count_; ++i) {
    const uint32_t b = (at_ + kSamples - count_ + i) % kSamples;
    const uint32_t a = (b + kSamples - 1) % kSamples;
    const float right = x + step * static_cast<float>(kSamples - count_ + i);
    line(right - step, bottom - values[a] / most * kGraphHeight, right,
         bottom - values[b] / most * kGraphHeight, kCurve);
  }
  return bottom + kMargin;
}

float Overlay::types(float x, float y) {
  for (int32_t direction = 0; direction < 2; ++direction) {
    text(x, y, kQuiet, direction == 0 ? "from the server" : "to the server");
    y += line_height_;
    for (const Type& t : types_[direction]) {
      if (t.messages == 0) break;
      text(x, y, kInk, "%-22s %8llu %10llu B", wire::name_of_type(t.type),
           static_cast<unsigned long long>(t.messages), static_cast<unsigned long long>(t.bytes));
      y += line_height_;
    }
  }
  return y + kMargin;
}

void Overlay::draw(int32_t level, float x, float y, tidegate_client_drawing* out) {
  shape_count_ = text_used_ = 0;
  const float left = x + kMargin;
  float at = y + kMargin;
  if (level > 0) {
    rect(x, y, x, y, kBack);  // behind everything; its size is known at the end
    const bool in_world = state_ == TIDEGATE_CLIENT_IN_WORLD;
    text(left, at, in_world ? kGood : kBad, "%s  %.0f ms  %.1f KB/s  %u near",
         tidegate_client_state_name(static_cast<tidegate_client_state>(state_)), stats_.rtt_ms,
         stats_.bytes_in_per_second / 1000, stats_.entities);
    at += line_height_ + kMargin;
  }
  if (level > 1) {
    at = graph(kRoundTrip, left, at, "round trip", "ms");
    at = graph(kBytesIn, left, at, "in", "B/s");
    at = graph(kDelay, left, at, "shown behind", "ms");
  }
  if (level > 2) at = types(left, at);
  if (level > 3) {
    at = graph(kError, left, at, "prediction off by", "m");
    text(left, at, kInk, "%u inputs under way, %llu corrections, %llu refused",
         stats_.pending_inputs, static_cast<unsigned long long>(stats_.corrections),
         static_cast<unsigned long long>(stats_.refused_moves));
    at += line_height_ + kMargin;
  }
  out->shapes = shapes_;
  out->count = shape_count_;
  out->width = level > 0 ? std::max(kGraphWidth, kColumns * char_width_) + 2 * kMargin : 0;
  out->height = level > 0 ? at - y : 0;
  if (level > 0) {
    shapes_[0].x1 = x + out->width;
    shapes_[0].y1 = y + out->height;
  }
}

}  // namespace tidegate::sdk
