// SPDX-License-Identifier: Apache-2.0
// tidegate: command line.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <new>

#include "commands.h"
#include "doctor.h"
#include "server/seccomp.h"

namespace {

// Without memory there is nothing to be saved; what matters is that it is said and that the
// process ends as after any other error, not by an exception that nobody catches.
void out_of_memory() {
  constexpr char kText[] =
      "tidegate: the system gives no more memory: lower the limits, or allow the process more\n";
  (void)!::write(STDERR_FILENO, kText, sizeof kText - 1);
  _exit(1);
}

}  // namespace

int main(int argc, char** argv) {
  std::set_new_handler(out_of_memory);
  using namespace tidegate::program;
  // --section.key=value belongs to the configuration and is taken out before the rest is parsed.
  std::vector<std::string> flags;
  std::vector<const char*> rest = {argv[0]};
  for (int i = 1; i < argc; ++i) {
    if (tidegate::control::is_config_flag(argv[i])) {
      flags.emplace_back(argv[i]);
    } else {
      rest.push_back(argv[i]);
    }
  }

  CLI::App app("tidegate " TIDEGATE_VERSION ", edge server for real-time multiplayer worlds",
               "tidegate");
  app.set_version_flag("--version", TIDEGATE_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Every configuration key is also a flag: --limits.connections=100, and a variable: "
      "TIDEGATE_LIMITS_CONNECTIONS=100.");
  Common common;
  common.flags = flags;

  CLI::App* serve_command = app.add_subcommand("serve", "run the server");
  serve_command->add_option("--config", common.config_file, "TOML file");
  // Made by the process that is to be taken over.
  int upgrade_channel = -1;
  serve_command->add_option("--upgrade-channel", upgrade_channel)->group("");

  DemoOptions demo_options;
  CLI::App* demo_command =
      app.add_subcommand("demo", "run the server on embedded defaults with bots, show figures");
  demo_command->add_option("--bots", demo_options.bots, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1'000'000u));
  demo_command->add_option("--duration", demo_options.duration, "such as 20s; default: until ^C");
  demo_command->add_flag("--headless", demo_options.headless, "no live figures, result at the end");
  demo_command->add_option("--json", demo_options.json, "file for the result");

  std::string user;
  std::string character;
  std::string ttl = "1h";
  std::vector<std::string> permissions;
  CLI::App* token_command = app.add_subcommand("token", "make an HS256 token for development");
  token_command->add_option("--config", common.config_file, "TOML file");
  token_command->add_option("--user", user, "the token's sub")->required();
  token_command->add_option("--character", character, "character_id");
  token_command->add_option("--ttl", ttl, "how long it is valid")->capture_default_str();
  token_command->add_option("--permission", permissions, "may be repeated");

  bool explain = false;
  CLI::App* check_command =
      app.add_subcommand("check-config", "read a configuration and say what is wrong with it");
  check_command->add_option("file,--config", common.config_file, "TOML file");
  check_command->add_flag("--explain", explain, "print every value and where it came from");

  DoctorOptions doctor_options;
  CLI::App* doctor_command =
      app.add_subcommand("doctor", "say what of this machine keeps the server from running well");
  doctor_command->add_option("--config", common.config_file, "TOML file");
  doctor_command->add_option("--root", doctor_options.root, "where proc and sys are looked for")
      ->capture_default_str();
  doctor_command->add_flag("--strict", doctor_options.strict, "fail on warnings too");

  CLI::App* profile_command =
      app.add_subcommand("seccomp-profile", "print a seccomp profile for containers (JSON)");

  if (rest.size() == 1) {
    std::fputs(app.help().c_str(), stderr);
    return 2;
  }
  const auto named = [&](const CLI::App* command) { return command->get_name() == rest[1]; };
  if (rest[1][0] != '-' && app.get_subcommands(named).empty()) {
    std::fprintf(stderr, "tidegate: there is no command %s; tidegate --help lists them\n", rest[1]);
    return 2;
  }
  CLI11_PARSE(app, static_cast<int>(rest.size()), rest.data());
  if (serve_command->parsed()) return serve(common, {argv, argv + argc}, upgrade_channel);
  if (token_command->parsed()) return mint_token(common, user, character, ttl, permissions);
  if (profile_command->parsed()) {
    std::fputs(tidegate::server::seccomp_profile().c_str(), stdout);
    return 0;
  }
  if (check_command->parsed()) return check_config(common, explain);
  if (doctor_command->parsed()) {
    doctor_options.common = common;
    return doctor(doctor_options);
  }
  demo_options.common = common;
  return demo(demo_options);
}
