// SPDX-License-Identifier: Apache-2.0
// Finds characters beyond ASCII where TOML 1.0 allows none: outside of strings and comments. The
// kept parser (toml++ 3.3) looks such characters up in tables whose impossible branches are marked
// unreachable but are not (fuzzing: "[aΓ]"), so the text is refused before it gets there.
// Thread: any. Owner: nothing. Limits: none, one pass.
#pragma once

#include <cstdint>
#include <string_view>

namespace tidegate::control {

// Line (from 1) of the first such character, 0 when there is none.
uint32_t line_beyond_ascii(std::string_view toml);

}  // namespace tidegate::control
