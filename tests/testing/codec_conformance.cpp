// SPDX-License-Identifier: BSL-1.0

/// The suite finds each axiom broken by a model that breaks it.

#include <syncline/testing/codec_conformance.hpp>

#include <string>
#include <string_view>
#include <vector>

#include "support/catch.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

enum class mistake { none, other_bytes, forgets, unbounded, not_rolled_back, takes_cut, random, sticks };

/// Stores with a length before and a mark behind, and makes one mistake.
struct wrong_codec {
    mistake made = mistake::none;
    unsigned calls = 0;
    bool stuck = false;

    status compress(bytes_view in, bytes_view, bytes& out) {
        if (made == mistake::forgets) { out.clear(); }
        append_varint(out, in.size());
        if (made == mistake::random) { out.push_back(static_cast<std::byte>(++calls & 0xFF)); }
        append(out, in);
        out.push_back(std::byte{0x77});
        return {};
    }
    status decompress(bytes_view in, bytes_view, bounded_sink& sink) {
        auto const size = take_varint(in);
        if (!size) { return size.error(); }
        if (made == mistake::random && !in.empty()) { in = in.subspan(1); }
        if (made == mistake::takes_cut && in.size() < *size) { return sink.write(in); }
        bool const good = in.size() == *size + 1 && in.back() == std::byte{0x77};
        if (made == mistake::sticks && (stuck = stuck || !good)) { return errc::malformed; }
        if (!good) { return errc::malformed; }
        in = in.first(in.size() - 1);
        if (made == mistake::unbounded) {
            append(sink.out(), in);
            return {};
        }
        if (made == mistake::not_rolled_back && in.size() > sink.left()) {
            (void)sink.write(in.first(sink.left()));
            return errc::limit;
        }
        bytes other = to_bytes(in);
        if (made == mistake::other_bytes && other.size() > 2) { other[1] = std::byte{0}; }
        return sink.write(other);
    }
    std::string_view name() const { return "wrong"; }
};

std::string axioms(mistake m) {
    wrong_codec c{m};
    std::string out;
    for (violation const& v : certify_codec(c)) { out += v.axiom + ' '; }
    return out;
}

}  // namespace

TEST_CASE("a codec without a mistake has none found") { CHECK(axioms(mistake::none).empty()); }

TEST_CASE("each mistake is found by the axiom's name") {
    CHECK(axioms(mistake::other_bytes).find("round_trip") != std::string::npos);
    CHECK(axioms(mistake::forgets).find("appends") != std::string::npos);
    CHECK(axioms(mistake::unbounded).find("bounded") != std::string::npos);
    CHECK(axioms(mistake::not_rolled_back).find("bounded") != std::string::npos);
    CHECK(axioms(mistake::takes_cut).find("hostile") != std::string::npos);
    CHECK(axioms(mistake::random).find("deterministic") != std::string::npos);
    CHECK(axioms(mistake::sticks).find("stable") != std::string::npos);
}
