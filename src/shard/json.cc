// SPDX-License-Identifier: Apache-2.0
// Clients of the JSON-RPC subprotocol. A text message becomes NetworkMessages that go the way of
// all others (on_client_frame), and every binary message for such a client, whoever made it, comes
// here from the endpoint and becomes text: so both subprotocols do the same, and nothing else in a
// shard knows which one a client speaks.
//
// A request's answer is what the handler sends while it runs: ERROR, or the type that the schema
// names. A REPLY may come later. Everything else is a notification.
#include <algorithm>
#include <charconv>

#include "shard/shard.h"
#include "wire/limits.h"
#include "wire/state_pieces.h"

namespace tidegate::shard {

using metrics::Counter;
using protocol::Naming;
using protocol::RpcCall;
using protocol::RpcRefusal;
using wire::Envelope;
using wire::JsonText;
using wire::MessageType;

namespace {

// Bytes of entities in the first try of a piece; text is two to four times as long.
constexpr uint32_t kPieceBytes = 14 * 1024;
// A state of more is not tried whole.
constexpr uint32_t kWholeBytes = 32 * 1024;

constexpr uint32_t number_of(MessageType type) { return static_cast<uint32_t>(type); }

struct ReplyView {
  uint64_t sequence = 0;
  uint32_t code = 0;
  std::string_view message;
};

ReplyView read_reply(base::Bytes payload) {
  ReplyView reply;
  wire::PbReader fields(payload);
  while (fields.next()) {
    const bool text = fields.is(wire::WireType::kBytes);
    if (fields.field() == 1 && !text) reply.sequence = fields.varint();
    if (fields.field() == 2 && !text) reply.code = static_cast<uint32_t>(fields.varint());
    if (fields.field() == 3 && text) reply.message = fields.text();
  }
  return reply;
}

std::string_view text_of(uint32_t code) {
  const char* const text = wire::text_of_error(code);
  return text != nullptr ? text : std::string_view();
}

// ErrorNotification.request_id: the sequence of the request that was refused; 0: none.
uint64_t request_of(base::Bytes payload) {
  wire::ErrorNotification error;
  uint64_t sequence = 0;
  if (!wire::decode(payload, &error)) return 0;
  const std::string_view id = error.request_id;
  const auto [at, failed] = std::from_chars(id.data(), id.data() + id.size(), sequence);
  return failed == std::errc() && at == id.data() + id.size() ? sequence : 0;
}

RpcRefusal refusal_of(uint32_t code, Naming naming, std::string_view details) {
  RpcRefusal refusal;
  refusal.code = protocol::rpc_code_of(code, naming);
  refusal.own_code = code;
  refusal.details = details;
  return refusal;
}

}  // namespace

bool Shard::speaks_json(uint32_t slot) const {
  return endpoint_.hot(slot).subprotocol == wire::kSubprotocolJson;
}

// --- in ---

void Shard::on_text_message(uint32_t slot, base::Bytes text) {
  if (!speaks_json(slot)) {
    endpoint_.close(slot, 1003, "this subprotocol takes binary messages only",
                    net::CloseCause::kProtocolError);
    return;
  }
  RpcCall call;
  const auto form = json_.reader.begin(text, &call);
  if (form == protocol::JsonRpcReader::Form::kRefused) {
    refuse_call(slot, call, JsonClients::kNoBatch);
    return;
  }
  uint32_t batch = JsonClients::kNoBatch;
  if (form == protocol::JsonRpcReader::Form::kBatch) {
    batch = json_.take_batch(endpoint_.ref(slot));
    if (batch == JsonClients::kNoBatch) {
      call = RpcCall{};
      call.id = "null";
      call.error = protocol::kRpcInternal;
      call.details = "too many batches wait for their answers";
      refuse_call(slot, call, batch);
      return;
    }
  }
  while (endpoint_.is_open(slot) && json_.reader.next(json_.next_sequence, &call)) {
    if (call.error != 0) {
      refuse_call(slot, call, batch);
    } else {
      run_call(slot, call, batch);
    }
  }
  end_batch(batch);
}

void Shard::run_call(uint32_t slot, const RpcCall& call, uint32_t batch) {
  if (call.sequence == json_.next_sequence) ++json_.next_sequence;
  const bool request = !call.id.empty();
  const bool repeated = call.sequence != 0 && call.sequence < JsonClients::kSequenceFirst &&
                        players_[slot].inbound.received() >= call.sequence;
  json_.call = &call;
  json_.call_slot = slot;
  json_.call_batch = batch;
  json_.call_answered = false;
  json_.call_refused = 0;
  if (call.type == number_of(MessageType::kClientHello) && asks_for_packed(call.frame)) {
    violation(slot, wire::kErrorInvalidPayload, "state_encoding: packed state is binary");
  } else {
    on_client_frame(slot, call.frame);
  }
  json_.call = nullptr;
  if (request && json_.call_refused != 0 && !json_.call_answered) {
    json_.call_answered = true;
    answer(slot, batch, false, [&](JsonText& out) {
      protocol::write_error(out, call.id, refusal_of(json_.call_refused, call.naming, {}));
      return true;
    });
  }
  if (!request || json_.call_answered || !endpoint_.is_open(slot)) return;
  // What was handled before is not handled again, and nobody will answer it.
  const bool replied = call.answer == number_of(MessageType::kReply) || service_serves(call.type);
  if (replied && !repeated) {
    if (json_.wait(endpoint_.ref(slot), call, batch, now_)) return;
    answer(slot, batch, false, [&](JsonText& out) {
      protocol::write_error(out, call.id,
                            {protocol::kRpcInternal,
                             wire::kErrorHandlerFailed,
                             {},
                             "too many requests wait for an answer"});
      return true;
    });
    return;
  }
  answer(slot, batch, false, [&](JsonText& out) {
    protocol::write_taken(out, call.id);
    return true;
  });
}

bool Shard::asks_for_packed(base::Bytes frame) {
  Envelope message;
  wire::ClientHello hello;
  return wire::decode_envelope(frame, &message) && wire::decode(message.payload, &hello) &&
         hello.state_encoding == static_cast<uint32_t>(wire::StateEncoding::kPacked);
}

// What the reader refuses counts like a message that the router refuses.
void Shard::refuse_call(uint32_t slot, const RpcCall& call, uint32_t batch) {
  Player& player = players_[slot];
  const uint32_t own = protocol::code_of_rpc(call.error);
  if (!player.rate.take(endpoint_.now_ms(), config_.messages_per_second, config_.messages_burst)) {
    json_.call = &call;
    json_.call_slot = slot;
    json_.call_batch = batch;
    json_.call_answered = false;
    violation(slot, wire::kErrorRateLimited, "send fewer messages a second");
    json_.call = nullptr;
    return;
  }
  if (call.id.empty()) {
    // A notification: it gets no response, but its sender is told, as every client is.
    violation(slot, static_cast<uint16_t>(own), call.details);
    return;
  }
  counters_.add(Counter::kViolations, 1);
  counters_.add(metrics::Family::kErrors, own - wire::kErrorCodeFirst);
  const bool last = player.violations.add(endpoint_.now_ms(), config_.violations_per_minute);
  answer(slot, batch, last, [&](JsonText& out) {
    RpcRefusal refusal;
    refusal.code = call.error;
    refusal.own_code = own;
    refusal.details = call.details;
    refusal.fatal = last;
    protocol::write_error(out, call.id, refusal);
    return true;
  });
  if (last) {
    endpoint_.close(slot, 1008, "too many rejected messages", net::CloseCause::kServerClosed);
  }
}

// --- out ---

void Shard::on_translate(uint32_t slot, base::Bytes own, const iovec* parts, uint32_t count) {
  // Frames may be cut anywhere between the parts: they are put together one by one.
  uint32_t have = 0;
  uint32_t taken = 0;
  uint32_t binary = 0;
  base::Bytes part = own;
  uint8_t* const frame = json_.frame.data();
  const uint64_t text_before = endpoint_.hot(slot).output_bytes;
  for (;;) {
    const uint32_t want = have < wire::kFrameHeaderBytes
                              ? wire::kFrameHeaderBytes
                              : wire::kFrameHeaderBytes + base::load_be32(frame + 4);
    if (want > json_.frame.size()) break;  // none of ours is so long
    if (have == want) {
      translate_frame(slot, {frame + wire::kFrameHeaderBytes, want - wire::kFrameHeaderBytes});
      binary += want;
      have = 0;
      continue;
    }
    if (part.empty()) {
      if (taken == count) break;
      part = {static_cast<const uint8_t*>(parts[taken].iov_base), parts[taken].iov_len};
      ++taken;
      continue;
    }
    const size_t n = std::min<size_t>(want - have, part.size());
    std::memcpy(frame + have, part.data(), n);
    have += static_cast<uint32_t>(n);
    part = part.subspan(n);
  }
  // The budget has counted the binary form; an early flush hides some of the text, which is then
  // not counted.
  const uint64_t text_after = endpoint_.hot(slot).output_bytes;
  if (count != 0 && interest_.watching(slot) && text_after > text_before + binary) {
    interest_.spend(slot, static_cast<uint32_t>(text_after - text_before - binary));
  }
}

void Shard::translate_frame(uint32_t slot, base::Bytes frame) {
  Envelope message;
  if (!wire::decode_envelope(frame, &message)) return;
  const bool error = message.type == number_of(MessageType::kError);
  const bool reply = message.type == number_of(MessageType::kReply);
  const ReplyView view = reply ? read_reply(message.payload) : ReplyView{};
  // A REPLY that refuses in the words of its code is followed by an ERROR, which has the details.
  const bool hold = view.code != 0 && view.message == text_of(view.code);
  const RpcCall* const call = json_.call;
  if (call != nullptr && json_.call_slot == slot && !json_.call_answered && !call->id.empty()) {
    const bool mine = reply ? view.sequence == call->sequence : message.type == call->answer;
    if (mine && hold) {
      json_.call_refused = static_cast<uint16_t>(view.code);
      return;
    }
    if (error || mine) {
      json_.call_answered = true;
      answer_with(slot, json_.call_batch, call->id, call->naming, message);
      return;
    }
  }
  const uint64_t sequence = reply ? view.sequence : error ? request_of(message.payload) : 0;
  if (sequence != 0) {
    if (JsonClients::Waiting* w = json_.find(endpoint_.ref(slot), sequence)) {
      if (hold) {
        w->refused = static_cast<uint16_t>(view.code);
        ++json_.refused_count;
      } else {
        answer_waiting(slot, *w, message);
      }
      return;
    }
  }
  // A notification that was done is not answered.
  if (reply && view.code == 0 && view.sequence == 0) return;
  notify(slot, message);
}

void Shard::answer_waiting(uint32_t slot, JsonClients::Waiting& w, const Envelope& message) {
  w.answered = true;
  answer_with(slot, w.batch, w.id_text(), w.naming, message);
  end_batch(w.batch);
}

// A response out of an ERROR, a REPLY or another answer.
void Shard::answer_with(uint32_t slot, uint32_t batch, std::string_view id, Naming naming,
                        const Envelope& message) {
  RpcRefusal refusal;
  if (message.type == number_of(MessageType::kError)) {
    wire::ErrorNotification error;
    if (!wire::decode(message.payload, &error)) return;
    refusal = refusal_of(error.code, naming, error.details);
    refusal.fatal = error.fatal;
  } else if (message.type == number_of(MessageType::kReply)) {
    const ReplyView reply = read_reply(message.payload);
    if (reply.code != 0) refusal = refusal_of(reply.code, Naming::kByNumber, reply.message);
  }
  refusal.ack = message.ack;
  answer(slot, batch, refusal.fatal, [&](JsonText& out) {
    if (refusal.code == 0) return protocol::write_result(out, id, message);
    protocol::write_error(out, id, refusal);
    return true;
  });
}

// `write(JsonText&)` makes one response; it is sent or put into its batch. `last`: the connection
// is about to be closed, so what its batch holds goes out now.
template <class Write>
void Shard::answer(uint32_t slot, uint32_t batch, bool last, Write&& write) {
  JsonText out({json_.text.data(), json_.text.size()});
  if (!write(out) || out.overflow()) return;
  if (batch == JsonClients::kNoBatch) {
    send_text(slot, out);
    return;
  }
  JsonClients::Batch& b = json_.batch(batch);
  std::string_view text = out.text();
  const uint32_t room = JsonClients::kBatchBytes - JsonClients::kBatchReserve;
  char note[256];
  if (b.used + text.size() + 2 > room) {
    // An answer that long is an embedder's text; its id stands at the front.
    JsonText shorter({reinterpret_cast<uint8_t*>(note), sizeof note});
    const size_t from = std::string_view("{\"jsonrpc\":\"2.0\",\"id\":").size();
    const size_t to = text.find(
        text.find(",\"result\":") != std::string_view::npos ? ",\"result\":" : ",\"error\":");
    protocol::write_error(shorter, text.substr(from, to - from),
                          {protocol::kRpcInternal, wire::kErrorTooLarge, {}, "batch too large"});
    text = shorter.text();
  }
  TG_ASSERT(b.used + text.size() + 2 <= JsonClients::kBatchBytes);
  b.text[b.used] = b.used == 0 ? '[' : ',';
  ++b.used;
  std::memcpy(b.text + b.used, text.data(), text.size());
  b.used += static_cast<uint32_t>(text.size());
  if (last) send_batch(b);
}

void Shard::send_batch(JsonClients::Batch& b) {
  const uint32_t slot = endpoint_.find(b.connection);
  if (b.used != 0 && slot != net::kNone) {
    b.text[b.used++] = ']';
    const base::Bytes text{reinterpret_cast<const uint8_t*>(b.text), b.used};
    counters_.add(Counter::kJsonSent, 1);
    counters_.add(Counter::kJsonBytesSent, text.size());
    endpoint_.send_message(slot, protocol::Opcode::kText, text);
  }
  b.used = 0;
}

// One answer less is out, or all calls are made: the batch goes when it waits for nothing more.
void Shard::end_batch(uint32_t batch) {
  if (batch == JsonClients::kNoBatch) return;
  JsonClients::Batch& b = json_.batch(batch);
  if (--b.waiting != 0) return;
  send_batch(b);
  b.taken = false;
}

void Shard::send_text(uint32_t slot, const JsonText& out) {
  counters_.add(Counter::kJsonSent, 1);
  counters_.add(Counter::kJsonBytesSent, out.size());
  endpoint_.send_message(slot, protocol::Opcode::kText, out.bytes());
}

void Shard::notify(uint32_t slot, const Envelope& message) {
  const bool state = wire::is_state(message.type);
  const size_t most = state ? wire::kMessageBytesOut : json_.text.size();
  if (!state || message.payload.size() <= kWholeBytes) {
    JsonText out({json_.text.data(), most});
    const bool good = protocol::write_notification(out, message);
    if (!good) return;  // an embedder's bytes that are not what their type says
    if (!out.overflow()) {
      send_text(slot, out);
      return;
    }
  }
  if (!state) {
    send_error(slot, wire::kErrorTooLarge, "a message to you is too long for JSON", false);
    return;
  }
  wire::StatePieces pieces(static_cast<MessageType>(message.type), message.payload,
                           {json_.pieces.data(), json_.pieces.size()});
  wire::StatePieces::Piece piece;
  uint32_t bytes = kPieceBytes;
  Envelope part = message;
  while (pieces.next(bytes, &piece)) {
    JsonText out({json_.text.data(), most});
    part.type = number_of(piece.type);
    part.payload = piece.payload;
    if (!protocol::write_notification(out, part)) return;
    if (out.overflow()) {
      if (piece.entries <= 1) continue;  // one entity of more than a message: left out
      bytes /= 2;
      pieces.again();
      continue;
    }
    send_text(slot, out);
    part.sequence = 0;
    part.ack = 0;
  }
}

// Once a turn: requests whose answer did not come, and those that were refused without an ERROR.
void Shard::expire_calls() {
  const auto refuse = [&](JsonClients::Waiting& w, uint16_t code) {
    w.answered = true;
    const uint32_t slot = endpoint_.find(w.connection);
    if (slot != net::kNone && endpoint_.is_open(slot)) {
      answer(slot, w.batch, false, [&](JsonText& out) {
        protocol::write_error(out, w.id_text(), refusal_of(code, w.naming, {}));
        return true;
      });
    }
    end_batch(w.batch);
  };
  json_.for_refused([&](JsonClients::Waiting& w) { refuse(w, w.refused); });
  while (JsonClients::Waiting* w = json_.oldest_done(now_)) {
    if (!w->answered) refuse(*w, wire::kErrorHandlerTimeout);
    json_.pop();
  }
}

}  // namespace tidegate::shard
