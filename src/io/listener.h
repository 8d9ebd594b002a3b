// SPDX-License-Identifier: Apache-2.0
// Opens a listening TCP socket as every shard does. Options that accepted sockets are to have are
// set on the listener, from which Linux copies them: no call for each connection.
// Thread: setup, shard. Owner: the caller closes the descriptor. Limits: none.
#pragma once

#include "io/io.h"

namespace tidegate::io {

// `descriptor`, `family` (AF_INET6, or AF_INET where the kernel has no IPv6) and `port_out` (may
// be null) are set when the result is kOk.
[[nodiscard]] IoStatus open_listener(const ListenSpec& spec, int* descriptor, int* family,
                                     uint16_t* port_out);

}  // namespace tidegate::io
