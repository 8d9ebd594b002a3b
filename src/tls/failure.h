// SPDX-License-Identifier: Apache-2.0
// Why a TLS connection failed; label of tidegate_tls_failures_total. The library knows a thousand
// reasons; these are the ones that ask for different answers of an operator.
// Thread: any. Owner: none. Limits: none.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidegate::tls {

// enumerator, label, what it is and what to do (docs/tls.md has the same table)
#define TIDEGATE_TLS_FAILURES(X)                                                           \
  X(kNotTls, "not_tls", "the first bytes are no TLS: a plain client on the TLS port")      \
  X(kNoSharedVersion, "no_shared_version", "the client speaks older versions only")        \
  X(kNoSharedCipher, "no_shared_cipher", "no cipher suite, group or signature in common")  \
  X(kNoSharedProtocol, "no_shared_protocol",                                               \
    "the client asked for protocols by ALPN, none of "                                     \
    "them http/1.1")                                                                       \
  X(kPeerAlert, "peer_alert",                                                              \
    "the client ended it with an alert: it does not trust the "                            \
    "certificate, or the name is wrong")                                                   \
  X(kBadRecord, "bad_record", "a record that does not decrypt, or is too long")            \
  X(kBadMessage, "bad_message", "a handshake message that is malformed or out of place")   \
  X(kPeerLost, "peer_lost", "the client went away in the middle of the handshake")         \
  X(kTimeout, "timeout", "the handshake took longer than limits.handshake_timeout")        \
  X(kOverloaded, "overloaded", "no buffer or memory was free for it")                      \
  X(kCertificate, "certificate", "the peer's certificate was not accepted (clients only)") \
  X(kOther, "other", "anything else; the log at level debug says what")

#define X(name, ...) name,
enum class Failure : uint8_t { TIDEGATE_TLS_FAILURES(X) kCount };
#undef X

const char* name_of(Failure failure);

// Empties this thread's queue of the library's errors. `reason`: its words for it, static text.
Failure take_failure(const char** reason);

}  // namespace tidegate::tls
