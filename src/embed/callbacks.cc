// SPDX-License-Identifier: Apache-2.0
#include "embed/callbacks.h"

namespace tidegate::embed {

void Log::write(LogLevel level, std::string_view text) const noexcept {
  if (!callback_) return;
#if defined(__cpp_exceptions)
  try {
    callback_(level, text);
  } catch (...) {
  }
#else
  callback_(level, text);
#endif
}

void ThrowReport::note(const char* what) noexcept {
  if (reported_.exchange(true, std::memory_order_relaxed)) return;
  char text[320];
  constexpr size_t kRoom = sizeof text;
  size_t used = 0;
  for (const char* part : {name_.c_str(), " threw: ", what, " (said once; the metrics count)"}) {
    for (; *part != '\0' && used < kRoom; ++part) text[used++] = *part;
  }
  log_.write(LogLevel::kError, {text, used});
}

Outcome HandlerBox::invoke(void* self, Context& context, const Message& message) noexcept {
  auto& box = *static_cast<HandlerBox*>(self);
  return guard(box.report, Outcome::kFailed,
               [&] { return box.handler.function(context, message); });
}

}  // namespace tidegate::embed
