// SPDX-License-Identifier: Apache-2.0
// src/wire against libprotobuf, for every message it decodes: what libprotobuf
// writes decodes to the same values; what wire writes is byte for byte what
// libprotobuf writes; and of damaged bytes wire accepts nothing that
// libprotobuf rejects, and where both accept the values are equal.
#include <gtest/gtest.h>

#include <map>
#include <string_view>

#include "random_messages.h"
#include "wire/envelope.h"

namespace tidegate::wire {
namespace {

constexpr int kRounds = 3000;
constexpr int kMutations = 6;

void random_message(base::Prng& r, pb::PlayerMovement* m) {
  if (r.chance(0.8)) fill(r, m->mutable_position());
  if (r.chance(0.8)) fill(r, m->mutable_rotation());
  if (r.chance(0.8)) fill(r, m->mutable_velocity());
  m->set_movement_flags(random_u32(r));
  m->set_client_tick(random_u32(r));
  m->set_client_time(random_i64(r));
}
bool equal(const PlayerMovement& a, const pb::PlayerMovement& b) {
  return a.has_position == b.has_position() && a.has_rotation == b.has_rotation() &&
         a.has_velocity == b.has_velocity() && same(a.position, b.position()) &&
         same(a.rotation, b.rotation()) && same(a.velocity, b.velocity()) &&
         a.movement_flags == b.movement_flags() && a.client_tick == b.client_tick() &&
         a.client_time == b.client_time();
}

void random_message(base::Prng& r, pb::PlayerStateUpdate* m) {
  m->set_player_id(random_text(r, 20));
  if (r.chance(0.8)) fill(r, m->mutable_position());
  if (r.chance(0.8)) fill(r, m->mutable_rotation());
  if (r.chance(0.8)) fill(r, m->mutable_velocity());
  m->set_state_flags(random_u32(r));
  m->set_timestamp(random_i64(r));
  m->set_tick(random_u32(r));
}
bool equal(const PlayerStateUpdate& a, const pb::PlayerStateUpdate& b) {
  return a.player_id == b.player_id() && a.has_position == b.has_position() &&
         a.has_rotation == b.has_rotation() && a.has_velocity == b.has_velocity() &&
         same(a.position, b.position()) && same(a.rotation, b.rotation()) &&
         same(a.velocity, b.velocity()) && a.state_flags == b.state_flags() &&
         a.timestamp == b.timestamp() && a.tick == b.tick();
}

void random_message(base::Prng& r, pb::PlayerStateDelta* m) {
  const uint32_t changed = static_cast<uint32_t>(r.below(16));
  m->set_player_id(random_text(r, 20));
  m->set_changed_fields(changed);
  if (changed & kChangedPosition) fill(r, m->mutable_position());
  if (changed & kChangedRotation) fill(r, m->mutable_rotation());
  if (changed & kChangedVelocity) fill(r, m->mutable_velocity());
  if (changed & kChangedFlags) m->set_state_flags(random_u32(r));
  m->set_timestamp(random_i64(r));
  m->set_base_tick(random_u32(r));
  m->set_delta_tick(random_u32(r));
}
bool equal(const PlayerStateDelta& a, const pb::PlayerStateDelta& b) {
  return a.player_id == b.player_id() && a.changed_fields == b.changed_fields() &&
         same(a.position, b.position()) && same(a.rotation, b.rotation()) &&
         same(a.velocity, b.velocity()) && a.state_flags == b.state_flags() &&
         a.timestamp == b.timestamp() && a.base_tick == b.base_tick() &&
         a.delta_tick == b.delta_tick();
}

void random_message(base::Prng& r, pb::TimeSync* m) {
  m->set_server_time(random_i64(r));
  m->set_server_tick(random_u32(r));
  m->set_client_time(random_i64(r));
  m->set_latency_ms(random_u32(r));
}
bool equal(const TimeSync& a, const pb::TimeSync& b) {
  return a.server_time == b.server_time() && a.server_tick == b.server_tick() &&
         a.client_time == b.client_time() && a.latency_ms == b.latency_ms();
}

void random_message(base::Prng& r, pb::CellReport* m) {
  m->set_cell_x(static_cast<int32_t>(random_u32(r)));
  m->set_cell_z(static_cast<int32_t>(random_u32(r)));
  m->set_epoch(random_u32(r));
  m->set_frame(random_u32(r));
  m->set_tick(random_u32(r));
  m->set_checksum(r.chance(0.2) ? 0 : r.next());
  m->set_expected(r.chance(0.2) ? 0 : r.next());
  m->set_members(random_text(r, 60));
}
bool equal(const CellReport& a, const pb::CellReport& b) {
  return a.cell_x == b.cell_x() && a.cell_z == b.cell_z() && a.epoch == b.epoch() &&
         a.frame == b.frame() && a.tick == b.tick() && a.checksum == b.checksum() &&
         a.expected == b.expected() && base::as_text(a.members) == b.members();
}

void random_message(base::Prng& r, pb::Disconnect* m) {
  m->set_code(random_u32(r));
  m->set_reason(random_text(r, 60));
  m->set_reconnect_url(random_text(r, 60));
  m->set_retry_after_ms(random_u32(r));
}
bool equal(const Disconnect& a, const pb::Disconnect& b) {
  return a.code == b.code() && a.reason == b.reason() && a.reconnect_url == b.reconnect_url() &&
         a.retry_after_ms == b.retry_after_ms();
}

void random_message(base::Prng& r, pb::ClientHello* m) {
  m->set_client_version(random_text(r, 20));
  m->set_state_encoding(static_cast<pb::StateEncoding>(r.below(2)));
  m->set_view_distance(random_float(r));
  uint32_t listed = static_cast<uint32_t>(r.below(16));  // ascending, as encode() writes them
  for (int i = 0; i < 4; ++i) {
    if (listed >> i & 1) m->add_compression(static_cast<pb::Compression>(i));
  }
  m->set_max_bytes_per_second(random_u32(r));
}
bool equal(const ClientHello& a, const pb::ClientHello& b) {
  uint32_t listed = 0;
  for (int c : b.compression()) {
    if (c >= 0 && c < 32) listed |= 1U << c;
  }
  return a.client_version == b.client_version() &&
         a.state_encoding == static_cast<uint32_t>(b.state_encoding()) &&
         same(a.view_distance, b.view_distance()) && a.compression == listed &&
         a.max_bytes_per_second == b.max_bytes_per_second();
}

void random_message(base::Prng& r, pb::ConnectionEstablished* m) {
  m->set_session_id(random_text(r, 20));
  m->set_server_version(random_text(r, 20));
  m->set_server_time(random_i64(r));
  m->set_heartbeat_interval(random_u32(r));
  if (r.chance(0.5)) (*m->mutable_features())["cell_size"] = "8" + random_text(r, 6);
  m->set_resume_token(random_text(r, 60));
  m->set_tick_rate(random_u32(r));
  m->set_server_tick(random_u32(r));
}
bool equal(const ConnectionEstablished& a, const pb::ConnectionEstablished& b) {
  return a.session_id == b.session_id() && a.server_version == b.server_version() &&
         a.server_time == b.server_time() && a.heartbeat_interval == b.heartbeat_interval() &&
         a.resume_token == b.resume_token() && a.tick_rate == b.tick_rate() &&
         a.server_tick == b.server_tick();
}

void random_message(base::Prng& r, pb::AuthenticationResult* m) {
  m->set_success(r.chance(0.5));
  m->set_user_id(random_text(r, 20));
  m->set_character_id(random_text(r, 20));
  m->set_error_message(random_text(r, 20));
  if (r.chance(0.5)) m->add_permissions("subscribe:room.*");
}
bool equal(const AuthenticationResult& a, const pb::AuthenticationResult& b) {
  return a.success == b.success() && a.user_id == b.user_id() &&
         a.character_id == b.character_id() && a.error_message == b.error_message();
}

void random_message(base::Prng& r, pb::ErrorNotification* m) {
  m->set_code(random_u32(r));
  m->set_message(random_text(r, 20));
  m->set_details(random_text(r, 20));
  m->set_fatal(r.chance(0.5));
  m->set_request_id(random_text(r, 20));
}
bool equal(const ErrorNotification& a, const pb::ErrorNotification& b) {
  return a.code == b.code() && a.message == b.message() && a.details == b.details() &&
         a.fatal == b.fatal() && a.request_id == b.request_id();
}

void random_message(base::Prng& r, pb::TokenRefresh* m) { m->set_token(random_text(r, 40)); }
bool equal(const TokenRefresh& a, const pb::TokenRefresh& b) { return a.token == b.token(); }

void random_message(base::Prng& r, pb::TokenStatus* m) {
  m->set_accepted(r.chance(0.5));
  m->set_expires_at(static_cast<int64_t>(random_u64(r)));
  m->set_reason(random_text(r, 20));
  // The struct has one text for all of them.
  if (r.chance(0.5)) m->add_permissions("subscribe:a.*");
}
bool equal(const TokenStatus& a, const pb::TokenStatus& b) {
  return a.accepted == b.accepted() && a.expires_at == b.expires_at() && a.reason == b.reason() &&
         a.permissions == (b.permissions_size() == 0 ? std::string() : b.permissions(0));
}

void random_message(base::Prng& r, pb::ResumeResult* m) {
  m->set_resumed(r.chance(0.5));
  m->set_reason(random_text(r, 20));
  m->set_replayed(random_u32(r));
  m->set_last_client_sequence(random_u64(r));
}
bool equal(const ResumeResult& a, const pb::ResumeResult& b) {
  return a.resumed == b.resumed() && a.reason == b.reason() && a.replayed == b.replayed() &&
         a.last_client_sequence == b.last_client_sequence();
}

void random_message(base::Prng& r, pb::MoveAck* m) {
  m->set_client_tick(random_u32(r));
  m->set_server_tick(random_u32(r));
  fill(r, m->mutable_position());  // the server always writes both
  fill(r, m->mutable_velocity());
  m->set_corrected(r.chance(0.5));
  m->set_reason(random_u32(r));
}
bool equal(const MoveAck& a, const pb::MoveAck& b) {
  return a.client_tick == b.client_tick() && a.server_tick == b.server_tick() &&
         same(a.position, b.position()) && same(a.velocity, b.velocity()) &&
         a.corrected == b.corrected() && a.reason == b.reason();
}

void random_message(base::Prng& r, pb::Subscribe* m) {
  m->set_topic(random_text(r, 40));
  m->set_replay_from(random_u64(r));
}
bool equal(const Subscribe& a, const pb::Subscribe& b) {
  return a.topic == b.topic() && a.replay_from == b.replay_from();
}

void random_message(base::Prng& r, pb::Unsubscribe* m) { m->set_topic(random_text(r, 40)); }
bool equal(const Unsubscribe& a, const pb::Unsubscribe& b) { return a.topic == b.topic(); }

void random_message(base::Prng& r, pb::Publish* m) {
  m->set_topic(random_text(r, 40));
  m->set_data(random_text(r, 60));
  m->set_event_type(random_u32(r));
}
bool equal(const Publish& a, const pb::Publish& b) {
  return a.topic == b.topic() && base::as_text(a.data) == b.data() &&
         a.event_type == b.event_type();
}

void random_message(base::Prng& r, pb::Event* m) {
  m->set_topic(random_text(r, 40));
  m->set_offset(random_u64(r));
  m->set_event_type(random_u32(r));
  m->set_version(random_u32(r));
  m->set_source_user(random_text(r, 20));
  m->set_data(random_text(r, 60));
  m->set_timestamp(random_i64(r));
}
bool equal(const Event& a, const pb::Event& b) {
  return a.topic == b.topic() && a.offset == b.offset() && a.event_type == b.event_type() &&
         a.version == b.version() && a.source_user == b.source_user() &&
         base::as_text(a.data) == b.data() && a.timestamp == b.timestamp();
}

void random_message(base::Prng& r, pb::Reply* m) {
  m->set_request_sequence(random_u64(r));
  m->set_code(random_u32(r));
  m->set_message(random_text(r, 40));
}
bool equal(const Reply& a, const pb::Reply& b) {
  return a.request_sequence == b.request_sequence() && a.code == b.code() &&
         a.message == b.message();
}

void random_message(base::Prng& r, pb::PlayerStatusChange* m) {
  m->set_player_id(random_text(r, 20));
  m->set_old_status(static_cast<pb::PlayerStatus>(r.below(6)));
  m->set_new_status(static_cast<pb::PlayerStatus>(r.below(6)));
  m->set_reason(random_text(r, 40));
}
bool equal(const PlayerStatusChange& a, const pb::PlayerStatusChange& b) {
  return a.player_id == b.player_id() && a.old_status == static_cast<uint32_t>(b.old_status()) &&
         a.new_status == static_cast<uint32_t>(b.new_status()) && a.reason == b.reason();
}

void random_message(base::Prng& r, pb::PresenceUpdate* m) {
  m->set_user_id(random_text(r, 20));
  m->set_status(static_cast<pb::PlayerStatus>(r.below(6)));
  m->set_custom_status(random_text(r, 40));
  m->set_last_seen(random_i64(r));
  m->set_zone_id(random_text(r, 20));
  m->set_region(random_text(r, 20));
}
bool equal(const PresenceUpdate& a, const pb::PresenceUpdate& b) {
  return a.user_id == b.user_id() && a.status == static_cast<uint32_t>(b.status()) &&
         a.custom_status == b.custom_status() && a.last_seen == b.last_seen() &&
         a.zone_id == b.zone_id() && a.region == b.region();
}

void random_message(base::Prng& r, pb::StateEntry* m) {
  m->set_key(random_text(r, 20));
  m->set_value(random_text(r, 40));
  m->set_version(random_u64(r));
  m->set_scope(static_cast<pb::StateScope>(r.below(4)));
  m->set_owner(random_text(r, 20));
  if (r.chance(0.5)) m->mutable_position()->set_x(random_float(r));
  m->set_expires_in_ms(random_u32(r));
  m->set_removed(r.chance(0.5));
}
bool equal(const StateEntry& a, const pb::StateEntry& b) {
  return a.key == b.key() && base::as_text(a.value) == b.value() && a.version == b.version() &&
         a.scope == static_cast<uint32_t>(b.scope()) && a.owner == b.owner() &&
         a.has_position == b.has_position() &&
         (!a.has_position || same(a.position.x, b.position().x())) &&
         a.expires_in_ms == b.expires_in_ms() && a.removed == b.removed();
}

void random_message(base::Prng& r, pb::StateChange* m) {
  m->set_key(random_text(r, 20));
  m->set_value(random_text(r, 40));
  m->set_base_version(random_u64(r));
  m->set_scope(static_cast<pb::StateScope>(r.below(4)));
  m->set_operation(static_cast<pb::StateOperation>(r.below(3)));
  m->set_request(random_u32(r));
}
bool equal(const StateChange& a, const pb::StateChange& b) {
  return a.key == b.key() && base::as_text(a.value) == b.value() &&
         a.base_version == b.base_version() && a.scope == static_cast<uint32_t>(b.scope()) &&
         a.operation == static_cast<uint32_t>(b.operation()) && a.request == b.request();
}

void random_message(base::Prng& r, pb::StateResult* m) {
  m->set_request(random_u32(r));
  m->set_key(random_text(r, 20));
  m->set_scope(static_cast<pb::StateScope>(r.below(4)));
  m->set_reason(static_cast<pb::StateReason>(r.below(10)));
  m->set_version(random_u64(r));
  if (r.chance(0.5)) random_message(r, m->mutable_current());
}
bool equal(const StateResult& a, const pb::StateResult& b) {
  return a.request == b.request() && a.key == b.key() &&
         a.scope == static_cast<uint32_t>(b.scope()) &&
         a.reason == static_cast<uint32_t>(b.reason()) && a.version == b.version() &&
         a.has_current == b.has_current() && (!a.has_current || equal(a.current, b.current()));
}

std::string hex(const std::string& bytes) {
  std::string out;
  for (unsigned char c : bytes) {
    constexpr char kDigits[] = "0123456789abcdef";
    out += kDigits[c >> 4];
    out += kDigits[c & 15];
  }
  return out;
}

template <class Pair>
class Parity : public ::testing::Test {};
template <class Wire, class Proto>
struct Pair {
  using W = Wire;
  using P = Proto;
};
using Pairs = ::testing::Types<
    Pair<PlayerMovement, pb::PlayerMovement>, Pair<PlayerStateUpdate, pb::PlayerStateUpdate>,
    Pair<PlayerStateDelta, pb::PlayerStateDelta>, Pair<TimeSync, pb::TimeSync>,
    Pair<CellReport, pb::CellReport>, Pair<Disconnect, pb::Disconnect>,
    Pair<ClientHello, pb::ClientHello>, Pair<ConnectionEstablished, pb::ConnectionEstablished>,
    Pair<AuthenticationResult, pb::AuthenticationResult>,
    Pair<ErrorNotification, pb::ErrorNotification>, Pair<ResumeResult, pb::ResumeResult>,
    Pair<TokenRefresh, pb::TokenRefresh>, Pair<TokenStatus, pb::TokenStatus>,
    Pair<MoveAck, pb::MoveAck>, Pair<Subscribe, pb::Subscribe>, Pair<Unsubscribe, pb::Unsubscribe>,
    Pair<Publish, pb::Publish>, Pair<Event, pb::Event>, Pair<Reply, pb::Reply>,
    Pair<PlayerStatusChange, pb::PlayerStatusChange>, Pair<PresenceUpdate, pb::PresenceUpdate>,
    Pair<StateEntry, pb::StateEntry>, Pair<StateChange, pb::StateChange>,
    Pair<StateResult, pb::StateResult>>;
TYPED_TEST_SUITE(Parity, Pairs);

TYPED_TEST(Parity, DecodesWhatLibprotobufWritesAndWritesTheSameBytes) {
  base::Prng prng(1);
  for (int i = 0; i < kRounds; ++i) {
    typename TypeParam::P theirs;
    random_message(prng, &theirs);
    const std::string bytes = theirs.SerializeAsString();
    typename TypeParam::W ours;
    ASSERT_TRUE(decode(bytes_of(bytes), &ours)) << hex(bytes);
    ASSERT_TRUE(equal(ours, theirs)) << hex(bytes);
    uint8_t buffer[2048];
    PbWriter writer(buffer);
    encode(writer, ours);
    ASSERT_FALSE(writer.overflow());
    ASSERT_EQ(hex(std::string(base::as_text(writer.written()))), hex(bytes));
  }
}

TYPED_TEST(Parity, OfDamagedBytesAcceptsNothingThatLibprotobufRejects) {
  base::Prng prng(2);
  int accepted = 0;
  for (int i = 0; i < kRounds; ++i) {
    typename TypeParam::P original;
    random_message(prng, &original);
    const std::string whole = original.SerializeAsString();
    for (int j = 0; j < kMutations; ++j) {
      const std::string bytes = mutate(prng, whole);
      typename TypeParam::W ours;
      if (!decode(bytes_of(bytes), &ours)) continue;  // stricter is allowed
      typename TypeParam::P theirs;
      ASSERT_TRUE(theirs.ParseFromString(bytes)) << hex(bytes);
      ASSERT_TRUE(equal(ours, theirs)) << hex(bytes);
      ++accepted;
    }
  }
  EXPECT_GT(accepted, kRounds / 20) << "the mutations reach nothing";
}

TYPED_TEST(Parity, WritesNothingPastASmallBuffer) {
  base::Prng prng(3);
  for (int i = 0; i < 200; ++i) {
    typename TypeParam::P theirs;
    random_message(prng, &theirs);
    const std::string bytes = theirs.SerializeAsString();
    typename TypeParam::W ours;
    ASSERT_TRUE(decode(bytes_of(bytes), &ours));
    for (size_t room = 0; room <= bytes.size(); ++room) {
      std::vector<uint8_t> exact(room);  // the address sanitizer watches its ends
      PbWriter writer(exact);
      encode(writer, ours);
      ASSERT_EQ(writer.overflow(), room < bytes.size()) << room << " of " << bytes.size();
    }
  }
}

TEST(EnvelopeParity, BothDirectionsAndDamaged) {
  base::Prng prng(4);
  for (int i = 0; i < kRounds; ++i) {
    pb::NetworkMessage theirs;
    theirs.set_version(random_u32(prng));
    theirs.set_sequence(random_u64(prng));
    theirs.set_timestamp(random_i64(prng));
    theirs.set_session_id(random_text(prng, 20));
    theirs.set_type(pb::PLAYER_MOVE);
    theirs.set_payload(random_text(prng, 100));
    theirs.set_requires_ack(prng.chance(0.5));
    theirs.set_priority(static_cast<uint32_t>(prng.below(11)));
    theirs.set_ack(random_u64(prng));
    theirs.set_raw_size(random_u32(prng));
    const std::string whole = theirs.SerializeAsString();
    for (int j = 0; j <= kMutations; ++j) {
      const std::string bytes = j == 0 ? whole : mutate(prng, whole);
      Envelope ours;
      if (!decode_envelope(bytes_of(bytes), &ours)) {
        ASSERT_NE(j, 0) << hex(bytes);
        continue;
      }
      ASSERT_TRUE(theirs.ParseFromString(bytes)) << hex(bytes);
      ASSERT_EQ(ours.version, theirs.version());
      ASSERT_EQ(ours.sequence, theirs.sequence());
      ASSERT_EQ(ours.timestamp, theirs.timestamp());
      ASSERT_EQ(ours.session_id, theirs.session_id());
      ASSERT_EQ(ours.type, static_cast<uint32_t>(theirs.type()));
      ASSERT_EQ(base::as_text(ours.payload), theirs.payload());
      ASSERT_EQ(ours.requires_ack, theirs.requires_ack());
      ASSERT_EQ(ours.priority, theirs.priority());
      ASSERT_EQ(ours.ack, theirs.ack());
      ASSERT_EQ(ours.compression, static_cast<uint32_t>(theirs.compression()));
      ASSERT_EQ(ours.raw_size, theirs.raw_size());
    }
  }
}

TEST(EnvelopeParity, LibprotobufReadsWhatMessageWriterWrites) {
  base::Prng prng(5);
  for (int i = 0; i < kRounds; ++i) {
    EnvelopeHead head{.type = MessageType::kTimeSync,
                      .timestamp = random_i64(prng),
                      .sequence = random_u64(prng),
                      .ack = random_u64(prng),
                      .requires_ack = prng.chance(0.5)};
    const std::string session = random_text(prng, 10);
    head.session_id = session;
    TimeSync sync{.server_time = random_i64(prng), .server_tick = random_u32(prng)};
    uint8_t buffer[512];
    MessageWriter message(buffer, head);
    encode(message.payload(), sync);
    const uint32_t size = message.finish();
    ASSERT_NE(size, 0U);
    FrameReader frames(base::Bytes(buffer, size));
    base::Bytes payload;
    ASSERT_EQ(frames.next(&payload), FrameStatus::kFrame);
    pb::NetworkMessage theirs;
    ASSERT_TRUE(theirs.ParseFromArray(payload.data(), static_cast<int>(payload.size())));
    ASSERT_EQ(theirs.sequence(), head.sequence);
    ASSERT_EQ(theirs.timestamp(), head.timestamp);
    ASSERT_EQ(theirs.ack(), head.ack);
    ASSERT_EQ(theirs.session_id(), session);
    ASSERT_EQ(theirs.requires_ack(), head.requires_ack);
    ASSERT_EQ(theirs.type(), pb::TIME_SYNC);
    pb::TimeSync inner;
    ASSERT_TRUE(inner.ParseFromString(theirs.payload()));
    ASSERT_EQ(inner.server_time(), sync.server_time);
    ASSERT_EQ(inner.server_tick(), sync.server_tick);
    ASSERT_EQ(frames.next(&payload), FrameStatus::kEnd);
  }
}

template <class W, class P>
void expect_both(bool accepted, std::string_view bytes) {
  W ours;
  P theirs;
  EXPECT_EQ(decode(base::as_bytes(bytes), &ours), accepted) << hex(std::string(bytes));
  EXPECT_EQ(theirs.ParseFromString(std::string(bytes)), accepted) << hex(std::string(bytes));
}

// Each was decided differently from libprotobuf once.
TEST(ParityCases, DecideAsLibprotobufDoes) {
  using namespace std::string_view_literals;
  expect_both<TimeSync, pb::TimeSync>(true, "\x90\x80\x80\x80\x00\x05"sv);  // tag of 5 bytes
  expect_both<TimeSync, pb::TimeSync>(false, "\x90\x80\x80\x80\x80\x00\x05"sv);
  expect_both<TimeSync, pb::TimeSync>(false, "\x90\x80\x80\x80\x80\x80\x80\x80\x80\x00\x05"sv);
  expect_both<Disconnect, pb::Disconnect>(true, "\x12\x80\x80\x80\x80\x00"sv);  // length of 5
  expect_both<Disconnect, pb::Disconnect>(false, "\x12\x80\x80\x80\x80\x80\x00"sv);
  expect_both<ClientHello, pb::ClientHello>(true, "\x22\x02\xc8\x01"sv);  // compression 200
  expect_both<ClientHello, pb::ClientHello>(false, "\x22\x01\x80"sv);
  expect_both<ConnectionEstablished, pb::ConnectionEstablished>(false, "\x2a\x01\xff"sv);
  expect_both<ConnectionEstablished, pb::ConnectionEstablished>(false, "\x2a\x03\x0a\x01\xff"sv);
  expect_both<AuthenticationResult, pb::AuthenticationResult>(false, "\x2a\x01\x61\x2a\x01\xff"sv);
}

TEST(MessageTypes, TheTableIsTheSchemasEnum) {
  std::map<int, std::string> ours;
#define X(id, number, name) ours[number] = name;
  TIDEGATE_MESSAGE_TYPES(X)
#undef X
  const auto* schema = pb::MessageType_descriptor();
  EXPECT_EQ(static_cast<int>(ours.size()) + 1,
            schema->value_count());  // and the unspecified 0
  for (const auto& [number, name] : ours) {
    const auto* value = schema->FindValueByNumber(number);
    ASSERT_NE(value, nullptr) << name;
    EXPECT_EQ(value->name(), name);
    EXPECT_STREQ(name_of_type(static_cast<uint32_t>(number)), name.c_str());
  }
  EXPECT_EQ(name_of_type(0), nullptr);
  EXPECT_EQ(name_of_type(99), nullptr);
  EXPECT_EQ(name_of_type(UINT32_MAX), nullptr);
}

}  // namespace
}  // namespace tidegate::wire
