// SPDX-License-Identifier: Apache-2.0
// Letters between the players of the simulation (client/letters.h): the handler on the server.
// Thread: one. Owner: Player, Simulation. Limits: none.
#pragma once

#include <string>

#include "client/letters.h"
#include "shard/handler_table.h"

namespace tidegate::sim {

using client::kDelivery;
using client::kLetter;

// The server's part.
inline void add_letter_handler(shard::HandlerTable& table) {
  shard::HandlerEntry entry;
  entry.type = kLetter;
  entry.name = "letter";
  entry.invoke = [](void*, Context& context, const Message& message) noexcept {
    const std::string_view text = message.payload.text();
    const size_t line = text.find('\n');
    if (line == std::string_view::npos) return tidegate::Outcome::kInvalid;
    std::string out(context.player_id());
    out += text.substr(line);
    return context.send_acknowledged(text.substr(0, line), kDelivery, bytes_of(out)) ==
                   SendResult::kOk
               ? tidegate::Outcome::kOk
               : tidegate::Outcome::kFailed;
  };
  (void)table.add(entry);
}

using client::Letters;

}  // namespace tidegate::sim
