// SPDX-License-Identifier: BSL-1.0

/// Records come back from a few bytes; other bytes are refused or make something else within the limit.

#include <syncline/delta/compact.hpp>

#include <string>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

bytes encoded(bytes_view base, bytes_view target) {
    delta_scratch scratch;
    bytes out;
    compact_encode(base, target, out, scratch);
    return out;
}
result<bytes> decode(bytes_view base, bytes_view delta, std::size_t most = 1 << 20) {
    bytes out = to_bytes("kept");
    auto const ok = compact_decode(base, delta, out, most);
    CHECK(starts_with(out, as_bytes("kept")));
    if (!ok) {
        CHECK(out.size() == 4);
        return ok.error();
    }
    return to_bytes(bytes_view(out).subspan(4));
}

}  // namespace

TEST_CASE("pairs come back, whatever the memory was used for") {
    random_generator r(51);
    delta_scratch used;
    for (unsigned i = 0; i < delta_tests::rounds(400); ++i) {
        auto const [base, target] = delta_tests::pair(r, below(r, 2) == 0 ? 40 : 4000);
        bytes delta;
        compact_encode(base, target, delta, used);
        REQUIRE(delta == encoded(base, target));
        auto const made = decode(base, delta);
        REQUIRE(made);
        REQUIRE(*made == target);
        CHECK(delta.size() <= target.size() + 16);
    }
}

TEST_CASE("golden: three fields of a record in 13 bytes, which are read for ever") {
    bytes const base = to_bytes(R"({"id":"7f","status":"requested","guests":4,"updated":"2026-03-01T10:22:31Z"})");
    bytes const target = to_bytes(R"({"id":"7f","status":"seated","guests":6,"updated":"2026-03-01T11:40:02Z"})");
    // Three edits by the model: copy 25, out 9, in 6, copy 12, …
    std::string const hex = "0dcd0506031c06000921a94308";
    bytes delta;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        delta.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    CHECK(as_text(decode(base, delta).value_or(bytes{})) == as_text(target));
    CHECK(encoded(base, target).size() <= delta.size());
    CHECK(encoded(base, base) == bytes{std::byte{0}});
    CHECK(encoded({}, {}) == bytes{std::byte{0}});
}

TEST_CASE("small bases and targets, all of them") {
    // Every base and target of up to four letters out of two.
    std::vector<bytes> all;
    for (unsigned n = 0; n <= 4; ++n) {
        for (unsigned bits = 0; bits < 1U << n; ++bits) {
            bytes b;
            for (unsigned i = 0; i < n; ++i) { b.push_back((bits >> i & 1) != 0 ? std::byte{'a'} : std::byte{'b'}); }
            all.push_back(b);
        }
    }
    for (bytes const& base : all) {
        for (bytes const& target : all) {
            REQUIRE(decode(base, encoded(base, target)).value_or(bytes{std::byte{0}}) == target);
        }
    }
}

TEST_CASE("cut at any byte it is refused, or makes something else") {
    random_generator r(52);
    for (unsigned i = 0; i < delta_tests::rounds(40); ++i) {
        auto const [base, target] = delta_tests::pair(r, 900);
        bytes const delta = encoded(base, target);
        for (std::size_t n = 0; n < delta.size(); ++n) {
            auto const made = decode(base, bytes_view(delta).first(n));
            CHECK(!made);
        }
        for (std::size_t k = 0; k < 40; ++k) {
            bytes bad = delta;
            bad[below(r, bad.size())] ^= static_cast<std::byte>(1U << below(r, 8));
            auto const made = decode(base, bad, 5000);
            if (made) {
                CHECK(made->size() <= 5000);
                CHECK((*made != target || base.empty() || made->size() == target.size()));
            }
        }
    }
}

TEST_CASE("limits, and ways to write that are of later versions") {
    bytes const base(100, std::byte{'x'});
    bytes target = base;
    append(target, as_bytes("yz"));
    bytes const delta = encoded(base, target);
    CHECK(decode(base, delta, 102));
    CHECK(decode(base, delta, 101).error() == errc::limit);
    CHECK(decode(base, bytes{std::byte{2}}).error() == errc::unsupported);
    CHECK(decode(base, {}).error() == errc::malformed);
    CHECK(decode(base, bytes{std::byte{0}, std::byte{0}}).error() == errc::malformed);
    // A thousand edits that each copy the whole base again.
    bytes bomb{std::byte{63 << 2}};
    append_varint(bomb, 937);
    for (int i = 0; i < 1000; ++i) {
        bomb.push_back(std::byte{7 << 5});
        append_varint(bomb, 25);
        append_varint(bomb, 199);  // back by 100
    }
    CHECK(decode(base, bomb, 50'000).error() == errc::limit);
    CHECK(decode(base, bomb, 200'000));
}
