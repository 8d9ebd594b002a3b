// SPDX-License-Identifier: Apache-2.0
#include "doctor.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "io/probe.h"
#include "net/endpoint.h"

namespace tidegate::program {
namespace {

constexpr long kListenBacklog = 4096;  // io::ListenSpec

class Doctor {
 public:
  Doctor(const control::Config& config, std::string root)
      : config_(config), root_(std::move(root)), cpus_(allowed_cpus()) {
    shards_ = config.shard_count(static_cast<uint32_t>(cpus_.size()));
  }

  void examine() {
    kernel();
    files();
    cpus();
    cgroup();
    network();
    memory();
    clock();
  }
  int failures() const { return failures_; }
  int warnings() const { return warnings_; }

 private:
  void ok(const char* what, const std::string& found) {
    std::printf("ok    %s: %s\n", what, found.c_str());
  }
  void warn(const char* what, const std::string& found, const std::string& remedy) {
    ++warnings_;
    std::printf("warn  %s: %s\n      remedy: %s\n", what, found.c_str(), remedy.c_str());
  }
  void fail(const char* what, const std::string& found, const std::string& remedy) {
    ++failures_;
    std::printf("FAIL  %s: %s\n      remedy: %s\n", what, found.c_str(), remedy.c_str());
  }

  // First line of a file under the root; empty when it cannot be read.
  std::string read(const std::string& path) const {
    std::ifstream file(root_ + path);
    std::string line;
    std::getline(file, line);
    return line;
  }
  // -1: there is none.
  long number(const std::string& path) const {
    const std::string text = read(path);
    char* end = nullptr;
    const long value = std::strtol(text.c_str(), &end, 10);
    return text.empty() || end == text.c_str() ? -1 : value;
  }

  static std::vector<uint32_t> allowed_cpus() {
    cpu_set_t set;
    std::vector<uint32_t> out;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return out;
    for (uint32_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (CPU_ISSET(cpu, &set)) out.push_back(cpu);
    }
    return out;
  }

  void kernel() {
    utsname name{};
    uname(&name);
    std::string release = read("proc/sys/kernel/osrelease");
    if (release.empty()) release = name.release;
    int major = 0;
    int minor = 0;
    std::sscanf(release.c_str(), "%d.%d", &major, &minor);
    const int version = major * 1000 + minor;
    if (version < 6001) {
      fail("kernel", release, "run Linux 6.1 or newer");
    } else if (version < 6007) {
      warn("kernel", release,
           "run Linux 6.7 or newer: before it the address of a peer is not known, so limits by "
           "address, listen.trusted and the PROXY protocol do not work");
    } else {
      ok("kernel", release);
    }
    const long disabled = number("proc/sys/kernel/io_uring_disabled");
    if (disabled == 2 || (disabled == 1 && geteuid() != 0)) {
      fail("io_uring", "switched off by kernel.io_uring_disabled = " + std::to_string(disabled),
           disabled == 1 ? "put the service's group into kernel.io_uring_group, or set "
                           "kernel.io_uring_disabled = 0"
                         : "set kernel.io_uring_disabled = 0 (sysctl)");
    }
    io::ProbeReport report;
    io::probe_kernel(&report);
    for (const io::ProbeFinding& f : report.all()) {
      const std::string what = std::string("io_uring ") + f.feature;
      if (f.ok) {
        ok(what.c_str(), f.reason);
      } else if (f.need == io::ProbeNeed::kRequired && config_.io.backend != "epoll") {
        fail(what.c_str(), f.reason, f.remedy);
      } else {
        warn(what.c_str(), f.reason, f.remedy);
      }
    }
    backend(report.usable);
    std::ifstream status(root_ + "proc/self/status");
    for (std::string line; std::getline(status, line);) {
      if (line.rfind("Seccomp:", 0) != 0 || line.find('2') == std::string::npos) continue;
      if (report.usable) {
        ok("seccomp", "a filter is in force and lets io_uring through");
      } else {
        const std::string where = container();
        fail("seccomp", where + "a filter is in force, and io_uring does not work",
             where.empty() ? "allow io_uring_setup, io_uring_enter and io_uring_register in the "
                             "filter (SystemCallFilter= of the unit)"
                           : "container runtimes forbid io_uring by default: run it with "
                             "--security-opt seccomp=tools/seccomp/tidegate.json (Kubernetes: "
                             "seccompProfile of type Localhost with that file)");
      }
    }
  }

  // "in a Docker container, " or empty.
  std::string container() const {
    if (std::ifstream(root_ + ".dockerenv").good()) return "in a Docker container, ";
    if (std::ifstream(root_ + "run/.containerenv").good()) return "in a Podman container, ";
    if (std::ifstream(root_ + "var/run/secrets/kubernetes.io/serviceaccount/namespace").good()) {
      return "in a Kubernetes container, ";
    }
    return {};
  }

  void backend(bool uring_usable) {
    epoll_ = config_.io.backend == "epoll" || (config_.io.backend == "auto" && !uring_usable);
    if (!epoll_) {
      if (uring_usable) ok("io backend", "io_uring");
    } else if (uring_usable) {
      warn("io backend", "epoll, because io.backend says so: each message costs more system calls",
           "io.backend = \"auto\"");
    } else {
      warn("io backend",
           "epoll will serve in the place of io_uring: each message costs more system calls, and "
           "each connection a descriptor",
           "what the lines about io_uring say");
    }
  }

  void files() {
    rlimit limit{};
    getrlimit(RLIMIT_NOFILE, &limit);
    const uint64_t needed = epoll_ ? config_.limits.connections + 128
                                   : config_.limits.connections / shards_ + net::kRefusalRows;
    const uint64_t have = epoll_ ? limit.rlim_cur : std::min<uint64_t>(limit.rlim_cur, 65'536);
    const std::string found = std::to_string(limit.rlim_cur) + " open files, " +
                              std::to_string(config_.limits.connections) + " connections on " +
                              std::to_string(shards_) + " shards";
    const std::string remedy =
        "LimitNOFILE=65536 in the unit (ulimit -n), more shards, or fewer "
        "limits.connections";
    if (have < needed) {
      fail("open files", found + " need " + std::to_string(needed), remedy);
    } else if (!epoll_ &&
               have < std::min<uint64_t>(config_.limits.connections + net::kRefusalRows, 65'536)) {
      warn("open files", found + "; the kernel spreads connections unevenly over shards", remedy);
    } else {
      ok("open files", found);
    }
    rlimit core{};
    getrlimit(RLIMIT_CORE, &core);
    if (core.rlim_cur == 0) {
      ok("core dumps", "off: a crash leaves no picture, and no secrets on disk");
    } else {
      warn("core dumps", "on: they would hold keys and tokens", "LimitCORE=0 in the unit");
    }
  }

  void cpus() {
    const std::string found =
        std::to_string(shards_) + " shards on " + std::to_string(cpus_.size()) + " CPUs";
    for (const uint32_t cpu : config_.shards.cpus) {
      if (std::find(cpus_.begin(), cpus_.end(), cpu) == cpus_.end()) {
        fail("CPU pinning",
             "shards.cpus names CPU " + std::to_string(cpu) + ", which this process may not use",
             "name CPUs of the process's set, or widen it (AllowedCPUs=, taskset, cpuset)");
        return;
      }
    }
    if (shards_ > cpus_.size()) {
      warn("CPU pinning", found + ": shards will share a CPU and delay each other's ticks",
           "shards.count = " + std::to_string(cpus_.size()));
    } else {
      ok("CPU pinning", found);
    }
    const std::string governor = read("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    if (governor == "powersave" || governor == "conservative") {
      warn("CPU frequency", "governor " + governor + ": ticks begin on a slow clock",
           "cpupower frequency-set -g performance");
    }
  }

  // Path of our cgroup (version 2) under the mount; false: none.
  bool cgroup_path(std::string* out) const {
    std::ifstream file(root_ + "proc/self/cgroup");
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("0::", 0) != 0) continue;
      *out = "sys/fs/cgroup" + line.substr(3) + '/';
      return true;
    }
    return false;
  }

  void cgroup() {
    std::string path;
    if (!cgroup_path(&path)) {
      ok("cgroup", "version 2 is not in use here; not examined");
      return;
    }
    // The limits of every level above hold too.
    bool limited = false;
    for (;;) {
      limited |= cgroup_level(path);
      if (path.size() <= std::strlen("sys/fs/cgroup/")) break;
      path.resize(path.rfind('/', path.size() - 2) + 1);
    }
    if (!limited) ok("cgroup", "no limit of CPU time or memory");
  }

  bool cgroup_level(const std::string& path) {
    bool limited = false;
    long quota = 0;
    long period = 0;
    if (std::sscanf(read(path + "cpu.max").c_str(), "%ld %ld", &quota, &period) == 2 &&
        period > 0) {
      limited = true;
      char text[96];
      std::snprintf(text, sizeof text, "cpu.max gives %.2f CPUs to %u shards",
                    static_cast<double>(quota) / static_cast<double>(period), shards_);
      if (quota < period * (static_cast<long>(shards_) + 1)) {
        warn("cgroup CPU", std::string(text) + "; a throttled process misses ticks by the period",
             "no CPU quota (CPUQuota= empty, no Kubernetes CPU limit), AllowedCPUs= or a cpuset "
             "instead, or fewer shards");
      } else {
        ok("cgroup CPU", text);
      }
    }
    for (const char* file : {"memory.max", "memory.high"}) {
      const long bytes = number(path + file);
      if (bytes < 0) continue;
      limited = true;
      const std::string found = std::string(file) + " is " + std::to_string(bytes >> 20) + " MiB";
      if (bytes < 256L << 20) {
        warn("cgroup memory", found, "give it more, or lower limits.connections");
      } else {
        ok("cgroup memory", found + "; what the limits may use is in the log at the start");
      }
    }
    return limited;
  }

  void at_least(const char* what, const std::string& path, long least, const std::string& why) {
    const long value = number(path);
    if (value < 0) return;
    std::string key = path.substr(std::strlen("proc/sys/"));
    std::replace(key.begin(), key.end(), '/', '.');
    const std::string found = key + " = " + std::to_string(value);
    if (value < least) {
      warn(what, found + ": " + why,
           "sysctl " + key + '=' + std::to_string(least) + " (tools/systemd/60-tidegate.conf)");
    } else {
      ok(what, found);
    }
  }

  void network() {
    at_least("accept queue", "proc/sys/net/core/somaxconn", kListenBacklog,
             "a join storm is cut to that many waiting connections of a shard");
    at_least("SYN queue", "proc/sys/net/ipv4/tcp_max_syn_backlog", kListenBacklog,
             "half-open connections beyond it are dropped or get cookies");
    const long cookies = number("proc/sys/net/ipv4/tcp_syncookies");
    if (cookies == 0) {
      warn("SYN cookies", "net.ipv4.tcp_syncookies = 0: a SYN flood fills the queue",
           "sysctl net.ipv4.tcp_syncookies=1");
    } else if (cookies > 0) {
      ok("SYN cookies", "on");
    }
    long low = 0;
    long high = 0;
    if (std::sscanf(read("proc/sys/net/ipv4/ip_local_port_range").c_str(), "%ld %ld", &low,
                    &high) == 2) {
      const std::string found =
          "net.ipv4.ip_local_port_range = " + std::to_string(low) + ' ' + std::to_string(high);
      if (high - low < static_cast<long>(config_.limits.connections)) {
        warn("local ports",
             found + ": a proxy on one address of this machine cannot open " +
                 std::to_string(config_.limits.connections) + " connections",
             "sysctl net.ipv4.ip_local_port_range='1024 65535', or several source addresses");
      } else {
        ok("local ports", found);
      }
      const long port = config_.listen.websocket.port;
      if (port >= low && port <= high) {
        warn("listen port",
             std::to_string(port) + " lies in the range that outgoing connections take ports from",
             "net.ipv4.ip_local_reserved_ports = " + std::to_string(port) +
                 ", or a port below the range");
      }
      const long first = number("proc/sys/net/ipv4/ip_unprivileged_port_start");
      if (port != 0 && first >= 0 && port < first && geteuid() != 0) {
        warn("listen port", std::to_string(port) + " is for privileged processes only",
             "AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or sysctl "
             "net.ipv4.ip_unprivileged_port_start=" +
                 std::to_string(port));
      }
    }
  }

  void memory() {
    std::ifstream swaps(root_ + "proc/swaps");
    std::string line;
    std::getline(swaps, line);  // the heading
    const bool swap = static_cast<bool>(std::getline(swaps, line)) && !line.empty();
    const long swappiness = number("proc/sys/vm/swappiness");
    if (swap && swappiness > 10) {
      warn("swap",
           "in use with vm.swappiness = " + std::to_string(swappiness) +
               ": a tick that waits for a page misses",
           "MemorySwapMax=0 in the unit, swapoff -a, or vm.swappiness = 1");
    } else {
      ok("swap", swap ? "there, hardly used" : "none");
    }
    const std::string huge = read("sys/kernel/mm/transparent_hugepage/enabled");
    if (huge.find("[always]") != std::string::npos) {
      warn("huge pages",
           "transparent_hugepage is always: tables that are sparsely used cost whole huge pages, "
           "and compaction stalls",
           "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled");
    } else if (!huge.empty()) {
      ok("huge pages", huge);
    }
    if (number("proc/sys/vm/overcommit_memory") == 2) {
      warn("overcommit",
           "vm.overcommit_memory = 2: address space is charged, and the server reserves what its "
           "limits may need",
           "vm.overcommit_memory = 0 or 1, or lower limits.connections");
    }
  }

  void clock() {
    const std::string source =
        read("sys/devices/system/clocksource/clocksource0/current_clocksource");
    if (source == "hpet" || source == "acpi_pm" || source == "jiffies") {
      warn("clock", source + ": reading the time is a slow system call",
           "clocksource=tsc on the kernel's command line, if the machine's TSC is stable");
    } else if (!source.empty()) {
      ok("clock", source);
    }
  }

  const control::Config& config_;
  std::string root_;
  std::vector<uint32_t> cpus_;
  uint32_t shards_ = 1;
  bool epoll_ = false;  // the server would run on it
  int failures_ = 0;
  int warnings_ = 0;
};

}  // namespace

int doctor(const DoctorOptions& options) {
  control::LoadedConfig loaded;
  if (!load(options.common, &loaded)) return 2;
  std::string root = options.root;
  if (root.empty() || root.back() != '/') root += '/';
  Doctor doctor(loaded.config, root);
  doctor.examine();
  std::printf("%d failures, %d warnings\n", doctor.failures(), doctor.warnings());
  return doctor.failures() != 0 || (options.strict && doctor.warnings() != 0) ? 1 : 0;
}

}  // namespace tidegate::program
