// SPDX-License-Identifier: BSL-1.0

/// Identities: layout, order, bytes and text.

#include <syncline/core/id.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "support/catch.hpp"

namespace sl = syncline;

namespace {

static_assert(std::regular<sl::id128> && std::totally_ordered<sl::id128> && sizeof(sl::id128) == 16);
static_assert(std::regular<sl::replica_id> && std::totally_ordered<sl::replica_id> && sizeof(sl::replica_id) == 20);
static_assert(std::is_trivially_copyable_v<sl::replica_id>);

constexpr sl::wall_time at(std::int64_t ms) { return sl::wall_time{sl::milliseconds{ms}}; }

/// All bits zero or all bits one, the ends of what a source can give.
template <std::uint64_t Word>
struct constant {
    constexpr std::uint64_t operator()() noexcept { return Word; }
};
using zeros = constant<0>;
using ones = constant<~std::uint64_t{0}>;

constexpr bool usable_in_constant_expressions() {
    sl::random_generator g(1);
    auto const a = sl::make_id(at(1), g);
    auto const b = sl::make_id(at(2), g);
    return a < b && !a.is_nil() && sl::parse_id("017f22e2-79b0-7cc3-98c4-dc0c0c07398f").has_value();
}
static_assert(usable_in_constant_expressions());

sl::bytes random_text(sl::random_generator& g) {
    sl::bytes out(36);
    for (auto& b : out) { b = static_cast<std::byte>("0123456789abcdef-ABCDEFgG. "[sl::below(g, 27)]); }
    return out;
}

}  // namespace

TEST_CASE("An identity has the UUIDv7 layout of RFC 9562", "[core][id]") {
    // The example of RFC 9562 appendix A.6: 2022-02-22 14:22:22 -05:00.
    zeros none;
    ones all;
    CHECK(to_string(sl::make_id(at(0x017F22E279B0), none)) == "017f22e2-79b0-7000-8000-000000000000");
    CHECK(to_string(sl::make_id(at(0x017F22E279B0), all)) == "017f22e2-79b0-7fff-bfff-ffffffffffff");
    auto const example = sl::parse_id("017F22E2-79B0-7CC3-98C4-DC0C0C07398F");
    REQUIRE(example);
    CHECK(to_string(*example) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
}

TEST_CASE("A time that 48 bits can't hold counts as the nearest", "[core][id]") {
    zeros g;
    CHECK(sl::make_id(at(-1), g) == sl::make_id(at(0), g));
    CHECK(sl::make_id(at((std::numeric_limits<std::int64_t>::min)()), g) == sl::make_id(at(0), g));
    auto const last = sl::make_id(at((std::int64_t{1} << 48) - 1), g);
    CHECK(sl::make_id(at(std::int64_t{1} << 48), g) == last);
    CHECK(sl::make_id(at((std::numeric_limits<std::int64_t>::max)()), g) == last);
    CHECK(!sl::make_id(at(0), g).is_nil());
}

TEST_CASE("Identities made later are greater, in bytes as in text", "[core][id]") {
    sl::random_generator g(3);
    sl::id128 before{};
    for (std::int64_t ms = 1; ms < (std::int64_t{1} << 47); ms += ms / 3 + 1) {
        auto const id = sl::make_id(at(ms), g);
        REQUIRE(before < id);
        REQUIRE(to_string(before) < to_string(id));
        REQUIRE((sl::compare(before.bytes, id.bytes) < 0));
        before = id;
    }
    std::vector<sl::id128> same;
    for (int i = 0; i < 2000; ++i) { same.push_back(sl::make_id(at(77), g)); }
    std::sort(same.begin(), same.end());
    CHECK(std::adjacent_find(same.begin(), same.end()) == same.end());
}

TEST_CASE("Text goes there and back", "[core][id]") {
    sl::random_generator g(4);
    for (int i = 0; i < 500; ++i) {
        sl::replica_id r;
        sl::fill(g, r.device.bytes);
        r.incarnation = static_cast<std::uint32_t>(g() >> sl::below(g, 64));
        auto const id = sl::parse_id(to_string(r.device));
        REQUIRE(id);
        REQUIRE(*id == r.device);
        auto const replica = sl::parse_replica_id(to_string(r));
        REQUIRE(replica);
        REQUIRE(*replica == r);
        auto const again = sl::replica_id_from(to_array(r));
        REQUIRE(again);
        REQUIRE(*again == r);
    }
}

TEST_CASE("What is no identity is refused", "[core][id]") {
    std::string const good = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    REQUIRE(sl::parse_id(good));
    for (std::size_t i = 0; i < good.size(); ++i) {
        for (char const c : {'g', '/', ':', '@', '`', ' ', '-', '0', '\0', '\xE9'}) {
            auto bad = good;
            bad[i] = c;
            bool const dash = i == 8 || i == 13 || i == 18 || i == 23;
            INFO(bad);
            REQUIRE(sl::parse_id(bad).has_value() == (dash ? c == '-' : c == '0'));
        }
        REQUIRE(!sl::parse_id(std::string_view(good).substr(0, i)));
    }
    CHECK(sl::parse_id(good + "0").error() == sl::errc::malformed);
    CHECK(sl::parse_id("{" + good + "}").error() == sl::errc::malformed);
    sl::random_generator g(5);
    for (int i = 0; i < 2000; ++i) {
        auto const text = random_text(g);
        if (auto const id = sl::parse_id(sl::as_text(text)); id) { REQUIRE(sl::parse_id(to_string(*id)).has_value()); }
    }
}

TEST_CASE("What is no replica is refused", "[core][id]") {
    std::string const device = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
    for (std::string_view const tail : {".0", ".1", ".10", ".4294967295"}) {
        CHECK(sl::parse_replica_id(device + std::string(tail)));
    }
    for (std::string_view const tail : {"", ".", ".00", ".01", ".+1", ".-1", ".4294967296", ".9999999999",
                                        ".12345678901", ".1 ", ". 1", "1", ",1", ".1.1", ".a"}) {
        INFO(tail);
        CHECK(!sl::parse_replica_id(device + std::string(tail)));
    }
    CHECK(!sl::parse_replica_id("g" + device.substr(1) + ".1"));
    for (std::size_t n = 0; n < 40; ++n) { CHECK(sl::replica_id_from(sl::bytes(n)).has_value() == (n == 20)); }
}

TEST_CASE("Replicas are ordered by device, then incarnation, and so are their bytes", "[core][id]") {
    sl::random_generator g(6);
    std::vector<sl::replica_id> all;
    for (int i = 0; i < 60; ++i) {
        sl::replica_id r;
        r.device.bytes[0] = static_cast<std::byte>(sl::below(g, 2) * 255);
        r.device.bytes[15] = static_cast<std::byte>(sl::below(g, 3) * 127);
        r.incarnation = static_cast<std::uint32_t>(sl::below(g, 3) << (8 * sl::below(g, 4)));
        all.push_back(r);
    }
    for (auto const& a : all) {
        for (auto const& b : all) {
            auto const bytewise = sl::compare(to_array(a), to_array(b));
            REQUIRE((a <=> b) == bytewise);
            REQUIRE((a == b) == (bytewise == 0));
        }
    }
    CHECK(sl::replica_id{}.is_nil());
    CHECK(!sl::replica_id{{}, 1}.is_nil());
}
