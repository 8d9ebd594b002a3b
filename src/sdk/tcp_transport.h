// SPDX-License-Identifier: Apache-2.0
// The built-in transport: non-blocking TCP with poll(2), the clocks and randomness of this machine.
// Numeric addresses and localhost are used as they are; other names are resolved when a connection
// is begun, and that call of the system's resolver is the one thing that may take long.
// Thread: any, each link one user. Owner: a link is a descriptor and the addresses to try. Limits:
// kAddressesMax addresses of a name.
#pragma once

#include "tidegate/client.h"

namespace tidegate::sdk {

inline constexpr int kAddressesMax = 8;
tidegate_client_transport tcp_transport();
// What a link waits for; `wants_write`: it is still connecting. -1: it has failed.
int tcp_descriptor(void* user, void* link, bool* wants_write);

}  // namespace tidegate::sdk
