// SPDX-License-Identifier: Apache-2.0
// The one list of system calls the server makes: the filter it puts on itself (security.seccomp),
// the profile for containers (tools/seccomp/tidegate.json) and the test that both hold come from
// it. Thread: any. Owner: none. Limits: x86-64 and arm64; what a machine does not have is left out.
#pragma once

#include <sys/syscall.h>

#include <cstdint>

namespace tidegate::server {

enum class CallWhen : uint8_t {
  kServing,   // also while it serves
  kStarting,  // until it serves: the program, its libraries and the container's own last steps
};

struct SystemCall {
  const char* name;
  int number;
  CallWhen when;
};

#define SERVING(name) \
  SystemCall { #name, SYS_##name, CallWhen::kServing }
#define STARTING(name) \
  SystemCall { #name, SYS_##name, CallWhen::kStarting }
inline constexpr SystemCall kSystemCalls[] = {
    // The shards' turns.
    SERVING(io_uring_enter),
    SERVING(io_uring_register),
    SERVING(epoll_ctl),
    SERVING(epoll_pwait),
    SERVING(epoll_create1),
    SERVING(accept4),
    SERVING(recvfrom),
    SERVING(recvmsg),
    SERVING(sendmsg),
    SERVING(sendto),
    SERVING(shutdown),
    SERVING(close),
    SERVING(read),
    SERVING(write),
    SERVING(readv),
    SERVING(writev),
    SERVING(futex),
    SERVING(ppoll),
    SERVING(eventfd2),
    SERVING(clock_gettime),
    SERVING(clock_getres),
    SERVING(clock_nanosleep),
    SERVING(nanosleep),
    SERVING(getrandom),
    SERVING(sched_yield),
    SERVING(membarrier),
    SERVING(restart_syscall),
    // Memory; nothing of it may become code (see seccomp.cc).
    SERVING(mmap),
    SERVING(munmap),
    SERVING(mprotect),
    SERVING(mremap),
    SERVING(madvise),
    SERVING(brk),
    SERVING(msync),
    SERVING(mincore),
    // Threads: of the admin server, of key fetches, of the C library's resolver.
    SERVING(clone),
    SERVING(exit),
    SERVING(exit_group),
    SERVING(set_robust_list),
    SERVING(rseq),
    SERVING(gettid),
    SERVING(getpid),
    SERVING(tgkill),
    SERVING(prctl),
    SERVING(sigaltstack),
    SERVING(rt_sigaction),
    SERVING(rt_sigprocmask),
    SERVING(rt_sigreturn),
    SERVING(sched_getaffinity),
    SERVING(sched_setaffinity),
    SERVING(sched_getscheduler),
    SERVING(sched_setscheduler),
    SERVING(getcpu),
    SERVING(getrusage),
    SERVING(prlimit64),
    SERVING(sysinfo),
    SERVING(uname),
    SERVING(getuid),
    SERVING(geteuid),
    SERVING(getgid),
    SERVING(getegid),
    // The admin port, key fetches, the service manager.
    SERVING(socket),
    SERVING(socketpair),
    SERVING(connect),
    SERVING(bind),
    SERVING(listen),
    SERVING(accept),
    SERVING(getsockname),
    SERVING(getpeername),
    SERVING(setsockopt),
    SERVING(getsockopt),
    SERVING(sendmmsg),
    SERVING(recvmmsg),
    SERVING(pselect6),
    SERVING(ioctl),
    SERVING(fcntl),
    SERVING(pipe2),
    SERVING(dup),
    SERVING(dup3),
    // Files: configuration, certificates, snapshots, sessions, desync files.
    SERVING(openat),
    SERVING(fstat),
    SERVING(newfstatat),
    SERVING(statx),
    SERVING(lseek),
    SERVING(pread64),
    SERVING(pwrite64),
    SERVING(ftruncate),
    SERVING(fallocate),
    SERVING(fsync),
    SERVING(fdatasync),
    SERVING(fchmod),
    SERVING(fchown),
    SERVING(flock),
    SERVING(getdents64),
    SERVING(faccessat),
    SERVING(readlinkat),
    SERVING(renameat2),
    SERVING(unlinkat),
    SERVING(mkdirat),
    SERVING(getcwd),
    SERVING(umask),
    SERVING(utimensat),
    SERVING(statfs),
    SERVING(fstatfs),
    SERVING(fadvise64),
#if defined(__x86_64__)
    SERVING(epoll_wait),
    SERVING(poll),
    SERVING(select),
    SERVING(open),
    SERVING(stat),
    SERVING(lstat),
    SERVING(access),
    SERVING(readlink),
    SERVING(rename),
    SERVING(unlink),
    SERVING(mkdir),
    SERVING(rmdir),
    SERVING(getdents),
    SERVING(time),
    SERVING(gettimeofday),
    SERVING(dup2),
    SERVING(pipe),
    SERVING(renameat),
    STARTING(arch_prctl),
    STARTING(getpgrp),
#endif
#ifdef SYS_epoll_pwait2
    SERVING(epoll_pwait2),
#endif
#ifdef SYS_faccessat2
    SERVING(faccessat2),
#endif
    // Until it serves.
    STARTING(io_uring_setup),
    STARTING(execve),
    STARTING(execveat),
    STARTING(set_tid_address),
    STARTING(setrlimit),
    STARTING(getrlimit),
    STARTING(seccomp),
    STARTING(capget),
    STARTING(capset),
    STARTING(chdir),
    STARTING(fchdir),
    STARTING(setuid),
    STARTING(setgid),
    STARTING(setgroups),
    STARTING(setresuid),
    STARTING(setresgid),
    STARTING(getppid),
    STARTING(kill),
    STARTING(wait4),
    STARTING(close_range),
};
#undef SERVING
#undef STARTING

}  // namespace tidegate::server
