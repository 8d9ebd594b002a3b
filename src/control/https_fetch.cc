// SPDX-License-Identifier: Apache-2.0
#include "control/https_fetch.h"

#include <curl/curl.h>

#include <memory>
#include <string_view>

#include "base/assert.h"

namespace tidegate::control {
namespace {

struct Sink {
  std::string* body;
  size_t bytes_max;
};

size_t take(char* data, size_t size, size_t count, void* user) {
  auto* sink = static_cast<Sink*>(user);
  const size_t bytes = size * count;
  if (sink->body->size() + bytes > sink->bytes_max) return 0;  // ends the transfer
  sink->body->append(data, bytes);
  return bytes;
}

// Once for the process, before the first handle.
bool set_up_once() {
  static const bool good = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
  return good;
}

}  // namespace

const char* check_fetch_url(const std::string& url) {
  const std::string_view text = url;
  if (text.find_first_of(" \t\r\n") != std::string_view::npos) return "a URL has no spaces";
  if (text.starts_with("https://") && text.size() > 8) return nullptr;
  for (const std::string_view local :
       {"http://127.0.0.1:", "http://127.0.0.1/", "http://[::1]:", "http://[::1]/"}) {
    if (text.starts_with(local)) return nullptr;
  }
  return "expected https://, or http:// with a loopback address: who can change the answer on its "
         "way makes tokens of his own";
}

bool fetch_blocking(const std::string& url, const FetchLimits& limits, std::string* body,
                    std::string* error) {
  if (const char* wrong = check_fetch_url(url)) {
    *error = wrong;
    return false;
  }
  const std::unique_ptr<CURL, void (*)(CURL*)> handle(set_up_once() ? curl_easy_init() : nullptr,
                                                      curl_easy_cleanup);
  if (!handle) {
    *error = "libcurl could not be set up";
    return false;
  }
  CURL* c = handle.get();
  char text[CURL_ERROR_SIZE] = {};
  body->clear();
  Sink sink{body, limits.bytes_max};
  CURLcode set = CURLE_OK;
  const auto option = [&](CURLoption name, auto value) {
    const CURLcode result = curl_easy_setopt(c, name, value);
    if (set == CURLE_OK) set = result;
  };
  option(CURLOPT_URL, url.c_str());
  option(CURLOPT_PROTOCOLS_STR, "http,https");
  option(CURLOPT_FOLLOWLOCATION, 0L);
  option(CURLOPT_NOSIGNAL, 1L);
  option(CURLOPT_NOPROXY, "*");  // a proxy of the environment is no part of the configuration
  option(CURLOPT_TIMEOUT_MS, limits.timeout_ms);
  option(CURLOPT_CONNECTTIMEOUT_MS, limits.timeout_ms);
  option(CURLOPT_USERAGENT, "tidegate/" TIDEGATE_VERSION);
  option(CURLOPT_ERRORBUFFER, static_cast<char*>(text));
  option(CURLOPT_WRITEFUNCTION, &take);
  option(CURLOPT_WRITEDATA, static_cast<void*>(&sink));
  if (!limits.ca_file.empty()) option(CURLOPT_CAINFO, limits.ca_file.c_str());
  const CURLcode result = set == CURLE_OK ? curl_easy_perform(c) : set;
  if (result != CURLE_OK) {
    *error = body->size() + CURL_MAX_WRITE_SIZE > limits.bytes_max && result == CURLE_WRITE_ERROR
                 ? "the answer is too large"
                 : (text[0] != '\0' ? text : curl_easy_strerror(result));
    return false;
  }
  long status = 0;
  curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
  if (status != 200) {
    *error = "the server answered " + std::to_string(status);
    return false;
  }
  return true;
}

}  // namespace tidegate::control
