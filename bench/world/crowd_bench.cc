// SPDX-License-Identifier: Apache-2.0
// What crowds cost the world, without sockets: entities handed over between shards one by one and
// with their cell, 10,000 entities in 100 m x 100 m, one cell with few and with many watchers, a
// camp of 250. Times are of whole ticks or of the named part; allocations are counted by this
// program's own operator new. Counters: p50, p95, p99 in microseconds, `allocations` in all
// measured parts.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <new>
#include <vector>

#include "base/prng.h"
#include "world/interest.h"
#include "world/world_slice.h"

namespace {
uint64_t allocations = 0;
}
void* operator new(size_t bytes) {
  ++allocations;
  void* const p = std::malloc(bytes == 0 ? 1 : bytes);
  if (p == nullptr) std::abort();
  return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace tidegate::world {
namespace {

double now_us(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

// Samples of one part, room for them taken at start.
class Watch {
 public:
  explicit Watch(size_t samples) {
    cpu_.reserve(samples);
    wall_.reserve(samples);
  }
  void start() {
    allocated_ = allocations;
    wall_at_ = now_us(CLOCK_MONOTONIC);
    cpu_at_ = now_us(CLOCK_THREAD_CPUTIME_ID);
  }
  void stop() {
    cpu_.push_back(now_us(CLOCK_THREAD_CPUTIME_ID) - cpu_at_);
    wall_.push_back(now_us(CLOCK_MONOTONIC) - wall_at_);
    allocations_ += allocations - allocated_;
  }
  void report(benchmark::State& state) {
    std::sort(cpu_.begin(), cpu_.end());
    std::sort(wall_.begin(), wall_.end());
    const auto at = [](const std::vector<double>& us, double q) {
      return us[static_cast<size_t>(q * static_cast<double>(us.size() - 1))];
    };
    state.counters["p50_us"] = at(cpu_, 0.5);
    state.counters["p95_us"] = at(cpu_, 0.95);
    state.counters["p99_us"] = at(cpu_, 0.99);
    state.counters["wall_p50_us"] = at(wall_, 0.5);
    state.counters["allocations"] = static_cast<double>(allocations_);
  }

 private:
  std::vector<double> cpu_, wall_;
  double cpu_at_ = 0, wall_at_ = 0;
  uint64_t allocated_ = 0, allocations_ = 0;
};

// Slices on one thread with watchers on the first.
class Shards final : public SliceEvents, public InterestEvents, public PublicationSink {
 public:
  Shards(const WorldConfig& config, uint32_t watchers)
      : interest_(config, watchers + 1, 4096), mail_(8 << 20) {
    for (uint16_t s = 0; s < config.shard_count; ++s) {
      slices_.push_back(std::make_unique<WorldSlice>(config, ShardId{s}));
    }
    interest_.set_owners(&slices_[0]->owners());
    transfers_.reserve(16'384);
    published_.reserve(4096);
  }

  WorldSlice& slice(uint32_t s) { return *slices_[s]; }
  uint32_t tick() const { return tick_; }
  void spawn(uint32_t number, const Steps3& at) {
    char name[40];
    std::snprintf(name, sizeof name, "8d7f1c52-0000-4000-8000-%012u", number);
    SpawnSpec spec;
    spec.player_id = name;
    spec.position = at;
    spec.connection_shard = {0};
    spec.connection = {number, 1};
    WorldSlice& owner = *slices_[slices_[0]->owner_of_position(at).value];
    if (owner.spawn({number + 1}, spec, tick_) != SpawnStatus::kOk) std::abort();
  }
  void watch(uint32_t watcher, const Steps3& at) {
    interest_.add(watcher, Encoding::kPacked, 0, at);
    ++watchers_;
  }
  void send(uint32_t number, const Steps3& to, uint8_t yaw) {
    Input input{};
    input.position = to;
    input.client_tick = tick_;
    input.yaw = yaw;
    input.has = Input::kPosition | Input::kYaw;
    for (auto& slice : slices_) {
      if (slice->queue_input({number + 1}, input).status == QueueStatus::kOk) return;
    }
    std::abort();
  }
  void subscribe() { interest_.post_changes(*this); }
  void simulate() {
    for (auto& slice : slices_) slice->simulate(tick_, *this);
    for (const Transfer& t : transfers_) {
      if (!slices_[t.to]->arrive({mail_.data() + t.at, t.bytes}, tick_, *this).valid())
        std::abort();
    }
    handovers += transfers_.size();
    transfers_.clear();
    mail_used_ = 0;
  }
  void encode() {
    for (auto& slice : slices_) slice->encode(tick_, 1'700'000'000'000, *this);
  }
  void move_cell(CellKey key, ShardId to) {
    WorldSlice& from = *slices_[slices_[0]->owners().owner(key).value];
    if (!from.may_give(key, to, tick_)) std::abort();
    const base::Bytes bytes = from.give_cell(key, to, tick_);
    from.end_giving();
    moved_bytes += bytes.size();
    if (!slices_[to.value]->take_cell(key, bytes, tick_)) std::abort();
  }
  void flush() {
    for (const Publication& p : published_) interest_.store(p);
    for (uint32_t w = 0; w < watchers_; ++w) {
      ChunkList chunks{chunks_, 512}, world{world_, 512};
      interest_.update_budget(w, {tick_ * 50, 0, 0});
      interest_.gather(w, tick_, chunks, world);
      bytes += chunks.bytes;
    }
    published_.clear();
    ++tick_;
  }
  uint64_t hash() const {
    uint64_t sum = 0;
    for (const auto& slice : slices_) sum += slice->state_hash();
    return sum;
  }
  uint64_t bytes = 0, handovers = 0, moved_bytes = 0;

  bool moved(ShardId, ConnectionRef connection, const MoveResult& result) override {
    if (connection.slot < watchers_) interest_.move(connection.slot, result.position);
    return true;
  }
  bool transfer(ShardId to, base::Bytes entity) override {
    if (mail_used_ + entity.size() > mail_.size()) return false;
    std::memcpy(mail_.data() + mail_used_, entity.data(), entity.size());
    transfers_.push_back({to.value, mail_used_, entity.size()});
    mail_used_ += entity.size();
    return true;
  }
  bool gone(EntityId, std::string_view, const Steps3&) override { return true; }
  bool interest_changed(ShardId owner, CellKey cell, uint8_t packed, uint8_t protobuf,
                        uint8_t requests) override {
    return slices_[owner.value]->subscribe({0}, cell, packed, protobuf, requests);
  }
  void publish(ShardId, const Publication& p) override { published_.push_back(p); }

 private:
  struct Transfer {
    uint32_t to;
    size_t at, bytes;
  };
  std::vector<std::unique_ptr<WorldSlice>> slices_;
  InterestTable interest_;
  std::vector<uint8_t> mail_;
  size_t mail_used_ = 0;
  std::vector<Transfer> transfers_;
  std::vector<Publication> published_;
  uint32_t watchers_ = 0;
  uint32_t tick_ = 1;
  Chunk chunks_[512];
  Chunk world_[512];
};

WorldConfig config_for(uint32_t entities, uint32_t shards) {
  WorldConfig config;
  config.entities = entities + 64;
  config.cells = 4096;
  config.shard_count = shards;
  config.moved_cells = 64;
  config.max_speed = 300.0F;
  config.budget.bytes_per_second = 2'000'000'000;  // all is sent
  config.budget.queue_bytes = 1'000'000'000;
  return config;
}

void label(benchmark::State& state, uint64_t hash) {
  char text[32];
  std::snprintf(text, sizeof text, "hash %016llx", static_cast<unsigned long long>(hash));
  state.SetLabel(text);
}

// A cell whose eastern neighbour belongs to the other of two shards.
CellKey border_cell() {
  for (int16_t x = 0;; ++x) {
    if (owner_of({x, 0}, 2) != owner_of({static_cast<int16_t>(x + 1), 0}, 2)) return {x, 0};
  }
}

// All cross the border of two shards in every tick: their inputs are applied, checked, written,
// taken over and entered. The sends of the mailbox are a copy here.
void HandOver(benchmark::State& state) {
  const auto n = static_cast<uint32_t>(state.range(0));
  WorldConfig config = config_for(n, 2);
  config.history_ticks = static_cast<uint32_t>(state.range(1));
  Shards shards(config, 0);
  const int32_t border = (border_cell().x + 1) * shards.slice(0).scale().cell_steps;
  for (uint32_t i = 0; i < n; ++i) shards.spawn(i, {border - 1, 0, static_cast<int32_t>(i)});
  Watch watch(static_cast<size_t>(state.max_iterations));
  int side = 0;
  const auto turn = [&](bool measured) {
    side ^= 1;
    for (uint32_t i = 0; i < n; ++i) {
      shards.send(i, {border - 1 + side, 0, static_cast<int32_t>(i)}, 0);
    }
    if (measured) watch.start();
    shards.simulate();
    if (measured) watch.stop();
    shards.encode();
    shards.flush();
  };
  for (int i = 0; i < 8; ++i) turn(false);
  shards.handovers = 0;
  for (auto _ : state) turn(true);
  if (shards.handovers != n * static_cast<uint64_t>(state.iterations())) std::abort();
  watch.report(state);
  label(state, shards.hash());
}
BENCHMARK(HandOver)->Args({1000, 0})->Args({1000, 60})->Iterations(500);

// A cell and all that is in it goes to the other shard and back. They walk between.
void MoveCell(benchmark::State& state) {
  const auto n = static_cast<uint32_t>(state.range(0));
  WorldConfig config = config_for(n, 2);
  config.history_ticks = static_cast<uint32_t>(state.range(1));
  Shards shards(config, 4);
  for (uint32_t i = 0; i < n; ++i) {
    shards.spawn(i, {static_cast<int32_t>(i * 7 % 3200), 0, static_cast<int32_t>(i * 13 % 3200)});
  }
  for (uint32_t i = 0; i < 4; ++i) shards.watch(i, {1000, 0, 1000});
  Watch watch(static_cast<size_t>(state.max_iterations));
  const auto turn = [&](bool measured) {
    for (uint32_t i = 0; i < n; ++i) {
      const auto step = static_cast<int32_t>(shards.tick() % 20);
      shards.send(i,
                  {static_cast<int32_t>(i * 7 % 3200), step, static_cast<int32_t>(i * 13 % 3200)},
                  static_cast<uint8_t>(step));
    }
    shards.subscribe();
    shards.simulate();
    shards.encode();
    const ShardId owner = shards.slice(0).owners().owner({0, 0});
    if (measured) watch.start();
    shards.move_cell({0, 0}, {static_cast<uint16_t>(1 - owner.value)});
    if (measured) watch.stop();
    shards.flush();
  };
  for (int i = 0; i < 12; ++i) turn(false);
  shards.moved_bytes = 0;
  for (auto _ : state) turn(true);
  watch.report(state);
  state.counters["bytes_each"] =
      static_cast<double>(shards.moved_bytes) / (static_cast<double>(state.iterations()) * n);
  label(state, shards.hash());
}
BENCHMARK(MoveCell)->Args({1000, 0})->Args({1000, 60})->Args({5000, 0})->Iterations(200);

// Walkers in a square, straight on with a turn now and then.
class Walkers {
 public:
  Walkers(Shards& shards, uint32_t n, int32_t side, int32_t stride)
      : shards_(shards), positions_(n), heading_(n), side_(side), stride_(stride) {
    base::Prng prng(5);
    for (uint32_t i = 0; i < n; ++i) {
      positions_[i] = {static_cast<int32_t>(prng.below(static_cast<uint64_t>(side))), 0,
                       static_cast<int32_t>(prng.below(static_cast<uint64_t>(side)))};
      heading_[i] = static_cast<uint32_t>(prng.below(256));
      shards.spawn(i, positions_[i]);
    }
  }
  const Steps3& position(uint32_t i) const { return positions_[i]; }
  void send() {
    for (uint32_t i = 0; i < positions_.size(); ++i) {
      uint32_t& h = heading_[i];
      if ((shards_.tick() + i) % 97 == 0) h = (h * 61 + i) % 256;
      Steps3 to = positions_[i];
      to[0] += (static_cast<int32_t>(h % 16) - 7) * stride_ / 8;
      to[2] += (static_cast<int32_t>(h / 16) - 7) * stride_ / 8;
      for (int axis : {0, 2}) {
        if (to[axis] >= 0 && to[axis] < side_) continue;
        to[axis] = positions_[i][axis];
        h = 255 - h;
      }
      positions_[i] = to;
      shards_.send(i, to, static_cast<uint8_t>(h));
    }
  }

 private:
  Shards& shards_;
  std::vector<Steps3> positions_;
  std::vector<uint32_t> heading_;
  int32_t side_, stride_;
};

// Everybody moves in every tick: index (checks, cells, crossings) and encode of chain and layers.
void Dense(benchmark::State& state) {
  const auto n = static_cast<uint32_t>(state.range(0));
  Shards shards(config_for(n, 1), 64);
  Walkers walkers(shards, n, 5000, 8);  // 100 m
  for (uint32_t i = 0; i < 64; ++i) shards.watch(i, walkers.position(i));
  Watch watch(static_cast<size_t>(state.max_iterations));
  const auto turn = [&](bool measured) {
    walkers.send();
    shards.subscribe();
    if (measured) watch.start();
    shards.simulate();
    shards.encode();
    if (measured) watch.stop();
    shards.flush();
  };
  for (int i = 0; i < 20; ++i) turn(false);
  for (auto _ : state) turn(true);
  watch.report(state);
  label(state, shards.hash());
}
BENCHMARK(Dense)->Arg(1000)->Arg(10'000)->Iterations(400);

// One cell of 500 walkers; few and many watch it, in turns, so that both meet the same machine.
void Watchers(benchmark::State& state) {
  const auto many = static_cast<uint32_t>(state.range(0));
  struct Side {
    Side(uint32_t watchers)
        : shards(config_for(500, 1), watchers), walkers(shards, 500, 3200, 8), watch(10'000) {
      for (uint32_t i = 0; i < watchers; ++i) shards.watch(i, walkers.position(i % 500));
    }
    void turn(bool measured) {
      walkers.send();
      shards.subscribe();
      shards.simulate();
      if (measured) watch.start();
      shards.encode();
      if (measured) watch.stop();
      shards.flush();
    }
    Shards shards;
    Walkers walkers;
    Watch watch;
  };
  auto few_side = std::make_unique<Side>(10);
  auto many_side = std::make_unique<Side>(many);
  for (int i = 0; i < 40; ++i) {
    few_side->turn(false);
    many_side->turn(false);
  }
  for (auto _ : state) {
    few_side->turn(true);
    many_side->turn(true);
  }
  benchmark::State& s = state;
  few_side->watch.report(s);
  const double few_us = s.counters["p50_us"];
  many_side->watch.report(s);
  s.counters["ten_p50_us"] = few_us;
  s.counters["more_percent"] = (s.counters["p50_us"] / few_us - 1) * 100;
  label(s, few_side->shards.hash() + 3 * many_side->shards.hash());
}
BENCHMARK(Watchers)->Arg(1000)->Arg(2000)->Iterations(400);

// 250 players around one fire: a whole tick at 20 Hz but for the sends themselves.
void Camp(benchmark::State& state) {
  const auto n = static_cast<uint32_t>(state.range(0));
  WorldConfig config = config_for(n, 1);
  config.tick_rate = 20;
  Shards shards(config, n);
  Walkers walkers(shards, n, 1500, 4);  // 30 m
  for (uint32_t i = 0; i < n; ++i) shards.watch(i, walkers.position(i));
  Watch watch(static_cast<size_t>(state.max_iterations));
  const auto turn = [&](bool measured) {
    if (measured) watch.start();
    walkers.send();
    shards.subscribe();
    shards.simulate();
    shards.encode();
    shards.flush();
    if (measured) watch.stop();
  };
  for (int i = 0; i < 40; ++i) turn(false);
  for (auto _ : state) turn(true);
  watch.report(state);
  label(state, shards.hash());
}
BENCHMARK(Camp)->Arg(250)->Arg(1000)->Iterations(1000);

}  // namespace
}  // namespace tidegate::world

BENCHMARK_MAIN();
