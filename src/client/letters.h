// SPDX-License-Identifier: Apache-2.0
// Letters between players with acknowledgement both ways, as examples/letters serves them: a
// client's side of sessions, written from docs/protocol.md. Each letter is numbered by its writer;
// whatever comes must be the next one.
// Thread: one. Owner: the driver of the client. Limits: none.
#pragma once

#include <charconv>
#include <deque>
#include <map>
#include <string>

#include "client/client.h"
#include "wire/envelope.h"
#include "wire/messages.h"

namespace tidegate::client {

inline constexpr uint32_t kLetter = 1000;    // receiver, new line, number
inline constexpr uint32_t kDelivery = 1001;  // sender, new line, number

class Letters {
 public:
  // The path to connect with.
  std::string path(const std::string& plain = "/ws") {
    resuming_ = !token_.empty();
    ready_ = false;
    return resuming_ ? plain + "?resume=" + token_ : plain;
  }

  // The connection is gone: what is written waits for the next.
  void pause() { ready_ = false; }

  void write(Client& client, const std::string& to) {
    const std::string text = to + '\n' + std::to_string(++written_[to]);
    kept_.push_back({++sent_, text});
    if (ready_) send(client, kept_.back());
  }

  // Every message that came, before it is looked at otherwise.
  void on_envelope(Client& client, const wire::Envelope& m) {
    while (!kept_.empty() && kept_.front().sequence <= m.ack) kept_.pop_front();
    switch (static_cast<wire::MessageType>(m.type)) {
      case wire::MessageType::kConnectionEstablished: {
        wire::ConnectionEstablished established;
        if (!wire::decode(m.payload, &established)) problem = "no CONNECTION_ESTABLISHED";
        token_ = established.resume_token;
        if (!resuming_) start(client);
        break;
      }
      case wire::MessageType::kResumeResult: {
        wire::ResumeResult result;
        if (!wire::decode(m.payload, &result) || !result.resumed) {
          problem = "the session was lost: " + std::string(result.reason);
          break;
        }
        ++resumes;
        while (!kept_.empty() && kept_.front().sequence <= result.last_client_sequence) {
          kept_.pop_front();
        }
        start(client);
        break;
      }
      default:
        break;
    }
    if (!m.requires_ack) return;
    if (m.sequence > received_ + 1) problem = "a gap in what the server sends";
    if (m.sequence == received_ + 1) {
      ++received_;
      if (m.type == kDelivery) read(base::as_text(m.payload));
    }
    wire::EnvelopeHead head{wire::MessageType::kAck};
    head.ack = received_;
    post(client, head, {});
  }

  // Whether letters to this player find a session.
  bool has_session() const { return !token_.empty(); }
  const std::string& token() const { return token_; }
  bool settled() const { return kept_.empty(); }
  uint64_t written_to(const std::string& name) const {
    const auto it = written_.find(name);
    return it == written_.end() ? 0 : it->second;
  }
  uint64_t read_from(const std::string& name) const {
    const auto it = read_.find(name);
    return it == read_.end() ? 0 : it->second;
  }
  const std::map<std::string, uint64_t>& written() const { return written_; }
  uint64_t written_in_all() const { return sent_; }
  uint64_t read_in_all() const { return read_count_; }

  std::string problem;
  uint64_t resumes = 0;

 private:
  struct Kept {
    uint64_t sequence;
    std::string text;
  };
  void start(Client& client) {
    ready_ = true;
    for (const Kept& k : kept_) send(client, k);
  }
  void send(Client& client, const Kept& k) {
    wire::EnvelopeHead head{static_cast<wire::MessageType>(kLetter)};
    head.sequence = k.sequence;
    head.requires_ack = true;
    head.ack = received_;
    post(client, head, k.text);
  }
  static void post(Client& client, const wire::EnvelopeHead& head, std::string_view text) {
    uint8_t buffer[256];
    wire::MessageWriter writer(buffer, head);
    writer.payload().raw(reinterpret_cast<const uint8_t*>(text.data()), text.size());
    if (const uint32_t size = writer.finish(); size != 0) client.send_binary({buffer, size});
  }
  void read(std::string_view text) {
    const size_t line = text.find('\n');
    uint64_t number = 0;
    if (line != std::string_view::npos) {
      std::from_chars(text.data() + line + 1, text.data() + text.size(), number);
    }
    uint64_t& last = read_[std::string(text.substr(0, line))];
    if (number != last + 1) {
      problem = "letter " + std::to_string(number) + " came behind letter " + std::to_string(last);
    }
    last = number;
    ++read_count_;
  }

  std::string token_;
  bool resuming_ = false;
  bool ready_ = false;     // the numbers of both sides are known
  uint64_t sent_ = 0;      // highest sequence given
  uint64_t received_ = 0;  // highest sequence from the server
  uint64_t read_count_ = 0;
  std::deque<Kept> kept_;
  std::map<std::string, uint64_t> written_;
  std::map<std::string, uint64_t> read_;
};

}  // namespace tidegate::client
