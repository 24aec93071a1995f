// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/text.hpp>

#include "merge/folding.hpp"
#include "merge/git_cases.hpp"

using namespace syncline;
using namespace folding;

namespace {

std::string clean(std::string_view b, std::string_view l, std::string_view r, text_unit unit) {
    auto const m = merge_text(b, l, r, unit);
    REQUIRE(m);
    return m->conflicts.empty() ? m->text : "(conflict)";
}

}  // namespace

TEST_CASE("text: lines, words and characters: the smaller the unit, the less is in the way") {
    CHECK(clean("a\nb\nc\nd\n", "A\nb\nc\nd\n", "a\nb\nc\nD\n", text_unit::lines) == "A\nb\nc\nD\n");
    std::string_view const base = "The garden is open.\n";
    std::string_view const local = "The garden is closed.\n";
    std::string_view const remote = "The hall is open.\n";
    CHECK(clean(base, local, remote, text_unit::lines) == "(conflict)");
    CHECK(clean(base, local, remote, text_unit::words) == "The hall is closed.\n");
    CHECK(clean("colour", "colours", "color", text_unit::words) == "(conflict)");
    CHECK(clean("colour table", "colours table", "color table", text_unit::characters) == "colors table");
    CHECK(clean("grey table", "gray table", "grey tables", text_unit::characters) == "gray tables");
    CHECK(clean("same", "x", "x", text_unit::words) == "x");
    CHECK(clean("same", "same", "x", text_unit::lines) == "x");
    CHECK(merge_text("\xFF", "a", "b", text_unit::words).error() == errc::invalid);
    CHECK(merge_text("\xFF\n", "a\n", "\xFF\n", text_unit::lines)->text == "a\n");
}

TEST_CASE("text: by lines, few that repeat are paired as git pairs them: the same merge, and no conflict more") {
    auto const text_of = [](std::string_view letters) {
        std::string out;
        for (char const c : letters) {
            out += c;
            out += '\n';
        }
        return out;
    };
    for (git_case const& c : git_cases) {
        std::string const expected = c.merged == "!" ? "(conflict)" : text_of(c.merged);
        INFO(c.base << " | " << c.local << " | " << c.remote);
        CHECK(clean(text_of(c.base), text_of(c.local), text_of(c.remote), text_unit::lines) == expected);
        CHECK(clean(text_of(c.base), text_of(c.remote), text_of(c.local), text_unit::lines) == expected);
    }
}

TEST_CASE("text: by lines, conflicts that a person looks at together are one") {
    auto const places = [](std::string_view between, text_unit unit = text_unit::lines) {
        auto const text = [&](std::string_view a, std::string_view b) {
            return "top\n" + std::string{a} + "\n" + std::string{between} + std::string{b} + "\nend\n";
        };
        std::string const base = text("x", "y");
        std::string const local = text("x local", "y local");
        std::string const remote = text("x remote", "y remote");
        auto const m = merge_text(base, local, remote, unit);
        REQUIRE(m);
        CHECK(m->text == remote);  // there the remote side's part stands
        for (merge_region const& r : m->conflicts) {
            CHECK(base.substr(r.base_begin, 1) != "t");
            CHECK(local.substr(r.local_begin, r.local_end - r.local_begin) !=
                  remote.substr(r.remote_begin, r.remote_end - r.remote_begin));
        }
        if (unit == text_unit::lines && m->conflicts.size() == 1) {
            merge_region const& r = m->conflicts[0];
            CHECK(base.substr(r.base_begin, r.base_end - r.base_begin) == "x\n" + std::string{between} + "y\n");
            CHECK(local.substr(r.local_begin, r.local_end - r.local_begin) ==
                  "x local\n" + std::string{between} + "y local\n");
        }
        return m->conflicts.size();
    };
    CHECK(places("1\n2\n3\n") == 1);
    CHECK(places("1\n2\n3\n4\n") == 2);
    CHECK(places("{\n}\n\n;\n\n") == 1);
    CHECK(places("1\n", text_unit::words) == 2);
    // What one side alone changed between them keeps them apart.
    auto const apart = merge_text("x\n1\n2\n3\ny\n", "X\n1\n2\n3\nY\n", "z\n1\n!\n3\nw\n");
    CHECK(apart->conflicts.size() == 2);
    // What both changed to the same doesn't.
    auto const together = merge_text("x\n1\n2\n3\ny\n", "X\n1\n!\n3\nY\n", "z\n1\n!\n3\nw\n");
    CHECK(together->conflicts.size() == 1);
}

TEST_CASE("text: a merge never cuts a character") {
    // A family, a flag and a letter with an accent of its own: each is one.
    std::string const family = "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA7";
    std::string const couple = "\xF0\x9F\x91\xA8\xE2\x80\x8D\xF0\x9F\x91\xA9";
    std::string const accent = "e\xCC\x81";
    CHECK(clean(family + " a", couple + " a", family + " b", text_unit::characters) == couple + " b");
    CHECK(clean("e x", accent + " x", "e y", text_unit::characters) == accent + " y");
    CHECK(clean("e x", accent + " x", "o x", text_unit::characters) == "(conflict)");  // not an accent on an o
}

TEST_CASE("text: whoever merges, whatever is merged: laws over random texts") {
    random_generator dice{6};
    auto const edited = [&](std::string s) {
        for (std::uint64_t n = dice() % 3; n != 0; --n) {
            std::size_t const at = static_cast<std::size_t>(dice() % (s.size() + 1));
            if (dice() % 2 == 0) {
                s.insert(at, dice() % 2 == 0 ? "x" : " y\n");
            } else {
                s.erase(at, static_cast<std::size_t>(dice() % 4));
            }
        }
        return s;
    };
    for (int round = 0; round < 4'000; ++round) {
        std::string base;
        for (std::uint64_t n = dice() % 30; n != 0; --n) { base += "ab c\n"[dice() % 5]; }
        std::string const l = edited(base);
        std::string const r = edited(base);
        for (text_unit const unit : {text_unit::lines, text_unit::words, text_unit::characters}) {
            auto const there = merge_text(base, l, r, unit);
            auto const back = merge_text(base, r, l, unit);
            REQUIRE(there->conflicts.empty() == back->conflicts.empty());
            if (there->conflicts.empty()) { REQUIRE(there->text == back->text); }
            REQUIRE(merge_text(base, l, base, unit)->text == l);
            REQUIRE(merge_text(base, base, r, unit)->text == r);
            REQUIRE(merge_text(base, l, l, unit)->text == l);
        }
    }
}

TEST_CASE("text: arrays merge by runs of items") {
    auto const list = [](std::string_view letters) {
        std::vector<bytes> items;
        for (char const c : letters) { items.push_back(text_item(std::string_view{&c, 1})); }
        return array_item(items);
    };
    CHECK(**merge_sequence(list("abcdef"), list("abxcdef"), list("abcdf")) == list("abxcdf"));
    CHECK_FALSE(*merge_sequence(list("abc"), list("axc"), list("ayc")));
    CHECK(merge_sequence(list("abc"), number_item(3), list("abc")).error() == errc::type_mismatch);
}

TEST_CASE("text: under its rule a text that two edit at once is merged where they arrive, or waits for a person") {
    for (rule const by : {rule::text_lines, rule::text_words, rule::text_characters}) {
        collection_rules const rules{"things", rule::last_writer, {{"f", by}}};
        auto const revise = [](std::string_view from, std::string_view to) {
            return deed{op_kind::revise, array_item({text_item(from), text_item(to)})};
        };
        std::string_view const base = "one\ntwo\nthree\nfour\n";
        std::optional<bytes> value;
        REQUIRE(order_free(
            text_item(base),
            {{2,
              {5, 6},
              {revise(base, "ONE\ntwo\nthree\nfour\n"), revise("ONE\ntwo\nthree\nfour\n", "1\ntwo\nthree\nfour\n")}},
             {3, {7}, {revise(base, "one\ntwo\nthree\nFOUR\n")}}},
            rules, value));
        CHECK(*value == text_item("1\ntwo\nthree\nFOUR\n"));
        auto r = start(text_item(base));
        (void)lay(r, 2, 2, 1, 5, {{"f", op_kind::revise, revise(base, "ONE\ntwo\nthree\nfour\n").value, {}}}, rules);
        auto const held = r;
        auto const out =
            lay(r, 3, 3, 1, 6, {{"f", op_kind::revise, revise(base, "Eins\ntwo\nthree\nfour\n").value, {}}}, rules);
        CHECK(out.verdict == verdict_kind::conflict);
        REQUIRE(out.decisions.size() == 1);
        CHECK(out.decisions[0].why == reason::overlap);
        CHECK(r == held);
        CHECK(lay(r, 3, 3, 1, 6, {{"f", op_kind::revise, number_item(1), {}}}, rules).reason == errc::malformed);
        CHECK(lay(r, 3, 3, 1, 6, {{"f", op_kind::revise, array_item({text_item("a"), number_item(1)}), {}}}, rules)
                  .reason == errc::type_mismatch);
    }
}

TEST_CASE("text: what a stranger sends costs a merge by its length, and waits for a person where that is not enough") {
    static_assert(rule_effort.looks_max != 0 && rule_effort.looks_max <= 64);
    // Two kinds of lines in any order: nothing tells one place from another.
    random_generator dice{12};
    auto const some = [&](std::size_t lines) {
        std::string out;
        for (; lines != 0; --lines) { out += below(dice, 2) == 0 ? "a\n" : "b\n"; }
        return out;
    };
    std::string const base = some(4'000);
    std::string const local = some(4'000);
    std::string const remote = some(4'000);
    std::vector<std::uint32_t> ids[2];
    for (std::size_t which : {0U, 1U}) {
        for (char const c : which == 0 ? base : local) {
            if (c != '\n') { ids[which].push_back(c == 'a' ? 0 : 1); }
        }
    }
    detail::token_difference bounded{rule_effort};
    (void)bounded.run(ids[0], ids[1]);
    CHECK(bounded.looks() < 65'536 + 64 * 8'000 + 2'200'000);  // and one stretch that was begun
    for (rule const by : {rule::text_lines, rule::text_words, rule::text_characters}) {
        collection_rules const rules{"things", rule::last_writer, {{"f", by}}};
        auto const revision = [&](std::string const& to) { return array_item({text_item(base), text_item(to)}); };
        auto r = start(text_item(base));
        (void)lay(r, 2, 2, 1, 5, {{"f", op_kind::revise, revision(remote), {}}}, rules);
        auto const held = r;
        auto const out = lay(r, 3, 3, 1, 6, {{"f", op_kind::revise, revision(local), {}}}, rules);
        CHECK(out.verdict == verdict_kind::conflict);
        CHECK(r == held);
    }
    // Where lines can be told apart a merge is the same with and without a bound.
    std::string text;
    for (int i = 0; i != 3'000; ++i) { text += i % 3 == 0 ? "}\n" : "line " + std::to_string(i) + "\n"; }
    std::string l = text;
    std::string t = text;
    for (int i = 0; i != 100; ++i) {
        l.insert(l.find('\n', l.size() / 100 * static_cast<std::size_t>(i)) + 1, "new\n");
    }
    t.erase(t.find("line 1501\n"), 10);
    auto const with = merge_text(text, l, t, text_unit::lines, rule_effort);
    auto const without = merge_text(text, l, t);
    CHECK(with->text == without->text);
    CHECK(with->conflicts == without->conflicts);
}
