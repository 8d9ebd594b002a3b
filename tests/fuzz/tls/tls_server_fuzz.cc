// SPDX-License-Identifier: Apache-2.0
// What a hostile peer can send to a TLS server. Input: mode, split seed, then bytes. Modes: the
// bytes themselves as the peer's stream; a true client's stream with the bytes laid over a place in
// it; the bytes as records behind a finished handshake. In pieces of sizes that come from the
// input, as records are cut by the endpoint. Plaintext may only come out behind an authentic
// handshake.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <ctime>
#include <string>

#include "../../unit/tls/make_certificate.h"
#include "base/prng.h"
#include "tls/client_context.h"
#include "tls/records.h"
#include "tls/server_context.h"
#include "tls/session.h"

namespace {

using namespace tidegate;

struct Side {
  explicit Side(const tls::TicketConfig& tickets) : engine(tickets) {}
  void feed(std::string_view bytes) {
    in.append(bytes);
    if (over) return;
    const tls::Records cut = tls::cut_records(base::as_bytes(in));
    if (cut.whole != 0) {
      const tls::Received r =
          session.receive(engine, {reinterpret_cast<uint8_t*>(in.data()), cut.whole});
      if (r.plain_bytes > cut.whole) std::abort();
      out.append(reinterpret_cast<const char*>(engine.output().data()), engine.output().size());
      plain.append(in, 0, r.plain_bytes);
      in.erase(0, cut.whole);
      over = r.status != tls::Status::kOk;
    }
    over = over || cut.not_tls || cut.broken;
  }
  tls::Engine engine;
  tls::Session session;
  std::string in, out, plain;
  bool over = false;
};

struct World {
  World() {
    tls::ServerOptions options;
    options.certificates = {tls::make_certificate(),
                            tls::make_certificate({.names = {"b.example"}})};
    options.unix_seconds = std::time(nullptr);
    std::string error;
    std::vector<std::string> warnings;
    server = tls::ServerContext::make(options, &error, &warnings);
    for (const bool old : {false, true}) {
      client[old] = tls::ClientContext::make({.insecure = true, .tls12_only = old}, &error);
    }
    tickets.seed = {1};
    tickets.rotation = base::seconds(100);
  }
  std::shared_ptr<const tls::ServerContext> server;
  std::unique_ptr<tls::ClientContext> client[2];
  tls::TicketConfig tickets;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const World world;
  if (size < 4) return 0;
  base::Prng prng(data[1] * 251u + data[2]);
  std::string bytes(reinterpret_cast<const char*>(data + 4), size - 4);
  Side server(world.tickets);
  Side client(world.tickets);
  if (!server.session.accept(*world.server, server.engine)) std::abort();
  const auto send = [&](std::string_view stream) {
    const uint64_t most = 1 + prng.below(prng.chance(0.5) ? 8 : 4000);
    for (size_t at = 0; at < stream.size();) {
      const size_t n = std::min<size_t>(stream.size() - at, prng.below(most) + 1);
      server.feed(stream.substr(at, n));
      at += n;
    }
  };
  const uint8_t mode = data[0] & 3;
  const bool old = (data[0] & 4) != 0;
  if (mode == 0) {
    send(bytes);
    if (!server.plain.empty() || server.session.established()) std::abort();
    return 0;
  }
  if (!client.session.connect(*world.client[old], client.engine,
                              (data[0] & 8) != 0 ? "b.example" : "game.example")) {
    std::abort();
  }
  client.out.assign(reinterpret_cast<const char*>(client.engine.output().data()),
                    client.engine.output().size());
  // Which of the client's flights is spoilt, and where.
  const uint32_t flight = data[3] & 1;
  bool spoilt = false;
  for (uint32_t turn = 0; turn < 4 && !server.over; ++turn) {
    std::string to_server = std::exchange(client.out, {});
    if (mode == 1 && turn == flight && !to_server.empty()) {
      const size_t at = (data[3] >> 1) * to_server.size() / 128;
      for (size_t i = 0; i < bytes.size() && at + i < to_server.size(); ++i) {
        spoilt = spoilt || bytes[i] != 0;
        to_server[at + i] = static_cast<char>(to_server[at + i] ^ bytes[i]);
      }
    }
    send(to_server);
    client.feed(std::exchange(server.out, {}));
  }
  if (mode == 1) {
    // Compatibility versions in record headers may differ; nothing else may.
    if (!spoilt && !server.session.established()) std::abort();
    return 0;
  }
  if (!server.session.established()) std::abort();
  if (mode == 2) {
    send(bytes);
    if (!server.plain.empty()) std::abort();
    return 0;
  }
  // Sealed by the client, with one byte changed or none.
  if (bytes.empty()) return 0;
  bytes.resize(std::min(bytes.size(), tls::kRecordPlainMax));
  std::string record(bytes.size() + tls::kSealRoom, '\0');
  const size_t n = client.session.seal(client.engine, base::as_bytes(bytes),
                                       {reinterpret_cast<uint8_t*>(record.data()), record.size()});
  record.resize(n);
  const bool change = (data[3] & 1) != 0;
  if (change) record[tls::kRecordHeader + prng.below(n - tls::kRecordHeader)] ^= 0x40;
  send(record);
  if (server.plain != (change ? std::string() : bytes)) std::abort();
  return 0;
}
