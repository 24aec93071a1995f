// SPDX-License-Identifier: BSL-1.0

/// The sink's bound, and dictionaries that both ends agree on.

#include <syncline/delta/codec.hpp>

#include <optional>
#include <string>

#include <syncline/testing/codec_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("a sink takes its limit and not a byte more") {
    bytes out = to_bytes("before");
    bounded_sink sink(out, 4);
    CHECK(sink.write(as_bytes("abc")));
    CHECK(sink.write(as_bytes("de")).error() == errc::limit);
    CHECK(sink.left() == 1);
    auto const room = sink.room(10);
    REQUIRE(room.size() == 1);
    room[0] = std::byte{'d'};
    sink.wrote(1);
    CHECK(as_text(out) == "beforeabcd");
    CHECK(sink.room(1).empty());
    sink.wrote(0);
    CHECK(sink.size() == 4);
    sink.roll_back();
    CHECK(as_text(out) == "before");
}

namespace {

/// As `no_codec`, but a cut end is told.
struct framed_codec {
    status compress(bytes_view in, bytes_view, bytes& out) {
        append_varint(out, in.size());
        append(out, in);
        return {};
    }
    status decompress(bytes_view in, bytes_view, bounded_sink& sink) {
        auto const n = take_varint(in);
        if (!n) { return n.error(); }
        if (*n != in.size()) { return errc::malformed; }
        return sink.write(in);
    }
    std::string_view name() const { return "framed"; }
};

}  // namespace

TEST_CASE("no_codec can't tell a cut end, and keeps all else") {
    no_codec none;
    for (auto const& v : testing::certify_codec(none)) { CHECK(v.axiom == "hostile"); }
    framed_codec framed;
    CHECK(testing::to_text(testing::certify_codec(framed)).empty());
}

TEST_CASE("both ends agree on the latest dictionary that both have, by its content") {
    dictionary_set a;
    dictionary_set b;
    CHECK(a.add({"orders", 1, to_bytes("one")}));
    CHECK(a.add({"orders", 2, to_bytes("two")}));
    CHECK(a.add({"orders", 3, to_bytes("three")}));
    CHECK(b.add({"orders", 2, to_bytes("two")}));
    CHECK(b.add({"orders", 3, to_bytes("another three")}));
    CHECK(a.add({"orders", 3, to_bytes("x")}).error() == errc::already_exists);
    CHECK(a.add({"", 3, to_bytes("x")}).error() == errc::invalid);
    auto const agreed = a.agree("orders", b.offer());
    REQUIRE(agreed);
    REQUIRE(*agreed != nullptr);
    CHECK((*agreed)->version == 2);
    CHECK(as_text(*b.find((*agreed)->fingerprint)) == "two");
    CHECK(*a.agree("guests", b.offer()) == nullptr);
    CHECK(*a.agree("orders", dictionary_set{}.offer()) == nullptr);
    CHECK(!a.agree("orders", as_bytes("junk")));
    bytes const offer = b.offer();
    for (std::size_t n = 0; n < offer.size(); ++n) { CHECK(!a.agree("orders", bytes_view(offer).first(n))); }

    framed_codec c;
    bytes packed;
    CHECK(compress_with(c, a, 12345, as_bytes("text"), packed).error() == errc::not_found);
    CHECK(packed.empty());
    REQUIRE(compress_with(c, a, (*agreed)->fingerprint, as_bytes("text"), packed));
    bytes out;
    bounded_sink sink(out, 100);
    CHECK(decompress_with(c, b, packed, sink));
    CHECK(as_text(out) == "text");
    CHECK(decompress_with(c, b, bytes_view(packed).first(7), sink).error() == errc::malformed);
}

TEST_CASE("dictionaries are few") {
    dictionary_set set;
    for (std::uint32_t i = 0; i < dictionary_set::count_max; ++i) { REQUIRE(set.add({"s", i, {}})); }
    CHECK(set.add({"s", 1000, {}}).error() == errc::limit);
    CHECK(dictionary_set{}.add({"s", 1, bytes(dictionary_set::content_max + 1)}).error() == errc::limit);
}
