// SPDX-License-Identifier: Apache-2.0
// Offers and answers of permessage-deflate, as RFC 7692 section 7.1 and RFC 6455 section 9.1 say.
#include "protocol/ws_extensions.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace tidegate::protocol {
namespace {

const DeflateRules kEverything{15, 15, true, true};

// The answer to the fields of one request: "declined", "malformed", or the header's value.
std::string answer_all(const std::vector<std::string_view>& fields,
                       const DeflateRules& rules = kEverything) {
  ExtensionOffers offers;
  for (const std::string_view field : fields) {
    if (!offers.take(field, &rules)) return "malformed";
  }
  if (!offers.accepted()) return "declined";
  char text[kExtensionAnswerChars];
  return std::string(write_deflate_answer(offers.parameters(), text));
}
std::string answer(std::string_view field, const DeflateRules& rules = kEverything) {
  return answer_all({field}, rules);
}

TEST(ExtensionOffers, EachParameterIsAnswered) {
  EXPECT_EQ(answer("permessage-deflate"), "permessage-deflate");
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits"),
            "permessage-deflate; client_max_window_bits=15");
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits=9"),
            "permessage-deflate; client_max_window_bits=9");
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=8"),
            "permessage-deflate; server_max_window_bits=8");
  EXPECT_EQ(answer("permessage-deflate; server_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover");
  EXPECT_EQ(answer("permessage-deflate; client_no_context_takeover"),
            "permessage-deflate; client_no_context_takeover");
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits; server_max_window_bits=10; "
                   "client_no_context_takeover; server_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
            "server_max_window_bits=10; client_max_window_bits=15");
}

TEST(ExtensionOffers, TheServersRulesAreImposed) {
  const DeflateRules none{15, 15, false, false};
  EXPECT_EQ(answer("permessage-deflate", none),
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
  const DeflateRules small{10, 11, true, true};
  EXPECT_EQ(answer("permessage-deflate; client_max_window_bits", small),
            "permessage-deflate; server_max_window_bits=10; client_max_window_bits=11");
  EXPECT_EQ(
      answer("permessage-deflate; client_max_window_bits=9; server_max_window_bits=12", small),
      "permessage-deflate; server_max_window_bits=10; client_max_window_bits=9");
  // A client that cannot be told to use a smaller window would need more memory than there is.
  EXPECT_EQ(answer("permessage-deflate", small), "declined");
}

TEST(ExtensionOffers, TheFirstThatCanBeServedIsTaken) {
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=7, permessage-deflate"),
            "permessage-deflate");
  EXPECT_EQ(answer("x-other; a=1, permessage-deflate; server_max_window_bits=12, "
                   "permessage-deflate"),
            "permessage-deflate; server_max_window_bits=12");
  EXPECT_EQ(
      answer_all({"permessage-deflate; what", "permessage-deflate; client_no_context_takeover"}),
      "permessage-deflate; client_no_context_takeover");
  EXPECT_EQ(answer_all({"permessage-deflate", "permessage-deflate; server_max_window_bits=9"}),
            "permessage-deflate");
}

TEST(ExtensionOffers, WhatIsNotInTheRulesDeclinesTheOfferAlone) {
  for (const std::string parameter : {"unknown",
                                      "unknown=1",
                                      "server_max_window_bits",
                                      "server_max_window_bits=7",
                                      "server_max_window_bits=16",
                                      "server_max_window_bits=08",
                                      "server_max_window_bits=010",
                                      "server_max_window_bits=1",
                                      "server_max_window_bits=150",
                                      "server_max_window_bits=x",
                                      "server_max_window_bits=\"16\"",
                                      "client_max_window_bits=7",
                                      "client_max_window_bits=16",
                                      "client_max_window_bits=99999999999",
                                      "client_max_window_bits=1a",
                                      "server_no_context_takeover=1",
                                      "client_no_context_takeover=true",
                                      "server_no_context_takeover; server_no_context_takeover",
                                      "client_no_context_takeover; client_no_context_takeover",
                                      "server_max_window_bits=10; server_max_window_bits=10",
                                      "client_max_window_bits; client_max_window_bits=15",
                                      "Server_No_Context_Takeover"}) {
    EXPECT_EQ(answer("permessage-deflate; " + parameter), "declined") << parameter;
    EXPECT_EQ(answer("permessage-deflate; " + parameter + ", permessage-deflate"),
              "permessage-deflate")
        << parameter;
  }
  for (const std::string_view name : {"Permessage-Deflate", "permessage-deflat",
                                      "permessage-deflate2", "x-webkit-deflate-frame", "deflate"}) {
    EXPECT_EQ(answer(name), "declined") << name;
  }
}

TEST(ExtensionOffers, QuotedValuesAndWhiteSpace) {
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=\"12\""),
            "permessage-deflate; server_max_window_bits=12");
  EXPECT_EQ(answer("permessage-deflate; server_max_window_bits=\"1\\2\""),
            "permessage-deflate; server_max_window_bits=12");
  EXPECT_EQ(answer("\t permessage-deflate ;\tserver_max_window_bits = 12 , ,"),
            "permessage-deflate; server_max_window_bits=12");
  EXPECT_EQ(answer("permessage-deflate;client_max_window_bits=\"9\";server_no_context_takeover"),
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=9");
  // A comma or semicolon inside quotes is no token, so the header is malformed.
  EXPECT_EQ(answer("x; a=\"b,c\", permessage-deflate"), "malformed");
}

TEST(ExtensionOffers, WhatBreaksTheGrammarIsMalformed) {
  for (const std::string_view field : {"",
                                       " ",
                                       ",",
                                       ", ,",
                                       "permessage-deflate;",
                                       "permessage-deflate; ;",
                                       ";",
                                       "permessage-deflate; =1",
                                       "permessage-deflate; a=",
                                       "permessage-deflate; a=\"",
                                       "permessage-deflate; a=\"1",
                                       "permessage-deflate; a=\"\"",
                                       "permessage-deflate; a=\"\\",
                                       "permessage-deflate; a=\"b c\"",
                                       "permessage-deflate; a=b c",
                                       "permessage-deflate x",
                                       "permessage-deflate; a=1=2",
                                       "permessage-deflate, x;",
                                       "permessage deflate",
                                       "permessage-deflate; a=\"1\"2",
                                       "(permessage-deflate)",
                                       "permessage-deflate; \xc3\xa4"}) {
    EXPECT_EQ(answer(field), "malformed") << field;
    ExtensionOffers off;
    EXPECT_FALSE(off.take(field, nullptr)) << field;
  }
}

TEST(ExtensionOffers, NothingIsAcceptedWithoutRules) {
  ExtensionOffers offers;
  EXPECT_TRUE(offers.take("permessage-deflate", nullptr));
  EXPECT_FALSE(offers.accepted());
}

// The client: "fails", "declined", or the parameters it would use.
std::string judge(const std::vector<std::string_view>& fields, const DeflateOffer& offer) {
  ExtensionAnswer answer;
  for (const std::string_view field : fields) {
    if (!answer.take(field, &offer)) return "fails";
  }
  if (!answer.finish(&offer)) return "fails";
  if (!answer.accepted()) return "declined";
  const DeflateParameters& p = answer.parameters();
  return std::to_string(p.server_window_bits) + " " + std::to_string(p.client_window_bits) +
         (p.server_no_context_takeover ? " fresh" : " keep") +
         (p.client_no_context_takeover ? " fresh" : " keep");
}

TEST(ExtensionAnswer, IsJudgedByTheOffer) {
  DeflateOffer offer;  // client_max_window_bits without a value
  EXPECT_EQ(judge({}, offer), "declined");
  EXPECT_EQ(judge({"permessage-deflate"}, offer), "15 15 keep keep");
  EXPECT_EQ(
      judge({"permessage-deflate; server_max_window_bits=9; client_max_window_bits=8"}, offer),
      "9 8 keep keep");
  EXPECT_EQ(
      judge({"permessage-deflate; server_no_context_takeover; client_no_context_takeover"}, offer),
      "15 15 fresh fresh");
  for (const std::string_view bad :
       {"permessage-deflate; client_max_window_bits", "permessage-deflate; x",
        "permessage-deflate; server_max_window_bits", "permessage-deflate, permessage-deflate", "x",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover"}) {
    EXPECT_EQ(judge({bad}, offer), "fails") << bad;
  }
  EXPECT_EQ(judge({"permessage-deflate", "permessage-deflate"}, offer), "fails");

  offer.client_window_bits = 0;
  EXPECT_EQ(judge({"permessage-deflate; client_max_window_bits=15"}, offer), "fails");
  offer.client_window_bits = 10;
  EXPECT_EQ(judge({"permessage-deflate; client_max_window_bits=11"}, offer), "fails");
  EXPECT_EQ(judge({"permessage-deflate"}, offer), "15 10 keep keep");
  offer.server_window_bits = 10;
  EXPECT_EQ(judge({"permessage-deflate"}, offer), "fails");
  EXPECT_EQ(judge({"permessage-deflate; server_max_window_bits=11"}, offer), "fails");
  EXPECT_EQ(judge({"permessage-deflate; server_max_window_bits=10"}, offer), "10 10 keep keep");
  offer.server_no_context_takeover = true;
  EXPECT_EQ(judge({"permessage-deflate; server_max_window_bits=10"}, offer), "fails");

  ExtensionAnswer unasked;
  EXPECT_FALSE(unasked.take("permessage-deflate", nullptr));
}

TEST(ExtensionAnswer, EveryOfferIsUnderstoodByTheServerAndEveryAnswerByTheClient) {
  for (int bits = 0; bits < 4 * 9 * 9; ++bits) {
    DeflateOffer offer;
    offer.server_no_context_takeover = (bits & 1) != 0;
    offer.client_no_context_takeover = (bits & 2) != 0;
    const int server = bits / 4 % 9;
    const int client = bits / 36;
    offer.server_window_bits = static_cast<uint8_t>(server == 0 ? 0 : 7 + server);
    offer.client_window_bits = static_cast<uint8_t>(client == 0 ? 0 : 7 + client);
    char offered[kExtensionAnswerChars];
    char answered[kExtensionAnswerChars];
    for (const DeflateRules& rules : {kEverything, DeflateRules{12, 15, false, true}}) {
      ExtensionOffers offers;
      ASSERT_TRUE(offers.take(write_deflate_offer(offer, offered), &rules));
      ASSERT_TRUE(offers.accepted()) << bits;
      ExtensionAnswer judged;
      ASSERT_TRUE(judged.take(write_deflate_answer(offers.parameters(), answered), &offer)) << bits;
      ASSERT_TRUE(judged.finish(&offer)) << bits;
      const DeflateParameters& s = offers.parameters();
      const DeflateParameters& c = judged.parameters();
      EXPECT_EQ(s.server_window_bits, c.server_window_bits) << bits;
      EXPECT_LE(c.client_window_bits, s.client_window_bits) << bits;
      EXPECT_EQ(s.server_no_context_takeover, c.server_no_context_takeover) << bits;
      EXPECT_EQ(s.client_no_context_takeover, c.client_no_context_takeover) << bits;
    }
  }
}

}  // namespace
}  // namespace tidegate::protocol
