// SPDX-License-Identifier: Apache-2.0
#include "io/sim_network.h"

#include <algorithm>

#include "base/assert.h"
#include "io/sim_link.h"

namespace tidegate::io {
namespace {

constexpr uint32_t kPieceBytesMax = 64 * 1024;

uint64_t mix(uint64_t h) {
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  h ^= h >> 32;
  return h;
}

}  // namespace

SimNetwork::SimNetwork(uint64_t seed, const SimConfig& config) : config_(config), prng_(seed) {}

SimNetwork::~SimNetwork() { TG_ASSERT(ios_.empty()); }

void SimNetwork::attach(SimIo* io) { ios_.push_back(io); }

void SimNetwork::detach(SimIo* io) {
  remove_listener(io);
  std::erase(ios_, io);
  // As a process that dies: its sockets are closed, its backlog is reset.
  std::vector<uint32_t> ids;
  for (auto& [id, link] : links_) {
    if (link->io == io) ids.push_back(id);
  }
  for (const uint32_t id : ids) {
    SimLink& link = *links_.at(id);
    if (link.server_open || !link.accepted_once) reset(link, Direction::kToClient);
    link.server_open = false;
    link.slot = UINT32_MAX;
    link.io = nullptr;
    forget_if_over(link);
  }
}

void SimNetwork::add_listener(uint16_t port, SimIo* io) { listeners_[port].push_back(io); }

void SimNetwork::remove_listener(SimIo* io) {
  for (auto it = listeners_.begin(); it != listeners_.end();) {
    std::erase(it->second, io);
    it = it->second.empty() ? listeners_.erase(it) : std::next(it);
  }
}

uint16_t SimNetwork::free_port() const {
  uint16_t port = 40000;
  while (listeners_.contains(port)) ++port;
  return port;
}

SimClientSocket* SimNetwork::connect(uint16_t port, const sockaddr_in6* from) {
  auto owned = std::make_unique<SimLink>();
  SimLink& link = *owned;
  link.id = next_link_++;
  link.port = port;
  if (from != nullptr) {
    link.client = *from;
  } else {
    // 10.0.0.0/8, mapped: a fresh address for every link, so that limits by address see many.
    const uint32_t n = next_client_++;
    link.client.sin6_family = AF_INET6;
    link.client.sin6_port = htons(static_cast<uint16_t>(1024 + n % 60000));
    uint8_t* a = link.client.sin6_addr.s6_addr;
    a[10] = a[11] = 0xff;
    a[12] = 10;
    a[13] = static_cast<uint8_t>(n >> 16);
    a[14] = static_cast<uint8_t>(n >> 8);
    a[15] = static_cast<uint8_t>(n);
  }
  link.socket.reset(new SimClientSocket(*this, link));
  SimClientSocket* socket = link.socket.get();
  links_.emplace(link.id, std::move(owned));
  travel(Arrival::kSyn, link, Direction::kToServer, 0);
  return socket;
}

void SimNetwork::release(SimClientSocket* socket) {
  SimLink& link = socket->link_;
  socket->close();
  link.client_held = false;
  forget_if_over(link);
}

// Over for the server: no slot, not in a backlog, and no SYN on its way.
void SimNetwork::forget_if_over(SimLink& link) {
  if (!link.client_held && link.io == nullptr && !link.syn_travels) links_.erase(link.id);
}

// ---- time ----------------------------------------------------------------------------------

base::Instant SimNetwork::next_event_time() const {
  for (const SimIo* io : ios_) {
    if (io->ready()) return now_;
  }
  return heap_.empty() ? base::Instant::never() : heap_.front().due;
}

void SimNetwork::advance_to(base::Instant t) {
  while (!heap_.empty() && heap_.front().due <= t) {
    std::pop_heap(heap_.begin(), heap_.end(), Later{});
    const Travel arrived = heap_.back();
    heap_.pop_back();
    if (arrived.due > now_) now_ = arrived.due;
    arrive(arrived);
  }
  if (t > now_ && t != base::Instant::never()) now_ = t;
}

void SimNetwork::push_travel(base::Instant due, Arrival arrival, const SimLink& link,
                             Direction direction, uint32_t bytes) {
  heap_.push_back({due, order_++, link.id, bytes, arrival, direction});
  std::push_heap(heap_.begin(), heap_.end(), Later{});
}

// In order behind what travels the same way already.
void SimNetwork::travel(Arrival arrival, SimLink& link, Direction direction, uint32_t bytes) {
  SimPipe& pipe = link.pipe(direction == Direction::kToServer);
  base::Instant due = now_ + config_.latency;
  if (config_.jitter.ns > 0) due = due + base::Duration{prng_.between(0, config_.jitter.ns)};
  if (arrival == Arrival::kData && config_.stall_probability > 0 &&
      prng_.chance(config_.stall_probability)) {
    due = due + config_.stall;
  }
  due = std::max(due, pipe.last_due);
  pipe.last_due = due;
  if (arrival == Arrival::kSyn) link.syn_travels = true;
  push_travel(due, arrival, link, direction, bytes);
}

void SimNetwork::resume_later(SimLink& link) {
  push_travel(now_ + base::milliseconds(1), Arrival::kResume, link, Direction::kToServer, 0);
}

// ---- streams -------------------------------------------------------------------------------

uint32_t SimNetwork::space(SimLink& link, Direction direction) const {
  const SimPipe& pipe = link.pipe(direction == Direction::kToServer);
  return pipe.charged >= config_.window_bytes ? 0 : config_.window_bytes - pipe.charged;
}

uint32_t SimNetwork::transmit(SimLink& link, Direction direction, base::Bytes bytes) {
  SimPipe& pipe = link.pipe(direction == Direction::kToServer);
  TG_ASSERT(!pipe.fin_sent);
  const auto taken = static_cast<uint32_t>(std::min<size_t>(bytes.size(), space(link, direction)));
  pipe.bytes.append(bytes.data(), taken);
  pipe.charged += taken;
  const uint32_t most = config_.chunk_bytes_max == 0 ? kPieceBytesMax : config_.chunk_bytes_max;
  for (uint32_t left = taken; left > 0;) {
    uint32_t piece = std::min(left, most);
    if (config_.chunk_bytes_max != 0) piece = static_cast<uint32_t>(1 + prng_.below(piece));
    travel(Arrival::kData, link, direction, piece);
    left -= piece;
  }
  return taken;
}

void SimNetwork::finish(SimLink& link, Direction direction) {
  SimPipe& pipe = link.pipe(direction == Direction::kToServer);
  if (pipe.fin_sent) return;
  pipe.fin_sent = true;
  travel(Arrival::kFin, link, direction, 0);
}

void SimNetwork::reset(SimLink& link, Direction direction) {
  link.pipe(direction == Direction::kToServer).fin_sent = true;
  travel(Arrival::kReset, link, direction, 0);
}

uint32_t SimNetwork::read(SimLink& link, Direction direction, uint8_t* out, uint32_t capacity) {
  SimPipe& pipe = link.pipe(direction == Direction::kToServer);
  const uint32_t taken = std::min(capacity, pipe.arrived);
  if (taken == 0) return 0;
  pipe.bytes.take(out, taken);
  pipe.arrived -= taken;
  // The credit goes the other way, out of order with data: it only opens the sender's window.
  push_travel(now_ + config_.latency, Arrival::kCredit, link, direction, taken);
  return taken;
}

// What is under way in both directions is lost; both ends see a reset.
void SimNetwork::break_link(SimLink& link) {
  link.torn = true;
  link.client_broken = true;
  link.to_client.fin_arrived = link.to_server.fin_arrived = true;
  link.to_server.reset_arrived = true;
  if (link.server_open) link.io->on_progress(link);
}

void SimNetwork::arrive(const Travel& travel) {
  const auto it = links_.find(travel.link);
  if (it == links_.end()) return;
  SimLink& link = *it->second;
  trace_hash_ =
      mix(trace_hash_ ^ static_cast<uint64_t>(travel.due.ns)) +
      mix((static_cast<uint64_t>(travel.link) << 32 | travel.bytes) ^
          static_cast<uint64_t>(travel.arrival) << 8 ^ static_cast<uint64_t>(travel.direction));
  if (link.torn) {
    if (travel.arrival == Arrival::kSyn) link.syn_travels = false;
    // Not from the wire: a receive that starved reads what had come, and then the reset.
    if (travel.arrival == Arrival::kResume && link.server_open) link.io->on_progress(link);
    return;
  }
  const bool to_server = travel.direction == Direction::kToServer;
  SimPipe& pipe = link.pipe(to_server);
  switch (travel.arrival) {
    case Arrival::kSyn:
      arrive_syn(link);
      return;
    case Arrival::kCredit: {  // `direction` names the pipe; its sender is told
      pipe.charged -= travel.bytes;
      if (!to_server && link.server_open) link.io->on_progress(link);
      return;
    }
    case Arrival::kResume:
      if (link.server_open) link.io->on_progress(link);
      return;
    case Arrival::kData:
      if (config_.reset_probability > 0 && prng_.chance(config_.reset_probability)) {
        break_link(link);
        return;
      }
      if (pipe.reset_arrived ||
          !(to_server ? link.server_open || !link.accepted_once : link.client_open)) {
        // Nobody reads this end any more: TCP answers with a reset.
        if (!pipe.reset_arrived) answer_reset(link, travel.direction);
        return;
      }
      pipe.arrived += travel.bytes;
      break;
    case Arrival::kFin:
      pipe.fin_arrived = true;
      break;
    case Arrival::kReset:
      pipe.fin_arrived = pipe.reset_arrived = true;
      if (!to_server) link.client_broken = true;
      break;
  }
  if (to_server && link.server_open) link.io->on_progress(link);
}

void SimNetwork::answer_reset(SimLink& link, Direction arrived) {
  const Direction back =
      arrived == Direction::kToServer ? Direction::kToClient : Direction::kToServer;
  if (link.pipe(back == Direction::kToServer).reset_arrived || link.reset_answered) return;
  link.reset_answered = true;
  reset(link, back);
}

void SimNetwork::arrive_syn(SimLink& link) {
  link.syn_travels = false;
  const auto it = listeners_.find(link.port);
  if (it == listeners_.end()) {
    refuse(link);
    return;
  }
  uint64_t key = 0;
  for (const uint8_t byte : link.client.sin6_addr.s6_addr) key = key * 131 + byte;
  key = mix(key * 65537 + link.client.sin6_port);
  link.io = it->second[key % it->second.size()];
  link.io->on_syn(link);
}

void SimNetwork::refuse(SimLink& link) {
  link.io = nullptr;
  reset(link, Direction::kToClient);
  forget_if_over(link);
}

// ---- client end ----------------------------------------------------------------------------

uint32_t SimClientSocket::send(base::Bytes bytes) {
  if (!link_.client_open || link_.client_broken || link_.to_server.fin_sent) return 0;
  return network_.transmit(link_, SimNetwork::Direction::kToServer, bytes);
}

uint32_t SimClientSocket::receive(base::MutableBytes out) {
  return network_.read(link_, SimNetwork::Direction::kToClient, out.data(),
                       static_cast<uint32_t>(out.size()));
}

uint32_t SimClientSocket::readable_bytes() const { return link_.to_client.arrived; }

void SimClientSocket::finish() {
  if (link_.client_open && !link_.client_broken) {
    network_.finish(link_, SimNetwork::Direction::kToServer);
  }
}

void SimClientSocket::close() {
  if (!link_.client_open) return;
  link_.client_open = false;
  if (link_.client_broken) return;
  if (link_.to_client.arrived > 0) {
    network_.reset(link_, SimNetwork::Direction::kToServer);
  } else {
    network_.finish(link_, SimNetwork::Direction::kToServer);
  }
}

void SimClientSocket::reset() {
  if (!link_.client_open) return;
  link_.client_open = false;
  if (link_.client_broken) return;
  link_.client_broken = true;
  network_.reset(link_, SimNetwork::Direction::kToServer);
}

bool SimClientSocket::accepted() const { return link_.accepted_once; }
bool SimClientSocket::ended() const {
  return link_.to_client.fin_arrived && link_.to_client.arrived == 0 && !link_.client_broken;
}
bool SimClientSocket::broken() const { return link_.client_broken; }
const sockaddr_in6& SimClientSocket::address() const { return link_.client; }

}  // namespace tidegate::io
