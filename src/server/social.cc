// SPDX-License-Identifier: Apache-2.0
// Groups and users' lists at the start and the stop: out of their file to the homes.
#include <poll.h>

#include "base/log.h"
#include "control/json_writer.h"
#include "server/agent.h"
#include "server/inheritance.h"
#include "server/server.h"
#include "session/topic_rules.h"
#include "session/user_home.h"
#include "wire/envelope.h"

namespace tidegate::server {

using session::Relation;

namespace {

std::string base64_of(std::string_view bytes) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t v = 0;
    for (size_t k = 0; k < 3; ++k) {
      v = v << 8 | (i + k < bytes.size() ? static_cast<uint8_t>(bytes[i + k]) : 0u);
    }
    for (size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kDigits[v >> (18 - 6 * k) & 63];
    }
  }
  return out;
}

}  // namespace

bool Server::open_list_keeper(std::string* error) {
  // In an upgrade the process before this one still has it: attach_lists().
  if (config_.social.path.empty() || inheritance_ != nullptr) return true;
  list_keeper_ = control::ListKeeper::open_blocking(config_.social.path, *control_counters_, error);
  if (!list_keeper_) return false;
  control_->set_list_keeper(list_keeper_.get());
  return true;
}

// In an upgrade, when the process before this one has let go of the file: what stands in it is what
// came by the hand-over. A change in the moment between is written with the entry's next one.
void Server::attach_lists() {
  std::string unkept;
  if (!open_revocations(&unkept)) {
    log(base::LogLevel::kError, unkept + "; who is revoked is so until this process ends");
  }
  if (config_.social.path.empty()) return;
  std::string error;
  std::unique_ptr<control::ListKeeper> keeper;
  for (int i = 0; i < 500 && keeper == nullptr; ++i) {
    if (i != 0) ::poll(nullptr, 0, 20);
    keeper = control::ListKeeper::open_blocking(config_.social.path, *control_counters_, &error);
  }
  if (keeper == nullptr) {
    log(base::LogLevel::kError, error + "; changes of users' lists end with this process");
    return;
  }
  list_keeper_ = std::move(keeper);
  list_keeper_->start();
  control_->run([this] { control_->set_list_keeper(list_keeper_.get()); },
                [this] { control_waker_->wake(); });
}

// After the shards, before threads. The number of shards may have changed since it was written.
bool Server::restore_lists(std::string* error) {
  if (!list_keeper_) return true;
  const auto shards = static_cast<uint32_t>(agents_.size());
  const auto home_of_user = [&](std::string_view user) -> shard::Social& {
    return agents_[session::home_shard(user, shards)]->shard->social();
  };
  const auto home_of_group = [&](std::string_view group) -> shard::Social& {
    const std::string topic = std::string(session::kGroupTopicPrefix).append(group);
    return agents_[session::home_shard(topic, shards)]->shard->social();
  };
  uint64_t restored = 0, without_room = 0;
  const bool read = list_keeper_->load_blocking(
      [&](const control::ListKeeper::Entry& e) {
        const auto relation = static_cast<Relation>(e.relation);
        bool good = true;
        if (relation == Relation::kAccess) {
          home_of_group(e.user).restore_access(e.user, static_cast<session::GroupAccess>(e.value));
        } else {
          good = home_of_user(e.user).restore_entry(relation, e.user, e.name, e.value);
          if (good && relation == Relation::kGroup) {
            good = home_of_group(e.name).restore_member(e.name, e.user,
                                                        static_cast<session::GroupRole>(e.value));
          }
        }
        ++(good ? restored : without_room);
      },
      error);
  if (!read) return false;
  for (const auto& agent : agents_) agent->shard->social().settle_restored();
  if (restored + without_room != 0) {
    log(base::LogLevel::kInfo, "users' lists: " + std::to_string(restored) +
                                   " entries came back from " + config_.social.path + ", " +
                                   std::to_string(without_room) + " found no room");
  }
  return true;
}

PopulationSample Server::population_now() const {
  using metrics::Gauge;
  const auto sum = [&](Gauge gauge) {
    uint64_t n = 0;
    for (const auto& agent : agents_) n += agent->counters.get(gauge);
    return n;
  };
  PopulationSample s;
  s.users = sum(Gauge::kUsersOnline);
  s.online = sum(Gauge::kUsersShownOnline);
  s.away = sum(Gauge::kUsersShownAway);
  s.busy = sum(Gauge::kUsersShownBusy);
  s.invisible = sum(Gauge::kUsersInvisible);
  s.players = sum(Gauge::kPlayers);
  s.entities = sum(Gauge::kEntities);
  return s;
}

std::string Server::population_json() { return population_->json_blocking(); }

// Bytes that are text as they are, others by base64.
std::string Server::user_json(const std::string& user, bool erase) {
  using mailbox::UserFactKind;
  control::UserPage page =
      control_->ask_user_blocking(user, erase, [this] { control_waker_->wake(); });
  constexpr const char* kLists[] = {"", "groups", "friends", "blocked", "shared_with"};
  control::JsonWriter json;
  json.begin_object().key("user").text(user).key("complete").boolean(page.complete);
  json.key("erased").boolean(erase);
  uint64_t sharing = 1, named = 0;
  for (const control::UserFact& f : page.facts) {
    if (f.kind == UserFactKind::kNamed) named += f.number;
    if (f.kind == UserFactKind::kEntry && f.value == static_cast<uint8_t>(Relation::kSharing)) {
      sharing = f.number;
    }
    if (f.kind == UserFactKind::kPresence) {
      json.key("status").unsigned_integer(f.value).key("status_text").text(f.data);
      json.key("connections").unsigned_integer(f.number);
    }
    if (f.kind == UserFactKind::kLastSeen) json.key("last_seen").unsigned_integer(f.number);
  }
  json.key("sharing").unsigned_integer(sharing);
  json.key("named_by_others").unsigned_integer(named);
  for (uint8_t relation = 1; relation <= 4; ++relation) {
    json.key(kLists[relation]).begin_array();
    for (const control::UserFact& f : page.facts) {
      if (f.kind != UserFactKind::kEntry || f.value != relation) continue;
      if (relation == static_cast<uint8_t>(Relation::kGroup)) {
        json.begin_object().key("group").text(f.name).key("role").unsigned_integer(f.number);
        json.end_object();
      } else {
        json.text(f.name);
      }
    }
    json.end_array();
  }
  json.key("messages").begin_array();
  for (const control::UserFact& f : page.facts) {
    if (f.kind != UserFactKind::kMessage) continue;
    json.begin_object().key("topic").text(f.name).key("offset").unsigned_integer(f.number);
    const bool text = wire::is_utf8(f.data);
    json.key(text ? "text" : "base64").text(text ? f.data : base64_of(f.data)).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace tidegate::server
