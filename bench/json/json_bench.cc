// SPDX-License-Identifier: Apache-2.0
// What a JSON-RPC client costs beyond a binary one: a text message to a NetworkMessage, and a
// NetworkMessage to text. `in` and `out` are bytes of a message before and after.
#include <benchmark/benchmark.h>

#include <string>
#include <string_view>
#include <vector>

#include "protocol/json_rpc.h"
#include "wire/messages.h"

namespace tidegate::protocol {
namespace {

constexpr uint32_t kMessageBytes = 64 * 1024;

void report(benchmark::State& state, size_t in, size_t out) {
  state.counters["in"] = static_cast<double>(in);
  state.counters["out"] = static_cast<double>(out);
}

void read(benchmark::State& state, const std::string& text) {
  JsonRpcReader reader(kMessageBytes);
  RpcCall call;
  size_t made = 0;
  for (auto _ : state) {
    made = 0;
    static_cast<void>(reader.begin(base::as_bytes(text), &call));
    while (reader.next(1 << 20, &call)) {
      if (call.error != 0) state.SkipWithError("the text is no call");
      made += call.frame.size();
    }
    benchmark::DoNotOptimize(made);
  }
  report(state, text.size(), made);
}

const std::string kMove =
    R"({"jsonrpc":"2.0","method":"playerMove","params":{"position":{"x":123.46,"y":0.5,"z":-88.02},)"
    R"("rotation":{"x":0,"y":0.382683,"z":0,"w":0.92388},"velocity":{"x":2.5,"z":-1.25},)"
    R"("clientTick":4711,"clientTime":"1700000000123"}})";

void ReadMove(benchmark::State& state) { read(state, kMove); }
BENCHMARK(ReadMove);

void ReadBatchOf16Moves(benchmark::State& state) {
  std::string text = "[" + kMove;
  for (int i = 1; i < 16; ++i) text += "," + kMove;
  read(state, text + "]");
}
BENCHMARK(ReadBatchOf16Moves);

void ReadHeartbeat(benchmark::State& state) {
  read(state,
       R"({"jsonrpc":"2.0","id":17,"method":"heartbeat","params":{"payload":"AAECAwQFBgc="}})");
}
BENCHMARK(ReadHeartbeat);

void write(benchmark::State& state, wire::MessageType type, base::Bytes payload) {
  std::vector<uint8_t> room(1 << 20);
  wire::Envelope message;
  message.type = static_cast<uint32_t>(type);
  message.payload = payload;
  size_t made = 0;
  for (auto _ : state) {
    wire::JsonText out(room);
    if (!write_notification(out, message) || out.overflow()) state.SkipWithError("no message");
    made = out.size();
    benchmark::DoNotOptimize(made);
  }
  report(state, payload.size(), made);
}

void WriteMoveAck(benchmark::State& state) {
  uint8_t room[256];
  wire::PbWriter payload(room);
  wire::MoveAck ack;
  ack.client_tick = 4711;
  ack.server_tick = 123456;
  ack.position = {123.46F, 0.5F, -88.02F};
  ack.velocity = {2.5F, 0, -1.25F};
  wire::encode(payload, ack);
  write(state, wire::MessageType::kMoveAck, payload.written());
}
BENCHMARK(WriteMoveAck);

std::string name_of_player(int64_t i) {
  return "8d7f1c52-0000-4000-8000-" + std::to_string(100000 + i);
}

void WriteZoneUpdate(benchmark::State& state) {
  std::vector<uint8_t> room(1 << 20);
  wire::PbWriter payload(room);
  payload.text(wire::kZoneId, "main");
  for (int64_t i = 0; i < state.range(0); ++i) {
    const std::string name = name_of_player(i);
    wire::PlayerStateDelta delta;
    delta.player_id = name;
    delta.changed_fields = wire::kChangedPosition | wire::kChangedVelocity;
    delta.position = {static_cast<float>(i) * 1.02F, 0, static_cast<float>(i) * -0.74F};
    delta.velocity = {1.25F, 0, -3.5F};
    delta.delta_tick = 123456;
    const size_t update = payload.begin(wire::kZoneUpdates);
    const size_t mark = payload.begin(1);
    wire::encode(payload, delta);
    payload.end(mark);
    payload.end(update);
  }
  write(state, wire::MessageType::kZoneUpdate, payload.written());
}
BENCHMARK(WriteZoneUpdate)->Arg(1)->Arg(10)->Arg(100);

void WriteWorldState(benchmark::State& state) {
  std::vector<uint8_t> room(1 << 20);
  wire::PbWriter payload(room);
  payload.varint(1, 123456);
  payload.text(3, "main");
  for (int64_t i = 0; i < state.range(0); ++i) {
    const std::string name = name_of_player(i);
    wire::PlayerStateUpdate player;
    player.player_id = name;
    player.position = {static_cast<float>(i) * 1.02F, 0, static_cast<float>(i) * -0.74F};
    player.rotation = {0, 0.382683F, 0, 0.92388F};
    player.has_position = player.has_rotation = true;
    player.tick = 123456;
    const size_t mark = payload.begin(wire::kSnapshotPlayers);
    wire::encode(payload, player);
    payload.end(mark);
  }
  write(state, wire::MessageType::kWorldState, payload.written());
}
BENCHMARK(WriteWorldState)->Arg(100);

}  // namespace
}  // namespace tidegate::protocol

BENCHMARK_MAIN();
