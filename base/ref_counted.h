#ifndef REMORA_BASE_REF_COUNTED_H_
#define REMORA_BASE_REF_COUNTED_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/check.h"

namespace remora {

// An intrusive reference count. A new object has count one, owned by the Ref that MakeRef returns.
// Thread safety: AddRef/Release/TryAddRef from any thread.
class RefCounted {
 public:
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void AddRef() const {
    const uint32_t before = count_.fetch_add(1, std::memory_order_relaxed);
    DCHECK(before != 0);
    (void)before;
  }
  // Fails once the count has reached zero: for lookups that find an object whose last reference is just going.
  [[nodiscard]] bool TryAddRef() const {
    uint32_t n = count_.load(std::memory_order_relaxed);
    while (n != 0)
      if (count_.compare_exchange_weak(n, n + 1, std::memory_order_relaxed)) return true;
    return false;
  }
  void Release() const {
    if (count_.fetch_sub(1, std::memory_order_acq_rel) == 1) const_cast<RefCounted*>(this)->OnLastRelease();
  }
  // For caches that drop what nobody else uses: if the caller's reference is the only one, takes it away without
  // OnLastRelease, so that no TryAddRef succeeds from now on; the caller then disposes of the object.
  [[nodiscard]] bool TryDropLast() const {
    uint32_t one = 1;
    return count_.compare_exchange_strong(one, 0, std::memory_order_acq_rel);
  }
  // Exact only where the caller excludes other holders.
  uint32_t ref_count() const { return count_.load(std::memory_order_acquire); }

 protected:
  RefCounted() = default;
  virtual ~RefCounted() = default;
  // Called once, by whoever dropped the last reference, with no lock held by this class. Objects that lock-free readers
  // may still see override it to retire themselves through sync/reclaimer.h.
  virtual void OnLastRelease() { delete this; }

 private:
  mutable std::atomic<uint32_t> count_{1};
};

// A counted reference to a RefCounted.
template <typename T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}  // NOLINT(google-explicit-constructor)
  explicit Ref(T* object) : object_(object) {
    if (object_) object_->AddRef();
  }
  Ref(const Ref& other) : Ref(other.object_) {}
  Ref(Ref&& other) noexcept : object_(std::exchange(other.object_, nullptr)) {}
  template <typename U>
    requires(std::is_convertible_v<U*, T*>)
  Ref(const Ref<U>& other) : Ref(other.get()) {}  // NOLINT(google-explicit-constructor)
  template <typename U>
    requires(std::is_convertible_v<U*, T*>)
  Ref(Ref<U>&& other) noexcept : object_(other.release()) {}  // NOLINT(google-explicit-constructor)
  Ref& operator=(Ref other) noexcept {
    std::swap(object_, other.object_);
    return *this;
  }
  ~Ref() {
    if (object_) object_->Release();
  }

  // Takes over a reference that the caller already holds.
  static Ref Adopt(T* object) {
    Ref ref;
    ref.object_ = object;
    return ref;
  }
  // Gives the reference up without dropping it.
  [[nodiscard]] T* release() { return std::exchange(object_, nullptr); }
  void reset() { *this = Ref(); }

  T* get() const { return object_; }
  T& operator*() const { return *object_; }
  T* operator->() const { return object_; }
  explicit operator bool() const { return object_ != nullptr; }
  friend bool operator==(const Ref& a, const Ref& b) { return a.object_ == b.object_; }
  friend bool operator==(const Ref& a, std::nullptr_t) { return a.object_ == nullptr; }

 private:
  T* object_ = nullptr;
};

template <typename T, typename... Args>
Ref<T> MakeRef(Args&&... args) {
  return Ref<T>::Adopt(new T(std::forward<Args>(args)...));
}

}  // namespace remora

#endif  // REMORA_BASE_REF_COUNTED_H_
