// SPDX-License-Identifier: BSL-1.0

/// Fields and mutations of strangers, carried between schema versions: never more than an error, and the way back
/// leads to where it began.

#include <cstdint>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"
#include "model/schema_world.hpp"

namespace {

using namespace schema_tests;
using fuzz::choices;

void check_fields(collection_schema const& s, schema_version from, schema_version to, bytes_view raw) {
    auto const there = s.cast(raw, from, to);
    if (!there) {
        SYNCLINE_FUZZ_REQUIRE(there.error() != errc::corrupt);
        return;
    }
    if (there->empty() || from == to) { return; }  // one version: nothing is read
    SYNCLINE_FUZZ_REQUIRE(validate_fields(*there));
    auto const back = s.cast(*there, to, from);
    // A stranger may have what a version keeps for itself; then the names of the way back may be taken.
    if (back) { SYNCLINE_FUZZ_REQUIRE(validate_fields(*back)); }
}

void check_mutation(collection_schema const& s, schema_version to, bytes_view raw) {
    cbor_reader in{raw};
    mutation m = decode_mutation(in);
    if (!in.finish()) { return; }
    mutation const before = m;
    if (!s.cast(m, to)) {
        SYNCLINE_FUZZ_REQUIRE(m == before);
        return;
    }
    SYNCLINE_FUZZ_REQUIRE(m.schema == to);
    bytes again;
    cbor_writer w{again};
    encode_mutation(w, m);
    cbor_reader r{again};
    SYNCLINE_FUZZ_REQUIRE(decode_mutation(r) == m);
    SYNCLINE_FUZZ_REQUIRE(r.finish());
}

int body(std::uint8_t const* data, std::size_t size) {
    static collection_schema const s = guests();
    choices in(data, size);
    auto const from = static_cast<schema_version>(in.below(6));
    auto const to = static_cast<schema_version>(in.below(6));
    if (in.below(2) == 0) {
        check_fields(s, from, to, in.rest());
    } else {
        check_mutation(s, to, in.rest());
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    bytes out{std::byte{1}, std::byte{4}, std::byte{0}};
    append(out, fields({{"name", "Anna Dahl"}, {"paid", 12}, {"day", 3}, {"fax", true}}));
    sink("fields", out);
    out.assign({std::byte{4}, std::byte{1}, std::byte{0}});
    append(out, fields({{"first", "Anna"}, {"last", "Dahl"}, {"cents", 1250}, {"when", "1T2T3"}}));
    sink("newer", out);
    out.assign({std::byte{1}, std::byte{4}, std::byte{1}});
    mutation m;
    m.record = {"guests", "a"};
    m.ops = {{"name", op_kind::set, item("Ben Holm"), timestamp{4}}, {"paid", op_kind::add, item(5), timestamp{}}};
    cbor_writer w{out};
    encode_mutation(w, m);
    sink("mutation", out);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .length = 200, .seeds = seeds)
