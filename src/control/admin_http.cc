// SPDX-License-Identifier: Apache-2.0
#include "control/admin_http.h"

#include <httplib.h>

#include <charconv>

#include "control/json_writer.h"
#include "crypto/constant_time.h"

namespace tidegate::control {
namespace {

constexpr const char* kJson = "application/json";

std::string error_body(std::string_view code, std::string_view message) {
  JsonWriter json;
  json.begin_object().key("error").text(code).key("message").text(message).end_object();
  return json.take();
}

void answer_error(httplib::Response& out, int status, std::string_view code,
                  std::string_view message) {
  out.status = status;
  out.set_content(error_body(code, message) + '\n', kJson);
}

void answer_health(httplib::Response& out, const Health& health) {
  JsonWriter json;
  json.begin_object().key("ok").boolean(health.ok);
  if (!health.ok) json.key("reason").text(health.reason);
  json.end_object();
  out.status = health.ok ? 200 : 503;
  out.set_content(json.take() + '\n', kJson);
}

// A whole number of a query parameter; false with an answer made when it is not one in range.
bool number(const httplib::Request& in, httplib::Response& out, const char* name, int64_t low,
            int64_t high, int64_t* value) {
  if (!in.has_param(name)) return true;
  const std::string text = in.get_param_value(name);
  const auto r = std::from_chars(text.data(), text.data() + text.size(), *value);
  if (r.ec == std::errc() && r.ptr == text.data() + text.size() && *value >= low &&
      *value <= high) {
    return true;
  }
  answer_error(out, 400, "bad_parameter",
               std::string(name) + " must be a whole number from " + std::to_string(low) + " to " +
                   std::to_string(high));
  return false;
}

}  // namespace

struct AdminHttp::State {
  State(AdminSource& s, AdminHttpOptions o) : source(s), options(std::move(o)) {}
  AdminSource& source;
  AdminHttpOptions options;
  httplib::Server server;
  std::thread thread;
  uint16_t port = 0;

  bool permitted(const httplib::Request& in, httplib::Response& out) const {
    if (options.token.empty()) return true;
    const std::string given = in.get_header_value("Authorization");
    if (crypto::equal_constant_time(given, "Bearer " + options.token)) return true;
    out.set_header("WWW-Authenticate", "Bearer realm=\"tidegate admin\"");
    answer_error(out, 401, given.empty() ? "no_token" : "invalid_token",
                 "send Authorization: Bearer with the value of admin.token");
    return false;
  }

  void get(const char* path, std::function<void(const httplib::Request&, httplib::Response&)> f) {
    server.Get(path, [this, f = std::move(f)](const httplib::Request& in, httplib::Response& out) {
      if (permitted(in, out)) f(in, out);
    });
  }

  void routes() {
    server.Get("/livez", [this](const httplib::Request&, httplib::Response& out) {
      answer_health(out, source.livez());
    });
    server.Get("/readyz", [this](const httplib::Request&, httplib::Response& out) {
      answer_health(out, source.readyz());
    });
    server.Get("/healthz", [this](const httplib::Request&, httplib::Response& out) {
      answer_health(out, source.livez());
    });
    get("/metrics", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.metrics_text(), "text/plain; version=0.0.4; charset=utf-8");
    });
    get("/api/v1/connections", [this](const httplib::Request& in, httplib::Response& out) {
      int64_t offset = 0;
      int64_t limit = 100;
      int64_t shard = -1;
      if (!number(in, out, "offset", 0, 10'000'000, &offset) ||
          !number(in, out, "limit", 1, kConnectionsPageMax, &limit) ||
          !number(in, out, "shard", 0, 63, &shard)) {
        return;
      }
      ConnectionsQuery query;
      query.offset = static_cast<uint32_t>(offset);
      query.limit = static_cast<uint32_t>(limit);
      query.shard = static_cast<int32_t>(shard);
      query.user = in.get_param_value("user");
      query.player = in.get_param_value("player");
      out.set_content(source.connections_json(query) + '\n', kJson);
    });
    get("/api/v1/shards", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.shards_json() + '\n', kJson);
    });
    get("/api/v1/config", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.config_json() + '\n', kJson);
    });
    server.set_error_handler([](const httplib::Request& in, httplib::Response& out) {
      if (!out.body.empty()) return;
      if (out.status == 404) {
        answer_error(out, 404, "not_found", "there is no " + in.path + " here");
      } else {
        answer_error(out, out.status, "bad_request", "the request was not understood");
      }
    });
  }
};

AdminHttp::AdminHttp(AdminSource& source, AdminHttpOptions options)
    : state_(std::make_unique<State>(source, std::move(options))) {}

AdminHttp::~AdminHttp() { stop(); }

bool AdminHttp::start(std::string* error) {
  State& s = *state_;
  s.server.new_task_queue = [] { return new httplib::ThreadPool(kAdminThreads); };
  s.server.set_keep_alive_max_count(1);
  s.server.set_read_timeout(5);
  s.server.set_write_timeout(5);
  s.server.set_payload_max_length(64 * 1024);
  // A second process on the same port must fail, not share it.
  s.server.set_socket_options([](socket_t fd) {
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  });
  s.routes();
  const Address& listen = s.options.listen;
  int port = listen.port;
  if (port == 0) {
    port = s.server.bind_to_any_port(listen.host.c_str());
  } else if (!s.server.bind_to_port(listen.host.c_str(), port)) {
    port = -1;
  }
  if (port <= 0) {
    *error = "admin.listen: cannot listen on " + listen.text() +
             ": the address is in use or not of this machine";
    return false;
  }
  s.port = static_cast<uint16_t>(port);
  s.thread = std::thread([&s] { s.server.listen_after_bind(); });
  while (!s.server.is_running()) std::this_thread::yield();
  return true;
}

void AdminHttp::stop() {
  State& s = *state_;
  if (!s.thread.joinable()) return;
  s.server.stop();
  s.thread.join();
  s.port = 0;
}

uint16_t AdminHttp::port() const { return state_->port; }

}  // namespace tidegate::control
