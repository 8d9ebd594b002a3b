// SPDX-License-Identifier: Apache-2.0
// Every rule of RFC 6455 that one frame or the order of frames can break, and the writers.
#include "protocol/ws.h"

#include <gtest/gtest.h>

#include "ws_events.h"

namespace tidegate::protocol {
namespace {

using base::Bytes;

constexpr uint64_t kMax = 64 * 1024;

std::string from_hex(std::string_view hex) {
  std::string bytes;
  for (size_t i = 0; i < hex.size(); ++i) {
    if (hex[i] == ' ') continue;
    bytes += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
    ++i;
  }
  return bytes;
}

std::string run(Role role, const std::string& bytes, uint64_t max = kMax) {
  WsEvents events(role, max);
  events.feed(base::as_bytes(bytes));
  return events.lines();
}

std::string header_of(Opcode opcode, bool fin, uint64_t size) {
  uint8_t out[kHeaderMax];
  return {reinterpret_cast<char*>(out), write_header(out, opcode, fin, size)};
}

// A frame as a client sends it.
std::string client_frame(Opcode opcode, bool fin, const std::string& payload,
                         uint32_t key = 0x3d21fa37) {
  std::string out(kHeaderMax + payload.size(), '\0');
  out.resize(write_masked_frame(reinterpret_cast<uint8_t*>(out.data()), opcode, fin,
                                base::as_bytes(payload), key));
  return out;
}

std::string server_frame(Opcode opcode, bool fin, const std::string& payload) {
  return header_of(opcode, fin, payload.size()) + payload;
}

std::string close_body(uint16_t code, const std::string& reason = "") {
  return std::string{static_cast<char>(code >> 8), static_cast<char>(code & 0xff)} + reason;
}

// RFC 6455 section 5.7, the examples byte by byte.
TEST(WsRfcExamples, Frames) {
  EXPECT_EQ(run(Role::kClient, from_hex("81 05 48 65 6c 6c 6f")), "text Hello\n");
  EXPECT_EQ(run(Role::kServer, from_hex("81 85 37 fa 21 3d 7f 9f 4d 51 58")), "text Hello\n");
  EXPECT_EQ(run(Role::kClient, from_hex("01 03 48 65 6c 80 02 6c 6f")), "text Hello\n");
  EXPECT_EQ(run(Role::kClient, from_hex("89 05 48 65 6c 6c 6f")), "ping Hello\n");
  EXPECT_EQ(run(Role::kServer, from_hex("8a 85 37 fa 21 3d 7f 9f 4d 51 58")), "pong Hello\n");
  const std::string small(256, 'x');
  EXPECT_EQ(run(Role::kClient, from_hex("82 7e 01 00") + small), "binary " + small + "\n");
  const std::string large(65536, 'y');
  EXPECT_EQ(run(Role::kClient, from_hex("82 7f 00 00 00 00 00 01 00 00") + large, 1 << 20),
            "binary " + large + "\n");
}

TEST(WsRfcExamples, WritersMakeThem) {
  EXPECT_EQ(server_frame(Opcode::kText, true, "Hello"), from_hex("81 05 48 65 6c 6c 6f"));
  EXPECT_EQ(client_frame(Opcode::kText, true, "Hello"),
            from_hex("81 85 37 fa 21 3d 7f 9f 4d 51 58"));
  EXPECT_EQ(
      server_frame(Opcode::kText, false, "Hel") + server_frame(Opcode::kContinuation, true, "lo"),
      from_hex("01 03 48 65 6c 80 02 6c 6f"));
  EXPECT_EQ(header_of(Opcode::kBinary, true, 256), from_hex("82 7e 01 00"));
  EXPECT_EQ(header_of(Opcode::kBinary, true, 65536), from_hex("82 7f 00 00 00 00 00 01 00 00"));
}

struct ErrorCase {
  const char* name;
  Role role;
  std::string bytes;
  ParseStatus status;
};

class WsFrameErrors : public testing::TestWithParam<ErrorCase> {};

// The error is found at exactly the last byte of `bytes`: never later, and not before its cause.
TEST_P(WsFrameErrors, FoundAtTheByteThatCausesIt) {
  const ErrorCase& c = GetParam();
  for (size_t size = 0; size <= c.bytes.size(); ++size) {
    std::string bytes = c.bytes.substr(0, size);
    FrameView frame;
    const ParseStatus status =
        parse_frame({reinterpret_cast<uint8_t*>(bytes.data()), size}, c.role, 1000, frame);
    EXPECT_EQ(status, size == c.bytes.size() ? c.status : ParseStatus::kNeedMore)
        << size << " bytes: " << text_of(status);
  }
  EXPECT_EQ(close_code_of(c.status), c.status == ParseStatus::kTooBig ? 1009 : 1002);
}

INSTANTIATE_TEST_SUITE_P(
    All, WsFrameErrors,
    testing::Values(
        ErrorCase{"rsv1", Role::kServer, from_hex("c2"), ParseStatus::kReservedBits},
        ErrorCase{"rsv2", Role::kServer, from_hex("a2"), ParseStatus::kReservedBits},
        ErrorCase{"rsv3", Role::kServer, from_hex("92"), ParseStatus::kReservedBits},
        ErrorCase{"opcode3", Role::kServer, from_hex("83"), ParseStatus::kUnknownOpcode},
        ErrorCase{"opcode7", Role::kServer, from_hex("87"), ParseStatus::kUnknownOpcode},
        ErrorCase{"opcode3_fragment", Role::kClient, from_hex("03"), ParseStatus::kUnknownOpcode},
        ErrorCase{"opcode11", Role::kServer, from_hex("8b"), ParseStatus::kUnknownOpcode},
        ErrorCase{"opcode15", Role::kClient, from_hex("8f"), ParseStatus::kUnknownOpcode},
        ErrorCase{"ping_fragment", Role::kServer, from_hex("09"), ParseStatus::kControlFragmented},
        ErrorCase{"close_fragment", Role::kServer, from_hex("08"), ParseStatus::kControlFragmented},
        ErrorCase{"ping_126", Role::kServer, from_hex("89 fe"), ParseStatus::kControlTooLong},
        ErrorCase{"close_127", Role::kClient, from_hex("88 7f"), ParseStatus::kControlTooLong},
        ErrorCase{"not_masked", Role::kServer, from_hex("82 05"), ParseStatus::kNotMasked},
        ErrorCase{"not_masked_long", Role::kServer, from_hex("82 7f"), ParseStatus::kNotMasked},
        ErrorCase{"masked", Role::kClient, from_hex("82 85"), ParseStatus::kMasked},
        ErrorCase{"length16_not_minimal", Role::kServer, from_hex("82 fe 00 7d"),
                  ParseStatus::kLengthNotMinimal},
        ErrorCase{"length64_not_minimal", Role::kClient, from_hex("82 7f 00 00 00 00 00 00 ff ff"),
                  ParseStatus::kLengthNotMinimal},
        ErrorCase{"length64_top_bit", Role::kServer, from_hex("82 ff 80 00 00 00 00 00 00 00"),
                  ParseStatus::kLengthTopBit},
        ErrorCase{"too_big_16", Role::kServer, from_hex("82 fe 03 e9"), ParseStatus::kTooBig},
        ErrorCase{"too_big_64", Role::kClient, from_hex("82 7f 00 00 00 00 00 01 00 00"),
                  ParseStatus::kTooBig},
        ErrorCase{"too_big_near_overflow", Role::kServer, from_hex("82 ff 7f ff ff ff ff ff ff ff"),
                  ParseStatus::kTooBig}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(WsFrame, LimitIsInclusiveAndAppliesToDataOnly) {
  const std::string text(100, 'a');
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, true, text), 100),
            "text " + text + "\n");
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, true, text), 99),
            "error 1009 the message is larger than the limit\n");
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kPing, true, text), 99), "ping " + text + "\n");
}

TEST(WsFrame, LimitCountsAllFragments) {
  const std::string first = client_frame(Opcode::kBinary, false, "12345");
  const std::string ping = client_frame(Opcode::kPing, true, "p");
  EXPECT_EQ(
      run(Role::kServer, first + ping + client_frame(Opcode::kContinuation, true, "67890"), 10),
      "ping p\nbinary 1234567890\n");
  // Two bytes of the last fragment say its length; that is enough to refuse.
  const std::string header = client_frame(Opcode::kContinuation, true, "678901").substr(0, 2);
  WsEvents events(Role::kServer, 10);
  events.feed(base::as_bytes(first + ping + header.substr(0, 1)));
  EXPECT_EQ(events.lines(), "ping p\n");
  events.feed(base::as_bytes(header.substr(1)));
  EXPECT_EQ(events.lines(), "ping p\nerror 1009 the message is larger than the limit\n");
}

TEST(WsFrame, NeedMoreLeavesTheInputAlone) {
  const std::string whole = client_frame(Opcode::kBinary, true, std::string(300, 'z'));
  std::string part = whole.substr(0, whole.size() - 1);
  FrameView frame;
  EXPECT_EQ(parse_frame({reinterpret_cast<uint8_t*>(part.data()), part.size()}, Role::kServer, kMax,
                        frame),
            ParseStatus::kNeedMore);
  EXPECT_EQ(frame.consumed, whole.size());
  EXPECT_EQ(part, whole.substr(0, whole.size() - 1));
}

TEST(WsFrame, EmptyInputNeedsASmallestFrame) {
  FrameView frame;
  EXPECT_EQ(parse_frame({}, Role::kServer, kMax, frame), ParseStatus::kNeedMore);
  EXPECT_EQ(frame.consumed, 6u);
  EXPECT_EQ(parse_frame({}, Role::kClient, kMax, frame), ParseStatus::kNeedMore);
  EXPECT_EQ(frame.consumed, 2u);
}

// Lengths at the borders of the three forms, both roles.
TEST(WsFrame, LengthFormsRoundTrip) {
  for (const size_t size : {0, 1, 124, 125, 126, 127, 65535, 65536, 70000}) {
    const std::string payload(size, 'q');
    EXPECT_EQ(header_of(Opcode::kBinary, true, size).size(), header_size(size));
    EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kBinary, true, payload), 1 << 20),
              "binary " + payload + "\n");
    EXPECT_EQ(run(Role::kClient, server_frame(Opcode::kBinary, true, payload), 1 << 20),
              "binary " + payload + "\n");
  }
}

TEST(WsReceiver, FragmentsWithControlFramesBetween) {
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, false, "a") +
                                   client_frame(Opcode::kPing, true, "1") +
                                   client_frame(Opcode::kContinuation, false, "") +
                                   client_frame(Opcode::kPong, true, "2") +
                                   client_frame(Opcode::kContinuation, true, "b") +
                                   client_frame(Opcode::kBinary, true, "c")),
            "ping 1\npong 2\ntext ab\nbinary c\n");
}

TEST(WsReceiver, ContinuationRules) {
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kContinuation, true, "x")),
            "error 1002 a continuation frame without a message to continue\n");
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kContinuation, false, "x")),
            "error 1002 a continuation frame without a message to continue\n");
  for (const Opcode opcode : {Opcode::kText, Opcode::kBinary}) {
    EXPECT_EQ(run(Role::kServer,
                  client_frame(Opcode::kBinary, false, "x") + client_frame(opcode, true, "y")),
              "error 1002 a new message began before the fragmented one ended\n");
  }
  // After a whole fragmented message nothing is left to continue.
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kBinary, false, "x") +
                                   client_frame(Opcode::kContinuation, true, "y") +
                                   client_frame(Opcode::kContinuation, true, "z")),
            "binary xy\nerror 1002 a continuation frame without a message to continue\n");
}

TEST(WsReceiver, TextMustBeUtf8) {
  const std::string wrong = "error 1007 a text message must be valid UTF-8\n";
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, true, "κόσμε")), "text κόσμε\n");
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, true, "\xff")), wrong);
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, true, "\xce")), wrong);
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kBinary, true, "\xff")), "binary \xff\n");
  // A code point over two fragments is fine; half of one at the end is not.
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, false, "\xce") +
                                   client_frame(Opcode::kContinuation, true, "\xba")),
            "text \xce\xba\n");
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, false, "\xce") +
                                   client_frame(Opcode::kContinuation, true, "")),
            wrong);
  // Refused in the fragment that is wrong, not at the end of the message.
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, false, "\xed\xa0")), wrong);
  // Fragments of a binary message are not looked at, also after a broken-off text state.
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kBinary, false, "\xff") +
                                   client_frame(Opcode::kContinuation, true, "\xfe")),
            "binary \xff\xfe\n");
}

TEST(WsReceiver, CloseBodies) {
  const auto close = [](const std::string& body) {
    return run(Role::kServer, client_frame(Opcode::kClose, true, body));
  };
  EXPECT_EQ(close(""), "close 1005 \n");
  EXPECT_EQ(close("x"), "error 1002 a close body must be empty or hold a two-byte code\n");
  EXPECT_EQ(close(close_body(1000, "bye")), "close 1000 bye\n");
  EXPECT_EQ(close(close_body(1000, "\xc3\xa4")), "close 1000 \xc3\xa4\n");
  EXPECT_EQ(close(close_body(1000, "\xc3")), "error 1007 a close reason must be valid UTF-8\n");
  EXPECT_EQ(close(close_body(1000, std::string(123, 'r'))),
            "close 1000 " + std::string(123, 'r') + "\n");
}

TEST(WsReceiver, CloseCodes) {
  const auto allowed = [](uint16_t code) {
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
           (code >= 3000 && code <= 4999);
  };
  for (uint32_t code = 0; code <= 65535; code += code < 6000 ? 1 : 97) {
    const uint16_t c = static_cast<uint16_t>(code);
    const std::string got = run(Role::kServer, client_frame(Opcode::kClose, true, close_body(c)));
    EXPECT_EQ(got, allowed(c) ? "close " + std::to_string(c) + " \n"
                              : "error 1002 this close code must not be sent\n");
  }
}

TEST(WsReceiver, NothingAfterClose) {
  for (const Opcode opcode : {Opcode::kBinary, Opcode::kText, Opcode::kPing, Opcode::kClose}) {
    WsReceiver receiver;
    FrameView frame{Opcode::kClose, true, false, {}, 0};
    EXPECT_EQ(receiver.on_frame(frame).event, ReceiveEvent::kClose);
    EXPECT_TRUE(receiver.peer_closed());
    frame.opcode = opcode;
    const Received after = receiver.on_frame(frame);
    EXPECT_EQ(after.event, ReceiveEvent::kError);
    EXPECT_EQ(after.status, ParseStatus::kAfterClose);
  }
}

TEST(WsReceiver, ACloseInsideAMessageEndsIt) {
  EXPECT_EQ(run(Role::kServer, client_frame(Opcode::kText, false, "a") +
                                   client_frame(Opcode::kClose, true, close_body(1001)) +
                                   client_frame(Opcode::kContinuation, true, "b")),
            "close 1001 \n");
}

TEST(WsWriters, ControlFrames) {
  uint8_t out[kControlFrameMax];
  const std::string payload(125, 'p');
  EXPECT_EQ(
      run(Role::kClient, {reinterpret_cast<char*>(out), write_ping(out, base::as_bytes(payload))}),
      "ping " + payload + "\n");
  EXPECT_EQ(run(Role::kClient, {reinterpret_cast<char*>(out), write_pong(out, {})}), "pong \n");
  EXPECT_EQ(
      run(Role::kClient, {reinterpret_cast<char*>(out), write_close(out, 1001, "going away")}),
      "close 1001 going away\n");
  EXPECT_EQ(run(Role::kClient, {reinterpret_cast<char*>(out), write_close(out, kCloseNone, "x")}),
            "close 1005 \n");
  EXPECT_EQ(run(Role::kServer, {reinterpret_cast<char*>(out),
                                write_masked_close(out, 4015, "replaced", 0x01020304)}),
            "close 4015 replaced\n");
}

// A reason that does not fit is cut, but never inside a code point.
TEST(WsWriters, LongCloseReasonsAreCutAtACodePoint) {
  uint8_t out[kControlFrameMax];
  for (size_t lead = 0; lead < 4; ++lead) {
    std::string reason(lead, 'a');
    while (reason.size() < 200) reason += "\xf0\x9f\x8c\x8a";
    const size_t size = write_close(out, 1000, reason);
    ASSERT_LE(size, 2 + kControlPayloadMax);
    const std::string got = run(Role::kClient, {reinterpret_cast<char*>(out), size});
    EXPECT_EQ(got, "close 1000 " + reason.substr(0, lead + (123 - lead) / 4 * 4) + "\n");
  }
}

// Text that is wrong fails before its frame is whole (RFC 6455 section 8.1), wherever it is cut.
TEST(WsReceiver, TextFailsWhileItsFrameIsIncomplete) {
  const std::string good = "caf\xc3\xa9 \xe2\x82\xac";
  for (const Role role : {Role::kServer, Role::kClient}) {
    for (const size_t size : {size_t{40}, size_t{300}, size_t{70'000}}) {
      std::string text;
      while (text.size() + 2 * good.size() < size) text += good;
      const size_t bad_at = text.size() + 1;
      text += "\xed\xa0\x80";  // a surrogate: wrong at its second byte
      text.resize(size, 'z');
      for (const bool fragment : {false, true}) {
        std::string frame(kHeaderMax + size, '\0');
        uint8_t* const out = reinterpret_cast<uint8_t*>(frame.data());
        const Opcode opcode = fragment ? Opcode::kContinuation : Opcode::kText;
        size_t header = 0;
        if (role == Role::kServer) {
          header = write_masked_frame(out, opcode, true, base::as_bytes(text), 0x9a7b3c51) - size;
        } else {
          header = write_header(out, opcode, true, size);
          std::memcpy(out + header, text.data(), size);
        }
        WsReceiver receiver;
        uint8_t lead[] = {0xe2, 0x82};
        if (fragment) receiver.on_frame({Opcode::kText, false, false, {lead, 1}, 0});
        // A continuation of half a character: the first byte of the text is wrong already.
        const size_t fails_at = header + (fragment ? 0 : bad_at) + 1;
        ParseStatus status = ParseStatus::kFrame;
        size_t have = 0;
        while (status == ParseStatus::kFrame && have < header + size - 1) {
          have += size > 1000 && have + 999 < fails_at ? 997 : 1;
          status = receiver.check_incomplete(base::as_bytes(frame).first(have), role);
        }
        EXPECT_EQ(status, ParseStatus::kBadUtf8);
        EXPECT_EQ(have, fails_at) << size;
      }
    }
  }
}

TEST(WsReceiver, OtherIncompleteFramesAreNotLookedAt) {
  const std::string bad(20, '\xff');
  std::string frame(kHeaderMax + bad.size(), '\0');
  uint8_t* const out = reinterpret_cast<uint8_t*>(frame.data());
  const size_t size = write_masked_frame(out, Opcode::kBinary, true, base::as_bytes(bad), 7);
  for (const uint8_t first : {0x82, 0x89, 0x80, 0xc1}) {
    out[0] = first;
    WsReceiver receiver;
    receiver.speak_deflate();
    if (first == 0x80) receiver.on_frame({Opcode::kText, false, true, {}, 0});
    for (size_t have = 0; have < size; ++have) {
      EXPECT_EQ(receiver.check_incomplete(base::as_bytes(frame).first(have), Role::kServer),
                ParseStatus::kFrame);
    }
  }
}

TEST(WsStatus, EveryErrorHasACodeAndATextThatFitsACloseFrame) {
  for (int i = 0; i < static_cast<int>(ParseStatus::kCount); ++i) {
    const ParseStatus status = static_cast<ParseStatus>(i);
    const bool error = status != ParseStatus::kFrame && status != ParseStatus::kNeedMore;
    EXPECT_EQ(close_code_of(status) != 0, error);
    EXPECT_EQ(!text_of(status).empty(), error);
    EXPECT_LE(text_of(status).size(), 123u);
  }
}

}  // namespace
}  // namespace tidegate::protocol
