// SPDX-License-Identifier: Apache-2.0
#include "sdk/link.h"

#include <algorithm>
#include <charconv>

namespace tidegate::sdk {

bool parse_endpoint(std::string_view url, Endpoint* out) {
  *out = {};
  if (url.starts_with("wss://")) {
    out->secure = true;
    url.remove_prefix(6);
  } else if (url.starts_with("ws://")) {
    url.remove_prefix(5);
  } else {
    return false;
  }
  const size_t slash = url.find_first_of("/?");
  std::string_view authority = url.substr(0, slash);
  out->target = slash == std::string_view::npos ? "/ws" : url.substr(slash);
  if (out->target.front() == '?') out->target.insert(0, "/ws");
  if (const size_t hash = out->target.find('#'); hash != std::string::npos) {
    out->target.resize(hash);
  }
  if (authority.find('@') != std::string_view::npos) return false;
  out->name = authority;
  out->port = out->secure ? 443 : 80;
  const size_t colon = authority.rfind(':');
  const size_t bracket = authority.rfind(']');
  if (colon != std::string_view::npos && (bracket == std::string_view::npos || colon > bracket)) {
    const std::string_view digits = authority.substr(colon + 1);
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), out->port);
    if (error != std::errc{} || end != digits.data() + digits.size() || out->port == 0) {
      return false;
    }
    authority = authority.substr(0, colon);
  }
  if (authority.size() > 2 && authority.front() == '[' && authority.back() == ']') {
    authority = authority.substr(1, authority.size() - 2);
  }
  out->host = authority;
  return !out->host.empty();
}

Link::Link(const tidegate_client_transport& transport, uint64_t seed, uint32_t message_bytes,
           uint32_t send_buffer_bytes, bool short_is_all)
    : transport_(transport),
      stream_(seed, message_bytes),
      simulator_(seed + 1),
      send_buffer_bytes_(send_buffer_bytes),
      short_is_all_(short_is_all),
      buffer_(kReceiveBytes) {
  stream_.reserve(kReceiveBytes, send_buffer_bytes);
}

bool Link::open(const Endpoint& endpoint, std::string_view resume, std::string_view bearer) {
  close();
  connected_ = false;
  endpoint_ = endpoint;
  target_ = endpoint.target;
  if (!resume.empty()) {
    target_ += target_.find('?') == std::string::npos ? "?resume=" : "&resume=";
    target_ += resume;
  }
  bearer_ = bearer;
  protocol::UpgradeOffer offer;
  offer.host = endpoint_.name;
  offer.target = target_;
  offer.subprotocols = "tidegate.v1.proto";
  offer.bearer = bearer_;
  if (!stream_.start(offer)) return false;
  connected_ = lost_ = more_ = false;
  all_taken_ = true;
  handle_ = transport_.open(transport_.user, endpoint_.host.c_str(), endpoint_.port,
                            endpoint_.secure ? 1 : 0);
  return handle_ != nullptr;
}

void Link::close() {
  if (handle_ != nullptr) transport_.close(transport_.user, handle_);
  handle_ = nullptr;
  simulator_.clear();
  stream_.settle();
}

Link::Status Link::turn(base::Instant now) {
  if (handle_ == nullptr) return Status::kLost;
  more_ = false;
  if (!connected_) {
    const int32_t status = transport_.status(transport_.user, handle_);
    if (status < 0) return Status::kLost;
    if (status == 0) return Status::kFine;
    connected_ = true;
  }
  flush(now);
  // What came before is taken first, so that its buffer does not grow.
  if (!all_taken_) {
    more_ = true;
    stream_.feed({});
    return Status::kFine;
  }
#ifdef TIDEGATE_SIMULATOR
  if (simulator_.active()) {
    const int64_t came =
        transport_.receive(transport_.user, handle_, buffer_.data(), buffer_.size());
    if ((came < 0 || (came == 0 && lost_)) && simulator_.in.empty()) return Status::kLost;
    if (came > 0) {
      bytes_in_ += static_cast<uint64_t>(came);
      simulator_.put(simulator_.in, {buffer_.data(), static_cast<size_t>(came)}, to_ms(now));
    }
    const base::MutableBytes due = simulator_.in.front(to_ms(now));
    const size_t size = std::min(due.size(), buffer_.size());
    if (size != 0) {
      std::copy_n(due.begin(), size, buffer_.begin());
      simulator_.in.pop(size);
    }
    more_ = size != 0 || came > 0;
    stream_.feed({buffer_.data(), size});
    return Status::kFine;
  }
#endif
  const int64_t came = transport_.receive(transport_.user, handle_, buffer_.data(), buffer_.size());
  // A send that failed is no loss yet: the server's last words may wait to be read.
  if (came < 0 || (came == 0 && lost_)) return Status::kLost;
  bytes_in_ += static_cast<uint64_t>(came);
  more_ = came != 0 && (!short_is_all_ || static_cast<size_t>(came) == buffer_.size());
  stream_.feed({buffer_.data(), static_cast<size_t>(came)});
  return Status::kFine;
}

void Link::send(base::Instant now, base::Bytes message) {
  stream_.send_binary(message);
  flush(now);
}

void Link::send_close(base::Instant now, uint16_t code) {
  stream_.send_close(code);
  flush(now);
}

void Link::flush([[maybe_unused]] base::Instant now) {
  if (handle_ == nullptr || !connected_ || lost_) return;
#ifdef TIDEGATE_SIMULATOR
  if (simulator_.active()) {
    if (const base::Bytes out = stream_.outgoing(); !out.empty()) {
      simulator_.put(simulator_.out, out, to_ms(now));
      stream_.sent(out.size());
    }
    for (;;) {
      const base::MutableBytes due = simulator_.out.front(to_ms(now));
      if (due.empty()) return;
      const int64_t taken = transport_.send(transport_.user, handle_, due.data(), due.size());
      if (taken < 0) lost_ = true;
      if (taken <= 0) return;
      bytes_out_ += static_cast<uint64_t>(taken);
      simulator_.out.pop(static_cast<size_t>(taken));
    }
  }
#endif
  for (base::Bytes out = stream_.outgoing(); !out.empty(); out = stream_.outgoing()) {
    const int64_t taken = transport_.send(transport_.user, handle_, out.data(), out.size());
    if (taken < 0) lost_ = true;
    if (taken <= 0) return;
    bytes_out_ += static_cast<uint64_t>(taken);
    stream_.sent(static_cast<size_t>(taken));
  }
}

}  // namespace tidegate::sdk
