// SPDX-License-Identifier: Apache-2.0
// Endpoint: who the client is, whether there is room for it, and whether its page may connect.
#include "net/edge.h"

#include <algorithm>
#include <cstring>

#include "net/endpoint.h"
#include "net/refusals.h"
#include "protocol/http_head.h"
#include "protocol/proxy_header.h"

namespace tidegate::net {
namespace {

struct Refusal {
  int status;
  const char* code;
  const char* message;
};

Refusal refusal_of(Admission verdict) {
  switch (verdict) {
    case Admission::kPerIp:
      return {429, "too_many_connections", "too many connections from this address"};
    case Admission::kPerNetwork:
      return {429, "too_many_connections", "too many connections from this network"};
    case Admission::kConnectRate:
      return {429, "rate_limited", "connections from this address come too fast"};
    default:
      return {503, "overloaded", "more connections at once than can be served; come back later"};
  }
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; }

bool same(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return lower(x) == lower(y); });
}

bool matches_origin(std::string_view pattern, std::string_view origin) {
  const size_t star = pattern.find("://*.");
  if (star == std::string_view::npos) return same(pattern, origin);
  const std::string_view scheme = pattern.substr(0, star + 3);
  const std::string_view domain = pattern.substr(star + 4);  // ".game.example"
  if (origin.size() <= scheme.size() + domain.size()) return false;
  const std::string_view host = origin.substr(scheme.size());
  const std::string_view labels = host.substr(0, host.size() - domain.size());
  return same(origin.substr(0, scheme.size()), scheme) &&
         same(host.substr(labels.size()), domain) &&
         std::all_of(labels.begin(), labels.end(), [](char c) {
           const char l = lower(c);
           return (l >= 'a' && l <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
                  c == '_';
         });
}

base::IpAddress address_of(const Cold& cold) {
  base::IpAddress address;
  std::memcpy(address.bytes, cold.peer, sizeof address.bytes);
  return address;
}

}  // namespace

bool OriginList::add(std::string_view origin) {
  if (origin.empty() || bytes + origin.size() + 1 > kOriginBytesMax) return false;
  std::memcpy(text + bytes, origin.data(), origin.size());
  text[bytes + origin.size()] = ' ';
  bytes += static_cast<uint32_t>(origin.size()) + 1;
  return true;
}

bool OriginList::allows(std::string_view origin) const {
  if (bytes == 0 || origin.empty()) return true;
  std::string_view rest(text, bytes);
  while (!rest.empty()) {
    const size_t space = rest.find(' ');
    if (matches_origin(rest.substr(0, space), origin)) return true;
    rest.remove_prefix(space + 1);
  }
  return false;
}

void Endpoint::set_limits(const LiveLimits& limits) {
  config_.edge = limits.edge;
  config_.handshake_timeout = limits.handshake_timeout;
  config_.message_timeout = limits.message_timeout;
  config_.stall_timeout = limits.stall_timeout;
  config_.heartbeat_interval = limits.heartbeat_interval;
  config_.heartbeat_timeout = limits.heartbeat_timeout;
  config_.extra_frames_per_second = limits.extra_frames_per_second;
}

// The kernel has answered who the peer is; what had to wait for it goes on.
void Endpoint::on_peer_known(uint32_t slot) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  cold.edge |= kEdgePeerKnown;
  if (row.phase != Phase::kHead) return;
  if (cold.edge & kEdgeAwaitsProxy) {
    if (row.input != kNone) read_proxy_header(slot, {});
    return;
  }
  const bool speaks_for_others = config_.edge.forwarded != protocol::ForwardedField::kNone &&
                                 config_.edge.trusted.contains(address_of(cold));
  if (!speaks_for_others && !admit(slot)) return;
  if (row.input != kNone) consume(slot, {});
}

// Bytes in front of everything else: a PROXY header, perhaps in pieces, perhaps with more behind
// it.
void Endpoint::read_proxy_header(uint32_t slot, base::MutableBytes bytes) {
  Hot& row = rows_[slot];
  Cold& cold = cold_[slot];
  if (row.phase != Phase::kHead) return;
  const bool known = cold.edge & kEdgePeerKnown;
  bool kept = row.input != kNone;
  protocol::ProxyHeader header;
  protocol::ProxyStatus status = protocol::ProxyStatus::kNeedMore;
  if (!kept && known && !bytes.empty()) status = protocol::parse_proxy_header(bytes, &header);
  if (status == protocol::ProxyStatus::kNeedMore) {
    const uint32_t whole = row.input_bytes + static_cast<uint32_t>(bytes.size());
    if (!kept) cold.input_since_s = now_s_;
    row.input = inputs_.grow(row.input, row.input_bytes, whole);
    if (row.input == kNone) {
      row.input_bytes = 0;
      fail(slot, 1013, {}, CloseCause::kOverloaded);
      return;
    }
    if (!bytes.empty()) {
      std::memcpy(inputs_.data(row.input) + row.input_bytes, bytes.data(), bytes.size());
    }
    row.input_bytes = whole;
    kept = true;
    bytes = {inputs_.data(row.input), whole};
    if (!known) return;
    status = protocol::parse_proxy_header(bytes, &header);
    if (status == protocol::ProxyStatus::kNeedMore) return;
  }
  if (!config_.edge.trusted.contains(address_of(cold))) {
    refuse_proxy_header(slot, "this listener is for proxies named in listen.trusted");
    return;
  }
  if (status != protocol::ProxyStatus::kOk) {
    refuse_proxy_header(slot, protocol::describe(status));
    return;
  }
  cold.edge &= static_cast<uint8_t>(~kEdgeAwaitsProxy);
  if (header.has_address) {
    std::memcpy(cold.peer, header.source.bytes, sizeof cold.peer);
    cold.peer_port = header.source_port;
  }
  if (!admit(slot)) return;
  base::MutableBytes rest = bytes.subspan(header.bytes);
  if (!kept) {
    if (!rest.empty()) feed(slot, rest);
    return;
  }
  if (rest.empty()) {
    inputs_.free(row.input);
    row.input = kNone;
    row.input_bytes = 0;
    return;
  }
  if (row.flags & kFlagTls) {
    // Records have buffers of their own, and what they carry will want this one.
    uint8_t copy[2 * protocol::kProxyHeaderMax];
    if (rest.size() > sizeof copy) {
      refuse_proxy_header(slot, "too much came behind the PROXY header at once");
      return;
    }
    std::memcpy(copy, rest.data(), rest.size());
    rest = {copy, rest.size()};
    inputs_.free(row.input);
    row.input = kNone;
    row.input_bytes = 0;
    feed(slot, rest);
    return;
  }
  std::memmove(inputs_.data(row.input), rest.data(), rest.size());
  row.input_bytes = static_cast<uint32_t>(rest.size());
  consume(slot, {});
}

// Bytes of the client, behind what the proxy said.
void Endpoint::feed(uint32_t slot, base::MutableBytes bytes) {
  if (rows_[slot].flags & kFlagTls) {
    consume_tls(slot, bytes);
  } else {
    consume(slot, bytes);
  }
}

// Before a TLS session there is nothing that an answer could be read with, and making one would
// cost a handshake.
void Endpoint::refuse_early(uint32_t slot, int status, std::string_view code,
                            std::string_view message, uint32_t retry_after_s) {
  Hot& row = rows_[slot];
  if (!(row.flags & kFlagTls) || tls_->rows[slot].session.established()) {
    refuse_upgrade(slot, status, code, message, retry_after_s);
    return;
  }
  row.cause = CloseCause::kRefused;
  row.close_code = static_cast<uint16_t>(status);
  counters_.add(metrics::Family::kRefusals, refusal_index(code));
  finish_close(slot);
}

void Endpoint::refuse_proxy_header(uint32_t slot, std::string_view message) {
  counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(Admission::kProxyHeader));
  refuse_early(slot, 400, "malformed_upgrade", message);
}

// The client's address is known: may it be here? Once for each connection.
bool Endpoint::admit(uint32_t slot) {
  Cold& cold = cold_[slot];
  cold.edge |= kEdgeAdmitted;
  if (config_.admission == nullptr) return true;
  const base::IpAddress client = address_of(cold);
  if (config_.edge.exempt.contains(client)) return true;
  const AdmissionAnswer answer = config_.admission->enter(config_.edge.limits, client, now_);
  if (answer.verdict == Admission::kAdmitted) {
    cold.edge |= kEdgeCounted;
    return true;
  }
  counters_.add(metrics::Family::kAdmission, static_cast<uint32_t>(answer.verdict));
  const Refusal refusal = refusal_of(answer.verdict);
  refuse_early(slot, refusal.status, refusal.code, refusal.message, answer.retry_after_s);
  return false;
}

void Endpoint::leave_admission(uint32_t slot) {
  if (!(cold_[slot].edge & kEdgeCounted)) return;
  cold_[slot].edge &= static_cast<uint8_t>(~kEdgeCounted);
  config_.admission->leave(address_of(cold_[slot]));
}

// What only the request's head can tell. False: refused.
bool Endpoint::check_edge(uint32_t slot, const protocol::UpgradeRequest& request) {
  if (!config_.edge.origins.allows(request.origin)) {
    refuse_upgrade(slot, 403, "origin_denied",
                   "pages of this origin may not connect; see listen.origins");
    return false;
  }
  Cold& cold = cold_[slot];
  if (cold.edge & kEdgeAdmitted) return true;
  const base::IpAddress peer = address_of(cold);
  const base::IpAddress client = protocol::forwarded_client(
      config_.edge.forwarded,
      config_.edge.forwarded == protocol::ForwardedField::kForwarded ? request.forwarded
                                                                     : request.forwarded_for,
      peer, [this](const base::IpAddress& a) { return config_.edge.trusted.contains(a); });
  if (!(client == peer)) {
    std::memcpy(cold.peer, client.bytes, sizeof cold.peer);
    cold.peer_port = 0;
  }
  return admit(slot);
}

}  // namespace tidegate::net
