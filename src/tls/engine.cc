// SPDX-License-Identifier: Apache-2.0
#include "tls/engine.h"

#include <openssl/bio.h>

#include <algorithm>
#include <cstring>

#include "base/assert.h"

namespace tidegate::tls {

Engine::Engine(const TicketConfig& tickets) : scratch_(new uint8_t[kEngineOutputBytes]) {
  if (tickets.rotation.ns > 0) tickets_.emplace(tickets.seed, tickets.origin, tickets.rotation);
  method_ = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "tidegate");
  TG_ASSERT(method_ != nullptr);
  BIO_meth_set_read(method_, read);
  BIO_meth_set_write(method_, write);
  BIO_meth_set_ctrl(method_, control);
}

Engine::~Engine() { BIO_meth_free(method_); }

bio_st* Engine::make_bio() {
  BIO* bio = BIO_new(method_);
  if (bio == nullptr) return nullptr;
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  return bio;
}

int Engine::read(bio_st* bio, char* out, int size) {
  auto& engine = *static_cast<Engine*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  const size_t n = std::min(engine.input_.size() - engine.taken_, static_cast<size_t>(size));
  if (n == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  std::memcpy(out, engine.input_.data() + engine.taken_, n);
  engine.taken_ += n;
  return static_cast<int>(n);
}

int Engine::write(bio_st* bio, const char* data, int size) {
  auto& engine = *static_cast<Engine*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  // No retry: a session that would write more than there is room for fails.
  if (engine.output_.size() - engine.written_ < static_cast<size_t>(size)) return -1;
  std::memcpy(engine.output_.data() + engine.written_, data, static_cast<size_t>(size));
  engine.written_ += static_cast<size_t>(size);
  return size;
}

long Engine::control(bio_st*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

}  // namespace tidegate::tls
