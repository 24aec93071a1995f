// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `result<T>`: a value, or why there is none. `status` is `result<void>`.

#include <cstdint>
#include <new>
#include <type_traits>
#include <utility>

#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Why a call failed.
struct failure {
    errc code{};              ///< what a program branches on
    std::int32_t native = 0;  ///< the engine's own number (SQLite's extended code, an HTTP status, errno); 0 if none
    char const* detail =
        "";  ///< a text of static lifetime that says what in particular; never null, never a user's value

    constexpr failure() = default;
    constexpr failure(errc c, char const* d = "", std::int32_t n = 0) noexcept : code(c), native(n), detail(d) {}

    /// Failures are equal when their codes are: the rest is for people.
    friend constexpr bool operator==(failure const& a, failure const& b) noexcept { return a.code == b.code; }
    friend constexpr bool operator==(failure const& a, errc b) noexcept { return a.code == b; }
};

/// A `T`, or a `failure`. True means success.
///
/// `*r` and `r->` need a value, `r.error()` needs a failure: anything else is the caller's bug.
/// Cost: a `T`, a `failure` and a flag; no allocation of its own.
template <class T>
class [[nodiscard]] result {
    static_assert(std::is_object_v<T> && !std::is_array_v<T>,
                  "result<T>: T is an object type; use pointers for references");

public:
    using value_type = T;

    constexpr result(T const& v) : value_(v), has_value_(true) {}
    constexpr result(T&& v) noexcept(std::is_nothrow_move_constructible_v<T>)
        : value_(std::move(v)), has_value_(true) {}
    constexpr result(failure const& f) noexcept : failure_(f), has_value_(false) {}
    constexpr result(errc e) noexcept : failure_(e), has_value_(false) {}
    /// From whatever a `T` can be made of without narrowing or ambiguity (an optional from its value, say).
    template <class U>
        requires(std::is_convertible_v<U&&, T> && !std::is_same_v<std::remove_cvref_t<U>, T> &&
                 !std::is_same_v<std::remove_cvref_t<U>, result> && !std::is_same_v<std::remove_cvref_t<U>, failure> &&
                 !std::is_same_v<std::remove_cvref_t<U>, errc>)
    constexpr result(U&& u) : value_(std::forward<U>(u)), has_value_(true) {}

    constexpr result(result const& o) requires(std::is_copy_constructible_v<T>) : has_value_(o.has_value_) {
        construct(o);
    }
    constexpr result(result&& o) noexcept(std::is_nothrow_move_constructible_v<T>) : has_value_(o.has_value_) {
        construct(std::move(o));
    }
    constexpr result& operator=(result const& o) requires(std::is_copy_constructible_v<T>) {
        if (this != &o) {
            result copy(o);
            destroy();
            has_value_ = copy.has_value_;
            construct(std::move(copy));
        }
        return *this;
    }
    constexpr result& operator=(result&& o) noexcept(std::is_nothrow_move_constructible_v<T>) {
        if (this != &o) {
            destroy();
            has_value_ = o.has_value_;
            construct(std::move(o));
        }
        return *this;
    }
    constexpr ~result() { destroy(); }

    [[nodiscard]] constexpr bool has_value() const noexcept { return has_value_; }
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return has_value_; }

    [[nodiscard]] constexpr T& operator*() & noexcept {
        SYNCLINE_ASSERT(has_value_);
        return value_;
    }
    [[nodiscard]] constexpr T const& operator*() const& noexcept {
        SYNCLINE_ASSERT(has_value_);
        return value_;
    }
    [[nodiscard]] constexpr T&& operator*() && noexcept {
        SYNCLINE_ASSERT(has_value_);
        return std::move(value_);
    }
    [[nodiscard]] constexpr T* operator->() noexcept {
        SYNCLINE_ASSERT(has_value_);
        return &value_;
    }
    [[nodiscard]] constexpr T const* operator->() const noexcept {
        SYNCLINE_ASSERT(has_value_);
        return &value_;
    }

    [[nodiscard]] constexpr failure const& error() const noexcept {
        SYNCLINE_ASSERT(!has_value_);
        return failure_;
    }
    template <class U>
    [[nodiscard]] constexpr T value_or(U&& other) const& {
        return has_value_ ? value_ : static_cast<T>(std::forward<U>(other));
    }
    template <class U>
    [[nodiscard]] constexpr T value_or(U&& other) && {
        return has_value_ ? std::move(value_) : static_cast<T>(std::forward<U>(other));
    }

private:
    template <class R>
    constexpr void construct(R&& o) {
        if (has_value_) {
            ::new (static_cast<void*>(&value_)) T(std::forward<R>(o).value_);
        } else {
            ::new (static_cast<void*>(&failure_)) failure(o.failure_);
        }
    }
    constexpr void destroy() noexcept {
        if (has_value_) { value_.~T(); }
    }

    union {
        T value_;
        failure failure_;
    };
    bool has_value_;
};

/// Success, or a `failure`.
template <>
class [[nodiscard]] result<void> {
public:
    using value_type = void;

    constexpr result() noexcept = default;
    constexpr result(failure const& f) noexcept : failure_(f), has_value_(false) {}
    constexpr result(errc e) noexcept : failure_(e), has_value_(false) {}

    [[nodiscard]] constexpr bool has_value() const noexcept { return has_value_; }
    [[nodiscard]] constexpr explicit operator bool() const noexcept { return has_value_; }
    [[nodiscard]] constexpr failure const& error() const noexcept {
        SYNCLINE_ASSERT(!has_value_);
        return failure_;
    }

private:
    failure failure_{};
    bool has_value_ = true;
};

using status = result<void>;

}  // namespace syncline::inline SYNCLINE_ABI
