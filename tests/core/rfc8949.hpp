// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The examples of RFC 8949: all of appendix A, and all of appendix F, which must be refused.

#include <cstddef>
#include <string>
#include <string_view>

#include <syncline/core/bytes.hpp>

namespace rfc8949 {

struct example {
    std::string_view encoded;
    std::string_view canonical;  // "=" the same; "" of a type that isn't supported
};

inline constexpr example appendix_a[] = {
    {"00", "="},
    {"01", "="},
    {"0a", "="},
    {"17", "="},
    {"1818", "="},
    {"1819", "="},
    {"1864", "="},
    {"1903e8", "="},
    {"1a000f4240", "="},
    {"1b000000e8d4a51000", "="},
    {"1bffffffffffffffff", "="},
    {"c249010000000000000000", ""},
    {"3bffffffffffffffff", "="},
    {"c349010000000000000000", ""},
    {"20", "="},
    {"29", "="},
    {"3863", "="},
    {"3903e7", "="},
    {"f90000", "="},
    {"f98000", "="},
    {"f93c00", "="},
    {"fb3ff199999999999a", "="},
    {"f93e00", "="},
    {"f97bff", "="},
    {"fa47c35000", "="},
    {"fa7f7fffff", "="},
    {"fb7e37e43c8800759c", "="},
    {"f90001", "="},
    {"f90400", "="},
    {"f9c400", "="},
    {"fbc010666666666666", "="},
    {"f97c00", "="},
    {"f97e00", "="},
    {"f9fc00", "="},
    {"fa7f800000", "f97c00"},
    {"fa7fc00000", "f97e00"},
    {"faff800000", "f9fc00"},
    {"fb7ff0000000000000", "f97c00"},
    {"fb7ff8000000000000", "f97e00"},
    {"fbfff0000000000000", "f9fc00"},
    {"f4", "="},
    {"f5", "="},
    {"f6", "="},
    {"f7", ""},
    {"f0", ""},
    {"f8ff", ""},
    {"c074323031332d30332d32315432303a30343a30305a", ""},
    {"c11a514b67b0", ""},
    {"c1fb41d452d9e8200000", ""},
    {"d74401020304", ""},
    {"d818456449455446", ""},
    {"d82076687474703a2f2f7777772e6578616d706c652e636f6d", ""},
    {"40", "="},
    {"4401020304", "="},
    {"60", "="},
    {"6161", "="},
    {"6449455446", "="},
    {"62225c", "="},
    {"62c3bc", "="},
    {"63e6b0b4", "="},
    {"64f0908591", "="},
    {"80", "="},
    {"83010203", "="},
    {"8301820203820405", "="},
    {"98190102030405060708090a0b0c0d0e0f101112131415161718181819", "="},
    {"a0", "="},
    {"a201020304", "="},
    {"a26161016162820203", "="},
    {"826161a161626163", "="},
    {"a56161614161626142616361436164614461656145", "="},
    {"5f42010243030405ff", "450102030405"},
    {"7f657374726561646d696e67ff", "6973747265616d696e67"},
    {"9fff", "80"},
    {"9f018202039f0405ffff", "8301820203820405"},
    {"9f01820203820405ff", "8301820203820405"},
    {"83018202039f0405ff", "8301820203820405"},
    {"83019f0203ff820405", "8301820203820405"},
    {"9f0102030405060708090a0b0c0d0e0f101112131415161718181819ff",
     "98190102030405060708090a0b0c0d0e0f101112131415161718181819"},
    {"bf61610161629f0203ffff", "a26161016162820203"},
    {"826161bf61626163ff", "826161a161626163"},
    {"bf6346756ef563416d7421ff", "a263416d74216346756ef5"},
};

inline constexpr std::string_view appendix_f[] = {
    // the end of the input inside a head
    "18", "19", "1a", "1b", "1901", "1a0102", "1b01020304050607", "38", "58", "78", "98", "9a01ff00", "b8", "d8", "f8",
    "f900", "fa0000", "fb000000",
    // strings with less data than they say
    "41", "61", "5affffffff00", "5bffffffffffffffff010203", "7affffffff00", "7b7fffffffffffffff010203",
    // arrays and maps with fewer items than they say
    "81", "818181818181818181", "8200", "a1", "a20102", "a100", "a2000000",
    // a tag without content
    "c0",
    // strings of indefinite length that don't end
    "5f4100", "7f6100",
    // arrays and maps of indefinite length that don't end
    "9f", "9f0102", "bf", "bf01020102", "819f", "9f8000", "9f9f9f9f9fffffffff", "9f819f819f9fffffff",
    // reserved additional information
    "1c", "1d", "1e", "3c", "3d", "3e", "5c", "5d", "5e", "7c", "7d", "7e", "9c", "9d", "9e", "bc", "bd", "be", "dc",
    "dd", "de", "fc", "fd", "fe",
    // reserved two-byte encodings of simple values
    "f800", "f801", "f818", "f81f",
    // pieces of a string that aren't of its type
    "5f00ff", "5f21ff", "5f6100ff", "5f80ff", "5fa0ff", "5fc000ff", "5fe0ff", "7f4100ff",
    // pieces of a string that aren't of definite length
    "5f5f4100ffff", "7f7f6100ffff",
    // a break on its own
    "ff",
    // a break in an array, a map, a tag of definite length
    "81ff", "8200ff", "a1ff", "a1ff00", "a100ff", "a20000ff", "9f81ff", "9f829f819f9fffffffff",
    // a break instead of a value
    "bf00ff", "bf000000ff",
    // indefinite length of what has none
    "1f", "3f", "df"};

inline syncline::bytes unhex(std::string_view hex) {
    syncline::bytes out;
    auto const digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::byte>(digit(hex[i]) << 4 | digit(hex[i + 1])));
    }
    return out;
}

}  // namespace rfc8949
