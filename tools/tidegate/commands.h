// SPDX-License-Identifier: Apache-2.0
// The subcommands of `tidegate`. Each returns the exit status: 0, 1 for a failure of the
// environment, 2 for wrong usage or configuration; what was wrong is on stderr.
// Thread: main. Owner: none. Limits: none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/config.h"

namespace tidegate::program {

struct Common {
  std::string config_file;         // empty: defaults
  std::vector<std::string> flags;  // --section.key=value
};

struct DemoOptions {
  Common common;
  uint32_t bots = 500;
  std::string duration;  // "20s"; empty: until interrupted
  bool headless = false;
  std::string json;  // file for the result; empty: none
};

// `upgrade_channel`: of the process to be taken over, -1: there is none. `arguments`: as this was
// started.
int serve(const Common& common, const std::vector<std::string>& arguments, int upgrade_channel);
int demo(const DemoOptions& options);
int mint_token(const Common& common, const std::string& user, const std::string& character,
               const std::string& ttl, const std::vector<std::string>& permissions);
int check_config(const Common& common, bool explain);

// Reads the configuration as all subcommands do; prints its errors.
bool load(const Common& common, control::LoadedConfig* out);
// One number and one unit of ms, s, m, h. False: not of this form.
bool parse_seconds(const std::string& text, double* seconds);

// Set by SIGINT and SIGTERM; the signal after `asked` of them ends the process.
void install_signals(int asked = 1);
bool stop_requested();

}  // namespace tidegate::program
