// SPDX-License-Identifier: Apache-2.0
// Result<T, E>: a value or a status enum. Each module defines its own enum E with kOk = 0.
// Ignoring one does not compile. No exceptions cross a module border.
// Thread: any. Owner: holds its value. Limits: T must be movable.
#pragma once

#include <optional>
#include <utility>

#include "base/assert.h"

namespace tidegate::base {

template <class T, class E>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)), status_{} {}  // NOLINT: implicit by design
  Result(E status) : status_(status) {}                     // NOLINT: implicit by design

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  E status() const { return status_; }
  T& value() & {
    TG_ASSERT(ok());
    return *value_;
  }
  const T& value() const& {
    TG_ASSERT(ok());
    return *value_;
  }
  T&& value() && {
    TG_ASSERT(ok());
    return std::move(*value_);
  }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }

 private:
  std::optional<T> value_;
  E status_;
};

}  // namespace tidegate::base
