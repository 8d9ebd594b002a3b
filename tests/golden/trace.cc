// SPDX-License-Identifier: Apache-2.0
// One deterministic run of a world, everything that leaves it hashed. The same source must give the
// same hashes with every compiler, at every optimisation and with every number of shards:
//
//   pictures   what clients make of their bytes after each tick: entities with place, yaw, flags
//              and kind, by name; independent of the number of shards
//   rulings    what became of each input (MoveResult) and of each change of a keyed state, by
//              tick and name; independent of the number of shards
//   bytes n    each byte that clients of n shards are sent, in order. It depends on n: which slot
//   of
//              a cell an entity gets follows from the order in which shards see it, and slots are
//              what frames speak of. Also clients with too small a budget are in it, who are not in
//              `pictures`: what is left out for them goes by those sizes
//
// golden-trace FILE             runs 1, 2 and 4 shards and compares with FILE
// golden-trace --write FILE     writes it
// golden-trace --print          prints what --write would write
// Thread: one. Owner: main. Limits: none.
#include <xxhash.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/prng.h"
#include "client/world_picture.h"
#include "state/state_home.h"
#include "wire/envelope.h"
#include "world/interest.h"
#include "world/world_slice.h"

namespace tidegate {
namespace {

using world::CellKey;
using world::EntityId;
using world::ShardId;
using world::Steps3;

constexpr uint32_t kTicks = 600;
constexpr uint32_t kWalkers = 240;
constexpr uint32_t kNpcs = 60;
constexpr uint32_t kWatchers = 24;  // of the walkers, the first ones
constexpr uint32_t kLimited = 4;    // of those, with a small budget

class Hash {
 public:
  void add(const void* data, size_t bytes) { value_ = XXH3_64bits_withSeed(data, bytes, value_); }
  void add(std::string_view text) { add(text.data(), text.size()); }
  template <class T>
  void number(T v) {
    static_assert(std::is_integral_v<T> || std::is_floating_point_v<T>);
    add(&v, sizeof v);
  }
  uint64_t value() const { return value_; }

 private:
  uint64_t value_ = 0;
};

struct Result {
  uint64_t pictures = 0, rulings = 0, bytes = 0;
  // So that a run in which nothing happens is not taken for a good one.
  uint64_t handovers = 0, corrections = 0, checksums = 0, conflicts = 0, left_out = 0, sent = 0;
  std::string failure;
};

struct NoEvents final : client::PictureEvents {
  void on_entity_changed(std::string_view, uint32_t) override {}
};

struct Walker {
  std::string name;
  EntityId id;
  uint32_t shard = 0;
  ShardId owner;
  Steps3 position{};
  uint32_t client_tick = 0;
  uint32_t heading = 0;
  bool npc = false;
  std::unique_ptr<client::WorldPicture> picture;  // of those who watch
  bool packed = false;
};

class Trace final : world::SliceEvents, world::InterestEvents, world::PublicationSink {
 public:
  explicit Trace(uint32_t shards) : shards_(shards) {
    world::WorldConfig config = world_config();
    for (uint32_t s = 0; s < shards; ++s) {
      slices_.push_back(
          std::make_unique<world::WorldSlice>(config, ShardId{static_cast<uint16_t>(s)}));
      interests_.push_back(std::make_unique<world::InterestTable>(config, 64, 4096));
      interests_.back()->set_owners(&slices_.back()->owners());
      states_.push_back(std::make_unique<state::StateHome>(state::StateLimits{64, 64, 512}));
    }
    published_.resize(shards);
    chunk_room_.resize(2048);
    world_room_.resize(2048);
    for (uint32_t i = 0; i < kWalkers + kNpcs; ++i) add_walker(i);
    make_states();
  }

  Result run() {
    while (tick_ <= kTicks && result_.failure.empty()) step();
    for (uint32_t s = 0; s < shards_; ++s) {
      result_.handovers += slices_[s]->counters().transfers_in;
      result_.left_out += interests_[s]->counters().frames_left_out;
    }
    for (const Walker& w : walkers_) {
      if (w.picture == nullptr) continue;
      const client::PictureCounters& c = w.picture->counters();
      result_.checksums += c.checksums;
      if (c.checksum_mismatches + c.chain_gaps + c.malformed + c.violations != 0) {
        result_.failure = w.name + " has a picture that is not the world's: checksums " +
                          std::to_string(c.checksum_mismatches) + ", gaps " +
                          std::to_string(c.chain_gaps) + ", malformed " +
                          std::to_string(c.malformed) + ", violations " +
                          std::to_string(c.violations);
      }
    }
    result_.pictures = pictures_.value();
    result_.rulings = rulings_.value();
    result_.bytes = bytes_.value();
    return result_;
  }

 private:
  world::WorldConfig world_config() const {
    world::WorldConfig config;
    config.shard_count = shards_;
    config.entities = 512;
    config.cells = 512;
    config.max_speed = 40.0F;
    for (const int axis : {0, 2}) {
      config.bounds_min[axis] = -300.0F;
      config.bounds_max[axis] = 300.0F;
    }
    config.custom_state = true;
    config.history_ticks = 16;
    // All that there is, but for those with a budget of their own.
    config.budget.bytes_per_second = config.budget.bytes_per_second_max = 2'000'000'000;
    config.budget.queue_bytes = 1'000'000'000;
    return config;
  }

  void add_walker(uint32_t i) {
    Walker w;
    w.npc = i >= kWalkers;
    w.name = (w.npc ? "npc-" : "walker-") + std::to_string(i);
    w.id = {i + 1};
    w.shard = i % shards_;
    w.position = {static_cast<int32_t>(prng_.between(-14'000, 14'000)),
                  static_cast<int32_t>(prng_.between(0, 300)),
                  static_cast<int32_t>(prng_.between(-14'000, 14'000))};
    w.heading = static_cast<uint32_t>(prng_.below(256));
    w.owner = slices_[0]->owner_of_position(w.position);
    w.packed = i % 2 == 0;
    world::SpawnSpec spec;
    spec.player_id = w.name;
    spec.kind = w.npc ? world::EntityKind::kNpc : world::EntityKind::kPlayer;
    spec.position = w.position;
    spec.connection_shard = {static_cast<uint16_t>(w.shard)};
    if (!w.npc) spec.connection = {i, 1};
    if (slices_[w.owner.value]->spawn(w.id, spec, tick_) != world::SpawnStatus::kOk) {
      result_.failure = w.name + " was not taken";
    }
    if (i < kWatchers) {
      w.picture = std::make_unique<client::WorldPicture>(w.name, events_);
      const auto encoding = w.packed ? world::Encoding::kPacked : world::Encoding::kProtobuf;
      interests_[w.shard]->add(i, encoding, 0, w.position, limited(i) ? 3000 : 0);
    }
    walkers_.push_back(std::move(w));
  }
  static bool limited(uint32_t i) { return i >= kWatchers - kLimited && i < kWatchers; }

  // Turns now and then, walks faster than allowed now and then, and comes back from the rim.
  world::Input input_of(Walker& w) {
    if (prng_.chance(0.04)) w.heading = static_cast<uint32_t>(prng_.below(256));
    const bool jump = prng_.chance(0.01);
    const int32_t length = jump ? 2000 : 12 + static_cast<int32_t>(w.heading % 16);
    Steps3 wish = w.position;
    wish[0] += length * (static_cast<int32_t>(w.heading % 16) - 8) / 8;
    wish[2] += length * (static_cast<int32_t>(w.heading / 16) - 8) / 8;
    wish[1] = (wish[1] + static_cast<int32_t>(w.heading % 3)) % 600;
    if (!jump) wish = slices_[0]->scale().clamp(wish);
    world::Input input{};
    input.position = wish;
    input.client_tick = ++w.client_tick;
    input.yaw = static_cast<uint8_t>(w.heading);
    input.flags = prng_.chance(0.02) ? static_cast<uint32_t>(prng_.below(1 << 20)) : w.heading % 4;
    input.velocity[0] = static_cast<int16_t>(wish[0] - w.position[0]);
    input.has = world::Input::kPosition | world::Input::kYaw | world::Input::kVelocity |
                world::Input::kFlags;
    return input;
  }
  template <class Call>
  void to_owner(Walker& w, Call&& call) {
    for (int hops = 0; hops < 16; ++hops) {
      const world::Queued q = call(*slices_[w.owner.value]);
      if (q.status == world::QueueStatus::kOk) return;
      if (q.status != world::QueueStatus::kForward) break;
      w.owner = q.to;
    }
    result_.failure = w.name + " was not found";
  }
  void send_inputs() {
    for (uint32_t i = 0; i < walkers_.size(); ++i) {
      Walker& w = walkers_[i];
      if ((tick_ + i) % 3 != 0) continue;
      const world::Input input = input_of(w);
      if (w.npc) {
        to_owner(w, [&](world::WorldSlice& s) { return s.place(w.id, input); });
        w.position = slices_[0]->scale().clamp(input.position);
        const uint32_t word = tick_ * 31 + i;
        to_owner(w, [&](world::WorldSlice& s) {
          return s.set_custom(w.id, {reinterpret_cast<const uint8_t*>(&word), sizeof word}, {});
        });
      } else {
        to_owner(w, [&](world::WorldSlice& s) { return s.queue_input(w.id, input); });
      }
    }
  }

  // ---- keyed state: some objects that everybody wants

  void make_states() {
    for (uint32_t k = 0; k < 12; ++k) {
      state::Row row{};
      row.scope = k % 3 == 0 ? state::Scope::kPlace : state::Scope::kZone;
      row.rule = k % 2 == 0 ? state::Rule::kFirst : state::Rule::kVersion;
      row.radius = 8000;
      row.hold_ticks = 20;
      const std::string key = "object." + std::to_string(k);
      states_[state::home_of_key(key, shards_)]->put("", key, row, 1);
    }
  }
  void ask_for_states() {
    for (uint32_t n = prng_.below(4) == 0 ? 6 : 1; n > 0; --n) {
      const Walker& w = walkers_[prng_.below(kWalkers)];
      const auto k = static_cast<uint32_t>(prng_.below(12));
      const std::string key = "object." + std::to_string(k);
      state::StateHome& home = *states_[state::home_of_key(key, shards_)];
      state::Change change{};
      change.tick = tick_ + static_cast<uint32_t>(prng_.below(2));
      change.scope = k % 3 == 0 ? state::Scope::kPlace : state::Scope::kZone;
      change.operation =
          k % 2 == 0 ? static_cast<state::Operation>(prng_.below(3)) : state::Operation::kSet;
      if (k % 2 != 0) change.base_version = seen_versions_[key];
      std::copy(w.position.begin(), w.position.end(), change.position);
      const std::string value = w.name + "@" + std::to_string(tick_);
      if (!change.player.set(w.name) || !change.key.set(key) || !change.value.set(value) ||
          !home.queue(change)) {
        result_.failure = "a change found no room";
      }
    }
  }
  void decide_states() {
    std::map<std::string, std::string> told;  // by key and order within the key
    for (auto& home : states_) {
      std::map<std::string, uint32_t> counts;
      const auto note = [&](std::string_view key, const std::string& text) {
        const std::string name(key);
        told[name + "/" + std::to_string(1000 + counts[name]++)] = text;
      };
      home->expire(
          tick_, [](uint32_t) {},
          [&](uint32_t row) {
            note(home->key(row), "freed " + std::to_string(home->row(row).version));
          });
      home->decide(
          tick_, [](const state::Change&, uint32_t, state::Reason reason) { return reason; },
          [&](const state::Change& change, uint32_t row, state::Reason reason) {
            const state::Row& r = home->row(row);
            note(change.key.text(),
                 std::string(change.player.text()) + " " +
                     std::to_string(static_cast<int>(reason)) + " " + std::to_string(r.version) +
                     " " + std::string(r.owner.text()) + " " + std::string(r.value.text()));
            // Clients hear of it a little later.
            if (change.tick % 2 == 0) seen_versions_[std::string(change.key.text())] = r.version;
            result_.conflicts += reason == state::Reason::kStale || reason == state::Reason::kTaken;
          });
    }
    for (const auto& [key, text] : told) {
      rulings_.number(tick_);
      rulings_.add(key);
      rulings_.add(text);
    }
  }

  // ---- a tick

  void step() {
    send_inputs();
    ask_for_states();
    for (const uint32_t i : moved_) {
      Walker& w = walkers_[i];
      if (w.picture != nullptr) interests_[w.shard]->move(i, w.position);
    }
    moved_.clear();
    for (posting_ = 0; posting_ < shards_; ++posting_) interests_[posting_]->post_changes(*this);
    for (auto& slice : slices_) slice->simulate(tick_, *this);
    for (const auto& [to, bytes] : transfers_) slices_[to]->arrive(bytes, tick_, *this);
    transfers_.clear();
    hash_answers();
    decide_states();
    for (auto& slice : slices_) slice->encode(tick_, 1'700'000'000'000 + tick_ * 16, *this);
    for (uint32_t s = 0; s < shards_; ++s) {
      for (const world::Publication& p : published_[s]) interests_[s]->store(p);
      interests_[s]->begin_flush(UINT64_MAX, INT64_MAX, world::kFullLevel);
    }
    for (uint32_t i = 0; i < kWatchers; ++i) flush(i);
    for (auto& list : published_) list.clear();
    for (uint32_t i = 0; i < kWatchers; ++i) {
      if (!limited(i)) hash_picture(walkers_[i]);
    }
    ++tick_;
  }

  void flush(uint32_t i) {
    Walker& w = walkers_[i];
    world::InterestTable& interest = *interests_[w.shard];
    interest.update_budget(i, {tick_ * 16, static_cast<uint32_t>(sent_[i]), 0});
    world::ChunkList chunks{chunk_room_.data(), static_cast<uint32_t>(chunk_room_.size())};
    world::ChunkList whole{world_room_.data(), static_cast<uint32_t>(world_room_.size())};
    const world::Gathered gathered = interest.gather(i, tick_, chunks, whole);
    if (chunks.overflowed || whole.overflowed) result_.failure = "a list of chunks overflowed";
    bytes_.number(i);
    for (uint32_t c = 0; c < whole.count; ++c)
      bytes_.add(whole.items[c].data, whole.items[c].bytes);
    for (uint32_t c = 0; c < chunks.count; ++c) {
      bytes_.add(chunks.items[c].data, chunks.items[c].bytes);
    }
    sent_[i] += chunks.bytes + whole.bytes;
    result_.sent += chunks.bytes + whole.bytes;
    message_.clear();
    if (gathered == world::Gathered::kWorld) {
      for (uint32_t c = 0; c < whole.count; ++c) append(whole.items[c]);
      w.picture->apply_world_state(message_);
      message_.clear();
    }
    if (chunks.count != 0 && w.packed) {
      uint8_t head[8] = {wire::kCellLayout};
      wire::PbWriter out({head + 1, sizeof head - 1});
      out.raw_varint(tick_);
      message_.insert(message_.end(), head, head + 1 + out.size());
    }
    for (uint32_t c = 0; c < chunks.count; ++c) append(chunks.items[c]);
    if (message_.empty()) return;
    if (w.packed) {
      w.picture->apply_cell_frames(message_);
    } else {
      apply_frames(w);
    }
    w.picture->end_message(0);
  }
  void append(const world::Chunk& chunk) {
    message_.insert(message_.end(), chunk.data, chunk.data + chunk.bytes);
  }
  void apply_frames(Walker& w) {
    wire::FrameReader frames(message_);
    base::Bytes frame;
    while (frames.next(&frame) == wire::FrameStatus::kFrame) {
      wire::Envelope envelope;
      if (!wire::decode_envelope(frame, &envelope)) result_.failure = "a frame does not decode";
      if (envelope.type == static_cast<uint32_t>(wire::MessageType::kZoneUpdate)) {
        w.picture->apply_zone_update(envelope.payload);
      } else if (envelope.type == static_cast<uint32_t>(wire::MessageType::kInterestUpdate)) {
        w.picture->apply_interest_update(envelope.payload);
      } else {
        result_.failure = "a frame of an unexpected type";
      }
    }
  }

  // ---- what is hashed

  void hash_answers() {
    std::sort(answers_.begin(), answers_.end(),
              [](const world::MoveResult& a, const world::MoveResult& b) {
                return a.entity.value < b.entity.value;
              });
    for (const world::MoveResult& r : answers_) {
      rulings_.number(r.entity.value);
      rulings_.number(r.client_tick);
      for (const int32_t p : r.position) rulings_.number(p);
      for (const int16_t v : r.velocity) rulings_.number(v);
      rulings_.number(r.corrected);
      rulings_.number(r.reason);
    }
    answers_.clear();
  }
  void hash_picture(const Walker& w) {
    struct Seen {
      int64_t x, y, z;
      uint32_t flags, kind_and_yaw;
    };
    std::map<std::string_view, Seen> seen;
    const int64_t cell = slices_[0]->scale().cell_steps;
    for (const auto& [key, image] : w.picture->cells()) {
      const int64_t cx = static_cast<int16_t>(key >> 16);
      const int64_t cz = static_cast<int16_t>(key);
      for (const wire::CellImage::Member& m : image.slots()) {
        if (!m.live) continue;
        seen[m.name] = {cx * cell + m.x, m.y, cz * cell + m.z, m.flags,
                        uint32_t{m.kind} << 8 | m.yaw};
      }
    }
    for (const auto& [name, e] : w.picture->entities()) {
      const auto bits = [](float v) {
        uint32_t b;
        std::memcpy(&b, &v, sizeof b);
        return static_cast<int64_t>(b);
      };
      seen[name] = {bits(e.position.x), bits(e.position.y), bits(e.position.z), e.flags, 0};
    }
    for (const auto& [name, s] : seen) {
      pictures_.add(name);
      pictures_.number(s.x);
      pictures_.number(s.y);
      pictures_.number(s.z);
      pictures_.number(s.flags);
      pictures_.number(s.kind_and_yaw);
    }
  }

  bool moved(ShardId, world::ConnectionRef, const world::MoveResult& result) override {
    const uint32_t i = result.entity.value - 1;
    walkers_[i].owner = result.owner;
    walkers_[i].position = result.position;
    moved_.push_back(i);
    result_.corrections += result.corrected;
    if (result.acknowledges != 0) answers_.push_back(result);
    return true;
  }
  bool transfer(ShardId to, base::Bytes entity) override {
    transfers_.push_back({to.value, {entity.begin(), entity.end()}});
    return true;
  }
  bool gone(EntityId, std::string_view, const Steps3&) override { return true; }
  bool interest_changed(ShardId owner, CellKey cell, uint8_t packed, uint8_t protobuf,
                        uint8_t requests) override {
    return slices_[owner.value]->subscribe({static_cast<uint16_t>(posting_)}, cell, packed,
                                           protobuf, requests);
  }
  void publish(ShardId reader, const world::Publication& p) override {
    published_[reader.value].push_back(p);
  }

  uint32_t shards_;
  base::Prng prng_{20'260'401};
  std::vector<std::unique_ptr<world::WorldSlice>> slices_;
  std::vector<std::unique_ptr<world::InterestTable>> interests_;
  std::vector<std::unique_ptr<state::StateHome>> states_;
  std::vector<Walker> walkers_;
  NoEvents events_;
  uint32_t tick_ = 1;
  uint32_t posting_ = 0;
  std::vector<uint32_t> moved_;
  std::vector<world::MoveResult> answers_;
  std::vector<std::pair<uint32_t, std::vector<uint8_t>>> transfers_;
  std::vector<std::vector<world::Publication>> published_;
  std::vector<world::Chunk> chunk_room_, world_room_;
  std::vector<uint8_t> message_;
  std::map<std::string, uint64_t> seen_versions_;
  uint64_t sent_[kWatchers] = {};
  Hash pictures_, rulings_, bytes_;
  Result result_;
};

std::string hex(uint64_t v) {
  char text[20];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}

// The golden text of all three runs; empty with `problem`.
std::string golden(std::string* problem) {
  std::string text;
  uint64_t pictures = 0;
  uint64_t rulings = 0;
  std::string bytes;
  for (const uint32_t shards : {1u, 2u, 4u}) {
    const Result r = Trace(shards).run();
    const std::string at = std::to_string(shards) + " shards: ";
    if (!r.failure.empty()) {
      *problem = at + r.failure;
      return {};
    }
    if ((shards > 1 && r.handovers < 100) || r.corrections < 20 || r.checksums < 1000 ||
        r.conflicts < 50 || r.left_out < 100 || r.sent < 500'000) {
      *problem = at + "too little happened: " + std::to_string(r.handovers) + " hand-overs, " +
                 std::to_string(r.corrections) + " corrections, " + std::to_string(r.checksums) +
                 " checksums, " + std::to_string(r.conflicts) + " conflicts, " +
                 std::to_string(r.left_out) + " frames left out, " + std::to_string(r.sent) +
                 " bytes";
      return {};
    }
    if (shards == 1) {
      pictures = r.pictures;
      rulings = r.rulings;
    } else if (pictures != r.pictures || rulings != r.rulings) {
      *problem = at + "pictures " + hex(r.pictures) + ", rulings " + hex(r.rulings) +
                 "; with 1 shard " + hex(pictures) + ", " + hex(rulings);
      return {};
    }
    bytes += "bytes " + std::to_string(shards) + " " + hex(r.bytes) + "\n";
  }
  return "pictures " + hex(pictures) + "\nrulings " + hex(rulings) + "\n" + bytes;
}

}  // namespace
}  // namespace tidegate

int main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  const bool print = first == "--print";
  const bool write = first == "--write" && argc == 3;
  if (argc < 2 || (!print && !write && (argc != 2 || first[0] == '-'))) {
    std::fprintf(stderr, "golden-trace FILE | --write FILE | --print\n");
    return 2;
  }
  std::string problem;
  const std::string text = tidegate::golden(&problem);
  if (text.empty()) {
    std::fprintf(stderr, "golden-trace: %s\n", problem.c_str());
    return 1;
  }
  if (print) {
    std::fputs(text.c_str(), stdout);
    return 0;
  }
  if (write) {
    std::ofstream(argv[2]) << text;
    return 0;
  }
  std::ifstream file(first);
  std::stringstream golden;
  golden << file.rdbuf();
  if (golden.str() == text) return 0;
  std::fprintf(stderr, "golden-trace: differs from %s\n--- golden\n%s--- now\n%s", first.c_str(),
               golden.str().c_str(), text.c_str());
  return 1;
}
