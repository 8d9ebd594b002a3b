// SPDX-License-Identifier: Apache-2.0
// Messages of a peer through the inflater, and the same bytes as messages of ours through deflater
// and inflater. The limit is exact to the byte, nothing is written behind it, an error or a fresh
// context leaves no trace, and what we compress comes back whatever happened before.
// Input: windows and contexts, zlib's settings, then messages, each with its size in front.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <vector>

#include "protocol/ws_deflate.h"

namespace {

using namespace tidegate;
using base::Bytes;
using base::MutableBytes;
using protocol::Context;
using protocol::Deflater;
using protocol::Inflater;
using protocol::InflateStatus;

constexpr size_t kMessageMax = 16 * 1024;  // output of one message
constexpr size_t kMessages = 8;            // more say nothing new and take time

void check(bool holds) {
  if (!holds) std::abort();
}

// A codec with its block, exactly as large as it asked for.
template <class Codec, class Settings>
class Owned {
 public:
  explicit Owned(const Settings& settings)
      : size_(Codec::block_bytes(settings)),
        block_(static_cast<uint8_t*>(::operator new(size_, std::align_val_t{16}))),
        codec_(Codec::make({block_, size_}, settings)) {}
  ~Owned() { ::operator delete(block_, std::align_val_t{16}); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  Codec* operator->() { return codec_; }

 private:
  size_t size_;
  uint8_t* block_;
  Codec* codec_;
};
using OwnedInflater = Owned<Inflater, uint8_t>;
using OwnedDeflater = Owned<Deflater, Deflater::Settings>;

// Output in memory of exactly `room` bytes, so that a write behind it is seen.
struct Output {
  explicit Output(size_t room) : data(new uint8_t[room]), room(room) {}
  MutableBytes bytes() { return {data.get(), room}; }
  Bytes made() const { return {data.get(), size}; }
  std::unique_ptr<uint8_t[]> data;
  size_t room;
  size_t size = 0;
};

bool same(Bytes a, Bytes b) { return std::equal(a.begin(), a.end(), b.begin(), b.end()); }

void inflate_what_a_peer_sent(const std::vector<Bytes>& messages, uint8_t bits, Context context) {
  OwnedInflater wide(bits);
  OwnedInflater exact(bits);
  for (const Bytes message : messages) {
    Output out(kMessageMax + 1);
    const InflateStatus status = wide->decompress(message, out.bytes(), &out.size, context);
    if (context == Context::kFresh) {
      OwnedInflater unused(bits);
      Output again(kMessageMax + 1);
      check(unused->decompress(message, again.bytes(), &again.size, context) == status);
      check(same(again.made(), out.made()));
    }
    if (status != InflateStatus::kOk) return;  // the connection ends with it
    check(out.size <= kMessageMax);
    // With a limit just as large it is the same, with one less it is refused.
    Output room(out.size + 1);
    check(exact->decompress(message, room.bytes(), &room.size, context) == InflateStatus::kOk);
    check(same(room.made(), out.made()));
    if (context == Context::kFresh && out.size != 0) {
      OwnedInflater strict(bits);
      Output less(out.size);
      check(strict->decompress(message, less.bytes(), &less.size, context) ==
            InflateStatus::kTooBig);
    }
  }
}

void send_and_read_back(const std::vector<Bytes>& messages, const Deflater::Settings& settings,
                        Context context, size_t room) {
  OwnedDeflater deflater(settings);
  OwnedInflater inflater(settings.window_bits);
  for (const Bytes message : messages) {
    if (message.empty()) continue;
    Output small(room);
    const Bytes parts[] = {
        message.first(message.size() / 3), {}, message.subspan(message.size() / 3)};
    small.size = deflater->compress(parts, 3, small.bytes(), context);
    check(small.size <= room);
    if (small.size == 0) continue;  // it does not fit, and was not sent
    Output out(message.size() + 1);
    check(inflater->decompress(small.made(), out.bytes(), &out.size, context) ==
          InflateStatus::kOk);
    check(same(out.made(), message));
  }
  if (context == Context::kTakeover) return;
  // As pieces of one message, each compressed alone.
  std::vector<uint8_t> joined;
  std::vector<uint8_t> plain;
  for (const Bytes message : messages) {
    if (message.empty()) continue;
    Output piece(message.size() + message.size() / 8 + 64);
    piece.size = deflater->compress(&message, 1, piece.bytes(), context, Deflater::Tail::kKeep);
    check(piece.size > 4);
    joined.insert(joined.end(), piece.data.get(), piece.data.get() + piece.size);
    plain.insert(plain.end(), message.begin(), message.end());
  }
  if (joined.empty()) return;
  Output out(plain.size() + 1);
  check(inflater->decompress(Bytes(joined).first(joined.size() - 4), out.bytes(), &out.size,
                             context) == InflateStatus::kOk);
  check(same(out.made(), plain));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const uint8_t bits = static_cast<uint8_t>(8 + (data[0] & 7));
  const Context context = (data[0] & 8) != 0 ? Context::kTakeover : Context::kFresh;
  const Deflater::Settings settings{bits, static_cast<uint8_t>(1 + data[1] % 9),
                                    static_cast<uint8_t>(1 + data[1] / 16 % 9)};
  const size_t room = size_t{data[2]} * 16 + 1;

  std::vector<Bytes> messages;
  Bytes rest(data + 3, size - 3);
  while (rest.size() > 1 && messages.size() < kMessages) {
    const size_t wanted = base::load_le<uint16_t>(rest.data());
    rest = rest.subspan(2);
    const size_t taken = std::min({wanted, rest.size(), kMessageMax});
    messages.push_back(rest.first(taken));
    rest = rest.subspan(taken);
  }
  inflate_what_a_peer_sent(messages, bits, context);
  send_and_read_back(messages, settings, context, room);
  return 0;
}
