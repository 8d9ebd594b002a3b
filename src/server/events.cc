// SPDX-License-Identifier: Apache-2.0
// Messages of the game from host threads: control posts them to the shards.
#include <cstring>
#include <vector>

#include "mailbox/social_messages.h"
#include "server/agent.h"
#include "server/server.h"
#include "session/group_rules.h"
#include "session/presence_home.h"
#include "session/topic_rules.h"
#include "shard/targets.h"
#include "wire/envelope.h"

namespace tidegate::server {
namespace {
base::Bytes as_base(Bytes b) { return {static_cast<const uint8_t*>(b.data), b.size}; }

std::vector<uint8_t> joined(std::string_view name, Bytes payload) {
  std::vector<uint8_t> all(name.size() + payload.size);
  if (!name.empty()) std::memcpy(all.data(), name.data(), name.size());
  if (payload.size != 0) std::memcpy(all.data() + name.size(), payload.data, payload.size);
  return all;
}
}  // namespace

SendResult Server::send(const Target& target, uint32_t type, Bytes payload) {
  if (!shard::may_send(type)) return SendResult::kBadType;
  const auto shards = static_cast<uint32_t>(agents_.size());
  const float step = agents_[0]->shard->slice().scale().metres_per_step;  // constant
  shard::TargetMail mail;
  const SendResult planned =
      shard::plan_target(target, {shards, step, config_.world.zone}, type, payload, &mail);
  if (planned != SendResult::kOk) return planned;
  const auto wake = [this] { control_waker_->wake(); };
  bool posted = true;
  if (mail.to_group) {
    const auto bytes = static_cast<uint32_t>(target.id.size());
    const std::vector<uint8_t> tail = joined(target.id, payload);
    for (uint32_t to = 0; to < shards; ++to) {
      posted &= control_->post_for_host(to, mailbox::DeliverGroup{0, type, bytes}, tail, wake);
    }
  } else if (mail.to_one) {
    const std::vector<uint8_t> tail = joined(target.id, payload);
    const auto bytes = static_cast<uint32_t>(target.id.size());
    posted = mail.to_user ? control_->post_for_host(mail.receiver, mailbox::SendToUser{type, bytes},
                                                    tail, wake)
                          : control_->post_for_host(mail.receiver,
                                                    mailbox::SendToPlayer{type, bytes}, tail, wake);
  } else {
    for (uint32_t to = 0; to < shards; ++to) {
      posted &= control_->post_for_host(to, mail.near, as_base(payload), wake);
    }
    if (bus_ && target.kind == Target::Kind::kEveryone) {
      control_->run(
          [this, type, kept = joined({}, payload)] {
            mailbox::BusMail far;
            far.op = mailbox::BusOp::kSendEveryone;
            far.d = type;
            bus_->broadcast(far, kept);
          },
          wake);
    }
  }
  return posted ? SendResult::kOk : SendResult::kBusy;
}

SendResult Server::publish(std::string_view topic, Bytes data, uint32_t event_type) {
  if (session::check_topic_name(topic, config_.topics.name_bytes) != session::TopicName::kGood ||
      !wire::is_utf8(topic)) {
    return SendResult::kRange;
  }
  // The ring between control and a shard is smaller than those between shards.
  if (data.size > std::min<size_t>(config_.topics.payload_bytes, kPeerBytesMax)) {
    return SendResult::kTooLarge;
  }
  mailbox::TopicPublish post{};
  post.event_type = event_type;
  post.topic_bytes = static_cast<uint16_t>(topic.size());
  const uint32_t home = session::home_shard(topic, static_cast<uint32_t>(agents_.size()));
  return control_->post_for_host(home, post, joined(topic, data),
                                 [this] { control_waker_->wake(); })
             ? SendResult::kOk
             : SendResult::kBusy;
}

SendResult Server::post_state(const shard::StateMail& mail) {
  return control_->post_for_host(mail.home, mail.set, mail.tail_view(),
                                 [this] { control_waker_->wake(); })
             ? SendResult::kOk
             : SendResult::kBusy;
}

SendResult Server::group(const GroupCommand& command) {
  if (!session::check_group_name(command.group, session::kGroupNameBytesMax) ||
      command.user.size() > session::kUserIdBytesMax) {
    return SendResult::kRange;
  }
  mailbox::GroupAsk ask{};
  ask.operation = static_cast<uint8_t>(command.action);
  ask.role = static_cast<uint8_t>(command.role);
  ask.access = command.open ? 1 : 0;
  ask.flags = mailbox::kGroupQuiet;
  ask.group_bytes = static_cast<uint8_t>(command.group.size());
  ask.target_bytes = static_cast<uint8_t>(command.user.size());
  const Bytes user{command.user.data(), command.user.size()};
  const std::string topic = std::string(session::kGroupTopicPrefix).append(command.group);
  const uint32_t home = session::home_shard(topic, static_cast<uint32_t>(agents_.size()));
  return control_->post_for_host(home, ask, joined(command.group, user),
                                 [this] { control_waker_->wake(); })
             ? SendResult::kOk
             : SendResult::kBusy;
}

SendResult Server::set_state(const StateSpec& spec) {
  shard::StateMail mail;
  const SendResult planned = shard::plan_state(spec, state_world(), &mail);
  return planned == SendResult::kOk ? post_state(mail) : planned;
}

SendResult Server::remove_state(StateScope scope, std::string_view key, std::string_view player) {
  shard::StateMail mail;
  const SendResult planned = shard::plan_state_removal(scope, key, player, state_world(), &mail);
  return planned == SendResult::kOk ? post_state(mail) : planned;
}

// The same as long as the server lives.
shard::StateWorld Server::state_world() const {
  return {static_cast<uint32_t>(agents_.size()), agents_[0]->shard->slice().scale().metres_per_step,
          config_.world.view_distance};
}

}  // namespace tidegate::server
