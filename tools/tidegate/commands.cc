// SPDX-License-Identifier: Apache-2.0
#include "commands.h"

#include <signal.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

#include "base/log.h"
#include "control/auth_service.h"
#include "control/tls_files.h"
#include "crypto/jwt_sign.h"
#include "io/probe.h"
#include "server/seccomp.h"
#include "server/server.h"
#include "service_notify.h"

extern char** environ;

namespace tidegate::program {
namespace {

volatile sig_atomic_t stop_signals = 0;
volatile sig_atomic_t stop_signals_taken = 1;
volatile sig_atomic_t reload_signals = 0;
volatile sig_atomic_t upgrade_signals = 0;
std::atomic<base::LogLevel> log_level{base::LogLevel::kInfo};

// One write for each line: several threads log.
void log_line(base::LogLevel level, std::string_view text) {
  if (level < log_level.load(std::memory_order_relaxed)) return;
  static constexpr const char* kNames[] = {"debug", "info", "warning", "error", "fatal"};
  std::string line = std::string("tidegate: ") + kNames[static_cast<size_t>(level)] + ": ";
  line.append(text).append("\n");
  (void)!::write(STDERR_FILENO, line.data(), line.size());
}

void on_stop(int) {
  if (stop_signals >= stop_signals_taken) _exit(130);
  stop_signals = stop_signals + 1;
}

void on_reload(int) { reload_signals = 1; }
void on_upgrade(int) { upgrade_signals = 1; }

base::LogLevel level_of(const std::string& name) {
  return name == "debug"     ? base::LogLevel::kDebug
         : name == "warning" ? base::LogLevel::kWarn
         : name == "error"   ? base::LogLevel::kError
                             : base::LogLevel::kInfo;
}

control::LoadedConfig read_config(const Common& common);

std::vector<std::pair<std::string, std::string>> environment() {
  std::vector<std::pair<std::string, std::string>> out;
  for (char** e = environ; *e != nullptr; ++e) {
    const char* equals = std::strchr(*e, '=');
    if (std::strncmp(*e, "TIDEGATE_", 9) == 0 && equals != nullptr) {
      out.emplace_back(std::string(*e, static_cast<size_t>(equals - *e)), equals + 1);
    }
  }
  return out;
}

}  // namespace

void install_signals(int asked) {
  stop_signals_taken = asked;
  struct sigaction action{};
  action.sa_handler = on_stop;
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

bool stop_requested() { return stop_signals != 0; }

bool parse_seconds(const std::string& text, double* seconds) {
  char* end = nullptr;
  const double n = std::strtod(text.c_str(), &end);
  const std::string unit = end;
  const double scale = unit == "ms"  ? 0.001
                       : unit == "s" ? 1
                       : unit == "m" ? 60
                       : unit == "h" ? 3600
                                     : 0;
  if (end == text.c_str() || scale == 0 || !(n > 0) || n * scale > 1e9) return false;
  *seconds = n * scale;
  return true;
}

namespace {

// As all subcommands read it; what is wrong stands in the result.
control::LoadedConfig read_config(const Common& common) {
  control::ConfigInput input;
  if (!common.config_file.empty()) {
    input.file_name = common.config_file;
    std::string error;
    if (!control::read_file_blocking(common.config_file, control::kConfigBytesMax, &input.file_text,
                                     &error)) {
      control::LoadedConfig failed;
      failed.errors.push_back(error);
      failed.error_keys.emplace_back();
      return failed;
    }
  }
  input.environment = environment();
  input.flags = common.flags;
  return control::load_config(input);
}

}  // namespace

bool load(const Common& common, control::LoadedConfig* out) {
  *out = read_config(common);
  for (const std::string& error : out->errors) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
  }
  return out->ok();
}

namespace {

// Starts the program that lies where this one was started from, which may be a newer one by now,
// and gives it everything. The process that serves from now on; -1: this one goes on.
int run_upgrade(server::Server* server, std::vector<std::string> arguments) {
  int ends[2];
  std::string error;
  if (!handover::Channel::make_pair(ends, &error)) {
    log_line(base::LogLevel::kError, "upgrade: " + error);
    return -1;
  }
  constexpr std::string_view kOption = "--upgrade-channel";
  for (size_t i = 1; i < arguments.size(); ++i) {  // this one may be the fruit of an upgrade itself
    if (!arguments[i].starts_with(kOption)) continue;
    arguments.erase(arguments.begin() + static_cast<ptrdiff_t>(i));
    break;
  }
  // For a moment each socket has a number in both processes.
  if (rlimit files{}; getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &files);
  }
  constexpr int kChannel = 3;
  arguments.push_back(std::string(kOption) + "=" + std::to_string(kChannel));
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kChannel);
  pid_t pid = -1;
  const int failed = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  if (failed != 0) {
    ::close(ends[0]);
    log_line(base::LogLevel::kError, "upgrade: " + arguments[0] + " cannot be started: " +
                                         std::strerror(failed) + "; this process goes on");
    return -1;
  }
  log_line(base::LogLevel::kInfo, "upgrade: process " + std::to_string(pid) + " is being set up");
  if (server->hand_over(ends[0], &error)) return pid;
  // It ends by itself when its channel does.
  int status = 0;
  for (int i = 0; i < 500 && waitpid(pid, &status, WNOHANG) == 0; ++i) usleep(10'000);
  return -1;
}

}  // namespace

int serve(const Common& common, const std::vector<std::string>& arguments, int upgrade_channel) {
  control::LoadedConfig loaded;
  if (!load(common, &loaded)) return 2;
  log_level = level_of(loaded.config.log.level);
  base::set_log_hook(log_line);
  // systemd's watchdog is told by whoever is the service; the variable names the process before.
  if (upgrade_channel >= 0) unsetenv("WATCHDOG_PID");
  ServiceNotify notify;
  std::string error;
  const std::unique_ptr<server::Server> server =
      upgrade_channel >= 0 ? server::Server::inherit(loaded.config, upgrade_channel, &error)
                           : server::Server::make(loaded.config, &error);
  if (server) {
    server->set_reload(
        [&common] { return read_config(common); },
        [](const control::Config& config) { log_level = level_of(config.log.level); });
    // The filter lets nobody start a program.
    if (loaded.config.security.seccomp == "off") server->allow_upgrades();
  }
  if (!server || !server->start(&error)) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
    return 1;
  }
  const std::string& seccomp = loaded.config.security.seccomp;
  const auto mode = seccomp == "kill"     ? server::SeccompMode::kKill
                    : seccomp == "refuse" ? server::SeccompMode::kRefuse
                                          : server::SeccompMode::kOff;
  if (!server::install_seccomp(mode, &error)) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
    server->stop({});
    return 1;
  }
  install_signals(2);
  struct sigaction reload{};
  reload.sa_handler = on_reload;
  sigaction(SIGHUP, &reload, nullptr);
  struct sigaction upgrade{};
  upgrade.sa_handler = on_upgrade;
  sigaction(SIGUSR2, &upgrade, nullptr);
  control::Address websocket = loaded.config.listen.websocket;
  websocket.port = server->websocket_port();
  std::printf("tidegate %s, memory reserved by limits: %.1f MiB of address space\n",
              TIDEGATE_VERSION, static_cast<double>(server->memory_reserved()) / (1 << 20));
  if (server->admin_port() != 0) {
    control::Address admin = loaded.config.admin.listen;
    admin.port = server->admin_port();
    std::printf("admin listening on %s\n", admin.text().c_str());
  }
  if (server->tls_port() != 0) {
    control::Address tls = loaded.config.listen.tls;
    tls.port = server->tls_port();
    std::printf("tls listening on %s\n", tls.text().c_str());
  }
  std::printf("websocket listening on %s\n", websocket.text().c_str());
  std::fflush(stdout);
  const std::string status = "websocket on " + websocket.text();
  notify.ready(status);
  int signals = 0;
  bool stopping = false;
  while (server->drain_stage() != server::DrainStage::kOver) {
    if (reload_signals != 0) {
      reload_signals = 0;
      notify.reloading();
      server->reload();
      notify.ready(status);
    }
    if (upgrade_signals != 0 || server->take_upgrade_request()) {
      upgrade_signals = 0;
      if (loaded.config.security.seccomp != "off") {
        log_line(base::LogLevel::kError,
                 "upgrade: security.seccomp keeps this process from starting another; restart "
                 "instead");
        continue;
      }
      if (const int pid = run_upgrade(server.get(), arguments); pid > 0) {
        notify.moved_to(pid);
        return 0;
      }
    }
    if (signals == 0 && stop_signals >= 1) {
      signals = 1;
      std::printf("stopping: clients are told; a second signal ends it at once\n");
      std::fflush(stdout);
      server->begin_drain();
    }
    if (signals == 1 && stop_signals >= 2) {
      signals = 2;
      server->force_drain();
    }
    if (!stopping && server->drain_stage() != server::DrainStage::kServing) {
      stopping = true;
      notify.stopping();
    }
    notify.watchdog(server->alive());
    // A signal ends the pause; waking 50 times a second costs a server with little to do 1 %.
    usleep(signals == 0 && !stopping ? 100'000 : 20'000);
  }
  server->stop(base::milliseconds(500));
  return 0;
}

int mint_token(const Common& common, const std::string& user, const std::string& character,
               const std::string& ttl, const std::vector<std::string>& permissions) {
  control::LoadedConfig loaded;
  if (!load(common, &loaded)) return 2;
  double seconds = 0;
  if (!parse_seconds(ttl, &seconds)) {
    std::fprintf(stderr, "tidegate: --ttl %s: expected a duration such as 30m or 1h\n",
                 ttl.c_str());
    return 2;
  }
  std::string secret;
  std::string error;
  if (!control::read_hs256_secret_blocking(loaded.config.auth, &secret, &error)) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
    return 2;
  }
  crypto::MintClaims claims;
  claims.subject = user;
  claims.character_id = character;
  claims.issuer = loaded.config.auth.issuer;
  claims.audience = loaded.config.auth.audience;
  claims.permissions = permissions;
  claims.issued_at = std::time(nullptr);
  claims.expires_at = claims.issued_at + static_cast<int64_t>(seconds);
  const std::string token = crypto::mint(secret, claims);
  if (token.empty()) {
    std::fprintf(stderr, "tidegate: the secret is too short: at least 32 bytes\n");
    return 2;
  }
  std::printf("%s\n", token.c_str());
  return 0;
}

int check_config(const Common& common, bool explain) {
  control::LoadedConfig loaded;
  if (!load(common, &loaded)) return 2;
  std::string error;
  if (!control::AuthService::make(loaded.config.auth, &error)) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
    return 2;
  }
  if (!loaded.config.tls.certificates.empty()) {
    std::vector<std::string> warnings;
    const auto tls =
        control::load_tls_blocking(loaded.config.tls, std::time(nullptr), &error, &warnings);
    for (const std::string& warning : warnings) {
      std::fprintf(stderr, "tidegate: warning: %s\n", warning.c_str());
    }
    if (!tls) {
      std::fprintf(stderr, "tidegate: %s\n", error.c_str());
      return 2;
    }
  }
  if (explain) std::fputs(control::describe(loaded.config, loaded.sources).c_str(), stdout);
  std::printf("%s: ok\n", common.config_file.empty() ? "defaults" : common.config_file.c_str());
  return 0;
}

}  // namespace tidegate::program
