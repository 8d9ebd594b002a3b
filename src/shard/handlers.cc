// SPDX-License-Identifier: Apache-2.0
// An embedder's handlers on their shard: the call with its clock, what the handler may do, and the
// ways of its messages to players elsewhere:
//   send_to_player   any shard -> home of the player -> shard of the connection
//   send_to_nearby   any shard -> every shard, each looks at its own players
#include <cmath>
#include <cstring>

#include "shard/shard.h"
#include "wire/envelope.h"
#include "wire/messages.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using metrics::Family;

namespace {

constexpr uint32_t kEnvelopeRoom = 64;   // frame, type, timestamp, ack, lengths
constexpr size_t kReasonBytesMax = 120;  // of a close frame
constexpr size_t kTextBytesMax = 1024;

base::Bytes as_base(Bytes b) { return {static_cast<const uint8_t*>(b.data), b.size}; }

bool is_close_code(uint16_t code) {
  return code == 1000 || code == 1001 || code == 1008 || (code >= 1011 && code <= 1013) ||
         (code >= 3000 && code <= 4999);
}

// An entry of map<string, string>.
bool is_text_pair(base::Bytes bytes) {
  wire::PbReader entry(bytes);
  while (entry.next()) {
    const bool text = entry.is(wire::WireType::kBytes) && wire::is_utf8(entry.text());
    if (entry.field() <= 2 && !text) return false;
  }
  return !entry.failed();
}

// Value of the metric families: one for each of the first entries, the last for all others.
uint32_t metric_value(uint32_t index) { return std::min(index, metrics::kFamilyValuesMax - 1); }

}  // namespace

// Lives on the stack of one call.
class HandlerContext final : public tidegate::Context {
 public:
  HandlerContext(Shard& shard, uint32_t slot, const wire::Envelope& message)
      : shard_(shard),
        slot_(slot),
        connection_(shard.endpoint_.ref(slot)),
        message_(message),
        identity_(shard.identities_.view(shard.players_[slot].identity)) {}

  uint32_t slot() const { return slot_; }
  std::string_view player_id() const noexcept override { return identity_.player; }
  std::string_view user_id() const noexcept override { return identity_.user; }
  std::string_view permissions() const noexcept override { return identity_.permissions; }
  bool has_permission(std::string_view permission) const noexcept override {
    std::string_view rest = identity_.permissions;
    while (!permission.empty() && !rest.empty()) {
      const size_t end = std::min(rest.find(' '), rest.size());
      if (rest.substr(0, end) == permission) return true;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    return false;
  }
  uint32_t tick() const noexcept override { return shard_.current_tick(); }
  uint32_t shard() const noexcept override { return shard_.config_.index; }
  bool in_world() const noexcept override { return shard_.players_[slot_].entity.valid(); }
  Position position() const noexcept override {
    const world::Steps3& p = shard_.players_[slot_].position;
    const float step = shard_.config_.world.position_step;
    return {wire::to_metres(p[0], step), wire::to_metres(p[1], step), wire::to_metres(p[2], step)};
  }

  SendResult reply(uint32_t type, Bytes payload) noexcept override {
    if (!may_send(type)) return SendResult::kBadType;
    if (payload.size > kReplyBytesMax) return SendResult::kTooLarge;
    return shard_.send_payload(slot_, type, as_base(payload));
  }

  SendResult answer(uint32_t code, std::string_view text) noexcept override {
    if (text.size() > kTextBytesMax) return SendResult::kTooLarge;
    uint8_t bytes[kTextBytesMax + 32];
    wire::PbWriter reply(bytes);
    reply.varint(1, message_.sequence);
    reply.varint(2, code);
    reply.text(3, text);
    return shard_.send_payload(slot_, static_cast<uint32_t>(wire::MessageType::kReply),
                               reply.written());
  }

  SendResult send_to_player(std::string_view player, uint32_t type,
                            Bytes payload) noexcept override {
    if (!may_send(type)) return SendResult::kBadType;
    if (payload.size > kPeerBytesMax) return SendResult::kTooLarge;
    if (player.empty() || player.size() > world::kPlayerIdBytesMax) return SendResult::kRange;
    uint8_t tail[kPeerBytesMax + world::kPlayerIdBytesMax];
    std::memcpy(tail, player.data(), player.size());
    if (payload.size != 0) std::memcpy(tail + player.size(), payload.data, payload.size);
    const mailbox::SendToPlayer send{type, static_cast<uint32_t>(player.size()), source()};
    const uint32_t home = world::home_of(player, shard_.config_.count).value;
    return posted(shard_.mailbox_.post(home, send, {tail, player.size() + payload.size}));
  }

  SendResult send_to_nearby(float radius, uint32_t type, Bytes payload) noexcept override {
    if (!may_send(type)) return SendResult::kBadType;
    if (payload.size > kPeerBytesMax) return SendResult::kTooLarge;
    if (!(radius >= 0) || radius > 100'000 || !in_world()) return SendResult::kRange;
    const world::Steps3& at = shard_.players_[slot_].position;
    mailbox::DeliverNear send{};
    send.source = source();
    send.except = connection_;
    send.except_shard = shard_.config_.index;
    send.message_type = type;
    send.x = at[0];
    send.z = at[2];
    send.radius = static_cast<uint32_t>(radius / shard_.config_.world.position_step);
    SendResult result = SendResult::kOk;
    for (uint32_t to = 0; to < shard_.config_.count; ++to) {
      if (posted(shard_.mailbox_.post(to, send, as_base(payload))) != SendResult::kOk) {
        result = SendResult::kBusy;
      }
    }
    shard_.realm_.send_near(send, as_base(payload));
    return result;
  }

  SendResult send(const Target& target, uint32_t type, Bytes payload) noexcept override {
    if (!may_send(type)) return SendResult::kBadType;
    return shard_.send_to(target, type, payload, source());
  }
  SendResult group(const GroupCommand& command) noexcept override {
    return shard_.social_.request(command);
  }
  SendResult publish(std::string_view topic, Bytes data, uint32_t event_type) noexcept override {
    return posted_topic(shard_.topics_.publish(topic, event_type, {}, as_base(data), 0));
  }

  SendResult set_view_distance(float metres) noexcept override {
    Player& player = shard_.players_[slot_];
    if (!(metres > 0) || !shard_.interest_.watching(slot_)) return SendResult::kRange;
    player.view_distance = metres;
    shard_.interest_.set_view(slot_, metres, player.position);
    return SendResult::kOk;
  }

  SendResult mark_state() noexcept override {
    const Player& player = shard_.players_[slot_];
    if (!player.entity.valid()) return SendResult::kRange;
    if (!shard_.bridge_.wants_state()) return SendResult::kOk;  // nobody to ask
    shard_.outbox_.post(player.owner, mailbox::MarkState{player.entity, 0});
    return SendResult::kOk;
  }

  SendResult send_acknowledged(std::string_view player, uint32_t type,
                               Bytes payload) noexcept override {
    if (!may_send(type)) return SendResult::kBadType;
    return shard_.post_acknowledged(player, 0, type, as_base(payload));
  }

  SendResult set_state(const StateSpec& spec) noexcept override {
    return posted_state(shard_.states_.set(spec));
  }
  SendResult remove_state(StateScope scope, std::string_view key,
                          std::string_view player) noexcept override {
    return posted_state(shard_.states_.remove(scope, key, player));
  }

  SendResult disconnect(uint16_t code, std::string_view reason) noexcept override {
    if (!is_close_code(code) || reason.size() > kReasonBytesMax || !wire::is_utf8(reason)) {
      return SendResult::kRange;
    }
    if (!shard_.endpoint_.is_open(slot_)) return SendResult::kClosed;
    wire::Disconnect disconnect;
    disconnect.code = code;
    disconnect.reason = reason;
    shard_.send_disconnect(slot_, disconnect);
    shard_.endpoint_.close(slot_, code, reason, net::CloseCause::kServerClosed);
    return SendResult::kOk;
  }

 private:
  SendResult posted_state(SendResult result) const { return posted_topic(result); }
  // What is sent for this client is not for those who block its user.
  uint64_t source() const { return session::hash_name(identity_.user); }
  SendResult posted_topic(SendResult result) const {
    if (result == SendResult::kBusy) {
      shard_.counters_.add(Counter::kHandlerSendsDropped, 1);
    }
    return result;
  }
  SendResult posted(bool done) const {
    if (done) return SendResult::kOk;
    shard_.counters_.add(Counter::kHandlerSendsDropped, 1);
    return SendResult::kBusy;
  }

  Shard& shard_;
  uint32_t slot_;
  base::ConnectionRef connection_;
  const wire::Envelope& message_;
  IdentityView identity_;
};

Handled Shard::run_handler(uint32_t slot, const wire::Envelope& message) {
  const uint32_t index = config_.handlers->find(message.type);
  TG_ASSERT(index != HandlerTable::kNone);
  const HandlerEntry& entry = config_.handlers->entry(index);
  const uint32_t value = metric_value(index);
  HandlerContext context(*this, slot, message);
  const Message view{message.type,
                     {message.payload.data(), message.payload.size()},
                     message.requires_ack ? message.sequence : 0,
                     message.priority,
                     message.timestamp};
  const base::Instant started = io_.now();
  if (message.type == kPlayerActionType && config_.hooks != nullptr &&
      config_.hooks->validate_action != nullptr) {
    const Handled allowed = check_action(context, message);
    if (allowed != Handled::kOk) return allowed;
  }
  counters_.add(Family::kHandlerCalls, value);
  const Outcome outcome = entry.invoke(entry.user, context, view);
  const base::Duration took = io_.now() - started;
  counters_.record(metrics::Timing::kHandler, took);
  if (took > config_.handler_budget) {
    counters_.add(Family::kHandlerOverBudget, value);
    if (took > config_.handler_time_limit) {
      counters_.add(Family::kHandlerTimeouts, value);
      return Handled::kTimedOut;
    }
  }
  switch (outcome) {
    case Outcome::kOk:
      return Handled::kOk;
    case Outcome::kInvalid:
      return Handled::kInvalid;
    case Outcome::kNotPermitted:
      return Handled::kNotPermitted;
    case Outcome::kFailed:
      break;
  }
  counters_.add(Family::kHandlerFailures, value);
  return Handled::kFailed;
}

SendResult Shard::send_payload(uint32_t slot, uint32_t type, base::Bytes payload,
                               uint64_t sequence) {
  uint32_t raw_size = 0;
  if (packing_.large(payload.size()) && players_[slot].packing != 0) {
    const base::Bytes packed = packing_.pack(players_[slot].packing, type, payload);
    if (!packed.empty()) {
      raw_size = static_cast<uint32_t>(payload.size());
      payload = packed;
    }
  }
  const uint32_t room = static_cast<uint32_t>(payload.size()) + kEnvelopeRoom;
  uint8_t* out = endpoint_.reserve_message(slot, room);
  if (out == nullptr) return SendResult::kClosed;
  wire::EnvelopeHead head{static_cast<wire::MessageType>(type), io_.unix_ms()};
  head.sequence = sequence;
  head.requires_ack = sequence != 0;
  if (raw_size != 0) {
    head.compression = Packing::method_of(players_[slot].packing);
    head.raw_size = raw_size;
  }
  Player& player = players_[slot];
  if (player.inbound.ack_owed()) {
    head.ack = player.inbound.safe();
    player.inbound.acknowledged();
  }
  wire::MessageWriter writer({out, room}, head);
  writer.payload().raw(payload.data(), payload.size());
  const uint32_t size = writer.finish();
  TG_ASSERT(size != 0);
  endpoint_.commit_message(slot, protocol::Opcode::kBinary, size);
  return SendResult::kOk;
}

void Shard::on_send_to_player(base::Bytes bytes) {
  base::Bytes tail;
  const auto send = read_message<mailbox::SendToPlayer>(bytes, &tail);
  TG_ASSERT(send.name_bytes <= tail.size());
  const std::string_view player = base::as_text(tail.first(send.name_bytes));
  const base::Bytes payload = tail.subspan(send.name_bytes);
  if (deliver_to_player(player, send.message_type, payload, send.source)) return;
  send_far(mailbox::BusOp::kSendPlayer, send.message_type, player, payload, 0, send.source);
}

void Shard::on_deliver(base::Bytes bytes) {
  base::Bytes payload;
  const auto deliver = read_message<mailbox::Deliver>(bytes, &payload);
  const uint32_t slot = endpoint_.find(deliver.connection);
  if (slot == net::kNone || players_[slot].session == 0) return;  // it left meanwhile
  if (social_.hides(slot, deliver.source)) {
    counters_.add(Counter::kMessagesBlocked, 1);
    return;
  }
  if (holds_back(slot, priority_of(deliver.message_type))) {
    counters_.add(Counter::kMessagesHeldBack, 1);
    return;
  }
  send_payload(slot, deliver.message_type, payload);
}

// --- hooks beside the slice ---

// kOk, kInvalid, or kAnswered when the hook refused and the ERROR is out.
Handled Shard::check_action(HandlerContext& context, const wire::Envelope& message) {
  Action action;
  action.payload = {message.payload.data(), message.payload.size()};
  wire::PbReader fields(message.payload);
  while (fields.next()) {
    const bool text = fields.is(wire::WireType::kBytes);
    if ((fields.field() <= 3 && !text) || (fields.field() == 4 && text)) return Handled::kInvalid;
    if (fields.field() == 3 && !is_text_pair(fields.bytes())) return Handled::kInvalid;
    if (fields.field() == 1) action.id = fields.text();
    if (fields.field() == 2) action.target = fields.text();
    if (fields.field() == 4) action.client_tick = static_cast<uint32_t>(fields.varint());
  }
  if (fields.failed() || !wire::is_utf8(action.id) || !wire::is_utf8(action.target)) {
    return Handled::kInvalid;
  }
  const Guarded<uint16_t> result =
      config_.hooks->validate_action(config_.hooks->user, context, action);
  if (!endpoint_.is_open(context.slot())) return Handled::kAnswered;  // the hook closed it
  if (result.failed) {
    counters_.add(Counter::kHookFailures, 1);
    return Handled::kFailed;
  }
  if (result.value == 0) return Handled::kOk;
  const bool known = wire::text_of_error(result.value) != nullptr;
  violation(context.slot(), known ? result.value : uint16_t{wire::kErrorNotPermitted}, {});
  return Handled::kAnswered;
}

float Shard::interest_radius(uint32_t slot) {
  static constexpr wire::Envelope kNoMessage{};
  const HandlerContext context(*this, slot, kNoMessage);
  const float wish = players_[slot].view_distance;
  const float asked =
      wish > 0 ? std::min(wish, config_.world.view_distance) : config_.world.view_distance;
  const Guarded<float> result = config_.hooks->interest_radius(config_.hooks->user, context, asked);
  if (!result.failed && std::isfinite(result.value) && result.value > 0) return result.value;
  counters_.add(Counter::kHookFailures, 1);
  return asked;
}

void Shard::close_player(base::ShardId shard, base::ConnectionRef connection, uint16_t code) {
  outbox_.post(shard.value, mailbox::CloseConnection{connection, 1008, code});
}

void Shard::on_mark_state(base::Bytes bytes) {
  auto message = read_message<mailbox::MarkState>(bytes);
  const world::Queued queued = bridge_.mark(message.entity);
  if (queued.status == world::QueueStatus::kForward && message.hops < 8) {
    ++message.hops;
    outbox_.post(queued.to.value, message);
  }
}

void Shard::on_environment(base::Bytes bytes) {
  base::Bytes tail;
  read_message<mailbox::EnvironmentSet>(bytes, &tail);
  TG_ASSERT(tail.size() <= environment_.size());
  environment_bytes_ = static_cast<uint32_t>(tail.size());
  if (!tail.empty()) std::memcpy(environment_.data(), tail.data(), tail.size());
  // Who has no state yet gets it with the WORLD_STATE.
  for (uint32_t slot = 0; slot < players_end_; ++slot) {
    if (players_[slot].state == session::State::kConnected && endpoint_.is_open(slot)) {
      send_environment(slot);
    }
  }
}

void Shard::send_environment(uint32_t slot) {
  uint8_t bytes[kEnvironmentBytesMax + 128];
  wire::PbWriter update(bytes);
  update.text(wire::kZoneId, config_.world.zone_id);
  update.put_bytes(wire::kZoneEnvironment, {environment_.data(), environment_bytes_});
  TG_ASSERT(!update.overflow());
  send_payload(slot, static_cast<uint32_t>(wire::MessageType::kZoneUpdate), update.written());
}

}  // namespace tidegate::shard
