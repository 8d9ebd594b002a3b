// SPDX-License-Identifier: Apache-2.0
#include "tls/carried.h"

#include <openssl/evp.h>

#include <cstring>

#include "base/assert.h"
#include "tls/records.h"
#include "tls/session.h"

namespace tidegate::tls {
namespace {

constexpr uint8_t kAlert = 21, kHandshake = 22, kApplicationData = 23;
constexpr uint8_t kCloseNotify = 0, kUnexpectedMessage = 10, kBadRecordMac = 20,
                  kRecordOverflow = 22, kDecodeError = 50, kUserCanceled = 90,
                  kNoRenegotiation = 100;
constexpr uint8_t kWarning = 1, kFatal = 2;
constexpr uint8_t kKeyUpdate = 24, kUpdateRequested = 1;
constexpr size_t kTag = 16, kExplicit = 8;

void put_number(uint64_t number, uint8_t* out) {
  for (int i = 7; i >= 0; --i) {
    out[i] = static_cast<uint8_t>(number);
    number >>= 8;
  }
}

}  // namespace

std::unique_ptr<Carried> Carried::make(const Traffic& traffic) {
  const Suite* suite = find_suite(traffic.suite);
  if (suite == nullptr || suite->tls13 != traffic.tls13) return nullptr;
  const uint32_t want = suite->tls13 ? static_cast<uint32_t>(EVP_MD_get_size(suite->hash()))
                                     : suite->key_bytes + suite->fixed_nonce_bytes();
  if (traffic.in.secret_bytes != want || traffic.out.secret_bytes != want) return nullptr;
  std::unique_ptr<Carried> out(new Carried(*suite));
  out->traffic_ = traffic;
  if (!out->set_key(out->in_, traffic.in, false) || !out->set_key(out->out_, traffic.out, true)) {
    return nullptr;
  }
  return out;
}

Carried::~Carried() {
  EVP_CIPHER_CTX_free(in_.cipher);
  EVP_CIPHER_CTX_free(out_.cipher);
}

bool Carried::set_key(Way& way, const Traffic::Direction& from, bool sealing) {
  if (way.cipher == nullptr) way.cipher = EVP_CIPHER_CTX_new();
  if (way.cipher == nullptr) return false;
  uint8_t key[32];
  const base::Bytes secret{from.secret, from.secret_bytes};
  bool good = true;
  if (suite_.tls13) {
    good = expand_label(suite_.hash(), secret, "key", {key, suite_.key_bytes}) &&
           expand_label(suite_.hash(), secret, "iv", way.nonce);
  } else {
    std::memcpy(key, secret.data(), suite_.key_bytes);
    std::memcpy(way.nonce, secret.data() + suite_.key_bytes, suite_.fixed_nonce_bytes());
  }
  good = good && EVP_CipherInit_ex(way.cipher, suite_.cipher(), nullptr, key, nullptr,
                                   sealing ? 1 : 0) == 1;
  OPENSSL_cleanse(key, sizeof key);
  return good;
}

bool Carried::update_key(Way& way, Traffic::Direction& from, bool sealing) {
  Traffic::Direction next = from;
  next.number = 0;
  const bool good = expand_label(suite_.hash(), {from.secret, from.secret_bytes}, "traffic upd",
                                 {next.secret, next.secret_bytes}) &&
                    set_key(way, next, sealing);
  from = next;
  OPENSSL_cleanse(next.secret, sizeof next.secret);
  return good;
}

// TLS 1.3 and ChaCha20: the number over the fixed part; GCM of TLS 1.2: the fixed part, then what
// stands in the record.
void Carried::make_nonce(const Way& way, uint64_t number, base::Bytes explicit_part,
                         uint8_t (&nonce)[12]) const {
  std::memcpy(nonce, way.nonce, sizeof nonce);
  if (!explicit_part.empty()) {
    std::memcpy(nonce + 4, explicit_part.data(), kExplicit);
    return;
  }
  uint8_t bytes[8];
  put_number(number, bytes);
  for (size_t i = 0; i < sizeof bytes; ++i) nonce[4 + i] ^= bytes[i];
}

size_t Carried::seal_record(uint8_t type, base::Bytes plain, base::MutableBytes out) {
  const bool has_explicit = !suite_.tls13 && suite_.gcm;
  const size_t body = plain.size() + kTag + (suite_.tls13 ? 1 : 0) + (has_explicit ? kExplicit : 0);
  if (out.size() < kRecordHeader + body) return 0;
  uint8_t* at = out.data();
  at[0] = suite_.tls13 ? kApplicationData : type;
  at[1] = at[2] = 3;
  at[3] = static_cast<uint8_t>(body >> 8);
  at[4] = static_cast<uint8_t>(body);
  uint8_t extra[13];
  size_t extra_bytes = kRecordHeader;
  uint8_t* to = at + kRecordHeader;
  base::Bytes explicit_part;
  if (suite_.tls13) {
    std::memcpy(extra, at, kRecordHeader);
  } else {
    put_number(traffic_.out.number, extra);
    extra[8] = type;
    extra[9] = extra[10] = 3;
    extra[11] = static_cast<uint8_t>(plain.size() >> 8);
    extra[12] = static_cast<uint8_t>(plain.size());
    extra_bytes = sizeof extra;
    if (has_explicit) {
      put_number(traffic_.explicit_nonce++, to);
      explicit_part = {to, kExplicit};
      to += kExplicit;
    }
  }
  uint8_t nonce[12];
  make_nonce(out_, traffic_.out.number, explicit_part, nonce);
  EVP_CIPHER_CTX* const c = out_.cipher;
  int n = 0;
  bool good = EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, nonce, 1) == 1 &&
              EVP_EncryptUpdate(c, nullptr, &n, extra, static_cast<int>(extra_bytes)) == 1 &&
              EVP_EncryptUpdate(c, to, &n, plain.data(), static_cast<int>(plain.size())) == 1;
  to += plain.size();
  if (good && suite_.tls13) {
    good = EVP_EncryptUpdate(c, to, &n, &type, 1) == 1;
    ++to;
  }
  good = good && EVP_EncryptFinal_ex(c, to, &n) == 1 &&
         EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, kTag, to) == 1;
  ++traffic_.out.number;
  if (!good) over_ = true;
  return good ? kRecordHeader + body : 0;
}

bool Carried::open_record(base::MutableBytes record, uint8_t* type, base::MutableBytes* plain) {
  const bool has_explicit = !suite_.tls13 && suite_.gcm;
  const size_t around = kTag + (has_explicit ? kExplicit : 0);
  if (record.size() < kRecordHeader + around) return false;
  base::MutableBytes body = record.subspan(kRecordHeader);
  *type = record[0];
  base::Bytes explicit_part;
  if (has_explicit) {
    explicit_part = body.first(kExplicit);
    body = body.subspan(kExplicit);
  }
  const base::MutableBytes tag = body.subspan(body.size() - kTag);
  body = body.first(body.size() - kTag);
  uint8_t extra[13];
  size_t extra_bytes = kRecordHeader;
  if (suite_.tls13) {
    std::memcpy(extra, record.data(), kRecordHeader);
  } else {
    put_number(traffic_.in.number, extra);
    extra[8] = *type;
    extra[9] = record[1];
    extra[10] = record[2];
    extra[11] = static_cast<uint8_t>(body.size() >> 8);
    extra[12] = static_cast<uint8_t>(body.size());
    extra_bytes = sizeof extra;
  }
  uint8_t nonce[12];
  make_nonce(in_, traffic_.in.number, explicit_part, nonce);
  EVP_CIPHER_CTX* const c = in_.cipher;
  int n = 0;
  uint8_t none[16];
  const bool good = EVP_CipherInit_ex(c, nullptr, nullptr, nullptr, nonce, 0) == 1 &&
                    EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, kTag, tag.data()) == 1 &&
                    EVP_DecryptUpdate(c, nullptr, &n, extra, static_cast<int>(extra_bytes)) == 1 &&
                    (body.empty() || EVP_DecryptUpdate(c, body.data(), &n, body.data(),
                                                       static_cast<int>(body.size())) == 1) &&
                    EVP_DecryptFinal_ex(c, none, &n) == 1;
  if (!good) return false;
  ++traffic_.in.number;
  if (suite_.tls13) {
    // Zeros, before them the type (RFC 8446 section 5.4).
    while (!body.empty() && body.back() == 0) body = body.first(body.size() - 1);
    *type = body.empty() ? 0 : body.back();
    if (!body.empty()) body = body.first(body.size() - 1);
  }
  *plain = body;
  return true;
}

Received Carried::fail(Received out, uint8_t alert, const char* reason, base::MutableBytes said,
                       size_t* said_bytes) {
  out.status = Status::kFailed;
  out.failure = alert == kBadRecordMac || alert == kRecordOverflow ? Failure::kBadRecord
                                                                   : Failure::kBadMessage;
  out.reason = reason;
  const uint8_t message[2] = {kFatal, alert};
  if (!shut_) *said_bytes += seal_record(kAlert, message, said.subspan(*said_bytes));
  shut_ = over_ = true;
  return out;
}

Received Carried::receive(base::MutableBytes records, base::MutableBytes said, size_t* said_bytes) {
  Received out;
  *said_bytes = 0;
  for (size_t at = 0; at < records.size();) {
    const base::MutableBytes rest = records.subspan(at);
    TG_ASSERT(rest.size() >= kRecordHeader);
    const size_t size = kRecordHeader + (static_cast<size_t>(rest[3]) << 8 | rest[4]);
    if (size > kRecordBytesMax || size > rest.size()) {
      return fail(out, kRecordOverflow, "a record is too long", said, said_bytes);
    }
    const base::MutableBytes record = rest.first(size);
    at += size;
    if (suite_.tls13 && record[0] != kApplicationData) {
      return fail(out, kUnexpectedMessage, "a record in the clear", said, said_bytes);
    }
    uint8_t type = 0;
    base::MutableBytes plain;
    if (!open_record(record, &type, &plain)) {
      return fail(out, kBadRecordMac, "a record that does not decrypt", said, said_bytes);
    }
    if (plain.size() > kRecordPlainMax) {
      return fail(out, kRecordOverflow, "a record is too long", said, said_bytes);
    }
    if (type == kApplicationData && !plain.empty()) {
      vain_records_ = 0;
    } else if (++vain_records_ > kVainRecordsMax) {
      return fail(out, kUnexpectedMessage, "too many records with nothing in them", said,
                  said_bytes);
    }
    if (type == kApplicationData) {
      std::memmove(records.data() + out.plain_bytes, plain.data(), plain.size());
      out.plain_bytes += plain.size();
    } else if (type == kAlert) {
      if (plain.size() != 2) return fail(out, kDecodeError, "a broken alert", said, said_bytes);
      if (plain[1] == kCloseNotify) {
        out.status = Status::kClosed;
        return out;
      }
      const bool mild = suite_.tls13 ? plain[1] == kUserCanceled
                                     : plain[0] == kWarning && plain[1] != kNoRenegotiation;
      if (mild) continue;
      out.status = Status::kFailed;
      out.failure = Failure::kPeerAlert;
      out.reason = "an alert";
      shut_ = over_ = true;
      return out;
    } else if (type == kHandshake && suite_.tls13 && plain.size() == 5 && plain[0] == kKeyUpdate &&
               plain[1] == 0 && plain[2] == 0 && plain[3] == 1 && plain[4] <= kUpdateRequested) {
      if (plain[4] == kUpdateRequested) traffic_.key_update_owed = true;
      if (!update_key(in_, traffic_.in, false)) {
        return fail(out, kUnexpectedMessage, "no key could be made", said, said_bytes);
      }
    } else {
      return fail(out, kUnexpectedMessage, "a message out of place", said, said_bytes);
    }
  }
  return out;
}

size_t Carried::seal(base::Bytes plain, base::MutableBytes out) {
  if (over_ || shut_) return 0;
  size_t size = 0;
  if (traffic_.key_update_owed) {
    const uint8_t update[5] = {kKeyUpdate, 0, 0, 1, 0};
    size = seal_record(kHandshake, update, out);
    if (size == 0 || !update_key(out_, traffic_.out, true)) {
      over_ = true;
      return 0;
    }
    traffic_.key_update_owed = false;
  }
  const size_t record = seal_record(kApplicationData, plain, out.subspan(size));
  return record == 0 ? 0 : size + record;
}

size_t Carried::shut_down(base::MutableBytes out) {
  if (over_ || shut_) return 0;
  const uint8_t message[2] = {kWarning, kCloseNotify};
  const size_t size = seal_record(kAlert, message, out);
  shut_ = true;
  return size;
}

bool Carried::read(Traffic* out) const {
  if (over_ || shut_) return false;
  *out = traffic_;
  return true;
}

}  // namespace tidegate::tls
