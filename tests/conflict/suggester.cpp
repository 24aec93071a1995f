// SPDX-License-Identifier: BSL-1.0

/// What a question tells apart, the heuristics, and the net below a host's own model.

#include <syncline/conflict/suggester.hpp>

#include <cmath>
#include <cstdint>
#include <string>

#include <syncline/core/random.hpp>
#include <syncline/core/value.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

field_path const path{"status"};
timestamp at(std::int64_t minutes) {
    return timestamp::make(wall_time{milliseconds{1'790'000'000'000 + minutes * 60'000}});
}

/// Holds what a question borrows.
struct asked {
    value base, local, remote;
    conflict_question q{};
    asked(value b, value l, value r) : base(std::move(b)), local(std::move(l)), remote(std::move(r)) {
        q.collection = "bookings";
        q.path = &path;
        q.base = base.encoded();
        q.local = {local.encoded(), at(0), 1, 3};
        q.remote = {remote.encoded(), at(0), 1, 3};
        q.combinable = combine(base.encoded(), local.encoded(), remote.encoded()).has_value();
        q.scope = scope_of(q.collection, path);
    }
    asked(asked const&) = delete;
};
std::int32_t signal(conflict_question const& q, conflict_signal s) {
    return signals_of(q)[static_cast<std::size_t>(s)];
}

struct failing {
    result<suggestion> suggest(conflict_question const&) { return errc::timed_out; }
};
struct boasting {
    result<suggestion> suggest(conflict_question const&) {
        suggestion s;
        s.what = conflict_action::local;
        s.confidence = share_one + 1;
        return s;
    }
};
struct merging {
    result<suggestion> suggest(conflict_question const&) {
        suggestion s;
        s.what = conflict_action::merge;
        s.confidence = share_one;
        s.source = suggestion_source::host;
        return s;
    }
};

}  // namespace

TEST_CASE("signals tell the sides apart, and turn round with them") {
    asked a{"offered", "confirmed", "cancelled"};
    a.q.local.stamp = at(60);
    a.q.local.role = 3;
    a.q.remote.edits = 9;
    CHECK(signal(a.q, conflict_signal::newer) == 256);
    CHECK(signal(a.q, conflict_signal::newer_by) == 16 * 6);
    CHECK(signal(a.q, conflict_signal::role) == 256);
    CHECK(signal(a.q, conflict_signal::newer_of_roles) == 0);
    CHECK(signal(a.q, conflict_signal::edits) == -256);
    CHECK(signal(a.q, conflict_signal::filled) == 0);
    conflict_question turned = a.q;
    std::swap(turned.local, turned.remote);
    auto const one = signals_of(a.q);
    auto const other = signals_of(turned);
    for (std::size_t i = 1; i < one.size(); ++i) {
        CHECK(one[i] == -other[i]);
    }  // all but the habit of taking one's own

    asked numbers{100, 120, 90};
    CHECK(signal(numbers.q, conflict_signal::larger) == 256);
    CHECK(signal(numbers.q, conflict_signal::larger_by) == 256);
    CHECK(signal(numbers.q, conflict_signal::closer) < 0);  // the local side changed more
    asked empty{"x", "", "long text"};
    CHECK(signal(empty.q, conflict_signal::filled) == -256);
    asked missing{"x", "y", nullptr};
    CHECK(signal(missing.q, conflict_signal::filled) == 256);
}

TEST_CASE("signals stay within their 256ths for any values, and the logistic is one") {
    random_generator g(3);
    for (int i = 0; i < 3000; ++i) {
        auto const any = [&]() -> value {
            switch (below(g, 5)) {
                case 0: return static_cast<std::int64_t>(g());
                case 1: return nullptr;
                case 2: return std::string(static_cast<std::size_t>(below(g, 6000)), 'x');
                case 3: return 1.5;
                default: return *value::array({1, 2});
            }
        };
        asked a{any(), any(), any()};
        a.q.local.stamp = timestamp{g()};
        a.q.remote.stamp = timestamp{g()};
        a.q.local.edits = static_cast<std::uint32_t>(g());
        for (std::int32_t const s : signals_of(a.q)) { REQUIRE((s >= -256 && s <= 256)); }
        auto const said = heuristics{}.suggest(a.q);
        REQUIRE((said && valid(*said)));
        REQUIRE(said->confidence <= share_one * 7 / 8);
    }
    for (std::int64_t x = -14 * 65'536; x <= 14 * 65'536; x += 1'111) {
        double const exact = 65'536 / (1 + std::exp(-static_cast<double>(x) / 65'536));
        REQUIRE(std::fabs(static_cast<double>(detail::logistic(x)) - exact) < 120);
        REQUIRE(detail::logistic(x) + detail::logistic(-x) == share_one);
    }
}

TEST_CASE("heuristics: what most people would do, with the reason") {
    asked newer{"a", "b", "c"};
    newer.q.remote.stamp = at(180);
    newer.q.remote.role = 2;
    auto const later = *heuristics{}.suggest(newer.q);
    CHECK(later.what == conflict_action::remote);
    CHECK(words(later) == "remote: it is newer, it is from the higher role");
    CHECK(later.alternatives[0].what == conflict_action::local);

    asked empty{"+45 1", "", "+45 2"};
    CHECK(heuristics{}.suggest(empty.q)->what == conflict_action::remote);
    CHECK(heuristics{}.suggest(empty.q)->reasons[0] == suggestion_reason::says_something);

    asked notes{"nuts; ", "nuts; cake", "nuts; dog"};
    CHECK(heuristics{}.suggest(notes.q)->what == conflict_action::merge);

    asked nothing{"a", "b", "c"};
    auto const asks = *heuristics{}.suggest(nothing.q);
    CHECK(asks.what == conflict_action::ask);
    CHECK((asks.alternatives[0].confidence != 0 && asks.alternatives[1].confidence != 0));
    CHECK(words(asks) == "ask: nothing tells the sides apart");
}

TEST_CASE("a host's own model, with the heuristics below it") {
    asked a{"a", "b", "c"};
    a.q.remote.stamp = at(180);
    auto const expected = *heuristics{}.suggest(a.q);
    failing none;
    with_fallback<failing&> first(none);
    CHECK(*first.suggest(a.q) == expected);
    CHECK(first.fallen_back() == 1);
    with_fallback<boasting> second(boasting{});
    CHECK(*second.suggest(a.q) == expected);
    with_fallback<merging> third(merging{});
    CHECK(*third.suggest(a.q) == expected);  // the two can't be made one
    asked notes{"nuts; ", "nuts; cake", "nuts; dog"};
    CHECK(third.suggest(notes.q)->source == suggestion_source::host);
    CHECK(third.fallen_back() == 1);
}

TEST_CASE("the questions of a conflict") {
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.record = c.record;
    c.local.stamp = at(5);
    c.local.base = 1;
    c.local.ops = {{"table", op_kind::set, to_bytes(value{"garden"}.encoded()), at(4)}};
    c.base = to_bytes(value::map({{"table", "hall"}})->encoded());
    c.fields = {{{"table"}, rule::manual, "", 7, 8, {}}};
    CHECK(conflict_questions::of(c).error() == errc::not_found);
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->exceptions = {{"table", {9, at(3), 2}}};
    c.remote->fields = to_bytes(value::map({{"table", "bar"}})->encoded());
    auto const q = conflict_questions::of(c, as_bytes("ann"), [](field_path const&) { return std::uint8_t{9}; });
    REQUIRE(q);
    REQUIRE(q->all().size() == 1);
    conflict_question const& one = q->all()[0];
    CHECK(equal(*one.local.value, value{"garden"}.encoded()));
    CHECK(equal(*one.remote.value, value{"bar"}.encoded()));
    CHECK((one.local.stamp == at(4) && one.remote.stamp == at(3) && one.local.edits == 7 && one.importance == 9));
    CHECK(one.scope_of_person != conflict_questions::of(c, as_bytes("ben"))->all()[0].scope_of_person);
}
