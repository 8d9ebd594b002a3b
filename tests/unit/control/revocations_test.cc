// SPDX-License-Identifier: Apache-2.0
#include "control/revocations.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

namespace tidegate::control {
namespace {

constexpr int64_t kNow = 1'800'000'000;

class RevocationFile : public ::testing::Test {
 protected:
  using Rows = std::map<std::string, std::pair<int64_t, int64_t>>;
  void SetUp() override {
    char name[] = "/tmp/tidegate-revocations-XXXXXX";
    folder_ = mkdtemp(name);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string path() const { return folder_ + "/revoked"; }
  // What a start finds.
  Rows read(int64_t now, std::string* error) const {
    Revocations again;
    Rows rows;
    error->clear();
    (void)again.open_blocking(
        path(), now,
        [&](const std::string& user, int64_t at, int64_t until) { rows[user] = {at, until}; },
        error);
    return rows;
  }
  Rows read(int64_t now = kNow) const {
    std::string error;
    const Rows rows = read(now, &error);
    EXPECT_EQ(error, "");
    return rows;
  }
  void spoil(std::string_view text) const {
    std::ofstream(path(), std::ios::binary | std::ios::app) << text;
  }

  std::string folder_, error_;
  const Revocations::Visit nobody_ = [](const std::string& user, int64_t, int64_t) {
    ADD_FAILURE() << user;
  };
};

TEST_F(RevocationFile, KeepsWhatStillHolds) {
  Revocations file;
  EXPECT_FALSE(file.is_open());
  ASSERT_TRUE(file.open_blocking(path(), kNow, nobody_, &error_)) << error_;
  const std::string odd("a b\n\0\xff", 6);
  ASSERT_TRUE(file.add_blocking("ann", kNow, kNow + 100, &error_)) << error_;
  ASSERT_TRUE(file.add_blocking(odd, kNow, kNow + 200, &error_)) << error_;
  ASSERT_TRUE(file.add_blocking("ann", kNow + 10, kNow + 50, &error_)) << "never shorter";
  EXPECT_EQ(read(), (Rows{{"ann", {kNow + 10, kNow + 100}}, {odd, {kNow, kNow + 200}}}));
  EXPECT_EQ(read(kNow + 100), (Rows{{odd, {kNow, kNow + 200}}}));
  EXPECT_EQ(read(), (Rows{{odd, {kNow, kNow + 200}}})) << "what ran out is left out";
}

TEST_F(RevocationFile, PassesOverALineThatACrashCut) {
  Revocations file;
  ASSERT_TRUE(file.open_blocking(path(), kNow, nobody_, &error_)) << error_;
  ASSERT_TRUE(file.add_blocking("ann", kNow, kNow + 100, &error_)) << error_;
  spoil("1800000000 18000");
  EXPECT_EQ(read(), (Rows{{"ann", {kNow, kNow + 100}}}));
}

TEST_F(RevocationFile, AFileThatIsNoneIsLeftAlone) {
  spoil("something else\n");
  EXPECT_EQ(read(kNow, &error_), Rows{});
  EXPECT_NE(error_, "");
  EXPECT_EQ(std::filesystem::file_size(path()), 15U);
  std::filesystem::remove(path());
  spoil("tidegate revocations 1\n1 2 zz\n");
  EXPECT_EQ(read(kNow, &error_), Rows{});
  EXPECT_NE(error_.find("line 2"), std::string::npos) << error_;
}

TEST_F(RevocationFile, DoesNotGrowWithOrdersForTheSameUser) {
  Revocations file;
  ASSERT_TRUE(file.open_blocking(path(), kNow, nobody_, &error_)) << error_;
  for (int i = 0; i < 300; ++i) {
    ASSERT_TRUE(file.add_blocking("ann", kNow + i, kNow + 10'000 + i, &error_)) << error_;
  }
  EXPECT_LT(std::filesystem::file_size(path()), 80U * 30);
  EXPECT_EQ(read(), (Rows{{"ann", {kNow + 299, kNow + 10'299}}}));
}

TEST_F(RevocationFile, SaysThatItCannotBeWritten) {
  Revocations file;
  EXPECT_FALSE(file.open_blocking(folder_ + "/none/revoked", kNow, nobody_, &error_));
  EXPECT_NE(error_, "");
  ASSERT_TRUE(file.open_blocking(path(), kNow, nobody_, &error_)) << error_;
  std::filesystem::remove_all(folder_);
  EXPECT_FALSE(file.add_blocking("ann", kNow, kNow + 100, &error_));
}

}  // namespace
}  // namespace tidegate::control
