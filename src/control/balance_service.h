// SPDX-License-Identifier: Apache-2.0
// Load reports of shards on their way to the balancer, its moves on their way back as orders, with
// a log line for each, and both shown by the admin API. Thread: control; json() any. Owner: Server.
// Limits: those of the balancer.
#pragma once

#include <mutex>
#include <string>

#include "balance/balancer.h"
#include "base/bytes.h"
#include "mailbox/mailboxes.h"
#include "metrics/metrics.h"

namespace tidegate::control {

class BalanceService {
 public:
  BalanceService(const balance::Settings& settings, metrics::Counters& counters);

  // mailbox::ShardLoad of shard `from`. Posts the orders that follow from it.
  void on_load(mailbox::AgentId from, base::Bytes bytes, mailbox::Mailbox& mailbox);
  // {"shards": [...], "cells": [...]}: as last reported.
  std::string json();

 private:
  void post(const balance::Move& move, mailbox::Mailbox& mailbox);

  const uint32_t shard_count_;
  metrics::Counters& counters_;
  std::mutex mutex_;  // everything below
  balance::Balancer balancer_;
  uint64_t orders_ = 0;
};

}  // namespace tidegate::control
