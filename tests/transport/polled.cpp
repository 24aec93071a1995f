// SPDX-License-Identifier: BSL-1.0

#include <syncline/transport/polled.hpp>

#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

std::vector<bytes> messages() { return {to_bytes("a"), {}, bytes(300, std::byte{7})}; }

}  // namespace

TEST_CASE("a poll and its answer come back as they went") {
    for (std::uint64_t const session : {std::uint64_t{0}, std::uint64_t{23}, ~std::uint64_t{0}}) {
        bytes const asked = encode(live_poll{session});
        CHECK(is_live_poll(asked));
        CHECK(*decode_live_poll(asked) == live_poll{session});
    }
    for (auto const& all : {std::vector<bytes>{}, messages()}) {
        bytes const answer = encode_polled(all);
        CHECK_FALSE(is_live_poll(answer));
        auto const back = decode_polled(answer);
        REQUIRE(back);
        REQUIRE(back->size() == all.size());
        for (std::size_t i = 0; i < all.size(); ++i) { CHECK(to_bytes((*back)[i]) == all[i]); }
    }
    CHECK(to_hex(encode(live_poll{7})) == "820507");
    CHECK(to_hex(encode_polled({to_bytes("a")})) == "8206814161");
}

TEST_CASE("what is damaged, or another's, is an error and nothing else") {
    CHECK_FALSE(decode_live_poll(encode_polled({})));
    CHECK_FALSE(decode_polled(encode(live_poll{1})));
    CHECK_FALSE(is_live_poll({}));
    // A thousand million messages that are not there.
    CHECK_FALSE(decode_polled(bytes{std::byte{0x82}, std::byte{6}, std::byte{0x9A}, std::byte{0x3B}, std::byte{0x9A},
                                    std::byte{0xCA}, std::byte{0}}));
    bytes const good = encode_polled(messages());
    for (std::size_t n = 0; n < good.size(); ++n) { CHECK_FALSE(decode_polled(bytes_view{good}.first(n))); }
    random_generator dice{5};
    for (int i = 0; i < 5'000; ++i) {
        bytes bad = good;
        bad[dice() % bad.size()] = static_cast<std::byte>(dice());
        auto const read = decode_polled(bad);
        if (read) {
            std::vector<bytes> again;
            for (bytes_view const m : *read) { again.push_back(to_bytes(m)); }
            CHECK(encode_polled(again) == bad);  // one form only
        }
        (void)decode_live_poll(bad);
    }
}
