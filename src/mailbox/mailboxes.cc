// SPDX-License-Identifier: Apache-2.0
#include "mailbox/mailboxes.h"

namespace tidegate::mailbox {

const char* name_of(MessageType type) {
  switch (type) {
    case MessageType::kSimulationDone:
      return "simulation_done";
    case MessageType::kFrameDone:
      return "frame_done";
    case MessageType::kPublication:
      return "publication";
    case MessageType::kSubscribe:
      return "subscribe";
    case MessageType::kInput:
      return "input";
    case MessageType::kMoved:
      return "moved";
    case MessageType::kTransfer:
      return "transfer";
    case MessageType::kTransferNotice:
      return "transfer_notice";
    case MessageType::kLogin:
      return "login";
    case MessageType::kLogout:
      return "logout";
    case MessageType::kSpawn:
      return "spawn";
    case MessageType::kSpawnFailed:
      return "spawn_failed";
    case MessageType::kWorldFull:
      return "world_full";
    case MessageType::kDetach:
      return "detach";
    case MessageType::kReplaced:
      return "replaced";
    case MessageType::kGone:
      return "gone";
    case MessageType::kAuthRequest:
      return "auth_request";
    case MessageType::kAuthResult:
      return "auth_result";
    case MessageType::kListConnections:
      return "list_connections";
    case MessageType::kConnectionRow:
      return "connection_row";
    case MessageType::kListEnd:
      return "list_end";
    case MessageType::kCloseConnection:
      return "close_connection";
    case MessageType::kDrain:
      return "drain";
    case MessageType::kSnapshotAt:
      return "snapshot_at";
    case MessageType::kSnapshotPiece:
      return "snapshot_piece";
    case MessageType::kSnapshotEnd:
      return "snapshot_end";
    case MessageType::kListHistory:
      return "list_history";
    case MessageType::kHistoryAnswer:
      return "history_answer";
    case MessageType::kCellReported:
      return "cell_reported";
    case MessageType::kCellDisputed:
      return "cell_disputed";
    case MessageType::kCellDump:
      return "cell_dump";
    case MessageType::kSendToPlayer:
      return "send_to_player";
    case MessageType::kDeliver:
      return "deliver";
    case MessageType::kDeliverNear:
      return "deliver_near";
    case MessageType::kMarkState:
      return "mark_state";
    case MessageType::kEnvironment:
      return "environment";
    case MessageType::kStateSet:
      return "state_set";
    case MessageType::kStateAsked:
      return "state_asked";
    case MessageType::kStateAnswered:
      return "state_answered";
    case MessageType::kStateShown:
      return "state_shown";
    case MessageType::kStateTold:
      return "state_told";
    case MessageType::kTopicJoin:
      return "topic_join";
    case MessageType::kTopicJoined:
      return "topic_joined";
    case MessageType::kTopicLeave:
      return "topic_leave";
    case MessageType::kTopicPublish:
      return "topic_publish";
    case MessageType::kTopicPublished:
      return "topic_published";
    case MessageType::kTopicEvent:
      return "topic_event";
    case MessageType::kTopicPull:
      return "topic_pull";
    case MessageType::kTopicPiece:
      return "topic_piece";
    case MessageType::kListTopics:
      return "list_topics";
    case MessageType::kTopicRow:
      return "topic_row";
    case MessageType::kTopicListEnd:
      return "topic_list_end";
    case MessageType::kTopicsParked:
      return "topics_parked";
    case MessageType::kTopicsResumed:
      return "topics_resumed";
    case MessageType::kTopicsRestored:
      return "topics_restored";
    case MessageType::kPresenceCome:
      return "presence_come";
    case MessageType::kPresenceGo:
      return "presence_go";
    case MessageType::kPresenceSet:
      return "presence_set";
    case MessageType::kPresenceChanged:
      return "presence_changed";
    case MessageType::kPresenceWatch:
      return "presence_watch";
    case MessageType::kPresenceState:
      return "presence_state";
    case MessageType::kSendToUser:
      return "send_to_user";
    case MessageType::kSessionOpen:
      return "session_open";
    case MessageType::kSessionOpened:
      return "session_opened";
    case MessageType::kSessionRelease:
      return "session_release";
    case MessageType::kSessionClosed:
      return "session_closed";
    case MessageType::kSessionLeft:
      return "session_left";
    case MessageType::kSessionProgress:
      return "session_progress";
    case MessageType::kSessionSend:
      return "session_send";
    case MessageType::kSessionDeliver:
      return "session_deliver";
    case MessageType::kSessionSaved:
      return "session_saved";
    case MessageType::kSessionRecord:
      return "session_record";
    case MessageType::kSessionsStored:
      return "sessions_stored";
    case MessageType::kSessionClaimed:
      return "session_claimed";
    case MessageType::kSessionTaken:
      return "session_taken";
    case MessageType::kSessionLetter:
      return "session_letter";
    case MessageType::kListSessions:
      return "list_sessions";
    case MessageType::kSessionRow:
      return "session_row";
    case MessageType::kKick:
      return "kick";
    case MessageType::kKicked:
      return "kicked";
    case MessageType::kSettings:
      return "settings";
    case MessageType::kBusMail:
      return "bus_mail";
    case MessageType::kRealmOrder:
      return "realm_order";
    case MessageType::kBusView:
      return "bus_view";
    case MessageType::kPollLetter:
      return "poll_letter";
    case MessageType::kMoveCells:
      return "move_cells";
    case MessageType::kCellMoved:
      return "cell_moved";
    case MessageType::kMovesTaken:
      return "moves_taken";
    case MessageType::kShardLoad:
      return "shard_load";
    case MessageType::kGroupAsk:
      return "group_ask";
    case MessageType::kSocialAnswer:
      return "social_answer";
    case MessageType::kGroupMembership:
      return "group_membership";
    case MessageType::kUserAsk:
      return "user_ask";
    case MessageType::kUserEntries:
      return "user_entries";
    case MessageType::kSocialSet:
      return "social_set";
    case MessageType::kDeliverGroup:
      return "deliver_group";
    case MessageType::kFocusMoves:
      return "focus_moves";
    case MessageType::kUserRecord:
      return "user_record";
    case MessageType::kUserQuestion:
      return "user_question";
    case MessageType::kUserFact:
      return "user_fact";
    case MessageType::kPadding:
    case MessageType::kCount:
      break;
  }
  return "?";
}

Fabric::Fabric(const FabricLimits& limits)
    : agents_(limits.shards + 1), sleep_flags_(std::make_unique<SleepFlag[]>(agents_)) {
  TG_ASSERT(limits.shards >= 1 && limits.shards < 64);
  rings_.reserve(size_t{agents_} * agents_);
  for (AgentId from = 0; from < agents_; ++from) {
    for (AgentId to = 0; to < agents_; ++to) {
      const bool with_control = from == control() || to == control();
      const uint32_t bytes = with_control ? limits.control_ring_bytes : limits.shard_ring_bytes;
      rings_.push_back(std::make_unique<queue::ByteRing>(bytes));
      memory_bytes_ += bytes;
    }
  }
}

Mailbox::Mailbox(Fabric& fabric, AgentId self) : fabric_(fabric), self_(self) {}

void Mailbox::publish_all(WakeSink& wakes) {
  uint64_t dirty = dirty_;
  dirty_ = 0;
  while (dirty != 0) {
    const AgentId to = static_cast<AgentId>(__builtin_ctzll(dirty));
    dirty &= dirty - 1;
    fabric_.ring(self_, to).publish();
    if (to == self_) continue;  // we look at our own ring before we sleep
    // Pairs with the exchange in prepare_to_sleep: of the two read-modify-writes one is first, so
    // either we see the flag or the sleeper sees the message.
    if (fabric_.sleep_flag(to).asleep.exchange(false, std::memory_order_acq_rel)) {
      wakes.wake_agent(to);
    }
  }
}

bool Mailbox::anything_waiting() {
  queue::Record record;
  for (AgentId from = 0; from < fabric_.agents(); ++from) {
    if (fabric_.ring(from, self_).peek(&record)) return true;
  }
  return false;
}

bool Mailbox::prepare_to_sleep() {
  fabric_.sleep_flag(self_).asleep.exchange(true, std::memory_order_acq_rel);  // see publish_all
  if (!anything_waiting()) return true;
  awake();
  return false;
}

void Mailbox::awake() { fabric_.sleep_flag(self_).asleep.store(false, std::memory_order_relaxed); }

}  // namespace tidegate::mailbox
