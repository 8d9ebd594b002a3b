// SPDX-License-Identifier: Apache-2.0
// The records of a TLS connection whose handshake was made in another process: protection of RFC
// 8446 section 5.2 and RFC 5246 section 6.2.3.3 over the library's ciphers, alerts and key updates.
// It makes no handshake; a peer that asks for one is refused as the library would refuse it.
//
// Thread: the session's. Owner: Session. Limits: records as in records.h; 2.5 KB; kVainRecordsMax.
#pragma once

#include <memory>

#include "base/bytes.h"
#include "tls/traffic.h"

struct evp_cipher_ctx_st;

namespace tidegate::tls {

struct Received;

// Records in a row that carry nothing for the application: empty ones, key updates, mild alerts.
// Each costs more to open than to send, so more of them end the connection.
inline constexpr uint32_t kVainRecordsMax = 32;

class Carried {
 public:
  // Null: no such suite, or secrets of another length.
  static std::unique_ptr<Carried> make(const Traffic& traffic);
  ~Carried();
  Carried(const Carried&) = delete;
  Carried& operator=(const Carried&) = delete;

  // As Session::receive, seal and shut_down. `said`: room for an alert, and its bytes behind it.
  Received receive(base::MutableBytes records, base::MutableBytes said, size_t* said_bytes);
  size_t seal(base::Bytes plain, base::MutableBytes out);
  size_t shut_down(base::MutableBytes out);
  // False: it is over.
  [[nodiscard]] bool read(Traffic* out) const;
  bool over() const { return over_; }
  const Suite& suite() const { return suite_; }

 private:
  struct Way {
    evp_cipher_ctx_st* cipher = nullptr;
    uint8_t nonce[12] = {};  // what is fixed of it
  };
  explicit Carried(const Suite& suite) : suite_(suite) {}
  bool set_key(Way& way, const Traffic::Direction& from, bool sealing);
  bool update_key(Way& way, Traffic::Direction& from, bool sealing);
  void make_nonce(const Way& way, uint64_t number, base::Bytes explicit_part,
                  uint8_t (&nonce)[12]) const;
  size_t seal_record(uint8_t type, base::Bytes plain, base::MutableBytes out);
  // The payload's place in `record`, decrypted; false: it is not genuine.
  bool open_record(base::MutableBytes record, uint8_t* type, base::MutableBytes* plain);
  Received fail(Received out, uint8_t alert, const char* reason, base::MutableBytes said,
                size_t* said_bytes);

  const Suite& suite_;
  Traffic traffic_;
  Way in_, out_;
  uint32_t vain_records_ = 0;  // in a row
  bool shut_ = false;
  bool over_ = false;
};

}  // namespace tidegate::tls
