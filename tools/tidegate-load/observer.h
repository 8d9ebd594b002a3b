// SPDX-License-Identifier: Apache-2.0
// What a bot sees of the others: how often the nearest ones and the rest are told of, and how old
// what it shows of them is. A few bots of a run keep one; once a second they look around.
// Thread: the worker. Owner: Bot. Limits: none; its map grows with the entities seen.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/time.h"
#include "stats.h"

namespace tidegate::load {

class Observer {
 public:
  static constexpr uint32_t kNearest = 20;
  static constexpr base::Duration kUnseen = base::seconds(5);

  explicit Observer(std::string own) : own_(std::move(own)) {}

  // An entity was told of; where it stands, in metres.
  void seen(base::Instant now, std::string_view name, double x, double z) {
    key_ = name;
    Seen& s = seen_[key_];
    s.x = x;
    s.z = z;
    s.last = now;
    ++s.count;
  }
  // Once a second; `count`: whether this second is measured.
  void look_around(base::Instant now, bool count, Stats& stats) {
    if (now - looked_ < base::seconds(1)) return;
    const bool whole = looked_.ns != 0;
    looked_ = now;
    const auto me = seen_.find(own_);
    if (me == seen_.end()) return;
    const double x = me->second.x;
    const double z = me->second.z;
    order_.clear();
    for (auto& [name, s] : seen_) {
      if (name == own_) continue;
      order_.push_back({(s.x - x) * (s.x - x) + (s.z - z) * (s.z - z), &s});
    }
    const size_t near = std::min<size_t>(kNearest, order_.size());
    std::nth_element(order_.begin(), order_.begin() + static_cast<std::ptrdiff_t>(near),
                     order_.end(),
                     [](const Ranked& a, const Ranked& b) { return a.distance < b.distance; });
    for (size_t i = 0; i < order_.size() && whole && count; ++i) {
      const Seen& s = *order_[i].seen;
      const base::Duration age = now - s.last;
      if (age > kUnseen) {  // out of view
        bump(stats.far_unseen);
        continue;
      }
      const uint64_t us = age.ns > 0 ? static_cast<uint64_t>(age.ns / 1000) : 0;
      (i < near ? stats.near_age_us : stats.far_age_us).record(us);
      bump(i < near ? stats.near_seconds : stats.far_seconds);
      bump(i < near ? stats.near_updates : stats.far_updates, s.count);
    }
    for (auto& [name, s] : seen_) s.count = 0;
  }

 private:
  struct Seen {
    double x = 0, z = 0;
    base::Instant last{};
    uint32_t count = 0;  // since the last look
  };
  struct Ranked {
    double distance;
    const Seen* seen;
  };

  std::string own_, key_;
  std::unordered_map<std::string, Seen> seen_;
  std::vector<Ranked> order_;
  base::Instant looked_{};
};

}  // namespace tidegate::load
