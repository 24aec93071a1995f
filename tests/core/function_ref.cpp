// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/function_ref.hpp>

#include <memory>
#include <type_traits>
#include <utility>

#include "support/catch.hpp"

namespace {

using syncline::function_ref;

static_assert(sizeof(function_ref<void()>) == 2 * sizeof(void*));
static_assert(std::is_trivially_copyable_v<function_ref<int(int)>>);
static_assert(!std::is_default_constructible_v<function_ref<void()>>);
static_assert(!std::is_constructible_v<function_ref<int(int)>, char const*>);

TEST_CASE("it calls what it refers to, and changes it") {
    int calls = 0;
    auto count = [&calls](int n) { return calls += n; };
    function_ref<int(int)> const f = count;
    CHECK(f(2) == 2);
    function_ref<int(int)> const copy = f;
    CHECK(copy(3) == 5);
    CHECK(calls == 5);
}

TEST_CASE("it refers to constant callables, and passes what can only be moved") {
    auto const add = [](std::unique_ptr<int> p) { return *p + 1; };
    function_ref<int(std::unique_ptr<int>)> const f = add;
    CHECK(f(std::make_unique<int>(4)) == 5);
}

TEST_CASE("references go through untouched, and results that nobody wants are dropped") {
    int n = 1;
    auto const same = [](int& x) -> int& { return x; };
    function_ref<int&(int&)> const f = same;
    CHECK(&f(n) == &n);
    function_ref<void(int&)> const g = same;
    g(n);
}

}  // namespace
