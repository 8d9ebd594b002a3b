// SPDX-License-Identifier: Apache-2.0
// The store that gateways share. Who has a session is a matter of one script inside Redis
// (redis_scripts.h): a claim takes it over, and from then on every change of the gateway that had
// it is refused, however late it wakes; that gateway is told. What it had not stored yet becomes a
// letter to the new one. Nothing is lost by that which a client could have seen: messages and
// acknowledgements wait for the store (shard/session_journal.h).
//
// Commands go out in batches, in the order in which shards said things; a claim stands among them,
// so a session is never taken back in front of a change made before it was lost.
// Thread: one (SessionKeeper's). Owner: SessionKeeper. Limits: RedisOptions; a record in memory for
// each session this gateway has.
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "base/prng.h"
#include "base/time.h"
#include "store/redis_link.h"
#include "store/session_store.h"

namespace tidegate::store {

class RedisStore final : public SessionStore {
 public:
  struct Settings {
    std::string gateway;      // random; another one for each process
    std::string description;  // of this process, for who looks into the directory
    base::Duration session_life = base::seconds(24 * 3600);  // session.resume_window
    // After Redis was away nothing is taken over for so long: other gateways come back to it a
    // little later than this one, and have to say first what happened meanwhile.
    base::Duration settle = base::seconds(4);
  };
  RedisStore(RedisOptions options, Settings settings);

  bool shared() const override { return true; }
  bool load_blocking(const std::function<void(StoredSession&&)>&, std::string*) override {
    return true;
  }
  bool load_effects_blocking(std::vector<uint64_t>*, std::string*) override { return true; }
  bool write_blocking(std::span<const SessionChange> changes, std::vector<StoreNews>* news,
                      std::string* error) override;
  bool poll_blocking(std::vector<StoreNews>* news, std::string* error) override;
  std::string get_blocking(const std::string& name) override;
  // Connects when there is no connection.
  bool put_blocking(const std::string& name, const std::string& value) override;
  bool settling() const override;
  std::string why_not() const override { return why_not_; }

 private:
  struct Known {  // a session that the shards speak of
    std::string player;
    uint32_t shard;
    bool unsaid = false;  // not said again since kClear
    uint32_t rows = 1;    // of shards, now and on their way: kForget ends one
  };
  struct Held {  // a player whose session is ours
    uint64_t gen = 0;
    uint64_t session = 0;
    uint32_t shard = 0;
    uint32_t coming = 0;
  };
  struct Asked {  // what became of commands in flight
    const SessionChange* change;
    uint64_t session;
    std::string player;
    uint32_t shard;
  };

  bool connect(std::string* error);
  bool write(std::span<const SessionChange> changes, std::vector<StoreNews>* news,
             std::string* error);
  bool poll(std::vector<StoreNews>* news, std::string* error);
  bool check_not_emptied(std::string* error);
  void ask_news(std::vector<RedisCommand>* commands);
  std::string key(const std::string& player, char part) const;
  std::string news_prefix() const;
  enum Script : uint8_t { kClaim, kWrite };  // in the order in which they are loaded
  RedisCommand script(Script which, const std::string& player) const;
  RedisCommand claim(const SessionChange& c, const std::string& player, bool refuse);
  RedisCommand change(const SessionChange& c, const std::string& player);
  void end_unsaid(uint32_t shard);
  bool on_claimed(const Asked& asked, const RedisReply& reply, std::vector<StoreNews>* news,
                  std::vector<RedisCommand>* after, std::string* error);
  void on_written(const Asked& asked, const RedisReply& reply, std::vector<StoreNews>* news,
                  std::vector<RedisCommand>* after);
  void tell(const std::string& gateway, const std::string& text, std::vector<RedisCommand>* after);
  bool claim_of_dead(const Asked& asked, const std::string& holder, RedisReply* reply,
                     std::string* error);
  bool read_letters(std::vector<StoreNews>* news, std::string* error);

  RedisLink link_;
  Settings settings_;
  std::string ttl_attached_ms_;
  uint64_t number_ = 0;
  base::Prng names_;  // of messages that have none
  std::unordered_map<uint64_t, Known> known_;
  std::unordered_map<std::string, Held> held_;
  std::unordered_set<std::string> letters_;  // players whose letters are to be read
  std::vector<SessionChange> unsaid_;        // kEnd of what was not said again
  std::vector<RedisReply> polled_;           // news that came with the last batch
  int64_t said_alive_ms_ = 0;
  int64_t settled_at_ms_ = 0;
  bool was_away_ = false;
  bool missing_ = false;  // a session of the last batch was not there
  std::string why_not_;
};

}  // namespace tidegate::store
