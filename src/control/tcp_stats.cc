// SPDX-License-Identifier: Apache-2.0
#include "control/tcp_stats.h"

// The kernel's own tcp_info, which has all of its fields; <netinet/tcp.h> has the old ones only.
#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace tidegate::control {
namespace {

constexpr int kEstablished = 1;  // TCP_ESTABLISHED

struct Request {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

void take(const nlmsghdr* message, uint16_t local_port, TcpStatsMap* out) {
  if (message->nlmsg_len < NLMSG_LENGTH(sizeof(inet_diag_msg))) return;
  inet_diag_msg diag;
  std::memcpy(&diag, NLMSG_DATA(message), sizeof diag);
  if (ntohs(diag.id.idiag_sport) != local_port || out->size() >= kTcpStatsMax) return;
  TcpPeer peer;
  peer.second = ntohs(diag.id.idiag_dport);
  if (diag.idiag_family == AF_INET) {
    peer.first.bytes[10] = peer.first.bytes[11] = 0xff;
    std::memcpy(peer.first.bytes + 12, diag.id.idiag_dst, 4);
  } else {
    std::memcpy(peer.first.bytes, diag.id.idiag_dst, 16);
  }
  size_t left = message->nlmsg_len - NLMSG_LENGTH(sizeof(inet_diag_msg));
  const auto* at = static_cast<const uint8_t*>(NLMSG_DATA(message)) + NLMSG_ALIGN(sizeof diag);
  while (left >= sizeof(rtattr)) {
    rtattr attribute;
    std::memcpy(&attribute, at, sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > left) return;
    if (attribute.rta_type == INET_DIAG_INFO) {
      tcp_info info{};
      std::memcpy(&info, at + RTA_LENGTH(0),
                  std::min<size_t>(sizeof info, attribute.rta_len - RTA_LENGTH(0)));
      (*out)[peer] = {info.tcpi_rtt, info.tcpi_rttvar, info.tcpi_total_retrans, info.tcpi_unacked,
                      info.tcpi_notsent_bytes};
      return;
    }
    const size_t step = std::min<size_t>(RTA_ALIGN(attribute.rta_len), left);
    at += step;
    left -= step;
  }
}

void dump(int descriptor, uint8_t family, uint16_t local_port, TcpStatsMap* out) {
  Request request{};
  request.header.nlmsg_len = sizeof request;
  request.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = family;
  request.body.sdiag_family = family;
  request.body.sdiag_protocol = IPPROTO_TCP;
  request.body.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  request.body.idiag_states = 1 << kEstablished;
  request.body.id.idiag_sport = htons(local_port);
  if (::send(descriptor, &request, sizeof request, 0) != sizeof request) return;
  std::vector<uint64_t> buffer(8192);  // aligned as the headers want it
  for (;;) {
    const ssize_t got = ::recv(descriptor, buffer.data(), buffer.size() * sizeof(uint64_t), 0);
    if (got <= 0) return;
    auto left = static_cast<uint32_t>(got);
    for (auto* message = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(message, left);
         message = NLMSG_NEXT(message, left)) {
      if (message->nlmsg_seq != family) continue;
      if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) return;
      if (message->nlmsg_type == SOCK_DIAG_BY_FAMILY) take(message, local_port, out);
    }
  }
}

}  // namespace

bool TcpPeerLess::operator()(const TcpPeer& a, const TcpPeer& b) const {
  const int order = std::memcmp(a.first.bytes, b.first.bytes, sizeof a.first.bytes);
  return order != 0 ? order < 0 : a.second < b.second;
}

TcpStatsMap read_tcp_stats_blocking(uint16_t local_port) {
  TcpStatsMap out;
  const int descriptor = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (descriptor < 0) return out;
  const timeval patience{1, 0};
  setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  // Our sockets are of IPv6 with mapped addresses, or of IPv4 where there is no IPv6.
  dump(descriptor, AF_INET6, local_port, &out);
  dump(descriptor, AF_INET, local_port, &out);
  ::close(descriptor);
  return out;
}

}  // namespace tidegate::control
