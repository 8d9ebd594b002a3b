// SPDX-License-Identifier: Apache-2.0
// Compressed payloads from a peer. The input: the method, the promised size in three bytes, the
// packed bytes. What is taken has exactly that size and survives being packed and unpacked again;
// and the bytes themselves, taken as a payload, come back from every method that packs them.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "codec/payload_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace tidegate;
  static codec::PayloadCodec codec{codec::CodecConfig{}};
  if (size < 4) return 0;
  const auto method = static_cast<codec::Method>(data[0] % codec::kMethodsEnd);
  const uint32_t raw_size = data[1] | uint32_t{data[2]} << 8 | uint32_t{data[3]} << 16;
  const base::Bytes input{data + 4, size - 4};
  const auto check = [](base::Bytes payload) {
    const std::vector<uint8_t> raw(payload.begin(), payload.end());
    for (uint32_t m = 1; m < codec::kMethodsEnd; ++m) {
      const base::Bytes packed = codec.pack(static_cast<codec::Method>(m), raw, false);
      if (packed.empty()) continue;
      if (packed.size() >= raw.size()) std::abort();
      const std::vector<uint8_t> kept(packed.begin(), packed.end());
      const base::Bytes back =
          codec.unpack(static_cast<codec::Method>(m), kept, static_cast<uint32_t>(raw.size()));
      if (back.size() != raw.size() || std::memcmp(back.data(), raw.data(), raw.size()) != 0) {
        std::abort();
      }
    }
  };
  const base::Bytes taken = codec.unpack(method, input, raw_size);
  if (!taken.empty()) {
    if (taken.size() != raw_size) std::abort();
    check(taken);
  }
  check(input);
  return 0;
}
