// SPDX-License-Identifier: Apache-2.0
// The client's samples and the server's buffer for them in a closed loop over a bad network, in
// virtual time and from the first step on: the client learns from the states that come down how
// deep the buffer has to be for what it sends up.
#include "sdk/steer_lead.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <vector>

#include "base/prng.h"
#include "sdk/playout.h"
#include "sdk/simulator.h"
#include "shard/steer_buffer.h"

#ifdef TIDEGATE_SIMULATOR

namespace tidegate::shard {
namespace {

constexpr uint32_t kDelayMost = 21;  // 350 ms at 60 Hz
constexpr double kTickMs = 1000.0 / 60;

struct Outcome {
  uint64_t ticks = 0, starved = 0, waited = 0;
  double share() const { return static_cast<double>(starved) / static_cast<double>(ticks); }
};

// Comes in, stands for `stands` seconds and then walks for `walks`; `told`: with what the client
// knows. `alone`: while it stands nobody else moves, so no state comes and TIME_SYNC is all it has,
// read once a picture. Both ways are lanes of the SDK's simulator.
void play(const sdk::Conditions& network, double stands, double walks, bool told, bool alone,
          uint64_t seed, Outcome* out) {
  base::Prng random(seed);
  sdk::Lane up, down;
  struct Sent {
    double at;
    uint32_t first, count, wait;
  };
  struct State {
    double at;
    uint32_t tick, waiting;
    bool acks;
  };
  std::deque<Sent> going;
  std::deque<State> coming;
  sdk::PlayoutClock clock;
  sdk::SteerLead lead;
  lead.set_server(told ? kDelayMost : 0, kTickMs);
  SteerBuffer buffer{};
  const double round_trip = 2 * network.latency_ms + network.jitter_ms;
  double owed = 0;  // of a step
  uint32_t made = 0;
  bool streams = false;
  const auto ticks = static_cast<uint32_t>((stands + walks) * 60);
  struct Trip {
    double sent, at;
  };
  std::deque<Trip> trips;
  uint32_t syncs = 0;
  double sync_at = 0, polled = 1000;
  for (uint32_t tick = 1; tick <= ticks; ++tick) {
    const double now = 1000 + tick * kTickMs;
    // The client: what came, then a picture.
    for (; !coming.empty() && coming.front().at <= now; coming.pop_front()) {
      const State& s = coming.front();
      if (clock.on_tick(s.tick, now)) {
        lead.on_network(clock.states(), clock.late_ms(), clock.late_most_ms(), round_trip, now);
      }
      if (s.acks) lead.on_buffered(s.waiting, now);
    }
    for (; !trips.empty() && trips.front().at <= now; trips.pop_front()) {
      lead.on_round_trip(now - trips.front().sent, now - polled, now);
    }
    polled = now;
    if (alone && tick <= stands * 60 && now >= sync_at) {
      trips.push_back(
          {now, down.arrival(network, 40, up.arrival(network, 40, now, random), random)});
      sync_at = now + (++syncs < 16 ? 150 : 1000);
    }
    if (tick > stands * 60) {
      owed += 1 + lead.more(kTickMs / 1000) * 60;
      const auto count = static_cast<uint32_t>(owed);
      owed -= count;
      going.push_back({up.arrival(network, 60, now, random), made + 1, count, lead.tell()});
      made += count;
    }
    // The server.
    for (; !going.empty() && going.front().at <= now; going.pop_front()) {
      const Sent& s = going.front();
      if (s.wait != 0) buffer.want(s.wait, kDelayMost);
      for (uint32_t i = 0; i < s.count; ++i) {
        wire::SteerSample forward;
        forward.direction[0] = 127;
        EXPECT_EQ(buffer.put(s.first + i, forward), SteerBuffer::Put::kOk);
      }
    }
    const uint32_t due = buffer.tick(kDelayMost);
    for (uint32_t i = 0; i < due; ++i) buffer.pop();
    streams |= due > 0;
    out->ticks += streams;
    out->starved += buffer.starved();
    out->waited += buffer.waiting();
    if (alone && tick <= stands * 60) continue;
    coming.push_back({down.arrival(network, 300, now, random), tick, buffer.waiting(), due > 0});
  }
}

Outcome play_all(const sdk::Conditions& network, double stands, double walks, bool told,
                 bool alone = false) {
  Outcome all;
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    play(network, stands, walks, told, alone, seed, &all);
  }
  return all;
}

// Of the ticks of the first minute of a walk less than one in a thousand lacks a sample, whether
// packets are lost (2 %) or the stream is stalled for 2 % of the time; without the client's word it
// is several times as many. Who walks in the moment it comes in knows nothing yet and has the first
// stalls before it, but not what follows.
TEST(SteerLead, TheFirstMinuteOfAWalk) {
  for (const double loss : {0.02, 0.0024}) {
    for (const double stands : {0.0, 3.0}) {
      const Outcome blind = play_all({40, 20, loss, 0}, stands, 60, false);
      const Outcome seeing = play_all({40, 20, loss, 0}, stands, 60, true);
      const bool at_once = loss == 0.02 && stands == 0;
      EXPECT_LT(seeing.share(), at_once ? 0.004 : 0.001) << loss << ", it stood " << stands << " s";
      EXPECT_LT(seeing.share() * (at_once ? 1.5 : 3), blind.share()) << loss << ", " << stands;
    }
  }
}

// Nobody moved before it, so no state has said anything: the round trips did.
TEST(SteerLead, TheFirstMinuteOfWhoStoodAlone) {
  for (const double loss : {0.02, 0.0024}) {
    const Outcome blind = play_all({40, 20, loss, 0}, 3, 60, false, true);
    const Outcome seeing = play_all({40, 20, loss, 0}, 3, 60, true, true);
    EXPECT_LT(seeing.share(), 0.001) << loss;
    EXPECT_LT(seeing.share() * 3, blind.share()) << loss;
    RecordProperty("share_" + std::to_string(loss), std::to_string(seeing.share()));
  }
}

TEST(SteerLead, OnAnEvenNetworkNothingIsAskedOfWhoStoodAlone) {
  const Outcome out = play_all({40, 0, 0, 0}, 3, 60, true, true);
  EXPECT_LT(out.waited, 2 * out.ticks);
  // Reading 60 times a second is no unevenness of the network's.
  sdk::SteerLead lead;
  lead.set_server(kDelayMost, kTickMs);
  for (int i = 0; i < 16; ++i) lead.on_round_trip(i % 2 == 0 ? 100 : 116.6, 16.7, i * 150);
  EXPECT_EQ(lead.wanted_ticks(), 0u);
}

TEST(SteerLead, OnAnEvenNetworkNothingIsAsked) {
  const Outcome out = play_all({40, 0, 0, 0}, 1, 60, true);
  EXPECT_LE(out.starved, 40u);
  EXPECT_LT(out.waited, 2 * out.ticks);
}

}  // namespace
}  // namespace tidegate::shard

#endif
