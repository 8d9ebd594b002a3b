// SPDX-License-Identifier: Apache-2.0
// tidegate-echo: options, threads, pinning and signals around echo_server.h.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <iterator>
#include <thread>

#include "address.h"
#include "crypto/random.h"
#include "echo_server.h"
#include "io/backend.h"

namespace {

std::atomic<bool> stop_requested{false};

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// TLS from a certificate and its key; false when something is wrong with them.
bool set_up_tls(const std::string& certificate, const std::string& key, bool tickets,
                tidegate::tls::ContextHolder* holder, tidegate::net::TlsConfig* out) {
  using namespace tidegate;
  tls::ServerOptions options;
  options.unix_seconds = std::time(nullptr);
  if (!tickets) options.ticket_lifetime = {};
  options.certificates.push_back({certificate, read_file(certificate), key, read_file(key)});
  std::string error;
  std::vector<std::string> warnings;
  const auto context = tls::ServerContext::make(options, &error, &warnings);
  for (const std::string& warning : warnings) {
    std::fprintf(stderr, "tidegate-echo: %s\n", warning.c_str());
  }
  if (context == nullptr) {
    std::fprintf(stderr, "tidegate-echo: %s\n", error.c_str());
    return false;
  }
  holder->set(context);
  out->contexts = holder;
  out->listeners = 1;
  out->tickets.rotation = options.ticket_lifetime;
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  out->tickets.origin = {int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec};
  return crypto::fill_random({out->tickets.seed.data(), out->tickets.seed.size()});
}

void on_signal(int) { stop_requested.store(true, std::memory_order_relaxed); }

void pin_to(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  if (pthread_setaffinity_np(pthread_self(), sizeof set, &set) != 0) {
    std::fprintf(stderr, "tidegate-echo: cannot pin a shard to CPU %d; it runs unpinned\n", cpu);
  }
}

}  // namespace

int main(int argc, char** argv) {
  using namespace tidegate;
  std::string listen = "127.0.0.1:9001";
  std::string publish;
  std::vector<int> cpus;
  echo::EchoOptions options;
  bool poll_wait = false;
  uint32_t buffers = 1024;
  CLI::App app("WebSocket echo on tidegate's own network stack");
  app.add_option("--listen", listen, "ADDR:PORT; port 0 takes a free one")->capture_default_str();
  app.add_option("--shards", options.shards, "threads, one ring each")->capture_default_str();
  app.add_option("--cpus", cpus, "CPUs to pin the shards to, in order");
  app.add_option("--connections", options.connections, "limit of each shard")
      ->capture_default_str();
  app.add_option("--message-bytes", options.message_bytes, "largest message")
      ->capture_default_str();
  app.add_option("--buffers", buffers, "receive buffers of a shard, a power of two")
      ->capture_default_str();
  app.add_option("--publish", publish, "BYTES@HZ: send one shared frame to everybody");
  bool takeover = false;
  uint32_t window_bits = protocol::kWindowBitsMax;
  double heartbeat_s = 20, timeout_s = 60, message_s = 30;
  app.add_option("--heartbeat", heartbeat_s, "seconds of silence before a ping")
      ->capture_default_str();
  app.add_option("--heartbeat-timeout", timeout_s, "seconds of silence that end a connection")
      ->capture_default_str();
  app.add_option("--message-timeout", message_s,
                 "seconds for a message to be finished and for a backlog to move")
      ->capture_default_str();
  app.add_flag("--deflate", options.deflate.enabled, "speak permessage-deflate");
  app.add_flag("--deflate-takeover", takeover, "keep compression contexts between messages");
  app.add_option("--deflate-window-bits", window_bits, "largest window, both directions, 8 to 15")
      ->capture_default_str()
      ->check(CLI::Range(8, 15));
  app.add_option("--deflate-contexts", options.deflate.contexts,
                 "connections of a shard with contexts; more are declined")
      ->capture_default_str();
  app.add_option("--deflate-min-bytes", options.deflate.min_bytes,
                 "smaller messages are not compressed")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  std::string tls_certificate, tls_key;
  bool no_tickets = false;
  app.add_option("--tls-cert", tls_certificate, "speak TLS: PEM file, leaf first")
      ->check(CLI::ExistingFile);
  app.add_option("--tls-key", tls_key, "PEM file of the key; default: in --tls-cert")
      ->check(CLI::ExistingFile);
  app.add_flag("--tls-no-tickets", no_tickets, "every handshake is a full one");
  app.add_flag("--poll-wait", poll_wait,
               "wait in poll() on the ring, for tools that cannot follow io_uring_enter");
  std::string backend_name = "auto";
  app.add_option("--io", backend_name, "auto, io_uring or epoll")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  io::BackendKind backend{};
  if (!io::backend_from(backend_name, &backend)) {
    std::fprintf(stderr, "tidegate-echo: --io %s: expected auto, io_uring or epoll\n",
                 backend_name.c_str());
    return 2;
  }
  if (!publish.empty() &&
      std::sscanf(publish.c_str(), "%u@%u", &options.publish_bytes, &options.publish_hz) != 2) {
    std::fprintf(stderr, "tidegate-echo: --publish %s: expected BYTES@HZ, as in 256@60\n",
                 publish.c_str());
    return 2;
  }
  const auto seconds = [](double s) { return base::milliseconds(static_cast<int64_t>(s * 1000)); };
  options.heartbeat_interval = seconds(heartbeat_s);
  options.heartbeat_timeout = seconds(timeout_s);
  options.message_timeout = options.stall_timeout = seconds(message_s);
  options.deflate.rules.server_context_takeover = takeover;
  options.deflate.rules.client_context_takeover = takeover;
  options.deflate.rules.server_window_bits = static_cast<uint8_t>(window_bits);
  options.deflate.rules.client_window_bits = static_cast<uint8_t>(window_bits);
  tls::ContextHolder tls;
  if (!tls_certificate.empty() &&
      !set_up_tls(tls_certificate, tls_key.empty() ? tls_certificate : tls_key, !no_tickets, &tls,
                  &options.tls)) {
    return 1;
  }
  io::ListenSpec spec;
  if (!tools::parse_address(listen, &spec.address)) {
    std::fprintf(stderr, "tidegate-echo: --listen %s: expected ADDR:PORT, as in 127.0.0.1:9001\n",
                 listen.c_str());
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  signal(SIGINT, on_signal);
  signal(SIGTERM, on_signal);

  struct Running {
    std::unique_ptr<io::Io> io;
    std::unique_ptr<metrics::Counters> counters;
    std::unique_ptr<echo::EchoShard> shard;
    std::thread thread;
  };
  std::vector<Running> shards(options.shards);
  uint16_t port = 0;
  for (Running& r : shards) {
    io::IoLimits limits;
    limits.sockets = options.connections + net::kRefusalRows;
    limits.buffers = buffers;
    limits.poll_wait = poll_wait;
    io::MadeBackend made = io::make_backend(backend, limits);
    if (made.io == nullptr) {
      std::fprintf(stderr, "tidegate-echo: %s: %s\n", io::name_of(made.kind), made.error.text);
      return 1;
    }
    if (made.kind != backend && made.kind == io::BackendKind::kEpoll) {
      std::fprintf(stderr, "tidegate-echo: on epoll, because io_uring is refused: %s\n",
                   made.error.text);
    }
    backend = made.kind;
    r.io = std::move(made.io);
    const io::IoStatus status = r.io->listen(spec, &port);
    if (status != io::IoStatus::kOk) {
      std::fprintf(stderr, "tidegate-echo: cannot listen on %s: %s\n", listen.c_str(),
                   io::describe(status));
      return 1;
    }
    spec.address.sin6_port = htons(port);
    r.counters = std::make_unique<metrics::Counters>();
    r.shard = std::make_unique<echo::EchoShard>(options, *r.io, *r.counters);
  }
  std::printf("listening on %s\n", tools::format_address(spec.address).c_str());
  std::fflush(stdout);
  for (size_t i = 0; i < shards.size(); ++i) {
    shards[i].thread = std::thread([&, i] {
      if (i < cpus.size()) pin_to(cpus[i]);
      shards[i].shard->run(stop_requested);
    });
  }
  for (Running& r : shards) r.thread.join();
  return 0;
}
