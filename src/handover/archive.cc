// SPDX-License-Identifier: Apache-2.0
#include "handover/records.h"

namespace tidegate::handover {

const char* name_of(CannotMove why) {
  switch (why) {
    case CannotMove::kTls:
      return "tls";
    case CannotMove::kCompression:
      return "compression";
    case CannotMove::kLogin:
      return "login";
    case CannotMove::kClosing:
      return "closing";
    case CannotMove::kPolling:
      return "polling";
    case CannotMove::kCount:
      break;
  }
  return "?";
}

bool Reader::next() {
  if (!ok_ || in_.empty()) return false;
  if (in_.size() < kRecordHead) {
    ok_ = false;
    return false;
  }
  const uint32_t bytes = base::load_le<uint32_t>(in_.data() + 4);
  if (bytes > kRecordBytesMax || bytes > in_.size() - kRecordHead) {
    ok_ = false;
    return false;
  }
  type_ = static_cast<RecordType>(base::load_le<uint16_t>(in_.data()));
  body_ = in_.subspan(kRecordHead, bytes);
  in_ = in_.subspan(kRecordHead + bytes);
  return true;
}

}  // namespace tidegate::handover
