// SPDX-License-Identifier: BSL-1.0

/// UTF-8 is checked as a naive decoder does it that encodes what it read and compares.

#include <syncline/core/utf8.hpp>

#include <string>
#include <string_view>

#include "fuzz_targets/cbor_model.hpp"
#include "support/catch.hpp"

using syncline::valid_utf8;

namespace {

static_assert(valid_utf8("") && valid_utf8("sync") && valid_utf8("\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x8D\x8C"));
static_assert(!valid_utf8("\xC0\x80") && !valid_utf8("\xED\xA0\x80") && !valid_utf8("\xF4\x90\x80\x80"));
static_assert(noexcept(valid_utf8(std::string_view())));

}  // namespace

TEST_CASE("every code point is valid, every surrogate isn't", "[core][utf8]") {
    std::size_t wrong = 0;
    for (std::uint32_t c = 0; c <= 0x110000; ++c) {
        std::string s;
        auto const put = [&](std::uint32_t byte) { s.push_back(static_cast<char>(byte)); };
        if (c < 0x80) {
            put(c);
        } else if (c < 0x800) {
            put(0xC0 | (c >> 6));
        } else if (c < 0x10000) {
            put(0xE0 | (c >> 12));
            put(0x80 | ((c >> 6) & 0x3F));
        } else {
            put(0xF0 | (c >> 18));
            put(0x80 | ((c >> 12) & 0x3F));
            put(0x80 | ((c >> 6) & 0x3F));
        }
        if (c >= 0x80) { put(0x80 | (c & 0x3F)); }
        bool const good = c <= 0x10FFFF && !(c >= 0xD800 && c <= 0xDFFF);
        if (valid_utf8(s) != good) { ++wrong; }
    }
    CHECK(wrong == 0);
}

TEST_CASE("all sequences of the bytes where the rules change are judged as the model judges them", "[core][utf8]") {
    constexpr unsigned corners[] = {0x00, 0x61, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2,
                                    0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF4, 0xF5, 0xFF};
    std::size_t wrong = 0;
    std::string s;
    for (std::size_t size = 1; size <= 4; ++size) {
        std::size_t total = 1;
        for (std::size_t i = 0; i < size; ++i) { total *= std::size(corners); }
        for (std::size_t n = 0; n < total; ++n) {
            s.clear();
            for (std::size_t i = 0, rest = n; i < size; ++i, rest /= std::size(corners)) {
                s.push_back(static_cast<char>(corners[rest % std::size(corners)]));
            }
            if (valid_utf8(s) != cbor_model::parser::utf8(s)) { ++wrong; }
        }
    }
    CHECK(wrong == 0);
}

TEST_CASE("one bad byte is found wherever it stands", "[core][utf8]") {
    for (std::size_t size = 1; size < 100; ++size) {
        std::string s(size, 'x');
        REQUIRE(valid_utf8(s));
        for (std::size_t at = 0; at < size; ++at) {
            s[at] = '\x80';
            REQUIRE(!valid_utf8(s));
            s[at] = '\xFF';
            REQUIRE(!valid_utf8(s));
            if (at + 1 < size) {
                s[at] = '\xC3';
                s[at + 1] = '\xA9';
                REQUIRE(valid_utf8(s));
                REQUIRE(!valid_utf8(std::string_view(s).substr(at + 1)));
                s[at + 1] = 'x';
            }
            s[at] = 'x';
        }
    }
}
