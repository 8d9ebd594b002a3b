// SPDX-License-Identifier: Apache-2.0
// tidegate-load: bots by the ten thousand against one server. Exit status 0: everybody came in and
// stayed, and every picture of the world agreed; 1: not so; 2: wrong usage.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "address.h"
#include "options.h"
#include "report.h"
#include "worker.h"

namespace {

using namespace tidegate;

volatile sig_atomic_t interrupted = 0;
void on_signal(int) { interrupted = 1; }

int fail(const std::string& text) {
  std::fprintf(stderr, "tidegate-load: %s\n", text.c_str());
  return 2;
}

// ws:// or wss://host:port/path with a numeric host.
bool parse_url(const std::string& url, load::Options::Place* place, bool* secure,
               std::string* error) {
  *secure = url.rfind("wss://", 0) == 0;
  if (!*secure && url.rfind("ws://", 0) != 0) {
    *error = "--url " + url + ": only ws:// and wss:// are spoken";
    return false;
  }
  const std::string scheme = *secure ? "wss://" : "ws://";
  const size_t slash = url.find('/', scheme.size());
  place->host = url.substr(scheme.size(), slash - scheme.size());
  place->path = slash == std::string::npos ? "/ws" : url.substr(slash);
  std::string numeric = place->host;
  if (numeric.rfind("localhost:", 0) == 0) numeric = "127.0.0.1" + numeric.substr(9);
  if (!tools::parse_address(numeric, &place->address)) {
    *error = "--url " + url + ": expected ws://ADDRESS:PORT/path or wss:// with a numeric address";
    return false;
  }
  return true;
}

template <class T>
T* shared(size_t count) {
  void* p =
      mmap(nullptr, sizeof(T) * count, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return p == MAP_FAILED ? nullptr : static_cast<T*>(p);
}

}  // namespace

int main(int argc, char** argv) {
  load::Options o;
  std::string mode = "walk";
  std::string encoding = "packed";
  std::string duration = "20s";
  std::string secret_file;
  CLI::App app("tidegate-load: bots against a tidegate server");
  app.add_option("--url", o.url, "ws://ADDRESS:PORT/path, or wss://")->capture_default_str();
  app.add_option("--also-url", o.more_urls,
                 "another gateway, any number: bots begin in turn at each");
  app.add_flag("--resume", o.resume,
               "bots that lose their connection go on with their session at the next gateway");
  app.add_option("--letters", o.letters,
                 "with --resume, a second: each bot writes to the next one with acknowledgement "
                 "(the server is examples/letters)")
      ->capture_default_str();
  tls::ClientOptions tls_options;
  app.add_flag("--tls-insecure", tls_options.insecure, "wss: trust any certificate");
  app.add_option("--tls-ca", tls_options.authorities_file,
                 "wss: PEM file of the authorities to trust; default: the system's");
  std::string tls_name;
  app.add_option("--tls-name", tls_name, "wss: the server's name; default: the URL's host");
  app.add_flag("--tls12", tls_options.tls12_only, "wss: TLS 1.2 instead of 1.3");
  app.add_option("--secret", o.secret, "HS256 secret to sign the bots' tokens with");
  app.add_option("--secret-file", secret_file, "file with the secret");
  app.add_option("--issuer", o.issuer, "iss of the tokens");
  app.add_option("--audience", o.audience, "aud of the tokens");
  app.add_option("--user-prefix", o.user_prefix, "bots are PREFIX0, PREFIX1, ...")
      ->capture_default_str();
  app.add_option("--bots", o.bots, "how many")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000000u));
  app.add_option("--processes", o.processes, "0: as the descriptor limit needs")
      ->capture_default_str();
  app.add_option("--connect-rate", o.connect_rate, "connections a second")->capture_default_str();
  app.add_option("--duration", duration, "measured time: 500ms, 20s, 5m")->capture_default_str();
  app.add_option("--mode", mode, "walk, idle or echo")
      ->capture_default_str()
      ->check(CLI::IsMember({"walk", "idle", "echo"}));
  std::string transport = "websocket";
  app.add_option("--transport", transport, "websocket, or poll: HTTP long polling")
      ->capture_default_str()
      ->check(CLI::IsMember({"websocket", "poll"}));
  app.add_option("--move-rate", o.move_rate, "moves (or echoes) a second of one bot")
      ->capture_default_str();
  app.add_option("--speed", o.speed, "metres a second")->capture_default_str();
  app.add_option("--area", o.area, "metres, edge of the square to walk in")->capture_default_str();
  app.add_option("--view-distance", o.view_distance, "metres, 0: the server's")
      ->capture_default_str();
  app.add_option("--encoding", encoding, "packed or protobuf")
      ->capture_default_str()
      ->check(CLI::IsMember({"packed", "protobuf"}));
  app.add_option("--budget", o.budget, "bytes a second to ask for, 0: the server's choice")
      ->capture_default_str();
  app.add_option("--stalled", o.stalled, "so many bots read nothing once they are in the world")
      ->capture_default_str();
  app.add_option("--slow", o.slow, "so many bots read --slow-rate only")->capture_default_str();
  app.add_option("--slow-rate", o.slow_rate, "bytes a second")->capture_default_str();
  app.add_option("--mark-every", o.mark_every, "each n-th bot measures input to neighbour; 0: none")
      ->capture_default_str();
  app.add_option("--observers", o.observers,
                 "so many bots measure rate and age of the 20 nearest and of the others (packed)")
      ->capture_default_str();
  app.add_option("--cell-size", o.cell_size, "metres, world.cell_size of the server")
      ->capture_default_str();
  app.add_option("--echo-bytes", o.echo_bytes, "payload in echo mode")->capture_default_str();
  app.add_option("--picture-every", o.picture_every,
                 "each n-th bot decodes and checks what it is shown; the others count bytes")
      ->capture_default_str()
      ->check(CLI::Range(1u, 1000000u));
  app.add_option("--report-every", o.report_every,
                 "seconds between two checksums that a bot sends of cells that agree; 0: none")
      ->capture_default_str();
  app.add_option("--flip-every", o.flip_every,
                 "seconds between bits flipped in the bots' pictures, to test the alarm; 0: none")
      ->capture_default_str();
  app.add_option("--json", o.json_file, "file for the result");
  app.add_flag("--live", o.live, "a line a second");
  app.add_flag("--live-json", o.live_json, "the same as JSON lines, without the text at the end");
  CLI11_PARSE(app, argc, argv);

  std::string error;
  bool secure = false;
  o.more_urls.insert(o.more_urls.begin(), o.url);
  for (const std::string& url : o.more_urls) {
    load::Options::Place place;
    if (!parse_url(url, &place, &secure, &error)) return fail(error);
    if (secure && o.resume) return fail("--resume: only with ws://");
    o.places.push_back(std::move(place));
  }
  const load::Options::Place& place = o.places[0];
  o.server_name = place.host.substr(0, place.host.rfind(':'));
  if (o.server_name.front() == '[') {
    o.server_name = o.server_name.substr(1, o.server_name.size() - 2);
  }
  o.loopback =
      IN6_IS_ADDR_V4MAPPED(&place.address.sin6_addr) && place.address.sin6_addr.s6_addr[12] == 127;
  o.polling = transport == "poll";
  if (o.polling && (secure || mode == "echo")) {
    return fail("--transport poll is for ws:// and game servers");
  }
  std::unique_ptr<tls::ClientContext> tls_context;
  if (secure) {
    if (!tls_name.empty()) o.server_name = tls_name;
    if (!tls_options.authorities_file.empty()) {
      std::ifstream file(tls_options.authorities_file);
      tls_options.authorities = {std::istreambuf_iterator<char>(file), {}};
      if (tls_options.authorities.empty()) {
        return fail("--tls-ca " + tls_options.authorities_file + ": cannot read it");
      }
    }
    tls_context = tls::ClientContext::make(tls_options, &error);
    if (!tls_context) return fail("--tls-ca " + error);
    o.tls = tls_context.get();
  }
  o.mode = mode == "walk"   ? load::Mode::kWalk
           : mode == "idle" ? load::Mode::kIdle
                            : load::Mode::kEcho;
  o.packed = encoding == "packed";
  char* unit = nullptr;
  o.seconds = std::strtod(duration.c_str(), &unit);
  const std::string u = unit;
  if (u == "ms")
    o.seconds /= 1000;
  else if (u == "m")
    o.seconds *= 60;
  else if (u != "s" && !u.empty())
    return fail("--duration " + duration + ": use ms, s or m");
  if (!secret_file.empty()) {
    std::ifstream file(secret_file);
    if (!std::getline(file, o.secret))
      return fail("--secret-file " + secret_file + ": cannot read a line");
  }
  if (o.mode != load::Mode::kEcho && o.secret.size() < 32) {
    return fail("--secret or --secret-file is needed to sign tokens: at least 32 bytes");
  }

  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const uint32_t descriptors = static_cast<uint32_t>(std::min<rlim_t>(files.rlim_cur, 100000)) - 32;
  const uint32_t per_process = descriptors / (o.polling ? 4 : 1);
  const uint32_t needed = (o.bots + per_process - 1) / per_process;
  if (o.processes == 0) o.processes = std::max(needed, o.bots > 5000 ? 2u : 1u);
  if (o.processes < needed) {
    return fail("--processes " + std::to_string(o.processes) + ": the limit of open files needs " +
                std::to_string(needed));
  }

  load::Stats* stats = shared<load::Stats>(o.processes);
  load::Control* control = shared<load::Control>(1);
  if (stats == nullptr || control == nullptr) return fail("no shared memory");
  signal(SIGPIPE, SIG_IGN);
  std::vector<pid_t> children;
  for (uint32_t i = 0, first = 0; i < o.processes; ++i) {
    const uint32_t count = o.bots / o.processes + (i < o.bots % o.processes ? 1 : 0);
    const pid_t pid = fork();
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      signal(SIGINT, SIG_IGN);
      load::Worker worker(o, first, count, o.processes, stats[i], *control);
      _exit(worker.run());
    }
    children.push_back(pid);
    first += count;
  }
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);

  const base::Instant start = load::monotonic_now();
  const double connect_limit = o.bots / o.connect_rate + 30;
  const auto elapsed = [&] {
    return static_cast<double>((load::monotonic_now() - start).ns) / 1e9;
  };
  double connect_seconds = 0;
  double measured_from = 0;
  load::Sums base_sums;
  auto before = std::make_unique<load::Sums>();
  double next_line = 1;
  uint32_t workers_died = 0;
  for (;;) {
    usleep(20'000);
    // Before they are told to stop, none ends by itself.
    for (pid_t& pid : children) {
      if (waitpid(pid, nullptr, WNOHANG) != pid) continue;
      ++workers_died;
      pid = 0;
    }
    if (workers_died != 0) break;
    auto now = std::make_unique<load::Sums>();
    load::sum(stats, o.processes, now.get());
    const uint64_t in = o.mode == load::Mode::kEcho ? now->connected : now->in_world;
    if (measured_from == 0 && (in + now->refused + now->lost + now->slow_lost >= o.bots ||
                               elapsed() > connect_limit || interrupted)) {
      connect_seconds = elapsed();
      measured_from = elapsed() + 0.5;  // the first looks at the world are over
      control->measure_from_ns.store(
          (start + base::nanoseconds(static_cast<int64_t>(measured_from * 1e9))).ns);
    }
    if (measured_from != 0 && base_sums.bytes_in == 0 && elapsed() >= measured_from) {
      load::sum(stats, o.processes, &base_sums);
    }
    if ((o.live || o.live_json) && elapsed() >= next_line) {
      std::fputs(load::live_line(o, *now, *before, elapsed()).c_str(), stdout);
      std::fflush(stdout);
      before = std::move(now);
      next_line += 1;
    }
    if (measured_from != 0 && (interrupted || elapsed() >= measured_from + o.seconds)) break;
  }
  const double seconds = std::max(0.0, elapsed() - measured_from);
  auto end_sums = std::make_unique<load::Sums>();
  load::sum(stats, o.processes, end_sums.get());
  control->stop_at_ns.store(load::monotonic_now().ns + 500'000'000);
  for (pid_t pid : children) {
    int status = 0;
    if (pid == 0 || waitpid(pid, &status, 0) != pid) continue;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) ++workers_died;
  }

  load::Sums sums;
  load::sum(stats, o.processes, &sums);
  sums.workers_died = workers_died;
  if (workers_died != 0) sums.problem = "a process of bots died";
  // Rates are of the measured time; counts of faults are of the whole run.
  sums.bytes_in = end_sums->bytes_in - base_sums.bytes_in;
  sums.bytes_out = end_sums->bytes_out - base_sums.bytes_out;
  sums.messages_in = end_sums->messages_in - base_sums.messages_in;
  sums.updates = end_sums->updates - base_sums.updates;
  sums.frames = end_sums->frames - base_sums.frames;
  if (!o.live_json) std::fputs(load::to_text(o, sums, seconds, connect_seconds).c_str(), stdout);
  if (!o.json_file.empty()) {
    std::ofstream file(o.json_file);
    file << load::to_json(o, sums, seconds, connect_seconds);
    if (!file.flush()) return fail("--json " + o.json_file + ": cannot write");
  }
  return load::all_good(o, sums) ? 0 : 1;
}
