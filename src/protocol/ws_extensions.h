// SPDX-License-Identifier: Apache-2.0
// Sec-WebSocket-Extensions (RFC 6455 section 9.1) and what permessage-deflate says in it (RFC 7692
// section 7.1): a server judges the offers of a request in order and takes the first it can serve,
// a client judges the one answer. Everything that breaks the header's grammar fails the handshake;
// an offer that breaks the extension's own rules is declined alone.
// Names are compared exactly. Header fields that come several times are one list.
// Thread: any. Owner: borrows. Limits: none of its own, the head's size is bounded by the caller.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace tidegate::protocol {

inline constexpr uint8_t kWindowBitsMin = 8;  // RFC 7692: 256 bytes to 32 KiB
inline constexpr uint8_t kWindowBitsMax = 15;

// What both ends agreed on. Every connection keeps one.
struct DeflateParameters {
  uint8_t server_window_bits : 4 = kWindowBitsMax;  // of what the server compresses
  uint8_t client_window_bits : 4 = kWindowBitsMax;  // of what the client compresses
  bool server_no_context_takeover : 1 = false;
  bool client_no_context_takeover : 1 = false;
  bool names_server_bits : 1 = false;  // the answer has server_max_window_bits
  bool names_client_bits : 1 = false;  // the answer has client_max_window_bits
};
static_assert(sizeof(DeflateParameters) == 2);

// What a server agrees to.
struct DeflateRules {
  uint8_t server_window_bits = kWindowBitsMax;  // the largest window it compresses with
  uint8_t client_window_bits = kWindowBitsMax;  // the largest it has memory for
  bool server_context_takeover = false;         // false: server_no_context_takeover in every answer
  bool client_context_takeover = false;         // false: client_no_context_takeover in every answer
};

// The offers of one request.
class ExtensionOffers {
 public:
  // Takes the value of one header field, in the order of the head. `rules` null: nothing is
  // accepted, only the grammar is checked. False: it breaks the grammar.
  bool take(std::string_view field, const DeflateRules* rules);

  // An offer of permessage-deflate was accepted.
  bool accepted() const { return accepted_; }
  const DeflateParameters& parameters() const { return parameters_; }

 private:
  bool accepted_ = false;
  DeflateParameters parameters_;
};

// The value of the header field in an answer, in `out`. 160 characters hold every answer.
inline constexpr size_t kExtensionAnswerChars = 160;
std::string_view write_deflate_answer(const DeflateParameters& agreed,
                                      char (&out)[kExtensionAnswerChars]);

// What a client offers: one offer of permessage-deflate.
struct DeflateOffer {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  uint8_t server_window_bits = 0;  // 0: not named
  // kWindowBitsMax: named without a value; 0: not named, so the server may not lower it.
  uint8_t client_window_bits = kWindowBitsMax;
};
std::string_view write_deflate_offer(const DeflateOffer& offer, char (&out)[kExtensionAnswerChars]);

// What a client makes of the answer; take() each field in order. `accepted` false: the server
// declined, which is fine.
class ExtensionAnswer {
 public:
  // False: the connection must fail (section 7.1: not offered, unknown, repeated or bad value).
  bool take(std::string_view field, const DeflateOffer* offer);
  // Call when all fields were taken. False: something that was asked for is missing.
  bool finish(const DeflateOffer* offer) const;

  bool accepted() const { return accepted_; }
  const DeflateParameters& parameters() const { return parameters_; }

 private:
  bool accepted_ = false;
  DeflateParameters parameters_;
};

}  // namespace tidegate::protocol
