// SPDX-License-Identifier: Apache-2.0
// A window on the world: everybody in view as a dot, yourself moved by the arrow keys, and over it
// what the network does (keys 0 to 4), drawn by Dear ImGui under SDL2.
//
//   overlay_imgui URL TOKEN [PRESET [LEVEL [SECONDS [PICTURE.bmp]]]]
//
// PRESET is a bad network ("wifi", "mobile", "train", ...) or "local"; with SECONDS it walks by
// itself and ends, with PICTURE it leaves a screenshot. Build it with
//   c++ -std=c++17 overlay_imgui.cc $(pkg-config --cflags --libs tidegate-client imgui sdl2)
#include <SDL.h>
#include <backends/imgui_impl_sdl.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <tidegate/client.hpp>

#include "imgui_overlay.h"

namespace {

constexpr int kWidth = 960, kHeight = 600;
constexpr float kPixelsPerMetre = 8;

void draw_world(tidegate::Client& client, ImDrawList* list) {
  tidegate_vector self{};
  client.self(&self);
  for (const auto& e : client.entities()) {
    const ImVec2 at{kWidth / 2 + (e.shown.x - self.x) * kPixelsPerMetre,
                    kHeight / 2 + (e.shown.z - self.z) * kPixelsPerMetre};
    const ImU32 colour = e.is_self ? IM_COL32(255, 200, 80, 255) : IM_COL32(110, 180, 255, 255);
    list->AddCircleFilled(at, e.is_self ? 6 : 4, colour);
    const ImVec2 nose{at.x + 10 * std::sin(e.shown_yaw), at.y + 10 * std::cos(e.shown_yaw)};
    list->AddLine(at, nose, colour);
  }
}

// Dear ImGui's triangles through SDL_Renderer: Debian's library comes without that backend.
void paint(const ImDrawData& data, SDL_Renderer* renderer) {
  for (int l = 0; l < data.CmdListsCount; ++l) {
    const ImDrawList& list = *data.CmdLists[l];
    for (const ImDrawCmd& cmd : list.CmdBuffer) {
      const SDL_Rect clip{static_cast<int>(cmd.ClipRect.x), static_cast<int>(cmd.ClipRect.y),
                          static_cast<int>(cmd.ClipRect.z - cmd.ClipRect.x),
                          static_cast<int>(cmd.ClipRect.w - cmd.ClipRect.y)};
      SDL_RenderSetClipRect(renderer, &clip);
      const ImDrawVert* v = list.VtxBuffer.Data + cmd.VtxOffset;
      SDL_RenderGeometryRaw(
          renderer, static_cast<SDL_Texture*>(cmd.GetTexID()), &v->pos.x, sizeof *v,
          reinterpret_cast<const SDL_Color*>(&v->col), sizeof *v, &v->uv.x, sizeof *v,
          list.VtxBuffer.Size - static_cast<int>(cmd.VtxOffset),
          list.IdxBuffer.Data + cmd.IdxOffset, static_cast<int>(cmd.ElemCount), sizeof(ImDrawIdx));
    }
  }
  SDL_RenderSetClipRect(renderer, nullptr);
}

SDL_Texture* font_texture(SDL_Renderer* renderer) {
  unsigned char* pixels = nullptr;
  int width = 0, height = 0;
  ImGui::GetIO().Fonts->GetTexDataAsRGBA32(&pixels, &width, &height);
  SDL_Texture* texture = SDL_CreateTexture(renderer, SDL_PIXELFORMAT_ABGR8888,
                                           SDL_TEXTUREACCESS_STATIC, width, height);
  if (texture == nullptr) return nullptr;
  SDL_UpdateTexture(texture, nullptr, pixels, 4 * width);
  SDL_SetTextureBlendMode(texture, SDL_BLENDMODE_BLEND);
  ImGui::GetIO().Fonts->SetTexID(texture);
  return texture;
}

bool save(SDL_Renderer* renderer, const char* path) {
  SDL_Surface* picture =
      SDL_CreateRGBSurfaceWithFormat(0, kWidth, kHeight, 24, SDL_PIXELFORMAT_BGR24);
  if (picture == nullptr) return false;
  const bool good = SDL_RenderReadPixels(renderer, nullptr, SDL_PIXELFORMAT_BGR24, picture->pixels,
                                         picture->pitch) == 0 &&
                    SDL_SaveBMP(picture, path) == 0;
  SDL_FreeSurface(picture);
  return good;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) return std::puts("overlay_imgui URL TOKEN [PRESET [LEVEL [SECONDS [PICTURE]]]]"), 2;
  const std::string preset = argc > 3 ? argv[3] : "local";
  int level = argc > 4 ? std::atoi(argv[4]) : 2;
  const double seconds = argc > 5 ? std::atof(argv[5]) : 0;
  tidegate::Client client({argv[1]}, argv[2]);
  if (!client) return std::puts(client.problem().c_str()), 2;
  if (preset != "local" && !client.simulate(preset.c_str())) return std::puts("no such preset"), 2;
  if (SDL_Init(SDL_INIT_VIDEO) != 0) return std::puts(SDL_GetError()), 1;
  SDL_Window* window = SDL_CreateWindow("tidegate", SDL_WINDOWPOS_CENTERED, SDL_WINDOWPOS_CENTERED,
                                        kWidth, kHeight, 0);
  SDL_Renderer* renderer = window != nullptr ? SDL_CreateRenderer(window, -1, 0) : nullptr;
  if (renderer == nullptr) return std::puts(SDL_GetError()), 1;
  ImGui::CreateContext();
  ImGui::GetIO().IniFilename = nullptr;
  ImGui_ImplSDL2_InitForSDLRenderer(window);
  SDL_Texture* font = font_texture(renderer);
  tidegate_client_overlay* overlay = tidegate_client_overlay_create(14, 7);

  client.connect();
  bool saved = argc <= 6;
  const double begin = static_cast<double>(SDL_GetTicks64()) / 1000;
  double last = begin;
  for (bool running = true; running;) {
    for (SDL_Event event; SDL_PollEvent(&event) != 0;) {
      ImGui_ImplSDL2_ProcessEvent(&event);
      if (event.type == SDL_QUIT) running = false;
      if (event.type == SDL_KEYDOWN && event.key.keysym.sym >= SDLK_0 &&
          event.key.keysym.sym <= SDLK_4) {
        level = event.key.keysym.sym - SDLK_0;
      }
    }
    const double now = static_cast<double>(SDL_GetTicks64()) / 1000;
    client.poll(4000);
    const Uint8* keys = SDL_GetKeyboardState(nullptr);
    tidegate_vector direction{
        static_cast<float>(keys[SDL_SCANCODE_RIGHT] - keys[SDL_SCANCODE_LEFT]), 0,
        static_cast<float>(keys[SDL_SCANCODE_DOWN] - keys[SDL_SCANCODE_UP])};
    if (seconds > 0) {
      const auto angle = static_cast<float>(now - begin);
      direction = {std::cos(angle), 0, std::sin(angle)};
      running = running && now - begin < seconds;
    }
    client.steer(direction, static_cast<float>(now - last), std::atan2(direction.x, direction.z));
    last = now;

    ImGui_ImplSDL2_NewFrame();
    ImGui::NewFrame();
    ImDrawList* list = ImGui::GetForegroundDrawList();
    draw_world(client, list);
    tidegate_client_overlay_sample(overlay, client.get());
    tidegate_client_drawing drawing{sizeof drawing, nullptr, 0, 0, 0};
    if (tidegate_client_overlay_draw(overlay, level, 8, 8, &drawing) != 0)
      draw_overlay(drawing, list);
    ImGui::Render();
    SDL_SetRenderDrawColor(renderer, 16, 20, 24, 255);
    SDL_RenderClear(renderer);
    paint(*ImGui::GetDrawData(), renderer);
    if (!saved && now - begin > seconds * 0.9) saved = save(renderer, argv[6]);
    SDL_RenderPresent(renderer);
    SDL_Delay(10);
  }
  const auto stats = client.stats();
  std::printf("%u entities, %llu corrections, %llu checksum mismatches%s\n", stats.entities,
              static_cast<unsigned long long>(stats.corrections),
              static_cast<unsigned long long>(stats.checksum_mismatches),
              saved ? "" : ", no picture");
  const bool good = client.state() == TIDEGATE_CLIENT_IN_WORLD && saved;
  tidegate_client_overlay_destroy(overlay);
  SDL_DestroyTexture(font);
  ImGui_ImplSDL2_Shutdown();
  ImGui::DestroyContext();
  SDL_DestroyRenderer(renderer);
  SDL_DestroyWindow(window);
  SDL_Quit();
  return good ? 0 : 1;
}
