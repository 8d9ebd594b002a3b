// SPDX-License-Identifier: Apache-2.0
#include "control/admin_paths.h"

#include "control/json_writer.h"

namespace tidegate::control {
namespace {

constexpr bool kGet = false;
constexpr bool kPost = true;
constexpr AdminPath kPaths[] = {
    {kGet, "/livez", "", "200 while every shard turns; else 503 with the reason. No token needed"},
    {kGet, "/readyz", "",
     "200 while new players are taken; 503 while it starts, drains or cannot. No token needed"},
    {kGet, "/healthz", "", "the same as /livez. No token needed"},
    {kGet, "/metrics", "", "all metrics, text for Prometheus (metrics.md)"},
    {kGet, "/api/v1", "", "this list"},
    {kGet, "/api/v1/connections", "offset, limit, shard, user, player",
     "connections: who, from where, transport, round trip, what waits for them"},
    {kGet, "/api/v1/sessions", "offset, limit, player",
     "sessions with and without a connection (sessions.md)"},
    {kGet, "/api/v1/shards", "", "each shard: processor, tick, players, entities, times, memory"},
    {kGet, "/api/v1/cells", "", "cells with their shard and load"},
    {kGet, "/api/v1/entities/<id>/history", "",
     "where an entity was lately; a player's id, or the number of an entity"},
    {kGet, "/api/v1/snapshots", "", "snapshot files and the last problem with them"},
    {kGet, "/api/v1/topics", "offset, limit, prefix", "topics: home, last offset, subscribers"},
    {kGet, "/api/v1/presence", "", "users and players by status and zone"},
    {kGet, "/api/v1/presence/history", "", "samples of the population"},
    {kGet, "/api/v1/users/<id>", "", "all that is held of a user (events.md)"},
    {kPost, "/api/v1/users/<id>/erase", "", "forgets a user (events.md)"},
    {kGet, "/api/v1/cluster", "", "other gateways and services (cluster.md)"},
    {kGet, "/api/v1/store", "", "where sessions are kept, and whether that works"},
    {kGet, "/api/v1/config", "", "every key with its value; secrets are not shown"},
    {kPost, "/api/v1/reload", "", "reads the configuration again (deployment.md)"},
    {kPost, "/api/v1/tls/reload", "", "reads certificates and keys again (tls.md)"},
    {kPost, "/api/v1/drain", "force=true",
     "begins a drain; with force ends the one that goes on at once (deployment.md)"},
    {kPost, "/api/v1/upgrade", "", "starts a new process that takes over (deployment.md)"},
    {kPost, "/api/v1/kick", "user, player, session, reason",
     "closes the connections that match all that is given"},
    {kPost, "/api/v1/revoke", "user, for, reason",
     "closes, and refuses the user's tokens that were made until now"},
};

}  // namespace

std::span<const AdminPath> admin_paths() { return kPaths; }

std::string admin_index_json() {
  JsonWriter json;
  json.begin_object().key("paths").begin_array();
  for (const AdminPath& p : kPaths) {
    json.begin_object().key("method").text(p.post ? "POST" : "GET").key("path").text(p.path);
    json.key("parameters").text(p.parameters).key("what").text(p.what).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

std::string admin_reference_markdown() {
  std::string out =
      "# The admin port\n"
      "\n"
      "<!-- Made from src/control/admin_paths.cc by unit-control; TIDEGATE_WRITE_REFERENCE=1 "
      "writes it. -->\n"
      "\n"
      "HTTP/1.1 on `admin.listen`; without that key there is none. With `admin.token` set "
      "everything but the health\n"
      "pages wants `Authorization: Bearer <token>`; beyond this machine a token is needed. Answers "
      "are JSON with a line\n"
      "feed, errors `{\"error\": \"<code>\", \"message\": \"...\"}`. Commands are posted, with "
      "their parameters in the query or\n"
      "as a form, and are refused when they come from a web page. `admin.live_page` adds [the live "
      "page](live-page.md).\n"
      "\n"
      "| | parameters | |\n"
      "|---|---|---|\n";
  for (const AdminPath& p : kPaths) {
    std::string what = p.what;
    // Names of pages become links.
    for (const char* page : {"metrics", "sessions", "events", "cluster", "deployment", "tls"}) {
      const std::string name = std::string(page) + ".md";
      if (const size_t at = what.find(name); at != std::string::npos) {
        what.replace(at, name.size(), "[" + name + "](" + name + ")");
      }
    }
    out += std::string("| ") + (p.post ? "POST" : "GET") + " `" + p.path + "` | " +
           (*p.parameters != '\0' ? "`" + std::string(p.parameters) + "`" : "") + " | " + what +
           " |\n";
  }
  out +=
      "\n"
      "`limit` is at most 1,000, `offset` counts from 0. What `kick`, `revoke`, `reload`, `drain` "
      "and `upgrade` do, with\n"
      "examples: [deployment.md](deployment.md#commands-of-the-admin-port).\n";
  return out;
}

}  // namespace tidegate::control
