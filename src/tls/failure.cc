// SPDX-License-Identifier: Apache-2.0
#include "tls/failure.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

namespace tidegate::tls {

const char* name_of(Failure failure) {
  static constexpr const char* kNames[] = {
#define X(name, label, ...) label,
      TIDEGATE_TLS_FAILURES(X)
#undef X
  };
  return failure < Failure::kCount ? kNames[static_cast<uint32_t>(failure)] : "?";
}

namespace {

Failure failure_of(int reason) {
  switch (reason) {
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
    case SSL_R_WRONG_VERSION_NUMBER:
      return Failure::kNotTls;
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_VERSION_TOO_HIGH:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_INAPPROPRIATE_FALLBACK:
      return Failure::kNoSharedVersion;
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_MISSING_SIGALGS_EXTENSION:
    case SSL_R_MISSING_SUPPORTED_GROUPS_EXTENSION:
      return Failure::kNoSharedCipher;
    case SSL_R_NO_APPLICATION_PROTOCOL:
      return Failure::kNoSharedProtocol;
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_RECORD_TOO_SMALL:
    case SSL_R_LENGTH_TOO_SHORT:
    case SSL_R_RECORD_LENGTH_MISMATCH:
    case SSL_R_NOT_ON_RECORD_BOUNDARY:
      return Failure::kBadRecord;
    case SSL_R_CERTIFICATE_VERIFY_FAILED:
      return Failure::kCertificate;
    case ERR_R_MALLOC_FAILURE:
      return Failure::kOverloaded;
    case SSL_R_UNEXPECTED_MESSAGE:
    case SSL_R_UNEXPECTED_RECORD:
    case SSL_R_BAD_EXTENSION:
    case SSL_R_BAD_KEY_SHARE:
    case SSL_R_BAD_LENGTH:
    case SSL_R_BAD_PACKET:
    case SSL_R_LENGTH_MISMATCH:
    case SSL_R_DIGEST_CHECK_FAILED:
    case SSL_R_EXCESSIVE_MESSAGE_SIZE:
    case SSL_R_TOO_MUCH_EARLY_DATA:
    case SSL_R_DUPLICATE_COMPRESSION_ID:
    case SSL_R_NO_COMPRESSION_SPECIFIED:
    case SSL_R_NO_CIPHERS_SPECIFIED:
    case SSL_R_BAD_CHANGE_CIPHER_SPEC:
    case SSL_R_CCS_RECEIVED_EARLY:
    case SSL_R_INVALID_CCS_MESSAGE:
    case SSL_R_BAD_ECPOINT:
    case SSL_R_UNSOLICITED_EXTENSION:
    case SSL_R_BAD_HELLO_REQUEST:
      return Failure::kBadMessage;
    default:
      // Alerts of the peer are reported as SSL_AD_REASON_OFFSET + the alert.
      if (reason >= SSL_AD_REASON_OFFSET) return Failure::kPeerAlert;
      return Failure::kOther;
  }
}

}  // namespace

Failure take_failure(const char** reason) {
  *reason = "no reason given";
  Failure out = Failure::kOther;
  bool found = false;
  // The record layer's own errors stand behind those of the ciphers, which say less.
  while (const unsigned long error = ERR_get_error()) {
    if (found || ERR_GET_LIB(error) != ERR_LIB_SSL) continue;
    found = true;
    out = failure_of(ERR_GET_REASON(error));
    if (const char* text = ERR_reason_error_string(error)) *reason = text;
  }
  return out;
}

}  // namespace tidegate::tls
