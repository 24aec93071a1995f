// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/config.hpp>

#include <string_view>

#include "support/catch.hpp"

namespace {

#define SYNCLINE_TEXT_OF(x) #x
#define SYNCLINE_TEXT(x) SYNCLINE_TEXT_OF(x)

TEST_CASE("the version is a value, equal to the macros") {
    constexpr syncline::version here{};
    static_assert(here.major == SYNCLINE_VERSION_MAJOR && here.minor == SYNCLINE_VERSION_MINOR &&
                  here.patch == SYNCLINE_VERSION_PATCH);
    CHECK(here == syncline::version{SYNCLINE_VERSION_MAJOR, SYNCLINE_VERSION_MINOR, SYNCLINE_VERSION_PATCH});
    CHECK_FALSE(here == syncline::version{SYNCLINE_VERSION_MAJOR, SYNCLINE_VERSION_MINOR, SYNCLINE_VERSION_PATCH + 1});
}

TEST_CASE("the checked mode is part of the inline namespace's name") {
    std::string_view const abi = SYNCLINE_TEXT(SYNCLINE_ABI);
    CHECK(abi == (SYNCLINE_CHECKED ? "v0_checked" : "v0"));
}

TEST_CASE("an assertion that holds does nothing, and evaluates its condition at most once") {
    int evaluated = 0;
    auto const holds = [&evaluated] {
        ++evaluated;
        return true;
    };
    SYNCLINE_ASSERT(holds());
    CHECK(evaluated == (SYNCLINE_CHECKED ? 1 : 0));
    (void)holds;
}

}  // namespace
