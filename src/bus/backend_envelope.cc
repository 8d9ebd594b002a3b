// SPDX-License-Identifier: Apache-2.0
#include "bus/backend_envelope.h"

#include <simdjson.h>

#include <charconv>
#include <cstdio>

#include "wire/json_text.h"
#include "wire/pb.h"

namespace tidegate::bus {
namespace {

std::string hex(uint64_t v) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(v));
  return text;
}

bool from_hex(std::string_view text, uint64_t* out) {
  const auto [at, failed] = std::from_chars(text.data(), text.data() + text.size(), *out, 16);
  return failed == std::errc() && at == text.data() + text.size();
}

template <class Visit>
void each_word(std::string_view words, Visit&& visit) {
  while (!words.empty()) {
    const size_t end = std::min(words.find(' '), words.size());
    if (end != 0) visit(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
}

bool is_json(base::Bytes bytes) { return !bytes.empty() && bytes[0] == '{'; }

// The members of a flat object; false: not one.
template <class Visit>
bool each_member(base::Bytes bytes, Visit&& visit) {
  simdjson::dom::parser parser;
  simdjson::dom::object object;
  const simdjson::padded_string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (parser.parse(text).get(object) != simdjson::SUCCESS) return false;
  for (const auto member : object) {
    if (!visit(member.key, member.value)) return false;
  }
  return true;
}

bool take(simdjson::dom::element value, uint32_t* out) {
  uint64_t v = 0;
  if (value.get(v) != simdjson::SUCCESS || v > UINT32_MAX) return false;
  *out = static_cast<uint32_t>(v);
  return true;
}
bool take(simdjson::dom::element value, std::string* out) {
  std::string_view v;
  if (value.get(v) != simdjson::SUCCESS) return false;
  *out = v;
  return true;
}
bool take_base64(simdjson::dom::element value, std::vector<uint8_t>* out) {
  std::string_view v;
  if (value.get(v) != simdjson::SUCCESS) return false;
  size_t bytes = 0;
  out->resize(v.size() / 4 * 3 + 3);
  if (!wire::decode_base64(v, out->data(), &bytes)) return false;
  out->resize(bytes);
  return true;
}

}  // namespace

std::vector<uint8_t> encode(const ServiceCall& call, Encoding encoding) {
  const size_t texts =
      call.gateway.size() + call.user.size() + call.player.size() + call.permissions.size();
  const std::string session = hex(call.session);
  if (encoding == Encoding::kJson) {
    std::vector<uint8_t> out(512 + texts * 6 + wire::base64_size(call.payload.size()));
    wire::JsonText json(out);
    json.put("{\"version\":1,\"type\":");
    json.number(uint64_t{call.type});
    const auto text = [&](std::string_view key, std::string_view value) {
      json.put(key);
      json.string(value);
    };
    text(",\"gateway\":", call.gateway);
    text(",\"session_id\":", session);
    text(",\"user_id\":", call.user);
    text(",\"player_id\":", call.player);
    json.put(",\"permissions\":[");
    bool first = true;
    each_word(call.permissions, [&](std::string_view word) {
      if (!first) json.put(',');
      first = false;
      json.string(word);
    });
    json.put("],\"sequence\":");
    json.number(call.sequence);
    json.put(",\"timestamp\":");
    json.number(call.timestamp);
    json.put(",\"payload\":");
    json.base64(call.payload);
    json.put('}');
    out.resize(json.size());
    return out;
  }
  std::vector<uint8_t> out(512 + texts * 2 + call.payload.size());
  wire::PbWriter pb(out);
  pb.varint(1, 1);
  pb.varint(2, call.type);
  pb.text(3, call.gateway);
  pb.text(4, session);
  pb.text(5, call.user);
  pb.text(6, call.player);
  each_word(call.permissions, [&](std::string_view word) { pb.text(7, word); });
  pb.varint(8, call.sequence);
  pb.int64(9, call.timestamp);
  pb.bytes(10, call.payload);
  out.resize(pb.size());
  return out;
}

bool decode(base::Bytes bytes, ServiceAnswer* out) {
  *out = {};
  if (is_json(bytes)) {
    return each_member(bytes, [&](std::string_view key, simdjson::dom::element value) {
      if (key == "code") return take(value, &out->code);
      if (key == "message") return take(value, &out->message);
      if (key == "type") return take(value, &out->type);
      if (key == "payload") return take_base64(value, &out->payload);
      return true;
    });
  }
  wire::PbReader pb(bytes);
  while (pb.next()) {
    const bool is_bytes = pb.is(wire::WireType::kBytes);
    if (pb.field() == 1 && !is_bytes) out->code = static_cast<uint32_t>(pb.varint());
    if (pb.field() == 2 && is_bytes) out->message = pb.text();
    if (pb.field() == 3 && !is_bytes) out->type = static_cast<uint32_t>(pb.varint());
    if (pb.field() == 4 && is_bytes) out->payload.assign(pb.bytes().begin(), pb.bytes().end());
  }
  return !pb.failed();
}

bool decode(base::Bytes bytes, ServicePush* out) {
  *out = {};
  std::string session;
  bool good = true;
  if (is_json(bytes)) {
    good = each_member(bytes, [&](std::string_view key, simdjson::dom::element value) {
      if (key == "to") return take(value, &out->to);
      if (key == "type") return take(value, &out->type);
      if (key == "payload") return take_base64(value, &out->payload);
      if (key == "requires_ack") return value.get(out->requires_ack) == simdjson::SUCCESS;
      if (key == "session_id") return take(value, &session);
      return true;
    });
  } else {
    wire::PbReader pb(bytes);
    while (pb.next()) {
      const bool is_bytes = pb.is(wire::WireType::kBytes);
      if (pb.field() == 1 && is_bytes) out->to = pb.text();
      if (pb.field() == 2 && !is_bytes) out->type = static_cast<uint32_t>(pb.varint());
      if (pb.field() == 3 && is_bytes) out->payload.assign(pb.bytes().begin(), pb.bytes().end());
      if (pb.field() == 4 && !is_bytes) out->requires_ack = pb.varint() != 0;
      if (pb.field() == 5 && is_bytes) session = pb.text();
    }
    good = !pb.failed();
  }
  return good && (session.empty() || from_hex(session, &out->session));
}

}  // namespace tidegate::bus
