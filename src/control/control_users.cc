// SPDX-License-Identifier: Apache-2.0
// What all shards know of one user, for its export, and the order to forget it.
#include "control/control_agent.h"
#include "mailbox/social_messages.h"

namespace tidegate::control {

using mailbox::AgentId;
using mailbox::read_message;

void ControlAgent::on_user_fact(base::Bytes bytes) {
  base::Bytes tail;
  const auto fact = read_message<mailbox::UserFact>(bytes, &tail);
  const std::lock_guard lock(mutex_);
  const auto it = user_pages_.find(fact.request);
  if (it == user_pages_.end()) return;
  if (fact.kind == mailbox::UserFactKind::kEnd) {
    if (--it->second.shards_left == 0) changed_.notify_all();
    return;
  }
  if (it->second.page.facts.size() == kUserFactsMax) {
    it->second.page.complete = false;
    return;
  }
  it->second.page.facts.push_back({fact.kind, fact.value, fact.number,
                                   std::string(base::as_text(tail.first(fact.name_bytes))),
                                   std::string(base::as_text(tail.subspan(fact.name_bytes)))});
}

UserPage ControlAgent::ask_user_blocking(const std::string& user, bool erase,
                                         const std::function<void()>& wake) {
  uint32_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    number = next_listing_++;
    user_pages_[number].shards_left = mailbox_.shards();
  }
  for (AgentId shard = 0; shard < mailbox_.shards(); ++shard) {
    enqueue(
        [this, shard, number, user, erase] {
          return mailbox_.post(shard, mailbox::UserQuestion{number, erase ? 1u : 0u},
                               base::as_bytes(user));
        },
        wake);
  }
  std::unique_lock lock(mutex_);
  UserListing& listing = user_pages_[number];
  const bool answered =
      changed_.wait_for(lock, std::chrono::seconds(5), [&] { return listing.shards_left == 0; });
  UserPage page = std::move(listing.page);
  page.complete = page.complete && answered;
  user_pages_.erase(number);
  return page;
}

}  // namespace tidegate::control
