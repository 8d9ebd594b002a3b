// SPDX-License-Identifier: Apache-2.0
#include "control/toml_lexical.h"

namespace tidegate::control {

uint32_t line_beyond_ascii(std::string_view toml) {
  uint32_t line = 1;
  char quote = 0;  // of the string we are in, '#' in a comment
  bool multi_line = false;
  // A byte order mark may stand first.
  size_t i = toml.substr(0, 3) == "\xef\xbb\xbf" ? 3 : 0;
  for (; i < toml.size(); ++i) {
    const char c = toml[i];
    const bool tripled =
        i + 2 < toml.size() && (c == '"' || c == '\'') && toml[i + 1] == c && toml[i + 2] == c;
    if (c == '\n') {
      ++line;
      if (!multi_line) quote = 0;  // a string that ends here is the parser's error
    } else if (quote == 0) {
      if (static_cast<unsigned char>(c) >= 0x80) return line;
      if (c != '"' && c != '\'' && c != '#') continue;
      quote = c;
      multi_line = tripled;
      if (tripled) i += 2;
    } else if (quote == '"' && c == '\\') {
      if (i + 1 < toml.size() && toml[i + 1] != '\n') ++i;
    } else if (c == quote && c != '#' && (!multi_line || tripled)) {
      if (multi_line) i += 2;
      // Up to two quotes may stand before the closing three.
      while (multi_line && i + 1 < toml.size() && toml[i + 1] == quote) ++i;
      quote = 0;
      multi_line = false;
    }
  }
  return 0;
}

}  // namespace tidegate::control
