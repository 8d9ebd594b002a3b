// SPDX-License-Identifier: Apache-2.0
// What the network does, as a list of shapes: whoever draws the game draws it. It keeps the figures
// of the last pictures and lays out four levels of detail; it knows no font and no graphics
// library. Thread: one. Owner: values, fixed arrays. Limits: kSamples pictures, kShapesMost shapes.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tidegate/client.h"

namespace tidegate::sdk {

class Overlay {
 public:
  static constexpr uint32_t kSamples = 120;
  static constexpr uint32_t kShapesMost = 1024;
  static constexpr int32_t kLevelMost = 4;

  Overlay(float line_height, float char_width)
      : line_height_(line_height), char_width_(char_width) {}

  void sample(tidegate_client* client);
  void draw(int32_t level, float x, float y, tidegate_client_drawing* out);

 private:
  static constexpr uint32_t kTextMost = 4096;
  static constexpr uint32_t kTypesShown = 8;
  enum Graph : uint8_t { kRoundTrip, kBytesIn, kDelay, kError, kGraphs };

  void put(int32_t kind, float x0, float y0, float x1, float y1, uint32_t rgba);
  void rect(float x0, float y0, float x1, float y1, uint32_t rgba);
  void line(float x0, float y0, float x1, float y1, uint32_t rgba);
  [[gnu::format(printf, 5, 6)]] void text(float x, float y, uint32_t rgba, const char* format, ...);
  float graph(Graph which, float x, float y, const char* name, const char* unit);
  float types(float x, float y);
  tidegate_client_shape* shape(int32_t kind);

  float line_height_, char_width_;
  float values_[kGraphs][kSamples] = {};
  uint32_t at_ = 0;
  uint32_t count_ = 0;
  tidegate_client_stats stats_{};
  int32_t state_ = 0;
  struct Type {
    uint32_t type = 0;
    uint64_t messages = 0, bytes = 0;
  };
  Type types_[2][kTypesShown];
  tidegate_client_shape shapes_[kShapesMost];
  uint32_t shape_count_ = 0;
  char texts_[kTextMost];
  uint32_t text_used_ = 0;
};

}  // namespace tidegate::sdk
