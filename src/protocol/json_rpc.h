// SPDX-License-Identifier: Apache-2.0
// JSON-RPC 2.0 as another spelling of the protocol: text messages become NetworkMessages, which go
// the way of all others, and NetworkMessages become results, errors and notifications. It knows
// nothing of connections, sessions or who answers what.
//
// Reading does not allocate: parser and buffers are made for the largest message at construction.
// Which JSON-RPC code stands for which of the protocol's own is rpc_code_of(); `data.code` of every
// error is always the protocol's.
// Thread: shard. Owner: shard::JsonClients or a test. Limits: message bytes by constructor, the
// constants below.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "base/bytes.h"
#include "wire/envelope.h"
#include "wire/json_text.h"
#include "wire/schema.h"

namespace tidegate::protocol {

inline constexpr uint32_t kRpcDepthMax = 16;    // objects and arrays in each other
inline constexpr uint32_t kRpcBatchMax = 32;    // calls in one message
inline constexpr uint32_t kRpcIdBytesMax = 64;  // an id as it is echoed, with its quotes

enum RpcError : int32_t {
  kRpcParse = -32700,    // not JSON
  kRpcRequest = -32600,  // JSON, but no request
  kRpcMethod = -32601,   // no such method
  kRpcParams = -32602,   // params are not the method's
  kRpcInternal = -32603,
};
std::string_view text_of_rpc_error(int32_t code);
// What the specification has a code for gets it, everything else keeps the protocol's own.
// `by_number`: the type was given as a number (`custom`), so there is no method to be unknown.
enum class Naming : uint8_t { kByName, kByNumber };
int32_t rpc_code_of(uint32_t code, Naming naming);
// The protocol's code for what the reader refuses.
uint32_t code_of_rpc(int32_t code);

// Borrowed from the reader until its next call.
struct RpcCall {
  std::string_view id;       // as JSON text; empty: a notification, nobody waits for an answer
  int32_t error = 0;         // RpcError: this is no call; the fields below are not valid
  std::string_view details;  // of `error`
  uint32_t type = 0;         // of the message
  uint32_t answer = 0;       // PayloadSchema::answer
  Naming naming = Naming::kByName;
  uint64_t sequence = 0;  // in the envelope
  base::Bytes frame;      // a NetworkMessage
};

class JsonRpcReader {
 public:
  explicit JsonRpcReader(uint32_t message_bytes);
  ~JsonRpcReader();
  JsonRpcReader(const JsonRpcReader&) = delete;
  JsonRpcReader& operator=(const JsonRpcReader&) = delete;

  // One text message. kRefused: `refused` is the one error to answer with.
  enum class Form : uint8_t { kSingle, kBatch, kRefused };
  Form begin(base::Bytes text, RpcCall* refused);
  // The next call of it. `request_sequence` stands in the envelope of a request without "seq", so
  // that a REPLY can be told from others.
  bool next(uint64_t request_sequence, RpcCall* out);

  uint64_t memory_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// --- writers; an overflow of `out` is the caller's to see ---

// {"jsonrpc":"2.0","method":…,"params":…}. False: the payload is not what its type says.
bool write_notification(wire::JsonText& out, const wire::Envelope& message);
// The result is the payload of the answer; of a REPLY, its message.
bool write_result(wire::JsonText& out, std::string_view id, const wire::Envelope& answer);
// The result is {}: it was taken.
void write_taken(wire::JsonText& out, std::string_view id);
// `code` is one of ours or of JSON-RPC's. `ack`: 0 for none.
struct RpcRefusal {
  int32_t code = 0;
  uint32_t own_code = 0;  // the protocol's
  std::string_view message;
  std::string_view details;
  bool fatal = false;  // a close follows
  uint64_t ack = 0;
};
void write_error(wire::JsonText& out, std::string_view id, const RpcRefusal& refusal);

}  // namespace tidegate::protocol
