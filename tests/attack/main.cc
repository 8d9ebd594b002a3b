// SPDX-License-Identifier: Apache-2.0
// tidegate-attack: hostile connections of many kinds against a server of one's own, on loopback. It
// says for each kind how many there were and how the server ended them. One thread; the tests and
// tests/integration/attack.mjs judge what it says.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <memory>

#include "peer.h"

namespace {

using namespace tidegate::attack;

volatile sig_atomic_t stopped = 0;

int64_t now_ns() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

bool loopback(in_addr_t address) { return (ntohl(address) >> 24) == 127; }

bool enough(const Shared& shared, const Options& options) {
  if (options.until_ended == 0) return false;
  for (const Kind kind : options.kinds) {
    uint64_t ended = 0;
    for (const auto& [how, count] : shared.ends[static_cast<uint32_t>(kind)]) ended += count;
    if (ended < options.until_ended) return false;
  }
  return true;
}

void print(const Shared& shared, const Options& options, double seconds) {
  std::printf("{\n  \"connections\": %u, \"seconds\": %.2f,\n  \"kinds\": {", options.connections,
              seconds);
  const char* comma = "\n";
  for (uint32_t k = 0; k < kKinds; ++k) {
    if (shared.opened[k] == 0) continue;
    std::printf("%s    \"%s\": {\"opened\": %llu, \"logged_in\": %llu, \"ends\": {", comma,
                name_of(static_cast<Kind>(k)), static_cast<unsigned long long>(shared.opened[k]),
                static_cast<unsigned long long>(shared.logged_in[k]));
    const char* inner = "";
    for (const auto& [how, count] : shared.ends[k]) {
      std::printf("%s\"%s\": %llu", inner, how.c_str(), static_cast<unsigned long long>(count));
      inner = ", ";
    }
    std::printf("}}");
    comma = ",\n";
  }
  std::printf("\n  }\n}\n");
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  std::string address = "127.0.0.1";
  std::string source;
  std::string flood_source;
  std::vector<std::string> kinds;
  uint16_t port = 7400;
  CLI::App app("Hostile connections of many kinds against a server on this machine");
  app.add_option("--address", address, "of 127.0.0.0/8")->capture_default_str();
  app.add_option("--port", port)->capture_default_str();
  app.add_option("--source", source, "the attackers' address");
  app.add_option("--flood-source", flood_source, "... of the kind connects");
  app.add_option("--secret", options.secret, "HS256 secret to log in with")->required();
  app.add_option("--connections", options.connections)->capture_default_str();
  app.add_option("--seconds", options.seconds)->capture_default_str();
  app.add_option("--until-ended", options.until_ended,
                 "be over before that when the server has ended so many of each kind; 0: no");
  app.add_option("--pause", options.pause, "seconds before a new one takes an ended one's place")
      ->capture_default_str();
  app.add_option("--deaf", options.deaf, "seconds after which a zero_window reads")
      ->capture_default_str();
  app.add_option("--kinds", kinds, "default: all but bomb")->delimiter(',');
  CLI11_PARSE(app, argc, argv);

  options.server.sin_family = AF_INET;
  options.server.sin_port = htons(port);
  options.server.sin_addr.s_addr = inet_addr(address.c_str());
  options.source = source.empty() ? 0 : inet_addr(source.c_str());
  options.flood_source = flood_source.empty() ? options.source : inet_addr(flood_source.c_str());
  if (!loopback(options.server.sin_addr.s_addr)) {
    std::fprintf(stderr, "tidegate-attack: only servers of this machine: 127.0.0.0/8\n");
    return 2;
  }
  for (const std::string& name : kinds) {
    uint32_t k = 0;
    while (k < kKinds && name != name_of(static_cast<Kind>(k))) ++k;
    if (k == kKinds) {
      std::fprintf(stderr, "tidegate-attack: no kind is called %s\n", name.c_str());
      return 2;
    }
    options.kinds.push_back(static_cast<Kind>(k));
  }
  for (uint32_t k = 0; kinds.empty() && k < static_cast<uint32_t>(Kind::kBomb); ++k) {
    options.kinds.push_back(static_cast<Kind>(k));
  }
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGINT, [](int) { stopped = 1; });
  signal(SIGTERM, [](int) { stopped = 1; });

  Shared shared(options);
  std::vector<std::unique_ptr<Peer>> peers;
  const int64_t begin = now_ns();
  for (uint32_t i = 0; i < options.connections; ++i) {
    peers.push_back(std::make_unique<Peer>(shared, i, options.kinds[i % options.kinds.size()]));
  }
  std::vector<pollfd> set(peers.size());
  int64_t now = begin;
  const auto length = static_cast<int64_t>(options.seconds * 1e9);
  while (stopped == 0 && now - begin < length && !enough(shared, options)) {
    for (size_t i = 0; i < peers.size(); ++i) set[i] = {peers[i]->fd(), peers[i]->interest(), 0};
    ::poll(set.data(), set.size(), 0);
    now = now_ns();
    for (size_t i = 0; i < peers.size(); ++i) peers[i]->turn(now - begin, set[i].revents);
    // Most have something to do only now and then; who floods fills its socket meanwhile.
    const timespec rest{0, 5'000'000};
    nanosleep(&rest, nullptr);
  }
  for (const auto& peer : peers) peer->finish();
  print(shared, options, static_cast<double>(now - begin) / 1e9);
  return 0;
}
