// SPDX-License-Identifier: BSL-1.0

/// Frames of a live connection and carried messages as they come off a wire, and both ends of one that is told anything.

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/live_hub.hpp>
#include <syncline/transport/live_listener.hpp>
#include <syncline/transport/polled.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/message.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::check_message;
using fuzz::choices;

constexpr auto anyone = [](std::string_view, std::string_view topic) { return topic != "c"; };

live_frame some_frame(choices& in) {
    static std::string const names[] = {"a", "b", "c"};
    switch (in.below(8)) {
        case 0: return live_subscribe{{"a", "b"}};
        case 1: return live_say{in.of(names), live_note_kind::own, to_bytes(in.some(9))};
        case 2: return live_ping{};
        case 3: return live_welcome{{}, {in.number(), std::nullopt}};
        case 4: return live_done{};
        case 5: return live_news{in.of(names), in.number()};
        case 6: return live_note{in.of(names), "x", live_note_kind::own, to_bytes(in.some(9))};
        default: return live_missed{};
    }
}
bytes some_message(choices& in) {
    bytes m = encode(some_frame(in));
    if (in.one_in(4)) { m[static_cast<std::size_t>(in.below(m.size()))] ^= static_cast<std::byte>(in.byte()); }
    return m;
}

/// Whatever the peer says and whenever, there is a deadline unless it waits for the host, and what is told is of a topic.
void listen(choices& in) {
    live_listener self({{"a", "b"}}, random_generator(1));
    monotonic_time now{};
    while (!in.done()) {
        now += milliseconds{static_cast<std::int64_t>(in.below(20'000))};
        bytes const m = some_message(in);
        switch (in.below(8)) {
            case 0: self.handle(live_tick{}, now); break;
            case 1: self.handle(live_heard{m}, now); break;
            case 2:
            case 3: self.handle(live_answered{m}, now); break;
            case 4: self.handle(live_failed{static_cast<errc>(in.byte()), milliseconds{1}}, now); break;
            case 5: self.handle(live_lost{}, now); break;
            case 6: (void)self.say({"a", live_note_kind::own, m}); break;
            default: self.handle(live_resume{}, now); break;
        }
        for (int left = 600;; --left) {
            SYNCLINE_FUZZ_REQUIRE(left != 0);
            auto const out = self.poll(now);
            if (auto const* n = std::get_if<live_news>(&out)) {
                SYNCLINE_FUZZ_REQUIRE(n->topic == "a" || n->topic == "b");
            }
            if (auto const* ask = std::get_if<live_ask>(&out)) {
                SYNCLINE_FUZZ_REQUIRE(decode_live_frame(ask->message));
            }
            if (auto const* wait = std::get_if<live_wait>(&out)) {
                SYNCLINE_FUZZ_REQUIRE(wait->deadline || wait->paused);
                break;
            }
        }
    }
}

/// Whatever members ask, what waits for one stays within the options.
void serve(choices& in) {
    live_hub hub({}, {.members_max = 3, .topics_kept_max = 2, .waiting_max = 2});
    std::vector<live_hub::member> all;
    monotonic_time now{};
    while (!in.done()) {
        now += milliseconds{static_cast<std::int64_t>(in.below(20'000))};
        live_hub::member const who = all.empty() ? 0 : all[static_cast<std::size_t>(in.below(all.size()))];
        switch (in.below(6)) {
            case 0:
                if (auto const m = hub.join("x", now)) { all.push_back(*m); }
                break;
            case 1: hub.leave(who); break;
            case 2: hub.publish(in.one_in(2) ? "a" : "d", in.below(9)); break;
            case 3: hub.expire(now, [](live_hub::member) {}); break;
            default: {
                auto const reply = hub.answer(who, some_message(in), now, anyone);
                if (reply) { SYNCLINE_FUZZ_REQUIRE(decode_live_frame(*reply)); }
                break;
            }
        }
        SYNCLINE_FUZZ_REQUIRE(hub.members() <= 3);
        if (in.one_in(3)) {
            int left = 10;  // two notes, news of each topic, what was missed
            while (auto const m = hub.take(who)) {
                SYNCLINE_FUZZ_REQUIRE(decode_live_frame(*m));
                SYNCLINE_FUZZ_REQUIRE(--left != 0);
            }
        }
    }
}

/// The answer to a poll has one form.
void polled(bytes_view raw) {
    auto const messages = decode_polled(raw);
    if (!messages) { return; }
    std::vector<bytes> again;
    for (bytes_view const m : *messages) { again.push_back(to_bytes(m)); }
    SYNCLINE_FUZZ_REQUIRE(encode_polled(again) == to_bytes(raw));
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, size);
    switch (in.below(6)) {
        case 0: check_message(in.rest(), [](bytes_view m) { return decode_live_frame(m); }); break;
        case 1: check_message(in.rest(), [](bytes_view m) { return decode_carried(m); }); break;
        case 2: listen(in); break;
        case 4: check_message(in.rest(), [](bytes_view m) { return decode_live_poll(m); }); break;
        case 5: polled(in.rest()); break;
        default: serve(in); break;
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](char const* name, std::uint8_t what, bytes_view rest) {
        bytes out{static_cast<std::byte>(what)};
        append(out, rest);
        sink(name, out);
    };
    give("subscribe", 0, encode(live_frame{live_subscribe{{"a", "rooms"}}}));
    give("welcome", 0, encode(live_frame{live_welcome{{}, {std::uint64_t{7}, std::nullopt}}}));
    give("note", 0, encode(live_frame{live_note{"a", "anna", live_note_kind::presence, to_bytes("x")}}));
    give("request", 1, encode(carried{carried_kind::request, 1, as_bytes("abc"), {}, {}}));
    give("failed", 1, encode(carried{carried_kind::failed, 1, {}, errc::throttled, milliseconds{1000}}));
    give("poll", 4, encode(live_poll{7}));
    give("polled", 5, encode_polled({to_bytes("a"), {}, to_bytes("bc")}));
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 4, .length = 200, .seeds = seeds)
