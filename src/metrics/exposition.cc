// SPDX-License-Identifier: Apache-2.0
#include "metrics/exposition.h"

#include <cinttypes>
#include <cstdio>

namespace tidegate::metrics {
namespace {

struct Description {
  const char* name;
  const char* help;
  const char* label = nullptr;
};
#define X(id, ...) {__VA_ARGS__},
constexpr Description kCounters[] = {TIDEGATE_COUNTERS(X)};
constexpr Description kGauges[] = {TIDEGATE_GAUGES(X)};
constexpr Description kTimings[] = {TIDEGATE_TIMINGS(X)};
constexpr Description kFamilies[] = {TIDEGATE_FAMILIES(X)};
#undef X

void head(std::string& out, const Description& d, const char* type) {
  out += "# HELP ";
  out += d.name;
  out += ' ';
  out += d.help;
  out += "\n# TYPE ";
  out += d.name;
  out += ' ';
  out += type;
  out += '\n';
}

void value(std::string& out, const char* name, const std::string& labels, uint64_t v) {
  char text[32];
  std::snprintf(text, sizeof text, "} %" PRIu64 "\n", v);
  out += name;
  out += '{';
  out += labels;
  out += text;
}

std::string shard_label(const Block& block) { return "shard=\"" + block.shard + '"'; }

void histogram(std::string& out, const Description& d, const Block& block, const Histogram& h) {
  const std::string name = d.name;
  const std::string shard = shard_label(block);
  char text[64];
  uint64_t seen = 0;
  // One bucket in four is shown: the edges at powers of two from 1 µs to 17 s.
  for (uint32_t i = 0; i < Histogram::kBuckets; ++i) {
    seen += h.bucket(i);
    if (i % 4 != 3 || i < 35 || i >= 136) continue;
    std::snprintf(text, sizeof text, ",le=\"%.9g\"",
                  static_cast<double>(Histogram::upper_edge(i) + 1) / 1e9);
    value(out, (name + "_bucket").c_str(), shard + text, seen);
  }
  const uint64_t total = h.count();
  value(out, (name + "_bucket").c_str(), shard + ",le=\"+Inf\"", total);
  std::snprintf(text, sizeof text, "} %.9f\n", static_cast<double>(h.sum()) / 1e9);
  out += name + "_sum{" + shard + text;
  value(out, (name + "_count").c_str(), shard, total);
}

}  // namespace

std::string to_text(std::span<const Block> blocks, const Labels& labels) {
  std::string out;
  out.reserve(64 * 1024);
  for (uint32_t i = 0; i < static_cast<uint32_t>(Counter::kCount); ++i) {
    head(out, kCounters[i], "counter");
    for (const Block& b : blocks) {
      value(out, kCounters[i].name, shard_label(b), b.counters->get(static_cast<Counter>(i)));
    }
  }
  for (uint32_t i = 0; i < static_cast<uint32_t>(Gauge::kCount); ++i) {
    head(out, kGauges[i], "gauge");
    for (const Block& b : blocks) {
      value(out, kGauges[i].name, shard_label(b), b.counters->get(static_cast<Gauge>(i)));
    }
  }
  for (uint32_t i = 0; i < static_cast<uint32_t>(Family::kCount); ++i) {
    if (labels.of[i] == nullptr) continue;
    head(out, kFamilies[i], "counter");
    for (const Block& b : blocks) {
      for (uint32_t v = 0; v < kFamilyValuesMax; ++v) {
        const char* name = labels.of[i](v);
        if (name == nullptr || *name == '\0') continue;
        value(out, kFamilies[i].name,
              shard_label(b) + ',' + kFamilies[i].label + "=\"" + name + '"',
              b.counters->get(static_cast<Family>(i), v));
      }
    }
  }
  for (uint32_t i = 0; i < static_cast<uint32_t>(Timing::kCount); ++i) {
    head(out, kTimings[i], "histogram");
    for (const Block& b : blocks) {
      histogram(out, kTimings[i], b, b.counters->timing(static_cast<Timing>(i)));
    }
  }
  return out;
}

}  // namespace tidegate::metrics
