// SPDX-License-Identifier: Apache-2.0
#include "sdk/poll_transport.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "client/poll_tunnel.h"

namespace tidegate::sdk {

using client::PollTunnel;

struct PollTransport::Poll {
  // A link of this transport.
  struct Link {
    void* through = nullptr;  // of the transport below; null: it polls
    std::string host;
    uint16_t port = 0;
    int32_t secure = 0;
    PollTunnel tunnel;
    void* lanes[PollTunnel::kLanes] = {};
    bool connected[PollTunnel::kLanes] = {};
    bool reached = false;  // a connection stood
    std::string problem;
    uint8_t buffer[16 * 1024];
  };
  static PollTransport& self(void* user) { return *static_cast<PollTransport*>(user); }
  static Link& of(void* handle) { return *static_cast<Link*>(handle); }
  static base::Instant now(const PollTransport& t) { return {t.below_.now_ns(t.below_.user)}; }

  static void drop(PollTransport& t, Link& link, int lane) {
    if (link.lanes[lane] != nullptr) {
      const char* why =
          t.below_.problem != nullptr ? t.below_.problem(t.below_.user, link.lanes[lane]) : nullptr;
      if (why != nullptr && why[0] != 0) link.problem = why;
      t.below_.close(t.below_.user, link.lanes[lane]);
    }
    link.lanes[lane] = nullptr;
    link.connected[lane] = false;
    link.tunnel.lost(lane, now(t));
  }

  // Moves what can be moved.
  static void drive(PollTransport& t, Link& link) {
    const tidegate_client_transport& below = t.below_;
    link.tunnel.turn(now(t));
    for (int lane = 0; lane < PollTunnel::kLanes; ++lane) {
      if (link.tunnel.is_done(lane)) drop(t, link, lane);
      if (link.lanes[lane] == nullptr) {
        if (!link.tunnel.wants_link(lane, now(t))) continue;
        link.lanes[lane] = below.open(below.user, link.host.c_str(), link.port, link.secure);
        if (link.lanes[lane] == nullptr) {
          const char* why = below.problem != nullptr ? below.problem(below.user, nullptr) : nullptr;
          if (why != nullptr && why[0] != 0) link.problem = why;
          link.tunnel.lost(lane, now(t));
          continue;
        }
        link.tunnel.linked(lane);
      }
      if (!link.connected[lane]) {
        const int32_t status = below.status(below.user, link.lanes[lane]);
        if (status < 0) drop(t, link, lane);
        if (status <= 0) continue;
        link.connected[lane] = link.reached = true;
      }
      move(t, link, lane);
    }
  }

  static void move(PollTransport& t, Link& link, int lane) {
    const tidegate_client_transport& below = t.below_;
    for (;;) {
      const base::Bytes out = link.tunnel.outgoing(lane);
      if (out.empty()) break;
      const int64_t taken = below.send(below.user, link.lanes[lane], out.data(), out.size());
      if (taken < 0) return drop(t, link, lane);
      if (taken == 0) break;
      link.tunnel.sent(lane, static_cast<size_t>(taken));
    }
    // What is answered may ask for more to be sent; that goes with the next call.
    while (!link.tunnel.is_done(lane)) {
      const int64_t came =
          below.receive(below.user, link.lanes[lane], link.buffer, sizeof link.buffer);
      if (came < 0) return drop(t, link, lane);
      if (came == 0) break;
      link.tunnel.feed(lane, {link.buffer, static_cast<size_t>(came)}, now(t));
    }
    const base::Bytes out = link.tunnel.outgoing(lane);
    if (out.empty()) return;
    const int64_t taken = below.send(below.user, link.lanes[lane], out.data(), out.size());
    if (taken > 0) link.tunnel.sent(lane, static_cast<size_t>(taken));
  }

  static void* open(void* user, const char* host, uint16_t port, int32_t secure) {
    PollTransport& t = self(user);
    auto* const link = new (std::nothrow) Link;
    if (link == nullptr) return nullptr;
    if (t.transport_ == Transport::kWebSocket) {
      link->through = t.below_.open(t.below_.user, host, port, secure);
      if (link->through == nullptr) {
        delete link;
        return nullptr;
      }
      return link;
    }
    link->host = host;
    link->port = port;
    link->secure = secure;
    link->tunnel.start();
    return link;
  }

  static int32_t status(void* user, void* handle) {
    PollTransport& t = self(user);
    Link& link = of(handle);
    return link.through != nullptr ? t.below_.status(t.below_.user, link.through) : 1;
  }

  static int64_t send(void* user, void* handle, const void* data, size_t size) {
    PollTransport& t = self(user);
    Link& link = of(handle);
    if (link.through != nullptr) return t.below_.send(t.below_.user, link.through, data, size);
    if (link.tunnel.over()) return -1;
    if (!link.tunnel.has_room()) {
      drive(t, link);
      return 0;
    }
    link.tunnel.put({static_cast<const uint8_t*>(data), size}, now(t));
    drive(t, link);
    return static_cast<int64_t>(size);
  }

  static int64_t receive(void* user, void* handle, void* data, size_t room) {
    PollTransport& t = self(user);
    Link& link = of(handle);
    if (link.through != nullptr) return t.below_.receive(t.below_.user, link.through, data, room);
    if (!link.tunnel.over() && link.tunnel.arrived().empty()) drive(t, link);
    const base::Bytes came = link.tunnel.arrived();
    if (came.empty()) return link.tunnel.over() ? -1 : 0;
    const size_t size = std::min(room, came.size());
    std::memcpy(data, came.data(), size);
    link.tunnel.taken(size);
    if (size == came.size() && !link.tunnel.over()) drive(t, link);  // the next GET leaves at once
    return static_cast<int64_t>(size);
  }

  static void close(void* user, void* handle) {
    PollTransport& t = self(user);
    Link* const link = static_cast<Link*>(handle);
    if (link->through != nullptr) {
      t.below_.close(t.below_.user, link->through);
    } else {
      drive(t, *link);  // the goodbye, as far as it can be said without waiting
      for (void* lane : link->lanes) {
        if (lane != nullptr) t.below_.close(t.below_.user, lane);
      }
    }
    delete link;
  }

  // The GET's connection is the one that has news; one that posts is looked at every few ms.
  static void wait(void* user, void* handle, int32_t for_write, int32_t most_ms) {
    constexpr int32_t kOtherLaneMs = 5;
    PollTransport& t = self(user);
    if (t.below_.wait == nullptr) return;
    if (handle == nullptr) return t.below_.wait(t.below_.user, nullptr, 0, most_ms);
    Link& link = of(handle);
    if (link.through != nullptr) {
      return t.below_.wait(t.below_.user, link.through, for_write, most_ms);
    }
    const int64_t due_ns = (link.tunnel.due() - now(t)).ns;
    most_ms =
        static_cast<int32_t>(std::clamp<int64_t>(due_ns / 1'000'000 + 1, 0, std::max(most_ms, 0)));
    const int lane = link.lanes[1] != nullptr ? 1 : 0;
    if (link.lanes[0] != nullptr && lane == 1) most_ms = std::min(most_ms, kOtherLaneMs);
    const bool write = link.lanes[lane] != nullptr &&
                       (!link.connected[lane] || !link.tunnel.outgoing(lane).empty());
    t.below_.wait(t.below_.user, link.lanes[lane], write ? 1 : 0, most_ms);
  }

  static int64_t now_ns(void* user) { return self(user).below_.now_ns(self(user).below_.user); }
  static int64_t unix_ms(void* user) { return self(user).below_.unix_ms(self(user).below_.user); }
  static uint64_t draw(void* user) { return self(user).below_.random(self(user).below_.user); }

  static const char* why(void* user, void* handle) {
    PollTransport& t = self(user);
    if (handle == nullptr || of(handle).through != nullptr) {
      void* const through = handle == nullptr ? nullptr : of(handle).through;
      return t.below_.problem != nullptr ? t.below_.problem(t.below_.user, through) : nullptr;
    }
    Link& link = of(handle);
    // Without a word of the server the reason is below, otherwise what became of the session.
    if (!link.reached || link.tunnel.problem().empty()) return link.problem.c_str();
    return link.tunnel.problem().c_str();
  }
};

tidegate_client_transport PollTransport::table() {
  tidegate_client_transport t = below_;
  t.user = this;
  t.open = Poll::open;
  t.status = Poll::status;
  t.send = Poll::send;
  t.receive = Poll::receive;
  t.close = Poll::close;
  t.wait = Poll::wait;
  t.now_ns = Poll::now_ns;
  t.unix_ms = Poll::unix_ms;
  t.random = Poll::draw;
  t.problem = Poll::why;
  return t;
}

}  // namespace tidegate::sdk
