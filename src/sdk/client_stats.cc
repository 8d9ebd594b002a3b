// SPDX-License-Identifier: Apache-2.0
// What a client says of itself.
#include "sdk/client.h"

namespace tidegate::sdk {

void Client::stats(tidegate_client_stats* out) {
  const double at = to_ms(now());
  const Outbox& outbox = connection_.outbox();
  const WorldCounters& w = world_.counters();
  const PredictionStats& p = prediction_.stats();
  out->rtt_ms = clock_.rtt_ms();
  out->rtt_last_ms = clock_.last_rtt_ms();
  out->jitter_ms = clock_.jitter_ms();
  out->bytes_in_per_second = bytes_in_.per_second(at);
  out->bytes_out_per_second = bytes_out_.per_second(at);
  out->messages_in_per_second = messages_in_.per_second(at);
  out->bytes_in = connection_.link().bytes_in();
  out->bytes_out = connection_.link().bytes_out();
  out->messages_in = connection_.received().all().messages;
  out->messages_out = connection_.sent().all().messages;
  out->delay_ms = playout_.delay_ms();
  out->delay_target_ms = playout_.target_ms();
  out->starved = playout_.starved();
  out->corrections = p.corrections;
  out->refused_moves = p.refused;
  out->prediction_error_m = p.last_error;
  out->smoothing_m = prediction_.smoothing(at);
  out->pending_inputs = prediction_.pending();
  out->entities = world_.entity_count();
  out->cells = world_.cell_count();
  out->server_tick = world_.tick();
  out->reconnects = connection_.reconnects();
  out->unacknowledged = outbox.unacknowledged();
  out->queued_messages = outbox.count();
  out->expired = outbox.expired();
  out->duplicates = outbox.duplicates();
  out->frames = w.frames;
  out->keyframes = w.keyframes;
  out->checksums = w.checksums;
  out->checksum_mismatches = w.checksum_mismatches;
  out->missing_references = w.missing_references;
  out->malformed = w.malformed;
  out->shown_tick = shown_tick_;
}

}  // namespace tidegate::sdk
