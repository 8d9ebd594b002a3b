// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not Unreal Engine; see CoreMinimal.h beside it.
#pragma once
#include "CoreMinimal.h"

class UWorld {
 public:
  template <class T>
  T* SpawnActor(const TSubclassOf<T>&, const FVector& at, const FRotator& turn) {
    auto* actor = new T;
    actor->SetActorLocationAndRotation(at, turn);
    return actor;
  }
};
