// SPDX-License-Identifier: Apache-2.0
#include "uring_transport.h"

#include <sys/mman.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "sdk/tcp_transport.h"

namespace tidegate::bench {

namespace {
constexpr uint64_t kSend = 0, kReceive = 1;
}  // namespace

struct UringTransport::Link {
  void* tcp;  // of the built-in transport, which connects
  int fd = -1;
  uint32_t index;
  bool connected = false, closed = false, failed = false;
  bool receiving = false;                // a receive is armed
  uint32_t sending = 0;                  // bytes of `flight` that the kernel has
  uint32_t sent = 0;                     // of them done
  uint32_t waiting = 0;                  // bytes of `out`
  uint32_t first = kNone, last = kNone;  // pieces that came
  uint8_t* out;
  uint8_t* flight;
  uint8_t bytes[2][kSendBytes];
};

UringTransport::UringTransport(uint32_t links)
    : buffers_(std::min<uint32_t>(std::bit_ceil(links * 2), 32'768)), tcp_(sdk::tcp_transport()) {
  pieces_.resize(buffers_);
  links_.resize(links);
  for (uint32_t i = links; i > 0; --i) free_.push_back(i - 1);
  dirty_.reserve(links);
  flushing_.reserve(links);
  table_.struct_size = sizeof table_;
  table_.user = this;
  table_.open = open;
  table_.status = status;
  table_.send = send;
  table_.receive = receive;
  table_.close = close;
  table_.now_ns = now_ns;
  table_.unix_ms = unix_ms;
  table_.random = random;
}

std::unique_ptr<UringTransport> UringTransport::make(uint32_t links, std::string* problem) {
  std::unique_ptr<UringTransport> made(new UringTransport(links));
  return made->start(problem) ? std::move(made) : nullptr;
}

bool UringTransport::start(std::string* problem) {
  const auto fails = [&](const char* what, int error) {
    *problem = std::string(what) + ": " + std::strerror(error);
    return false;
  };
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE |
                 IORING_SETUP_CLAMP;
  params.cq_entries = std::max<uint32_t>(buffers_ * 2, 8192);
  if (const int r = io_uring_queue_init_params(4096, &ring_, &params); r < 0) {
    return fails("io_uring", -r);
  }
  has_ring_ = true;
  const size_t ring_bytes = buffers_ * sizeof(io_uring_buf);
  void* ring =
      mmap(nullptr, ring_bytes, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  void* memory = mmap(nullptr, size_t{buffers_} * kBufferBytes, PROT_READ | PROT_WRITE,
                      MAP_ANONYMOUS | MAP_PRIVATE, -1, 0);
  if (ring == MAP_FAILED || memory == MAP_FAILED) return fails("memory", errno);
  buffer_ring_ = static_cast<io_uring_buf_ring*>(ring);
  memory_ = static_cast<uint8_t*>(memory);
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<uint64_t>(ring);
  registration.ring_entries = buffers_;
  if (const int r = io_uring_register_buf_ring(&ring_, &registration, 0); r < 0) {
    return fails("buffer ring", -r);
  }
  io_uring_buf_ring_init(buffer_ring_);
  for (uint32_t i = 0; i < buffers_; ++i) give_back(static_cast<uint16_t>(i));
  return true;
}

UringTransport::~UringTransport() {
  if (has_ring_) io_uring_queue_exit(&ring_);
  for (Link* link : links_) {
    if (link == nullptr) continue;
    if (link->closed) tcp_.close(tcp_.user, link->tcp);
    delete link;
  }
  if (memory_ != nullptr) munmap(memory_, size_t{buffers_} * kBufferBytes);
  if (buffer_ring_ != nullptr) munmap(buffer_ring_, buffers_ * sizeof(io_uring_buf));
}

io_uring_sqe* UringTransport::sqe() {
  io_uring_sqe* s = io_uring_get_sqe(&ring_);
  if (s == nullptr) {
    io_uring_submit(&ring_);
    s = io_uring_get_sqe(&ring_);
  }
  return s;
}

void UringTransport::give_back(uint16_t buffer) {
  io_uring_buf_ring_add(buffer_ring_, memory_ + size_t{buffer} * kBufferBytes, kBufferBytes, buffer,
                        io_uring_buf_ring_mask(buffers_), static_cast<int>(given_));
  if (++given_ < 64) return;
  io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(given_));
  given_ = 0;
}

void UringTransport::arm(Link& link) {
  io_uring_sqe* s = sqe();
  io_uring_prep_recv_multishot(s, link.fd, nullptr, 0, 0);
  s->flags |= IOSQE_BUFFER_SELECT;
  s->buf_group = 0;
  io_uring_sqe_set_data64(s, uint64_t{link.index} << 1 | kReceive);
  link.receiving = true;
}

// Hands what waits to the kernel, unless it still has what went before.
void UringTransport::flush(Link& link) {
  if (link.failed || link.closed) return;
  if (link.sending == 0) {
    if (link.waiting == 0) return;
    std::swap(link.out, link.flight);
    link.sending = link.waiting;
    link.sent = link.waiting = 0;
  } else if (link.sent == 0) {
    return;
  }
  io_uring_sqe* s = sqe();
  io_uring_prep_send(s, link.fd, link.flight + link.sent, link.sending - link.sent,
                     MSG_NOSIGNAL | MSG_WAITALL);
  io_uring_sqe_set_data64(s, uint64_t{link.index} << 1 | kSend);
}

void UringTransport::take(const io_uring_cqe& cqe) {
  Link* const link = links_[cqe.user_data >> 1];
  if ((cqe.user_data & 1) == kSend) {
    if (cqe.res < 0) {
      link->failed = true;
      link->sending = 0;
    } else {
      link->sent += static_cast<uint32_t>(cqe.res);
      if (link->sent == link->sending) {
        link->sending = link->sent = 0;
      } else {
        flush(*link);
      }
    }
    if (link->sending == 0 && link->waiting != 0) dirty_.push_back(link->index);
    end_if_idle(link);
    return;
  }
  if ((cqe.flags & IORING_CQE_F_MORE) == 0) link->receiving = false;
  if ((cqe.flags & IORING_CQE_F_BUFFER) != 0) {
    const auto buffer = static_cast<uint16_t>(cqe.flags >> IORING_CQE_BUFFER_SHIFT);
    if (cqe.res <= 0 || link->closed) {
      give_back(buffer);
    } else {
      pieces_[buffer] = {buffer, 0, static_cast<uint16_t>(cqe.res), kNone};
      (link->first == kNone ? link->first : pieces_[link->last].next) = buffer;
      link->last = buffer;
    }
  }
  if (cqe.res == 0 || (cqe.res < 0 && cqe.res != -ENOBUFS)) link->failed = true;
  if (!link->receiving && !link->failed && !link->closed) arm(*link);
  end_if_idle(link);
}

void UringTransport::turn() {
  if (given_ != 0) io_uring_buf_ring_advance(buffer_ring_, static_cast<int>(given_));
  given_ = 0;
  flushing_.clear();
  flushing_.swap(dirty_);
  for (const uint32_t i : flushing_) {
    if (links_[i] != nullptr) flush(*links_[i]);
  }
  io_uring_submit_and_get_events(&ring_);
  io_uring_cqe* some[256];
  for (unsigned n; (n = io_uring_peek_batch_cqe(&ring_, some, 256)) > 0;) {
    for (unsigned i = 0; i < n; ++i) take(*some[i]);
    io_uring_cq_advance(&ring_, n);
  }
}

// ---- the table

void* UringTransport::open(void* user, const char* host, uint16_t port, int32_t secure) {
  auto& self = *static_cast<UringTransport*>(user);
  if (self.free_.empty()) return nullptr;
  void* const tcp = self.tcp_.open(self.tcp_.user, host, port, secure);
  if (tcp == nullptr) return nullptr;
  auto* const link = new Link;
  link->tcp = tcp;
  link->index = self.free_.back();
  link->out = link->bytes[0];
  link->flight = link->bytes[1];
  self.free_.pop_back();
  self.links_[link->index] = link;
  return link;
}

int32_t UringTransport::status(void* user, void* handle) {
  auto& self = *static_cast<UringTransport*>(user);
  auto& link = *static_cast<Link*>(handle);
  if (link.connected) return 1;
  const int32_t status = self.tcp_.status(self.tcp_.user, link.tcp);
  if (status != 1) return status;
  bool wants_write = false;
  link.fd = sdk::tcp_descriptor(self.tcp_.user, link.tcp, &wants_write);
  link.connected = true;
  self.arm(link);
  return 1;
}

int64_t UringTransport::send(void* user, void* handle, const void* data, size_t size) {
  auto& self = *static_cast<UringTransport*>(user);
  auto& link = *static_cast<Link*>(handle);
  if (link.failed) return -1;
  const size_t taken = std::min<size_t>(size, kSendBytes - link.waiting);
  if (taken == 0) return 0;
  if (link.waiting == 0) self.dirty_.push_back(link.index);
  std::memcpy(link.out + link.waiting, data, taken);
  link.waiting += static_cast<uint32_t>(taken);
  return static_cast<int64_t>(taken);
}

int64_t UringTransport::receive(void* user, void* handle, void* data, size_t room) {
  auto& self = *static_cast<UringTransport*>(user);
  auto& link = *static_cast<Link*>(handle);
  size_t got = 0;
  while (link.first != kNone && got < room) {
    Piece& piece = self.pieces_[link.first];
    const size_t n = std::min<size_t>(piece.bytes, room - got);
    std::memcpy(static_cast<uint8_t*>(data) + got,
                self.memory_ + size_t{piece.buffer} * kBufferBytes + piece.offset, n);
    got += n;
    piece.offset = static_cast<uint16_t>(piece.offset + n);
    piece.bytes = static_cast<uint16_t>(piece.bytes - n);
    if (piece.bytes != 0) break;
    link.first = piece.next;
    self.give_back(piece.buffer);
  }
  if (got != 0) return static_cast<int64_t>(got);
  return link.failed ? -1 : 0;
}

void UringTransport::close(void* user, void* handle) {
  auto& self = *static_cast<UringTransport*>(user);
  auto* const link = static_cast<Link*>(handle);
  link->closed = true;
  while (link->first != kNone) {
    const Piece piece = self.pieces_[link->first];
    self.give_back(piece.buffer);
    link->first = piece.next;
  }
  if (link->connected && link->sending == 0 && link->waiting != 0) {  // its last words
    (void)!::send(link->fd, link->out, link->waiting, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  // What still runs ends by this; the descriptor stays until then.
  if (link->connected) ::shutdown(link->fd, SHUT_RDWR);
  self.end_if_idle(link);
}

void UringTransport::end_if_idle(Link* link) {
  if (!link->closed || link->receiving || link->sending != 0) return;
  tcp_.close(tcp_.user, link->tcp);
  links_[link->index] = nullptr;
  free_.push_back(link->index);
  delete link;
}

int64_t UringTransport::now_ns(void* user) {
  const auto& tcp = static_cast<UringTransport*>(user)->tcp_;
  return tcp.now_ns(tcp.user);
}
int64_t UringTransport::unix_ms(void* user) {
  const auto& tcp = static_cast<UringTransport*>(user)->tcp_;
  return tcp.unix_ms(tcp.user);
}
uint64_t UringTransport::random(void* user) {
  const auto& tcp = static_cast<UringTransport*>(user)->tcp_;
  return tcp.random(tcp.user);
}

}  // namespace tidegate::bench
