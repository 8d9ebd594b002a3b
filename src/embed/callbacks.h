// SPDX-License-Identifier: Apache-2.0
// The border to an embedder's functions: each is called from here and nowhere else, and an
// exception that leaves one ends here and is reported once.
//
// Thread: set-up makes them, shards call them. Owner: Server::Impl. Limits: none.
#pragma once

#include <atomic>
#include <exception>
#include <string>
#include <string_view>

#include "shard/event_handlers.h"
#include "shard/hook_table.h"
#include "tidegate/server.h"

namespace tidegate::embed {

// Where text of the library goes; safe to call from any thread. An exception of the callback is
// swallowed: there is nobody left to tell.
class Log {
 public:
  explicit Log(LogCallback callback) : callback_(std::move(callback)) {}
  void write(LogLevel level, std::string_view text) const noexcept;

 private:
  LogCallback callback_;
};

// Says once for each registration that its function threw; the metrics count all of them.
class ThrowReport {
 public:
  ThrowReport(const Log& log, std::string name) : log_(log), name_(std::move(name)) {}
  void note(const char* what) noexcept;

 private:
  const Log& log_;
  std::string name_;
  std::atomic<bool> reported_{false};
};

// Calls `function` and returns its result; `otherwise` when it throws.
template <class Result, class Function>
Result guard(ThrowReport& report, Result otherwise, Function&& function) noexcept {
#if defined(__cpp_exceptions)
  try {
    return function();
  } catch (const std::exception& e) {
    report.note(e.what());
  } catch (...) {
    report.note("not a std::exception");
  }
  return otherwise;
#else
  (void)report;
  (void)otherwise;
  return function();
#endif
}

// The same for hooks: says whether it threw.
template <class T, class Function>
shard::Guarded<T> guarded(ThrowReport& report, Function&& function) noexcept {
  return guard(report, shard::Guarded<T>{T{}, true},
               [&] { return shard::Guarded<T>{static_cast<T>(function()), false}; });
}

// A registered handler as the shards call it.
struct HandlerBox {
  HandlerBox(const Log& log, Handler h)
      : handler(std::move(h)), report(log, "handler " + handler.name) {}
  static Outcome invoke(void* self, Context& context, const Message& message) noexcept;

  Handler handler;
  ThrowReport report;
};

// Fills `table` with the hooks that are there. Outlives the table's use.
struct HooksBox {
  HooksBox(const Log& log, WorldHooks h);
  void fill(shard::HookTable* table);

  WorldHooks hooks;
  ThrowReport before_input, after_state_change, violation, validate_action, interest_radius, tick;
  ThrowReport state_attempt;
};

struct EventBox {
  EventBox(const Log& log, EventHandler h)
      : handler(std::move(h)), report(log, "event handler " + handler.name) {}
  static shard::EventOutcome invoke(void* self, const ServerEvent& event) noexcept;

  EventHandler handler;
  ThrowReport report;
};

struct PolicyBox {
  PolicyBox(const Log& log, TopicPolicy p) : policy(std::move(p)), report(log, "topic policy") {}
  static bool invoke(void* self, const TopicRequest& request) noexcept;

  TopicPolicy policy;
  ThrowReport report;
};

struct GroupPolicyBox {
  GroupPolicyBox(const Log& log, GroupPolicy p)
      : policy(std::move(p)), report(log, "group policy") {}
  static GroupVerdict invoke(void* self, const GroupQuestion& question) noexcept;

  GroupPolicy policy;
  ThrowReport report;
};

struct ProviderBox {
  ProviderBox(const Log& log, StateProvider p)
      : provider(std::move(p)), report(log, "state provider " + provider.name) {}
  static shard::Guarded<size_t> write(void* self, const EntityView& entity, StateRequest request,
                                      uint8_t* out, size_t room) noexcept;

  StateProvider provider;
  ThrowReport report;
};

}  // namespace tidegate::embed
