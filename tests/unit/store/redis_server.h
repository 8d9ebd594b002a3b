// SPDX-License-Identifier: Apache-2.0
// A redis-server of the test's own on a free loopback port, ended with it.
// Thread: one. Owner: the test. Limits: none.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "store/redis_link.h"

namespace tidegate::store {

inline uint16_t free_port() {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  (void)bind(fd, reinterpret_cast<sockaddr*>(&address), size);
  (void)getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  close(fd);
  return ntohs(address.sin_port);
}

class RedisServer {
 public:
  // False where the program is not installed.
  static bool installed() { return std::system("command -v redis-server >/dev/null 2>&1") == 0; }
  // `configuration`: lines of a file, before `more` arguments.
  explicit RedisServer(std::vector<std::string> more = {}, const std::string& configuration = {})
      : more_(std::move(more)) {
    char name[] = "/tmp/tidegate-redis-XXXXXX";
    folder_ = mkdtemp(name);
    port_ = free_port();
    if (!configuration.empty()) {
      file_ = folder_ + "/redis.conf";
      std::ofstream(file_) << configuration;
    }
    start();
  }
  ~RedisServer() {
    stop();
    (void)std::system(("rm -rf '" + folder_ + "'").c_str());
  }
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  uint16_t port() const { return port_; }
  RedisOptions options() const {
    RedisOptions o;
    o.addresses = {address()};
    o.timeout = base::seconds(10);
    return o;
  }
  void start() {
    std::vector<std::string> words{"redis-server"};
    if (!file_.empty()) {
      words.push_back(file_);
    } else {
      words.insert(words.end(), {"--save", ""});
    }
    words.insert(words.end(), {"--port", std::to_string(port_), "--bind", "127.0.0.1", "--dir",
                               folder_, "--logfile", "log"});
    words.insert(words.end(), more_.begin(), more_.end());
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    if (posix_spawnp(&pid_, "redis-server", nullptr, nullptr, arguments.data(), environ) != 0) {
      std::abort();
    }
    std::string error;
    RedisOptions o = options();
    for (int i = 0; i < 1500; ++i) {
      // Apart from its greeting, which may ask for a password.
      RedisLink probe(o);
      if (probe.connect(&error)) return;
      ::poll(nullptr, 0, 20);
    }
    std::abort();
  }
  void stop() {
    if (pid_ == 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // One command of its own.
  RedisReply ask(std::vector<std::string> words) const {
    RedisLink link(options());
    std::string error;
    std::vector<RedisReply> replies;
    const RedisCommand command{"", std::move(words)};
    if (!link.connect(&error) || !link.run({&command, 1}, &replies, &error)) return {};
    return replies[0];
  }

 private:
  std::vector<std::string> more_;
  std::string folder_, file_;
  uint16_t port_ = 0;
  pid_t pid_ = 0;
};

}  // namespace tidegate::store
