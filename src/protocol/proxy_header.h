// SPDX-License-Identifier: Apache-2.0
// The PROXY protocol, version 2: the binary header with which a load balancer says for whom it
// connects. A pure machine over the first bytes of a connection. Version 1 (text) is not read.
//
// Who may send one is the caller's to judge; a header believed from anybody lets everybody choose
// the address that limits and logs see. Additional fields (TLVs) are passed over, but their lengths
// must add up, and a CRC32C among them must be right.
//
// Thread: any. Owner: borrows the input. Limits: kProxyHeaderMax.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/ip.h"

namespace tidegate::protocol {

inline constexpr size_t kProxyHeaderMax = 4096;  // larger ones are refused; real ones are below 600

enum class ProxyStatus : uint8_t {
  kOk,
  kNeedMore,
  kNoHeader,     // the first bytes are not the signature
  kUnsupported,  // another version, command or transport
  kMalformed,    // lengths that do not add up
  kTooLarge,     // above kProxyHeaderMax
  kBadChecksum,  // CRC32C is there and wrong
};
const char* describe(ProxyStatus status);

struct ProxyHeader {
  size_t bytes = 0;  // of the header; what follows is the client's
  bool has_address =
      false;  // false: LOCAL, or a family without addresses: the peer speaks for itself
  base::IpAddress source;  // IPv4 mapped
  uint16_t source_port = 0;
};

// `input` begins with the first byte of the connection. `out` is written when the result is kOk.
ProxyStatus parse_proxy_header(base::Bytes input, ProxyHeader* out);

// CRC-32C (Castagnoli), as PP2_TYPE_CRC32C wants it.
uint32_t crc32c(base::Bytes bytes, uint32_t crc = 0);

}  // namespace tidegate::protocol
