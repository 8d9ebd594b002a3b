// SPDX-License-Identifier: Apache-2.0
// Upgrade heads: what is accepted, what is refused and with which status, and the answers.
#include "protocol/http_upgrade.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

namespace tidegate::protocol {
namespace {

constexpr std::string_view kServed[] = {"tidegate.v1.proto", "tidegate.v1.json"};
constexpr UpgradeRules kRules{kServed};

constexpr std::string_view kRequestLine = "GET /ws HTTP/1.1\r\n";
const std::string kFields =
    "Host: tide.example:7400\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    "Sec-WebSocket-Version: 13\r\n";

struct Parsed {
  std::string head;
  UpgradeRequest request;
  UpgradeError error;
};

std::unique_ptr<Parsed> parse(std::string head, const UpgradeRules& rules = kRules) {
  auto parsed = std::make_unique<Parsed>();
  parsed->head = std::move(head);
  parsed->error = parse_upgrade(base::as_bytes(parsed->head), rules, parsed->request);
  return parsed;
}

std::string head_with(const std::string& more, std::string_view line = kRequestLine) {
  return std::string(line) + kFields + more + "\r\n";
}

// kFields with one field's value replaced, or the field removed when `value` is "-".
std::string head_changing(const std::string& name, const std::string& value) {
  std::string head(kRequestLine);
  for (size_t at = 0; at < kFields.size();) {
    const size_t end = kFields.find("\r\n", at) + 2;
    const std::string field = kFields.substr(at, end - at);
    at = end;
    if (!field.starts_with(name + ":")) {
      head += field;
    } else if (value != "-") {
      head += name + ": " + value + "\r\n";
    }
  }
  return head + "\r\n";
}

TEST(UpgradeParse, TheExampleOfTheRfc) {
  const UpgradeRules chat_rules{{}, "/chat"};
  const auto p = parse(
      "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n"
      "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
      "Origin: http://example.com\r\nSec-WebSocket-Protocol: chat, superchat\r\n"
      "Sec-WebSocket-Version: 13\r\n\r\n",
      chat_rules);
  ASSERT_EQ(p->error.status, 0) << p->error.message;
  EXPECT_EQ(p->request.host, "server.example.com");
  EXPECT_EQ(p->request.origin, "http://example.com");
  EXPECT_EQ(p->request.key, "dGhlIHNhbXBsZSBub25jZQ==");
  EXPECT_EQ(p->request.subprotocol, kNoSubprotocol);
  EXPECT_TRUE(p->request.offered_subprotocols);
}

TEST(UpgradeParse, TakesEveryFieldItPromises) {
  const auto p =
      parse(head_with("Authorization: bearer h.e.r\r\n"
                      "Cookie: theme=dark; auth_token=c.o.o; x=y\r\n"
                      "x-forwarded-for: 10.0.0.1, 10.0.0.2\r\n"
                      "ORIGIN:\thttps://tide.example \r\n",
                      "GET /ws?token=q%2Eu.e&resume=r%20s&other=1 HTTP/1.1\r\n"));
  ASSERT_EQ(p->error.status, 0) << p->error.message;
  const UpgradeRequest& r = p->request;
  EXPECT_EQ(r.path, "/ws");
  EXPECT_EQ(r.query, "token=q%2Eu.e&resume=r%20s&other=1");
  EXPECT_EQ(r.token, "q.u.e");
  EXPECT_EQ(r.resume, "r s");
  EXPECT_EQ(r.bearer, "h.e.r");
  EXPECT_EQ(r.cookie_token, "c.o.o");
  EXPECT_EQ(r.forwarded_for, "10.0.0.1, 10.0.0.2");
  EXPECT_EQ(r.origin, "https://tide.example");
  EXPECT_EQ(r.host, "tide.example:7400");
  EXPECT_FALSE(r.offered_subprotocols);
}

TEST(UpgradeParse, CredentialComesFromHeaderThenQueryThenCookie) {
  const std::string header = "Authorization: Bearer H\r\n";
  const std::string cookie = "Cookie: auth_token=\"C\"\r\n";
  const std::string_view query = "GET /ws?token=Q HTTP/1.1\r\n";
  EXPECT_EQ(parse(head_with(header + cookie, query))->request.credential(), "H");
  EXPECT_EQ(parse(head_with(cookie, query))->request.credential(), "Q");
  EXPECT_EQ(parse(head_with(cookie))->request.credential(), "C");
  EXPECT_EQ(parse(head_with(""))->request.credential(), "");
  // Another scheme is no token and no error.
  EXPECT_EQ(parse(head_with("Authorization: Basic dTpw\r\n"))->request.credential(), "");
  EXPECT_EQ(
      parse(head_with("Cookie: xauth_token=N\r\nCookie: auth_token=M\r\n"))->request.credential(),
      "M");
}

TEST(UpgradeParse, SubprotocolsByTheServersOrder) {
  struct Case {
    std::string fields;
    uint8_t chosen;
  };
  const Case cases[] = {
      {"", kNoSubprotocol},
      {"Sec-WebSocket-Protocol: tidegate.v1.json\r\n", 1},
      {"Sec-WebSocket-Protocol: tidegate.v1.proto\r\n", 0},
      {"Sec-WebSocket-Protocol: tidegate.v1.json, tidegate.v1.proto\r\n", 0},
      {"Sec-WebSocket-Protocol: tidegate.v1.json\r\nsec-websocket-protocol: tidegate.v1.proto\r\n",
       0},
      {"Sec-WebSocket-Protocol: tidegate.v1.proto\r\nsec-websocket-protocol: tidegate.v1.json\r\n",
       0},
      {"Sec-WebSocket-Protocol:chat ,\t, tidegate.v1.json,\r\n", 1},
      {"Sec-WebSocket-Protocol: TIDEGATE.V1.JSON\r\n", kNoSubprotocol},  // compared exactly
  };
  for (const Case& c : cases) {
    const auto p = parse(head_with(c.fields));
    EXPECT_EQ(p->error.status, 0) << c.fields;
    EXPECT_EQ(p->request.subprotocol, c.chosen) << c.fields;
    EXPECT_EQ(p->request.offered_subprotocols, !c.fields.empty());
  }
}

TEST(UpgradeParse, AcceptsWhatTheRfcsAllow) {
  const std::string heads[] = {
      head_changing("Upgrade", "WebSocket"),
      head_changing("Upgrade", "h2c, websocket"),
      head_changing("Connection", "keep-alive, Upgrade"),
      head_changing("Connection", "UPGRADE"),
      head_changing("Connection", "keep-alive\r\nConnection: upgrade"),
      head_changing("Host", "tide.example:"),
      head_changing("Host", "192.0.2.7:7400"),
      head_changing("Host", "[2001:db8::7]:7400"),
      head_with("Content-Length: 0\r\n"),
      head_with("X-Empty:\r\n"),
      head_with("X-Text: caf\xc3\xa9\tau lait\r\n"),
      head_with("", "GET http://tide.example/ws?x HTTP/1.1\r\n"),
      head_with("", "GET /ws? HTTP/1.1\r\n"),
      head_with("", "GET /ws?token HTTP/1.1\r\n"),
      head_with("", "GET /ws?tokens=1&tokens=2&&= HTTP/1.1\r\n"),
      head_with("", "GET /ws?x=%zz HTTP/1.1\r\n"),  // not ours to decode
  };
  for (const std::string& head : heads) {
    const auto p = parse(head);
    EXPECT_EQ(p->error.status, 0) << head << p->error.message;
  }
}

struct Refused {
  const char* name;
  std::string head;
  int status;
  const char* hint;  // must occur in the message
};

class UpgradeRefusals : public testing::TestWithParam<Refused> {};

TEST_P(UpgradeRefusals, WithStatusAndReason) {
  const auto p = parse(GetParam().head);
  EXPECT_EQ(p->error.status, GetParam().status);
  EXPECT_NE(p->error.message.find(GetParam().hint), std::string_view::npos) << p->error.message;
  const char* const code = GetParam().status == 426   ? "unsupported_version"
                           : GetParam().status == 404 ? "not_found"
                                                      : "malformed_upgrade";
  EXPECT_EQ(p->error.code, code);
}

std::string twice(const std::string& name, const std::string& value) {
  return head_with(name + ": " + value + "\r\n" + name + ": " + value + "\r\n");
}

INSTANTIATE_TEST_SUITE_P(
    All, UpgradeRefusals,
    testing::Values(
        Refused{"post", head_with("", "POST /ws HTTP/1.1\r\n"), 400, "GET"},
        Refused{"lower_case_method", head_with("", "get /ws HTTP/1.1\r\n"), 400, "GET"},
        Refused{"http10", head_with("", "GET /ws HTTP/1.0\r\n"), 400, "HTTP/1.1"},
        Refused{"http2", head_with("", "GET /ws HTTP/2\r\n"), 400, "HTTP/1.1"},
        Refused{"no_version", head_with("", "GET /ws\r\n"), 400, "request line"},
        Refused{"two_spaces", head_with("", "GET  /ws HTTP/1.1\r\n"), 400, "target"},
        Refused{"space_in_target", head_with("", "GET /ws /x HTTP/1.1\r\n"), 400, "target"},
        Refused{"relative_target", head_with("", "GET ws HTTP/1.1\r\n"), 400, "target"},
        Refused{"fragment", head_with("", "GET /ws#a HTTP/1.1\r\n"), 400, "target"},
        Refused{"non_ascii_target", head_with("", "GET /w\xc3\xa4 HTTP/1.1\r\n"), 400, "target"},
        Refused{"empty_line_first", head_with("", "\r\nGET /ws HTTP/1.1\r\n"), 400, "request line"},
        Refused{"other_path", head_with("", "GET /wss HTTP/1.1\r\n"), 404, "path"},
        Refused{"slash_path", head_with("", "GET /ws/ HTTP/1.1\r\n"), 404, "path"},
        Refused{"no_host", head_changing("Host", "-"), 400, "Host"},
        Refused{"empty_host", head_changing("Host", ""), 400, "Host"},
        Refused{"two_hosts_in_one", head_changing("Host", "a, b"), 400, "Host"},
        Refused{"host_with_user", head_changing("Host", "me@tide.example"), 400, "Host"},
        Refused{"host_with_path", head_changing("Host", "tide.example/ws"), 400, "Host"},
        Refused{"host_not_ascii", head_changing("Host", "t\xc3\xaf.example"), 400, "Host"},
        Refused{"host_port_only", head_changing("Host", ":80"), 400, "Host"},
        Refused{"host_port_word", head_changing("Host", "tide:http"), 400, "Host"},
        Refused{"host_two_ports", head_changing("Host", "tide:1:2"), 400, "Host"},
        Refused{"host_open_literal", head_changing("Host", "[::1"), 400, "Host"},
        Refused{"host_empty_literal", head_changing("Host", "[]:80"), 400, "Host"},
        Refused{"host_behind_literal", head_changing("Host", "[::1]80"), 400, "Host"},
        Refused{"protocol_empty", head_with("Sec-WebSocket-Protocol:\r\n"), 400, "Protocol"},
        Refused{"protocol_commas", head_with("Sec-WebSocket-Protocol: , ,\r\n"), 400, "Protocol"},
        Refused{"protocol_space", head_with("Sec-WebSocket-Protocol: a b\r\n"), 400, "Protocol"},
        Refused{"protocol_quoted", head_with("Sec-WebSocket-Protocol: \"a\"\r\n"), 400, "Protocol"},
        Refused{"no_upgrade", head_changing("Upgrade", "-"), 400, "Upgrade: websocket"},
        Refused{"other_upgrade", head_changing("Upgrade", "websocket2"), 400, "Upgrade: websocket"},
        Refused{"no_connection", head_changing("Connection", "-"), 400, "Connection: Upgrade"},
        Refused{"connection_close", head_changing("Connection", "close"), 400, "Connection"},
        Refused{"no_ws_version", head_changing("Sec-WebSocket-Version", "-"), 400, "version 13"},
        Refused{"version_8", head_changing("Sec-WebSocket-Version", "8"), 426, "13"},
        Refused{"version_list", head_changing("Sec-WebSocket-Version", "13, 8"), 426, "13"},
        Refused{"version_padded", head_changing("Sec-WebSocket-Version", "013"), 426, "13"},
        Refused{"no_key", head_changing("Sec-WebSocket-Key", "-"), 400, "Key"},
        Refused{"short_key", head_changing("Sec-WebSocket-Key", "dGhl"), 400, "Key"},
        Refused{"key_of_17_bytes", head_changing("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQA="),
                400, "Key"},
        Refused{"host_twice", twice("Host", "tide.example:7400"), 400, "Host"},
        Refused{"key_twice", twice("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="), 400, "Key"},
        Refused{"version_twice", twice("Sec-WebSocket-Version", "13"), 400, "Version"},
        Refused{"authorization_twice", twice("Authorization", "Bearer x"), 400, "Authorization"},
        Refused{"origin_twice", twice("Origin", "https://a"), 400, "Origin"},
        Refused{"token_twice", head_with("", "GET /ws?token=a&token=b HTTP/1.1\r\n"), 400, "query"},
        Refused{"resume_twice", head_with("", "GET /ws?resume=&resume=b HTTP/1.1\r\n"), 400,
                "query"},
        Refused{"bad_escape", head_with("", "GET /ws?token=%4 HTTP/1.1\r\n"), 400, "escape"},
        Refused{"bad_escape_digit", head_with("", "GET /ws?resume=%g0 HTTP/1.1\r\n"), 400,
                "escape"},
        Refused{"body", head_with("Content-Length: 1\r\n"), 400, "body"},
        Refused{"two_lengths", head_with("Content-Length: 0, 5\r\n"), 400, "body"},
        Refused{"chunked", head_with("Transfer-Encoding: chunked\r\n"), 400, "body"},
        Refused{"bare_lf_line", std::string("GET /ws HTTP/1.1\n") + kFields + "\r\n", 400, "CR LF"},
        Refused{"bare_lf_field", head_with("X: y\n"), 400, "CR LF"},
        Refused{"bare_lf_end", std::string(kRequestLine) + kFields + "\n", 400, "CR LF"},
        Refused{"cr_alone", head_with("X: a\rb\r\n"), 400, "control"},
        Refused{"nul", head_with(std::string("X: a\0b\r\n", 8)), 400, "control"},
        Refused{"del", head_with("X: a\x7f\r\n"), 400, "control"},
        Refused{"nul_in_name", head_with(std::string("X\0: a\r\n", 7)), 400, "control"},
        Refused{"obs_fold", head_with("X: a\r\n b\r\n"), 400, "folded"},
        Refused{"obs_fold_tab", head_with("X: a\r\n\tb\r\n"), 400, "folded"},
        Refused{"space_before_colon", head_with("X : a\r\n"), 400, "Name: value"},
        Refused{"no_colon", head_with("Upgrade websocket\r\n"), 400, "Name: value"},
        Refused{"empty_name", head_with(": a\r\n"), 400, "Name: value"},
        Refused{"name_not_token", head_with("X(y): a\r\n"), 400, "Name: value"},
        Refused{"non_ascii_name", head_with("X\xc3\xa4: a\r\n"), 400, "Name: value"},
        Refused{"bytes_behind", head_with("\r\nmore"), 400, "follow"},
        Refused{"no_end", std::string(kRequestLine) + kFields, 400, "CR LF"},
        Refused{"tls_hello", std::string("\x16\x03\x01\x02\x00\x01", 6), 400, "CR LF"},
        Refused{"empty", "", 400, ""}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(UpgradeParse, AnyPathWhenTheRulesNameNone) {
  const UpgradeRules any{{}, ""};
  const auto p = parse(head_with("", "GET /some/where?x=1 HTTP/1.1\r\n"), any);
  EXPECT_EQ(p->error.status, 0);
  EXPECT_EQ(p->request.path, "/some/where");
}

TEST(UpgradeParse, DecodedValuesAreBounded) {
  const auto line = [](size_t plain) {
    return "GET /ws?token=%41" + std::string(plain, 'b') + " HTTP/1.1\r\n";
  };
  EXPECT_EQ(parse(head_with("", line(kDecodedBytesMax - 1)))->request.token.size(),
            kDecodedBytesMax);
  EXPECT_EQ(parse(head_with("", line(kDecodedBytesMax)))->error.status, 400);
}

// Whatever prefix of a good head is cut off, it is never accepted.
TEST(UpgradeParse, NoTruncatedHeadIsAccepted) {
  const std::string head = head_with("");
  for (size_t size = 0; size < head.size(); ++size) {
    EXPECT_NE(parse(head.substr(0, size))->error.status, 0) << size;
  }
}

TEST(FindHeadEnd, AtEverySplit) {
  const std::string head = head_with("");
  const std::string stream = head + "\x82\x80rest\r\n\r\n";
  EXPECT_EQ(find_head_end(base::as_bytes(stream), 0), head.size());
  for (size_t cut = 0; cut < head.size(); ++cut) {
    ASSERT_EQ(find_head_end(base::as_bytes(stream).first(cut), 0), 0u) << cut;
    ASSERT_EQ(find_head_end(base::as_bytes(stream), cut), head.size()) << cut;
  }
  size_t searched = 0;
  for (size_t size = 1; size < head.size(); ++size) {
    ASSERT_EQ(find_head_end(base::as_bytes(head).first(size), searched), 0u) << size;
    searched = size;
  }
  EXPECT_EQ(find_head_end(base::as_bytes(head), searched), head.size());
}

TEST(FindHeadEnd, HopelessInputEndsAtOnce) {
  EXPECT_EQ(find_head_end(base::as_bytes("\x16\x03\x01"), 0), 3u);
  EXPECT_EQ(find_head_end(base::as_bytes("\r\n"), 0), 2u);
  EXPECT_EQ(find_head_end(base::as_bytes("GET /ws HTTP/1.1\nHost: x\n\nrest"), 0), 26u);
  EXPECT_EQ(find_head_end(base::as_bytes("GET /ws HTTP/1.1\r\nHost: x\r\n\nrest"), 0), 28u);
  EXPECT_EQ(find_head_end({}, 0), 0u);
}

TEST(PercentDecode, Values) {
  char out[8];
  std::string_view decoded;
  EXPECT_TRUE(percent_decode("a%2Fb%2f+", out, &decoded));
  EXPECT_EQ(decoded, "a/b/+");
  EXPECT_TRUE(percent_decode("%00%ff", out, &decoded));
  EXPECT_EQ(decoded, std::string_view("\0\xff", 2));
  EXPECT_TRUE(percent_decode("", out, &decoded));
  EXPECT_EQ(decoded, "");
  EXPECT_TRUE(percent_decode("12345678", out, &decoded));
  for (const std::string_view bad : {"%", "%4", "a%", "%4g", "%g4", "%%41", "%-1", "123456789"}) {
    EXPECT_FALSE(percent_decode(bad, out, &decoded)) << bad;
  }
}

TEST(UpgradeAnswers, SwitchingProtocols) {
  uint8_t out[kAnswerBytesMax];
  size_t size = write_switching_protocols(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "chat");
  EXPECT_EQ(base::as_text({out, size}),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
            "Sec-WebSocket-Protocol: chat\r\n\r\n");
  size = write_switching_protocols(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "");
  EXPECT_EQ(base::as_text({out, size}).find("Protocol:"), std::string_view::npos);
  EXPECT_TRUE(base::as_text({out, size}).ends_with("xOo=\r\n\r\n"));
}

TEST(UpgradeAnswers, RefusalsAreWholeResponses) {
  uint8_t out[kAnswerBytesMax];
  const size_t size = write_refusal(out, 401, "token_expired", "The \"exp\" is past. Log in.");
  EXPECT_EQ(base::as_text({out, size}),
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nContent-Length: 69\r\n"
            "Connection: close\r\nWWW-Authenticate: Bearer\r\n\r\n"
            "{\"error\": \"token_expired\", \"message\": \"The \\\"exp\\\" is past. Log in.\"}");
}

TEST(UpgradeAnswers, ContentLengthCountsTheBody) {
  for (const std::string& message : {std::string(), std::string("a"), std::string(100, 'b'),
                                     std::string("\"\\\n\x01"), std::string("\xc3\xa9")}) {
    uint8_t out[kAnswerBytesMax];
    const std::string_view answer = base::as_text({out, write_refusal(out, 400, "c", message)});
    const size_t body = answer.find("\r\n\r\n") + 4;
    EXPECT_NE(answer.find("Content-Length: " + std::to_string(answer.size() - body) + "\r\n"),
              std::string_view::npos)
        << answer;
  }
  uint8_t out[kAnswerBytesMax];
  EXPECT_TRUE(base::as_text({out, write_refusal(out, 400, "c", "\"\\\n\x01")})
                  .ends_with("\"\\\"\\\\\\u000a\\u0001\"}"));
}

TEST(UpgradeAnswers, HeadersThatAStatusDemands) {
  uint8_t out[kAnswerBytesMax];
  const auto answer = [&out](int status, uint32_t retry_after_s) {
    return base::as_text({out, write_refusal(out, status, "c", "m", retry_after_s)});
  };
  const auto has = [](std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
  };
  EXPECT_TRUE(has(answer(426, 0), "\r\nSec-WebSocket-Version: 13\r\n"));
  EXPECT_TRUE(has(answer(426, 0), "\r\nUpgrade: websocket\r\n"));
  EXPECT_TRUE(has(answer(429, 0), "\r\nRetry-After: 1\r\n"));
  EXPECT_TRUE(has(answer(429, 30), "\r\nRetry-After: 30\r\n"));
  EXPECT_TRUE(has(answer(503, 4294967295u), "\r\nRetry-After: 4294967295\r\n"));
  EXPECT_FALSE(has(answer(503, 0), "Retry-After"));
  EXPECT_FALSE(has(answer(400, 0), "Sec-WebSocket-Version"));
  for (const int status : {400, 401, 403, 404, 408, 413, 426, 429, 431, 503}) {
    EXPECT_TRUE(has(answer(status, 0), "\r\nConnection: close")) << status;
    EXPECT_FALSE(has(answer(status, 0), " Refused\r\n")) << status;
  }
}

TEST(UpgradeAnswers, NothingIsWrittenBehindASmallBuffer) {
  std::vector<uint8_t> out(400, 0xee);
  const size_t whole = write_refusal(out, 426, "unsupported_version", "m");
  ASSERT_GT(whole, 100u);
  for (size_t size = 0; size <= whole; ++size) {
    std::fill(out.begin(), out.end(), 0xee);
    EXPECT_EQ(write_refusal({out.data(), size}, 426, "unsupported_version", "m"),
              size == whole ? whole : 0u);
    EXPECT_EQ(out[size], 0xee);
  }
}

TEST(UpgradeAnswers, RefusalsBySizeAndTime) {
  EXPECT_EQ(head_too_large().status, 431);
  EXPECT_EQ(handshake_too_slow().status, 408);
}

}  // namespace
}  // namespace tidegate::protocol
