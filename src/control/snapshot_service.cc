// SPDX-License-Identifier: Apache-2.0
#include "control/snapshot_service.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "base/log.h"
#include "control/json_writer.h"

namespace tidegate::control {

using mailbox::read_message;

SnapshotService::SnapshotService(SnapshotOptions options, metrics::Counters& counters)
    : options_(std::move(options)),
      counters_(counters),
      store_(options_.directory, options_.keep),
      parts_(options_.shards) {}

SnapshotService::~SnapshotService() { stop(); }

std::optional<Snapshot> SnapshotService::recover_blocking() {
  std::string error;
  if (!store_.prepare_blocking(&error)) {
    failed("snapshots: " + error);
    return std::nullopt;
  }
  for (const SnapshotFileInfo& file : store_.list_blocking()) {
    const std::string path = store_.directory() + '/' + file.name;
    std::vector<uint8_t> bytes;
    Snapshot snapshot;
    std::string wrong;
    if (!store_.read_blocking(file.name, &bytes, &error)) {
      wrong = error;
    } else if (const SnapshotStatus status = read_snapshot_file(bytes, &snapshot);
               status != SnapshotStatus::kOk) {
      wrong = path + ": " + describe(status);
      if (status == SnapshotStatus::kVersion) {
        wrong += " (it reads version " + std::to_string(kSnapshotVersion) + ")";
      }
    } else if (snapshot.world.zone != options_.world.zone) {
      wrong = path + ": it is of the zone \"" + snapshot.world.zone + "\", world.zone is \"" +
              options_.world.zone + "\"; give each zone a snapshots.directory of its own";
    }
    if (wrong.empty()) {
      recovered_name_ = file.name;
      return snapshot;
    }
    counters_.add(metrics::Counter::kSnapshotsRefused, 1);
    base::log(base::LogLevel::kError,
              "snapshots: refused " + wrong + "; the one before it is tried");
  }
  return std::nullopt;
}

void SnapshotService::start() {
  writer_ = std::thread([this] { run_writer(); });
}

void SnapshotService::stop() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  if (writer_.joinable()) writer_.join();
}

void SnapshotService::failed(const std::string& what) {
  counters_.add(metrics::Counter::kSnapshotFailures, 1);
  // A full disk fails at each interval: one line for as long as it is the same.
  if (what == last_failure_) return;
  last_failure_ = what;
  base::log(base::LogLevel::kError, what);
}

void SnapshotService::finished(bool ok) {
  const std::lock_guard lock(mutex_);
  served_ = begun_;
  served_ok_ = ok;
  changed_.notify_all();
}

uint32_t SnapshotService::work(base::Instant now, base::UnixMs unix_ms) {
  if (due_ == base::Instant{}) {
    due_ = now + options_.interval;
    written_ = now;
  }
  if (writing_) take_result(now);
  if (collecting_ && now - asked_ > kGiveUp) {
    collecting_ = false;
    failed("snapshots: a shard did not send its part within 30 s");
    finished(false);
  }
  counters_.set(metrics::Gauge::kSnapshotAge,
                static_cast<uint64_t>((now - written_).ns / 1'000'000'000));
  if (collecting_ || writing_) return 0;
  {
    const std::lock_guard lock(mutex_);
    if (wanted_ == served_ && now < due_) return 0;
    begun_ = wanted_;
  }
  due_ = now + options_.interval;
  // Ahead by as much as a message to a busy shard may take; who gets it late says so.
  tick_ = options_.newest_tick() + 2 + options_.world.tick_rate / 4;
  asked_ = now;
  unix_ms_ = unix_ms;
  collecting_ = true;
  for (Part& part : parts_) part = Part{};
  return tick_;
}

void SnapshotService::on_piece(mailbox::AgentId from, base::Bytes message) {
  base::Bytes tail;
  const auto piece = read_message<mailbox::SnapshotPiece>(message, &tail);
  if (!collecting_ || piece.tick != tick_ || from >= parts_.size()) return;
  std::vector<uint8_t>& records = parts_[from].records;
  records.insert(records.end(), tail.begin(), tail.end());
}

void SnapshotService::on_end(mailbox::AgentId from, base::Bytes message) {
  const auto end = read_message<mailbox::SnapshotEnd>(message);
  if (!collecting_ || end.tick != tick_ || from >= parts_.size()) return;
  if (end.missed) {
    collecting_ = false;
    failed("snapshots: shard " + std::to_string(from) +
           " was asked too late for the tick; the next interval tries again");
    finished(false);
    return;
  }
  parts_[from].ended = true;
  if (std::all_of(parts_.begin(), parts_.end(), [](const Part& p) { return p.ended; })) {
    finish_collecting();
  }
}

void SnapshotService::finish_collecting() {
  collecting_ = false;
  writing_ = true;
  Job job{tick_, unix_ms_, {}};
  for (Part& part : parts_) job.records.push_back(std::move(part.records));
  const std::lock_guard lock(mutex_);
  job_ = std::move(job);
  changed_.notify_all();
}

void SnapshotService::take_result(base::Instant now) {
  Result result;
  {
    const std::lock_guard lock(mutex_);
    if (!result_) return;
    result = std::move(*result_);
    result_.reset();
  }
  writing_ = false;
  if (result.ok) {
    if (!last_failure_.empty()) {
      base::log(base::LogLevel::kInfo, "snapshots: written again: " + result.text);
      last_failure_.clear();
    }
    written_ = now;
    counters_.add(metrics::Counter::kSnapshotsWritten, 1);
    counters_.set(metrics::Gauge::kSnapshotBytes, result.bytes);
    counters_.set(metrics::Gauge::kSnapshotRecords, result.records);
    counters_.record(metrics::Timing::kSnapshot, now - asked_);
  } else {
    failed("snapshots: " + result.text);
  }
  finished(result.ok);
}

void SnapshotService::run_writer() {
  for (;;) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [&] { return stop_ || job_; });
      if (!job_) return;
      job = std::move(*job_);
      job_.reset();
    }
    const std::vector<uint8_t> file =
        make_snapshot_file(options_.world, job.tick, job.unix_ms, job.records);
    SnapshotHeader header;
    Result result{};
    TG_ASSERT(read_snapshot_header(file, &header) == SnapshotStatus::kOk);
    std::string name;
    result.ok = store_.write_blocking(file, &name, &result.text);
    if (result.ok) result.text = name;
    result.bytes = file.size();
    result.records = header.entities + header.places;
    {
      const std::lock_guard lock(mutex_);
      result_ = std::move(result);
    }
    options_.wake_control();
  }
}

bool SnapshotService::take_blocking(base::Duration patience) {
  std::unique_lock lock(mutex_);
  const uint64_t mine = ++wanted_;
  lock.unlock();
  options_.wake_control();
  lock.lock();
  const bool ended = changed_.wait_for(lock, std::chrono::nanoseconds(patience.ns),
                                       [&] { return served_ >= mine || stop_; });
  return ended && served_ >= mine && served_ok_;
}

std::string SnapshotService::json_blocking() const {
  JsonWriter json;
  json.begin_object();
  json.key("directory").text(options_.directory);
  json.key("interval_ms").integer(options_.interval.ns / 1'000'000);
  json.key("keep").unsigned_integer(options_.keep);
  json.key("recovered_from");
  if (recovered_name_.empty()) {
    json.null();
  } else {
    json.text(recovered_name_);
  }
  json.key("files").begin_array();
  for (const SnapshotFileInfo& file : store_.list_blocking()) {
    json.begin_object();
    json.key("name").text(file.name).key("bytes").unsigned_integer(file.bytes);
    json.key("good").boolean(file.status == SnapshotStatus::kOk);
    if (file.status != SnapshotStatus::kOk) {
      json.key("wrong").text(describe(file.status)).end_object();
      continue;
    }
    char fingerprint[17];
    std::snprintf(fingerprint, sizeof fingerprint, "%016llx",
                  static_cast<unsigned long long>(file.header.fingerprint));
    json.key("unix_ms").integer(file.header.unix_ms);
    json.key("tick").unsigned_integer(file.header.tick);
    json.key("entities").unsigned_integer(file.header.entities);
    json.key("places").unsigned_integer(file.header.places);
    json.key("world").text(fingerprint);
    json.key("same_world").boolean(file.header.fingerprint == options_.world.fingerprint());
    json.end_object();
  }
  json.end_array().end_object();
  return json.take();
}

}  // namespace tidegate::control
