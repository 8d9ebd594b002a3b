// SPDX-License-Identifier: Apache-2.0
// One thread's window onto the TLS library: what a session reads is the bytes handed to the call in
// progress, what it writes goes into one buffer that all sessions of the thread share. A session
// has no buffers of its own between calls.
//
// Thread: the one of its owner. Owner: Endpoint, a test, the load tool. Outlives its sessions.
// Limits: kEngineOutputBytes of handshake messages and alerts in one call.
#pragma once

#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/time.h"
#include "tls/ticket_keys.h"

struct bio_st;
struct bio_method_st;

namespace tidegate::tls {

// A certificate chain (kChainBytesMax) and everything around it.
inline constexpr size_t kEngineOutputBytes = 64 * 1024;

struct TicketConfig {
  TicketSeed seed{};
  base::Instant origin{};     // when the first key began; the same for all shards
  base::Duration rotation{};  // 0: no tickets
};

// ... and of an established session: answers to key updates.
inline constexpr size_t kEstablishedOutputBytes = 4096;

class Engine {
 public:
  explicit Engine(const TicketConfig& tickets = {});
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // Before sessions are used: the time for ticket keys.
  void set_now(base::Instant now) {
    if (tickets_) tickets_->advance(now);
  }
  // What the last call of a session's receive() or connect() wants sent. The bytes stay until the
  // next such call of any session.
  base::Bytes output() const { return {scratch_.get(), written_}; }
  // Null: tickets are off.
  const TicketKeys* tickets() const { return tickets_ ? &*tickets_ : nullptr; }

 private:
  friend class Session;
  static int read(bio_st* bio, char* out, int size);
  static int write(bio_st* bio, const char* data, int size);
  static long control(bio_st* bio, int command, long number, void* pointer);

  bio_st* make_bio();
  void begin(base::Bytes input, size_t output_bytes_max) {
    begin(input, {scratch_.get(), output_bytes_max});
  }
  void begin(base::Bytes input, base::MutableBytes output) {
    input_ = input;
    taken_ = written_ = 0;
    output_ = output;
  }

  std::optional<TicketKeys> tickets_;
  bio_method_st* method_;
  std::unique_ptr<uint8_t[]> scratch_;
  base::Bytes input_;
  size_t taken_ = 0;  // of input_
  base::MutableBytes output_;
  size_t written_ = 0;  // to output_
};

}  // namespace tidegate::tls
