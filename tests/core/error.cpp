// SPDX-License-Identifier: BSL-1.0
#include <syncline/core/error.hpp>

#include <set>
#include <string>
#include <system_error>

#include "support/catch.hpp"

namespace {

using syncline::errc;

TEST_CASE("each error has a text of its own, and a number without an error says so") {
    std::set<std::string> texts;
    int known = 0;
    for (int n = 0; n < 256; ++n) {
        std::string const text = syncline::message(static_cast<errc>(n));
        if (text == "unknown error") { continue; }
        ++known;
        CHECK(texts.insert(text).second);
    }
    CHECK(known == static_cast<int>(errc::cancelled));
}

TEST_CASE("numbers travel in logs and messages: they are for ever") {
    static_assert(static_cast<int>(errc::storage_full) == 1);
    static_assert(static_cast<int>(errc::malformed) == 3);
    static_assert(static_cast<int>(errc::contended) == 7);
    static_assert(static_cast<int>(errc::not_found) == 13);
    static_assert(static_cast<int>(errc::unsupported) == 16);
    static_assert(static_cast<int>(errc::unreachable) == 19);
    static_assert(static_cast<int>(errc::foreign) == 26);
    static_assert(static_cast<int>(errc::claim_lost) == 29);
    static_assert(static_cast<int>(errc::cancelled) == 32);
}

TEST_CASE("an error is a std::error_code") {
    std::error_code const code = errc::timed_out;
    CHECK(code.value() == 20);
    CHECK(code == errc::timed_out);
    CHECK(code != errc::busy);
    CHECK(code.message() == "timed out");
    CHECK(std::string{code.category().name()} == "syncline");
    CHECK(&code.category() == &syncline::category());
    CHECK(syncline::category().message(4711) == "unknown error");
    CHECK(syncline::category().message(-1) == "unknown error");
    CHECK(code != std::error_code(20, std::generic_category()));
}

}  // namespace
