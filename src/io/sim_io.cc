// SPDX-License-Identifier: Apache-2.0
#include "io/sim_io.h"

#include <algorithm>
#include <cerrno>

#include "base/assert.h"
#include "io/sim_link.h"

namespace tidegate::io {
namespace {

constexpr uint32_t kNoSlot = UINT32_MAX;
constexpr size_t kEventsPerPoll = 511;  // as UringIo

}  // namespace

struct SimIo::Slot {
  SimLink* link = nullptr;  // null: free
  uint32_t generation = 0;
  bool named = false;  // generation is set
  bool receiving = false;
  bool ended = false;     // kEnded was queued
  bool in_ready = false;  // in ready_slots_
  bool paused = false;    // a receive that ended for want of a buffer, resumes by itself
  bool watching = false;
  bool closing = false;  // kClosed is queued
  sockaddr_in6 peer{};
};

SimIo::SimIo(SimNetwork& network, const IoLimits& limits)
    : network_(network), limits_(limits), slots_(limits.sockets) {
  buffer_memory_.resize(size_t{limits.buffers} * limits.buffer_bytes);
  for (uint32_t i = limits.buffers; i > 0; --i) {
    free_buffers_.push_back(static_cast<uint16_t>(i - 1));
  }
  network_.attach(this);
}

SimIo::~SimIo() { network_.detach(this); }

IoStatus SimIo::listen(const ListenSpec& spec, uint16_t* port_out) {
  TG_ASSERT(ports_.size() < kListenersMax);
  uint16_t port = ntohs(spec.address.sin6_port);
  if (port == 0) port = network_.free_port();
  if (port_out != nullptr) *port_out = port;
  ports_.push_back(port);
  backlog_max_ = spec.backlog;
  accepting_ = true;
  network_.add_listener(port, this);
  return IoStatus::kOk;
}

void SimIo::stop_accepting() {
  if (!accepting_) return;
  accepting_ = false;
  table_full_ = false;
  ports_.clear();
  network_.remove_listener(this);
  while (!backlog_.empty()) {
    SimLink* link = backlog_.front();
    backlog_.pop_front();
    network_.refuse(*link);
  }
}

SimIo::Slot& SimIo::claim(uint32_t slot, uint32_t generation) {
  TG_ASSERT(slot < limits_.sockets);
  Slot& s = slots_[slot];
  TG_ASSERT(s.link != nullptr && !s.closing);
  if (!s.named) {
    s.named = true;
    s.generation = generation & 0xffffff;
  }
  TG_ASSERT(s.generation == (generation & 0xffffff));
  return s;
}

void SimIo::push(Event event, uint32_t slot, uint32_t generation, int32_t result) {
  Completion c;
  c.event = event;
  c.slot = slot;
  c.generation = generation;
  c.result = result;
  queued_.push_back(c);
}

// ---- from the network ----------------------------------------------------------------------

void SimIo::on_syn(SimLink& link) {
  if (backlog_.size() >= static_cast<size_t>(std::max(backlog_max_, 1))) {
    network_.refuse(link);
    return;
  }
  backlog_.push_back(&link);
  accept_waiting();
}

void SimIo::accept_waiting() {
  while (!backlog_.empty() && accepting_ && !table_full_) {
    SimLink* link = backlog_.front();
    backlog_.pop_front();
    uint32_t slot = 0;
    while (slot < limits_.sockets && slots_[slot].link != nullptr) ++slot;
    if (slot == limits_.sockets) {
      // As the kernel: the client was accepted, found no place and is dropped; accepting rests
      // until a slot is free.
      table_full_ = true;
      push(Event::kAccepted, kNoSlot, 0, -ENFILE);
      network_.refuse(*link);
      return;
    }
    slots_[slot] = {};
    slots_[slot].link = link;
    slots_[slot].peer = link->client;
    link->slot = slot;
    link->server_open = link->accepted_once = true;
    ++open_sockets_;
    push(Event::kAccepted, slot, 0, 0);
    const auto listener = std::find(ports_.begin(), ports_.end(), link->port);
    queued_.back().buffer = static_cast<uint16_t>(listener - ports_.begin());
  }
}

void SimIo::on_progress(SimLink& link) {
  Slot& s = slots_[link.slot];
  s.paused = false;
  mark_ready(link.slot);
  if (s.watching && (link.to_server.reset_arrived || writable(link))) {
    s.watching = false;
    push(Event::kWritable, link.slot, s.generation, 0);
  }
}

// As Linux: a third of the buffer must be free again.
bool SimIo::writable(SimLink& link) const {
  const uint32_t space = network_.space(link, SimNetwork::Direction::kToClient);
  return space > 0 && space >= network_.config_.window_bytes / 3;
}

void SimIo::mark_ready(uint32_t slot) {
  Slot& s = slots_[slot];
  if (s.in_ready || !s.receiving || s.ended || s.closing) return;
  if (s.link->to_server.arrived == 0 && !s.link->to_server.fin_arrived) return;
  s.in_ready = true;
  ready_slots_.push_back(slot);
}

// ---- receive -------------------------------------------------------------------------------

void SimIo::start_receive(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  TG_ASSERT(!s.receiving);
  s.receiving = true;
  mark_ready(slot);
}

void SimIo::recycle(uint16_t buffer) {
  TG_ASSERT(buffer < limits_.buffers && buffers_out_ > 0);
  --buffers_out_;
  free_buffers_.push_back(buffer);
}

// Fills one buffer of `slot`, or ends its stream. False: it has to wait for a buffer.
bool SimIo::receive_one(uint32_t slot) {
  Slot& s = slots_[slot];
  SimPipe& pipe = s.link->to_server;
  if (pipe.arrived == 0) {
    if (pipe.fin_arrived) {
      s.ended = true;
      push(Event::kEnded, slot, s.generation, pipe.reset_arrived ? -ECONNRESET : 0);
    }
    return true;
  }
  if (free_buffers_.empty()) return false;
  const double starvation = network_.config_.starvation_probability;
  if (starvation > 0 && network_.prng_.chance(starvation)) {
    s.paused = true;
    network_.resume_later(*s.link);
    return true;
  }
  const uint16_t buffer = free_buffers_.back();
  free_buffers_.pop_back();
  ++buffers_out_;
  uint8_t* data = buffer_memory_.data() + size_t{buffer} * limits_.buffer_bytes;
  const uint32_t size =
      network_.read(*s.link, SimNetwork::Direction::kToServer, data, limits_.buffer_bytes);
  push(Event::kReceived, slot, s.generation, static_cast<int32_t>(size));
  queued_.back().buffer = buffer;
  queued_.back().data = data;
  return true;
}

void SimIo::receive_ready() {
  // Each socket gets one buffer a round, first come first served.
  for (size_t i = ready_slots_.size(); i > 0 && queued_.size() < kEventsPerPoll; --i) {
    const uint32_t slot = ready_slots_.front();
    ready_slots_.pop_front();
    if (slots_[slot].link != nullptr && !slots_[slot].closing && !receive_one(slot)) {
      ready_slots_.push_back(slot);  // until a buffer comes back; all keep their order
      continue;
    }
    slots_[slot].in_ready = false;
    if (slots_[slot].link != nullptr && !slots_[slot].paused) mark_ready(slot);
  }
}

bool SimIo::ready() const {
  if (waker_.woken() || !queued_.empty()) return true;
  for (const uint32_t slot : ready_slots_) {
    const Slot& s = slots_[slot];
    if (s.link == nullptr || s.closing) continue;
    if (s.link->to_server.arrived == 0 || !free_buffers_.empty()) return true;
  }
  return false;
}

std::span<const Completion> SimIo::poll(base::Instant /*deadline*/) {
  run_sends();
  receive_ready();
  if (waker_.take()) push(Event::kWoken, kNoSlot, 0, 0);
  handed_out_.clear();
  const size_t count = std::min(queued_.size(), kEventsPerPoll);
  handed_out_.assign(queued_.begin(), queued_.begin() + static_cast<std::ptrdiff_t>(count));
  queued_.erase(queued_.begin(), queued_.begin() + static_cast<std::ptrdiff_t>(count));
  for (Completion& c : handed_out_) {
    if (c.event == Event::kPeerName) c.peer = &slots_[c.slot].peer;
    if (c.event == Event::kClosed) release(c.slot);
  }
  accept_waiting();  // into all the slots that became free
  return handed_out_;
}

// ---- send ----------------------------------------------------------------------------------

void SimIo::send(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) {
  claim(slot, generation);
  sends_.push_back({slot, generation & 0xffffff, {{const_cast<uint8_t*>(data), size}}});
}

void SimIo::send(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                 uint32_t total) {
  TG_ASSERT(count <= 1024);  // UIO_MAXIOV
  claim(slot, generation);
  size_t sum = 0;
  for (uint32_t i = 0; i < count; ++i) sum += parts[i].iov_len;
  TG_ASSERT(sum == total);
  sends_.push_back({slot, generation & 0xffffff, {parts, parts + count}});
}

void SimIo::send_now(const PendingSend& send) {
  SimLink* link = slots_[send.slot].link;
  if (link->to_server.reset_arrived) {
    short_sends_.push_back({send.slot, send.generation, -ECONNRESET});
    return;
  }
  if (link->to_client.fin_sent) {
    short_sends_.push_back({send.slot, send.generation, -EPIPE});
    return;
  }
  uint32_t sent = 0;
  for (const iovec& part : send.parts) {
    const uint32_t taken =
        network_.transmit(*link, SimNetwork::Direction::kToClient,
                          {static_cast<const uint8_t*>(part.iov_base), part.iov_len});
    sent += taken;
    if (taken == part.iov_len) continue;
    short_sends_.push_back({send.slot, send.generation, static_cast<int32_t>(sent)});
    return;
  }
}

// Sends of the turn that is over, in the order they were made.
void SimIo::run_sends() {
  if (sends_.empty()) return;
  if (short_taken_) short_sends_.clear();
  short_taken_ = false;
  for (const PendingSend& pending : sends_) send_now(pending);
  sends_.clear();
}

std::span<const ShortSend> SimIo::finish_sends() {
  if (short_taken_) short_sends_.clear();
  short_taken_ = false;
  run_sends();
  short_taken_ = true;
  return short_sends_;
}

void SimIo::watch_writable(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  if (s.watching) return;
  if (s.link->to_server.reset_arrived || writable(*s.link)) {
    push(Event::kWritable, slot, s.generation, 0);
  } else {
    s.watching = true;
  }
}

void SimIo::query_peer(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  push(Event::kPeerName, slot, s.generation, 0);
}

void SimIo::shut_down_send(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  run_sends();
  if (!s.link->to_server.reset_arrived) network_.finish(*s.link, SimNetwork::Direction::kToClient);
}

// ---- close ---------------------------------------------------------------------------------

void SimIo::close(uint32_t slot, uint32_t generation) {
  Slot& s = claim(slot, generation);
  run_sends();
  s.closing = true;
  s.watching = false;
  SimLink& link = *s.link;
  link.server_open = false;
  if (!link.to_server.reset_arrived && !link.torn) {
    if (link.to_server.arrived > 0) {  // unread bytes: TCP resets
      network_.reset(link, SimNetwork::Direction::kToClient);
    } else {
      network_.finish(link, SimNetwork::Direction::kToClient);
    }
  }
  drop_queued(slot);
  push(Event::kClosed, slot, s.generation, 0);
}

// As UringIo: after close() only kClosed comes. No kReceived stands here with a buffer: poll hands
// out all it fills.
void SimIo::drop_queued(uint32_t slot) {
  std::erase_if(queued_, [slot](const Completion& c) {
    return c.slot == slot && c.event != Event::kAccepted;
  });
}

void SimIo::release(uint32_t slot) {
  Slot& s = slots_[slot];
  SimLink* link = s.link;
  std::erase(ready_slots_, slot);
  s = {};
  link->slot = kNoSlot;
  link->io = nullptr;
  --open_sockets_;
  network_.forget_if_over(*link);
  table_full_ = false;
}

}  // namespace tidegate::io
