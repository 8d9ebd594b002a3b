// SPDX-License-Identifier: Apache-2.0
// Counters as text for Prometheus (exposition format 0.0.4).
// Thread: control. Owner: the caller's string. Limits: none.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "metrics/metrics.h"

namespace tidegate::metrics {

// Names of the values of a labelled family, given by the module that owns the enumeration; an
// empty name leaves the value out.
using LabelName = std::function<const char*(uint32_t value)>;

struct Labels {
  LabelName of[static_cast<uint32_t>(Family::kCount)] = {};
};

struct Block {
  std::string shard;  // value of the label `shard`
  const Counters* counters;
};

std::string to_text(std::span<const Block> blocks, const Labels& labels);

}  // namespace tidegate::metrics
