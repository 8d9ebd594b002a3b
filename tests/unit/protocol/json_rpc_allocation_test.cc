// SPDX-License-Identifier: Apache-2.0
// Reading and writing JSON-RPC allocates at construction and never again: every allocation of this
// program is counted while the test looks.
#include <gtest/gtest.h>

#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "protocol/json_rpc.h"

namespace {
bool counting = false;
uint64_t allocations = 0;

void* count_and_allocate(std::size_t bytes, std::size_t alignment) {
  if (counting) ++allocations;
  void* p = alignment <= alignof(std::max_align_t)
                ? std::malloc(bytes)
                : std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (p == nullptr) std::abort();
  return p;
}
}  // namespace

[[gnu::noinline]] void* operator new(std::size_t n) { return count_and_allocate(n, 1); }
[[gnu::noinline]] void* operator new[](std::size_t n) { return count_and_allocate(n, 1); }
[[gnu::noinline]] void* operator new(std::size_t n, std::align_val_t a) {
  return count_and_allocate(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new[](std::size_t n, std::align_val_t a) {
  return count_and_allocate(n, static_cast<std::size_t>(a));
}
[[gnu::noinline]] void* operator new(std::size_t n, const std::nothrow_t&) noexcept {
  return count_and_allocate(n, 1);
}
[[gnu::noinline]] void* operator new[](std::size_t n, const std::nothrow_t&) noexcept {
  return count_and_allocate(n, 1);
}
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}
[[gnu::noinline]] void operator delete[](void* p, std::size_t, std::align_val_t) noexcept {
  std::free(p);
}

namespace tidegate::protocol {
namespace {

TEST(JsonRpcMemory, NothingIsAllocatedAfterConstruction) {
  constexpr uint32_t kBytes = 64 * 1024;
  JsonRpcReader reader(kBytes);
  // Every shape of message, first of all the longest in which each character is a token.
  std::string tokens = "[1";
  while (tokens.size() + 3 < kBytes) tokens += ",1";
  const std::vector<std::string> texts = {
      tokens + "]",
      std::string(kBytes - 4, '[') + "]]]]",
      '"' + std::string(kBytes - 2, 'x') + '"',
      "{broken",
      R"({"jsonrpc":"2.0","id":"a","method":"playerMove","params":{"position":{"x":1}}})",
      R"([{"jsonrpc":"2.0","id":1,"method":"heartbeat","params":{"payload":"aGk="}},7,{}])",
      R"({"jsonrpc":"2.0","method":"playerAction","params":{"parameters":{"a":"b"},"nope":1}})",
  };
  std::vector<uint8_t> room(kBytes);
  uint64_t calls = 0;
  counting = true;
  for (int round = 0; round < 20; ++round) {
    for (const std::string& text : texts) {
      RpcCall call;
      if (reader.begin(base::as_bytes(text), &call) == JsonRpcReader::Form::kRefused) {
        wire::JsonText out(room);
        write_error(out, call.id,
                    {call.error, code_of_rpc(call.error), {}, call.details, false, 0});
        continue;
      }
      while (reader.next(1 << 20, &call)) {
        ++calls;
        wire::Envelope message;
        wire::JsonText out(room);
        if (call.error == 0 && wire::decode_envelope(call.frame, &message)) {
          write_notification(out, message);
        }
      }
    }
  }
  counting = false;
  EXPECT_EQ(allocations, 0u);
  EXPECT_GE(calls, 100u);
}

}  // namespace
}  // namespace tidegate::protocol
