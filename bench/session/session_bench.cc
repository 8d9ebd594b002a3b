// SPDX-License-Identifier: Apache-2.0
// session-bench [SESSIONS]   what the home of sessions does with 10,000 of them beside the embedded
// store, on one thread, in wall-clock time:
//   begin    a login without a session, as the home shard sees it
//   anew     turns in which all sessions are said anew, as after a failure of the store: the
//            longest is what a shard loses to it
//   write    what the store's own thread does with that, in batches of what a turn said
//   load     all of them out of the file, at start
//   resume   a login with a resume token: the session is read, and what it missed is sent
// Exit status 1: something was not as it was.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "shard/session_home.h"
#include "store/session_store.h"

namespace tidegate {
namespace {

using mailbox::MessageType;
using session::Resume;

constexpr uint32_t kMessages = 4;  // unacknowledged in each session
constexpr uint32_t kNow = 1000;

double now_us() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) * 1e-3;
}

class Watch {
 public:
  template <class Work>
  void time(Work&& work) {
    const double from = now_us();
    work();
    samples_.push_back(now_us() - from);
  }
  void report(const char* name) {
    std::sort(samples_.begin(), samples_.end());
    double sum = 0;
    for (const double s : samples_) sum += s;
    std::printf("%-7s %6zu times, p50 %9.1f us, p99 %9.1f us, most %9.1f us, all %9.1f ms\n", name,
                samples_.size(), samples_[samples_.size() / 2],
                samples_[samples_.size() * 99 / 100], samples_.back(), sum / 1000);
  }

 private:
  std::vector<double> samples_;
};

// One shard that is home and has the connections, and control, which only keeps what it is told.
class Bench final : mailbox::WakeSink {
 public:
  explicit Bench(uint32_t sessions) : sessions_(sessions) {
    shard::SessionConfig config;
    config.limit = sessions;
    config.stored = true;
    config.replay.pool_bytes = uint64_t{sessions} * kMessages * 1024;
    home_ = std::make_unique<shard::SessionHome>(config, 0, own_, outbox_, counters_);
  }
  void wake_agent(mailbox::AgentId) override {}

  void begin(uint32_t i, Watch& watch) {
    const auto bytes = message(i, Resume::kNotAsked);
    watch.time([&] { home_->on_open(bytes, kNow); });
    take();
    const std::string player = name(i);
    const mailbox::SessionSend send{0, 0, 1000, static_cast<uint32_t>(player.size())};
    std::string text = player + std::string(200, 'x');
    for (uint32_t n = 0; n < kMessages; ++n) home_->on_send(with(send, text), {});
    take();
  }
  void resume(uint32_t i, Watch& watch) {
    const auto bytes = message(i, Resume::kResumed);
    resumed_ = false;
    watch.time([&] { home_->on_open(bytes, kNow); });
    take();
    good_ = good_ && resumed_;
  }
  // All is written; the shard knows.
  void write(store::SessionStore& store, Watch* watch) {
    if (records_.empty()) return;
    std::vector<store::SessionChange> changes;
    for (const auto& bytes : records_) {
      base::Bytes tail;
      const auto record = mailbox::read_message<mailbox::SessionRecord>(bytes, &tail);
      changes.push_back({record, tail, 0});
    }
    std::vector<store::StoreNews> news;
    std::string error;
    const auto write = [&] { good_ = store.write_blocking(changes, &news, &error) && good_; };
    watch == nullptr ? write() : watch->time(write);
    const mailbox::SessionsStored word{changes.back().record.number, 0, 0};
    records_.clear();
    home_->on_stored(with(word, {}));
    turn(nullptr);
  }
  void say_anew(store::SessionStore& store, Watch& turns, Watch& writes) {
    home_->on_stored(with(mailbox::SessionsStored{0, 0, 1}, {}));
    for (bool more = true; more;) {
      turn(&turns);
      more = !synced_;
      write(store, &writes);
    }
  }
  bool load(store::SessionStore& store, Watch& watch) {
    std::string error;
    watch.time([&] {
      const auto visit = [&](mailbox::StoredSession&& s) {
        session::Session row;
        row.id = s.id;
        row.nonce = s.nonce;
        row.received = s.received;
        row.seen_s = s.seen_s;
        good_ = home_->restore(row, s.player, s.acked, kNow) && good_;
        for (const auto& m : s.messages) {
          good_ = home_->restore_message(s.player, m.type, m.payload) && good_;
        }
      };
      good_ = store.load_blocking(visit, &error) && good_;
    });
    return good_ && home_->table().count() == sessions_;
  }
  bool good() const { return good_; }
  uint64_t delivered() const { return delivered_; }

 private:
  template <class M>
  static std::vector<uint8_t> with(const M& message, std::string_view tail) {
    std::vector<uint8_t> bytes(sizeof message + tail.size());
    std::memcpy(bytes.data(), &message, sizeof message);
    std::copy(tail.begin(), tail.end(), bytes.begin() + sizeof message);
    return bytes;
  }
  static std::string name(uint32_t i) { return "player-" + std::to_string(i); }
  static std::vector<uint8_t> message(uint32_t i, Resume resume) {
    const std::string player = name(i);
    mailbox::SessionOpen open{};
    open.connection = {i, 1};
    open.session = resume == Resume::kResumed ? i + 1'000'000 : i + 1;
    open.nonce = resume == Resume::kResumed ? 8 : 7;
    open.resume = static_cast<uint8_t>(resume);
    open.resume_session = i + 1;
    open.resume_nonce = 7;
    open.player_bytes = static_cast<uint8_t>(player.size());
    open.token_bytes[0] = open.token_bytes[1] = 80;
    return with(open, player + std::string(160, 't'));
  }
  void turn(Watch* watch) {
    outbox_.retry();
    const auto work = [&] { home_->turn({}, kNow); };
    watch == nullptr ? work() : watch->time(work);
    take();
  }
  void take() {
    outbox_.retry();
    own_.publish_all(*this);
    own_.drain(1'000'000, [this](mailbox::AgentId, MessageType type, base::Bytes bytes) {
      if (type == MessageType::kSessionDeliver) ++delivered_;
      if (type != MessageType::kSessionOpened) return;
      const auto opened = mailbox::read_message<mailbox::SessionOpened>(bytes);
      resumed_ = opened.resume == static_cast<uint8_t>(Resume::kResumed);
    });
    control_.drain(1'000'000, [this](mailbox::AgentId, MessageType, base::Bytes bytes) {
      const auto record = mailbox::read_message<mailbox::SessionRecord>(bytes);
      synced_ = record.op == mailbox::SessionChangeOp::kSynced;
      records_.emplace_back(bytes.begin(), bytes.end());
    });
  }

  uint32_t sessions_;
  mailbox::Fabric fabric_{
      {.shards = 1, .shard_ring_bytes = 1 << 22, .control_ring_bytes = 1 << 22}};
  mailbox::Mailbox own_{fabric_, 0};
  mailbox::Mailbox control_{fabric_, 1};
  shard::Outbox outbox_{own_, 16 << 20};
  metrics::Counters counters_;
  std::unique_ptr<shard::SessionHome> home_;
  std::vector<std::vector<uint8_t>> records_;
  bool resumed_ = false, synced_ = false, good_ = true;
  uint64_t delivered_ = 0;
};

int run(uint32_t sessions, const std::string& folder) {
  const std::string path = folder + "/sessions.db";
  std::string note, error;
  Watch begin, turns, writes, load, resume;
  bool good = true;
  {
    const auto store = store::open_embedded_store_blocking(path, 0, &note, &error);
    if (store == nullptr) {
      std::fprintf(stderr, "session-bench: %s\n", error.c_str());
      return 1;
    }
    Bench bench(sessions);
    for (uint32_t i = 0; i < sessions; ++i) {
      bench.begin(i, begin);
      if (i % 256 == 255 || i + 1 == sessions) bench.write(*store, nullptr);
    }
    bench.say_anew(*store, turns, writes);
    good = bench.good() && bench.delivered() == uint64_t{sessions} * kMessages;
  }
  {
    const auto store = store::open_embedded_store_blocking(path, 0, &note, &error);
    Bench bench(sessions);
    good = store != nullptr && bench.load(*store, load) && good;
    for (uint32_t i = 0; good && i < sessions; ++i) bench.resume(i, resume);
    good = good && bench.good() && bench.delivered() == uint64_t{sessions} * kMessages;
  }
  if (!good) {
    std::fprintf(stderr, "session-bench: not all came back as it was\n");
    return 1;
  }
  begin.report("begin");
  turns.report("anew");
  writes.report("write");
  load.report("load");
  resume.report("resume");
  return 0;
}

}  // namespace
}  // namespace tidegate

int main(int argc, char** argv) {
  const auto sessions =
      static_cast<uint32_t>(argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 10'000);
  char folder[] = "/tmp/session-bench-XXXXXX";
  if (sessions == 0 || mkdtemp(folder) == nullptr) return 2;
  const int status = tidegate::run(sessions, folder);
  for (const char* file : {"/sessions.db", "/sessions.db-wal", "/sessions.db-shm"}) {
    (void)std::remove((std::string(folder) + file).c_str());
  }
  (void)rmdir(folder);
  return status;
}
