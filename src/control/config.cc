// SPDX-License-Identifier: Apache-2.0
#define TOML_EXCEPTIONS 0
// toml++ 3.3 asserts where a damaged file can lead ("[.a]"), and reports an error right after.
#define TOML_ASSERT(expr) static_assert(true)
#include "control/config.h"

#include <toml++/toml.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "bus/backend.h"
#include "control/config_diff.h"
#include "control/config_table.h"
#include "control/https_fetch.h"
#include "control/json_writer.h"
#include "control/toml_lexical.h"
#include "crypto/jwt.h"
#include "crypto/key_set.h"

namespace tidegate::control {
namespace {

std::string shown(const KeySpec& key, std::string_view value) {
  if (key.type == KeyType::kSecret) return "(secret)";
  constexpr size_t kShownBytes = 80;
  // Numbers and flags as they stand in a file, other text with quotes.
  const bool bare = key.type == KeyType::kCount || key.type == KeyType::kNumber;
  if ((bare && !value.empty() && value.find_first_not_of("0123456789+-.e") == value.npos) ||
      (key.type == KeyType::kFlag && (value == "true" || value == "false"))) {
    return std::string(value.substr(0, kShownBytes)) + (value.size() > kShownBytes ? "..." : "");
  }
  std::string out;
  append_json_string(out, value.substr(0, kShownBytes));
  return value.size() > kShownBytes ? out + "..." : out;
}

std::string unknown_key(std::string_view name) {
  std::string out = "unknown key " + std::string(name);
  if (const char* near = nearest_key(name)) out += "; did you mean " + std::string(near) + "?";
  return out;
}

std::string expected_of(KeyType type) {
  if (type == KeyType::kFlag) return name_of(type);
  return (type == KeyType::kAddress ? "an " : "a ") + std::string(name_of(type));
}

// A TOML value as the text that parse_value reads; false for a type that fits no key.
bool to_text(const toml::node& node, std::string* out) {
  if (const auto* s = node.as_string()) {
    *out = s->get();
  } else if (const auto* i = node.as_integer()) {
    *out = std::to_string(i->get());
  } else if (const auto* f = node.as_floating_point()) {
    char text[32];
    std::snprintf(text, sizeof text, "%.17g", f->get());
    *out = text;
  } else if (const auto* b = node.as_boolean()) {
    *out = b->get() ? "true" : "false";
  } else if (const auto* array = node.as_array()) {
    *out = "[";
    for (const toml::node& item : *array) {
      std::string one;
      if ((!item.is_number() && !item.is_string()) || !to_text(item, &one)) return false;
      if (out->size() > 1) *out += ", ";
      if (item.is_string()) {
        append_json_string(*out, one);
      } else {
        *out += one;
      }
    }
    *out += ']';
  } else {
    return false;
  }
  return true;
}

// Whether the kind of the TOML value is one the key's type may be written in.
bool fits(const KeySpec& key, const toml::node& node) {
  switch (key.type) {
    case KeyType::kText:
    case KeyType::kSecret:
    case KeyType::kPath:
    case KeyType::kAddress:
      return node.is_string();
    case KeyType::kCount:
      return node.is_integer();
    case KeyType::kSize:
      return node.is_string() || node.is_integer();
    case KeyType::kDuration:
      return node.is_string();
    case KeyType::kNumber:
      return node.is_number();
    case KeyType::kFlag:
      return node.is_boolean();
    case KeyType::kCpus:
    case KeyType::kVector:
    case KeyType::kTexts:
    case KeyType::kNetworks:
      return node.is_array();
  }
  return false;
}

// What Kubernetes puts into the environment for a service named tidegate or tidegate-<name>.
bool is_service_link(std::string_view variable, std::string_view value) {
  return variable.find("_SERVICE_HOST") != std::string_view::npos ||
         variable.find("_SERVICE_PORT") != std::string_view::npos ||
         (variable.find("_PORT") != std::string_view::npos &&
          (value.rfind("tcp://", 0) == 0 || value.rfind("udp://", 0) == 0 ||
           variable.find("_PORT_") != std::string_view::npos));
}

bool is_section(std::string_view name) {
  for (const KeySpec& key : config_keys()) {
    const std::string_view known = key.name;
    if (known.substr(0, known.find('.')) == name) return true;
  }
  return false;
}

class Loader {
 public:
  explicit Loader(const ConfigInput& input) : input_(input) {
    out_.sources.resize(config_keys().size());
  }

  LoadedConfig load() {
    read_file();
    read_environment();
    read_flags();
    check_together();
    check_secret();
    return std::move(out_);
  }

 private:
  void error(const std::string& where, const std::string& what, std::string_view key = {}) {
    out_.errors.push_back(where.empty() ? what : where + ": " + what);
    out_.error_keys.emplace_back(key);
  }

  Source::Kind kind_of(const char* name) const {
    return out_.sources[static_cast<size_t>(find_key(name))].kind;
  }

  void set(int index, std::string_view text, Source source, const std::string& where) {
    const KeySpec& key = config_keys()[static_cast<size_t>(index)];
    const std::string wrong = parse_value(key, text, &out_.config);
    if (!wrong.empty()) {
      error(where, std::string(key.name) + " = " + shown(key, text) + ": " + wrong, key.name);
      return;
    }
    if (std::string_view(key.name) == "tls.certificates" && source.kind == Source::Kind::kFile) {
      for (std::string& pair : out_.config.tls.certificates) resolve_pair(&pair);
    }
    if (key.type == KeyType::kPath && !text.empty() && text.front() != '/' &&
        source.kind == Source::Kind::kFile) {
      const size_t slash = input_.file_name.rfind('/');
      if (slash != std::string::npos) {
        *static_cast<std::string*>(key.field(out_.config)) =
            input_.file_name.substr(0, slash + 1) + std::string(text);
      }
    }
    out_.sources[static_cast<size_t>(index)] = std::move(source);
  }

  // "certificate:key" with paths that start at the file's folder.
  void resolve_pair(std::string* pair) const {
    const size_t slash = input_.file_name.rfind('/');
    if (slash == std::string::npos) return;
    const std::string folder = input_.file_name.substr(0, slash + 1);
    const size_t colon = pair->find(':');
    if (colon != std::string::npos && colon + 1 < pair->size() && (*pair)[colon + 1] != '/') {
      pair->insert(colon + 1, folder);
    }
    if (pair->front() != '/') pair->insert(0, folder);
  }

  void read_file() {
    if (input_.file_text.empty()) return;
    if (const uint32_t line = line_beyond_ascii(input_.file_text); line != 0) {
      error(input_.file_name + ":" + std::to_string(line),
            "characters beyond ASCII stand only in strings and comments");
      return;
    }
    const toml::parse_result result =
        toml::parse(std::string_view(input_.file_text), std::string_view(input_.file_name));
    if (!result) {
      error(input_.file_name + ":" + std::to_string(result.error().source().begin.line),
            std::string(result.error().description()));
      return;
    }
    // The parser sorts by name; messages follow the file.
    struct Found {
      std::string name;
      const toml::node* value;
      uint32_t line() const { return value->source().begin.line; }
    };
    std::vector<Found> found;
    for (const auto& [section, node] : result.table()) {
      const std::string name(section.str());
      const toml::table* table = node.as_table();
      if (table == nullptr || (table->empty() && !is_section(name))) found.push_back({name, &node});
      if (table == nullptr) continue;
      for (const auto& [key, value] : *table) {
        found.push_back({name + '.' + std::string(key.str()), &value});
      }
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const Found& a, const Found& b) { return a.line() < b.line(); });
    for (const Found& f : found) read_key(f.name, *f.value);
  }

  void read_key(const std::string& name, const toml::node& value) {
    const uint32_t line = value.source().begin.line;
    const std::string where = input_.file_name + ":" + std::to_string(line);
    const int index = find_key(name);
    if (name.find('.') == std::string::npos) {
      error(where, unknown_key(name) + " (keys stand in sections, as in [listen])", name);
      return;
    }
    if (index < 0) {
      error(where, unknown_key(name), name);
      return;
    }
    const KeySpec& key = config_keys()[static_cast<size_t>(index)];
    std::string text;
    if (const bool known = to_text(value, &text); !known || !fits(key, value)) {
      const bool scalar = known && !value.is_array();
      error(where,
            name + (scalar ? " = " + shown(key, text) : "") + ": expected " + expected_of(key.type),
            name);
      return;
    }
    set(index, text, {Source::Kind::kFile, line, input_.file_name}, where);
  }

  void read_environment() {
    constexpr std::string_view kPrefix = "TIDEGATE_";
    for (const auto& [variable, value] : input_.environment) {
      if (variable.rfind(kPrefix, 0) != 0) continue;
      int found = -1;
      for (size_t i = 0; i < config_keys().size(); ++i) {
        std::string name = config_keys()[i].name;
        for (char& c : name)
          c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        if (variable.substr(kPrefix.size()) == name) found = static_cast<int>(i);
      }
      if (found >= 0) {
        set(found, value, {Source::Kind::kEnvironment, 0, variable}, variable);
        continue;
      }
      std::string guess = variable.substr(kPrefix.size());
      for (char& c : guess) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const size_t underscore = guess.find('_');
      if (underscore != std::string::npos) guess[underscore] = '.';
      // Other variables of this prefix are not ours to judge: programs around us use some.
      if (is_service_link(variable, value)) continue;
      if (is_section(guess.substr(0, underscore)) || nearest_key(guess) != nullptr) {
        error(variable, unknown_key(guess), guess);
      }
    }
  }

  void read_flags() {
    for (const std::string& flag : input_.flags) {
      if (!is_config_flag(flag)) {
        error(flag, "expected --section.key=value");
        continue;
      }
      const size_t equals = flag.find('=');
      const std::string name = flag.substr(2, equals - 2);
      const int index = find_key(name);
      if (index < 0) {
        error(flag.substr(0, equals), unknown_key(name), name);
      } else {
        set(index, std::string_view(flag).substr(equals + 1),
            {Source::Kind::kFlag, 0, flag.substr(0, equals)}, flag.substr(0, equals));
      }
    }
  }

  // What only two keys together can get wrong.
  void check_together() {
    choose_secret();
    const Config& c = out_.config;
    if (c.admin.listen.is_set() && !c.admin.listen.is_loopback() && c.admin.token.empty()) {
      error({},
            "admin.listen = \"" + c.admin.listen.text() +
                "\": beyond this machine it needs admin.token; set one, or listen on 127.0.0.1",
            "admin.listen");
    }
    if (c.admin.live_page && (!c.admin.listen.is_set() || !c.admin.listen.is_loopback())) {
      error({}, "admin.live_page needs admin.listen on this machine, such as 127.0.0.1:7401");
    }
    const auto one_of = [&](const char* key, const std::string& value,
                            std::initializer_list<const char*> allowed) {
      std::string list;
      for (const char* a : allowed) {
        if (value == a) return;
        if (!list.empty()) list += ", ";
        list += a;
      }
      error({}, std::string(key).append(" must be one of: ").append(list), key);
    };
    one_of("listen.proxy_protocol", c.listen.proxy_protocol, {"off", "required"});
    one_of("listen.forwarded", c.listen.forwarded, {"x-forwarded-for", "forwarded", "off"});
    one_of("io.backend", c.io.backend, {"auto", "io_uring", "epoll"});
    one_of("security.seccomp", c.security.seccomp, {"off", "refuse", "kill"});
    one_of("log.level", c.log.level, {"debug", "info", "warning", "error"});
    if (c.listen.proxy_protocol == "required" && c.listen.trusted.empty()) {
      error({},
            "listen.proxy_protocol = \"required\" needs listen.trusted: the proxies that connect",
            "listen.trusted");
    }
    for (const std::string& origin : c.listen.origins) {
      if (origin != "null" && origin.find("://") == std::string::npos) {
        error({}, "listen.origins: " + origin + " has no scheme; write https://" + origin,
              "listen.origins");
      }
    }
    for (const std::string& text : c.auth.grants) {
      crypto::ClaimGrant grant;
      std::string wrong;
      if (!crypto::parse_claim_grant(text, &grant, &wrong)) {
        error({}, "auth.grants: " + text + ": " + wrong, "auth.grants");
      }
    }
    if (const char* wrong = c.auth.jwks_url.empty() ? nullptr : check_fetch_url(c.auth.jwks_url)) {
      error({}, std::string("auth.jwks_url: ") + wrong, "auth.jwks_url");
    }
    if (c.drain.grace + c.drain.spread > c.drain.deadline) {
      error({}, "drain.deadline must be at least drain.grace and drain.spread together",
            "drain.deadline");
    }
    if (c.listen.tls.is_set() && c.tls.certificates.empty()) {
      error({}, "listen.tls needs tls.certificates, as in [\"fullchain.pem:privkey.pem\"]",
            "tls.certificates");
    }
    if (c.tls.min_version != "1.2" && c.tls.min_version != "1.3") {
      error({}, "tls.min_version must be \"1.2\" or \"1.3\"", "tls.min_version");
    }
    if (c.tls.ticket_rotation.ns != 0 && c.tls.ticket_rotation < base::seconds(60)) {
      error({}, "tls.ticket_rotation must be 0s or at least 60s", "tls.ticket_rotation");
    }
    if (c.heartbeat.timeout <= c.heartbeat.interval) {
      error({}, "heartbeat.timeout must be longer than heartbeat.interval, best twice as long",
            "heartbeat.timeout");
    }
    if (c.world.view_distance > c.world.cell_size * 3.2F) {
      error({}, "world.view_distance must be at most 3.2 times world.cell_size",
            "world.view_distance");
    }
    if (c.interest.full_rate_distance > c.interest.half_rate_distance ||
        c.interest.half_rate_distance > c.interest.quarter_rate_distance) {
      error({},
            "interest.full_rate_distance, half_rate_distance and quarter_rate_distance must rise "
            "in that order");
    }
    if (c.budget.bytes_per_second > c.budget.bytes_per_second_max) {
      error({}, "budget.bytes_per_second must be at most budget.bytes_per_second_max");
    }
    for (size_t i = 0; i < 3; ++i) {
      if (c.world.bounds_min[i] >= c.world.bounds_max[i]) {
        error({}, "world.bounds_min must be below world.bounds_max on every axis",
              "world.bounds_min");
        break;
      }
    }
    for (size_t i = 0; i < 3; ++i) {
      if (c.world.spawn[i] < c.world.bounds_min[i] || c.world.spawn[i] > c.world.bounds_max[i]) {
        error({}, "world.spawn must lie inside world.bounds_min and world.bounds_max",
              "world.spawn");
        break;
      }
    }
    for (const size_t i : {size_t{0}, size_t{2}}) {
      if (c.world.spawn_radius > 0 &&
          (c.world.spawn[i] - c.world.spawn_radius < c.world.bounds_min[i] ||
           c.world.spawn[i] + c.world.spawn_radius > c.world.bounds_max[i])) {
        error(
            {},
            "world.spawn_radius reaches beyond world.bounds_min or world.bounds_max: players would "
            "pile up at the border; make it smaller or the world larger",
            "world.spawn_radius");
        break;
      }
    }
    if (c.session.second_login != "replace" && c.session.second_login != "refuse") {
      error({}, "session.second_login is \"replace\" or \"refuse\"", "session.second_login");
    }
    if (!c.session.secret.empty() && !c.session.secret_file.empty()) {
      error({}, "session.secret and session.secret_file are both set; keep one of them",
            "session.secret");
    }
    if (c.session.store != "embedded" && c.session.store != "redis" &&
        c.session.store != "memory") {
      error({}, "session.store is \"embedded\", \"redis\" or \"memory\"", "session.store");
    }
    if (!c.redis.password.empty() && !c.redis.password_file.empty()) {
      error({}, "redis.password and redis.password_file are both set; keep one of them",
            "redis.password");
    }
    const auto is_token = [](std::string_view text) {
      return std::all_of(text.begin(), text.end(), [](char ch) {
        return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
               ch == '-' || ch == '_';
      });
    };
    if (c.bus.cluster.empty() || !is_token(c.bus.cluster)) {
      error({}, "bus.cluster is made of letters, digits, - and _", "bus.cluster");
    }
    if (!is_token(c.bus.gateway)) {
      error({}, "bus.gateway is made of letters, digits, - and _", "bus.gateway");
    }
    for (const std::string& server : c.bus.servers) {
      if (server.find('@') != std::string::npos) {
        error({}, "bus.servers holds no passwords: they go to bus.user and bus.password",
              "bus.servers");
      } else if (!server.starts_with("nats://") && !server.starts_with("tls://")) {
        error({}, "bus.servers: " + server + " does not begin with nats:// or tls://",
              "bus.servers");
      }
    }
    uint64_t served = 0;
    for (const std::string& text : c.bus.services) {
      bus::ServedTypes types;
      if (!bus::parse_served(text, &types)) {
        error({}, "bus.services: " + text + " is not as in 1000, 1000-1099 or json:1200",
              "bus.services");
        break;
      }
      served += uint64_t{types.last} - types.first + 1;
    }
    if (served > 500) {
      error({}, "bus.services names " + std::to_string(served) + " message types; at most 500",
            "bus.services");
    }
    if (!c.bus.services.empty() && c.bus.servers.empty()) {
      error({}, "bus.services needs bus.servers", "bus.services");
    }
    if (c.world.shared && c.bus.servers.empty()) {
      error({}, "world.shared needs bus.servers", "world.shared");
    }
    if (c.world.shared && c.world.gateway_number == 0) {
      error({}, "world.shared needs a world.gateway_number, 1 to 63, different for each gateway",
            "world.gateway_number");
    }
    if (c.bus.member_timeout < c.bus.heartbeat * 3) {
      error({}, "bus.member_timeout must be at least three times bus.heartbeat",
            "bus.member_timeout");
    }
    if (c.session.limit != 0 && c.session.limit < c.limits.connections) {
      error({}, "session.limit must be at least limits.connections, or 0", "session.limit");
    }
    if (c.shards.cpus.size() > kShardsMax) {
      error({},
            "shards.cpus names " + std::to_string(c.shards.cpus.size()) + " CPUs; at most " +
                std::to_string(kShardsMax),
            "shards.cpus");
    }
    if (!c.shards.cpus.empty() && c.shards.count > c.shards.cpus.size()) {
      error({},
            "shards.cpus names " + std::to_string(c.shards.cpus.size()) + " CPUs for " +
                std::to_string(c.shards.count) + " shards; name one for each, or leave it empty",
            "shards.cpus");
    }
  }

  // One secret only. Of two, the one given later in the order file, environment, flag holds.
  void choose_secret() {
    Config::Auth& auth = out_.config.auth;
    if (auth.hs256_secret.empty() || auth.hs256_secret_file.empty()) return;
    const Source::Kind text = kind_of("auth.hs256_secret");
    const Source::Kind file = kind_of("auth.hs256_secret_file");
    if (text == file) {
      error({}, "auth.hs256_secret and auth.hs256_secret_file are both set; keep one of them",
            "auth.hs256_secret");
    } else {
      (text > file ? auth.hs256_secret_file : auth.hs256_secret).clear();
    }
  }

  // Of the secret that holds. Here, and not only where keys are made, to be said with all the rest.
  void check_secret() {
    const Config::Auth& auth = out_.config.auth;
    if (auth.hs256_secret.empty() || !auth.hs256_secret_file.empty() ||
        auth.hs256_secret.size() >= crypto::kSecretBytesMin) {
      return;
    }
    error({},
          "auth.hs256_secret: needs at least 32 bytes, has " +
              std::to_string(auth.hs256_secret.size()),
          "auth.hs256_secret");
  }

  const ConfigInput& input_;
  LoadedConfig out_;
};

std::string source_text(const Source& source) {
  switch (source.kind) {
    case Source::Kind::kDefault:
      return "default";
    case Source::Kind::kFile:
      return source.name + ":" + std::to_string(source.line);
    case Source::Kind::kEnvironment:
    case Source::Kind::kFlag:
      return source.name;
  }
  return {};
}

}  // namespace

uint32_t Config::shard_count(uint32_t cpus_available) const {
  if (shards.count != 0) return shards.count;
  if (!shards.cpus.empty()) return static_cast<uint32_t>(shards.cpus.size());
  return std::clamp(cpus_available, 1u, kShardsMax);
}

LoadedConfig load_config(const ConfigInput& input) { return Loader(input).load(); }

bool read_file_blocking(const std::string& path, size_t bytes_max, std::string* out,
                        std::string* error) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) {
    *error = "cannot open " + path + ": " + std::strerror(errno);
    return false;
  }
  out->clear();
  char buffer[4096];
  size_t n = 0;
  while ((n = std::fread(buffer, 1, sizeof buffer, file)) > 0 && out->size() <= bytes_max) {
    out->append(buffer, n);
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) {
    *error = "cannot read " + path + ": " + std::strerror(errno);
  } else if (out->size() > bytes_max) {
    *error = path + " is larger than " + std::to_string(bytes_max) + " bytes";
  } else {
    return true;
  }
  return false;
}

bool is_config_flag(std::string_view argument) {
  if (argument.rfind("--", 0) != 0) return false;
  const size_t equals = argument.find('=');
  const size_t dot = argument.find('.');
  return equals != std::string_view::npos && dot != std::string_view::npos && dot < equals;
}

std::string describe(const Config& config, const std::vector<Source>& sources) {
  std::string out;
  std::string section;
  for (size_t i = 0; i < config_keys().size(); ++i) {
    const KeySpec& key = config_keys()[i];
    const std::string name = key.name;
    const size_t dot = name.find('.');
    if (name.substr(0, dot) != section) {
      section = name.substr(0, dot);
      out += (out.empty() ? "[" : "\n[") + section + "]\n";
    }
    std::string line = name.substr(dot + 1) + " = " + value_text(key, config);
    line.resize(std::max<size_t>(line.size() + 1, 48), ' ');
    out += line + "# " + source_text(i < sources.size() ? sources[i] : Source{}) + '\n';
  }
  return out;
}

std::string to_json(const Config& config) {
  JsonWriter json;
  json.begin_object();
  std::string section;
  for (const KeySpec& key : config_keys()) {
    const std::string name = key.name;
    const size_t dot = name.find('.');
    if (name.substr(0, dot) != section) {
      if (!section.empty()) json.end_object();
      section = name.substr(0, dot);
      json.key(section).begin_object();
    }
    json.key(name.substr(dot + 1)).raw(value_text(key, config));  // values look alike in JSON
  }
  json.end_object().end_object();
  return json.take();
}

std::string reference_markdown() {
  const Config defaults;
  std::string out =
      "# Configuration\n\n"
      "One TOML file (`--config FILE`), then the environment, then flags, each over the one "
      "before:\n"
      "`[limits] connections = 100` in the file, `TIDEGATE_LIMITS_CONNECTIONS=100` in the "
      "environment,\n"
      "`--limits.connections=100` as a flag. An unknown key is an error that names the nearest "
      "known one.\n"
      "Durations are written `250ms`, `10s`, `5m`, `24h`, sizes `64KiB`, `1MB`. Relative paths in "
      "a file\n"
      "start at the file's folder. `tidegate check-config FILE --explain` prints every value and "
      "where it\n"
      "came from, without secrets.\n\n"
      "Keys marked *(live)* take effect at a reload: SIGHUP, or `POST /api/v1/reload`, reads "
      "file,\n"
      "environment and flags again, answers with what changed and what of it needs a restart, and\n"
      "refuses the whole when anything in it is wrong ([deployment.md](deployment.md)).\n\n"
      "This page is made from the table in `src/control/config_keys.cc`.\n\n"
      "| key | type | default | meaning |\n|---|---|---|---|\n";
  for (const KeySpec& key : config_keys()) {
    out += std::string("| `") + key.name + "` | " + name_of(key.type);
    if (*key.unit != '\0') out += std::string(", ") + key.unit;
    if (key.low < key.high && key.type != KeyType::kFlag) {
      char range[64];
      std::snprintf(range, sizeof range, ", %.9g to %.9g", key.low, key.high);
      out += range;
      if (key.type == KeyType::kDuration) out += " s";
      if (key.type == KeyType::kSize || key.type == KeyType::kText) out += " bytes";
    }
    out += " | `" + value_text(key, defaults) + "` | " + key.help;
    out += is_live_key(key.name) ? " *(live)* |\n" : " |\n";
  }
  return out;
}

}  // namespace tidegate::control
