// SPDX-License-Identifier: Apache-2.0
#include "tidegate_client.h"

#include <godot_cpp/core/class_db.hpp>
#include <numbers>

namespace {

constexpr uint32_t kPollBudget = 2000;  // microseconds of a frame

// Both are in metres, right-handed, y up. Yaw 0 looks along z here and along -z in Godot.
godot::Vector3 to_godot(const tidegate_vector& v) { return {v.x, v.y, v.z}; }
double yaw_to_godot(float yaw) { return static_cast<double>(yaw) + std::numbers::pi; }
std::string text(const godot::String& s) { return s.utf8().get_data(); }

}  // namespace

void TidegateClient::_bind_methods() {
  using godot::ClassDB;
  using godot::D_METHOD;
  ClassDB::bind_method(D_METHOD("join", "url", "token"), &TidegateClient::join);
  ClassDB::bind_method(D_METHOD("leave"), &TidegateClient::leave);
  ClassDB::bind_method(D_METHOD("steer", "player", "direction", "delta"), &TidegateClient::steer);
  ClassDB::bind_method(D_METHOD("send", "type", "text"), &TidegateClient::send);
  ClassDB::bind_method(D_METHOD("set_entity_scene", "scene"), &TidegateClient::set_entity_scene);
  ClassDB::bind_method(D_METHOD("get_entity_scene"), &TidegateClient::get_entity_scene);
  ADD_PROPERTY(godot::PropertyInfo(godot::Variant::OBJECT, "entity_scene",
                                   godot::PROPERTY_HINT_RESOURCE_TYPE, "PackedScene"),
               "set_entity_scene", "get_entity_scene");
  ADD_SIGNAL(godot::MethodInfo("connected", godot::PropertyInfo(godot::Variant::BOOL, "in_world")));
  ADD_SIGNAL(godot::MethodInfo("message", godot::PropertyInfo(godot::Variant::INT, "type"),
                               godot::PropertyInfo(godot::Variant::STRING, "text")));
}

bool TidegateClient::join(const godot::String& url, const godot::String& token) {
  leave();
  client_ = std::make_unique<tidegate::Client>(std::vector<std::string>{text(url)}, text(token));
  if (!*client_) {
    client_.reset();
    return false;
  }
  listeners_.push_back(client_->on(TIDEGATE_EVENT_STATE, [this](const tidegate::ClientEvent& e) {
    emit_signal("connected", e.state == TIDEGATE_CLIENT_IN_WORLD);
  }));
  listeners_.push_back(
      client_->on(TIDEGATE_EVENT_ENTITY_REMOVED, [this](const tidegate::ClientEvent& e) {
        const auto found = nodes_.find(std::string(e.entity->id.data, e.entity->id.size));
        if (found == nodes_.end()) return;
        found->second->queue_free();
        nodes_.erase(found);
      }));
  listeners_.push_back(client_->on(TIDEGATE_EVENT_MESSAGE, [this](const tidegate::ClientEvent& e) {
    const std::string payload(static_cast<const char*>(static_cast<const void*>(e.payload.data)),
                              e.payload.size);
    emit_signal("message", static_cast<int64_t>(e.type), godot::String::utf8(payload.c_str()));
  }));
  client_->connect();
  return true;
}

void TidegateClient::leave() {
  listeners_.clear();
  client_.reset();
  for (const auto& [id, node] : nodes_) node->queue_free();
  nodes_.clear();
}

void TidegateClient::_process(double) {
  if (!client_) return;
  client_->poll(kPollBudget);
  if (scene_.is_null()) return;
  for (const tidegate::ClientEntity& entity : client_->entities()) {
    if (entity.is_self) continue;
    godot::Node3D*& node = nodes_[std::string(entity.id.data, entity.id.size)];
    if (node == nullptr) {
      node = godot::Object::cast_to<godot::Node3D>(scene_->instantiate());
      if (node == nullptr) continue;  // the scene's root is no Node3D
      add_child(node);
    }
    node->set_position(to_godot(entity.shown));
    node->set_rotation({0, yaw_to_godot(entity.shown_yaw), 0});
  }
}

void TidegateClient::steer(godot::Node3D* player, const godot::Vector3& direction, double delta) {
  if (!client_ || player == nullptr) return;
  const double yaw = player->get_rotation().y - std::numbers::pi;
  client_->steer({static_cast<float>(direction.x), static_cast<float>(direction.y),
                  static_cast<float>(direction.z)},
                 static_cast<float>(delta), static_cast<float>(yaw));
  tidegate_vector at;
  if (client_->self(&at)) player->set_position(to_godot(at));
}

bool TidegateClient::send(int64_t type, const godot::String& what) {
  return client_ && client_->send(static_cast<uint32_t>(type), text(what)) == TIDEGATE_CLIENT_OK;
}
