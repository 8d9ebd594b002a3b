// SPDX-License-Identifier: Apache-2.0
#include "bus/frame.h"

#include <gtest/gtest.h>

#include "base/prng.h"

namespace tidegate::bus {
namespace {

using mailbox::BusMail;
using mailbox::BusOp;

TEST(Frame, MailComesBackAsItWas) {
  BusMail mail;
  mail.a = 0x0102030405060708;
  mail.b = 2;
  mail.c = UINT64_MAX;
  mail.d = 77;
  mail.op = BusOp::kTopicPublish;
  mail.shard = 3;
  mail.name_bytes = 4;
  mail.extra_bytes = 2;
  mail.flags = 1;
  std::vector<uint8_t> bytes = write_head(FrameKind::kMail, 42, "gateway-a");
  append_mail(mail, &bytes);
  const std::string tail = "nameexdata";
  bytes.insert(bytes.end(), tail.begin(), tail.end());
  Frame frame;
  ASSERT_TRUE(read_frame(bytes, &frame));
  EXPECT_EQ(frame.kind, FrameKind::kMail);
  EXPECT_EQ(frame.epoch, 42U);
  EXPECT_EQ(frame.sender, "gateway-a");
  BusMail read;
  base::Bytes rest;
  ASSERT_TRUE(read_mail(frame.body, &read, &rest));
  EXPECT_EQ(read.a, mail.a);
  EXPECT_EQ(read.b, mail.b);
  EXPECT_EQ(read.c, mail.c);
  EXPECT_EQ(read.d, mail.d);
  EXPECT_EQ(read.op, mail.op);
  EXPECT_EQ(read.shard, mail.shard);
  EXPECT_EQ(read.name_bytes, mail.name_bytes);
  EXPECT_EQ(read.extra_bytes, mail.extra_bytes);
  EXPECT_EQ(read.flags, mail.flags);
  EXPECT_EQ(base::as_text(rest), tail);
}

TEST(Frame, SizesThatDoNotFitAreRefused) {
  BusMail mail;
  mail.name_bytes = 5;
  mail.extra_bytes = 1;
  std::vector<uint8_t> body;
  append_mail(mail, &body);
  for (int i = 0; i < 5; ++i) body.push_back('x');
  base::Bytes rest;
  EXPECT_FALSE(read_mail(body, &mail, &rest));
  body.push_back('x');
  EXPECT_TRUE(read_mail(body, &mail, &rest));
}

TEST(Frame, OtherVersionsAndRubbishAreRefused) {
  std::vector<uint8_t> good = write_head(FrameKind::kHeartbeat, 1, "g");
  Frame frame;
  EXPECT_TRUE(read_frame(good, &frame));
  for (const size_t at : {size_t{0}, size_t{3}, size_t{4}, size_t{5}}) {
    std::vector<uint8_t> bad = good;
    bad[at] = 0xee;
    EXPECT_FALSE(read_frame(bad, &frame)) << at;
  }
  base::Prng prng(5);
  for (int i = 0; i < 20'000; ++i) {
    std::vector<uint8_t> bytes(prng.below(80));
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(prng.next());
    if (bytes.size() > 8 && i % 2 == 0) std::copy(good.begin(), good.begin() + 6, bytes.begin());
    if (!read_frame(bytes, &frame)) continue;
    BusMail mail;
    base::Bytes rest;
    Mark mark;
    uint64_t view = 0;
    Population population;
    if (read_mail(frame.body, &mail, &rest)) {
      EXPECT_LE(size_t{mail.name_bytes} + mail.extra_bytes, rest.size());
    }
    uint64_t era = 0;
    (void)read_mark(frame.body, &mark, &view, &era);
    (void)read_era(frame.body);
    (void)read_population(frame.body, &population);
  }
}

TEST(Frame, TheEraComesWithHeartbeatsAndMarks) {
  std::vector<uint8_t> body;
  append_population({}, &body);
  EXPECT_EQ(read_era(body), 0U) << "of a gateway that says none";
  append_era(7, &body);
  EXPECT_EQ(read_era(body), 7U);
  body.clear();
  append_mark(Mark::kSynced, 5, 9, &body);
  Mark mark;
  uint64_t view = 0;
  uint64_t era = 0;
  ASSERT_TRUE(read_mark(body, &mark, &view, &era));
  EXPECT_EQ(mark, Mark::kSynced);
  EXPECT_EQ(view, 5U);
  EXPECT_EQ(era, 9U);
  body.pop_back();
  EXPECT_FALSE(read_mark(body, &mark, &view, &era));
}

TEST(Frame, PopulationOfAnotherVersionIsReadAsFarAsItGoes) {
  Population p;
  p.connections = 1;
  p.users = 4;
  std::vector<uint8_t> body;
  append_population(p, &body);
  std::vector<uint8_t> longer = body;
  longer.resize(longer.size() + 16, 9);
  Population read;
  ASSERT_TRUE(read_population(longer, &read));
  EXPECT_EQ(read.users, 4U);
  body.resize(8);
  ASSERT_TRUE(read_population(body, &read));
  EXPECT_EQ(read.connections, 1U);
  EXPECT_EQ(read.users, 0U);
}

}  // namespace
}  // namespace tidegate::bus
