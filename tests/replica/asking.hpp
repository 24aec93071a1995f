// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How often a peer is asked: a session whose host has nothing else to do, on virtual time.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <variant>
#include <vector>

#include <syncline/replica/session.hpp>

namespace asking {

using namespace syncline;

/// What comes of a request.
struct answered {
    result<bytes> reply;
    std::optional<milliseconds> retry_after{};
};
inline constexpr std::size_t requests_max = 2'000;

/// The milliseconds after the beginning at which the host asks, until `lasts` have passed: it comes back when the session
/// wants it to, and an exchange takes 50 ms. Ends early where the session pauses, or asks or turns without an end.
template <class Session, storage S, class Answer>
std::vector<std::int64_t> requests(Session& s, S& store, instant& now, milliseconds lasts, Answer&& answer,
                                   session_input in = hurry{}) {
    std::vector<std::int64_t> out;
    instant const begin = now;
    std::size_t idle = 0;  // turns in which no time passed
    auto const pass = [&](milliseconds n) {
        now.monotonic += n;
        now.wall += n;
        idle = 0;
    };
    bytes reply;
    while (now.monotonic - begin.monotonic < lasts && out.size() < requests_max && idle < requests_max) {
        {
            auto tx = store.begin(access_mode::write);
            if (tx && s.handle(in, *tx, now)) { (void)tx->commit(); }
        }
        in = tick{};
        ++idle;
        for (;;) {
            auto next = s.poll(now);
            if (!next) { return out; }
            if (auto const* send = std::get_if<transmit>(&*next)) {
                out.push_back(std::chrono::duration_cast<milliseconds>(now.monotonic - begin.monotonic).count());
                answered got = answer(send->message, now);
                pass(milliseconds{50});
                if (got.reply) {
                    reply = std::move(*got.reply);
                    in = received{reply};
                } else {
                    in = failed{got.reply.error(), got.retry_after};
                }
                break;
            }
            if (auto const* wait = std::get_if<wait_until>(&*next)) {
                if (!wait->deadline) { return out; }
                if (*wait->deadline > now.monotonic) {
                    pass(std::chrono::duration_cast<milliseconds>(*wait->deadline - now.monotonic));
                }
                break;
            }
        }
    }
    return out;
}

/// The most that come within so long of one another.
inline std::size_t most_within(std::vector<std::int64_t> const& at, std::int64_t span) {
    std::size_t most = 0;
    for (std::size_t i = 0, first = 0; i < at.size(); ++i) {
        while (at[i] - at[first] > span) { ++first; }
        most = (std::max)(most, i - first + 1);
    }
    return most;
}

}  // namespace asking
