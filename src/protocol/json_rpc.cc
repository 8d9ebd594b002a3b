// SPDX-License-Identifier: Apache-2.0
#include "protocol/json_rpc.h"

#include <simdjson.h>

#include <vector>

#include "base/assert.h"
#include "wire/json_decode.h"
#include "wire/json_encode.h"
#include "wire/limits.h"

namespace tidegate::protocol {

using simdjson::SUCCESS;
using simdjson::dom::array;
using simdjson::dom::element;
using simdjson::dom::element_type;
using simdjson::dom::object;
using wire::JsonText;
using wire::MessageType;
using wire::PayloadSchema;

namespace {

constexpr uint32_t kEnvelopeRoom = 128;  // frame, type, sequence, ack, lengths

// "seq" and "ack", beside params or among them.
struct Delivery final : wire::JsonOthers {
  uint64_t sequence = 0;
  uint64_t ack = 0;
  bool has_sequence = false;
  bool wrong = false;

  bool take(std::string_view name, element value) override {
    const bool is_sequence = name == "seq";
    if (!is_sequence && name != "ack") return false;
    uint64_t number = 0;
    uint64_t& kept = is_sequence ? sequence : ack;
    // A message is numbered once: two places must not say different things.
    if (!wire::read_json_uint(value, UINT64_MAX, &number) || (is_sequence && number == 0) ||
        (kept != 0 && kept != number)) {
      wrong = true;
      return true;
    }
    kept = number;
    has_sequence |= is_sequence;
    return true;
  }
};

// What stands for a message of opaque bytes: {"type": n, "payload": base64}.
struct Opaque final : wire::JsonOthers {
  Delivery* delivery = nullptr;
  bool custom = false;
  uint64_t type = 0;
  std::string_view payload;
  bool wrong_type = false;
  bool wrong_payload = false;
  bool unknown = false;

  bool take(std::string_view name, element value) override {
    if (custom && name == "type") {
      wrong_type = !wire::read_json_uint(value, UINT32_MAX, &type);
    } else if (name == "payload") {
      wrong_payload = !value.is_null() && value.get(payload) != SUCCESS;
    } else if (!delivery->take(name, value)) {
      unknown = true;
    }
    return true;
  }
};

}  // namespace

std::string_view text_of_rpc_error(int32_t code) {
  switch (code) {
    case kRpcParse:
      return "Parse error";
    case kRpcRequest:
      return "Invalid Request";
    case kRpcMethod:
      return "Method not found";
    case kRpcParams:
      return "Invalid params";
    case kRpcInternal:
      return "Internal error";
    default: {
      const char* const text = wire::text_of_error(static_cast<uint32_t>(code));
      return text != nullptr ? text : "refused";
    }
  }
}

int32_t rpc_code_of(uint32_t code, Naming naming) {
  if (code == wire::kErrorInvalidPayload) return kRpcParams;
  if (code == wire::kErrorUnknownType && naming == Naming::kByName) return kRpcMethod;
  return static_cast<int32_t>(code);
}

uint32_t code_of_rpc(int32_t code) {
  switch (code) {
    case kRpcMethod:
      return wire::kErrorUnknownType;
    case kRpcParams:
      return wire::kErrorInvalidPayload;
    case kRpcInternal:
      return wire::kErrorHandlerFailed;
    default:
      return wire::kErrorMalformedMessage;
  }
}

struct JsonRpcReader::State {
  simdjson::dom::parser parser;
  std::vector<uint8_t> text;   // the message, with simdjson's padding behind it
  std::vector<uint8_t> frame;  // the NetworkMessage of the current call
  char id[kRpcIdBytesMax + 1];
  wire::JsonFault fault;
  element one;  // of a single message
  array batch;
  array::iterator at, end;
  bool is_batch = false;
  bool done = true;

  bool read_id(element value, std::string_view* out);
  void refuse(RpcCall* out, int32_t code, std::string_view why) {
    out->error = code;
    if (!why.empty()) {
      fault.clear();
      fault.add(why);
    }
    out->details = fault.text();
  }
  void read_call(element e, uint64_t request_sequence, RpcCall* out);
  void read_params(const PayloadSchema* schema, const element* params, Delivery& delivery,
                   RpcCall* out);
};

JsonRpcReader::JsonRpcReader(uint32_t message_bytes) : state_(new State) {
  State& s = *state_;
  s.text.resize(message_bytes + simdjson::SIMDJSON_PADDING);
  s.frame.resize(message_bytes + kEnvelopeRoom);
  TG_ASSERT(s.parser.allocate(message_bytes, kRpcDepthMax + 1) == SUCCESS);
  // The document is allocated with the first parse: one of the largest size, now.
  s.text[message_bytes - 2] = '{';
  s.text[message_bytes - 1] = '}';
  for (uint32_t i = 0; i + 2 < message_bytes; ++i) s.text[i] = ' ';
  TG_ASSERT(s.parser.parse(s.text.data(), message_bytes, false).error() == SUCCESS);
}

JsonRpcReader::~JsonRpcReader() = default;

// simdjson's structural index and tape are 4 and 8 bytes a character, its strings 5/3.
uint64_t JsonRpcReader::memory_bytes() const {
  return state_->text.capacity() * uint64_t{14} + state_->frame.capacity();
}

JsonRpcReader::Form JsonRpcReader::begin(base::Bytes text, RpcCall* refused) {
  State& s = *state_;
  s.done = true;
  *refused = RpcCall{};
  refused->id = "null";
  if (text.size() + simdjson::SIMDJSON_PADDING > s.text.size()) {
    s.refuse(refused, kRpcRequest, "the message is too large");
    return Form::kRefused;
  }
  if (!text.empty()) std::memcpy(s.text.data(), text.data(), text.size());
  element root;
  const simdjson::error_code error = s.parser.parse(s.text.data(), text.size(), false).get(root);
  if (error == simdjson::DEPTH_ERROR) {
    s.refuse(refused, kRpcRequest, "nested too deeply");
    return Form::kRefused;
  }
  if (error != SUCCESS) {
    s.refuse(refused, kRpcParse, simdjson::error_message(error));
    return Form::kRefused;
  }
  if (root.get(s.batch) == SUCCESS) {
    const size_t calls = s.batch.size();
    if (calls == 0 || calls > kRpcBatchMax) {
      s.refuse(refused, kRpcRequest,
               calls == 0 ? "an empty batch" : "more than 32 calls in a batch");
      return Form::kRefused;
    }
    s.at = s.batch.begin();
    s.end = s.batch.end();
    s.is_batch = true;
    s.done = false;
    return Form::kBatch;
  }
  s.one = root;
  s.is_batch = false;
  s.done = false;
  return Form::kSingle;
}

bool JsonRpcReader::next(uint64_t request_sequence, RpcCall* out) {
  State& s = *state_;
  *out = RpcCall{};
  if (s.done) return false;
  if (!s.is_batch) {
    s.done = true;
    s.read_call(s.one, request_sequence, out);
    return true;
  }
  if (!(s.at != s.end)) {
    s.done = true;
    return false;
  }
  s.read_call(*s.at, request_sequence, out);
  ++s.at;
  return true;
}

bool JsonRpcReader::State::read_id(element value, std::string_view* out) {
  *out = {};  // of a second id in one call the first is overwritten
  JsonText writer({reinterpret_cast<uint8_t*>(id), kRpcIdBytesMax});
  switch (value.type()) {
    case element_type::STRING:
      writer.string(value.get_string().value_unsafe());
      break;
    case element_type::INT64:
      writer.number(value.get_int64().value_unsafe());
      break;
    case element_type::UINT64:
      writer.number(value.get_uint64().value_unsafe());
      break;
    case element_type::DOUBLE:
      writer.number(value.get_double().value_unsafe());
      break;
    case element_type::NULL_VALUE:
      writer.put("null");
      break;
    default:
      return false;
  }
  if (writer.overflow()) return false;
  *out = writer.text();
  return true;
}

void JsonRpcReader::State::read_call(element e, uint64_t request_sequence, RpcCall* out) {
  object members;
  if (e.get(members) != SUCCESS) {
    out->id = "null";
    refuse(out, kRpcRequest, "a request is an object");
    return;
  }
  std::string_view version;
  std::string_view method;
  element params;
  bool has_params = false;
  std::string_view wrong;
  Delivery delivery;
  for (const auto member : members) {
    if (member.key == "id") {
      if (!read_id(member.value, &out->id)) {
        wrong = "id: a string, a number or null of at most 64 bytes is expected";
      }
    } else if (member.key == "jsonrpc") {
      if (member.value.get(version) != SUCCESS) version = {};
    } else if (member.key == "method") {
      if (member.value.get(method) != SUCCESS) method = {};
    } else if (member.key == "params") {
      params = member.value;
      has_params = true;
      if (!params.is_object() && !params.is_array()) wrong = "params: an object is expected";
    } else {
      static_cast<void>(delivery.take(member.key, member.value));
    }
  }
  if (version != "2.0") wrong = "jsonrpc: \"2.0\" is expected";
  if (method.empty()) wrong = "method: a name is expected";
  if (!wrong.empty()) {
    if (out->id.empty()) out->id = "null";  // whether it was a notification is not known
    refuse(out, kRpcRequest, wrong);
    return;
  }
  const bool custom = method == wire::kCustomMethod;
  const PayloadSchema* const schema = custom ? nullptr : wire::payload_of_method(method);
  if (!custom && schema == nullptr) {
    refuse(out, kRpcMethod, "no message type has this name in lower camel case");
    return;
  }
  if (has_params && !params.is_object()) {
    refuse(out, kRpcParams, "params: names, not positions");
    return;
  }
  out->naming = custom ? Naming::kByNumber : Naming::kByName;
  // What is not acknowledged is numbered only so that its answer finds back.
  out->sequence = out->id.empty() ? 0 : request_sequence;
  read_params(schema, has_params ? &params : nullptr, delivery, out);
}

void JsonRpcReader::State::read_params(const PayloadSchema* schema, const element* params,
                                       Delivery& delivery, RpcCall* out) {
  object members;
  const bool empty = params == nullptr || params->get(members) != SUCCESS;
  fault.clear();
  Opaque opaque;
  opaque.delivery = &delivery;
  opaque.custom = schema == nullptr;
  const bool is_opaque = schema == nullptr || schema->message == nullptr;
  // The envelope stands before the payload and its numbers may stand among the params, so these
  // are looked at first.
  if (!empty) {
    for (const auto member : members) {
      if (is_opaque) {
        opaque.take(member.key, member.value);
      } else {
        static_cast<void>(delivery.take(member.key, member.value));
      }
    }
  }
  if (delivery.wrong) {
    return refuse(out, kRpcParams, "seq and ack: positive whole numbers, each said once");
  }
  if (opaque.unknown) return refuse(out, kRpcParams, "params: only payload and, for custom, type");
  if (opaque.wrong_payload)
    return refuse(out, kRpcParams, "payload: a string of base64 is expected");
  if (opaque.custom && (opaque.wrong_type || opaque.type < wire::kCustomTypeFirst)) {
    return refuse(out, kRpcParams, "type: a number from 1000 on is expected");
  }
  out->type =
      schema != nullptr ? static_cast<uint32_t>(schema->type) : static_cast<uint32_t>(opaque.type);
  out->answer = schema != nullptr ? schema->answer : 0;
  wire::EnvelopeHead head{static_cast<MessageType>(out->type)};
  if (delivery.has_sequence) {
    head.requires_ack = true;
    out->sequence = delivery.sequence;
  }
  head.sequence = out->sequence;
  head.ack = delivery.ack;
  wire::MessageWriter writer(frame, head);
  if (is_opaque) {
    if (!writer.payload().base64(opaque.payload)) {
      return refuse(out, kRpcParams, "payload: a string of base64 is expected");
    }
  } else if (!empty &&
             !wire::read_json(members, *schema->message, writer.payload(), fault, &delivery)) {
    return refuse(out, kRpcParams, {});
  }
  const uint32_t size = writer.finish();
  if (size == 0) return refuse(out, kRpcParams, "params: too large");
  out->frame = {frame.data() + wire::kFrameHeaderBytes, size - wire::kFrameHeaderBytes};
}

// --- writers ---

namespace {

void begin_object(JsonText& out, std::string_view id) {
  out.put("{\"jsonrpc\":\"2.0\",\"id\":");
  out.put(id.empty() ? std::string_view("null") : id);
}

// Payload, seq and ack as one object.
bool write_params(JsonText& out, const wire::Envelope& m) {
  bool first = true;
  bool good = true;
  const auto name = [&](std::string_view key) {
    if (!first) out.put(',');
    first = false;
    out.put(key);
  };
  out.put('{');
  const PayloadSchema* const schema = wire::payload_of_type(m.type);
  if (schema != nullptr && schema->message != nullptr) {
    good = wire::write_json_members(out, *schema->message, m.payload, &first);
  } else {
    if (schema == nullptr) {
      name("\"type\":");
      out.number(uint64_t{m.type});
    }
    if (!m.payload.empty()) {
      name("\"payload\":");
      out.base64(m.payload);
    }
  }
  if (m.sequence != 0) {
    name("\"seq\":");
    out.number(m.sequence);
  }
  if (m.ack != 0) {
    name("\"ack\":");
    out.number(m.ack);
  }
  out.put('}');
  return good;
}

}  // namespace

bool write_notification(JsonText& out, const wire::Envelope& message) {
  out.put("{\"jsonrpc\":\"2.0\",\"method\":");
  const PayloadSchema* const schema = wire::payload_of_type(message.type);
  out.put(schema != nullptr ? schema->method.quoted() : std::string_view("\"custom\""));
  out.put(",\"params\":");
  const bool good = write_params(out, message);
  out.put('}');
  return good;
}

bool write_result(JsonText& out, std::string_view id, const wire::Envelope& answer) {
  begin_object(out, id);
  out.put(",\"result\":");
  bool good = true;
  if (answer.type == static_cast<uint32_t>(MessageType::kReply)) {
    // Its numbers are the caller's own: what is left is the text.
    std::string_view text;
    wire::PbReader reply(answer.payload);
    while (reply.next()) {
      if (reply.field() == 3 && reply.is(wire::WireType::kBytes)) text = reply.text();
    }
    good = !reply.failed();
    out.put('{');
    if (!text.empty()) {
      out.put("\"message\":");
      out.string(text);
    }
    if (answer.ack != 0) {
      out.put(text.empty() ? "\"ack\":" : ",\"ack\":");
      out.number(answer.ack);
    }
    out.put('}');
  } else {
    good = write_params(out, answer);
  }
  out.put('}');
  return good;
}

void write_taken(JsonText& out, std::string_view id) {
  begin_object(out, id);
  out.put(",\"result\":{}}");
}

void write_error(JsonText& out, std::string_view id, const RpcRefusal& refusal) {
  begin_object(out, id);
  out.put(",\"error\":{\"code\":");
  out.number(int64_t{refusal.code});
  out.put(",\"message\":");
  out.string(refusal.message.empty() || refusal.code < 0 ? text_of_rpc_error(refusal.code)
                                                         : refusal.message);
  out.put(",\"data\":{\"code\":");
  out.number(uint64_t{refusal.own_code});
  if (!refusal.details.empty()) {
    out.put(",\"details\":");
    out.string(refusal.details);
  }
  if (refusal.fatal) out.put(",\"fatal\":true");
  if (refusal.ack != 0) {
    out.put(",\"ack\":");
    out.number(refusal.ack);
  }
  out.put("}}}");
}

}  // namespace tidegate::protocol
