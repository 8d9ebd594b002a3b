// SPDX-License-Identifier: Apache-2.0
// One GET over https by libcurl: for key sets. Certificates are checked, redirects are not
// followed, and the answer is bounded in size and time. Thread: a thread that may block. Owner:
// none. Limits: FetchLimits.
#pragma once

#include <cstddef>
#include <string>

namespace tidegate::control {

struct FetchLimits {
  size_t bytes_max = 256 * 1024;
  long timeout_ms = 5000;
  std::string ca_file;  // PEM; empty: those of the system
};

// False with text in `error`; http:// is spoken with loopback addresses only.
[[nodiscard]] bool fetch_blocking(const std::string& url, const FetchLimits& limits,
                                  std::string* body, std::string* error);

// Null when the URL may be fetched, else what is wrong with it.
const char* check_fetch_url(const std::string& url);

}  // namespace tidegate::control
