// SPDX-License-Identifier: Apache-2.0
// The tick on one shard: simulate what is owned, encode cells once, send each connection what it
// watches. See tick_barrier.h for why the phases stand where they do.
#include <algorithm>
#include <cstring>

#include "protocol/ws.h"
#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;

namespace {
// WebSocket header, frame, envelope and head of one CELL_FRAME.
constexpr uint32_t kHeadBytesMax = 64;
}  // namespace

bool Shard::advance_tick() {
  if (barrier_.simulate_due(now_) && !held()) {
    run_simulate();
    return true;
  }
  if (barrier_.encode_due()) {
    run_encode();
    return true;
  }
  if (barrier_.flush_due()) {
    run_flush();
    return true;
  }
  return false;
}

void Shard::run_simulate() {
  const uint32_t tick = barrier_.tick();
  const base::Instant started = io_.now();
  simulate_started_ = started;
  // Interest first: what is asked for before SimulationDone is answered in this tick's flush.
  for (uint32_t i = 0; i < moved_count_; ++i) {
    const uint32_t slot = moved_players_[i];
    Player& player = players_[slot];
    player.flags &= static_cast<uint16_t>(~kMoved);
    if (player.session != 0 && interest_.watching(slot)) {
      interest_.move(slot, player.position);
      if (social_.anybody_followed()) social_.note_moved(slot);
    }
  }
  if (social_.anybody_followed()) social_.send_moves(tick);
  moved_count_ = 0;
  interest_.post_changes(*this);
  if (steering_count_ != 0) run_steering();
  if (bridge_.wants_tick()) bridge_.run_tick(tick);
  if (bridge_.wants_state()) bridge_.run_providers();
  realm_.before_simulate();
  slice_.simulate(tick, *this);
  for (uint32_t to = 0; to < config_.count; ++to) {
    outbox_.post(to, mailbox::SimulationDone{tick, 0, started.ns});
  }
  barrier_.simulated();
  work_ = io_.now() - started;
  counters_.record(metrics::Timing::kSimulate, work_);
}

void Shard::run_encode() {
  const uint32_t tick = barrier_.tick();
  if (snapshot_.due(tick)) cut_snapshot();
  const base::Instant started = io_.now();
  states_.run_home(tick);  // before FrameDone: what it posts is there in this tick's flush
  slice_.encode(tick, io_.unix_ms(), *this);
  const uint32_t moved = balance_.order_count == 0 ? 0 : give_cells();
  for (uint32_t to = 0; to < config_.count; ++to) outbox_.post(to, mailbox::FrameDone{tick, moved});
  barrier_.encoded();
  const base::Duration took = io_.now() - started;
  work_ = work_ + took;
  counters_.record(metrics::Timing::kEncode, took);
}

void Shard::run_flush() {
  const uint32_t tick = barrier_.tick();
  const base::Instant started = io_.now();
  uint64_t keyframe_bytes = 0;
  states_.run_flush(tick);
  if (publications_ != 0 || answers_due_ || interest_.limited_count() != 0) {
    const base::UnixMs unix_ms = io_.unix_ms();
    // What sockets do not take must find room in the backlogs. How much they take shows when it is
    // sent, so many keyframes are sent in portions.
    constexpr uint64_t kPortion = 4 << 20;
    uint64_t sent = 0;
    interest_.begin_flush(governor_.keyframe_bytes(), endpoint_.backlog_room() / 4,
                          governor_.ceiling());
    interest_.limit_keyframes(std::max<uint64_t>(1, endpoint_.backlog_room() / 2));
    const auto flush_from = [&](uint32_t from, uint32_t to) {
      for (uint32_t slot = from; slot < to; ++slot) {
        if (players_[slot].session == 0 || !endpoint_.is_open(slot)) {
          slot = endpoint_.skip_unused(slot);
          continue;
        }
        if (rests(slot, tick)) continue;
        flush_player(slot, tick, unix_ms);
        if (interest_.keyframe_bytes() < sent + kPortion) continue;
        sent = interest_.keyframe_bytes();
        endpoint_.flush();
        interest_.limit_keyframes(sent + endpoint_.backlog_room() / 2);
      }
    };
    const uint32_t first = std::min(flush_from_, players_end_);
    flush_from(first, players_end_);
    flush_from(0, first);
    keyframe_bytes = interest_.keyframe_bytes();
    // Who was put off comes first the next time.
    if (interest_.first_put_off() != world::InterestTable::kNoWatcher) {
      flush_from_ = interest_.first_put_off();
    }
    publications_ = 0;
    answers_due_ = false;
    // Shared bytes are overwritten in the next encode, which may begin when our next
    // SimulationDone is out: everything must be in the kernel or copied before.
    endpoint_.flush();
  }
  realm_.after_flush();
  counters_.record(metrics::Timing::kTick, io_.now() - simulate_started_);
  report_load();
  const uint64_t late = barrier_.late();
  barrier_.flushed();
  if (barrier_.cells_moved()) {
    for (uint32_t to = 0; to < config_.count; ++to) outbox_.post(to, mailbox::MovesTaken{tick});
  }
  counters_.add(Counter::kTicks, 1);
  counters_.add(Counter::kTickOverruns, barrier_.late() - late);
  published_tick_.store(tick, std::memory_order_relaxed);
  const base::Duration took = io_.now() - started;
  governor_.note(work_ + took, keyframe_bytes);
  counters_.record(metrics::Timing::kFlush, took);
  balance_.meter.note(work_, took);
}

// Nothing is owed to the player, and the tick has nothing for it.
bool Shard::rests(uint32_t slot, uint32_t tick) const {
  const Player& player = players_[slot];
  return (player.flags & kAnswerDue) == 0 && !player.inbound.ack_owed() &&
         endpoint_.hot(slot).backlog_bytes == 0 && interest_.watching(slot) &&
         interest_.rests(slot, tick);
}

void Shard::flush_player(uint32_t slot, uint32_t tick, base::UnixMs unix_ms) {
  Player& player = players_[slot];
  world::ChunkList chunks{chunks_.data(), static_cast<uint32_t>(chunks_.size())};
  world::ChunkList world{world_chunks_.data(), static_cast<uint32_t>(world_chunks_.size())};
  world::Gathered gathered = world::Gathered::kFrames;
  if (interest_.watching(slot)) {
    const auto sent = static_cast<uint32_t>(endpoint_.cold(slot).bytes_out);
    const world::QueueSample queue{endpoint_.now_ms(), sent, endpoint_.hot(slot).backlog_bytes};
    if (interest_.update_budget(slot, queue) == world::Rung::kEnd) {
      endpoint_.close(slot, 1013, "too far behind; try again later",
                      net::CloseCause::kSlowConsumer);
      return;
    }
    gathered = interest_.gather(slot, tick, chunks, world);
  }

  // Personal frames stand first, in personal_; the parts of one message follow each other in
  // parts_. A message is cut where the next chunk would pass the limit.
  uint32_t own = 0;
  uint32_t parts = 0;
  const base::MutableBytes personal{personal_.data(), personal_.size()};
  if (player.flags & kAnswerDue) {
    player.flags &= static_cast<uint16_t>(~kAnswerDue);
    own += write_move_ack(personal.subspan(own), slot, unix_ms);
  }
  if (player.inbound.ack_owed()) own += write_ack(personal.subspan(own), player, unix_ms);
  float view = 0;
  if (interest_.watching(slot) && interest_.take_view_change(slot, &view)) {
    own += write_view_distance(personal.subspan(own), view, unix_ms);
  }
  if (gathered == world::Gathered::kWorld) {
    const uint32_t head = write_world_head(personal.subspan(own), world.bytes, tick, unix_ms);
    own += head;
    for (uint32_t i = 0; i < world.count; ++i) {
      parts_[parts++] = {const_cast<uint8_t*>(world.items[i].data), world.items[i].bytes};
    }
    if (session::may_change(player.state, session::State::kConnected)) {
      set_state(slot, session::State::kConnected);
    }
  }
  if (chunks.bytes + world.bytes != 0) {
    const uint32_t shared = chunks.bytes + world.bytes;
    // A message takes 12 KiB of chunks at least when it is cut.
    endpoint_.expect_output(slot, own + shared + kHeadBytesMax * (2 + shared / (12 * 1024)));
  }
  uint32_t total = own + (gathered == world::Gathered::kWorld ? world.bytes : 0);
  uint32_t framing = 0;  // WebSocket headers
  base::Bytes head{personal_.data(), own};
  const bool packed = chunks.count != 0 && interest_.packed(slot);
  for (uint32_t i = 0; i < chunks.count;) {
    uint32_t shared = 0;  // of the chunks that this message takes
    for (; i < chunks.count; ++i) {
      const world::Chunk& chunk = chunks.items[i];
      if (total + shared + chunk.bytes > wire::kMessageBytesOut && total + shared != 0) break;
      parts_[parts++] = {const_cast<uint8_t*>(chunk.data), chunk.bytes};
      shared += chunk.bytes;
    }
    total += shared;
    if (packed && shared != 0) {
      const auto begun = static_cast<uint32_t>(head.size());
      const uint32_t bytes = write_cells_head(personal.subspan(begun), shared, tick);
      head = {personal_.data(), begun + bytes};
      total += bytes;
      own += bytes;
    }
    if (i == chunks.count) break;
    endpoint_.send_gathered(slot, protocol::Opcode::kBinary, head, parts_.data(), parts, total);
    framing += static_cast<uint32_t>(protocol::header_size(total));
    head = {};
    parts = 0;
    total = 0;
  }
  if (total != 0) {
    endpoint_.send_gathered(slot, protocol::Opcode::kBinary, head, parts_.data(), parts, total);
    framing += static_cast<uint32_t>(protocol::header_size(total));
  }
  if (chunks.overflowed) interest_.resync(slot);
  own += framing;
  if (own != 0 && interest_.watching(slot)) interest_.spend(slot, own);
  counters_.add(Counter::kEntityUpdatesSent, chunks.entities + world.entities);
}

// --- what the slice tells ---

bool Shard::moved(base::ShardId shard, base::ConnectionRef connection,
                  const world::MoveResult& result) {
  outbox_.post(shard.value, mailbox::Moved{connection},
               {reinterpret_cast<const uint8_t*>(&result), sizeof result});
  return true;
}

bool Shard::transfer(base::ShardId to, base::Bytes entity) {
  if (outbox_.strained()) return false;
  outbox_.post(to.value, mailbox::Transfer{barrier_.tick()}, entity);
  return true;
}

bool Shard::gone(base::EntityId entity, std::string_view player_id, const world::Steps3& position) {
  const world::EntityTable& entities = slice_.entities();
  if (realm_.note_gone(entities.find(entity))) return true;  // its home ordered that
  if (entities.image(entities.find(entity)).kind != world::EntityKind::kPlayer) return true;
  mailbox::Gone gone{};
  gone.entity = entity;
  for (int i = 0; i < 3; ++i) gone.position[i] = position[i];
  gone.yaw = slice_.entities().image(slice_.entities().find(entity)).yaw;
  outbox_.post(world::home_of(player_id, config_.count).value, gone, base::as_bytes(player_id));
  return true;
}

bool Shard::interest_changed(base::ShardId owner, world::CellKey cell, uint8_t packed_levels,
                             uint8_t protobuf_levels, uint8_t requests) {
  if (outbox_.strained()) return false;
  mailbox::SubscribeCell subscribe{};
  subscribe.cell_x = cell.x;
  subscribe.cell_z = cell.z;
  subscribe.packed_levels = packed_levels;
  subscribe.protobuf_levels = protobuf_levels;
  subscribe.requests = requests;
  outbox_.post(owner.value, subscribe);
  return true;
}

void Shard::publish(base::ShardId reader, const world::Publication& publication) {
  outbox_.post(reader.value, mailbox::PublicationPosted{publication.tick, 0},
               {reinterpret_cast<const uint8_t*>(&publication), sizeof publication});
}

// --- what other shards tell ---

void Shard::on_moved(base::Bytes bytes) {
  base::Bytes tail;
  const auto message = read_message<mailbox::Moved>(bytes, &tail);
  world::MoveResult result;
  TG_ASSERT(tail.size() == sizeof result);
  std::memcpy(&result, tail.data(), sizeof result);
  const uint32_t slot = endpoint_.find(message.connection);
  if (slot == net::kNone || players_[slot].session == 0) {
    // The connection ended before it knew its entity: nobody else will tell the owner.
    mailbox::Detach detach{};
    detach.entity = result.entity;
    detach.connection = message.connection;
    detach.connection_shard = static_cast<uint16_t>(config_.index);
    outbox_.post(result.owner.value, detach);
    return;
  }
  Player& player = players_[slot];
  player.owner = result.owner.value;
  player.position = result.position;
  if (!player.entity.valid()) {
    // The first word of the entity: it is in the world now.
    player.entity = result.entity;
    enter_world(slot);
  }
  if ((player.flags & kMoved) == 0) {
    player.flags |= kMoved;
    moved_players_[moved_count_++] = slot;
  }
  if (result.acknowledges) {
    // A refusal is not hidden by a later acceptance in the same flush: the position that holds
    // is in the later one, so the reason of the first stays.
    const bool refused_before = (player.flags & kAnswerDue) && player.answer.corrected;
    const uint16_t reason = player.answer.reason;
    player.answer = result;
    if (refused_before && !result.corrected) {
      player.answer.corrected = 1;
      player.answer.reason = reason;
    }
    player.flags |= kAnswerDue;
    answers_due_ = true;
  }
}

void Shard::on_input(base::Bytes bytes) {
  base::Bytes tail;
  const auto message = read_message<mailbox::InputPosted>(bytes, &tail);
  world::Input input;
  TG_ASSERT(tail.size() == sizeof input);
  std::memcpy(&input, tail.data(), sizeof input);
  take_input(message, input, tail);
}

void Shard::take_input(mailbox::InputPosted message, const world::Input& input, base::Bytes bytes) {
  const world::Queued queued = slice_.queue_input(message.entity, input);
  if (queued.status == world::QueueStatus::kForward && message.hops < 8) {
    ++message.hops;
    outbox_.post(queued.to.value, message, bytes);
  } else if (queued.status != world::QueueStatus::kOk) {
    counters_.add(Counter::kInputsDropped, 1);
  }
}

void Shard::on_publication(base::Bytes bytes) {
  world::Publication publication;
  TG_ASSERT(bytes.size() == sizeof(mailbox::PublicationPosted) + sizeof publication);
  std::memcpy(&publication, bytes.data() + sizeof(mailbox::PublicationPosted), sizeof publication);
  interest_.store(publication);
  ++publications_;
}

void Shard::on_subscribe(mailbox::AgentId from, base::Bytes bytes) {
  const auto subscribe = read_message<mailbox::SubscribeCell>(bytes);
  slice_.subscribe({static_cast<uint16_t>(from)}, {subscribe.cell_x, subscribe.cell_z},
                   subscribe.packed_levels, subscribe.protobuf_levels, subscribe.requests);
}

void Shard::on_transfer(base::Bytes bytes) {
  base::Bytes entity;
  const auto transfer = read_message<mailbox::Transfer>(bytes, &entity);
  const base::EntityId id = slice_.arrive(entity, transfer.tick, *this);
  counters_.add(Counter::kHandovers, 1);
  if (!id.valid()) return;  // counted by the slice
  const world::EntitySlot s = slice_.entities().find(id);
  if (slice_.entities().image(s).kind != world::EntityKind::kPlayer && !realm_.is_remote(s)) {
    return;  // has no home
  }
  const std::string_view player = slice_.entities().player_id(s);
  outbox_.post(world::home_of(player, config_.count).value, mailbox::TransferNotice{id},
               base::as_bytes(player));
}

void Shard::on_detach(base::Bytes bytes) {
  auto message = read_message<mailbox::Detach>(bytes);
  const world::Queued queued = slice_.detach(message.entity, {message.connection_shard},
                                             message.connection, barrier_.tick());
  if (queued.status == world::QueueStatus::kForward && message.hops < 8) {
    ++message.hops;
    outbox_.post(queued.to.value, message);
  }
}

}  // namespace tidegate::shard
