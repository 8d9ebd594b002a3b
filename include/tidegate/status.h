// SPDX-License-Identifier: Apache-2.0
// Errors of the library as values: nothing here throws, prints or ends the process.
//
// Thread: any. Owner: values. Limits: none.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "tidegate/export.h"

namespace tidegate {

enum class Code : uint8_t {
  kOk = 0,
  kConfig,          // a configuration key or its value; Problem::key names it
  kEnvironment,     // a port, a file, io_uring, a limit of open files
  kTypeReserved,    // a message type below 1000 that is not a gameplay type
  kTypeTaken,       // the message type has a handler already
  kNameInvalid,     // empty, too long, or not of [A-Za-z0-9_.-]
  kNameTaken,       // another registration has this name
  kOutOfRange,      // a priority above 10, a number outside of what the call takes
  kMissing,         // no function was given
  kFull,            // the table of registrations is full
  kAlreadyStarted,  // registrations and start() come before the server runs
  kNotRunning,      // the call needs a running server
};

struct Problem {
  Code code = Code::kOk;
  std::string key;   // configuration key ("limits.connections"), or empty
  std::string text;  // one sentence for people, with what to do
};

// Empty: all is well. A configuration reports every problem at once.
class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string key, std::string text) {
    problems_.push_back({code, std::move(key), std::move(text)});
  }
  explicit Status(std::vector<Problem> problems) : problems_(std::move(problems)) {}

  bool ok() const { return problems_.empty(); }
  explicit operator bool() const { return ok(); }
  // Of the first problem.
  Code code() const { return ok() ? Code::kOk : problems_.front().code; }
  const std::vector<Problem>& problems() const { return problems_; }
  // All texts, one on a line; "ok" when there is none.
  std::string text() const {
    std::string out;
    for (const Problem& p : problems_) out += (out.empty() ? "" : "\n") + p.text;
    return out.empty() ? "ok" : out;
  }

 private:
  std::vector<Problem> problems_;
};

}  // namespace tidegate
