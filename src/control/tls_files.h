// SPDX-License-Identifier: Apache-2.0
// From the files that tls.certificates names to what listeners need. `check-config`, the start and
// every reload read them this way.
// Thread: setup, control. Owner: none. Limits: tls::kPemBytesMax for a file.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "control/config.h"
#include "tls/server_context.h"

namespace tidegate::control {

// Null with `error`, which names the file. `warnings`: expired or soon so.
std::shared_ptr<const tls::ServerContext> load_tls_blocking(const Config::Tls& config,
                                                            int64_t unix_seconds,
                                                            std::string* error,
                                                            std::vector<std::string>* warnings);

}  // namespace tidegate::control
