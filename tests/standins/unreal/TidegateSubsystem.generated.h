// SPDX-License-Identifier: Apache-2.0
// STAND-IN for what the header tool of Unreal Engine makes.
#pragma once
