// SPDX-License-Identifier: Apache-2.0
#include "control/config.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "control/address.h"
#include "control/config_table.h"
#include "control/json_writer.h"
#include "control/toml_lexical.h"

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

TEST(Config, ABudgetIsAtMostTheLargest) {
  EXPECT_TRUE(from_file("[budget]\nbytes_per_second = \"16KiB\"\n").ok());
  EXPECT_NE(only_error(from_file("[budget]\nbytes_per_second = \"1MiB\"\n")).find("at most"),
            std::string::npos);
}

TEST(Config, RateDistancesMustRise) {
  EXPECT_TRUE(from_file("[interest]\nfull_rate_distance = 0\n").ok());
  EXPECT_NE(only_error(from_file("[interest]\nhalf_rate_distance = 180\n")).find("rise"),
            std::string::npos);
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

TEST(Config, MisspeltSectionsOfVariablesAreNotPassedOver) {
  ConfigInput input;
  input.environment = {{"TIDEGATE_LIMTS_CONNECTIONS", "5"}};
  EXPECT_EQ(only_error(load_config(input)),
            "TIDEGATE_LIMTS_CONNECTIONS: unknown key limts.connections; did you mean "
            "limits.connections?");
  // Kubernetes names these after a service; they are not meant for us.
  input.environment = {{"TIDEGATE_ADMIN_SERVICE_HOST", "10.0.0.1"},
                       {"TIDEGATE_ADMIN_SERVICE_PORT_HTTP", "80"},
                       {"TIDEGATE_ADMIN_PORT", "tcp://10.0.0.1:80"},
                       {"TIDEGATE_ADMIN_PORT_80_TCP_PROTO", "tcp"}};
  EXPECT_TRUE(load_config(input).ok());
  input.environment = {{"TIDEGATE_LISTEN_PORT", "7400"}};
  EXPECT_FALSE(load_config(input).ok());
}

TEST(Config, ADamagedFileIsAnErrorAndNoAbort) {
  // On "[.a]" an assertion of toml++ 3.3 ended the process.
  for (const char* text :
       {"[.a]", "[limits", "[]", "[limits]\na.", "[limits]\na = {.}", "\xff", "="}) {
    EXPECT_EQ(only_error(from_file(text)).rfind("game.toml:", 0), 0u) << text;
  }
}

TEST(Config, CharactersBeyondAsciiOutsideOfTextsAreErrors) {
  const auto line = [](std::string_view toml) { return line_beyond_ascii(toml); };
  EXPECT_EQ(line("[a\u0393]"), 1u);  // found by fuzzing: undefined behaviour in the parser
  EXPECT_EQ(line("a = 1\n\n\u00e9 = 2"), 3u);
  EXPECT_EQ(line("a = \"\u00e9\" \u00e9"), 1u);
  EXPECT_EQ(line("a = '''\n'x\u00e9\n''''\u00e9"), 3u);
  EXPECT_EQ(line("a = \"unterminated\n\u00e9"), 2u);
  EXPECT_EQ(line("\xef\xbb\xbf# \u00e9\na = \"\\\"\u00e9\" # '\u00e9\nb = '\u00e9\\' "), 0u);
  EXPECT_EQ(line("a = \"\"\"\n\"\" \u00e9 \\\"\"\" \u00e9 \"\"\"\"\" # \u00e9"), 0u);
  ConfigInput input;
  input.file_name = "t.toml";
  input.file_text = "[listen]\n[a\u0393]\n";
  EXPECT_EQ(only_error(load_config(input)),
            "t.toml:2: characters beyond ASCII stand only in strings and comments");
}

TEST(Config, EmptyUnknownSectionsAreErrorsToo) {
  EXPECT_NE(only_error(from_file("[limts]\n")).find("unknown key limts"), std::string::npos);
  EXPECT_TRUE(from_file("[limits]\n").ok());
}

TEST(Config, FlagsOfAnotherFormAreErrors) {
  for (const char* flag :
       {"", "-", "--", "--limits.connections", "limits.connections=5", "--x=1"}) {
    ConfigInput input;
    input.flags = {flag};
    EXPECT_NE(only_error(load_config(input)).find("--section.key=value"), std::string::npos)
        << flag;
  }
}

TEST(Config, OfTwoSecretsTheLaterSourceHolds) {
  ConfigInput input;
  input.file_name = "game.toml";
  input.file_text = "[auth]\nhs256_secret = \"from the file\"\n";
  input.flags = {"--auth.hs256_secret_file=/run/secret"};
  const LoadedConfig c = load_config(input);
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c.config.auth.hs256_secret, "");
  EXPECT_EQ(c.config.auth.hs256_secret_file, "/run/secret");
  EXPECT_NE(only_error(from_file("[auth]\nhs256_secret = \"a\"\nhs256_secret_file = \"b\"\n"))
                .find("keep one of them"),
            std::string::npos);
}

TEST(Config, ErrorsFollowTheFile) {
  const LoadedConfig c =
      from_file("[world]\ntick_rate = 0\n[limits]\nhead_bytes = 0\nconnections = 0\n");
  ASSERT_EQ(c.errors.size(), 3u);
  EXPECT_EQ(c.errors[0].rfind("game.toml:2:", 0), 0u) << c.errors[0];
  EXPECT_EQ(c.errors[1].rfind("game.toml:4:", 0), 0u) << c.errors[1];
  EXPECT_EQ(c.errors[2].rfind("game.toml:5:", 0), 0u) << c.errors[2];
}

TEST(Config, TextsAreEscapedWhereTheyAreShown) {
  const LoadedConfig c = from_file(R"(auth = { issuer = "https://a \"b\" \\ c" })");
  ASSERT_TRUE(c.ok()) << c.errors[0];
  EXPECT_EQ(c.config.auth.issuer, "https://a \"b\" \\ c");
  EXPECT_NE(to_json(c.config).find(R"("issuer":"https://a \"b\" \\ c")"), std::string::npos);
  // What --explain prints can be read again.
  const LoadedConfig again = from_file(describe(c.config, c.sources));
  ASSERT_TRUE(again.ok()) << again.errors[0];
  EXPECT_EQ(to_json(again.config), to_json(c.config));
}

TEST(Config, TextsHaveLimits) {
  const std::string zone(64, 'z');
  EXPECT_TRUE(from_file("[world]\nzone = \"" + zone + "\"\n").ok());
  EXPECT_NE(only_error(from_file("[world]\nzone = \"" + zone + "z\"\n")).find("at most 64 bytes"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nzone = \"a\\nb\"\n")).find("control characters"),
            std::string::npos);
  ConfigInput input;
  input.flags = {"--world.zone=\xff"};
  EXPECT_NE(only_error(load_config(input)).find("UTF-8"), std::string::npos);
  input.flags = {"--limits.connections=\x1b[31m" + std::string(500, '9')};
  EXPECT_EQ(only_error(load_config(input)).find('\x1b'), std::string::npos);
  EXPECT_LT(only_error(load_config(input)).size(), 250u);
}

TEST(Config, WrongValuesSayWhatIsAllowed) {
  EXPECT_EQ(only_error(from_file("[limits]\nconnections = 0\n")),
            "game.toml:2: limits.connections = 0: expected a whole number from 1 to 1000000");
  EXPECT_EQ(only_error(from_file("[world]\nspawn_radius = \"far\"\n")),
            "game.toml:2: world.spawn_radius = \"far\": expected a number");
  EXPECT_EQ(only_error(from_file("[admin]\nlive_page = 1\n")),
            "game.toml:2: admin.live_page = \"1\": expected true or false");
  EXPECT_EQ(only_error(from_file("[listen]\nwebsocket = 7400\n")),
            "game.toml:2: listen.websocket = \"7400\": expected an address");
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
  EXPECT_NE(only_error(from_file("[heartbeat]\ninterval = 15\n")).find("duration"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[heartbeat]\ninterval = \"15\"\n")).find("10s"),
            std::string::npos);
}

TEST(Config, AllErrorsAtOnce) {
  // Also what no key's own rule can see.
  const auto both = from_file("[auth]\nhs256_secret = \"short\"\n[x]\ny = 1\n").errors;
  ASSERT_EQ(both.size(), 2u);
  EXPECT_EQ(both[1], "auth.hs256_secret: needs at least 32 bytes, has 5");
  EXPECT_EQ(from_file("[limits]\nconnections = 0\nmessage_bytes = 1\n[x]\ny = 1\n").errors.size(),
            3u);
}

TEST(Config, WhatDoesNotFitTogether) {
  EXPECT_NE(only_error(from_file("[admin]\nlisten = \"0.0.0.0:1\"\n")).find("admin.token"),
            std::string::npos);
  for (const char* listen : {"0.0.0.0:1", "192.168.1.5:1", "[::]:1", ""}) {
    const std::string text = "[admin]\nlive_page = true\ntoken = \"t\"\nlisten = \"";
    EXPECT_NE(only_error(from_file(text + listen + "\"\n")).find("admin.live_page"),
              std::string::npos)
        << listen;
  }
  EXPECT_TRUE(from_file("[admin]\nlive_page = true\nlisten = \"[::1]:1\"\n").ok());
  EXPECT_TRUE(from_file("[admin]\nlisten = \"0.0.0.0:1\"\ntoken = \"t\"\n").ok());
  std::string cpus = "0";
  for (int i = 1; i < 63; ++i) cpus += ',' + std::to_string(i);
  EXPECT_NE(only_error(from_file("[shards]\ncpus = [" + cpus + "]\n")).find("at most 62"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[heartbeat]\ntimeout = \"5s\"\n")).find("longer"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nspawn = [9999, 0, 0]\n")).find("inside"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nspawn_radius = 3000\n")).find("pile up"),
            std::string::npos);
  EXPECT_NE(only_error(from_file("[world]\nspawn = [2000, 0, 0]\nspawn_radius = 100\n"))
                .find("world.spawn_radius"),
            std::string::npos);
}

TEST(Config, SecretsAreNeverShown) {
  const LoadedConfig c = from_file(
      "[auth]\nhs256_secret = \"top secret of 32 bytes, or of more\"\n[admin]\ntoken = \"hidden "
      "one\"\n");
  ASSERT_TRUE(c.ok());
  for (const std::string& text : {describe(c.config, c.sources), to_json(c.config)}) {
    EXPECT_EQ(text.find("top secret"), std::string::npos);
    EXPECT_EQ(text.find("hidden one"), std::string::npos);
    EXPECT_NE(text.find("(set)"), std::string::npos);
  }
}

// TIDEGATE_WRITE_REFERENCE=1 in the environment writes it anew.
TEST(Config, TheReferencePageIsCurrent) {
  if (std::getenv("TIDEGATE_WRITE_REFERENCE") != nullptr) {
    std::ofstream(TIDEGATE_SOURCE_ROOT "/docs/configuration.md") << reference_markdown();
  }
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
  EXPECT_EQ(parse_address("[0:0:0::1]:1", &a), nullptr);
  EXPECT_TRUE(a.is_loopback());
  EXPECT_EQ(a.text(), "[::1]:1");
  EXPECT_NE(parse_address({"127.0.0.1\0x:1", 13}, &a), nullptr);
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
