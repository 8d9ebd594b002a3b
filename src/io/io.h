// SPDX-License-Identifier: Apache-2.0
// The completion contract between a shard and the machine under it. Three complete backends stand
// behind it: io_uring (uring_io.h), epoll where that is refused (epoll_io.h, chosen in backend.h)
// and the deterministic simulation (sim_io.h). A socket is a slot of the backend's own table: under
// io_uring a direct descriptor, which takes no number of the process (the table itself may not be
// larger than RLIMIT_NOFILE). The slot number is also the connection's slot in net.
//
// It does no protocol, no buffering and no retry: what a socket did not take is the caller's.
//
// Thread: shard (the thread that made the first poll), except Waker::wake, which is for any thread.
// Owner: the shard owns its Io. Limits: IoLimits, all memory is taken in the constructor.
#pragma once

#include <netinet/in.h>
#include <sys/uio.h>

#include <cstdint>
#include <span>

#include "base/time.h"

namespace tidegate::io {

struct IoLimits {
  uint32_t sockets = 1024;        // slots in the descriptor table
  uint32_t buffers = 1024;        // receive buffers in the ring, a power of two
  uint32_t buffer_bytes = 4096;   // size of one receive buffer
  uint32_t queue_entries = 4096;  // submission entries, a power of two; completions get 4 x
  bool poll_wait = false;         // wait in poll(2) on the ring: for tools that count instructions
};

enum class Event : uint8_t {
  kAccepted,  // slot: a new socket. result < 0: -errno, slot invalid; accepting goes on by itself
  kReceived,  // data/result bytes in buffer; call recycle(buffer) when done with them
  kEnded,     // receive side over: result 0 = orderly end, < 0 = -errno. No more kReceived
  kWritable,  // answer to watch_writable
  kPeerName,  // answer to query_peer: peer is valid when result == 0
  kClosed,    // last event of a socket; the slot may be given out again from here on
  kWoken,     // another agent called wake; look at the inboxes
};

struct Completion {
  Event event;
  uint16_t buffer = 0;         // kReceived: id for recycle; kAccepted: number of the listener
  uint32_t slot = UINT32_MAX;  // socket
  uint32_t generation = 0;     // as given to start_receive and later calls; 0 for kAccepted
  int32_t result = 0;          // bytes, or -errno
  uint8_t* data = nullptr;     // kReceived: may be written to (unmasking in place)
  const sockaddr_in6* peer = nullptr;  // kPeerName: IPv4 comes mapped; valid until the next poll
};

// A send the socket did not take whole in this turn. sent >= 0: bytes taken before it was full;
// sent < 0: -errno, the connection is broken.
struct ShortSend {
  uint32_t slot;
  uint32_t generation;
  int32_t sent;
};

// What a backend met that a socket's owner does not see; plain numbers of the shard thread.
struct IoTrouble {
  uint64_t buffer_pauses = 0;  // receives that waited for a buffer
  uint64_t memory_pauses = 0;  // receives and sends that the kernel had no memory for, tried again
  uint64_t overflows = 0;      // the completion queue ran over (slow path, nothing is lost)
};

// Wakes one agent out of its wait. Cheap to copy. wake() may be called by any thread.
class Waker {
 public:
  virtual ~Waker() = default;
  // System call; for threads without a ring (control, host).
  virtual void wake() = 0;
};

enum class IoStatus : uint8_t {
  kOk,
  kAddressInUse,   // bind: another process listens there without SO_REUSEPORT
  kAddressDenied,  // bind: no permission or address not on this machine
  kNoDescriptors,  // process or table limit reached
  kKernelTooOld,   // a needed feature is missing
  kRefused,        // a sandbox, a security module or a switch forbids it
  kFailed,         // anything else
};

// What it means and what to do, for people.
inline const char* describe(IoStatus status) {
  switch (status) {
    case IoStatus::kOk:
      return "ok";
    case IoStatus::kAddressInUse:
      return "another process listens there; stop it or choose another port";
    case IoStatus::kAddressDenied:
      return "the address is not on this machine, or the port needs more rights";
    case IoStatus::kNoDescriptors:
      return "no descriptors left; raise the limit of open files";
    case IoStatus::kKernelTooOld:
      return "the kernel lacks a needed feature; Linux 6.1 or newer";
    case IoStatus::kRefused:
      return "it is forbidden here";
    case IoStatus::kFailed:
      break;
  }
  return "the system refused";
}

// Why a backend could not be made, for people: what was wrong and what to do.
struct SetupError {
  char text[256] = {};
};

inline constexpr uint32_t kListenersMax = 8;

// Where a shard listens. Every shard listens on the same address with SO_REUSEPORT.
struct ListenSpec {
  sockaddr_in6 address{};  // IPv4 as ::ffff:a.b.c.d
  int backlog = 4096;
  // A socket takes no more while so many bytes are in the kernel and not on their way; 0: as many
  // as its send buffer holds, which hides a slow reader for megabytes.
  uint32_t unsent_bytes = 0;
};

class Io {
 public:
  virtual ~Io() = default;

  // Binds, listens and accepts from the next poll on. `port_out`: the bound port (for port 0).
  // Up to kListenersMax times; listeners are numbered from 0 in that order.
  [[nodiscard]] virtual IoStatus listen(const ListenSpec& spec, uint16_t* port_out) = 0;
  // Ends accepting and closes all listeners; accepted sockets stay.
  virtual void stop_accepting() = 0;

  // Receives from now on, until close or kEnded. `generation` (24 bits) comes back with events.
  virtual void start_receive(uint32_t slot, uint32_t generation) = 0;
  virtual void recycle(uint16_t buffer) = 0;

  // Sends without waiting (MSG_DONTWAIT). data, parts and what they point at stay valid until
  // finish_sends() returns. At most one send per socket between two finish_sends(), of at most
  // 1,024 parts (UIO_MAXIOV).
  virtual void send(uint32_t slot, uint32_t generation, const uint8_t* data, uint32_t size) = 0;
  virtual void send(uint32_t slot, uint32_t generation, const iovec* parts, uint32_t count,
                    uint32_t total) = 0;
  // Submits, and returns when every send since the last call is over: the ones not taken whole.
  // Valid until the next send. Other completions that arrive meanwhile wait for poll.
  virtual std::span<const ShortSend> finish_sends() = 0;

  // One kWritable when the socket takes bytes again.
  virtual void watch_writable(uint32_t slot, uint32_t generation) = 0;
  virtual void query_peer(uint32_t slot, uint32_t generation) = 0;
  // Half-close: FIN after what was sent. The receive side goes on.
  virtual void shut_down_send(uint32_t slot, uint32_t generation) = 0;
  // Ends both directions; kClosed comes when nothing of the socket is in flight any more.
  // Unsent kernel bytes are still delivered (no linger), unless received bytes were left unread:
  // then TCP resets. Only kClosed follows in later polls; events of the same poll's list that were
  // made before the close still stand there (kReceived among them must be recycled).
  virtual void close(uint32_t slot, uint32_t generation) = 0;

  // --- hand-over of sockets to another process; uring_handover.cc ---
  virtual bool can_hand_over() const { return false; }
  // Ends accepting and receiving for a while; what had arrived comes with the next polls, what
  // arrives now stays in the sockets. Again until paused() says that nothing is under way.
  virtual void pause() {}
  virtual bool paused() const { return false; }
  // Goes on with both. Also begins receiving on sockets that were adopted.
  virtual void resume() {}
  // Numbers of this process for sockets, the caller's to close. False: the system has no room or no
  // way (Linux 6.8); then none is open.
  [[nodiscard]] virtual bool descriptors_of(std::span<const uint32_t>, std::span<int>) {
    return false;
  }
  // In the order of listen(); they stay this object's.
  virtual std::span<const int> listeners() const { return {}; }
  // Before the first poll: a socket or a listener of another process; takes the descriptor.
  [[nodiscard]] virtual bool adopt(uint32_t, uint32_t, int) { return false; }
  [[nodiscard]] virtual bool adopt_listener(int, const ListenSpec&) { return false; }

  // Wakes another agent from the shard thread without a system call of its own (the wake leaves
  // with the next submit). `target` must be a Waker made by the same backend.
  virtual void wake(Waker& target) = 0;
  virtual Waker& waker() = 0;

  // Submits everything pending, waits until `deadline` (or not at all when it is past), until an
  // event arrives or somebody wakes us. Returns a bounded number of events (512), the rest comes
  // with the next poll; valid until then.
  virtual std::span<const Completion> poll(base::Instant deadline) = 0;

  virtual IoTrouble trouble() const = 0;

  // Monotonic time of this backend (virtual in the simulation) and wall clock.
  virtual base::Instant now() = 0;
  virtual base::UnixMs unix_ms() = 0;
};

}  // namespace tidegate::io
