// SPDX-License-Identifier: Apache-2.0
#include "control/config_diff.h"

#include "control/config_table.h"
#include "control/json_writer.h"

namespace tidegate::control {
namespace {

// A name that ends with a dot stands for its whole section.
constexpr std::string_view kLiveKeys[] = {
    "listen.proxy_protocol",
    "listen.trusted",
    "listen.forwarded",
    "listen.origins",
    "auth.",
    "limits.messages_per_second",
    "limits.messages_burst",
    "limits.joins_per_second",
    "limits.violations_per_minute",
    "limits.handshake_timeout",
    "limits.message_timeout",
    "limits.stall_timeout",
    "limits.extra_frames_per_second",
    "limits.connections_per_ip",
    "limits.connections_per_network",
    "limits.connections_per_user",
    "limits.connects_per_ip",
    "limits.connects_per_ip_burst",
    "limits.connects",
    "limits.connects_burst",
    "limits.exempt",
    "tls.certificates",
    "tls.min_version",
    "drain.",
    "heartbeat.",
    "budget.",
    "handlers.",
    "log.",
};

template <class T>
T& at(const KeySpec& key, Config& config) {
  return *static_cast<T*>(key.field(config));
}

// Calls f(a, b) with the key's field of both, as what it is.
template <class F>
void with_fields(const KeySpec& key, Config& a, Config& b, F&& f) {
  switch (key.type) {
    case KeyType::kText:
    case KeyType::kSecret:
    case KeyType::kPath:
      return f(at<std::string>(key, a), at<std::string>(key, b));
    case KeyType::kAddress:
      return f(at<Address>(key, a), at<Address>(key, b));
    case KeyType::kCount:
    case KeyType::kSize:
      return f(at<uint32_t>(key, a), at<uint32_t>(key, b));
    case KeyType::kDuration:
      return f(at<base::Duration>(key, a), at<base::Duration>(key, b));
    case KeyType::kNumber:
      return f(at<float>(key, a), at<float>(key, b));
    case KeyType::kFlag:
      return f(at<bool>(key, a), at<bool>(key, b));
    case KeyType::kCpus:
      return f(at<std::vector<uint32_t>>(key, a), at<std::vector<uint32_t>>(key, b));
    case KeyType::kVector:
      return f(at<Vector3>(key, a), at<Vector3>(key, b));
    case KeyType::kTexts:
    case KeyType::kNetworks:
      return f(at<std::vector<std::string>>(key, a), at<std::vector<std::string>>(key, b));
  }
}

}  // namespace

bool is_live_key(std::string_view name) {
  for (const std::string_view live : kLiveKeys) {
    if (live == name || (live.back() == '.' && name.starts_with(live))) return true;
  }
  return false;
}

std::vector<ConfigChange> diff_configs(const Config& running, const Config& wanted) {
  std::vector<ConfigChange> out;
  Config a = running;  // the table's fields serve reading and writing
  Config b = wanted;
  for (const KeySpec& key : config_keys()) {
    bool same = true;
    with_fields(key, a, b, [&](const auto& x, const auto& y) { same = x == y; });
    if (!same) {
      out.push_back({key.name, value_text(key, a), value_text(key, b), is_live_key(key.name)});
    }
  }
  return out;
}

void take_live_keys(const Config& wanted, Config* running) {
  Config from = wanted;
  for (const KeySpec& key : config_keys()) {
    if (!is_live_key(key.name)) continue;
    with_fields(key, from, *running, [](auto& x, auto& y) { y = x; });
  }
}

std::string changes_json(const std::vector<ConfigChange>& changes) {
  JsonWriter json;
  json.begin_object();
  for (const bool live : {true, false}) {
    json.key(live ? "applied" : "needs_restart").begin_array();
    for (const ConfigChange& change : changes) {
      if (change.live != live) continue;
      json.begin_object().key("key").text(change.key).key("from").raw(change.from);
      json.key("to").raw(change.to).end_object();
    }
    json.end_array();
  }
  json.end_object();
  return json.take();
}

}  // namespace tidegate::control
