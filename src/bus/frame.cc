// SPDX-License-Identifier: Apache-2.0
#include "bus/frame.h"

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tidegate::bus {
namespace {

constexpr uint8_t kMagic[3] = {'T', 'G', 'B'};
constexpr uint8_t kVersion = 1;
constexpr uint8_t kFresh = 1;      // a flag
constexpr size_t kHeadBytes = 16;  // magic, version, kind, name length, flags, unused, epoch
constexpr size_t kMailBytes = 3 * 8 + 4 + 5 * 2;

template <class T>
void put(T value, std::vector<uint8_t>* out) {
  const size_t at = out->size();
  out->resize(at + sizeof value);
  base::store_le(out->data() + at, value);
}

}  // namespace

std::vector<uint8_t> write_head(FrameKind kind, uint64_t epoch, std::string_view sender,
                                bool fresh) {
  TG_ASSERT(sender.size() <= kNameBytesMax);
  std::vector<uint8_t> out(kHeadBytes + sender.size());
  std::memcpy(out.data(), kMagic, sizeof kMagic);
  out[3] = kVersion;
  out[4] = static_cast<uint8_t>(kind);
  out[5] = static_cast<uint8_t>(sender.size());
  out[6] = fresh ? kFresh : 0;
  base::store_le(out.data() + 8, epoch);
  if (!sender.empty()) std::memcpy(out.data() + kHeadBytes, sender.data(), sender.size());
  return out;
}

bool read_frame(base::Bytes bytes, Frame* out) {
  if (bytes.size() < kHeadBytes || bytes.size() > kFrameBytesMax) return false;
  if (std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0 || bytes[3] != kVersion) return false;
  const size_t name = bytes[5];
  if (bytes[4] < 1 || bytes[4] > 4 || name == 0 || name > kNameBytesMax ||
      bytes.size() < kHeadBytes + name) {
    return false;
  }
  out->kind = static_cast<FrameKind>(bytes[4]);
  out->fresh = (bytes[6] & kFresh) != 0;
  out->epoch = base::load_le<uint64_t>(bytes.data() + 8);
  out->sender = base::as_text(bytes.subspan(kHeadBytes, name));
  out->body = bytes.subspan(kHeadBytes + name);
  return true;
}

void append_population(const Population& p, std::vector<uint8_t>* out) {
  const size_t at = out->size();
  out->resize(at + sizeof p);
  std::memcpy(out->data() + at, &p, sizeof p);
}

bool read_population(base::Bytes body, Population* out) {
  *out = {};
  std::memcpy(out, body.data(), std::min(body.size(), sizeof *out) & ~size_t{7});
  return body.size() % 8 == 0;
}

void append_era(uint64_t era, std::vector<uint8_t>* out) { put<uint64_t>(era, out); }

uint64_t read_era(base::Bytes heartbeat) {
  if (heartbeat.size() < sizeof(Population) + sizeof(uint64_t)) return 0;
  return base::load_le<uint64_t>(heartbeat.data() + sizeof(Population));
}

void append_sent(uint64_t all, std::vector<uint8_t>* out) { put<uint64_t>(all, out); }

void append_sent_to(uint64_t member, uint64_t direct, std::vector<uint8_t>* out) {
  put<uint64_t>(member, out);
  put<uint64_t>(direct, out);
}

bool read_sent(base::Bytes heartbeat, uint64_t member, SentCounts* out) {
  constexpr size_t kAt = sizeof(Population) + sizeof(uint64_t);
  if (heartbeat.size() < kAt + 8) return false;
  out->all = base::load_le<uint64_t>(heartbeat.data() + kAt);
  for (size_t at = kAt + 8; at + 16 <= heartbeat.size(); at += 16) {
    if (base::load_le<uint64_t>(heartbeat.data() + at) != member) continue;
    out->direct = base::load_le<uint64_t>(heartbeat.data() + at + 8);
    return true;
  }
  return false;
}

void append_mark(Mark mark, uint64_t view, uint64_t era, std::vector<uint8_t>* out) {
  put<uint8_t>(static_cast<uint8_t>(mark), out);
  put<uint64_t>(view, out);
  put<uint64_t>(era, out);
}

bool read_mark(base::Bytes body, Mark* mark, uint64_t* view, uint64_t* era) {
  if (body.size() != 17 || body[0] < 1 || body[0] > 2) return false;
  *mark = static_cast<Mark>(body[0]);
  *view = base::load_le<uint64_t>(body.data() + 1);
  *era = base::load_le<uint64_t>(body.data() + 9);
  return true;
}

void append_mail(const mailbox::BusMail& mail, std::vector<uint8_t>* out) {
  put<uint64_t>(mail.a, out);
  put<uint64_t>(mail.b, out);
  put<uint64_t>(mail.c, out);
  put<uint32_t>(mail.d, out);
  put<uint16_t>(static_cast<uint16_t>(mail.op), out);
  put<uint16_t>(mail.shard, out);
  put<uint16_t>(mail.name_bytes, out);
  put<uint16_t>(mail.extra_bytes, out);
  put<uint16_t>(mail.flags, out);
}

bool read_mail(base::Bytes body, mailbox::BusMail* mail, base::Bytes* tail) {
  if (body.size() < kMailBytes) return false;
  const uint8_t* p = body.data();
  *mail = {};
  mail->a = base::load_le<uint64_t>(p);
  mail->b = base::load_le<uint64_t>(p + 8);
  mail->c = base::load_le<uint64_t>(p + 16);
  mail->d = base::load_le<uint32_t>(p + 24);
  mail->op = static_cast<mailbox::BusOp>(base::load_le<uint16_t>(p + 28));
  mail->shard = base::load_le<uint16_t>(p + 30);
  mail->name_bytes = base::load_le<uint16_t>(p + 32);
  mail->extra_bytes = base::load_le<uint16_t>(p + 34);
  mail->flags = base::load_le<uint16_t>(p + 36);
  *tail = body.subspan(kMailBytes);
  return tail->size() >= size_t{mail->name_bytes} + mail->extra_bytes;
}

}  // namespace tidegate::bus
