// SPDX-License-Identifier: Apache-2.0
// The bus of a gateway: between its shards, which speak BusMail, and the other gateways, which are
// behind a Transport. It knows who is there (membership.h), gives messages to the shard they are
// for, and sees to it that who asks gets an answer, be it that there is none. What topics and
// presence mean is the shards' business (shard/cluster.h).
//
// Nothing here blocks: what the transport does not take is dropped and counted, what a shard's ring
// does not take waits up to a bound.
//
// Thread: control. Owner: server. Limits: BusConfig; kBacklogBytes for each shard.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "bus/backend.h"
#include "bus/frame.h"
#include "bus/membership.h"
#include "bus/transport.h"
#include "mailbox/bus_messages.h"

namespace tidegate::bus {

// The way into the shards' rings; false: no room now.
class ShardPort {
 public:
  virtual ~ShardPort() = default;
  virtual bool post(uint32_t shard, mailbox::MessageType type, base::Bytes bytes) = 0;
};

struct BusConfig {
  std::string cluster = "main";
  std::string gateway;  // name, different for each
  uint64_t epoch = 1;   // higher than at any start before
  uint32_t shards = 1;
  MembershipConfig membership;
  base::Duration request_timeout = base::seconds(2);
  uint32_t requests = 65'536;  // under way
  // Home shard of a player in this process; users' and topics' is session::home_shard.
  BackendConfig backend;
  uint32_t (*player_home)(std::string_view player, uint32_t shards) = nullptr;
};

struct BusFigures {
  uint64_t mails_out = 0, mails_in = 0;
  uint64_t refused = 0;   // what came and is none of ours to understand
  uint64_t dropped = 0;   // for a shard whose backlog is full
  uint64_t timeouts = 0;  // requests without an answer
  uint64_t missed = 0;    // heartbeats that showed that something had been lost on the way
  uint64_t views = 0, unsettled = 0;
  uint32_t members = 1;
  uint32_t requests = 0;
  uint64_t backlog_bytes = 0;
};

class BusService {
 public:
  static constexpr size_t kBacklogBytes = 4 << 20;

  BusService(const BusConfig& config, Transport& transport);

  // What has to be subscribed to before the first turn.
  static std::vector<Subscription> subscriptions(const BusConfig& config);

  // From a shard's ring.
  void on_mail(uint32_t shard, const mailbox::BusMail& mail, base::Bytes tail);
  // From another thread's order, by control: to all gateways, this one's shards excluded.
  void broadcast(mailbox::BusMail mail, base::Bytes tail);
  void turn(base::Instant now, base::UnixMs unix_ms, ShardPort& port);
  // The time of the next turn that no message causes.
  base::Instant next_deadline() const;
  void set_population(const Population& population) { population_ = population; }
  // Tells the others; the process ends or drains.
  void leave();

  const Membership& membership() const { return membership_; }
  // By member, this gateway included.
  const std::map<uint64_t, Population>& populations() const { return populations_; }
  BusFigures figures() const;
  const BackendFigures& backend_figures() const { return backend_.figures(); }

 private:
  struct Sink;
  struct Request {
    base::Instant deadline;
    uint32_t shard;
    mailbox::BusMail mail;
    std::vector<uint8_t> name;
  };
  struct Backlog {
    struct Item {
      mailbox::MessageType type;
      std::vector<uint8_t> bytes;
    };
    std::deque<Item> items;
    size_t bytes = 0;
  };
  // What came from a member and what it says to have sent: a difference was lost on the way.
  struct Link {
    uint64_t epoch = 0;
    uint64_t direct_out = 0;
    uint64_t direct_in = 0, all_in = 0;  // since the last heartbeat
    SentCounts said;                     // with that
    bool counted = false;                // there was one
    bool missed = false;                 // and it is to be said
    base::Instant told_at{};
  };
  enum class Must : uint8_t { kNo, kYes };

  void on_delivery(const Delivery& delivery, ShardPort& port);
  void on_frame_mail(const Membership::Member& from, base::Bytes body, ShardPort& port);
  void follow_view(ShardPort& port);
  void post(uint32_t shard, mailbox::MessageType type, base::Bytes bytes, ShardPort& port,
            Must must);
  void post_mail(uint32_t shard, const mailbox::BusMail& mail, base::Bytes tail, ShardPort& port,
                 Must must = Must::kNo);
  void post_mark(uint32_t phase, ShardPort& port);
  void send_mail(const mailbox::BusMail& mail, base::Bytes tail);
  void send_heartbeat();
  void count_in(const Membership::Member& from, const Frame& frame, bool direct);
  void tell_missed(ShardPort& port);
  void send_mark(Mark mark);
  // The answer that means that there is none.
  void fail(const Request& request, uint32_t code, ShardPort& port);
  uint32_t home_shard_of(const mailbox::BusMail& mail, std::string_view name) const;
  std::vector<uint8_t> head(FrameKind kind) const;

  BusConfig config_;
  Transport& transport_;
  Membership membership_;
  Backend backend_;
  Population population_;
  std::map<uint64_t, Population> populations_;
  std::vector<Backlog> backlogs_;
  std::map<uint64_t, Request> requests_;  // by number, which rises with the deadline
  std::map<uint64_t, Link> links_;        // by member
  uint64_t all_out_ = 0;                  // frames published to all
  std::deque<Request> failed_;            // to be answered at the next turn
  uint64_t next_request_ = 1;
  uint32_t marks_left_ = 0;  // shards that have not answered the phase
  uint32_t mark_phase_ = 0;
  uint64_t connects_ = 0;
  uint64_t dropped_ = 0;       // up to here everything was said anew
  base::Instant raised_at_{};  // for that
  bool turn_due_ = false;      // something is to be done that nothing else wakes for
  base::Instant now_{};
  base::UnixMs unix_ms_ = 0;
  base::Instant heartbeat_at_{};
  BusFigures figures_;
  std::string inbox_prefix_, all_subject_;
};

}  // namespace tidegate::bus
