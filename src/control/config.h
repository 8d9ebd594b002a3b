// SPDX-License-Identifier: Apache-2.0
// The configuration: every key in one struct, read from one TOML file, then the environment, then
// flags, each over the one before. One table (config_table.h) holds name, type, range, default and
// text of each key; parser, environment, flags, suggestions for misspelt keys, `check-config` and
// docs/configuration.md are all driven by it.
//
// Reading never stops at the first error: all are reported, each with the key, the value, where it
// came from and what is allowed. Secrets are in no text made here.
//
// Thread: setup (values afterwards). Owner: the program. Limits: kConfigBytesMax for the file.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/time.h"
#include "control/address.h"

namespace tidegate::control {

inline constexpr size_t kConfigBytesMax = 1 << 20;

inline constexpr uint32_t kShardsMax = 62;  // with control, agents are bits of a 64-bit word

using Vector3 = std::array<float, 3>;  // x, y (up), z

// Units and ranges of every field: docs/configuration.md, or the table.
struct Config {
  struct Listen {
    Address websocket{"127.0.0.1", 7400};
    Address tls = Address{"", 0};  // not set: none
    bool deflate = false;
    std::string proxy_protocol = "off";  // or required
    std::string forwarded =
        "x-forwarded-for";             // the header believed of trusted peers; or forwarded, off
    std::vector<std::string> trusted;  // networks whose word about addresses is taken
    std::vector<std::string> origins;  // pages that may connect; empty: all
    base::Duration poll_hold = base::seconds(20);
  } listen;
  struct Tls {
    std::vector<std::string> certificates;  // "CERTIFICATE:KEY", or one file with both; resolved
    std::string min_version = "1.2";
    base::Duration handshake_budget = base::milliseconds(1);
    base::Duration ticket_rotation = base::seconds(8 * 3600);  // 0: no tickets
  } tls;
  struct Deflate {
    uint32_t window_bits = 15;         // of what the server compresses
    uint32_t client_window_bits = 15;  // of what clients compress
    uint32_t memory_level = 8;
    uint32_t level = 1;
    uint32_t min_bytes = 64;
    bool server_context_takeover = false;
    bool client_context_takeover = false;
    uint32_t contexts = 256;  // of each shard
    uint32_t turn_bytes = 4 << 20;
  } deflate;
  struct Admin {
    Address listen{"127.0.0.1", 7401};  // not set: no admin server
    std::string token;                  // empty: none asked for; loopback only
    bool live_page = false;             // loopback only
    bool live_tokens_open = false;  // no key: the demo gives its page tokens without admin.token
  } admin;
  struct Shards {
    uint32_t count = 0;  // 0: see shard_count()
    std::vector<uint32_t>
        cpus;  // shard i runs on cpus[i]; empty: those the process may use, in order
  } shards;
  struct IoSettings {
    std::string backend = "auto";  // or io_uring, epoll
  } io;
  struct Security {
    std::string seccomp = "off";   // or refuse, kill
    std::string revocations_file;  // empty: none
  } security;
  struct Auth {
    std::string hs256_secret;
    std::string hs256_secret_file;  // paths are resolved already
    std::string public_key_file;
    std::string jwks_file;
    std::string jwks_url;  // empty: none
    base::Duration jwks_interval = base::seconds(600);
    std::string jwks_cache_file;  // empty: none
    std::string jwks_ca_file;     // empty: those of the system
    std::string issuer;
    std::string audience;
    base::Duration leeway = base::seconds(5);
    bool expiry_required = true;
    bool close_at_expiry = true;
    base::Duration expiry_warning = base::seconds(30);
    std::vector<std::string> grants;  // crypto::ClaimGrant as text
  } auth;
  struct Limits {
    uint32_t connections = 10'000;
    uint32_t message_bytes = 64 * 1024;
    uint32_t head_bytes = 8 * 1024;
    uint32_t backlog_bytes = 64 * 1024;
    uint32_t messages_per_second = 2000;
    uint32_t messages_burst = 4000;
    uint32_t joins_per_second = 2000;
    uint32_t violations_per_minute = 100;
    base::Duration handshake_timeout = base::seconds(10);
    base::Duration message_timeout = base::seconds(30);
    base::Duration stall_timeout = base::seconds(30);
    uint32_t extra_frames_per_second = 50'000;
    uint32_t backlog_memory = 16 << 20;  // of each shard
    uint32_t big_messages = 256;         // of each shard
    uint32_t poll_sessions = 1000;       // of each shard; 0: no long polling
    uint32_t memory = 512 << 20;         // of all buffers of all shards; 0: no sum
    // 0: none
    uint32_t connections_per_ip = 256;
    uint32_t connections_per_network = 512;
    uint32_t connections_per_user = 8;
    uint32_t connects_per_ip = 20;  // a second
    uint32_t connects_per_ip_burst = 200;
    uint32_t connects = 5000;  // a second
    uint32_t connects_burst = 10'000;
    std::vector<std::string> exempt{"127.0.0.0/8", "::1"};
  } limits;
  // How players are let go at SIGTERM or POST /api/v1/drain.
  struct Drain {
    base::Duration grace = base::seconds(5);
    base::Duration spread = base::seconds(10);
    base::Duration deadline = base::seconds(30);
    base::Duration retry_after = base::seconds(1);
    std::string reconnect_url;
  } drain;
  struct Log {
    std::string level = "info";
  } log;
  struct Heartbeat {
    base::Duration interval = base::seconds(15);
    base::Duration timeout = base::seconds(40);
  } heartbeat;
  struct World {
    std::string zone = "main";
    uint32_t tick_rate = 60;       // Hz
    float cell_size = 64.0F;       // metres
    float view_distance = 100.0F;  // metres
    float max_speed = 12.0F;       // metres a second
    float steer_speed = 5.0F;      // metres a second
    base::Duration steer_delay = base::milliseconds(350);
    bool claims = true;
    Vector3 bounds_min{-2048.0F, -512.0F, -2048.0F};
    Vector3 bounds_max{2048.0F, 512.0F, 2048.0F};
    Vector3 spawn{0.0F, 0.0F, 0.0F};
    float spawn_radius = 0.0F;  // metres
    base::Duration linger = base::seconds(10);
    uint32_t npcs = 2000;
    bool shared = false;          // with the other gateways of the bus
    uint32_t gateway_number = 0;  // 1 to 63, of this one
    uint32_t shared_entities = 10'000;
  } world;
  // Cells as near as that are sent at the full, half and quarter tick rate, others at an eighth.
  struct Interest {
    float full_rate_distance = 24.0F;      // metres
    float half_rate_distance = 40.0F;      // metres
    float quarter_rate_distance = 100.0F;  // metres
    uint32_t crowd_entities = 2000;        // in view; more make the radius shrink; 0: never
    float crowd_view_distance = 16.0F;     // metres, it shrinks no further
    bool adaptive = true;                  // lower rates for all while a shard is overloaded
  } interest;

  // What a client may be sent.
  struct Budget {
    uint32_t bytes_per_second = 48 * 1024;
    uint32_t bytes_per_second_max = 256 * 1024;
    base::Duration stall_timeout = base::seconds(10);
  } budget;
  // Which cells get another shard, and when.
  struct Balance {
    bool on = true;
    base::Duration interval = base::seconds(1);
    float imbalance = 0.25F;
    base::Duration min_work = base::microseconds(500);
    uint32_t patience = 3;
    uint32_t moves = 8;
    base::Duration hold = base::seconds(30);
    uint32_t cells = 1024;
  } balance;
  struct History {
    uint32_t memory = 32 << 20;  // bytes of all shards together; 0: none is kept
    base::Duration duration{};   // 0: none is kept
  } history;
  struct Topics {
    uint32_t per_connection = 64;
    uint32_t count = 10'000;           // of each home shard
    uint32_t subscriptions = 100'000;  // of each shard
    uint32_t name_bytes = 128;
    uint32_t payload_bytes = 16 * 1024;
    uint32_t history_messages = 100;  // of a topic
    uint32_t history_bytes = 64 * 1024;
    base::Duration history_age = base::seconds(600);
    uint32_t history_memory = 32 << 20;  // bytes of all shards together
    std::string durable;                 // patterns, separated by spaces
  } topics;
  struct Presence {
    uint32_t users = 20'000;     // of each home shard
    uint32_t watched = 200;      // by one connection
    uint32_t watches = 100'000;  // of each shard
    uint32_t bytes_per_second = 1000;
    base::Duration offline_delay = base::seconds(2);
    std::string region;
    base::Duration history_interval = base::seconds(60);  // between samples; 0: none
    base::Duration history_age = base::seconds(24 * 3600);
  } presence;
  struct Bus {
    std::vector<std::string> servers;  // empty: no bus
    std::string user;
    std::string password;
    std::string cluster = "main";
    std::string gateway;  // empty: host name and process id
    base::Duration heartbeat = base::milliseconds(200);
    base::Duration member_timeout = base::milliseconds(1500);
    uint32_t queue_bytes = 16 << 20;
    base::Duration request_timeout = base::seconds(2);
    std::vector<std::string> services;  // "1000-1099", "json:1200"
    base::Duration service_timeout = base::seconds(5);
    uint32_t world_rate = 20;  // Hz
  } bus;
  struct State {
    uint32_t entries = 256;           // of each home shard
    uint32_t private_entries = 1024;  // likewise
  } state;
  struct Groups {
    std::string kinds = "party:8 guild:200";  // and the members each may have
    std::string create = "party.* guild.*";   // patterns of names that everybody may create
    std::string focus = "party";              // kinds whose members follow each other
    uint32_t count = 10'000;                  // of each home shard
    uint32_t members = 50'000;                // of each home shard's groups together
    uint32_t per_user = 16;
    uint32_t changes_per_second = 10;  // of one connection, lists included
  } groups;
  struct Social {
    uint32_t users = 20'000;     // with entries, of each home shard
    uint32_t entries = 100'000;  // of each home shard
    uint32_t friends = 200;      // of one user
    uint32_t blocked = 200;
    uint32_t shared = 200;
    std::string path;  // of the file; empty: lists and groups end with the process
  } social;
  struct Compression {
    std::string methods = "zstd lz4 zlib";  // in order of preference; empty: none
    uint32_t min_bytes = 1024;
    uint32_t level = 1;
    std::string dictionary;  // a file
  } compression;
  struct Desync {
    std::string directory;  // empty: no files are written
    uint32_t keep = 100;    // newest files that stay
  } desync;
  struct Snapshots {
    std::string directory;  // empty: none are made or read
    base::Duration interval = base::seconds(10);
    uint32_t keep = 3;
  } snapshots;

  struct Session {
    std::string secret;
    std::string secret_file;  // both empty: a key that ends with the process
    base::Duration resume_window = base::seconds(24 * 3600);
    base::Duration token_lifetime = base::seconds(7 * 24 * 3600);
    std::string second_login = "replace";
    std::string store = "embedded";
    std::string path;    // empty: sessions end with the process
    uint32_t limit = 0;  // 0: twice limits.connections
    uint32_t replay_messages = 1024;
    uint32_t replay_bytes = 256 * 1024;
    uint32_t replay_memory = 64 << 20;  // of all shards together
  } session;

  struct Redis {
    std::vector<std::string> addresses;
    std::string sentinel_master;
    bool cluster = false;
    std::string user;
    std::string password;
    std::string password_file;
    uint32_t database = 0;
    std::string prefix = "tidegate:";
    base::Duration timeout = base::seconds(1);
  } redis;

  struct Handlers {
    base::Duration time_limit = base::seconds(5);
    base::Duration budget = base::milliseconds(1);
    base::Duration tick_budget = base::milliseconds(2);
  } handlers;

  // shards.count, or the number of shards.cpus, or one for each CPU the process may use.
  uint32_t shard_count(uint32_t cpus_available) const;
};

// Where a value came from.
struct Source {
  enum class Kind : uint8_t { kDefault, kFile, kEnvironment, kFlag };
  Kind kind = Kind::kDefault;
  uint32_t line = 0;  // kFile
  std::string name;   // kFile: name of the file; kEnvironment: the variable; kFlag: the flag
};

struct ConfigInput {
  std::string file_name;  // for messages, and its folder for relative paths; empty: no file
  std::string file_text;
  // All of the process's variables or a part; those that do not begin with TIDEGATE_ are ignored.
  std::vector<std::pair<std::string, std::string>> environment;
  std::vector<std::string> flags;  // "--limits.connections=100"
};

struct LoadedConfig {
  Config config;                // complete only when there are no errors
  std::vector<Source> sources;  // by index of the table
  std::vector<std::string> errors;
  std::vector<std::string> error_keys;  // of each error: the key as it was written, or empty
  bool ok() const { return errors.empty(); }
};

[[nodiscard]] LoadedConfig load_config(const ConfigInput& input);

// Reads a whole file of at most `bytes_max`; false with text in `error`.
[[nodiscard]] bool read_file_blocking(const std::string& path, size_t bytes_max, std::string* out,
                                      std::string* error);

// True for an argument that is meant for load_config: "--section.key=value".
bool is_config_flag(std::string_view argument);

// One line for each key: value and where it came from (`check-config --explain`); valid TOML.
std::string describe(const Config& config, const std::vector<Source>& sources);
// The same as a JSON object {"limits": {"connections": 100, ...}, ...} for the admin API.
std::string to_json(const Config& config);
// The text of docs/configuration.md.
std::string reference_markdown();

}  // namespace tidegate::control
