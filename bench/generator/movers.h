// SPDX-License-Identifier: Apache-2.0
// What clients send besides echoes. The state load: the first K connections walk back and forth on
// a short line near the spawn point, so that one cell changes every tick. The topic load: all
// subscribe. Frames are as docs/protocol.md says. Thread: generator. Owner: value type. Limits:
// none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace tidegate::bench {

struct Walk {
  float spawn[3] = {0, 0, 0};  // metres
  float reach = 2;             // metres to each side
  float speed = 2;             // metres a second
};

// Appends one masked WebSocket message with a CLIENT_HELLO asking for packed cell frames.
void append_hello(std::vector<uint8_t>& out, float view_distance);

// Appends one masked WebSocket message with the PLAYER_MOVE of a walker at `seconds`.
void append_move(std::vector<uint8_t>& out, const Walk& walk, unsigned walker, double seconds,
                 uint32_t client_tick);

// Appends one masked WebSocket message with a SUBSCRIBE, or a PUBLISH of `bytes` of data.
void append_subscribe(std::vector<uint8_t>& out, const std::string& topic);
void append_publish(std::vector<uint8_t>& out, const std::string& topic, unsigned bytes);

}  // namespace tidegate::bench
