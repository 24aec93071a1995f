// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/live_inbox.hpp>

#include <deque>
#include <optional>
#include <string>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// What `receive` hands over, '!' at a gap.
std::string received(detail::live_inbox& inbox) {
    std::string out;
    auto const ok = inbox.receive([&](bytes_view m) { out += as_text(m); });
    if (!ok) {
        CHECK(ok.error() == errc::connection_lost);
        out += '!';
    }
    return out;
}

}  // namespace

TEST_CASE("live_inbox: over random operations it is a list of messages and gaps with the bounds looked up anew") {
    random_generator g(3);
    detail::live_inbox inbox;
    std::deque<std::optional<std::string>> model;
    detail::live_inbox::bounds const most{6, 9, 20};
    std::size_t gaps = 0;
    for (int i = 0; i < 20'000; ++i) {
        auto const what = below(g, 10);
        auto const gap = [&] {
            if (model.empty() || model.back()) { model.emplace_back(); }
        };
        if (what < 7) {
            std::string const m(static_cast<std::size_t>(below(g, 9)), static_cast<char>('a' + i % 26));
            std::size_t held = 0;
            for (auto const& one : model) { held += one ? one->size() : 0; }
            inbox.add(as_bytes(m), most);
            if (m.size() > 6 || model.size() >= 9 || held + m.size() > 20) {
                gap();
            } else {
                model.emplace_back(m);
            }
        } else if (what == 7) {
            inbox.gap();
            gap();
        } else {
            std::string expected;
            for (bool on = true; on && !model.empty(); model.pop_front()) {
                on = model.front().has_value();
                expected += on ? *model.front() : "!";
                gaps += on ? 0 : 1;
            }
            CHECK(received(inbox) == expected);
        }
        REQUIRE(inbox.size() == model.size());
        CHECK(inbox.empty() == model.empty());
    }
    CHECK(gaps > 500);
}

TEST_CASE("live_inbox: what arrives while messages are handed over waits for the next time") {
    detail::live_inbox inbox;
    detail::live_inbox::bounds const most{8, 8, 64};
    inbox.add(as_bytes("a"), most);
    inbox.add(as_bytes("b"), most);
    std::string out;
    REQUIRE(inbox.receive([&](bytes_view m) {
        out += as_text(m);
        inbox.add(as_bytes("c"), most);
    }));
    CHECK(out == "ab");
    CHECK(received(inbox) == "cc");
}
