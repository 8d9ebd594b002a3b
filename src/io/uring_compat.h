// SPDX-License-Identifier: Apache-2.0
// Kernel constants that liburing 2.3 does not carry. Values are the kernel's ABI
// (include/uapi/linux/io_uring.h); what the running kernel lacks is found by probe.h.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>

namespace tidegate::io {

// IORING_OP_URING_CMD on a socket, kernel 6.7: sqe.off holds the command, sqe.addr the level in its
// lower and the option in its upper half, sqe.file_index the option's length, sqe.addr3 its
// address.
inline constexpr uint64_t kSocketUringGetsockopt = 2;

// Kernel 6.8: gives a direct descriptor an ordinary number as well. sqe.fd: the direct descriptor.
inline constexpr uint8_t kOpFixedFdInstall = 54;

}  // namespace tidegate::io
