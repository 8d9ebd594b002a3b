// SPDX-License-Identifier: Apache-2.0
// One hostile connection at a time: it connects, does what its kind does, sees how the server ends
// it, and begins again after a pause.
// Thread: the attacker's. Owner: Attack. Limits: none.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "options.h"

namespace tidegate::attack {

// What all peers share: bytes made once, and counts of how connections ended.
struct Shared {
  explicit Shared(const Options& o);

  const Options& options;
  std::string noise;      // for sockets
  std::string pings;      // some thousand masked frames
  std::string fragments;  // likewise, the first one opens the message
  std::string nonsense;   // one masked binary frame of noise
  std::string bomb;       // one masked compressed frame
  uint64_t opened[kKinds] = {};
  uint64_t logged_in[kKinds] = {};
  std::map<std::string, uint64_t> ends[kKinds];
};

class Peer {
 public:
  Peer(Shared& shared, uint32_t number, Kind kind);
  ~Peer();
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  int fd() const { return fd_; }  // -1: pausing
  Kind kind() const { return kind_; }
  short interest() const;  // of poll(2)
  // Whatever is due now, and what poll said of the socket.
  void turn(int64_t now_ns, short revents);
  // The run is over: counts as "open" what the server has not ended.
  void finish();

 private:
  enum class Step : uint8_t { kPausing, kConnecting, kAsking, kOpen };

  void connect(int64_t now_ns);
  void request(int64_t now_ns);
  void act(int64_t now_ns);
  void read(int64_t now_ns);
  void parse();
  bool write(const char* data, size_t size, size_t* at);
  void end(const std::string& how, int64_t now_ns);
  std::string token();

  Shared& shared_;
  uint32_t number_;
  Kind kind_;
  Step step_ = Step::kPausing;
  int fd_ = -1;
  uint32_t round_ = 0;
  int64_t due_ns_ = 0;
  int64_t began_ns_ = 0;
  std::string out_;  // what is to be said, from out_at_ on
  size_t out_at_ = 0;
  bool blocked_ = false;
  std::string in_;     // bytes of an answer or frame header that is incomplete
  uint64_t skip_ = 0;  // bytes of a payload that are of no interest
  int status_ = 0;     // of HTTP, once known
  int close_code_ = 0;
};

}  // namespace tidegate::attack
