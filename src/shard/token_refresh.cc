// SPDX-License-Identifier: Apache-2.0
// A newer token on an open connection: checked by control like that of a login, taken when it is of
// the same user and player. From then on its expiry and its permissions hold; what was subscribed
// to before stays. When it is refused the token before holds as long as it did.
#include "crypto/jwt.h"
#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using metrics::Counter;

Handled Shard::on_token_refresh(uint32_t slot, const wire::TokenRefresh& refresh) {
  if (refresh.token.empty()) return Handled::kInvalid;
  if (refresh.token.size() > crypto::kTokenBytesMax) {
    violation(slot, wire::kErrorTooLarge, "the token is too long");
    return Handled::kAnswered;
  }
  Player& player = players_[slot];
  if ((player.flags & kTokenChecked) != 0) {
    violation(slot, wire::kErrorRateLimited, "the token before is still being checked");
    return Handled::kAnswered;
  }
  if (outbox_.strained()) {
    send_error(slot, wire::kErrorRateLimited, "too much to do; send the token again later", false);
    return Handled::kAnswered;
  }
  player.flags |= kTokenChecked;
  counters_.add(Counter::kAuthRequests, 1);
  mailbox::AuthRequest ask{endpoint_.ref(slot), now_.ns, 0};
  ask.refresh = 1;
  outbox_.post(mailbox_.control(), ask, base::as_bytes(refresh.token));
  return Handled::kOk;
}

// `text`: the tail of the answer.
void Shard::on_token_checked(uint32_t slot, const mailbox::AuthResult& result,
                             std::string_view text) {
  Player& player = players_[slot];
  if (player.session == 0 || !endpoint_.is_open(slot)) return;
  player.flags &= static_cast<uint16_t>(~kTokenChecked);
  const std::string_view user = text.substr(0, result.user_bytes);
  if (result.http_status != 0) {
    send_token_status(slot, false, user);  // the error's code
    return;
  }
  const std::string_view name = text.substr(user.size(), result.player_bytes);
  const IdentityView before = identities_.view(player.identity);
  if (before.user != user || before.player != name) {
    send_token_status(slot, false, "another_user");
    return;
  }
  const uint32_t identity =
      identities_.store({user, name, text.substr(user.size() + name.size(), result.rest_bytes)});
  if (identity == Identities::kNone) {
    send_token_status(slot, false, "overloaded");
    return;
  }
  identities_.free(player.identity);
  player.identity = identity;
  player.expires_at = result.expires_at;
  player.flags &= static_cast<uint16_t>(~kExpiryWarned);
  send_token_status(slot, true, {});
}

void Shard::send_token_status(uint32_t slot, bool accepted, std::string_view reason) {
  const Player& player = players_[slot];
  counters_.add(accepted ? Counter::kTokensRefreshed : Counter::kTokenRefreshesRefused, 1);
  wire::TokenStatus status;
  status.accepted = accepted;
  status.expires_at = player.expires_at;
  status.reason = reason;
  status.permissions = identities_.view(player.identity).permissions;
  uint8_t room[4096];
  wire::PbWriter out(room);
  wire::encode(out, status);
  TG_ASSERT(!out.overflow());
  send_payload(slot, static_cast<uint32_t>(wire::MessageType::kTokenStatus), out.written());
}

}  // namespace tidegate::shard
