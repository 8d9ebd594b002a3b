// SPDX-License-Identifier: Apache-2.0
#include "tls/client_stream.h"

#include <algorithm>

#include "tls/records.h"

namespace tidegate::tls {

bool ClientStream::start(const ClientContext& context, Engine& engine, const char* host) {
  if (!session_.connect(context, engine, host)) return false;
  append(engine.output());
  return true;
}

bool ClientStream::receive(Engine& engine, base::MutableBytes bytes, base::MutableBytes* plain) {
  *plain = {};
  if (!in_.empty()) {
    in_.insert(in_.end(), bytes.begin(), bytes.end());
    opened_.swap(in_);
    in_.clear();
    bytes = opened_;
  }
  const Records cut = cut_records(bytes);
  const base::MutableBytes whole = bytes.first(cut.whole);
  const base::MutableBytes rest = bytes.subspan(cut.whole);
  if (!whole.empty()) {
    const Received received = session_.receive(engine, whole);
    append(engine.output());
    *plain = whole.first(received.plain_bytes);
    if (received.status == Status::kClosed) return false;
    if (received.status == Status::kFailed) {
      problem_ = std::string("TLS: ") + name_of(received.failure) + ": " + received.reason;
      return false;
    }
  }
  if (cut.not_tls || cut.broken) {
    problem_ = "TLS: the peer does not speak it";
    return false;
  }
  in_.assign(rest.begin(), rest.end());
  return true;
}

bool ClientStream::seal(Engine& engine, base::Bytes plain) {
  if (sent_ == out_.size()) {
    out_.clear();
    sent_ = 0;
  }
  while (!plain.empty()) {
    const base::Bytes piece = plain.first(std::min(plain.size(), kRecordPlainMax));
    const size_t at = out_.size();
    out_.resize(at + piece.size() + kSealRoom);
    const size_t size = session_.seal(engine, piece, {out_.data() + at, out_.size() - at});
    out_.resize(at + size);
    if (size == 0) {
      problem_ = "TLS: the connection cannot be written to any more";
      return false;
    }
    plain = plain.subspan(piece.size());
  }
  return true;
}

void ClientStream::shut_down(Engine& engine) {
  uint8_t notify[64];
  append({notify, session_.shut_down(engine, notify)});
}

void ClientStream::sent(size_t bytes) {
  sent_ += bytes;
  if (sent_ < out_.size()) return;
  out_.clear();
  sent_ = 0;
}

}  // namespace tidegate::tls
