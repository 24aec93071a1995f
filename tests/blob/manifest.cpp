// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/manifest.hpp>

#include <syncline/core/random.hpp>
#include <syncline/merge/three_way.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

blob_manifest small() {
    blob_manifest m{.type = "image/jpeg"};
    m.chunks.push_back({sha256(as_bytes("a")), 1});
    m.chunks.push_back({sha256(as_bytes("bc")), 2});
    return m;
}

}  // namespace

TEST_CASE("manifest: it comes back as it was, under the same name, and its bytes are pinned", "[blob]") {
    auto const m = small();
    CHECK(m.size() == 3);
    auto const back = decode_manifest(encode(m));
    REQUIRE(back);
    CHECK(*back == m);
    CHECK(to_hex(encode(m)) ==
          "84016a696d6167652f6a7065675840ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
          "1e0bbd6c686ba050b8eb03ffeedc64fdc9d80947fce821abbe5d6dc8d252c5ac820102");
    CHECK(to_hex(manifest_id(encode(m))) == "5670a51cd9605a7a2375c58c50c321da38837463b5013c6f776e3a0b9d1e43d2");
    CHECK(*decode_manifest(encode(blob_manifest{})) == blob_manifest{});
}

TEST_CASE("manifest: what is cut, changed or over a limit is refused", "[blob]") {
    auto const whole = encode(small());
    for (std::size_t n = 0; n < whole.size(); ++n) { CHECK_FALSE(decode_manifest(bytes_view{whole}.first(n))); }
    random_generator g(1);
    for (int i = 0; i < 2000; ++i) {
        bytes bad = whole;
        bad[below(g, bad.size())] = static_cast<std::byte>(g());
        auto const got = decode_manifest(bad);
        if (got) { CHECK(encode(*got) == bad); }
    }
    CHECK(decode_manifest(whole, {.chunks_max = 1}).error() == errc::limit);
    CHECK(decode_manifest(whole, {.chunk_bytes_max = 1}).error() == errc::limit);
    CHECK(decode_manifest(whole, {.bytes_max = 2}).error() == errc::limit);
    CHECK(decode_manifest(whole, {.type_bytes_max = 9}).error() == errc::limit);
    auto none = small();
    none.chunks[0].size = 0;
    CHECK(decode_manifest(encode(none)).error() == errc::malformed);
    auto huge = small();
    huge.chunks[0].size = huge.chunks[1].size = ~std::uint64_t{0};
    CHECK(decode_manifest(encode(huge)).error() == errc::limit);
}

TEST_CASE("manifest: it is of the content's chunks in order, each with its hash", "[blob]") {
    random_generator g(2);
    bytes content(300'000);
    fill(g, content);
    auto const m = make_manifest(content, "x");
    CHECK(m.size() == content.size());
    bytes_view rest = content;
    for (chunk_ref const& c : m.chunks) {
        CHECK(c.id == sha256(rest.first(static_cast<std::size_t>(c.size))));
        rest = rest.subspan(static_cast<std::size_t>(c.size));
    }
    CHECK(rest.empty());
    CHECK(make_manifest({}).chunks.empty());
}

TEST_CASE("manifest: a reference is a field's value, refused where it is none", "[blob]") {
    blob_ref const b{sha256(as_bytes("m")), 5, "text/plain"};
    CHECK(*decode_blob_ref(encode(b)) == b);
    auto const whole = encode(b);
    for (std::size_t n = 0; n < whole.size(); ++n) { CHECK_FALSE(decode_blob_ref(bytes_view{whole}.first(n))); }
    CHECK(decode_blob_ref(encode(small())).error() == errc::malformed);
}

TEST_CASE("manifest: two versions of one asset conflict as any field does", "[blob]") {
    auto const photo = [](char const* content) {
        bytes record;
        cbor_writer w(record);
        w.map(2);
        w.text("name");
        w.text("hall");
        w.text("photo");
        w.raw(encode(blob_ref{sha256(as_bytes(content)), 9, "image/jpeg"}));
        return record;
    };
    collection_rules rules;
    rules.fields.push_back({"photo", rule::manual});
    side const phone{timestamp{1}, 1}, office{timestamp{2}, 2};
    auto const both = three_way(photo("base"), photo("phone's"), photo("office's"), rules, phone, office);
    REQUIRE(both);
    CHECK(both->conflicts == std::vector<std::string>{"photo"});
    CHECK(both->record == photo("office's"));
    rules.fields.clear();
    auto const last = three_way(photo("base"), photo("phone's"), photo("office's"), rules, phone, office);
    CHECK(last->conflicts.empty());
    CHECK(last->record == photo("office's"));
    auto const one = three_way(photo("base"), photo("phone's"), photo("base"), rules, phone, office);
    CHECK(one->record == photo("phone's"));
}
