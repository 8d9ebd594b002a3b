// SPDX-License-Identifier: Apache-2.0
// The network on a thread of its own: a transport over the built-in one. Names are looked up,
// sockets read and written and TLS done on that thread; what is above (WebSocket, long polling, the
// game's callbacks) stays with whoever polls, and the two meet in byte buffers only.
//
// Thread: the table's functions: one user; below: the network thread. Every field that both touch
// lies under `mutex_`, which nobody holds across a system call. Owner: Client; its links must be
// closed before it goes, and the destructor waits for the thread. Limits: kUpBytes and kDownBytes
// of each link, kLinksMost links; a link that is full is not read until there is room.
#pragma once

#include <pthread.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tidegate/client.h"

namespace tidegate::sdk {

// What the thread has to wait for beside reading; -1: no descriptor.
using DescriptorOf = int (*)(void* user, void* link, bool* wants_write);

// Bytes from one thread to the other; the caller has the lock.
class ByteRing {
 public:
  explicit ByteRing(size_t room) : bytes_(room) {}
  size_t size() const { return size_; }
  size_t room() const { return bytes_.size() - size_; }
  size_t put(const uint8_t* data, size_t size);  // what fits
  size_t copy(uint8_t* data, size_t most) const;
  void drop(size_t size);

 private:
  std::vector<uint8_t> bytes_;
  size_t first_ = 0;
  size_t size_ = 0;
};

class NetworkThread {
 public:
  static constexpr size_t kUpBytes = 64 * 1024;
  static constexpr size_t kDownBytes = 256 * 1024;
  static constexpr size_t kLinksMost = 16;

  // Null: no thread or descriptors were to be had; `problem` says so.
  static std::unique_ptr<NetworkThread> make(const tidegate_client_transport& below,
                                             DescriptorOf descriptor, std::string* problem);
  ~NetworkThread();
  NetworkThread(const NetworkThread&) = delete;
  NetworkThread& operator=(const NetworkThread&) = delete;

  tidegate_client_transport table();

  struct Calls;  // the functions of the table

 private:
  friend struct Calls;
  struct Link {
    std::string host;
    uint16_t port = 0;
    int32_t secure = 0;
    // Under the lock.
    ByteRing up{kUpBytes}, down{kDownBytes};
    int32_t status = 0;    // as of the table's status()
    bool ended = false;    // nothing follows what is in `down`
    bool closing = false;  // by the user, who does not know the link any more
    bool full = false;     // the thread waits for room in `down`
    std::string problem;
    // The user's.
    std::string told;
    // The thread's.
    void* below = nullptr;
    bool begun = false;
    bool connected = false;
    bool blocked = false;  // the socket took nothing
    bool reading = false;  // there is room for more
    bool mute = false;     // a send failed; the server's last words may wait to be read
    bool over = false;     // it failed: neither read nor written any more
    int64_t close_by_ns = 0;
  };

  NetworkThread(const tidegate_client_transport& below, DescriptorOf descriptor)
      : below_(below), descriptor_(descriptor) {}
  static void* run(void* self);
  void loop();
  // True: the link is done with and can go.
  bool step(Link& link);
  void begin(Link& link);
  void fail(Link& link);
  void move_up(Link& link);
  void move_down(Link& link);
  bool finish(Link& link);
  void pause(const std::vector<Link*>& links);
  void wake(int fd);

  tidegate_client_transport below_;
  DescriptorOf descriptor_;
  int thread_fd_ = -1;  // wakes the thread
  int user_fd_ = -1;    // wakes wait()
  pthread_t thread_{};
  bool started_ = false;
  uint8_t chunk_[16 * 1024];  // the thread's
  std::mutex mutex_;
  std::vector<std::unique_ptr<Link>> links_;
  bool stop_ = false;
  bool waiting_ = false;  // the user is in wait()
};

}  // namespace tidegate::sdk
