// SPDX-License-Identifier: Apache-2.0
// The socket between two processes of an upgrade: whole packets with descriptors, and memory files
// that carry what is large. Nothing here knows what the packets mean.
//
//   old -> new   kHello, kListeners       shards, ports; descriptors of the listeners
//   new -> old   kReady | kRefused        configuration read, memory taken, rings made
//   old -> new   kState, kDescriptors ... a memory file and the sockets of each shard; kEnd
//   new -> old   kTaken | kRefused        everything was read and found room
//   old -> new   kGo                      from here on the old one never serves again
//   new -> old   kTicking                 the first tick has run: the old one may tidy up
//
// Until kGo either side may close the socket: the new one ends, the old one goes on.
//
// Thread: host; may block. Owner: closes its descriptor. Limits: kPacketBytesMax, kDescriptorsMax.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/time.h"

namespace tidegate::handover {

enum class Packet : uint32_t {
  kHello = 1,
  kListeners,
  kReady,        // u32, bits of records.h; may be missing
  kRefused,      // text
  kState,        // u32 shard or kProcessState, u64 bytes; one memory file
  kDescriptors,  // u32 shard
  kEnd,
  kTaken,
  kGo,
  kTicking,  // may be missing
};

inline constexpr uint32_t kProcessState = UINT32_MAX;
inline constexpr size_t kPacketBytesMax = 32 * 1024;
inline constexpr size_t kDescriptorsMax = 250;  // the kernel's own limit is 253

class Channel {
 public:
  explicit Channel(int descriptor) : descriptor_(descriptor) {}
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  // Both ends; false with text.
  [[nodiscard]] static bool make_pair(int (&ends)[2], std::string* error);

  [[nodiscard]] bool send(Packet packet, base::Bytes payload,
                          std::span<const int> descriptors = {});
  // Waits up to `limit`. False: nothing came, the other side is gone, or it is no packet.
  // `descriptors` are the caller's to close.
  [[nodiscard]] bool receive(base::Duration limit, Packet* packet, std::vector<uint8_t>* payload,
                             std::vector<int>* descriptors);
  void close();
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};

// A memory file with these bytes; -1: the system has no room.
int make_memory_file(base::Bytes bytes);
// Maps one for reading.
class MemoryFile {
 public:
  MemoryFile() = default;
  ~MemoryFile();
  MemoryFile(MemoryFile&& other) noexcept : data_(other.data_), size_(other.size_) {
    other.data_ = nullptr;
    other.size_ = 0;
  }
  MemoryFile& operator=(MemoryFile&&) = delete;
  // Takes `descriptor`. False: it has not `bytes` bytes, or cannot be mapped.
  [[nodiscard]] bool open(int descriptor, uint64_t bytes);
  base::Bytes bytes() const { return {data_, size_}; }

 private:
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tidegate::handover
