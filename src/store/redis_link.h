// SPDX-License-Identifier: Apache-2.0
// Connections to Redis as one thing that takes a batch of commands and gives their answers: one
// server, the master that Sentinels name, or the nodes of a Cluster. A batch goes out as a whole
// before the first answer is read. After any failure the connections are gone; connect() makes new
// ones, asking the Sentinels or the nodes anew.
//
// In a Cluster commands of one key stay in order: they go to one node, and when it says MOVED or
// ASK all of them are sent again where it points.
// Thread: one. Owner: RedisStore. Limits: time-outs of RedisOptions; blocks up to them.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

struct redisContext;

namespace tidegate::store {

struct RedisOptions {
  std::vector<std::string> addresses;  // host:port, of the server, the Sentinels or some nodes
  std::string master;                  // name that the Sentinels know; empty: no Sentinels
  bool cluster = false;
  std::string user, password;  // empty: none is asked for
  uint32_t database = 0;
  std::string prefix = "tidegate:";
  base::Duration timeout = base::seconds(1);  // to connect, and for the answers of a batch
};

struct RedisReply {
  enum class Kind : uint8_t { kNil, kNumber, kText, kList, kError };
  Kind kind = Kind::kNil;
  int64_t number = 0;
  std::string text;  // also of kError
  std::vector<RedisReply> list;

  bool error() const { return kind == Kind::kError; }
  const RedisReply& at(size_t i) const;  // a nil one beyond the end
};

struct RedisCommand {
  std::string key;  // decides the node of a Cluster
  std::vector<std::string> words;
};

// CRC16 of the key, or of its part in {}, modulo 16,384.
uint32_t redis_slot(std::string_view key);

class RedisLink {
 public:
  explicit RedisLink(RedisOptions options);
  ~RedisLink();
  RedisLink(const RedisLink&) = delete;
  RedisLink& operator=(const RedisLink&) = delete;

  // Sent on every connection when it is made: SCRIPT LOAD and the like; greeted(i) is what the last
  // one answered to the i-th.
  void on_connect(std::vector<std::vector<std::string>> commands) {
    greeting_ = std::move(commands);
    greeted_.resize(greeting_.size());
  }
  const std::string& greeted(size_t i) const { return greeted_[i]; }
  bool connect(std::string* error);
  bool connected() const { return connected_; }
  void disconnect();
  // One answer for each command; an answer may be an error of the server. False: the connection
  // failed, and it is not known which commands were done.
  bool run(std::span<const RedisCommand> commands, std::vector<RedisReply>* replies,
           std::string* error);
  // Where it is connected, for logs and the admin API.
  const std::string& where() const { return where_; }
  const RedisOptions& options() const { return options_; }

 private:
  struct Closer {
    void operator()(redisContext* context) const;
  };
  using Context = std::unique_ptr<redisContext, Closer>;

  Context open(const std::string& address, std::string* error);
  bool greet(redisContext* context, bool sentinel, std::string* error);
  bool ask_sentinels(std::string* master, std::string* error);
  bool read_slots(redisContext* context, std::string* error);
  redisContext* node_of(const std::string& key, std::string* error);
  redisContext* node_at(const std::string& address, std::string* error);
  bool exchange(redisContext* context, std::span<const RedisCommand* const> commands, bool asking,
                std::vector<RedisReply*> into, std::string* error);

  RedisOptions options_;
  std::vector<std::vector<std::string>> greeting_;
  std::vector<std::string> greeted_;
  std::map<std::string, Context> nodes_;                        // by address; one without a Cluster
  std::map<uint32_t, std::pair<uint32_t, std::string>> slots_;  // last -> first, address
  std::string where_;
  bool connected_ = false;
};

}  // namespace tidegate::store
