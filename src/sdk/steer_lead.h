// SPDX-License-Identifier: Apache-2.0
// How many samples of the own movement should wait at the server, so that a network that holds them
// up leaves no tick without one. The server learns that from ticks that lacked a sample; the client
// can know before: what comes late on the way down comes late on the way up. It tells the server,
// which waits so long before the next stretch begins, and within a stretch walks a little faster
// than time until so many wait. docs/sdk-spec.md, "Steering", is the contract.
// Thread: one. Owner: value. Limits: what the server says may wait, less a margin.
#pragma once

#include <cstdint>

namespace tidegate::sdk {

class SteerLead {
 public:
  // From CONNECTION_ESTABLISHED: ticks that samples may wait at the most; 0: the server does not
  // say, and nothing is asked of it. What is known of the network stays.
  void set_server(uint32_t ticks_most, double tick_ms);
  // The player stands, or a world begins: what waits at the server is not known.
  void end_stretch();

  // Of the last states that came: how many they are, how late the 95th of 100 and the latest one
  // was. With the round trip.
  void on_network(uint32_t states, double late_p95_ms, double late_most_ms, double rtt_ms,
                  double now_ms);
  // A round trip of TIME_SYNC, before so many states came as say more: where nobody moves, none do.
  // The answer came within the last `unsure_ms` of it, as far as who polls now and then can know.
  void on_round_trip(double ms, double unsure_ms, double now_ms);
  // Whether states have said what the network is like.
  bool judged() const { return judged_; }
  // From MOVE_ACK: samples that wait at the server.
  void on_buffered(uint32_t waiting, double now_ms);

  // What `dt` seconds of walking are taken for in addition.
  double more(double dt);
  // For the next PLAYER_STEER: ticks to wait; 0: nothing new.
  uint32_t tell();
  uint32_t wanted_ticks() const;

 private:
  uint32_t most_ = 0;
  double tick_ms_ = 1000.0 / 60;
  double wanted_ms_ = 0;
  double wanted_at_ = 0;
  bool judged_ = false;
  uint32_t trips_ = 0;                 // round trips
  double shortest_ = 0, longest_ = 0;  // at the most, at the least
  uint32_t told_ = 0;
  uint32_t high_ = 0;       // most that waited in this second
  double since_ = 0;        // its begin; 0: none yet
  double quiet_until_ = 0;  // what was added shows later
  double owed_ = 0;         // ticks to be walked in addition
};

}  // namespace tidegate::sdk
