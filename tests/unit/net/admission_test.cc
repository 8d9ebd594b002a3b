// SPDX-License-Identifier: Apache-2.0
#include "net/admission.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "net/edge.h"

namespace tidegate::net {
namespace {

using base::milliseconds;

base::IpAddress ip(const std::string& text) {
  base::IpAddress a;
  EXPECT_TRUE(base::parse_ip(text, &a)) << text;
  return a;
}
base::Instant at(int64_t ms) { return {1'000'000'000'000 + ms * 1'000'000}; }

TEST(Admission, CountsByAddressAndGivesBack) {
  AdmissionTables tables(100, 7);
  AdmissionLimits limits;
  limits.connections_per_ip = 3;
  const base::IpAddress a = ip("203.0.113.7");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(tables.enter(limits, a, at(0)).verdict, Admission::kAdmitted);
  }
  const AdmissionAnswer no = tables.enter(limits, a, at(0));
  EXPECT_EQ(no.verdict, Admission::kPerIp);
  EXPECT_GE(no.retry_after_s, 1u);
  EXPECT_EQ(tables.connections_of(a), 3u) << "a refused one stays not counted";
  EXPECT_EQ(tables.enter(limits, ip("203.0.113.8"), at(0)).verdict, Admission::kAdmitted);
  tables.leave(a);
  EXPECT_EQ(tables.enter(limits, a, at(0)).verdict, Admission::kAdmitted);
}

TEST(Admission, Ipv6HasALimitForItsNetwork) {
  AdmissionTables tables(100, 7);
  AdmissionLimits limits;
  limits.connections_per_network = 4;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(tables.enter(limits, ip("2001:db8:1:2::" + std::to_string(i)), at(0)).verdict,
              Admission::kAdmitted);
  }
  EXPECT_EQ(tables.enter(limits, ip("2001:db8:1:2:ffff::9"), at(0)).verdict,
            Admission::kPerNetwork);
  EXPECT_EQ(tables.enter(limits, ip("2001:db8:1:3::1"), at(0)).verdict, Admission::kAdmitted);
  for (int i = 0; i < 20; ++i) {  // IPv4 addresses have no such neighbours
    EXPECT_EQ(tables.enter(limits, ip("203.0.113." + std::to_string(i)), at(0)).verdict,
              Admission::kAdmitted);
  }
}

TEST(Admission, RateOfAnAddressWithItsBurst) {
  AdmissionTables tables(100, 7);
  AdmissionLimits limits;
  limits.connects_per_ip = 10;
  limits.connects_per_ip_burst = 5;
  const base::IpAddress a = ip("203.0.113.7");
  int admitted = 0;
  for (int i = 0; i < 20; ++i) {
    admitted += tables.enter(limits, a, at(0)).verdict == Admission::kAdmitted;
  }
  EXPECT_EQ(admitted, 5);
  EXPECT_EQ(tables.enter(limits, a, at(99)).verdict, Admission::kConnectRate);
  EXPECT_EQ(tables.enter(limits, a, at(100)).verdict, Admission::kAdmitted);
  EXPECT_EQ(tables.enter(limits, a, at(101)).verdict, Admission::kConnectRate);
  // After a long rest there is the burst again, and no more.
  admitted = 0;
  for (int i = 0; i < 20; ++i) {
    admitted += tables.enter(limits, a, at(60'000)).verdict == Admission::kAdmitted;
  }
  EXPECT_EQ(admitted, 5);
  // Addresses of one /64 share a rate.
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(tables.enter(limits, ip("2001:db8::" + std::to_string(i)), at(0)).verdict,
              Admission::kAdmitted);
  }
  EXPECT_EQ(tables.enter(limits, ip("2001:db8::99"), at(0)).verdict, Admission::kConnectRate);
}

TEST(Admission, StormGetsPlacesInALine) {
  AdmissionTables tables(1000, 7);
  AdmissionLimits limits;
  limits.connects = 10;
  limits.connects_burst = 10;
  std::vector<uint32_t> waits;
  int admitted = 0;
  for (int i = 0; i < 400; ++i) {
    const auto answer = tables.enter(
        limits, ip("10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200)), at(0));
    if (answer.verdict == Admission::kAdmitted) {
      ++admitted;
    } else {
      EXPECT_EQ(answer.verdict, Admission::kConnects);
      waits.push_back(answer.retry_after_s);
    }
  }
  EXPECT_EQ(admitted, 10);
  ASSERT_EQ(waits.size(), 390u);
  EXPECT_EQ(waits.front(), 1u);
  EXPECT_EQ(waits.back(), 40u) << "390 others, ten a second";
  for (size_t i = 1; i < waits.size(); ++i) EXPECT_GE(waits[i], waits[i - 1]);
  // The line is served as time passes.
  EXPECT_EQ(tables.enter(limits, ip("10.9.9.9"), at(100'000)).verdict, Admission::kAdmitted);
}

TEST(Admission, OneWhoIsOverItsOwnLimitTakesNothingFromOthers) {
  AdmissionTables tables(1000, 7);
  AdmissionLimits limits;
  limits.connects = 10;
  limits.connects_burst = 10;
  limits.connects_per_ip = 1;
  limits.connects_per_ip_burst = 1;
  for (int i = 0; i < 500; ++i) (void)tables.enter(limits, ip("203.0.113.7"), at(0));
  for (int i = 0; i < 9; ++i) {
    EXPECT_EQ(tables.enter(limits, ip("198.51.100." + std::to_string(i)), at(0)).verdict,
              Admission::kAdmitted);
  }
}

TEST(Admission, Users) {
  AdmissionTables tables(100, 7);
  EXPECT_TRUE(tables.enter_user(2, "ann"));
  EXPECT_TRUE(tables.enter_user(2, "ann"));
  EXPECT_FALSE(tables.enter_user(2, "ann"));
  EXPECT_TRUE(tables.enter_user(2, "a much longer name than eight bytes"));
  tables.leave_user("ann");
  EXPECT_TRUE(tables.enter_user(2, "ann"));
  EXPECT_TRUE(tables.enter_user(0, "ann")) << "0 is no limit";
}

// Full to the limit, counts of all addresses are right but for rare ones that are too high.
TEST(Admission, CountsAreNeverTooLowAndSeldomTooHigh) {
  constexpr uint32_t kMany = 10'000;
  AdmissionTables tables(kMany, 12345);
  const AdmissionLimits limits;
  std::vector<base::IpAddress> all;
  for (uint32_t i = 0; i < kMany; ++i) {
    all.push_back(ip("10." + std::to_string(i >> 16) + "." + std::to_string(i >> 8 & 255) + "." +
                     std::to_string(i & 255)));
    ASSERT_EQ(tables.enter(limits, all.back(), at(0)).verdict, Admission::kAdmitted);
  }
  uint32_t high = 0;
  for (const base::IpAddress& a : all) {
    ASSERT_GE(tables.connections_of(a), 1u);
    high += tables.connections_of(a) > 1;
  }
  EXPECT_LE(high, 20u);
  for (const base::IpAddress& a : all) tables.leave(a);
  for (const base::IpAddress& a : all) ASSERT_EQ(tables.connections_of(a), 0u);
}

// As shards do it: at most one for each other thread above the limit, whose rows are added to in
// another order, and nothing is left behind.
TEST(Admission, ManyThreads) {
  AdmissionTables tables(100, 99);
  AdmissionLimits limits;
  limits.connections_per_ip = 5;
  const base::IpAddress a = ip("203.0.113.7");
  std::atomic<int> inside{0};
  std::atomic<int> most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      int held = 0;
      for (int i = 0; i < 20'000; ++i) {
        if (held < 4 && tables.enter(limits, a, at(i)).verdict == Admission::kAdmitted) {
          ++held;
          const int now = inside.fetch_add(1) + 1;
          int before = most.load();
          while (before < now && !most.compare_exchange_weak(before, now)) {
          }
        } else if (held > 0) {
          --held;
          inside.fetch_sub(1);
          tables.leave(a);
        }
      }
      for (; held > 0; --held) {
        inside.fetch_sub(1);
        tables.leave(a);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_GE(most.load(), 1);
  EXPECT_LE(most.load(), 5 + 3);
  EXPECT_EQ(tables.connections_of(a), 0u);
}

TEST(Origins, ExactOnesAndSubdomains) {
  OriginList list;
  EXPECT_TRUE(list.allows("https://anything.example")) << "an empty list lets all pages in";
  ASSERT_TRUE(list.add("https://game.example"));
  ASSERT_TRUE(list.add("https://*.play.example:8443"));
  for (const char* yes : {"", "https://game.example", "HTTPS://Game.Example",
                          "https://a.play.example:8443", "https://a.b.play.example:8443"}) {
    EXPECT_TRUE(list.allows(yes)) << yes;
  }
  for (const char* no :
       {"null", "http://game.example", "https://game.example:1", "https://game.example/",
        "https://play.example:8443", "https://.play.example:8443", "https://a.play.example",
        "https://x/.play.example:8443", "https://evilplay.example:8443", "game.example",
        "https://game.example https://*.play.example:8443"}) {
    EXPECT_FALSE(list.allows(no)) << no;
  }
  while (list.add("https://filler.example")) {
  }
  EXPECT_TRUE(list.allows("https://filler.example"));
}

}  // namespace
}  // namespace tidegate::net
