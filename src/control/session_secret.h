// SPDX-License-Identifier: Apache-2.0
// The key of resume tokens as the configuration says it.
// Thread: setup. Owner: none. Limits: none.
#pragma once

#include <memory>
#include <string>

#include "control/config.h"
#include "store/session_tokens.h"

namespace tidegate::control {

// The key of session.secret or session.secret_file; neither: a random one, which ends with the
// process. Null with text in `error`: unreadable or too short.
[[nodiscard]] std::unique_ptr<store::SessionTokens> make_session_tokens(
    const Config::Session& config, std::string* error);

}  // namespace tidegate::control
