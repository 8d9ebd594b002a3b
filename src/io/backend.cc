// SPDX-License-Identifier: Apache-2.0
#include "io/backend.h"

#include "io/epoll_io.h"
#include "io/uring_io.h"

namespace tidegate::io {

bool backend_from(std::string_view name, BackendKind* out) {
  for (const BackendKind kind : {BackendKind::kAuto, BackendKind::kUring, BackendKind::kEpoll}) {
    if (name != name_of(kind)) continue;
    *out = kind;
    return true;
  }
  return false;
}

const char* name_of(BackendKind kind) {
  switch (kind) {
    case BackendKind::kUring:
      return "io_uring";
    case BackendKind::kEpoll:
      return "epoll";
    case BackendKind::kAuto:
      break;
  }
  return "auto";
}

MadeBackend make_backend(BackendKind wanted, const IoLimits& limits) {
  MadeBackend made;
  if (wanted != BackendKind::kEpoll) {
    auto ring = UringIo::make(limits, &made.error);
    made.kind = BackendKind::kUring;
    if (ring.ok()) {
      made.io = std::move(ring).value();
      return made;
    }
    made.status = ring.status();
    const bool refused =
        made.status == IoStatus::kKernelTooOld || made.status == IoStatus::kRefused;
    if (wanted == BackendKind::kUring || !refused) return made;
  }
  SetupError error;
  auto epoll = EpollIo::make(limits, &error);
  made.kind = BackendKind::kEpoll;
  if (epoll.ok()) {
    made.status = IoStatus::kOk;
    made.io = std::move(epoll).value();
  } else {
    made.status = epoll.status();
    made.error = error;
  }
  return made;
}

}  // namespace tidegate::io
