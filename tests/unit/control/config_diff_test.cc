// SPDX-License-Identifier: Apache-2.0
#include "control/config_diff.h"

#include <gtest/gtest.h>

#include "control/config_table.h"

namespace tidegate::control {
namespace {

TEST(ConfigDiff, NamesEveryKeyThatDiffersAndWhetherItIsLive) {
  const Config running;
  EXPECT_TRUE(diff_configs(running, running).empty());
  Config wanted;
  wanted.limits.connections = 5;
  wanted.limits.messages_per_second = 7;
  wanted.listen.origins = {"https://game.example"};
  wanted.heartbeat.interval = base::seconds(5);
  const std::vector<ConfigChange> changes = diff_configs(running, wanted);
  ASSERT_EQ(changes.size(), 4u);
  for (const ConfigChange& c : changes) {
    EXPECT_EQ(c.live, c.key != "limits.connections") << c.key;
  }
  EXPECT_EQ(changes_json(changes),
            R"({"applied":[{"key":"listen.origins","from":[],"to":["https://game.example"]},)"
            R"({"key":"limits.messages_per_second","from":2000,"to":7},)"
            R"({"key":"heartbeat.interval","from":"15s","to":"5s"}],)"
            R"("needs_restart":[{"key":"limits.connections","from":10000,"to":5}]})");
  Config merged = running;
  take_live_keys(wanted, &merged);
  EXPECT_EQ(merged.limits.connections, running.limits.connections);
  EXPECT_EQ(merged.limits.messages_per_second, 7u);
  EXPECT_EQ(merged.listen.origins, wanted.listen.origins);
  ASSERT_EQ(diff_configs(merged, wanted).size(), 1u);
}

TEST(ConfigDiff, ASecretThatChangedIsSeenAndNotShown) {
  Config a;
  Config b;
  a.auth.hs256_secret = "the first secret of this test, long enough";
  b.auth.hs256_secret = "another secret of this test, long enough";
  const std::vector<ConfigChange> changes = diff_configs(a, b);
  ASSERT_EQ(changes.size(), 1u);
  EXPECT_EQ(changes[0].key, "auth.hs256_secret");
  EXPECT_EQ(changes_json(changes).find("secret of"), std::string::npos);
}

// A key that no longer exists in the table, or sizes of what is made at the start, are not live.
TEST(ConfigDiff, WhatMemoryAndSocketsFollowFromIsNotLive) {
  for (const char* name : {"listen.websocket", "admin.listen", "shards.count", "limits.connections",
                           "limits.message_bytes", "world.cell_size", "snapshots.directory"}) {
    EXPECT_FALSE(is_live_key(name)) << name;
    EXPECT_GE(find_key(name), 0) << name;
  }
  uint32_t live = 0;
  for (const KeySpec& key : config_keys()) live += is_live_key(key.name);
  EXPECT_GE(live, 30u);
}

TEST(ConfigDiff, ListsAreReadFromFileVariableAndFlag) {
  ConfigInput input;
  input.file_name = "t.toml";
  input.file_text = "[listen]\ntrusted = [\"10.0.0.0/8\", \"::1\"]\n";
  input.environment = {{"TIDEGATE_LIMITS_EXEMPT", "192.0.2.0/24, 10.0.0.1"}};
  input.flags = {"--listen.origins=https://a.example,https://b.example"};
  const LoadedConfig loaded = load_config(input);
  ASSERT_TRUE(loaded.ok()) << loaded.errors[0];
  EXPECT_EQ(loaded.config.listen.trusted, (std::vector<std::string>{"10.0.0.0/8", "::1"}));
  EXPECT_EQ(loaded.config.limits.exempt, (std::vector<std::string>{"192.0.2.0/24", "10.0.0.1"}));
  EXPECT_EQ(loaded.config.listen.origins.size(), 2u);
}

std::string error_of(const char* flag) {
  ConfigInput input;
  input.flags = {flag};
  const LoadedConfig loaded = load_config(input);
  return loaded.ok() ? "" : loaded.errors[0];
}

TEST(ConfigDiff, WhatIsWrongWithListsAndChoicesIsSaid) {
  EXPECT_NE(error_of("--limits.exempt=10.0.0.1/8").find("is not an IP address or network"),
            std::string::npos);
  EXPECT_NE(error_of("--listen.origins=game.example").find("has no scheme"), std::string::npos);
  EXPECT_NE(error_of("--listen.proxy_protocol=on").find("must be one of: off, required"),
            std::string::npos);
  EXPECT_NE(error_of("--listen.proxy_protocol=required").find("needs listen.trusted"),
            std::string::npos);
  EXPECT_NE(error_of("--drain.grace=29s").find("drain.deadline must be"), std::string::npos);
  EXPECT_NE(error_of("--listen.origins=https://a b").find("list of texts"), std::string::npos);
  EXPECT_EQ(error_of("--listen.origins="), "");
}

}  // namespace
}  // namespace tidegate::control
