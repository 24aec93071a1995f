// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `function_ref<R(A...)>`: a borrowed callable, two pointers wide, for visitors that live for one call.

#include <type_traits>
#include <utility>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

template <class Signature>
class function_ref;

/// Refers to a callable without owning it: it must outlive every call. Never null, never allocates.
template <class R, class... A>
class function_ref<R(A...)> {
public:
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, function_ref> && std::is_invocable_r_v<R, F&, A...>)
    constexpr function_ref(F&& f) noexcept  // implicit, so that a lambda can be passed where a visitor is taken
        : object_(const_cast<void*>(static_cast<void const*>(&f))), call_([](void* object, A... args) -> R {
              auto& callable = *static_cast<std::remove_reference_t<F>*>(object);
              if constexpr (std::is_void_v<R>) {
                  (void)callable(std::forward<A>(args)...);
              } else {
                  return callable(std::forward<A>(args)...);
              }
          }) {}

    constexpr R operator()(A... args) const { return call_(object_, std::forward<A>(args)...); }

private:
    void* object_;
    R (*call_)(void*, A...);
};

}  // namespace syncline::inline SYNCLINE_ABI
