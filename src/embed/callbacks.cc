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
  return guard(box.report, Outcome::kFailed, [&] {
    if (box.handler.schema && !box.handler.schema(message.payload)) return Outcome::kInvalid;
    return box.handler.function(context, message);
  });
}

shard::EventOutcome EventBox::invoke(void* self, const ServerEvent& event) noexcept {
  auto& box = *static_cast<EventBox*>(self);
  return guard(box.report, shard::EventOutcome::kFailed, [&] {
    if (box.handler.can_handle && !box.handler.can_handle(event)) {
      return shard::EventOutcome::kPassed;
    }
    return box.handler.handle(event) ? shard::EventOutcome::kDone : shard::EventOutcome::kFailed;
  });
}

bool PolicyBox::invoke(void* self, const TopicRequest& request) noexcept {
  auto& box = *static_cast<PolicyBox*>(self);
  return guard(box.report, false, [&] { return box.policy(request); });
}

GroupVerdict GroupPolicyBox::invoke(void* self, const GroupQuestion& question) noexcept {
  auto& box = *static_cast<GroupPolicyBox*>(self);
  return guard(box.report, GroupVerdict::kRefuse, [&] { return box.policy(question); });
}

HooksBox::HooksBox(const Log& log, WorldHooks h)
    : hooks(std::move(h)),
      before_input(log, "hook before_input"),
      after_state_change(log, "hook after_state_change"),
      violation(log, "hook violation"),
      validate_action(log, "hook validate_action"),
      interest_radius(log, "hook interest_radius"),
      tick(log, "hook tick"),
      state_attempt(log, "hook state_attempt") {}

void HooksBox::fill(shard::HookTable* table) {
  table->user = this;
  if (hooks.before_input) {
    table->before_input = [](void* user, const EntityView& player, MoveInput& input) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<uint16_t>(box.before_input,
                               [&] { return box.hooks.before_input(player, input); });
    };
  }
  if (hooks.after_state_change) {
    table->after_state_change = [](void* user, const EntityView& player, uint8_t changed) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<bool>(box.after_state_change, [&] {
        box.hooks.after_state_change(player, changed);
        return true;
      });
    };
  }
  if (hooks.violation) {
    table->violation = [](void* user, const Violation& violation) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<ViolationResponse>(box.violation,
                                        [&] { return box.hooks.violation(violation); });
    };
  }
  if (hooks.validate_action) {
    table->validate_action = [](void* user, Context& context, const Action& action) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<uint16_t>(box.validate_action,
                               [&] { return box.hooks.validate_action(context, action); });
    };
  }
  if (hooks.interest_radius) {
    table->interest_radius = [](void* user, const Context& context, float asked) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<float>(box.interest_radius,
                            [&] { return box.hooks.interest_radius(context, asked); });
    };
  }
  if (hooks.tick) {
    table->tick = [](void* user, World& world) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<bool>(box.tick, [&] {
        box.hooks.tick(world);
        return true;
      });
    };
  }
  if (hooks.state_attempt) {
    table->state_attempt = [](void* user, const StateAttempt& attempt) noexcept {
      auto& box = *static_cast<HooksBox*>(user);
      return guarded<StateVerdict>(box.state_attempt,
                                   [&] { return box.hooks.state_attempt(attempt); });
    };
  }
}

shard::Guarded<size_t> ProviderBox::write(void* self, const EntityView& entity,
                                          StateRequest request, uint8_t* out,
                                          size_t room) noexcept {
  auto& box = *static_cast<ProviderBox*>(self);
  return guarded<size_t>(box.report,
                         [&] { return box.provider.write(entity, request, out, room); });
}

}  // namespace tidegate::embed
