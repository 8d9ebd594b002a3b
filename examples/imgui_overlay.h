// SPDX-License-Identifier: Apache-2.0
// Draws tidegate's overlay with Dear ImGui: rectangles, lines and texts into any draw list, such as
// ImGui::GetForegroundDrawList(). Copy it into your game.
#pragma once

#include <imgui.h>
#include <tidegate/client.h>

inline void draw_overlay(const tidegate_client_drawing& drawing, ImDrawList* list) {
  for (size_t i = 0; i < drawing.count; ++i) {
    const tidegate_client_shape& s = drawing.shapes[i];
    const ImU32 colour =
        IM_COL32(s.rgba >> 24 & 255, s.rgba >> 16 & 255, s.rgba >> 8 & 255, s.rgba & 255);
    switch (s.kind) {
      case TIDEGATE_SHAPE_RECT:
        list->AddRectFilled({s.x0, s.y0}, {s.x1, s.y1}, colour);
        break;
      case TIDEGATE_SHAPE_LINE:
        list->AddLine({s.x0, s.y0}, {s.x1, s.y1}, colour);
        break;
      case TIDEGATE_SHAPE_TEXT:
        list->AddText({s.x0, s.y0}, colour, s.text.data, s.text.data + s.text.size);
        break;
      default:
        break;
    }
  }
}
