// SPDX-License-Identifier: Apache-2.0
#include "session/resume.h"

#include <cstddef>

namespace tidegate::session {
namespace {

struct Row {
  const char* name;
  const char* reason;
  uint16_t error;
};
// The numbers are ERROR codes of protocol.md: 4013 session expired, 4014 resume token invalid.
constexpr Row kResumes[] = {
    {"not_asked", "", 0},
    {"resumed", "", 0},
    {"bad_token", "the resume token is not valid for this user; a new session was made", 4014},
    {"token_expired", "the resume token has expired; a new session was made", 4013},
    {"token_used", "the resume token was used before; a new session was made", 4014},
    {"session_ended", "the session has ended; a new one was made", 4013},
};
static_assert(sizeof kResumes / sizeof *kResumes == static_cast<size_t>(Resume::kCount));

constexpr const char* kEnds[] = {"left", "expired", "replaced", "replay_full", "memory",
                                 "room", "closed",  "diverged", "taken"};
static_assert(sizeof kEnds / sizeof *kEnds == static_cast<size_t>(End::kCount));

const Row& row_of(Resume verdict) {
  const auto i = static_cast<size_t>(verdict);
  return kResumes[i < static_cast<size_t>(Resume::kCount) ? i : 0];
}

}  // namespace

const char* name_of(Resume verdict) { return row_of(verdict).name; }
const char* reason_of(Resume verdict) { return row_of(verdict).reason; }
uint16_t error_of(Resume verdict) { return row_of(verdict).error; }

const char* name_of(End end) {
  const auto i = static_cast<size_t>(end);
  return i < static_cast<size_t>(End::kCount) ? kEnds[i] : "?";
}

}  // namespace tidegate::session
