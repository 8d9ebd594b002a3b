// SPDX-License-Identifier: Apache-2.0
#include "protocol/proxy_header.h"

#include <gtest/gtest.h>

#include <string>

#include "protocol/forwarded.h"

namespace tidegate::protocol {
namespace {

// The signature, version and command, family, and a length that fits `rest`.
std::string header(uint8_t command, uint8_t family, const std::string& rest) {
  std::string out("\r\n\r\n\0\r\nQUIT\n", 12);
  out += static_cast<char>(command);
  out += static_cast<char>(family);
  out += static_cast<char>(rest.size() >> 8);
  out += static_cast<char>(rest.size() & 0xff);
  return out + rest;
}

const std::string kIpv4("\xcb\x00\x71\x07\x7f\x00\x00\x01\x10\x92\x1c\xe8", 12);

ProxyStatus parse(const std::string& text, ProxyHeader* out) {
  return parse_proxy_header(base::as_bytes(text), out);
}
ProxyStatus parse(const std::string& text) {
  ProxyHeader ignored;
  return parse(text, &ignored);
}

base::IpAddress ip(const char* text) {
  base::IpAddress a;
  EXPECT_TRUE(base::parse_ip(text, &a));
  return a;
}

TEST(ProxyHeader, Ipv4AndIpv6) {
  ProxyHeader h;
  ASSERT_EQ(parse(header(0x21, 0x11, kIpv4) + "GET /", &h), ProxyStatus::kOk);
  EXPECT_EQ(h.bytes, 28u);
  EXPECT_TRUE(h.has_address);
  EXPECT_EQ(h.source, ip("203.0.113.7"));
  EXPECT_EQ(h.source_port, 0x1092);
  std::string six(36, '\0');
  six[0] = 0x20;
  six[1] = 0x01;
  six[15] = 9;
  six[33] = 7;
  ASSERT_EQ(parse(header(0x21, 0x21, six), &h), ProxyStatus::kOk);
  EXPECT_EQ(h.source, ip("2001::9"));
  EXPECT_EQ(h.source_port, 7);
}

TEST(ProxyHeader, LocalAndUnspecifiedSpeakForNobody) {
  ProxyHeader h;
  h.has_address = true;
  ASSERT_EQ(parse(header(0x20, 0x00, ""), &h), ProxyStatus::kOk);
  EXPECT_FALSE(h.has_address);
  EXPECT_EQ(h.bytes, 16u);
  ASSERT_EQ(parse(header(0x20, 0x11, kIpv4), &h), ProxyStatus::kOk);
  EXPECT_FALSE(h.has_address);
  ASSERT_EQ(parse(header(0x21, 0x00, "anything at all"), &h), ProxyStatus::kOk);
  EXPECT_FALSE(h.has_address);
  ASSERT_EQ(parse(header(0x21, 0x31, std::string(216, 'x')), &h), ProxyStatus::kOk);
  EXPECT_FALSE(h.has_address);
}

TEST(ProxyHeader, EveryPrefixAsksForMore) {
  const std::string whole = header(0x21, 0x11, kIpv4 + std::string("\x02\x00\x02hi", 5));
  for (size_t n = 0; n < whole.size(); ++n) {
    EXPECT_EQ(parse(whole.substr(0, n)), ProxyStatus::kNeedMore) << n;
  }
  EXPECT_EQ(parse(whole), ProxyStatus::kOk);
}

TEST(ProxyHeader, WhatIsWrongIsNamed) {
  EXPECT_EQ(parse("GET / HTTP/1.1\r\n"), ProxyStatus::kNoHeader);
  EXPECT_EQ(parse("PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n"), ProxyStatus::kNoHeader);
  EXPECT_EQ(parse("\r\n\r\nX"), ProxyStatus::kNoHeader);
  EXPECT_EQ(parse(header(0x11, 0x11, kIpv4)), ProxyStatus::kUnsupported);
  EXPECT_EQ(parse(header(0x22, 0x11, kIpv4)), ProxyStatus::kUnsupported);
  EXPECT_EQ(parse(header(0x21, 0x41, kIpv4)), ProxyStatus::kUnsupported);
  EXPECT_EQ(parse(header(0x21, 0x12, kIpv4)), ProxyStatus::kUnsupported);
  EXPECT_EQ(parse(header(0x21, 0x11, kIpv4.substr(1))), ProxyStatus::kMalformed);
  EXPECT_EQ(parse(header(0x21, 0x21, kIpv4)), ProxyStatus::kMalformed);
  EXPECT_EQ(parse(header(0x21, 0x11, kIpv4 + "\x02")), ProxyStatus::kMalformed);
  EXPECT_EQ(parse(header(0x21, 0x11, kIpv4 + std::string("\x02\x00\x09", 3))),
            ProxyStatus::kMalformed);
  EXPECT_EQ(parse(header(0x21, 0x11, kIpv4 + std::string("\x03\x00\x02xx", 5))),
            ProxyStatus::kMalformed);
  EXPECT_EQ(parse(header(0x21, 0x00, std::string(5000, 'x')).substr(0, 20)),
            ProxyStatus::kTooLarge);
}

TEST(ProxyHeader, ChecksumIsHeldAgainstTheBytes) {
  // The check value of CRC-32C.
  EXPECT_EQ(crc32c(base::as_bytes("123456789")), 0xe3069283u);
  std::string text = header(0x21, 0x11, kIpv4 + std::string("\x03\x00\x04\0\0\0\0", 7));
  EXPECT_EQ(parse(text), ProxyStatus::kBadChecksum);
  const uint32_t crc = crc32c(base::as_bytes(text));
  for (int i = 0; i < 4; ++i) {
    text[text.size() - 4 + static_cast<size_t>(i)] = static_cast<char>(crc >> (24 - 8 * i));
  }
  EXPECT_EQ(parse(text), ProxyStatus::kOk);
  text[20] ^= 1;
  EXPECT_EQ(parse(text), ProxyStatus::kBadChecksum);
}

base::IpAddress client_of(ForwardedField field, std::string_view list) {
  base::IpNetwork ours;
  EXPECT_TRUE(base::parse_network("10.0.0.0/8", &ours));
  return forwarded_client(field, list, ip("10.0.0.1"),
                          [&](const base::IpAddress& a) { return ours.contains(a); });
}

TEST(Forwarded, ReadFromTheEndAsLongAsThoseWhoSpeakAreTrusted) {
  constexpr auto kFor = ForwardedField::kXForwardedFor;
  EXPECT_EQ(client_of(kFor, ""), ip("10.0.0.1"));
  EXPECT_EQ(client_of(kFor, "203.0.113.7"), ip("203.0.113.7"));
  EXPECT_EQ(client_of(kFor, "192.0.2.9, 203.0.113.7 ,10.2.3.4"), ip("203.0.113.7"));
  EXPECT_EQ(client_of(kFor, "10.9.9.9, 10.2.3.4"), ip("10.9.9.9"));
  EXPECT_EQ(client_of(kFor, "203.0.113.7:4711"), ip("203.0.113.7"));
  EXPECT_EQ(client_of(kFor, "2001:db8::1"), ip("2001:db8::1"));
  EXPECT_EQ(client_of(kFor, "[2001:db8::1]:80"), ip("2001:db8::1"));
  // What names no address ends the list there: the last that was known spoke for it.
  EXPECT_EQ(client_of(kFor, "203.0.113.7, unknown, 10.2.3.4"), ip("10.2.3.4"));
  EXPECT_EQ(client_of(kFor, "203.0.113.7, "), ip("10.0.0.1"));
  EXPECT_EQ(client_of(ForwardedField::kNone, "203.0.113.7"), ip("10.0.0.1"));
}

TEST(Forwarded, Rfc7239) {
  constexpr auto kField = ForwardedField::kForwarded;
  EXPECT_EQ(client_of(kField, "for=192.0.2.43, For=\"[2001:db8:cafe::17]:4711\""),
            ip("2001:db8:cafe::17"));
  EXPECT_EQ(client_of(kField, "proto=https; for=\"192.0.2.60:99\" ;by=10.0.0.3"), ip("192.0.2.60"));
  EXPECT_EQ(client_of(kField, "for=_hidden"), ip("10.0.0.1"));
  EXPECT_EQ(client_of(kField, "192.0.2.60"), ip("10.0.0.1"));
}

}  // namespace
}  // namespace tidegate::protocol
