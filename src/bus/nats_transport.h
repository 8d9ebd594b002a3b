// SPDX-License-Identifier: Apache-2.0
// The transport over NATS (cnats). A thread of its own connects, and writes what waits to be sent,
// so a server that is slow, stopped or not there blocks nobody else; the library's threads receive.
// It comes back by itself, at most twice a second, for as long as the process lives. While there is
// no connection nothing is kept: what would be sent then is dropped and counted, and the bus says
// everything anew afterwards.
//
// Thread: control (publish, poll, figures), its own. Owner: server. Limits: NatsOptions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/time.h"
#include "bus/transport.h"

namespace tidegate::bus {

struct NatsOptions {
  std::vector<std::string> servers;  // nats://[user:password@]host:port, tls://…
  std::string user, password;        // empty: none
  std::string name;                  // shown by the server
  std::vector<Subscription> subscriptions;
  size_t queue_bytes = 16 << 20;  // that wait to be sent; as many that came and wait for control
  std::function<void()> wake;     // something came, or the connection changed; any thread
  std::function<void(bool connected, std::string_view text)> log;  // any thread
};

class NatsTransport final : public Transport {
 public:
  explicit NatsTransport(NatsOptions options);
  ~NatsTransport() override;

  bool publish(std::string_view subject, base::Bytes head, base::Bytes body,
               std::string_view reply) override;
  bool poll(Delivery* out) override;
  bool connected() const override;
  TransportFigures figures() const override;
  // Sends what waits, for `time` at most, and ends the connection.
  void stop(base::Duration time);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace tidegate::bus
