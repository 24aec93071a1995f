// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <syncline/merge/grapheme.hpp>

using namespace syncline;

namespace {

std::vector<std::string> characters(std::string_view text) {
    std::vector<std::string> out;
    for (std::size_t at = 0; at != text.size();) {
        std::size_t const next = next_character(text, at);
        out.emplace_back(text.substr(at, next - at));
        at = next;
    }
    return out;
}
using list = std::vector<std::string>;

}  // namespace

TEST_CASE("grapheme: what people see as one character is not cut") {
    CHECK(characters("abc") == list{"a", "b", "c"});
    CHECK(characters("a\r\nb") == list{"a", "\r\n", "b"});
    CHECK(characters("\r\r\n") == list{"\r", "\r\n"});
    CHECK(characters("e\xCC\x81x") == list{"e\xCC\x81", "x"});                               // combining accent
    CHECK(characters("\n\xCC\x81") == list{"\n", "\xCC\x81"});                               // not on a control
    CHECK(characters("\xF0\x9F\x87\xA8\xF0\x9F\x87\xAD\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA") ==  // two flags
          list{"\xF0\x9F\x87\xA8\xF0\x9F\x87\xAD", "\xF0\x9F\x87\xA9\xF0\x9F\x87\xAA"});
    CHECK(characters("\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD!") ==
          list{"\xF0\x9F\x91\x8D\xF0\x9F\x8F\xBD", "!"});                                // skin tone
    CHECK(characters("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8\xEA\xB0\x80\xE1\x86\xA8") ==  // Hangul, in parts
          list{"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x80\xE1\x86\xA8"});
    CHECK(characters("\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7") ==
          list{"\xE0\xA4\x95\xE0\xA5\x8D\xE0\xA4\xB7"});                         // Devanagari
    CHECK(characters("\xE2\x9D\xA4\xEF\xB8\x8F\xE2\x80\x8D\xF0\x9F\x94\xA5") ==  // heart on fire
          list{"\xE2\x9D\xA4\xEF\xB8\x8F\xE2\x80\x8D\xF0\x9F\x94\xA5"});
    CHECK(characters("").empty());
}

TEST_CASE("grapheme: places in UTF-8 and UTF-16 lead to each other") {
    std::string const text = "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x91\x8Dz";  // 1, 2, 3 and 4 bytes
    std::size_t const bytes_at[] = {0, 1, 3, 6, 10, 11};
    std::size_t const units_at[] = {0, 1, 2, 3, 5, 6};
    for (std::size_t i = 0; i != 6; ++i) {
        CHECK(utf16_offset(text, bytes_at[i]) == units_at[i]);
        CHECK(utf8_offset(text, units_at[i]) == bytes_at[i]);
    }
    CHECK(utf8_offset(text, 4) == 6);  // inside of the pair: where it begins
    CHECK(utf8_offset(text, 100) == text.size());
}
