// SPDX-License-Identifier: Apache-2.0
#include "control/admin_http.h"

#include <gtest/gtest.h>
#include <httplib.h>

#include <atomic>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <sstream>

#include "control/admin_paths.h"
#include "control/auth_service.h"

namespace tidegate::control {
namespace {

struct FakeSource final : AdminSource {
  std::atomic<bool> alive{true};
  std::mutex mutex;
  ConnectionsQuery last;

  Health livez() override {
    return alive ? Health{true, {}, {}} : Health{false, "shard \"0\" has not turned", {}};
  }
  Health readyz() override { return {false, "draining"}; }
  std::string metrics_text() override { return "tidegate_up 1\n"; }
  std::string connections_json(const ConnectionsQuery& query) override {
    const std::lock_guard lock(mutex);
    last = query;
    return R"({"total":0})";
  }
  std::string sessions_json(const SessionsQuery& query) override {
    return R"({"player":")" + query.player + R"("})";
  }
  std::string shards_json() override { return R"({"shards":[]})"; }
  std::string config_json() override { return R"({"limits":{}})"; }
  std::string entity_history_json(const std::string& id) override {
    return id == "ann b" ? R"({"entity_id":5})" : "";
  }
  AdminReply command(std::string_view name, const AdminParameters& in) override {
    return {200, "{\"command\":\"" + std::string(name) + ' ' + in.get("user") + "\"}"};
  }
  std::string cells_json() override { return R"({"cells":[]})"; }
  std::string snapshots_json() override { return R"({"files":[]})"; }
  CommandResult reload_tls() override {
    if (!alive) return {false, "old.pem: no such file", {}};
    return {true, "1 certificate in use", {"old.pem: expired"}};
  }
  std::string store_json() override { return R"({"kind":"memory"})"; }
  std::string population_json() override { return R"({"samples":[]})"; }
  std::string presence_json() override { return R"({"users":3})"; }
  std::string cluster_json() override { return "{\"cluster\":1}"; }
  std::string user_json(const std::string& user, bool erase) override {
    return "{\"user\":\"" + user + (erase ? "\",\"erased\":true}" : "\"}");
  }
  std::string topics_json(uint32_t offset, uint32_t limit, const std::string& prefix) override {
    return "{\"topics\":\"" + prefix + ' ' + std::to_string(offset) + ' ' + std::to_string(limit) +
           "\"}";
  }
};

// A server on a free port of the loopback address, and a client for it.
struct AdminHttpTest : testing::Test {
  FakeSource source;
  std::unique_ptr<AdminHttp> admin;
  std::unique_ptr<httplib::Client> client;

  void serve(const std::string& token, const LivePageOptions& live = {}) {
    admin = std::make_unique<AdminHttp>(source, AdminHttpOptions{{"127.0.0.1", 0}, token, live});
    std::string error;
    ASSERT_TRUE(admin->start(&error)) << error;
    ASSERT_NE(admin->port(), 0);
    client = std::make_unique<httplib::Client>("127.0.0.1", admin->port());
  }
  int status(const char* path, const httplib::Headers& headers = {}) {
    const httplib::Result r = client->Get(path, headers);
    return r ? r->status : -1;
  }
  static httplib::Headers bearer(const std::string& token) {
    return {{"Authorization", "Bearer " + token}};
  }
};

TEST_F(AdminHttpTest, EveryRouteAnswersItsPart) {
  serve("");
  EXPECT_EQ(client->Get("/metrics")->body, "tidegate_up 1\n");
  EXPECT_EQ(client->Get("/metrics")->get_header_value("Content-Type"),
            "text/plain; version=0.0.4; charset=utf-8");
  EXPECT_EQ(client->Get("/api/v1/shards")->body, "{\"shards\":[]}\n");
  EXPECT_EQ(client->Get("/api/v1/entities/ann%20b/history")->body, "{\"entity_id\":5}\n");
  EXPECT_EQ(client->Get("/api/v1/entities/nobody/history")->status, 404);
  EXPECT_EQ(client->Get("/api/v1/sessions?player=ann&limit=5")->body, "{\"player\":\"ann\"}\n");
  EXPECT_EQ(client->Get("/api/v1/sessions?limit=0")->status, 400);
  EXPECT_EQ(client->Get("/api/v1/snapshots")->body, "{\"files\":[]}\n");
  EXPECT_EQ(client->Get("/api/v1/config")->body, "{\"limits\":{}}\n");
  EXPECT_EQ(client->Get("/api/v1/config")->get_header_value("Content-Type"), "application/json");
}

TEST_F(AdminHttpTest, EverythingThatIsListedIsThere) {
  serve("");
  const std::string index = client->Get("/api/v1")->body;
  for (const AdminPath& p : admin_paths()) {
    EXPECT_NE(index.find('"' + std::string(p.path) + '"'), std::string::npos) << p.path;
    std::string path = p.path;
    if (const size_t at = path.find("<id>"); at != std::string::npos)
      path.replace(at, 4, "ann%20b");
    const httplib::Result got = client->Get(path.c_str());
    ASSERT_TRUE(got) << path;
    if (p.post) {
      EXPECT_EQ(got->status, 405) << path;
      EXPECT_EQ(client->Post(path.c_str(), "", "text/plain")->status, 200) << path;
    } else {
      EXPECT_EQ(got->status, path == "/readyz" ? 503 : 200) << path;
      EXPECT_EQ(client->Post(path.c_str(), "", "text/plain")->status,
                std::string_view(p.path).find('<') == std::string_view::npos ? 405 : 404)
          << path;
    }
  }
  EXPECT_NE(client->Get("/nothing")->body.find("GET /api/v1 lists"), std::string::npos);
}

TEST(AdminPaths, ThePageIsCurrent) {
  const char* file = TIDEGATE_SOURCE_ROOT "/docs/admin-api.md";
  if (std::getenv("TIDEGATE_WRITE_REFERENCE") != nullptr) {
    std::ofstream(file) << admin_reference_markdown();
  }
  std::ifstream in(file);
  std::stringstream page;
  page << in.rdbuf();
  EXPECT_EQ(page.str(), admin_reference_markdown());
}

TEST_F(AdminHttpTest, CommandsArePostedAndNotByPages) {
  serve("open sesame");
  const httplib::Headers good = bearer("open sesame");
  for (const char* name : kAdminCommands) {
    const std::string path = std::string("/api/v1/") + name;
    const httplib::Result answer =
        client->Post(path.c_str(), good, httplib::Params{{"user", "ann b"}});
    ASSERT_TRUE(answer);
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "{\"command\":\"" + std::string(name) + " ann b\"}\n");
    EXPECT_EQ(client->Post((path + "?user=x").c_str(), good, "", "text/plain")->status, 200);
    EXPECT_EQ(client->Post(path.c_str())->status, 401);
    const httplib::Result got = client->Get(path.c_str(), good);
    EXPECT_EQ(got->status, 405);
    EXPECT_EQ(got->get_header_value("Allow"), "POST");
    httplib::Headers page = good;
    page.emplace("Origin", "https://evil.example");
    EXPECT_EQ(client->Post(path.c_str(), page, "", "text/plain")->status, 403);
    httplib::Headers site = good;
    site.emplace("Sec-Fetch-Site", "same-origin");
    EXPECT_EQ(client->Post(path.c_str(), site, "", "text/plain")->status, 403);
  }
  EXPECT_EQ(client->Post("/api/v1/shards", good, "", "text/plain")->status, 405);
  EXPECT_EQ(client->Post("/api/v1/nothing", good, "", "text/plain")->status, 404);
}

TEST_F(AdminHttpTest, HealthTellsWhyNot) {
  serve("");
  EXPECT_EQ(client->Get("/livez")->status, 200);
  EXPECT_EQ(client->Get("/livez")->body, "{\"ok\":true}\n");
  const httplib::Result ready = client->Get("/readyz");
  EXPECT_EQ(ready->status, 503);
  EXPECT_EQ(ready->body, "{\"ok\":false,\"reason\":\"draining\"}\n");
  source.alive = false;
  EXPECT_EQ(client->Get("/livez")->status, 503);
  EXPECT_EQ(client->Get("/healthz")->body,
            "{\"ok\":false,\"reason\":\"shard \\\"0\\\" has not turned\"}\n");
}

TEST_F(AdminHttpTest, TheTokenGuardsEverythingButHealth) {
  serve("open sesame");
  for (const char* path : {"/livez", "/healthz"}) EXPECT_EQ(status(path), 200) << path;
  EXPECT_EQ(status("/readyz"), 503);
  for (const char* path :
       {"/metrics", "/api/v1/connections", "/api/v1/shards", "/api/v1/config", "/api/v1/snapshots",
        "/api/v1/sessions", "/api/v1/entities/ann%20b/history"}) {
    EXPECT_EQ(status(path), 401) << path;
    EXPECT_EQ(status(path, bearer("open sesam")), 401) << path;
    EXPECT_EQ(status(path, bearer("open sesame!")), 401) << path;
    EXPECT_EQ(status(path, bearer("")), 401) << path;
    EXPECT_EQ(status(path, {{"Authorization", "Basic open sesame"}}), 401) << path;
    EXPECT_EQ(status(path, {{"Authorization", "open sesame"}}), 401) << path;
    EXPECT_EQ(status(path, bearer("open sesame")), 200) << path;
    EXPECT_EQ(status(path, {{"Authorization", "bearer open sesame"}}), 200) << path;
  }
  const httplib::Result r = client->Get("/metrics");
  EXPECT_EQ(r->get_header_value("WWW-Authenticate"), "Bearer realm=\"tidegate admin\"");
  EXPECT_NE(r->body.find("\"error\":\"no_token\""), std::string::npos);
  EXPECT_EQ(r->body.find("sesame"), std::string::npos);
  // A HEAD request is no way around it.
  EXPECT_EQ(client->Head("/metrics")->status, 401);
}

TEST_F(AdminHttpTest, PageParametersAreChecked) {
  serve("");
  ASSERT_EQ(status("/api/v1/connections"), 200);
  EXPECT_EQ(source.last.limit, 100u);
  EXPECT_EQ(source.last.shard, -1);
  ASSERT_EQ(status("/api/v1/connections?offset=7&limit=20&user=al%20ice&player=%C3%A9&shard=1"),
            200);
  EXPECT_EQ(source.last.offset, 7u);
  EXPECT_EQ(source.last.limit, 20u);
  EXPECT_EQ(source.last.user, "al ice");
  EXPECT_EQ(source.last.player, "\xc3\xa9");
  EXPECT_EQ(source.last.shard, 1);
  for (const char* bad : {"limit=0", "limit=1001", "limit=", "limit=5x", "limit=-1", "offset=-1",
                          "offset=99999999999999999999", "shard=64", "shard=%00"}) {
    const httplib::Result r = client->Get((std::string("/api/v1/connections?") + bad).c_str());
    EXPECT_EQ(r->status, 400) << bad;
    EXPECT_NE(r->body.find("\"error\":\"bad_parameter\""), std::string::npos) << bad;
  }
}

TEST_F(AdminHttpTest, WrongRequestsGetJson) {
  serve("");
  const httplib::Result missing = client->Get("/api/v2/\"x\"");
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(missing->body,
            "{\"error\":\"not_found\",\"message\":\"there is no /api/v2/\\\"x\\\" here; GET "
            "/api/v1 lists "
            "what there is\"}\n");
  const httplib::Result post = client->Post("/metrics", "x", "text/plain");
  EXPECT_EQ(post->status, 405);
  EXPECT_EQ(post->get_header_value("Allow"), "GET, HEAD");
  EXPECT_EQ(client->Delete("/nothing")->status, 404);
  // Many ranges of one page would multiply it.
  const httplib::Result range = client->Get("/metrics", {{"Range", "bytes=0-,0-,0-"}});
  EXPECT_EQ(range->status, 400);
  EXPECT_NE(range->body.find("ranges are not served"), std::string::npos);
  EXPECT_EQ(client->Get(("/" + std::string(20'000, 'a')).c_str())->status, 414);
}

TEST_F(AdminHttpTest, AnotherServerOnThePortIsAClearError) {
  serve("");
  AdminHttp second(source, {{"127.0.0.1", admin->port()}, ""});
  std::string error;
  EXPECT_FALSE(second.start(&error));
  EXPECT_EQ(error, "admin.listen: cannot listen on 127.0.0.1:" + std::to_string(admin->port()) +
                       ": another process listens there; stop it or choose another port");
  AdminHttp elsewhere(source, {{"192.0.2.1", 0}, ""});
  EXPECT_FALSE(elsewhere.start(&error));
  EXPECT_EQ(error, "admin.listen: cannot listen on 192.0.2.1:0: this machine has no such address");
}

TEST_F(AdminHttpTest, StopsTwiceAndFreesThePort) {
  serve("");
  const uint16_t port = admin->port();
  EXPECT_EQ(status("/livez"), 200);
  admin->stop();
  admin->stop();
  EXPECT_EQ(admin->port(), 0);
  EXPECT_EQ(status("/livez"), -1);
  AdminHttp again(source, {{"127.0.0.1", port}, ""});
  std::string error;
  EXPECT_TRUE(again.start(&error)) << error;
}

TEST_F(AdminHttpTest, MoreClientsThanThreadsAreAllServed) {
  serve("");
  std::atomic<int> served{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 12; ++i) {
    clients.emplace_back([&] {
      httplib::Client mine("127.0.0.1", admin->port());
      for (int k = 0; k < 5; ++k) {
        const httplib::Result r = mine.Get("/metrics");
        if (r && r->status == 200) ++served;
      }
    });
  }
  for (std::thread& thread : clients) thread.join();
  EXPECT_EQ(served, 60);
}

// ---- the live page

LivePageOptions with_tokens() {
  LivePageOptions live;
  live.on = true;
  live.websocket = {"127.0.0.1", 7400};
  live.max_speed = 12;
  live.hs256_secret = "an embedded secret of more than 32 bytes";
  live.issuer = "someone";
  return live;
}

TEST_F(AdminHttpTest, ThereIsNoPageUnlessItIsTurnedOn) {
  serve("");
  for (const char* path : {"/", "/live/main.js", "/live/info", "/live/token?user=live-a"}) {
    EXPECT_EQ(status(path), 404) << path;
  }
  EXPECT_EQ(client->Post("/", "x", "text/plain")->status, 404);
}

TEST_F(AdminHttpTest, ThePageIsServedWithoutTheTokenAndStaysOnThisHost) {
  serve("the token", with_tokens());
  for (const char* path : {"/", "/live/main.js", "/live/live.css", "/live/sdk/index.js",
                           "/live/sdk/client.js", "/live/info"}) {
    EXPECT_EQ(status(path), 200) << path;
  }
  const httplib::Result page = client->Get("/");
  EXPECT_EQ(page->get_header_value("Content-Type"), "text/html; charset=utf-8");
  EXPECT_NE(page->body.find("/live/main.js"), std::string::npos);
  const std::string policy = page->get_header_value("Content-Security-Policy");
  EXPECT_NE(policy.find("default-src 'none'"), std::string::npos) << policy;
  EXPECT_NE(policy.find("connect-src 'self' ws://127.0.0.1:7400"), std::string::npos) << policy;
  EXPECT_EQ(page->get_header_value("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(client->Get("/live/main.js")->get_header_value("Content-Type"),
            "text/javascript; charset=utf-8");
  const std::string longest = "/live/" + std::string(8000, 'a');
  for (const char* path : {"/live", "/live/", "/live/nothing.js", "/live/../main.js",
                           "/live/mainxjs", "/live/sdk/index.d.ts", longest.c_str()}) {
    EXPECT_EQ(status(path), 404) << path;
  }
  EXPECT_EQ(client->Post("/", "x", "text/plain")->status, 405);
  EXPECT_EQ(client->Post("/live/main.js", "x", "text/plain")->status, 405);
}

TEST_F(AdminHttpTest, EveryFileThatTheSourcesHaveIsEmbedded) {
  for (const char* name : {"index.html", "live.css", "main.js", "map.js", "graphs.js",
                           "controls.js", "synthetic.js"}) {
    std::ifstream in(std::string(TIDEGATE_SOURCE_ROOT "/tools/live-page/") + name);
    std::stringstream text;
    text << in.rdbuf();
    const std::string path = std::string(name) == "index.html" ? "/" : std::string("/live/") + name;
    const PageFile* file = find_page_file(path);
    ASSERT_NE(file, nullptr) << path;
    EXPECT_TRUE(file->body == text.str()) << path;
  }
}

TEST_F(AdminHttpTest, ALiveTokenIsOneThatLogsIn) {
  serve("", with_tokens());
  EXPECT_NE(client->Get("/live/info")->body.find("\"tokens\":\"open\""), std::string::npos);
  const httplib::Result r = client->Get("/live/token?user=live-abc");
  ASSERT_EQ(r->status, 200);
  EXPECT_EQ(r->get_header_value("Cache-Control"), "no-store");
  const size_t at = r->body.find("\"token\":\"") + 9;
  const std::string token = r->body.substr(at, r->body.find('"', at) - at);
  Config::Auth auth;
  auth.hs256_secret = with_tokens().hs256_secret;
  auth.issuer = "someone";
  std::string error;
  const std::unique_ptr<AuthService> service = AuthService::make(auth, &error);
  ASSERT_TRUE(service) << error;
  const AuthOutcome outcome = service->verify(token, std::time(nullptr));
  ASSERT_TRUE(outcome.ok) << outcome.message;
  EXPECT_EQ(outcome.user_id, "live-abc");
  EXPECT_LE(outcome.expires_at, std::time(nullptr) + kLiveTokenSeconds);
}

TEST_F(AdminHttpTest, WithAnAdminTokenLiveTokensAskForIt) {
  serve("the token", with_tokens());
  EXPECT_NE(client->Get("/live/info")->body.find("\"tokens\":\"admin\""), std::string::npos);
  const char* path = "/live/token?user=live-a";
  EXPECT_EQ(status(path), 401);
  EXPECT_EQ(status(path, {{"Authorization", "Bearer wrong"}}), 401);
  EXPECT_EQ(status(path, {{"Authorization", "Bearer the token"}}), 200);
}

TEST_F(AdminHttpTest, LiveTokensAreForThePlayersOfThePageOnThisMachineOnly) {
  serve("", with_tokens());
  for (const char* user : {"", "alice", "live-", "LIVE-a", "live-a%20b", "live-a%22",
                           "live-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_EQ(status((std::string("/live/token?user=") + user).c_str()), 400) << user;
  }
  const char* path = "/live/token?user=live-a";
  EXPECT_EQ(status("/live/token"), 400);
  for (const char* host : {"evil.example", "127.0.0.1.evil.example:7401", "127.evil", "[::1",
                           "localhost.evil", "localhost evil", "192.168.1.5:7401"}) {
    EXPECT_EQ(status(path, {{"Host", host}}), 403) << host;
  }
  for (const char* host : {"localhost:7401", "127.0.0.1", "[::1]:7401", "127.0.0.9:1"}) {
    EXPECT_EQ(status(path, {{"Host", host}}), 200) << host;
  }
  for (const char* site : {"cross-site", "same-site", "else"}) {
    EXPECT_EQ(status(path, {{"Sec-Fetch-Site", site}}), 403) << site;
  }
  EXPECT_EQ(status(path, {{"Sec-Fetch-Site", "same-origin"}}), 200);
}

TEST_F(AdminHttpTest, WithoutASecretThereAreNoLiveTokens) {
  LivePageOptions live = with_tokens();
  live.hs256_secret.clear();
  serve("", live);
  EXPECT_EQ(status("/live/token?user=live-a"), 403);
  EXPECT_NE(client->Get("/live/info")->body.find("\"tokens\":\"none\""), std::string::npos);
}

TEST(LivePage, TokensAreSignedWithAnAdminTokenOrInTheDemoOnly) {
  Config config;
  config.auth.hs256_secret = with_tokens().hs256_secret;
  const auto signs = [&config] {
    LivePageOptions live;
    std::string error;
    EXPECT_TRUE(set_live_tokens_blocking(config, &live, &error)) << error;
    return !live.hs256_secret.empty();
  };
  EXPECT_FALSE(signs());
  config.admin.live_tokens_open = true;
  EXPECT_TRUE(signs());
  config.admin.live_tokens_open = false;
  config.admin.token = "the token";
  EXPECT_TRUE(signs());
  config.auth.hs256_secret.clear();
  EXPECT_FALSE(signs());
  config.auth.hs256_secret_file = "/nonexistent/secret";
  LivePageOptions live;
  std::string error;
  EXPECT_FALSE(set_live_tokens_blocking(config, &live, &error));
  EXPECT_NE(error.find("hs256_secret_file"), std::string::npos) << error;
}

TEST(LivePage, TheWebSocketIsWhereTheServerListens) {
  EXPECT_EQ(websocket_origin({"127.0.0.1", 7400}, "localhost:7401"), "ws://127.0.0.1:7400");
  EXPECT_EQ(websocket_origin({"::1", 7400, true}, "127.0.0.1:1"), "ws://[::1]:7400");
  const Address any{"0.0.0.0", 7400};
  EXPECT_EQ(websocket_origin(any, "game.example:7401"), "ws://game.example:7400");
  EXPECT_EQ(websocket_origin(any, "[fe80::1]:7401"), "ws://[fe80::1]:7400");
  // A forged name goes neither into the policy nor to the page.
  for (const char* host : {"", "a b", "x; script-src *", "a,b", "*", "[::1", "a/b", "[::1]x:80"}) {
    EXPECT_EQ(websocket_origin(any, host), "") << host;
  }
  EXPECT_EQ(websocket_origin({}, "localhost"), "");
}

}  // namespace
}  // namespace tidegate::control
