// SPDX-License-Identifier: Apache-2.0
#include "io/event_waker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace tidegate::io {

EventWaker::EventWaker() : fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {}

EventWaker::~EventWaker() {
  if (fd_ >= 0) ::close(fd_);
}

void EventWaker::wake() {
  note_release();
  const uint64_t one = 1;
  // EAGAIN (the counter is full) means that the reader is woken already; there is nothing to retry.
  [[maybe_unused]] const ssize_t written = ::write(fd_, &one, sizeof one);
}

void EventWaker::drain() {
  uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_, &count, sizeof count);
  note_acquire();
}

void EventWaker::note_release() {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(this);
#endif
}

void EventWaker::note_acquire() {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(this);
#endif
}

}  // namespace tidegate::io
