// SPDX-License-Identifier: Apache-2.0
// The server's own seccomp filter: once it serves, the kernel refuses every system call that it
// does not need, on all threads and for good. No new program, no memory that becomes code, no
// process besides threads, whatever a bug of ours lets a stranger do.
// Thread: setup; installs for all threads. Owner: none. Limits: seccomp_calls.h.
#pragma once

#include <string>

namespace tidegate::server {

enum class SeccompMode : unsigned char {
  kOff,
  kRefuse,  // what is not in the list fails with EPERM
  kKill,    // ... ends the process: for tests, which notice it so
};

// False with what went wrong; nothing is in force then.
[[nodiscard]] bool install_seccomp(SeccompMode mode, std::string* error);

// The profile for containers, JSON as Docker, Podman and Kubernetes read it: all calls of the list,
// also those of the start.
std::string seccomp_profile();

}  // namespace tidegate::server
