// SPDX-License-Identifier: Apache-2.0
// A tidegate world in Godot 4: a node that polls the client once a frame, keeps one scene for each
// entity in view, and steers the own player. A GDExtension class; docs/godot.md.
#pragma once

#include <godot_cpp/classes/node3d.hpp>
#include <godot_cpp/classes/packed_scene.hpp>
#include <map>
#include <memory>
#include <string>
#include <tidegate/client.hpp>
#include <vector>

class TidegateClient : public godot::Node {
  GDCLASS(TidegateClient, godot::Node)

 public:
  bool join(const godot::String& url, const godot::String& token);
  void leave();
  // Once a frame: a direction of length up to 1. Moves `player` to where the client shows it.
  void steer(godot::Node3D* player, const godot::Vector3& direction, double delta);
  bool send(int64_t type, const godot::String& text);
  void set_entity_scene(const godot::Ref<godot::PackedScene>& scene) { scene_ = scene; }
  godot::Ref<godot::PackedScene> get_entity_scene() const { return scene_; }

  void _process(double delta) override;
  void _exit_tree() override { leave(); }

 protected:
  static void _bind_methods();

 private:
  std::unique_ptr<tidegate::Client> client_;
  std::vector<tidegate::Subscription> listeners_;
  std::map<std::string, godot::Node3D*> nodes_;  // children of this node
  godot::Ref<godot::PackedScene> scene_;
};
