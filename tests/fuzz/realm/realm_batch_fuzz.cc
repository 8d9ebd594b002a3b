// SPDX-License-Identifier: Apache-2.0
// Batches of another gateway: whatever decodes is within its limits, is encoded again and decodes
// to the same; and the table of remote entities takes it without losing count.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "realm/areas.h"
#include "realm/batch.h"
#include "realm/remotes.h"

namespace {

using namespace tidegate;
using realm::BatchReader;

bool same(const realm::Record& a, const realm::Record& b) {
  return a.type == b.type && a.id == b.id && a.stamp == b.stamp && a.kind == b.kind &&
         a.tag == b.tag && a.name == b.name && a.state.position == b.state.position &&
         std::memcmp(a.state.velocity, b.state.velocity, sizeof a.state.velocity) == 0 &&
         a.state.yaw == b.state.yaw && a.state.flags == b.state.flags &&
         a.custom.size() == b.custom.size() &&
         (a.custom.empty() || std::memcmp(a.custom.data(), b.custom.data(), a.custom.size()) == 0);
}

void check_again(const realm::Head& head, const realm::Record& record) {
  uint8_t room[realm::kHeadBytes + realm::kRecordBytesMax];
  realm::BatchWriter writer(room);
  writer.begin(head);
  if (!writer.put(record)) std::abort();
  BatchReader reader(writer.bytes());
  realm::Head head_again;
  realm::Record again;
  if (!reader.head(&head_again) || head_again.tick != head.tick ||
      reader.next(&again) != BatchReader::Next::kOk || !same(record, again) ||
      reader.next(&again) != BatchReader::Next::kEnd) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  BatchReader reader({data, size});
  realm::Head head;
  if (!reader.head(&head)) return 0;
  if (head.kind == realm::Kind::kAreas) {
    realm::Areas areas(32);
    realm::Block block;
    while (reader.next(&block) == BatchReader::Next::kOk) {
      areas.note(uint64_t{1} << (head.number & 7), block);
      if ((areas.watchers(block) >> (head.number & 7) & 1) == 0) std::abort();
    }
    areas.age();
    areas.age();
    if (areas.count() != 0) std::abort();
    return 0;
  }
  realm::Remotes remotes(32, base::seconds(6));
  realm::Record record;
  uint32_t count = 0;
  while (reader.next(&record) == BatchReader::Next::kOk) {
    if (record.name.size() > world::kPlayerIdBytesMax ||
        record.custom.size() > world::kCustomBytesMax || record.id.value == 0) {
      std::abort();
    }
    check_again(head, record);
    realm::Remote* r = nullptr;
    const uint32_t gateway = record.stamp % 3;
    const auto verdict = remotes.judge(record, gateway, head.tick, {0}, &r);
    if (verdict == realm::Remotes::Verdict::kUnknown) {
      if (record.type == realm::RecordType::kWhole &&
          remotes.add(record, gateway, head.tick, 0, {0}) != nullptr) {
        ++count;
      }
    } else if (verdict != realm::Remotes::Verdict::kStale) {
      if (r == nullptr || r->gateway != gateway) std::abort();
      if (record.type == realm::RecordType::kGone) {
        remotes.erase(r);
        --count;
      }
    }
    if (remotes.count() != count) std::abort();
  }
  return 0;
}
