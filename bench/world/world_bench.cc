// SPDX-License-Identifier: Apache-2.0
// What a tick of the world costs: input, encode of each encoding, gather. One slice, walkers spread
// over 8 x 8 cells, each sends every tick. `hash` is the world's state at the end: it must not
// change when only speed does. The time of a part is taken inside the tick, so the parts that are
// not measured do not count.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <vector>

#include "base/prng.h"
#include "world/interest.h"
#include "world/world_slice.h"

namespace tidegate::world {
namespace {

class Run final : public SliceEvents, public InterestEvents, public PublicationSink {
 public:
  enum Part { kInput, kSimulate, kEncode, kStore, kGather, kParts };

  Run(uint32_t walkers, uint32_t watchers, Encoding encoding)
      : config_(config_for(walkers)),
        slice_(config_, {0}),
        interest_(config_, watchers + 1, 4096),
        positions_(walkers),
        heading_(walkers),
        watchers_(watchers) {
    base::Prng prng(5);
    for (uint32_t i = 0; i < walkers; ++i) {
      positions_[i] = {static_cast<int32_t>(prng.below(kSide)), 0,
                       static_cast<int32_t>(prng.below(kSide))};
      heading_[i] = static_cast<uint32_t>(prng.below(256));
      char name[40];
      std::snprintf(name, sizeof name, "8d7f1c52-0000-4000-8000-%012u", i);
      SpawnSpec spec;
      spec.player_id = name;
      spec.position = positions_[i];
      spec.connection_shard = {0};
      spec.connection = {i, 1};
      if (slice_.spawn({i + 1}, spec, tick_) != SpawnStatus::kOk) std::abort();
      if (i < watchers) interest_.add(i, encoding, 0, positions_[i]);
    }
    for (int i = 0; i < 4; ++i) turn();
    for (auto& ns : ns_) ns = 0;
    bytes = entities = 0;
  }

  void turn() {
    mark();
    for (uint32_t i = 0; i < positions_.size(); ++i) step(i);
    lap(kInput);
    interest_.post_changes(*this);
    slice_.simulate(tick_, *this);
    lap(kSimulate);
    slice_.encode(tick_, 1'700'000'000'000, *this);
    lap(kEncode);
    for (const Publication& p : published_) interest_.store(p);
    lap(kStore);
    for (uint32_t w = 0; w < watchers_; ++w) {
      ChunkList chunks{chunks_, 512}, world{world_, 512};
      interest_.update_budget(w, {tick_ * 16, 0, 0});
      interest_.gather(w, tick_, chunks, world);
      bytes += chunks.bytes;
      entities += chunks.entities;
    }
    lap(kGather);
    published_.clear();
    ++tick_;
  }

  int64_t ns(Part part) const { return ns_[part]; }
  const WorldSlice& slice() const { return slice_; }
  uint64_t bytes = 0, entities = 0;

  bool moved(base::ShardId, ConnectionRef connection, const MoveResult& result) override {
    if (connection.slot < watchers_) interest_.move(connection.slot, result.position);
    return true;
  }
  bool transfer(base::ShardId, base::Bytes) override { return false; }
  bool gone(EntityId, std::string_view, const Steps3&) override { return true; }
  bool interest_changed(base::ShardId, CellKey cell, uint8_t packed, uint8_t protobuf,
                        uint8_t requests) override {
    return slice_.subscribe({0}, cell, packed, protobuf, requests);
  }
  void publish(base::ShardId, const Publication& p) override { published_.push_back(p); }

 private:
  static constexpr int32_t kSide = 8 * 3200;
  static WorldConfig config_for(uint32_t walkers) {
    WorldConfig config;
    config.entities = walkers;
    config.cells = 4096;
    config.budget.bytes_per_second = 2'000'000'000;  // all is sent
    config.budget.queue_bytes = 1'000'000'000;
    return config;
  }
  // Straight ahead at about 10 m/s, a turn now and then, reflected at the edge.
  void step(uint32_t i) {
    uint32_t& h = heading_[i];
    if ((tick_ + i) % 97 == 0) h = (h * 61 + i) % 256;
    Input input{};
    input.position = positions_[i];
    input.position[0] += static_cast<int32_t>(h % 16) - 7;
    input.position[2] += static_cast<int32_t>(h / 16) - 7;
    for (int a : {0, 2}) {
      if (input.position[a] < 0 || input.position[a] >= kSide) {
        input.position[a] = positions_[i][a];
        h = 255 - h;
      }
    }
    positions_[i] = input.position;
    input.client_tick = tick_;
    input.yaw = static_cast<uint8_t>(h);
    input.has = Input::kPosition | Input::kYaw;
    (void)slice_.queue_input({i + 1}, input);
  }
  void mark() { at_ = std::chrono::steady_clock::now(); }
  void lap(Part part) {
    const auto now = std::chrono::steady_clock::now();
    ns_[part] += std::chrono::nanoseconds(now - at_).count();
    at_ = now;
  }

  WorldConfig config_;
  WorldSlice slice_;
  InterestTable interest_;
  std::vector<Steps3> positions_;
  std::vector<uint32_t> heading_;
  uint32_t watchers_;
  uint32_t tick_ = 1;
  std::vector<Publication> published_;
  Chunk chunks_[512];
  Chunk world_[512];
  std::chrono::steady_clock::time_point at_;
  int64_t ns_[kParts] = {};
};

void tick_of(benchmark::State& state, Encoding encoding) {
  const auto walkers = static_cast<uint32_t>(state.range(0));
  const auto watchers = static_cast<uint32_t>(state.range(1));
  Run run(walkers, watchers, encoding);
  for (auto _ : state) run.turn();
  const auto ticks = static_cast<double>(state.iterations());
  const double records = ticks * walkers;
  state.counters["input_ns"] = static_cast<double>(run.ns(Run::kInput)) / records;
  state.counters["simulate_ns"] = static_cast<double>(run.ns(Run::kSimulate)) / records;
  state.counters["encode_ns"] = static_cast<double>(run.ns(Run::kEncode)) / records;
  state.counters["gather_ns"] = static_cast<double>(run.ns(Run::kGather)) / (ticks * watchers);
  state.counters["bytes_per_update"] =
      static_cast<double>(run.bytes) / static_cast<double>(run.entities);
  state.counters["watcher_bytes"] = static_cast<double>(run.bytes) / (ticks * watchers);
  char label[32];
  std::snprintf(label, sizeof label, "hash %016llx",
                static_cast<unsigned long long>(run.slice().state_hash()));
  state.SetLabel(label);
}

void Packed(benchmark::State& state) { tick_of(state, Encoding::kPacked); }
void Protobuf(benchmark::State& state) { tick_of(state, Encoding::kProtobuf); }
BENCHMARK(Packed)->Args({1000, 1000})->Args({10'000, 1000})->Iterations(200);
BENCHMARK(Protobuf)->Args({1000, 1000})->Args({10'000, 1000})->Iterations(200);

// The past of 10,000 entities at 60 Hz and one second: recording a tick, one lookup between two
// ticks, and everybody around a point.
class Past {
 public:
  explicit Past(uint32_t n) : entities_(n), history_(n, 61) {
    base::Prng prng(9);
    for (uint32_t i = 0; i < n; ++i) {
      char name[16];
      std::snprintf(name, sizeof name, "e%u", i);
      const EntitySlot s = entities_.add({i + 1}, name, EntityKind::kPlayer);
      entities_.image(s).position = {static_cast<int32_t>(prng.below(25'600)), 0,
                                     static_cast<int32_t>(prng.below(25'600))};
      history_.begin(s);
    }
    for (int i = 0; i < 61; ++i) record();
  }
  void record() {
    entities_.image(tick_ % entities_.count()).position[0] += 7;
    history_.record(++tick_, entities_);
  }
  const History& history() const { return history_; }
  uint32_t tick() const { return tick_; }

 private:
  EntityTable entities_;
  History history_;
  uint32_t tick_ = 0;
};

void label_hash(benchmark::State& state, uint64_t sum) {
  char label[32];
  std::snprintf(label, sizeof label, "hash %016llx", static_cast<unsigned long long>(sum));
  state.SetLabel(label);
}

void HistoryRecord(benchmark::State& state) {
  Past past(static_cast<uint32_t>(state.range(0)));
  for (auto _ : state) past.record();
  state.SetItemsProcessed(state.iterations() * state.range(0));
  HistorySample sample{};
  const bool known = past.history().at(3, {past.tick() - 5, 100}, &sample);
  label_hash(state, known ? static_cast<uint64_t>(sample.position[0]) : 0);
}
void HistoryAt(benchmark::State& state) {
  const Past past(static_cast<uint32_t>(state.range(0)));
  base::Prng prng(4);
  uint64_t sum = 0;
  for (auto _ : state) {
    HistorySample sample{};
    const auto s = static_cast<EntitySlot>(prng.below(static_cast<uint32_t>(state.range(0))));
    const auto back = static_cast<uint32_t>(1 + prng.below(50));
    if (past.history().at(s, {past.tick() - back, 12'345}, &sample)) {
      sum = sum * 31 + static_cast<uint32_t>(sample.position[0]);
    }
  }
  label_hash(state, sum);
}
void HistoryWithin(benchmark::State& state) {
  const Past past(static_cast<uint32_t>(state.range(0)));
  uint64_t found = 0;
  for (auto _ : state) {
    past.history().within({12'800, 0, 12'800}, 1000, {past.tick() - 20, 12'345},
                          [&](EntitySlot, const HistorySample&) { ++found; });
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
  label_hash(state, found);
}
BENCHMARK(HistoryRecord)->Arg(1000)->Arg(10'000)->Iterations(2000);
BENCHMARK(HistoryAt)->Arg(1000)->Arg(10'000)->Iterations(200'000);
BENCHMARK(HistoryWithin)->Arg(1000)->Arg(10'000)->Iterations(500);

}  // namespace
}  // namespace tidegate::world

BENCHMARK_MAIN();
