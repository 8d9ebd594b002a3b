// SPDX-License-Identifier: Apache-2.0
#include "session/session.h"

#include <gtest/gtest.h>

namespace tidegate::session {
namespace {

using base::Instant;
using base::milliseconds;
using Verdict = InboundSequence::Verdict;

TEST(InboundSequence, DeliversInOrderOnce) {
  InboundSequence in;
  Instant now{};
  EXPECT_EQ(in.accept(1, now), Verdict::kDeliver);
  EXPECT_EQ(in.accept(2, now), Verdict::kDeliver);
  EXPECT_EQ(in.accept(1, now), Verdict::kDuplicate);
  EXPECT_EQ(in.accept(2, now), Verdict::kDuplicate);
  EXPECT_EQ(in.accept(4, now), Verdict::kGap);
  EXPECT_EQ(in.accept(0, now), Verdict::kGap);
  EXPECT_EQ(in.accept(3, now), Verdict::kDeliver);
  EXPECT_EQ(in.received(), 3u);
}

TEST(InboundSequence, OwesAnAcknowledgementWithinTheDelayAlsoForDuplicates) {
  InboundSequence in;
  Instant now{};
  EXPECT_FALSE(in.ack_owed());
  EXPECT_EQ(in.accept(1, now), Verdict::kDeliver);
  EXPECT_TRUE(in.ack_owed());
  EXPECT_FALSE(in.ack_due(now + milliseconds(49)));
  EXPECT_TRUE(in.ack_due(now + milliseconds(50)));
  in.acknowledged();
  EXPECT_FALSE(in.ack_due(now + milliseconds(500)));
  EXPECT_EQ(in.accept(1, now + milliseconds(600)), Verdict::kDuplicate);
  EXPECT_TRUE(in.ack_due(now + milliseconds(650)));
}

TEST(InboundSequence, WithAStoreAcknowledgesWhatIsStored) {
  InboundSequence in;
  in.hold();
  Instant now{};
  EXPECT_EQ(in.accept(1, now), Verdict::kDeliver);
  EXPECT_EQ(in.accept(2, now + milliseconds(10)), Verdict::kDeliver);
  EXPECT_FALSE(in.ack_owed());
  EXPECT_FALSE(in.save_due(now + milliseconds(24)));
  EXPECT_TRUE(in.save_due(now + milliseconds(25)));
  in.asked();
  EXPECT_FALSE(in.save_owed());
  EXPECT_EQ(in.accept(1, now + milliseconds(26)), Verdict::kDuplicate);
  EXPECT_FALSE(in.ack_owed()) << "on its way to the store";
  EXPECT_EQ(in.accept(3, now + milliseconds(26)), Verdict::kDeliver);
  in.confirm(2);
  EXPECT_EQ(in.safe(), 2u);
  EXPECT_EQ(in.received(), 3u);
  EXPECT_TRUE(in.ack_due(now + milliseconds(26)));
  in.acknowledged();
  EXPECT_TRUE(in.save_owed());
  in.confirm(7);
  EXPECT_EQ(in.safe(), 2u) << "more than was received is nonsense";
  EXPECT_EQ(in.accept(2, now + milliseconds(30)), Verdict::kDuplicate);
  EXPECT_TRUE(in.ack_owed()) << "acknowledged again";
}

TEST(InboundSequence, GoesOnBehindWhatAResumedSessionHas) {
  InboundSequence in;
  in.begin_after(9, 8);
  EXPECT_EQ(in.accept(9, {}), Verdict::kDuplicate);
  EXPECT_EQ(in.accept(11, {}), Verdict::kGap);
  EXPECT_EQ(in.accept(10, {}), Verdict::kDeliver);
}

TEST(RateLimit, AllowsTheBurstThenTheRate) {
  RateLimit limit;
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(limit.take(5, 20, 40)) << i;
  EXPECT_FALSE(limit.take(5, 20, 40));
  EXPECT_FALSE(limit.take(54, 20, 40));
  EXPECT_TRUE(limit.take(55, 20, 40));  // 50 ms at 20 a second is one message
  EXPECT_FALSE(limit.take(55, 20, 40));
  for (int i = 0; i < 40; ++i) EXPECT_TRUE(limit.take(100000, 20, 40)) << i;
  EXPECT_FALSE(limit.take(100000, 20, 40));
}

TEST(RateLimit, SurvivesTheWrapOfTheClock) {
  RateLimit limit;
  EXPECT_TRUE(limit.take(UINT32_MAX - 10, 1000, 1));
  EXPECT_FALSE(limit.take(UINT32_MAX - 10, 1000, 1));
  EXPECT_TRUE(limit.take(5, 1000, 1));
}

TEST(ViolationCounter, PassesOnlyAboveTheLimitInsideAMinute) {
  ViolationCounter counter;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(counter.add(1000 + i, 10));
  EXPECT_TRUE(counter.add(2000, 10));
  EXPECT_FALSE(counter.add(61000, 10));
  EXPECT_EQ(counter.count(), 1u);
}

TEST(State, OnlyTheListedChangesAreLegal) {
  EXPECT_TRUE(may_change(State::kConnecting, State::kAuthenticating));
  EXPECT_TRUE(may_change(State::kAuthenticating, State::kAuthenticated));
  EXPECT_TRUE(may_change(State::kConnected, State::kReconnecting));
  EXPECT_TRUE(may_change(State::kConnecting, State::kDisconnected));
  EXPECT_FALSE(may_change(State::kConnecting, State::kConnected));
  EXPECT_FALSE(may_change(State::kDisconnected, State::kConnected));
  EXPECT_FALSE(may_change(State::kDisconnected, State::kDisconnected));
}

}  // namespace
}  // namespace tidegate::session
