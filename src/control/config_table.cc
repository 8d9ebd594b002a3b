// SPDX-License-Identifier: Apache-2.0
#include "control/config_table.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>

#include "base/ip.h"
#include "control/json_writer.h"

namespace tidegate::control {
namespace {

#define FIELD(path) [](Config& c) -> void* { return &c.path; }
constexpr double kMebi = 1024.0 * 1024.0;
constexpr double kDay = 86400;

const KeySpec kKeys[] = {
    {"listen.websocket", KeyType::kAddress, 0, 0, "", "where players connect",
     FIELD(listen.websocket)},
    {"listen.tls", KeyType::kAddress, 0, 0, "",
     "where players connect by wss; needs tls.certificates; \"\" for none", FIELD(listen.tls)},
    {"listen.deflate", KeyType::kFlag, 0, 1, "",
     "speak permessage-deflate with clients that offer it", FIELD(listen.deflate)},
    {"listen.proxy_protocol", KeyType::kText, 0, 16, "",
     "off, or required: each connection begins with a PROXY v2 header, from listen.trusted only",
     FIELD(listen.proxy_protocol)},
    {"listen.trusted", KeyType::kNetworks, 0, 64, "",
     "proxies whose word about a client's address is taken, as in [\"10.0.0.0/8\"]",
     FIELD(listen.trusted)},
    {"listen.forwarded", KeyType::kText, 0, 16, "",
     "header they name the client in: x-forwarded-for, forwarded or off", FIELD(listen.forwarded)},
    {"listen.origins", KeyType::kTexts, 0, 64, "",
     "pages that may connect, as in [\"https://game.example\", \"https://*.game.example\"]; []: "
     "all. Others get 403",
     FIELD(listen.origins)},
    {"listen.poll_hold", KeyType::kDuration, 0.1, 120, "",
     "how long a GET of HTTP long polling waits for something to say; never more than half of "
     "heartbeat.timeout",
     FIELD(listen.poll_hold)},
    {"tls.certificates", KeyType::kTexts, 0, 64, "",
     "PEM files as [\"fullchain.pem:privkey.pem\"], or one file with both; chosen by server name, "
     "the "
     "first is for all others",
     FIELD(tls.certificates)},
    {"tls.min_version", KeyType::kText, 0, 3, "", "1.2 or 1.3", FIELD(tls.min_version)},
    {"tls.handshake_budget", KeyType::kDuration, 0.0001, 1, "",
     "busy time of a shard's turn for TLS handshakes; what does not fit waits in order",
     FIELD(tls.handshake_budget)},
    {"tls.ticket_rotation", KeyType::kDuration, 0, 7 * kDay, "",
     "how long a key seals session tickets, and how long a ticket is good; 0s: no tickets",
     FIELD(tls.ticket_rotation)},
    {"admin.listen", KeyType::kAddress, 0, 0, "", "admin HTTP: health, metrics, API; \"\" for none",
     FIELD(admin.listen)},
    {"admin.token", KeyType::kSecret, 0, 0, "",
     "bearer token of the admin API; needed when it listens beyond this machine",
     FIELD(admin.token)},
    {"admin.live_page", KeyType::kFlag, 0, 1, "",
     "serve the live page at /, to this machine only; with admin.token it gives itself a player",
     FIELD(admin.live_page)},
    {"shards.count", KeyType::kCount, 0, kShardsMax, "",
     "threads that serve players; 0: one for each CPU", FIELD(shards.count)},
    {"shards.cpus", KeyType::kCpus, 0, 1023, "",
     "CPUs the shards are pinned to, in order; []: those the process may use", FIELD(shards.cpus)},
    {"io.backend", KeyType::kText, 0, 16, "",
     "auto: io_uring, or epoll where the machine refuses it; io_uring; epoll", FIELD(io.backend)},
    {"security.seccomp", KeyType::kText, 0, 8, "",
     "once it serves, system calls that it does not need: off: are left to the kernel; refuse: "
     "fail "
     "with EPERM; kill: end the process",
     FIELD(security.seccomp)},
    {"auth.hs256_secret", KeyType::kSecret, 0, 0, "", "HS256 secret of at least 32 bytes",
     FIELD(auth.hs256_secret)},
    {"auth.hs256_secret_file", KeyType::kPath, 0, 0, "", "file with the HS256 secret",
     FIELD(auth.hs256_secret_file)},
    {"auth.public_key_file", KeyType::kPath, 0, 0, "",
     "PEM file of public keys: RS256, ES256, EdDSA", FIELD(auth.public_key_file)},
    {"auth.jwks_file", KeyType::kPath, 0, 0, "", "file with a JWK set", FIELD(auth.jwks_file)},
    {"auth.jwks_url", KeyType::kText, 0, 1024, "",
     "https:// address of a JWK set; fetched at the start and again, keys known so far stay "
     "meanwhile",
     FIELD(auth.jwks_url)},
    {"auth.jwks_interval", KeyType::kDuration, 1, 1 * kDay, "",
     "between two fetches; a token with an unknown key causes one sooner, each 10 s at most",
     FIELD(auth.jwks_interval)},
    {"auth.jwks_cache_file", KeyType::kPath, 0, 0, "",
     "where the last good set is kept for a start while the address does not answer; \"\": nowhere",
     FIELD(auth.jwks_cache_file)},
    {"auth.jwks_ca_file", KeyType::kPath, 0, 0, "",
     "PEM file of authorities to check the address's certificate with; \"\": those of the system",
     FIELD(auth.jwks_ca_file)},
    {"auth.issuer", KeyType::kText, 0, 256, "", "iss that tokens must have; \"\": any",
     FIELD(auth.issuer)},
    {"auth.audience", KeyType::kText, 0, 256, "", "aud that tokens must contain; \"\": any",
     FIELD(auth.audience)},
    {"auth.leeway", KeyType::kDuration, 0, 300, "", "how far clocks may differ",
     FIELD(auth.leeway)},
    {"auth.expiry_required", KeyType::kFlag, 0, 1, "", "refuse tokens without exp",
     FIELD(auth.expiry_required)},
    {"auth.grants", KeyType::kTexts, 0, 64, "",
     "permissions by other claims than permissions and scope: \"CLAIM=VALUE: PERMISSION ...\", "
     "with "
     "dots in CLAIM for claims inside of claims",
     FIELD(auth.grants)},
    {"auth.close_at_expiry", KeyType::kFlag, 0, 1, "",
     "close a connection with 1008 when its token expires", FIELD(auth.close_at_expiry)},
    {"auth.expiry_warning", KeyType::kDuration, 0, 3600, "",
     "how long before that the client is told by ERROR 4013", FIELD(auth.expiry_warning)},
    {"limits.connections", KeyType::kCount, 1, 1'000'000, "", "more are answered with 429",
     FIELD(limits.connections)},
    {"limits.message_bytes", KeyType::kSize, 1024, 1 * kMebi, "", "larger messages close with 1009",
     FIELD(limits.message_bytes)},
    {"limits.head_bytes", KeyType::kSize, 512, 64 * 1024, "",
     "larger request heads are answered with 431", FIELD(limits.head_bytes)},
    {"limits.backlog_bytes", KeyType::kSize, 16 * 1024, 16 * kMebi, "",
     "what may wait for a slow reader before it is cut; a client's first image of a crowd may be "
     "more",
     FIELD(limits.backlog_bytes)},
    {"limits.messages_per_second", KeyType::kCount, 1, 1'000'000, "",
     "of one connection; more are answered with ERROR 4006", FIELD(limits.messages_per_second)},
    {"limits.messages_burst", KeyType::kCount, 1, 4'000'000, "",
     "messages at once before the rate applies", FIELD(limits.messages_burst)},
    {"limits.violations_per_minute", KeyType::kCount, 1, 1'000'000, "",
     "rejected messages before the connection closes with 1008",
     FIELD(limits.violations_per_minute)},
    {"limits.handshake_timeout", KeyType::kDuration, 0.1, 300, "",
     "for the whole upgrade; then 408", FIELD(limits.handshake_timeout)},
    {"limits.message_timeout", KeyType::kDuration, 1, 3600, "",
     "from the first byte of a message to its last; then 1008. Looked at with the heartbeat",
     FIELD(limits.message_timeout)},
    {"limits.stall_timeout", KeyType::kDuration, 1, 3600, "",
     "how long a peer may take nothing of what waits for it. Looked at with the heartbeat; for "
     "players in the world budget.stall_timeout comes first",
     FIELD(limits.stall_timeout)},
    {"limits.extra_frames_per_second", KeyType::kCount, 100, 10'000'000, "",
     "pings, pongs and unfinished fragments of one connection; more close with 1008",
     FIELD(limits.extra_frames_per_second)},
    {"limits.backlog_memory", KeyType::kSize, 1 * kMebi, 2048 * kMebi, "",
     "of each shard, for what waits for all its slow readers together; the one for whom it does "
     "not "
     "suffice is cut",
     FIELD(limits.backlog_memory)},
    {"limits.big_messages", KeyType::kCount, 1, 65'536, "",
     "of each shard: messages larger than its head_bytes that may be arriving at once; one more "
     "closes with 1013",
     FIELD(limits.big_messages)},
    {"limits.poll_sessions", KeyType::kCount, 0, 65'536, "",
     "of each shard: players by HTTP long polling, whose sockets limits.connections counts; one "
     "more is answered with 429; 0: no long polling",
     FIELD(limits.poll_sessions)},
    {"limits.memory", KeyType::kSize, 0, 4095 * kMebi, "",
     "what all buffers of all shards may hold together; from 3/4 of it on new connections get 503, "
     "then unfinished messages close with 1013, then slow readers are cut; 0: no sum",
     FIELD(limits.memory)},
    {"limits.connections_per_ip", KeyType::kCount, 0, 1'000'000, "",
     "of one IPv4 or IPv6 address; more are answered with 429; 0: no limit",
     FIELD(limits.connections_per_ip)},
    {"limits.connections_per_network", KeyType::kCount, 0, 1'000'000, "",
     "of one IPv6 /64; more are answered with 429; 0: no limit",
     FIELD(limits.connections_per_network)},
    {"limits.connections_per_user", KeyType::kCount, 0, 1'000'000, "",
     "of one user of tokens (sub); more are answered with 429; 0: no limit",
     FIELD(limits.connections_per_user)},
    {"limits.connects_per_ip", KeyType::kCount, 0, 1'000'000, "",
     "new connections a second of one IPv4 address or IPv6 /64; more are answered with 429; 0: no "
     "limit",
     FIELD(limits.connects_per_ip)},
    {"limits.connects_per_ip_burst", KeyType::kCount, 1, 1'000'000, "",
     "so many at once before that rate applies", FIELD(limits.connects_per_ip_burst)},
    {"limits.connects", KeyType::kCount, 0, 1'000'000, "",
     "new connections a second in all; more are answered with 503 and a place in line; 0: no limit",
     FIELD(limits.connects)},
    {"limits.connects_burst", KeyType::kCount, 1, 1'000'000, "",
     "so many at once before that rate applies", FIELD(limits.connects_burst)},
    {"limits.exempt", KeyType::kNetworks, 0, 64, "",
     "clients that these six do not count, as in [\"10.0.0.0/8\"]", FIELD(limits.exempt)},
    {"drain.grace", KeyType::kDuration, 0, 3600, "",
     "at SIGTERM: how long players play on while /readyz says 503 and upgrades are refused",
     FIELD(drain.grace)},
    {"drain.spread", KeyType::kDuration, 0, 3600, "",
     "then they are told DISCONNECT and closed with 1001, evenly over this time",
     FIELD(drain.spread)},
    {"drain.deadline", KeyType::kDuration, 0, 7200, "",
     "from the signal on: who is still there is told and closed at once", FIELD(drain.deadline)},
    {"drain.retry_after", KeyType::kDuration, 0, 600, "",
     "retry_after_ms of DISCONNECT is a random time up to this", FIELD(drain.retry_after)},
    {"drain.reconnect_url", KeyType::kText, 0, 256, "",
     "reconnect_url of DISCONNECT: where players are to go; \"\": not said",
     FIELD(drain.reconnect_url)},
    {"log.level", KeyType::kText, 0, 8, "", "debug, info, warning or error", FIELD(log.level)},
    {"deflate.window_bits", KeyType::kCount, 8, 15, "",
     "largest window the server compresses with: 2^n bytes", FIELD(deflate.window_bits)},
    {"deflate.client_window_bits", KeyType::kCount, 8, 15, "",
     "largest window of clients; below 15, clients that cannot be told so are declined",
     FIELD(deflate.client_window_bits)},
    {"deflate.memory_level", KeyType::kCount, 1, 9, "", "zlib's memLevel for compressing",
     FIELD(deflate.memory_level)},
    {"deflate.level", KeyType::kCount, 1, 9, "", "zlib's level: 1 quick, 9 small",
     FIELD(deflate.level)},
    {"deflate.min_bytes", KeyType::kCount, 1, 1 * kMebi, "",
     "smaller messages are sent uncompressed", FIELD(deflate.min_bytes)},
    {"deflate.server_context_takeover", KeyType::kFlag, 0, 1, "",
     "compress each connection's messages with its own history, instead of once for all",
     FIELD(deflate.server_context_takeover)},
    {"deflate.client_context_takeover", KeyType::kFlag, 0, 1, "",
     "let clients compress with the history of their messages",
     FIELD(deflate.client_context_takeover)},
    {"deflate.contexts", KeyType::kCount, 1, 1'000'000, "",
     "connections of a shard with context takeover; beyond, the extension is declined",
     FIELD(deflate.contexts)},
    {"deflate.turn_bytes", KeyType::kSize, 64 * 1024, 256 * kMebi, "",
     "inflated by a shard in one turn before the rest waits for the next",
     FIELD(deflate.turn_bytes)},
    {"heartbeat.interval", KeyType::kDuration, 0.1, 3600, "", "silence after which a ping is sent",
     FIELD(heartbeat.interval)},
    {"heartbeat.timeout", KeyType::kDuration, 0.2, 7200, "",
     "silence after which a connection is closed with 1008", FIELD(heartbeat.timeout)},
    {"world.zone", KeyType::kText, 0, 64, "", "zone_id in WORLD_STATE and ZONE_UPDATE",
     FIELD(world.zone)},
    {"world.tick_rate", KeyType::kCount, 1, 240, "Hz", "ticks a second", FIELD(world.tick_rate)},
    {"world.cell_size", KeyType::kNumber, 2, 81.92, "m", "edge of a grid cell",
     FIELD(world.cell_size)},
    {"world.view_distance", KeyType::kNumber, 1, 1000, "m",
     "how far players see; at most 3.2 cells", FIELD(world.view_distance)},
    {"world.max_speed", KeyType::kNumber, 0.1, 300, "m/s", "faster moves are refused with 4010",
     FIELD(world.max_speed)},
    {"world.steer_speed", KeyType::kNumber, 0.1, 300, "m/s",
     "speed of players that move by PLAYER_STEER; at most world.max_speed counts",
     FIELD(world.steer_speed)},
    {"world.steer_delay", KeyType::kDuration, 0, 2, "",
     "how long PLAYER_STEER's samples may wait at the most, so that a network that bunches them "
     "does not show",
     FIELD(world.steer_delay)},
    {"world.claims", KeyType::kFlag, 0, 1, "",
     "whether players may claim where they are (PLAYER_MOVE); false: they move by PLAYER_STEER "
     "only",
     FIELD(world.claims)},
    {"world.bounds_min", KeyType::kVector, -500'000, 500'000, "m",
     "corner of the world: x, y (up), z", FIELD(world.bounds_min)},
    {"world.bounds_max", KeyType::kVector, -500'000, 500'000, "m", "opposite corner",
     FIELD(world.bounds_max)},
    {"world.spawn", KeyType::kVector, -500'000, 500'000, "m", "where new players stand",
     FIELD(world.spawn)},
    {"world.spawn_radius", KeyType::kNumber, 0, 100'000, "m",
     "new players are spread over a circle of this radius", FIELD(world.spawn_radius)},
    {"world.linger", KeyType::kDuration, 0, 1 * kDay, "",
     "how long an entity stays without its connection", FIELD(world.linger)},
    {"world.npcs", KeyType::kCount, 0, 1'000'000, "",
     "room for NPCs and objects on each shard, when a tick hook makes them", FIELD(world.npcs)},
    {"interest.full_rate_distance", KeyType::kNumber, 0, 1000, "m",
     "cells as near as that are sent in every tick with a change",
     FIELD(interest.full_rate_distance)},
    {"interest.half_rate_distance", KeyType::kNumber, 0, 1000, "m",
     "cells as near as that are sent at half the tick rate", FIELD(interest.half_rate_distance)},
    {"interest.quarter_rate_distance", KeyType::kNumber, 0, 1000, "m",
     "cells as near as that are sent at a quarter of the tick rate, those beyond at an eighth",
     FIELD(interest.quarter_rate_distance)},
    {"interest.crowd_entities", KeyType::kCount, 0, 1'000'000, "",
     "with more entities in view the farthest cells are left off and the client is told how far it "
     "sees; 0 for never",
     FIELD(interest.crowd_entities)},
    {"interest.crowd_view_distance", KeyType::kNumber, 0, 1000, "m",
     "cells as near as that are never left off for a crowd", FIELD(interest.crowd_view_distance)},
    {"interest.adaptive", KeyType::kFlag, 0, 1, "",
     "lower rates for all clients of a shard while its ticks take too long",
     FIELD(interest.adaptive)},
    {"balance.on", KeyType::kFlag, 0, 1, "",
     "cells change their shard by load, while players stay connected", FIELD(balance.on)},
    {"balance.interval", KeyType::kDuration, 0.05, 3600, "",
     "between two looks at the load of the shards", FIELD(balance.interval)},
    {"balance.imbalance", KeyType::kNumber, 0.05, 1, "",
     "cells move when the idlest shard has less work than the busiest by that part",
     FIELD(balance.imbalance)},
    {"balance.min_work", KeyType::kDuration, 0, 1, "",
     "work of a tick; a shard that is less busy gives no cells away", FIELD(balance.min_work)},
    {"balance.patience", KeyType::kCount, 1, 1000, "",
     "looks in a row that must find it so before cells move", FIELD(balance.patience)},
    {"balance.moves", KeyType::kCount, 1, 16, "", "cells that move at one time",
     FIELD(balance.moves)},
    {"balance.hold", KeyType::kDuration, 0, 1 * kDay, "", "how long a cell that moved stays",
     FIELD(balance.hold)},
    {"balance.cells", KeyType::kCount, 1, 65'536, "",
     "cells that may belong to another shard than the fixed rule says", FIELD(balance.cells)},
    {"budget.bytes_per_second", KeyType::kSize, 2048, 100 * kMebi, "",
     "what a client is sent in a second that asks for nothing else",
     FIELD(budget.bytes_per_second)},
    {"budget.bytes_per_second_max", KeyType::kSize, 2048, 100 * kMebi, "",
     "the most that a client gets with max_bytes_per_second in CLIENT_HELLO",
     FIELD(budget.bytes_per_second_max)},
    {"budget.stall_timeout", KeyType::kDuration, 2, 3600, "",
     "a reader that takes nothing of what waits for it for so long is closed with 1013",
     FIELD(budget.stall_timeout)},
    {"history.memory", KeyType::kSize, 0, 512 * kMebi, "",
     "for past states of entities, all shards together; 0 for none", FIELD(history.memory)},
    {"history.duration", KeyType::kDuration, 0, 60, "",
     "how far back they reach, if the memory allows; 17 bytes an entity and tick; 0 for none",
     FIELD(history.duration)},
    {"topics.per_connection", KeyType::kCount, 1, 10'000, "",
     "subscriptions of one connection; more are ERROR 4012", FIELD(topics.per_connection)},
    {"topics.count", KeyType::kCount, 1, 1'000'000, "",
     "topics that one shard is the home of; the one longest without subscribers makes room",
     FIELD(topics.count)},
    {"topics.subscriptions", KeyType::kCount, 1, 10'000'000, "",
     "subscriptions of one shard's connections together", FIELD(topics.subscriptions)},
    {"topics.name_bytes", KeyType::kCount, 80, 256, "", "longer names are ERROR 4007",
     FIELD(topics.name_bytes)},
    {"topics.payload_bytes", KeyType::kSize, 64, 48 * 1024, "",
     "more data in a PUBLISH is ERROR 4007", FIELD(topics.payload_bytes)},
    {"topics.history_messages", KeyType::kCount, 0, 1'000'000, "",
     "messages of a topic kept for replay_from; 0 for none", FIELD(topics.history_messages)},
    {"topics.history_bytes", KeyType::kSize, 0, 256 * kMebi, "", "the same, in bytes of a topic",
     FIELD(topics.history_bytes)},
    {"topics.history_age", KeyType::kDuration, 1, 30 * kDay, "", "the same, by age",
     FIELD(topics.history_age)},
    {"topics.history_memory", KeyType::kSize, 0, 2048 * kMebi, "",
     "for the histories of all topics, all shards together", FIELD(topics.history_memory)},
    {"topics.durable", KeyType::kText, 0, 1024, "",
     "patterns of topics, separated by spaces, whose EVENTs ask for acknowledgement always",
     FIELD(topics.durable)},
    {"presence.users", KeyType::kCount, 1, 10'000'000, "",
     "users whose presence one shard keeps, absent and watched ones included",
     FIELD(presence.users)},
    {"presence.watched", KeyType::kCount, 1, 10'000, "",
     "users that one connection may watch; more are ERROR 4012", FIELD(presence.watched)},
    {"presence.watches", KeyType::kCount, 1, 10'000'000, "",
     "the same of one shard's connections together", FIELD(presence.watches)},
    {"presence.bytes_per_second", KeyType::kCount, 512, 1'000'000, "",
     "of PRESENCE_UPDATEs to one connection", FIELD(presence.bytes_per_second)},
    {"presence.offline_delay", KeyType::kDuration, 0, 3600, "",
     "how long a user is without a connection before others are told; who comes back was not gone",
     FIELD(presence.offline_delay)},
    {"presence.region", KeyType::kText, 0, 64, "", "region in PRESENCE_UPDATE",
     FIELD(presence.region)},
    {"compression.methods", KeyType::kText, 0, 32, "",
     "how payloads of messages are compressed, in order of preference, for clients that list it in "
     "CLIENT_HELLO; empty: not at all",
     FIELD(compression.methods)},
    {"compression.min_bytes", KeyType::kSize, 64, 64 * 1024, "",
     "smaller payloads are sent as they are", FIELD(compression.min_bytes)},
    {"compression.level", KeyType::kCount, 1, 9, "", "of zlib and zstd", FIELD(compression.level)},
    {"compression.dictionary", KeyType::kText, 0, 4096, "",
     "file with a dictionary for zstd, as zstd --train makes it; for clients that have the same",
     FIELD(compression.dictionary)},
    {"groups.kinds", KeyType::kText, 0, 1024, "",
     "kinds of groups, separated by spaces, each with the members it may have; a group's name is "
     "<kind>.<name>",
     FIELD(groups.kinds)},
    {"groups.create", KeyType::kText, 0, 1024, "",
     "patterns of names, separated by spaces, that everybody may create; others need the "
     "permission group:<pattern>",
     FIELD(groups.create)},
    {"groups.focus", KeyType::kText, 0, 256, "",
     "kinds whose members follow each other at full rate wherever they are in the zone",
     FIELD(groups.focus)},
    {"groups.count", KeyType::kCount, 1, 1'000'000, "", "groups of one home shard",
     FIELD(groups.count)},
    {"groups.members", KeyType::kCount, 1, 10'000'000, "",
     "members and invitations of one home shard's groups together", FIELD(groups.members)},
    {"groups.per_user", KeyType::kCount, 1, 1'000, "",
     "groups and invitations of one user; more are ERROR 4012", FIELD(groups.per_user)},
    {"social.path", KeyType::kText, 0, 4096, "",
     "SQLite file that keeps groups and users' lists; without one they end with the process",
     FIELD(social.path)},
    {"social.users", KeyType::kCount, 1, 10'000'000, "",
     "users of one home shard with groups, friends or others on their lists", FIELD(social.users)},
    {"social.entries", KeyType::kCount, 1, 100'000'000, "",
     "entries of all these lists, of one home shard", FIELD(social.entries)},
    {"social.friends", KeyType::kCount, 0, 1'000, "", "friends of one user", FIELD(social.friends)},
    {"social.blocked", KeyType::kCount, 0, 1'000, "", "users that one user may block",
     FIELD(social.blocked)},
    {"social.shared", KeyType::kCount, 0, 1'000, "",
     "users with whom one user shares its presence, when it does not with all",
     FIELD(social.shared)},
    {"desync.directory", KeyType::kPath, 0, 0, "",
     "folder for both sides of clients' wrong checksums; \"\" for none", FIELD(desync.directory)},
    {"desync.keep", KeyType::kCount, 1, 10'000, "", "newest files that stay", FIELD(desync.keep)},
    {"snapshots.directory", KeyType::kPath, 0, 0, "",
     "folder of world snapshots, read at start; \"\" for none", FIELD(snapshots.directory)},
    {"snapshots.interval", KeyType::kDuration, 0.2, 1 * kDay, "",
     "between two snapshots: what a crash may cost", FIELD(snapshots.interval)},
    {"snapshots.keep", KeyType::kCount, 1, 1000, "", "newest files that stay",
     FIELD(snapshots.keep)},
    {"session.secret", KeyType::kSecret, 0, 0, "",
     "key of resume tokens, at least 32 bytes, the same on every gateway; none here or in "
     "session.secret_file: a random one, and tokens end with the process",
     FIELD(session.secret)},
    {"session.secret_file", KeyType::kPath, 0, 0, "", "file with that key",
     FIELD(session.secret_file)},
    {"session.resume_window", KeyType::kDuration, 0, 30 * kDay, "",
     "how long a session waits for its client to come back", FIELD(session.resume_window)},
    {"session.token_lifetime", KeyType::kDuration, 1, 365 * kDay, "",
     "how long a resume token is good, from the login that gave it", FIELD(session.token_lifetime)},
    {"session.second_login", KeyType::kText, 0, 16, "",
     "another login of a player that is connected: \"replace\" ends the first connection (4015), "
     "\"refuse\" answers the second with 409. A resume always replaces",
     FIELD(session.second_login)},
    {"session.store", KeyType::kText, 0, 16, "",
     "\"embedded\": sessions are kept in session.path and come back after a restart; \"redis\": in "
     "the Redis of section redis, for all gateways that use it; \"memory\": they end with the "
     "process",
     FIELD(session.store)},
    {"session.path", KeyType::kPath, 0, 0, "",
     "file of the embedded store, with a write-ahead log beside it; \"\": as with \"memory\"",
     FIELD(session.path)},
    {"session.limit", KeyType::kCount, 0, 4'000'000, "",
     "sessions kept, with and without a connection, before the one left longest ago is given up; "
     "0: twice limits.connections",
     FIELD(session.limit)},
    {"session.replay_messages", KeyType::kCount, 1, 1'000'000, "",
     "messages that one session may leave unacknowledged before it ends",
     FIELD(session.replay_messages)},
    {"session.replay_bytes", KeyType::kSize, 16 * 1024, 64 * kMebi, "",
     "payload bytes that one session may leave unacknowledged before it ends",
     FIELD(session.replay_bytes)},
    {"session.replay_memory", KeyType::kSize, 1 * kMebi, 1024 * kMebi, "",
     "for unacknowledged messages of all sessions and shards together",
     FIELD(session.replay_memory)},
    {"redis.addresses", KeyType::kTexts, 0, 64, "",
     "host:port of the Redis that session.store = \"redis\" means; of its Sentinels, or of some "
     "nodes of a Cluster",
     FIELD(redis.addresses)},
    {"redis.sentinel_master", KeyType::kText, 0, 128, "",
     "name of the master that the Sentinels at redis.addresses tell of; \"\": they are no "
     "Sentinels",
     FIELD(redis.sentinel_master)},
    {"redis.cluster", KeyType::kFlag, 0, 0, "", "redis.addresses are nodes of a Redis Cluster",
     FIELD(redis.cluster)},
    {"redis.user", KeyType::kText, 0, 128, "", "user of the password; \"\": the default one",
     FIELD(redis.user)},
    {"redis.password", KeyType::kSecret, 0, 0, "", "\"\": none is sent", FIELD(redis.password)},
    {"redis.password_file", KeyType::kPath, 0, 0, "", "file with the password",
     FIELD(redis.password_file)},
    {"redis.database", KeyType::kCount, 0, 65'535, "", "number of the database; not in a Cluster",
     FIELD(redis.database)},
    {"redis.prefix", KeyType::kText, 0, 64, "",
     "in front of all keys; gateways that share sessions have the same", FIELD(redis.prefix)},
    {"redis.timeout", KeyType::kDuration, 0.01, 60, "",
     "for a connection to Redis, and for an answer; after it Redis counts as away",
     FIELD(redis.timeout)},
    {"handlers.time_limit", KeyType::kDuration, 0.001, 3600, "",
     "a handler's call that took longer is answered with ERROR 4008", FIELD(handlers.time_limit)},
    {"handlers.budget", KeyType::kDuration, 0.001, 3600, "",
     "a call of a handler, hook or state provider that took longer is counted",
     FIELD(handlers.budget)},
    {"handlers.tick_budget", KeyType::kDuration, 0.0001, 3600, "",
     "a call of the tick hook that took longer is counted", FIELD(handlers.tick_budget)},
};
#undef FIELD

template <class T>
T& at(const KeySpec& key, Config& config) {
  return *static_cast<T*>(key.field(config));
}

std::string trimmed(double v) {
  char text[32];
  std::snprintf(text, sizeof text, "%.9g", v);
  return text;
}

std::string range_text(const KeySpec& key, const char* what) {
  return std::string("expected ") + what + " from " + trimmed(key.low) + " to " + trimmed(key.high);
}

bool split_number(std::string_view text, double* number, std::string_view* unit) {
  const char* const end = text.data() + text.size();
  const auto r = std::from_chars(text.data(), end, *number);
  if (r.ec != std::errc() || !std::isfinite(*number)) return false;
  *unit = {r.ptr, static_cast<size_t>(end - r.ptr)};
  return true;
}

// "10s", "250ms", "1.5h". A bare number is refused: nobody knows what it counts.
bool parse_duration(std::string_view text, double* seconds) {
  std::string_view unit;
  if (!split_number(text, seconds, &unit)) return false;
  const double scale = unit == "ms"  ? 0.001
                       : unit == "s" ? 1
                       : unit == "m" ? 60
                       : unit == "h" ? 3600
                       : unit == "d" ? kDay
                                     : 0;
  *seconds *= scale;
  return scale != 0;
}

// "64KiB", "1MB"; a bare number is bytes.
bool parse_size(std::string_view text, double* bytes) {
  std::string_view unit;
  if (!split_number(text, bytes, &unit)) return false;
  const double scale = unit.empty() || unit == "B"    ? 1
                       : unit == "KiB"                ? 1024
                       : unit == "MiB"                ? kMebi
                       : unit == "GiB"                ? kMebi * 1024
                       : unit == "kB" || unit == "KB" ? 1e3
                       : unit == "MB"                 ? 1e6
                       : unit == "GB"                 ? 1e9
                                                      : 0;
  *bytes *= scale;
  return scale != 0;
}

std::string duration_text(base::Duration d) {
  if (d.ns % 1'000'000'000 != 0) return trimmed(static_cast<double>(d.ns) / 1e6) + "ms";
  return std::to_string(d.ns / 1'000'000'000) + "s";
}

std::string size_text(uint32_t bytes) {
  if (bytes != 0 && bytes % (1 << 20) == 0) return std::to_string(bytes >> 20) + "MiB";
  if (bytes != 0 && bytes % 1024 == 0) return std::to_string(bytes >> 10) + "KiB";
  return std::to_string(bytes);
}

// "[1, 2, 3]" or "1,2,3".
bool parse_list(std::string_view text, std::vector<double>* out) {
  if (!text.empty() && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    double v = 0;
    std::string_view unit;
    if (!split_number(word, &v, &unit) || !unit.empty())
      return word.empty() && out->empty() && comma == std::string_view::npos;
    out->push_back(v);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return true;
}

// "[\"a\", \"b\"]" as in the file, or "a, b" as in a flag. None holds spaces, quotes or commas.
bool parse_texts(std::string_view text, std::vector<std::string>* out) {
  if (!text.empty() && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
  }
  while (!text.empty()) {
    const size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    while (!word.empty() && word.front() == ' ') word.remove_prefix(1);
    while (!word.empty() && word.back() == ' ') word.remove_suffix(1);
    if (word.size() >= 2 && word.front() == '"' && word.back() == '"') {
      word = word.substr(1, word.size() - 2);
    }
    if (word.empty() || word.size() > 1024 || !is_plain_text(word) ||
        word.find_first_of(" \"\\") != std::string_view::npos) {
      return false;
    }
    out->emplace_back(word);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return false;
  }
  return true;
}

size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

}  // namespace

bool parse_duration_text(std::string_view text, double* seconds) {
  return parse_duration(text, seconds);
}

std::span<const KeySpec> config_keys() { return kKeys; }

int find_key(std::string_view name) {
  for (size_t i = 0; i < std::size(kKeys); ++i) {
    if (name == kKeys[i].name) return static_cast<int>(i);
  }
  return -1;
}

const char* nearest_key(std::string_view name) {
  const char* best = nullptr;
  size_t best_distance = std::max<size_t>(3, name.size() / 3) + 1;
  for (const KeySpec& key : kKeys) {
    const std::string_view known = key.name;
    size_t d = distance(name, known);
    // Right key in the wrong section, or without one.
    const std::string_view tail =
        name.substr(name.find('.') == std::string_view::npos ? 0 : name.find('.') + 1);
    if (tail == known.substr(known.find('.') + 1)) d = 1;
    if (d < best_distance) {
      best_distance = d;
      best = key.name;
    }
  }
  return best;
}

const char* name_of(KeyType type) {
  switch (type) {
    case KeyType::kText:
      return "text";
    case KeyType::kSecret:
      return "secret";
    case KeyType::kPath:
      return "path";
    case KeyType::kAddress:
      return "address";
    case KeyType::kCount:
      return "whole number";
    case KeyType::kSize:
      return "size";
    case KeyType::kDuration:
      return "duration";
    case KeyType::kNumber:
      return "number";
    case KeyType::kFlag:
      return "true or false";
    case KeyType::kCpus:
      return "list of CPUs";
    case KeyType::kVector:
      return "list of 3 numbers";
    case KeyType::kTexts:
      return "list of texts";
    case KeyType::kNetworks:
      return "list of networks";
  }
  return "?";
}

std::string value_text(const KeySpec& key, const Config& constant) {
  Config& c = const_cast<Config&>(constant);  // the table's fields serve reading and writing
  switch (key.type) {
    case KeyType::kText:
    case KeyType::kPath: {
      std::string out;  // TOML's basic strings know the escapes of JSON
      append_json_string(out, at<std::string>(key, c));
      return out;
    }
    case KeyType::kSecret:
      return at<std::string>(key, c).empty() ? "\"\"" : "\"(set)\"";
    case KeyType::kAddress:
      return '"' + at<Address>(key, c).text() + '"';
    case KeyType::kCount:
      return std::to_string(at<uint32_t>(key, c));
    case KeyType::kSize:
      return '"' + size_text(at<uint32_t>(key, c)) + '"';
    case KeyType::kDuration:
      return '"' + duration_text(at<base::Duration>(key, c)) + '"';
    case KeyType::kNumber:
      return trimmed(static_cast<double>(at<float>(key, c)));
    case KeyType::kFlag:
      return at<bool>(key, c) ? "true" : "false";
    case KeyType::kCpus: {
      std::string out = "[";
      for (uint32_t cpu : at<std::vector<uint32_t>>(key, c)) {
        if (out.size() > 1) out += ", ";
        out += std::to_string(cpu);
      }
      return out + ']';
    }
    case KeyType::kTexts:
    case KeyType::kNetworks: {
      std::string out = "[";
      for (const std::string& item : at<std::vector<std::string>>(key, c)) {
        if (out.size() > 1) out += ", ";
        append_json_string(out, item);
      }
      return out + ']';
    }
    case KeyType::kVector: {
      const Vector3& v = at<Vector3>(key, c);
      return '[' + trimmed(static_cast<double>(v[0])) + ", " + trimmed(static_cast<double>(v[1])) +
             ", " + trimmed(static_cast<double>(v[2])) + ']';
    }
  }
  return {};
}

std::string parse_value(const KeySpec& key, std::string_view text, Config* config) {
  double v = 0;
  std::string_view unit;
  const auto in_range = [&] { return v >= key.low && v <= key.high; };
  switch (key.type) {
    case KeyType::kText:
      if (static_cast<double>(text.size()) > key.high) {
        return "expected at most " + trimmed(key.high) + " bytes of text";
      }
      [[fallthrough]];
    case KeyType::kPath:
      if (!is_plain_text(text)) return "expected UTF-8 text without control characters";
      [[fallthrough]];
    case KeyType::kSecret:
      at<std::string>(key, *config) = text;
      return {};
    case KeyType::kAddress: {
      Address a;
      if (!text.empty() || (std::string_view(key.name) != "admin.listen" &&
                            std::string_view(key.name) != "listen.tls")) {
        if (const char* wrong = parse_address(text, &a)) return wrong;
      }
      at<Address>(key, *config) = a;
      return {};
    }
    case KeyType::kCount:
      if (!split_number(text, &v, &unit) || !unit.empty() || v != std::floor(v) || !in_range()) {
        return range_text(key, "a whole number");
      }
      at<uint32_t>(key, *config) = static_cast<uint32_t>(v);
      return {};
    case KeyType::kSize:
      if (!parse_size(text, &v) || !in_range()) {
        return range_text(key, "a size such as 64KiB,") + " bytes";
      }
      at<uint32_t>(key, *config) = static_cast<uint32_t>(v);
      return {};
    case KeyType::kDuration:
      if (!parse_duration(text, &v) || !in_range()) {
        return range_text(key, "a duration such as 250ms, 10s or 5m,") + " seconds";
      }
      at<base::Duration>(key, *config) = base::nanoseconds(std::llround(v * 1e9));
      return {};
    case KeyType::kNumber:
      if (!split_number(text, &v, &unit) || !unit.empty() || !in_range()) {
        return range_text(key, "a number") + " " + key.unit;
      }
      at<float>(key, *config) = static_cast<float>(v);
      return {};
    case KeyType::kFlag:
      if (text != "true" && text != "false") return "expected true or false";
      at<bool>(key, *config) = text == "true";
      return {};
    case KeyType::kTexts:
    case KeyType::kNetworks: {
      std::vector<std::string> list;
      if (!parse_texts(text, &list)) return "expected a list of texts, as in [\"a\", \"b\"]";
      if (static_cast<double>(list.size()) > key.high) {
        return "expected at most " + trimmed(key.high) + " of them";
      }
      for (const std::string& item : list) {
        base::IpNetwork network;
        if (key.type == KeyType::kNetworks && !base::parse_network(item, &network)) {
          return item + " is not an IP address or network, as in 10.0.0.0/8 or 2001:db8::/32";
        }
      }
      at<std::vector<std::string>>(key, *config) = std::move(list);
      return {};
    }
    case KeyType::kCpus:
    case KeyType::kVector: {
      std::vector<double> list;
      const bool vector = key.type == KeyType::kVector;
      bool good = parse_list(text, &list) && (!vector || list.size() == 3);
      for (double d : list)
        good = good && d >= key.low && d <= key.high && (vector || d == std::floor(d));
      if (!good) {
        return vector ? range_text(key, "three numbers as [x, y, z],") + " m"
                      : range_text(key, "CPU numbers as [0, 1],");
      }
      if (vector) {
        for (size_t i = 0; i < 3; ++i) at<Vector3>(key, *config)[i] = static_cast<float>(list[i]);
      } else {
        at<std::vector<uint32_t>>(key, *config).assign(list.begin(), list.end());
      }
      return {};
    }
  }
  return "?";
}

}  // namespace tidegate::control
