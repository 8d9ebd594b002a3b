// SPDX-License-Identifier: Apache-2.0
#include "server/population.h"

#include <algorithm>

#include "control/json_writer.h"

namespace tidegate::server {

PopulationHistory::PopulationHistory(base::Duration interval, base::Duration age)
    : interval_(interval) {
  if (interval.ns <= 0 || age < interval) return;
  ring_.resize(static_cast<size_t>(std::min<int64_t>(age.ns / interval.ns, kSamplesMax)));
}

void PopulationHistory::sample(base::Instant now, const PopulationSample& s) {
  next_ = now + interval_;
  const std::lock_guard lock(mutex_);
  ring_[(first_ + count_) % ring_.size()] = s;
  if (count_ < ring_.size()) {
    ++count_;
  } else {
    first_ = (first_ + 1) % ring_.size();
  }
}

std::string PopulationHistory::json_blocking() const {
  control::JsonWriter json;
  json.begin_object().key("interval_ms");
  json.unsigned_integer(static_cast<uint64_t>(interval_.ns / 1'000'000));
  json.key("samples").begin_array();
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < count_; ++i) {
    const PopulationSample& s = ring_[(first_ + i) % ring_.size()];
    json.begin_object().key("time").unsigned_integer(static_cast<uint64_t>(s.unix_ms));
    json.key("users").unsigned_integer(s.users);
    json.key("online").unsigned_integer(s.online);
    json.key("away").unsigned_integer(s.away);
    json.key("busy").unsigned_integer(s.busy);
    json.key("invisible").unsigned_integer(s.invisible);
    json.key("players").unsigned_integer(s.players);
    json.key("entities").unsigned_integer(s.entities).end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace tidegate::server
