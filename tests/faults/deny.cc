// SPDX-License-Identifier: Apache-2.0
// tidegate-deny CALL=ERROR,… -- PROGRAM ARGUMENT…: runs a program under a seccomp filter that lets
// those system calls fail, as the profile of a container does. ERROR is a number or EPERM, ENOSYS.
// tidegate-deny --profile=FILE -- PROGRAM ARGUMENT…: under a profile for containers; what it does
// not name fails with EPERM.
// Thread: one. Owner: main. Limits: the calls of kCalls and of seccomp_calls.h.
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "server/seccomp_calls.h"

namespace {

constexpr struct {
  const char* name;
  uint32_t number;
} kCalls[] = {{"io_uring_setup", SYS_io_uring_setup},       {"io_uring_enter", SYS_io_uring_enter},
              {"io_uring_register", SYS_io_uring_register}, {"epoll_pwait2", 441},
              {"sched_setaffinity", SYS_sched_setaffinity}, {"getrandom", SYS_getrandom}};

void put(std::vector<sock_filter>& filter, uint32_t number, uint32_t answer) {
  filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, answer));
}

// Every quoted word of the file that is a call's name. False: the file is not there.
bool read_profile(const char* path, std::vector<sock_filter>& filter) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (text.empty()) return false;
  put(filter, SYS_clone3, SECCOMP_RET_ALLOW);
  for (const auto& call : tidegate::server::kSystemCalls) {
    if (text.find('"' + std::string(call.name) + '"') != std::string::npos) {
      put(filter, static_cast<uint32_t>(call.number), SECCOMP_RET_ALLOW);
    }
  }
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4 || std::strcmp(argv[2], "--") != 0) {
    std::fprintf(stderr, "usage: tidegate-deny CALL=ERROR,... -- PROGRAM ARGUMENT...\n");
    return 2;
  }
  std::vector<sock_filter> filter = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr))};
  uint32_t otherwise = SECCOMP_RET_ALLOW;
  constexpr char kProfile[] = "--profile=";
  if (std::strncmp(argv[1], kProfile, sizeof kProfile - 1) == 0) {
    otherwise = SECCOMP_RET_ERRNO | EPERM;
    if (!read_profile(argv[1] + sizeof kProfile - 1, filter)) {
      std::fprintf(stderr, "tidegate-deny: cannot read %s\n", argv[1]);
      return 2;
    }
    argv[1][0] = '\0';
  }
  for (char* word = std::strtok(argv[1], ","); word != nullptr; word = std::strtok(nullptr, ",")) {
    char* equals = std::strchr(word, '=');
    if (equals == nullptr) return 2;
    *equals = '\0';
    const std::string error = equals + 1;
    const uint32_t code = error == "EPERM"    ? EPERM
                          : error == "ENOSYS" ? ENOSYS
                                              : static_cast<uint32_t>(std::atoi(error.c_str()));
    bool known = false;
    for (const auto& call : kCalls) {
      if (std::strcmp(call.name, word) != 0) continue;
      known = true;
      put(filter, call.number, SECCOMP_RET_ERRNO | code);
    }
    if (!known) {
      std::fprintf(stderr, "tidegate-deny: unknown call %s\n", word);
      return 2;
    }
  }
  filter.push_back(BPF_STMT(BPF_RET | BPF_K, otherwise));
  sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
    std::perror("tidegate-deny: seccomp");
    return 77;
  }
  execv(argv[3], argv + 3);
  std::perror(argv[3]);
  return 127;
}
