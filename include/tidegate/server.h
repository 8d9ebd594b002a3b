// SPDX-License-Identifier: Apache-2.0
// tidegate as a library: a server inside your process.
//
//   tidegate::Server::Created made = tidegate::Server::create({.settings = {...}});
//   if (!made.server) return report(made.status);
//   made.server->handle({.type = 1000, .name = "echo", .function = echo});
//   made.server->run();   // or start() and stop()
//
// Life: create() checks the configuration; registrations; start() takes memory, sockets and
// threads; stop() tells clients, waits for them and joins the threads; the destructor stops at
// once. A stopped server may be started again.
//
// Manners: no printing, no signal handlers, no environment variables, no exit. Text goes to the
// log callback, errors come back as values. Exceptions of your functions end where they are called.
//
// Thread: one host thread for create, registrations, start, stop and destruction; request_stop(),
// metrics() and the ports from any thread. Never call stop() from a handler or hook: it waits for
// the thread that would run it; request_stop() is for that. Owner: the caller. Limits: the
// configuration (docs/configuration.md); several servers may live in one process.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tidegate/events.h"
#include "tidegate/export.h"
#include "tidegate/groups.h"
#include "tidegate/handlers.h"
#include "tidegate/states.h"
#include "tidegate/status.h"
#include "tidegate/world_hooks.h"

namespace tidegate {

enum class LogLevel : uint8_t { kDebug, kInfo, kWarn, kError };
// Called from the host's thread and from shards, rarely, never for a message of a client.
using LogCallback = std::function<void(LogLevel level, std::string_view text)>;

struct Setting {
  std::string key;    // "limits.connections"
  std::string value;  // as in the file, without quotes: "100", "10s", "[0, 1]"
};

// The parts are read in this order, each over the one before; all may be empty, then the defaults
// hold (only a key or secret for tokens must be named).
struct ServerConfig {
  std::string file;               // a TOML file; relative paths in it start at its folder
  std::string text;               // TOML; not together with `file`
  std::vector<Setting> settings;  // single keys
  LogCallback log;                // empty: silence
};

class TIDEGATE_API Server {
 public:
  struct Created {
    std::unique_ptr<Server> server;  // null when there are problems
    Status status;
  };
  static Created create(ServerConfig config);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Before start(). The type, name and limits are checked here; see Code.
  Status handle(Handler handler);
  Status hooks(WorldHooks hooks);  // once
  Status state_provider(StateProvider provider);

  // Once, before start().
  Status topic_policy(TopicPolicy policy);
  // What clients may do with groups beside the rules (groups.h). Before start(), once.
  Status group_policy(GroupPolicy policy);

  // At any time, from any thread; a handler may take itself or another one out. Once it has
  // returned (from a thread that is in no handler), the handler taken out is not called any more.
  Status on_event(EventHandler handler);
  Status remove_event_handler(std::string_view name);

  // Messages of the game, from any thread. kOk: on their way, not acknowledged; kClosed: the server
  // does not run; kBusy: too many wait already. What one thread sends stays in order.
  SendResult send(const Target& target, uint32_t type, Bytes payload);
  SendResult send_to_user(std::string_view user_id, uint32_t type, Bytes payload) {
    return send(Target::user(user_id), type, payload);
  }
  SendResult send_to_radius(Position centre, float radius, uint32_t type, Bytes payload) {
    return send(Target::within(centre, radius), type, payload);
  }
  SendResult broadcast(uint32_t type, Bytes payload) {
    return send(Target::everyone(), type, payload);
  }
  // As a client's PUBLISH, without a source_user and without the need of a permission.
  SendResult publish(std::string_view topic, Bytes data, uint32_t event_type = 0);
  // A change of a group, as a leader of it (groups.h).
  SendResult group(const GroupCommand& command);

  // Returns when the world ticks and clients may connect.
  Status start();
  // Refuses new clients, tells the connected ones, closes them within `grace`, joins all threads.
  // Does nothing when the server does not run.
  void stop(std::chrono::milliseconds grace = std::chrono::seconds(5));
  // start(), sleep until request_stop(), stop(grace).
  Status run(std::chrono::milliseconds grace = std::chrono::seconds(5));
  // Ends run(); a write to a descriptor, so a signal handler may call it.
  void request_stop() noexcept;

  bool running() const noexcept;
  uint16_t port() const noexcept;        // of the WebSocket listener; 0 before start()
  uint16_t admin_port() const noexcept;  // 0: none
  // Before start() what the world begins with; afterwards sent to everybody. From any thread.
  Status set_environment(const Environment& environment);
  // Keyed state (states.h), while the server runs. From any thread; as send().
  SendResult set_state(const StateSpec& spec);
  SendResult remove_state(StateScope scope, std::string_view key, std::string_view player = {});
  // What /metrics shows; empty before start().
  std::string metrics() const;

  struct Impl;  // the library's own

 private:
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tidegate
