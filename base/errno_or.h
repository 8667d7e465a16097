#ifndef REMORA_BASE_ERRNO_OR_H_
#define REMORA_BASE_ERRNO_OR_H_

#include <errno.h>

#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"

// The result of anything a guest can see fail: a value, or a Linux error number. Never allocates.
// Error numbers are those of asm-generic/errno.h, which every Linux host shares, so <errno.h>'s names serve.

namespace remora {

// An error number, 1..4095. Implicitly converts into any ErrnoOr<T>:  return Errno(ENOENT);
class Errno {
 public:
  constexpr explicit Errno(int value) : value_(value) {}
  constexpr int value() const { return value_; }
  friend constexpr bool operator==(Errno a, Errno b) = default;

 private:
  int value_;
};

template <typename T>
class [[nodiscard]] ErrnoOr {
 public:
  // NOLINTNEXTLINE(google-explicit-constructor): `return value;` and `return Errno(E);` are the point.
  ErrnoOr(Errno error) : error_(error.value()) { DCHECK(error_ != 0); }
  template <typename U = T>
    requires(std::is_constructible_v<T, U &&> && !std::is_same_v<std::remove_cvref_t<U>, ErrnoOr> &&
             !std::is_same_v<std::remove_cvref_t<U>, Errno>)
  ErrnoOr(U&& value) : error_(0) {
    new (&value_) T(std::forward<U>(value));
  }
  ErrnoOr(ErrnoOr&& other) noexcept : error_(other.error_) {
    if (ok()) new (&value_) T(std::move(other.value_));
  }
  ErrnoOr(const ErrnoOr& other)
    requires(std::is_copy_constructible_v<T>)
      : error_(other.error_) {
    if (ok()) new (&value_) T(other.value_);
  }
  ErrnoOr& operator=(ErrnoOr&& other) noexcept {
    if (this != &other) {
      this->~ErrnoOr();
      new (this) ErrnoOr(std::move(other));
    }
    return *this;
  }
  ~ErrnoOr() {
    if (ok()) value_.~T();
  }

  bool ok() const { return error_ == 0; }
  // 0 when ok().
  int error_number() const { return error_; }
  Errno error() const {
    DCHECK(!ok());
    return Errno(error_);
  }

  T& value() & {
    CHECK(ok());
    return value_;
  }
  const T& value() const& {
    CHECK(ok());
    return value_;
  }
  T&& value() && {
    CHECK(ok());
    return std::move(value_);
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

 private:
  int error_;
  union {
    T value_;
  };
};

template <>
class [[nodiscard]] ErrnoOr<void> {
 public:
  ErrnoOr() = default;
  // NOLINTNEXTLINE(google-explicit-constructor)
  ErrnoOr(Errno error) : error_(error.value()) { DCHECK(error_ != 0); }

  bool ok() const { return error_ == 0; }
  int error_number() const { return error_; }
  Errno error() const {
    DCHECK(!ok());
    return Errno(error_);
  }

 private:
  int error_ = 0;
};

// For `return Ok();` in functions that answer ErrnoOr<void>.
inline ErrnoOr<void> Ok() { return {}; }

}  // namespace remora

#define REMORA_CONCAT_INNER(a, b) a##b
#define REMORA_CONCAT(a, b) REMORA_CONCAT_INNER(a, b)

// REMORA_RETURN_IF_ERROR(file->Sync());
#define REMORA_RETURN_IF_ERROR(expression)                                   \
  do {                                                                       \
    if (auto remora_result = (expression); !remora_result.ok()) [[unlikely]] \
      return remora_result.error();                                          \
  } while (false)

// REMORA_ASSIGN_OR_RETURN(const GuestAddr start, space.Map(request));
#define REMORA_ASSIGN_OR_RETURN(declaration, expression) \
  REMORA_ASSIGN_OR_RETURN_INNER(REMORA_CONCAT(remora_result_, __LINE__), declaration, expression)
#define REMORA_ASSIGN_OR_RETURN_INNER(result, declaration, expression) \
  auto result = (expression);                                          \
  if (!result.ok()) [[unlikely]]                                       \
    return result.error();                                             \
  declaration = *std::move(result)

#endif  // REMORA_BASE_ERRNO_OR_H_
