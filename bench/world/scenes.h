// SPDX-License-Identifier: Apache-2.0
// Movement for measurements: where everybody stands after each twentieth of a second.
// Thread: one. Owner: cell_bytes. Limits: none.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "base/prng.h"

namespace tidegate::bench {

struct Place {
  double x = 0, z = 0;  // metres
  double y = 0;         // up
};

// A scene is a family of movement, how many, and how large the square is in which they are.
struct Scene {
  const char* name;
  const char* family;  // "targets", "turns", "jostle", "trace"
  uint32_t walkers;
  double area;   // metres, edge
  double speed;  // metres a second
};

class Movement {
 public:
  Movement(const Scene& scene, const std::string& trace, uint64_t seed)
      : scene_(scene), prng_(scene.walkers * 31u + 7 + seed * 7919), walkers_(scene.walkers) {
    for (Walker& w : walkers_) {
      w.at = anywhere();
      w.target = anywhere();
      w.heading = prng_.unit() * 6.283185307179586;
      w.turn = 0;
    }
    if (scene.family == std::string("trace")) load(trace);
  }
  bool loaded() const { return scene_.family != std::string("trace") || frames_ != 0; }

  // Where walker i goes next; a twentieth of a second later than before.
  Place step(uint32_t i) {
    Walker& w = walkers_[i];
    const double d = scene_.speed / 20;
    switch (scene_.family[0] == 't' ? scene_.family[1] : scene_.family[0]) {
      case 'a': {  // straight to a place chosen at random, then to the next one
        const double dx = w.target.x - w.at.x;
        const double dz = w.target.z - w.at.z;
        const double distance = std::hypot(dx, dz);
        if (distance < d * 2) {
          w.target = anywhere();
        } else {
          w.at.x += dx / distance * d;
          w.at.z += dz / distance * d;
        }
        break;
      }
      case 'u':  // smooth turns
        if (prng_.chance(0.05)) w.turn = prng_.chance(0.5) ? 0 : (prng_.unit() - 0.5) * 3;
        w.heading += w.turn / 20;
        w.at.x += std::sin(w.heading) * d;
        w.at.z += std::cos(w.heading) * d;
        turn_back(w);
        break;
      case 'j':  // pushed about: speed and direction wander, a pull keeps the crowd together
        w.vx = w.vx * 0.9 + (prng_.unit() - 0.5) * scene_.speed * 0.6 - w.at.x * 0.01;
        w.vz = w.vz * 0.9 + (prng_.unit() - 0.5) * scene_.speed * 0.6 - w.at.z * 0.01;
        w.at.x += w.vx / 20;
        w.at.z += w.vz / 20;
        w.heading = std::atan2(w.vx, w.vz);
        turn_back(w);
        break;
      default:
        w.at = track_[(w.frame++ % frames_) * scene_.walkers + i];
    }
    return w.at;
  }
  Place place(uint32_t i) const { return walkers_[i].at; }
  double heading(uint32_t i) const {
    const Walker& w = walkers_[i];
    return scene_.family == std::string("targets")
               ? std::atan2(w.target.x - w.at.x, w.target.z - w.at.z)
               : w.heading;
  }

 private:
  struct Walker {
    Place at, target;
    double heading = 0, turn = 0, vx = 0, vz = 0;
    uint32_t frame = 0;
  };
  Place anywhere() {
    return {(prng_.unit() - 0.5) * scene_.area, (prng_.unit() - 0.5) * scene_.area};
  }
  void turn_back(Walker& w) {
    const double half = scene_.area / 2;
    if (std::abs(w.at.x) < half && std::abs(w.at.z) < half) return;
    w.at.x = std::min(std::max(w.at.x, -half), half);
    w.at.z = std::min(std::max(w.at.z, -half), half);
    w.heading += 2.6;
  }
  // 20 frames a second: differences as bench/games/minecraft-trace.mjs describes them, or lines of
  // "frame walker x z", or with y behind it (bench/world/sumo_trace), every walker in every frame.
  void load(const std::string& file) {
    std::ifstream in(file, std::ios::binary);
    char mark[4] = {};
    if (in.read(mark, 4) && std::string(mark, 4) == "TGMV") {
      load_differences(in);
      return;
    }
    in.clear();
    in.seekg(0);
    std::vector<Place> track;
    uint32_t frame = 0;
    uint32_t walker = 0;
    std::string line;
    while (std::getline(in, line)) {
      std::istringstream words(line);
      Place p;
      if (!(words >> frame >> walker >> p.x >> p.z)) continue;
      if (!(words >> p.y)) p.y = 0;
      if (walker >= scene_.walkers) continue;
      if (track.size() < (size_t{frame} + 1) * scene_.walkers) {
        track.resize((size_t{frame} + 1) * scene_.walkers);
      }
      track[size_t{frame} * scene_.walkers + walker] = p;
    }
    track_ = std::move(track);
    frames_ = static_cast<uint32_t>(track_.size() / scene_.walkers);
    for (uint32_t i = 0; frames_ != 0 && i < scene_.walkers; ++i) walkers_[i].at = track_[i];
  }

  void load_differences(std::ifstream& in) {
    const std::vector<char> bytes{std::istreambuf_iterator<char>(in), {}};
    size_t at = 0;
    const auto take = [&](uint32_t n) {
      uint32_t v = 0;
      for (uint32_t i = 0; i < n && at < bytes.size(); ++i) {
        v |= uint32_t{static_cast<uint8_t>(bytes[at++])} << (8 * i);
      }
      return v;
    };
    const uint32_t walkers = take(2);
    const uint32_t frames = take(2);
    if (walkers != scene_.walkers) return;
    std::vector<std::array<int32_t, 3>> now(walkers);  // x, z, y in 1/256 m
    for (auto& p : now) {
      for (int32_t& v : p) v = static_cast<int32_t>(take(4));
    }
    for (uint32_t frame = 0; frame < frames; ++frame) {
      const size_t bits = at;
      if (frame != 0) at += (walkers + 7) / 8;
      if (at > bytes.size()) return;
      for (uint32_t i = 0; i < walkers; ++i) {
        if (frame != 0 && (bytes[bits + i / 8] >> (i % 8) & 1) != 0) {
          for (int32_t& v : now[i]) v += static_cast<int8_t>(take(1));
        }
        track_.push_back({now[i][0] / 256.0, now[i][1] / 256.0, now[i][2] / 256.0});
      }
      ++frames_;
    }
    for (uint32_t i = 0; i < walkers; ++i) walkers_[i].at = track_[i];
  }

  Scene scene_;
  base::Prng prng_;
  std::vector<Walker> walkers_;
  std::vector<Place> track_;
  uint32_t frames_ = 0;
};

}  // namespace tidegate::bench
