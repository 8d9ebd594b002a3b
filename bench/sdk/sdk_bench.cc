// SPDX-License-Identifier: Apache-2.0
// The client library against a running server: many clients in one thread, and what one of them
// sees over a bad network.
//
//   sdk-bench --url ws://127.0.0.1:7400/ws --secret S [--clients 10] [--seconds 20] [--rate 10]
//             [--latency 40 --jitter 20 --loss 0.02] [--wander] [--still] [--no-interpolation]
//             [--settle 5] [--thread] [--view metres] [--stand 3] [--alone] [--uring]
//             [--floor]
//
// Every client walks by steer, `rate` pictures a second, each picture a walk over all entities when
// there are at most 100 clients. Conditions (one way latency and up to `jitter` more in
// milliseconds, share of lost packets) hold for all. They walk in circles; with --wander in
// straight lines, with a new direction every second or so. Figures begin `settle` seconds after all
// are in.
// --thread: each client has its network on a thread of its own. --stand: seconds that a client
// stands before it walks, as who has just come in does; the first one walks at once, so that the
// others see somebody move; with --alone it stands as long, and nobody does.
// --uring: all links through one io_uring (uring_transport.h), handed over once a picture. --floor:
// behind it a plain send and receive of as many bytes on as many connections (loopback_floor.h).
// Says CPU a client, what poll took from the heap, corrections, and of what was shown of others,
// judged when the true path is known: how often one stood still that moved, and how far off its
// place was.
#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <deque>
#include <memory>
#include <new>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/prng.h"
#include "common/flags.h"
#include "crypto/jwt_sign.h"
#include "loopback_floor.h"
#include "tidegate/client.hpp"
#include "uring_transport.h"

namespace {
// What this thread takes from the heap while it polls.
thread_local bool polling = false;
thread_local uint64_t taken = 0;
}  // namespace

// Not inlined: compilers take malloc and free in these for a mismatch otherwise.
[[gnu::noinline]] void* operator new(size_t size) {
  taken += polling;
  if (void* p = std::malloc(size != 0 ? size : 1)) return p;
  std::abort();
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace {

double now_s() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
}
struct Cpu {
  double user = 0, kernel = 0;
};
Cpu cpu() {
  rusage u;
  getrusage(RUSAGE_SELF, &u);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return {seconds(u.ru_utime), seconds(u.ru_stime)};
}
double percentile(std::vector<double>& v, double share) {
  if (v.empty()) return 0;
  const auto at = static_cast<size_t>(share * static_cast<double>(v.size() - 1));
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(at), v.end());
  return v[at];
}

// A place at a tick of the server.
struct At {
  double tick;
  tidegate_vector place;
};
// One remote entity in the pictures of one client.
struct Seen {
  std::deque<At> truth;  // states, oldest first
  std::deque<At> shown;  // pictures that the truth has not come up with yet
  At judged{};           // the last picture that was
  bool has_judged = false;
};
struct Player {
  tidegate::Client client;
  float angle = 0;
  double turn_at = 0, in_since = 0;
  std::unordered_map<std::string, Seen> seen;
};
struct Figures {
  uint64_t pictures = 0, moving = 0, frozen = 0;
  std::vector<double> error, delay, off;
};

double apart(const tidegate_vector& a, const tidegate_vector& b) {
  return std::hypot(static_cast<double>(a.x - b.x), static_cast<double>(a.z - b.z));
}

// Where it was at that tick; states are there on both sides of it.
tidegate_vector place_at(const std::deque<At>& truth, double tick) {
  const auto b = std::lower_bound(truth.begin(), truth.end(), tick,
                                  [](const At& at, double t) { return at.tick < t; });
  if (b == truth.begin()) return b->place;
  const auto a = b - 1;
  const auto part = static_cast<float>((tick - a->tick) / (b->tick - a->tick));
  return {a->place.x + (b->place.x - a->place.x) * part, 0,
          a->place.z + (b->place.z - a->place.z) * part};
}

// A picture. What it showed is judged when the true path is known.
void look(Player& p, Figures* figures) {
  double tick = NAN;
  for (const auto& e : p.client.entities()) {
    if (std::isnan(tick)) tick = p.client.stats().shown_tick;
    if (e.is_self || std::isnan(tick)) continue;
    Seen& s = p.seen[std::string(e.id.data, e.id.size)];
    if (s.truth.empty() || e.tick > s.truth.back().tick) {
      // Out of view for a while: what was shown of it then is not judged.
      if (!s.truth.empty() && e.tick > s.truth.back().tick + 60) s = {};
      s.truth.push_back({static_cast<double>(e.tick), e.position});
    }
    s.shown.push_back({tick, e.shown});
    while (!s.shown.empty() && s.shown.front().tick <= s.truth.back().tick) {
      const At now = s.shown.front();
      s.shown.pop_front();
      if (now.tick < s.truth.front().tick) continue;
      const tidegate_vector place = place_at(s.truth, now.tick);
      if (s.has_judged && figures != nullptr &&
          apart(place, place_at(s.truth, s.judged.tick)) > 0.01) {
        ++figures->moving;
        figures->frozen += apart(s.judged.place, now.place) < 1e-4;
        figures->off.push_back(apart(place, now.place));
      }
      s.judged = now;
      s.has_judged = true;
    }
    while (s.truth.size() > 2 && s.has_judged && s.truth[1].tick < s.judged.tick) {
      s.truth.pop_front();
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  tidegate::bench::Flags flags(argc, argv);
  const std::string url = flags.text("--url", "ws://127.0.0.1:7400/ws");
  const std::string secret = flags.text("--secret", "");
  const unsigned clients = flags.count("--clients", 10);
  const double seconds = flags.number("--seconds", 20);
  const double settle = flags.number("--settle", 5);
  const double rate = flags.number("--rate", 10);
  const double stand = flags.number("--stand", 0);
  const bool still = flags.has("--still");
  const bool alone = flags.has("--alone");
  const bool wander = flags.has("--wander");
  tidegate::base::Prng random(7);
  tidegate_client_conditions bad{};
  bad.struct_size = sizeof bad;
  bad.latency_ms = flags.number("--latency", 0);
  bad.jitter_ms = flags.number("--jitter", 0);
  bad.loss = flags.number("--loss", 0);
  tidegate_client_config config{};
  config.view_distance = static_cast<float>(flags.number("--view", 0));
  config.network_thread = flags.has("--thread") ? 1 : 0;
  config.no_interpolation = flags.has("--no-interpolation") ? 1 : 0;
  const bool floor = flags.has("--floor");
  std::unique_ptr<tidegate::bench::UringTransport> uring;  // outlives the clients
  if (flags.has("--uring")) {
    std::string problem;
    uring = tidegate::bench::UringTransport::make(clients, &problem);
    if (!uring) return std::puts(problem.c_str()), 2;
    config.transport = &uring->table();
  }
  flags.refuse_unknown();

  std::vector<std::unique_ptr<Player>> players;
  for (unsigned i = 0; i < clients; ++i) {
    tidegate::crypto::MintClaims claims;
    claims.subject = "sdk" + std::to_string(i);
    claims.issued_at = std::time(nullptr);
    claims.expires_at = claims.issued_at + 3600;
    auto p = std::make_unique<Player>(
        Player{tidegate::Client({url}, tidegate::crypto::mint(secret, claims), config),
               static_cast<float>(i),
               {}});
    if (!p->client) return std::puts(p->client.problem().c_str()), 2;
    if (bad.latency_ms + bad.jitter_ms + bad.loss > 0) {
      tidegate_client_simulate(p->client.get(), &bad);
    }
    players.push_back(std::move(p));
  }

  const double frame = 1 / rate;
  Figures figures;
  unsigned connected = 0;
  double all_in = 0, begun = 0, last_report = now_s();
  Cpu before;
  uint64_t in_before = 0, out_before = 0;
  // Logins have steps, each of which would wait for the next picture.
  const double hurried = std::min(frame, 0.01);
  double pause = hurried;
  for (double next = now_s();; next += pause) {
    const double now = now_s();
    pause = all_in == 0 ? hurried : frame;
    if (uring) uring->turn();
    if (connected < clients && now - last_report > 30) {
      return std::printf("only %u of %u are in the world\n", connected, clients), 1;
    }
    if (all_in == 0 && connected == clients) all_in = now;
    if (all_in != 0 && begun == 0 && now > all_in + settle) {
      begun = now;
      for (auto& p : players) {
        in_before += p->client.stats().bytes_in;
        out_before += p->client.stats().bytes_out;
      }
      before = cpu();
    }
    if (begun != 0 && now > begun + seconds) break;
    connected = 0;
    unsigned started = 0;
    for (auto& p : players) {
      if (p->client.state() == TIDEGATE_CLIENT_CLOSED && started < 10 + clients / 500) {
        p->client.connect();
        ++started;
        last_report = now;
      }
      polling = begun != 0;
      p->client.poll(0);
      polling = false;
      if (p->client.state() != TIDEGATE_CLIENT_IN_WORLD) continue;
      ++connected;
      if (p->in_since == 0) p->in_since = now;
      // Not before all are in: the pictures of that time are too many to walk in each.
      if (!still && all_in != 0 &&
          ((p == players.front() && !alone) || now >= p->in_since + stand)) {
        if (!wander) {
          p->angle += static_cast<float>(frame) * 0.7F;
        } else if (now > p->turn_at) {
          p->turn_at = now + random.unit() * 2;
          p->angle = static_cast<float>(random.unit() * 6.28);
        }
        polling = begun != 0;
        p->client.steer({std::cos(p->angle), 0, std::sin(p->angle)}, static_cast<float>(frame),
                        p->angle);
        polling = false;
      }
      if (clients <= 100) look(*p, begun != 0 ? &figures : nullptr);
    }
    if (uring) uring->turn();
    if (begun != 0) {
      ++figures.pictures;
      if (clients <= 100) {
        for (auto& p : players) {
          const auto stats = p->client.stats();
          figures.delay.push_back(stats.delay_ms);
          figures.error.push_back(stats.prediction_error_m);
        }
      }
    }
    const double wait = next + pause - now_s();
    if (wait > 0) {
      const timespec t{static_cast<time_t>(wait),
                       static_cast<long>((wait - std::floor(wait)) * 1e9)};
      nanosleep(&t, nullptr);
    } else {
      next = now_s() - pause;
    }
  }
  const double took = now_s() - begun;
  const Cpu after = cpu();
  const double user = after.user - before.user;
  const double used = user + after.kernel - before.kernel;
  uint64_t corrections = 0, mismatches = 0, bytes = 0, bytes_out = 0, lost = 0, starved = 0;
  for (auto& p : players) {
    const auto stats = p->client.stats();
    corrections += stats.corrections;
    mismatches += stats.checksum_mismatches;
    bytes += stats.bytes_in;
    bytes_out += stats.bytes_out;
    lost += stats.reconnects;
    starved += stats.starved;
  }
  std::printf(
      "%u clients, %.1f of %.1f pictures a second, %.3f cores (%.3f in the kernel), %.2f us a "
      "client "
      "and picture, %.2f of it not in the kernel\n",
      clients, static_cast<double>(figures.pictures) / took, rate, used / took,
      (used - user) / took, used / static_cast<double>(figures.pictures) / clients * 1e6,
      user / static_cast<double>(figures.pictures) / clients * 1e6);
  std::printf("%.4f allocations a client and picture\n",
              static_cast<double>(taken) / static_cast<double>(figures.pictures) / clients);
  std::printf(
      "%llu corrections, %llu checksum mismatches, %llu connections lost, %.0f bytes in all\n",
      static_cast<unsigned long long>(corrections), static_cast<unsigned long long>(mismatches),
      static_cast<unsigned long long>(lost), static_cast<double>(bytes));
  const double each = 1.0 / (static_cast<double>(figures.pictures) * clients);
  const double in = static_cast<double>(bytes - in_before) * each;
  const double out = static_cast<double>(bytes_out - out_before) * each;
  std::printf("%.0f bytes sent and %.0f received by a client and picture\n", out, in);
  if (floor) {
    players.clear();
    uring.reset();  // with the descriptors that its links still had
    tidegate::bench::Floor f;
    if (!tidegate::bench::measure_floor(clients, rate, std::min(seconds, 10.0),
                                        static_cast<unsigned>(out + 0.5),
                                        static_cast<unsigned>(in + 0.5), &f)) {
      return std::puts("the floor could not be measured"), 1;
    }
    std::printf(
        "floor: a send and a receive of as many bytes: %.2f us; %.1f %% of the receives found "
        "nothing\n",
        f.user_us + f.kernel_us, f.empty * 100);
  }
  if (clients <= 100) {
    std::printf("prediction off by p99 %.4f m, most %.4f m; delay p50 %.0f ms, p99 %.0f ms\n",
                percentile(figures.error, 0.99), percentile(figures.error, 1),
                percentile(figures.delay, 0.5), percentile(figures.delay, 0.99));
    std::printf(
        "moving entities stood still in %.4f %% of %llu views, %llu pictures lacked state\n",
        figures.moving == 0
            ? 0.0
            : 100.0 * static_cast<double>(figures.frozen) / static_cast<double>(figures.moving),
        static_cast<unsigned long long>(figures.moving), static_cast<unsigned long long>(starved));
    std::printf("shown off the true path: p50 %.3f, p99 %.3f, most %.3f m\n",
                percentile(figures.off, 0.5), percentile(figures.off, 0.99),
                percentile(figures.off, 1));
  }
  return mismatches != 0 ? 1 : 0;
}
