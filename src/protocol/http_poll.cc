// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_poll.h"

#include <algorithm>

#include "protocol/http_head.h"
#include "protocol/http_request.h"

namespace tidegate::protocol {

using base::Bytes;
using base::MutableBytes;
using http::LineStatus;

namespace {

constexpr std::string_view kBelow = "/poll";
constexpr uint32_t kNumberMax = UINT32_MAX;

UpgradeError malformed(std::string_view message) { return {400, "malformed_request", message}; }
UpgradeError not_found() { return {404, "not_found", "Nothing is served at this path."}; }

UpgradeError malformed_line(LineStatus status) {
  switch (status) {
    case LineStatus::kBareLf:
      return malformed("A line does not end with CR LF.");
    case LineStatus::kControlChar:
      return malformed("The head contains a control character.");
    case LineStatus::kFolded:
      return malformed("A header field is folded over two lines.");
    default:
      return malformed("A header line is not 'Name: value'.");
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool parse_u64(std::string_view text, uint64_t* out) {
  if (text.empty() || text.size() > 18) return false;  // below 2^63
  uint64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
    number = number * 10 + static_cast<uint64_t>(c - '0');
  }
  *out = number;
  return true;
}

struct Fields {
  bool has_host = false;
  bool has_length = false;
  bool has_origin = false;
  bool has_authorization = false;
};

UpgradeError once(bool& seen) {
  if (seen) return malformed("A field that may be sent once only was sent twice.");
  seen = true;
  return {};
}

UpgradeError take_field(std::string_view name, std::string_view value, Fields& fields,
                        PollRequest& out) {
  const auto is = [name](std::string_view lower) {
    return http::equals_ignoring_case(name, lower);
  };
  UpgradeRequest& upgrade = out.upgrade;
  if (is("host")) {
    upgrade.host = value;
    return once(fields.has_host);
  }
  if (is("content-length")) {
    if (!http::parse_number(value, kNumberMax, &out.body_bytes)) {
      return malformed("Content-Length is not a number below 2^32.");
    }
    return once(fields.has_length);
  }
  if (is("transfer-encoding")) {
    return {411, "length_required", "Send the body with Content-Length, not in chunks."};
  }
  if (is("origin")) {
    upgrade.origin = value;
    return once(fields.has_origin);
  }
  if (is("authorization")) {
    upgrade.bearer = http::bearer_of(value);
    return once(fields.has_authorization);
  }
  if (is("connection")) {
    out.close |= http::list_has(value, "close");
  } else if (is("cookie")) {
    if (upgrade.cookie_token.empty()) upgrade.cookie_token = http::find_auth_cookie(value);
  } else if (is("x-forwarded-for")) {
    upgrade.forwarded_for = value;
  } else if (is("forwarded")) {
    upgrade.forwarded = value;
  }
  return {};
}

UpgradeError take_open_query(const UpgradeRules& rules, UpgradeRequest& upgrade) {
  std::string_view rest = upgrade.query, name, value;
  while (http::take_parameter(rest, &name, &value)) {
    if (name != "protocol") continue;
    upgrade.offered_subprotocols = true;
    for (size_t i = 0; i < rules.subprotocols.size(); ++i) {
      if (rules.subprotocols[i] == value) upgrade.subprotocol = static_cast<uint8_t>(i);
    }
    if (upgrade.subprotocol == kNoSubprotocol) {
      return malformed("This protocol is not spoken here; see docs/protocol.md.");
    }
  }
  return upgrade.take_query();
}

UpgradeError take_number(PollRequest& out) {
  const std::string_view wanted = out.kind == PollKind::kPost ? "seq" : "from";
  bool found = false;
  std::string_view rest = out.upgrade.query, name, value;
  while (http::take_parameter(rest, &name, &value)) {
    if (name == wanted) {
      if (found || !parse_u64(value, &out.number)) {
        return malformed("seq or from is no number, or there twice.");
      }
      found = true;
    } else if (name == "wait" && !http::parse_number(value, kPollWaitUnset - 1, &out.wait_ms)) {
      return malformed("wait is no number of milliseconds.");
    }
  }
  if (!found && out.kind == PollKind::kPost) return malformed("The query lacks seq=.");
  if (!found && out.kind == PollKind::kGet) return malformed("The query lacks from=.");
  return {};
}

}  // namespace

void write_poll_name(const PollName& name, char (&out)[kPollNameChars]) {
  constexpr char kHex[] = "0123456789abcdef";
  const uint32_t place = name.shard << 24 | (name.index & 0xffffff);
  for (int i = 0; i < 8; ++i) out[i] = kHex[place >> (28 - 4 * i) & 15];
  for (int i = 0; i < 16; ++i) {
    out[8 + 2 * i] = kHex[name.secret[i] >> 4];
    out[9 + 2 * i] = kHex[name.secret[i] & 15];
  }
}

bool parse_poll_name(std::string_view text, PollName* out) {
  if (text.size() != kPollNameChars) return false;
  uint8_t bytes[kPollNameChars / 2];
  for (size_t i = 0; i < sizeof bytes; ++i) {
    const int high = hex_digit(text[2 * i]);
    const int low = hex_digit(text[2 * i + 1]);
    if (high < 0 || low < 0) return false;
    bytes[i] = static_cast<uint8_t>(high * 16 + low);
  }
  out->shard = bytes[0];
  out->index = static_cast<uint32_t>(bytes[1] << 16 | bytes[2] << 8 | bytes[3]);
  std::memcpy(out->secret, bytes + 4, sizeof out->secret);
  return true;
}

bool is_poll_request(Bytes head, std::string_view path) {
  const std::string_view text = base::as_text(head);
  const size_t space = text.substr(0, 8).find(' ');
  if (space == std::string_view::npos) return false;
  std::string_view target = text.substr(space + 1);
  if (!target.starts_with(path)) return false;
  target.remove_prefix(path.size());
  if (!target.starts_with(kBelow)) return false;
  target.remove_prefix(kBelow.size());
  return !target.empty() &&
         (target.front() == '/' || target.front() == '?' || target.front() == ' ');
}

UpgradeError parse_poll_request(Bytes head, const UpgradeRules& rules, PollRequest& out) {
  http::HeadReader reader(base::as_text(head));
  std::string_view line;
  LineStatus status = reader.next_line(&line);
  if (status != LineStatus::kLine) return malformed_line(status);
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last || line.substr(last + 1) != "HTTP/1.1") {
    return malformed("The request line is not '<method> <path> HTTP/1.1'.");
  }
  const std::string_view method = line.substr(0, first);
  UpgradeRequest& upgrade = out.upgrade;
  if (!http::split_target(line.substr(first + 1, last - first - 1), &upgrade.path,
                          &upgrade.query)) {
    return malformed("The request target must be a path of printable characters without '#'.");
  }
  Fields fields;
  std::string_view name, value;
  while ((status = reader.next_field(&name, &value)) == LineStatus::kLine) {
    const UpgradeError error = take_field(name, value, fields, out);
    if (error.status != 0) return error;
  }
  if (status != LineStatus::kEnd) return malformed_line(status);
  if (upgrade.host.empty() || !http::is_host(upgrade.host)) {
    return malformed("The Host header is missing, or is not a name or address with a port.");
  }

  std::string_view below = upgrade.path;
  if (!below.starts_with(rules.path)) return not_found();
  below.remove_prefix(rules.path.size());
  if (!below.starts_with(kBelow)) return not_found();
  below.remove_prefix(kBelow.size());
  const bool named = !below.empty();
  if (named && (below.front() != '/' || !parse_poll_name(below.substr(1), &out.name))) {
    if (method != "OPTIONS" || below.front() != '/') return not_found();
  }
  if (method == "OPTIONS") {
    out.kind = PollKind::kPreflight;
    return {};
  }
  if (method == "POST") {
    out.kind = named ? PollKind::kPost : PollKind::kOpen;
  } else if (method == "GET" && named) {
    out.kind = PollKind::kGet;
  } else if (method == "DELETE" && named) {
    out.kind = PollKind::kDelete;
  } else {
    return {405, "method_not_allowed", "POST opens, POST, GET and DELETE serve what was opened."};
  }
  if (out.kind == PollKind::kOpen) return take_open_query(rules, upgrade);
  if (out.kind == PollKind::kPost && !fields.has_length) {
    return {411, "length_required", "Send Content-Length."};
  }
  return take_number(out);
}

namespace {

void put_head(http::TextWriter& writer, const PollAnswerHead& head) {
  writer.put("HTTP/1.1 ");
  writer.put_number(static_cast<uint32_t>(head.status));
  writer.put(" ");
  writer.put(http::phrase_of(head.status));
  if (!head.content_type.empty()) {
    writer.put("\r\nContent-Type: ");
    writer.put(head.content_type);
    writer.put("\r\nContent-Length: ");
    writer.put_number(head.body_bytes);
  }
  writer.put("\r\nCache-Control: no-store");
  // Any page gets this far only when listen.origins lets it; credentials of a browser are not
  // shared across origins, a token in the request is.
  if (head.shared) writer.put("\r\nAccess-Control-Allow-Origin: *");
  if (head.preflight) {
    writer.put(
        "\r\nAccess-Control-Allow-Methods: GET, POST, DELETE"
        "\r\nAccess-Control-Allow-Headers: Authorization, Content-Type"
        "\r\nAccess-Control-Max-Age: 7200");
  }
  if (head.status == 401) writer.put("\r\nWWW-Authenticate: Bearer");
  if (head.retry_after_s > 0) {
    writer.put("\r\nRetry-After: ");
    writer.put_number(head.retry_after_s);
  }
  if (head.close) writer.put("\r\nConnection: close");
  writer.put("\r\n\r\n");
}

void put_u64(http::TextWriter& writer, uint64_t number) {
  constexpr uint64_t kBillion = 1'000'000'000;
  if (number <= UINT32_MAX) {
    writer.put_number(static_cast<uint32_t>(number));
    return;
  }
  put_u64(writer, number / kBillion);
  char digits[9];
  uint64_t rest = number % kBillion;
  for (int i = 8; i >= 0; --i) {
    digits[i] = static_cast<char>('0' + rest % 10);
    rest /= 10;
  }
  writer.put({digits, sizeof digits});
}

void put_error(http::TextWriter& writer, std::string_view code, std::string_view message,
               std::string_view extra_name, uint64_t extra) {
  writer.put("{\"error\": ");
  writer.put_json_string(code);
  writer.put(", \"message\": ");
  writer.put_json_string(message);
  if (!extra_name.empty()) {
    writer.put(", ");
    writer.put_json_string(extra_name);
    writer.put(": ");
    put_u64(writer, extra);
  }
  writer.put("}");
}

}  // namespace

size_t write_poll_head(MutableBytes out, const PollAnswerHead& head) {
  http::TextWriter writer(out);
  put_head(writer, head);
  return writer.finish();
}

size_t write_poll_error(MutableBytes out, PollAnswerHead head, std::string_view code,
                        std::string_view message, std::string_view extra_name, uint64_t extra) {
  http::TextWriter body({});
  put_error(body, code, message, extra_name, extra);
  head.content_type = "application/json";
  head.body_bytes = static_cast<uint32_t>(body.needed());
  http::TextWriter writer(out);
  put_head(writer, head);
  put_error(writer, code, message, extra_name, extra);
  return writer.finish();
}

size_t write_poll_opened(MutableBytes out, const PollName& name, std::string_view subprotocol,
                         uint32_t hold_ms, uint32_t body_bytes, bool shared, bool close) {
  char text[kPollNameChars];
  write_poll_name(name, text);
  const auto put_body = [&](http::TextWriter& writer) {
    writer.put("{\"id\": \"");
    writer.put({text, sizeof text});
    writer.put("\", \"protocol\": ");
    writer.put_json_string(subprotocol);
    writer.put(", \"hold_ms\": ");
    writer.put_number(hold_ms);
    writer.put(", \"body_bytes\": ");
    writer.put_number(body_bytes);
    writer.put("}");
  };
  http::TextWriter body({});
  put_body(body);
  PollAnswerHead head;
  head.status = 200;
  head.content_type = "application/json";
  head.body_bytes = static_cast<uint32_t>(body.needed());
  head.shared = shared;
  head.close = close;
  http::TextWriter writer(out);
  put_head(writer, head);
  put_body(writer);
  return writer.finish();
}

}  // namespace tidegate::protocol
