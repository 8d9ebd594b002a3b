// SPDX-License-Identifier: Apache-2.0
// Backend services on the bus: clients' messages of certain types go to whoever serves them there,
// and the answer goes back to the client; services send to users, players, topics and everybody.
// What is said, and on which subjects, is docs/cluster.md.
//
// Thread: control. Owner: BusService. Limits: BackendConfig.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "bus/backend_envelope.h"
#include "bus/transport.h"
#include "mailbox/bus_messages.h"

namespace tidegate::bus {

struct ServedTypes {
  uint32_t first = 0, last = 0;
  Encoding encoding = Encoding::kProtobuf;
};
// "1000", "1000-1099", "json:1000-1099"; false: none of these, or types below 1000.
bool parse_served(std::string_view text, ServedTypes* out);

struct BackendConfig {
  std::vector<ServedTypes> types;
  base::Duration timeout = base::seconds(5);
  uint32_t calls = 16'384;        // under way
  uint32_t payload_bytes = 8192;  // of what services send, as of an embedder's sends
  uint32_t topic_bytes = 16'384;  // of what they publish
  uint32_t topic_name_bytes = 128;
};

// What a service wants to be done by a shard of this gateway.
class BackendSink {
 public:
  virtual ~BackendSink() = default;
  // To the home shard of the name (or all of them, for kSendEveryone).
  virtual void to_shard(const mailbox::BusMail& mail, base::Bytes tail) = 0;
  virtual void to_shard(uint32_t shard, const mailbox::BusMail& mail, base::Bytes tail) = 0;
  virtual void publish(std::string_view topic, uint32_t event_type, bool requires_ack,
                       base::Bytes data) = 0;
};

struct BackendFigures {
  uint64_t calls = 0, answers = 0, timeouts = 0, nobody = 0, pushes = 0, refused = 0;
};

class Backend {
 public:
  Backend(const BackendConfig& config, std::string_view cluster, std::string_view gateway,
          Transport& transport);

  static void add_subscriptions(std::string_view cluster, std::string_view gateway,
                                std::vector<Subscription>* out);

  // kServiceCall of a shard; an error is answered at the next turn.
  void on_call(uint32_t shard, const mailbox::BusMail& mail, base::Bytes tail, base::Instant now,
               base::UnixMs unix_ms);
  // False: the subject is none of services.
  bool on_delivery(const Delivery& delivery, BackendSink& sink);
  void turn(base::Instant now, BackendSink& sink);
  base::Instant next_deadline() const;
  const BackendFigures& figures() const { return figures_; }

 private:
  struct Call {
    base::Instant deadline;
    uint32_t shard;
    uint64_t connection;
    uint64_t sequence;
    uint32_t failed = 0;  // with this code
  };
  void answer(const Call& call, const ServiceAnswer& answer, BackendSink& sink);
  void fail(const Call& call, uint32_t code, const char* text, BackendSink& sink);
  void push(std::string_view what, base::Bytes bytes, BackendSink& sink);

  BackendConfig config_;
  Transport& transport_;
  std::string gateway_, in_, out_, reply_;  // subjects
  std::map<uint64_t, Call> calls_;          // by number, which rises with the deadline
  std::vector<Call> failed_;
  uint64_t next_call_ = 1;
  BackendFigures figures_;
};

}  // namespace tidegate::bus
