// SPDX-License-Identifier: Apache-2.0
#include "control/config_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/ip.h"
#include "control/json_writer.h"

namespace tidegate::control {
namespace {

constexpr double kMebi = 1024.0 * 1024.0;
constexpr double kDay = 86400;

template <class T>
T& at(const KeySpec& key, Config& config) {
  return *static_cast<T*>(key.field(config));
}

std::string trimmed(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

std::string range_text(const KeySpec& key, const char* what) {
  return std::string("expected ") + what + " from " + trimmed(key.low) + " to " + trimmed(key.high);
}

bool split_number(std::string_view text, double* number, std::string_view* unit) {
  const char* const end = text.data() + text.size();
  const auto r = std::from_chars(text.data(), end, *number);
  if (r.ec != std::errc() || !std::isfinite(*number)) return false;
  *unit = {r.ptr, static_cast<size_t>(end - r.ptr)};
  return true;
}

// "10s", "250ms", "1.5h". A bare number is refused: nobody knows what it counts.
bool parse_duration(std::string_view text, double* seconds) {
  std::string_view unit;
  if (!split_number(text, seconds, &unit)) return false;
  const double scale = unit == "ms"  ? 0.001
                       : unit == "s" ? 1
                       : unit == "m" ? 60
                       : unit == "h" ? 3600
                       : unit == "d" ? kDay
                                     : 0;
  *seconds *= scale;
  return scale != 0;
}

// "64KiB", "1MB"; a bare number is bytes.
bool parse_size(std::string_view text, double* bytes) {
  std::string_view unit;
  if (!split_number(text, bytes, &unit)) return false;
  const double scale = unit.empty() || unit == "B"    ? 1
                       : unit == "KiB"                ? 1024
                       : unit == "MiB"                ? kMebi
                       : unit == "GiB"                ? kMebi * 1024
                       : unit == "kB" || unit == "KB" ? 1e3
                       : unit == "MB"                 ? 1e6
                       : unit == "GB"                 ? 1e9
                                                      : 0;
  *bytes *= scale;
  return scale != 0;
}

std::string duration_text(base::Duration d) {
  if (d.ns % 1'000'000'000 != 0) return trimmed(static_cast<double>(d.ns) / 1e6) + "ms";
  return std::to_string(d.ns / 1'000'000'000) + "s";
}

std::string size_text(uint32_t bytes) {
  if (bytes != 0 && bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + "MiB";
  if (bytes != 0 && bytes % 1024 == 0) return std::to_string(bytes >> 10) + "KiB";
  return std::to_string(bytes);
}

// "[1, 2, 3]" or "1,2,3".
bool parse_list(std::string_view text, std::vector<double>* out) {
  if (!text.empty() && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    double v = 0;
    std::string_view unit;
    if (!split_number(word, &v, &unit) || !unit.empty())
      return word.empty() && out->empty() && comma == std::string_view::npos;
    out->push_back(v);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return true;
}

// "[\"a\", \"b\"]" as in the file, or "a, b" as in a flag. None holds spaces, quotes or commas.
bool parse_texts(std::string_view text, std::vector<std::string>* out) {
  if (!text.empty() && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    if (word.size() >= 2 && word.front() == '"' && word.back() == '"') {
      word = word.substr(1, word.size() - 2);
    }
    if (word.empty() || word.size() > 1024 || !is_plain_text(word) ||
        word.find_first_of(" \"\\") != std::string_view::npos) {
      return false;
    }
    out->emplace_back(word);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return false;
  }
  return true;
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

bool parse_duration_text(std::string_view text, double* seconds) {
  return parse_duration(text, seconds);
}

int find_key(std::string_view name) {
  const std::span<const KeySpec> keys = config_keys();
  for (size_t i = 0; i < keys.size(); ++i) {
    if (name == keys[i].name) return static_cast<int>(i);
  }
  return -1;
}

const char* nearest_key(std::string_view name) {
  const char* best = nullptr;
  size_t best_distance = std::max<size_t>(3, name.size() / 3) + 1;
  for (const KeySpec& key : config_keys()) {
    const std::string_view known = key.name;
    size_t d = distance(name, known);
    // Right key in the wrong section, or without one.
    const std::string_view tail =
        name.substr(name.find('.') == std::string_view::npos ? 0 : name.find('.') + 1);
    if (tail == known.substr(known.find('.') + 1)) d = 1;
    if (d < best_distance) {
      best_distance = d;
      best = key.name;
    }
  }
  return best;
}

const char* name_of(KeyType type) {
  switch (type) {
    case KeyType::kText:
      return "text";
    case KeyType::kSecret:
      return "secret";
    case KeyType::kPath:
      return "path";
    case KeyType::kAddress:
      return "address";
    case KeyType::kCount:
      return "whole number";
    case KeyType::kSize:
      return "size";
    case KeyType::kDuration:
      return "duration";
    case KeyType::kNumber:
      return "number";
    case KeyType::kFlag:
      return "true or false";
    case KeyType::kCpus:
      return "list of CPUs";
    case KeyType::kVector:
      return "list of 3 numbers";
    case KeyType::kTexts:
      return "list of texts";
    case KeyType::kNetworks:
      return "list of networks";
  }
  return "?";
}

std::string value_text(const KeySpec& key, const Config& constant) {
  Config& c = const_cast<Config&>(constant);  // the table's fields serve reading and writing
  switch (key.type) {
    case KeyType::kText:
    case KeyType::kPath: {
      std::string out;  // TOML's basic strings know the escapes of JSON
      append_json_string(out, at<std::string>(key, c));
      return out;
    }
    case KeyType::kSecret:
      return at<std::string>(key, c).empty() ? "\"\"" : "\"(set)\"";
    case KeyType::kAddress:
      return '"' + at<Address>(key, c).text() + '"';
    case KeyType::kCount:
      return std::to_string(at<uint32_t>(key, c));
    case KeyType::kSize:
      return '"' + size_text(at<uint32_t>(key, c)) + '"';
    case KeyType::kDuration:
      return '"' + duration_text(at<base::Duration>(key, c)) + '"';
    case KeyType::kNumber:
      return trimmed(static_cast<double>(at<float>(key, c)));
    case KeyType::kFlag:
      return at<bool>(key, c) ? "true" : "false";
    case KeyType::kCpus: {
      std::string out = "[";
      for (uint32_t cpu : at<std::vector<uint32_t>>(key, c)) {
        if (out.size() > 1) out += ", ";
        out += std::to_string(cpu);
      }
      return out + ']';
    }
    case KeyType::kTexts:
    case KeyType::kNetworks: {
      std::string out = "[";
      for (const std::string& item : at<std::vector<std::string>>(key, c)) {
        if (out.size() > 1) out += ", ";
        append_json_string(out, item);
      }
      return out + ']';
    }
    case KeyType::kVector: {
      const Vector3& v = at<Vector3>(key, c);
      return '[' + trimmed(static_cast<double>(v[0])) + ", " + trimmed(static_cast<double>(v[1])) +
             ", " + trimmed(static_cast<double>(v[2])) + ']';
    }
  }
  return {};
}

std::string parse_value(const KeySpec& key, std::string_view text, Config* config) {
  double v = 0;
  std::string_view unit;
  const auto in_range = [&] { return v >= key.low && v <= key.high; };
  switch (key.type) {
    case KeyType::kText:
      if (static_cast<double>(text.size()) > key.high) {
        return "expected at most " + trimmed(key.high) + " bytes of text";
      }
      [[fallthrough]];
    case KeyType::kPath:
      if (!is_plain_text(text)) return "expected UTF-8 text without control characters";
      [[fallthrough]];
    case KeyType::kSecret:
      at<std::string>(key, *config) = text;
      return {};
    case KeyType::kAddress: {
      Address a;
      if (!text.empty() || (std::string_view(key.name) != "admin.listen" &&
                            std::string_view(key.name) != "listen.tls")) {
        if (const char* wrong = parse_address(text, &a)) return wrong;
      }
      at<Address>(key, *config) = a;
      return {};
    }
    case KeyType::kCount:
      if (!split_number(text, &v, &unit) || !unit.empty() || v != std::floor(v) || !in_range()) {
        return range_text(key, "a whole number");
      }
      at<uint32_t>(key, *config) = static_cast<uint32_t>(v);
      return {};
    case KeyType::kSize:
      if (!parse_size(text, &v) || !in_range()) {
        return range_text(key, "a size such as 64KiB,") + " bytes";
      }
      at<uint32_t>(key, *config) = static_cast<uint32_t>(v);
      return {};
    case KeyType::kDuration:
      if (!parse_duration(text, &v) || !in_range()) {
        return range_text(key, "a duration such as 250ms, 10s or 5m,") + " seconds";
      }
      at<base::Duration>(key, *config) = base::nanoseconds(std::llround(v * 1e9));
      return {};
    case KeyType::kNumber:
      if (!split_number(text, &v, &unit) || !unit.empty() || !in_range()) {
        return range_text(key, "a number") + " " + key.unit;
      }
      at<float>(key, *config) = static_cast<float>(v);
      return {};
    case KeyType::kFlag:
      if (text != "true" && text != "false") return "expected true or false";
      at<bool>(key, *config) = text == "true";
      return {};
    case KeyType::kTexts:
    case KeyType::kNetworks: {
      std::vector<std::string> list;
      if (!parse_texts(text, &list)) return "expected a list of texts, as in [\"a\", \"b\"]";
      if (static_cast<double>(list.size()) > key.high) {
        return "expected at most " + trimmed(key.high) + " of them";
      }
      for (const std::string& item : list) {
        base::IpNetwork network;
        if (key.type == KeyType::kNetworks && !base::parse_network(item, &network)) {
          return item + " is not an IP address or network, as in 10.0.0.0/8 or 2001:db8::/32";
        }
      }
      at<std::vector<std::string>>(key, *config) = std::move(list);
      return {};
    }
    case KeyType::kCpus:
    case KeyType::kVector: {
      std::vector<double> list;
      const bool vector = key.type == KeyType::kVector;
      bool good = parse_list(text, &list) && (!vector || list.size() == 3);
      for (double d : list)
        good = good && d >= key.low && d <= key.high && (vector || d == std::floor(d));
      if (!good) {
        return vector ? range_text(key, "three numbers as [x, y, z],") + " m"
                      : range_text(key, "CPU numbers as [0, 1],");
      }
      if (vector) {
        for (size_t i = 0; i < 3; ++i) at<Vector3>(key, *config)[i] = static_cast<float>(list[i]);
      } else {
        at<std::vector<uint32_t>>(key, *config).assign(list.begin(), list.end());
      }
      return {};
    }
  }
  return "?";
}

}  // namespace tidegate::control
