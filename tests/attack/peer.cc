// SPDX-License-Identifier: Apache-2.0
#include "peer.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <cstring>
#include <ctime>

#include "base/bytes.h"
#include "base/prng.h"
#include "crypto/jwt_sign.h"
#include "protocol/ws.h"

namespace tidegate::attack {
namespace {

constexpr int64_t kMillisecond = 1'000'000;
constexpr size_t kFragmentBytes = 2 + 4 + 1;  // header, mask, payload

std::string frame(protocol::Opcode opcode, bool last, std::string_view payload, uint32_t mask) {
  std::string out(protocol::kHeaderMax + payload.size(), '\0');
  out.resize(protocol::write_masked_frame(reinterpret_cast<uint8_t*>(out.data()), opcode, last,
                                          base::as_bytes(payload), mask));
  return out;
}

std::string compressed_zeros(size_t size) {
  const std::string zeros(1 << 20, '\0');
  std::string out(size / 1000 + 4096, '\0');
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  for (size_t done = 0; done < size; done += zeros.size()) {
    stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(zeros.data()));
    stream.avail_in = static_cast<uInt>(zeros.size());
    deflate(&stream, Z_NO_FLUSH);
  }
  deflate(&stream, Z_SYNC_FLUSH);
  out.resize(out.size() - stream.avail_out - 4);  // without the empty block at the end
  deflateEnd(&stream);
  return out;
}

}  // namespace

const char* name_of(Kind kind) {
  constexpr const char* kNames[] = {"silent",    "slow_head", "garbage",      "big_head",
                                    "bad_token", "connects",  "slow_message", "half_open",
                                    "pings",     "fragments", "zero_window",  "noise",
                                    "nonsense",  "oversized", "bad_text",     "bomb"};
  static_assert(sizeof kNames / sizeof *kNames == kKinds);
  return kNames[static_cast<uint32_t>(kind)];
}

Shared::Shared(const Options& o) : options(o) {
  base::Prng prng(1);
  noise.resize(4096);
  for (char& c : noise) c = static_cast<char>(prng.next());
  noise[0] = '\xff';
  for (uint32_t i = 0; i < 4000; ++i) {
    pings += frame(protocol::Opcode::kPing, true, "x", i + 1);
    fragments += frame(i == 0 ? protocol::Opcode::kBinary : protocol::Opcode::kContinuation, false,
                       "y", i + 1);
  }
  // The 8 bytes of a frame's head are right, what stands in it is none of ours: ERROR 4002.
  nonsense = frame(protocol::Opcode::kBinary, true,
                   std::string("MM\x00\x01\x00\x00\x00\x64", 8) + noise.substr(0, 100), 7);
  std::string big = frame(protocol::Opcode::kBinary, true, compressed_zeros(64 << 20), 99);
  big[0] = static_cast<char>(big[0] | 0x40);  // RSV1
  bomb = std::move(big);
}

Peer::Peer(Shared& shared, uint32_t number, Kind kind)
    : shared_(shared), number_(number), kind_(kind) {
  // They do not all begin in one turn.
  due_ns_ = static_cast<int64_t>(number) * kMillisecond;
}

Peer::~Peer() {
  if (fd_ >= 0) ::close(fd_);
}

short Peer::interest() const {
  short events = 0;
  if (kind_ != Kind::kZeroWindow || step_ != Step::kOpen) events |= POLLIN;
  if (step_ == Step::kConnecting || blocked_) events |= POLLOUT;
  return events | POLLRDHUP;
}

void Peer::finish() {
  if (step_ == Step::kPausing) return;
  ++shared_.ends[static_cast<uint32_t>(kind_)][step_ == Step::kOpen ? "open" : "waiting"];
}

void Peer::end(const std::string& how, int64_t now_ns) {
  ++shared_.ends[static_cast<uint32_t>(kind_)][how];
  ::close(fd_);
  fd_ = -1;
  step_ = Step::kPausing;
  // Those that cost a server little come back sooner.
  const double pause = kind_ == Kind::kConnects || kind_ == Kind::kBadToken
                           ? shared_.options.pause / 5
                           : shared_.options.pause;
  due_ns_ = now_ns + static_cast<int64_t>(pause * 1e9);
}

void Peer::connect(int64_t now_ns) {
  ++shared_.opened[static_cast<uint32_t>(kind_)];
  ++round_;
  out_.clear();
  in_.clear();
  out_at_ = 0;
  skip_ = 0;
  status_ = close_code_ = 0;
  blocked_ = false;
  fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (kind_ == Kind::kZeroWindow) {
    const int small = 2048;
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  }
  const in_addr_t source =
      kind_ == Kind::kConnects ? shared_.options.flood_source : shared_.options.source;
  if (source != 0) {
    sockaddr_in from{};
    from.sin_family = AF_INET;
    from.sin_addr.s_addr = source;
    ::bind(fd_, reinterpret_cast<sockaddr*>(&from), sizeof from);
  }
  const auto* to = reinterpret_cast<const sockaddr*>(&shared_.options.server);
  if (::connect(fd_, to, sizeof shared_.options.server) != 0 && errno != EINPROGRESS) {
    end(std::string("connect: ") + std::strerror(errno), now_ns);
    return;
  }
  step_ = Step::kConnecting;
  began_ns_ = now_ns;
}

std::string Peer::token() {
  crypto::MintClaims claims;
  claims.subject = std::string(name_of(kind_)) + '-' + std::to_string(number_);
  claims.issued_at = std::time(nullptr);
  claims.expires_at = claims.issued_at + 3600;
  std::string made = crypto::mint(shared_.options.secret, claims);
  if (kind_ == Kind::kBadToken) {
    char& last = made[made.size() - 10];
    last = last == 'A' ? 'B' : 'A';
  }
  return made;
}

void Peer::request(int64_t now_ns) {
  step_ = Step::kAsking;
  due_ns_ = now_ns;
  switch (kind_) {
    case Kind::kSilent:
      return;
    case Kind::kGarbage:
      out_ = shared_.noise;
      return;
    case Kind::kConnects: {
      const linger hard{1, 0};
      ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      end("gone", now_ns);
      return;
    }
    default:
      break;
  }
  out_ =
      "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
      "Sec-WebSocket-Protocol: tidegate.v1.proto\r\n";
  if (kind_ == Kind::kBomb) out_ += "Sec-WebSocket-Extensions: permessage-deflate\r\n";
  if (kind_ == Kind::kBigHead) {
    out_ += "X-Long: " + std::string(60'000, 'x');
    return;
  }
  out_ += "Authorization: Bearer " + token() + "\r\n\r\n";
}

// False when the socket is over.
bool Peer::write(const char* data, size_t size, size_t* at) {
  while (*at < size) {
    const ssize_t n = ::send(fd_, data + *at, size - *at, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN) {
      blocked_ = true;
      return true;
    }
    if (n < 0) return false;
    *at += static_cast<size_t>(n);
  }
  blocked_ = false;
  return true;
}

void Peer::act(int64_t now_ns) {
  if (kind_ == Kind::kSlowHead && step_ == Step::kAsking) {
    due_ns_ = now_ns + 200 * kMillisecond;
    if (out_at_ + 60 < out_.size()) (void)write(out_.data(), out_at_ + 1, &out_at_);
    return;
  }
  if (out_at_ < out_.size()) {
    (void)write(out_.data(), out_.size(), &out_at_);  // who is over is seen by reading
    if (out_at_ < out_.size()) return;
  }
  if (step_ != Step::kOpen) return;
  out_at_ = 0;
  due_ns_ = now_ns + 20 * kMillisecond;
  switch (kind_) {
    case Kind::kSlowMessage:
      out_ = std::string(1, 'z');
      due_ns_ = now_ns + 500 * kMillisecond;
      break;
    case Kind::kPings:
      out_ = shared_.pings;
      break;
    case Kind::kFragments:
      out_ = shared_.fragments.substr(kFragmentBytes);  // all but the first are continuations
      break;
    case Kind::kNonsense:
    case Kind::kZeroWindow:
      out_ = shared_.nonsense;
      if (kind_ == Kind::kZeroWindow) due_ns_ = now_ns + 1000 * kMillisecond;
      break;
    default:
      out_.clear();
      due_ns_ = INT64_MAX;
  }
  (void)write(out_.data(), out_.size(), &out_at_);
}

void Peer::parse() {
  if (step_ == Step::kAsking) {
    const size_t over = in_.find("\r\n\r\n");
    if (over == std::string::npos) return;
    if (status_ == 0) status_ = std::atoi(in_.c_str() + std::strlen("HTTP/1.1 "));
    in_.erase(0, over + 4);
    if (status_ != 101) {
      in_.clear();
      return;
    }
    step_ = Step::kOpen;
    ++shared_.logged_in[static_cast<uint32_t>(kind_)];
    out_at_ = 0;
    switch (kind_) {
      case Kind::kSlowMessage:  // 60,000 bytes are announced
        out_ = std::string("\x82\xfe\xea\x60\x01\x02\x03\x04", 8);
        break;
      case Kind::kFragments:
        out_ = shared_.fragments;
        break;
      case Kind::kNoise:
        out_ = shared_.noise;
        break;
      case Kind::kOversized:
        out_ = std::string("\x82\xff\x00\x00\x00\x01\x00\x00\x00\x00\x01\x02\x03\x04", 14);
        break;
      case Kind::kBadText:
        out_ = frame(protocol::Opcode::kText, true, "\xc3\x28", 5);
        break;
      case Kind::kBomb:
        out_ = shared_.bomb;
        break;
      default:
        out_.clear();
    }
  }
  while (step_ == Step::kOpen && !in_.empty()) {
    if (skip_ != 0) {
      const size_t n = std::min<uint64_t>(skip_, in_.size());
      in_.erase(0, n);
      skip_ -= n;
      continue;
    }
    if (in_.size() < 2) return;
    const auto* b = reinterpret_cast<const uint8_t*>(in_.data());
    uint64_t size = b[1] & 0x7f;
    size_t header = 2;
    if (size == 126) header = 4;
    if (size == 127) header = 10;
    if (in_.size() < header) return;
    if (header == 4) size = base::load_be16(b + 2);
    if (header == 10) {
      size = 0;
      for (size_t i = 2; i < 10; ++i) size = size << 8 | b[i];
    }
    const bool close = (b[0] & 0x0f) == 8;
    if (close && size >= 2) {
      if (in_.size() < header + 2) return;
      close_code_ = base::load_be16(b + header);
    }
    in_.erase(0, header);
    skip_ = size;
  }
}

void Peer::read(int64_t now_ns) {
  char chunk[65536];
  for (;;) {
    const ssize_t n = ::recv(fd_, chunk, sizeof chunk, MSG_DONTWAIT);
    if (n > 0) {
      in_.append(chunk, static_cast<size_t>(n));
      parse();
      continue;
    }
    if (n < 0 && errno == EAGAIN) return;
    const int error = errno;
    if (status_ == 0 && in_.rfind("HTTP/1.1 ", 0) == 0) status_ = std::atoi(in_.c_str() + 9);
    if (close_code_ != 0) {
      end("close " + std::to_string(close_code_), now_ns);
    } else if (status_ != 0 && status_ != 101) {
      end("http " + std::to_string(status_), now_ns);
    } else {
      end(n == 0 ? "eof" : error == ECONNRESET ? "reset" : std::strerror(error), now_ns);
    }
    return;
  }
}

void Peer::turn(int64_t now_ns, short revents) {
  if (step_ == Step::kPausing) {
    if (now_ns >= due_ns_) connect(now_ns);
    return;
  }
  if (step_ == Step::kConnecting) {
    if ((revents & (POLLERR | POLLHUP)) != 0) {
      end("connect refused", now_ns);
    } else if ((revents & POLLOUT) != 0) {
      request(now_ns);
    }
    return;
  }
  const bool deaf = kind_ == Kind::kZeroWindow && step_ == Step::kOpen &&
                    now_ns - began_ns_ < static_cast<int64_t>(shared_.options.deaf * 1e9);
  if ((revents & (POLLERR | POLLHUP | POLLRDHUP)) != 0 || ((revents & POLLIN) != 0 && !deaf) ||
      (kind_ == Kind::kZeroWindow && !deaf)) {
    const Step before = step_;
    read(now_ns);
    if (step_ == Step::kPausing) return;
    if (step_ != before) due_ns_ = now_ns;
  }
  if (now_ns >= due_ns_ || (blocked_ && (revents & POLLOUT) != 0)) act(now_ns);
}

}  // namespace tidegate::attack
