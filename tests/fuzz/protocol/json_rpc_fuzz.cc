// SPDX-License-Identifier: Apache-2.0
// Text from a peer through the JSON-RPC reader. What becomes a message is a NetworkMessage whose
// payload the schema describes, whose JSON form is JSON, and which, read again, is the same message
// (byte for byte from the second time on). Writers get the peer's bytes as payloads too.
#include <simdjson.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "protocol/json_rpc.h"

namespace {

using namespace tidegate;
using protocol::JsonRpcReader;
using protocol::RpcCall;

constexpr uint32_t kMessageBytes = 4096;
constexpr uint64_t kToken = 1 << 20;

void require(bool good) {
  if (!good) std::abort();
}

void require_json(std::string_view text) {
  static simdjson::dom::parser parser;
  require(parser.parse(simdjson::padded_string(text)).error() == simdjson::SUCCESS);
}

// The JSON form of a message, as a request of its own.
std::string form_of(const wire::Envelope& m) {
  std::vector<uint8_t> room(kMessageBytes * 12);
  wire::JsonText out(room);
  require(protocol::write_notification(out, m) && !out.overflow());
  require_json(out.text());
  return std::string(out.text());
}

void check_call(JsonRpcReader& second, const RpcCall& call) {
  std::vector<uint8_t> room(4096);
  wire::JsonText out(room);
  if (call.error != 0) {
    require(!call.details.empty());
    protocol::write_error(
        out, call.id, {call.error, protocol::code_of_rpc(call.error), {}, call.details, false, 0});
    require(!out.overflow());
    require_json(out.text());
    return;
  }
  if (!call.id.empty()) require_json(call.id);
  wire::Envelope m;
  require(wire::decode_envelope(call.frame, &m) && m.type == call.type);
  // A number the reader made up for the answer is no part of the message.
  if (!m.requires_ack) m.sequence = 0;
  const std::string once = form_of(m);
  // Numbers become names and control characters escapes, so it may have grown above the limit.
  if (once.size() > kMessageBytes) return;
  RpcCall again;
  require(second.begin(base::as_bytes(once), &again) == JsonRpcReader::Form::kSingle);
  require(second.next(kToken, &again));
  require(again.error == 0 && again.type == m.type);
  wire::Envelope back;
  require(wire::decode_envelope(again.frame, &back));
  require(back.ack == m.ack && back.sequence == m.sequence);
  require(form_of(back) == once);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static JsonRpcReader first(kMessageBytes);
  static JsonRpcReader second(kMessageBytes);
  if (size == 0) return 0;
  // First byte 0xff: the rest is a payload of the type whose row is the second byte.
  if (data[0] == 0xff && size >= 2) {
    const auto rows = wire::payload_schemas();
    wire::Envelope m;
    m.type = static_cast<uint32_t>(rows[data[1] % rows.size()].type);
    m.payload = {data + 2, size - 2};
    std::vector<uint8_t> room(size * 64 + 256);
    wire::JsonText out(room);
    if (protocol::write_notification(out, m)) {
      require(!out.overflow());
      require_json(out.text());
    }
    return 0;
  }
  RpcCall call;
  switch (first.begin({data, size}, &call)) {
    case JsonRpcReader::Form::kRefused:
      check_call(second, call);
      require(!first.next(kToken, &call));
      return 0;
    case JsonRpcReader::Form::kSingle:
    case JsonRpcReader::Form::kBatch:
      break;
  }
  uint32_t calls = 0;
  while (first.next(kToken, &call)) {
    ++calls;
    check_call(second, call);
  }
  require(calls >= 1 && calls <= protocol::kRpcBatchMax);
  return 0;
}
