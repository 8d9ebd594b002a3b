// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not Unreal Engine; see CoreMinimal.h.
#pragma once
#include "CoreMinimal.h"
