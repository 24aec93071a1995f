// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/merge/field_index.hpp>

using namespace syncline;

namespace {

bytes map_of(std::size_t fields, std::size_t length) {
    bytes out;
    cbor_writer w{out};
    w.map(fields);
    for (std::size_t i = 0; i != fields; ++i) {
        w.text(std::string(i + 1, 'k'));
        w.text(std::string(length, 'v'));
    }
    return out;
}

}  // namespace

TEST_CASE("field_index: begins are where the keys stand, and the end") {
    for (std::size_t const n : {0U, 1U, 2U, 23U, 24U, 100U, 255U}) {
        bytes const map = map_of(n, n % 7);
        auto const index = index_fields(map);
        REQUIRE(index);
        REQUIRE(index->begins().size() == n + 1);
        CHECK(index->begins().back() == map.size());
        for (std::size_t i = 0; i != n; ++i) {
            cbor_reader at{bytes_view{map}.subspan(index->begins()[i])};
            CHECK(at.text() == std::string(i + 1, 'k'));
        }
    }
    CHECK(field_index{}.begins().empty());
    CHECK(*index_fields(map_of(3, 1)) == *index_fields(map_of(3, 1)));
}

TEST_CASE("field_index: what is no record has none") {
    bytes const map = map_of(3, 5);
    for (std::size_t n = 0; n != map.size(); ++n) { CHECK_FALSE(index_fields(bytes_view{map}.first(n))); }
    bytes longer = map;
    longer.push_back(std::byte{0});
    CHECK_FALSE(index_fields(longer));
    bytes numbered;
    cbor_writer w{numbered};
    w.map(1);
    w.integer(1);
    w.integer(2);
    CHECK_FALSE(index_fields(numbered));
}
