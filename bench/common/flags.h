// SPDX-License-Identifier: Apache-2.0
// `--name value` command lines of the benchmark programs. A flag nobody asked for is an error.
// Thread: setup. Owner: borrows argv. Limits: none; a bad command line ends the program.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace tidegate::bench {

class Flags {
 public:
  Flags(int argc, char** argv) : words_(argv + 1, argv + argc), used_(words_.size()) {}

  bool has(const char* name) { return find(name) < words_.size(); }

  std::string text(const char* name, const char* fallback) {
    const size_t i = find(name);
    if (i >= words_.size()) return fallback;
    if (i + 1 >= words_.size()) die("missing value", name);
    used_[i + 1] = true;
    return words_[i + 1];
  }

  double number(const char* name, double fallback) {
    const std::string value = text(name, "");
    if (value.empty()) return fallback;
    char* end = nullptr;
    const double n = std::strtod(value.c_str(), &end);
    if (*end != '\0') die("not a number", name);
    return n;
  }
  unsigned count(const char* name, unsigned fallback) {
    return static_cast<unsigned>(number(name, fallback));
  }

  // IPv4 ADDR:PORT.
  sockaddr_in address(const char* name, const char* fallback) {
    const std::string value = text(name, fallback);
    const size_t colon = value.rfind(':');
    sockaddr_in a{};
    a.sin_family = AF_INET;
    if (colon == std::string::npos ||
        inet_pton(AF_INET, value.substr(0, colon).c_str(), &a.sin_addr) != 1)
      die("want ADDR:PORT", name);
    a.sin_port = htons(static_cast<uint16_t>(std::atoi(value.c_str() + colon + 1)));
    return a;
  }

  // Call after the last query.
  void refuse_unknown() {
    for (size_t i = 0; i < words_.size(); ++i)
      if (!used_[i]) die("unknown argument", words_[i].c_str());
  }

 private:
  size_t find(const char* name) {
    for (size_t i = 0; i < words_.size(); ++i)
      if (words_[i] == name) {
        used_[i] = true;
        return i;
      }
    return words_.size();
  }
  [[noreturn]] static void die(const char* why, const char* what) {
    std::fprintf(stderr, "%s: %s\n", why, what);
    std::exit(2);
  }

  std::vector<std::string> words_;
  std::vector<bool> used_;
};

}  // namespace tidegate::bench
