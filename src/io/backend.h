// SPDX-License-Identifier: Apache-2.0
// Which of the machine's backends a shard gets: io_uring, or epoll where the machine refuses that.
// Thread: setup. Owner: the caller owns what is made. Limits: IoLimits.
#pragma once

#include <memory>
#include <string_view>

#include "io/io.h"

namespace tidegate::io {

enum class BackendKind : uint8_t { kAuto, kUring, kEpoll };

// As in `io.backend`: "auto", "io_uring", "epoll". False: none of them.
bool backend_from(std::string_view name, BackendKind* out);
const char* name_of(BackendKind kind);

struct MadeBackend {
  std::unique_ptr<Io> io;                  // null: it failed
  BackendKind kind = BackendKind::kUring;  // which it became
  IoStatus status = IoStatus::kOk;         // of the failure
  SetupError error;                        // of the failure, or why epoll took the place
};

// kAuto takes epoll only when the kernel, a sandbox or a security module refuses io_uring; what the
// operator can give it (memory, descriptors) stays an error.
MadeBackend make_backend(BackendKind wanted, const IoLimits& limits);

}  // namespace tidegate::io
