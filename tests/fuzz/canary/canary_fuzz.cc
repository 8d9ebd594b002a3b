// SPDX-License-Identifier: Apache-2.0
// A planted bug one byte away from the seed tests/fuzz/corpus/canary: it proves that the fuzzers of
// this tree would notice one (canary_test.sh).
#include <cstddef>
#include <cstdint>
#include <cstring>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 5 || std::memcmp(data, "alar", 4) != 0 || data[4] != 'M') return 0;
#if defined(__SANITIZE_ADDRESS__)
  constexpr bool kAddressSanitizer = true;
#elif defined(__has_feature)
  constexpr bool kAddressSanitizer = __has_feature(address_sanitizer);
#else
  constexpr bool kAddressSanitizer = false;
#endif
  if constexpr (kAddressSanitizer) {
    const volatile uint8_t* const past = data;
    return past[size] == 0 ? 0 : 0;  // one past the end
  } else {
    __builtin_trap();
  }
}
