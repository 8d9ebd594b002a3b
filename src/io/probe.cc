// SPDX-License-Identifier: Apache-2.0
#include "io/probe.h"

#include <liburing.h>
#undef BLOCK_SIZE
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "base/assert.h"
#include "base/log.h"
#include "io/uring_compat.h"

namespace tidegate::io {
namespace {

constexpr size_t kPage = 4096;
constexpr char kUpgrade[] = "run Linux 6.1 or newer (6.7 or newer is recommended)";

class Prober {
 public:
  explicit Prober(ProbeReport* report) : report_(*report) {}

  ProbeFinding& add(const char* feature, ProbeNeed need) {
    TG_ASSERT(report_.count < kProbeFeatures);
    ProbeFinding& finding = report_.findings[report_.count++];
    finding = {};
    finding.feature = feature;
    finding.need = need;
    return finding;
  }

  void add_result(const char* feature, ProbeNeed need, int result, const char* good,
                  const char* remedy) {
    ProbeFinding& finding = add(feature, need);
    finding.ok = result >= 0;
    if (finding.ok) {
      base::format_into(finding.reason, "%s", good);
    } else {
      base::format_into(finding.reason, "the kernel answered: %s", std::strerror(-result));
      finding.remedy = remedy;
    }
  }

 private:
  ProbeReport& report_;
};

// kernel.io_uring_disabled (6.6 and newer): 0, 1 or 2; -1 when there is no such switch.
int read_disabled_switch() {
  std::FILE* file = std::fopen("/proc/sys/kernel/io_uring_disabled", "re");
  if (file == nullptr) return -1;
  int value = -1;
  if (std::fscanf(file, "%d", &value) != 1) value = -1;
  std::fclose(file);
  return value;
}

bool has_opcode(const io_uring_probe* probe, int opcode) {
  return probe != nullptr && opcode <= probe->last_op &&
         (probe->ops[opcode].flags & IO_URING_OP_SUPPORTED) != 0;
}

// Submits what is queued and waits at most a second for one completion; its result, or -errno.
int run_one(io_uring* ring, uint32_t* flags) {
  io_uring_cqe* cqe = nullptr;
  __kernel_timespec limit{1, 0};
  int result = io_uring_submit_and_wait_timeout(ring, &cqe, 1, &limit, nullptr);
  if (result < 0 || cqe == nullptr) return result < 0 ? result : -ETIME;
  result = cqe->res;
  *flags = cqe->flags;
  io_uring_cqe_seen(ring, cqe);
  return result;
}

// A multishot receive over a socket pair into a buffer ring: asks for all three features at once.
// `memory_out`: what the receive may still write to; to be unmapped after the ring is gone.
int try_multishot_receive(io_uring* ring, void** memory_out) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return -errno;
  void* memory =
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  int result = memory == MAP_FAILED ? -ENOMEM : 0;
  if (result == 0) *memory_out = memory;
  if (result == 0) {
    auto* buffers = static_cast<io_uring_buf_ring*>(memory);
    io_uring_buf_reg registration{};
    registration.ring_addr = reinterpret_cast<uint64_t>(buffers);
    registration.ring_entries = 8;
    result = io_uring_register_buf_ring(ring, &registration, 0);
    if (result == 0) {
      buffers->bufs[0].addr = reinterpret_cast<uint64_t>(memory) + kPage;
      buffers->bufs[0].len = kPage;
      buffers->bufs[0].bid = 0;
      __atomic_store_n(&buffers->tail, static_cast<uint16_t>(1), __ATOMIC_RELEASE);
      io_uring_sqe* sqe = io_uring_get_sqe(ring);
      TG_ASSERT(sqe != nullptr);
      io_uring_prep_recv(sqe, pair[0], nullptr, 0, 0);
      sqe->flags |= IOSQE_BUFFER_SELECT;
      sqe->ioprio |= IORING_RECV_MULTISHOT;
      if (::write(pair[1], "x", 1) != 1) result = -errno;
      uint32_t flags = 0;
      if (result == 0) result = run_one(ring, &flags);
      if (result == 1 && (flags & IORING_CQE_F_BUFFER) == 0) result = -EOPNOTSUPP;
    }
  }
  ::close(pair[0]);
  ::close(pair[1]);
  return result;
}

// The peer's name of a connected socket, through the ring.
int try_peer_name(io_uring* ring) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) return -errno;
  sockaddr_storage name{};
  io_uring_sqe* sqe = io_uring_get_sqe(ring);
  TG_ASSERT(sqe != nullptr);
  std::memset(static_cast<void*>(sqe), 0, sizeof *sqe);
  sqe->opcode = IORING_OP_URING_CMD;
  sqe->fd = pair[0];
  sqe->off = kSocketUringGetsockopt;
  sqe->addr = static_cast<uint64_t>(SOL_SOCKET) | static_cast<uint64_t>(SO_PEERNAME) << 32;
  sqe->file_index = sizeof(sa_family_t);
  sqe->addr3 = reinterpret_cast<uint64_t>(&name);
  uint32_t flags = 0;
  const int result = run_one(ring, &flags);
  ::close(pair[0]);
  ::close(pair[1]);
  return result;
}

// The way UringIo starts: disabled, one issuer, deferred task work.
int try_setup(io_uring* ring, uint32_t* features) {
  io_uring_params params{};
  params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_R_DISABLED | IORING_SETUP_SUBMIT_ALL;
  const int result = io_uring_queue_init_params(8, ring, &params);
  *features = params.features;
  return result;
}

}  // namespace

const ProbeFinding* ProbeReport::first_failure() const {
  for (const ProbeFinding& finding : all()) {
    if (finding.need == ProbeNeed::kRequired && !finding.ok) return &finding;
  }
  return nullptr;
}

const char* explain_setup_error(int error) {
  switch (error) {
    case ENOSYS:
      return "this kernel is built without io_uring, or a sandbox hides it; use a kernel with "
             "CONFIG_IO_URING=y";
    case EPERM:
      return "io_uring is forbidden here: set the sysctl kernel.io_uring_disabled to 0, or allow "
             "io_uring_setup, io_uring_enter and io_uring_register in the container's seccomp "
             "profile";
    case EACCES:
      return "a security module refuses io_uring; allow it for this program";
    case ENOMEM:
      return "no memory for the rings: raise RLIMIT_MEMLOCK (LimitMEMLOCK= in systemd) or lower "
             "the limits of connections and buffers";
    case EMFILE:
      return "the table of sockets may not be larger than RLIMIT_NOFILE: raise it (ulimit -n, "
             "LimitNOFILE= in systemd) or lower the limit of connections";
    case ENFILE:
      return "the machine has no descriptor left: raise the sysctl fs.file-max";
    case EINVAL:
    case EOPNOTSUPP:
      return "the kernel is too old for a needed feature: run Linux 6.1 or newer";
    default:
      return "the kernel refused; see its log";
  }
}

void probe_kernel(ProbeReport* report) {
  *report = {};
  Prober prober(report);

  utsname name{};
  uname(&name);
  int major = 0;
  int minor = 0;
  std::sscanf(name.release, "%d.%d", &major, &minor);
  ProbeFinding& version = prober.add("kernel-version", ProbeNeed::kRecommended);
  version.ok = major > 6 || (major == 6 && minor >= 7);
  base::format_into(version.reason, "Linux %s", name.release);
  if (!version.ok) version.remedy = kUpgrade;

  const int disabled = read_disabled_switch();
  ProbeFinding& permitted = prober.add("io-uring-switch", ProbeNeed::kRequired);
  // 1: only for processes with CAP_SYS_ADMIN or of kernel.io_uring_group; the set-up below tells.
  permitted.ok = disabled != 2;
  base::format_into(
      permitted.reason,
      disabled < 0 ? "no sysctl kernel.io_uring_disabled" : "sysctl kernel.io_uring_disabled is %d",
      disabled);
  if (!permitted.ok) permitted.remedy = "set the sysctl kernel.io_uring_disabled to 0";

  io_uring ring{};
  uint32_t features = 0;
  const int set_up = try_setup(&ring, &features);
  prober.add_result("ring-setup", ProbeNeed::kRequired, set_up,
                    "single issuer, deferred task work, disabled start",
                    explain_setup_error(-set_up));
  if (set_up < 0) return;

  ProbeFinding& flags = prober.add("ring-features", ProbeNeed::kRequired);
  constexpr uint32_t kNeeded = IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_CQE_SKIP |
                               IORING_FEAT_FAST_POLL | IORING_FEAT_SUBMIT_STABLE;
  flags.ok = (features & kNeeded) == kNeeded;
  base::format_into(flags.reason, "features 0x%x, needed 0x%x", features, kNeeded);
  if (!flags.ok) flags.remedy = kUpgrade;

  const int enabled = io_uring_enable_rings(&ring);
  prober.add_result("ring-enable", ProbeNeed::kRequired, enabled, "enabled",
                    explain_setup_error(-enabled));

  io_uring_probe* opcodes = io_uring_get_probe_ring(&ring);
  ProbeFinding& operations = prober.add("operations", ProbeNeed::kRequired);
  operations.ok = true;
  base::format_into(operations.reason, "all there");
  constexpr struct {
    int opcode;
    const char* name;
  } kOperations[] = {{IORING_OP_ACCEPT, "ACCEPT"},     {IORING_OP_RECV, "RECV"},
                     {IORING_OP_SEND, "SEND"},         {IORING_OP_SENDMSG, "SENDMSG"},
                     {IORING_OP_POLL_ADD, "POLL_ADD"}, {IORING_OP_SHUTDOWN, "SHUTDOWN"},
                     {IORING_OP_CLOSE, "CLOSE"},       {IORING_OP_ASYNC_CANCEL, "ASYNC_CANCEL"},
                     {IORING_OP_WRITE, "WRITE"}};
  for (const auto& operation : kOperations) {
    if (has_opcode(opcodes, operation.opcode)) continue;
    operations.ok = false;
    base::format_into(operations.reason, "IORING_OP_%s is missing", operation.name);
    operations.remedy = kUpgrade;
  }
  if (opcodes != nullptr) io_uring_free_probe(opcodes);

  const int table = io_uring_register_files_sparse(&ring, 16);
  prober.add_result("direct-descriptors", ProbeNeed::kRequired, table, "sparse table registered",
                    kUpgrade);

  void* memory = nullptr;
  const int received = enabled < 0 ? enabled : try_multishot_receive(&ring, &memory);
  prober.add_result("multishot-receive", ProbeNeed::kRequired, received,
                    "multishot receive into a buffer ring", kUpgrade);
  io_uring_queue_exit(&ring);
  if (memory != nullptr) munmap(memory, 2 * kPage);

  // A ring of its own: the one above may still hold the multishot receive.
  if (try_setup(&ring, &features) >= 0) {
    int peer = io_uring_enable_rings(&ring);
    if (peer >= 0) peer = try_peer_name(&ring);
    prober.add_result("peer-name", ProbeNeed::kRecommended, peer, "socket option through the ring",
                      "limits by client address need it: run Linux 6.7 or newer");
    io_uring_queue_exit(&ring);
  }

  rlimit descriptors{};
  getrlimit(RLIMIT_NOFILE, &descriptors);
  ProbeFinding& limit = prober.add("descriptor-limit", ProbeNeed::kRecommended);
  limit.ok = descriptors.rlim_cur >= 4096;
  base::format_into(limit.reason, "RLIMIT_NOFILE is %llu; a shard serves at most that many sockets",
                    static_cast<unsigned long long>(descriptors.rlim_cur));
  if (!limit.ok) limit.remedy = "raise it: ulimit -n 65536, LimitNOFILE=65536 in systemd";

  report->usable = report->first_failure() == nullptr;
}

}  // namespace tidegate::io
