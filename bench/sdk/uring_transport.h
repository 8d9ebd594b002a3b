// SPDX-License-Identifier: Apache-2.0
// Thousands of clients of the library on one thread: a transport (tidegate/client.h) whose links
// share one io_uring. What clients send in a round waits for turn(), which hands everything to the
// kernel and takes what came for all links with one system call; receive() then copies from memory.
// What it does not do: TLS, and giving up links before their process ends (a closed one goes when
// its last operation has). Thread: one. Owner: the program, beyond its clients. Limits: `links` at
// a time; a link sends at most kSendBytes a round, the rest waits with the client.
#pragma once

#include <liburing.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tidegate/client.h"

namespace tidegate::bench {

class UringTransport {
 public:
  static constexpr uint32_t kSendBytes = 4096;

  // Null: `problem` says why.
  static std::unique_ptr<UringTransport> make(uint32_t links, std::string* problem);
  ~UringTransport();
  UringTransport(const UringTransport&) = delete;
  UringTransport& operator=(const UringTransport&) = delete;

  // For tidegate_client_config::transport; valid as long as this.
  const tidegate_client_transport& table() const { return table_; }
  // The end of a round.
  void turn();

 private:
  struct Link;
  // A piece of what came: a buffer of the ring from `offset` on.
  struct Piece {
    uint16_t buffer;
    uint16_t offset, bytes;
    uint32_t next;  // piece behind it
  };
  static constexpr uint32_t kNone = UINT32_MAX;
  static constexpr uint32_t kBufferBytes = 2048;

  explicit UringTransport(uint32_t links);
  bool start(std::string* problem);
  io_uring_sqe* sqe();
  void arm(Link& link);
  void flush(Link& link);
  void take(const io_uring_cqe& cqe);
  void give_back(uint16_t buffer);
  void end_if_idle(Link* link);

  static void* open(void* user, const char* host, uint16_t port, int32_t secure);
  static int32_t status(void* user, void* handle);
  static int64_t send(void* user, void* handle, const void* data, size_t size);
  static int64_t receive(void* user, void* handle, void* data, size_t room);
  static void close(void* user, void* handle);
  static int64_t now_ns(void* user);
  static int64_t unix_ms(void* user);
  static uint64_t random(void* user);

  uint32_t buffers_;
  tidegate_client_transport tcp_{}, table_{};
  io_uring ring_{};
  bool has_ring_ = false;
  io_uring_buf_ring* buffer_ring_ = nullptr;
  uint8_t* memory_ = nullptr;
  uint32_t given_ = 0;         // buffers put into the ring since the last advance
  std::vector<Piece> pieces_;  // as many as buffers, by their number
  std::vector<Link*> links_;   // by number; null: free
  std::vector<uint32_t> free_;
  std::vector<uint32_t> dirty_, flushing_;  // have something to send
};

}  // namespace tidegate::bench
