// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not Unreal Engine; see CoreMinimal.h beside it.
#pragma once
#include "CoreMinimal.h"

class FTickableGameObject {
 public:
  virtual ~FTickableGameObject() = default;
  virtual void Tick(float) = 0;
  virtual TStatId GetStatId() const = 0;
  virtual bool IsTickable() const { return true; }
};
