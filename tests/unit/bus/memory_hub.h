// SPDX-License-Identifier: Apache-2.0
// A transport in memory: subjects and groups as NATS has them, links that can be cut.
// Thread: one. Owner: the test. Limits: none.
#pragma once

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "bus/transport.h"

namespace tidegate::bus {

class MemoryHub {
 public:
  class Port final : public Transport {
   public:
    Port(MemoryHub& hub, std::vector<Subscription> subscriptions)
        : hub_(hub), subscriptions_(std::move(subscriptions)) {
      hub_.ports_.push_back(this);
      figures_.connects = 1;
    }
    ~Port() override { std::erase(hub_.ports_, this); }
    bool publish(std::string_view subject, base::Bytes head, base::Bytes body,
                 std::string_view reply) override {
      if (!connected_) {
        ++figures_.dropped_out;
        return false;
      }
      ++figures_.sent;
      Delivery d;
      d.subject = subject;
      d.reply = reply;
      d.bytes.assign(head.begin(), head.end());
      d.bytes.insert(d.bytes.end(), body.begin(), body.end());
      hub_.deliver(d);
      return true;
    }
    bool poll(Delivery* out) override {
      if (queue_.empty()) return false;
      *out = std::move(queue_.front());
      queue_.pop_front();
      ++figures_.received;
      return true;
    }
    bool connected() const override { return connected_; }
    TransportFigures figures() const override { return figures_; }
    void set_connected(bool connected) {
      if (connected && !connected_) ++figures_.connects;
      connected_ = connected;
    }
    // The next that would come does not.
    void lose(uint32_t messages) { lose_ = messages; }
    size_t waiting() const { return queue_.size(); }

   private:
    friend class MemoryHub;
    MemoryHub& hub_;
    std::vector<Subscription> subscriptions_;
    std::deque<Delivery> queue_;
    TransportFigures figures_;
    bool connected_ = true;
    uint32_t lose_ = 0;
  };

 private:
  void deliver(const Delivery& d) {
    std::map<std::string, bool> served;  // groups
    for (Port* port : ports_) {
      if (!port->connected_) continue;
      for (const Subscription& s : port->subscriptions_) {
        if (!matches(s.subject, d.subject)) continue;
        if (!s.group.empty() && std::exchange(served[s.group], true)) continue;
        if (port->lose_ != 0) {
          --port->lose_;
          continue;
        }
        port->queue_.push_back(d);
      }
    }
  }
  static bool matches(const std::string& pattern, const std::string& subject) {
    if (pattern == subject) return true;
    return pattern.size() > 1 && pattern.ends_with(".>") &&
           subject.starts_with(pattern.substr(0, pattern.size() - 1));
  }
  std::vector<Port*> ports_;
};

}  // namespace tidegate::bus
