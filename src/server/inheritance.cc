// SPDX-License-Identifier: Apache-2.0
#include "server/inheritance.h"

namespace tidegate::server {

using handover::Packet;

bool Inheritance::receive_hello(std::string* error) {
  Packet packet{};
  std::vector<int> descriptors;
  if (!channel.receive(base::seconds(5), &packet, &hello_bytes, &descriptors) ||
      packet != Packet::kHello) {
    for (const int fd : descriptors) ::close(fd);
    *error = "upgrade: the process before this one said nothing";
    return false;
  }
  listeners = std::move(descriptors);
  handover::Reader in(hello_bytes);
  if (!in.next() || in.type() != handover::RecordType::kHello || !in.read(&hello)) {
    *error = "upgrade: the process before this one sent no greeting";
    return false;
  }
  if (hello.version != handover::kVersion) {
    *error = "upgrade: the process before this one speaks version " +
             std::to_string(hello.version) + " of the hand-over, this one " +
             std::to_string(handover::kVersion) + "; restart instead";
    return false;
  }
  const size_t each = hello.tls_port != 0 ? 2 : 1;
  if (hello.shards == 0 || listeners.size() != hello.shards * each) {
    *error = "upgrade: not one listener for each shard came";
    return false;
  }
  return true;
}

int Inheritance::take_listener(uint32_t shard, bool tls) {
  if (tls && hello.tls_port == 0) return -1;
  const size_t at = shard * size_t{hello.tls_port != 0 ? 2u : 1u} + (tls ? 1 : 0);
  if (at >= listeners.size()) return -1;
  const int fd = listeners[at];
  listeners[at] = -1;
  return fd;
}

void Inheritance::refuse(const std::string& why) {
  const std::string text = why.substr(0, 1024);
  (void)channel.send(Packet::kRefused, base::as_bytes(text));
}

}  // namespace tidegate::server
