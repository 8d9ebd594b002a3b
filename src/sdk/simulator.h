// SPDX-License-Identifier: Apache-2.0
// A bad network, made inside the client: latency, jitter, loss, bandwidth. It stands between the
// transport and the WebSocket, on a TCP stream: nothing is lost or overtaken, so a lost packet
// shows as a stall of all that comes behind it, until it was sent again. Built without
// TIDEGATE_SIMULATOR it is empty and passes everything. Thread: one. Owner: Link. Limits: what is
// under way is kept in memory that grows; a tool for development, not for players.
#pragma once

#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/prng.h"
#include "base/time.h"

namespace tidegate::sdk {

struct Conditions {
  double latency_ms = 0;  // one way
  double jitter_ms = 0;   // up to so much more
  double loss = 0;        // share of chunks that are lost once, 0 to 1
  double bandwidth = 0;   // bytes a second in each direction; 0: no limit
  bool good() const { return latency_ms == 0 && jitter_ms == 0 && loss == 0 && bandwidth == 0; }
};
// Null when there is no preset of that name.
const Conditions* conditions_named(std::string_view name);

#ifdef TIDEGATE_SIMULATOR
inline constexpr bool kHasSimulator = true;

// When chunks of one direction arrive. Randoms are handed in, so that a test can name them.
class Lane {
 public:
  // Of a chunk of so many bytes that is sent at `now_ms`. Never before the one before it.
  double arrival(const Conditions& c, size_t bytes, double now_ms, base::Prng& random);
  void put(base::Bytes bytes, double at_ms);
  // The front chunk when it is due, else empty; pop() takes `bytes` of it out.
  base::MutableBytes front(double now_ms);
  void pop(size_t bytes);
  bool empty() const { return chunks_.empty(); }
  double next_ms() const { return chunks_.front().at_ms; }
  void clear();

 private:
  struct Chunk {
    double at_ms = 0;
    size_t taken = 0;
    std::vector<uint8_t> bytes;
  };
  double free_at_ = 0;
  double last_at_ = 0;
  double sent_at_ = 0;  // the last chunk
  std::deque<Chunk> chunks_;
};

class Simulator {
 public:
  explicit Simulator(uint64_t seed) : random_(seed) {}
  void set(const Conditions& conditions) { conditions_ = conditions; }
  // Whether bytes take the way through the lanes.
  bool active() const { return !conditions_.good() || !out.empty() || !in.empty(); }
  void put(Lane& lane, base::Bytes bytes, double now_ms) {
    lane.put(bytes, lane.arrival(conditions_, bytes.size(), now_ms, random_));
  }
  void clear() {
    out.clear();
    in.clear();
  }
  base::Instant next_due() const;

  Lane out, in;

 private:
  Conditions conditions_;
  base::Prng random_;
};

#else
inline constexpr bool kHasSimulator = false;

class Simulator {
 public:
  explicit Simulator(uint64_t) {}
  void clear() {}
  base::Instant next_due() const { return base::Instant::never(); }
};
#endif

inline double to_ms(base::Instant t) { return static_cast<double>(t.ns) / 1e6; }

}  // namespace tidegate::sdk
