// SPDX-License-Identifier: Apache-2.0
// Bytes of a peer as an upgrade request and as an answer to one: the end of the head is found in
// the same place for every split, every view lies inside the head or the request, and what is
// accepted satisfies the rules. Input: split seed, then the bytes.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "base/prng.h"
#include "protocol/http_connect.h"
#include "protocol/http_upgrade.h"

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
  if (size < 2) return 0;
  base::Prng prng(base::load_le<uint16_t>(data));
  const base::Bytes input(data + 2, size - 2);

  const size_t end = protocol::find_head_end(input, 0);
  check(end <= input.size());
  size_t found = 0;
  size_t searched = 0;
  while (found == 0 && searched < input.size()) {
    const size_t now = std::min<size_t>(input.size(), searched + 1 + prng.below(40));
    found = protocol::find_head_end(input.first(now), searched);
    searched = now;
  }
  // Input that is no head at all ends wherever the first piece ended.
  const uint8_t first = input.empty() ? 0 : input[0] | 0x20;
  if (first >= 'a' && first <= 'z') check(found == end);

  const base::Bytes head = input.first(end);
  for (const std::string_view path : {std::string_view("/ws"), std::string_view()}) {
    const auto request = std::make_unique<protocol::UpgradeRequest>();
    // With and without permessage-deflate: what is offered changes no verdict.
    constexpr protocol::DeflateRules kDeflate;
    const protocol::UpgradeError error = protocol::parse_upgrade(
        head, {kServed, path, path.empty() ? &kDeflate : nullptr}, *request);
    check(path.empty() || !request->extensions.accepted());
    if (error.status != 0) {
      check(!error.code.empty() && !error.message.empty());
      uint8_t answer[protocol::kAnswerBytesMax];
      check(protocol::write_refusal(answer, error.status, error.code, error.message) != 0);
      continue;
    }
    check(end != 0 && protocol::is_websocket_key(request->key) && !request->host.empty());
    check(request->subprotocol == protocol::kNoSubprotocol || request->subprotocol < 2);
    for (const std::string_view view :
         {request->path, request->query, request->host, request->key, request->origin,
          request->bearer, request->cookie_token, request->forwarded_for}) {
      check(inside(view, head.data(), head.size()) || view == "/");
    }
    for (const std::string_view view : {request->token, request->resume}) {
      check(inside(view, head.data(), head.size()) || inside(view, request.get(), sizeof *request));
    }
    char accept[protocol::kAcceptKeyChars];
    protocol::compute_accept_key(request->key, accept);
  }

  protocol::UpgradeAnswer answer;
  const protocol::UpgradeOffer offer{
      .host = "h", .key = "dGhlIHNhbXBsZSBub25jZQ==", .subprotocols = "tidegate.v1.proto"};
  const protocol::ConnectStatus status = protocol::parse_upgrade_answer(head, offer, answer);
  if (status == protocol::ConnectStatus::kOk) check(answer.status == 101);
  check(inside(answer.subprotocol, head.data(), head.size()));
  return 0;
}
