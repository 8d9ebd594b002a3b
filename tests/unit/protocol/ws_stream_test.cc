// SPDX-License-Identifier: Apache-2.0
// Streams of frames: the result does not depend on how the bytes are split, and random messages
// come back whole in both directions.
#include <gtest/gtest.h>

#include "base/prng.h"
#include "ws_events.h"

namespace tidegate::protocol {
namespace {

using base::Bytes;
using base::Prng;

constexpr uint64_t kMax = 256 * 1024;

void append_frame(std::string& stream, Role receiver, Opcode opcode, bool fin,
                  const std::string& payload, Prng& prng) {
  std::string out(kHeaderMax + payload.size(), '\0');
  uint8_t* const data = reinterpret_cast<uint8_t*>(out.data());
  if (receiver == Role::kServer) {
    out.resize(write_masked_frame(data, opcode, fin, base::as_bytes(payload),
                                  static_cast<uint32_t>(prng.next())));
  } else {
    out.resize(write_header(data, opcode, fin, payload.size()));
    out += payload;
  }
  stream += out;
}

std::string random_text(size_t about, Prng& prng) {
  static const char* const kParts[] = {"a", "tide", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x8c\x8a"};
  std::string text;
  while (text.size() < about) text += kParts[prng.below(5)];
  return text;
}

std::string random_bytes(size_t size, Prng& prng) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(prng.next());
  return bytes;
}

size_t random_size(Prng& prng) {
  switch (prng.below(8)) {
    case 0:
      return 0;
    case 1:
      return static_cast<size_t>(prng.between(120, 130));
    case 2:
      return static_cast<size_t>(prng.between(65530, 65540));
    case 3:
      return static_cast<size_t>(prng.below(3000));
    default:
      return static_cast<size_t>(prng.below(100));
  }
}

// Appends a random message, perhaps in fragments with control frames between; returns the events.
std::string append_message(std::string& stream, Role receiver, Prng& prng) {
  const bool text = prng.chance(0.5);
  const std::string payload =
      text ? random_text(random_size(prng), prng) : random_bytes(random_size(prng), prng);
  std::string before;
  const size_t cuts = prng.chance(0.5) ? 0 : static_cast<size_t>(prng.below(5));
  size_t at = 0;
  for (size_t i = 0; i <= cuts; ++i) {
    const bool last = i == cuts;
    const size_t end = last ? payload.size() : at + prng.below(payload.size() - at + 1);
    const Opcode opcode = i > 0 ? Opcode::kContinuation : text ? Opcode::kText : Opcode::kBinary;
    append_frame(stream, receiver, opcode, last, payload.substr(at, end - at), prng);
    at = end;
    if (!last && prng.chance(0.3)) {
      const std::string note = random_text(prng.below(100), prng);
      append_frame(stream, receiver, Opcode::kPing, true, note, prng);
      before += "ping " + note + "\n";
    }
  }
  return before + (text ? "text " : "binary ") + payload + "\n";
}

class WsStream : public testing::TestWithParam<Role> {};

TEST_P(WsStream, RandomMessagesSurviveRandomSplits) {
  for (uint64_t seed = 1; seed <= 150; ++seed) {
    Prng prng(seed);
    std::string stream, expected;
    for (uint64_t n = 1 + prng.below(12); n > 0; --n) {
      expected += append_message(stream, GetParam(), prng);
    }
    WsEvents events(GetParam(), kMax);
    const size_t piece_max = prng.chance(0.5) ? 64 : 20000;
    for (size_t at = 0; at < stream.size();) {
      const size_t size = std::min<size_t>(stream.size() - at, 1 + prng.below(piece_max));
      events.feed(base::as_bytes(stream).subspan(at, size));
      at += size;
    }
    ASSERT_EQ(events.lines(), expected) << "seed " << seed;
    ASSERT_FALSE(events.ended());
  }
}

TEST_P(WsStream, EverySplitInTwoAndByteByByteGiveTheSame) {
  Prng prng(7);
  std::string stream;
  const auto add = [&](Opcode opcode, bool fin, const std::string& payload) {
    append_frame(stream, GetParam(), opcode, fin, payload, prng);
  };
  add(Opcode::kText, true, "whole");
  add(Opcode::kBinary, false, std::string(130, 'b'));
  add(Opcode::kPing, true, "ping");
  add(Opcode::kContinuation, false, "");
  add(Opcode::kContinuation, true, std::string(7, 'c'));
  add(Opcode::kText, false, "\xf0\x9f");
  add(Opcode::kContinuation, true, "\x8c\x8a");
  add(Opcode::kPong, true, "");
  add(Opcode::kClose, true, std::string("\x03\xe8") + "done");
  add(Opcode::kText, true, "ignored");

  WsEvents whole(GetParam(), kMax);
  whole.feed(base::as_bytes(stream));
  EXPECT_EQ(whole.lines(), "text whole\nping ping\nbinary " + std::string(130, 'b') +
                               std::string(7, 'c') +
                               "\ntext \xf0\x9f\x8c\x8a\npong \nclose 1000 done\n");
  for (size_t cut = 0; cut <= stream.size(); ++cut) {
    WsEvents split(GetParam(), kMax);
    split.feed(base::as_bytes(stream).first(cut));
    split.feed(base::as_bytes(stream).subspan(cut));
    ASSERT_EQ(split.lines(), whole.lines()) << "cut at " << cut;
  }
  WsEvents single(GetParam(), kMax);
  for (size_t i = 0; i < stream.size(); ++i) single.feed(base::as_bytes(stream).subspan(i, 1));
  EXPECT_EQ(single.lines(), whole.lines());
}

// Damage: one random byte of a valid stream replaced. Whatever happens, it happens the same way in
// one piece and byte by byte, and the machine ends in a defined state.
TEST_P(WsStream, DamagedStreamsAreJudgedAlikeInPieces) {
  uint32_t errors = 0;
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    Prng prng(seed);
    std::string stream;
    for (int n = 0; n < 4; ++n) {
      append_frame(stream, GetParam(), prng.chance(0.5) ? Opcode::kText : Opcode::kBinary,
                   prng.chance(0.8), random_text(prng.below(140), prng), prng);
    }
    stream[prng.below(stream.size())] = static_cast<char>(prng.next());
    WsEvents whole(GetParam(), 4096);
    whole.feed(base::as_bytes(stream));
    WsEvents single(GetParam(), 4096);
    for (size_t i = 0; i < stream.size(); ++i) single.feed(base::as_bytes(stream).subspan(i, 1));
    ASSERT_EQ(single.lines(), whole.lines()) << "seed " << seed;
    if (whole.ended()) ++errors;
  }
  EXPECT_GT(errors, 40u);
}

// RSV1 begins a message and stands nowhere else; the frames of a compressed message may be cut
// anywhere, with control frames between them.
TEST_P(WsStream, CompressedMessages) {
  Prng prng(9);
  const auto frame = [&](uint8_t first_byte, const std::string& payload) {
    std::string out;
    append_frame(out, GetParam(), static_cast<Opcode>(first_byte & 0x0f), true, payload, prng);
    out[0] = static_cast<char>(first_byte);
    return out;
  };
  const auto run = [&](const std::string& stream) {
    WsEvents whole(GetParam(), 100);
    whole.speak_deflate(15, Context::kTakeover);
    whole.feed(base::as_bytes(stream));
    WsEvents single(GetParam(), 100);
    single.speak_deflate(15, Context::kTakeover);
    for (size_t i = 0; i < stream.size(); ++i) single.feed(base::as_bytes(stream).subspan(i, 1));
    EXPECT_EQ(whole.lines(), single.lines());
    return whole.lines();
  };
  const std::string hello = "\xf2\x48\xcd\xc9\xc9\x07" + std::string(1, '\0');
  const std::string again = std::string("\xf2\0\x11\0\0", 5);  // Hello, out of the window
  EXPECT_EQ(run(frame(0xc1, hello)), "text Hello\n");
  EXPECT_EQ(run(frame(0xc2, hello) + frame(0xc1, again)), "binary Hello\ntext Hello\n");
  EXPECT_EQ(run(frame(0x41, hello.substr(0, 3)) + frame(0x89, "p") + frame(0x00, "") +
                frame(0x80, hello.substr(3)) + frame(0x81, "plain") + frame(0xc1, again)),
            "ping p\ntext Hello\ntext plain\ntext Hello\n");
  EXPECT_EQ(run(frame(0x81, "plain") + frame(0x01, "a") + frame(0x80, "b")),
            "text plain\ntext ab\n");
  const std::string reserved =
      "error 1002 " + std::string(text_of(ParseStatus::kReservedBits)) + "\n";
  for (const uint8_t first : {0xc8, 0xc9, 0xca, 0xd1, 0xe1, 0xf2, 0xc3, 0xa1, 0x91, 0xc0, 0x40}) {
    EXPECT_EQ(run(frame(first, "")), reserved) << int{first};
  }
  EXPECT_EQ(run(frame(0x41, hello) + frame(0xc0, "")), reserved);
  EXPECT_EQ(run(frame(0x41, hello) + frame(0xc1, "")).substr(0, 10), "error 1002");
  EXPECT_EQ(run(frame(0xc1, "")), "error 1007 deflate\n");
  // Two stored bytes that are no text: fine in binary.
  const std::string bad_text("\0\x02\0\xfd\xff\xc3\x28\0", 8);
  EXPECT_EQ(run(frame(0xc1, bad_text)), "error 1007 inflated text\n");
  EXPECT_EQ(run(frame(0xc2, bad_text)), "binary \xc3\x28\n");
  // 100 bytes may come in a compressed frame that is a little larger, but not plain.
  EXPECT_EQ(run(frame(0xc2, std::string(400, 'x'))).substr(0, 10), "error 1009");
  EXPECT_EQ(run(frame(0x82, std::string(101, 'x'))).substr(0, 10), "error 1009");
}

INSTANTIATE_TEST_SUITE_P(Roles, WsStream, testing::Values(Role::kServer, Role::kClient),
                         [](const auto& info) {
                           return info.param == Role::kServer ? "server" : "client";
                         });

}  // namespace
}  // namespace tidegate::protocol
