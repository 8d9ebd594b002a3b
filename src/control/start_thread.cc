// SPDX-License-Identifier: Apache-2.0
#include "control/start_thread.h"

#include <system_error>
#include <utility>

namespace tidegate::control {

bool start_thread(std::thread* out, std::function<void()> work, std::string* error) {
  try {
    *out = std::thread(std::move(work));
    return true;
  } catch (const std::system_error& e) {
    *error = std::string("the system gives no more threads: ") + e.what() +
             " (RLIMIT_NPROC, TasksMax= in systemd, pids.max of the cgroup)";
    return false;
  }
}

}  // namespace tidegate::control
