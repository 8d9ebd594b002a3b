// SPDX-License-Identifier: Apache-2.0
// Runs a libFuzzer entry point without libFuzzer, so that every build (g++ with sanitizers too)
// exercises the fuzzers: each seed of the corpus folder as it is, then seeded mutations of them. It
// has no coverage feedback and finds little that is new; tools/fuzz does that.
//
//   fuzz-<name> [CORPUS_FOLDER [MUTATIONS [SEED]]]
//
// A failure prints which input it was; the same arguments make it again.
#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "base/prng.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);
extern "C" void __sanitizer_set_death_callback(void (*callback)()) __attribute__((weak));

namespace {

using Input = std::vector<uint8_t>;
constexpr size_t kInputBytesMax = 64 * 1024;

const char* g_program = "";
uint64_t g_seed = 1;
uint64_t g_run = 0;

void tell_how_to_repeat() {
  std::fprintf(stderr, "%s: input %llu of seed %llu\n", g_program,
               static_cast<unsigned long long>(g_run), static_cast<unsigned long long>(g_seed));
}

// A copy of exactly `input` in memory of its own, so that a read past its end is seen.
void run(const Input& input) {
  ++g_run;
  uint8_t* const exact = new uint8_t[input.size()];
  std::copy(input.begin(), input.end(), exact);
  LLVMFuzzerTestOneInput(exact, input.size());
  delete[] exact;
}

std::vector<Input> read_corpus(const char* folder) {
  std::vector<std::string> names;
  if (DIR* const dir = opendir(folder)) {
    while (const dirent* const entry = readdir(dir)) {
      if (entry->d_name[0] != '.') names.push_back(std::string(folder) + '/' + entry->d_name);
    }
    closedir(dir);
  }
  std::sort(names.begin(), names.end());
  std::vector<Input> corpus;
  for (const std::string& name : names) {
    std::FILE* const file = std::fopen(name.c_str(), "rb");
    if (file == nullptr) continue;
    Input input(kInputBytesMax);
    input.resize(std::fread(input.data(), 1, input.size(), file));
    std::fclose(file);
    corpus.push_back(std::move(input));
  }
  return corpus;
}

// Values on which length fields and integer codes tend to break.
constexpr uint8_t kEdges[] = {0x00, 0x01, 0x7f, 0x80, 0x81, 0xfe, 0xff, 0x7d, 0x7e, 0x4d, 0x20};

void mutate(Input& input, const std::vector<Input>& corpus, tidegate::base::Prng& prng) {
  for (uint64_t steps = prng.below(4) + 1; steps > 0; --steps) {
    const size_t at = input.empty() ? 0 : prng.below(input.size());
    const auto offset = static_cast<std::ptrdiff_t>(at);
    switch (prng.below(8)) {
      case 0:
        if (!input.empty()) input[at] ^= static_cast<uint8_t>(1u << prng.below(8));
        break;
      case 1:
        if (!input.empty()) input[at] = static_cast<uint8_t>(prng.next());
        break;
      case 2:
        if (!input.empty()) input[at] = kEdges[prng.below(sizeof kEdges)];
        break;
      case 3:
        input.insert(input.begin() + offset, static_cast<uint8_t>(prng.next()));
        break;
      case 4:
        if (!input.empty()) {
          const auto end = std::min(input.size(), at + 1 + prng.below(8));
          input.erase(input.begin() + offset, input.begin() + static_cast<std::ptrdiff_t>(end));
        }
        break;
      case 5:
        input.resize(at);
        break;
      case 6: {  // a piece of itself again
        const size_t size = std::min<size_t>(input.size() - at, prng.below(64) + 1);
        const Input piece(input.begin() + offset,
                          input.begin() + offset + static_cast<std::ptrdiff_t>(size));
        input.insert(input.end(), piece.begin(), piece.end());
        break;
      }
      default:  // the head of this one and the tail of another
        if (!corpus.empty()) {
          const Input& other = corpus[prng.below(corpus.size())];
          const size_t from = other.empty() ? 0 : prng.below(other.size());
          input.resize(at);
          input.insert(input.end(), other.begin() + static_cast<std::ptrdiff_t>(from), other.end());
        }
    }
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
  }
}

}  // namespace

int main(int argc, char** argv) {
  g_program = argv[0];
  const uint64_t mutations = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 4000;
  g_seed = argc > 3 ? std::strtoull(argv[3], nullptr, 10) : 1;
  if (__sanitizer_set_death_callback != nullptr) {
    __sanitizer_set_death_callback(tell_how_to_repeat);
  }
  std::vector<Input> corpus = argc > 1 ? read_corpus(argv[1]) : std::vector<Input>();
  const size_t seeds = corpus.size();
  run({});
  for (const Input& input : corpus) run(input);
  corpus.emplace_back(256, uint8_t{0});
  tidegate::base::Prng prng(g_seed);
  for (uint64_t i = 0; i < mutations; ++i) {
    Input input = corpus[prng.below(corpus.size())];
    mutate(input, corpus, prng);
    run(input);
  }
  std::printf("%zu seeds, %llu mutations of seed %llu\n", seeds,
              static_cast<unsigned long long>(mutations), static_cast<unsigned long long>(g_seed));
  return 0;
}
