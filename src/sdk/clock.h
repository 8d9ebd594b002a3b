// SPDX-License-Identifier: Apache-2.0
// The server's clock as the client knows it, from TIME_SYNC. Of the last samples the one with the
// shortest round trip has the smallest error, which is at most half that round trip. Times are
// milliseconds in doubles, as in every SDK, so that results can be compared bit by bit.
// Thread: one. Owner: values. Limits: the last 16 samples, 16 requests under way.
#pragma once

#include <cstdint>

namespace tidegate::sdk {

class ClockSync {
 public:
  static constexpr uint32_t kSamples = 16;

  double tick_rate = 60;  // ticks a second

  bool synced() const { return has_best_; }
  double error_ms() const;  // at most so far off; infinite before the first answer
  double rtt_ms() const { return rtt_; }
  double jitter_ms() const { return jitter_; }
  double last_rtt_ms() const { return last_rtt_; }

  // Whole milliseconds that name one request.
  int64_t request(double now_ms);
  // An answer; one to no request of ours is ignored: false.
  bool answer(int64_t client_time, int64_t server_time, uint32_t server_tick, double now_ms);
  // A round trip measured by other means, such as a heartbeat.
  void round_trip(double ms);
  // The server's Unix time and its tick with the fraction; NaN before the first answer.
  double server_time(double now_ms) const;
  double server_tick(double now_ms) const;
  void reset();

 private:
  struct Sample {
    double rtt = 0;
    double offset = 0;  // the server's Unix ms less the client's monotonic ms
    double tick = 0;
    double server_time = 0;
  };
  struct Request {
    int64_t key = 0;
    double sent = 0;
  };
  Sample samples_[kSamples];
  Request requests_[kSamples];
  uint32_t sample_count_ = 0;
  uint32_t request_count_ = 0;
  Sample best_;
  bool has_best_ = false;
  double rtt_ = 0, jitter_ = 0, last_rtt_ = 0;
};

}  // namespace tidegate::sdk
