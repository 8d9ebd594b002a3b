// SPDX-License-Identifier: Apache-2.0
#include "control/revocations.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace tidegate::control {
namespace {

constexpr std::string_view kFirstLine = "tidegate revocations 1\n";
constexpr size_t kFileBytesMax = 64 << 20;
constexpr size_t kOldLinesMost = 64;

struct Descriptor {
  explicit Descriptor(int number) : fd(number) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int fd;
};

bool write_flushed(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<size_t>(n));
  }
  return ::fsync(fd) == 0;
}

// "at until user", the user in hexadecimal: it may hold anything.
std::string line_of(std::string_view user, int64_t at, int64_t until) {
  std::string line = std::to_string(at) + ' ' + std::to_string(until) + ' ';
  for (const char c : user) {
    constexpr char kDigits[] = "0123456789abcdef";
    line += kDigits[static_cast<uint8_t>(c) >> 4];
    line += kDigits[static_cast<uint8_t>(c) & 15];
  }
  return line += '\n';
}

bool read_hex(std::string_view text, std::string* out) {
  if (text.empty() || text.size() % 2 != 0) return false;
  for (; !text.empty(); text.remove_prefix(2)) {
    uint8_t byte = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + 2, byte, 16);
    if (error != std::errc() || end != text.data() + 2) return false;
    *out += static_cast<char>(byte);
  }
  return true;
}

std::string failure(std::string_view what, const std::string& path) {
  return "cannot " + std::string(what) + ' ' + path + ": " + std::strerror(errno);
}

}  // namespace

bool Revocations::take_line(std::string_view line) {
  Times t;
  const char* const end = line.data() + line.size();
  const auto at = std::from_chars(line.data(), end, t.at);
  if (at.ec != std::errc() || at.ptr == end || *at.ptr != ' ') return false;
  const auto until = std::from_chars(at.ptr + 1, end, t.until);
  if (until.ec != std::errc() || until.ptr == end || *until.ptr != ' ') return false;
  std::string user;
  if (!read_hex({until.ptr + 1, static_cast<size_t>(end - until.ptr - 1)}, &user)) return false;
  Times& known = users_[user];
  known.at = std::max(known.at, t.at);
  known.until = std::max(known.until, t.until);
  return true;
}

bool Revocations::open_blocking(const std::string& path, int64_t now, const Visit& visit,
                                std::string* error) {
  const std::lock_guard lock(mutex_);
  std::string text;
  {
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.fd < 0 && errno != ENOENT) {
      *error = failure("read", path);
      return false;
    }
    char piece[16 * 1024];
    while (file.fd >= 0) {
      const ssize_t n = ::read(file.fd, piece, sizeof piece);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0 || text.size() > kFileBytesMax) {
        *error = failure("read", path);
        return false;
      }
      if (n == 0) break;
      text.append(piece, static_cast<size_t>(n));
    }
  }
  if (!text.empty() && !text.starts_with(kFirstLine)) {
    *error = path + " is not a file of revocations";
    return false;
  }
  std::string_view rest = text;
  if (!rest.empty()) rest.remove_prefix(kFirstLine.size());
  for (size_t line = 2; !rest.empty(); ++line) {
    const size_t end = rest.find('\n');
    if (end == std::string_view::npos) break;  // it was never answered
    if (!take_line(rest.substr(0, end))) {
      *error = path + ", line " + std::to_string(line) + ": not a revocation";
      return false;
    }
    rest.remove_prefix(end + 1);
  }
  std::erase_if(users_, [now](const auto& entry) { return entry.second.until <= now; });
  path_ = path;
  if (!write_all_blocking(error)) {
    path_.clear();
    return false;
  }
  for (const auto& [user, t] : users_) visit(user, t.at, t.until);
  return true;
}

// Whole or not at all: beside the file, then in its place.
bool Revocations::write_all_blocking(std::string* error) {
  std::string text(kFirstLine);
  for (const auto& [user, t] : users_) text += line_of(user, t.at, t.until);
  const std::string beside = path_ + ".new";
  {
    const Descriptor file(
        ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0640));
    if (file.fd < 0 || !write_flushed(file.fd, text)) {
      *error = failure("write", beside);
      return false;
    }
  }
  if (::rename(beside.c_str(), path_.c_str()) != 0) {
    *error = failure("write", path_);
    return false;
  }
  const size_t slash = path_.rfind('/');
  const std::string folder = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.fd < 0 || ::fsync(directory.fd) != 0) {
    *error = failure("flush the folder", folder);
    return false;
  }
  lines_ = users_.size();
  return true;
}

bool Revocations::add_blocking(const std::string& user, int64_t at, int64_t until,
                               std::string* error) {
  const std::lock_guard lock(mutex_);
  std::erase_if(users_, [at](const auto& entry) { return entry.second.until <= at; });
  if (users_.size() >= kRevocationsMax && !users_.contains(user)) {
    *error = "too many users are revoked";
    return false;
  }
  Times& t = users_[user];
  t.at = std::max(t.at, at);
  t.until = std::max(t.until, until);
  if (lines_ > users_.size() * 2 + kOldLinesMost) return write_all_blocking(error);
  const Descriptor file(::open(path_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC));
  // A file that is gone, or that a full disk left with half a line, is made anew.
  if (file.fd < 0 || !write_flushed(file.fd, line_of(user, at, until))) {
    return write_all_blocking(error);
  }
  ++lines_;
  return true;
}

}  // namespace tidegate::control
