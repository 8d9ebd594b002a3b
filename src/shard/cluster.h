// SPDX-License-Identifier: Apache-2.0
// The other gateways as a shard sees them: who is there, which of them is the home of a name, and
// the way of messages to them, which is control's ring. While no bus is configured, or nobody else
// is there, this gateway is alone and the home of everything; nothing is posted then.
//
// After each change of members names move to other homes. From then until control says that all
// agree (bus/membership.h), messages to moved names are held, so that none overtakes another.
//
// Thread: shard. Owner: Shard. Limits: mailbox::kGatewaysMax.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/bytes.h"
#include "mailbox/bus_messages.h"

namespace tidegate::shard {

class Shard;

class Cluster {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  explicit Cluster(Shard& shard) : shard_(shard) {}

  bool alone() const { return now_.count < 2; }
  // Whether there is a bus at all.
  bool configured() const { return now_.count != 0; }
  uint32_t self() const { return self_; }
  uint64_t self_key() const { return now_.self_key; }  // of this gateway and its epoch

  struct Home {
    uint32_t index = 0;  // of the gateway
    uint64_t key = 0;    // of the gateway and its epoch, and of ours
    bool here = true;
  };
  // A group's topic is at home where the group is: each gateway has its own groups.
  Home home_of(std::string_view name) const { return home_in(now_, name); }
  // Whether the name's home is another one than before and not all gateways agree yet.
  bool moving(std::string_view name) const {
    return !settled_ && home_in(now_, name).key != home_in(before_, name).key;
  }
  bool settled() const { return settled_; }
  // How many losses of gateways the settled view knows of (bus/membership.h).
  uint64_t era() const { return era_; }
  // Just started: who else is there is not known yet.
  bool joining() const { return now_.count != 0 && before_.count == 0; }
  // Gateways that have been there, without a break, in the view before this one too.
  uint64_t kept() const { return kept_; }
  uint64_t members() const { return members_; }  // without this gateway
  uint32_t index_of(uint64_t id) const;          // or kNone
  uint64_t id_of(uint32_t index) const;          // or 0

  // To the gateways of mail.gateways; false: the ring is full. Sizes are filled in here.
  bool post(mailbox::BusMail mail, std::string_view name, base::Bytes extra, base::Bytes data);

  void on_view(base::Bytes bytes);
  void on_mail(base::Bytes bytes);
  void turn();
  bool waiting() const { return following_; }

 private:
  struct View {
    mailbox::BusMember members[mailbox::kGatewaysMax] = {};
    uint32_t count = 0;
    uint64_t self_key = 0;
  };
  static Home home_in(const View& view, std::string_view name);
  void echo(uint32_t phase);

  Shard& shard_;
  View now_, before_;
  uint64_t view_ = 0;
  uint64_t members_ = 0;
  uint64_t kept_ = 0;
  uint64_t era_ = 0;
  uint32_t self_ = 0;
  bool settled_ = true;
  bool following_ = false;  // topics and presence have not said all yet
  bool echo_due_ = false;   // phase 1
};

}  // namespace tidegate::shard
