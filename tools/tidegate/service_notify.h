// SPDX-License-Identifier: Apache-2.0
// Tells systemd how the service is (sd_notify(3)): one datagram to the socket in NOTIFY_SOCKET.
// Without that variable every call does nothing.
// Thread: main. Owner: the program. Limits: none.
#pragma once

#include <cstdint>
#include <string>

namespace tidegate::program {

class ServiceNotify {
 public:
  ServiceNotify();
  ~ServiceNotify();
  ServiceNotify(const ServiceNotify&) = delete;
  ServiceNotify& operator=(const ServiceNotify&) = delete;

  void ready(const std::string& status);
  void reloading();  // ends with ready()
  void stopping();
  // Another process is the service now; systemd watches that one from here on.
  void moved_to(int pid);
  // Call often; sends WATCHDOG=1 when half of WatchdogSec= has passed. `alive` false sends nothing,
  // so that systemd ends a process that hangs.
  void watchdog(bool alive);

 private:
  void send(const std::string& text);

  int socket_ = -1;
  std::string address_;
  int64_t watchdog_ns_ = 0;  // 0: none asked for
  int64_t last_ns_ = 0;
};

}  // namespace tidegate::program
