// SPDX-License-Identifier: Apache-2.0
#include "base/ip.h"

#include <gtest/gtest.h>

namespace tidegate::base {
namespace {

IpAddress ip(std::string_view text) {
  IpAddress a;
  EXPECT_TRUE(parse_ip(text, &a)) << text;
  return a;
}

bool within(std::string_view network, std::string_view address) {
  IpNetwork n;
  EXPECT_TRUE(parse_network(network, &n)) << network;
  return n.contains(ip(address));
}

TEST(Ip, AddressesHaveOneForm) {
  EXPECT_EQ(ip("192.0.2.1"), ip("::ffff:192.0.2.1"));
  EXPECT_TRUE(ip("192.0.2.1").is_ipv4());
  EXPECT_FALSE(ip("2001:db8::1").is_ipv4());
  EXPECT_FALSE(IpAddress{}.known());
  EXPECT_TRUE(ip("::1").known());
  IpAddress out;
  for (const char* text : {"", "1.2.3", "1.2.3.4.5", "256.1.1.1", "::g", "[::1]", "1.2.3.4:5",
                           "localhost", " 1.2.3.4", "fe80::1%eth0"}) {
    EXPECT_FALSE(parse_ip(text, &out)) << text;
  }
  EXPECT_FALSE(parse_ip(std::string_view("1.2.3.4\0", 8), &out));
}

TEST(Ip, NetworksHoldWhatTheirBitsSay) {
  EXPECT_TRUE(within("10.0.0.0/8", "10.255.1.2"));
  EXPECT_FALSE(within("10.0.0.0/8", "11.0.0.1"));
  EXPECT_TRUE(within("192.0.2.128/25", "192.0.2.200"));
  EXPECT_FALSE(within("192.0.2.128/25", "192.0.2.100"));
  EXPECT_TRUE(within("192.0.2.7", "192.0.2.7"));
  EXPECT_FALSE(within("192.0.2.7", "192.0.2.6"));
  EXPECT_TRUE(within("2001:db8::/33", "2001:db8:7fff::1"));
  EXPECT_FALSE(within("2001:db8::/33", "2001:db8:8000::1"));
  EXPECT_TRUE(within("0.0.0.0/0", "8.8.8.8"));
  EXPECT_FALSE(within("0.0.0.0/0", "2001:db8::1"));
  EXPECT_TRUE(within("::/0", "2001:db8::1"));
  IpNetwork out;
  for (const char* text : {"10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "::/129", "/8",
                           "10.0.0.0/8/8", "10.0.0.0/0008"}) {
    EXPECT_FALSE(parse_network(text, &out)) << text;
  }
}

}  // namespace
}  // namespace tidegate::base
