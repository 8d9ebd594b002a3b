// SPDX-License-Identifier: Apache-2.0
// `tidegate demo`: the server in this process on embedded defaults, the bots in a tidegate-load
// beside it, live figures of both, a verdict at the end.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "commands.h"
#include "crypto/random.h"
#include "server/server.h"

namespace tidegate::program {
namespace {

std::string program_folder() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
  const std::string text(path, n > 0 ? static_cast<size_t>(n) : 0);
  return text.substr(0, text.rfind('/'));
}

struct Child {
  pid_t pid = -1;
  int out = -1;
};

Child start_bots(const std::vector<std::string>& arguments, const std::string& secret) {
  int ends[2];
  Child child;
  if (pipe2(ends, O_CLOEXEC) != 0) return child;
  // The secret goes through a file descriptor, not through the visible command line.
  int key[2];
  if (pipe2(key, O_CLOEXEC) != 0) return child;
  const std::string line = secret + '\n';
  if (write(key[1], line.data(), line.size()) != static_cast<ssize_t>(line.size())) return child;
  close(key[1]);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) {
    // The bots do not outlive a demo that is killed.
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(127);
    dup2(ends[1], 1);
    dup2(key[0], 3);
    std::vector<char*> argv;
    for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    std::fprintf(stderr, "tidegate: cannot start %s: %s\n", argv[0], std::strerror(errno));
    _exit(127);
  }
  close(ends[1]);
  close(key[0]);
  child.pid = pid;
  child.out = ends[0];
  fcntl(child.out, F_SETFL, O_NONBLOCK);
  return child;
}

// Number behind "key": in a flat JSON line; 0 when it is not there.
double field(const std::string& line, const char* key) {
  const size_t at = line.find(std::string("\"") + key + "\":");
  return at == std::string::npos ? 0
                                 : std::strtod(line.c_str() + at + std::strlen(key) + 3, nullptr);
}

// A latency of one second; none was measured in it: a dash.
std::string milliseconds(double value) {
  if (value <= 0) return "-";
  char text[32];
  std::snprintf(text, sizeof text, "%.1fms", value);
  return text;
}

// Percentiles of what a histogram took up since the last look.
class Window {
 public:
  double p99_ms(const metrics::Histogram& h) {
    uint64_t total = 0;
    uint64_t counts[metrics::Histogram::kBuckets];
    for (uint32_t i = 0; i < metrics::Histogram::kBuckets; ++i) {
      const uint64_t now = h.bucket(i);
      counts[i] = now - seen_[i];
      seen_[i] = now;
      total += counts[i];
    }
    uint64_t sum = 0;
    for (uint32_t i = 0; i < metrics::Histogram::kBuckets; ++i) {
      sum += counts[i];
      if (total != 0 && sum * 100 >= total * 99) {
        return static_cast<double>(metrics::Histogram::upper_edge(i)) / 1e6;
      }
    }
    return 0;
  }

 private:
  uint64_t seen_[metrics::Histogram::kBuckets] = {};
};

}  // namespace

int demo(const DemoOptions& options) {
  double seconds = 0;
  if (!options.duration.empty() && !parse_seconds(options.duration, &seconds)) {
    std::fprintf(stderr, "tidegate: --duration %s: expected a duration such as 20s\n",
                 options.duration.c_str());
    return 2;
  }
  Common common = options.common;
  const std::string secret = crypto::random_text(32);
  // Embedded defaults; flags and environment still win where they come later.
  std::vector<std::string> flags = {"--auth.hs256_secret=" + secret, "--world.spawn_radius=150",
                                    "--limits.connections=" + std::to_string(options.bots + 1000)};
  flags.insert(flags.end(), common.flags.begin(), common.flags.end());
  common.flags = flags;
  control::LoadedConfig loaded;
  if (!load(common, &loaded)) return 2;
  // The page gives itself players signed with the secret made here, never with one of somebody's
  // own, and only to this machine.
  control::Config::Admin& page = loaded.config.admin;
  page.live_page = page.listen.is_set() && page.listen.is_loopback();
  page.live_tokens_open = page.live_page && loaded.config.auth.hs256_secret == secret;
  // Who looks at the page sees all bots; they themselves ask for the usual distance.
  control::Config::World& world = loaded.config.world;
  if (world.view_distance == control::Config::World{}.view_distance) {
    world.view_distance = std::min(200.0F, world.cell_size * 3.125F);
  }
  std::string error;
  std::unique_ptr<server::Server> server = server::Server::make(loaded.config, &error);
  if (!server || !server->start(&error)) {
    std::fprintf(stderr, "tidegate: %s\n", error.c_str());
    return 1;
  }
  install_signals();
  control::Address websocket = loaded.config.listen.websocket;
  websocket.port = server->websocket_port();
  control::Address admin = loaded.config.admin.listen;
  admin.port = server->admin_port();
  if (page.live_page) std::printf("live page: http://%s/\n", admin.text().c_str());
  std::printf("tidegate %s: ws://%s/ws, metrics at http://%s/metrics, %u bots walking\n",
              TIDEGATE_VERSION, websocket.text().c_str(), admin.text().c_str(), options.bots);
  std::fflush(stdout);

  char json_path[] = "/tmp/tidegate-demo-XXXXXX";
  const int json_fd = mkstemp(json_path);
  if (json_fd >= 0) close(json_fd);
  char duration[32];
  std::snprintf(duration, sizeof duration, "%.3fs", seconds > 0 ? seconds : 1e8);
  const Child bots = start_bots({program_folder() + "/tidegate-load",
                                 "--url",
                                 "ws://" + websocket.text() + "/ws",
                                 "--secret-file",
                                 "/proc/self/fd/3",
                                 "--issuer",
                                 loaded.config.auth.issuer,
                                 "--audience",
                                 loaded.config.auth.audience,
                                 "--bots",
                                 std::to_string(options.bots),
                                 "--duration",
                                 duration,
                                 "--connect-rate",
                                 "1000",
                                 "--area",
                                 "400",
                                 "--view-distance",
                                 "100",
                                 "--live-json",
                                 "--json",
                                 json_path},
                                secret);
  if (bots.pid < 0) {
    std::fprintf(stderr, "tidegate: cannot start the bots: %s\n", std::strerror(errno));
    return 1;
  }

  std::vector<Window> windows(64);
  server::Figures before;
  server->read_figures(&before);
  std::string pending;
  int lines = 0;
  int status = 0;
  bool interrupted = false;
  for (;;) {
    if (stop_requested() && !interrupted) {
      interrupted = true;
      kill(bots.pid, SIGINT);
    }
    char buffer[4096];
    const ssize_t n = read(bots.out, buffer, sizeof buffer);
    if (n > 0) pending.append(buffer, static_cast<size_t>(n));
    for (size_t end; (end = pending.find('\n')) != std::string::npos; pending.erase(0, end + 1)) {
      const std::string line = pending.substr(0, end);
      if (options.headless) continue;
      server::Figures now;
      server->read_figures(&now);
      if (lines++ % 20 == 0) {
        std::printf("%7s %6s %6s %9s %9s %9s %8s %8s %8s  %s\n", "time", "conns", "ents",
                    "updates/s", "in KB/s", "out KB/s", "rtt p50", "rtt p99", "agree",
                    "tick p99 ms by shard");
      }
      const double checks = field(line, "checksums");
      const double wrong = field(line, "wrong");
      std::printf("%6.0fs %6" PRIu64 " %6" PRIu64 " %9.0f %9.0f %9.0f %8s %8s %7.2f%% ",
                  field(line, "t"), now.connections, now.entities, field(line, "updates"),
                  static_cast<double>(now.bytes_received - before.bytes_received) / 1000,
                  static_cast<double>(now.bytes_sent - before.bytes_sent) / 1000,
                  milliseconds(field(line, "ack_ms_p50")).c_str(),
                  milliseconds(field(line, "ack_ms_p99")).c_str(),
                  checks > 0 ? 100 * (checks - wrong) / checks : 100.0);
      for (size_t i = 0; i < now.ticks_by_shard.size() && i < windows.size(); ++i) {
        std::printf(" %6.2f", windows[i].p99_ms(*now.ticks_by_shard[i]));
      }
      std::printf("\n");
      std::fflush(stdout);
      before = now;
    }
    if (waitpid(bots.pid, &status, WNOHANG) == bots.pid) break;
    usleep(20'000);
  }
  close(bots.out);
  server::Figures last;
  server->read_figures(&last);
  server->stop(base::seconds(2));

  std::ifstream file(json_path);
  std::stringstream result;
  result << file.rdbuf();
  unlink(json_path);
  const std::string text = result.str();
  const bool ok = WIFEXITED(status) && WEXITSTATUS(status) == 0;
  std::printf(
      "%u bots, %.0f refused, %.0f lost; input to MOVE_ACK p99 %.1f ms; %.0f checksums, "
      "%.0f wrong; %" PRIu64 " ticks, %" PRIu64 " late: %s\n",
      options.bots, field(text, "refused"), field(text, "lost"),
      field(text.substr(std::min(text.size(), text.find("\"move_ack_ms\""))), "p99"),
      field(text, "checksums"), field(text, "checksum_mismatches"), last.ticks, last.tick_overruns,
      ok ? "ok" : "NOT OK");
  if (!options.json.empty()) {
    std::ofstream out(options.json);
    out << "{\"ok\": " << (ok ? "true" : "false") << ", \"ticks\": " << last.ticks
        << ", \"tick_overruns\": " << last.tick_overruns << ", \"bytes_sent\": " << last.bytes_sent
        << ", \"handovers\": " << last.handovers
        << ", \"load\": " << (text.empty() ? std::string("null") : text) << "}\n";
    if (!out.flush()) {
      std::fprintf(stderr, "tidegate: --json %s: cannot write\n", options.json.c_str());
      return 1;
    }
  }
  return ok ? 0 : 1;
}

}  // namespace tidegate::program
