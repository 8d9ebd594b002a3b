// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not godot-cpp: as much of its names as examples/godot uses, so that a compiler can check
// the example without the engine. Signatures as in godot-cpp 4.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#define GDCLASS(name, base)
#define ADD_SIGNAL(signal) static_cast<void>(signal)
#define ADD_PROPERTY(property, setter, getter) \
  static_cast<void>(property), static_cast<void>(setter), static_cast<void>(getter)

namespace godot {

struct CharString {
  std::string text;
  const char* get_data() const { return text.c_str(); }
};
class String {
 public:
  String() = default;
  static String utf8(const char* text) {
    String s;
    s.text_ = text;
    return s;
  }
  CharString utf8() const { return {text_}; }

 private:
  std::string text_;
};
struct Vector3 {
  double x = 0, y = 0, z = 0;
};
struct Variant {
  enum Type { NIL, BOOL, INT, STRING, OBJECT };
};
enum PropertyHint { PROPERTY_HINT_NONE, PROPERTY_HINT_RESOURCE_TYPE };
struct PropertyInfo {
  PropertyInfo(Variant::Type, const char*, PropertyHint = PROPERTY_HINT_NONE, const char* = "") {}
};
struct MethodInfo {
  template <class... A>
  explicit MethodInfo(const char*, A...) {}
};
struct MethodDefinition {
  template <class... A>
  explicit MethodDefinition(const char*, A...) {}
};
template <class... A>
MethodDefinition D_METHOD(const char* name, A... arguments) {
  return MethodDefinition(name, arguments...);
}
struct ClassDB {
  template <class M>
  static void bind_method(MethodDefinition, M) {}
};
class Object {
 public:
  virtual ~Object() = default;
  template <class T>
  static T* cast_to(Object* object) {
    return dynamic_cast<T*>(object);
  }
  template <class... A>
  int emit_signal(const char*, const A&...) {
    return 0;
  }
};
template <class T>
class Ref {
 public:
  bool is_null() const { return p_ == nullptr; }
  T* operator->() const { return p_; }

 private:
  T* p_ = nullptr;
};
class Node : public Object {
 public:
  virtual void _process(double) {}
  virtual void _exit_tree() {}
  void add_child(Node*) {}
  void queue_free() {}
};
class Node3D : public Node {
 public:
  void set_position(const Vector3& at) { position_ = at; }
  void set_rotation(const Vector3& turn) { rotation_ = turn; }
  Vector3 get_rotation() const { return rotation_; }

 private:
  Vector3 position_, rotation_;
};
class PackedScene : public Object {
 public:
  Node* instantiate() const { return new Node3D; }
};

}  // namespace godot
