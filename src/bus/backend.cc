// SPDX-License-Identifier: Apache-2.0
#include "bus/backend.h"

#include <algorithm>
#include <charconv>

#include "session/topic_rules.h"
#include "wire/envelope.h"
#include "wire/message_types.h"

namespace tidegate::bus {

using mailbox::BusMail;
using mailbox::BusOp;

namespace {

constexpr uint32_t kTypeFirst = 1000;
constexpr size_t kMessageBytesMax = 512;  // of an answer's text
constexpr size_t kNameBytesMax = 64;      // of a user or player

bool may_send(uint32_t type) { return type >= kTypeFirst || (type >= 400 && type <= 406); }

bool number(std::string_view text, uint32_t* out) {
  const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return failed == std::errc() && at == text.data() + text.size();
}

}  // namespace

bool parse_served(std::string_view text, ServedTypes* out) {
  *out = {};
  if (text.starts_with("json:")) {
    out->encoding = Encoding::kJson;
    text.remove_prefix(5);
  }
  const size_t dash = text.find('-');
  if (!number(text.substr(0, dash), &out->first)) return false;
  out->last = out->first;
  if (dash != std::string_view::npos && !number(text.substr(dash + 1), &out->last)) return false;
  return out->first >= kTypeFirst && out->first <= out->last;
}

Backend::Backend(const BackendConfig& config, std::string_view cluster, std::string_view gateway,
                 Transport& transport)
    : config_(config), transport_(transport), gateway_(gateway) {
  const std::string prefix = "tidegate." + std::string(cluster) + '.';
  in_ = prefix + "in.";
  out_ = prefix + "out.";
  reply_ = prefix + "reply." + gateway_ + '.';
}

void Backend::add_subscriptions(std::string_view cluster, std::string_view gateway,
                                std::vector<Subscription>* out) {
  const std::string prefix = "tidegate." + std::string(cluster) + '.';
  out->push_back({prefix + "reply." + std::string(gateway) + ".*", {}});
  for (const char* const what : {"user", "player", "everyone"}) {
    out->push_back({prefix + "out." + what, {}});
  }
  out->push_back({prefix + "out.topic", "gateways"});  // one of them publishes
}

void Backend::on_call(uint32_t shard, const BusMail& mail, base::Bytes tail, base::Instant now,
                      base::UnixMs unix_ms) {
  Call call{now + config_.timeout, shard, mail.a, mail.b};
  const base::Bytes extra = tail.subspan(mail.name_bytes, mail.extra_bytes);
  if (extra.size() < 2) return;
  const size_t player_bytes = base::load_le<uint16_t>(extra.data());
  if (extra.size() < 2 + player_bytes) return;
  ++figures_.calls;
  const auto served =
      std::find_if(config_.types.begin(), config_.types.end(),
                   [&](const ServedTypes& t) { return mail.d >= t.first && mail.d <= t.last; });
  if (served == config_.types.end() || calls_.size() >= config_.calls || !transport_.connected()) {
    call.failed = served == config_.types.end() ? wire::kErrorUnknownType : wire::kErrorRateLimited;
    failed_.push_back(call);
    return;
  }
  ServiceCall out;
  out.type = mail.d;
  out.gateway = gateway_;
  out.user = base::as_text(tail.first(mail.name_bytes));
  out.player = base::as_text(extra.subspan(2, player_bytes));
  out.permissions = base::as_text(extra.subspan(2 + player_bytes));
  out.session = mail.c;
  out.sequence = mail.b;
  out.timestamp = unix_ms;
  out.payload = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  const std::vector<uint8_t> bytes = encode(out, served->encoding);
  const uint64_t id = next_call_++;
  calls_.emplace(id, call);
  if (!transport_.publish(in_ + std::to_string(mail.d), bytes, {}, reply_ + std::to_string(id))) {
    calls_.erase(id);
    call.failed = wire::kErrorRateLimited;
    failed_.push_back(call);
  }
}

void Backend::answer(const Call& call, const ServiceAnswer& answer, BackendSink& sink) {
  BusMail mail;
  mail.op = BusOp::kServiceAnswer;
  mail.a = call.connection;
  mail.b = call.sequence;
  mail.c = answer.code;
  mail.d = answer.type;
  const std::string_view text = std::string_view(answer.message).substr(0, kMessageBytesMax);
  std::vector<uint8_t> tail(text.begin(), text.end());
  mail.extra_bytes = static_cast<uint16_t>(tail.size());
  tail.insert(tail.end(), answer.payload.begin(), answer.payload.end());
  sink.to_shard(call.shard, mail, tail);
}

void Backend::fail(const Call& call, uint32_t code, const char* text, BackendSink& sink) {
  BusMail mail;
  mail.op = BusOp::kServiceAnswer;
  mail.a = call.connection;
  mail.b = call.sequence;
  mail.c = code;
  mail.flags = 1;  // no service said so
  const std::string_view words = text;
  mail.extra_bytes = static_cast<uint16_t>(words.size());
  sink.to_shard(call.shard, mail, base::as_bytes(words));
}

bool Backend::on_delivery(const Delivery& delivery, BackendSink& sink) {
  const std::string_view subject = delivery.subject;
  if (subject.starts_with(out_)) {
    push(subject.substr(out_.size()), delivery.bytes, sink);
    return true;
  }
  if (!subject.starts_with(reply_)) return false;
  uint64_t id = 0;
  const std::string_view digits = subject.substr(reply_.size());
  std::from_chars(digits.data(), digits.data() + digits.size(), id);
  const auto it = calls_.find(id);
  if (it == calls_.end()) return true;  // too late, or the second answer
  ServiceAnswer said;
  if (delivery.no_responders) {
    ++figures_.nobody;
    fail(it->second, wire::kErrorUnknownType, "nobody serves this message type now", sink);
  } else if (!decode(delivery.bytes, &said) || (said.type != 0 && !may_send(said.type)) ||
             said.payload.size() > config_.payload_bytes || !wire::is_utf8(said.message)) {
    ++figures_.refused;
    fail(it->second, wire::kErrorHandlerFailed, "the service's answer cannot be read", sink);
  } else {
    ++figures_.answers;
    answer(it->second, said, sink);
  }
  calls_.erase(it);
  return true;
}

void Backend::push(std::string_view what, base::Bytes bytes, BackendSink& sink) {
  ServicePush push;
  const bool topic = what == "topic";
  if (!decode(bytes, &push) || !wire::is_utf8(push.to) ||
      push.payload.size() > (topic ? config_.topic_bytes : config_.payload_bytes)) {
    ++figures_.refused;
    return;
  }
  if (topic) {
    if (session::check_topic_name(push.to, config_.topic_name_bytes) != session::TopicName::kGood) {
      ++figures_.refused;
      return;
    }
    ++figures_.pushes;
    sink.publish(push.to, push.type, push.requires_ack, push.payload);
    return;
  }
  BusMail mail;
  mail.op = what == "user"     ? BusOp::kSendUser
            : what == "player" ? (push.requires_ack ? BusOp::kSendSession : BusOp::kSendPlayer)
                               : BusOp::kSendEveryone;
  const bool everyone = mail.op == BusOp::kSendEveryone;
  if (!may_send(push.type) || (!everyone && push.to.empty()) || push.to.size() > kNameBytesMax ||
      (push.requires_ack && mail.op != BusOp::kSendSession)) {
    ++figures_.refused;
    return;
  }
  ++figures_.pushes;
  mail.d = push.type;
  if (mail.op == BusOp::kSendSession) mail.a = push.session;
  std::vector<uint8_t> tail;
  if (!everyone) tail.assign(push.to.begin(), push.to.end());
  mail.name_bytes = static_cast<uint16_t>(tail.size());
  tail.insert(tail.end(), push.payload.begin(), push.payload.end());
  sink.to_shard(mail, tail);
}

void Backend::turn(base::Instant now, BackendSink& sink) {
  for (const Call& call : failed_) {
    fail(call, call.failed,
         call.failed == wire::kErrorUnknownType ? "nobody serves this message type here"
                                                : "the way to the services is closed or full",
         sink);
  }
  failed_.clear();
  while (!calls_.empty() && calls_.begin()->second.deadline <= now) {
    ++figures_.timeouts;
    fail(calls_.begin()->second, wire::kErrorHandlerTimeout, "the service did not answer in time",
         sink);
    calls_.erase(calls_.begin());
  }
}

base::Instant Backend::next_deadline() const {
  if (!failed_.empty()) return {};
  return calls_.empty() ? base::Instant::never() : calls_.begin()->second.deadline;
}

}  // namespace tidegate::bus
