// SPDX-License-Identifier: Apache-2.0
// tidegate::Server over the composition root.
#include "tidegate/server.h"

#include <poll.h>

#include <cmath>
#include <cstdio>
#include <mutex>

#include "control/config.h"
#include "control/config_table.h"
#include "embed/callbacks.h"
#include "io/event_waker.h"
#include "server/server.h"
#include "shard/handler_table.h"
#include "shard/hook_table.h"
#include "wire/envelope.h"
#include "wire/pb.h"

namespace tidegate::embed {
namespace {

// The key a text begins with ("listen.websocket: cannot listen ..."), or nothing.
std::string leading_key(const std::string& text) {
  const std::string first = text.substr(0, text.find_first_of(": ="));
  return control::find_key(first) >= 0 ? first : std::string();
}

LogLevel level_of(base::LogLevel level) {
  switch (level) {
    case base::LogLevel::kDebug:
      return LogLevel::kDebug;
    case base::LogLevel::kInfo:
      return LogLevel::kInfo;
    case base::LogLevel::kWarn:
      return LogLevel::kWarn;
    case base::LogLevel::kError:
    case base::LogLevel::kFatal:
      break;
  }
  return LogLevel::kError;
}

// File, text and settings to one configuration.
Status read_config(const ServerConfig& from, control::Config* out) {
  control::ConfigInput input;
  if (!from.file.empty() && !from.text.empty()) {
    return {Code::kConfig, {}, "file and text are both set; keep one of them"};
  }
  if (!from.file.empty()) {
    std::string error;
    if (!control::read_file_blocking(from.file, control::kConfigBytesMax, &input.file_text,
                                     &error)) {
      return {Code::kEnvironment, {}, error};
    }
  } else {
    input.file_text = from.text;
  }
  input.file_name = from.file.empty() ? "text" : from.file;
  std::vector<Problem> problems;
  for (const Setting& setting : from.settings) {
    const std::string flag = "--" + setting.key + '=' + setting.value;
    if (control::is_config_flag(flag)) {
      input.flags.push_back(flag);
    } else {
      problems.push_back({Code::kConfig, setting.key,
                          "setting " + setting.key + ": expected a key such as listen.websocket"});
    }
  }
  const control::LoadedConfig loaded = control::load_config(input);
  for (size_t i = 0; i < loaded.errors.size(); ++i) {
    problems.push_back({Code::kConfig, loaded.error_keys[i], loaded.errors[i]});
  }
  *out = loaded.config;
  return Status(std::move(problems));
}

}  // namespace
}  // namespace tidegate::embed

namespace tidegate {

std::string_view action_parameter(const Action& action, std::string_view name) {
  wire::PbReader fields({static_cast<const uint8_t*>(action.payload.data), action.payload.size});
  std::string_view found;
  while (fields.next()) {
    if (fields.field() != 3 || !fields.is(wire::WireType::kBytes)) continue;
    wire::PbReader entry(fields.bytes());
    std::string_view key;
    std::string_view value;
    while (entry.next()) {
      if (entry.field() == 1) key = entry.text();
      if (entry.field() == 2) value = entry.text();
    }
    if (key == name) found = value;  // the last one holds
  }
  return found;
}

struct Server::Impl {
  Impl(control::Config c, LogCallback callback) : config(std::move(c)), log(std::move(callback)) {}

  control::Config config;
  embed::Log log;
  std::vector<std::unique_ptr<embed::HandlerBox>> boxes;
  shard::HandlerTable handlers;
  std::unique_ptr<embed::HooksBox> hooks_box;
  std::vector<std::unique_ptr<embed::ProviderBox>> providers;
  shard::HookTable hooks;
  std::mutex events_mutex;  // of registrations; shards read without it
  std::vector<std::unique_ptr<embed::EventBox>> event_boxes;
  std::unique_ptr<embed::PolicyBox> policy;
  std::unique_ptr<embed::GroupPolicyBox> group_policy;
  shard::EventHandlers events;
  std::mutex environment_mutex;  // of the text below and the order in which it is handed on
  std::string environment;       // encoded
  io::EventWaker stop_waker;
  std::unique_ptr<server::Server> server;  // while it runs, and after for its last metrics
  std::atomic<bool> running{false};
};

Server::Created Server::create(ServerConfig config) {
  Created made;
  control::Config read;
  made.status = embed::read_config(config, &read);
  if (!made.status) return made;
  auto impl = std::make_unique<Impl>(std::move(read), std::move(config.log));
  if (!impl->stop_waker.valid()) {
    made.status = {Code::kEnvironment, {}, "the process has no file descriptor left"};
    return made;
  }
  made.server.reset(new Server(std::move(impl)));
  return made;
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { stop(std::chrono::milliseconds(0)); }

Status Server::handle(Handler handler) {
  if (impl_->running) {
    return {Code::kAlreadyStarted, {}, "handlers are registered before start()"};
  }
  auto box = std::make_unique<embed::HandlerBox>(impl_->log, std::move(handler));
  shard::HandlerEntry entry;
  entry.type = box->handler.type;
  entry.name = box->handler.name;
  entry.priority = box->handler.priority;
  entry.compress = box->handler.compress;
  if (box->handler.function) entry.invoke = embed::HandlerBox::invoke;
  entry.user = box.get();
  Status status = impl_->handlers.add(std::move(entry));
  if (status) impl_->boxes.push_back(std::move(box));
  return status;
}

Status Server::hooks(WorldHooks hooks) {
  if (impl_->running) return {Code::kAlreadyStarted, {}, "hooks are registered before start()"};
  if (impl_->hooks_box) return {Code::kNameTaken, {}, "hooks are registered once"};
  impl_->hooks_box = std::make_unique<embed::HooksBox>(impl_->log, std::move(hooks));
  impl_->hooks_box->fill(&impl_->hooks);
  return {};
}

Status Server::state_provider(StateProvider provider) {
  if (impl_->running) {
    return {Code::kAlreadyStarted, {}, "state providers are registered before start()"};
  }
  auto box = std::make_unique<embed::ProviderBox>(impl_->log, std::move(provider));
  shard::ProviderEntry entry;
  entry.name = box->provider.name;
  entry.priority = box->provider.priority;
  entry.delta = box->provider.delta;
  if (box->provider.write) entry.write = embed::ProviderBox::write;
  entry.user = box.get();
  Status status = impl_->hooks.add(std::move(entry));
  if (status) impl_->providers.push_back(std::move(box));
  return status;
}

Status Server::topic_policy(TopicPolicy policy) {
  if (impl_->running) return {Code::kAlreadyStarted, {}, "a policy is registered before start()"};
  if (impl_->policy) return {Code::kNameTaken, {}, "a topic policy is registered once"};
  if (!policy) return {Code::kMissing, {}, "topic policy: no function was given"};
  impl_->policy = std::make_unique<embed::PolicyBox>(impl_->log, std::move(policy));
  impl_->events.policy = embed::PolicyBox::invoke;
  impl_->events.policy_user = impl_->policy.get();
  return {};
}

Status Server::group_policy(GroupPolicy policy) {
  if (impl_->running) return {Code::kAlreadyStarted, {}, "a policy is registered before start()"};
  if (impl_->group_policy) return {Code::kNameTaken, {}, "a group policy is registered once"};
  if (!policy) return {Code::kMissing, {}, "group policy: no function was given"};
  impl_->group_policy = std::make_unique<embed::GroupPolicyBox>(impl_->log, std::move(policy));
  impl_->events.group_policy = embed::GroupPolicyBox::invoke;
  impl_->events.group_policy_user = impl_->group_policy.get();
  return {};
}

Status Server::on_event(EventHandler handler) {
  auto box = std::make_unique<embed::EventBox>(impl_->log, std::move(handler));
  shard::EventEntry entry;
  entry.name = box->handler.name;
  entry.pattern = box->handler.pattern;
  entry.priority = box->handler.priority;
  entry.kinds = box->handler.kinds;
  if (box->handler.handle) entry.invoke = embed::EventBox::invoke;
  entry.user = box.get();
  const std::lock_guard lock(impl_->events_mutex);
  Status status = impl_->events.add(std::move(entry));
  if (status) impl_->event_boxes.push_back(std::move(box));
  return status;
}

Status Server::remove_event_handler(std::string_view name) {
  const shard::EventHandlers::Slot* slot = nullptr;
  {
    const std::lock_guard lock(impl_->events_mutex);
    slot = impl_->events.remove(name);
  }
  if (slot == nullptr) {
    return {Code::kMissing, {}, "no event handler is called " + std::string(name)};
  }
  shard::EventHandlers::wait_for(*slot);  // without the lock: a handler may take another one out
  return {};
}

SendResult Server::send(const Target& target, uint32_t type, Bytes payload) {
  if (!impl_->running) return SendResult::kClosed;
  return impl_->server->send(target, type, payload);
}

SendResult Server::group(const GroupCommand& command) {
  if (!impl_->running) return SendResult::kClosed;
  return impl_->server->group(command);
}

SendResult Server::publish(std::string_view topic, Bytes data, uint32_t event_type) {
  if (!impl_->running) return SendResult::kClosed;
  return impl_->server->publish(topic, data, event_type);
}

Status Server::set_environment(const Environment& environment) {
  if (!std::isfinite(environment.time_of_day) || environment.time_of_day < 0 ||
      environment.time_of_day > 24) {
    return {Code::kOutOfRange, {}, "time_of_day is 0 to 24 hours"};
  }
  uint8_t bytes[kEnvironmentBytesMax];
  wire::PbWriter out(bytes);
  out.number(1, environment.time_of_day);
  out.text(2, environment.weather);
  bool good = wire::is_utf8(environment.weather);
  for (const auto& [key, value] : environment.properties) {
    good = good && wire::is_utf8(key) && wire::is_utf8(value);
    const size_t entry = out.begin(3);
    out.text(1, key);
    out.text(2, value);
    out.end(entry);
  }
  if (!good) return {Code::kOutOfRange, {}, "an environment's texts are UTF-8"};
  if (out.overflow()) {
    return {Code::kOutOfRange, {}, "an environment is at most 2048 bytes when encoded"};
  }
  const std::lock_guard lock(impl_->environment_mutex);
  impl_->environment = base::as_text(out.written());
  if (impl_->running) impl_->server->set_environment(impl_->environment);
  return {};
}

SendResult Server::set_state(const StateSpec& spec) {
  if (!impl_->running) return SendResult::kClosed;
  return impl_->server->set_state(spec);
}

SendResult Server::remove_state(StateScope scope, std::string_view key, std::string_view player) {
  if (!impl_->running) return SendResult::kClosed;
  return impl_->server->remove_state(scope, key, player);
}

Status Server::start() {
  if (impl_->running) return {Code::kAlreadyStarted, {}, "the server runs already"};
  server::Extensions extensions;
  extensions.handlers = &impl_->handlers;
  if (impl_->hooks_box || !impl_->providers.empty()) extensions.hooks = &impl_->hooks;
  extensions.events = &impl_->events;
  std::string environment;
  {
    const std::lock_guard lock(impl_->environment_mutex);
    impl_->server.reset();  // of an earlier run
    environment = extensions.environment = impl_->environment;
  }
  extensions.log = [log = &impl_->log](base::LogLevel level, std::string_view text) {
    log->write(embed::level_of(level), text);
  };
  std::string error;
  impl_->server = server::Server::make(impl_->config, &error, std::move(extensions));
  if (!impl_->server || !impl_->server->start(&error)) {
    impl_->server.reset();
    return {Code::kEnvironment, embed::leading_key(error), error};
  }
  {
    // Not held while it starts: a tick hook may set the environment already.
    const std::lock_guard lock(impl_->environment_mutex);
    impl_->running = true;
    if (impl_->environment != environment) impl_->server->set_environment(impl_->environment);
  }
  char text[160];
  const int n = std::snprintf(
      text, sizeof text, "websocket listening on port %u; memory reserved by limits: %.1f MiB",
      port(), static_cast<double>(impl_->server->memory_reserved()) / (1 << 20));
  impl_->log.write(LogLevel::kInfo, {text, static_cast<size_t>(n)});
  return {};
}

void Server::stop(std::chrono::milliseconds grace) {
  if (!impl_->running.exchange(false)) return;
  impl_->server->stop(base::milliseconds(grace.count()));
  impl_->log.write(LogLevel::kInfo, "stopped");
}

Status Server::run(std::chrono::milliseconds grace) {
  Status status = start();
  if (!status) return status;
  pollfd wait{impl_->stop_waker.fd(), POLLIN, 0};
  while (::poll(&wait, 1, -1) <= 0) {
  }
  impl_->stop_waker.drain();
  stop(grace);
  return {};
}

void Server::request_stop() noexcept { impl_->stop_waker.wake(); }

bool Server::running() const noexcept { return impl_->running; }

uint16_t Server::port() const noexcept {
  return impl_->server ? impl_->server->websocket_port() : uint16_t{0};
}

uint16_t Server::admin_port() const noexcept {
  return impl_->server ? impl_->server->admin_port() : uint16_t{0};
}

std::string Server::metrics() const {
  return impl_->server ? impl_->server->metrics() : std::string();
}

}  // namespace tidegate
