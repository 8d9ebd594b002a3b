// SPDX-License-Identifier: Apache-2.0
// What carries messages from one shard to another: the byte ring of this tree against the
// moodycamel queue with an explicit producer token. One producer and one consumer on two threads,
// messages of 64 and 256 bytes in batches as a shard's turn makes them; and the cost of both ends
// on one thread.
#include <benchmark/benchmark.h>
#include <concurrentqueue/concurrentqueue.h>

#include <atomic>
#include <cstring>
#include <thread>

#include "queue/byte_ring.h"

namespace {

using tidegate::queue::ByteRing;
using tidegate::queue::Record;

template <size_t N>
struct Message {
  uint8_t bytes[N];
};

template <size_t N>
class RingCarrier {
 public:
  size_t push(size_t count) {
    size_t n = 0;
    for (; n < count; ++n) {
      uint8_t* p = ring_.claim(1, N);
      if (p == nullptr) break;
      std::memset(p, static_cast<int>(n), N);
      ring_.commit();
    }
    ring_.publish();
    return n;
  }
  size_t pop(size_t most) {
    Record record;
    size_t n = 0;
    for (; n < most && ring_.peek(&record); ++n) {
      benchmark::DoNotOptimize(record.bytes[0]);
      ring_.pop();
    }
    if (n != 0) ring_.release();
    return n;
  }

 private:
  ByteRing ring_{1 << 18};
};

template <size_t N>
class MoodyCarrier {
 public:
  size_t push(size_t count) {
    Message<N> batch[64];
    for (size_t n = 0; n < count; ++n) std::memset(batch[n].bytes, static_cast<int>(n), N);
    return queue_.try_enqueue_bulk(token_, batch, count) ? count : 0;
  }
  size_t pop(size_t most) {
    Message<N> batch[64];
    const size_t n = queue_.try_dequeue_bulk_from_producer(token_, batch, most);
    for (size_t i = 0; i < n; ++i) benchmark::DoNotOptimize(batch[i].bytes[0]);
    return n;
  }

 private:
  moodycamel::ConcurrentQueue<Message<N>> queue_{(1 << 18) / N};
  moodycamel::ProducerToken token_{queue_};
};

template <class Carrier>
void one_thread(benchmark::State& state) {
  Carrier carrier;
  const size_t batch = static_cast<size_t>(state.range(0));
  size_t total = 0;
  for (auto _ : state) {
    carrier.push(batch);
    total += carrier.pop(batch);
  }
  state.SetItemsProcessed(static_cast<int64_t>(total));
}

template <class Carrier>
void two_threads(benchmark::State& state) {
  Carrier carrier;
  const size_t batch = static_cast<size_t>(state.range(0));
  std::atomic<bool> stop{false};
  std::thread producer([&] {
    while (!stop.load(std::memory_order_relaxed)) {
      if (carrier.push(batch) == 0) std::this_thread::yield();
    }
  });
  size_t total = 0;
  for (auto _ : state) {
    size_t n = 0;
    while (n < batch) {
      const size_t got = carrier.pop(64);
      if (got == 0) std::this_thread::yield();
      n += got;
    }
    total += n;
  }
  stop = true;
  producer.join();
  state.SetItemsProcessed(static_cast<int64_t>(total));
}

BENCHMARK(one_thread<RingCarrier<64>>)->Arg(1)->Arg(16)->Arg(64);
BENCHMARK(one_thread<MoodyCarrier<64>>)->Arg(1)->Arg(16)->Arg(64);
BENCHMARK(one_thread<RingCarrier<256>>)->Arg(16);
BENCHMARK(one_thread<MoodyCarrier<256>>)->Arg(16);
BENCHMARK(two_threads<RingCarrier<64>>)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();
BENCHMARK(two_threads<MoodyCarrier<64>>)->Arg(1)->Arg(16)->Arg(64)->UseRealTime();
BENCHMARK(two_threads<RingCarrier<256>>)->Arg(16)->UseRealTime();
BENCHMARK(two_threads<MoodyCarrier<256>>)->Arg(16)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
