// SPDX-License-Identifier: Apache-2.0
// How many connections an address, a network and a user have, and how fast they come, over all
// shards of the process (docs/limits.md, docs/decisions/0011-admission.md).
//
// Tables of a fixed size that never evict: a key is hashed, keyed by a seed nobody outside knows,
// to one cell in each of kRows rows, and the smallest of them counts. A collision can make a count
// too high, never too low; with the sizes chosen here that is one key in some ten thousand when the
// server is full. A rate is a time in the same kind of table: the virtual time at which the key's
// bucket would be full again (GCRA).
//
// The one thing that shards share by memory: relaxed atomics, touched once when a connection comes
// and once when it goes. No order between two cells is relied upon: of
// connections with one key that come to several shards in the same instant, each shard may let in
// one too many.
//
// Thread: any shard. Owner: server; outlives the shards. Limits: memory at construction.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

#include "base/ip.h"
#include "base/time.h"
#include "mem/mapped_array.h"

namespace tidegate::net {

// 0: no limit.
struct AdmissionLimits {
  uint32_t connections_per_ip = 0;       // of one IPv4 or IPv6 address
  uint32_t connections_per_network = 0;  // of one IPv6 /64
  uint32_t connections_per_user = 0;
  uint32_t connects_per_ip = 0;  // a second, of one IPv4 address or IPv6 /64
  uint32_t connects_per_ip_burst = 1;
  uint32_t connects = 0;  // a second, in all
  uint32_t connects_burst = 1;
};

// Label of tidegate_admission_refused_total.
enum class Admission : uint8_t {
  kAdmitted,
  kFull,         // limits.connections
  kPerIp,        // limits.connections_per_ip
  kPerNetwork,   // limits.connections_per_network
  kPerUser,      // limits.connections_per_user
  kConnectRate,  // limits.connects_per_ip
  kConnects,     // limits.connects
  kProxyHeader,  // no PROXY header where one is required, or from a peer that may not send one
  kMemory,       // limits.memory
  kCount,
};
const char* name_of(Admission verdict);

struct AdmissionAnswer {
  Admission verdict = Admission::kAdmitted;
  uint32_t retry_after_s = 0;  // when refused: at least 1
};

class AdmissionTables {
 public:
  // Room for so many connections of the process.
  AdmissionTables(uint32_t connections, uint64_t seed);

  // Counts a connection of `client`. When it is refused nothing stays counted.
  AdmissionAnswer enter(const AdmissionLimits& limits, const base::IpAddress& client,
                        base::Instant now);
  void leave(const base::IpAddress& client);
  // The same for a logged-in user.
  bool enter_user(uint32_t limit, std::string_view user);
  void leave_user(std::string_view user);

  uint32_t connections_of(const base::IpAddress& client) const;
  uint64_t memory_bytes() const { return counts_.bytes() + times_.bytes(); }

 private:
  static constexpr uint32_t kRows = 3;

  uint64_t hash(uint32_t kind, const void* data, size_t size) const;
  uint64_t address_key(const base::IpAddress& client) const;
  uint64_t network_key(const base::IpAddress& client) const;
  std::atomic<uint32_t>& count_cell(uint64_t key, uint32_t row);
  uint32_t add(uint64_t key);
  void remove(uint64_t key);
  bool take(uint64_t key, uint32_t per_second, uint32_t burst, base::Instant now, int64_t* wait_ns);

  uint64_t seed_;
  uint32_t mask_;       // columns of counts_ - 1
  uint32_t time_mask_;  // columns of times_ - 1
  mem::MappedArray<std::atomic<uint32_t>> counts_;
  mem::MappedArray<std::atomic<int64_t>> times_;
  std::atomic<int64_t> all_ns_{0};   // of limits.connects
  std::atomic<int64_t> line_ns_{0};  // those refused by it, one behind the other
};

}  // namespace tidegate::net
