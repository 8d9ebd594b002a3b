// SPDX-License-Identifier: Apache-2.0
// What requests that open a WebSocket and requests of long polling have in common: the target, the
// fields that say who asks, the phrases of statuses. Used by http_upgrade.cc and http_poll.cc only.
// Thread: any. Owner: borrows. Limits: none of its own, the head's size is bounded by the caller.
#pragma once

#include <string_view>

namespace tidegate::protocol::http {

// Target in origin-form, or the absolute-form that RFC 6455 section 4.2.1 also allows.
bool split_target(std::string_view target, std::string_view* path, std::string_view* query);

// The value of the cookie `auth_token` in a Cookie field, without quotes; empty when absent.
std::string_view find_auth_cookie(std::string_view cookies);

// The token of an Authorization field. Another scheme is not ours to judge: it counts as none.
std::string_view bearer_of(std::string_view credentials);

// A name or address and perhaps a port (RFC 7230 section 5.4), judged by its characters only.
bool is_host(std::string_view host);

// Takes the next name=value off a query; false at its end.
bool take_parameter(std::string_view& query, std::string_view* name, std::string_view* value);

std::string_view phrase_of(int status);

}  // namespace tidegate::protocol::http
