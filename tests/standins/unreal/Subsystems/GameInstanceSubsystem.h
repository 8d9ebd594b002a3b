// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not Unreal Engine; see CoreMinimal.h beside it.
#pragma once
#include "CoreMinimal.h"

class UGameInstanceSubsystem {
 public:
  virtual ~UGameInstanceSubsystem() = default;
  virtual void Deinitialize() {}
  virtual UWorld* GetWorld() const { return nullptr; }
};
