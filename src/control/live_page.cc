// SPDX-License-Identifier: Apache-2.0
#include "control/live_page.h"

#include "control/auth_service.h"
#include "control/json_writer.h"
#include "crypto/jwt_sign.h"

namespace tidegate::control {
namespace {

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// The host of a Host header without its port: "[::1]:80" -> "[::1]". Empty: not a plain host.
std::string_view host_of(std::string_view header) {
  std::string_view host = header;
  if (!header.empty() && header.front() == '[') {
    host = header.substr(0, header.find(']') + 1);  // npos + 1: nothing
  } else {
    host = header.substr(0, header.find(':'));
  }
  const std::string_view rest = header.substr(host.size());
  if (!rest.empty() && rest.front() != ':') return {};
  for (size_t i = 0; i < host.size(); ++i) {
    const char c = host[i];
    const bool bracket = (c == '[' && i == 0) || (c == ']' && i + 1 == host.size());
    const bool inside = host.front() == '[' && c == ':';
    if (!is_alphanumeric(c) && c != '.' && c != '-' && !bracket && !inside) return {};
  }
  return host;
}

}  // namespace

const PageFile* find_page_file(std::string_view path) {
  for (const PageFile& file : live_page_files()) {
    if (file.path == path) return &file;
  }
  return nullptr;
}

bool set_live_tokens_blocking(const Config& config, LivePageOptions* options, std::string* error) {
  options->issuer = config.auth.issuer;
  options->audience = config.auth.audience;
  const bool signs = !config.auth.hs256_secret.empty() || !config.auth.hs256_secret_file.empty();
  if (!signs || (config.admin.token.empty() && !config.admin.live_tokens_open)) return true;
  return read_hs256_secret_blocking(config.auth, &options->hs256_secret, error);
}

std::string websocket_origin(const Address& websocket, std::string_view host_header) {
  if (!websocket.is_set()) return {};
  if (!websocket.is_any()) return "ws://" + websocket.text();
  const std::string_view host = host_of(host_header);
  if (host.empty()) return {};
  return "ws://" + std::string(host) + ':' + std::to_string(websocket.port);
}

std::string page_policy(std::string_view websocket_origin) {
  std::string policy =
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none'; "
      "form-action 'none'; frame-ancestors 'none'; connect-src 'self'";
  if (websocket_origin.empty()) return policy;
  policy += ' ' + std::string(websocket_origin);
  // Long polling, where WebSocket is blocked: the same port by HTTP.
  constexpr std::string_view kScheme = "ws";
  if (websocket_origin.starts_with(kScheme)) {
    policy += " http" + std::string(websocket_origin.substr(kScheme.size()));
  }
  return policy;
}

bool is_loopback_host(std::string_view host_header) {
  const std::string_view host = host_of(host_header);
  if (host == "localhost" || host == "[::1]") return true;
  if (!host.starts_with("127.")) return false;
  // 127.example.org is a name.
  return host.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_live_user(std::string_view user) {
  constexpr std::string_view kPrefix = "live-";
  if (!user.starts_with(kPrefix) || user.size() == kPrefix.size() || user.size() > kLiveUserMax) {
    return false;
  }
  for (const char c : user) {
    if (!is_alphanumeric(c) && c != '-') return false;
  }
  return true;
}

std::string live_info_json(const LivePageOptions& options, std::string_view host_header,
                           std::string_view tokens) {
  JsonWriter json;
  json.begin_object();
  json.key("websocket").text(websocket_origin(options.websocket, host_header));
  json.key("max_speed").number(options.max_speed);
  json.key("tokens").text(tokens);
  json.end_object();
  return json.take();
}

std::string live_token_json(const LivePageOptions& options, std::string_view user, int64_t now) {
  crypto::MintClaims claims;
  claims.subject = user;
  claims.issuer = options.issuer;
  claims.audience = options.audience;
  claims.issued_at = now;
  claims.expires_at = now + kLiveTokenSeconds;
  const std::string token = crypto::mint(options.hs256_secret, claims);
  if (token.empty()) return {};
  JsonWriter json;
  json.begin_object().key("token").text(token).end_object();
  return json.take();
}

}  // namespace tidegate::control
