// SPDX-License-Identifier: Apache-2.0
// Revoked users in a file, so that they stay revoked over a restart: a line for each order, added
// and flushed before the order is answered; what has run out is left out when the file is made
// anew, at the start and when most of it is old. A last line that was cut by a crash is passed
// over.
//
// Thread: any, one call at a time (it locks); everything blocks. Owner: server. Limits:
// kRevocationsMax users.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <string_view>

#include "control/auth_service.h"

namespace tidegate::control {

class Revocations {
 public:
  // Of a user, Unix seconds: tokens made up to `at` are refused until `until`.
  using Visit = std::function<void(const std::string& user, int64_t at, int64_t until)>;

  // Reads the file, made when it is not there, and visits what still holds. False with text in
  // `error`: it cannot be used.
  [[nodiscard]] bool open_blocking(const std::string& path, int64_t now, const Visit& visit,
                                   std::string* error);
  bool is_open() const { return !path_.empty(); }
  // True: it is on the disk.
  [[nodiscard]] bool add_blocking(const std::string& user, int64_t at, int64_t until,
                                  std::string* error);

 private:
  struct Times {
    int64_t at = 0, until = 0;
  };
  bool take_line(std::string_view line);
  bool write_all_blocking(std::string* error);

  std::mutex mutex_;
  std::string path_;
  std::map<std::string, Times, std::less<>> users_;
  size_t lines_ = 0;  // in the file
};

}  // namespace tidegate::control
