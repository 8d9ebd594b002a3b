// SPDX-License-Identifier: Apache-2.0
// TLS connections that go to another process, and come from one: keys and numbers of their records,
// and what of a record was received. Where no message of the handshake was looked at yet, the other
// process makes it.
#include <algorithm>
#include <cstring>

#include "net/endpoint.h"

namespace tidegate::net {

void Endpoint::let_tls_move(bool heir_takes) {
  if (tls_ != nullptr) tls_->moves = heir_takes;
}

bool Endpoint::tls_movable(uint32_t slot) const {
  const TlsRow& t = tls_->rows[slot];
  if (!tls_->moves || t.over) return false;
  if (!t.begun && !t.session) return true;
  tls::Traffic traffic;
  return t.session.established() && t.session.traffic(&traffic);
}

void Endpoint::save_tls(uint32_t slot, handover::Writer& out) {
  const TlsRow& t = tls_->rows[slot];
  handover::Tls to;
  to.slot = slot;
  to.input_since_s = t.input_since_s;
  if (t.input != kNone) to.input = {tls_->inputs.data(t.input), t.input_bytes};
  tls::Traffic traffic;
  if (t.begun) {
    TG_ASSERT(t.session.traffic(&traffic));  // movable() said so
    to.established = 1;
    to.tls13 = traffic.tls13 ? 1 : 0;
    to.key_update_owed = traffic.key_update_owed ? 1 : 0;
    to.suite = traffic.suite;
    to.in_secret = {traffic.in.secret, traffic.in.secret_bytes};
    to.out_secret = {traffic.out.secret, traffic.out.secret_bytes};
    to.in_number = traffic.in.number;
    to.out_number = traffic.out.number;
    to.explicit_nonce = traffic.explicit_nonce;
  }
  out.add(to);
}

bool Endpoint::restore_tls(const handover::Tls& from) {
  if (tls_ == nullptr || from.slot >= rows_.size() || is_poll(from.slot)) return false;
  Hot& row = rows_[from.slot];
  if ((row.phase != Phase::kHead && row.phase != Phase::kOpen) || (row.flags & kFlagTls) != 0 ||
      from.in_secret.size() > tls::kSecretBytesMax ||
      from.out_secret.size() > tls::kSecretBytesMax ||
      (from.established == 0 && row.phase != Phase::kHead)) {
    return false;
  }
  open_tls(from.slot);
  TlsRow& t = tls_->rows[from.slot];
  if (from.established != 0) {
    tls::Traffic traffic;
    traffic.tls13 = from.tls13 != 0;
    traffic.key_update_owed = from.key_update_owed != 0;
    traffic.suite = from.suite;
    const auto take = [](tls::Traffic::Direction& to, base::Bytes secret, uint64_t number) {
      std::memcpy(to.secret, secret.data(), secret.size());
      to.secret_bytes = static_cast<uint32_t>(secret.size());
      to.number = number;
    };
    take(traffic.in, from.in_secret, from.in_number);
    take(traffic.out, from.out_secret, from.out_number);
    traffic.explicit_nonce = from.explicit_nonce;
    if (!t.session.carry(traffic)) return false;
    t.begun = t.counted = true;
    set_tls_open(tls_->open + 1);
    // It was let in once; what it takes is counted where there is room.
    t.charged =
        config_.account != nullptr && config_.account->charge(kTlsSessionBytes, mem::Rank::kInput);
  }
  if (!from.input.empty()) {
    const auto bytes = static_cast<uint32_t>(from.input.size());
    if (bytes > tls::kRecordBytesMax + tls::kHelloBytesMax) return false;
    t.input = tls_->inputs.grow(kNone, 0, bytes);
    if (t.input == kNone) return false;
    std::memcpy(tls_->inputs.data(t.input), from.input.data(), bytes);
    t.input_bytes = bytes;
    t.input_since_s = from.input_since_s;
  }
  return true;
}

// One whose first message waited there for its turn waits here.
void Endpoint::begin_restored_tls(uint32_t slot) {
  const TlsRow& t = tls_->rows[slot];
  if (t.begun || t.input == kNone) return;
  const base::Bytes input{tls_->inputs.data(t.input), t.input_bytes};
  if (tls::cut_records(input).whole != 0) join_queue(slot);
}

}  // namespace tidegate::net
