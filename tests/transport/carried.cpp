// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/carried.hpp>

#include <string>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("carried: each comes back as it was, its bytes are pinned, and other bytes are refused") {
    bytes const body = to_bytes("abc");
    carried const all[] = {{carried_kind::request, 300, body, {}, {}},
                           {carried_kind::reply, 1, {}, {}, {}},
                           {carried_kind::failed, 2, {}, errc::throttled, milliseconds{1000}},
                           {carried_kind::failed, 2, {}, errc::forbidden, {}},
                           {carried_kind::unasked, 0, body, {}, {}}};
    std::string hex;
    random_generator g(1);
    for (carried const& c : all) {
        bytes const m = encode(c);
        hex += to_hex(m) + '\n';
        auto const back = decode_carried(m);
        REQUIRE(back);
        CHECK(back->kind == c.kind);
        CHECK(back->number == c.number);
        CHECK(equal(back->body, c.body));
        CHECK(back->error == c.error);
        CHECK(back->retry_after == c.retry_after);
        CHECK(m.size() <= c.body.size() + carried_bytes_max);
        for (std::size_t n = 0; n < m.size(); ++n) { CHECK_FALSE(decode_carried(bytes_view{m}.first(n))); }
        for (int i = 0; i < 500; ++i) {
            bytes bad = m;
            bad[below(g, bad.size())] = static_cast<std::byte>(g());
            auto const got = decode_carried(bad);
            if (got) { CHECK(encode(*got) == bad); }
        }
    }
    CHECK(hex ==
          "830119012c43616263\n"
          "83020140\n"
          "84030218181903e8\n"
          "84030217f6\n"
          "820443616263\n");
    CHECK(decode_carried(bytes{std::byte{0x82}, std::byte{5}, std::byte{0x40}}).error() == errc::unsupported);
    bytes const most =
        encode({carried_kind::failed, ~std::uint64_t{0}, {}, errc::throttled, milliseconds{std::int64_t{1} << 48}});
    CHECK(most.size() <= carried_bytes_max);
    // A peer may ask for any wait: one that no message carries is told as the longest, not as a damaged message.
    CHECK(encode({carried_kind::failed, ~std::uint64_t{0}, {}, errc::throttled, (milliseconds::max)()}) == most);
    CHECK(decode_carried(most)->retry_after == carried_wait_max);
}
