// SPDX-License-Identifier: Apache-2.0
// Presence of several gateways (session/presence_far.cc). A user's home shard at each gateway knows
// the connections of its own gateway. Where there are watchers it tells the other gateways, once
// for each user; they answer with what they know, and say each change. Everything is said again
// when members come or go, and from time to time, so nothing that was lost stays lost.
#include <bit>
#include <cstring>

#include "shard/presence.h"
#include "shard/shard.h"
#include "wire/messages.h"

namespace tidegate::shard {

using mailbox::BusMail;
using mailbox::BusOp;
using session::PresenceHome;
using session::Status;

namespace {

constexpr uint32_t kWatchesPerLook = 512;
constexpr uint32_t kOwnPerLook = 2048;
constexpr base::Duration kSayAgain = base::seconds(10);
// For another gateway to say that the user is invisible.
constexpr base::Duration kAskTime = base::milliseconds(200);

}  // namespace

void Presence::on_view() {
  home_.keep_gateways(shard_.cluster_.kept(), shard_.io_.unix_ms());
  watched_at_ = 0;
  watched_ = shard_.now_;
  watch_to_ = mailbox::kAllGateways;
  missed_ = 0;
}

void Presence::watch_far(std::string_view user, bool on) {
  if (shard_.cluster_.alone()) return;
  BusMail mail;
  mail.op = BusOp::kPresenceWatch;
  mail.gateways = mailbox::kAllGateways;
  mail.flags = on ? 1 : 0;
  (void)shard_.cluster_.post(mail, user, {}, {});  // or when it is said again
}

bool Presence::post_own(uint64_t gateways, uint32_t user) {
  PresenceHome::Far own = home_.own(user);
  // Who may see the user only this gateway knows: at others nobody does then.
  if (shard_.social_.users().restricted(home_.name(user))) own = {};
  BusMail mail;
  mail.op = BusOp::kPresenceState;
  mail.gateways = gateways;
  mail.a = static_cast<uint64_t>(own.last_seen);
  mail.b = static_cast<uint64_t>(own.chosen_ms);
  mail.d = static_cast<uint32_t>(own.chosen) << 8 | (own.connected ? 1u : 0u);
  return shard_.cluster_.post(mail, home_.name(user), {}, base::as_bytes(own.text));
}

// Who was invisible elsewhere comes back invisible: until that could have been said, nothing is
// shown.
void Presence::ask_far(uint32_t user) {
  home_.hold(user, shard_.now_, kAskTime);
  BusMail mail;
  mail.op = BusOp::kPresenceAsk;
  mail.gateways = mailbox::kAllGateways;
  (void)shard_.cluster_.post(mail, home_.name(user), {}, {});
}

void Presence::turn_far() {
  home_.send_far(shard_.now_, kOwnPerLook,
                 [&](uint32_t user) { return post_own(home_.gateways(user), user); });
  if (watched_at_ >= home_.high_water()) {
    const bool due = shard_.now_ - watched_ >= kSayAgain;
    if (!due && missed_ == 0) return;
    watch_to_ = due ? mailbox::kAllGateways : missed_;
    missed_ = 0;
    watched_at_ = 0;
    if (due) watched_ = shard_.now_;
  }
  for (uint32_t i = 0; i < kWatchesPerLook && watched_at_ < home_.high_water(); ++watched_at_) {
    if (!home_.used(watched_at_) || home_.watchers(watched_at_) == 0) continue;
    ++i;
    BusMail mail;
    mail.op = BusOp::kPresenceWatch;
    mail.gateways = watch_to_;
    mail.flags = 1;
    if (!shard_.cluster_.post(mail, home_.name(watched_at_), {}, {})) return;
  }
}

void Presence::on_bus_mail(const BusMail& mail, base::Bytes tail) {
  const std::string_view name = base::as_text(tail.first(mail.name_bytes));
  const base::Bytes data = tail.subspan(size_t{mail.name_bytes} + mail.extra_bytes);
  if (name.empty() || name.size() > session::kUserIdBytesMax) return;
  const auto gateway = static_cast<uint32_t>(std::countr_zero(mail.gateways));
  const uint32_t known = home_.find(name);
  switch (mail.op) {
    case BusOp::kPresenceWatch: {
      if (mail.flags == 0) {
        home_.unwatch_from(name, gateway);
        break;
      }
      const uint32_t user = home_.watch_from(name, gateway);
      if (user == PresenceHome::kNone) {
        shard_.counters_.add(metrics::Counter::kPresenceFull, 1);
      } else if (home_.knows(user)) {
        (void)post_own(mail.gateways, user);
      }
      break;
    }
    case BusOp::kPresenceAsk:
      if (known != PresenceHome::kNone && home_.own(known).chosen_ms != 0) {
        (void)post_own(mail.gateways, known);
      }
      break;
    case BusOp::kPresenceState: {
      const auto chosen = static_cast<Status>(mail.d >> 8);
      if (known == PresenceHome::kNone || chosen == Status::kUnknown ||
          chosen > Status::kInvisible || data.size() > session::kStatusTextBytesMax ||
          !wire::is_utf8(base::as_text(data))) {
        break;
      }
      home_.set_far(known, gateway,
                    {static_cast<base::UnixMs>(mail.a), static_cast<base::UnixMs>(mail.b), chosen,
                     (mail.d & 1) != 0, base::as_text(data)},
                    shard_.io_.unix_ms());
      break;
    }
    case BusOp::kSendUser:
      if (may_send(mail.d) && data.size() <= kPeerBytesMax)
        deliver_to_user(name, mail.d, data, mail.b);
      break;
    default:
      break;
  }
}

}  // namespace tidegate::shard
