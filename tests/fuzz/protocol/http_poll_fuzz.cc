// SPDX-License-Identifier: Apache-2.0
// Bytes of a peer as a request of long polling: what is taken for one parses or is refused with a
// status and a reason, every view lies inside the head or the request, a name that was read is
// written again as it stood, and every answer fits.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "protocol/http_poll.h"

namespace {

using namespace tidegate;

void check(bool holds) {
  if (!holds) std::abort();
}

bool inside(std::string_view view, const void* begin, size_t size) {
  const char* const first = static_cast<const char*>(begin);
  return view.empty() || (view.data() >= first && view.data() + view.size() <= first + size);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  constexpr std::string_view kServed[] = {"tidegate.v1.proto", "tidegate.v1.json"};
  const base::Bytes input(data, size);
  const base::Bytes head = input.first(protocol::find_head_end(input, 0));
  const protocol::UpgradeRules rules{kServed, "/ws", nullptr};
  const auto request = std::make_unique<protocol::PollRequest>();
  const protocol::UpgradeError error = protocol::parse_poll_request(head, rules, *request);
  uint8_t answer[protocol::kAnswerBytesMax];
  if (error.status != 0) {
    check(error.status >= 400 && !error.code.empty() && !error.message.empty());
    protocol::PollAnswerHead refusal;
    refusal.status = error.status;
    refusal.shared = true;
    check(protocol::write_poll_error(answer, refusal, error.code, error.message, "expected",
                                     UINT64_MAX) != 0);
    return 0;
  }
  // A target in absolute form begins otherwise.
  const std::string_view text = base::as_text(head);
  const size_t target = text.find(' ') + 1;
  if (text[target] == '/' && target <= 8) check(protocol::is_poll_request(head, rules.path));
  const protocol::UpgradeRequest& upgrade = request->upgrade;
  for (const std::string_view view :
       {upgrade.path, upgrade.query, upgrade.host, upgrade.origin, upgrade.bearer,
        upgrade.cookie_token, upgrade.forwarded, upgrade.forwarded_for}) {
    check(inside(view, head.data(), head.size()));
  }
  for (const std::string_view view : {upgrade.token, upgrade.resume}) {
    check(inside(view, head.data(), head.size()) ||
          inside(view, request.get(), sizeof(protocol::PollRequest)));
  }
  check(!upgrade.host.empty());
  if (request->kind == protocol::PollKind::kOpen) {
    check(upgrade.offered_subprotocols == (upgrade.subprotocol != protocol::kNoSubprotocol));
    check(protocol::write_poll_opened(answer, request->name, kServed[0], 1, 2, true, true) != 0);
  } else if (request->kind != protocol::PollKind::kPreflight) {
    char name[protocol::kPollNameChars];
    protocol::write_poll_name(request->name, name);
    check(upgrade.path.ends_with(std::string_view(name, sizeof name)));
  }
  return 0;
}
