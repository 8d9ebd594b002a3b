// SPDX-License-Identifier: Apache-2.0
#include "server/seccomp.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <vector>

#include "server/seccomp_calls.h"

namespace tidegate::server {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
constexpr const char* kProfileArchitecture = "SCMP_ARCH_X86_64";
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
constexpr const char* kProfileArchitecture = "SCMP_ARCH_AARCH64";
#else
constexpr uint32_t kArchitecture = 0;
constexpr const char* kProfileArchitecture = "";
#endif

constexpr uint32_t low_half_of_argument(uint32_t i) {
  return static_cast<uint32_t>(offsetof(seccomp_data, args)) + i * 8;  // little-endian
}

class Filter {
 public:
  explicit Filter(uint32_t refusal) : refusal_(refusal) {
    load(offsetof(seccomp_data, arch));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0));
    answer(SECCOMP_RET_KILL_PROCESS);  // numbers mean something else there
    load(offsetof(seccomp_data, nr));
  }

  void allow(uint32_t number) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    answer(SECCOMP_RET_ALLOW);
  }
  void fail(uint32_t number, uint32_t error) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1));
    answer(SECCOMP_RET_ERRNO | error);
  }
  // Refused unless (argument & mask) == value.
  void allow_if(uint32_t number, uint32_t argument, uint32_t mask, uint32_t value) {
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 5));
    load(low_half_of_argument(argument));
    add(BPF_STMT(BPF_ALU | BPF_AND | BPF_K, mask));
    add(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1));
    answer(SECCOMP_RET_ALLOW);
    answer(refusal_);
  }
  std::vector<sock_filter> finish() {
    answer(refusal_);
    return std::move(code_);
  }

 private:
  void add(sock_filter step) { code_.push_back(step); }
  void load(uint32_t offset) { add(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offset)); }
  void answer(uint32_t what) { add(BPF_STMT(BPF_RET | BPF_K, what)); }

  uint32_t refusal_;
  std::vector<sock_filter> code_;
};

}  // namespace

bool install_seccomp(SeccompMode mode, std::string* error) {
  if (mode == SeccompMode::kOff) return true;
  if (kArchitecture == 0) {
    *error = "security.seccomp: there is no list of system calls for this architecture";
    return false;
  }
  Filter filter(mode == SeccompMode::kKill ? SECCOMP_RET_KILL_PROCESS : SECCOMP_RET_ERRNO | EPERM);
  for (const SystemCall& call : kSystemCalls) {
    const auto number = static_cast<uint32_t>(call.number);
    if (call.when != CallWhen::kServing) continue;
    switch (call.number) {
      case SYS_mmap:
      case SYS_mprotect:
        filter.allow_if(number, 2, PROT_EXEC, 0);
        break;
      case SYS_clone:  // threads only
        filter.allow_if(number, 0, CLONE_THREAD, CLONE_THREAD);
        break;
      default:
        filter.allow(number);
    }
  }
  // Its flags lie in memory, where a filter cannot look: the C library falls back on clone.
  filter.fail(SYS_clone3, ENOSYS);
  std::vector<sock_filter> code = filter.finish();
  sock_fprog program{static_cast<unsigned short>(code.size()), code.data()};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program) != 0) {
    *error =
        std::string("security.seccomp: the kernel refuses the filter: ") + std::strerror(errno);
    return false;
  }
  return true;
}

std::string seccomp_profile() {
  std::vector<std::string> names = {"clone3"};
  for (const SystemCall& call : kSystemCalls) names.emplace_back(call.name);
  std::sort(names.begin(), names.end());
  std::string out = "{\n  \"defaultAction\": \"SCMP_ACT_ERRNO\",\n  \"defaultErrnoRet\": 1,\n";
  out += std::string("  \"architectures\": [\"") + kProfileArchitecture + "\"],\n";
  out += "  \"syscalls\": [\n    {\n      \"action\": \"SCMP_ACT_ALLOW\",\n      \"names\": [\n";
  for (size_t i = 0; i < names.size(); ++i) {
    out += "        \"" + names[i] + (i + 1 < names.size() ? "\",\n" : "\"\n");
  }
  return out + "      ]\n    }\n  ]\n}\n";
}

}  // namespace tidegate::server
