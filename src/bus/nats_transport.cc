// SPDX-License-Identifier: Apache-2.0
#include "bus/nats_transport.h"

#include <nats/nats.h>
#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>

namespace tidegate::bus {
namespace {

constexpr int kReconnectWaitMs = 500;
constexpr int kReconnectJitterMs = 250;
constexpr int kPingMs = 2000;  // a server that does not answer two of them is left
constexpr int kWriteDeadlineMs = 2000;
constexpr int kConnectTimeoutMs = 2000;
constexpr size_t kMessageOverhead = 128;  // of a queued message, about

struct Outgoing {
  std::string subject, reply;
  std::vector<uint8_t> bytes;
  size_t cost() const { return bytes.size() + subject.size() + reply.size() + kMessageOverhead; }
};

}  // namespace

struct NatsTransport::State {
  explicit State(NatsOptions o) : options(std::move(o)) {}

  NatsOptions options;
  mutable std::mutex mutex;  // everything below but the atomics
  std::condition_variable changed;
  std::deque<Outgoing> out;
  size_t out_bytes = 0;
  std::deque<Delivery> in;
  size_t in_bytes = 0;
  TransportFigures figures;
  bool stopping = false;
  bool sending = false;
  std::atomic<bool> connected{false};
  std::thread thread;
  natsConnection* connection = nullptr;  // of the thread
  std::vector<natsSubscription*> subscriptions;

  void run();
  bool connect();
  void set_connected(bool now);

  static void on_message(natsConnection*, natsSubscription*, natsMsg* message, void* closure);
  static void on_connected(natsConnection*, void* closure) {
    static_cast<State*>(closure)->set_connected(true);
  }
  static void on_disconnected(natsConnection*, void* closure) {
    static_cast<State*>(closure)->set_connected(false);
  }
  static void on_error(natsConnection*, natsSubscription*, natsStatus status, void* closure) {
    if (status != NATS_SLOW_CONSUMER) return;
    auto* self = static_cast<State*>(closure);
    const std::lock_guard lock(self->mutex);
    ++self->figures.dropped_in;
  }
};

void NatsTransport::State::set_connected(bool now) {
  {
    const std::lock_guard lock(mutex);
    if (connected.exchange(now) == now) return;
    if (now) ++figures.connects;
    if (!now) {  // what waited is of before
      figures.dropped_out += out.size();
      out.clear();
      out_bytes = 0;
    }
  }
  if (options.log) options.log(now, now ? "connected" : "the connection is lost");
  if (options.wake) options.wake();
}

void NatsTransport::State::on_message(natsConnection*, natsSubscription*, natsMsg* message,
                                      void* closure) {
  auto* self = static_cast<State*>(closure);
  Delivery delivery;
  delivery.subject = natsMsg_GetSubject(message);
  if (const char* reply = natsMsg_GetReply(message)) delivery.reply = reply;
  delivery.no_responders = natsMsg_IsNoResponders(message);
  const auto* data = reinterpret_cast<const uint8_t*>(natsMsg_GetData(message));
  const int size = natsMsg_GetDataLength(message);
  if (size > 0) delivery.bytes.assign(data, data + size);
  natsMsg_Destroy(message);
  bool first = false;
  {
    const std::lock_guard lock(self->mutex);
    const size_t cost = delivery.bytes.size() + kMessageOverhead;
    if (self->in_bytes + cost > self->options.queue_bytes) {
      ++self->figures.dropped_in;
      return;
    }
    ++self->figures.received;
    self->figures.received_bytes += delivery.bytes.size();
    self->in_bytes += cost;
    first = self->in.empty();
    self->in.push_back(std::move(delivery));
  }
  if (first && self->options.wake) self->options.wake();
}

bool NatsTransport::State::connect() {
  natsOptions* o = nullptr;
  if (natsOptions_Create(&o) != NATS_OK) return false;
  std::vector<const char*> servers;
  for (const std::string& s : options.servers) servers.push_back(s.c_str());
  natsOptions_SetServers(o, servers.data(), static_cast<int>(servers.size()));
  natsOptions_SetName(o, options.name.c_str());
  if (!options.user.empty()) {
    natsOptions_SetUserInfo(o, options.user.c_str(), options.password.c_str());
  }
  natsOptions_SetTimeout(o, kConnectTimeoutMs);
  natsOptions_SetMaxReconnect(o, -1);
  natsOptions_SetReconnectWait(o, kReconnectWaitMs);
  natsOptions_SetReconnectJitter(o, kReconnectJitterMs, kReconnectJitterMs);
  natsOptions_SetReconnectBufSize(o, 1);  // nothing of before: the bus begins anew
  natsOptions_SetPingInterval(o, kPingMs);
  natsOptions_SetMaxPingsOut(o, 2);
  natsOptions_SetWriteDeadline(o, kWriteDeadlineMs);
  natsOptions_SetDisconnectedCB(o, on_disconnected, this);
  natsOptions_SetReconnectedCB(o, on_connected, this);
  natsOptions_SetErrorHandler(o, on_error, this);
  // Also when the server is not there yet; the library then tries on by itself.
  natsOptions_SetRetryOnFailedConnect(o, true, on_connected, this);
  const natsStatus status = natsConnection_Connect(&connection, o);
  natsOptions_Destroy(o);
  if (status != NATS_OK && status != NATS_NOT_YET_CONNECTED) return false;
  for (const Subscription& s : options.subscriptions) {
    natsSubscription* subscription = nullptr;
    const natsStatus done =
        s.group.empty()
            ? natsConnection_Subscribe(&subscription, connection, s.subject.c_str(), on_message,
                                       this)
            : natsConnection_QueueSubscribe(&subscription, connection, s.subject.c_str(),
                                            s.group.c_str(), on_message, this);
    if (done != NATS_OK) return false;
    natsSubscription_SetPendingLimits(subscription, 1 << 20, static_cast<int>(options.queue_bytes));
    subscriptions.push_back(subscription);
  }
  if (status == NATS_OK) {
    natsConnection_Flush(connection);  // others' messages come from here on
    set_connected(true);
  }
  return true;
}

void NatsTransport::State::run() {
  pthread_setname_np(pthread_self(), "tg-bus");
  while (!connect()) {  // a name that does not resolve, or no memory
    for (natsSubscription* s : subscriptions) natsSubscription_Destroy(s);
    subscriptions.clear();
    if (connection != nullptr) natsConnection_Destroy(connection);
    connection = nullptr;
    if (options.log) options.log(false, "cannot connect; bus.servers is tried again");
    std::unique_lock lock(mutex);
    if (changed.wait_for(lock, std::chrono::seconds(2), [this] { return stopping; })) return;
  }
  std::unique_lock lock(mutex);
  while (true) {
    sending = false;
    changed.notify_all();
    changed.wait(lock, [this] { return stopping || !out.empty(); });
    if (out.empty()) return;
    const Outgoing message = std::move(out.front());
    out.pop_front();
    out_bytes -= message.cost();
    sending = true;
    lock.unlock();
    const natsStatus status =
        message.reply.empty()
            ? natsConnection_Publish(connection, message.subject.c_str(), message.bytes.data(),
                                     static_cast<int>(message.bytes.size()))
            : natsConnection_PublishRequest(connection, message.subject.c_str(),
                                            message.reply.c_str(), message.bytes.data(),
                                            static_cast<int>(message.bytes.size()));
    lock.lock();
    if (status == NATS_OK) {
      ++figures.sent;
      figures.sent_bytes += message.bytes.size();
    } else {
      ++figures.dropped_out;
    }
  }
}

NatsTransport::NatsTransport(NatsOptions options)
    : state_(std::make_unique<State>(std::move(options))) {
  state_->thread = std::thread([s = state_.get()] { s->run(); });
}

NatsTransport::~NatsTransport() { stop(base::milliseconds(0)); }

void NatsTransport::stop(base::Duration time) {
  if (!state_->thread.joinable()) return;
  {
    std::unique_lock lock(state_->mutex);
    if (state_->connected.load()) {
      state_->changed.wait_for(lock, std::chrono::nanoseconds(time.ns),
                               [this] { return state_->out.empty() && !state_->sending; });
    }
    state_->figures.dropped_out += state_->out.size();
    state_->out.clear();
    state_->out_bytes = 0;
    state_->stopping = true;
    state_->changed.notify_all();
  }
  state_->thread.join();
  if (state_->connection == nullptr) return;
  if (state_->connected.load() && time.ns > 0) {
    natsConnection_FlushTimeout(state_->connection, std::max<int64_t>(1, time.ns / 1'000'000));
  }
  natsConnection_Close(state_->connection);
  for (natsSubscription* s : state_->subscriptions) natsSubscription_Destroy(s);
  natsConnection_Destroy(state_->connection);
  state_->connection = nullptr;
}

bool NatsTransport::publish(std::string_view subject, base::Bytes head, base::Bytes body,
                            std::string_view reply) {
  Outgoing message{std::string(subject), std::string(reply), {}};
  message.bytes.reserve(head.size() + body.size());
  message.bytes.insert(message.bytes.end(), head.begin(), head.end());
  message.bytes.insert(message.bytes.end(), body.begin(), body.end());
  const std::lock_guard lock(state_->mutex);
  if (!state_->connected.load() || state_->stopping ||
      state_->out_bytes + message.cost() > state_->options.queue_bytes) {
    ++state_->figures.dropped_out;
    return false;
  }
  state_->out_bytes += message.cost();
  state_->out.push_back(std::move(message));
  state_->changed.notify_all();
  return true;
}

bool NatsTransport::poll(Delivery* out) {
  const std::lock_guard lock(state_->mutex);
  if (state_->in.empty()) return false;
  *out = std::move(state_->in.front());
  state_->in.pop_front();
  state_->in_bytes -= out->bytes.size() + kMessageOverhead;
  return true;
}

bool NatsTransport::connected() const { return state_->connected.load(); }

TransportFigures NatsTransport::figures() const {
  const std::lock_guard lock(state_->mutex);
  TransportFigures f = state_->figures;
  f.queued_bytes = state_->out_bytes + state_->in_bytes;
  return f;
}

}  // namespace tidegate::bus
