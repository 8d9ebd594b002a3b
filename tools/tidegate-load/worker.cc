// SPDX-License-Identifier: Apache-2.0
#include "worker.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <ctime>

#include "crypto/jwt_sign.h"

namespace tidegate::load {

namespace {

uint32_t stamp_of(base::Instant t) { return static_cast<uint32_t>(t.ns / 1000) | 1; }

uint64_t micros(base::Duration d) { return d.ns > 0 ? static_cast<uint64_t>(d.ns / 1000) : 0; }

}  // namespace

base::Instant monotonic_now() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return {int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec};
}

Bot::Bot(Worker& worker, uint32_t number)
    : worker_(worker), number_(number), prng_(number * 7919u + 17) {}

bool Bot::open(base::Instant intended) {
  const Options& o = worker_.options_;
  intended_connect_ = intended;
  if (tries_ == 0 && dropped_at_.ns == 0) place_ = number_ % static_cast<uint32_t>(o.places.size());
  const Options::Place& place = o.places[place_];
  if (o.resume && !letters_) letters_ = std::make_unique<client::Letters>();
  client::ClientConfig config;
  config.host = place.host;
  config.path = letters_ ? letters_->path(place.path) : place.path;
  config.encoding = o.packed ? wire::StateEncoding::kPacked : wire::StateEncoding::kProtobuf;
  config.view_distance = o.view_distance;
  config.max_bytes_per_second = o.budget;
  config.echo = o.mode == Mode::kEcho;
  config.keeps_picture = number_ % o.picture_every == 0;
  config.report_interval = base::nanoseconds(static_cast<int64_t>(o.report_every * 1e9));
  if (!config.echo) {
    crypto::MintClaims claims;
    claims.subject = o.user_prefix + std::to_string(number_);
    claims.issuer = o.issuer;
    claims.audience = o.audience;
    claims.issued_at = std::time(nullptr);
    claims.expires_at = claims.issued_at + 24 * 3600;
    config.token = crypto::mint(o.secret, claims);
  }
  const uint32_t pictures = std::max(1U, o.bots / o.picture_every);
  if (o.observers != 0 && config.keeps_picture &&
      number_ / o.picture_every % std::max(1U, pictures / o.observers) == 0) {
    observer_ = std::make_unique<Observer>(o.user_prefix + std::to_string(number_));
  }
  client_ = std::make_unique<client::Client>(std::move(config), *this, prng_.next());
  if (o.polling) {
    fd = worker_.bridge().attach();
    if (fd < 0) worker_.note_problem(std::string("socketpair: ") + std::strerror(errno));
    client_->start();
    wants_write = true;
    return fd >= 0;
  }
  const bool v4 = IN6_IS_ADDR_V4MAPPED(&place.address.sin6_addr);
  fd = socket(v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) {
    worker_.note_problem(std::string("socket: ") + std::strerror(errno));
    return false;
  }
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (limited()) {  // what it does not read must not vanish in its kernel
    const int bytes = 16 * 1024;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
  sockaddr_in to{};
  if (v4) {
    to.sin_family = AF_INET;
    to.sin_port = place.address.sin6_port;
    std::memcpy(&to.sin_addr, &place.address.sin6_addr.s6_addr[12], 4);
    if (o.loopback) {
      // Several source addresses: one has too few ports for tens of thousands of connections.
      sockaddr_in from{};
      from.sin_family = AF_INET;
      from.sin_addr.s_addr = htonl(0x7f000001u + 1 + number_ % 16);
      setsockopt(fd, IPPROTO_IP, 24 /* IP_BIND_ADDRESS_NO_PORT */, &one, sizeof one);
      if (bind(fd, reinterpret_cast<sockaddr*>(&from), sizeof from) != 0) {
        worker_.note_problem(std::string("bind: ") + std::strerror(errno));
      }
    }
  }
  const int result =
      v4 ? connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to)
         : connect(fd, reinterpret_cast<const sockaddr*>(&place.address), sizeof place.address);
  if (result != 0 && errno != EINPROGRESS) {
    worker_.note_problem("connect to " + o.url + ": " + std::strerror(errno));
    return false;
  }
  if (o.tls != nullptr && !tls_.start(*o.tls, worker_.engine_, o.server_name.c_str())) {
    worker_.note_problem("TLS: no memory");
    return false;
  }
  client_->start();
  wants_write = true;
  return true;
}

void Bot::wait_again(base::Instant now) {
  Stats& s = worker_.stats_;
  if (counted_connected_) {
    drop(s.connected);
    bump(s.drops);
    dropped_at_ = now;
    tries_ = 0;
  }
  if (counted_world_) drop(s.in_world);
  counted_connected_ = counted_world_ = placed_ = false;
  collected_ = {};
  messages_collected_ = 0;
  letters_->pause();
  wants_read = true;
  place_ = (place_ + 1) % static_cast<uint32_t>(worker_.options_.places.size());
  // As an SDK does it: soon, then ever later, no two at the same time.
  const uint32_t most_ms = std::min(20u << std::min(tries_++, 6u), 1000u);
  again_at_ = now + base::milliseconds(static_cast<int64_t>(prng_.below(most_ms) + 1));
}

void Bot::on_envelope(base::Instant now, const wire::Envelope& envelope) {
  if (!letters_) return;
  letters_->on_envelope(*client_, envelope);
  Stats& s = worker_.stats_;
  if (!letters_->problem.empty()) {
    // A session that was lost says so; all else is a letter that is missing or came twice.
    bump(envelope.type == static_cast<uint32_t>(wire::MessageType::kResumeResult)
             ? s.sessions_lost
             : s.letters_wrong);
    worker_.note_problem(letters_->problem);
    letters_->problem.clear();
  }
  if (letters_->resumes != resumes_seen_) {
    resumes_seen_ = letters_->resumes;
    bump(s.resumes);
    if (dropped_at_.ns != 0) s.resume_us.record(micros(now - dropped_at_));
  }
  bump(s.letters_read, letters_->read_in_all() - letters_seen_);
  letters_seen_ = letters_->read_in_all();
}

void Bot::write_letters(base::Instant due) {
  const Options& o = worker_.options_;
  if (!letters_ || o.letters <= 0 || due < next_letter_ || !worker_.letters_due(due)) return;
  next_letter_ = due + base::nanoseconds(static_cast<int64_t>(1e9 / o.letters));
  letters_->write(*client_, o.user_prefix + std::to_string((number_ + 1) % o.bots));
  bump(worker_.stats_.letters_written);
  if (fd >= 0 && !wants_write) flush();
}

bool Bot::limited() const { return number_ < worker_.options_.stalled + worker_.options_.slow; }

// A limited bot reads at its rate from the moment it knows where it stands.
void Bot::refill(base::Instant now) {
  const uint32_t rate = number_ < worker_.options_.stalled ? 0 : worker_.options_.slow_rate;
  if (over_ || !placed_ || fd < 0) return;
  if (refilled_.ns == 0) refilled_ = now;
  const int64_t gained = (now - refilled_).ns / 1000 * rate / 1'000'000;
  if (gained > 0 || rate == 0) {
    allowance_ = std::min<int64_t>(allowance_ + gained, rate / 10);
    refilled_ = now;
  }
  wants_read = allowance_ > 0;
  worker_.rearm(*this);
}

bool Bot::on_readable() {
  std::vector<uint8_t>& buffer = worker_.buffer_;
  const bool metered = limited() && refilled_.ns != 0 && allowance_ > 0;
  const size_t most =
      metered ? std::min(buffer.size(), static_cast<size_t>(allowance_)) : buffer.size();
  const ssize_t n = recv(fd, buffer.data(), most, 0);
  if (metered && n > 0) allowance_ -= n;
  if (n < 0) {
    if (errno == EAGAIN || errno == EINTR) return true;
    if (client_->state() == client::ClientState::kUpgrading) {
      worker_.note_problem("connect to " + worker_.options_.url + ": " + std::strerror(errno));
    }
    client_->on_disconnected();
    return false;
  }
  if (n == 0) {
    client_->on_disconnected();
    return false;
  }
  bump(worker_.stats_.bytes_in, static_cast<uint64_t>(n));
  if (worker_.options_.budget != 0) count_window(monotonic_now(), static_cast<uint32_t>(n));
  // The clock is read for each bot, behind recv(): one reading for all bots of an epoll_wait would
  // lie before the arrival of what came while the first ones were served, and flatter the server.
  const bool alive = take({buffer.data(), static_cast<size_t>(n)});
  collect();
  return alive && flush() && client_->state() != client::ClientState::kClosed;
}

void Bot::count_window(base::Instant now, uint32_t bytes) {
  const int64_t from =
      worker_.control_.measure_from_ns.load(std::memory_order_relaxed) + kWindowSettle.ns;
  if (!worker_.measuring(now) || now.ns < from || limited()) return;
  const int64_t slot = (now.ns - from) / 10'000'000;
  if (slot_ < 0) {
    slot_ = slot;
    window_from_ = slot;
  }
  Stats& s = worker_.stats_;
  const uint64_t budget = worker_.options_.budget;
  // Windows in which nothing came are windows too.
  for (; slot_ < slot; ++slot_) {
    if (slot_ >= window_from_ + kWindowSlots - 1) {
      bump(s.windows);
      bump(s.window_sum, window_bytes_);
      if (window_bytes_ * 100 > budget * 102) bump(s.windows_over);
      if (window_bytes_ * 100 < budget * 98) bump(s.windows_under);
      if (window_bytes_ > s.window_most.load(std::memory_order_relaxed)) {
        s.window_most.store(window_bytes_, std::memory_order_relaxed);
      }
    }
    uint32_t& oldest = window_[(slot_ + 1) % kWindowSlots];
    window_bytes_ -= oldest;
    oldest = 0;
  }
  window_[slot_ % kWindowSlots] += bytes;
  window_bytes_ += bytes;
}

bool Bot::take(base::MutableBytes bytes) {
  if (!tls_.started()) {
    client_->on_bytes(monotonic_now(), bytes);
    return true;
  }
  base::MutableBytes plain;
  const bool alive = tls_.receive(worker_.engine_, bytes, &plain);
  if (!plain.empty()) client_->on_bytes(monotonic_now(), plain);
  if (alive) return true;
  if (!tls_.problem().empty()) worker_.note_problem(tls_.problem());
  flush();  // an alert or a close_notify of ours
  client_->on_disconnected();
  return false;
}

base::Bytes Bot::outgoing() {
  if (!tls_.started()) return client_->outgoing();
  const base::Bytes plain = client_->outgoing();
  if (!plain.empty() && tls_.established() && tls_.seal(worker_.engine_, plain)) {
    client_->sent(plain.size());
  }
  return tls_.outgoing();
}

bool Bot::flush() {
  const base::Bytes out = outgoing();
  if (out.empty()) {
    wants_write = false;
    return true;
  }
  const ssize_t n = send(fd, out.data(), out.size(), MSG_NOSIGNAL);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
      worker_.note_problem("send to " + worker_.options_.url + ": " + std::strerror(errno));
      client_->on_disconnected();
      return false;
    }
    wants_write = true;
    return true;
  }
  bump(worker_.stats_.bytes_out, static_cast<uint64_t>(n));
  if (tls_.started()) {
    tls_.sent(static_cast<size_t>(n));
    wants_write = !tls_.outgoing().empty();
  } else {
    client_->sent(static_cast<size_t>(n));
    wants_write = !client_->outgoing().empty();
  }
  return true;
}

void Bot::on_state(client::ClientState state) {
  Stats& s = worker_.stats_;
  const client::ClientState arrived = worker_.options_.mode == Mode::kEcho
                                          ? client::ClientState::kOpen
                                          : client::ClientState::kAuthenticated;
  if (state == arrived) {
    counted_connected_ = true;
    bump(s.connected);
    s.connect_us.record(micros(monotonic_now() - intended_connect_));
  }
  if (state == client::ClientState::kInWorld) {
    counted_world_ = true;
    bump(s.in_world);
  }
}

void Bot::end(bool expected) {
  if (over_) return;
  over_ = true;
  Stats& s = worker_.stats_;
  if (counted_connected_) drop(s.connected);
  if (counted_world_) drop(s.in_world);
  if (expected) return;
  if (limited() && counted_connected_) {
    bump(s.slow_lost);
    return;
  }
  bump(counted_connected_ ? s.lost : s.refused);
  worker_.note_problem(client_ ? client_->problem() : "could not connect");
}

void Bot::on_move_ack(base::Instant now, const wire::MoveAck& ack) {
  Stats& s = worker_.stats_;
  if (!placed_) {
    placed_ = true;
    position_ = ack.position;
    choose_target();
  }
  if (ack.corrected) {
    bump(s.moves_corrected);
    position_ = ack.position;
  }
  if (ack.client_tick > tick_acked_) {
    if (!limited()) bump(s.moves_acked, ack.client_tick - tick_acked_);
    tick_acked_ = ack.client_tick;
    const base::Instant due = due_of_[ack.client_tick % 64];
    if (!limited() && tick_ - ack.client_tick < 64 && worker_.measuring(due)) {
      s.ack_us.record(micros(now - due));
    }
  }
}

void Bot::on_entity_changed(base::Instant now, std::string_view, uint32_t flags) {
  if (flags == 0 || limited()) return;
  const uint32_t late = stamp_of(now) - flags;
  // A mark from before the measured time, or of another run, is no measurement.
  if (late < 60'000'000 && worker_.measuring(now - base::microseconds(late))) {
    worker_.stats_.neighbour_us.record(late);
  }
}

void Bot::on_member_seen(base::Instant now, const wire::CellImage::Member& member, int16_t cell_x,
                         int16_t cell_z) {
  if (!observer_) return;
  constexpr double kStep = 0.02;
  const double cell = worker_.options_.cell_size;
  observer_->seen(now, member.name, cell_x * cell + member.x * kStep,
                  cell_z * cell + member.z * kStep);
}

void Bot::on_cell_healed(base::Instant now, base::Instant flipped) {
  worker_.stats_.heal_us.record(micros(now - flipped));
  if (now - flipped > kHealLimit) bump(worker_.stats_.flips_late);
}

void Bot::count_late(base::Instant now) {
  base::Instant oldest;
  if (client_ && client_->picture().oldest_flip(&oldest) && now - oldest > kHealLimit) {
    bump(worker_.stats_.flips_late);
  }
}

void Bot::on_error(const wire::ErrorNotification& error) {
  bump(worker_.stats_.errors);
  worker_.note_problem("ERROR " + std::to_string(error.code) + " " + std::string(error.message) +
                       ": " + std::string(error.details));
}

void Bot::on_message(base::Instant now, base::Bytes message) {
  if (message.size() < 8) return;
  const base::Instant due{base::load_le<int64_t>(message.data())};
  bump(worker_.stats_.moves_acked);
  if (worker_.measuring(due)) worker_.stats_.echo_us.record(micros(now - due));
}

void Bot::choose_target() {
  const float half = static_cast<float>(worker_.options_.area) / 2;
  target_.x = static_cast<float>(prng_.unit() * 2 - 1) * half;
  target_.z = static_cast<float>(prng_.unit() * 2 - 1) * half;
  target_.y = position_.y;
}

void Bot::move(base::Instant due) {
  Stats& s = worker_.stats_;
  if (over_) return;
  write_letters(due);
  if (again_at_.ns != 0) return;
  const Options& o = worker_.options_;
  if (o.mode == Mode::kEcho) {
    if (client_->state() != client::ClientState::kOpen) return;
    uint8_t message[4096] = {};
    base::store_le<int64_t>(message, due.ns);
    client_->send_binary({message, std::clamp<size_t>(o.echo_bytes, 8, sizeof message)});
  } else {
    if (client_->state() != client::ClientState::kInWorld) return;
    wire::PlayerMovement m;
    m.client_tick = ++tick_;
    m.client_time = due.ns / 1'000'000;
    due_of_[tick_ % 64] = due;
    if (placed_) {
      const float step = static_cast<float>(o.speed / o.move_rate);
      float dx = target_.x - position_.x;
      float dz = target_.z - position_.z;
      const float distance = std::sqrt(dx * dx + dz * dz);
      if (distance < step * 2) {
        choose_target();
      } else {
        position_.x += dx / distance * step;
        position_.z += dz / distance * step;
        const float rate = static_cast<float>(o.move_rate);
        m.velocity = {dx / distance * step * rate, 0, dz / distance * step * rate};
      }
      const float half_yaw = std::atan2(dx, dz) / 2;
      m.rotation = {0, std::sin(half_yaw), 0, std::cos(half_yaw)};
      m.position = position_;
      m.has_position = m.has_rotation = m.has_velocity = true;
      if (o.mark_every != 0 && number_ % o.mark_every == 0) m.movement_flags = stamp_of(due);
    }
    // The first one only asks where the player stands.
    client_->send_move(m);
    client_->audit(due);
    if (observer_) {
      const base::Instant now = monotonic_now();
      observer_->look_around(now, worker_.measuring(now - base::seconds(1)), s);
    }
  }
  if (!limited()) bump(s.moves_sent);
  if (worker_.measuring(due)) s.lag_us.record(micros(monotonic_now() - due));
  if (!wants_write) flush();
  worker_.rearm(*this);
}

void Bot::collect() {
  const client::PictureCounters& now = client_->picture().counters();
  Stats& s = worker_.stats_;
  bump(s.frames, now.frames - collected_.frames);
  bump(s.updates, now.updates - collected_.updates);
  bump(s.enters, now.enters - collected_.enters);
  bump(s.leaves, now.leaves - collected_.leaves);
  bump(s.checksums, now.checksums - collected_.checksums);
  bump(s.checksum_mismatches, now.checksum_mismatches - collected_.checksum_mismatches);
  bump(s.chain_gaps, now.chain_gaps - collected_.chain_gaps);
  bump(s.malformed, now.malformed - collected_.malformed);
  bump(s.violations, now.violations - collected_.violations);
  bump(s.flips, now.flips - collected_.flips);
  bump(s.flips_detected, now.flips_detected - collected_.flips_detected);
  bump(s.flips_healed, now.flips_healed - collected_.flips_healed);
  bump(s.flips_gone, now.flips_gone - collected_.flips_gone);
  bump(s.messages_in, client_->messages_received() - messages_collected_);
  messages_collected_ = client_->messages_received();
  collected_ = now;
}

Worker::Worker(const Options& options, uint32_t first, uint32_t count, uint32_t processes,
               Stats& stats, const Control& control)
    : options_(options),
      first_(first),
      processes_(processes),
      stats_(stats),
      control_(control),
      buffer_(256 * 1024) {
  bots_.reserve(count);
  for (uint32_t i = 0; i < count; ++i) bots_.push_back(std::make_unique<Bot>(*this, first + i));
}

void Worker::note_problem(const std::string& text) {
  if (stats_.problem[0] != '\0' || text.empty()) return;
  std::strncpy(stats_.problem, text.c_str(), sizeof stats_.problem - 1);
}

void Worker::open_due(base::Instant now) {
  const double rate = options_.connect_rate / processes_;
  while (opened_ < bots_.size()) {
    const base::Instant due =
        start_ + base::nanoseconds(static_cast<int64_t>(opened_ / rate * 1e9));
    if (due > now) return;
    Bot& bot = *bots_[opened_++];
    bump(stats_.connecting);
    if (!start(bot, due)) bot.end(false);
  }
}

bool Worker::start(Bot& bot, base::Instant due) {
  if (!bot.open(due)) return false;
  epoll_event event{};
  event.events = bot.armed = EPOLLIN | EPOLLOUT;
  event.data.ptr = &bot;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, bot.fd, &event);
  return true;
}

void Worker::open_again(base::Instant now) {
  if (away_ == 0) return;
  for (const auto& bot : bots_) {
    if (!bot->again_due(now)) continue;
    bot->again_at_ = {};
    --away_;
    if (!start(*bot, now)) bot->end(false);
  }
}

void Worker::move_due(base::Instant now) {
  if (opened_ < bots_.size() || options_.mode == Mode::kIdle || options_.move_rate <= 0) return;
  // The last ones are given time to be answered, or delivery would never be whole.
  if (control_.stop_at_ns.load(std::memory_order_relaxed) != 0) return;
  if (schedule_start_.ns == 0) schedule_start_ = now;
  const double step = 1e9 / (options_.move_rate * static_cast<double>(bots_.size()));
  for (int n = 0; n < 4096; ++n) {
    const base::Instant due =
        schedule_start_ +
        base::nanoseconds(static_cast<int64_t>(static_cast<double>(moves_begun_) * step));
    if (due > now) return;
    bots_[moves_begun_ % bots_.size()]->move(due);
    ++moves_begun_;
  }
}

// One bit of one bot's picture, in turn.
void Worker::flip_due(base::Instant now) {
  if (options_.flip_every <= 0 || !measuring(now) || now < next_flip_ ||
      control_.stop_at_ns.load(std::memory_order_relaxed) != 0) {
    return;
  }
  next_flip_ = now + base::nanoseconds(static_cast<int64_t>(options_.flip_every * 1e9));
  Bot& bot = *bots_[prng_.below(bots_.size())];
  if (!bot.over_ && bot.client_) bot.client_->flip_bit(now);
}

void Worker::rearm(Bot& bot) {
  const uint32_t wanted = (bot.wants_read ? EPOLLIN : 0u) | (bot.wants_write ? EPOLLOUT : 0u);
  if (bot.armed == wanted) return;
  bot.armed = wanted;
  epoll_event event{};
  event.events = wanted;
  event.data.ptr = &bot;
  epoll_ctl(epoll_, EPOLL_CTL_MOD, bot.fd, &event);
}

int Worker::run() {
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  start_ = monotonic_now();
  std::vector<epoll_event> events(1024);
  rusage begin{};
  rusage end{};
  base::Instant measured_from{};
  base::Instant measured_to{};
  for (;;) {
    const base::Instant now = monotonic_now();
    const int64_t stop = control_.stop_at_ns.load(std::memory_order_relaxed);
    if (stop != 0 && measured_to.ns == 0) {
      measured_to = now;  // what follows only waits for the last answers
      getrusage(RUSAGE_SELF, &end);
    }
    if (stop != 0 && now.ns >= stop) break;
    if (measured_from.ns == 0 && measuring(now)) {
      measured_from = now;
      getrusage(RUSAGE_SELF, &begin);
    }
    open_due(now);
    open_again(now);
    move_due(now);
    for (auto& bot : bots_) {
      if (!bot->limited()) break;  // they are the first ones
      bot->refill(now);
    }
    flip_due(now);
    if (opened_ == bots_.size()) stats_.ready.store(1, std::memory_order_relaxed);
    // One millisecond is fine enough: lateness is measured and part of the latency.
    const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), 1);
    for (int i = 0; i < n; ++i) {
      Bot& bot = *static_cast<Bot*>(events[static_cast<size_t>(i)].data.ptr);
      if (bot.over_) continue;
      bool alive = true;
      if (events[static_cast<size_t>(i)].events & EPOLLOUT) alive = bot.flush();
      if (alive && (events[static_cast<size_t>(i)].events & (EPOLLIN | EPOLLHUP | EPOLLERR))) {
        alive = bot.on_readable();
      }
      if (!alive) {
        epoll_ctl(epoll_, EPOLL_CTL_DEL, bot.fd, nullptr);
        close(bot.fd);
        if (options_.resume) {
          bot.fd = -1;
          bot.wait_again(monotonic_now());
          ++away_;
        } else {
          bot.end(false);
        }
      } else {
        rearm(bot);
      }
    }
  }
  const auto cpu = [](const rusage& r) {
    return (r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1'000'000'000LL +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000LL;
  };
  if (measured_from.ns != 0 && measured_from < measured_to) {
    stats_.cpu_ns.store(static_cast<uint64_t>(cpu(end) - cpu(begin)), std::memory_order_relaxed);
    stats_.wall_ns.store(static_cast<uint64_t>((measured_to - measured_from).ns),
                         std::memory_order_relaxed);
  }
  for (const auto& bot : bots_) bot->count_late(measured_to);
  stats_.done.store(1, std::memory_order_release);
  return 0;
}

}  // namespace tidegate::load
