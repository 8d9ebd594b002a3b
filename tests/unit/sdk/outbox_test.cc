// SPDX-License-Identifier: Apache-2.0
#include "sdk/outbox.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/prng.h"

namespace tidegate::sdk {
namespace {

constexpr base::Instant kNever = base::Instant::never();

bool put(Outbox& box, const std::string& text, Keep keep = Keep::kQueued, uint8_t priority = 5,
         uint32_t key = 0, base::Instant expires = kNever) {
  return box.add(1000, base::as_bytes(text), keep, priority, key, expires);
}
// Everything that may go out, in order.
std::vector<std::string> drain(Outbox& box) {
  std::vector<std::string> out;
  while (const Waiting* w = box.next(true)) {
    out.emplace_back(base::as_text(box.payload(*w)));
    box.sent(*w);
  }
  return out;
}
using Texts = std::vector<std::string>;

TEST(Outbox, ByPriorityThenByAge) {
  Outbox box(16, 1024);
  put(box, "a", Keep::kQueued, 3);
  put(box, "b", Keep::kAcknowledged, 5);
  put(box, "c", Keep::kQueued, 9);
  put(box, "d", Keep::kAcknowledged, 9);
  put(box, "e", Keep::kQueued, 3);
  EXPECT_EQ(drain(box), (Texts{"c", "d", "b", "a", "e"}));
  EXPECT_EQ(box.count(), 2u) << "acknowledged ones are kept";
}

TEST(Outbox, SequencesAreGivenWhenSentAndKeptInOrder) {
  Outbox box(16, 1024);
  put(box, "low", Keep::kAcknowledged, 1);
  put(box, "high", Keep::kAcknowledged, 9);
  EXPECT_EQ(drain(box), (Texts{"high", "low"}));
  box.disconnected();
  put(box, "urgent", Keep::kAcknowledged, 10);
  // What has a sequence goes first, whatever its priority: the server takes no gap.
  box.resume(0);
  EXPECT_EQ(drain(box), (Texts{"high", "low", "urgent"}));
  box.resume(1);
  EXPECT_EQ(drain(box), (Texts{"low", "urgent"}));
  box.restart({});
  const Waiting* w = box.next(true);
  ASSERT_NE(w, nullptr);
  EXPECT_EQ(box.sequence_of(*w), 1u);
  EXPECT_EQ(drain(box), (Texts{"low", "urgent"}));
  box.on_ack(2);
  EXPECT_EQ(box.count(), 0u);
  EXPECT_EQ(box.bytes(), 0u);
}

TEST(Outbox, TheLatestTakesThePlaceOfItsKind) {
  Outbox box(3, 1024);
  put(box, "one", Keep::kLatest, 5, 1);
  put(box, "two", Keep::kLatest, 5, 2);
  put(box, "full", Keep::kQueued);
  EXPECT_TRUE(put(box, "one again", Keep::kLatest, 5, 1));
  EXPECT_EQ(drain(box), (Texts{"two", "full", "one again"}));
}

TEST(Outbox, TimeOverUnlessItHasASequence) {
  Outbox box(16, 1024);
  const base::Instant soon{100};
  put(box, "queued", Keep::kQueued, 5, 0, soon);
  put(box, "sent", Keep::kAcknowledged, 9, 0, soon);
  const Waiting* w = box.next(true);
  box.sent(*w);
  put(box, "unsent", Keep::kAcknowledged, 1, 0, soon);
  EXPECT_EQ(box.next_expiry(), soon);
  EXPECT_EQ(box.expire({99}), nullptr);
  Texts gone;
  while (const Waiting* e = box.expire({100})) gone.emplace_back(base::as_text(box.payload(*e)));
  std::sort(gone.begin(), gone.end());
  EXPECT_EQ(gone, (Texts{"queued", "unsent"}));
  EXPECT_EQ(box.expired(), 2u);
  // A new session numbers anew, and then there is no gap to fear.
  box.restart({200});
  EXPECT_NE(box.expire({200}), nullptr);
  EXPECT_EQ(box.count(), 0u);
}

TEST(Outbox, LimitsOfMessagesAndBytes) {
  Outbox box(4, 100);
  EXPECT_FALSE(put(box, std::string(101, 'x')));
  EXPECT_TRUE(put(box, std::string(60, 'x')));
  EXPECT_FALSE(put(box, std::string(41, 'x')));
  EXPECT_TRUE(put(box, std::string(40, 'x')));
  drain(box);
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(put(box, "x"));
  EXPECT_FALSE(put(box, "x"));
}

TEST(Outbox, WhatGoesInComesOut) {
  // Against a plain list: random adds, sends, acknowledgements, losses.
  base::Prng random(3);
  for (int round = 0; round < 50; ++round) {
    Outbox box(32, 600);
    uint64_t last = 0;
    Texts kept;
    int number = 0;
    Texts delivered;
    const auto send_all = [&] {
      while (const Waiting* w = box.next(true)) {
        const uint64_t sequence = box.sequence_of(*w);
        ASSERT_LE(sequence, last + 1) << "a gap";
        if (sequence == last + 1) {
          ++last;
          delivered.emplace_back(base::as_text(box.payload(*w)));
        }
        box.sent(*w);
      }
    };
    for (int i = 0; i < 400; ++i) {
      switch (random.below(5)) {
        case 0:
        case 1: {
          const std::string text = std::to_string(number) + std::string(random.below(40), '.');
          if (put(box, text, Keep::kAcknowledged)) {
            kept.push_back(text);
            ++number;
          }
          break;
        }
        case 2:
          send_all();
          break;
        case 3:
          box.on_ack(last);
          break;
        default:
          // Its acknowledgements of the last moment were lost.
          box.disconnected();
          if (random.chance(0.5)) box.resume(last);
          break;
      }
    }
    send_all();
    EXPECT_EQ(delivered, kept);
  }
}

TEST(Outbox, TheOtherDirection) {
  Outbox box(4, 100);
  EXPECT_TRUE(box.accept(0, false));
  EXPECT_FALSE(box.ack_owed());
  EXPECT_TRUE(box.accept(1, true));
  EXPECT_TRUE(box.ack_owed());
  box.ack_sent();
  EXPECT_FALSE(box.accept(1, true)) << "again";
  EXPECT_TRUE(box.ack_owed()) << "and acknowledged again";
  EXPECT_FALSE(box.accept(3, true)) << "a gap";
  EXPECT_EQ(box.ack_out(), 1u);
  EXPECT_EQ(box.duplicates(), 1u);
  EXPECT_EQ(box.gaps(), 1u);
}

}  // namespace
}  // namespace tidegate::sdk
