// SPDX-License-Identifier: Apache-2.0
// What gateways and backend services say to each other (docs/cluster.md, proto/tidegate/v1/
// service.proto): a client's message with who sent it, the answer to it, and messages that a
// service sends unasked. Each in protobuf, or in JSON; which of them is told by the first byte, a
// `{` in JSON and never in protobuf.
// Thread: any. Owner: values. Limits: the sizes of mailbox messages.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace tidegate::bus {

enum class Encoding : uint8_t { kProtobuf, kJson };

struct ServiceCall {
  uint32_t type = 0;
  std::string_view gateway, user, player, permissions;  // permissions separated by spaces
  uint64_t session = 0;
  uint64_t sequence = 0;  // of the client's message; 0: it asked for nothing
  int64_t timestamp = 0;  // Unix ms
  base::Bytes payload;
};
std::vector<uint8_t> encode(const ServiceCall& call, Encoding encoding);

struct ServiceAnswer {
  uint32_t code = 0;  // 0: done; else an error, of protocol.md or the service's own
  std::string message;
  uint32_t type = 0;  // of a message for the client; 0: none
  std::vector<uint8_t> payload;
};
bool decode(base::Bytes bytes, ServiceAnswer* out);

struct ServicePush {
  std::string to;  // user, player, topic; empty for everyone
  uint32_t type = 0;
  std::vector<uint8_t> payload;
  bool requires_ack = false;
  uint64_t session = 0;  // with a player: only this session
};
bool decode(base::Bytes bytes, ServicePush* out);

}  // namespace tidegate::bus
