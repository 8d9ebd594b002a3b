// SPDX-License-Identifier: Apache-2.0
#include "server/social_config.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <sstream>

#include "wire/limits.h"

namespace tidegate::server {

bool packing_config(const control::Config& config, std::string* dictionary,
                    shard::PackingConfig* out, std::string* error) {
  const control::Config::Compression& c = config.compression;
  std::istringstream words(c.methods);
  uint32_t count = 0;
  for (std::string word; words >> word;) {
    const codec::Method method = word == "zlib"   ? codec::Method::kZlib
                                 : word == "lz4"  ? codec::Method::kLz4
                                 : word == "zstd" ? codec::Method::kZstd
                                                  : codec::Method::kNone;
    if (method == codec::Method::kNone || count == 3) {
      *error = "compression.methods: " + word + ": there are zlib, lz4 and zstd, each once";
      return false;
    }
    out->methods[count++] = method;
  }
  out->min_bytes = c.min_bytes;
  out->codec.raw_bytes_max = std::max(config.limits.message_bytes, wire::kMessageBytesIn);
  out->codec.level = static_cast<int>(c.level);
  if (c.dictionary.empty()) return true;
  std::ifstream file(c.dictionary, std::ios::binary);
  dictionary->assign(std::istreambuf_iterator<char>(file), {});
  if (!file || dictionary->empty() || dictionary->size() > 4u << 20) {
    *error = "compression.dictionary: " + c.dictionary + " cannot be read, is empty or above 4 MiB";
    return false;
  }
  out->codec.dictionary = base::as_bytes(*dictionary);
  if (codec::PayloadCodec(out->codec).dictionary_id() == 0) {
    *error = "compression.dictionary: " + c.dictionary + " is none that `zstd --train` has made";
    return false;
  }
  return true;
}

session::GroupLimits group_limits(const control::Config& config) {
  const control::Config::Groups& g = config.groups;
  session::GroupLimits l;
  l.groups = g.count;
  l.members = l.local = g.members;
  l.per_user = g.per_user;
  l.changes_per_second = g.changes_per_second;
  const auto prefix = static_cast<uint32_t>(session::kGroupTopicPrefix.size());
  l.name_bytes = std::min(session::kGroupNameBytesMax, config.topics.name_bytes - prefix);
  l.kinds = g.kinds;
  l.create = g.create;
  l.focus = g.focus;
  return l;
}

session::UserLimits user_limits(const control::Config& config) {
  const control::Config::Social& s = config.social;
  return {s.users, s.entries, s.friends, s.blocked, s.shared, config.groups.per_user};
}

}  // namespace tidegate::server
