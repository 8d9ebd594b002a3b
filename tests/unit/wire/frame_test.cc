// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <vector>

#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::wire {
namespace {

std::vector<uint8_t> frame(std::vector<uint8_t> payload, uint16_t magic = 0x4d4d,
                           uint16_t version = 1, int length_error = 0) {
  std::vector<uint8_t> out(8);
  base::store_be16(out.data(), magic);
  base::store_be16(out.data() + 2, version);
  base::store_be32(out.data() + 4,
                   static_cast<uint32_t>(payload.size()) + static_cast<uint32_t>(length_error));
  out.insert(out.end(), payload.begin(), payload.end());
  return out;
}

FrameStatus first_status(const std::vector<uint8_t>& message) {
  base::Bytes payload;
  return FrameReader(message).next(&payload);
}

TEST(Frame, WalksFramesBackToBack) {
  std::vector<uint8_t> message = frame({1, 2, 3});
  for (const auto& more : {frame({}), frame({9})}) {
    message.insert(message.end(), more.begin(), more.end());
  }
  FrameReader reader(message);
  base::Bytes payload;
  ASSERT_EQ(reader.next(&payload), FrameStatus::kFrame);
  EXPECT_EQ(payload.size(), 3U);
  ASSERT_EQ(reader.next(&payload), FrameStatus::kFrame);
  EXPECT_EQ(payload.size(), 0U);
  ASSERT_EQ(reader.next(&payload), FrameStatus::kFrame);
  EXPECT_EQ(payload[0], 9);
  EXPECT_EQ(reader.next(&payload), FrameStatus::kEnd);
  EXPECT_EQ(reader.next(&payload), FrameStatus::kEnd);
}

TEST(Frame, NamesWhatIsWrong) {
  EXPECT_EQ(first_status({}), FrameStatus::kEnd);
  EXPECT_EQ(first_status(frame({1}, 0x4d4e)), FrameStatus::kMalformed);
  EXPECT_EQ(first_status(frame({1}, 0x4d4d, 2)), FrameStatus::kVersion);
  EXPECT_EQ(first_status(frame({1}, 0x4d4d, 0)), FrameStatus::kVersion);
  EXPECT_EQ(first_status(frame({1}, 0x4d4d, 1, 1)), FrameStatus::kMalformed);
  EXPECT_EQ(first_status(frame({}, 0x4d4d, 1, -1)),
            FrameStatus::kMalformed);  // 2^32 - 1
  // Wrong magic wins over the version: it is no frame at all.
  EXPECT_EQ(first_status(frame({1}, 0x4d4e, 7)), FrameStatus::kMalformed);
}

TEST(Frame, RefusesATruncatedHeaderAndTrailingBytes) {
  const std::vector<uint8_t> whole = frame({});
  for (size_t n = 1; n < whole.size(); ++n) {
    EXPECT_EQ(first_status({whole.begin(), whole.begin() + static_cast<long>(n)}),
              FrameStatus::kMalformed);
  }
  std::vector<uint8_t> trailing = frame({1, 2});
  trailing.push_back(0x4d);
  FrameReader reader(trailing);
  base::Bytes payload;
  EXPECT_EQ(reader.next(&payload), FrameStatus::kFrame);
  EXPECT_EQ(reader.next(&payload), FrameStatus::kMalformed);
  EXPECT_EQ(reader.next(&payload), FrameStatus::kMalformed);
}

TEST(MessageWriter, CountsSharedBytesThatFollow) {
  const uint8_t shared[300] = {7};
  uint8_t buffer[512];
  MessageWriter message(buffer, {.type = MessageType::kCellFrame, .timestamp = 5});
  message.add_shared(sizeof shared);
  const uint32_t own = message.finish();
  ASSERT_NE(own, 0U);
  std::vector<uint8_t> whole(buffer, buffer + own);
  whole.insert(whole.end(), shared, shared + sizeof shared);
  FrameReader reader(whole);
  base::Bytes payload;
  ASSERT_EQ(reader.next(&payload), FrameStatus::kFrame);
  Envelope envelope;
  ASSERT_TRUE(decode_envelope(payload, &envelope));
  EXPECT_EQ(envelope.payload.size(), sizeof shared);
  EXPECT_EQ(envelope.sequence, 0U);
  EXPECT_TRUE(envelope.session_id.empty());
  EXPECT_EQ(envelope.type, 204U);
  EXPECT_EQ(reader.next(&payload), FrameStatus::kEnd);
}

TEST(MessageWriter, AnswersZeroWhenItDoesNotFit) {
  const Disconnect bye{.code = 1001, .reason = "server going away"};
  uint8_t big[256];
  MessageWriter fits(big, {.type = MessageType::kDisconnect, .timestamp = 1});
  encode(fits.payload(), bye);
  const uint32_t size = fits.finish();
  ASSERT_NE(size, 0U);
  for (uint32_t room = 0; room <= size; ++room) {
    std::vector<uint8_t> exact(room);
    MessageWriter message(exact, {.type = MessageType::kDisconnect, .timestamp = 1});
    encode(message.payload(), bye);
    EXPECT_EQ(message.finish(), room < size ? 0 : size) << room;
  }
}

TEST(MessageWriter, RefusesAPayloadWhoseLengthHasNoRoom) {
  uint8_t buffer[64];
  MessageWriter too_long(buffer, {.type = MessageType::kCellFrame});
  too_long.add_shared(1U << 21);
  EXPECT_EQ(too_long.finish(), 0U);
}

TEST(Utf8, RefusesWhatRfc3629Refuses) {
  using namespace std::string_view_literals;
  for (std::string_view good :
       {""sv, "plain ascii text"sv, "\0"sv, "\xc2\x80"sv, "\xdf\xbf"sv, "\xe0\xa0\x80"sv,
        "\xed\x9f\xbf"sv, "\xee\x80\x80"sv, "\xf0\x90\x80\x80"sv, "\xf4\x8f\xbf\xbf"sv}) {
    EXPECT_TRUE(is_utf8(good)) << good;
  }
  for (std::string_view bad :
       {"\x80"sv, "\xbf"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xc2"sv, "\xe0\x9f\xbf"sv,
        "\xed\xa0\x80"sv, "\xe2\x82"sv, "\xf0\x8f\xbf\xbf"sv, "\xf4\x90\x80\x80"sv,
        "\xf5\x80\x80\x80"sv, "\xff"sv, "12345678\xc3"sv, "\xc3\xc3\xa9"sv}) {
    EXPECT_FALSE(is_utf8(bad));
  }
}

}  // namespace
}  // namespace tidegate::wire
