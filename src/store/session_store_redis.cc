// SPDX-License-Identifier: Apache-2.0
#include "store/session_store_redis.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <ctime>
#include <iterator>

#include "crypto/random.h"
#include "mailbox/mailboxes.h"
#include "store/redis_scripts.h"

namespace tidegate::store {

using mailbox::SessionChangeOp;
using mailbox::SessionClaim;
using mailbox::SessionRecord;
using mailbox::StoredLetter;

namespace {

constexpr int64_t kAliveMs = 15'000;  // a gateway that has not said so for as long is dead
constexpr int64_t kSayAliveMs = 4'000;
constexpr int kNewsAtOnce = 256;
constexpr const char* kLost =
    "Redis has lost sessions (was it emptied, or does maxmemory-policy evict keys?)";

int64_t monotonic_ms() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
}

int64_t unix_s() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec;
}

uint64_t number_of(std::string_view text) {
  uint64_t n = 0;
  (void)std::from_chars(text.data(), text.data() + text.size(), n);
  return n;
}

// The next word of "a b rest"; what is left stays in `text`.
std::string_view word(std::string_view* text) {
  const size_t space = text->find(' ');
  const std::string_view first = text->substr(0, space);
  *text = space == std::string_view::npos ? std::string_view() : text->substr(space + 1);
  return first;
}

uint64_t random_seed() {
  uint64_t seed = 0;
  (void)crypto::fill_random({reinterpret_cast<uint8_t*>(&seed), sizeof seed});
  return seed;
}

std::vector<uint8_t> bytes_of(std::string_view text) { return {text.begin(), text.end()}; }

std::vector<StoredLetter> letters_of(const RedisReply& reply) {
  std::vector<std::pair<uint64_t, StoredLetter>> all;
  for (size_t i = 0; i + 1 < reply.list.size(); i += 2) {
    std::string_view rest = reply.list[i + 1].text;
    const uint64_t number = number_of(word(&rest));
    const uint64_t session = number_of(word(&rest));
    const auto type = static_cast<uint32_t>(number_of(word(&rest)));
    all.push_back({number, {number_of(reply.list[i].text), session, type, bytes_of(rest)}});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<StoredLetter> letters;
  for (auto& [number, letter] : all) letters.push_back(std::move(letter));
  return letters;
}

// From the answer of the claim script; id 0: there is none.
std::unique_ptr<StoredSession> session_of(const std::string& player, const RedisReply& reply) {
  auto s = std::make_unique<StoredSession>();
  s->player = player;
  const RedisReply& row = reply.at(3);
  for (size_t i = 0; i + 1 < row.list.size(); i += 2) {
    const std::string& name = row.list[i].text;
    const uint64_t value = number_of(row.list[i + 1].text);
    const auto count = static_cast<uint32_t>(value);
    if (name == "id") s->id = value;
    if (name == "received") s->received = value;
    if (name == "acked") s->acked = value;
    if (name == "nonce") s->nonce = count;
    if (name == "nonce_before") s->nonce_before = count;
    if (name == "created") s->created_s = count;
    if (name == "seen") s->seen_s = count;
    if (name == "resumed") s->resumed = count;
    if (name == "attached") s->attached = value != 0;
  }
  for (const RedisReply& m : reply.at(4).list) {
    std::string_view rest = m.text;
    const uint64_t sequence = number_of(word(&rest));
    const auto type = static_cast<uint32_t>(number_of(word(&rest)));
    s->messages.push_back({sequence, type, bytes_of(rest)});
  }
  for (const RedisReply& e : reply.at(5).list) s->effects.push_back(number_of(e.text));
  s->letters = letters_of(reply.at(6));
  return s;
}

// The player a claim or a forwarded message is about.
std::string player_of(const SessionChange& c) {
  if (c.record.op == SessionChangeOp::kClaim) {
    base::Bytes tail;
    const auto open = mailbox::read_message<mailbox::SessionOpen>(c.tail, &tail);
    return std::string(base::as_text(tail.first(open.player_bytes)));
  }
  return std::string(base::as_text(c.tail.first(c.record.player_bytes)));
}

// When the client asked, in Unix ms, so that gateways can compare it as far as their clocks agree.
int64_t asked_ms(uint32_t since_ms) {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  const int64_t now_ms = int64_t{t.tv_sec} * 1000 + t.tv_nsec / 1'000'000;
  if (since_ms == 0) return now_ms;
  return now_ms - static_cast<int32_t>(static_cast<uint32_t>(monotonic_ms()) - since_ms);
}

}  // namespace

RedisStore::RedisStore(RedisOptions options, Settings settings)
    : link_(std::move(options)), settings_(std::move(settings)), names_(random_seed()) {
  link_.on_connect({{"SCRIPT", "LOAD", kClaimScript}, {"SCRIPT", "LOAD", kWriteScript}});
  // A connected player's session is written at least once in half of session.resume_window.
  const int64_t life_ms = settings_.session_life.ns / 1'000'000;
  ttl_attached_ms_ = std::to_string(life_ms + life_ms / 2 + 60'000);
}

std::string RedisStore::key(const std::string& player, char part) const {
  return link_.options().prefix + "{" + player + "}:" + part;
}

// Empty in a Cluster, where a script may only touch keys of one slot: we send the news then.
std::string RedisStore::news_prefix() const {
  return link_.options().cluster ? std::string() : link_.options().prefix + "@news:";
}

bool RedisStore::connect(std::string* error) {
  if (link_.connected()) return true;
  if (!link_.connect(error)) return false;
  said_alive_ms_ = 0;
  return true;
}

bool RedisStore::settling() const { return monotonic_ms() < settled_at_ms_; }

RedisCommand RedisStore::script(Script which, const std::string& player) const {
  RedisCommand c;
  c.key = key(player, 's');
  c.words = {"EVALSHA",        link_.greeted(which), "4", c.key, key(player, 'm'),
             key(player, 'e'), key(player, 'i')};
  return c;
}

RedisCommand RedisStore::claim(const SessionChange& change, const std::string& player,
                               bool refuse) {
  RedisCommand c = script(kClaim, player);
  for (std::string word :
       {settings_.gateway, std::to_string(++number_),
        std::string(change.record.attached != 0 ? "1" : "0"), std::string(refuse ? "1" : "0"),
        ttl_attached_ms_, news_prefix(), player, std::string(settling() ? "1" : "0"),
        std::to_string(change.record.session), std::to_string(change.record.nonce_before),
        std::to_string(change.record.nonce), std::to_string(change.record.coming),
        std::to_string(asked_ms(change.record.since_ms))}) {
    c.words.push_back(std::move(word));
  }
  return c;
}

RedisCommand RedisStore::change(const SessionChange& c, const std::string& player) {
  const SessionRecord& r = c.record;
  RedisCommand out = script(kWrite, player);
  const auto add = [&](auto... values) { (out.words.push_back(std::to_string(values)), ...); };
  const char* op = "?";
  switch (r.op) {
    case SessionChangeOp::kPut:
      op = "put";
      break;
    case SessionChangeOp::kUpdate:
      op = "update";
      break;
    case SessionChangeOp::kAppend:
      op = "append";
      break;
    case SessionChangeOp::kProgress:
      op = "progress";
      break;
    case SessionChangeOp::kEnd:
      op = "end";
      break;
    case SessionChangeOp::kForward:
      op = "forward";
      break;
    case SessionChangeOp::kSettled:
      op = "settled";
      break;
    default:
      break;
  }
  out.words.emplace_back(op);
  out.words.push_back(settings_.gateway);
  add(++number_);
  out.words.push_back(ttl_attached_ms_);
  if (r.attached == 0 && (r.op == SessionChangeOp::kPut || r.op == SessionChangeOp::kUpdate)) {
    const int64_t left_s =
        settings_.session_life.ns / 1'000'000'000 - std::max<int64_t>(0, unix_s() - r.seen_s);
    out.words.back() = std::to_string((std::max<int64_t>(left_s, 0) + 1) * 1000);
  }
  out.words.push_back(news_prefix());
  out.words.push_back(player);
  add(r.session, r.coming);
  switch (r.op) {
    case SessionChangeOp::kPut:
      add(r.fresh, r.received, r.acked, r.nonce, r.nonce_before, r.created_s, r.seen_s, r.resumed,
          r.attached, r.since_ms == 0 ? 0 : asked_ms(r.since_ms));
      break;
    case SessionChangeOp::kUpdate:
      add(r.received, r.acked, r.nonce, r.nonce_before, r.seen_s, r.resumed, r.attached);
      break;
    case SessionChangeOp::kProgress:
      add(r.received, r.acked);
      break;
    case SessionChangeOp::kAppend:
      add(r.sequence, r.message_type);
      out.words.emplace_back(base::as_text(c.tail));
      // Should it become a letter it needs a name, by which it is known when it comes twice.
      add(r.origin, r.fresh, r.origin != 0 ? 0 : names_.next() | 1);
      break;
    case SessionChangeOp::kForward:
      add(r.origin, r.message_type);
      out.words.emplace_back(base::as_text(c.tail.subspan(r.player_bytes)));
      break;
    case SessionChangeOp::kSettled:
      add(r.origin);
      break;
    default:
      break;
  }
  return out;
}

// What ended while it could not be written was not said again.
void RedisStore::end_unsaid(uint32_t shard) {
  for (const auto& [id, known] : known_) {
    if (known.shard != shard || !known.unsaid) continue;
    SessionChange end{};
    end.record.op = SessionChangeOp::kEnd;
    end.record.session = id;
    end.shard = shard;
    unsaid_.push_back(end);
  }
}

bool RedisStore::write_blocking(std::span<const SessionChange> changes,
                                std::vector<StoreNews>* news, std::string* error) {
  if (write(changes, news, error)) return true;
  was_away_ = true;
  return false;
}

bool RedisStore::poll_blocking(std::vector<StoreNews>* news, std::string* error) {
  if (poll(news, error)) return true;
  was_away_ = true;
  return false;
}

bool RedisStore::write(std::span<const SessionChange> changes, std::vector<StoreNews>* news,
                       std::string* error) {
  if (!link_.connected()) {
    *error = "not connected";
    return false;
  }
  std::vector<RedisCommand> commands;
  std::vector<Asked> asked;
  unsaid_.clear();
  polled_.clear();
  missing_ = false;
  const auto add = [&](const SessionChange& c, uint64_t session, const std::string& player) {
    asked.push_back({&c, session, player, c.shard});
    commands.push_back(c.record.op == SessionChangeOp::kClaim
                           ? claim(c, player, c.record.fresh != 0)
                           : change(c, player));
  };
  size_t synced = 0;
  for (const SessionChange& c : changes) synced += c.record.op == SessionChangeOp::kSynced;
  if (synced != 0) unsaid_.reserve(known_.size() * synced);  // `asked` points into it
  for (const SessionChange& c : changes) {
    const SessionRecord& r = c.record;
    switch (r.op) {
      case SessionChangeOp::kClaim:
        // An answer of its row may carry what the changes before it made of it.
        add(c, 0, player_of(c));
        break;
      case SessionChangeOp::kForward:
        add(c, r.session, player_of(c));
        break;
      case SessionChangeOp::kPut:
        if (const auto [it, is_new] = known_.try_emplace(r.session); is_new) {
          it->second = {std::string(base::as_text(c.tail)), c.shard};
        } else {
          it->second.unsaid = false;
        }
        add(c, r.session, known_[r.session].player);
        break;
      case SessionChangeOp::kClear:
        for (auto& [id, known] : known_) known.unsaid = known.unsaid || known.shard == c.shard;
        break;
      case SessionChangeOp::kSynced: {
        const size_t from = unsaid_.size();
        end_unsaid(c.shard);
        for (size_t i = from; i < unsaid_.size(); ++i) {
          add(unsaid_[i], unsaid_[i].record.session, known_[unsaid_[i].record.session].player);
        }
        break;
      }
      case SessionChangeOp::kForget:
        if (const auto known = known_.find(r.session);
            known != known_.end() && --known->second.rows == 0) {
          const auto held = held_.find(known->second.player);
          if (held != held_.end() && held->second.session == r.session) held_.erase(held);
          known_.erase(known);
        }
        break;
      case SessionChangeOp::kReturn:
      case SessionChangeOp::kAnswer:
        break;
      default: {
        const auto known = known_.find(r.session);
        if (known == known_.end()) break;  // it was taken, and forgotten
        add(c, r.session, known->second.player);
        break;
      }
    }
  }
  std::vector<RedisReply> replies;
  std::vector<RedisCommand> after;
  // What others did meanwhile is asked for on the same way there and back: who waits for a claim
  // waits for that too.
  if (!link_.options().cluster) ask_news(&commands);
  if (!link_.run(commands, &replies, error)) return false;
  for (size_t i = 0; i < asked.size(); ++i) {
    const bool is_claim = asked[i].change->record.op == SessionChangeOp::kClaim;
    if (replies[i].error()) {
      *error = replies[i].text;
      link_.disconnect();  // with it goes what is not understood
      return false;
    }
    if (!is_claim) {
      on_written(asked[i], replies[i], news, &after);
    } else if (!on_claimed(asked[i], replies[i], news, &after, error)) {
      return false;
    }
  }
  polled_.assign(std::make_move_iterator(replies.begin() + static_cast<ptrdiff_t>(asked.size())),
                 std::make_move_iterator(replies.end()));
  if (missing_ && !check_not_emptied(error)) return false;
  return after.empty() || link_.run(after, &replies, error);
}

void RedisStore::on_written(const Asked& asked, const RedisReply& reply,
                            std::vector<StoreNews>* news, std::vector<RedisCommand>* after) {
  const std::string& what = reply.at(0).text;
  if (asked.change->record.op == SessionChangeOp::kEnd) {
    // Only now: until it is written it may have to be said again (kSynced).
    known_.erase(asked.session);
    const auto held = held_.find(asked.player);
    if (held != held_.end() && held->second.session == asked.session) held_.erase(held);
    return;
  }
  if (what == "put") {
    Held& held = held_[asked.player];
    held = {number_of(reply.at(1).text), asked.session, asked.shard, asked.change->record.coming};
    if (!reply.at(2).text.empty()) {
      tell(reply.at(2).text, "T " + reply.at(1).text + " " + asked.player, after);
    }
    if (reply.at(3).number > 0) letters_.insert(asked.player);
    return;
  }
  if (what == "missing") missing_ = true;
  if (what == "taken" || what == "missing") {
    const auto held = held_.find(asked.player);
    if (held != held_.end() && held->second.session == asked.session &&
        held->second.coming == asked.change->record.coming) {
      held_.erase(held);
    }
    StoreNews taken{StoreNews::Kind::kTaken};
    taken.shard = asked.shard;
    taken.session = asked.session;
    taken.coming = asked.change->record.coming;
    taken.player = asked.player;
    news->push_back(std::move(taken));
    return;
  }
  if (what == "letter") {
    tell(reply.at(1).text, "I " + asked.player, after);
    return;
  }
  if (what == "none") {
    StoreNews none{StoreNews::Kind::kNoSession};
    none.shard = asked.shard;
    news->push_back(std::move(none));
  }
}

// A session that is not there has ended at another gateway, unless all is gone.
bool RedisStore::check_not_emptied(std::string* error) {
  const std::string alive = link_.options().prefix + "@gw:" + settings_.gateway;
  std::vector<RedisReply> replies;
  const RedisCommand look{alive, {"EXISTS", alive}};
  if (!link_.run({&look, 1}, &replies, error)) return false;
  if (replies[0].number != 0 || said_alive_ms_ == 0) return true;
  *error = kLost;
  was_away_ = true;
  return false;
}

bool RedisStore::on_claimed(const Asked& asked, const RedisReply& first,
                            std::vector<StoreNews>* news, std::vector<RedisCommand>* after,
                            std::string* error) {
  RedisReply second;
  const RedisReply* reply = &first;
  StoreNews answer{StoreNews::Kind::kClaim};
  answer.asked = asked.change;
  answer.shard = asked.shard;
  if (reply->at(0).text == "held") {
    if (!claim_of_dead(asked, reply->at(2).text, &second, error)) return false;
    if (second.kind == RedisReply::Kind::kList) reply = &second;
  }
  const std::string& what = reply->at(0).text;
  if (what == "wait" || what == "late") {
    answer.status = what == "wait" ? SessionClaim::kWait : SessionClaim::kLate;
  } else if (what == "held") {
    answer.status = SessionClaim::kHeld;
  } else if (what == "mine") {
    answer.status = SessionClaim::kMine;
    answer.coming = static_cast<uint32_t>(number_of(reply->at(2).text));
  } else {
    answer.state = session_of(asked.player, *reply);
    const std::string& before = reply->at(2).text;
    answer.from_here = before == settings_.gateway;
    Held& held = held_[asked.player];
    answer.coming = static_cast<uint32_t>(number_of(reply->at(7).text));
    held = Held{number_of(reply->at(1).text), answer.state->id, asked.shard, answer.coming};
    if (!before.empty() && !answer.from_here) {
      tell(before, "T " + reply->at(1).text + " " + asked.player, after);
    }
    answer.status = answer.state->id != 0 ? SessionClaim::kState : SessionClaim::kNone;
    if (answer.state->id != 0) {
      if (const auto [it, is_new] = known_.try_emplace(answer.state->id); is_new) {
        it->second = {asked.player, asked.shard};
      } else {
        ++it->second.rows;
      }
    } else {
      answer.state.reset();
    }
  }
  news->push_back(std::move(answer));
  return true;
}

// Its holder has a connection to it, but does it live? If not, `reply` is that of another claim.
bool RedisStore::claim_of_dead(const Asked& asked, const std::string& holder, RedisReply* reply,
                               std::string* error) {
  const std::string alive = link_.options().prefix + "@gw:" + holder;
  std::vector<RedisReply> replies;
  const RedisCommand look{alive, {"EXISTS", alive}};
  if (!link_.run({&look, 1}, &replies, error)) return false;
  if (replies[0].number != 0) return true;
  const RedisCommand again = claim(*asked.change, asked.player, false);
  if (!link_.run({&again, 1}, &replies, error)) return false;
  if (replies[0].error()) {
    *error = replies[0].text;
    return false;
  }
  *reply = std::move(replies[0]);
  return true;
}

// In a Cluster the scripts cannot.
void RedisStore::tell(const std::string& gateway, const std::string& text,
                      std::vector<RedisCommand>* after) {
  if (!link_.options().cluster || gateway.empty()) return;
  const std::string list = link_.options().prefix + "@news:" + gateway;
  after->push_back({list, {"RPUSH", list, text}});
  after->push_back({list, {"PEXPIRE", list, "3600000"}});
}

// The list of news, and where it is time that this gateway lives. Only the first one makes the key:
// that it is gone later shows that Redis was emptied.
void RedisStore::ask_news(std::vector<RedisCommand>* commands) {
  const std::string list = link_.options().prefix + "@news:" + settings_.gateway;
  commands->push_back({list, {"LPOP", list, std::to_string(kNewsAtOnce)}});
  const int64_t now = monotonic_ms();
  const bool first = said_alive_ms_ == 0;
  if (!first && now - said_alive_ms_ < kSayAliveMs) return;
  said_alive_ms_ = now;
  const std::string alive = link_.options().prefix + "@gw:" + settings_.gateway;
  RedisCommand say{alive, {"SET", alive, settings_.description, "PX", std::to_string(kAliveMs)}};
  if (!first) say.words.emplace_back("XX");
  commands->push_back(std::move(say));
}

bool RedisStore::poll(std::vector<StoreNews>* news, std::string* error) {
  if (!link_.connected()) {
    *error = "not connected";
    return false;
  }
  for (size_t count = kNewsAtOnce; count == kNewsAtOnce;) {
    std::vector<RedisReply> replies = std::move(polled_);  // with the last batch
    polled_.clear();
    if (replies.empty()) {
      std::vector<RedisCommand> commands;
      ask_news(&commands);
      if (!link_.run(commands, &replies, error)) return false;
    }
    for (const RedisReply& reply : replies) {
      if (!reply.error()) continue;
      *error = reply.text;
      return false;
    }
    if (replies.size() > 1 && replies[1].kind == RedisReply::Kind::kNil) {
      *error = kLost;
      return false;
    }
    count = replies[0].list.size();
    for (const RedisReply& item : replies[0].list) {
      std::string_view rest = item.text;
      const std::string_view kind = word(&rest);
      if (kind == "I") {
        if (held_.contains(std::string(rest))) letters_.emplace(rest);
        continue;
      }
      const uint64_t gen = number_of(word(&rest));
      const auto held = held_.find(std::string(rest));
      if (held == held_.end() || held->second.gen >= gen) continue;  // it is ours again
      StoreNews taken{StoreNews::Kind::kTaken};
      taken.shard = held->second.shard;
      taken.session = held->second.session;
      taken.coming = held->second.coming;
      taken.player = held->first;
      held_.erase(held);
      if (taken.session != 0) news->push_back(std::move(taken));
    }
  }
  return read_letters(news, error);
}

bool RedisStore::read_letters(std::vector<StoreNews>* news, std::string* error) {
  if (letters_.empty()) return true;
  std::vector<RedisCommand> commands;
  std::vector<std::string> players(letters_.begin(), letters_.end());
  for (const std::string& player : players) {
    commands.push_back({key(player, 'i'), {"HGETALL", key(player, 'i')}});
  }
  std::vector<RedisReply> replies;
  if (!link_.run(commands, &replies, error)) return false;
  letters_.clear();
  for (size_t i = 0; i < players.size(); ++i) {
    const auto held = held_.find(players[i]);
    if (held == held_.end()) continue;
    for (StoredLetter& letter : letters_of(replies[i])) {
      StoreNews one{StoreNews::Kind::kLetter};
      one.shard = held->second.shard;
      one.player = players[i];
      one.letter = std::move(letter);
      news->push_back(std::move(one));
    }
  }
  return true;
}

std::string RedisStore::get_blocking(const std::string& name) {
  std::string error;
  if (!connect(&error)) return {};
  const std::string full = link_.options().prefix + "@meta:" + name;
  const RedisCommand get{full, {"GET", full}};
  std::vector<RedisReply> replies;
  return link_.run({&get, 1}, &replies, &error) ? replies[0].text : std::string();
}

bool RedisStore::put_blocking(const std::string& name, const std::string& value) {
  why_not_.clear();
  if (!connect(&why_not_)) {
    was_away_ = true;
    return false;
  }
  const std::string full = link_.options().prefix + "@meta:" + name;
  const RedisCommand put{full, {"SET", full, value}};
  std::vector<RedisReply> replies;
  if (!link_.run({&put, 1}, &replies, &why_not_)) {
    was_away_ = true;
    return false;
  }
  if (replies[0].error()) {
    why_not_ = replies[0].text;
    // A master that became a replica, for one: whom to ask is found out by connecting anew.
    link_.disconnect();
    was_away_ = true;
    return false;
  }
  if (was_away_) said_alive_ms_ = 0;
  if (was_away_) settled_at_ms_ = monotonic_ms() + settings_.settle.ns / 1'000'000;
  was_away_ = false;
  return true;
}

}  // namespace tidegate::store
