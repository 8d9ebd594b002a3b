// SPDX-License-Identifier: Apache-2.0
// What control answers to a login in a simulation: every token is taken and is the user's name.
// Resume tokens are without a signature, "<session>.<nonce>"; the real ones are control's
// (store/session_tokens.h).
// Thread: one. Owner: the simulation. Limits: none.
#pragma once

#include <charconv>
#include <string>

#include "mailbox/mailboxes.h"
#include "mailbox/resume_nonce.h"

namespace tidegate::sim {

struct LoginAnswer {
  mailbox::AuthResult result{};
  std::string tail;
};

// `session`, `nonce`: of the session that begins unless the one that is shown goes on.
inline LoginAnswer answer_login(base::Bytes bytes, uint64_t session, uint32_t nonce) {
  base::Bytes token;
  const auto request = mailbox::read_message<mailbox::AuthRequest>(bytes, &token);
  const std::string_view shown = base::as_text(token.subspan(token.size() - request.resume_bytes));
  token = token.first(token.size() - request.resume_bytes);
  LoginAnswer a;
  a.result.connection = request.connection;
  a.result.asked_ns = request.asked_ns;
  a.result.user_bytes = a.result.player_bytes = static_cast<uint16_t>(token.size());
  a.result.session = session;
  a.tail = base::as_text(token);
  a.tail += a.tail;
  const auto give = [&](int which, uint64_t of) {
    const std::string text = std::to_string(of) + '.' + std::to_string(nonce);
    a.result.token_bytes[which] = static_cast<uint8_t>(text.size());
    a.tail += text;
  };
  if (!shown.empty()) {
    const size_t dot = shown.find('.');
    std::from_chars(shown.data(), shown.data() + dot, a.result.resume_session);
    std::from_chars(shown.data() + dot + 1, shown.data() + shown.size(), a.result.resume_nonce);
    nonce = mailbox::nonce_after(a.result.resume_nonce);
  }
  a.result.nonce = nonce;
  give(0, session);
  if (shown.empty()) return a;
  a.result.resume = mailbox::TokenVerdict::kGood;
  give(1, a.result.resume_session);
  return a;
}

// The session of such a token.
inline uint64_t session_in(std::string_view token) {
  uint64_t session = 0;
  std::from_chars(token.data(), token.data() + token.size(), session);
  return session;
}

}  // namespace tidegate::sim
