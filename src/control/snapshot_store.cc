// SPDX-License-Identifier: Apache-2.0
#include "control/snapshot_store.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

namespace tidegate::control {
namespace {

constexpr std::string_view kPrefix = "snapshot-";
constexpr std::string_view kSuffix = ".tgs";
constexpr const char* kTemporary = "snapshot.tmp";
constexpr size_t kDigits = 12;

std::string name_of_number(uint64_t number) {
  std::string digits = std::to_string(number);
  if (digits.size() < kDigits) digits.insert(0, kDigits - digits.size(), '0');
  return std::string(kPrefix) + digits + std::string(kSuffix);
}

// 0 when it is not a snapshot's name.
uint64_t number_of_name(std::string_view name) {
  if (name.size() <= kPrefix.size() + kSuffix.size() || !name.starts_with(kPrefix) ||
      !name.ends_with(kSuffix)) {
    return 0;
  }
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  uint64_t number = 0;
  const auto r = std::from_chars(name.data(), name.data() + name.size(), number);
  return r.ec == std::errc() && r.ptr == name.data() + name.size() ? number : 0;
}

// What went wrong with `path` and what to do about it.
std::string failure(const std::string& what, const std::string& path, int code) {
  const char* remedy = "";
  switch (code) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      remedy = "; make room, or choose another snapshots.directory";
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      remedy = "; let the server's user write there, or choose another snapshots.directory";
      break;
    case ENOTDIR:
    case ENOENT:
      remedy = "; make the folder, or choose another snapshots.directory";
      break;
    default:
      break;
  }
  return "cannot " + what + " " + path + ": " + std::strerror(code) + remedy;
}

struct Descriptor {
  explicit Descriptor(int f) : fd(f) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

bool write_all(int fd, base::Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n == 0) errno = ENOSPC;  // some file systems say it so
    if (n <= 0) return false;
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return true;
}

// At most `bytes_max` from the front.
bool read_some(const std::string& path, uint64_t bytes_max, std::vector<uint8_t>* out) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat info{};
  if (file.fd < 0 || ::fstat(file.fd, &info) != 0) return false;
  if (!S_ISREG(info.st_mode)) {
    errno = EINVAL;
    return false;
  }
  out->resize(std::min(bytes_max, static_cast<uint64_t>(info.st_size)));
  size_t have = 0;
  while (have < out->size()) {
    const ssize_t n = ::read(file.fd, out->data() + have, out->size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    have += static_cast<size_t>(n);
  }
  out->resize(have);
  return true;
}

std::vector<std::pair<uint64_t, std::string>> numbered_files(const std::string& directory) {
  std::vector<std::pair<uint64_t, std::string>> found;
  DIR* const folder = ::opendir(directory.c_str());
  if (folder == nullptr) return found;
  while (const dirent* entry = ::readdir(folder)) {
    const uint64_t number = number_of_name(entry->d_name);
    if (number != 0) found.emplace_back(number, entry->d_name);
  }
  ::closedir(folder);
  std::sort(found.begin(), found.end(), std::greater<>());
  return found;
}

}  // namespace

SnapshotStore::SnapshotStore(std::string directory, uint32_t keep)
    : directory_(std::move(directory)), keep_(keep) {}

bool SnapshotStore::prepare_blocking(std::string* error) {
  struct stat info{};
  if (::stat(directory_.c_str(), &info) != 0) {
    if (errno != ENOENT || ::mkdir(directory_.c_str(), 0750) != 0) {
      *error = failure("make the folder", directory_, errno);
      return false;
    }
  } else if (!S_ISDIR(info.st_mode)) {
    *error = failure("use", directory_, ENOTDIR);
    return false;
  }
  if (::access(directory_.c_str(), R_OK | W_OK | X_OK) != 0) {
    *error = failure("write to the folder", directory_, errno);
    return false;
  }
  ::unlink((directory_ + '/' + kTemporary).c_str());
  const auto files = numbered_files(directory_);
  if (!files.empty()) next_number_ = std::max(next_number_, files.front().first + 1);
  prepared_ = true;
  return true;
}

std::vector<SnapshotFileInfo> SnapshotStore::list_blocking() const {
  std::vector<SnapshotFileInfo> out;
  for (const auto& [number, name] : numbered_files(directory_)) {
    if (out.size() == kSnapshotFilesMax) break;
    SnapshotFileInfo info;
    info.number = number;
    info.name = name;
    const std::string path = directory_ + '/' + name;
    struct stat file{};
    std::vector<uint8_t> head;
    if (::stat(path.c_str(), &file) != 0 || !read_some(path, kSnapshotHeaderBytes, &head)) continue;
    info.bytes = static_cast<uint64_t>(file.st_size);
    info.status = read_snapshot_header(head, &info.header);
    if (info.status == SnapshotStatus::kOk) {
      const uint64_t stored = info.bytes - kSnapshotHeaderBytes;
      if (stored < info.header.stored_bytes) info.status = SnapshotStatus::kCut;
      if (stored > info.header.stored_bytes) info.status = SnapshotStatus::kTrailing;
    }
    out.push_back(std::move(info));
  }
  return out;
}

bool SnapshotStore::read_blocking(const std::string& name, std::vector<uint8_t>* out,
                                  std::string* error) const {
  const std::string path = directory_ + '/' + name;
  if (read_some(path, kSnapshotRawMax * 2, out)) return true;
  *error = failure("read", path, errno);
  return false;
}

bool SnapshotStore::write_blocking(base::Bytes bytes, std::string* name, std::string* error) {
  // A folder that could not be used at start may have been mended.
  if (!prepared_ && !prepare_blocking(error)) return false;
  const std::string temporary = directory_ + '/' + kTemporary;
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
    if (file.fd < 0) {
      *error = failure("write", temporary, errno);
      prepared_ = false;
      return false;
    }
    if (!write_all(file.fd, bytes) || ::fsync(file.fd) != 0) {
      *error = failure("write", temporary, errno);
      ::unlink(temporary.c_str());  // a full disk needs the room
      return false;
    }
  }
  *name = name_of_number(next_number_);
  const std::string path = directory_ + '/' + *name;
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    *error = failure("rename a snapshot to", path, errno);
    return false;
  }
  ++next_number_;
  // The name is safe only when the folder is.
  const Descriptor folder(::open(directory_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.fd < 0 || ::fsync(folder.fd) != 0) {
    *error = failure("flush the folder", directory_, errno);
    return false;
  }
  const auto files = numbered_files(directory_);
  for (size_t i = keep_; i < files.size(); ++i) {
    ::unlink((directory_ + '/' + files[i].second).c_str());
  }
  return true;
}

}  // namespace tidegate::control
