// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/live_frame.hpp>

#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

std::vector<live_frame> one_of_each() {
    id128 life;
    life.bytes[15] = std::byte{7};
    return {live_subscribe{{"a", "rooms"}},
            live_say{"rooms", live_note_kind::presence, to_bytes("here")},
            live_ping{},
            live_welcome{life, {std::uint64_t{300}, std::nullopt}},
            live_done{},
            live_news{"rooms", 301},
            live_note{"rooms", "anna", live_note_kind::progress, encode(live_progress{2, 300})},
            live_missed{}};
}

}  // namespace

TEST_CASE("live frame: each comes back as it was, and its bytes are pinned") {
    std::string all;
    for (live_frame const& f : one_of_each()) {
        bytes const m = encode(f);
        CHECK(is_live_frame(m));
        auto const back = decode_live_frame(m);
        REQUIRE(back);
        CHECK(*back == f);
        all += to_hex(m) + '\n';
    }
    CHECK(all ==
          "83010182616165726f6f6d73\n"
          "85010265726f6f6d73014468657265\n"
          "820103\n"
          "840104500000000000000000000000000000000782"
          "19012cf6\n"
          "820105\n"
          "84010665726f6f6d7319012d\n"
          "86010765726f6f6d7364616e6e610245820219012c\n"
          "820108\n");
}

TEST_CASE("live frame: cut and damaged ones are refused, or are another frame in its one form") {
    random_generator g(1);
    for (live_frame const& f : one_of_each()) {
        bytes const m = encode(f);
        for (std::size_t n = 0; n < m.size(); ++n) { CHECK_FALSE(decode_live_frame(bytes_view{m}.first(n))); }
        bytes longer = m;
        longer.push_back(std::byte{0});
        CHECK_FALSE(decode_live_frame(longer));
        for (int i = 0; i < 500; ++i) {
            bytes bad = m;
            bad[below(g, bad.size())] = static_cast<std::byte>(g());
            auto const got = decode_live_frame(bad);
            if (got) { CHECK(encode(*got) == bad); }
        }
    }
}

TEST_CASE("live frame: what is out of range has its error") {
    auto const error = [](live_frame const& f) { return decode_live_frame(encode(f)).error().code; };
    CHECK(error(live_subscribe{{"b", "a"}}) == errc::not_deterministic);
    CHECK(error(live_subscribe{{"a", "a"}}) == errc::not_deterministic);
    CHECK(error(live_subscribe{{""}}) == errc::malformed);
    CHECK(error(live_subscribe{{std::string(live_topic_bytes_max + 1, 'x')}}) == errc::malformed);
    CHECK(decode_live_frame(encode(live_subscribe{{std::string(live_topic_bytes_max, 'x')}})));
    std::vector<std::string> many;
    for (std::size_t i = 0; i <= live_topics_max; ++i) { many.push_back(std::to_string(10'000 + i)); }
    CHECK(error(live_subscribe{many}) == errc::limit);
    many.pop_back();
    CHECK(decode_live_frame(encode(live_subscribe{many})));
    CHECK(error(live_say{"a", {}, bytes(live_body_bytes_max + 1)}) == errc::limit);
    CHECK(decode_live_frame(encode(live_say{"a", {}, bytes(live_body_bytes_max)})));
    CHECK(error(live_note{"a", std::string(live_from_bytes_max + 1, 'x'), {}, {}}) == errc::limit);
    // Another format, an unknown kind, and what is no frame at all.
    CHECK(decode_live_frame(bytes{std::byte{0x82}, std::byte{2}, std::byte{3}}).error() == errc::unsupported);
    CHECK(decode_live_frame(bytes{std::byte{0x82}, std::byte{1}, std::byte{9}}).error() == errc::unsupported);
    CHECK_FALSE(decode_live_frame(as_bytes("SYL\1")));
    CHECK_FALSE(is_live_frame(as_bytes("SYL\1")));
    CHECK_FALSE(is_live_frame({}));
    CHECK(*decode_live_progress(encode(live_progress{1, 2})) == live_progress{1, 2});
    CHECK_FALSE(decode_live_progress(as_bytes("x")));
}
