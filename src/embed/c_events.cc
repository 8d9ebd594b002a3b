// SPDX-License-Identifier: Apache-2.0
// The C API's events: messages to topics and targets, event handlers, the topic policy.
#include "embed/c_convert.h"

using namespace tidegate;
using namespace tidegate::embed;

static_assert(TIDEGATE_TO_EVERYONE == static_cast<int>(Target::Kind::kEveryone));
static_assert(TIDEGATE_TO_GROUP == static_cast<int>(Target::Kind::kGroup));
static_assert(TIDEGATE_GROUP_CHANGED == static_cast<int>(EventKind::kGroupChanged));

namespace {

tidegate_sent sent(SendResult result) { return static_cast<tidegate_sent>(result); }

// False: the struct, or a kind that is none.
bool target_of(const tidegate_target* from, Target* out) {
  tidegate_target t;
  if (!take_struct(from, &t) || t.kind > TIDEGATE_TO_GROUP) return false;
  out->kind = static_cast<Target::Kind>(t.kind);
  out->id = view_of(t.id);
  out->position = position_of(t.position);
  out->radius = t.radius;
  return true;
}

// False: the struct, or an action, role that is none.
bool command_of(const tidegate_group_command* from, GroupCommand* out) {
  tidegate_group_command c;
  if (!take_struct(from, &c) || c.action == 0 ||
      c.action > static_cast<uint32_t>(GroupAction::kDisband) ||
      c.role > static_cast<uint32_t>(MemberRole::kLeader)) {
    return false;
  }
  out->action = static_cast<GroupAction>(c.action);
  out->group = view_of(c.group);
  out->user = view_of(c.user);
  out->role = static_cast<MemberRole>(c.role);
  out->open = c.open != 0;
  return true;
}

tidegate_event event_of(const ServerEvent& e) {
  return {sizeof(tidegate_event),
          static_cast<uint32_t>(e.kind),
          text_of(e.name),
          e.offset,
          e.event_type,
          static_cast<uint32_t>(e.status),
          text_of(e.source_user),
          bytes_of(e.data),
          e.timestamp,
          e.shard};
}

}  // namespace

tidegate_sent tidegate_server_send(tidegate_server* server, const tidegate_target* target,
                                   uint32_t type, tidegate_bytes payload) {
  Target to;
  if (!target_of(target, &to)) return TIDEGATE_SEND_RANGE;
  tidegate_sent result = TIDEGATE_SEND_BUSY;
  contained(nullptr, [&] {
    result = sent(server_of(server).send(to, type, view_of(payload)));
    return TIDEGATE_OK;
  });
  return result;
}

tidegate_sent tidegate_server_publish(tidegate_server* server, tidegate_text topic,
                                      tidegate_bytes data, uint32_t event_type) {
  tidegate_sent result = TIDEGATE_SEND_BUSY;
  contained(nullptr, [&] {
    result = sent(server_of(server).publish(view_of(topic), view_of(data), event_type));
    return TIDEGATE_OK;
  });
  return result;
}

tidegate_sent tidegate_context_send(tidegate_context* context, const tidegate_target* target,
                                    uint32_t type, tidegate_bytes payload) {
  Target to;
  if (!target_of(target, &to)) return TIDEGATE_SEND_RANGE;
  return sent(context_of(context).send(to, type, view_of(payload)));
}

tidegate_sent tidegate_context_publish(tidegate_context* context, tidegate_text topic,
                                       tidegate_bytes data, uint32_t event_type) {
  return sent(context_of(context).publish(view_of(topic), view_of(data), event_type));
}

tidegate_code tidegate_server_on_event(tidegate_server* server,
                                       const tidegate_event_handler* handler,
                                       tidegate_error* error) {
  tidegate_event_handler h;
  if (!take_struct(handler, &h)) return bad_struct(error);
  return contained(error, [&] {
    EventHandler to;
    to.name = string_of(h.name);
    if (h.pattern != nullptr) to.pattern = h.pattern;
    to.priority = priority_of(h.priority);
    if (h.kinds != 0)
      to.kinds = h.kinds > kAllEventKinds ? uint8_t{0} : static_cast<uint8_t>(h.kinds);
    if (h.can_handle != nullptr) {
      to.can_handle = [can = h.can_handle, user = h.user](const ServerEvent& e) {
        const tidegate_event event = event_of(e);
        return can(user, &event) != 0;
      };
    }
    if (h.handle != nullptr) {
      to.handle = [handle = h.handle, user = h.user](const ServerEvent& e) {
        const tidegate_event event = event_of(e);
        return handle(user, &event) == 0;
      };
    }
    return report(error, server_of(server).on_event(std::move(to)));
  });
}

tidegate_code tidegate_server_remove_event_handler(tidegate_server* server, const char* name,
                                                   tidegate_error* error) {
  return contained(error, [&] {
    return report(error, server_of(server).remove_event_handler(string_of(name)));
  });
}

tidegate_code tidegate_server_topic_policy(tidegate_server* server, void* user,
                                           int32_t (*policy)(void* user, tidegate_text topic,
                                                             tidegate_text user_id,
                                                             tidegate_text permissions,
                                                             int32_t publish),
                                           tidegate_error* error) {
  return contained(error, [&] {
    TopicPolicy to;
    if (policy != nullptr) {
      to = [policy, user](const TopicRequest& r) {
        return policy(user, text_of(r.topic), text_of(r.user_id), text_of(r.permissions),
                      r.publish ? 1 : 0) != 0;
      };
    }
    return report(error, server_of(server).topic_policy(std::move(to)));
  });
}

tidegate_sent tidegate_server_group(tidegate_server* server,
                                    const tidegate_group_command* command) {
  GroupCommand to;
  if (!command_of(command, &to)) return TIDEGATE_SEND_RANGE;
  tidegate_sent result = TIDEGATE_SEND_BUSY;
  contained(nullptr, [&] {
    result = sent(server_of(server).group(to));
    return TIDEGATE_OK;
  });
  return result;
}

tidegate_sent tidegate_context_group(tidegate_context* context,
                                     const tidegate_group_command* command) {
  GroupCommand to;
  if (!command_of(command, &to)) return TIDEGATE_SEND_RANGE;
  return sent(context_of(context).group(to));
}

tidegate_code tidegate_server_group_policy(
    tidegate_server* server, void* user,
    int32_t (*policy)(void* user, uint32_t action, tidegate_text group, tidegate_text user_id,
                      tidegate_text permissions, tidegate_text target),
    tidegate_error* error) {
  return contained(error, [&] {
    GroupPolicy to;
    if (policy != nullptr) {
      to = [policy, user](const GroupQuestion& q) {
        const int32_t verdict =
            policy(user, static_cast<uint32_t>(q.action), text_of(q.group), text_of(q.user_id),
                   text_of(q.permissions), text_of(q.target));
        return verdict == 0 || verdict == 1 ? static_cast<GroupVerdict>(verdict)
                                            : GroupVerdict::kRefuse;
      };
    }
    return report(error, server_of(server).group_policy(std::move(to)));
  });
}
