// SPDX-License-Identifier: Apache-2.0
// Where TLS records begin and end (RFC 8446 section 5.1). Sessions are fed whole records only, so
// that the library never holds a buffer of 17 KB for a peer that sends half a record and waits: the
// half lies in the caller's own bounded buffers.
// Thread: any. Owner: none. Limits: kRecordBytesMax.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace tidegate::tls {

inline constexpr size_t kRecordHeader = 5;
inline constexpr size_t kRecordPlainMax = 16 * 1024;
// What the library takes: payload, the expansion that both versions allow our suites, its slack.
// A longer one is fed by its header, for which the library answers record_overflow.
inline constexpr size_t kRecordBytesMax = kRecordHeader + kRecordPlainMax + 256 + 64;
// What a record of ours is longer than its payload: header, explicit nonce, tag, content type.
inline constexpr size_t kRecordExpansionMax = kRecordHeader + 8 + 16 + 1;
// What sealing may write besides the record: the answer to a peer's key update stands before it.
inline constexpr size_t kSealRoom = kRecordExpansionMax + 64;

// A ClientHello that says it is longer is refused: the library would set aside what it says, up to
// 131 KB, before a byte of it has come. Real ones have 0.3 to 4 KB.
inline constexpr size_t kHelloBytesMax = 16 * 1024;

struct Records {
  size_t whole = 0;      // bytes of whole records at the beginning: feed so many
  size_t need = 0;       // size of the record that begins behind them; 0: unknown or none begins
  bool broken = false;   // what follows `whole` is no record: feed it whole as well, it will fail
  bool not_tls = false;  // it does not even look like one; no need to ask the library
};

// Walks over the headers: a few instructions for each record.
inline Records cut_records(base::Bytes bytes) {
  Records r;
  while (bytes.size() - r.whole >= kRecordHeader) {
    const uint8_t* at = bytes.data() + r.whole;
    const size_t size = kRecordHeader + (static_cast<size_t>(at[3]) << 8 | at[4]);
    if (at[0] < 20 || at[0] > 23 || at[1] != 3) {
      r.not_tls = true;
      return r;
    }
    if (size > kRecordBytesMax) {
      r.broken = true;
      r.whole += kRecordHeader;
      return r;
    }
    if (size > bytes.size() - r.whole) {
      r.need = size;
      return r;
    }
    r.whole += size;
  }
  // A first byte or two may already say enough.
  if (bytes.size() > r.whole) {
    const uint8_t* at = bytes.data() + r.whole;
    r.not_tls = at[0] < 20 || at[0] > 23 || (bytes.size() > r.whole + 1 && at[1] != 3);
  }
  return r;
}

// Of records that are to begin with a ClientHello: whether its length is in bounds, and known.
inline bool hello_length_good(base::Bytes records) {
  for (size_t at = 0; at + kRecordHeader <= records.size();) {
    const uint8_t* record = records.data() + at;
    const size_t size = static_cast<size_t>(record[3]) << 8 | record[4];
    if (record[0] == 22) {
      const uint8_t* message = record + kRecordHeader;
      if (size < 4 || at + kRecordHeader + 4 > records.size()) return false;
      const size_t length =
          static_cast<size_t>(message[1]) << 16 | static_cast<size_t>(message[2]) << 8 | message[3];
      return message[0] != 1 || length <= kHelloBytesMax;
    }
    at += kRecordHeader + size;
  }
  return true;
}

}  // namespace tidegate::tls
