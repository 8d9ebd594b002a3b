// SPDX-License-Identifier: Apache-2.0
// One connection to one endpoint: the transport below, the WebSocket above, and between them the
// simulator of bad networks when it is built in. Bytes go out when they are put in, as far as the
// transport takes them.
// Thread: one. Owner: Connection. Limits: send_buffer_bytes for what the transport has not taken,
// message_bytes for a message of the server.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/time.h"
#include "client/ws_stream.h"
#include "sdk/simulator.h"
#include "tidegate/client.h"

namespace tidegate::sdk {

struct Endpoint {
  std::string host;    // without brackets
  std::string target;  // path and query
  std::string name;    // host:port, as the Host header has it
  uint16_t port = 0;
  bool secure = false;
};
// ws:// and wss:// only. False: not such a URL.
bool parse_endpoint(std::string_view url, Endpoint* out);

class Link {
 public:
  Link(const tidegate_client_transport& transport, uint64_t seed, uint32_t message_bytes,
       uint32_t send_buffer_bytes, bool short_is_all);
  ~Link() { close(); }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  // False: no such connection can be. `target` and `bearer` are copied.
  bool open(const Endpoint& endpoint, std::string_view resume, std::string_view bearer);
  void close();
  bool is_open() const { return handle_ != nullptr; }
  // The transport of the last open() stood; also after close().
  bool was_connected() const { return connected_; }

  enum class Status : uint8_t { kFine, kLost };
  // Moves bytes both ways. Messages are then taken with next() until kNone; settle() ends a turn.
  Status turn(base::Instant now);
  client::StreamEvent next() {
    const client::StreamEvent event = stream_.next();
    all_taken_ = event == client::StreamEvent::kNone;
    return event;
  }
  void settle() { stream_.settle(); }
  base::MutableBytes message() const { return stream_.message(); }
  // Whether turn() stopped before the transport was empty, or messages wait.
  bool more() const { return more_ || !all_taken_; }

  // Whether so many bytes may be put in.
  bool has_room(size_t bytes) const { return buffered() + bytes <= send_buffer_bytes_; }
  void send(base::Instant now, base::Bytes message);
  void send_close(base::Instant now, uint16_t code);
  size_t buffered() const { return handle_ == nullptr ? 0 : stream_.outgoing().size(); }
  void flush(base::Instant now);

  // What the transport says of a loss, or of an open() that failed; empty when it says nothing.
  std::string_view problem() const {
    const char* text =
        transport_.problem != nullptr ? transport_.problem(transport_.user, handle_) : nullptr;
    return text != nullptr ? text : std::string_view();
  }
  const client::WsStream& stream() const { return stream_; }
  void* handle() const { return handle_; }
  uint64_t bytes_in() const { return bytes_in_; }
  uint64_t bytes_out() const { return bytes_out_; }
  Simulator& simulator() { return simulator_; }
  base::Instant next_due() const { return simulator_.next_due(); }

 private:
  static constexpr size_t kReceiveBytes = 32 * 1024;

  const tidegate_client_transport& transport_;
  client::WsStream stream_;
  Simulator simulator_;
  uint32_t send_buffer_bytes_;
  bool short_is_all_;
  void* handle_ = nullptr;
  bool connected_ = false;
  bool lost_ = false;
  bool more_ = false;
  bool all_taken_ = true;
  Endpoint endpoint_;
  std::string target_, bearer_;
  std::vector<uint8_t> buffer_;
  uint64_t bytes_in_ = 0, bytes_out_ = 0;
};

}  // namespace tidegate::sdk
