// SPDX-License-Identifier: Apache-2.0
// What a message between two agents costs: queue/byte_ring.h against the moodycamel queue, which is
// given its best form (one producer token, one consumer token, bulk operations, elements of exactly
// the message's size, memory reserved before). Both sides write every byte of a message and read
// every byte of it; the sum of what was read must come out the same, or the run fails.
//
// "alone" does both ends on one thread: the instructions. "threads" has a consumer of its own: the
// instructions and the cache lines that travel. Time is per message, of the producer's side.
#include <benchmark/benchmark.h>
#include <concurrentqueue/concurrentqueue.h>

#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

#include "queue/byte_ring.h"

namespace tidegate::queue {
namespace {

constexpr uint32_t kRoomBytes = 1 << 18;  // of either queue

template <uint32_t kBytes>
struct Message {
  uint64_t words[kBytes / 8];
};

template <uint32_t kBytes>
void fill(uint64_t* words, uint64_t number) {
  for (uint32_t i = 0; i < kBytes / 8; ++i) words[i] = number + i;
}
template <uint32_t kBytes>
uint64_t sum_of(const uint64_t* words) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < kBytes / 8; ++i) sum += words[i];
  return sum;
}
// Of the messages 0..count-1.
template <uint32_t kBytes>
uint64_t expected_sum(uint64_t count) {
  constexpr uint64_t kWords = kBytes / 8;
  const uint64_t numbers = count % 2 == 0 ? count / 2 * (count - 1) : (count - 1) / 2 * count;
  return numbers * kWords + count * (kWords * (kWords - 1) / 2);
}

// Each queue: send() puts up to `batch` messages in and returns how many went, receive() takes what
// is there and returns how many came.
template <uint32_t kBytes>
class Ring {
 public:
  explicit Ring(uint32_t) : ring_(kRoomBytes) {}

  uint32_t send(uint64_t number, uint32_t batch) {
    uint32_t n = 0;
    for (; n < batch; ++n) {
      uint8_t* p = ring_.claim(1, kBytes);
      if (p == nullptr) break;
      fill<kBytes>(reinterpret_cast<uint64_t*>(p), number + n);
      ring_.commit();
    }
    if (n != 0) ring_.publish();
    return n;
  }
  uint32_t receive(uint64_t* sum) {
    uint32_t n = 0;
    Record record;
    for (; n < kRoomBytes / kBytes && ring_.peek(&record); ++n) {
      *sum += sum_of<kBytes>(reinterpret_cast<const uint64_t*>(record.bytes.data()));
      ring_.pop();
    }
    if (n != 0) ring_.release();
    return n;
  }

 private:
  ByteRing ring_;
};

template <uint32_t kBytes>
class Moodycamel {
 public:
  explicit Moodycamel(uint32_t batch)
      : queue_(kRoomBytes / kBytes), producer_(queue_), consumer_(queue_), out_(batch),
        in_(kRoomBytes / kBytes) {}

  uint32_t send(uint64_t number, uint32_t batch) {
    for (uint32_t n = 0; n < batch; ++n) fill<kBytes>(out_[n].words, number + n);
    // All or nothing, and never an allocation: the data plane's rule.
    return queue_.try_enqueue_bulk(producer_, out_.data(), batch) ? batch : 0;
  }
  uint32_t receive(uint64_t* sum) {
    const size_t n = queue_.try_dequeue_bulk(consumer_, in_.data(), in_.size());
    for (size_t i = 0; i < n; ++i) *sum += sum_of<kBytes>(in_[i].words);
    return static_cast<uint32_t>(n);
  }

 private:
  moodycamel::ConcurrentQueue<Message<kBytes>> queue_;
  moodycamel::ProducerToken producer_;
  moodycamel::ConsumerToken consumer_;
  std::vector<Message<kBytes>> out_, in_;
};

template <template <uint32_t> class Queue, uint32_t kBytes>
void alone(benchmark::State& state) {
  const uint32_t batch = static_cast<uint32_t>(state.range(0));
  auto queue = std::make_unique<Queue<kBytes>>(batch);
  uint64_t sent = 0;
  uint64_t received = 0;
  uint64_t sum = 0;
  for (auto _ : state) {
    sent += queue->send(sent, batch);
    received += queue->receive(&sum);
  }
  if (received != sent || sum != expected_sum<kBytes>(sent)) state.SkipWithError("messages differ");
  state.counters["ns/message"] = benchmark::Counter(
      static_cast<double>(sent) * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}

template <template <uint32_t> class Queue, uint32_t kBytes>
void threads(benchmark::State& state) {
  const uint32_t batch = static_cast<uint32_t>(state.range(0));
  auto queue = std::make_unique<Queue<kBytes>>(batch);
  std::atomic<uint64_t> wanted{UINT64_MAX};  // messages after which the consumer ends
  uint64_t sum = 0;
  std::thread consumer([&] {
    uint64_t received = 0;
    while (received < wanted.load(std::memory_order_relaxed)) received += queue->receive(&sum);
  });
  uint64_t sent = 0;
  uint64_t full = 0;
  for (auto _ : state) {
    for (uint32_t left = batch; left > 0;) {
      const uint32_t n = queue->send(sent, left);
      sent += n;
      left -= n;
      if (n == 0) ++full;
    }
  }
  wanted.store(sent, std::memory_order_relaxed);
  consumer.join();
  if (sum != expected_sum<kBytes>(sent)) state.SkipWithError("messages differ");
  state.counters["ns/message"] = benchmark::Counter(
      static_cast<double>(sent) * 1e-9, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
  state.counters["full"] = static_cast<double>(full);
}

void batches(benchmark::internal::Benchmark* b) { b->ArgName("batch")->Arg(1)->Arg(16)->Arg(128); }
// Real time: the producer may wait for the consumer.
void batches_in_threads(benchmark::internal::Benchmark* b) {
  batches(b);
  b->UseRealTime();
}

BENCHMARK_TEMPLATE2(alone, Ring, 64)->Apply(batches);
BENCHMARK_TEMPLATE2(alone, Moodycamel, 64)->Apply(batches);
BENCHMARK_TEMPLATE2(alone, Ring, 256)->Apply(batches);
BENCHMARK_TEMPLATE2(alone, Moodycamel, 256)->Apply(batches);
BENCHMARK_TEMPLATE2(threads, Ring, 64)->Apply(batches_in_threads);
BENCHMARK_TEMPLATE2(threads, Moodycamel, 64)->Apply(batches_in_threads);
BENCHMARK_TEMPLATE2(threads, Ring, 256)->Apply(batches_in_threads);
BENCHMARK_TEMPLATE2(threads, Moodycamel, 256)->Apply(batches_in_threads);

}  // namespace
}  // namespace tidegate::queue

BENCHMARK_MAIN();
