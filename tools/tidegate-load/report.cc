// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>

namespace tidegate::load {

namespace {

[[gnu::format(printf, 2, 3)]] void append(std::string& out, const char* format, ...) {
  char text[512];
  va_list args;
  va_start(args, format);
  std::vsnprintf(text, sizeof text, format, args);
  va_end(args);
  out += text;
}

std::string quoted(const std::string& text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + '"';
}

// Where in its bucket a percentile lies if the bucket's values are spread evenly: two runs that
// differ by less than a bucket are told apart.
//
// Milliseconds that the share `q` of what was recorded since `earlier` stays below; null: of all.
double ms(const metrics::Histogram& h, double q, const metrics::Histogram* earlier = nullptr) {
  const auto in = [&](uint32_t i) {
    return static_cast<double>(h.bucket(i) - (earlier != nullptr ? earlier->bucket(i) : 0));
  };
  double count = 0;
  for (uint32_t i = 0; i < metrics::Histogram::kBuckets; ++i) count += in(i);
  const double wanted = q * count;
  double seen = 0;
  for (uint32_t i = 0; i < metrics::Histogram::kBuckets && wanted > 0; ++i) {
    const auto here = in(i);
    if (here == 0 || seen + here < wanted) {
      seen += here;
      continue;
    }
    const double low = i == 0 ? 0 : static_cast<double>(metrics::Histogram::upper_edge(i - 1)) + 1;
    const double high = static_cast<double>(metrics::Histogram::upper_edge(i)) + 1;
    return (low + (high - low) * (wanted - seen) / here) / 1000;
  }
  return 0;
}

double share(uint64_t part, uint64_t whole) {
  return whole != 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

void latency_json(std::string& out, const char* name, const metrics::Histogram& h) {
  append(out,
         ",\n  \"%s\": {\"count\": %" PRIu64
         ", \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, \"p999\": %.3f}",
         name, h.count(), ms(h, 0.5), ms(h, 0.9), ms(h, 0.99), ms(h, 0.999));
}

void latency_text(std::string& out, const char* name, const metrics::Histogram& h) {
  if (h.count() == 0) return;
  append(out, "  %-22s p50 %8.2f  p90 %8.2f  p99 %8.2f  p99.9 %8.2f ms  (%" PRIu64 ")\n", name,
         ms(h, 0.5), ms(h, 0.9), ms(h, 0.99), ms(h, 0.999), h.count());
}

const char* name_of(Mode mode) {
  return mode == Mode::kWalk ? "walk" : mode == Mode::kIdle ? "idle" : "echo";
}

}  // namespace

void sum(const Stats* stats, uint32_t count, Sums* out) {
  const auto get = [](const Stats::Count& c) { return c.load(std::memory_order_relaxed); };
  for (uint32_t i = 0; i < count; ++i) {
    const Stats& s = stats[i];
    out->connecting += get(s.connecting);
    out->connected += get(s.connected);
    out->in_world += get(s.in_world);
    out->refused += get(s.refused);
    out->lost += get(s.lost);
    out->slow_lost += get(s.slow_lost);
    out->moves_sent += get(s.moves_sent);
    out->moves_acked += get(s.moves_acked);
    out->moves_corrected += get(s.moves_corrected);
    out->frames += get(s.frames);
    out->updates += get(s.updates);
    out->enters += get(s.enters);
    out->leaves += get(s.leaves);
    out->checksums += get(s.checksums);
    out->checksum_mismatches += get(s.checksum_mismatches);
    out->chain_gaps += get(s.chain_gaps);
    out->malformed += get(s.malformed);
    out->violations += get(s.violations);
    out->flips += get(s.flips);
    out->flips_detected += get(s.flips_detected);
    out->flips_healed += get(s.flips_healed);
    out->flips_gone += get(s.flips_gone);
    out->flips_late += get(s.flips_late);
    out->errors += get(s.errors);
    out->bytes_in += get(s.bytes_in);
    out->bytes_out += get(s.bytes_out);
    out->messages_in += get(s.messages_in);
    out->near_seconds += get(s.near_seconds);
    out->near_updates += get(s.near_updates);
    out->far_seconds += get(s.far_seconds);
    out->far_updates += get(s.far_updates);
    out->far_unseen += get(s.far_unseen);
    out->drops += get(s.drops);
    out->resumes += get(s.resumes);
    out->sessions_lost += get(s.sessions_lost);
    out->letters_written += get(s.letters_written);
    out->letters_read += get(s.letters_read);
    out->letters_wrong += get(s.letters_wrong);
    out->windows += get(s.windows);
    out->windows_over += get(s.windows_over);
    out->windows_under += get(s.windows_under);
    out->window_sum += get(s.window_sum);
    out->window_most = std::max(out->window_most, get(s.window_most));
    if (get(s.wall_ns) != 0) {
      const double share = static_cast<double>(get(s.cpu_ns)) / static_cast<double>(get(s.wall_ns));
      if (share > out->worker_cpu_max) out->worker_cpu_max = share;
    }
    out->connect_us.merge(s.connect_us);
    out->ack_us.merge(s.ack_us);
    out->neighbour_us.merge(s.neighbour_us);
    out->heal_us.merge(s.heal_us);
    out->near_age_us.merge(s.near_age_us);
    out->far_age_us.merge(s.far_age_us);
    out->echo_us.merge(s.echo_us);
    out->resume_us.merge(s.resume_us);
    out->lag_us.merge(s.lag_us);
    if (out->problem.empty()) out->problem = s.problem;
  }
}

std::string generator_verdict(const Sums& s) {
  std::string out;
  if (ms(s.lag_us, 0.99) > 5) {
    append(out, "the generator was late itself: p99 %.1f ms behind its schedule",
           ms(s.lag_us, 0.99));
  } else if (s.worker_cpu_max > 0.9) {
    append(out, "a generator process used %.0f %% of its core", s.worker_cpu_max * 100);
  }
  return out;
}

bool all_good(const Options& o, const Sums& s) {
  return s.workers_died == 0 && s.refused == 0 && s.lost == 0 && s.checksum_mismatches == 0 &&
         s.chain_gaps == 0 && s.malformed == 0 && s.violations == 0 && s.flips_late == 0 &&
         s.sessions_lost == 0 && s.letters_wrong == 0 && s.letters_read == s.letters_written &&
         (o.mode == Mode::kEcho ? s.connected : s.in_world) + s.slow_lost == o.bots;
}

std::string to_json(const Options& o, const Sums& s, double seconds, double connect_seconds) {
  std::string out = "{\n";
  append(out, "  \"mode\": \"%s\", \"bots\": %u, \"seconds\": %.3f, \"encoding\": \"%s\"",
         name_of(o.mode), o.bots, seconds, o.packed ? "packed" : "protobuf");
  append(out,
         ",\n  \"connected\": %" PRIu64 ", \"in_world\": %" PRIu64 ", \"refused\": %" PRIu64
         ", \"lost\": %" PRIu64 ", \"slow_lost\": %" PRIu64,
         s.connected, s.in_world, s.refused, s.lost, s.slow_lost);
  append(out, ",\n  \"connect_seconds\": %.3f, \"connections_per_second\": %.1f", connect_seconds,
         connect_seconds > 0 ? o.bots / connect_seconds : 0);
  append(out,
         ",\n  \"moves_sent\": %" PRIu64 ", \"moves_acked\": %" PRIu64
         ", \"moves_corrected\": %" PRIu64 ", \"delivery\": %.6f",
         s.moves_sent, s.moves_acked, s.moves_corrected,
         s.moves_sent != 0 ? static_cast<double>(s.moves_acked) / static_cast<double>(s.moves_sent)
                           : 1.0);
  append(out,
         ",\n  \"frames\": %" PRIu64 ", \"updates\": %" PRIu64 ", \"enters\": %" PRIu64
         ", \"leaves\": %" PRIu64,
         s.frames, s.updates, s.enters, s.leaves);
  append(out,
         ",\n  \"checksums\": %" PRIu64 ", \"checksum_mismatches\": %" PRIu64
         ", \"chain_gaps\": %" PRIu64 ", \"malformed\": %" PRIu64 ", \"view_violations\": %" PRIu64
         ", \"errors\": %" PRIu64,
         s.checksums, s.checksum_mismatches, s.chain_gaps, s.malformed, s.violations, s.errors);
  append(out,
         ",\n  \"flips\": %" PRIu64 ", \"flips_detected\": %" PRIu64 ", \"flips_healed\": %" PRIu64
         ", \"flips_gone\": %" PRIu64 ", \"flips_late\": %" PRIu64,
         s.flips, s.flips_detected, s.flips_healed, s.flips_gone, s.flips_late);
  append(out,
         ",\n  \"bytes_in\": %" PRIu64 ", \"bytes_out\": %" PRIu64 ", \"messages_in\": %" PRIu64,
         s.bytes_in, s.bytes_out, s.messages_in);
  append(out,
         ",\n  \"drops\": %" PRIu64 ", \"resumes\": %" PRIu64 ", \"sessions_lost\": %" PRIu64
         ", \"letters_written\": %" PRIu64 ", \"letters_read\": %" PRIu64
         ", \"letters_wrong\": %" PRIu64,
         s.drops, s.resumes, s.sessions_lost, s.letters_written, s.letters_read, s.letters_wrong);
  latency_json(out, "resume_ms", s.resume_us);
  latency_json(out, "connect_ms", s.connect_us);
  latency_json(out, "move_ack_ms", s.ack_us);
  latency_json(out, "neighbour_ms", s.neighbour_us);
  latency_json(out, "heal_ms", s.heal_us);
  latency_json(out, "near_age_ms", s.near_age_us);
  latency_json(out, "far_age_ms", s.far_age_us);
  append(out, ",\n  \"near_hz\": %.3f, \"far_hz\": %.3f, \"far_unseen\": %.6f",
         share(s.near_updates, s.near_seconds), share(s.far_updates, s.far_seconds),
         share(s.far_unseen, s.far_unseen + s.far_seconds));
  append(out,
         ",\n  \"budget\": %u, \"windows\": %" PRIu64 ", \"windows_over\": %" PRIu64
         ", \"windows_under\": %" PRIu64
         ", \"window_mean_bytes\": %.0f, \"window_most_bytes\": %" PRIu64,
         o.budget, s.windows, s.windows_over, s.windows_under, share(s.window_sum, s.windows),
         s.window_most);
  latency_json(out, "echo_ms", s.echo_us);
  latency_json(out, "generator_lag_ms", s.lag_us);
  const std::string verdict = generator_verdict(s);
  append(out, ",\n  \"generator_cpu_max\": %.3f, \"generator_valid\": %s", s.worker_cpu_max,
         verdict.empty() ? "true" : "false");
  out += ",\n  \"generator_verdict\": " + quoted(verdict);
  out += ",\n  \"problem\": " + quoted(s.problem);
  out += ",\n  \"ok\": ";
  out += all_good(o, s) ? "true" : "false";
  return out + "\n}\n";
}

std::string to_text(const Options& o, const Sums& s, double seconds, double connect_seconds) {
  std::string out;
  append(out, "%u bots, %s, %s, %.1f s measured\n", o.bots, name_of(o.mode),
         o.mode == Mode::kEcho ? "echo"
         : o.packed            ? "packed"
                               : "protobuf",
         seconds);
  append(out,
         "  connections            %" PRIu64 " in, %" PRIu64 " refused, %" PRIu64 " lost, %" PRIu64
         " slow ones closed; %s after %.2f s\n",
         s.connected, s.refused, s.lost, s.slow_lost,
         s.refused == 0 ? "all in" : "the last one tried", connect_seconds);
  latency_text(out, "connect and login", s.connect_us);
  if (o.resume) {
    append(out,
           "  sessions               %" PRIu64 " connections dropped, %" PRIu64 " resumed, %" PRIu64
           " sessions lost\n",
           s.drops, s.resumes, s.sessions_lost);
    append(out,
           "  letters                %" PRIu64 " written, %" PRIu64 " read, %" PRIu64
           " missing, doubled or out of order\n",
           s.letters_written, s.letters_read, s.letters_wrong);
    latency_text(out, "drop to resumed", s.resume_us);
  }
  latency_text(out, "input to MOVE_ACK", s.ack_us);
  latency_text(out, "input to neighbour", s.neighbour_us);
  latency_text(out, "echo", s.echo_us);
  latency_text(out, "flipped bit to healed", s.heal_us);
  latency_text(out, "age of the 20 nearest", s.near_age_us);
  latency_text(out, "age of the others", s.far_age_us);
  if (s.near_seconds != 0) {
    append(out, "  told of                the 20 nearest %.1f times a second, the others %.1f\n",
           share(s.near_updates, s.near_seconds), share(s.far_updates, s.far_seconds));
  }
  if (s.flips != 0) {
    append(out,
           "  flipped bits           %" PRIu64 "; %" PRIu64 " detected, %" PRIu64
           " healed, %" PRIu64 " left or went out of view, %" PRIu64 " late\n",
           s.flips, s.flips_detected, s.flips_healed, s.flips_gone, s.flips_late);
  }
  if (o.mode == Mode::kWalk) {
    append(out,
           "  moves                  %" PRIu64 " sent, %" PRIu64 " acknowledged, %" PRIu64
           " corrected\n",
           s.moves_sent, s.moves_acked, s.moves_corrected);
    append(out,
           "  world                  %" PRIu64 " updates, %" PRIu64 " enters, %" PRIu64
           " leaves; %.1f KB/s received by each bot\n",
           s.updates, s.enters, s.leaves,
           seconds > 0 ? static_cast<double>(s.bytes_in) / seconds / o.bots / 1000 : 0);
    append(out,
           "  checksums              %" PRIu64 " checked, %" PRIu64 " wrong; %" PRIu64
           " gaps, %" PRIu64 " malformed, %" PRIu64 " view violations\n",
           s.checksums, s.checksum_mismatches, s.chain_gaps, s.malformed, s.violations);
  }
  if (s.windows != 0) {
    append(out,
           "  budget                 %" PRIu64 " windows of a second, %" PRIu64
           " (%.3f %%) more than 2 %% above %u bytes, %.1f %% more than 2 %% below; mean %.0f, the "
           "fullest %" PRIu64 "\n",
           s.windows, s.windows_over, 100 * share(s.windows_over, s.windows), o.budget,
           100 * share(s.windows_under, s.windows), share(s.window_sum, s.windows), s.window_most);
  }
  if (!s.problem.empty()) out += "  first problem          " + s.problem + '\n';
  const std::string verdict = generator_verdict(s);
  out += verdict.empty() ? "  generator              kept its schedule\n"
                         : "  GENERATOR WAS THE BOTTLENECK: " + verdict + '\n';
  out += all_good(o, s) ? "  result                 ok\n" : "  result                 NOT OK\n";
  return out;
}

std::string live_line(const Options& o, const Sums& now, const Sums& before, double elapsed) {
  std::string out;
  if (o.live_json) {
    append(out,
           "{\"t\": %.1f, \"connected\": %" PRIu64 ", \"in_world\": %" PRIu64
           ", \"updates\": %" PRIu64 ", \"bytes_in\": %" PRIu64
           ", \"ack_ms_p50\": %.2f, "
           "\"ack_ms_p99\": %.2f, \"neighbour_ms_p99\": %.2f, \"checksums\": %" PRIu64
           ", \"wrong\": %" PRIu64 ", \"lost\": %" PRIu64 "}\n",
           elapsed, now.connected, now.in_world, now.updates - before.updates,
           now.bytes_in - before.bytes_in, ms(now.ack_us, 0.5, &before.ack_us),
           ms(now.ack_us, 0.99, &before.ack_us), ms(now.neighbour_us, 0.99, &before.neighbour_us),
           now.checksums, now.checksum_mismatches + now.chain_gaps + now.malformed + now.violations,
           now.lost + now.refused);
    return out;
  }
  append(out,
         "%6.1f s  in %" PRIu64 "/%u  updates/s %" PRIu64
         "  KB/s %.0f  ack p50 %.1f p99 %.1f ms  "
         "neighbour p99 %.1f ms  checksums %" PRIu64 " wrong %" PRIu64 "  lost %" PRIu64 "\n",
         elapsed, o.mode == Mode::kEcho ? now.connected : now.in_world, o.bots,
         now.updates - before.updates, static_cast<double>(now.bytes_in - before.bytes_in) / 1000,
         ms(now.ack_us, 0.5, &before.ack_us), ms(now.ack_us, 0.99, &before.ack_us),
         ms(now.neighbour_us, 0.99, &before.neighbour_us), now.checksums,
         now.checksum_mismatches + now.chain_gaps + now.malformed + now.violations,
         now.lost + now.refused);
  return out;
}

}  // namespace tidegate::load
