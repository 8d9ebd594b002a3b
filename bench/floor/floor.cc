// SPDX-License-Identifier: Apache-2.0
// The physical limit: an io_uring server without any protocol. It takes and gives the byte counts
// a WebSocket server would, with the product's way of using the ring (multishot accept into direct
// descriptors, multishot receive into provided buffers, one MSG_DONTWAIT send for each connection
// and turn, everything submitted in batches), and looks at no byte. What a server costs above this
// is its own doing. Clients talk to it without an upgrade (bench-client --raw).
//
//   floor --listen ADDR:PORT [--payload 64] [--publish BYTES@HZ] [--cpu N] [--connections N]
//         [--poll-wait]
//
// Echo: every N bytes received (N = a masked client frame of --payload) are answered with one
// server frame of the same payload. --publish: one shared frame to every connection, HZ times a
// second.
// Thread: one. Owner: the process. Limits: --connections.
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "common/flags.h"
#include "common/frames.h"
#include "common/ring.h"

namespace tidegate::bench {
namespace {

constexpr unsigned kReplyFramesMax = 64;  // replies that leave in one send; the rest follows

enum Kind : uint32_t { kAccept, kReceive, kSend, kClose };
uint64_t tag(Kind kind, unsigned slot) { return uint64_t{kind} << 32 | slot; }

struct Connection {
  uint32_t unanswered = 0;  // bytes received and not yet answered
  bool open = false;
  bool dirty = false;   // stands in dirty_
  bool listed = false;  // stands in live_
};

class Floor {
 public:
  Floor(const RingLimits& limits, Wait wait, int listener, size_t payload, size_t publish_bytes,
        double publish_hz)
      : ring_(limits, wait),
        listener_(listener),
        connections_(limits.files),
        request_bytes_(static_cast<uint32_t>(frame_bytes(payload, Mask::kClient))),
        reply_bytes_(static_cast<uint32_t>(frame_bytes(payload, Mask::kServer))),
        period_ns_(publish_hz > 0 ? static_cast<int64_t>(1e9 / publish_hz) : 0) {
    const std::vector<uint8_t> bytes = pattern_payload(payload);
    for (unsigned i = 0; i < kReplyFramesMax; ++i)
      append_frame(replies_, bytes.data(), payload, Mask::kServer);
    const std::vector<uint8_t> shared = pattern_payload(publish_bytes);
    append_frame(published_, shared.data(), publish_bytes, Mask::kServer);
    send_unit_ = period_ns_ > 0 ? static_cast<uint32_t>(published_.size()) : reply_bytes_;
    dirty_.reserve(limits.files);
    live_.reserve(limits.files);
  }

  [[noreturn]] void run() {
    ring_.arm_accept(listener_, tag(kAccept, 0));
    int64_t next = now_ns() + period_ns_;
    for (;;) {
      unsigned sends = answer();
      int64_t timeout = -1;
      if (period_ns_ > 0) {
        const int64_t now = now_ns();
        if (now >= next) {
          sends += publish();
          // A missed tick is not made up for: state servers replace old state by new.
          while (next <= now) next += period_ns_;
        }
        timeout = next - now;
      }
      // Every send completes inside the submitting call: one completion more is news from outside.
      ring_.submit_and_wait(sends + 1, timeout);
      reap();
    }
  }

 private:
  unsigned answer() {
    unsigned sends = 0;
    for (const unsigned slot : dirty_) {
      Connection& c = connections_[slot];
      c.dirty = false;
      for (unsigned frames = c.unanswered / request_bytes_; frames > 0 && c.open;) {
        const unsigned n = frames < kReplyFramesMax ? frames : kReplyFramesMax;
        ring_.send(slot, replies_.data(), n * reply_bytes_, tag(kSend, slot));
        c.unanswered -= n * request_bytes_;
        frames -= n;
        ++sends;
      }
    }
    dirty_.clear();
    return sends;
  }

  unsigned publish() {
    unsigned sends = 0;
    for (size_t i = 0; i < live_.size();) {
      const unsigned slot = live_[i];
      if (!connections_[slot].open) {
        connections_[slot].listed = false;
        live_[i] = live_.back();
        live_.pop_back();
        continue;
      }
      ring_.send(slot, published_.data(), static_cast<unsigned>(published_.size()),
                 tag(kSend, slot));
      ++sends;
      ++i;
    }
    return sends;
  }

  void reap() {
    io_uring_cqe* batch[256];
    while (const unsigned n = ring_.peek(batch, 256)) {
      for (unsigned i = 0; i < n; ++i) on_completion(*batch[i]);
      ring_.advance(n);
    }
    ring_.publish_buffers();
  }

  void on_completion(const io_uring_cqe& cqe) {
    const Kind kind = static_cast<Kind>(cqe.user_data >> 32);
    const unsigned slot = static_cast<unsigned>(cqe.user_data);
    switch (kind) {
      case kAccept:
        if (cqe.res >= 0) {
          const unsigned accepted = static_cast<unsigned>(cqe.res);
          Connection& c = connections_[accepted];
          c.unanswered = 0;
          c.open = true;
          if (period_ns_ > 0 && !c.listed) {
            c.listed = true;
            live_.push_back(accepted);
          }
          ring_.arm_receive(accepted, tag(kReceive, accepted));
        }
        if (!(cqe.flags & IORING_CQE_F_MORE)) ring_.arm_accept(listener_, tag(kAccept, 0));
        break;
      case kReceive:
        on_receive(slot, cqe);
        break;
      case kSend:
        // A short or refused send would skew the figures: cut the connection, the client reports
        // it.
        if (cqe.res <= 0 || static_cast<uint32_t>(cqe.res) % send_unit_ != 0) end(slot);
        break;
      case kClose:
        break;
    }
  }

  void on_receive(unsigned slot, const io_uring_cqe& cqe) {
    Connection& c = connections_[slot];
    if (cqe.flags & IORING_CQE_F_BUFFER) ring_.recycle(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.res > 0) {
      c.unanswered += static_cast<uint32_t>(cqe.res);
      if (!c.dirty && c.unanswered >= request_bytes_) {
        c.dirty = true;
        dirty_.push_back(slot);
      }
    }
    if (cqe.flags & IORING_CQE_F_MORE) return;
    if (cqe.res > 0 || cqe.res == -ENOBUFS) {
      ring_.arm_receive(slot, tag(kReceive, slot));
      return;
    }
    c.open = false;
    ring_.close(slot, tag(kClose, slot));
  }

  // The receive notices the shutdown and closes the slot.
  void end(unsigned slot) {
    if (!connections_[slot].open) return;
    io_uring_sqe* entry = ring_.sqe();
    io_uring_prep_shutdown(entry, static_cast<int>(slot), SHUT_RDWR);
    entry->flags |= IOSQE_FIXED_FILE | IOSQE_CQE_SKIP_SUCCESS;
    io_uring_sqe_set_data64(entry, tag(kClose, slot));
    connections_[slot].open = false;
  }

  Ring ring_;
  int listener_;
  std::vector<Connection> connections_;
  std::vector<unsigned> dirty_;     // slots with something to answer this turn
  std::vector<unsigned> live_;      // slots to publish to; closed ones are weeded out there
  std::vector<uint8_t> replies_;    // kReplyFramesMax server frames back to back
  std::vector<uint8_t> published_;  // the one shared frame
  uint32_t request_bytes_, reply_bytes_;
  int64_t period_ns_;   // 0: no publishing
  uint32_t send_unit_;  // every send is a multiple of this many bytes
};

int listen_on(const sockaddr_in& address) {
  const int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);  // accepted sockets inherit it
  if (bind(s, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) fail("bind", errno);
  if (listen(s, 4096) < 0) fail("listen", errno);
  return s;
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  Flags flags(argc, argv);
  const sockaddr_in address = flags.address("--listen", "127.0.0.1:7500");
  const unsigned payload = flags.count("--payload", 64);
  const std::string publish = flags.text("--publish", "");
  pin_to_cpu(static_cast<int>(flags.number("--cpu", -1)));
  RingLimits limits;
  limits.files = flags.count("--connections", 20000);
  const Wait wait = flags.has("--poll-wait") ? Wait::kPoll : Wait::kEnter;
  flags.refuse_unknown();
  unsigned publish_bytes = 0;
  double publish_hz = 0;
  if (!publish.empty() &&
      std::sscanf(publish.c_str(), "%u@%lf", &publish_bytes, &publish_hz) != 2) {
    std::fprintf(stderr, "--publish wants BYTES@HZ\n");
    return 2;
  }
  Floor server(limits, wait, listen_on(address), payload, publish_bytes, publish_hz);
  server.run();
}
