// SPDX-License-Identifier: Apache-2.0
// `tidegate doctor`: what of this machine keeps the server from running, or from running well, and
// what to do about it. It changes nothing.
// Thread: main. Owner: none. Limits: none.
#pragma once

#include <string>

#include "commands.h"

namespace tidegate::program {

struct DoctorOptions {
  Common common;
  std::string root = "/";  // where proc and sys are looked for; another one for tests
  bool strict = false;     // warnings count as failures
};

// 0: fit (warnings or not), 1: something the server cannot do without is missing, 2: the
// configuration cannot be read.
int doctor(const DoctorOptions& options);

}  // namespace tidegate::program
