// SPDX-License-Identifier: Apache-2.0
// Sockets on their way to and from another process. A direct descriptor has no number that could be
// sent; the kernel makes one (IORING_OP_FIXED_FD_INSTALL, Linux 6.8). The socket itself is shared
// then: what ends this ring ends nothing.
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/assert.h"
#include "io/uring_compat.h"
#include "io/uring_io.h"
#include "io/uring_slots.h"

namespace tidegate::io {
namespace {

constexpr uint32_t kInstallsAtOnce = 512;  // less than the queues hold

}  // namespace

void UringIo::pause() {
  pausing_ = true;
  accepting_ = false;
  accept_wanted_ = 0;
  table_full_ = 0;
  for (uint32_t i = 0; i < listener_count_; ++i) {
    if ((accepts_out_ & 1u << i) == 0) continue;
    io_uring_sqe* sqe = prepare(IORING_OP_ASYNC_CANCEL, Op::kIgnored, 0, 0);
    sqe->fd = -1;
    sqe->addr = pack_user_data(static_cast<uint8_t>(Op::kAccept), 0, i);
  }
  // A cancel may find its receive running; then the next call catches it.
  for (uint32_t slot = 0; slot < limits_.sockets; ++slot) {
    Slot& s = slots_[slot];
    if ((s.state & kClosing) != 0) continue;
    if ((s.state & kStarved) != 0) {
      unstarve(slot);
      s.state |= kHeldBack;
    }
    if ((s.state & kReceiving) != 0) cancel(Op::kReceive, slot);
  }
}

bool UringIo::paused() const {
  if (!pausing_ || accepts_out_ != 0 || ready_count() != 0) return false;
  for (uint32_t slot = 0; slot < limits_.sockets; ++slot) {
    const uint32_t state = slots_[slot].state;
    if ((state & kClosing) == 0 && (state & (kReceiving | kPeering)) != 0) return false;
  }
  return true;
}

void UringIo::resume() {
  pausing_ = false;
  accepting_ = listener_count_ != 0;
  for (uint32_t i = 0; i < listener_count_; ++i) {
    if ((accepts_out_ & 1u << i) == 0) accept_wanted_ |= 1u << i;
  }
  for (uint32_t slot = 0; slot < limits_.sockets; ++slot) {
    Slot& s = slots_[slot];
    if ((s.state & kHeldBack) == 0) continue;
    s.state &= ~kHeldBack;
    if ((s.state & (kClosing | kReceiving)) == 0) arm_receive(slot);
  }
}

// Takes the answers out of the completion queue; everything else waits for poll().
bool UringIo::collect_installed(std::span<int> by_slot, uint32_t count) {
  bool good = true;
  for (uint32_t got = 0; got < count;) {
    const uint32_t head = *ring_.cq.khead;
    if (head == __atomic_load_n(ring_.cq.ktail, __ATOMIC_ACQUIRE)) {
      enter(1, IORING_ENTER_GETEVENTS, nullptr);
      continue;
    }
    const io_uring_cqe cqe = ring_.cq.cqes[head & ring_.cq.ring_mask];
    __atomic_store_n(ring_.cq.khead, head + 1, __ATOMIC_RELEASE);
    if (static_cast<Op>(op_of(cqe.user_data)) != Op::kInstall) {
      TG_ASSERT(stash_end_ < stash_capacity_);
      stash_[stash_end_++] = cqe;
      continue;
    }
    ++got;
    by_slot[slot_of(cqe.user_data)] = cqe.res;
    good = good && cqe.res >= 0;
  }
  return good;
}

bool UringIo::descriptors_of(std::span<const uint32_t> slots, std::span<int> out) {
  TG_ASSERT(slots.size() == out.size());
  std::vector<int> by_slot(limits_.sockets, -1);
  bool good = true;
  if (sq_tail_ != sq_head_seen_) submit_all();
  for (size_t at = 0; good && at < slots.size(); at += kInstallsAtOnce) {
    const auto part = slots.subspan(at, std::min<size_t>(kInstallsAtOnce, slots.size() - at));
    for (const uint32_t slot : part) {
      io_uring_sqe* sqe = prepare(kOpFixedFdInstall, Op::kInstall, slot, slots_[slot].generation);
      sqe->flags = IOSQE_FIXED_FILE;
      sqe->fd = static_cast<int>(slot);
    }
    submit_all();
    good = collect_installed(by_slot, static_cast<uint32_t>(part.size()));
  }
  for (size_t i = 0; i < slots.size(); ++i) out[i] = by_slot[slots[i]];
  if (good) return true;
  for (int& descriptor : out) {
    if (descriptor >= 0) ::close(descriptor);
    descriptor = -1;
  }
  return false;
}

bool UringIo::adopt(uint32_t slot, uint32_t generation, int descriptor) {
  TG_ASSERT(!bound_);
  pausing_ = true;
  bool good = slot < limits_.sockets && slots_[slot].state == 0 &&
              io_uring_register_files_update(&ring_, slot, &descriptor, 1) == 1;
  if (good) {
    slots_[slot].generation = generation & kGenerationMask;
    slots_[slot].state = kOpen | kNamed;
    ++open_sockets_;
  }
  ::close(descriptor);
  return good;
}

bool UringIo::adopt_listener(int descriptor, const ListenSpec& spec) {
  TG_ASSERT(!bound_);
  if (listener_count_ == kListenersMax) {
    ::close(descriptor);
    return false;
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof bound;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&bound), &length) != 0) {
    ::close(descriptor);
    return false;
  }
  pausing_ = true;
  listener_family_ = bound.ss_family;
  record_flag_ = spec.unsent_bytes != 0 ? MSG_EOR : 0;
  listeners_[listener_count_++] = descriptor;
  return true;
}

}  // namespace tidegate::io
