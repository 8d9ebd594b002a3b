// SPDX-License-Identifier: Apache-2.0
// Faults for tests that are linked with faults.cc; the rules stand there.
// Thread: any for what fails, the test's for these. Owner: none. Limits: see faults.cc.
#pragma once

#include <cstdint>

namespace tidegate::faults {

void set(const char* rules);  // "": none
// How many calls of "recv", "sendmsg", "accept4" or "epoll_ctl" failed or were cut since set().
uint64_t count(const char* call);

}  // namespace tidegate::faults
