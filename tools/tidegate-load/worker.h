// SPDX-License-Identifier: Apache-2.0
// One process full of bots: epoll, an open-loop schedule of moves, latencies from the intended
// time of each send, so that a generator or server that falls behind is not flattered.
// Thread: main of the worker process. Owner: main. Limits: the process' descriptors.
#pragma once

#include <memory>
#include <vector>

#include "client/client.h"
#include "client/letters.h"
#include "observer.h"
#include "options.h"
#include "poll_bridge.h"
#include "stats.h"
#include "tls/client_stream.h"

namespace tidegate::load {

// The desync alarm's promise for cells in which somebody moves.
inline constexpr base::Duration kHealLimit = base::seconds(1);

class Worker;

class Bot final : public client::ClientEvents {
 public:
  Bot(Worker& worker, uint32_t number);

  bool open(base::Instant intended);
  // Returns false when the connection is over.
  bool on_readable();
  bool flush();
  void move(base::Instant due);
  // At the end of the run: a flip that is not healed although its time is over.
  void count_late(base::Instant now);
  void collect();
  // With --resume: its connection is gone; it comes back a little later, at the next place.
  void wait_again(base::Instant now);
  bool again_due(base::Instant now) const { return again_at_.ns != 0 && now >= again_at_; }

  int fd = -1;
  bool wants_write = false;
  bool wants_read = true;
  uint32_t armed = 0;  // what epoll was told last

 private:
  friend class Worker;
  void on_state(client::ClientState state) override;
  void on_move_ack(base::Instant now, const wire::MoveAck& ack) override;
  void on_entity_changed(base::Instant now, std::string_view name, uint32_t flags) override;
  void on_member_seen(base::Instant now, const wire::CellImage::Member& member, int16_t cell_x,
                      int16_t cell_z) override;
  void on_cell_healed(base::Instant now, base::Instant flipped) override;
  void on_error(const wire::ErrorNotification& error) override;
  void on_message(base::Instant now, base::Bytes message) override;
  void on_envelope(base::Instant now, const wire::Envelope& envelope) override;
  void write_letters(base::Instant due);
  void choose_target();
  void end(bool expected);
  // A slow or stalled bot: not counted in latencies and delivery.
  bool limited() const;
  // Bytes that came in, for the windows of a bot with a budget: a second that ends with each
  // hundredth. They count from kWindowSettle after everybody is in.
  static constexpr int64_t kWindowSlots = 100;
  static constexpr base::Duration kWindowSettle = base::seconds(5);
  void count_window(base::Instant now, uint32_t bytes);
  void refill(base::Instant now);
  // Bytes of the socket to the client, by way of TLS when it is spoken. False: it is over.
  bool take(base::MutableBytes bytes);
  base::Bytes outgoing();

  Worker& worker_;
  uint32_t number_;
  base::Prng prng_;
  std::unique_ptr<client::Client> client_;
  std::unique_ptr<Observer> observer_;
  tls::ClientStream tls_;  // not started: ws
  base::Instant intended_connect_{};
  wire::Vector3 position_, target_;
  uint32_t tick_ = 0;  // client_tick of the last move
  uint32_t tick_acked_ = 0;
  bool placed_ = false;    // the server told where it stands
  int64_t allowance_ = 0;  // of a slow bot: bytes it may read now
  base::Instant refilled_{};
  bool counted_connected_ = false, counted_world_ = false, over_ = false;
  std::unique_ptr<client::Letters> letters_;  // with --resume
  uint32_t place_ = 0;
  base::Instant dropped_at_{}, again_at_{}, next_letter_{};
  uint32_t tries_ = 0;  // since the last time it was in
  uint64_t resumes_seen_ = 0, letters_seen_ = 0;
  int64_t slot_ = -1;          // hundredth of a second under way since windows count; -1: none
  int64_t window_from_ = 0;    // the first one
  uint64_t window_bytes_ = 0;  // in the second that ends with it
  uint32_t window_[kWindowSlots] = {};  // by hundredth, a ring
  client::PictureCounters collected_;
  uint64_t messages_collected_ = 0;
  base::Instant due_of_[64] = {};  // intended times of the last moves, by tick
};

class Worker {
 public:
  Worker(const Options& options, uint32_t first, uint32_t count, uint32_t processes, Stats& stats,
         const Control& control);
  int run();
  PollBridge& bridge() {
    if (bridge_ == nullptr) bridge_ = std::make_unique<PollBridge>(options_.places[0].address);
    return *bridge_;
  }

 private:
  friend class Bot;
  void open_due(base::Instant now);
  void open_again(base::Instant now);
  bool start(Bot& bot, base::Instant due);
  // No letters are written in the last seconds: they have to arrive.
  bool letters_due(base::Instant now) const {
    return measuring(now) && now.ns < control_.measure_from_ns.load(std::memory_order_relaxed) +
                                          static_cast<int64_t>(options_.seconds * 1e9) -
                                          4'000'000'000;
  }
  void move_due(base::Instant now);
  void flip_due(base::Instant now);
  void rearm(Bot& bot);
  void note_problem(const std::string& text);
  bool measuring(base::Instant now) const {
    const int64_t from = control_.measure_from_ns.load(std::memory_order_relaxed);
    return from != 0 && now.ns >= from;
  }

  const Options& options_;
  uint32_t first_;
  uint32_t processes_;
  Stats& stats_;
  const Control& control_;
  std::vector<uint8_t> buffer_;
  tls::Engine engine_;                  // outlives the bots
  std::unique_ptr<PollBridge> bridge_;  // null: bots have sockets
  std::vector<std::unique_ptr<Bot>> bots_;
  int epoll_ = -1;
  uint32_t opened_ = 0;
  uint32_t away_ = 0;  // bots that wait to come back
  base::Instant start_{};
  uint64_t moves_begun_ = 0;  // position in the schedule: bot = moves_begun_ % bots
  base::Instant schedule_start_{};
  base::Instant next_flip_{};
  base::Prng prng_{1};
};

base::Instant monotonic_now();

}  // namespace tidegate::load
