// SPDX-License-Identifier: Apache-2.0
// Starts a thread, or says that the system gives none, where std::thread would throw.
// Thread: setup. Owner: the caller joins it. Limits: none.
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace tidegate::control {

// False with `error` set.
[[nodiscard]] bool start_thread(std::thread* out, std::function<void()> work, std::string* error);

}  // namespace tidegate::control
