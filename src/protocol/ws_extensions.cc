// SPDX-License-Identifier: Apache-2.0
#include "protocol/ws_extensions.h"

#include <algorithm>

#include "protocol/http_head.h"

namespace tidegate::protocol {
namespace {

constexpr std::string_view kName = "permessage-deflate";

// One parameter: name, and a value when there was '='. Quotes and escapes are taken off; values
// longer than any that means something here keep their first characters.
struct Parameter {
  std::string_view name;
  bool has_value = false;
  size_t value_size = 0;
  char value[4];

  std::string_view text() const { return {value, std::min(value_size, sizeof value)}; }
};

bool is_token_char(char c) { return http::is_token({&c, 1}); }

// Reads the grammar of section 9.1, with the optional white space that RFC 2616 allows between
// tokens and the empty list elements that its lists allow.
class ExtensionReader {
 public:
  enum class Step : uint8_t { kExtension, kEnd, kBad };

  explicit ExtensionReader(std::string_view text) : rest_(text) {}

  Step next_extension(std::string_view* name) {
    do {
      skip_space();
    } while (take(','));
    if (rest_.empty()) return count_ == 0 ? Step::kBad : Step::kEnd;
    ++count_;
    *name = take_token();
    return name->empty() ? Step::kBad : Step::kExtension;
  }

  // kEnd: the extension is over, what follows is a comma or nothing.
  Step next_parameter(Parameter* out) {
    skip_space();
    if (rest_.empty() || rest_.front() == ',') return Step::kEnd;
    if (!take(';')) return Step::kBad;
    skip_space();
    *out = {};
    out->name = take_token();
    if (out->name.empty()) return Step::kBad;
    skip_space();
    if (!take('=')) return Step::kExtension;
    out->has_value = true;
    skip_space();
    const bool good = take('"') ? take_quoted(out) : take_plain(out);
    return good ? Step::kExtension : Step::kBad;
  }

 private:
  void skip_space() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) {
      rest_.remove_prefix(1);
    }
  }
  bool take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  std::string_view take_token() {
    size_t size = 0;
    while (size < rest_.size() && is_token_char(rest_[size])) ++size;
    const std::string_view token = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return token;
  }
  static void keep(Parameter* out, char c) {
    if (out->value_size < sizeof out->value) out->value[out->value_size] = c;
    ++out->value_size;
  }
  bool take_plain(Parameter* out) {
    const std::string_view token = take_token();
    for (const char c : token) keep(out, c);
    return !token.empty();
  }
  // Behind the opening quote. What it holds must be a token once the escapes are off.
  bool take_quoted(Parameter* out) {
    while (!rest_.empty()) {
      if (take('"')) return out->value_size != 0;
      if (take('\\') && rest_.empty()) return false;
      if (!is_token_char(rest_.front())) return false;
      keep(out, rest_.front());
      rest_.remove_prefix(1);
    }
    return false;
  }

  std::string_view rest_;
  uint32_t count_ = 0;
};

using Step = ExtensionReader::Step;

// 8 to 15 without leading zeros, 0 for anything else.
uint8_t window_bits_of(const Parameter& parameter) {
  const std::string_view text = parameter.text();
  if (parameter.value_size == 1 && (text[0] == '8' || text[0] == '9')) {
    return static_cast<uint8_t>(text[0] - '0');
  }
  if (parameter.value_size == 2 && text[0] == '1' && text[1] >= '0' && text[1] <= '5') {
    return static_cast<uint8_t>(10 + text[1] - '0');
  }
  return 0;
}

// The four parameters as they stand in one offer or answer.
struct Named {
  bool server_no_context_takeover = false;
  bool client_no_context_takeover = false;
  bool server_bits_named = false;
  bool client_bits_named = false;
  uint8_t server_bits = 0;
  uint8_t client_bits = 0;  // 0: named without a value
  bool good = true;         // false: unknown, repeated or with a wrong value

  void take(const Parameter& parameter) {
    if (parameter.name == "server_no_context_takeover") {
      good &= !server_no_context_takeover && !parameter.has_value;
      server_no_context_takeover = true;
    } else if (parameter.name == "client_no_context_takeover") {
      good &= !client_no_context_takeover && !parameter.has_value;
      client_no_context_takeover = true;
    } else if (parameter.name == "server_max_window_bits") {
      server_bits = window_bits_of(parameter);
      good &= !server_bits_named && server_bits != 0;
      server_bits_named = true;
    } else if (parameter.name == "client_max_window_bits") {
      client_bits = window_bits_of(parameter);
      good &= !client_bits_named && (client_bits != 0 || !parameter.has_value);
      client_bits_named = true;
    } else {
      good = false;
    }
  }
};

// Section 7.1: false declines the offer.
bool agree(const Named& offer, const DeflateRules& rules, DeflateParameters* out) {
  if (!offer.good) return false;
  // Without client_max_window_bits the client could not be told to use a smaller window.
  if (!offer.client_bits_named && rules.client_window_bits < kWindowBitsMax) return false;
  DeflateParameters agreed;
  agreed.server_no_context_takeover =
      offer.server_no_context_takeover || !rules.server_context_takeover;
  agreed.client_no_context_takeover =
      offer.client_no_context_takeover || !rules.client_context_takeover;
  agreed.server_window_bits = rules.server_window_bits;
  if (offer.server_bits_named) {
    agreed.server_window_bits = std::min(agreed.server_window_bits, offer.server_bits);
  }
  agreed.names_server_bits = offer.server_bits_named || agreed.server_window_bits < kWindowBitsMax;
  agreed.names_client_bits = offer.client_bits_named;
  agreed.client_window_bits = rules.client_window_bits;
  if (offer.client_bits != 0) {
    agreed.client_window_bits = std::min(agreed.client_window_bits, offer.client_bits);
  }
  *out = agreed;
  return true;
}

class Text {
 public:
  explicit Text(char (&out)[kExtensionAnswerChars])
      : start_(out), writer_({reinterpret_cast<uint8_t*>(out), sizeof out}) {}
  void put(std::string_view text) { writer_.put(text); }
  void put(std::string_view text, uint8_t number) {
    writer_.put(text);
    writer_.put_number(number);
  }
  std::string_view finish() const { return {start_, writer_.finish()}; }

 private:
  const char* start_;
  http::TextWriter writer_;
};

}  // namespace

bool ExtensionOffers::take(std::string_view field, const DeflateRules* rules) {
  ExtensionReader reader(field);
  std::string_view name;
  Step step;
  while ((step = reader.next_extension(&name)) == Step::kExtension) {
    Named offer;
    Parameter parameter;
    Step part;
    while ((part = reader.next_parameter(&parameter)) == Step::kExtension) offer.take(parameter);
    if (part == Step::kBad) return false;
    if (rules != nullptr && !accepted_ && name == kName) {
      accepted_ = agree(offer, *rules, &parameters_);
    }
  }
  return step == Step::kEnd;
}

std::string_view write_deflate_answer(const DeflateParameters& agreed,
                                      char (&out)[kExtensionAnswerChars]) {
  Text text(out);
  text.put(kName);
  if (agreed.server_no_context_takeover) text.put("; server_no_context_takeover");
  if (agreed.client_no_context_takeover) text.put("; client_no_context_takeover");
  if (agreed.names_server_bits) text.put("; server_max_window_bits=", agreed.server_window_bits);
  if (agreed.names_client_bits) text.put("; client_max_window_bits=", agreed.client_window_bits);
  return text.finish();
}

std::string_view write_deflate_offer(const DeflateOffer& offer,
                                     char (&out)[kExtensionAnswerChars]) {
  Text text(out);
  text.put(kName);
  if (offer.server_no_context_takeover) text.put("; server_no_context_takeover");
  if (offer.client_no_context_takeover) text.put("; client_no_context_takeover");
  if (offer.server_window_bits != 0) {
    text.put("; server_max_window_bits=", offer.server_window_bits);
  }
  if (offer.client_window_bits == kWindowBitsMax) {
    text.put("; client_max_window_bits");
  } else if (offer.client_window_bits != 0) {
    text.put("; client_max_window_bits=", offer.client_window_bits);
  }
  return text.finish();
}

bool ExtensionAnswer::take(std::string_view field, const DeflateOffer* offer) {
  ExtensionReader reader(field);
  std::string_view name;
  Step step;
  while ((step = reader.next_extension(&name)) == Step::kExtension) {
    Named answer;
    Parameter parameter;
    Step part;
    while ((part = reader.next_parameter(&parameter)) == Step::kExtension) answer.take(parameter);
    if (part == Step::kBad || offer == nullptr || name != kName || accepted_ || !answer.good) {
      return false;
    }
    if (answer.server_bits_named) {
      if (offer->server_window_bits != 0 && answer.server_bits > offer->server_window_bits) {
        return false;
      }
      parameters_.server_window_bits = answer.server_bits;
    }
    if (answer.client_bits_named) {
      // Only as an answer to its offer, with a value, and not above it.
      if (answer.client_bits == 0 || answer.client_bits > offer->client_window_bits) return false;
      parameters_.client_window_bits = answer.client_bits;
    } else if (offer->client_window_bits != 0) {
      parameters_.client_window_bits = offer->client_window_bits;
    }
    parameters_.server_no_context_takeover = answer.server_no_context_takeover;
    parameters_.client_no_context_takeover =
        answer.client_no_context_takeover || offer->client_no_context_takeover;
    parameters_.names_server_bits = answer.server_bits_named;
    parameters_.names_client_bits = answer.client_bits_named;
    accepted_ = true;
  }
  return step == Step::kEnd;
}

bool ExtensionAnswer::finish(const DeflateOffer* offer) const {
  if (!accepted_) return true;
  if (offer->server_no_context_takeover && !parameters_.server_no_context_takeover) return false;
  return offer->server_window_bits == 0 || parameters_.names_server_bits;
}

}  // namespace tidegate::protocol
