// SPDX-License-Identifier: Apache-2.0
// The one list of metrics: code, exposition and docs are made from it.
// Thread: any. Owner: none. Limits: kFamilyValuesMax values of a labelled family.
#pragma once

#include <cstdint>

// enumerator, Prometheus name, help
#define TIDEGATE_COUNTERS(X)                                                                       \
  X(kConnectionsAccepted, "tidegate_connections_accepted_total", "Sockets accepted")               \
  X(kAcceptErrors, "tidegate_accept_errors_total",                                                 \
    "Sockets that could not be accepted: no descriptor, no memory, no place in the table")         \
  X(kReceivePauses, "tidegate_receive_pauses_total",                                               \
    "Receives that waited because all receive buffers of the shard were in use")                   \
  X(kMemoryPauses, "tidegate_memory_pauses_total",                                                 \
    "Receives and sends that the kernel had no memory for and that were tried again")              \
  X(kMemoryRefused, "tidegate_memory_refused_total", "Buffers that limits.memory did not allow")   \
  X(kQueueOverflows, "tidegate_queue_overflows_total",                                             \
    "Times that the completion queue of io_uring ran over; nothing is lost by it")                 \
  X(kBytesReceived, "tidegate_bytes_received_total", "Bytes taken from sockets")                   \
  X(kBytesSent, "tidegate_bytes_sent_total", "Bytes taken by sockets")                             \
  X(kSends, "tidegate_sends_total", "Send operations")                                             \
  X(kSendsShort, "tidegate_sends_short_total", "Sends that a socket did not take whole")           \
  X(kBacklogOverflow, "tidegate_backlog_overflow_total",                                           \
    "Connections ended because they read too slowly")                                              \
  X(kWsProtocolErrors, "tidegate_websocket_errors_total",                                          \
    "Connections ended by a WebSocket error")                                                      \
  X(kHandshakeTimeouts, "tidegate_handshake_timeouts_total", "Upgrades that took too long")        \
  X(kHeartbeatTimeouts, "tidegate_heartbeat_timeouts_total", "Connections ended as silent")        \
  X(kJsonSent, "tidegate_json_messages_total", "Text messages to JSON-RPC clients")                \
  X(kJsonBytesSent, "tidegate_json_bytes_total", "Bytes of text to JSON-RPC clients")              \
  X(kAuthRequests, "tidegate_auth_requests_total", "Tokens sent to be checked")                    \
  X(kJoinsPutOff, "tidegate_joins_put_off_total", "Players who waited in line for the world")      \
  X(kAuthAccepted, "tidegate_auth_accepted_total", "Tokens accepted")                              \
  X(kTicks, "tidegate_ticks_total", "World ticks run")                                             \
  X(kTickOverruns, "tidegate_tick_overruns_total",                                                 \
    "Ticks that began more than a period late on some shard")                                      \
  X(kInputsApplied, "tidegate_inputs_applied_total", "Moves applied to entities")                  \
  X(kInputsDropped, "tidegate_inputs_dropped_total", "Moves dropped: too many or no such entity")  \
  X(kSteerSteps, "tidegate_steer_steps_total", "Samples of PLAYER_STEER applied, one a tick")      \
  X(kSteerStarved, "tidegate_steer_starved_total",                                                 \
    "Ticks in which a player's next sample had not come yet")                                      \
  X(kSteerRefused, "tidegate_steer_refused_total",                                                 \
    "Samples of PLAYER_STEER refused: more than one a tick, for long")                             \
  X(kMovesRefusedSpeed, "tidegate_moves_refused_speed_total", "Moves refused as too fast")         \
  X(kMovesRefusedBounds, "tidegate_moves_refused_bounds_total", "Moves refused as out of bounds")  \
  X(kHandovers, "tidegate_handovers_total", "Entities taken over from another shard")              \
  X(kCellsMoved, "tidegate_cells_moved_total", "Cells given to another shard")                     \
  X(kCellEntitiesMoved, "tidegate_cell_entities_moved_total",                                      \
    "Entities taken over with their cell")                                                         \
  X(kCellsOrdered, "tidegate_cells_ordered_total",                                                 \
    "Cells that the balancer ordered to another shard")                                            \
  X(kSpawned, "tidegate_entities_spawned_total", "Entities that came into the world")              \
  X(kEntitiesGone, "tidegate_entities_gone_total", "Entities that left the world")                 \
  X(kCellFramesEncoded, "tidegate_cell_frames_encoded_total", "Cells encoded")                     \
  X(kCellBytesPacked, "tidegate_cell_bytes_packed_total", "Bytes of packed cell frames encoded")   \
  X(kCellBytesProtobuf, "tidegate_cell_bytes_protobuf_total",                                      \
    "Bytes of protobuf cell updates encoded")                                                      \
  X(kEncodesSkipped, "tidegate_cell_encodes_skipped_total",                                        \
    "Cells left for the next tick because the tick's memory was full")                             \
  X(kLayerFramesFull, "tidegate_packed_frames_full_total", "Packed frames of the full-rate chain") \
  X(kLayerFramesHalf, "tidegate_packed_frames_layer2_total", "Packed frames of layer 2")           \
  X(kLayerFramesQuarter, "tidegate_packed_frames_layer1_total", "Packed frames of layer 1")        \
  X(kLayerFramesAnchor, "tidegate_packed_frames_layer0_total", "Packed frames of layer 0")         \
  X(kLayersLeftOut, "tidegate_layers_left_out_total",                                              \
    "Frames of layers left out because the tick's memory was full")                                \
  X(kLevelsRaised, "tidegate_levels_raised_total", "Cells sent to a watcher at a higher rate")     \
  X(kLevelsLowered, "tidegate_levels_lowered_total", "Cells sent to a watcher at a lower rate")    \
  X(kFramesLeftOut, "tidegate_frames_left_out_total",                                              \
    "Cell updates that a client's budget left out")                                                \
  X(kCellsStale, "tidegate_cells_stale_total",                                                     \
    "Cells that begin again with a keyframe because the budget left a layer 0 out")                \
  X(kKeyframesPutOff, "tidegate_keyframes_put_off_total",                                          \
    "Times that a client waited for its first image of a cell, for want of time or memory")        \
  X(kRatesLowered, "tidegate_rates_lowered_total",                                                 \
    "Times that all clients of a shard went down a level because its ticks took too long")         \
  X(kCellsCut, "tidegate_cells_cut_total",                                                         \
    "Times that a client's farthest cells were dropped for want of budget")                        \
  X(kViewsShrunk, "tidegate_views_shrunk_total",                                                   \
    "Times that a client's view became smaller because of a crowd")                                \
  X(kViewsGrown, "tidegate_views_grown_total",                                                     \
    "Times that a view which a crowd had made smaller grew again")                                 \
  X(kSlowNoLayer3, "tidegate_slow_skip_layer3_total", "Slow readers: to half rate at most")        \
  X(kSlowNoLayer2, "tidegate_slow_skip_layer2_total", "Slow readers: to a quarter rate at most")   \
  X(kSlowNear, "tidegate_slow_far_cells_off_total", "Slow readers: far cells dropped")             \
  X(kSlowOwnOnly, "tidegate_slow_own_state_only_total", "Slow readers: own state and events only") \
  X(kSlowClosed, "tidegate_slow_closed_total", "Slow readers: closed with 1013")                   \
  X(kSlotsReusedEarly, "tidegate_slots_reused_early_total",                                        \
    "Slots used again before their rest was over, so that a cell began anew")                      \
  X(kEntityUpdatesSent, "tidegate_entity_updates_sent_total", "Entity records sent to clients")    \
  X(kViolations, "tidegate_violations_total", "Client messages answered with an error")            \
  X(kReportsAgreed, "tidegate_cell_reports_agreed_total",                                          \
    "Clients' checksums of cells that were right")                                                 \
  X(kReportsUnknown, "tidegate_cell_reports_unknown_total",                                        \
    "Clients' checksums of cells that could not be held against anything")                         \
  X(kDesyncs, "tidegate_desyncs_total", "Clients' checksums of cells that were wrong")             \
  X(kCellsHealed, "tidegate_cells_healed_total", "Cells sent anew after a wrong checksum")         \
  X(kDesyncDumps, "tidegate_desync_dumps_total", "Files written about wrong checksums")            \
  X(kMessageTimeouts, "tidegate_message_timeouts_total",                                           \
    "Connections ended because a message was not finished in time")                                \
  X(kStallTimeouts, "tidegate_stall_timeouts_total",                                               \
    "Connections ended because they took nothing of their backlog in time")                        \
  X(kFrameFloods, "tidegate_frame_floods_total",                                                   \
    "Connections ended by too many pings, pongs or fragments")                                     \
  X(kDrainClosed, "tidegate_drain_closed_total",                                                   \
    "Connections told by a drain to go elsewhere, and closed")                                     \
  X(kUpgradeMoved, "tidegate_upgrade_connections_total",                                           \
    "Connections that came from the process before in an upgrade")                                 \
  X(kUpgradesFailed, "tidegate_upgrades_failed_total",                                             \
    "Upgrades that failed; this process went on")                                                  \
  X(kKicked, "tidegate_kicked_total", "Connections closed by a kick or a revocation")              \
  X(kTokensExpired, "tidegate_tokens_expired_total",                                               \
    "Connections closed because their token expired")                                              \
  X(kTokensRefreshed, "tidegate_tokens_refreshed_total", "Newer tokens taken on open connections") \
  X(kTokenRefreshesRefused, "tidegate_token_refreshes_refused_total",                              \
    "TOKEN_REFRESHes that were refused; the token before holds")                                   \
  X(kKeyFetches, "tidegate_jwks_fetches_total", "Key sets fetched from auth.jwks_url")             \
  X(kKeyFetchFailures, "tidegate_jwks_failures_total",                                             \
    "Key sets that could not be fetched or used; the keys there were stay")                        \
  X(kReloads, "tidegate_config_reloads_total", "Configurations read again and applied")            \
  X(kReloadsRefused, "tidegate_config_reloads_refused_total",                                      \
    "Configurations read again and refused as a whole")                                            \
  X(kDeflateConnections, "tidegate_deflate_connections_total",                                     \
    "Connections that agreed on permessage-deflate")                                               \
  X(kDeflateDeclined, "tidegate_deflate_declined_total",                                           \
    "Offers of permessage-deflate declined because no context was free")                           \
  X(kDeflateSavedBytes, "tidegate_deflate_saved_bytes_total",                                      \
    "Payload bytes that compression made unnecessary to send")                                     \
  X(kDeflateShared, "tidegate_deflate_shared_total",                                               \
    "Parts of messages sent as bytes that were compressed for another connection")                 \
  X(kInflateParked, "tidegate_inflate_parked_total",                                               \
    "Receive buffers left for the next turn because this one had inflated its share")              \
  X(kTlsHandshakes, "tidegate_tls_handshakes_total", "TLS handshakes completed")                   \
  X(kTlsResumed, "tidegate_tls_resumed_total", "... of them by a session ticket")                  \
  X(kTlsTurnsFull, "tidegate_tls_turns_full_total",                                                \
    "Turns that left TLS handshakes for the next because their share was spent")                   \
  X(kMailRefused, "tidegate_mailbox_full_total", "Posts that found the ring full")                 \
  X(kSnapshotsWritten, "tidegate_snapshots_written_total", "World snapshots on disk")              \
  X(kSnapshotFailures, "tidegate_snapshot_failures_total",                                         \
    "World snapshots that could not be made or written")                                           \
  X(kSnapshotsRefused, "tidegate_snapshots_refused_total",                                         \
    "Snapshot files refused at start: damaged, cut, or of another version or world")               \
  X(kHandlerSendsDropped, "tidegate_handler_sends_dropped_total",                                  \
    "Messages of handlers that found the way to another shard full")                               \
  X(kArrivalsRefused, "tidegate_arrivals_refused_total",                                           \
    "Entities that came to a shard without room for them and left the world")                      \
  X(kHookFailures, "tidegate_hook_failures_total",                                                 \
    "Calls of an embedder's hooks and state providers that threw or gave nonsense")                \
  X(kHookOverBudget, "tidegate_hook_over_budget_total",                                            \
    "Calls of other hooks and of state providers longer than handlers.budget")                     \
  X(kTickHookOverBudget, "tidegate_tick_hook_over_budget_total",                                   \
    "Calls of the tick hook longer than handlers.tick_budget")                                     \
  X(kInputsRefusedByHook, "tidegate_inputs_refused_by_hook_total",                                 \
    "Moves that the before_input hook refused")                                                    \
  X(kViolationsForgiven, "tidegate_violations_forgiven_total",                                     \
    "Moves that the violation hook let through")                                                   \
  X(kCustomLeftOut, "tidegate_custom_state_left_out_total",                                        \
    "Parts of custom state that did not fit")                                                      \
  X(kBusSent, "tidegate_bus_messages_sent_total", "Messages given to the bus; shown by control")   \
  X(kBusReceived, "tidegate_bus_messages_received_total", "Messages that came from the bus")       \
  X(kBusBytesSent, "tidegate_bus_bytes_sent_total", "Bytes of them")                               \
  X(kBusBytesReceived, "tidegate_bus_bytes_received_total", "Bytes of them")                       \
  X(kBusDroppedOut, "tidegate_bus_dropped_out_total",                                              \
    "Messages for the bus dropped: no connection, or bus.queue_bytes waited")                      \
  X(kBusDroppedIn, "tidegate_bus_dropped_in_total",                                                \
    "Messages from the bus dropped: too many waited for control or a shard")                       \
  X(kBusRefused, "tidegate_bus_refused_total",                                                     \
    "Messages from the bus that could not be read, or are of an earlier life of their gateway")    \
  X(kBusTimeouts, "tidegate_bus_timeouts_total", "Requests to other gateways without an answer")   \
  X(kBusConnects, "tidegate_bus_connects_total", "Connections made to bus.servers")                \
  X(kBusViews, "tidegate_bus_views_total", "Times that members of the cluster came or went")       \
  X(kBusUnsettled, "tidegate_bus_views_unsettled_total",                                           \
    "Of those, the ones on which the members did not agree in time")                               \
  X(kServiceCalls, "tidegate_service_calls_total", "Messages for backend services")                \
  X(kServiceAnswers, "tidegate_service_answers_total", "Answers of services; shown by control")    \
  X(kServiceTimeouts, "tidegate_service_timeouts_total", "Messages that no service answered")      \
  X(kServiceNobody, "tidegate_service_nobody_total", "Messages of types that no service serves")   \
  X(kServicePushes, "tidegate_service_pushes_total", "Messages that services sent unasked")        \
  X(kServiceRefused, "tidegate_service_refused_total",                                             \
    "What services said that could not be read, or is not allowed")                                \
  X(kRealmStatesSent, "tidegate_world_states_sent_total",                                          \
    "States of own entities said to gateways that watch them; world.shared")                       \
  X(kRealmWholesSent, "tidegate_world_entities_sent_total",                                        \
    "Own entities said whole to other gateways: new ones, and all again at intervals")             \
  X(kRealmBytesSent, "tidegate_world_bytes_sent_total",                                            \
    "Bytes of both, once however many gateways get them")                                          \
  X(kRealmStatesReceived, "tidegate_world_states_received_total",                                  \
    "Words of other gateways about their entities that counted")                                   \
  X(kRealmBatchesRefused, "tidegate_world_batches_refused_total",                                  \
    "Batches for other gateways that control had no room for; all of it is said again")            \
  X(kRealmRefused, "tidegate_world_refused_total",                                                 \
    "Batches of other gateways that could not be read, or whose world.gateway_number is taken")    \
  X(kRealmDropped, "tidegate_world_remote_dropped_total",                                          \
    "Words about entities of other gateways that there was no room for")                           \
  X(kRealmExpired, "tidegate_world_remote_expired_total",                                          \
    "Entities of other gateways that nobody said anything of any more")                            \
  X(kRealmTaken, "tidegate_world_taken_total", "Entities taken over from other gateways")          \
  X(kRealmYielded, "tidegate_world_yielded_total", "Own entities given to other gateways")         \
  X(kRealmClaimTimeouts, "tidegate_world_claim_timeouts_total",                                    \
    "Of those taken, the ones whose owner did not answer")                                         \
  X(kBusPublishesHeld, "tidegate_bus_publishes_held_total",                                        \
    "PUBLISHes that waited while their topic's home moved between gateways")                       \
  X(kBusTopicRepairs, "tidegate_bus_topic_repairs_total",                                          \
    "Times that messages of a topic were lost between gateways and asked for again")               \
  X(kBusTopicHoles, "tidegate_bus_topic_holes_total",                                              \
    "Times that they were not in the home's history any more")                                     \
  X(kTopicMessages, "tidegate_topic_messages_total", "Messages published to topics of this home")  \
  X(kTopicDeliveries, "tidegate_topic_deliveries_total", "EVENTs handed to subscribers")           \
  X(kTopicReplayed, "tidegate_topic_replayed_total", "EVENTs sent again out of histories")         \
  X(kTopicRequestsBusy, "tidegate_topic_requests_busy_total",                                      \
    "Requests of topics refused because the way to another shard was full")                        \
  X(kPresenceUpdates, "tidegate_presence_updates_total", "PRESENCE_UPDATEs sent")                  \
  X(kGroupChanges, "tidegate_group_changes_total", "Requests that changed a group")                \
  X(kMessagesHeldBack, "tidegate_messages_held_back_total",                                        \
    "Messages of the game dropped for a slow reader, by their priority")                           \
  X(kEventsPutOff, "tidegate_events_put_off_total",                                                \
    "Times a slow reader was left to take a topic's messages from its history")                    \
  X(kPayloadsPacked, "tidegate_payloads_packed_total", "Payloads compressed")                      \
  X(kPayloadsIncompressible, "tidegate_payloads_incompressible_total",                             \
    "Payloads that compression would not have made smaller")                                       \
  X(kPayloadBytesSaved, "tidegate_payload_bytes_saved_total",                                      \
    "Bytes by which compressed payloads were smaller, once for all receivers")                     \
  X(kPayloadsUnpacked, "tidegate_payloads_unpacked_total", "Compressed payloads of clients")       \
  X(kUnpackFailures, "tidegate_payload_unpack_failures_total",                                     \
    "Compressed payloads of clients refused with ERROR 4017")                                      \
  X(kListStoreFailures, "tidegate_list_store_failures_total",                                      \
    "Writes of users' lists that failed and are tried again")                                      \
  X(kFocusUpdates, "tidegate_focus_updates_total",                                                 \
    "PLAYER_STATEs sent to members of focus groups")                                               \
  X(kMessagesBlocked, "tidegate_messages_blocked_total",                                           \
    "Messages left out because their receiver blocks their sender")                                \
  X(kPresenceFull, "tidegate_presence_full_total",                                                 \
    "Users whose presence is not kept because presence.users was reached")                         \
  X(kStateChanges, "tidegate_state_changes_total", "Keyed states set, by the game or by clients")  \
  X(kStateConflicts, "tidegate_state_conflicts_total",                                             \
    "Changes of clients that lost to another one: stale, or taken by another player")              \
  X(kStateRefusals, "tidegate_state_refusals_total",                                               \
    "Changes of clients refused for any other reason")                                             \
  X(kStatesRefused, "tidegate_states_refused_total",                                               \
    "Keyed states of the game that had no room, or nobody to see them")                            \
  X(kStatesExpired, "tidegate_states_expired_total", "Keyed states whose lifetime was over")       \
  X(kStateBytes, "tidegate_state_bytes_total", "Payload bytes of STATE_UPDATEs")                   \
  X(kEventHandlerCalls, "tidegate_event_handler_calls_total",                                      \
    "Calls of an embedder's event handlers")                                                       \
  X(kEventHandlerFailures, "tidegate_event_handler_failures_total",                                \
    "Of those, calls that failed or threw")                                                        \
  X(kEventHandlerOverBudget, "tidegate_event_handler_over_budget_total",                           \
    "Of those, calls longer than handlers.budget")                                                 \
  X(kSessionsCreated, "tidegate_sessions_created_total", "Sessions begun")                         \
  X(kSessionsResumed, "tidegate_sessions_resumed_total", "Sessions that went on after a loss")     \
  X(kMessagesReplayed, "tidegate_messages_replayed_total",                                         \
    "Acknowledged messages sent again after a resume")                                             \
  X(kAcknowledgedSent, "tidegate_acknowledged_messages_total",                                     \
    "Messages to clients taken in charge until they are acknowledged")                             \
  X(kAcknowledgedNoSession, "tidegate_acknowledged_no_session_total",                              \
    "Messages to be acknowledged by players who have no session")                                  \
  X(kEffectsKnown, "tidegate_effects_known_total",                                                 \
    "Acknowledged messages not taken again because the server before this one had them")           \
  X(kSessionJournalOverruns, "tidegate_session_journal_overruns_total",                            \
    "Times that a shard stopped to record sessions because control was behind")                    \
  X(kSessionStoreLate, "tidegate_session_store_late_total",                                        \
    "Messages and acknowledgements that went out before the store had them")                       \
  X(kSessionChangesStored, "tidegate_session_changes_stored_total",                                \
    "Changes written to the store")                                                                \
  X(kSessionStoreBatches, "tidegate_session_store_batches_total", "Transactions of the store")     \
  X(kSessionStoreFailures, "tidegate_session_store_failures_total",                                \
    "Changes of sessions could not be written")                                                    \
  X(kSessionsRestored, "tidegate_sessions_restored_total", "Sessions that came from the store")    \
  X(kPollRequests, "tidegate_poll_requests_total", "Requests of HTTP long polling")                \
  X(kPollForwarded, "tidegate_poll_forwarded_total",                                               \
    "Requests and answers of long polling that went to another shard")                             \
  X(kPollRepeats, "tidegate_poll_repeats_total",                                                   \
    "POSTs that came again because their answer was lost, and were not taken again")               \
  X(kPollRefetchedBytes, "tidegate_poll_refetched_bytes_total",                                    \
    "Bytes of answers that were asked for again")                                                  \
  X(kSessionsTakenOver, "tidegate_sessions_taken_over_total",                                      \
    "Sessions that came here from another gateway, or from a process that ended")                  \
  X(kLettersForwarded, "tidegate_letters_forwarded_total",                                         \
    "Acknowledged messages left in the store for a player of another gateway")                     \
  X(kLettersReceived, "tidegate_letters_received_total",                                           \
    "Acknowledged messages that other gateways left in the store for players here")

#define TIDEGATE_GAUGES(X)                                                                  \
  X(kConnectionsOpen, "tidegate_connections_open", "Sockets open")                          \
  X(kPlayers, "tidegate_players", "Connections with a session")                             \
  X(kJoinsWaiting, "tidegate_joins_waiting", "Players who wait in line for the world")      \
  X(kIoEpoll, "tidegate_io_epoll",                                                          \
    "1 where a shard runs on epoll, because io_uring is refused or io.backend says so")     \
  X(kEntities, "tidegate_entities", "Entities owned")                                       \
  X(kTlsConnections, "tidegate_tls_connections", "Connections whose TLS handshake is over") \
  X(kTlsExpires, "tidegate_tls_certificate_expires_unix_seconds",                           \
    "When the first of the certificates expires; 0 without TLS")                            \
  X(kCellsWatched, "tidegate_cells_watched", "Cells with at least one watcher")             \
  X(kCellsAway, "tidegate_cells_away",                                                      \
    "Cells that belong to another shard than the fixed rule says; shown by control")        \
  X(kLoadSpread, "tidegate_load_spread_percent",                                            \
    "How much less work the idlest shard has than the busiest; shown by control")           \
  X(kClientsLimited, "tidegate_clients_limited", "Clients shown less than distance allows") \
  X(kRateCeiling, "tidegate_rate_ceiling",                                                  \
    "Highest level of any cell: 3 each tick, 2 half, 1 a quarter, 0 an eighth of them")     \
  X(kKeyframeBytesMax, "tidegate_keyframe_bytes_per_tick",                                  \
    "What first images of cells may take of one tick")                                      \
  X(kBacklogBytesMax, "tidegate_backlog_bytes_max", "Most that ever waited for one reader") \
  X(kOutboxBytes, "tidegate_outbox_bytes", "Bytes that wait in front of full rings")        \
  X(kMemoryReserved, "tidegate_memory_reserved_bytes", "Memory taken at start by limits")   \
  X(kTick, "tidegate_tick", "Last tick that ended")                                         \
  X(kTopics, "tidegate_topics", "Topics of this home")                                      \
  X(kTopicSubscriptions, "tidegate_topic_subscriptions", "Subscriptions of connections")    \
  X(kTopicHistoryBytes, "tidegate_topic_history_bytes", "Memory that histories take")       \
  X(kUsersOnline, "tidegate_users", "Users of this home with a connection")                 \
  X(kUsersShownOnline, "tidegate_users_online", "Of those, shown as online")                \
  X(kUsersShownAway, "tidegate_users_away", "Of those, shown as away")                      \
  X(kUsersShownBusy, "tidegate_users_busy", "Of those, shown as busy")                      \
  X(kUsersInvisible, "tidegate_users_invisible", "Of those, invisible: shown as offline")   \
  X(kPresenceWatches, "tidegate_presence_watches", "Users that connections watch")          \
  X(kBusConnected, "tidegate_bus_connected", "1: there is a connection to bus.servers")     \
  X(kBusMembers, "tidegate_bus_members", "Gateways of the cluster, this one included")      \
  X(kBusSettled, "tidegate_bus_settled", "1: all members agree who is there")               \
  X(kBusQueueBytes, "tidegate_bus_queue_bytes", "Bytes that wait on the way to or from it") \
  X(kClusterConnections, "tidegate_cluster_connections", "Sockets of all gateways")         \
  X(kClusterPlayers, "tidegate_cluster_players", "Sessions connected, of all gateways")     \
  X(kClusterUsers, "tidegate_cluster_users",                                                \
    "Users connected, of all gateways; one at two of them counts twice")                    \
  X(kEntitiesRemote, "tidegate_world_entities_remote",                                      \
    "Of tidegate_entities, those of other gateways; world.shared")                          \
  X(kRealmPeers, "tidegate_world_peers", "Other gateways that share this one's world")      \
  X(kStates, "tidegate_states", "Keyed states of this home")                                \
  X(kStatesShown, "tidegate_states_shown", "Keyed states of zone and places on this board") \
  X(kClientsAll, "tidegate_clients_full", "Clients that get all of the world")              \
  X(kClientsNoLayer3, "tidegate_clients_no_layer3",                                         \
    "Slow readers that get cells at half the rate at most")                                 \
  X(kClientsNoLayer2, "tidegate_clients_no_layer2", "... at a quarter")                     \
  X(kClientsNear, "tidegate_clients_near_only", "... without far cells")                    \
  X(kClientsOwnOnly, "tidegate_clients_own_only", "... without the world")                  \
  X(kClientsHeldBack, "tidegate_clients_held_back",                                         \
    "Slow readers that get no messages of plain priority just now")                         \
  X(kGroups, "tidegate_groups", "Groups, by home shard")                                    \
  X(kGroupMembers, "tidegate_group_members", "Members of groups, and invitations")          \
  X(kUserEntries, "tidegate_user_entries",                                                  \
    "Memberships, friends, blocked users and others of users' lists")                       \
  X(kSnapshotAge, "tidegate_snapshot_age_seconds",                                          \
    "Since the last world snapshot was written, or since the start")                        \
  X(kBacklogMemoryUsed, "tidegate_backlog_memory_used_bytes",                               \
    "Of limits.backlog_memory of each shard")                                               \
  X(kInputMemoryUsed, "tidegate_input_memory_used_bytes",                                   \
    "Buffers that hold a part of a head or message")                                        \
  X(kMemoryCharged, "tidegate_memory_charged_bytes", "What buffers hold of limits.memory")  \
  X(kDrainStage, "tidegate_drain_stage",                                                    \
    "0 serving, 1 grace, 2 closing, 3 over; shown by control")                              \
  X(kHistoryTicks, "tidegate_history_ticks",                                                \
    "Past states kept of each entity, by history.duration and history.memory")              \
  X(kSnapshotBytes, "tidegate_snapshot_bytes", "Size of the last world snapshot")           \
  X(kSnapshotRecords, "tidegate_snapshot_records",                                          \
    "Entities and places of absent players in the last world snapshot")                     \
  X(kSessions, "tidegate_sessions", "Sessions kept, with and without a connection")         \
  X(kSessionsParked, "tidegate_sessions_parked", "Sessions without a connection")           \
  X(kSessionStoreUp, "tidegate_session_store_up",                                           \
    "1: the session store takes changes; 0: it does not, or there is none")                 \
  X(kReplayMessages, "tidegate_replay_messages",                                            \
    "Messages that clients have not acknowledged yet")                                      \
  X(kReplayBytes, "tidegate_replay_bytes", "Memory that they take")                         \
  X(kPollSessions, "tidegate_poll_sessions", "Sessions by HTTP long polling open")

// enumerator, name, help; seconds
#define TIDEGATE_TIMINGS(X)                                                              \
  X(kTurn, "tidegate_turn_seconds", "Busy time of a shard's turn")                       \
  X(kSimulate, "tidegate_tick_simulate_seconds", "Phase simulate of a tick")             \
  X(kEncode, "tidegate_tick_encode_seconds", "Phase encode of a tick")                   \
  X(kFlush, "tidegate_tick_flush_seconds", "Phase flush of a tick: gather and send")     \
  X(kTick, "tidegate_tick_seconds", "A whole tick, waits for other shards included")     \
  X(kSessionRead, "tidegate_session_read_seconds",                                       \
    "From asking a shared store for a player's session to its answer")                   \
  X(kAuth, "tidegate_auth_seconds", "From asking for a token check to its answer")       \
  X(kTlsHandshake, "tidegate_tls_handshake_seconds",                                     \
    "Busy time of a TLS handshake message, of which a connection has one or two")        \
  X(kSnapshotCut, "tidegate_snapshot_cut_seconds",                                       \
    "Copying a shard's entities at the tick of a world snapshot")                        \
  X(kSnapshot, "tidegate_snapshot_seconds",                                              \
    "A world snapshot from the request to its file being safe")                          \
  X(kCellTaken, "tidegate_cell_taken_seconds", "Taking over a cell of another shard")    \
  X(kHandler, "tidegate_handler_seconds", "A call of an embedder's handler")             \
  X(kTickHook, "tidegate_tick_hook_seconds", "A call of an embedder's tick hook")        \
  X(kUpgrade, "tidegate_upgrade_seconds",                                                \
    "From the last tick of the process before to the first one of this")                 \
  X(kRealmAge, "tidegate_world_remote_age_seconds",                                      \
    "From another gateway's word about an entity to its place here; needs equal clocks") \
  X(kHook, "tidegate_hook_seconds", "A call of an embedder's other hook or provider")

// enumerator, name, help, label name; the label's values come from the module that owns them
#define TIDEGATE_FAMILIES(X)                                                                       \
  X(kCloses, "tidegate_connections_closed_total", "Connections ended", "reason")                   \
  X(kRefusals, "tidegate_upgrades_refused_total", "Upgrades answered with an HTTP error", "code")  \
  X(kAdmission, "tidegate_admission_refused_total", "Connections refused by a limit", "limit")     \
  X(kTlsFailures, "tidegate_tls_failures_total", "TLS connections that failed", "reason")          \
  X(kMessages, "tidegate_messages_received_total", "Messages received", "type")                    \
  X(kErrors, "tidegate_errors_sent_total", "ERROR messages sent", "code")                          \
  X(kStates, "tidegate_session_state_entered_total", "Session states entered", "state")            \
  X(kHandlerCalls, "tidegate_handler_calls_total", "Calls of an embedder's handler", "handler")    \
  X(kHandlerFailures, "tidegate_handler_failures_total", "Calls answered with ERROR 4009",         \
    "handler")                                                                                     \
  X(kHandlerTimeouts, "tidegate_handler_timeouts_total",                                           \
    "Calls longer than handlers.time_limit, answered with ERROR 4008", "handler")                  \
  X(kHandlerOverBudget, "tidegate_handler_over_budget_total", "Calls longer than handlers.budget", \
    "handler")                                                                                     \
  X(kUpgradeClosed, "tidegate_upgrade_connections_closed_total",                                   \
    "Connections that the process before could not hand over", "reason")                           \
  X(kResumesRefused, "tidegate_resumes_refused_total", "Resume tokens that were of no use",        \
    "reason")                                                                                      \
  X(kSessionsEnded, "tidegate_sessions_ended_total", "Sessions ended", "reason")

namespace tidegate::metrics {

#define X(name, ...) name,
enum class Counter : uint32_t { TIDEGATE_COUNTERS(X) kCount };
enum class Gauge : uint32_t { TIDEGATE_GAUGES(X) kCount };
enum class Timing : uint32_t { TIDEGATE_TIMINGS(X) kCount };
enum class Family : uint32_t { TIDEGATE_FAMILIES(X) kCount };
#undef X

inline constexpr uint32_t kFamilyValuesMax = 64;

}  // namespace tidegate::metrics
