// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <limits>
#include <string_view>
#include <vector>

#include <syncline/merge/order.hpp>

using namespace syncline;

namespace {

template <class F>
bytes item(F&& f) {
    bytes out;
    cbor_writer w{out};
    f(w);
    return out;
}
bytes number(double d) {
    return item([&](cbor_writer& w) { w.floating(d); });
}
bytes number(std::int64_t n) {
    return item([&](cbor_writer& w) { w.integer(n); });
}
/// -1 - n, down to -2^64. Precondition: n needs all eight bytes.
bytes below_zero(std::uint64_t n) {
    bytes out{std::byte{0x3B}};
    append_u64(out, n);
    return out;
}

}  // namespace

TEST_CASE("compare_values orders every kind of value totally, numbers by their exact value") {
    double const infinity = std::numeric_limits<double>::infinity();
    // Strictly ascending.
    std::vector<bytes> const ladder{
        item([](cbor_writer& w) { w.null(); }),
        item([](cbor_writer& w) { w.boolean(false); }),
        item([](cbor_writer& w) { w.boolean(true); }),
        number(-infinity),
        number(-1e300),
        number(-18446744073709555712.0),  // the next double below -2^64
        below_zero((std::numeric_limits<std::uint64_t>::max)()),
        below_zero((std::numeric_limits<std::uint64_t>::max)() - 1),
        below_zero(std::uint64_t{1} << 63),
        number((std::numeric_limits<std::int64_t>::min)()),
        number(std::int64_t{-3}),
        number(-2.5),
        number(std::int64_t{-2}),
        number(-0.5),
        number(std::int64_t{0}),
        number(0.5),
        number(std::int64_t{1}),
        number(1.5),
        number(9007199254740992.0),
        number(std::int64_t{9007199254740993}),  // a double can't hold it
        number((std::numeric_limits<std::int64_t>::max)()),
        number(9223372036854775808.0),
        item([](cbor_writer& w) { w.unsigned_integer((std::numeric_limits<std::uint64_t>::max)()); }),
        number(18446744073709551616.0),
        number(infinity),
        number(std::numeric_limits<double>::quiet_NaN()),
        item([](cbor_writer& w) { w.text(""); }),
        item([](cbor_writer& w) { w.text("a"); }),
        item([](cbor_writer& w) { w.text("aa"); }),
        item([](cbor_writer& w) { w.text("b"); }),
        item([](cbor_writer& w) { w.byte_string({}); }),
        item([](cbor_writer& w) { w.byte_string(as_bytes("a")); }),
        item([](cbor_writer& w) { w.array(0); }),
        item([](cbor_writer& w) { w.map(0); }),
    };
    for (std::size_t i = 0; i < ladder.size(); ++i) {
        for (std::size_t j = 0; j < ladder.size(); ++j) {
            INFO(i << " beside " << j);
            CHECK((compare_values(ladder[i], ladder[j]) == (i <=> j)));
        }
    }
}

TEST_CASE(
    "compare_values: numerically equal values of different encodings are not equal, and ordered the same by everybody") {
    CHECK((compare_values(number(0.0), number(-0.0)) == (0 <=> compare_values(number(-0.0), number(0.0)))));
    CHECK((compare_values(number(0.0), number(-0.0)) != 0));
    CHECK((compare_values(number(1.0), number(std::int64_t{1})) != 0));
    CHECK((compare_values(number(1.0), number(1.0)) == 0));
}
