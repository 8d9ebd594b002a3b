// SPDX-License-Identifier: Apache-2.0
// Construction and the order of a turn.
#include "shard/shard.h"

#include <algorithm>
#include <cstring>

namespace tidegate::shard {

namespace {
// Messages taken from each sender in a turn before others get theirs.
constexpr uint32_t kMailPerTurn = 4096;
// Of control: most of it is an answer to a login, which then costs a session and two sends. In a
// storm a tick is late by so many at most.
constexpr uint32_t kControlMailPerTurn = 32;
constexpr uint32_t kOutboxBytes = 4 << 20;
constexpr uint32_t kChunksMax = 1024;  // of one connection and tick
constexpr uint32_t kPersonalBytes = 4096;
}  // namespace

Shard::Shard(const ShardConfig& config, io::Io& io, mailbox::Fabric& fabric,
             std::vector<io::Waker*> wakers, metrics::Counters& counters)
    : config_(config),
      io_(io),
      counters_(counters),
      wakers_(std::move(wakers)),
      prng_(config.seed * 0x9e3779b97f4a7c15u + config.index),
      mailbox_(fabric, config.index),
      outbox_(mailbox_, kOutboxBytes),
      endpoint_(config.endpoint, io, *this, counters),
      slice_(config.world, {static_cast<uint16_t>(config.index)}),
      interest_(config.world, endpoint_.slots(), std::min(config.world.cells, 65535u)),
      governor_(config.world.tick_rate, config.world.adaptive),
      balance_(config.balance_ticks == 0 ? 0 : config.world.cells),
      directory_(config.world.entities),
      sessions_(config.session, config.index, mailbox_, outbox_, counters),
      identities_(endpoint_.slots()),
      players_(endpoint_.slots()),
      json_(config.endpoint.message_bytes),
      barrier_(config.count, base::nanoseconds(1'000'000'000 / config.world.tick_rate),
               config.first_tick),
      bridge_({config.hooks, config.index, config.count, config.world.position_step,
               1.0F / static_cast<float>(config.world.tick_rate), config.handler_budget,
               config.tick_hook_budget},
              slice_, *this, counters),
      environment_(kEnvironmentBytesMax),
      snapshot_(config.snapshots ? config.world.entities : 0, config.world.tick_rate),
      realm_(*this, config.realm),
      topics_(*this, config.topics, endpoint_.slots()),
      presence_(*this, config.presence, endpoint_.slots()),
      states_(*this, config.states, endpoint_.slots()),
      social_(*this, config.groups, config.users, endpoint_.slots()),
      packing_(config.packing, config.handlers, counters),
      hello_waits_(endpoint_.slots() * 2),
      joins_(endpoint_.slots(), config.joins_per_second,
             base::nanoseconds(1'000'000'000 / config.world.tick_rate)),
      ack_queue_(endpoint_.slots() * 2),
      moved_players_(endpoint_.slots()),
      steer_(endpoint_.slots()),
      steer_listed_(endpoint_.slots()),
      steering_(endpoint_.slots()),
      chunks_(kChunksMax),
      world_chunks_(kChunksMax),
      parts_(kChunksMax * 2),
      personal_(kPersonalBytes) {
  sessions_.logs().charge_to(config.endpoint.account);
  topics_.charge_to(config.endpoint.account);
  add_routes();
  interest_.set_owners(&slice_.owners());
  // Ids of an earlier life of this gateway may still be known elsewhere.
  if (config.realm.on) entity_counter_ = static_cast<uint32_t>(prng_.next()) & 0xffffff;
  TG_ASSERT(config.environment.size() <= environment_.size());
  environment_bytes_ = static_cast<uint32_t>(config.environment.size());
  if (environment_bytes_ != 0) {
    std::memcpy(environment_.data(), config.environment.data(), environment_bytes_);
  }
}

void Shard::turn(Wait wait) {
  base::Instant until = io_.now();
  if (wait == Wait::kYes && mailbox_.prepare_to_sleep()) until = next_deadline();
  const std::span<const io::Completion> completions = io_.poll(until);
  mailbox_.awake();
  now_ = io_.now();
  endpoint_.begin_turn(now_);
  for (const io::Completion& completion : completions) endpoint_.on_completion(completion);
  // Phases follow each other in one turn as long as the marks are there; ours go through our own
  // ring like everybody's.
  bool progress = true;
  // A poll has one kWoken at most.
  bool worked = completions.size() > 1 ||
                (completions.size() == 1 && completions[0].event != io::Event::kWoken);
  for (int round = 0; progress && round < 8; ++round) {
    progress = mailbox_.drain(kMailPerTurn, round == 0 ? kControlMailPerTurn : 0,
                              [this](mailbox::AgentId from, mailbox::MessageType type,
                                     base::Bytes bytes) { on_mail(from, type, bytes); }) != 0;
    if (round == 0) run_timers();
    progress |= advance_tick();
    worked |= progress;
    if (round == 0) {
      cluster_.turn();
      realm_.turn();
      topics_.turn();
      presence_.turn();
      social_.turn();
    }
    endpoint_.run_polls();
    outbox_.retry();
    if (round == 0 || sessions_.stalled() || sessions_.waiting()) sessions_.turn(now_, unix_s());
    if (round == 0) snapshot_.send(directory_, mailbox_);
    mailbox_.publish_all(*this);
  }
  if (worked || outbox_.waiting() || sessions_.stalled()) ++work_turns_;
  endpoint_.run_handshakes(barrier_.deadline());
  endpoint_.flush();
  topics_.flushed();
  update_gauges();
  last_turn_ns_.store(now_.ns, std::memory_order_relaxed);
  counters_.record(metrics::Timing::kTurn, io_.now() - now_);
}

base::Instant Shard::next_deadline() const {
  const base::Instant tick = held() ? base::Instant::never() : barrier_.deadline();
  base::Instant deadline = std::min(tick, endpoint_.next_deadline());
  if (joins_.waiting() != 0) deadline = std::min(deadline, now_ + base::milliseconds(5));
  if (hello_count_ != 0) deadline = std::min(deadline, hello_waits_[hello_head_].due);
  // What waits in front of a full ring is tried again soon; nothing wakes us for it.
  if (realm_.waiting()) deadline = std::min(deadline, now_ + base::milliseconds(10));
  if (cluster_.waiting()) deadline = std::min(deadline, now_ + base::milliseconds(1));
  if (topics_.waiting()) deadline = std::min(deadline, now_ + base::milliseconds(5));
  if (social_.answering()) deadline = std::min(deadline, now_ + base::milliseconds(1));
  if (presence_.waiting()) deadline = std::min(deadline, now_ + base::milliseconds(100));
  if (outbox_.waiting() || sessions_.stalled())
    deadline = std::min(deadline, now_ + base::milliseconds(1));
  if (sessions_.waiting()) deadline = std::min(deadline, now_ + base::milliseconds(10));
  // Acknowledgements are owed within 50 ms; a look each 25 ms is soon enough.
  if (draining_ && live_players_ != 0) deadline = std::min(deadline, now_ + base::milliseconds(20));
  if (ack_count_ != 0) deadline = std::min(deadline, now_ + base::milliseconds(25));
  return deadline;
}

void Shard::on_mail(mailbox::AgentId from, mailbox::MessageType type, base::Bytes bytes) {
  using mailbox::MessageType;
  using mailbox::read_message;
  switch (type) {
    case MessageType::kSimulationDone: {
      const auto mark = read_message<mailbox::SimulationDone>(bytes);
      barrier_.on_simulation_done(mark.tick, {mark.started_ns});
      break;
    }
    case MessageType::kFrameDone: {
      const auto mark = read_message<mailbox::FrameDone>(bytes);
      barrier_.on_frame_done(mark.tick, mark.cells_moved);
      break;
    }
    case MessageType::kMoveCells:
      on_move_cells(bytes);
      break;
    case MessageType::kCellMoved:
      on_cell_moved(bytes);
      break;
    case MessageType::kMovesTaken:
      barrier_.on_moves_taken(read_message<mailbox::MovesTaken>(bytes).tick);
      break;
    case MessageType::kPublication:
      on_publication(bytes);
      break;
    case MessageType::kSubscribe:
      on_subscribe(from, bytes);
      break;
    case MessageType::kInput:
      on_input(bytes);
      break;
    case MessageType::kMoved:
      on_moved(bytes);
      break;
    case MessageType::kTransfer:
      on_transfer(bytes);
      break;
    case MessageType::kTransferNotice:
      on_transfer_notice(from, bytes);
      break;
    case MessageType::kLogin:
      on_login(from, bytes);
      break;
    case MessageType::kLogout:
      on_logout(from, bytes);
      break;
    case MessageType::kSpawn:
      on_spawn(bytes);
      break;
    case MessageType::kSpawnFailed:
      on_spawn_failed(bytes);
      break;
    case MessageType::kWorldFull:
      on_world_full(bytes);
      break;
    case MessageType::kDetach:
      on_detach(bytes);
      break;
    case MessageType::kReplaced:
      on_replaced(bytes);
      break;
    case MessageType::kGone:
      on_gone(bytes);
      break;
    case MessageType::kAuthResult:
      on_auth_result(bytes);
      break;
    case MessageType::kListConnections:
      on_list(bytes);
      break;
    case MessageType::kCloseConnection:
      on_close_request(bytes);
      break;
    case MessageType::kPollLetter:
      on_poll_posted(bytes);
      break;
    case MessageType::kDrain:
      on_drain(bytes);
      break;
    case MessageType::kSettings:
      on_settings(bytes);
      break;
    case MessageType::kKick:
      on_kick(bytes);
      break;
    case MessageType::kSendToPlayer:
      on_send_to_player(bytes);
      break;
    case MessageType::kDeliver:
      on_deliver(bytes);
      break;
    case MessageType::kDeliverNear:
      on_deliver_near(bytes);
      break;
    case MessageType::kMarkState:
      on_mark_state(bytes);
      break;
    case MessageType::kEnvironment:
      on_environment(bytes);
      break;
    case MessageType::kStateSet:
    case MessageType::kStateAsked:
    case MessageType::kStateAnswered:
    case MessageType::kStateShown:
    case MessageType::kStateTold:
      states_.on_mail(from, type, bytes);
      break;
    case MessageType::kSnapshotAt:
      on_snapshot_at(bytes);
      break;
    case MessageType::kListHistory:
      on_list_history(bytes);
      break;
    case MessageType::kCellReported:
      on_cell_reported(from, bytes);
      break;
    case MessageType::kCellDisputed:
      on_cell_disputed(bytes);
      break;
    case MessageType::kTopicJoin:
    case MessageType::kTopicJoined:
    case MessageType::kTopicLeave:
    case MessageType::kTopicPublish:
    case MessageType::kTopicPublished:
    case MessageType::kTopicEvent:
    case MessageType::kTopicPull:
    case MessageType::kTopicPiece:
    case MessageType::kListTopics:
    case MessageType::kTopicsParked:
    case MessageType::kTopicsResumed:
    case MessageType::kTopicsRestored:
      topics_.on_mail(from, type, bytes);
      break;
    case MessageType::kPresenceCome:
    case MessageType::kPresenceGo:
    case MessageType::kPresenceSet:
    case MessageType::kPresenceChanged:
    case MessageType::kPresenceWatch:
    case MessageType::kPresenceState:
    case MessageType::kSendToUser:
      presence_.on_mail(from, type, bytes);
      break;
    case MessageType::kGroupAsk:
    case MessageType::kSocialAnswer:
    case MessageType::kGroupMembership:
    case MessageType::kUserAsk:
    case MessageType::kUserEntries:
    case MessageType::kSocialSet:
    case MessageType::kDeliverGroup:
    case MessageType::kFocusMoves:
    case MessageType::kUserQuestion:
      social_.on_mail(from, type, bytes);
      break;
    case MessageType::kTopicRow:
    case MessageType::kTopicListEnd:
    case MessageType::kSessionOpen:
      sessions_.on_open(bytes, unix_s());
      break;
    case MessageType::kSessionOpened:
      on_session_opened(bytes);
      break;
    case MessageType::kSessionRelease:
      on_session_release(from, bytes);
      break;
    case MessageType::kSessionClosed:
      on_session_closed(bytes);
      break;
    case MessageType::kSessionLeft:
      sessions_.on_left(bytes, now_, unix_s());
      break;
    case MessageType::kSessionProgress:
      sessions_.on_progress(bytes, now_);
      break;
    case MessageType::kSessionSend:
      on_session_send(bytes);
      break;
    case MessageType::kRealmOrder:
      realm_.on_order(bytes);
      break;
    case MessageType::kBusView:
      cluster_.on_view(bytes);
      break;
    case MessageType::kBusMail:
      cluster_.on_mail(bytes);
      break;
    case MessageType::kSessionDeliver:
      on_session_deliver(bytes);
      break;
    case MessageType::kSessionSaved:
      on_session_saved(bytes);
      break;
    case MessageType::kSessionsStored:
      sessions_.on_stored(bytes);
      break;
    case MessageType::kSessionClaimed:
      sessions_.on_claimed(bytes, now_, unix_s());
      break;
    case MessageType::kSessionLetter:
      sessions_.on_letter(bytes, now_);
      break;
    case MessageType::kSessionTaken:
      sessions_.on_taken(bytes);
      break;
    case MessageType::kListSessions:
      sessions_.on_list(bytes);
      break;
    case MessageType::kSessionRow:
    case MessageType::kSessionRecord:
    case MessageType::kShardLoad:
    case MessageType::kUserRecord:
    case MessageType::kUserFact:
    case MessageType::kCellDump:
    case MessageType::kHistoryAnswer:
    case MessageType::kSnapshotPiece:
    case MessageType::kSnapshotEnd:
    case MessageType::kAuthRequest:
    case MessageType::kConnectionRow:
    case MessageType::kListEnd:
    case MessageType::kKicked:
    case MessageType::kPadding:
    case MessageType::kCount:
      TG_ASSERT(!"not a message for a shard");
  }
}

// Counts kept by the parts, shown as metrics. A handful of stores; once a tick is enough.
void Shard::update_gauges() {
  if (gauges_tick_ == barrier_.tick()) return;
  gauges_tick_ = barrier_.tick();
  using metrics::Counter;
  using metrics::Gauge;
  const world::SliceCounters& slice = slice_.counters();
  counters_.set(Gauge::kConnectionsOpen, endpoint_.open_count());
  counters_.set(Gauge::kPlayers, live_players_);
  counters_.set(Gauge::kJoinsWaiting, joins_.waiting());
  counters_.set(Gauge::kEntities, slice_.entities().count());
  counters_.set(Gauge::kCellsWatched, interest_.watched_cell_count());
  counters_.set(Gauge::kBacklogMemoryUsed, endpoint_.backlog_bytes_in_use());
  counters_.set(Gauge::kInputMemoryUsed, endpoint_.input_bytes_in_use());
  if (const mem::Account* account = config_.endpoint.account; account != nullptr) {
    counters_.set(Gauge::kMemoryCharged, account->charged());
    counters_.set(Counter::kMemoryRefused, account->refused());
  }
  const io::IoTrouble trouble = io_.trouble();
  counters_.set(Counter::kReceivePauses, trouble.buffer_pauses);
  counters_.set(Counter::kMemoryPauses, trouble.memory_pauses);
  counters_.set(Counter::kQueueOverflows, trouble.overflows);
  counters_.set(Gauge::kOutboxBytes, outbox_.waiting_bytes());
  counters_.set(Gauge::kTick, current_tick());
  topics_.update_gauges();
  realm_.update_gauges();
  presence_.update_gauges();
  states_.update_gauges();
  social_.update_gauges();
  count_rungs();
  counters_.set(Gauge::kSessions, sessions_.table().count());
  counters_.set(Gauge::kSessionsParked, sessions_.table().parked_count());
  counters_.set(Gauge::kReplayMessages, sessions_.replay_messages());
  counters_.set(Gauge::kReplayBytes, sessions_.logs().bytes_in_use());
  uint64_t mail_refused = 0;
  for (uint16_t t = 0; t < static_cast<uint16_t>(mailbox::MessageType::kCount); ++t) {
    mail_refused += mailbox_.refused(static_cast<mailbox::MessageType>(t));
  }
  counters_.set(Counter::kMailRefused, mail_refused);
  counters_.set(Counter::kInputsApplied, slice.inputs_applied);
  counters_.set(Counter::kMovesRefusedSpeed, slice.inputs_refused_speed);
  counters_.set(Counter::kMovesRefusedBounds, slice.inputs_refused_bounds);
  counters_.set(Counter::kArrivalsRefused, slice.arrivals_refused);
  counters_.set(Counter::kCellEntitiesMoved, slice.cell_entities_in);
  counters_.set(Counter::kInputsRefusedByHook, slice.inputs_refused_hook);
  counters_.set(Counter::kViolationsForgiven, slice.violations_forgiven);
  counters_.set(Counter::kSpawned, slice.spawned);
  counters_.set(Counter::kEntitiesGone, slice.gone);
  const world::EncodeCounters& encode = slice_.encode_counters();
  counters_.set(Counter::kCellFramesEncoded, encode.frames);
  counters_.set(Counter::kCellBytesPacked, encode.packed_bytes);
  counters_.set(Counter::kCellBytesProtobuf, encode.protobuf_bytes);
  counters_.set(Counter::kEncodesSkipped, encode.skipped);
  counters_.set(Counter::kLayerFramesFull, encode.layer_frames[3]);
  counters_.set(Counter::kLayerFramesHalf, encode.layer_frames[2]);
  counters_.set(Counter::kLayerFramesQuarter, encode.layer_frames[1]);
  counters_.set(Counter::kLayerFramesAnchor, encode.layer_frames[0]);
  counters_.set(Counter::kLayersLeftOut, encode.layers_left_out);
  const world::InterestCounters& interest = interest_.counters();
  counters_.set(Counter::kLevelsRaised, interest.levels_raised);
  counters_.set(Counter::kLevelsLowered, interest.levels_lowered);
  counters_.set(Counter::kFramesLeftOut, interest.frames_left_out);
  counters_.set(Counter::kCellsStale, interest.cells_stale);
  counters_.set(Counter::kKeyframesPutOff, interest.keyframes_put_off);
  counters_.set(Counter::kRatesLowered, governor_.lowered());
  counters_.set(Gauge::kRateCeiling, governor_.ceiling());
  counters_.set(Gauge::kKeyframeBytesMax, governor_.keyframe_bytes());
  counters_.set(Counter::kCellsCut, interest.cells_cut);
  counters_.set(Counter::kViewsShrunk, interest.views_shrunk);
  counters_.set(Counter::kViewsGrown, interest.views_grown);
  const auto rung = [&](world::Rung r) { return interest.rungs[static_cast<uint32_t>(r)]; };
  counters_.set(Counter::kSlowNoLayer3, rung(world::Rung::kNoLayer3));
  counters_.set(Counter::kSlowNoLayer2, rung(world::Rung::kNoLayer2));
  counters_.set(Counter::kSlowNear, rung(world::Rung::kNear));
  counters_.set(Counter::kSlowOwnOnly, rung(world::Rung::kOwnOnly));
  counters_.set(Counter::kSlowClosed, rung(world::Rung::kEnd));
  counters_.set(Gauge::kClientsLimited, interest_.limited_count());
  counters_.set(Counter::kSlotsReusedEarly, slice_.cells().early_reuses());
  counters_.set(Counter::kCellsHealed, interest.heals);
}

uint64_t Shard::memory_bytes() const {
  return endpoint_.memory_bytes() + slice_.bytes() + interest_.bytes() + directory_.bytes() +
         identities_.memory_bytes() + sessions_.memory_bytes() + bridge_.bytes() +
         players_.bytes() + outbox_.memory_bytes() + snapshot_.memory_bytes() +
         balance_.loads.bytes() + topics_.memory_bytes() + presence_.memory_bytes() +
         realm_.memory_bytes() + social_.memory_bytes() + packing_.memory_bytes() +
         json_.memory_bytes() + states_.memory_bytes();
}

}  // namespace tidegate::shard
