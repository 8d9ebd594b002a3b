// SPDX-License-Identifier: Apache-2.0
#include "control/control_agent.h"

#include <chrono>
#include <cstring>

#include "crypto/random.h"
#include "mailbox/resume_nonce.h"

namespace tidegate::control {

using mailbox::AgentId;
using mailbox::MessageType;
using mailbox::read_message;

ControlAgent::ControlAgent(mailbox::Fabric& fabric, AuthService& auth, metrics::Counters& counters)
    : mailbox_(fabric, fabric.control()), auth_(auth), counters_(counters) {}

bool ControlAgent::work(base::UnixMs unix_ms, mailbox::WakeSink& wakes) {
  unix_ms_ = unix_ms;
  run_requests();
  while (!unsent_.empty()) {
    const auto& [to, bytes] = unsent_.front();
    if (!mailbox_.post_raw(to, static_cast<uint16_t>(MessageType::kAuthResult), bytes)) break;
    unsent_.pop_front();
  }
  constexpr uint32_t kPerTurn = 256;
  const uint32_t seen =
      mailbox_.drain(kPerTurn, [&](AgentId from, MessageType type, base::Bytes bytes) {
        switch (type) {
          case MessageType::kAuthRequest:
            on_auth_request(from, bytes, unix_ms, Unknown::kMayWait);
            break;
          case MessageType::kSessionRecord:
            if (session_keeper_ != nullptr) session_keeper_->on_record(from, bytes);
            break;
          case MessageType::kUserRecord:
            if (list_keeper_ != nullptr) list_keeper_->on_record(bytes);
            break;
          case MessageType::kConnectionRow:
            on_row(from, bytes);
            break;
          case MessageType::kSessionRow:
            on_session_row(from, bytes);
            break;
          case MessageType::kListEnd:
            on_list_end(bytes);
            break;
          case MessageType::kHistoryAnswer:
            on_history(from, bytes);
            break;
          case MessageType::kKicked:
            on_kicked(bytes);
            break;
          case MessageType::kTopicRow:
            on_topic_row(from, bytes);
            break;
          case MessageType::kUserFact:
            on_user_fact(bytes);
            break;
          case MessageType::kTopicListEnd:
            on_topic_list_end(bytes);
            break;
          case MessageType::kCellDump:
            if (desync_dumps_ != nullptr) desync_dumps_->on_dump(from, bytes, unix_ms);
            break;
          case MessageType::kShardLoad:
            if (balance_ != nullptr) balance_->on_load(from, bytes, mailbox_);
            break;
          case MessageType::kSnapshotPiece:
            if (snapshots_ != nullptr) snapshots_->on_piece(from, bytes);
            break;
          case MessageType::kBusMail:
            if (bus_ != nullptr) {
              base::Bytes tail;
              const auto mail = read_message<mailbox::BusMail>(bytes, &tail);
              bus_->on_mail(from, mail, tail);
            }
            break;
          case MessageType::kSnapshotEnd:
            if (snapshots_ != nullptr) snapshots_->on_end(from, bytes);
            break;
          default:
            TG_ASSERT(!"not a message for control");
        }
      });
  tell_stored();
  mailbox_.publish_all(wakes);
  return seen != 0 || !unsent_.empty();
}

// To each shard, up to where its changes of sessions are safe, and what a shared store says of
// them. A full ring: the next turn.
void ControlAgent::tell_stored() {
  if (session_keeper_ == nullptr) return;
  while (const store::SessionKeeper::Post* post = session_keeper_->next_post()) {
    if (!mailbox_.post_raw(post->to, static_cast<uint16_t>(post->type), post->bytes)) return;
    session_keeper_->drop_post();
  }
  AgentId to = 0;
  mailbox::SessionsStored word{};
  while (session_keeper_->next_word(&to, &word)) {
    if (mailbox_.post(to, word)) continue;
    session_keeper_->not_posted(to);
    return;
  }
}

void ControlAgent::turn_snapshots(base::Instant now, base::UnixMs unix_ms) {
  now_ = now;
  if (snapshots_ == nullptr) return;
  const uint32_t tick = snapshots_->work(now, unix_ms);
  if (tick == 0) return;
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    // A full ring: the request comes late at the worst, and the shard says so.
    enqueue([this, shard, tick] { return mailbox_.post(shard, mailbox::SnapshotAt{tick}); }, [] {});
  }
}

void ControlAgent::turn_bus(base::Instant now) {
  if (bus_ != nullptr) bus_->turn(now, unix_ms_, *this);
}

void ControlAgent::retry_waiting() {
  const auto waiting = std::move(waiting_);
  waiting_.clear();
  for (const auto& [from, bytes] : waiting) {
    on_auth_request(from, bytes, unix_ms_, Unknown::kIsRefused);
  }
}

void ControlAgent::on_auth_request(AgentId from, base::Bytes bytes, base::UnixMs unix_ms,
                                   Unknown unknown) {
  base::Bytes tail_in;
  const auto request = read_message<mailbox::AuthRequest>(bytes, &tail_in);
  TG_ASSERT(request.resume_bytes <= tail_in.size());
  const base::Bytes token = tail_in.first(tail_in.size() - request.resume_bytes);
  const AuthOutcome outcome = auth_.verify(base::as_text(token), unix_ms / 1000);
  constexpr size_t kWaitingMax = 1024;
  if (!outcome.ok && outcome.unknown_key && unknown == Unknown::kMayWait && ask_keys_ &&
      waiting_.size() < kWaitingMax && ask_keys_(now_)) {
    waiting_.emplace_back(from, std::vector<uint8_t>(bytes.begin(), bytes.end()));
    return;
  }
  mailbox::AuthResult result{};
  result.connection = request.connection;
  result.asked_ns = request.asked_ns;
  result.refresh = static_cast<uint8_t>(request.refresh);
  std::string tail;
  std::string rest;
  if (outcome.ok) {
    counters_.add(metrics::Counter::kAuthAccepted, 1);
    result.expires_at = outcome.expires_at;
    for (const std::string& permission : outcome.permissions) {
      if (!rest.empty()) rest += ' ';
      rest += permission;
    }
    tail = outcome.user_id + outcome.player_id + rest;
    if (request.refresh == 0)
      tail += give_tokens(outcome, base::as_text(tail_in.subspan(token.size())), unix_ms / 1000,
                          &result);
    result.user_bytes = static_cast<uint16_t>(outcome.user_id.size());
    result.player_bytes = static_cast<uint16_t>(outcome.player_id.size());
  } else {
    result.http_status = static_cast<uint16_t>(outcome.http_status);
    tail = std::string(outcome.code) + std::string(outcome.message);
    result.user_bytes = static_cast<uint16_t>(outcome.code.size());
    result.player_bytes = static_cast<uint16_t>(outcome.message.size());
  }
  result.rest_bytes = static_cast<uint16_t>(rest.size());
  if (unsent_.empty() && mailbox_.post(from, result, base::as_bytes(tail))) return;
  std::vector<uint8_t> kept(sizeof result + tail.size());
  std::memcpy(kept.data(), &result, sizeof result);
  if (!tail.empty()) std::memcpy(kept.data() + sizeof result, tail.data(), tail.size());
  unsent_.emplace_back(from, std::move(kept));
}

// The id of a new session and the tokens of both ways a login may end; the home shard chooses.
std::string ControlAgent::give_tokens(const AuthOutcome& who, std::string_view shown,
                                      int64_t unix_now, mailbox::AuthResult* result) {
  using mailbox::TokenVerdict;
  result->resume = shown.empty() ? TokenVerdict::kNone : TokenVerdict::kBad;
  struct {
    uint64_t session;
    uint32_t nonce;
  } fresh{};
  if (session_tokens_ == nullptr ||
      !crypto::fill_random({reinterpret_cast<uint8_t*>(&fresh), sizeof fresh})) {
    return {};
  }
  result->session = fresh.session;
  result->nonce = fresh.nonce == 0 ? 1 : fresh.nonce;
  std::string tail =
      session_tokens_->issue(result->session, result->nonce, who.user_id, who.player_id, unix_now);
  result->token_bytes[0] = static_cast<uint8_t>(tail.size());
  if (shown.empty()) return tail;
  const store::ResumeClaim claim =
      session_tokens_->check(shown, who.user_id, who.player_id, unix_now);
  if (claim.status == store::ResumeClaim::Status::kBad) return tail;
  result->resume = TokenVerdict::kExpired;
  if (claim.status == store::ResumeClaim::Status::kExpired) return tail;
  result->resume = TokenVerdict::kGood;
  result->resume_session = claim.session;
  result->resume_nonce = claim.nonce;
  result->nonce = mailbox::nonce_after(claim.nonce);
  tail =
      session_tokens_->issue(result->session, result->nonce, who.user_id, who.player_id, unix_now);
  const std::string next =
      session_tokens_->issue(claim.session, result->nonce, who.user_id, who.player_id, unix_now);
  result->token_bytes[1] = static_cast<uint8_t>(next.size());
  return tail + next;
}

void ControlAgent::on_row(AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  ConnectionInfo info;
  info.row = read_message<mailbox::ConnectionRow>(bytes, &tail);
  info.shard = from;
  const std::string_view text = base::as_text(tail);
  info.user = text.substr(0, info.row.user_bytes);
  info.player = text.substr(info.row.user_bytes, info.row.player_bytes);
  const std::lock_guard lock(mutex_);
  const auto it = listings_.find(info.row.request);
  if (it != listings_.end()) it->second.page.rows.push_back(std::move(info));
}

void ControlAgent::on_list_end(base::Bytes bytes) {
  const auto end = read_message<mailbox::ListEnd>(bytes);
  const std::lock_guard lock(mutex_);
  const auto it = listings_.find(end.request);
  if (it == listings_.end()) return;
  it->second.page.total += end.total;
  if (--it->second.shards_left == 0) changed_.notify_all();
}

void ControlAgent::on_history(AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  const auto answer = read_message<mailbox::HistoryAnswer>(bytes, &tail);
  const std::lock_guard lock(mutex_);
  const auto it = histories_.find(answer.request);
  if (it == histories_.end()) return;
  if (answer.entity.valid()) {
    // On its way between two shards it may be told by none; never by two.
    EntityHistory& h = it->second.answer;
    const size_t samples = tail.size() - answer.name_bytes;
    h.found = true;
    h.shard = from;
    h.answer = answer;
    h.samples.assign(tail.begin(), tail.begin() + static_cast<ptrdiff_t>(samples));
    h.player = base::as_text(tail.subspan(samples));
  }
  if (--it->second.shards_left == 0) changed_.notify_all();
}

EntityHistory ControlAgent::entity_history_blocking(std::string player, base::EntityId entity,
                                                    const std::function<void()>& wake) {
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    histories_[number] = {{}, mailbox_.shards()};
  }
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, number, entity, player] {
          return mailbox_.post(shard, mailbox::ListHistory{number, entity}, base::as_bytes(player));
        },
        wake);
  }
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::seconds(2),
                    [&] { return histories_[number].shards_left == 0; });
  EntityHistory history = std::move(histories_[number].answer);
  histories_.erase(number);
  return history;
}

bool ControlAgent::has_requests() {
  const std::lock_guard lock(mutex_);
  return !requests_.empty();
}

void ControlAgent::enqueue(Request request, const std::function<void()>& wake) {
  {
    const std::lock_guard lock(mutex_);
    requests_.push_back(std::move(request));
  }
  wake();
}

bool ControlAgent::enqueue_bounded(Request request, const std::function<void()>& wake) {
  {
    const std::lock_guard lock(mutex_);
    if (requests_.size() >= kHostPostsMax) return false;
    requests_.push_back(std::move(request));
  }
  wake();
  return true;
}

void ControlAgent::run_requests() {
  for (;;) {
    Request request;
    {
      const std::lock_guard lock(mutex_);
      if (requests_.empty()) return;
      request = std::move(requests_.front());
      requests_.pop_front();
    }
    if (!request()) {
      const std::lock_guard lock(mutex_);
      requests_.push_front(std::move(request));
      return;
    }
  }
}

ConnectionPage ControlAgent::list_connections_blocking(uint32_t offset, uint32_t limit,
                                                       const std::function<void()>& wake) {
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    listings_[number] = {{}, {}, mailbox_.shards()};
  }
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, number, offset, limit] {
          return mailbox_.post(shard, mailbox::ListConnections{number, offset, limit});
        },
        wake);
  }
  std::unique_lock lock(mutex_);
  const bool complete = changed_.wait_for(lock, std::chrono::seconds(2),
                                          [&] { return listings_[number].shards_left == 0; });
  ConnectionPage page = std::move(listings_[number].page);
  listings_.erase(number);
  page.complete = complete;
  return page;
}

void ControlAgent::on_topic_row(AgentId from, base::Bytes bytes) {
  base::Bytes name;
  const auto row = read_message<mailbox::TopicRow>(bytes, &name);
  const std::lock_guard lock(mutex_);
  const auto it = topic_listings_.find(row.request);
  if (it == topic_listings_.end()) return;
  TopicInfo& info = it->second.page.topics[std::string(base::as_text(name))];
  info.subscribers += row.subscribers;
  info.shards += row.subscribers != 0 ? 1 : 0;
  if (row.next_offset == 0) return;
  info.home = from;
  info.last_offset = row.next_offset - 1;
  info.history_messages = row.history_messages;
  info.history_bytes = row.history_bytes;
}

void ControlAgent::on_topic_list_end(base::Bytes bytes) {
  const auto end = read_message<mailbox::TopicListEnd>(bytes);
  const std::lock_guard lock(mutex_);
  const auto it = topic_listings_.find(end.request);
  if (it == topic_listings_.end()) return;
  it->second.page.total += end.total;
  it->second.more |= end.more != 0;
  if (--it->second.shards_left == 0) changed_.notify_all();
}

// Piece by piece, so that no shard has to keep more rows than its ring holds.
TopicPage ControlAgent::list_topics_blocking(const std::function<void()>& wake) {
  constexpr uint32_t kRows = 256;
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    topic_listings_[number] = {{}, 0};
  }
  std::unique_lock lock(mutex_);
  TopicListing& listing = topic_listings_[number];
  bool answered = true;
  listing.more = true;
  for (uint32_t offset = 0; offset < kTopicRowsMax && answered && listing.more; offset += kRows) {
    listing.shards_left = mailbox_.shards();
    listing.more = false;
    listing.page.total = 0;
    lock.unlock();
    for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
      enqueue([this, shard, number,
               offset] { return mailbox_.post(shard, mailbox::ListTopics{number, offset, kRows}); },
              wake);
    }
    lock.lock();
    answered =
        changed_.wait_for(lock, std::chrono::seconds(2), [&] { return listing.shards_left == 0; });
  }
  TopicPage page = std::move(listing.page);
  page.complete = answered && !listing.more;
  topic_listings_.erase(number);
  return page;
}

void ControlAgent::on_session_row(AgentId from, base::Bytes bytes) {
  base::Bytes tail;
  SessionInfo info;
  info.row = read_message<mailbox::SessionRow>(bytes, &tail);
  info.shard = from;
  info.player = base::as_text(tail);
  const std::lock_guard lock(mutex_);
  const auto it = listings_.find(info.row.request);
  if (it != listings_.end()) it->second.sessions.push_back(std::move(info));
}

SessionPage ControlAgent::list_sessions_blocking(const std::string& player, uint32_t offset,
                                                 uint32_t limit,
                                                 const std::function<void()>& wake) {
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    listings_[number] = {{}, {}, mailbox_.shards()};
  }
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, number, offset, limit, player] {
          return mailbox_.post(shard, mailbox::ListSessions{number, offset, limit},
                               base::as_bytes(player));
        },
        wake);
  }
  std::unique_lock lock(mutex_);
  SessionPage page;
  page.complete = changed_.wait_for(lock, std::chrono::seconds(2),
                                    [&] { return listings_[number].shards_left == 0; });
  page.rows = std::move(listings_[number].sessions);
  page.total = listings_[number].page.total;
  listings_.erase(number);
  return page;
}

bool ControlAgent::close_connection(uint32_t shard, base::ConnectionRef connection, uint16_t code,
                                    const std::function<void()>& wake) {
  if (shard >= mailbox_.shards()) return false;
  enqueue([this, shard, connection,
           code] { return mailbox_.post(shard, mailbox::CloseConnection{connection, code}); },
          wake);
  return true;
}

void ControlAgent::set_environment(const std::string& encoded, const std::function<void()>& wake) {
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, encoded] {
          return mailbox_.post(shard, mailbox::EnvironmentSet{}, base::as_bytes(encoded));
        },
        wake);
  }
}

}  // namespace tidegate::control
