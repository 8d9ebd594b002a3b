// SPDX-License-Identifier: Apache-2.0
#include "store/redis_link.h"

#include <hiredis.h>

#include <charconv>
#include <cstring>

namespace tidegate::store {
namespace {

constexpr uint32_t kSlots = 16'384;
constexpr int kRedirectionsMax = 8;

bool split_address(const std::string& address, std::string* host, int* port) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return false;
  *host = address.substr(0, colon);
  if (host->size() > 2 && host->front() == '[' && host->back() == ']') {
    *host = host->substr(1, host->size() - 2);
  }
  const char* end = address.data() + address.size();
  const auto read = std::from_chars(address.data() + colon + 1, end, *port);
  return read.ec == std::errc() && read.ptr == end && !host->empty();
}

RedisReply copy_of(const redisReply* in) {
  RedisReply out;
  switch (in->type) {
    case REDIS_REPLY_INTEGER:
      out.kind = RedisReply::Kind::kNumber;
      out.number = in->integer;
      break;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      out.kind = RedisReply::Kind::kText;
      out.text.assign(in->str, in->len);
      break;
    case REDIS_REPLY_ERROR:
      out.kind = RedisReply::Kind::kError;
      out.text.assign(in->str, in->len);
      break;
    case REDIS_REPLY_ARRAY:
      out.kind = RedisReply::Kind::kList;
      out.list.reserve(in->elements);
      for (size_t i = 0; i < in->elements; ++i) out.list.push_back(copy_of(in->element[i]));
      break;
    default:
      break;
  }
  return out;
}

bool append(redisContext* context, const std::vector<std::string>& words) {
  std::vector<const char*> parts;
  std::vector<size_t> sizes;
  parts.reserve(words.size());
  sizes.reserve(words.size());
  for (const std::string& word : words) {
    parts.push_back(word.data());
    sizes.push_back(word.size());
  }
  return redisAppendCommandArgv(context, static_cast<int>(words.size()), parts.data(),
                                sizes.data()) == REDIS_OK;
}

bool read_one(redisContext* context, RedisReply* out, std::string* error) {
  void* raw = nullptr;
  if (redisGetReply(context, &raw) != REDIS_OK || raw == nullptr) {
    *error = context->err == REDIS_ERR_IO && (errno == EAGAIN || errno == EWOULDBLOCK)
                 ? "no answer in time"
                 : context->errstr;
    return false;
  }
  *out = copy_of(static_cast<redisReply*>(raw));
  freeReplyObject(raw);
  return true;
}

// "MOVED 866 127.0.0.1:7001": the address.
std::string target_of(const std::string& text) {
  const size_t space = text.rfind(' ');
  return space == std::string::npos ? std::string() : text.substr(space + 1);
}

}  // namespace

const RedisReply& RedisReply::at(size_t i) const {
  static const RedisReply nil;
  return i < list.size() ? list[i] : nil;
}

uint32_t redis_slot(std::string_view key) {
  const size_t open = key.find('{');
  if (open != std::string_view::npos) {
    const size_t close = key.find('}', open + 1);
    if (close != std::string_view::npos && close != open + 1) {
      key = key.substr(open + 1, close - open - 1);
    }
  }
  uint32_t crc = 0;  // CRC-16/XMODEM
  for (const char c : key) {
    crc ^= static_cast<uint32_t>(static_cast<uint8_t>(c)) << 8;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1;
    }
    crc &= 0xffff;
  }
  return crc % kSlots;
}

void RedisLink::Closer::operator()(redisContext* context) const { redisFree(context); }

RedisLink::RedisLink(RedisOptions options) : options_(std::move(options)) {}
RedisLink::~RedisLink() = default;

void RedisLink::disconnect() {
  nodes_.clear();
  slots_.clear();
  connected_ = false;
}

RedisLink::Context RedisLink::open(const std::string& address, std::string* error) {
  std::string host;
  int port = 0;
  if (!split_address(address, &host, &port)) {
    *error = address + " is not host:port";
    return nullptr;
  }
  const int64_t us = options_.timeout.ns / 1000;
  const timeval limit{us / 1'000'000, us % 1'000'000};
  Context context(redisConnectWithTimeout(host.c_str(), port, limit));
  if (context == nullptr) {
    *error = "out of memory";
    return nullptr;
  }
  if (context->err != 0) {
    *error = address + ": " + context->errstr;
    return nullptr;
  }
  (void)redisSetTimeout(context.get(), limit);
  (void)redisEnableKeepAlive(context.get());
  return context;
}

bool RedisLink::greet(redisContext* context, bool sentinel, std::string* error) {
  std::vector<std::vector<std::string>> words;
  if (!options_.password.empty() && !sentinel) {
    if (options_.user.empty()) {
      words.push_back({"AUTH", options_.password});
    } else {
      words.push_back({"AUTH", options_.user, options_.password});
    }
  }
  if (options_.database != 0 && !sentinel && !options_.cluster) {
    words.push_back({"SELECT", std::to_string(options_.database)});
  }
  if (!sentinel) words.insert(words.end(), greeting_.begin(), greeting_.end());
  for (const auto& command : words) {
    if (!append(context, command)) return false;
  }
  bool good = true;
  for (size_t i = 0; i < words.size(); ++i) {
    RedisReply reply;
    if (!read_one(context, &reply, error)) return false;
    const size_t own = words.size() - greeting_.size();
    if (!sentinel && i >= own) greeted_[i - own] = reply.text;
    if (reply.error() && good) {
      *error = words[i][0] + ": " + reply.text;
      good = false;
    }
  }
  return good;
}

bool RedisLink::ask_sentinels(std::string* master, std::string* error) {
  for (const std::string& address : options_.addresses) {
    const Context sentinel = open(address, error);
    if (sentinel == nullptr) continue;
    RedisReply reply;
    if (!append(sentinel.get(), {"SENTINEL", "get-master-addr-by-name", options_.master}) ||
        !read_one(sentinel.get(), &reply, error)) {
      continue;
    }
    if (reply.list.size() == 2) {
      *master = reply.list[0].text + ":" + reply.list[1].text;
      return true;
    }
    *error =
        address + ": " + (reply.error() ? reply.text : "no master is called " + options_.master);
  }
  return false;
}

bool RedisLink::read_slots(redisContext* context, std::string* error) {
  RedisReply reply;
  if (!append(context, {"CLUSTER", "SLOTS"}) || !read_one(context, &reply, error)) return false;
  if (reply.error()) {
    *error = reply.text;
    return false;
  }
  slots_.clear();
  for (const RedisReply& row : reply.list) {
    const RedisReply& node = row.at(2);
    slots_[static_cast<uint32_t>(row.at(1).number)] = {
        static_cast<uint32_t>(row.at(0).number),
        node.at(0).text + ":" + std::to_string(node.at(1).number)};
  }
  if (slots_.empty()) *error = "the Cluster has no slots yet";
  return !slots_.empty();
}

bool RedisLink::connect(std::string* error) {
  disconnect();
  *error = "no address is given";
  if (!options_.master.empty()) {
    std::string address;
    if (!ask_sentinels(&address, error)) return false;
    Context context = open(address, error);
    if (context == nullptr || !greet(context.get(), false, error)) return false;
    // Sentinels may be behind: writes to what is a replica by now would be refused one by one.
    RedisReply role;
    if (!append(context.get(), {"ROLE"}) || !read_one(context.get(), &role, error)) return false;
    if (!role.error() && role.at(0).text != "master") {
      *error = address + " is no master any more";
      return false;
    }
    where_ = address;
    nodes_[address] = std::move(context);
    return connected_ = true;
  }
  for (const std::string& address : options_.addresses) {
    Context context = open(address, error);
    if (context == nullptr || !greet(context.get(), false, error)) continue;
    if (options_.cluster && !read_slots(context.get(), error)) continue;
    where_ = address;
    nodes_[address] = std::move(context);
    return connected_ = true;
  }
  return false;
}

redisContext* RedisLink::node_at(const std::string& address, std::string* error) {
  Context& context = nodes_[address];
  if (context == nullptr) {
    context = open(address, error);
    if (context != nullptr && !greet(context.get(), false, error)) context.reset();
  }
  return context.get();
}

redisContext* RedisLink::node_of(const std::string& key, std::string* error) {
  if (!options_.cluster) return nodes_.begin()->second.get();
  const uint32_t slot = redis_slot(key);
  const auto it = slots_.lower_bound(slot);
  if (it == slots_.end() || slot < it->second.first) {
    *error = "no node of the Cluster has slot " + std::to_string(slot);
    return nullptr;
  }
  return node_at(it->second.second, error);
}

bool RedisLink::exchange(redisContext* context, std::span<const RedisCommand* const> commands,
                         bool asking, std::vector<RedisReply*> into, std::string* error) {
  for (const RedisCommand* command : commands) {
    if ((asking && !append(context, {"ASKING"})) || !append(context, command->words)) {
      *error = context->errstr;
      return false;
    }
  }
  for (RedisReply* reply : into) {
    RedisReply asked;
    if ((asking && !read_one(context, &asked, error)) || !read_one(context, reply, error)) {
      return false;
    }
  }
  return true;
}

bool RedisLink::run(std::span<const RedisCommand> commands, std::vector<RedisReply>* replies,
                    std::string* error) {
  replies->assign(commands.size(), RedisReply{});
  if (!connected_) {
    *error = "not connected";
    return false;
  }
  std::vector<size_t> left(commands.size());
  for (size_t i = 0; i < left.size(); ++i) left[i] = i;
  // Where the commands of a key go instead, and whether the key is on its way there (ASK).
  std::map<std::string, std::pair<std::string, bool>> elsewhere;
  for (int round = 0; !left.empty(); ++round) {
    struct Part {
      std::vector<const RedisCommand*> commands;
      std::vector<RedisReply*> replies;
    };
    std::map<std::pair<redisContext*, bool>, Part> parts;
    for (const size_t i : left) {
      const auto moved = elsewhere.find(commands[i].key);
      redisContext* node = moved == elsewhere.end() ? node_of(commands[i].key, error)
                                                    : node_at(moved->second.first, error);
      if (node == nullptr) {
        disconnect();
        return false;
      }
      Part& part = parts[{node, moved != elsewhere.end() && moved->second.second}];
      part.commands.push_back(&commands[i]);
      part.replies.push_back(&(*replies)[i]);
    }
    for (auto& [where, part] : parts) {
      if (!exchange(where.first, part.commands, where.second, part.replies, error)) {
        disconnect();
        return false;
      }
    }
    std::vector<size_t> again;
    elsewhere.clear();
    bool moved = false;
    for (const size_t i : left) {
      const RedisReply& reply = (*replies)[i];
      if (!options_.cluster || !reply.error()) continue;
      const bool is_moved = reply.text.starts_with("MOVED ");
      if (!is_moved && !reply.text.starts_with("ASK ")) continue;
      moved = moved || is_moved;
      elsewhere[commands[i].key] = {target_of(reply.text), !is_moved};
      again.push_back(i);
    }
    if (!again.empty() && round == kRedirectionsMax) {
      *error = "the nodes of the Cluster send us round in circles";
      disconnect();
      return false;
    }
    if (moved) {
      std::string unread;
      (void)read_slots(nodes_.begin()->second.get(), &unread);
    }
    left = std::move(again);
  }
  return true;
}

}  // namespace tidegate::store
