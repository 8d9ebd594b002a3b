// SPDX-License-Identifier: Apache-2.0
#include "generator/connect.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "common/ring.h"

namespace tidegate::bench {
namespace {

constexpr unsigned kBatch = 200;  // Node listens with a backlog of 511

int open_one(const ConnectPlan& plan, unsigned index) {
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (s < 0) fail("socket", errno);
  const int one = 1;
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  // The port is chosen at connect, so that each source address has its whole range for itself.
  setsockopt(s, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  // Closing resets: no TIME_WAIT state is left to slow the next round.
  const linger reset{1, 0};
  setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  const timeval patience{10, 0};
  setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + index % std::max(1u, plan.sources));
  if (bind(s, reinterpret_cast<sockaddr*>(&source), sizeof source) < 0) fail("bind", errno);
  if (connect(s, reinterpret_cast<const sockaddr*>(&plan.server), sizeof plan.server) < 0)
    fail("connect", errno);
  return s;
}

void send_upgrade(const ConnectPlan& plan, unsigned index, int s) {
  std::string head = "GET " + plan.path +
                     " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     "Sec-WebSocket-Key: dGlkZWdhdGUtYmVuY2gtMQ==\r\nSec-WebSocket-Version: 13\r\n";
  if (!plan.tokens.empty())
    head += "Authorization: Bearer " + plan.tokens[index % plan.tokens.size()] + "\r\n";
  head += "\r\n";
  if (send(s, head.data(), head.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(head.size()))
    fail("send upgrade", errno);
}

std::string read_answer(int s) {
  std::string answer;
  char piece[16384];
  for (;;) {
    const size_t end = answer.find("\r\n\r\n");
    if (end != std::string::npos) {
      if (answer.compare(0, 12, "HTTP/1.1 101") != 0) {
        std::fprintf(stderr, "upgrade refused: %s\n", answer.substr(0, answer.find('\r')).c_str());
        std::exit(1);
      }
      return answer.substr(end + 4);
    }
    const ssize_t n = recv(s, piece, sizeof piece, 0);
    if (n <= 0) fail("no answer to the upgrade", n == 0 ? ECONNRESET : errno);
    answer.append(piece, static_cast<size_t>(n));
  }
}

}  // namespace

void open_connections(const ConnectPlan& plan, const OnBatch& on_batch) {
  std::vector<Opened> batch(kBatch);
  for (unsigned from = 0; from < plan.connections; from += kBatch) {
    const unsigned n = std::min(kBatch, plan.connections - from);
    for (unsigned i = 0; i < n; ++i) batch[i] = {open_one(plan, from + i), {}};
    if (!plan.raw) {
      for (unsigned i = 0; i < n; ++i) send_upgrade(plan, from + i, batch[i].descriptor);
      for (unsigned i = 0; i < n; ++i) batch[i].surplus = read_answer(batch[i].descriptor);
    }
    on_batch(from, std::span(batch).first(n));
  }
}

}  // namespace tidegate::bench
