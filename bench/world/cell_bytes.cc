// SPDX-License-Identifier: Apache-2.0
// Where the bytes of packed state are: walkers of several families of movement in one world, each
// with a watcher of its own and the default budget; some of the watchers decode what they get and
// count it by part. Everything a client is sent of the world is in it, with the headers of the
// WebSocket message, its frame and its envelope; answers to its own input are not.
//
// cell-bytes [--scene NAME] [--seconds N] [--seed N] [--crowd ENTITIES] [--late SHARE]
//            [--cell-size METRES] [--budget BYTES] [--ticks 20|40|60] [--trace FILE]
//            [--keyframes DIR] [--json]
// --late: share of inputs that come a tick late. --crowd: interest.crowd_entities. --budget:
// budget.bytes_per_second; also counts the seconds, one that ends with each tick, by what they
// take of it; answers to inputs and headers are then part of the budget. --ticks: of the server, a
// second; inputs come 20 times. --keyframes: writes keyframes there, for a compressor to be tried
// on.
#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "scenes.h"
#include "wire/cell_codec.h"
#include "wire/envelope.h"
#include "world/interest.h"
#include "world/world_slice.h"

namespace tidegate::world {
namespace {

constexpr uint32_t kTicksPerSecond = 60;  // at the most, and by default
constexpr uint32_t kInputsPerSecond = 20;
constexpr uint32_t kDecoders = 24;  // watchers that decode
constexpr uint32_t kNearest = 20;
constexpr uint32_t kLoginSeconds = 4;  // of the measured ones, with a budget: counted by themselves

// What the bytes of a second are: answers and headers, keyframes, layers 0 to 2, the chain.
enum Kind : uint32_t { kOwn, kKeyframe, kLayer0, kLayer1, kLayer2, kChain, kKinds };
constexpr const char* kKindNames[kKinds] = {"own", "keyframes", "layer 0", "1", "2", "chain"};
using Kinds = std::array<uint32_t, kKinds>;

// A second that ends with each tick of one watcher.
struct Windows {
  Kinds ring[kTicksPerSecond] = {};
  Kinds sums = {};
  uint32_t at = 0, sum = 0;
  void add(const Kinds& bytes, uint32_t ticks) {
    for (uint32_t k = 0; k < kKinds; ++k) {
      sums[k] += bytes[k] - ring[at][k];
      sum += bytes[k] - ring[at][k];
    }
    ring[at] = bytes;
    at = (at + 1) % ticks;
  }
};

Kinds kinds_of(const ChunkList& chunks) {
  Kinds kinds{};
  for (uint32_t i = 0; i < chunks.count; ++i) {
    uint8_t head[wire::kCellHeadBytesMax];
    std::vector<uint8_t> payload(head, head + wire::write_cell_head(head, 1));
    payload.insert(payload.end(), chunks.items[i].data,
                   chunks.items[i].data + chunks.items[i].bytes);
    wire::CellFrames reader(payload);
    base::Bytes frame;
    uint32_t last = kChain;
    while (reader.next(&frame)) {
      wire::CellFrameHeader h;
      if (!wire::CellImage::read_header(frame, &h)) std::abort();
      last = h.keyframe ? kKeyframe : static_cast<uint32_t>(kLayer0 + h.layer);
    }
    kinds[last] += chunks.items[i].bytes;
  }
  return kinds;
}

struct Decoder final : wire::CellImage::Listener {
  void on_enter(const wire::CellImage::Member&) override {}
  void on_leave(const wire::CellImage::Member&, const wire::CellLeave&) override {}
  void on_change(const wire::CellImage::Member& member) override {
    ++updates;
    if (member.id < told.size()) ++told[member.id];
  }

  void take(const ChunkList& chunks, uint32_t tick) {
    if (chunks.bytes == 0) return;
    ++messages;
    uint8_t head[64];
    wire::MessageWriter writer(head, wire::EnvelopeHead{.type = wire::MessageType::kCellFrame});
    uint8_t cells[wire::kCellHeadBytesMax];
    const size_t cells_head = wire::write_cell_head(cells, tick);
    writer.payload().raw(cells, cells_head);
    writer.add_shared(chunks.bytes);
    const uint32_t own = writer.finish();
    const uint32_t all = own + chunks.bytes;
    carrier += all < 126 ? 2 : all < 65'536 ? 4 : 10;
    frames += wire::kFrameHeaderBytes;
    envelopes += own - wire::kFrameHeaderBytes - cells_head;
    heads += cells_head;
    for (uint32_t i = 0; i < chunks.count; ++i) {
      std::vector<uint8_t> payload(cells, cells + cells_head);
      payload.insert(payload.end(), chunks.items[i].data,
                     chunks.items[i].data + chunks.items[i].bytes);
      wire::CellFrames reader(payload);
      base::Bytes frame;
      size_t inside = 0;
      while (reader.next(&frame)) {
        take_cell(frame, tick);
        inside += frame.size();
      }
      heads += chunks.items[i].bytes - inside;
      if (reader.malformed()) std::abort();
    }
  }
  void take_cell(base::Bytes payload, uint32_t tick) {
    wire::CellFrameHeader h;
    if (!wire::CellImage::read_header(payload, &h)) std::abort();
    wire::CellImage& image = images[{h.cell_x, h.cell_z}];
    image.set_tally(&tally);
    const wire::CellStatus status = image.apply(payload, tick, this);
    if (h.keyframe && !keyframes_to.empty()) dump(payload, image);
    if (status != wire::CellStatus::kOk) ++wrong;
    if (h.has_checksum) ++checksums;
  }

  // A keyframe as it was sent, and its members in columns of bytes, which suit a compressor better.
  void dump(base::Bytes payload, const wire::CellImage& image) {
    static uint32_t number = 0;
    if (image.count() < 8 || number >= 2000) return;
    const std::string path = keyframes_to + "/" + std::to_string(number++);
    std::ofstream(path + ".packed", std::ios::binary)
        .write(reinterpret_cast<const char*>(payload.data()),
               static_cast<std::streamsize>(payload.size()));
    std::string ids, names, x, z, rest;
    uint32_t last = 0;
    for (const wire::CellImage::Member& m : image.slots()) {
      if (!m.live) continue;
      const auto put = [](std::string& to, uint32_t v, int bytes) {
        for (int i = 0; i < bytes; ++i) to.push_back(static_cast<char>(v >> (8 * i)));
      };
      put(ids, m.id - last, 4);
      last = m.id;
      names += m.name + '\0';
      put(x, static_cast<uint32_t>(m.x), 2);
      put(z, static_cast<uint32_t>(m.z), 2);
      put(rest, m.yaw, 1);
      put(rest, m.flags, 4);
      for (const wire::CellTrack& t : m.track) put(rest, static_cast<uint32_t>(t.speed), 2);
      for (const int32_t p : m.pace) put(rest, static_cast<uint32_t>(p), 2);
    }
    std::ofstream(path + ".columns", std::ios::binary) << ids << names << x << z << rest;
  }

  std::vector<uint32_t> told;  // by entity id, in this second
  uint64_t near_updates = 0, near_seconds = 0, seen = 0, looks = 0;
  std::string keyframes_to;
  std::map<std::pair<int, int>, wire::CellImage> images;
  wire::CellTally tally;
  uint64_t updates = 0, messages = 0, wrong = 0, checksums = 0;
  uint64_t carrier = 0, frames = 0, envelopes = 0, heads = 0;  // bytes
};

class Run final : public SliceEvents, public InterestEvents, public PublicationSink {
 public:
  Run(const bench::Scene& scene, const std::string& trace, double late, uint64_t seed,
      uint32_t crowd, float cell_size, uint32_t budget, uint32_t ticks)
      : movement_(scene, trace, seed),
        walkers_(scene.walkers),
        config_(config_for(scene.walkers, crowd, cell_size, budget, ticks)),
        scale_(config_),
        slice_(config_, {0}),
        interest_(config_, scene.walkers + 1, 4096),
        positions_(scene.walkers),
        decoders_(std::min(scene.walkers, kDecoders)),
        late_(scene.walkers),
        windows_(scene.walkers),
        answer_(scene.walkers),
        ticks_(ticks),
        budget_(budget),
        late_share_(late),
        prng_(seed + 3) {
    for (Decoder& d : decoders_) d.told.resize(walkers_ + 1);
    for (uint32_t i = 0; i < walkers_; ++i) {
      positions_[i] = steps_of(movement_.place(i));
      char name[40];
      const uint64_t a = prng_.next();
      const uint64_t b = prng_.next();
      std::snprintf(name, sizeof name, "%08x-%04x-4%03x-a%03x-%012llx",
                    static_cast<unsigned>(a >> 32), static_cast<unsigned>(a >> 16 & 0xffff),
                    static_cast<unsigned>(a & 0xfff), static_cast<unsigned>(b >> 52),
                    static_cast<unsigned long long>(b & 0xffffffffffff));
      SpawnSpec spec;
      spec.player_id = name;
      spec.position = positions_[i];
      spec.connection_shard = {0};
      spec.connection = {i, 1};
      if (slice_.spawn({i + 1}, spec, tick_) != SpawnStatus::kOk) std::abort();
      interest_.add(i, Encoding::kPacked, 0, positions_[i]);
    }
  }
  bool loaded() const { return movement_.loaded(); }

  void turn() {
    for (uint32_t i = 0; i < walkers_; ++i) {
      // Phases differ, and some inputs come a tick late.
      answer_[i] = 0;
      if ((tick_ + i) % (ticks_ / kInputsPerSecond) == 0)
        late_[i] = prng_.chance(late_share_) ? 2 : 1;
      if (late_[i] != 0 && --late_[i] == 0) step(i);
    }
    // As in a shard: what the slice says of a tick is heard behind it.
    for (const auto& [slot, position] : moved_) interest_.move(slot, position);
    moved_.clear();
    interest_.post_changes(*this);
    slice_.simulate(tick_, *this);
    slice_.encode(tick_, 1'700'000'000'000 + tick_ * 1000 / ticks_, *this);
    for (const Publication& p : published_) interest_.store(p);
    for (uint32_t w = 0; w < walkers_; ++w) {
      ChunkList chunks{chunks_, 512}, world{world_, 512};
      interest_.update_budget(w, {tick_ * 1000 / ticks_, sent_, 0});
      interest_.gather(w, tick_, chunks, world);
      bytes += chunks.bytes;
      if (budget_ != 0) {
        const uint32_t own = own_bytes(w, chunks);
        if (own != 0) interest_.spend(w, own);
        Kinds kinds = kinds_of(chunks);
        kinds[kOwn] = own;
        count_window(w, kinds);
      }
      if (decodes(w)) decoder_of(w).take(chunks, tick_);
    }
    published_.clear();
    if (tick_ % ticks_ == 0) look_around();
    ++tick_;
  }
  // What a client is sent in a tick besides: the answer to its input, and headers.
  uint32_t own_bytes(uint32_t w, const ChunkList& chunks) {
    uint8_t out[256];
    uint32_t own = 0;
    if (answer_[w] != 0) {
      const auto metre = [&](int i) {
        return static_cast<float>(positions_[w][i]) * config_.position_step;
      };
      wire::MoveAck ack;
      ack.client_tick = tick_;
      ack.server_tick = tick_;
      ack.position = {metre(0), metre(1), metre(2)};
      ack.velocity = {1, 0, 1};
      wire::MessageWriter writer(out, {wire::MessageType::kMoveAck, 1'700'000'000'000});
      wire::encode(writer.payload(), ack);
      own += writer.finish();
    }
    if (chunks.bytes != 0) {
      wire::MessageWriter writer(out, wire::EnvelopeHead{.type = wire::MessageType::kCellFrame});
      uint8_t cells[wire::kCellHeadBytesMax];
      writer.payload().raw(cells, wire::write_cell_head(cells, tick_));
      writer.add_shared(chunks.bytes);
      own += writer.finish();
    }
    if (own == 0) return 0;
    const uint32_t all = own + chunks.bytes;
    return own + (all < 126 ? 2 : all < 65'536 ? 4 : 10);
  }
  void count_window(uint32_t w, const Kinds& taken) {
    windows_[w].add(taken, ticks_);
    const uint64_t sum = windows_[w].sum;
    ++windows;
    window_bytes += sum;
    const bool over = sum * 100 > uint64_t{budget_} * 102;
    windows_over += over;
    for (uint32_t k = 0; k < kKinds; ++k) {
      kinds_all[k] += windows_[w].sums[k];
      if (over) kinds_over[k] += windows_[w].sums[k];
    }
    windows_under += sum * 100 < uint64_t{budget_} * 98;
    window_most = std::max(window_most, sum);
  }
  // How often each decoder was told of those who stand nearest to it, and of how many at all.
  void look_around() {
    std::vector<std::pair<int64_t, uint32_t>> order(walkers_);
    for (uint32_t w = 0; w < walkers_; ++w) {
      if (!decodes(w)) continue;
      Decoder& d = decoder_of(w);
      for (uint32_t i = 0; i < walkers_; ++i) {
        order[i] = {square(positions_[i][0] - positions_[w][0]) +
                        square(positions_[i][2] - positions_[w][2]),
                    i + 1};
        d.seen += d.told[i + 1] != 0;
      }
      ++d.looks;
      const size_t near = std::min<size_t>(kNearest, walkers_ - 1);
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(near) + 1,
                        order.end());
      for (size_t n = 1; n <= near; ++n) d.near_updates += d.told[order[n].second];
      d.near_seconds += near;
      std::fill(d.told.begin(), d.told.end(), 0);
    }
  }
  bool decodes(uint32_t w) const { return w * decoders_.size() % walkers_ < decoders_.size(); }
  Decoder& decoder_of(uint32_t w) { return decoders_[w * decoders_.size() / walkers_]; }
  const std::vector<Decoder>& decoders() const { return decoders_; }
  void dump_keyframes(const std::string& to) {
    for (Decoder& d : decoders_) d.keyframes_to = to;
  }
  // What was told until now, the join, is not measured.
  void start() {
    bytes = windows = windows_over = windows_under = window_bytes = window_most = 0;
    kinds_all = kinds_over = {};
    for (Decoder& d : decoders_) {
      d.tally = {};
      d.near_updates = d.near_seconds = d.seen = d.looks = 0;
      d.updates = d.messages = d.carrier = d.frames = d.envelopes = d.heads = 0;
    }
  }
  // From now on windows are counted anew.
  void settled() {
    login_windows = windows;
    login_over = windows_over;
    windows = windows_over = windows_under = window_bytes = window_most = 0;
    kinds_all = kinds_over = {};
  }
  const WorldSlice& slice() const { return slice_; }
  const InterestTable& interest() const { return interest_; }
  uint64_t bytes = 0;
  uint64_t windows = 0, windows_over = 0, windows_under = 0, window_bytes = 0, window_most = 0;
  uint64_t login_windows = 0, login_over = 0;  // of those before settled()
  std::array<uint64_t, kKinds> kinds_all{}, kinds_over{};

  bool moved(base::ShardId, ConnectionRef connection, const MoveResult& result) override {
    moved_.emplace_back(connection.slot, result.position);
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
  static WorldConfig config_for(uint32_t walkers, uint32_t crowd, float cell_size, uint32_t budget,
                                uint32_t ticks) {
    WorldConfig config;
    config.tick_rate = ticks;
    config.entities = walkers;
    config.cells = 4096;
    config.crowd_entities = crowd;
    if (budget != 0) config.budget.bytes_per_second = budget;
    config.cell_size = cell_size;
    config.view_distance = std::min(config.view_distance, kViewCellsMax * cell_size);
    config.half_rate_distance = std::min(config.half_rate_distance, config.view_distance);
    config.quarter_rate_distance = std::min(config.quarter_rate_distance, config.view_distance);
    return config;
  }
  Steps3 steps_of(const bench::Place& p) const {
    return {to_steps(static_cast<float>(p.x), config_.position_step),
            to_steps(static_cast<float>(p.y), config_.position_step),
            to_steps(static_cast<float>(p.z), config_.position_step)};
  }
  void step(uint32_t i) {
    const bench::Place before = movement_.place(i);
    const bench::Place now = movement_.step(i);
    Input input{};
    input.position = positions_[i] = steps_of(now);
    input.client_tick = tick_;
    const double heading = before.x == now.x && before.z == now.z
                               ? movement_.heading(i)
                               : std::atan2(now.x - before.x, now.z - before.z);
    input.yaw = static_cast<uint8_t>(static_cast<int>(std::lround(heading * 128 / M_PI)));
    input.has = Input::kPosition | Input::kYaw;
    (void)slice_.queue_input({i + 1}, input);
    answer_[i] = 1;
  }

  bench::Movement movement_;
  uint32_t walkers_;
  WorldConfig config_;
  WorldScale scale_;
  WorldSlice slice_;
  InterestTable interest_;
  std::vector<Steps3> positions_;
  std::vector<Decoder> decoders_;
  std::vector<uint8_t> late_;  // 1: an input comes in this tick; 2: in the next
  std::vector<Windows> windows_;
  std::vector<uint8_t> answer_;  // 1: an input was taken in this tick
  uint32_t ticks_;               // a second
  uint32_t budget_;              // 0: as configured, and windows are not counted
  double late_share_;
  base::Prng prng_;
  uint32_t sent_ = 0;
  uint32_t tick_ = 1;
  std::vector<Publication> published_;
  std::vector<std::pair<uint32_t, Steps3>> moved_;
  Chunk chunks_[512];
  Chunk world_[512];
};

constexpr bench::Scene kScenes[] = {
    {"bots-1000", "targets", 1000, 60, 3},    // as tidegate-load --bots 1000 --area 60
    {"bots-300", "targets", 300, 60, 3},      // ... --bots 300
    {"bots-200", "targets", 200, 60, 3},      // ... --bots 200
    {"jostle-300", "jostle", 300, 30, 1.4},   // 300 in one place, pushed about
    {"walkers-300", "turns", 300, 300, 1.4},  // a street
    {"walkers-50", "turns", 50, 1000, 1.4},   // hardly anybody
    {"camp-2500", "targets", 2500, 60, 3},
    {"camp-5000", "targets", 5000, 60, 3},
    {"bench-5000", "targets", 5000, 50, 3},  // as bench/crowd --walkers 5000
    {"festival-4000", "turns", 4000, 200, 1.4},
    {"sumo-300", "trace", 300, 60, 1.4},       // bench/world/sumo_trace
    {"minecraft-40", "trace", 40, 60, 4.3},    // bench/games/minecraft-trace.mjs --bots 40
    {"minecraft-200", "trace", 200, 60, 4.3},  // ... with 200 bots
};

double per(uint64_t bits, uint64_t n) {
  return static_cast<double>(bits) / 8 / static_cast<double>(n);
}

bool measure(const bench::Scene& scene, uint32_t seconds, double late, const std::string& trace,
             const std::string& keyframes, uint64_t seed, uint32_t crowd, float cell_size,
             uint32_t budget, uint32_t ticks, bool json) {
  Run run(scene, trace, late, seed, crowd, cell_size, budget, ticks);
  if (!run.loaded()) return true;
  run.dump_keyframes(keyframes);
  for (uint32_t t = 0; t < 4 * ticks; ++t) run.turn();
  run.start();
  for (uint32_t t = 0; t < seconds * ticks; ++t) {
    run.turn();
    if (t + 1 == kLoginSeconds * ticks) run.settled();
  }
  Decoder sum;
  for (const Decoder& d : run.decoders()) {
    sum.near_updates += d.near_updates;
    sum.near_seconds += d.near_seconds;
    sum.seen += d.seen;
    sum.looks += d.looks;
    sum.updates += d.updates;
    sum.messages += d.messages;
    sum.wrong += d.wrong;
    sum.checksums += d.checksums;
    sum.carrier += d.carrier;
    sum.frames += d.frames;
    sum.envelopes += d.envelopes;
    sum.heads += d.heads;
    for (uint32_t p = 0; p < static_cast<uint32_t>(wire::CellPart::kCount); ++p) {
      sum.tally.bits[p] += d.tally.bits[p];
    }
    sum.tally.keyframes += d.tally.keyframes;
    sum.tally.keyframe_members += d.tally.keyframe_members;
    sum.tally.leaves += d.tally.leaves;
    sum.tally.enters += d.tally.enters;
    for (uint32_t l = 0; l < 4; ++l) {
      sum.tally.deltas[l] += d.tally.deltas[l];
      sum.tally.changes[l] += d.tally.changes[l];
      sum.tally.delta_bits[l] += d.tally.delta_bits[l];
    }
  }
  struct Row {
    const char* name;
    uint64_t bits;
  };
  std::vector<Row> rows = {{"WebSocket header", sum.carrier * 8},
                           {"frame header", sum.frames * 8},
                           {"envelope", sum.envelopes * 8},
                           {"tick and lengths", sum.heads * 8}};
  uint64_t all = 0;
  for (uint32_t p = 0; p < static_cast<uint32_t>(wire::CellPart::kCount); ++p) {
    rows.push_back({wire::kCellPartNames[p], sum.tally.bits[p]});
  }
  for (const Row& row : rows) all += row.bits;
  const auto watchers = static_cast<double>(run.decoders().size() * seconds);
  if (json) {
    std::printf(
        "{\"scene\":\"%s\",\"bytes_per_update\":%.3f,\"bytes_per_second\":%.0f,"
        "\"updates_per_second\":%.0f,\"wrong\":%llu,\"parts\":{",
        scene.name, per(all, sum.updates), static_cast<double>(all) / 8 / watchers,
        static_cast<double>(sum.updates) / watchers, static_cast<unsigned long long>(sum.wrong));
    for (size_t i = 0; i < rows.size(); ++i) {
      std::printf("%s\"%s\":%.4f", i == 0 ? "" : ",", rows[i].name, per(rows[i].bits, sum.updates));
    }
    std::printf("}}\n");
    return sum.wrong == 0;
  }
  std::printf(
      "%s: %.3f bytes an update, %.0f B/s and %.0f updates/s each; %llu of %llu checksums wrong\n",
      scene.name, per(all, sum.updates), static_cast<double>(all) / 8 / watchers,
      static_cast<double>(sum.updates) / watchers, static_cast<unsigned long long>(sum.wrong),
      static_cast<unsigned long long>(sum.checksums));
  for (const Row& row : rows) {
    if (row.bits == 0) continue;
    std::printf("  %-18s %7.3f bytes an update  %5.1f %%\n", row.name, per(row.bits, sum.updates),
                100.0 * static_cast<double>(row.bits) / static_cast<double>(all));
  }
  std::printf("  each second: %.2f keyframes (%.0f members), %.1f enters, %.1f leaves;",
              static_cast<double>(sum.tally.keyframes) / watchers,
              static_cast<double>(sum.tally.keyframe_members) / watchers,
              static_cast<double>(sum.tally.enters) / watchers,
              static_cast<double>(sum.tally.leaves) / watchers);
  for (uint32_t l = 0; l < 4; ++l) {
    if (sum.tally.deltas[l] == 0) continue;
    std::printf(" layer %u: %.1f frames, %.0f changes, %.2f B", l,
                static_cast<double>(sum.tally.deltas[l]) / watchers,
                static_cast<double>(sum.tally.changes[l]) / watchers,
                per(sum.tally.delta_bits[l], std::max<uint64_t>(1, sum.tally.changes[l])));
  }
  const InterestCounters& c = run.interest().counters();
  std::printf(
      "\n  told of %.0f others in a second, of the %u nearest %.1f times; views shrunk %llu, grown "
      "%llu",
      static_cast<double>(sum.seen) / static_cast<double>(std::max<uint64_t>(1, sum.looks)),
      kNearest,
      static_cast<double>(sum.near_updates) /
          static_cast<double>(std::max<uint64_t>(1, sum.near_seconds)),
      static_cast<unsigned long long>(c.views_shrunk),
      static_cast<unsigned long long>(c.views_grown));
  std::printf("\n  left out %llu, stale %llu, cut %llu, raised %llu, lowered %llu\n",
              static_cast<unsigned long long>(c.frames_left_out),
              static_cast<unsigned long long>(c.cells_stale),
              static_cast<unsigned long long>(c.cells_cut),
              static_cast<unsigned long long>(c.levels_raised),
              static_cast<unsigned long long>(c.levels_lowered));
  if (budget != 0) {
    const auto all_windows = static_cast<double>(run.windows);
    std::printf(
        "  budget %u: of %.0f seconds %.3f %% more than 2 %% above, %.1f %% more than 2 %% below; "
        "mean %.0f, the fullest %llu\n",
        budget, all_windows, 100.0 * static_cast<double>(run.windows_over) / all_windows,
        100.0 * static_cast<double>(run.windows_under) / all_windows,
        static_cast<double>(run.window_bytes) / all_windows,
        static_cast<unsigned long long>(run.window_most));
    std::printf("  in the %u seconds before: %.3f %% above\n", kLoginSeconds,
                100.0 * static_cast<double>(run.login_over) /
                    static_cast<double>(std::max<uint64_t>(1, run.login_windows)));
    std::printf("  of all, and of those above:");
    for (uint32_t k = 0; k < kKinds; ++k) {
      std::printf(" %s %.0f %.0f%s", kKindNames[k],
                  static_cast<double>(run.kinds_all[k]) / all_windows,
                  static_cast<double>(run.kinds_over[k]) /
                      static_cast<double>(std::max<uint64_t>(1, run.windows_over)),
                  k + 1 == kKinds ? "\n" : ",");
    }
  }
  return sum.wrong == 0;
}

int run_main(int argc, char** argv) {
  std::string only;
  std::string trace;
  std::string keyframes;
  uint32_t seconds = 10;
  double late = 0.1;
  uint64_t seed = 0;
  uint32_t crowd = 0;
  float cell_size = 64;
  uint32_t budget = 0;
  uint32_t ticks = kTicksPerSecond;
  bool json = false;
  for (int i = 1; i < argc; ++i) {
    const bool more = i + 1 < argc;
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (more && std::strcmp(argv[i], "--scene") == 0) {
      only = argv[++i];
    } else if (more && std::strcmp(argv[i], "--seconds") == 0) {
      seconds = static_cast<uint32_t>(std::max(1, std::atoi(argv[++i])));
    } else if (more && std::strcmp(argv[i], "--seed") == 0) {
      seed = std::strtoull(argv[++i], nullptr, 10);
    } else if (more && std::strcmp(argv[i], "--crowd") == 0) {
      crowd = static_cast<uint32_t>(std::max(0, std::atoi(argv[++i])));
    } else if (more && std::strcmp(argv[i], "--cell-size") == 0) {
      cell_size = static_cast<float>(std::atof(argv[++i]));
    } else if (more && std::strcmp(argv[i], "--budget") == 0) {
      budget = static_cast<uint32_t>(std::max(0, std::atoi(argv[++i])));
    } else if (more && std::strcmp(argv[i], "--ticks") == 0) {
      ticks = std::atoi(argv[++i]) <= 20 ? 20 : std::atoi(argv[i]) <= 40 ? 40 : kTicksPerSecond;
    } else if (more && std::strcmp(argv[i], "--late") == 0) {
      late = std::atof(argv[++i]);
    } else if (more && std::strcmp(argv[i], "--keyframes") == 0) {
      keyframes = argv[++i];
    } else if (more && std::strcmp(argv[i], "--trace") == 0) {
      trace = argv[++i];
    } else {
      std::fprintf(stderr,
                   "usage: cell-bytes [--scene NAME] [--seconds N] [--seed N] [--crowd ENTITIES] "
                   "[--late SHARE] [--cell-size METRES] [--budget BYTES] [--ticks 20|40|60] "
                   "[--trace FILE] [--keyframes DIR] [--json]\n");
      return 2;
    }
  }
  bool good = true;
  for (const bench::Scene& scene : kScenes) {
    if (only.empty() || only == scene.name)
      good &= measure(scene, seconds, late, trace, keyframes, seed, crowd, cell_size, budget, ticks,
                      json);
  }
  return good ? 0 : 1;
}

}  // namespace
}  // namespace tidegate::world

int main(int argc, char** argv) { return tidegate::world::run_main(argc, argv); }
