// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/delta/sequence.hpp>

using namespace syncline;

namespace {

using tokens = std::vector<std::uint32_t>;

/// What a script makes of `a`; empty and false when it is no script from `a` to `b`.
template <class S>
bool leads(edit_script const& script, S const& a, S const& b) {
    S out;
    std::size_t at = 0;
    std::size_t other = 0;
    for (std::size_t k = 0; k != script.size(); ++k) {
        sequence_edit const& e = script[k];
        if (e.a_begin < at || e.a_end > a.size() || e.b_end > b.size() || e.a_begin > e.a_end || e.b_begin > e.b_end) {
            return false;
        }
        if (k != 0 && e.a_begin == at && e.b_begin == other) { return false; }  // they touch
        out.insert(out.end(), a.begin() + static_cast<std::ptrdiff_t>(at),
                   a.begin() + static_cast<std::ptrdiff_t>(e.a_begin));
        other += e.a_begin - at;
        if (other != e.b_begin) { return false; }
        out.insert(out.end(), b.begin() + static_cast<std::ptrdiff_t>(e.b_begin),
                   b.begin() + static_cast<std::ptrdiff_t>(e.b_end));
        at = e.a_end;
        other = e.b_end;
    }
    out.insert(out.end(), a.begin() + static_cast<std::ptrdiff_t>(at), a.end());
    return out == b;
}
std::size_t edits_in(edit_script const& script) {
    std::size_t n = 0;
    for (sequence_edit const& e : script) { n += e.a_end - e.a_begin + e.b_end - e.b_begin; }
    return n;
}
/// The length of a longest common subsequence, by the table.
std::size_t common(tokens const& a, tokens const& b) {
    std::vector<std::size_t> before(b.size() + 1);
    for (std::uint32_t const x : a) {
        std::vector<std::size_t> now(b.size() + 1);
        for (std::size_t j = 0; j != b.size(); ++j) {
            now[j + 1] = x == b[j] ? before[j] + 1 : (std::max)(before[j + 1], now[j]);
        }
        before = now;
    }
    return before.back();
}

}  // namespace

TEST_CASE("sequence: the exact search finds a shortest script, for all small sequences") {
    // All pairs of up to four tokens out of three.
    std::vector<tokens> all{{}};
    for (std::size_t i = 0; i != all.size(); ++i) {
        if (all[i].size() == 4) { continue; }
        for (std::uint32_t t = 0; t != 3; ++t) {
            tokens longer = all[i];
            longer.push_back(t);
            all.push_back(std::move(longer));
        }
    }
    for (tokens const& a : all) {
        for (tokens const& b : all) {
            auto const script = diff_tokens(a, b);
            bool const right = leads(script, a, b) && edits_in(script) == a.size() + b.size() - 2 * common(a, b);
            if (!right) { FAIL("not a shortest script"); }
        }
    }
}

TEST_CASE("sequence: whatever the search may cost, the script leads from one to the other") {
    random_generator dice{3};
    for (int round = 0; round < 3'000; ++round) {
        std::uint64_t const kinds = 1 + dice() % 12;
        auto const some = [&] {
            tokens out(static_cast<std::size_t>(dice() % 40));
            for (std::uint32_t& t : out) { t = static_cast<std::uint32_t>(dice() % kinds); }
            return out;
        };
        tokens const a = some();
        tokens const b = some();
        for (std::size_t const most : {1U, 3U, 1'024U}) {
            auto const script = diff_tokens(a, b, {.edits_max = most});
            if (!leads(script, a, b)) { FAIL("another one"); }
        }
    }
}

TEST_CASE("sequence: long sequences that have nothing or much in common end soon") {
    tokens a(20'000);
    tokens b(20'000);
    for (std::uint32_t i = 0; i != a.size(); ++i) {
        a[i] = i;
        b[i] = 40'000 - i;  // half of them the same, the other way round
    }
    CHECK(leads(diff_tokens(a, b), a, b));
    for (std::uint32_t i = 0; i != a.size(); ++i) { b[i] = i % 7 == 0 ? 50'000 + i : i; }
    CHECK(edits_in(diff_tokens(a, b)) == 2 * ((a.size() + 6) / 7));
}

TEST_CASE("sequence: few tokens in any order cost no more looks than are allowed") {
    random_generator dice{5};
    tokens a(20'000);
    tokens b(20'000);
    for (tokens* t : {&a, &b}) {
        for (std::uint32_t& x : *t) { x = static_cast<std::uint32_t>(dice() % 10); }
    }
    detail::token_difference without_limit{sequence_options{}};
    detail::token_difference bounded{sequence_options{.looks_max = 4}};
    CHECK(leads(without_limit.run(a, b), a, b));
    CHECK(leads(bounded.run(a, b), a, b));
    CHECK(without_limit.looks() > 10'000'000);
    // The last stretch that is begun is looked through whole: an exact search, and one for anchors.
    std::uint64_t const one_stretch = 2 * 1'024 * 1'024 + 3 * 20'000;
    CHECK(bounded.looks() <= 65'536 + 4 * 40'000 + one_stretch);
}

TEST_CASE("sequence: lines are found again behind whatever was put between them") {
    random_generator dice{4};
    for (int round = 0; round < 400; ++round) {
        auto const line = [&](std::uint64_t n) { return "line " + std::to_string(n) + "\n"; };
        std::string a;
        std::string b;
        std::uint64_t const lines = dice() % 400;
        for (std::uint64_t n = 0; n != lines; ++n) {
            std::string const l = line(dice() % 3 == 0 ? dice() % 5 : n);
            std::uint64_t const what = dice() % 60;
            if (what != 0) { a += l; }
            if (what != 1) { b += l; }
            if (what == 2) {
                for (std::uint64_t k = dice() % 120; k != 0; --k) { b += line(1'000 + dice() % 200); }
            }
        }
        if (dice() % 3 == 0 && !b.empty()) { b.pop_back(); }  // without the last line feed
        auto const script = diff_lines(a, b);
        if (!leads(script, a, b)) { FAIL("another one"); }
        for (sequence_edit const& e : script) {
            CHECK((e.a_begin == 0 || a[e.a_begin - 1] == '\n'));
            CHECK((e.b_begin == 0 || b[e.b_begin - 1] == '\n'));
            CHECK((e.a_end == a.size() || e.a_end == 0 || a[e.a_end - 1] == '\n'));
            CHECK((e.b_end == b.size() || e.b_end == 0 || b[e.b_end - 1] == '\n'));
        }
    }
    CHECK(diff_lines("", "").empty());
    CHECK(diff_lines("a\n", "a\n").empty());
    CHECK(diff_lines("a", "a\n") == edit_script{{0, 1, 0, 2}});
    // An insertion that may stand in several places stands as far down as it can.
    CHECK(diff_lines("a\nb\nc\n", "a\nb\nb\nc\n") == edit_script{{4, 4, 4, 6}});
    // … or beside what the other side has in one of them: deleted and inserted there is one change.
    CHECK(diff_lines("a\nx\nx\nb\n", "a\nx\ny\nb\n") == edit_script{{4, 6, 4, 6}});
    CHECK(diff_lines("a\nx\nx\nx\nb\n", "a\ny\nx\nx\nb\n") == edit_script{{2, 4, 2, 4}});
    // Runs that meet are one.
    CHECK(diff_lines("a\nb\n", "a\nb\na\nb\na\nb\n") == edit_script{{4, 4, 4, 12}});
    // The last line without a line feed is another one than the same with it.
    CHECK(diff_lines("a\nb", "a\nb\nb") == edit_script{{2, 2, 2, 4}});
    CHECK(line_starts("a\n\nb") == std::vector<std::size_t>{0, 2, 3, 4});
    CHECK(line_starts("") == std::vector<std::size_t>{0});
}

TEST_CASE("sequence: two scripts merge where they don't touch") {
    using enum merge_region::side;
    tokens const base{0, 1, 2, 3, 4, 5};
    auto const merged = [&](tokens const& l, tokens const& r) {
        return merge_scripts(diff_tokens(base, l), diff_tokens(base, r), [&](merge_region const& m) {
            return std::equal(l.begin() + static_cast<std::ptrdiff_t>(m.local_begin),
                              l.begin() + static_cast<std::ptrdiff_t>(m.local_end),
                              r.begin() + static_cast<std::ptrdiff_t>(m.remote_begin),
                              r.begin() + static_cast<std::ptrdiff_t>(m.remote_end));
        });
    };
    auto const sides = [](std::vector<merge_region> const& all) {
        std::vector<merge_region::side> out;
        for (merge_region const& m : all) { out.push_back(m.of); }
        return out;
    };
    CHECK(sides(merged({0, 9, 2, 3, 4, 5}, {0, 1, 2, 3, 8, 5})) == std::vector{local, remote});
    CHECK(sides(merged({0, 9, 2, 3, 4, 5}, {0, 9, 2, 3, 4, 5})) == std::vector{both});
    CHECK(sides(merged({0, 9, 2, 3, 4, 5}, {0, 8, 2, 3, 4, 5})) == std::vector{conflict});
    CHECK(sides(merged({0, 9, 2, 3, 4, 5}, {0, 1, 8, 3, 4, 5})) == std::vector{conflict});  // they touch
    CHECK(sides(merged({0, 1, 2, 4, 5}, {0, 1, 2, 9, 3, 4, 5})) == std::vector{conflict});  // put before what is gone
    CHECK(sides(merged({}, base)) == std::vector{local});
}

TEST_CASE("sequence: equal tokens have equal numbers") {
    token_numbers numbers;
    std::vector<std::string> words;
    for (int i = 0; i != 500; ++i) { words.push_back("word " + std::to_string(i)); }
    for (int round = 0; round != 2; ++round) {
        for (std::size_t i = 0; i != words.size(); ++i) { REQUIRE(numbers.number(as_bytes(words[i])) == i); }
        for (std::size_t i = words.size(); i-- != 0;) { REQUIRE(numbers.number(as_bytes(words[i])) == i); }
        CHECK(numbers.size() == words.size());
        numbers.clear();
        CHECK(numbers.number(as_bytes("other")) == 0);
        numbers.clear();
    }
}
