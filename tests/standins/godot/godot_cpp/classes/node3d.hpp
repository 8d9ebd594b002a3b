// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not godot-cpp; see standin.hpp.
#pragma once
#include "../standin.hpp"
