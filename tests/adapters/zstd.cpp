// SPDX-License-Identifier: BSL-1.0

/// `zstd_codec` keeps the axioms of `codec`.

#include <syncline/adapters/zstd.hpp>

#include <span>
#include <string>
#include <vector>

#include <syncline/testing/codec_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("the codec keeps the axioms: zstd") {
    zstd_codec c;
    CHECK(testing::to_text(testing::certify_codec(c)).empty());
    CHECK(c.name() == "zstd");
}

namespace {

/// Records of one kind, as a stream has them.
bytes record(unsigned i) {
    return to_bytes(R"({"id":")" + std::to_string(i * 7919) + R"(","status":")" +
                    (i % 3 == 0 ? "seated" : "confirmed") + R"(","guests":)" + std::to_string(i % 9 + 1) +
                    R"(,"notes":"table near the window","source":"website"})");
}

}  // namespace

TEST_CASE("a trained dictionary makes small records smaller, and both ends agree on which") {
    std::vector<bytes> records;
    std::vector<bytes_view> samples;
    for (unsigned i = 0; i < 1000; ++i) { records.push_back(record(i)); }
    for (bytes const& r : records) { samples.push_back(r); }
    auto const trained = zstd_train(samples, 4096);
    REQUIRE(trained);
    CHECK(zstd_train(std::span<bytes_view const>{}, 4096).error() == errc::invalid);

    dictionary_set here;
    dictionary_set there;
    REQUIRE(here.add({"bookings", 1, to_bytes("an older one")}));
    REQUIRE(here.add({"bookings", 2, *trained}));
    REQUIRE(there.add({"bookings", 2, *trained}));
    auto const agreed = here.agree("bookings", there.offer());
    REQUIRE(agreed);
    REQUIRE(*agreed != nullptr);
    CHECK((*agreed)->version == 2);

    zstd_codec c;
    bytes const fresh = record(5555);
    bytes alone;
    REQUIRE(c.compress(fresh, {}, alone));
    bytes with;
    REQUIRE(compress_with(c, here, (*agreed)->fingerprint, fresh, with));
    CHECK(with.size() * 2 < alone.size());
    bytes back;
    bounded_sink sink(back, 1000);
    REQUIRE(decompress_with(c, there, with, sink));
    CHECK(back == fresh);

    dictionary_set without;
    CHECK(decompress_with(c, without, with, sink).error() == errc::not_found);
}

TEST_CASE("the base as prefix makes a delta of it") {
    bytes base;
    for (unsigned i = 0; i < 3000; ++i) { append(base, record(i * i)); }
    bytes target = base;
    target[1000] = std::byte{'!'};
    zstd_codec c;
    bytes packed;
    REQUIRE(c.compress(target, base, packed));
    CHECK(packed.size() < 200);
    bytes back;
    bounded_sink sink(back, target.size());
    REQUIRE(c.decompress(packed, base, sink));
    CHECK(back == target);
    bytes wrong;
    bounded_sink other(wrong, target.size());
    CHECK(!c.decompress(packed, bytes_view(base).first(base.size() - 5), other));
}
