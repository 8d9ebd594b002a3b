// SPDX-License-Identifier: Apache-2.0
#include "handover/channel.h"

#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace tidegate::handover {

Channel::~Channel() { close(); }

void Channel::close() {
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = -1;
}

bool Channel::make_pair(int (&ends)[2], std::string* error) {
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0) return true;
  *error = std::string("socketpair: ") + std::strerror(errno);
  return false;
}

bool Channel::send(Packet packet, base::Bytes payload, std::span<const int> descriptors) {
  if (payload.size() > kPacketBytesMax || descriptors.size() > kDescriptorsMax) return false;
  uint32_t head = static_cast<uint32_t>(packet);
  iovec parts[2] = {{&head, sizeof head}, {const_cast<uint8_t*>(payload.data()), payload.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (!descriptors.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(c), descriptors.data(), descriptors.size_bytes());
  }
  for (;;) {
    if (::sendmsg(descriptor_, &message, MSG_NOSIGNAL) >= 0) return true;
    if (errno != EINTR) return false;
  }
}

bool Channel::receive(base::Duration limit, Packet* packet, std::vector<uint8_t>* payload,
                      std::vector<int>* descriptors) {
  pollfd wait{descriptor_, POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&wait, 1, static_cast<int>(limit.ns / 1'000'000));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) return false;
  uint32_t head = 0;
  payload->resize(kPacketBytesMax);
  iovec parts[2] = {{&head, sizeof head}, {payload->data(), payload->size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(kDescriptorsMax * sizeof(int))];
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t n = 0;
  do {
    n = ::recvmsg(descriptor_, &message, MSG_CMSG_CLOEXEC);
  } while (n < 0 && errno == EINTR);
  descriptors->clear();
  if (n > 0) {
    for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
      if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
      const size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
      const size_t had = descriptors->size();
      descriptors->resize(had + count);
      std::memcpy(descriptors->data() + had, CMSG_DATA(c), count * sizeof(int));
    }
  }
  if (n < static_cast<ssize_t>(sizeof head) ||
      (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    for (const int fd : *descriptors) ::close(fd);
    descriptors->clear();
    return false;
  }
  payload->resize(static_cast<size_t>(n) - sizeof head);
  *packet = static_cast<Packet>(head);
  return true;
}

int make_memory_file(base::Bytes bytes) {
  const int fd = ::memfd_create("tidegate-handover", MFD_CLOEXEC);
  if (fd < 0) return -1;
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), std::min<size_t>(bytes.size(), 1u << 30));
    if (n <= 0) {
      if (n < 0 && errno == EINTR) continue;
      ::close(fd);
      return -1;
    }
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return fd;
}

MemoryFile::~MemoryFile() {
  if (data_ != nullptr) ::munmap(const_cast<uint8_t*>(data_), size_);
}

bool MemoryFile::open(int descriptor, uint64_t bytes) {
  struct stat info{};
  const bool good = ::fstat(descriptor, &info) == 0 && S_ISREG(info.st_mode) &&
                    static_cast<uint64_t>(info.st_size) == bytes;
  if (good && bytes != 0) {
    void* p = ::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (p != MAP_FAILED) {
      data_ = static_cast<const uint8_t*>(p);
      size_ = bytes;
    }
  }
  ::close(descriptor);
  return good && (bytes == 0 || data_ != nullptr);
}

}  // namespace tidegate::handover
