// SPDX-License-Identifier: Apache-2.0
// A client of text messages on a blocking socket: the upgrade with tidegate.v1.json, frames both
// ways. What comes in is kept as it was written.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <string_view>
#include <vector>

#include "live_client.h"
#include "protocol/ws.h"

namespace tidegate::embed_test {

class TextClient {
 public:
  TextClient(uint16_t port, const std::string& user) {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const bool connected = ::connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
    const std::string head =
        "GET /ws HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "Sec-WebSocket-Protocol: tidegate.v1.json\r\nAuthorization: Bearer " +
        token_for(user) + "\r\n\r\n";
    if (!connected || ::send(fd_, head.data(), head.size(), MSG_NOSIGNAL) < 0) return;
    while (input_.find("\r\n\r\n") == std::string::npos) {
      if (!receive()) return;
    }
    opened_ = input_.starts_with("HTTP/1.1 101") &&
              input_.find("tidegate.v1.json") < input_.find("\r\n\r\n");
    input_.erase(0, input_.find("\r\n\r\n") + 4);
  }
  ~TextClient() { ::close(fd_); }
  TextClient(const TextClient&) = delete;
  TextClient& operator=(const TextClient&) = delete;

  bool opened() const { return opened_; }

  void send(std::string_view text) {
    std::vector<uint8_t> frame(text.size() + protocol::kHeaderMax);
    const size_t size = protocol::write_masked_frame(frame.data(), protocol::Opcode::kText, true,
                                                     base::as_bytes(text), 0x5a5a1234);
    size_t done = 0;
    while (done < size) {
      const ssize_t n = ::send(fd_, frame.data() + done, size - done, MSG_NOSIGNAL);
      if (n <= 0) return;
      done += static_cast<size_t>(n);
    }
  }
  // The next text message that holds `part`; empty when none comes in ten seconds.
  std::string next(std::string_view part) {
    for (;;) {
      for (; looked_ < texts_.size(); ++looked_) {
        if (texts_[looked_].find(part) != std::string::npos) return texts_[looked_++];
      }
      if (!take_frame()) return {};
    }
  }

 private:
  bool receive() {
    pollfd wait{fd_, POLLIN, 0};
    if (::poll(&wait, 1, 10'000) != 1) return false;
    char bytes[16384];
    const ssize_t n = ::recv(fd_, bytes, sizeof bytes, 0);
    if (n <= 0) return false;
    input_.append(bytes, static_cast<size_t>(n));
    return true;
  }
  bool take_frame() {
    for (;;) {
      protocol::FrameView frame;
      const base::MutableBytes input{reinterpret_cast<uint8_t*>(input_.data()), input_.size()};
      const auto status = protocol::parse_frame(input, protocol::Role::kClient, 1 << 20, frame);
      if (status == protocol::ParseStatus::kFrame) {
        if (frame.opcode == protocol::Opcode::kText) {
          texts_.emplace_back(base::as_text(frame.payload));
        }
        input_.erase(0, frame.consumed);
        return true;
      }
      if (status != protocol::ParseStatus::kNeedMore || !receive()) return false;
    }
  }

  int fd_;
  bool opened_ = false;
  std::string input_;
  std::vector<std::string> texts_;
  size_t looked_ = 0;
};

}  // namespace tidegate::embed_test
