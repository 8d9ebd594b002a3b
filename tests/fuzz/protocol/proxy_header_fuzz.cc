// SPDX-License-Identifier: Apache-2.0
// A PROXY header, and the same bytes as forwarded addresses. A header that is taken whole is taken
// in no shorter piece and says the same when bytes follow.
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "protocol/forwarded.h"
#include "protocol/proxy_header.h"

using namespace tidegate;
using protocol::ProxyStatus;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  protocol::ProxyHeader header;
  const ProxyStatus status = protocol::parse_proxy_header({data, size}, &header);
  if (status == ProxyStatus::kOk) {
    if (header.bytes > size || header.bytes < 16) std::abort();
    protocol::ProxyHeader other;
    for (size_t n = 0; n < header.bytes; ++n) {
      const ProxyStatus less = protocol::parse_proxy_header({data, n}, &other);
      if (less != ProxyStatus::kNeedMore) std::abort();
    }
    std::vector<uint8_t> longer(data, data + header.bytes);
    longer.insert(longer.end(), {1, 2, 3});
    if (protocol::parse_proxy_header(longer, &other) != ProxyStatus::kOk ||
        other.bytes != header.bytes || !(other.source == header.source)) {
      std::abort();
    }
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const auto field :
       {protocol::ForwardedField::kXForwardedFor, protocol::ForwardedField::kForwarded}) {
    const base::IpAddress peer{{1}};
    (void)protocol::forwarded_client(field, text, peer,
                                     [](const base::IpAddress&) { return true; });
  }
  return 0;
}
