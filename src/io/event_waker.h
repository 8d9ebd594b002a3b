// SPDX-License-Identifier: Apache-2.0
// Waker over an eventfd. A thread without a ring (control, host) makes one and waits on fd() with
// poll or epoll; a UringIo holds one and listens to it inside its ring, so both kinds are woken the
// same way: by wake() from any thread, or by Io::wake from a shard without an own system call.
//
// Thread: wake() any; the rest the owner. Owner: closes its descriptor. Limits: wakes coalesce.
#pragma once

#include <cstdint>

#include "io/io.h"

namespace tidegate::io {

class EventWaker final : public Waker {
 public:
  EventWaker();
  ~EventWaker() override;
  EventWaker(const EventWaker&) = delete;
  EventWaker& operator=(const EventWaker&) = delete;

  bool valid() const { return fd_ >= 0; }  // false: the process has no descriptor left
  int fd() const { return fd_; }           // readable after a wake until drain()
  void wake() override;
  // Forgets the wakes so far; the owner calls it before it looks at its inboxes. Never blocks.
  void drain();

  // Ordering of what the waker wrote before the wake, for ThreadSanitizer, which cannot see it when
  // the wake travels through a ring. release: before a wake; acquire: after being woken.
  void note_release();
  void note_acquire();

 private:
  int fd_;
};

}  // namespace tidegate::io
