// SPDX-License-Identifier: Apache-2.0
// Snapshot files, their folder, and the service that asks, collects and writes.
#include <dirent.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "base/prng.h"
#include "control/snapshot_file.h"
#include "control/snapshot_service.h"
#include "control/snapshot_store.h"

namespace tidegate::control {
namespace {

using base::Bytes;
using mailbox::SnapshotRecord;

SnapshotWorld test_world() {
  SnapshotWorld w;
  w.tick_rate = 60;
  w.position_step = 0.02F;
  w.cell_size = 64;
  for (int i = 0; i < 3; ++i) {
    w.bounds_min[i] = -100;
    w.bounds_max[i] = 100;
  }
  w.zone = "harbour";
  return w;
}

std::vector<uint8_t> record(uint8_t source, uint8_t kind, const std::string& name, int32_t x) {
  SnapshotRecord r{};
  r.source = source;
  r.kind = kind;
  r.position[0] = x;
  r.yaw = 7;
  std::vector<uint8_t> out(mailbox::kSnapshotRecordBytesMax);
  out.resize(mailbox::write_record(out.data(), r, name));
  return out;
}

// A file with `n` entities and one place, in two parts.
std::vector<uint8_t> test_file(uint32_t n = 3) {
  std::vector<std::vector<uint8_t>> parts(2);
  for (uint32_t i = 0; i < n; ++i) {
    const auto r = record(mailbox::kSnapshotEntity, static_cast<uint8_t>(i % 3),
                          "player-" + std::to_string(i), static_cast<int32_t>(i) * 10);
    parts[i % 2].insert(parts[i % 2].end(), r.begin(), r.end());
  }
  const auto place = record(mailbox::kSnapshotPlace, 0, "absent", -5);
  parts[1].insert(parts[1].end(), place.begin(), place.end());
  return make_snapshot_file(test_world(), 1234, 1'700'000'000'000, parts);
}

TEST(SnapshotFile, ReadsWhatWasWritten) {
  const std::vector<uint8_t> file = test_file();
  Snapshot s;
  ASSERT_EQ(read_snapshot_file(file, &s), SnapshotStatus::kOk);
  EXPECT_EQ(s.header.tick, 1234u);
  EXPECT_EQ(s.header.unix_ms, 1'700'000'000'000);
  EXPECT_EQ(s.header.entities, 3u);
  EXPECT_EQ(s.header.places, 1u);
  EXPECT_EQ(s.world.zone, "harbour");
  EXPECT_EQ(s.world.fingerprint(), test_world().fingerprint());
  ASSERT_EQ(s.rows.size(), 4u);
  EXPECT_EQ(s.rows[0].name, "player-0");
  EXPECT_EQ(s.rows[1].name, "player-2");
  EXPECT_EQ(s.rows[1].record.position[0], 20);
  EXPECT_EQ(s.rows[1].record.kind, 2);
  EXPECT_EQ(s.rows[3].name, "absent");
  EXPECT_EQ(s.rows[3].record.source, mailbox::kSnapshotPlace);
  EXPECT_EQ(s.rows[3].record.yaw, 7);
}

TEST(SnapshotFile, AnEmptyWorldIsAWorld) {
  const std::vector<uint8_t> file = make_snapshot_file(test_world(), 1, 2, {{}, {}});
  Snapshot s;
  ASSERT_EQ(read_snapshot_file(file, &s), SnapshotStatus::kOk);
  EXPECT_TRUE(s.rows.empty());
}

TEST(SnapshotFile, EveryTruncatedPrefixIsRefused) {
  const std::vector<uint8_t> file = test_file();
  for (size_t n = 0; n < file.size(); ++n) {
    // A copy of its own, so that a read beyond the end is seen.
    const std::vector<uint8_t> prefix(file.begin(), file.begin() + static_cast<ptrdiff_t>(n));
    Snapshot s;
    const SnapshotStatus status = read_snapshot_file(prefix, &s);
    EXPECT_EQ(status, n < kSnapshotHeaderBytes ? SnapshotStatus::kShort : SnapshotStatus::kCut)
        << n;
  }
  std::vector<uint8_t> longer = file;
  longer.push_back(0);
  Snapshot s;
  EXPECT_EQ(read_snapshot_file(longer, &s), SnapshotStatus::kTrailing);
}

TEST(SnapshotFile, EveryFlippedBitIsRefused) {
  const std::vector<uint8_t> file = test_file();
  for (size_t at = 0; at < file.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> bad = file;
      bad[at] = static_cast<uint8_t>(bad[at] ^ (1 << bit));
      Snapshot s;
      const SnapshotStatus status = read_snapshot_file(bad, &s);
      ASSERT_NE(status, SnapshotStatus::kOk) << at << " bit " << bit;
      if (at < 8) {
        ASSERT_EQ(status, SnapshotStatus::kMagic);
      } else if (at < 16) {
        ASSERT_EQ(status, SnapshotStatus::kVersion);
      }
    }
  }
}

// Behind a checksum that fits: what is read is checked all the same.
TEST(SnapshotFile, AForgedFileIsRefusedOrConsistent) {
  base::Prng prng(11);
  const std::vector<uint8_t> good = test_file(20);
  for (int round = 0; round < 3000; ++round) {
    std::vector<uint8_t> bad = good;
    for (uint32_t i = 0; i <= prng.below(3); ++i) {
      bad[16 + prng.below(static_cast<uint32_t>(bad.size()) - 16)] =
          static_cast<uint8_t>(prng.next());
    }
    seal_snapshot_file(bad);
    Snapshot s;
    if (read_snapshot_file(bad, &s, 1 << 20) != SnapshotStatus::kOk) continue;
    EXPECT_EQ(s.rows.size(), s.header.entities + s.header.places);
  }
}

TEST(SnapshotFile, ContentIsCheckedByItself) {
  const std::vector<uint8_t> file = test_file(5);
  Snapshot good;
  ASSERT_EQ(read_snapshot_file(file, &good), SnapshotStatus::kOk);
  for (size_t n = 0; n < good.content.size(); ++n) {
    Snapshot s;
    s.header = good.header;
    const std::vector<uint8_t> cut(good.content.begin(),
                                   good.content.begin() + static_cast<ptrdiff_t>(n));
    EXPECT_NE(read_snapshot_content(cut, &s), SnapshotStatus::kOk) << n;
  }
}

// A later version may write bytes of a kind's own behind the name and new kinds.
TEST(SnapshotFile, CarriesKindsAndExtraBytesOfOthers) {
  SnapshotRecord r{};
  r.kind = 77;
  r.name_bytes = 2;
  r.extra_bytes = 5;
  std::vector<uint8_t> part(sizeof r);
  std::memcpy(part.data(), &r, sizeof r);
  for (const char c : std::string("npABCDE")) part.push_back(static_cast<uint8_t>(c));
  const auto next = record(mailbox::kSnapshotEntity, 0, "behind", 1);
  part.insert(part.end(), next.begin(), next.end());
  Snapshot s;
  ASSERT_EQ(read_snapshot_file(make_snapshot_file(test_world(), 1, 2, {part}), &s),
            SnapshotStatus::kOk);
  ASSERT_EQ(s.rows.size(), 2u);
  EXPECT_EQ(s.rows[0].record.kind, 77);
  EXPECT_EQ(base::as_text(s.rows[0].extra), "ABCDE");
  EXPECT_EQ(s.rows[1].name, "behind");
}

// A folder below the test's own, removed at the end.
struct SnapshotFolder : testing::Test {
  std::string path;
  void SetUp() override {
    std::string pattern = testing::TempDir() + "tidegate-snapshots-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    path = pattern;
  }
  void TearDown() override {
    chmod(path.c_str(), 0700);
    for (const std::string& name : names()) unlink((path + '/' + name).c_str());
    rmdir(path.c_str());
  }
  std::vector<std::string> names() const {
    std::vector<std::string> out;
    DIR* const folder = opendir(path.c_str());
    while (const dirent* entry = folder == nullptr ? nullptr : readdir(folder)) {
      if (entry->d_name[0] != '.') out.emplace_back(entry->d_name);
    }
    if (folder != nullptr) closedir(folder);
    std::sort(out.begin(), out.end());
    return out;
  }
  void put(const std::string& name, Bytes bytes) const {
    std::ofstream out(path + '/' + name, std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
  }
};

struct SnapshotStoreTest : SnapshotFolder {};

TEST_F(SnapshotStoreTest, KeepsTheNewestAndGoesOnCounting) {
  std::string name;
  std::string error;
  {
    SnapshotStore store(path, 2);
    ASSERT_TRUE(store.prepare_blocking(&error)) << error;
    for (uint32_t i = 1; i <= 4; ++i) {
      ASSERT_TRUE(store.write_blocking(test_file(i), &name, &error)) << error;
    }
  }
  put("snapshot.tmp", test_file());
  put("notes.txt", test_file());
  SnapshotStore store(path, 2);
  ASSERT_TRUE(store.prepare_blocking(&error)) << error;
  ASSERT_TRUE(store.write_blocking(test_file(5), &name, &error)) << error;
  EXPECT_EQ(name, "snapshot-000000000005.tgs");
  EXPECT_EQ(names(), (std::vector<std::string>{"notes.txt", "snapshot-000000000004.tgs",
                                               "snapshot-000000000005.tgs"}));
  const std::vector<SnapshotFileInfo> list = store.list_blocking();
  ASSERT_EQ(list.size(), 2u);
  EXPECT_EQ(list[0].number, 5u);
  EXPECT_EQ(list[0].header.entities, 5u);
  EXPECT_EQ(list[1].header.entities, 4u);
}

TEST_F(SnapshotStoreTest, AFolderThatCannotBeUsedSaysWhatToDo) {
  std::string error;
  SnapshotStore no_parent(path + "/none/deeper", 2);
  EXPECT_FALSE(no_parent.prepare_blocking(&error));
  EXPECT_NE(error.find("make the folder"), std::string::npos) << error;
  put("file", test_file());
  SnapshotStore on_file(path + "/file", 2);
  EXPECT_FALSE(on_file.prepare_blocking(&error));
  EXPECT_NE(error.find("snapshots.directory"), std::string::npos) << error;
  // It is mended by the time of the next snapshot.
  unlink((path + "/file").c_str());
  std::string name;
  EXPECT_TRUE(on_file.write_blocking(test_file(), &name, &error)) << error;
  unlink((path + "/file/" + name).c_str());
  rmdir((path + "/file").c_str());
}

// The limit of a file's size stands for a disk that is full in the middle of a write.
TEST_F(SnapshotStoreTest, AFullDiskLeavesWhatIsThere) {
  std::string name;
  std::string error;
  SnapshotStore store(path, 1);
  ASSERT_TRUE(store.prepare_blocking(&error)) << error;
  ASSERT_TRUE(store.write_blocking(test_file(2), &name, &error)) << error;
  rlimit old{};
  getrlimit(RLIMIT_FSIZE, &old);
  const auto old_handler = signal(SIGXFSZ, SIG_IGN);
  const rlimit small{100, old.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_FALSE(store.write_blocking(test_file(3), &name, &error));
  setrlimit(RLIMIT_FSIZE, &old);
  signal(SIGXFSZ, old_handler);
  EXPECT_NE(error.find("make room"), std::string::npos) << error;
  EXPECT_EQ(names(), std::vector<std::string>{"snapshot-000000000001.tgs"});
  ASSERT_TRUE(store.write_blocking(test_file(4), &name, &error)) << error;
  EXPECT_EQ(names(), std::vector<std::string>{"snapshot-000000000002.tgs"});
}

// The service with two shards played by the test.
struct SnapshotServiceTest : SnapshotFolder {
  metrics::Counters counters;
  std::unique_ptr<SnapshotService> service;
  uint32_t newest_tick = 100;
  base::Instant now{1'000'000'000};

  void make(uint32_t keep = 3) {
    SnapshotOptions options;
    options.directory = path;
    options.keep = keep;
    options.shards = 2;
    options.world = test_world();
    options.newest_tick = [this] { return newest_tick; };
    options.wake_control = [] {};
    service = std::make_unique<SnapshotService>(std::move(options), counters);
  }
  template <class M>
  static std::vector<uint8_t> message(const M& m, Bytes tail = {}) {
    std::vector<uint8_t> out(sizeof m);
    std::memcpy(out.data(), &m, sizeof m);
    out.insert(out.end(), tail.begin(), tail.end());
    return out;
  }
  void piece(mailbox::AgentId from, uint32_t tick, const std::string& name, int32_t x) {
    service->on_piece(from, message(mailbox::SnapshotPiece{tick, 1},
                                    record(mailbox::kSnapshotEntity, 0, name, x)));
  }
  void end(mailbox::AgentId from, uint32_t tick, uint32_t missed = 0) {
    service->on_end(from, message(mailbox::SnapshotEnd{tick, 1, missed}));
  }
  // Answers of both shards, and the writer's result.
  void serve(uint32_t tick) {
    piece(0, tick, "a", 1);
    piece(1, tick, "b", 2);
    end(0, tick);
    end(1, tick);
    settle();
  }
  uint64_t get(metrics::Counter c) const { return counters.get(c); }
  void settle() {
    const uint64_t before =
        get(metrics::Counter::kSnapshotsWritten) + get(metrics::Counter::kSnapshotFailures);
    while (get(metrics::Counter::kSnapshotsWritten) + get(metrics::Counter::kSnapshotFailures) ==
           before) {
      EXPECT_EQ(service->work(now, 5), 0u);
    }
  }
  uint32_t next_ask() {
    now = now + base::seconds(11);
    return service->work(now, 5);
  }
};

TEST_F(SnapshotServiceTest, AsksCollectsWritesAndComesBack) {
  make();
  EXPECT_FALSE(service->recover_blocking().has_value());
  service->start();
  EXPECT_EQ(service->work(now, 5), 0u) << "the first is due after an interval";
  const uint32_t tick = next_ask();
  EXPECT_GT(tick, newest_tick + 1);
  EXPECT_EQ(service->work(now, 5), 0u);
  piece(0, tick - 1, "of an older cut", 9);
  serve(tick);
  EXPECT_EQ(get(metrics::Counter::kSnapshotsWritten), 1u);
  EXPECT_EQ(counters.get(metrics::Gauge::kSnapshotRecords), 2u);
  make();
  const std::optional<Snapshot> back = service->recover_blocking();
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->header.tick, tick);
  ASSERT_EQ(back->rows.size(), 2u);
  EXPECT_EQ(back->rows[1].name, "b");
  EXPECT_NE(service->json_blocking().find("\"recovered_from\":\"snapshot-000000000001.tgs\""),
            std::string::npos);
}

TEST_F(SnapshotServiceTest, DamagedFilesAreRefusedAndTheOneBeforeIsUsed) {
  put("snapshot-000000000001.tgs", test_file(1));
  put("snapshot-000000000002.tgs", test_file(2));
  std::vector<uint8_t> flipped = test_file(3);
  flipped[flipped.size() - 3] ^= 4;
  put("snapshot-000000000003.tgs", flipped);
  put("snapshot-000000000004.tgs", Bytes(test_file(4)).first(50));
  std::vector<uint8_t> later = test_file(5);
  base::store_le(later.data() + 8, kSnapshotVersion + 1);
  seal_snapshot_file(later);
  put("snapshot-000000000005.tgs", later);
  make();
  const std::optional<Snapshot> back = service->recover_blocking();
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(back->header.entities, 2u);
  EXPECT_EQ(service->recovered_name(), "snapshot-000000000002.tgs");
  EXPECT_EQ(get(metrics::Counter::kSnapshotsRefused), 3u);
  EXPECT_NE(service->json_blocking().find("\"wrong\""), std::string::npos);
}

TEST_F(SnapshotServiceTest, AnotherZoneIsRefused) {
  SnapshotWorld other = test_world();
  other.zone = "desert";
  put("snapshot-000000000001.tgs", make_snapshot_file(other, 1, 2, {}));
  make();
  EXPECT_FALSE(service->recover_blocking().has_value());
  EXPECT_EQ(get(metrics::Counter::kSnapshotsRefused), 1u);
}

TEST_F(SnapshotServiceTest, AFolderThatIsGoneIsCountedAndTheNextOneWorks) {
  make();
  EXPECT_FALSE(service->recover_blocking().has_value());
  service->start();
  service->work(now, 5);
  rmdir(path.c_str());
  std::ofstream(path) << "in the way";
  serve(next_ask());
  EXPECT_EQ(get(metrics::Counter::kSnapshotFailures), 1u);
  serve(next_ask());
  EXPECT_EQ(get(metrics::Counter::kSnapshotFailures), 2u);
  unlink(path.c_str());
  serve(next_ask());
  EXPECT_EQ(get(metrics::Counter::kSnapshotsWritten), 1u);
}

TEST_F(SnapshotServiceTest, AMissedTickAndASilentShardAreFailures) {
  make();
  service->start();
  service->work(now, 5);
  const uint32_t tick = next_ask();
  end(1, tick, 1);
  EXPECT_EQ(get(metrics::Counter::kSnapshotFailures), 1u);
  EXPECT_EQ(service->work(now, 5), 0u);
  newest_tick = 500;
  const uint32_t second = next_ask();
  EXPECT_GT(second, 500u);
  end(0, second);
  now = now + SnapshotService::kGiveUp + base::seconds(1);
  EXPECT_GT(service->work(now, 5), 0u) << "given up, and the next one is due";
  EXPECT_EQ(get(metrics::Counter::kSnapshotFailures), 2u);
}

TEST_F(SnapshotServiceTest, OneMoreOnRequest) {
  make();
  service->start();
  EXPECT_EQ(service->work(now, 5), 0u);
  std::thread host([this] { EXPECT_TRUE(service->take_blocking(base::seconds(60))); });
  uint32_t tick = 0;
  while (tick == 0) tick = service->work(now, 5);
  serve(tick);
  host.join();
}

}  // namespace
}  // namespace tidegate::control
