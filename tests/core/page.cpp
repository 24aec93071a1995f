// SPDX-License-Identifier: BSL-1.0
// What docs/core.md quotes.

#include "support/catch.hpp"

#include <cstdint>
#include <optional>
#include <string>

#include <syncline/core.hpp>

using namespace syncline;

namespace {

// region: guest
struct guest {
    std::string name;
    std::optional<std::int64_t> seat{};
    unknown_fields rest{};  // what a newer program wrote
};
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("name", &guest::name), field("seat", &guest::seat), unknown(&guest::rest));
}
// endregion: guest

// region: result
/// The seat that a message gives; nothing else may be in it.
result<std::uint8_t> read_seat(bytes_view message) {
    cbor_reader in{message};
    std::uint64_t const n = in.unsigned_integer();
    if (auto const ok = in.finish(); !ok) { return ok.error(); }
    auto const seat = checked_narrow<std::uint8_t>(n);
    if (!seat) { return failure{errc::overflow, "no room is so large"}; }
    return *seat;
}
// endregion: result

}  // namespace

TEST_CASE("the page of core: a described struct, its encoding, and a field that it does not know") {
    // region: encode
    auto const encoded = encode_record(guest{"Ada", 4});
    auto const decoded = decode_record<guest>(*encoded);
    // endregion: encode
    REQUIRE(decoded);
    CHECK(to_hex(*encoded) == "a2646e616d6563416461647365617404");
    CHECK(equal_fields(*decoded, guest{"Ada", 4}));

    bytes newer;
    cbor_writer w{newer};
    w.map(2);
    w.text("name");
    w.text("Ada");
    w.text("vegan");
    w.boolean(true);
    auto const older = decode_record<guest>(newer);
    REQUIRE(older);
    CHECK(older->rest.size() == 1);
    CHECK(*encode_record(*older) == newer);
}

TEST_CASE("the page of core: a decoder of one's own answers errors as values") {
    bytes four;
    cbor_writer{four}.unsigned_integer(4);
    CHECK(*read_seat(four) == 4);
    bytes many;
    cbor_writer{many}.unsigned_integer(400);
    CHECK(read_seat(many).error() == errc::overflow);
    CHECK(read_seat({}).error() == errc::malformed);
}
