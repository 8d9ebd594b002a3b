// SPDX-License-Identifier: Apache-2.0
#include "TidegateSubsystem.h"

#include "Engine/World.h"
#include "GameFramework/Actor.h"

namespace {

constexpr uint32 PollBudget = 2000;  // microseconds of a frame

// tidegate: metres, right-handed, y up, yaw 0 looks along z. Unreal: centimetres, left-handed, z
// up, yaw 0 looks along x.
FVector ToUnreal(const tidegate_vector& V) {
  return FVector(V.x * 100.0, V.z * 100.0, V.y * 100.0);
}
FRotator YawToUnreal(float Yaw) { return FRotator(0.0, 90.0 - FMath::RadiansToDegrees(Yaw), 0.0); }
FString ToString(const char* Data, size_t Size) {
  return FString(UTF8_TO_TCHAR(std::string(Data, Size).c_str()));
}

}  // namespace

bool UTidegateSubsystem::Join(const FString& Url, const FString& Token) {
  Leave();
  Client = MakeUnique<tidegate::Client>(std::vector<std::string>{TCHAR_TO_UTF8(*Url)},
                                        std::string(TCHAR_TO_UTF8(*Token)));
  if (!*Client) {
    Client.Reset();
    return false;
  }
  Listeners.Add(Client->on(TIDEGATE_EVENT_STATE, [this](const tidegate::ClientEvent& Event) {
    OnConnected.Broadcast(Event.state == TIDEGATE_CLIENT_IN_WORLD);
  }));
  Listeners.Add(
      Client->on(TIDEGATE_EVENT_ENTITY_REMOVED, [this](const tidegate::ClientEvent& Event) {
        TObjectPtr<AActor> Gone;
        const FString Id = ToString(Event.entity->id.data, Event.entity->id.size);
        if (Actors.RemoveAndCopyValue(Id, Gone) && Gone) Gone->Destroy();
      }));
  Listeners.Add(Client->on(TIDEGATE_EVENT_MESSAGE, [this](const tidegate::ClientEvent& Event) {
    OnMessage.Broadcast(
        static_cast<int32>(Event.type),
        ToString(static_cast<const char*>(static_cast<const void*>(Event.payload.data)),
                 Event.payload.size));
  }));
  Client->connect();
  return true;
}

void UTidegateSubsystem::Leave() {
  Listeners.Empty();
  Client.Reset();
  for (auto& Pair : Actors) {
    if (Pair.Value) Pair.Value->Destroy();
  }
  Actors.Empty();
}

void UTidegateSubsystem::Deinitialize() {
  Leave();
  UGameInstanceSubsystem::Deinitialize();
}

void UTidegateSubsystem::Tick(float) {
  Client->poll(PollBudget);
  PlaceActors();
}

void UTidegateSubsystem::PlaceActors() {
  UWorld* World = GetWorld();
  if (World == nullptr || !EntityClass) return;
  for (const tidegate::ClientEntity& Entity : Client->entities()) {
    if (Entity.is_self) continue;
    TObjectPtr<AActor>& Actor = Actors.FindOrAdd(ToString(Entity.id.data, Entity.id.size));
    const FVector Place = ToUnreal(Entity.shown);
    const FRotator Turn = YawToUnreal(Entity.shown_yaw);
    if (!Actor) Actor = World->SpawnActor<AActor>(EntityClass, Place, Turn);
    if (Actor) Actor->SetActorLocationAndRotation(Place, Turn);
  }
}

void UTidegateSubsystem::Steer(AActor* Pawn, const FVector& Direction, float DeltaSeconds) {
  if (!Client || Pawn == nullptr) return;
  const tidegate_vector Wanted{static_cast<float>(Direction.X), static_cast<float>(Direction.Z),
                               static_cast<float>(Direction.Y)};
  const float Yaw =
      FMath::DegreesToRadians(90.0F - static_cast<float>(Pawn->GetActorRotation().Yaw));
  Client->steer(Wanted, DeltaSeconds, Yaw);
  tidegate_vector At;
  if (Client->self(&At)) Pawn->SetActorLocation(ToUnreal(At));
}

bool UTidegateSubsystem::Send(int32 Type, const FString& Text) {
  return Client && Client->send(static_cast<uint32_t>(Type), std::string(TCHAR_TO_UTF8(*Text))) ==
                       TIDEGATE_CLIENT_OK;
}
