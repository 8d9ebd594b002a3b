// SPDX-License-Identifier: Apache-2.0
// What gateways say to each other, as bytes (docs/cluster.md): a head that names the sender and its
// epoch, and the body of one of four kinds. Little endian.
// Thread: any. Owner: values. Limits: kFrameBytesMax.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "bus/membership.h"
#include "mailbox/bus_messages.h"

namespace tidegate::bus {

inline constexpr uint32_t kFrameBytesMax = 128 << 10;
inline constexpr uint32_t kNameBytesMax = 64;  // of a gateway

enum class FrameKind : uint8_t { kHeartbeat = 1, kMark = 2, kMail = 3, kLeave = 4 };

// What a gateway says of itself with each heartbeat, for sums over all.
struct Population {
  uint64_t connections = 0;
  uint64_t players = 0;
  uint64_t entities = 0;
  uint64_t users = 0;  // with a connection; of those, by what is shown:
  uint64_t online = 0, away = 0, busy = 0, invisible = 0;
};
inline constexpr uint32_t kPopulationFields = 8;
static_assert(sizeof(Population) == kPopulationFields * 8);

struct Frame {
  FrameKind kind = FrameKind::kHeartbeat;
  uint64_t epoch = 0;
  bool fresh = false;  // the sender has never settled: it knows nothing of before
  std::string_view sender;
  base::Bytes body;
};

// The head of a frame; the body goes behind it.
std::vector<uint8_t> write_head(FrameKind kind, uint64_t epoch, std::string_view sender,
                                bool fresh = false);
// False: not a frame of this version. `out` refers to `bytes`.
bool read_frame(base::Bytes bytes, Frame* out);

void append_population(const Population& p, std::vector<uint8_t>* out);
bool read_population(base::Bytes body, Population* out);  // of newer gateways: what is known here
// A heartbeat's last value: the sender's era (membership.h); 0 when it has none to say.
void append_era(uint64_t era, std::vector<uint8_t>* out);
// Behind that, how many frames the sender has published before this one: to all, and to members by
// id. False: it does not say.
struct SentCounts {
  uint64_t all = 0;
  uint64_t direct = 0;
};
void append_sent(uint64_t all, std::vector<uint8_t>* out);
void append_sent_to(uint64_t member, uint64_t direct, std::vector<uint8_t>* out);
bool read_sent(base::Bytes heartbeat, uint64_t member, SentCounts* out);
uint64_t read_era(base::Bytes heartbeat);
void append_mark(Mark mark, uint64_t view, uint64_t era, std::vector<uint8_t>* out);
bool read_mark(base::Bytes body, Mark* mark, uint64_t* view, uint64_t* era);
// Everything but `gateways`; the tail goes behind it.
void append_mail(const mailbox::BusMail& mail, std::vector<uint8_t>* out);
bool read_mail(base::Bytes body, mailbox::BusMail* mail, base::Bytes* tail);

}  // namespace tidegate::bus
