// SPDX-License-Identifier: Apache-2.0
#include "control/config.h"

#include <gtest/gtest.h>

#include <cstdio>

#include "control/address.h"
#include "control/config_table.h"
#include "control/json_writer.h"

namespace tidegate::control {
namespace {

LoadedConfig from_file(const std::string& text) {
  ConfigInput input;
  input.file_name = "game.toml";
  input.file_text = text;
  return load_config(input);
}

std::string only_error(const LoadedConfig& c) {
  EXPECT_EQ(c.errors.size(), 1u);
  return c.errors.empty() ? "" : c.errors[0];
}

TEST(Config, DefaultsAreSafeAndComplete) {
  const LoadedConfig c = load_config({});
  EXPECT_TRUE(c.ok());
  EXPECT_TRUE(c.config.listen.websocket.is_loopback());
  EXPECT_TRUE(c.config.admin.listen.is_loopback());
  EXPECT_EQ(c.config.limits.connections, 10'000u);
}

TEST(Config, ReadsEveryKindOfValue) {
  const LoadedConfig c = from_file(R"(
[listen]
websocket = "[::1]:7500"
[shards]
count = 2
cpus = [1, 0]
[auth]
hs256_secret_file = "keys/secret"
expiry_required = false
[limits]
message_bytes = "32KiB"
backlog_bytes = 65536
handshake_timeout = "2500ms"
[world]
view_distance = 80
max_speed = 7.5
spawn = [1, 2.5, -3]
linger = "1m"
)");
  ASSERT_TRUE(c.ok()) << c.errors[0];
  EXPECT_EQ(c.config.listen.websocket.text(), "[::1]:7500");
  EXPECT_EQ(c.config.shards.cpus, (std::vector<uint32_t>{1, 0}));
  EXPECT_EQ(c.config.auth.hs256_secret_file, "keys/secret");
  EXPECT_FALSE(c.config.auth.expiry_required);
  EXPECT_EQ(c.config.limits.message_bytes, 32u * 1024);
  EXPECT_EQ(c.config.limits.handshake_timeout, base::milliseconds(2500));
  EXPECT_EQ(c.config.world.view_distance, 80.0F);
  EXPECT_EQ(c.config.world.spawn, (Vector3{1, 2.5F, -3}));
  EXPECT_EQ(c.config.world.linger, base::seconds(60));
}

TEST(Config, FileThenEnvironmentThenFlags) {
  ConfigInput input;
  input.file_name = "conf/game.toml";
  input.file_text =
      "[limits]\nconnections = 1\nmessages_burst = 11\n[auth]\njwks_file = \"k.json\"\n";
  input.environment = {
      {"TIDEGATE_LIMITS_CONNECTIONS", "2"}, {"PATH", "/bin"}, {"TIDEGATE_BIN", "x"}};
  input.flags = {"--limits.connections=3"};
  const LoadedConfig c = load_config(input);
  ASSERT_TRUE(c.ok()) << c.errors[0];
  EXPECT_EQ(c.config.limits.connections, 3u);
  EXPECT_EQ(c.config.limits.messages_burst, 11u);
  EXPECT_EQ(c.config.auth.jwks_file, "conf/k.json");  // from the file's folder
  const std::string text = describe(c.config, c.sources);
  EXPECT_NE(text.find("--limits.connections"), std::string::npos);
  EXPECT_NE(text.find("conf/game.toml:3"), std::string::npos);
}

TEST(Config, UnknownKeysNameTheNearest) {
  EXPECT_EQ(only_error(from_file("[limits]\nconections = 5\n")),
            "game.toml:2: unknown key limits.conections; did you mean limits.connections?");
  EXPECT_EQ(only_error(from_file("[world]\nconnections = 5\n")),
            "game.toml:2: unknown key world.connections; did you mean limits.connections?");
  EXPECT_NE(only_error(from_file("connections = 5\n")).find("sections"), std::string::npos);
  ConfigInput input;
  input.environment = {{"TIDEGATE_WORLD_TICK_RAET", "5"}};
  EXPECT_EQ(only_error(load_config(input)),
            "TIDEGATE_WORLD_TICK_RAET: unknown key world.tick_raet; did you mean world.tick_rate?");
}

TEST(Config, WrongValuesSayWhatIsAllowed) {
  EXPECT_EQ(only_error(from_file("[limits]\nconnections = 0\n")),
            "game.toml:2: limits.connections = \"0\": expected a whole number from 1 to 1000000");
  EXPECT_NE(only_error(from_file("[limits]\nhandshake_timeout = \"10 parsecs\"\n")).find("250ms"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[limits]\nmessage_bytes = \"64 bananas\"\n")).find("64KiB"),
            std::string::npos);
  EXPECT_NE(
      only_error(from_file("[listen]\nwebsocket = \"localhost:1\"\n")).find("not an IP address"),
      std::string::npos);
  EXPECT_NE(only_error(from_file("[listen]\nwebsocket = \":7400\"\n")).find("address is missing"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nspawn = [1, 2]\n")).find("three numbers"),
            std::string::npos);
  EXPECT_NE(
      only_error(from_file("[limits]\nconnections = \"many\"\n")).find("expected a whole number"),
      std::string::npos);
  EXPECT_NE(only_error(from_file("[limits\n")).find("game.toml:"), std::string::npos);
}

TEST(Config, ADurationNeedsItsUnit) {
  EXPECT_NE(only_error(from_file("[heartbeat]\ninterval = 15\n")).find("duration"), std::string::npos);
  EXPECT_NE(only_error(from_file("[heartbeat]\ninterval = \"15\"\n")).find("10s"), std::string::npos);
}

TEST(Config, AllErrorsAtOnce) {
  EXPECT_EQ(from_file("[limits]\nconnections = 0\nmessage_bytes = 1\n[x]\ny = 1\n").errors.size(),
            3u);
}

TEST(Config, WhatDoesNotFitTogether) {
  EXPECT_NE(only_error(from_file("[admin]\nlisten = \"0.0.0.0:1\"\n")).find("admin.token"),
            std::string::npos);
  EXPECT_TRUE(from_file("[admin]\nlisten = \"0.0.0.0:1\"\ntoken = \"t\"\n").ok());
  EXPECT_NE(only_error(from_file("[heartbeat]\ntimeout = \"5s\"\n")).find("longer"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nspawn = [9999, 0, 0]\n")).find("inside"),
            std::string::npos);
}

TEST(Config, SecretsAreNeverShown) {
  const LoadedConfig c =
      from_file("[auth]\nhs256_secret = \"top secret\"\n[admin]\ntoken = \"hidden one\"\n");
  ASSERT_TRUE(c.ok());
  for (const std::string& text : {describe(c.config, c.sources), to_json(c.config)}) {
    EXPECT_EQ(text.find("top secret"), std::string::npos);
    EXPECT_EQ(text.find("hidden one"), std::string::npos);
    EXPECT_NE(text.find("(set)"), std::string::npos);
  }
}

TEST(Config, TheReferencePageIsCurrent) {
  std::string page;
  std::string error;
  ASSERT_TRUE(
      read_file_blocking(TIDEGATE_SOURCE_ROOT "/docs/configuration.md", 1 << 20, &page, &error))
      << error;
  EXPECT_EQ(page, reference_markdown());
}

TEST(Config, EveryKeyReadsBackWhatItShows) {
  const Config defaults;
  for (const KeySpec& key : config_keys()) {
    if (key.type == KeyType::kSecret) continue;
    std::string text = value_text(key, defaults);
    if (text.front() == '"') text = text.substr(1, text.size() - 2);
    Config again;
    EXPECT_EQ(parse_value(key, text, &again), "") << key.name;
    EXPECT_EQ(value_text(key, again), value_text(key, defaults)) << key.name;
  }
}

TEST(Address, TextAndBack) {
  Address a;
  EXPECT_EQ(parse_address("127.0.0.1:7400", &a), nullptr);
  EXPECT_EQ(a.text(), "127.0.0.1:7400");
  EXPECT_TRUE(a.is_loopback());
  EXPECT_EQ(parse_address("[::]:0", &a), nullptr);
  EXPECT_TRUE(a.is_any());
  for (const char* bad :
       {"", "x", "1.2.3.4", "1.2.3.4:", "1.2.3.4:99999", "::1:5", "[::1:5", "a.b:1"}) {
    EXPECT_NE(parse_address(bad, &a), nullptr) << bad;
  }
}

TEST(JsonWriter, EscapesAndSeparates) {
  JsonWriter json;
  json.begin_object()
      .key("a")
      .text("x\"\\\n\xff")
      .key("b")
      .begin_array()
      .integer(-1)
      .boolean(true)
      .null();
  json.begin_object().end_object().end_array().key("c").number(0.5).end_object();
  EXPECT_EQ(json.take(),
            "{\"a\":\"x\\\"\\\\\\u000a\xef\xbf\xbd\",\"b\":[-1,true,null,{}],\"c\":0.5}");
}

}  // namespace
}  // namespace tidegate::control
