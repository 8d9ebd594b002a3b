// SPDX-License-Identifier: Apache-2.0
#include "shard/packing.h"

#include <algorithm>
#include <cstring>

#include "protocol/ws.h"
#include "shard/shard.h"
#include "wire/envelope.h"

namespace tidegate::shard {

using codec::Method;
using metrics::Counter;

namespace {
constexpr std::string_view kNames[codec::kMethodsEnd] = {"", "zlib", "lz4", "zstd"};
}  // namespace

Packing::Packing(const PackingConfig& config, const HandlerTable* handlers,
                 metrics::Counters& counters)
    : config_(config), counters_(counters), handlers_(handlers), min_bytes_(UINT32_MAX) {
  if (config.methods[0] == Method::kNone) return;
  codec_ = std::make_unique<codec::PayloadCodec>(config.codec);
  min_bytes_ = std::max(config.min_bytes, 2u);
  for (const Method method : config.methods) {
    const std::string_view name = kNames[static_cast<uint32_t>(method)];
    if (name.empty()) continue;
    if (names_bytes_ != 0) names_[names_bytes_++] = ' ';
    std::memcpy(names_ + names_bytes_, name.data(), name.size());
    names_bytes_ += static_cast<uint32_t>(name.size());
  }
}

bool Packing::takes(uint32_t method) const {
  return method != 0 && std::any_of(config_.methods, config_.methods + 3,
                                    [&](Method m) { return static_cast<uint32_t>(m) == method; });
}

uint8_t Packing::choose(uint32_t listed, uint32_t dictionary) const {
  for (const Method method : config_.methods) {
    const auto number = static_cast<uint8_t>(method);
    if (method == Method::kNone || (listed >> number & 1) == 0) continue;
    const bool same = dictionary != 0 && dictionary == dictionary_id() && method == Method::kZstd;
    return static_cast<uint8_t>(number | (same ? kDictionary : 0));
  }
  return 0;
}

base::Bytes Packing::pack(uint8_t form, uint32_t type, base::Bytes payload) {
  if (!large(payload.size())) return {};
  if (handlers_ != nullptr) {
    const uint32_t index = handlers_->find(type);
    if (index != HandlerTable::kNone && !handlers_->entry(index).compress) return {};
  }
  if (!gains_.wants(type)) return {};
  const base::Bytes packed =
      codec_->pack(static_cast<Method>(method_of(form)), payload, (form & kDictionary) != 0);
  gains_.note(type, static_cast<uint32_t>(payload.size()), static_cast<uint32_t>(packed.size()));
  if (packed.empty()) {
    counters_.add(Counter::kPayloadsIncompressible, 1);
    return {};
  }
  counters_.add(Counter::kPayloadsPacked, 1);
  counters_.add(Counter::kPayloadBytesSaved, payload.size() - packed.size());
  return packed;
}

base::Bytes Packing::unpack(uint32_t method, base::Bytes payload, uint32_t raw_size) {
  const base::Bytes raw = takes(method)
                              ? codec_->unpack(static_cast<Method>(method), payload, raw_size)
                              : base::Bytes{};
  counters_.add(raw.empty() ? Counter::kUnpackFailures : Counter::kPayloadsUnpacked, 1);
  return raw;
}

// The message's form for this connection, when it understands one and that pays.
bool Shard::find_form(uint32_t slot, uint32_t type, base::Bytes payload, PackedForms& forms,
                      const uint8_t** data, uint32_t* size) {
  const uint8_t form = players_[slot].packing;
  PackedForms::Form& f = forms.forms[form % Packing::kForms];
  if (!f.tried) {
    f.tried = true;
    const base::Bytes packed = packing_.pack(form, type, payload);
    if (packed.empty()) return false;
    constexpr uint32_t kHead = 10;  // of a WebSocket frame without mask
    uint8_t frame[kHead + 64 + wire::kMessageBytesIn];
    wire::EnvelopeHead head{static_cast<wire::MessageType>(type), io_.unix_ms()};
    head.compression = Packing::method_of(form);
    head.raw_size = static_cast<uint32_t>(payload.size());
    wire::MessageWriter writer({frame + kHead, sizeof frame - kHead}, head);
    writer.payload().raw(packed.data(), packed.size());
    const uint32_t message = writer.finish();
    TG_ASSERT(message != 0);
    const size_t begin = kHead - protocol::header_size(message);
    protocol::write_header(frame + begin, protocol::Opcode::kBinary, true, message);
    f.size = static_cast<uint32_t>(kHead - begin) + message;
    f.data = topics_.try_keep({frame + begin, f.size});
  }
  if (f.data == nullptr) return false;
  *data = f.data;
  *size = f.size;
  return true;
}

}  // namespace tidegate::shard
