// SPDX-License-Identifier: Apache-2.0
// One side of a TLS connection that takes bytes as a socket gives them, in any pieces.
// Thread: one. Owner: the test. Limits: memory grows with what is not whole.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tls/client_context.h"
#include "tls/records.h"
#include "tls/server_context.h"
#include "tls/session.h"

namespace tidegate::tls {

inline std::string text(base::Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

struct Peer {
  explicit Peer(const TicketConfig& tickets = {}) : engine(tickets) {}

  void accept(const ServerContext& context) { ASSERT_TRUE(session.accept(context, engine)); }
  void connect(const ClientContext& context, const char* host) {
    ASSERT_TRUE(session.connect(context, engine, host));
    out += text(engine.output());
  }
  // Bytes from the other side.
  void feed(std::string_view bytes) {
    in.append(bytes);
    const Records cut = cut_records(base::as_bytes(in));
    not_tls |= cut.not_tls;
    if (cut.whole == 0 || status != Status::kOk) return;
    const Received r = session.receive(engine, {reinterpret_cast<uint8_t*>(in.data()), cut.whole});
    out += text(engine.output());
    plain += in.substr(0, r.plain_bytes);
    in.erase(0, cut.whole);
    established += r.just_established;
    status = r.status;
    failure = r.failure;
  }
  void say(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, kRecordPlainMax);
      std::vector<uint8_t> record(piece.size() + kSealRoom);
      const size_t n = session.seal(engine, base::as_bytes(piece), record);
      ASSERT_NE(n, 0u);
      out += text({record.data(), n});
      bytes.remove_prefix(piece.size());
    }
  }
  void shut_down() {
    uint8_t notify[64];
    out += text({notify, session.shut_down(engine, notify)});
  }
  std::string take() { return std::exchange(out, {}); }

  Engine engine;
  Session session;
  std::string in, out, plain;
  Status status = Status::kOk;
  Failure failure = Failure::kCount;
  int established = 0;
  bool not_tls = false;
};

// Until neither has anything to say, in pieces of `piece` bytes.
inline void talk(Peer& client, Peer& server, size_t piece = 100'000) {
  while (!client.out.empty() || !server.out.empty()) {
    const std::string to_server = client.take();
    for (size_t at = 0; at < to_server.size(); at += piece)
      server.feed(to_server.substr(at, piece));
    const std::string to_client = server.take();
    for (size_t at = 0; at < to_client.size(); at += piece)
      client.feed(to_client.substr(at, piece));
  }
}

}  // namespace tidegate::tls
