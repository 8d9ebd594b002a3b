// SPDX-License-Identifier: Apache-2.0
// Groups and users' lists at the start and the stop: out of their file to the homes.
#include "base/log.h"
#include "server/agent.h"
#include "server/server.h"
#include "session/topic_rules.h"
#include "session/user_home.h"

namespace tidegate::server {

using session::Relation;

bool Server::open_list_keeper(std::string* error) {
  if (config_.social.path.empty()) return true;
  list_keeper_ = control::ListKeeper::open_blocking(config_.social.path, *control_counters_, error);
  if (!list_keeper_) return false;
  control_->set_list_keeper(list_keeper_.get());
  return true;
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
  if (restored + without_room != 0) {
    log(base::LogLevel::kInfo, "users' lists: " + std::to_string(restored) +
                                   " entries came back from " + config_.social.path + ", " +
                                   std::to_string(without_room) + " found no room");
  }
  return true;
}

}  // namespace tidegate::server
