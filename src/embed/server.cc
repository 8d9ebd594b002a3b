// SPDX-License-Identifier: Apache-2.0
// tidegate::Server over the composition root.
#include "tidegate/server.h"

#include <poll.h>

#include <cstdio>

#include "control/config.h"
#include "control/config_table.h"
#include "embed/callbacks.h"
#include "io/event_waker.h"
#include "server/server.h"
#include "shard/handler_table.h"

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

struct Server::Impl {
  Impl(control::Config c, LogCallback callback) : config(std::move(c)), log(std::move(callback)) {}

  control::Config config;
  embed::Log log;
  std::vector<std::unique_ptr<embed::HandlerBox>> boxes;
  shard::HandlerTable handlers;
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

Status Server::start() {
  if (impl_->running) return {Code::kAlreadyStarted, {}, "the server runs already"};
  impl_->server.reset();  // of an earlier run
  server::Extensions extensions;
  extensions.handlers = &impl_->handlers;
  extensions.log = [log = &impl_->log](base::LogLevel level, std::string_view text) {
    log->write(embed::level_of(level), text);
  };
  std::string error;
  impl_->server = server::Server::make(impl_->config, &error, std::move(extensions));
  if (!impl_->server || !impl_->server->start(&error)) {
    impl_->server.reset();
    return {Code::kEnvironment, embed::leading_key(error), error};
  }
  impl_->running = true;
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
