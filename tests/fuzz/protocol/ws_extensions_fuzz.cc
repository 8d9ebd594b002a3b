// SPDX-License-Identifier: Apache-2.0
// Sec-WebSocket-Extensions of a peer: as the offers of a request and as the answer to one of ours.
// The grammar does not depend on what is served, several fields are one list, what a server agrees
// to lies inside its rules, and both ends understand the same by it.
// Input: rules or offer in three bytes, then header fields with a line feed between.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/ws_extensions.h"

namespace {

using namespace tidegate::protocol;

void check(bool holds) {
  if (!holds) std::abort();
}

bool is_window(uint8_t bits) { return bits >= kWindowBitsMin && bits <= kWindowBitsMax; }

bool same(const DeflateParameters& a, const DeflateParameters& b) {
  return a.server_window_bits == b.server_window_bits &&
         a.client_window_bits == b.client_window_bits &&
         a.server_no_context_takeover == b.server_no_context_takeover &&
         a.client_no_context_takeover == b.client_no_context_takeover &&
         a.names_server_bits == b.names_server_bits && a.names_client_bits == b.names_client_bits;
}

// False when a field breaks the grammar.
bool take_all(const std::vector<std::string_view>& fields, const DeflateRules* rules,
              ExtensionOffers* offers) {
  for (const std::string_view field : fields) {
    if (!offers->take(field, rules)) return false;
  }
  return true;
}

void as_offers(const std::vector<std::string_view>& fields, const DeflateRules& rules) {
  ExtensionOffers offers;
  ExtensionOffers ignored;
  const bool good = take_all(fields, &rules, &offers);
  check(take_all(fields, nullptr, &ignored) == good);
  check(!ignored.accepted());
  if (!good) return;

  std::string list;
  for (const std::string_view field : fields) {
    if (!list.empty()) list += ", ";
    list += field;
  }
  ExtensionOffers joined;
  check(fields.empty() || joined.take(list, &rules));
  check(joined.accepted() == offers.accepted());
  if (!offers.accepted()) return;

  const DeflateParameters& agreed = offers.parameters();
  check(same(joined.parameters(), agreed));
  check(is_window(agreed.server_window_bits) && is_window(agreed.client_window_bits));
  check(agreed.server_window_bits <= rules.server_window_bits);
  check(agreed.client_window_bits <= rules.client_window_bits);
  check(rules.server_context_takeover || agreed.server_no_context_takeover);
  check(rules.client_context_takeover || agreed.client_no_context_takeover);
  check(agreed.names_server_bits || agreed.server_window_bits == kWindowBitsMax);

  // A client that offered anything understands the answer as it is meant.
  char text[kExtensionAnswerChars];
  const std::string_view field = write_deflate_answer(agreed, text);
  check(field.size() <= sizeof text);
  DeflateOffer offer;
  if (!agreed.names_client_bits) offer.client_window_bits = 0;
  ExtensionAnswer answer;
  check(answer.take(field, &offer) && answer.finish(&offer) && answer.accepted());
  check(same(answer.parameters(), agreed));
}

void as_answer(const std::vector<std::string_view>& fields, const DeflateOffer& offer) {
  ExtensionAnswer answer;
  for (const std::string_view field : fields) {
    ExtensionAnswer unasked;
    check(!unasked.take(field, nullptr));  // nothing was offered, so nothing may be named
    if (!answer.take(field, &offer)) return;
  }
  if (!answer.finish(&offer) || !answer.accepted()) return;
  const DeflateParameters& agreed = answer.parameters();
  check(is_window(agreed.server_window_bits) && is_window(agreed.client_window_bits));
  if (offer.server_window_bits != 0) {
    check(agreed.server_window_bits <= offer.server_window_bits);
  }
  if (offer.client_window_bits != 0) {
    check(agreed.client_window_bits <= offer.client_window_bits);
  }
  check(agreed.server_no_context_takeover || !offer.server_no_context_takeover);
  check(agreed.client_no_context_takeover || !offer.client_no_context_takeover);
  char text[kExtensionAnswerChars];
  ExtensionAnswer again;
  check(again.take(write_deflate_answer(agreed, text), &offer) && again.finish(&offer));
  check(same(again.parameters(), agreed));
}

uint8_t bits_of(uint8_t byte) { return static_cast<uint8_t>(kWindowBitsMin + (byte & 7)); }

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  std::string_view rest(reinterpret_cast<const char*>(data) + 3, size - 3);
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t end = rest.find('\n');
    fields.push_back(rest.substr(0, end));
    if (end == std::string_view::npos) break;
    rest.remove_prefix(end + 1);
  }
  as_offers(fields, {bits_of(data[0]), bits_of(data[1]), (data[2] & 1) != 0, (data[2] & 2) != 0});
  DeflateOffer offer;
  offer.server_no_context_takeover = (data[2] & 4) != 0;
  offer.client_no_context_takeover = (data[2] & 8) != 0;
  offer.server_window_bits = (data[0] & 8) != 0 ? bits_of(data[0]) : 0;
  offer.client_window_bits = (data[1] & 8) != 0 ? bits_of(data[1]) : 0;
  as_answer(fields, offer);
  return 0;
}
