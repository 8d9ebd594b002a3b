// SPDX-License-Identifier: Apache-2.0
// A tidegate world in Unreal Engine 5: a subsystem of the game instance that polls the client once
// a frame, keeps one actor for each entity in view, and steers the own player. docs/unreal.md.
#pragma once

#include <tidegate/client.hpp>

#include "CoreMinimal.h"
#include "Subsystems/GameInstanceSubsystem.h"
#include "Tickable.h"
#include "TidegateSubsystem.generated.h"

DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(FTidegateConnected, bool, bInWorld);
DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(FTidegateMessage, int32, Type, const FString&, Text);

UCLASS()
class UTidegateSubsystem : public UGameInstanceSubsystem, public FTickableGameObject {
  GENERATED_BODY()

 public:
  // What stands for everybody else; the own player is the pawn that calls Steer.
  UPROPERTY()
  TSubclassOf<AActor> EntityClass;

  UPROPERTY(BlueprintAssignable)
  FTidegateConnected OnConnected;
  UPROPERTY(BlueprintAssignable)
  FTidegateMessage OnMessage;

  UFUNCTION(BlueprintCallable)
  bool Join(const FString& Url, const FString& Token);
  UFUNCTION(BlueprintCallable)
  void Leave();
  // Once a frame, from the pawn: a direction in Unreal's axes of length up to 1. Moves the pawn to
  // where the client shows it.
  UFUNCTION(BlueprintCallable)
  void Steer(AActor* Pawn, const FVector& Direction, float DeltaSeconds);
  UFUNCTION(BlueprintCallable)
  bool Send(int32 Type, const FString& Text);

  void Deinitialize() override;
  void Tick(float DeltaSeconds) override;
  TStatId GetStatId() const override { return TStatId(); }
  bool IsTickable() const override { return Client.IsValid(); }

 private:
  void PlaceActors();

  TUniquePtr<tidegate::Client> Client;
  TArray<tidegate::Subscription> Listeners;
  UPROPERTY()
  TMap<FString, TObjectPtr<AActor>> Actors;
};
