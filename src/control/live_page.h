// SPDX-License-Identifier: Apache-2.0
// The live page: files embedded at build time (tools/embed_page.py), the headers that keep it to
// this host, and short-lived tokens for the player it gives itself.
//
//   /  /live/...        the files; never ask for the admin token, there is nothing secret in them
//   /live/info          JSON: where the WebSocket is, how the page comes by a token
//   /live/token?user=   JSON: a token for a user called live-...
//
// All of it is off unless admin.live_page is set, which wants admin.listen on a loopback address.
// Tokens are given to whoever sends the admin token; the demo, whose signing secret lives as long
// as it runs, gives them to anybody on this machine. A page of another origin gets none: its
// browser names the origin (Sec-Fetch-Site) or, with a name made to lead to 127.0.0.1, that name
// (Host).
//
// It does no HTTP itself: admin_http.cc asks and answers.
//
// Thread: any. Owner: the admin server. Limits: kLiveUserMax.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "control/address.h"
#include "control/config.h"

namespace tidegate::control {

inline constexpr size_t kLiveUserMax = 32;
inline constexpr int64_t kLiveTokenSeconds = 300;

struct PageFile {
  std::string_view path;
  std::string_view type;  // Content-Type
  std::string_view body;
};

// All of them; static.
std::span<const PageFile> live_page_files();

struct LivePageOptions {
  bool on = false;
  Address websocket;         // as listened on, with its real port
  float max_speed = 0;       // metres a second
  std::string hs256_secret;  // empty: no tokens are given out
  std::string issuer;
  std::string audience;
};

// Takes over what tokens are signed with, where they may be given out at all: with an admin token
// to ask for, or in the demo. False with text in `error` when the secret's file cannot be read.
[[nodiscard]] bool set_live_tokens_blocking(const Config& config, LivePageOptions* options,
                                            std::string* error);

// nullptr when there is none.
const PageFile* find_page_file(std::string_view path);

// Where the page's WebSocket is: the address listened on, or for 0.0.0.0 and :: the host by which
// the page itself was reached. Empty: `host_header` is no plain name or address.
std::string websocket_origin(const Address& websocket, std::string_view host_header);

// Content-Security-Policy: scripts, styles and requests of this origin, and that one WebSocket.
std::string page_policy(std::string_view websocket_origin);

// Whether a request was meant for this machine's loopback name or address.
bool is_loopback_host(std::string_view host_header);

// live- and then letters, digits or '-'.
bool is_live_user(std::string_view user);

// `tokens`: "open", "admin" (send the admin token) or "none" (bring one of your own).
std::string live_info_json(const LivePageOptions& options, std::string_view host_header,
                           std::string_view tokens);
// {"token": "..."}; empty when no token could be made. `now`: Unix seconds.
std::string live_token_json(const LivePageOptions& options, std::string_view user, int64_t now);

}  // namespace tidegate::control
