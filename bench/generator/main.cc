// SPDX-License-Identifier: Apache-2.0
// Load generator of the comparisons: opens N WebSockets (or raw connections for the floor), keeps
// them busy from one spinning thread and relates what came back to the server's CPU time, which it
// reads itself at both ends of the measured window. Spinning keeps wake-ups of this side out of the
// server's bill; generator_cpu_share says whether it really had its core to itself (about 1) and
// busy_share how much of that it needed. One JSON object goes to stdout.
//
//   bench-client --connect ADDR:PORT --mode echo|receive [--connections N] [--payload 64]
//     [--depth D] [--raw] [--warmup S] [--seconds S] [--server-pid PID] [--messages M]
//     [--until-close] [--path /] [--tokens FILE] [--sources 8] [--cpu N]
//     [--hello VIEW_METRES] [--movers K --move-hz HZ --spawn X,Y,Z]
//     [--subscribe TOPIC [--publish-bytes N --publish-hz HZ]]
//
// echo: D messages in flight on each connection, closed loop; the first reply of each connection is
// compared with what was sent. receive: counts what the server publishes. --messages M ends after
// exactly M echoes instead of a time; --until-close ends when the server closed every connection.
// Thread: one. Owner: the process. Limits: the descriptor limit.
#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <fstream>
#include <span>

#include "common/flags.h"
#include "common/frames.h"
#include "common/ring.h"
#include "generator/connect.h"
#include "generator/movers.h"

namespace tidegate::bench {
namespace {

// How long the end of a window is put off while data keeps coming.
constexpr int64_t kDrainNs = 300'000'000;

enum class Mode : uint8_t { kEcho, kReceive };

struct Plan {
  ConnectPlan connect;
  Mode mode = Mode::kEcho;
  size_t payload = 64;
  unsigned depth = 1;
  double warmup = 1, seconds = 3;
  pid_t server = 0;
  uint64_t messages = 0;  // 0: measure for `seconds`
  bool until_close = false;
  double hello = 0;  // metres; 0: no CLIENT_HELLO
  unsigned movers = 0;
  double move_hz = 20;
  Walk walk;
  std::string topic;  // all subscribe to it, the first connection publishes; empty: none
  unsigned publish_bytes = 256;
  double publish_hz = 0;
};

// CPU time of all threads of another process, exact to the scheduler's last update.
int64_t cpu_ns(pid_t pid) {
  clockid_t clock;
  timespec t;
  if (pid == 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0) return 0;
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

// Round trips in buckets of an eighth of an octave: 9 % wide, no allocation while measuring.
class Histogram {
 public:
  void add(int64_t ns) {
    const uint64_t v = static_cast<uint64_t>(std::max<int64_t>(ns, 8));
    const unsigned top = static_cast<unsigned>(std::bit_width(v)) - 1;
    ++counts_[std::min<size_t>(top * 8 + ((v >> (top - 3)) & 7), counts_.size() - 1)];
    ++total_;
  }
  double quantile_us(double q) const {
    uint64_t left = static_cast<uint64_t>(q * static_cast<double>(total_));
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (left < counts_[i]) return static_cast<double>((8 + i % 8) << (i / 8)) / 8e3;
      left -= counts_[i];
    }
    return 0;
  }

 private:
  std::array<uint64_t, 40 * 8> counts_{};
  uint64_t total_ = 0;
};

struct Client {
  FrameCounter frames;
  int64_t sent_ns = 0;
  uint32_t owed = 0;     // frames to send this turn
  uint32_t checked = 0;  // bytes of the first reply compared so far
  bool open = true;
};

struct Totals {
  uint64_t messages = 0, bytes = 0, payload_bytes = 0, receives = 0;
};

enum Kind : uint32_t { kReceive, kSend };
uint64_t tag(Kind kind, unsigned slot) { return uint64_t{kind} << 32 | slot; }

class Generator {
 public:
  Generator(const Plan& plan, const RingLimits& limits)
      : plan_(plan),
        ring_(limits, Wait::kEnter),
        clients_(plan.connect.connections),
        live_(plan.connect.connections) {
    const std::vector<uint8_t> payload = pattern_payload(plan.payload);
    for (unsigned i = 0; i < plan.depth; ++i)
      append_frame(requests_, payload.data(), payload.size(), Mask::kClient);
    append_frame(expected_, payload.data(), payload.size(), Mask::kServer);
    if (plan.hello > 0) append_hello(hello_, static_cast<float>(plan.hello));
    if (!plan.topic.empty()) {
      append_subscribe(hello_, plan.topic);
      append_publish(publish_, plan.topic, plan.publish_bytes);
    }
    moves_.resize(std::min<size_t>(plan.movers, clients_.size()));
    dirty_.reserve(clients_.size());
  }

  // Takes over new connections and reads what the older ones got meanwhile: a backlog from the time
  // of connecting would otherwise be counted in the window without its CPU time.
  void add(unsigned first, std::span<const Opened> opened) {
    for (unsigned i = 0; i < opened.size(); ++i) {
      const unsigned slot = first + i;
      ring_.install(slot, opened[i].descriptor);
      ring_.arm_receive(slot, tag(kReceive, slot));
      const std::string& s = opened[i].surplus;
      take(slot, reinterpret_cast<const uint8_t*>(s.data()), s.size());
      if (!hello_.empty())
        ring_.send(slot, hello_.data(), static_cast<unsigned>(hello_.size()), tag(kSend, slot));
    }
    ring_.submit();
    const int64_t end = now_ns() + kDrainNs / 30;
    while (receive() && now_ < end) {
    }
  }

  // Runs the whole load; false when the server closed connections or answered wrongly.
  bool run() {
    const int64_t start = now_ns();
    if (plan_.mode == Mode::kEcho)
      for (unsigned slot = 0; slot < clients_.size(); ++slot) owe(slot, plan_.depth);
    if (plan_.messages > 0) {
      open_window();
      while (totals_.messages < plan_.messages && live_ > 0) turn();
    } else if (plan_.until_close) {
      open_window();
      while (live_ > 0) turn();
      live_ = static_cast<unsigned>(clients_.size());  // closing was asked for
    } else {
      const int64_t open = start + static_cast<int64_t>(plan_.warmup * 1e9);
      turn_until(open);
      open_window();
      turn_until(now_ + static_cast<int64_t>(plan_.seconds * 1e9));
    }
    close_window();
    return live_ == clients_.size() && !wrong_;
  }

  void print() const {
    const double messages = static_cast<double>(totals_.messages);
    const double ns = static_cast<double>(std::max<int64_t>(window_ns_, 1));
    const double server = static_cast<double>(server_ns_);
    std::printf(
        "{\"connections\": %zu, \"open\": %u, \"wrong\": %s, \"backlog\": %s, \"seconds\": %.3f, "
        "\"messages\": %llu, \"messages_per_second\": %.0f, \"bytes\": %llu, "
        "\"bytes_per_message\": %.1f, \"messages_per_receive\": %.2f, "
        "\"server_cpu_ns\": %lld, \"server_cpu_share\": %.3f, "
        "\"server_ns_per_message\": %.1f, \"server_ns_per_receive\": %.1f, "
        "\"generator_cpu_share\": %.3f, \"busy_share\": %.3f, \"rtt_us_p50\": %.1f, "
        "\"rtt_us_p99\": %.1f}\n",
        clients_.size(), live_, wrong_ ? "true" : "false", backlog_ ? "true" : "false", ns / 1e9,
        static_cast<unsigned long long>(totals_.messages), messages / ns * 1e9,
        static_cast<unsigned long long>(totals_.bytes),
        messages > 0 ? static_cast<double>(totals_.payload_bytes) / messages : 0,
        totals_.receives > 0 ? messages / static_cast<double>(totals_.receives) : 0,
        static_cast<long long>(server_ns_), server / ns, messages > 0 ? server / messages : 0,
        totals_.receives > 0 ? server / static_cast<double>(totals_.receives) : 0,
        static_cast<double>(own_ns_) / ns, 1 - static_cast<double>(idle_ns_) / ns,
        trips_.quantile_us(0.5), trips_.quantile_us(0.99));
  }

 private:
  // What a server publishes is cut at the first moment after `end` when everything that arrived is
  // read, so that no delivery is counted without its CPU time. A closed loop has no backlog.
  void turn_until(int64_t end) {
    bool idle = plan_.mode == Mode::kEcho;
    while (now_ < end) turn();
    while (!idle && now_ < end + kDrainNs) idle = !turn();
    if (!idle) backlog_ = true;
  }

  // False when there was nothing to do.
  bool turn() {
    const int64_t before = now_;
    now_ = now_ns();
    if (!moves_.empty() && now_ >= next_move_) move();
    if (plan_.publish_hz > 0 && now_ >= next_publish_) publish();
    const bool work = !dirty_.empty();
    for (const unsigned slot : dirty_) {
      Client& c = clients_[slot];
      uint32_t n = c.owed;
      if (plan_.messages > 0)
        n = static_cast<uint32_t>(std::min<uint64_t>(n, plan_.messages - sent_));
      c.owed = 0;
      if (n == 0 || !c.open) continue;
      sent_ += n;
      c.sent_ns = now_;
      ring_.send(slot, requests_.data(), static_cast<unsigned>(n * requests_.size() / plan_.depth),
                 tag(kSend, slot));
    }
    dirty_.clear();
    if (work) ring_.submit();
    const bool got = receive();
    if (!got && !work && measuring_) idle_ns_ += now_ - before;
    return got || work;
  }

  // One batch: its replies are answered before more are looked at.
  bool receive() {
    io_uring_cqe* batch[256];
    const unsigned n = ring_.peek(batch, 256);
    if (n == 0) return false;
    now_ = now_ns();
    for (unsigned i = 0; i < n; ++i) on_completion(*batch[i]);
    ring_.advance(n);
    ring_.publish_buffers();
    return true;
  }

  void on_completion(const io_uring_cqe& cqe) {
    const unsigned slot = static_cast<unsigned>(cqe.user_data);
    if (cqe.user_data >> 32 == kSend) {
      if (cqe.res <= 0) drop(slot);
      return;
    }
    if (cqe.res > 0 && (cqe.flags & IORING_CQE_F_BUFFER))
      take(slot, ring_.buffer(cqe.flags >> IORING_CQE_BUFFER_SHIFT), static_cast<size_t>(cqe.res));
    if (cqe.flags & IORING_CQE_F_BUFFER) ring_.recycle(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.flags & IORING_CQE_F_MORE) return;
    if (cqe.res > 0 || cqe.res == -ENOBUFS) {
      ring_.publish_buffers();
      ring_.arm_receive(slot, tag(kReceive, slot));
      ring_.submit();
    } else {
      drop(slot);
    }
  }

  void take(unsigned slot, const uint8_t* bytes, size_t n) {
    Client& c = clients_[slot];
    if (plan_.mode == Mode::kEcho && c.checked < expected_.size()) {
      const size_t k = std::min(n, expected_.size() - c.checked);
      if (std::memcmp(bytes, expected_.data() + c.checked, k) != 0) wrong_ = true;
      c.checked += static_cast<uint32_t>(k);
    }
    const unsigned frames = c.frames.feed(bytes, n);
    const uint64_t payload = c.frames.take_payload_bytes();
    totals_.messages += frames;
    totals_.bytes += n;
    totals_.payload_bytes += payload;
    ++totals_.receives;
    if (plan_.mode == Mode::kEcho && frames > 0) {
      if (measuring_) trips_.add(now_ - c.sent_ns);
      owe(slot, frames);
    }
    if (c.frames.saw_close() && !plan_.until_close) drop(slot);
  }

  void owe(unsigned slot, uint32_t frames) {
    if (clients_[slot].owed == 0) dirty_.push_back(slot);
    clients_[slot].owed += frames;
  }

  void drop(unsigned slot) {
    if (!clients_[slot].open) return;
    clients_[slot].open = false;
    --live_;
  }

  // One walker after the other, evenly spread over the period, so that every tick sees a change.
  void move() {
    const unsigned walker = next_walker_ % moves_.size();
    moves_[walker].clear();
    append_move(moves_[walker], plan_.walk, walker, static_cast<double>(now_) / 1e9,
                static_cast<uint32_t>(next_walker_ / moves_.size() + 1));
    ring_.send(walker, moves_[walker].data(), static_cast<unsigned>(moves_[walker].size()),
               tag(kSend, walker));
    ring_.submit();
    ++next_walker_;
    next_move_ = std::max(next_move_, now_ - 1'000'000'000) +
                 static_cast<int64_t>(1e9 / (plan_.move_hz * static_cast<double>(moves_.size())));
  }

  // What is late is made up for, up to a tenth of a second.
  void publish() {
    next_publish_ =
        std::max(next_publish_, now_ - 100'000'000) + static_cast<int64_t>(1e9 / plan_.publish_hz);
    ring_.send(0, publish_.data(), static_cast<unsigned>(publish_.size()), tag(kSend, 0));
    ring_.submit();
  }

  void open_window() {
    totals_ = {};
    measuring_ = true;
    server_ns_ = -cpu_ns(plan_.server);
    own_ns_ = -cpu_ns(getpid());
    window_ns_ = -now_ns();
  }
  void close_window() {
    server_ns_ += cpu_ns(plan_.server);
    own_ns_ += cpu_ns(getpid());
    window_ns_ += now_ns();
    measuring_ = false;
  }

  const Plan& plan_;
  Ring ring_;
  std::vector<Client> clients_;
  std::vector<unsigned> dirty_;  // slots with frames to send this turn
  std::vector<uint8_t> requests_, expected_, hello_, publish_;
  std::vector<std::vector<uint8_t>> moves_;
  Totals totals_;
  Histogram trips_;
  uint64_t sent_ = 0;
  int64_t now_ = 0, next_move_ = 0, next_publish_ = 0;
  int64_t idle_ns_ = 0, window_ns_ = 0, server_ns_ = 0, own_ns_ = 0;
  uint64_t next_walker_ = 0;
  unsigned live_;
  bool measuring_ = false;
  bool backlog_ = false;  // the window was cut with data still waiting to be read
  bool wrong_ = false;    // an echo was not what had been sent
};

Plan read_plan(Flags& flags) {
  Plan p;
  p.connect.server = flags.address("--connect", "127.0.0.1:7500");
  p.connect.connections = flags.count("--connections", 1000);
  p.connect.sources = flags.count("--sources", 8);
  p.connect.raw = flags.has("--raw");
  p.connect.path = flags.text("--path", "/");
  std::ifstream tokens(flags.text("--tokens", "/dev/null"));
  for (std::string line; std::getline(tokens, line);) p.connect.tokens.push_back(line);
  const std::string mode = flags.text("--mode", "echo");
  if (mode != "echo" && mode != "receive") {
    std::fprintf(stderr, "--mode: want echo or receive\n");
    std::exit(2);
  }
  p.mode = mode == "echo" ? Mode::kEcho : Mode::kReceive;
  p.payload = flags.count("--payload", 64);
  p.depth = std::max(1u, flags.count("--depth", 1));
  p.warmup = flags.number("--warmup", 1);
  p.seconds = flags.number("--seconds", 3);
  p.server = static_cast<pid_t>(flags.number("--server-pid", 0));
  p.messages = static_cast<uint64_t>(flags.number("--messages", 0));
  p.until_close = flags.has("--until-close");
  p.hello = flags.number("--hello", 0);
  p.movers = flags.count("--movers", 0);
  p.move_hz = flags.number("--move-hz", 20);
  p.topic = flags.text("--subscribe", "");
  p.publish_bytes = flags.count("--publish-bytes", 256);
  p.publish_hz = flags.number("--publish-hz", 0);
  const std::string spawn = flags.text("--spawn", "0,0,0");
  if (std::sscanf(spawn.c_str(), "%f,%f,%f", &p.walk.spawn[0], &p.walk.spawn[1],
                  &p.walk.spawn[2]) != 3) {
    std::fprintf(stderr, "--spawn: want X,Y,Z\n");
    std::exit(2);
  }
  pin_to_cpu(static_cast<int>(flags.number("--cpu", -1)));
  flags.refuse_unknown();
  return p;
}

}  // namespace
}  // namespace tidegate::bench

int main(int argc, char** argv) {
  using namespace tidegate::bench;
  Flags flags(argc, argv);
  const Plan plan = read_plan(flags);
  rlimit descriptors;
  getrlimit(RLIMIT_NOFILE, &descriptors);
  descriptors.rlim_cur = descriptors.rlim_max;
  setrlimit(RLIMIT_NOFILE, &descriptors);
  RingLimits limits;
  limits.files = plan.connect.connections;
  limits.buffers = 8192;
  Generator generator(plan, limits);
  open_connections(plan.connect, [&](unsigned first, std::span<const Opened> opened) {
    generator.add(first, opened);
  });
  const bool good = generator.run();
  generator.print();
  return good ? 0 : 1;
}
