// SPDX-License-Identifier: Apache-2.0
#include "control/admin_http.h"

#include <httplib.h>

#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

#include "control/admin_paths.h"
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
  if (!health.degraded.empty()) json.key("degraded").text(health.degraded);
  if (!health.note.empty()) json.key("note").text(health.note);
  json.end_object();
  out.status = health.ok ? 200 : 503;
  out.set_content(json.take() + '\n', kJson);
}

// A fixed number of threads and a bounded line before them. When it is full the accepting thread
// waits, and further clients wait in the kernel's backlog.
class BoundedPool final : public httplib::TaskQueue {
 public:
  BoundedPool() {
    for (uint32_t i = 0; i < kAdminThreads; ++i) threads_.emplace_back([this] { work(); });
  }
  void enqueue(std::function<void()> task) override {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [&] { return tasks_.size() < kAdminWaiting; });
    tasks_.push_back(std::move(task));
    ready_.notify_one();
  }
  // Called by the accepting thread after its last enqueue; what waits is still served.
  void shutdown() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  void work() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex_);
        ready_.wait(lock, [&] { return stopping_ || !tasks_.empty(); });
        if (tasks_.empty()) return;
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      room_.notify_one();
      task();
    }
  }

  std::mutex mutex_;  // everything below
  std::condition_variable ready_, room_;
  std::deque<std::function<void()>> tasks_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

// httplib does not keep the reason of a failed bind; asking the kernel again tells it.
std::string reason_of_failed_bind(const Address& address) {
  const sockaddr_in6 v6 = address.to_sockaddr();
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = v6.sin6_port;
  std::memcpy(&v4.sin_addr, &v6.sin6_addr.s6_addr[12], 4);
  const int fd = socket(address.ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return std::strerror(errno);
  const int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  const int result = address.ipv6 ? bind(fd, reinterpret_cast<const sockaddr*>(&v6), sizeof v6)
                                  : bind(fd, reinterpret_cast<const sockaddr*>(&v4), sizeof v4);
  // A bind that works now fails at listen when somebody else listens with SO_REUSEADDR.
  const int code = result == 0 && listen(fd, 1) == 0 ? 0 : errno;
  close(fd);
  switch (code) {
    case 0:
      return "the address was in use a moment ago; try again";
    case EADDRINUSE:
      return "another process listens there; stop it or choose another port";
    case EADDRNOTAVAIL:
      return "this machine has no such address";
    case EACCES:
      return "no permission for this port";
    default:
      return std::strerror(code);
  }
}

// The token of `Authorization: Bearer <token>`, empty when there is none. RFC 9110 section 11.1:
// the name of the scheme is not case-sensitive.
std::string_view bearer_token(std::string_view header) {
  constexpr std::string_view kScheme = "bearer ";
  if (header.size() < kScheme.size()) return {};
  for (size_t i = 0; i < kScheme.size(); ++i) {
    const char c = header[i];
    if ((c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c) != kScheme[i]) return {};
  }
  return header.substr(kScheme.size());
}

constexpr const char* kCommandPrefix = "/api/v1/";
constexpr const char* kTlsReload = "/api/v1/tls/reload";
constexpr const char* kUsersPrefix = "/api/v1/users/";
constexpr const char* kLivePaths[] = {"/live/info", "/live/token"};

void answer_not_found(const httplib::Request& in, httplib::Response& out) {
  answer_error(out, 404, "not_found",
               "there is no " + in.path + " here; GET /api/v1 lists what there is");
}

int64_t unix_seconds() {
  return std::chrono::duration_cast<std::chrono::seconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
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
  std::atomic<bool> ended{false};  // the accepting thread has returned
  uint16_t port = 0;

  bool permitted(const httplib::Request& in, httplib::Response& out) const {
    if (options.token.empty()) return true;
    const std::string header = in.get_header_value("Authorization");
    const std::string_view given = bearer_token(header);
    if (crypto::equal_constant_time(given, options.token)) return true;
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

  bool exists(const std::string& path) const {
    for (const AdminPath& known : admin_paths()) {
      if (!known.post && path == known.path) return true;
    }
    if (!options.live.on) return false;
    for (const char* known : kLivePaths) {
      if (path == known) return true;
    }
    return find_page_file(path) != nullptr;
  }

  static bool is_command(const std::string& path) {
    if (path.starts_with(kUsersPrefix) && path.ends_with("/erase")) return true;
    for (const AdminPath& known : admin_paths()) {
      if (known.post && path == known.path) return true;
    }
    return false;
  }

  // A page in an operator's browser can post to this machine, and without admin.token that would
  // do. Browsers say where a post comes from; programs do not.
  static bool from_no_page(const httplib::Request& in, httplib::Response& out) {
    const std::string site = in.get_header_value("Sec-Fetch-Site");
    if (!in.has_header("Origin") && (site.empty() || site == "none")) return true;
    answer_error(out, 403, "not_permitted", "commands are not taken from web pages");
    return false;
  }

  void run_command(const char* name, const httplib::Request& in, httplib::Response& out) {
    AdminParameters parameters;
    for (const auto& [key, value] : in.params) parameters.of.emplace(key, value);
    const AdminReply reply = source.command(name, parameters);
    out.status = reply.status;
    out.set_content(reply.json + '\n', kJson);
  }

  void reload_tls(httplib::Response& out) const {
    const CommandResult result = source.reload_tls();
    if (!result.ok) return answer_error(out, 409, "not_reloaded", result.text);
    JsonWriter json;
    json.begin_object().key("ok").boolean(true).key("text").text(result.text);
    json.key("warnings").begin_array();
    for (const std::string& warning : result.warnings) json.text(warning);
    json.end_array().end_object();
    out.set_content(json.take() + '\n', kJson);
  }

  // One route for each file: the library's patterns are std::regex, whose stack grows with the
  // length of what a client asks for as soon as a pattern repeats anything.
  void live_routes() {
    if (!options.live.on) return;
    for (const PageFile& file : live_page_files()) {
      server.Get(std::string(file.path), [this](const httplib::Request& in,
                                                httplib::Response& out) { page_file(in, out); });
    }
    server.Get("/live/info", [this](const httplib::Request& in, httplib::Response& out) {
      const char* tokens = options.live.hs256_secret.empty() ? "none"
                           : options.token.empty()           ? "open"
                                                             : "admin";
      out.set_content(live_info_json(options.live, in.get_header_value("Host"), tokens) + '\n',
                      kJson);
    });
    get("/live/token",
        [this](const httplib::Request& in, httplib::Response& out) { live_token(in, out); });
  }

  void page_file(const httplib::Request& in, httplib::Response& out) const {
    const PageFile* file = find_page_file(in.path);
    if (file == nullptr) {  // the dot of a route's pattern stands for anything
      answer_not_found(in, out);
      return;
    }
    out.set_header(
        "Content-Security-Policy",
        page_policy(websocket_origin(options.live.websocket, in.get_header_value("Host"))));
    out.set_header("Referrer-Policy", "no-referrer");
    out.set_header("Cache-Control", "no-cache");
    out.set_content(file->body.data(), file->body.size(), std::string(file->type));
  }

  void live_token(const httplib::Request& in, httplib::Response& out) const {
    const std::string user = in.get_param_value("user");
    const std::string site = in.get_header_value("Sec-Fetch-Site");
    out.set_header("Cache-Control", "no-store");
    if (options.live.hs256_secret.empty()) {
      answer_error(out, 403, "not_permitted",
                   "tokens are given out with admin.token and auth.hs256_secret set; or bring one "
                   "made by `tidegate token`");
    } else if (!is_loopback_host(in.get_header_value("Host")) ||
               (!site.empty() && site != "same-origin" && site != "none")) {
      answer_error(out, 403, "not_permitted", "tokens are given to this machine's own page only");
    } else if (!is_live_user(user)) {
      answer_error(out, 400, "bad_parameter", "user must be live- and letters or digits");
    } else {
      out.set_content(live_token_json(options.live, user, unix_seconds()) + '\n', kJson);
    }
  }

  void routes() {
    // Before a route is looked for and a body is read.
    server.set_pre_routing_handler([this](const httplib::Request& in, httplib::Response& out) {
      using Outcome = httplib::Server::HandlerResponse;
      if (in.has_header("Range")) {  // a hundred ranges of one page would make a huge answer
        answer_error(out, 400, "bad_request", "ranges are not served");
        return Outcome::Handled;
      }
      if ((in.method == "GET" || in.method == "HEAD") && !is_command(in.path)) {
        return Outcome::Unhandled;
      }
      if (in.method == "POST" && is_command(in.path)) return Outcome::Unhandled;
      if (is_command(in.path)) {
        out.set_header("Allow", "POST");
        answer_error(out, 405, "method_not_allowed", "only POST is spoken here");
        return Outcome::Handled;
      }
      if (exists(in.path)) {
        out.set_header("Allow", "GET, HEAD");
        answer_error(out, 405, "method_not_allowed", "only GET is spoken here");
        return Outcome::Handled;
      }
      answer_not_found(in, out);
      return Outcome::Handled;
    });
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
    get("/api/v1", [](const httplib::Request&, httplib::Response& out) {
      out.set_content(admin_index_json() + '\n', kJson);
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
    get("/api/v1/sessions", [this](const httplib::Request& in, httplib::Response& out) {
      int64_t offset = 0;
      int64_t limit = 100;
      if (!number(in, out, "offset", 0, 10'000'000, &offset) ||
          !number(in, out, "limit", 1, kConnectionsPageMax, &limit)) {
        return;
      }
      out.set_content(
          source.sessions_json({static_cast<uint32_t>(offset), static_cast<uint32_t>(limit),
                                in.get_param_value("player")}) +
              '\n',
          kJson);
    });
    get("/api/v1/shards", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.shards_json() + '\n', kJson);
    });
    get("/api/v1/cells", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.cells_json() + '\n', kJson);
    });
    get("/api/v1/config", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.config_json() + '\n', kJson);
    });
    get(R"(/api/v1/entities/([^/]{1,192})/history)",
        [this](const httplib::Request& in, httplib::Response& out) {
          const std::string json = source.entity_history_json(in.matches[1].str());
          if (json.empty()) {
            answer_error(out, 404, "no_entity", "there is no such entity in the world");
          } else {
            out.set_content(json + '\n', kJson);
          }
        });
    get("/api/v1/snapshots", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.snapshots_json() + '\n', kJson);
    });
    for (const char* name : kAdminCommands) {
      server.Post(kCommandPrefix + std::string(name),
                  [this, name](const httplib::Request& in, httplib::Response& out) {
                    if (permitted(in, out) && from_no_page(in, out)) run_command(name, in, out);
                  });
    }
    server.Post(kTlsReload, [this](const httplib::Request& in, httplib::Response& out) {
      if (permitted(in, out) && from_no_page(in, out)) reload_tls(out);
    });
    get("/api/v1/cluster", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.cluster_json() + '\n', kJson);
    });
    get("/api/v1/store", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.store_json() + '\n', kJson);
    });
    get("/api/v1/presence", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.presence_json() + '\n', kJson);
    });
    get("/api/v1/presence/history", [this](const httplib::Request&, httplib::Response& out) {
      out.set_content(source.population_json() + '\n', kJson);
    });
    get(R"(/api/v1/users/([^/]{1,192}))",
        [this](const httplib::Request& in, httplib::Response& out) {
          out.set_content(source.user_json(in.matches[1], false) + '\n', kJson);
        });
    server.Post(R"(/api/v1/users/([^/]{1,192})/erase)",
                [this](const httplib::Request& in, httplib::Response& out) {
                  if (!permitted(in, out) || !from_no_page(in, out)) return;
                  out.set_content(source.user_json(in.matches[1], true) + '\n', kJson);
                });
    get("/api/v1/topics", [this](const httplib::Request& in, httplib::Response& out) {
      int64_t offset = 0;
      int64_t limit = 100;
      if (!number(in, out, "offset", 0, 10'000'000, &offset) ||
          !number(in, out, "limit", 1, kConnectionsPageMax, &limit)) {
        return;
      }
      out.set_content(
          source.topics_json(static_cast<uint32_t>(offset), static_cast<uint32_t>(limit),
                             in.get_param_value("prefix")) +
              '\n',
          kJson);
    });
    live_routes();
    server.set_error_handler([](const httplib::Request& in, httplib::Response& out) {
      if (!out.body.empty()) return;
      if (out.status == 404) {
        answer_not_found(in, out);
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
  s.server.new_task_queue = [] { return new BoundedPool; };
  s.server.set_keep_alive_max_count(1);
  s.server.set_read_timeout(5);
  s.server.set_write_timeout(5);
  s.server.set_payload_max_length(64 * 1024);
  s.server.set_default_headers({{"X-Content-Type-Options", "nosniff"}});
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
    *error =
        "admin.listen: cannot listen on " + listen.text() + ": " + reason_of_failed_bind(listen);
    return false;
  }
  s.port = static_cast<uint16_t>(port);
  s.thread = std::thread([&s] {
    s.server.listen_after_bind();
    s.ended.store(true, std::memory_order_release);  // partner: the loop below
  });
  // httplib's stop() does nothing before its loop runs.
  while (!s.server.is_running() && !s.ended.load(std::memory_order_acquire)) {
    std::this_thread::yield();
  }
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
