// SPDX-License-Identifier: Apache-2.0
#include "bus/bus_service.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "bus/rendezvous.h"
#include "session/name_table.h"
#include "wire/limits.h"
#include "wire/message_types.h"

namespace tidegate::bus {

using mailbox::BusMail;
using mailbox::BusOp;
using mailbox::MessageType;

namespace {

constexpr uint32_t kDeliveriesPerTurn = 1024;
constexpr base::Duration kRaiseEvery = base::seconds(10);
constexpr base::Duration kMissedEvery = base::milliseconds(500);  // of each member

std::string prefix(const BusConfig& config) { return "tidegate." + config.cluster + '.'; }

base::Bytes raw(const BusMail& mail) {
  return {reinterpret_cast<const uint8_t*>(&mail), sizeof mail};
}

bool wants_answer(const BusMail& mail) {
  // A publish of the server itself has no connection that waits.
  return mail.op == BusOp::kTopicPull || (mail.op == BusOp::kTopicPublish && mail.a != 0);
}

}  // namespace

// What services say, to the shards of this gateway.
struct BusService::Sink final : BackendSink {
  Sink(BusService& s, ShardPort& p) : service(s), port(p) {}
  void to_shard(const BusMail& mail, base::Bytes tail) override {
    if (mail.op == BusOp::kSendEveryone) {
      for (uint32_t i = 0; i < service.config_.shards; ++i) to_shard(i, mail, tail);
      return;
    }
    to_shard(service.home_shard_of(mail, base::as_text(tail.first(mail.name_bytes))), mail, tail);
  }
  void to_shard(uint32_t shard, const BusMail& mail, base::Bytes tail) override {
    service.post_mail(shard, mail, tail, port);
  }
  void publish(std::string_view topic, uint32_t event_type, bool requires_ack,
               base::Bytes data) override {
    mailbox::TopicPublish publish{};
    publish.event_type = event_type;
    publish.flags = requires_ack ? mailbox::kTopicAckAsked : 0;
    publish.topic_bytes = static_cast<uint16_t>(topic.size());
    std::vector<uint8_t> bytes(sizeof publish);
    std::memcpy(bytes.data(), &publish, sizeof publish);
    bytes.insert(bytes.end(), topic.begin(), topic.end());
    bytes.insert(bytes.end(), data.begin(), data.end());
    service.post(session::home_shard(topic, service.config_.shards), MessageType::kTopicPublish,
                 bytes, port, Must::kNo);
  }
  BusService& service;
  ShardPort& port;
};

BusService::BusService(const BusConfig& config, Transport& transport)
    : config_(config),
      transport_(transport),
      membership_(config.membership, config.gateway, config.epoch),
      backend_(config.backend, config.cluster, config.gateway, transport),
      backlogs_(config.shards),
      inbox_prefix_(prefix(config) + "gateway."),
      all_subject_(prefix(config) + "gateways") {}

std::vector<Subscription> BusService::subscriptions(const BusConfig& config) {
  std::vector<Subscription> all = {{prefix(config) + "gateway." + config.gateway, {}},
                                   {prefix(config) + "gateways", {}}};
  Backend::add_subscriptions(config.cluster, config.gateway, &all);
  return all;
}

std::vector<uint8_t> BusService::head(FrameKind kind) const {
  return write_head(kind, membership_.self().epoch, config_.gateway, membership_.self().fresh);
}

// --- out ---

void BusService::on_mail(uint32_t shard, const BusMail& mail, base::Bytes tail) {
  if (mail.op == BusOp::kEcho) {
    if (mail.a == membership_.view() && mail.d == mark_phase_ && marks_left_ != 0 &&
        --marks_left_ == 0) {
      membership_.on_shards_done(mail.a, mail.d);
      turn_due_ = true;
    }
    return;
  }
  if (mail.op == BusOp::kServiceCall) {
    backend_.on_call(shard, mail, tail, now_, unix_ms_);
    turn_due_ = true;
    return;
  }
  if (!wants_answer(mail)) {
    send_mail(mail, tail);
    return;
  }
  // The other gateway is given a number, which comes back.
  Request request{now_ + config_.request_timeout, shard, mail, {}};
  request.name.assign(tail.begin(), tail.begin() + mail.name_bytes);
  const bool there =
      std::any_of(membership_.members().begin(), membership_.members().end(),
                  [&](const auto& m) { return !m.self && (mail.gateways >> m.index & 1) != 0; });
  if (!there || requests_.size() >= config_.requests) {
    failed_.push_back(std::move(request));
    turn_due_ = true;
    return;
  }
  BusMail out = mail;
  (mail.op == BusOp::kTopicPublish ? out.a : out.b) = next_request_;
  out.shard = mailbox::kShardByName;
  requests_.emplace(next_request_++, std::move(request));
  send_mail(out, tail);
}

void BusService::broadcast(BusMail mail, base::Bytes tail) {
  mail.gateways = mailbox::kAllGateways;
  send_mail(mail, tail);
}

void BusService::send_mail(const BusMail& mail, base::Bytes tail) {
  std::vector<uint8_t> frame = head(FrameKind::kMail);
  append_mail(mail, &frame);
  if (mail.gateways == mailbox::kAllGateways) {
    if (membership_.members().size() < 2) return;
    ++figures_.mails_out;
    ++all_out_;
    transport_.publish(all_subject_, frame, tail);
    return;
  }
  for (const Membership::Member& m : membership_.members()) {
    if (m.self || (mail.gateways >> m.index & 1) == 0) continue;
    ++figures_.mails_out;
    ++links_[m.id].direct_out;
    transport_.publish(inbox_prefix_ + m.name, frame, tail);
  }
}

void BusService::send_heartbeat() {
  heartbeat_at_ = now_ + config_.membership.heartbeat;
  if (!transport_.connected()) return;
  std::vector<uint8_t> frame = head(FrameKind::kHeartbeat);
  append_population(population_, &frame);
  append_era(membership_.era(), &frame);
  append_sent(all_out_++, &frame);
  for (const Membership::Member& m : membership_.members()) {
    if (!m.self) append_sent_to(m.id, links_[m.id].direct_out, &frame);
  }
  transport_.publish(all_subject_, frame, {});
}

void BusService::send_mark(Mark mark) {
  std::vector<uint8_t> frame = head(FrameKind::kMark);
  append_mark(mark, membership_.view(),
              mark == Mark::kFlush ? membership_.flush_era() : membership_.era(), &frame);
  for (const Membership::Member& m : membership_.members()) {
    if (m.self) continue;
    ++links_[m.id].direct_out;
    transport_.publish(inbox_prefix_ + m.name, frame, {});
  }
}

// Frames of one gateway come in the order in which it sent them, so a heartbeat finds what it
// counts.
void BusService::count_in(const Membership::Member& from, const Frame& frame, bool direct) {
  Link& link = links_[from.id];
  if (link.epoch != from.epoch) {  // what it missed or we did is said anew in any case
    link.epoch = from.epoch;
    link.counted = link.missed = false;
  }
  if (frame.kind == FrameKind::kHeartbeat) {
    SentCounts now;
    const bool says = read_sent(frame.body, membership_.self().id, &now);
    if (says && link.counted &&
        (now.all - link.said.all > link.all_in || now.direct - link.said.direct > link.direct_in)) {
      link.missed = true;
      ++figures_.missed;
    }
    link.counted = says;
    link.said = now;
    link.all_in = link.direct_in = 0;
  }
  ++(direct ? link.direct_in : link.all_in);
}

// Presence and the ends of topics are said again, on both sides: it may have been the last word.
void BusService::tell_missed(ShardPort& port) {
  for (const Membership::Member& m : membership_.members()) {
    if (m.self) continue;
    Link& link = links_[m.id];
    if (!link.missed || now_ - link.told_at < kMissedEvery) continue;
    link.missed = false;
    link.told_at = now_;
    BusMail mail;
    mail.op = BusOp::kMissed;
    mail.gateways = uint64_t{1} << m.index;
    mail.shard = mailbox::kEveryShard;
    send_mail(mail, {});
    for (uint32_t i = 0; i < config_.shards; ++i) post_mail(i, mail, {}, port);
  }
}

void BusService::leave() {
  if (!transport_.connected()) return;
  transport_.publish(all_subject_, head(FrameKind::kLeave), {});
}

// --- in ---

void BusService::turn(base::Instant now, base::UnixMs unix_ms, ShardPort& port) {
  now_ = now;
  unix_ms_ = unix_ms;
  turn_due_ = false;
  for (uint32_t i = 0; i < backlogs_.size(); ++i) {
    Backlog& b = backlogs_[i];
    while (!b.items.empty() && port.post(i, b.items.front().type, b.items.front().bytes)) {
      b.bytes -= b.items.front().bytes.size();
      b.items.pop_front();
    }
  }
  while (!failed_.empty()) {
    fail(failed_.front(), wire::kErrorRateLimited, port);
    failed_.pop_front();
  }
  if (const uint64_t connects = transport_.figures().connects; connects != connects_) {
    // What was said while there was no connection is lost, in both directions.
    if (connects_ != 0) membership_.raise_epoch();
    if (connects_ == 0) membership_.heard_by(now + config_.membership.heartbeat * 5 / 2);
    connects_ = connects;
    heartbeat_at_ = now;
  }
  // What had to be dropped is said anew, but not so often that this alone fills the queues.
  const TransportFigures carried = transport_.figures();
  const uint64_t dropped = carried.dropped_in + carried.dropped_out + figures_.dropped;
  if (!transport_.connected()) {
    dropped_ = dropped;
  } else if (dropped != dropped_ && now - raised_at_ >= kRaiseEvery) {
    dropped_ = dropped;
    raised_at_ = now;
    membership_.raise_epoch();
  }
  Delivery delivery;
  for (uint32_t i = 0; i < kDeliveriesPerTurn && transport_.poll(&delivery); ++i) {
    on_delivery(delivery, port);
    turn_due_ = i + 1 == kDeliveriesPerTurn;
  }
  follow_view(port);
  tell_missed(port);
  if (now >= heartbeat_at_) send_heartbeat();
  Sink sink(*this, port);
  backend_.turn(now, sink);
  while (!requests_.empty() && requests_.begin()->second.deadline <= now) {
    ++figures_.timeouts;
    fail(requests_.begin()->second, wire::kErrorHandlerTimeout, port);
    requests_.erase(requests_.begin());
  }
}

base::Instant BusService::next_deadline() const {
  if (turn_due_) return now_;
  base::Instant next = heartbeat_at_;
  if (membership_.stage() != Membership::Stage::kSettled) {
    next = std::min(next, now_ + base::milliseconds(20));
  }
  if (!requests_.empty()) next = std::min(next, requests_.begin()->second.deadline);
  next = std::min(next, backend_.next_deadline());
  for (const Backlog& b : backlogs_) {
    if (!b.items.empty()) next = std::min(next, now_ + base::milliseconds(1));
  }
  return next;
}

// Tells shards and gateways what follows from who is there.
void BusService::follow_view(ShardPort& port) {
  membership_.turn(now_);
  if (membership_.take_view_changed()) {
    populations_.clear();
    send_heartbeat();  // with our epoch, before anything that depends on it
    std::vector<uint8_t> view(sizeof(mailbox::BusView));
    const mailbox::BusView head{membership_.view()};
    std::memcpy(view.data(), &head, sizeof head);
    for (const Membership::Member& m : membership_.members()) {
      const mailbox::BusMember row{m.id, m.epoch, m.index, m.self ? 1u : 0u};
      view.resize(view.size() + sizeof row);
      std::memcpy(view.data() + view.size() - sizeof row, &row, sizeof row);
    }
    for (uint32_t i = 0; i < config_.shards; ++i) {
      post(i, MessageType::kBusView, view, port, Must::kYes);
    }
    post_mark(1, port);
  }
  Mark mark;
  while (membership_.take_mark(&mark)) send_mark(mark);
  if (membership_.take_phase2()) post_mark(2, port);
  if (membership_.take_settled()) {
    BusMail settled;
    settled.op = BusOp::kMark;
    settled.a = membership_.view();
    settled.b = membership_.view_era();
    settled.d = 3;
    for (uint32_t i = 0; i < config_.shards; ++i) post_mail(i, settled, {}, port, Must::kYes);
  }
}

void BusService::post_mark(uint32_t phase, ShardPort& port) {
  BusMail mark;
  mark.op = BusOp::kMark;
  mark.a = membership_.view();
  mark.d = phase;
  mark_phase_ = phase;
  marks_left_ = config_.shards;
  for (uint32_t i = 0; i < config_.shards; ++i) post_mail(i, mark, {}, port, Must::kYes);
}

void BusService::on_delivery(const Delivery& delivery, ShardPort& port) {
  Sink sink(*this, port);
  if (backend_.on_delivery(delivery, sink)) return;
  Frame frame;
  if (!read_frame(delivery.bytes, &frame)) {
    ++figures_.refused;
    return;
  }
  if (frame.sender == config_.gateway) return;  // what we said to all
  if (frame.kind == FrameKind::kLeave) {
    // Not when a new process of that name is there already, as after an upgrade.
    const Membership::Member* gone = membership_.find(hash_text(frame.sender));
    if (gone != nullptr && frame.epoch >= gone->epoch) membership_.on_leave(gone->id);
    return;
  }
  if (!membership_.on_heard(frame.sender, frame.epoch, now_, frame.fresh)) {
    ++figures_.refused;
    return;
  }
  // The shards hear of a new member before they hear from it.
  follow_view(port);
  const Membership::Member* from = membership_.find(hash_text(frame.sender));
  TG_ASSERT(from != nullptr);
  count_in(*from, frame, delivery.subject != all_subject_);
  switch (frame.kind) {
    case FrameKind::kHeartbeat:
      if (!read_population(frame.body, &populations_[from->id])) ++figures_.refused;
      membership_.on_era(read_era(frame.body));
      break;
    case FrameKind::kMark: {
      Mark mark;
      uint64_t view = 0;
      uint64_t era = 0;
      if (read_mark(frame.body, &mark, &view, &era)) {
        membership_.on_mark(from->id, mark, view, era);
        follow_view(port);
      } else {
        ++figures_.refused;
      }
      break;
    }
    case FrameKind::kMail:
      on_frame_mail(*from, frame.body, port);
      break;
    case FrameKind::kLeave:
      break;
  }
}

void BusService::on_frame_mail(const Membership::Member& from, base::Bytes body, ShardPort& port) {
  BusMail mail;
  base::Bytes tail;
  if (!read_mail(body, &mail, &tail) || mail.op >= BusOp::kMark) {
    ++figures_.refused;
    return;
  }
  ++figures_.mails_in;
  mail.gateways = uint64_t{1} << from.index;
  if (mail.op == BusOp::kTopicPublished || mail.op == BusOp::kTopicPiece) {
    const auto it = requests_.find(mail.op == BusOp::kTopicPublished ? mail.a : mail.b);
    if (it == requests_.end()) return;  // it came too late, and was answered
    const Request& request = it->second;
    if (mail.op == BusOp::kTopicPublished) {
      mail.a = request.mail.a;
      mail.b = request.mail.b;
      mail.shard = request.mail.shard;
    } else {
      mail.b = request.mail.b;
      mail.d = request.mail.d;
    }
    post_mail(request.shard, mail, tail, port);
    requests_.erase(it);
    return;
  }
  if (mail.op == BusOp::kSendEveryone || mail.shard == mailbox::kEveryShard) {
    for (uint32_t i = 0; i < config_.shards; ++i) post_mail(i, mail, tail, port);
    return;
  }
  const uint32_t shard = home_shard_of(mail, base::as_text(tail.first(mail.name_bytes)));
  if (shard >= config_.shards) {
    ++figures_.refused;
    return;
  }
  post_mail(shard, mail, tail, port);
}

uint32_t BusService::home_shard_of(const BusMail& mail, std::string_view name) const {
  if (mail.shard != mailbox::kShardByName) return mail.shard;
  if (name.empty()) return UINT32_MAX;
  switch (mail.op) {
    case BusOp::kSendPlayer:
    case BusOp::kSendSession:
    case BusOp::kLoggedIn:
    case BusOp::kRealmClaim:
    case BusOp::kRealmGiven:
      return config_.player_home(name, config_.shards);
    default:
      return session::home_shard(name, config_.shards);
  }
}

void BusService::fail(const Request& request, uint32_t code, ShardPort& port) {
  BusMail answer;
  answer.gateways = 0;
  answer.name_bytes = request.mail.name_bytes;
  if (request.mail.op == BusOp::kTopicPublish) {
    answer.op = BusOp::kTopicPublished;
    answer.a = request.mail.a;
    answer.b = request.mail.b;
    answer.shard = request.mail.shard;
    answer.d = code;
  } else {
    answer.op = BusOp::kTopicPiece;  // nothing, and not done: it is asked again
    answer.a = request.mail.a;
    answer.b = request.mail.b;
    answer.d = request.mail.d;
  }
  post_mail(request.shard, answer, request.name, port, Must::kYes);
}

void BusService::post_mail(uint32_t shard, const BusMail& mail, base::Bytes tail, ShardPort& port,
                           Must must) {
  std::vector<uint8_t> bytes(sizeof mail + tail.size());
  std::memcpy(bytes.data(), raw(mail).data(), sizeof mail);
  if (!tail.empty()) std::memcpy(bytes.data() + sizeof mail, tail.data(), tail.size());
  post(shard, MessageType::kBusMail, bytes, port, must);
}

void BusService::post(uint32_t shard, MessageType type, base::Bytes bytes, ShardPort& port,
                      Must must) {
  Backlog& b = backlogs_[shard];
  if (b.items.empty() && port.post(shard, type, bytes)) return;
  if (must == Must::kNo && b.bytes + bytes.size() > kBacklogBytes) {
    ++figures_.dropped;
    return;
  }
  b.bytes += bytes.size();
  b.items.push_back({type, {bytes.begin(), bytes.end()}});
}

BusFigures BusService::figures() const {
  BusFigures f = figures_;
  f.views = membership_.views();
  f.unsettled = membership_.unsettled();
  f.members = static_cast<uint32_t>(membership_.members().size());
  f.requests = static_cast<uint32_t>(requests_.size());
  for (const Backlog& b : backlogs_) f.backlog_bytes += b.bytes;
  return f;
}

}  // namespace tidegate::bus
