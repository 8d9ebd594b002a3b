// SPDX-License-Identifier: Apache-2.0
// Members of focus groups (parties) follow each other at full rate wherever they are in the zone: a
// PLAYER_STATE in every tick in which one of them moved, and once a second, unless the cell in
// which it stands comes to the follower at full rate anyway. One record for each move goes to each
// shard; there it becomes one frame, which every follower's output refers to.
#include <cstring>

#include "protocol/ws.h"
#include "shard/shard.h"
#include "shard/social.h"
#include "wire/envelope.h"
#include "wire/messages.h"
#include "wire/quantise.h"

namespace tidegate::shard {

using mailbox::read_message;
using metrics::Counter;
using session::Subscription;
using session::TopicMembers;

namespace {

constexpr uint32_t kNone = TopicMembers::kNone;

// One move in one group. Behind it: the group, the user, the player.
struct FocusMove {
  int32_t position[3];
  int16_t velocity[3];
  uint8_t group_bytes, user_bytes;
  uint8_t player_bytes;
  uint8_t unused = 0;
};

}  // namespace

void Social::note_moved(uint32_t slot) {
  const Player& player = shard_.players_[slot];
  if (!player.entity.valid()) return;
  const IdentityView who = shard_.identities_.view(player.identity);
  for (uint32_t s = members_.first_of_slot(slot); s != kNone; s = members_.at(s).next_of_slot) {
    const std::string_view group = members_.name(members_.at(s).topic);
    if (!session::is_focus_group(limits_.focus, group)) continue;
    FocusMove move{};
    for (int i = 0; i < 3; ++i) {
      move.position[i] = player.position[i];
      move.velocity[i] = player.answer.velocity[i];
    }
    move.group_bytes = static_cast<uint8_t>(group.size());
    move.user_bytes = static_cast<uint8_t>(who.user.size());
    move.player_bytes = static_cast<uint8_t>(who.player.size());
    const size_t need = sizeof move + group.size() + who.user.size() + who.player.size();
    if (moves_bytes_ + need > moves_.size()) post_moves(shard_.barrier_.tick());
    uint8_t* at = moves_.data() + moves_bytes_;
    std::memcpy(at, &move, sizeof move);
    at += sizeof move;
    for (const std::string_view part : {group, who.user, who.player}) {
      if (!part.empty()) std::memcpy(at, part.data(), part.size());
      at += part.size();
    }
    moves_bytes_ += static_cast<uint32_t>(need);
  }
}

void Social::send_moves(uint32_t tick) {
  const uint32_t second = shard_.config_.world.tick_rate;
  // Each once a second though nothing moves: who came in meanwhile knows where the others are.
  for (uint32_t slot = tick % second; slot < shard_.players_end_; slot += second) {
    if (members_.count_of_slot(slot) != 0) note_moved(slot);
  }
  post_moves(tick);
}

void Social::post_moves(uint32_t tick) {
  if (moves_bytes_ == 0) return;
  const base::Bytes moves{moves_.data(), moves_bytes_};
  moves_bytes_ = 0;
  for (uint32_t to = 0; to < shard_.config_.count; ++to) {
    (void)shard_.mailbox_.post(to, mailbox::FocusMoves{tick}, moves);
  }
}

void Social::on_moves(base::Bytes bytes) {
  base::Bytes tail;
  const auto mail = read_message<mailbox::FocusMoves>(bytes, &tail);
  const float step = shard_.config_.world.position_step;
  while (!tail.empty()) {
    FocusMove move;
    std::memcpy(&move, tail.data(), sizeof move);
    tail = tail.subspan(sizeof move);
    const std::string_view group = base::as_text(tail.first(move.group_bytes));
    const std::string_view user = base::as_text(tail.subspan(move.group_bytes, move.user_bytes));
    const size_t names = size_t{move.group_bytes} + move.user_bytes;
    const std::string_view player = base::as_text(tail.subspan(names, move.player_bytes));
    tail = tail.subspan(names + move.player_bytes);
    const uint32_t row = members_.find_topic(group);
    if (row == kNone) continue;
    const world::Steps3 position{move.position[0], move.position[1], move.position[2]};
    const world::CellKey cell = shard_.slice_.scale().cell_of(position);
    const uint64_t source = anybody_blocks() ? session::hash_name(user) : 0;
    const uint8_t* shared = nullptr;
    uint32_t size = 0;
    members_.for_each(row, [&](uint32_t, Subscription& s) {
      const uint32_t slot = s.slot;
      if (!shard_.interest_.watching(slot) || !shard_.endpoint_.is_open(slot)) return;
      if (shard_.identities_.view(shard_.players_[slot].identity).player == player) return;
      if (shard_.interest_.follows(slot, cell) || hides(slot, source)) return;
      if (shard_.holds_back(slot, 0)) return;  // the next one takes its place
      if (shared == nullptr) {
        constexpr uint32_t kHead = 10;  // of a WebSocket frame without mask
        uint8_t frame[kHead + 256];
        wire::MessageWriter writer({frame + kHead, sizeof frame - kHead},
                                   {wire::MessageType::kPlayerState, shard_.io_.unix_ms()});
        wire::PlayerStateUpdate state;
        state.player_id = player;
        state.position = {wire::to_metres(position[0], step), wire::to_metres(position[1], step),
                          wire::to_metres(position[2], step)};
        state.velocity = {wire::from_velocity(move.velocity[0]),
                          wire::from_velocity(move.velocity[1]),
                          wire::from_velocity(move.velocity[2])};
        state.has_position = state.has_velocity = true;
        state.timestamp = shard_.io_.unix_ms();
        state.tick = mail.tick;
        wire::encode(writer.payload(), state);
        const uint32_t message = writer.finish();
        TG_ASSERT(message != 0);
        const size_t head = protocol::header_size(message);
        uint8_t* const begin = frame + kHead - head;
        protocol::write_header(begin, protocol::Opcode::kBinary, true, message);
        size = static_cast<uint32_t>(head) + message;
        shared = shard_.topics_.keep({begin, size});
      }
      shard_.endpoint_.send_framed(slot, shared, size, 1);
      shard_.interest_.spend(slot, size);
      shard_.counters_.add(Counter::kFocusUpdates, 1);
    });
  }
}

}  // namespace tidegate::shard
