// SPDX-License-Identifier: Apache-2.0
// What the kernel alone asks of a thread with so many connections on loopback: `rate` times a
// second one send and one receive on each, of as many bytes as clients of the library exchanged. A
// process of its own answers and is not counted. Thread: one. Owner: none. Limits: open files.
#pragma once

namespace tidegate::bench {

struct Floor {
  double user_us = 0, kernel_us = 0;  // CPU of a send with a receive
  double empty = 0;                   // share of the receives that found nothing
};
// False: the system refused something.
bool measure_floor(unsigned connections, double rate, double seconds, unsigned out_bytes,
                   unsigned in_bytes, Floor* out);

}  // namespace tidegate::bench
