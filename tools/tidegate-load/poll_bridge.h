// SPDX-License-Identifier: Apache-2.0
// Bots by HTTP long polling: a bot speaks WebSocket into one end of a socket pair, and a thread
// behind the other end makes requests of it (client::PollTunnel) over two connections to the
// server. Bots know nothing of it; latencies contain the way through this process.
// Thread: attach() the worker's, the rest its own. Owner: Worker. Limits: descriptors, four a bot.
#pragma once

#include <netinet/in.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/time.h"
#include "client/poll_tunnel.h"

namespace tidegate::load {

class PollBridge {
 public:
  explicit PollBridge(const sockaddr_in6& server);
  ~PollBridge();
  PollBridge(const PollBridge&) = delete;
  PollBridge& operator=(const PollBridge&) = delete;

  // The bot's end, non-blocking and connected; -1: no descriptors.
  int attach();

 private:
  struct Link {
    int bot = -1;
    int lanes[client::PollTunnel::kLanes] = {-1, -1};
    uint32_t watched[1 + client::PollTunnel::kLanes] = {};  // epoll events asked for
    client::PollTunnel tunnel;
  };
  void run();
  void drive(size_t index);
  void read_bot(Link& link);
  void move_lane(size_t index, int lane);
  void drop_lane(Link& link, int lane);
  void watch(size_t index, int which, int fd, bool write);
  int connect_lane();

  sockaddr_in6 server_;
  int epoll_;
  int wake_;
  std::mutex mutex_;
  std::vector<int> arrivals_;
  std::vector<std::unique_ptr<Link>> links_;
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace tidegate::load
