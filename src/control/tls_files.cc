// SPDX-License-Identifier: Apache-2.0
#include "control/tls_files.h"

namespace tidegate::control {

std::shared_ptr<const tls::ServerContext> load_tls_blocking(const Config::Tls& config,
                                                            int64_t unix_seconds,
                                                            std::string* error,
                                                            std::vector<std::string>* warnings) {
  tls::ServerOptions options;
  options.unix_seconds = unix_seconds;
  options.ticket_lifetime = config.ticket_rotation;
  options.min_version = config.min_version == "1.3" ? tls::Version::kTls13 : tls::Version::kTls12;
  for (const std::string& pair : config.certificates) {
    const size_t colon = pair.find(':');
    tls::CertificatePem pem;
    pem.certificate_file = pair.substr(0, colon);
    pem.key_file = colon == std::string::npos ? pair : pair.substr(colon + 1);
    std::string reason;
    if (!read_file_blocking(pem.certificate_file, tls::kPemBytesMax, &pem.certificate, &reason) ||
        !read_file_blocking(pem.key_file, tls::kPemBytesMax, &pem.key, &reason)) {
      *error = "tls.certificates: " + reason;
      return nullptr;
    }
    options.certificates.push_back(std::move(pem));
  }
  std::string reason;
  auto made = tls::ServerContext::make(options, &reason, warnings);
  if (made == nullptr) *error = "tls.certificates: " + reason;
  return made;
}

}  // namespace tidegate::control
