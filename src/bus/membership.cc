// SPDX-License-Identifier: Apache-2.0
#include "bus/membership.h"

#include <algorithm>
#include <utility>

#include "bus/rendezvous.h"
#include "mailbox/bus_messages.h"

namespace tidegate::bus {

Membership::Membership(const MembershipConfig& config, std::string_view name, uint64_t epoch)
    : config_(config), self_(hash_text(name)) {
  Member self;
  self.id = self_;
  self.epoch = epoch;
  self.index = give_index(self_);
  self.self = self.fresh = true;
  self.name = name;
  members_.push_back(std::move(self));
}

uint32_t Membership::index_of(uint64_t id) const {
  for (uint32_t i = 0; i < indices_.size(); ++i) {
    if (indices_[i] == id) return i;
  }
  return UINT32_MAX;
}

uint32_t Membership::give_index(uint64_t id) {
  if (const uint32_t known = index_of(id); known != UINT32_MAX) return known;
  if (indices_.size() < mailbox::kGatewaysMax) {
    indices_.push_back(id);
    return static_cast<uint32_t>(indices_.size() - 1);
  }
  for (uint32_t i = 0; i < indices_.size(); ++i) {  // of one that is gone
    if (find(indices_[i]) != nullptr) continue;
    indices_[i] = id;
    return i;
  }
  return UINT32_MAX;
}

Membership::Member* Membership::member(uint64_t id) {
  for (Member& m : members_) {
    if (m.id == id) return &m;
  }
  return nullptr;
}

const Membership::Member* Membership::find(uint64_t id) const {
  return const_cast<Membership*>(this)->member(id);
}

const Membership::Member& Membership::self() const { return *find(self_); }

bool Membership::on_heard(std::string_view name, uint64_t epoch, base::Instant now, bool fresh) {
  const uint64_t id = hash_text(name);
  if (id == self_) return false;
  if (Member* m = member(id)) {
    if (epoch < m->epoch) return false;
    m->heard = now;
    m->fresh = fresh;
    if (epoch > m->epoch) {
      m->epoch = epoch;
      changed_ = loss_ = true;
    }
    return true;
  }
  Member m;
  m.id = id;
  m.epoch = epoch;
  m.index = give_index(id);
  if (m.index == UINT32_MAX) return false;
  m.name = name;
  m.heard = now;
  m.fresh = fresh;
  members_.insert(std::upper_bound(members_.begin(), members_.end(), m,
                                   [](const Member& a, const Member& b) { return a.id < b.id; }),
                  std::move(m));
  changed_ = true;
  // We have dropped what it told us, and it does not know: it is to say all anew.
  if (std::erase_if(lost_, [&](const Lost& l) { return l.id == id && l.epoch == epoch; }) != 0) {
    raise_epoch();
  }
  return true;
}

void Membership::heard_by(base::Instant time) {
  join_until_ = join_until_.ns == 0 ? time : std::min(join_until_, time);
}

void Membership::on_leave(uint64_t id) {
  if (id == self_) return;
  if (std::erase_if(members_, [id](const Member& m) { return m.id == id; }) != 0) {
    changed_ = loss_ = true;
  }
}

void Membership::on_mark(uint64_t id, Mark mark, uint64_t view, uint64_t era) {
  on_era(era);
  if (Member* m = member(id)) {
    m->marked[static_cast<int>(mark) - 1] = view;
    if (mark == Mark::kFlush) m->flush_era = era;
  }
}

void Membership::on_era(uint64_t era) {
  if (era <= kEraMax) era_ = std::max(era_, era);
}

void Membership::raise_epoch() {
  ++member(self_)->epoch;
  changed_ = true;
}

void Membership::on_shards_done(uint64_t view, uint32_t phase) {
  if (view == view_) shards_done_ = std::max(shards_done_, phase);
}

bool Membership::all_marked(Mark mark) const {
  return std::all_of(members_.begin(), members_.end(), [&](const Member& m) {
    return m.self || m.marked[static_cast<int>(mark) - 1] == view_;
  });
}

void Membership::change(base::Instant now) {
  changed_ = false;
  if (std::exchange(loss_, false)) era_ += 2;
  uint64_t view = 0x7469646567617465u;
  for (const Member& m : members_) view = mix(view ^ mix(m.id + mix(m.epoch)));
  if (view == view_) return;
  view_ = view;
  ++views_;
  stage_ = Stage::kFlushing;
  stage_until_ = now + config_.settle;
  shards_done_ = 0;
  flush_sent_ = synced_sent_ = phase2_ = false;
  flush_due_ = synced_due_ = phase2_due_ = settled_due_ = false;
  view_due_ = true;
}

// What everyone says with its kFlush, everyone knows before it says kSynced.
void Membership::agree_on_era() {
  view_era_ = std::max(view_era_, flush_era_);
  for (const Member& m : members_) {
    if (!m.self) view_era_ = std::max(view_era_, std::min(m.flush_era, kEraMax));
  }
}

void Membership::turn(base::Instant now) {
  // We were stopped ourselves: others may have gone on without us.
  if (join_until_.ns == 0) join_until_ = now + config_.join;
  if (last_turn_.ns != 0 && now - last_turn_ > config_.timeout / 2) raise_epoch();
  last_turn_ = now;
  const size_t silent = std::erase_if(members_, [&](const Member& m) {
    if (m.self || now - m.heard <= config_.timeout) return false;
    if (lost_.size() >= mailbox::kGatewaysMax) lost_.erase(lost_.begin());
    lost_.push_back({m.id, m.epoch});
    return true;
  });
  if (silent != 0) changed_ = loss_ = true;
  if (changed_) change(now);
  if (stage_ == Stage::kFlushing) {
    if (shards_done_ >= 1 && !flush_sent_) {
      flush_sent_ = flush_due_ = true;
      flush_era_ = era_;
    }
    if (flush_sent_ && !phase2_ && all_marked(Mark::kFlush)) {
      phase2_ = phase2_due_ = true;
      agree_on_era();
    }
    if (phase2_ && shards_done_ >= 2 && !synced_sent_) {
      synced_sent_ = synced_due_ = true;
      stage_ = Stage::kSyncing;
    }
  }
  // Who has just started does not take others' names for its own before they could be heard, nor
  // together with others who have.
  if (now < join_until_ &&
      std::all_of(
          members_.begin(), members_.end(), [](const Member& m) { return m.self || m.fresh; })) {
    return;
  }
  const bool late = now > stage_until_;
  if (stage_ != Stage::kSettled &&
      (late || (stage_ == Stage::kSyncing && all_marked(Mark::kSynced)))) {
    unsettled_ += late ? 1 : 0;
    if (late) view_era_ = ++era_;  // of ours alone, as others have not agreed
    stage_ = Stage::kSettled;
    settled_due_ = true;
    member(self_)->fresh = false;
  }
}

bool Membership::take_view_changed() { return std::exchange(view_due_, false); }
bool Membership::take_phase2() { return std::exchange(phase2_due_, false); }
bool Membership::take_settled() { return std::exchange(settled_due_, false); }

bool Membership::take_mark(Mark* mark) {
  if (std::exchange(flush_due_, false)) {
    *mark = Mark::kFlush;
    return true;
  }
  *mark = Mark::kSynced;
  return std::exchange(synced_due_, false);
}

}  // namespace tidegate::bus
