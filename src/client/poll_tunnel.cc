// SPDX-License-Identifier: Apache-2.0
#include "client/poll_tunnel.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"
#include "protocol/http_head.h"
#include "protocol/http_upgrade.h"
#include "protocol/utf8.h"
#include "protocol/ws.h"
#include "wire/limits.h"

namespace tidegate::client {

using base::Bytes;
using base::Instant;
namespace http = protocol::http;

namespace {

constexpr int kPosts = 0;  // lanes
constexpr int kGets = 1;
constexpr base::Duration kAnswerTime = base::seconds(10);
constexpr base::Duration kGiveUp = base::seconds(15);  // of nothing but losses
constexpr uint32_t kBodyMost = 1024 * 1024;
constexpr uint32_t kFrameMost = 1024 * 1024;
constexpr size_t kHeadMost = 16 * 1024;

// The value of a key in the flat JSON object that the server sends; empty: it is not there.
std::string_view json_value(std::string_view json, std::string_view key) {
  size_t at = json.find("\"" + std::string(key) + "\"");
  if (at == std::string_view::npos) return {};
  at = json.find(':', at);
  if (at == std::string_view::npos) return {};
  json = http::trim(json.substr(at + 1));
  if (json.starts_with('"')) return json.substr(1, json.substr(1).find('"'));
  return json.substr(0, json.find_first_of(",} \r\n"));
}

}  // namespace

void PollTunnel::start() {
  for (Lane& lane : lanes_) lane = Lane{};
  over_ = opened_ = leaving_ = text_ = false;
  problem_.clear();
  up_.clear();
  posts_.clear();
  ends_.clear();
  posting_.clear();
  sequence_ = received_ = 0;
  down_.clear();
  down_taken_ = 0;
  session_.clear();
}

void PollTunnel::taken(size_t bytes) {
  down_taken_ += bytes;
  if (down_taken_ != down_.size()) return;
  down_.clear();
  down_taken_ = 0;
}

void PollTunnel::fail(std::string_view problem) {
  over_ = true;
  problem_ = problem;
  for (Lane& lane : lanes_) {
    lane.ask = Ask::kNone;
    lane.done = true;
  }
}

// --- from the WebSocket ---

void PollTunnel::put(Bytes bytes, Instant now) {
  if (over_ || leaving_) return;
  up_.insert(up_.end(), bytes.begin(), bytes.end());
  if (!opened_) take_upgrade(now);
  if (opened_) take_frames();
  ask_more(now);
}

void PollTunnel::take_upgrade(Instant now) {
  if (lanes_[kPosts].ask == Ask::kOpen) return;
  const size_t end = protocol::find_head_end(up_, 0);
  if (end == 0) return;
  protocol::UpgradeRules rules;
  rules.path = {};
  rules.subprotocols = wire::kSubprotocols;
  protocol::UpgradeRequest request;
  if (protocol::parse_upgrade(Bytes(up_).first(end), rules, request).status != 0) {
    return fail("not a WebSocket's request");
  }
  host_ = request.host;
  path_ = request.path;
  query_ = request.query;
  bearer_ = request.bearer;
  std::memcpy(key_, request.key.data(), sizeof key_);
  subprotocol_ = request.offered_subprotocols && request.subprotocol != protocol::kNoSubprotocol
                     ? std::string(rules.subprotocols[request.subprotocol])
                     : std::string();
  std::string line = "POST " + path_ + "/poll?protocol=" +
                     (subprotocol_.empty() ? std::string(rules.subprotocols[0]) : subprotocol_);
  if (!query_.empty()) line += "&" + query_;
  up_.erase(up_.begin(), up_.begin() + static_cast<std::ptrdiff_t>(end));
  begin(kPosts, Ask::kOpen, line, {}, now);
}

void PollTunnel::take_frames() {
  size_t used = 0;
  while (used < up_.size()) {
    protocol::FrameView frame;
    const protocol::ParseStatus status = protocol::parse_frame(
        base::MutableBytes(up_).subspan(used), protocol::Role::kServer, kFrameMost, frame);
    if (status == protocol::ParseStatus::kNeedMore) break;
    if (status != protocol::ParseStatus::kFrame || !frame.fin) return fail("not a whole message");
    used += frame.consumed;
    switch (frame.opcode) {
      case protocol::Opcode::kBinary:
      case protocol::Opcode::kText:
        posts_.insert(posts_.end(), frame.payload.begin(), frame.payload.end());
        if (text_) posts_.push_back('\n');
        ends_.push_back(static_cast<uint32_t>(posts_.size()));
        break;
      case protocol::Opcode::kClose:
        leaving_ = true;
        break;
      default:
        break;  // pings and pongs have no meaning here
    }
  }
  up_.erase(up_.begin(), up_.begin() + static_cast<std::ptrdiff_t>(used));
}

// --- requests ---

void PollTunnel::begin(int number, Ask ask, std::string_view first_line, Bytes body, Instant now) {
  Lane& lane = lanes_[number];
  lane.ask = ask;
  std::string head(first_line);
  head += " HTTP/1.1\r\nHost: " + host_;
  if (ask == Ask::kOpen && !bearer_.empty()) head += "\r\nAuthorization: Bearer " + bearer_;
  if (ask == Ask::kPost || ask == Ask::kOpen) {
    head += "\r\nContent-Length: " + std::to_string(body.size());
  }
  head += "\r\n\r\n";
  lane.request.assign(head.begin(), head.end());
  lane.request.insert(lane.request.end(), body.begin(), body.end());
  lane.sent = 0;
  lane.answer.clear();
  lane.until = now + kAnswerTime;
  if (ask == Ask::kGet) lane.until = lane.until + base::milliseconds(hold_ms_);
}

// Whatever a lane that is free can be used for.
void PollTunnel::ask_more(Instant now) {
  if (over_ || !opened_) return;
  const std::string path = path_ + "/poll/" + session_;
  if (lanes_[kPosts].ask == Ask::kNone) {
    if (!ends_.empty()) {
      size_t count = 1;
      while (count < ends_.size() && ends_[count] <= body_bytes_) ++count;
      const auto size = static_cast<std::ptrdiff_t>(ends_[count - 1]);
      posting_.assign(posts_.begin(), posts_.begin() + size);
      posts_.erase(posts_.begin(), posts_.begin() + size);
      ends_.erase(ends_.begin(), ends_.begin() + static_cast<std::ptrdiff_t>(count));
      for (uint32_t& end : ends_) end -= static_cast<uint32_t>(size);
      if (posting_.size() > body_bytes_) return fail("a message larger than the server takes");
      begin(kPosts, Ask::kPost, "POST " + path + "?seq=" + std::to_string(++sequence_), posting_,
            now);
    } else if (leaving_) {
      begin(kPosts, Ask::kDelete, "DELETE " + path, {}, now);
    }
  }
  if (lanes_[kGets].ask == Ask::kNone && !leaving_ && down_.empty()) {
    begin(kGets, Ask::kGet, "GET " + path + "?from=" + std::to_string(received_), {}, now);
  }
}

bool PollTunnel::wants_link(int lane, Instant now) const {
  const Lane& l = lanes_[lane];
  return !l.open && l.ask != Ask::kNone && now >= l.not_before;
}

Bytes PollTunnel::outgoing(int lane) const {
  const Lane& l = lanes_[lane];
  if (l.ask == Ask::kNone || !l.open || l.done || l.sent >= l.request.size()) return {};
  return Bytes(l.request).subspan(l.sent);
}

void PollTunnel::lost(int number, Instant now) {
  Lane& lane = lanes_[number];
  lane.open = lane.done = false;
  lane.sent = 0;
  lane.answer.clear();
  if (lane.ask == Ask::kNone || over_) return;
  // A session may have been opened for nobody; the next login takes its place.
  if (lane.ask == Ask::kOpen) return fail("the connection was lost");
  if (lane.losses == 0) lane.lost_since = now;
  if (now - lane.lost_since > kGiveUp) return fail("the server is not reached any more");
  lane.until = base::Instant::never();
  lane.not_before =
      now + base::milliseconds(std::min<int64_t>(100 << std::min(lane.losses, 4u), 2000));
  // The first loss may be that of a connection that the other side had given up.
  if (lane.losses++ == 0) lane.not_before = now;
}

void PollTunnel::turn(Instant now) {
  for (Lane& lane : lanes_) {
    if (lane.ask == Ask::kNone) continue;
    if (lane.until == base::Instant::never() && lane.open) {
      lane.until = now + kAnswerTime;  // repeated on a new connection
      if (lane.ask == Ask::kGet) lane.until = lane.until + base::milliseconds(hold_ms_);
    } else if (lane.until <= now) {
      lane.until = base::Instant::never();
      if (lane.open) {
        lane.done = true;
      } else {
        lost(static_cast<int>(&lane - lanes_), now);
      }
    }
  }
  ask_more(now);
}

Instant PollTunnel::due() const {
  Instant due = base::Instant::never();
  for (const Lane& lane : lanes_) {
    if (lane.ask != Ask::kNone) due = std::min(due, lane.open ? lane.until : lane.not_before);
  }
  return due;
}

// --- answers ---

bool PollTunnel::parse_head(Bytes head, Head* out) {
  http::HeadReader reader(base::as_text(head));
  std::string_view line, name, value;
  if (reader.next_line(&line) != http::LineStatus::kLine) return false;
  uint32_t status = 0;
  if (!line.starts_with("HTTP/1.1 ") || !http::parse_number(line.substr(9, 3), 999, &status)) {
    return false;
  }
  out->status = static_cast<int>(status);
  http::LineStatus read;
  while ((read = reader.next_field(&name, &value)) == http::LineStatus::kLine) {
    uint32_t number = 0;
    if (http::equals_ignoring_case(name, "content-length")) {
      if (!http::parse_number(value, kBodyMost, &number)) return false;
      out->length = number;
    } else if (http::equals_ignoring_case(name, "transfer-encoding")) {
      return false;  // not from this server; a proxy that cuts bodies anew is not understood
    } else if (http::equals_ignoring_case(name, "connection")) {
      out->close = out->close || http::list_has(value, "close");
    } else if (http::equals_ignoring_case(name, "retry-after")) {
      if (http::parse_number(value, 86'400, &number)) out->retry_after_s = number;
    }
  }
  return read == http::LineStatus::kEnd;
}

void PollTunnel::feed(int number, Bytes bytes, Instant now) {
  Lane& lane = lanes_[number];
  if (lane.done || lane.ask == Ask::kNone) {
    lane.done = true;  // an answer to nothing
    return;
  }
  lane.answer.insert(lane.answer.end(), bytes.begin(), bytes.end());
  const size_t end = protocol::find_head_end(lane.answer, 0);
  if (end == 0) {
    if (lane.answer.size() > kHeadMost) fail("an answer without end");
    return;
  }
  Head head;
  if (!parse_head(Bytes(lane.answer).first(end), &head)) return fail("not an answer of the server");
  if (lane.answer.size() < end + head.length) return;
  const std::vector<uint8_t> answer = std::move(lane.answer);
  lane.answer.clear();
  lane.losses = 0;
  lane.until = base::Instant::never();
  lane.done = lane.done || head.close;
  take_answer(number, head, Bytes(answer).first(end + head.length),
              Bytes(answer).subspan(end, head.length));
  ask_more(now);
}

void PollTunnel::take_answer(int number, const Head& head, Bytes whole, Bytes body) {
  Lane& lane = lanes_[number];
  const Ask asked = lane.ask;
  lane.ask = Ask::kNone;
  const std::string_view text = base::as_text(body);
  if (asked == Ask::kOpen) {
    if (head.status == 200) return take_opened(body);
    // The refusal is the WebSocket's to read.
    down_.insert(down_.end(), whole.begin(), whole.end());
    over_ = true;
    return;
  }
  if (asked == Ask::kDelete) return fail({});
  // Busy, or more connections than this address may have just now.
  if (head.status == 503 || head.status == 429) {
    lane.ask = asked;
    lane.sent = 0;
    lane.losses = 2;
    lane.done = true;  // the request goes again, by another connection and a little later
    return;
  }
  if (head.status == 410) {
    // What stands before the close comes first, by the GET.
    if (asked != Ask::kGet) return;
    uint32_t code = 0;
    std::string_view reason = json_value(text, "message");
    if (!protocol::is_valid_utf8(base::as_bytes(reason))) reason = {};
    if (!http::parse_number(json_value(text, "code"), 4999, &code) ||
        !protocol::is_close_code_on_wire(static_cast<uint16_t>(code))) {
      return fail("the server closed the session");
    }
    put_close(static_cast<uint16_t>(code), reason);
    return;
  }
  if (asked == Ask::kPost) {
    if (head.status != 204)
      fail("the server refused a message: HTTP " + std::to_string(head.status));
    return;
  }
  if (head.status == 200) {
    take_data(body);
  } else if (head.status != 204) {
    fail("the session is gone: HTTP " + std::to_string(head.status));
  }
}

void PollTunnel::take_opened(Bytes body) {
  const std::string_view text = base::as_text(body);
  session_ = json_value(text, "id");
  uint32_t number = 0;
  if (http::parse_number(json_value(text, "hold_ms"), 600'000, &number)) hold_ms_ = number;
  if (!http::parse_number(json_value(text, "body_bytes"), kBodyMost, &body_bytes_) ||
      session_.empty()) {
    return fail("not an answer of the server");
  }
  text_ = json_value(text, "protocol").ends_with(".json");
  opened_ = true;
  char accept[protocol::kAcceptKeyChars];
  protocol::compute_accept_key({key_, sizeof key_}, accept);
  const size_t at = down_.size();
  down_.resize(at + protocol::kAnswerBytesMax);
  down_.resize(at +
               protocol::write_switching_protocols({down_.data() + at, protocol::kAnswerBytesMax},
                                                   {accept, sizeof accept}, subprotocol_));
  take_frames();
}

void PollTunnel::take_data(Bytes body) {
  received_ += body.size();
  if (!text_) return put_frame(body);
  while (!body.empty()) {
    const auto end = std::find(body.begin(), body.end(), '\n');
    const auto size = static_cast<size_t>(end - body.begin());
    put_frame(body.first(size));
    body = body.subspan(std::min(size + 1, body.size()));
  }
}

void PollTunnel::put_frame(Bytes payload) {
  const size_t at = down_.size();
  down_.resize(at + protocol::kHeaderMax + payload.size());
  const auto opcode = text_ ? protocol::Opcode::kText : protocol::Opcode::kBinary;
  const size_t head = protocol::write_header(down_.data() + at, opcode, true, payload.size());
  std::copy(payload.begin(), payload.end(), down_.begin() + static_cast<std::ptrdiff_t>(at + head));
  down_.resize(at + head + payload.size());
}

void PollTunnel::put_close(uint16_t code, std::string_view reason) {
  const size_t at = down_.size();
  down_.resize(at + protocol::kControlFrameMax);
  down_.resize(at + protocol::write_close(down_.data() + at, code, reason));
  over_ = true;
  for (Lane& lane : lanes_) {
    lane.ask = Ask::kNone;
    lane.done = true;
  }
}

}  // namespace tidegate::client
