// SPDX-License-Identifier: Apache-2.0
#include "sdk/tls_transport.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <vector>

#include "sdk/tcp_transport.h"
#include "tls/client_stream.h"

namespace tidegate::sdk {

namespace {

constexpr size_t kChunkBytes = 16 * 1024;
constexpr size_t kSealedMost = 64 * 1024;  // not taken by the socket: no more is sealed

}  // namespace

struct TlsTransport::Impl {
  tidegate_client_transport tcp = tcp_transport();
  std::string authorities;
  bool insecure = false;
  std::unique_ptr<tls::ClientContext> context;
  std::unique_ptr<tls::Engine> engine;
  std::string problem;  // of the context
};

namespace {

using Impl = TlsTransport::Impl;

struct SecureLink {
  void* tcp = nullptr;
  bool secure = false;
  bool ended = false;  // nothing more will come than what is in `plain`
  std::string host;
  std::string problem;
  tls::ClientStream stream;
  std::vector<uint8_t> plain;  // decrypted and not taken
  size_t taken = 0;
  uint8_t chunk[kChunkBytes];
};

Impl& impl_of(void* user) { return *static_cast<Impl*>(user); }
SecureLink& link_of(void* link) { return *static_cast<SecureLink*>(link); }

bool flush(Impl& impl, SecureLink& link) {
  for (base::Bytes out = link.stream.outgoing(); !out.empty(); out = link.stream.outgoing()) {
    const int64_t n = impl.tcp.send(nullptr, link.tcp, out.data(), out.size());
    if (n < 0) return false;
    if (n == 0) break;
    link.stream.sent(static_cast<size_t>(n));
  }
  return true;
}

// Takes what the socket has into `plain`. False: there is no more, now or ever.
bool fill(Impl& impl, SecureLink& link) {
  if (link.ended) return false;
  const int64_t n = impl.tcp.receive(nullptr, link.tcp, link.chunk, sizeof link.chunk);
  if (n == 0) return false;
  if (n < 0) {
    link.ended = true;
    return false;
  }
  base::MutableBytes plain;
  const bool alive =
      link.stream.receive(*impl.engine, {link.chunk, static_cast<size_t>(n)}, &plain);
  link.plain.insert(link.plain.end(), plain.begin(), plain.end());
  if (!alive) {
    link.ended = true;
    link.problem = link.stream.problem();
  }
  flush(impl, link);  // handshake, key updates; what fails shows when bytes are sent
  return true;
}

void* open_link(void* user, const char* host, uint16_t port, int32_t secure) {
  Impl& impl = impl_of(user);
  if (secure != 0 && impl.context == nullptr) {
    tls::ClientOptions options;
    options.insecure = impl.insecure;
    options.authorities = impl.authorities;
    options.authorities_file = "tls_authorities";
    impl.context = tls::ClientContext::make(options, &impl.problem);
    if (impl.context == nullptr) return nullptr;
    impl.engine = std::make_unique<tls::Engine>();
  }
  void* const tcp = impl.tcp.open(nullptr, host, port, 0);
  if (tcp == nullptr) return nullptr;
  auto* const link = new (std::nothrow) SecureLink;
  if (link == nullptr) {
    impl.tcp.close(nullptr, tcp);
    return nullptr;
  }
  link->tcp = tcp;
  link->secure = secure != 0;
  link->host = host;
  return link;
}

int32_t status_of(void* user, void* handle) {
  Impl& impl = impl_of(user);
  SecureLink& link = link_of(handle);
  const int32_t status = impl.tcp.status(nullptr, link.tcp);
  if (status != 1 || !link.secure) return status;
  if (!link.stream.started() &&
      !link.stream.start(*impl.context, *impl.engine, link.host.c_str())) {
    link.problem = "TLS could not be begun";
    return -1;
  }
  if (!flush(impl, link)) return -1;
  while (!link.stream.established() && fill(impl, link)) continue;
  if (link.stream.established()) return 1;
  return link.ended ? -1 : 0;
}

int64_t send_bytes(void* user, void* handle, const void* data, size_t size) {
  Impl& impl = impl_of(user);
  SecureLink& link = link_of(handle);
  if (!link.secure) return impl.tcp.send(nullptr, link.tcp, data, size);
  if (!flush(impl, link)) return -1;
  if (link.stream.outgoing().size() >= kSealedMost) return 0;
  size = std::min(size, kSealedMost);
  if (!link.stream.seal(*impl.engine, {static_cast<const uint8_t*>(data), size})) {
    link.problem = link.stream.problem();
    return -1;
  }
  return flush(impl, link) ? static_cast<int64_t>(size) : -1;
}

int64_t receive_bytes(void* user, void* handle, void* data, size_t room) {
  Impl& impl = impl_of(user);
  SecureLink& link = link_of(handle);
  if (!link.secure) return impl.tcp.receive(nullptr, link.tcp, data, room);
  flush(impl, link);
  // To the end of what is there: one record is rarely all of it.
  auto* const out = static_cast<uint8_t*>(data);
  size_t done = 0;
  while (done < room) {
    if (link.taken == link.plain.size()) {
      link.plain.clear();
      link.taken = 0;
      if (!fill(impl, link)) break;
      continue;
    }
    const size_t size = std::min(room - done, link.plain.size() - link.taken);
    std::memcpy(out + done, link.plain.data() + link.taken, size);
    link.taken += size;
    done += size;
  }
  if (done == 0 && link.ended) return -1;
  return static_cast<int64_t>(done);
}

void close_link(void* user, void* handle) {
  Impl& impl = impl_of(user);
  auto* const link = static_cast<SecureLink*>(handle);
  if (link->secure && link->stream.established() && !link->ended) {
    link->stream.shut_down(*impl.engine);
    flush(impl, *link);
  }
  impl.tcp.close(nullptr, link->tcp);
  delete link;
}

void wait_for(void* user, void* handle, int32_t for_write, int32_t most_ms) {
  Impl& impl = impl_of(user);
  if (handle == nullptr) {
    impl.tcp.wait(nullptr, nullptr, 0, most_ms);
    return;
  }
  SecureLink& link = link_of(handle);
  // During the handshake the other side has the word, whatever waits above.
  const bool shaking = link.secure && link.stream.started() && !link.stream.established();
  const bool write =
      shaking ? !link.stream.outgoing().empty() : for_write != 0 || !link.stream.outgoing().empty();
  impl.tcp.wait(nullptr, link.tcp, write ? 1 : 0, most_ms);
}

const char* problem_of(void* user, void* handle) {
  return handle != nullptr ? link_of(handle).problem.c_str() : impl_of(user).problem.c_str();
}

}  // namespace

TlsTransport::TlsTransport(std::string authorities, bool insecure)
    : impl_(std::make_unique<Impl>()) {
  impl_->authorities = std::move(authorities);
  impl_->insecure = insecure;
}
TlsTransport::~TlsTransport() = default;

int TlsTransport::descriptor(void* /*user*/, void* handle, bool* wants_write) {
  const SecureLink& link = link_of(handle);
  const int fd = tcp_descriptor(nullptr, link.tcp, wants_write);
  *wants_write = *wants_write || !link.stream.outgoing().empty();
  return fd;
}

tidegate_client_transport TlsTransport::table() {
  tidegate_client_transport t = impl_->tcp;
  t.user = impl_.get();
  t.open = open_link;
  t.status = status_of;
  t.send = send_bytes;
  t.receive = receive_bytes;
  t.close = close_link;
  t.wait = wait_for;
  t.problem = problem_of;
  return t;
}

}  // namespace tidegate::sdk
