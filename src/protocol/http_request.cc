// SPDX-License-Identifier: Apache-2.0
#include "protocol/http_request.h"

#include <algorithm>

#include "protocol/http_head.h"
#include "protocol/http_upgrade.h"

namespace tidegate::protocol {

namespace http {

bool split_target(std::string_view target, std::string_view* path, std::string_view* query) {
  for (const char c : target) {
    if (c < 0x21 || c > 0x7e || c == '#') return false;
  }
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (target.size() > scheme.size() &&
        equals_ignoring_case(target.substr(0, scheme.size()), scheme)) {
      const size_t authority_end = target.find_first_of("/?", scheme.size());
      target = authority_end == std::string_view::npos ? "/" : target.substr(authority_end);
      break;
    }
  }
  const size_t mark = target.find('?');
  *path = target.substr(0, mark);
  *query = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
  if (path->empty()) *path = "/";  // "http://host?query"
  return path->front() == '/';
}

std::string_view find_auth_cookie(std::string_view cookies) {
  constexpr std::string_view kName = "auth_token=";
  while (!cookies.empty()) {
    const size_t end = cookies.find(';');
    std::string_view pair = trim(cookies.substr(0, end));
    cookies.remove_prefix(end == std::string_view::npos ? cookies.size() : end + 1);
    if (!pair.starts_with(kName)) continue;
    pair.remove_prefix(kName.size());
    if (pair.size() >= 2 && pair.front() == '"' && pair.back() == '"') {
      pair = pair.substr(1, pair.size() - 2);
    }
    return pair;
  }
  return {};
}

std::string_view bearer_of(std::string_view credentials) {
  constexpr std::string_view kScheme = "bearer ";
  if (credentials.size() <= kScheme.size() ||
      !equals_ignoring_case(credentials.substr(0, kScheme.size()), kScheme)) {
    return {};
  }
  return trim(credentials.substr(kScheme.size()));
}

bool is_host(std::string_view host) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  const auto is_letter = [](char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; };
  const bool literal = host.starts_with('[');
  const size_t name_end = literal ? host.find(']') : std::min(host.find(':'), host.size());
  if (name_end == std::string_view::npos || name_end == (literal ? 1 : 0)) return false;
  for (const char c : host.substr(literal, name_end - literal)) {
    constexpr std::string_view kOthers = "-._~!$&'()*+,;=%";
    const bool good = is_digit(c) || is_letter(c) || (literal && c == ':') ||
                      (c != '\0' && kOthers.find(c) != std::string_view::npos);
    if (!good) return false;
  }
  const std::string_view port = host.substr(name_end + literal);
  return port.empty() ||
         (port.front() == ':' && std::all_of(port.begin() + 1, port.end(), is_digit));
}

bool take_parameter(std::string_view& query, std::string_view* name, std::string_view* value) {
  while (!query.empty()) {
    const size_t end = query.find('&');
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(end == std::string_view::npos ? query.size() : end + 1);
    const size_t equals = pair.find('=');
    if (equals == std::string_view::npos) continue;
    *name = pair.substr(0, equals);
    *value = pair.substr(equals + 1);
    return true;
  }
  return false;
}

namespace {

struct Phrase {
  int status;
  std::string_view text;
};
constexpr Phrase kPhrases[] = {
    {200, "OK"},
    {204, "No Content"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {413, "Content Too Large"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {503, "Service Unavailable"},
};

}  // namespace

std::string_view phrase_of(int status) {
  for (const Phrase& phrase : kPhrases) {
    if (phrase.status == status) return phrase.text;
  }
  return "Refused";
}

}  // namespace http

bool percent_decode(std::string_view value, std::span<char> out, std::string_view* decoded) {
  const auto hex = [](char c) {
    if (c >= '0' && c <= '9') return c - '0';
    const char lower = static_cast<char>(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
  };
  size_t size = 0;
  for (size_t i = 0; i < value.size(); ++i) {
    if (size == out.size()) return false;
    if (value[i] != '%') {
      out[size++] = value[i];
      continue;
    }
    if (value.size() - i < 3) return false;
    const int high = hex(value[i + 1]);
    const int low = hex(value[i + 2]);
    if (high < 0 || low < 0) return false;
    out[size++] = static_cast<char>(high * 16 + low);
    i += 2;
  }
  *decoded = {out.data(), size};
  return true;
}

UpgradeError UpgradeRequest::take_query() {
  std::span<char> room(decoded_);  // decoded copies share one buffer
  bool has_token = false;
  bool has_resume = false;
  std::string_view name, value;
  for (std::string_view rest = query; http::take_parameter(rest, &name, &value);) {
    const bool is_token = name == "token";
    if (!is_token && name != "resume") continue;
    bool& seen = is_token ? has_token : has_resume;
    if (seen) {
      return {400, "malformed_upgrade",
              "The query names token or resume more than once. Send it once."};
    }
    seen = true;
    std::string_view& field = is_token ? token : resume;
    field = value;
    if (field.find('%') == std::string_view::npos) continue;
    if (!percent_decode(field, room, &field)) {
      return {400, "malformed_upgrade",
              "The query has a bad percent escape, or a decoded value above 4096 bytes."};
    }
    room = room.subspan(field.size());
  }
  return {};
}

}  // namespace tidegate::protocol
