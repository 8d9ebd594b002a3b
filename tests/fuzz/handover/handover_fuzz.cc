// SPDX-License-Identifier: Apache-2.0
// Records of a hand-over: never a crash, and what one record was read as is written and read again
// as the same.
#include <cstdlib>

#include "handover/records.h"

using namespace tidegate;

namespace {

template <class Record>
void check(handover::Reader& in) {
  Record record;
  if (!in.read(&record)) return;
  std::vector<uint8_t> once;
  handover::Writer(once).add(record);
  handover::Reader again(once);
  Record copy;
  if (!again.next() || again.type() != Record::kType || !again.read(&copy)) std::abort();
  std::vector<uint8_t> twice;
  handover::Writer(twice).add(copy);
  if (once != twice) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  handover::Reader in({data, size});
  while (in.next()) {
    using handover::RecordType;
    switch (in.type()) {
      case RecordType::kHello:
        check<handover::Hello>(in);
        break;
      case RecordType::kShard:
        check<handover::Shard>(in);
        break;
      case RecordType::kConnection:
        check<handover::Connection>(in);
        break;
      case RecordType::kTls:
        check<handover::Tls>(in);
        break;
      case RecordType::kPlayer:
        check<handover::Player>(in);
        break;
      case RecordType::kEntity:
        check<handover::Entity>(in);
        break;
      case RecordType::kInput:
        check<handover::Input>(in);
        break;
      case RecordType::kHome:
        check<handover::Home>(in);
        break;
      case RecordType::kSession:
        check<handover::Session>(in);
        break;
      case RecordType::kMessage:
        check<handover::Message>(in);
        break;
      case RecordType::kTopic:
        check<handover::Topic>(in);
        break;
      case RecordType::kTopicMessage:
        check<handover::TopicMessage>(in);
        break;
      case RecordType::kSubscription:
        check<handover::Subscription>(in);
        break;
      case RecordType::kParked:
        check<handover::Parked>(in);
        break;
      case RecordType::kUser:
        check<handover::User>(in);
        break;
      case RecordType::kWatch:
        check<handover::Watch>(in);
        break;
      case RecordType::kRevocation:
        check<handover::Revocation>(in);
        break;
      case RecordType::kSteer:
        check<handover::Steer>(in);
        break;
      case RecordType::kUserEntry:
        check<handover::UserEntry>(in);
        break;
      case RecordType::kGroup:
        check<handover::Group>(in);
        break;
      case RecordType::kGroupMember:
        check<handover::GroupMember>(in);
        break;
      case RecordType::kProcess:
        check<handover::Process>(in);
        break;
    }
  }
  return 0;
}
