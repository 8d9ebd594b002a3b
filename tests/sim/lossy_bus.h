// SPDX-License-Identifier: Apache-2.0
// The bus of the simulation: order between two gateways is kept, as NATS does; messages are late,
// some are lost, links and connections can be cut. In subjects it knows as much as is needed.
// Thread: one. Owner: the simulation. Limits: none.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "base/prng.h"
#include "base/time.h"
#include "bus/transport.h"

namespace tidegate::sim {

class LossyBus {
 public:
  class Port final : public bus::Transport {
   public:
    Port(LossyBus& bus, uint32_t self) : bus_(bus), self_(self) {}
    bool publish(std::string_view subject, base::Bytes head, base::Bytes body,
                 std::string_view) override {
      if (!connected_) {
        ++figures_.dropped_out;
        return false;
      }
      bus::Delivery d;
      d.subject = subject;
      d.bytes.assign(head.begin(), head.end());
      d.bytes.insert(d.bytes.end(), body.begin(), body.end());
      bus_.spread(self_, d);
      return true;
    }
    bool poll(bus::Delivery* out) override { return bus_.take(self_, out); }
    bool connected() const override { return connected_; }
    bus::TransportFigures figures() const override { return figures_; }
    void set_connected(bool connected) {
      if (connected == connected_) return;
      connected_ = connected;
      if (connected) ++figures_.connects;
      if (!connected) bus_.forget(self_);
    }

   private:
    LossyBus& bus_;
    uint32_t self_;
    bool connected_ = true;
    bus::TransportFigures figures_{.connects = 1};
  };

  LossyBus(uint32_t gateways, uint64_t seed)
      : prng_(seed),
        count_(gateways),
        links_(size_t{gateways} * gateways),
        cut_(links_.size(), false),
        ports_(gateways) {}

  std::unique_ptr<Port> attach(uint32_t self) {
    forget(self);
    auto port = std::make_unique<Port>(*this, self);
    ports_[self] = port.get();
    return port;
  }
  void detach(uint32_t self) {
    forget(self);
    ports_[self] = nullptr;
  }
  void cut(uint32_t a, uint32_t b, bool cut) { cut_[at(a, b)] = cut_[at(b, a)] = cut; }
  void set_now(base::Instant now) { now_ = now; }
  double loss = 0;
  uint64_t lost = 0;

 private:
  struct Packet {
    base::Instant due;
    bus::Delivery delivery;
  };
  size_t at(uint32_t from, uint32_t to) const { return size_t{from} * count_ + to; }
  static bool for_gateway(const std::string& subject, uint32_t to) {
    return subject.ends_with(".gateways") || subject.ends_with(".gateway.g" + std::to_string(to));
  }
  void spread(uint32_t from, const bus::Delivery& d) {
    for (uint32_t to = 0; to < count_; ++to) {
      if (!for_gateway(d.subject, to) || ports_[to] == nullptr || !ports_[to]->connected())
        continue;
      if (cut_[at(from, to)] || prng_.chance(loss)) {
        ++lost;
        continue;
      }
      auto& link = links_[at(from, to)];
      base::Instant due = now_ + base::microseconds(prng_.between(200, 15'000));
      if (!link.empty() && link.back().due > due) due = link.back().due;
      link.push_back({due, d});
    }
  }
  bool take(uint32_t self, bus::Delivery* out) {
    for (uint32_t i = 0; i < count_; ++i) {
      const uint32_t from = (i + turn_) % count_;
      auto& link = links_[at(from, self)];
      if (link.empty() || link.front().due > now_) continue;
      ++turn_;
      *out = std::move(link.front().delivery);
      link.pop_front();
      return true;
    }
    return false;
  }
  void forget(uint32_t self) {
    for (uint32_t i = 0; i < count_; ++i) {
      links_[at(i, self)].clear();
      links_[at(self, i)].clear();
    }
  }

  base::Prng prng_;
  uint32_t count_;
  uint32_t turn_ = 0;
  base::Instant now_{};
  std::vector<std::deque<Packet>> links_;
  std::vector<bool> cut_;
  std::vector<Port*> ports_;
};

}  // namespace tidegate::sim
