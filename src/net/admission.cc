// SPDX-License-Identifier: Apache-2.0
#include "net/admission.h"

#include <algorithm>
#include <bit>

#include "base/bytes.h"

namespace tidegate::net {
namespace {

constexpr auto kRelaxed = std::memory_order_relaxed;
constexpr uint32_t kTimeColumns = 1 << 16;
constexpr uint32_t kLineSeconds = 60;  // nobody is sent away for longer

enum Kind : uint32_t { kAddress = 1, kNetwork, kUser, kConnect };

uint64_t mix(uint64_t a, uint64_t b) {
  const unsigned __int128 product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// The later of the two times, whoever else writes.
void lift(std::atomic<int64_t>& cell, int64_t to) {
  int64_t now = cell.load(kRelaxed);
  while (now < to && !cell.compare_exchange_weak(now, to, kRelaxed)) {
  }
}

uint32_t seconds_up(int64_t ns) {
  return static_cast<uint32_t>(
      std::clamp<int64_t>((ns + 999'999'999) / 1'000'000'000, 1, kLineSeconds));
}

}  // namespace

const char* name_of(Admission verdict) {
  switch (verdict) {
    case Admission::kAdmitted:
      return "admitted";
    case Admission::kFull:
      return "connections";
    case Admission::kPerIp:
      return "connections_per_ip";
    case Admission::kPerNetwork:
      return "connections_per_network";
    case Admission::kPerUser:
      return "connections_per_user";
    case Admission::kConnectRate:
      return "connects_per_ip";
    case Admission::kConnects:
      return "connects";
    case Admission::kProxyHeader:
      return "proxy_header";
    case Admission::kMemory:
      return "memory";
    case Admission::kCount:
      break;
  }
  return "?";
}

// Three kinds of keys for each connection, and room so that cells are mostly empty.
AdmissionTables::AdmissionTables(uint32_t connections, uint64_t seed)
    : seed_(seed),
      mask_(std::bit_ceil(std::clamp(connections, 512u, 1u << 18) * 8) - 1),
      time_mask_(kTimeColumns - 1),
      counts_(size_t{kRows} * (mask_ + 1)),
      times_(size_t{kRows} * (time_mask_ + 1)) {}

uint64_t AdmissionTables::hash(uint32_t kind, const void* data, size_t size) const {
  const auto* p = static_cast<const uint8_t*>(data);
  uint64_t h = mix(seed_ ^ kind, 0x9e3779b97f4a7c15u ^ size);
  for (; size >= 8; p += 8, size -= 8) {
    h = mix(h ^ base::load_le<uint64_t>(p), seed_ | 1);
  }
  uint8_t rest[8] = {};
  if (size != 0) std::memcpy(rest, p, size);
  h = mix(h ^ base::load_le<uint64_t>(rest), seed_ * 2 + 0xd1342543de82ef95u);
  return h ^ (h >> 29);
}

uint64_t AdmissionTables::address_key(const base::IpAddress& client) const {
  return hash(kAddress, client.bytes, sizeof client.bytes);
}

uint64_t AdmissionTables::network_key(const base::IpAddress& client) const {
  return hash(kNetwork, client.bytes, 8);
}

std::atomic<uint32_t>& AdmissionTables::count_cell(uint64_t key, uint32_t row) {
  return counts_[size_t{row} * (mask_ + 1) + (key >> (row * 21) & mask_)];
}

uint32_t AdmissionTables::add(uint64_t key) {
  uint32_t least = UINT32_MAX;
  for (uint32_t row = 0; row < kRows; ++row) {
    least = std::min(least, count_cell(key, row).fetch_add(1, kRelaxed) + 1);
  }
  return least;
}

void AdmissionTables::remove(uint64_t key) {
  for (uint32_t row = 0; row < kRows; ++row) count_cell(key, row).fetch_sub(1, kRelaxed);
}

// One arrival of the key. False: too early, by `wait_ns`; nothing is changed then.
bool AdmissionTables::take(uint64_t key, uint32_t per_second, uint32_t burst, base::Instant now,
                           int64_t* wait_ns) {
  const int64_t interval = 1'000'000'000 / per_second;
  std::atomic<int64_t>* cells[kRows];
  int64_t full = INT64_MAX;
  for (uint32_t row = 0; row < kRows; ++row) {
    cells[row] = &times_[size_t{row} * (time_mask_ + 1) + (key >> (row * 21) & time_mask_)];
    full = std::min(full, cells[row]->load(kRelaxed));
  }
  *wait_ns = full - interval * (std::max(burst, 1u) - 1) - now.ns;
  if (*wait_ns > 0) return false;
  const int64_t next = std::max(full, now.ns) + interval;
  for (std::atomic<int64_t>* cell : cells) lift(*cell, next);
  return true;
}

AdmissionAnswer AdmissionTables::enter(const AdmissionLimits& limits, const base::IpAddress& client,
                                       base::Instant now) {
  const bool known = client.known();
  const bool ipv4 = client.is_ipv4();
  const uint64_t address = address_key(client);
  const uint64_t network = network_key(client);
  if (known) {
    const uint32_t of_address = add(address);
    const uint32_t of_network = ipv4 ? 0 : add(network);
    const bool many = limits.connections_per_ip != 0 && of_address > limits.connections_per_ip;
    const bool many_near =
        limits.connections_per_network != 0 && of_network > limits.connections_per_network;
    AdmissionAnswer answer;
    int64_t wait_ns = 0;
    if (many || many_near) {
      answer = {many ? Admission::kPerIp : Admission::kPerNetwork, 5};
    } else if (limits.connects_per_ip != 0) {
      const uint64_t key = hash(kConnect, client.bytes, ipv4 ? 16 : 8);
      if (!take(key, limits.connects_per_ip, limits.connects_per_ip_burst, now, &wait_ns)) {
        answer = {Admission::kConnectRate, seconds_up(wait_ns)};
      }
    }
    if (answer.verdict != Admission::kAdmitted) {
      leave(client);
      return answer;
    }
  }
  // The bucket of all comes last: who is over a limit of its own must not empty it for the others.
  if (limits.connects != 0) {
    const int64_t interval = 1'000'000'000 / limits.connects;
    const int64_t full = all_ns_.load(kRelaxed);
    const int64_t early = full - interval * (std::max(limits.connects_burst, 1u) - 1) - now.ns;
    if (early > 0) {
      // Each gets the next place in a line as long as it will take to serve it: told the same
      // second, they would all come back in it.
      const int64_t place = std::max(line_ns_.load(kRelaxed), now.ns + early) + interval;
      lift(line_ns_, std::min(place, now.ns + int64_t{kLineSeconds} * 1'000'000'000));
      if (known) leave(client);
      return {Admission::kConnects, seconds_up(place - now.ns)};
    }
    lift(all_ns_, std::max(full, now.ns) + interval);
  }
  return {};
}

void AdmissionTables::leave(const base::IpAddress& client) {
  if (!client.known()) return;
  remove(address_key(client));
  if (!client.is_ipv4()) remove(network_key(client));
}

bool AdmissionTables::enter_user(uint32_t limit, std::string_view user) {
  const uint64_t key = hash(kUser, user.data(), user.size());
  if (add(key) <= limit || limit == 0) return true;
  remove(key);
  return false;
}

void AdmissionTables::leave_user(std::string_view user) {
  remove(hash(kUser, user.data(), user.size()));
}

uint32_t AdmissionTables::connections_of(const base::IpAddress& client) const {
  const uint64_t key = address_key(client);
  uint32_t least = UINT32_MAX;
  for (uint32_t row = 0; row < kRows; ++row) {
    least = std::min(
        least, counts_[size_t{row} * (mask_ + 1) + (key >> (row * 21) & mask_)].load(kRelaxed));
  }
  return least;
}

}  // namespace tidegate::net
