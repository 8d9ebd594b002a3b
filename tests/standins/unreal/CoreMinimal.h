// SPDX-License-Identifier: Apache-2.0
// STAND-IN, not Unreal Engine: as much of its names as examples/unreal uses, so that a compiler can
// check the example without the engine. Signatures as in Unreal Engine 5.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

using int32 = std::int32_t;
using uint32 = std::uint32_t;
using TCHAR = char;
#define UCLASS(...)
#define GENERATED_BODY()
#define UPROPERTY(...)
#define UFUNCTION(...)
#define UTF8_TO_TCHAR(text) (text)
#define TCHAR_TO_UTF8(text) (text)

class FString {
 public:
  FString() = default;
  explicit FString(const TCHAR* text) : text_(text) {}
  const TCHAR* operator*() const { return text_.c_str(); }
  bool operator<(const FString& other) const { return text_ < other.text_; }

 private:
  std::string text_;
};

struct FVector {
  double X = 0, Y = 0, Z = 0;
  FVector() = default;
  FVector(double x, double y, double z) : X(x), Y(y), Z(z) {}
};
struct FRotator {
  double Pitch = 0, Yaw = 0, Roll = 0;
  FRotator() = default;
  FRotator(double pitch, double yaw, double roll) : Pitch(pitch), Yaw(yaw), Roll(roll) {}
};
struct FMath {
  static float RadiansToDegrees(float v) { return v * 57.29578F; }
  static float DegreesToRadians(float v) { return v / 57.29578F; }
};
template <class T>
class TObjectPtr {
 public:
  TObjectPtr(T* p = nullptr) : p_(p) {}
  T* operator->() const { return p_; }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  T* p_;
};
template <class T>
struct TUniquePtr : std::unique_ptr<T> {
  using std::unique_ptr<T>::unique_ptr;
  TUniquePtr(std::unique_ptr<T> p) : std::unique_ptr<T>(std::move(p)) {}
  bool IsValid() const { return this->get() != nullptr; }
  void Reset() { this->reset(); }
};
template <class T, class... A>
TUniquePtr<T> MakeUnique(A&&... a) {
  return std::make_unique<T>(std::forward<A>(a)...);
}
template <class T>
struct TArray : std::vector<T> {
  void Add(T v) { this->push_back(std::move(v)); }
  void Empty() { this->clear(); }
};
template <class K, class V>
class TMap {
 public:
  struct Pair {
    K Key;
    V Value;
  };
  V& FindOrAdd(const K& key) {
    for (Pair& p : pairs_) {
      if (!(p.Key < key) && !(key < p.Key)) return p.Value;
    }
    pairs_.push_back({key, {}});
    return pairs_.back().Value;
  }
  bool RemoveAndCopyValue(const K& key, V& out) {
    for (std::size_t i = 0; i < pairs_.size(); ++i) {
      if (pairs_[i].Key < key || key < pairs_[i].Key) continue;
      out = pairs_[i].Value;
      pairs_.erase(pairs_.begin() + static_cast<std::ptrdiff_t>(i));
      return true;
    }
    return false;
  }
  void Empty() { pairs_.clear(); }
  auto begin() { return pairs_.begin(); }
  auto end() { return pairs_.end(); }

 private:
  std::vector<Pair> pairs_;
};
template <class T>
struct TSubclassOf {
  explicit operator bool() const { return known; }
  bool known = false;
};
template <class... A>
struct TStandInDelegate {
  void Broadcast(A... a) {
    for (auto& f : functions) f(a...);
  }
  std::vector<std::function<void(A...)>> functions;
};
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_OneParam(name, type, parameter) \
  using name = TStandInDelegate<type>
#define DECLARE_DYNAMIC_MULTICAST_DELEGATE_TwoParams(name, type1, parameter1, type2, parameter2) \
  using name = TStandInDelegate<type1, type2>

struct TStatId {};
class UWorld;
class AActor {
 public:
  bool Destroy() { return destroyed = true; }
  bool SetActorLocation(const FVector& at) { return place = at, true; }
  bool SetActorLocationAndRotation(const FVector& at, const FRotator& turn) {
    place = at;
    rotation = turn;
    return true;
  }
  FRotator GetActorRotation() const { return rotation; }
  FVector place;
  FRotator rotation;
  bool destroyed = false;
};
