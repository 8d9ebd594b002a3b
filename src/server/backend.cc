// SPDX-License-Identifier: Apache-2.0
// Which io backend the shards run on, and saying so when it is not the one the server is made for.
#include "io/backend.h"

#include <sys/resource.h>

#include <algorithm>

#include "server/agent.h"
#include "server/server.h"

namespace tidegate::server {
namespace {

// Descriptors that are no client's: listeners, files, the admin server, stores.
constexpr uint64_t kOwnDescriptors = 128;

}  // namespace

bool Server::make_backend(const io::IoLimits& limits, Agent* agent, std::string* error) {
  const bool first = backend_ == io::BackendKind::kAuto;
  io::BackendKind wanted = backend_;
  if (first && !io::backend_from(config_.io.backend, &wanted)) {
    *error = "io.backend: no such backend: " + config_.io.backend;
    return false;
  }
  io::MadeBackend made = io::make_backend(wanted, limits);
  if (made.io == nullptr) {
    *error = std::string(io::name_of(made.kind)) + ": " + made.error.text;
    return false;
  }
  agent->io = std::move(made.io);
  const bool epoll = made.kind == io::BackendKind::kEpoll;
  agent->counters.set(metrics::Gauge::kIoEpoll, epoll ? 1 : 0);
  if (!first) return true;
  backend_ = made.kind;
  if (!epoll) return true;
  backend_note_ = wanted == io::BackendKind::kEpoll
                      ? "io.backend is epoll: a message costs more system calls than with io_uring"
                      : "io_uring is refused, epoll serves in its place at a higher cost for each "
                        "message: " +
                            std::string(made.error.text);
  log(base::LogLevel::kWarn, "io: " + backend_note_ + " (tidegate doctor says more)");
  // Here every client takes a descriptor of the process, whichever shard has it.
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  const uint64_t needed = config_.limits.connections + kOwnDescriptors;
  if (files.rlim_cur < needed && files.rlim_max > files.rlim_cur) {
    files.rlim_cur = std::min<rlim_t>(files.rlim_max, needed);
    if (setrlimit(RLIMIT_NOFILE, &files) != 0) getrlimit(RLIMIT_NOFILE, &files);
  }
  if (files.rlim_cur < needed) {
    *error = "limits.connections: " + std::to_string(config_.limits.connections) +
             " connections need a limit of open files of at least " + std::to_string(needed) +
             " with epoll; it is " + std::to_string(files.rlim_cur) +
             " (ulimit -n, LimitNOFILE= in systemd)";
    return false;
  }
  return true;
}

}  // namespace tidegate::server
