// SPDX-License-Identifier: Apache-2.0
// The client library for C++17, over the C API of client.h and with nothing of its own to link:
//
//   tidegate::Client client({"ws://localhost:7400/ws"}, token);
//   auto added = client.on(TIDEGATE_EVENT_ENTITY_ADDED, [](const auto& e) { … e.entity->id … });
//   client.connect();
//   while (playing) { client.poll(); …; }
//
// A Subscription ends when it is destroyed; it may outlive its client, end in its own callback, and
// the client may be destroyed in a callback. Exceptions and RTTI are not needed; a callback must
// not throw through poll().
//
// Thread: one for each client. Owner: Client owns the handle. Limits: those of client.h.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tidegate/client.h"

namespace tidegate {

inline std::string_view view(tidegate_text t) { return {t.data, t.size}; }
inline std::string_view view(tidegate_bytes b) {
  return {static_cast<const char*>(b.data), b.size};
}

using ClientEvent = tidegate_client_event;
using ClientEntity = tidegate_client_entity;
using ClientKeyedState = tidegate_client_keyed_state;

// Ends a listener when it goes. Movable, not copyable.
class Subscription {
 public:
  Subscription() = default;
  Subscription(Subscription&& other) noexcept { swap(other); }
  Subscription& operator=(Subscription&& other) noexcept {
    Subscription(std::move(other)).swap(*this);
    return *this;
  }
  ~Subscription() { cancel(); }
  void cancel() {
    if (const std::shared_ptr<tidegate_client*> handle = handle_.lock(); handle && *handle) {
      tidegate_client_unlisten(*handle, id_);
    }
    id_ = 0;
    node_.reset();
    handle_.reset();
  }
  // False: there was no room for it.
  explicit operator bool() const { return id_ != 0; }

 private:
  friend class Client;
  struct Node : std::enable_shared_from_this<Node> {
    std::function<void(const ClientEvent&)> function;
    static void call(void* user, tidegate_client*, const ClientEvent* event) {
      // It may end, and with it this, while it runs.
      const std::shared_ptr<Node> self = static_cast<Node*>(user)->shared_from_this();
      self->function(*event);
    }
  };
  void swap(Subscription& other) {
    std::swap(handle_, other.handle_);
    std::swap(node_, other.node_);
    std::swap(id_, other.id_);
  }
  std::weak_ptr<tidegate_client*> handle_;  // null when the client is gone
  std::shared_ptr<Node> node_;
  uint32_t id_ = 0;
};

class Client {
 public:
  // All else as in tidegate_client_config; `config` may hold what has no default.
  Client(const std::vector<std::string>& endpoints, const std::string& token,
         tidegate_client_config config = {}) {
    std::vector<const char*> urls;
    for (const std::string& e : endpoints) urls.push_back(e.c_str());
    config.struct_size = sizeof config;
    config.endpoints = urls.data();
    config.endpoint_count = urls.size();
    if (!token.empty()) config.token = token.c_str();
    char problem[256] = "";
    tidegate_client* made = nullptr;
    tidegate_client_create(&config, &made, problem, sizeof problem);
    problem_ = problem;
    handle_ = std::make_shared<tidegate_client*>(made);
  }
  ~Client() { destroy(); }
  Client(Client&&) = default;
  Client& operator=(Client&& other) noexcept {
    if (this != &other) {
      destroy();
      handle_ = std::move(other.handle_);
      problem_ = std::move(other.problem_);
    }
    return *this;
  }

  // False: problem() says why; no other call may be made.
  explicit operator bool() const { return handle_ && *handle_ != nullptr; }
  const std::string& problem() const { return problem_; }
  tidegate_client* get() const { return *handle_; }

  void connect() { tidegate_client_connect(get()); }
  void disconnect(const char* reason = nullptr) { tidegate_client_disconnect(get(), reason); }
  void network_changed() { tidegate_client_network_changed(get()); }
  bool give_token(uint32_t attempt, const char* token) {
    return tidegate_client_give_token(get(), attempt, token) == TIDEGATE_CLIENT_OK;
  }
  // False: a callback destroyed the client.
  bool poll(uint32_t budget_us = 0) {
    const std::shared_ptr<tidegate_client*> keep = handle_;
    return tidegate_client_poll(*keep, budget_us) == TIDEGATE_CLIENT_OK;
  }
  void wait(uint32_t most_ms) { tidegate_client_wait(get(), most_ms); }
  // poll() and wait() in turns until so much time is over. False: a callback destroyed the client,
  // or it is closed, and nothing comes before connect(); TIDEGATE_EVENT_LOST said why.
  bool run(uint32_t ms) {
    const std::shared_ptr<tidegate_client*> keep = handle_;
    return tidegate_client_run(*keep, ms) == TIDEGATE_CLIENT_OK &&
           tidegate_client_get_state(*keep) != TIDEGATE_CLIENT_CLOSED;
  }
  // Destroys the client, also in a callback; the object is empty then.
  void destroy() {
    if (handle_ && *handle_ != nullptr) tidegate_client_destroy(std::exchange(*handle_, nullptr));
  }

  tidegate_client_state state() const { return tidegate_client_get_state(get()); }
  bool in_world() const { return state() == TIDEGATE_CLIENT_IN_WORLD; }
  std::string_view player_id() const { return view(tidegate_client_player_id(get())); }

  tidegate_client_result send(uint32_t type, std::string_view payload,
                              tidegate_client_mode mode = TIDEGATE_SEND_NOW, int32_t priority = 5,
                              uint32_t ttl_ms = 0, uint32_t key = 0) {
    const tidegate_client_send_options options{sizeof options, mode, priority, ttl_ms, key};
    return tidegate_client_send(get(), type, payload.data(), payload.size(), &options);
  }
  tidegate_client_result move(tidegate_vector velocity, float dt, float yaw = 0,
                              uint32_t flags = 0) {
    return tidegate_client_move(get(), velocity, yaw, flags, dt);
  }
  // A direction of length up to 1; the server moves the player.
  tidegate_client_result steer(tidegate_vector direction, float dt, float yaw = 0,
                               uint32_t flags = 0) {
    return tidegate_client_steer(get(), direction, yaw, flags, dt);
  }

  // Everybody in view with where to draw them: `for (const auto& e : client.entities())`, once for
  // each picture.
  class Entities {
   public:
    class Iterator {
     public:
      explicit Iterator(tidegate_client* client) : client_(client) {
        entity_.struct_size = sizeof entity_;
        ++*this;
      }
      Iterator() = default;
      const ClientEntity& operator*() const { return entity_; }
      const ClientEntity* operator->() const { return &entity_; }
      Iterator& operator++() {
        if (tidegate_client_next(client_, &cursor_, &entity_) == 0) client_ = nullptr;
        return *this;
      }
      bool operator!=(const Iterator& other) const { return client_ != other.client_; }

     private:
      tidegate_client* client_ = nullptr;
      uint32_t cursor_ = 0;
      ClientEntity entity_{};
    };
    explicit Entities(tidegate_client* client) : client_(client) {}
    Iterator begin() const { return Iterator(client_); }
    Iterator end() const { return {}; }

   private:
    tidegate_client* client_;
  };
  Entities entities() { return Entities(get()); }
  bool find(std::string_view id, ClientEntity* out) {
    out->struct_size = sizeof *out;
    return tidegate_client_find(get(), {id.data(), id.size()}, out) != 0;
  }
  // Keyed state; TIDEGATE_EVENT_STATE_RESULT answers a change.
  bool find_state(uint32_t scope, std::string_view key, ClientKeyedState* out) const {
    out->struct_size = sizeof *out;
    return tidegate_client_find_state(get(), scope, {key.data(), key.size()}, out) != 0;
  }
  tidegate_client_result change_state(
      uint32_t scope, std::string_view key, std::string_view value, uint64_t base_version = 0,
      tidegate_client_state_operation operation = TIDEGATE_STATE_OPERATION_SET,
      uint32_t* request = nullptr) {
    return tidegate_client_change_state(get(), scope, {key.data(), key.size()}, operation,
                                        {value.data(), value.size()}, base_version, request);
  }
  // The predicted own place; false before the player is in the world.
  bool self(tidegate_vector* out) { return tidegate_client_self(get(), out) != 0; }

  [[nodiscard]] Subscription on(tidegate_client_event_kind kind,
                                std::function<void(const ClientEvent&)> function) {
    Subscription s;
    s.node_ = std::make_shared<Subscription::Node>();
    s.node_->function = std::move(function);
    s.id_ = tidegate_client_listen(get(), kind, Subscription::Node::call, s.node_.get());
    if (s.id_ != 0) s.handle_ = handle_;
    return s;
  }

  tidegate_client_stats stats() {
    tidegate_client_stats out{};
    out.struct_size = sizeof out;
    tidegate_client_get_stats(get(), &out);
    return out;
  }
  // A preset of bad networks by name. False: no such preset, or built without the simulator.
  bool simulate(const char* preset) {
    tidegate_client_conditions c{};
    c.struct_size = sizeof c;
    return tidegate_client_conditions_named(preset, &c) != 0 &&
           tidegate_client_simulate(get(), &c) == TIDEGATE_CLIENT_OK;
  }

 private:
  std::shared_ptr<tidegate_client*> handle_;
  std::string problem_;
};

}  // namespace tidegate
