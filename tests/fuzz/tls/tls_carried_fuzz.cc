// SPDX-License-Identifier: Apache-2.0
// Records to a session that was carried here. Input: suite, place and mask of a change, then
// commands: a true record of the next bytes, the same with the change, or the bytes as they are.
// Only what the peer sealed comes out, in order, and nothing behind the first thing that is wrong.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "tls/carried.h"
#include "tls/records.h"
#include "tls/session.h"

using namespace tidegate;

namespace {

constexpr uint16_t kSuites[] = {0x1301, 0x1302, 0x1303, 0xc02b, 0xc02c, 0xcca9};

tls::Traffic traffic_of(uint16_t suite) {
  tls::Traffic t;
  const tls::Suite& s = *tls::find_suite(suite);
  t.suite = suite;
  t.tls13 = s.tls13;
  const uint32_t hash = suite == 0x1302 ? 48 : 32;
  t.in.secret_bytes = t.out.secret_bytes = s.tls13 ? hash : s.key_bytes + s.fixed_nonce_bytes();
  std::memset(t.in.secret, 7, sizeof t.in.secret);
  std::memset(t.out.secret, 9, sizeof t.out.secret);
  t.in.number = 3;
  t.out.number = 5;
  return t;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const uint16_t suite = kSuites[data[0] % std::size(kSuites)];
  const size_t place = data[1];
  const uint8_t mask = data[2];
  data += 3;
  size -= 3;
  const tls::Traffic own = traffic_of(suite);
  tls::Traffic other = own;
  std::swap(other.in, other.out);
  tls::Session session;
  if (!session.carry(own)) std::abort();
  const auto peer = tls::Carried::make(other);
  tls::Engine engine;
  std::string said, heard;
  bool broken = false;
  while (size >= 2 && !broken) {
    const uint8_t command = data[0] % 4;
    const size_t bytes = std::min<size_t>(data[1], size - 2);
    const base::Bytes part{data + 2, bytes};
    data += 2 + bytes;
    size -= 2 + bytes;
    std::vector<uint8_t> record(bytes + tls::kSealRoom);
    if (command < 3) {
      if (part.empty()) continue;
      record.resize(peer->seal(part, record));
      if (record.empty()) std::abort();
      if (command == 2 && mask != 0) {
        // Its length stays: cutting records is not what is tested here.
        size_t at = place % record.size();
        if (at == 3 || at == 4) at = 5;
        record[at] ^= mask;
        broken = true;
      } else {
        said.append(part.begin(), part.end());
      }
    } else {
      record.assign(part.begin(), part.end());
      const tls::Records cut = tls::cut_records(record);
      record.resize(cut.whole);
      if (record.empty()) continue;
      broken = true;
    }
    const tls::Received r = session.receive(engine, record);
    if (r.plain_bytes > record.size()) std::abort();
    heard.append(reinterpret_cast<const char*>(record.data()), r.plain_bytes);
    if (broken != (r.status != tls::Status::kOk)) std::abort();
    if (broken && session.established()) std::abort();
  }
  if (said != heard) std::abort();
  return 0;
}
