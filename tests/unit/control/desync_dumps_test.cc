// SPDX-License-Identifier: Apache-2.0
// What is written about a wrong checksum.
#include "control/desync_dumps.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "wire/cell_codec.h"

namespace tidegate::control {
namespace {

namespace fs = std::filesystem;
using wire::CellRow;

std::vector<uint8_t> message(const std::vector<CellRow>& server,
                             const std::vector<CellRow>& client) {
  mailbox::CellDump dump{};
  dump.connection_shard = 3;
  dump.cell_x = -2;
  dump.cell_z = 7;
  dump.frame = 40;
  dump.tick = 90;
  dump.tick_now = 95;
  dump.checksum = 0xab;
  dump.expected = 0xcd;
  dump.server_rows = static_cast<uint16_t>(server.size());
  dump.client_rows = static_cast<uint16_t>(client.size());
  std::vector<uint8_t> out(sizeof dump);
  std::memcpy(out.data(), &dump, sizeof dump);
  for (const auto* side : {&server, &client}) {
    for (const CellRow& row : *side) {
      out.resize(out.size() + wire::kCellRowBytes);
      wire::write_cell_row(out.data() + out.size() - wire::kCellRowBytes, row);
    }
  }
  return out;
}
CellRow row(uint16_t slot, int32_t x) {
  CellRow r;
  r.slot = slot;
  r.id = slot + 100u;
  r.x = x;
  return r;
}

class DesyncDumpsTest : public testing::Test {
 protected:
  DesyncDumpsTest() {
    char path[] = "/tmp/tidegate-desync-XXXXXX";
    folder_ = ::mkdtemp(path);
  }
  ~DesyncDumpsTest() override { fs::remove_all(folder_); }
  std::set<std::string> files() const {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(folder_)) {
      out.insert(entry.path().filename().string());
    }
    return out;
  }
  std::string text(const std::string& name) const {
    std::stringstream out;
    out << std::ifstream(folder_ + '/' + name).rdbuf();
    return out.str();
  }

  std::string folder_;
  metrics::Counters counters_;
};

TEST_F(DesyncDumpsTest, AFileHoldsBothSidesAndWhereTheyDiffer) {
  DesyncDumps dumps(folder_, 10, counters_);
  dumps.on_dump(1, message({row(0, 5), row(2, 6), row(3, 7)}, {row(0, 5), row(2, 8), row(4, 9)}),
                1'700'000'000'123);
  ASSERT_EQ(files(), std::set<std::string>{"desync-1700000000123-1.json"});
  const auto json = [](uint16_t slot, int32_t x) {
    return "{\"slot\":" + std::to_string(slot) + ",\"id\":" + std::to_string(slot + 100) +
           ",\"kind\":0,\"yaw\":0,\"x\":" + std::to_string(x) + ",\"y\":0,\"z\":0,\"flags\":0}";
  };
  EXPECT_EQ(text(*files().begin()),
            "{\"unix_ms\":1700000000123,\"cell\":[-2,7],\"owner_shard\":1,\"connection_shard\":3,"
            "\"frame\":40,\"tick\":90,\"tick_now\":95,\"client_checksum\":\"00000000000000ab\","
            "\"frame_checksum\":\"00000000000000cd\",\"server_rows_of_tick\":0,\"differences\":[{"
            "\"server\":" +
                json(2, 6) + ",\"client\":" + json(2, 8) + "},{\"server\":" + json(3, 7) +
                "},{\"client\":" + json(4, 9) + "}],\"server\":[" + json(0, 5) + ',' + json(2, 6) +
                ',' + json(3, 7) + "],\"client\":[" + json(0, 5) + ',' + json(2, 8) + ',' +
                json(4, 9) + "]}\n");
  EXPECT_EQ(counters_.get(metrics::Counter::kDesyncDumps), 1u);
}

TEST_F(DesyncDumpsTest, AClientMaySendNoRows) {
  DesyncDumps dumps(folder_, 10, counters_);
  dumps.on_dump(0, message({row(0, 5)}, {}), 1'700'000'000'000);
  EXPECT_NE(text(*files().begin()).find("\"differences\":null"), std::string::npos);
}

TEST_F(DesyncDumpsTest, TheNewestFilesStay) {
  DesyncDumps dumps(folder_, 3, counters_);
  for (int i = 0; i < 8; ++i) dumps.on_dump(0, message({}, {}), 1'700'000'000'000 + i);
  EXPECT_EQ(files().size(), 3u);
  EXPECT_EQ(*files().begin(), "desync-1700000000005-0.json");
}

TEST_F(DesyncDumpsTest, WithoutAFolderNothingIsWritten) {
  DesyncDumps dumps("", 3, counters_);
  dumps.on_dump(0, message({row(0, 1)}, {}), 1'700'000'000'000);
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(counters_.get(metrics::Counter::kDesyncDumps), 0u);
}

TEST_F(DesyncDumpsTest, AFolderThatCannotBeUsedIsNoMoreThanALine) {
  std::ofstream(folder_ + "/file") << "in the way";
  DesyncDumps dumps(folder_ + "/file", 3, counters_);
  dumps.on_dump(0, message({row(0, 1)}, {}), 1'700'000'000'000);
  EXPECT_EQ(counters_.get(metrics::Counter::kDesyncDumps), 0u);
}

}  // namespace
}  // namespace tidegate::control
