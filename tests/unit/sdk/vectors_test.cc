// SPDX-License-Identifier: Apache-2.0
// Behaviour that every SDK must have to the bit: tests/conformance/sdk/vectors.json. This test
// makes the vectors anew from this code and compares; vectors.test.mjs beside them runs them
// through the SDK in TypeScript. After a change of docs/sdk-spec.md that is meant:
//   TIDEGATE_WRITE_VECTORS=1 build/debug/tests/unit-sdk --gtest_filter='SdkVectors.*'
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/prng.h"
#include "model_server.h"
#include "sdk/backoff.h"
#include "sdk/clock.h"
#include "sdk/connection.h"
#include "sdk/outbox.h"
#include "sdk/playout.h"
#include "sdk/prediction.h"
#include "sdk/simulator.h"
#include "sdk/steer_lead.h"
#include "sdk/steering.h"
#include "sdk/transport_choice.h"

namespace tidegate::sdk {
namespace {

// 17 digits say which double it is.
std::string number(double v) {
  if (std::isnan(v)) return "null";
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", v);
  return text;
}
std::string list(std::initializer_list<double> values) {
  std::string out = "[";
  for (const double v : values) out += (out.size() > 1 ? ", " : "") + number(v);
  return out + "]";
}

class Rows {
 public:
  void add(const std::string& row) { text_ += (text_.empty() ? "\n    " : ",\n    ") + row; }
  std::string list() const { return "[" + text_ + "\n  ]"; }

 private:
  std::string text_;
};

// [random, advised delay or null, wait], in one sequence; a reset where random is null.
std::string backoff() {
  Rows rows;
  base::Prng random(11);
  Backoff backoff({});
  for (int i = 0; i < 40; ++i) {
    if (i == 20) {
      backoff.reset();
      rows.add("[null, null, null]");
      continue;
    }
    const bool advised = i % 7 == 5;
    const double delay = static_cast<double>(random.below(30'000));
    if (advised) backoff.advise(delay);
    const double r = random.unit();
    const double wait = backoff.next(r);
    rows.add("[" + number(r) + ", " + (advised ? number(delay) : "null") + ", " + number(wait) +
             "]");
  }
  return rows.list();
}

// [asked at, server's time, server's tick, answered at, then: server time and tick at `answered`,
// rtt, jitter].
std::string clock() {
  Rows rows;
  base::Prng random(12);
  ClockSync clock;
  double now = 1234.5;
  for (int i = 0; i < 40; ++i) {
    now += random.unit() * 400;
    const int64_t key = clock.request(now);
    const double up = 20 + random.unit() * 30;
    const double down = 20 + random.unit() * (i % 9 == 0 ? 400 : 30);
    const auto there = static_cast<int64_t>(5000 + now + up);
    const auto tick = static_cast<uint32_t>((5000 + now + up) * 0.06);
    const double answered = now + up + down;
    clock.answer(key, there, tick, answered);
    rows.add(list({now, static_cast<double>(there), static_cast<double>(tick), answered,
                   clock.server_time(answered), clock.server_tick(answered), clock.rtt_ms(),
                   clock.jitter_ms()}));
    now = answered;
  }
  return rows.list();
}

// A trace of arrivals with a bad second in it and pictures between them: [0, tick, ms] a state
// arrives; [1, ms, tick shown, delay aimed at, states starved so far] a picture.
std::string playout() {
  Rows rows;
  base::Prng random(13);
  PlayoutClock clock;
  clock.tick_ms = 1000.0 / 60;
  double late = 0;
  double last = 0;
  for (uint32_t tick = 100; tick < 1000; tick += 1 + static_cast<uint32_t>(random.below(3))) {
    const double due = 50'000 + tick * clock.tick_ms;
    late = tick > 500 && tick < 560 ? random.unit() * 180 : random.unit() * 20;
    last = std::max(last, due + late);
    clock.on_tick(tick, last);
    rows.add("[0, " + std::to_string(tick) + ", " + number(last) + "]");
    const double picture = last + random.unit() * 8;
    const double shown = clock.shown_tick(picture);
    rows.add("[1, " + number(picture) + ", " + number(shown) + ", " + number(clock.target_ms()) +
             ", " + std::to_string(clock.starved()) + "]");
    last = std::max(last, picture);
  }
  // From here on the server ticks at two thirds of its rate.
  for (uint32_t tick = 1000; tick < 1300; ++tick) {
    last += clock.tick_ms * 1.5;
    clock.on_tick(tick, last);
    rows.add("[0, " + std::to_string(tick) + ", " + number(last) + "]");
    const double picture = last + random.unit() * 20;
    const double shown = clock.shown_tick(picture);
    rows.add("[1, " + number(picture) + ", " + number(shown) + ", " + number(clock.target_ms()) +
             ", " + std::to_string(clock.starved()) + "]");
  }
  return rows.list();
}

// [0, tick, x, y, z, yaw] a state; [1, shown, world's gap, its newest tick or null, x, y, z, yaw,
// ticks ahead] a picture; [2]: another entity from here on.
std::string track() {
  Rows rows;
  base::Prng random(14);
  Track track;
  uint32_t tick = 10;
  double shown = 4;
  const auto push = [&](const Pose& pose) {
    track.push(tick, pose);
    rows.add(list({0, static_cast<double>(tick), pose.x, pose.y, pose.z, pose.yaw}));
  };
  const auto look = [&](double gap, double newest) {
    Horizon horizon;
    horizon.gap = gap;
    if (newest >= 0) horizon.newest = newest;
    const Pose at = track.sample(shown, horizon);
    rows.add(list({1, shown, gap, newest >= 0 ? newest : std::nan(""), at.x, at.y, at.z, at.yaw,
                   track.ahead()}));
  };
  for (int i = 0; i < 60; ++i) {
    tick += i == 30 ? 90 : 1 + static_cast<uint32_t>(random.below(6));
    push({random.unit() * 100, random.unit() * 4, random.unit() * -100,
          (random.unit() * 2 - 1) * 3.14});
    for (int k = 0; k < 2; ++k) {
      shown = std::max(shown, static_cast<double>(tick) - 9) + random.unit() * 2;
      look(1 + random.unit(), -1);
    }
  }
  // A walker that turns; state that is missing for up to 20 ticks, in which it goes on; one time it
  // has stopped meanwhile, one time it is far away.
  Pose at{50, 1, -50, 0};
  double world = tick;
  track.clear();
  rows.add("[2]");
  for (int i = 0; i < 240; ++i) {
    const bool missing = i % 40 >= 15 + i / 40 && i % 40 < 30;
    ++tick;
    at.yaw += (random.unit() - 0.5) * 0.2;
    const bool stands = i > 95 && i < 115;
    if (!stands) at.x += 0.08 * (1 - at.yaw * at.yaw / 2), at.z += 0.08 * at.yaw;
    if (i == 145) at.x += 30;
    if (!missing && !stands) push(at);
    if (!missing) world = tick;
    shown = std::max(shown, tick - 5.0 + random.unit());
    look(1, world);
  }
  return rows.list();
}

// [[latency, jitter, loss, bandwidth], sent at, bytes, randoms to draw from, arrival].
std::string simulator() {
  Rows rows;
#ifdef TIDEGATE_SIMULATOR
  base::Prng random(23);
  for (const Conditions& c : {Conditions{40, 20, 0.3, 0}, Conditions{60, 40, 0.01, 500'000},
                              Conditions{10, 2, 0.5, 20'000}}) {
    Lane lane;
    double now = 1000;
    for (int i = 0; i < 40; ++i) {
      now += random.unit() * (i % 8 == 7 ? 600 : 30);
      const size_t bytes = random.below(1200);
      base::Prng same = random;
      const double arrival = lane.arrival(c, bytes, now, random);
      std::string chances = "[";
      for (int k = 0; k < 12; ++k) chances += (k > 0 ? ", " : "") + number(same.unit());
      rows.add("[" + list({c.latency_ms, c.jitter_ms, c.loss, c.bandwidth}) + ", " + number(now) +
               ", " + std::to_string(bytes) + ", " + chances + "], " + number(arrival) + "]");
    }
  }
#endif
  return rows.list();
}

// Calls of steer at 60 ticks a second and 1,067 / 256 steps a tick: [x, z, yaw, flags, dt], the
// samples made, the first one's client tick, where the prediction is, the place shown less that,
// and the bytes of PLAYER_STEER's samples as numbers.
std::string steering() {
  Rows rows;
  base::Prng random(21);
  Steering steering;
  steering.set_server(1067, 1.0 / 60);
  PredictionOptions options;
  options.user = &steering;
  options.step = [](void* user, const Vec& at, const MoveInput& input) {
    return static_cast<const Steering*>(user)->step(at, input);
  };
  Prediction p(options);
  p.reset({3, 0, -4});
  Vec direction;
  for (int i = 0; i < 160; ++i) {
    if (i % 9 == 0) direction = {random.unit() * 2.4 - 1.2, 0, random.unit() * 2.4 - 1.2};
    if (i % 31 == 30) direction = {};
    const double yaw = i % 5 == 0 ? random.unit() * 8 - 4 : 0.5;
    const auto flags = static_cast<uint32_t>(i % 40 == 7 ? 300 : 1);
    const double dt = random.unit() * 0.04;
    const wire::SteerSample sample = steer_sample(direction, yaw, flags);
    uint32_t first = 0;
    const uint32_t count = steering.advance(sample, dt, &p, &first);
    std::vector<wire::SteerSample> samples(count, sample);
    uint8_t bytes[64];
    const uint32_t size = encode_steer_runs(bytes, samples.data(), count);
    std::string run = "[";
    for (uint32_t b = 0; b < size; ++b) run += (b > 0 ? ", " : "") + std::to_string(bytes[b]);
    const Vec ahead = steering.ahead();
    rows.add("[" + list({direction.x, direction.z, yaw, static_cast<double>(flags), dt}) + ", " +
             std::to_string(count) + ", " + std::to_string(first) + ", " +
             list({p.position().x, p.position().z}) + ", " + list({ahead.x, ahead.z}) + ", " + run +
             "]]");
  }
  return rows.list();
}

// How many samples should wait at the server, on a network that is bad for a while. Rows: [0,
// states, late, latest, round trip, now], [1, waiting, now], [2, dt], [3] a stretch ends; [4]
// nothing; [5, round trip, unsure, now, 1 when
// a connection begins]; each followed by the ticks wanted, what `dt` is more, and the ticks told
// ([3] and [4]).
std::string lead() {
  Rows rows;
  base::Prng random(33);
  SteerLead lead;
  lead.set_server(21, 1000.0 / 60);
  double now = 1000;
  // Nobody moves at first: an even network, another connection over an uneven one.
  for (int i = 0; i < 16; ++i) {
    now += 150;
    if (i == 6) lead.set_server(21, 1000.0 / 60);
    const double trip = 100 + random.unit() * (i < 6 ? 20 : 60);
    const double unsure = random.unit() * (i < 6 ? 17 : 10);
    lead.on_round_trip(trip, unsure, now);
    rows.add("[[5, " + number(trip) + ", " + number(unsure) + ", " + number(now) +
             (i == 6 ? ", 1" : ", 0") + "], " + std::to_string(lead.wanted_ticks()) + ", 0, " +
             std::to_string(lead.tell()) + "]");
  }
  for (int i = 0; i < 400; ++i) {
    now += 50;
    const bool bad = i > 60 && i < 160;
    std::string what;
    double more = 0;
    switch (i % 4) {
      case 0: {
        const double late = random.unit() * (bad ? 120 : 20);
        const double most = late + random.unit() * (bad ? 60 : 10);
        lead.on_network(static_cast<uint32_t>(i), late, most, 100, now);
        what = "[0, " + std::to_string(i) + ", " + number(late) + ", " + number(most) + ", 100, " +
               number(now) + "]";
        break;
      }
      case 1: {
        const auto waiting = static_cast<uint32_t>(random.below(12));
        lead.on_buffered(waiting, now);
        what = "[1, " + std::to_string(waiting) + ", " + number(now) + "]";
        break;
      }
      case 2:
        more = lead.more(0.2);
        what = "[2, 0.2]";
        break;
      default:
        if (i % 80 == 79) lead.end_stretch();
        what = i % 80 == 79 ? "[3]" : "[4]";
        break;
    }
    rows.add("[" + what + ", " + std::to_string(lead.wanted_ticks()) + ", " + number(more) + ", " +
             std::to_string(i % 4 == 3 ? lead.tell() : 0) + "]");
  }
  return rows.list();
}

// [0, x, y, z] reset; [1, vx, vy, vz, dt] input; [2, client tick, x, y, z, corrected, now] answer;
// [3, x, y, z, now] the server's place; each followed by where the prediction is, how many inputs
// wait, how many corrections there were, and [x, y, z] shown at the last `now` plus 20.
std::string prediction() {
  Rows rows;
  base::Prng random(15);
  Prediction p;
  double now = 1000;
  Vec server{3, 0, 4};
  uint32_t answered = 0;
  std::vector<MoveInput> inputs;
  const auto add = [&](const std::string& what) {
    const Vec& at = p.position();
    const Vec shown = p.shown(now + 20);
    rows.add(what + ", " + list({at.x, at.y, at.z}) + ", " + std::to_string(p.pending()) + ", " +
             std::to_string(p.stats().corrections) + ", " + list({shown.x, shown.y, shown.z}) +
             "]");
  };
  p.reset(server);
  add("[" + list({0, server.x, server.y, server.z}));
  for (int i = 0; i < 120; ++i) {
    MoveInput in;
    in.velocity = {random.unit() * 8 - 4, 0, random.unit() * 8 - 4};
    in.dt = 1.0 / 60;
    p.apply(in);
    inputs.push_back(in);
    now += 16;
    add("[" + list({1, in.velocity.x, in.velocity.y, in.velocity.z, in.dt}));
    if (i % 4 != 3) continue;
    // The server has applied up to here, and refuses some.
    const bool refuse = i % 28 == 27;
    for (; answered + 3 < inputs.size(); ++answered) {
      if (!refuse) server = walk(nullptr, server, inputs[answered]);
    }
    Ack ack;
    ack.client_tick = answered;
    // As the wire has it: floats.
    ack.position = {static_cast<double>(static_cast<float>(server.x)), 0,
                    static_cast<double>(static_cast<float>(server.z))};
    ack.has_position = true;
    ack.corrected = refuse;
    ack.reason = refuse ? 4010 : 0;
    p.on_ack(ack, now);
    add("[" + list({2, static_cast<double>(answered), ack.position.x, 0, ack.position.z,
                    refuse ? 1.0 : 0.0, now}));
  }
  Ack ack;
  ack.client_tick = 120;
  ack.position = {1, 2, 3};
  ack.has_position = true;
  p.on_ack(ack, now);
  add("[" + list({2, 120, 1, 2, 3, 0, now}));
  now += 50;
  p.on_server_place({40, 0, 40}, now);
  add("[" + list({3, 40, 0, 40, now}));
  return rows.list();
}

// Sequences of acknowledged delivery: ["keep"], ["ack", n], ["resume", n] or ["restart"], then what
// is sent because of it.
std::string delivery() {
  Rows rows;
  Outbox box(64, 4096);
  base::Prng random(16);
  const auto sent = [&box] {
    std::string out = "[";
    while (const Waiting* w = box.next(true)) {
      out += (out.size() > 1 ? ", " : "") + std::to_string(box.sequence_of(*w));
      box.sent(*w);
    }
    return out + "]";
  };
  const uint8_t byte = 1;
  uint64_t newest = 0;
  for (int i = 0; i < 60; ++i) {
    const uint64_t what = i < 3 ? 0 : random.below(10);
    if (what < 6) {
      box.add(1000, {&byte, 1}, Keep::kAcknowledged, 5, 0, base::Instant::never());
      const std::string s = sent();
      newest = std::stoull(s.substr(1));
      rows.add("[\"keep\", null, " + s + "]");
    } else if (what < 8) {
      const uint64_t ack = newest - std::min(newest, random.below(4));
      box.on_ack(ack);
      rows.add("[\"ack\", " + std::to_string(ack) + ", " + sent() + "]");
    } else if (what < 9) {
      const uint64_t last = newest - std::min(newest, random.below(5));
      box.resume(last);
      rows.add("[\"resume\", " + std::to_string(last) + ", " + sent() + "]");
    } else {
      box.restart({});
      newest = box.unacknowledged();
      rows.add("[\"restart\", null, " + sent() + "]");
    }
  }
  return rows.list();
}

// What follows the end of a connection in the world: [close code (1006: none), DISCONNECT before it
// or null: [code, retry_after_ms, reconnect_url], state then, host of the next try or null].
std::string codes() {
  struct Farewell {
    uint32_t code;
    uint32_t retry_ms;
    const char* url;
  };
  const Farewell farewells[] = {
      {0, 0, ""}, {4016, 0, ""}, {4016, 7000, ""}, {4016, 0, "ws://elsewhere/ws"}, {4015, 0, ""}};
  Rows rows;
  for (const uint16_t code :
       {1000, 1001, 1002, 1003, 1006, 1007, 1008, 1009, 1011, 1012, 1013, 4015}) {
    for (const Farewell& f : farewells) {
      Game game;
      game.create([](auto& c) { c.endpoint_count = 2; });
      EXPECT_TRUE(game.enter());
      if (f.code != 0) {
        wire::Disconnect m;
        m.code = f.code;
        m.retry_after_ms = f.retry_ms;
        m.reconnect_url = f.url;
        game.server.send(MessageType::kDisconnect, m);
      }
      if (code == 1006) {
        game.net.wire()->ended = true;
      } else {
        game.server.close(code);
      }
      EXPECT_TRUE(game.until([&] { return game.counts[TIDEGATE_EVENT_LOST] == 1; }));
      const auto state = tidegate_client_get_state(game.client);
      if (f.retry_ms != 0 && state == TIDEGATE_CLIENT_RECONNECTING) {
        EXPECT_GE(game.retry_ms, f.retry_ms);
      }
      const bool again = game.until([&] { return game.net.wires.size() == 2; }, 20'000);
      const std::string before = f.code == 0
                                     ? "null"
                                     : "[" + std::to_string(f.code) + ", " +
                                           std::to_string(f.retry_ms) + ", \"" + f.url + "\"]";
      rows.add("[" + std::to_string(code) + ", " + before + ", \"" +
               tidegate_client_state_name(state) + "\", " +
               (again ? "\"" + game.net.wire()->host + "\"" : "null") + "]");
    }
  }
  return rows.list();
}

// Every pair of states between which a connection may go.
std::string transitions() {
  Rows rows;
  for (int32_t from = 0; from <= 6; ++from) {
    for (int32_t to = 0; to <= 6; ++to) {
      if (!is_transition(static_cast<State>(from), static_cast<State>(to))) continue;
      rows.add(std::string("[\"") + tidegate_client_state_name(static_cast<State>(from)) +
               "\", \"" + tidegate_client_state_name(static_cast<State>(to)) + "\"]");
    }
  }
  return rows.list();
}

// [ms, by, how]: a try at that time goes by that and begins so; null: another network.
std::string transport() {
  Rows rows;
  base::Prng random(17);
  TransportChoice choice(TransportPolicy::kFallBack);
  const char* const kNames[] = {"opened", "refused", "unreachable", "failed"};
  int64_t now = 0;
  for (int i = 0; i < 120; ++i) {
    now += static_cast<int64_t>(random.below(i % 10 == 9 ? 400'000 : 40'000));
    if (i % 40 == 39) {
      choice.forget();
      rows.add("null");
      continue;
    }
    const Transport by = choice.next(now);
    // Long runs of failures by WebSocket, as behind a proxy that lets only HTTP pass.
    const bool blocked = i % 60 < 40 && by == Transport::kWebSocket;
    const auto how = static_cast<Opening>(blocked || random.chance(0.2) ? 3 : random.below(3));
    choice.began(by, how);
    rows.add("[" + std::to_string(now) + ", \"" +
             (by == Transport::kPolling ? "polling" : "websocket") + "\", \"" +
             kNames[static_cast<int>(how)] + "\"]");
  }
  return rows.list();
}

TEST(SdkVectors, AreWhatThisCodeDoes) {
  if (!kHasSimulator) GTEST_SKIP() << "built without the simulator";
  const std::string path =
      std::string(TIDEGATE_SOURCE_ROOT) + "/tests/conformance/sdk/vectors.json";
  std::ostringstream made;
  made << "{\n  \"made by\": \"tests/unit/sdk/vectors_test.cc\""
       << ",\n  \"backoff\": " << backoff() << ",\n  \"clock\": " << clock()
       << ",\n  \"playout\": " << playout() << ",\n  \"track\": " << track()
       << ",\n  \"prediction\": " << prediction() << ",\n  \"steering\": " << steering()
       << ",\n  \"lead\": " << lead() << ",\n  \"delivery\": " << delivery()
       << ",\n  \"codes\": " << codes() << ",\n  \"transitions\": " << transitions()
       << ",\n  \"transport\": " << transport() << ",\n  \"simulator\": " << simulator() << "\n}\n";
  if (std::getenv("TIDEGATE_WRITE_VECTORS") != nullptr) std::ofstream(path) << made.str();
  std::ifstream file(path);
  std::ostringstream there;
  there << file.rdbuf();
  // Line by line: the first difference is what a reader wants to see.
  std::istringstream a(made.str()), b(there.str());
  std::string x, y;
  for (int line = 1; std::getline(a, x); ++line) {
    ASSERT_TRUE(std::getline(b, y)) << "the file ends before line " << line;
    ASSERT_EQ(x, y) << "line " << line;
  }
  EXPECT_FALSE(std::getline(b, y)) << "the file goes on";
}

}  // namespace
}  // namespace tidegate::sdk
