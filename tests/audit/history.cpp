// SPDX-License-Identifier: BSL-1.0
#include <syncline/audit/history.hpp>

#include <algorithm>
#include <ctime>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge/apply.hpp>
#include <syncline/merge/diff.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "audit/model.hpp"
#include "support/sanitized.hpp"

using namespace audit_tests;
using sl::change_kind;
using sl::history_bound;
using sl::history_event;
using sl::mutation;
using sl::mutation_history;
using sl::op_kind;
using sl::record_key;

static_assert(sl::valid(sl::history_options{}));
static_assert(!sl::valid(sl::history_options{.snapshot_every = 0}));

namespace {

using fields = std::map<std::string, std::int64_t>;
using state = std::optional<fields>;

bytes encoded(fields const& f) {
    std::vector<std::pair<std::string, std::int64_t>> all(f.begin(), f.end());
    std::sort(all.begin(), all.end(),
              [](auto const& a, auto const& b) { return sl::compare_keys(a.first, b.first) < 0; });
    bytes out;
    sl::cbor_writer w{out};
    w.map(all.size());
    for (auto const& [name, n] : all) {
        w.text(name);
        w.integer(n);
    }
    return out;
}
std::optional<fields> decoded(std::optional<bytes> const& b) {
    if (!b) { return std::nullopt; }
    fields out;
    sl::cbor_map_cursor in{*b};
    while (in.next()) {
        sl::cbor_reader r{in.value()};
        out[std::string{in.key()}] = r.integer();
    }
    return out;
}
sl::replica_id author(std::uint64_t n) {
    sl::replica_id r;
    r.device.bytes[15] = static_cast<std::byte>(n);
    return r;
}
/// One change as the tests remember it.
struct step {
    record_key record;
    mutation change;
    std::uint64_t by = 0;
    state before;
    state after;
};
mutation change_of(record_key const& k, change_kind kind, std::uint64_t stamp) {
    mutation m;
    m.record = k;
    m.kind = kind;
    m.stamp = {stamp};
    return m;
}
/// What a mutation of integers does.
state applied(state before, mutation const& m) {
    if (m.kind == change_kind::erase) { return std::nullopt; }
    if (m.kind == change_kind::create) { before.emplace(); }
    if (!before) { return before; }
    for (auto const& op : m.ops) {
        sl::cbor_reader r{op.value};
        if (op.kind == op_kind::unset) {
            before->erase(op.field);
        } else {
            std::int64_t& n = (*before)[op.field];
            n = op.kind == op_kind::add ? n + r.integer() : r.integer();
        }
    }
    return before;
}
template <class Tx>
sl::result<std::uint64_t> tell(Tx& tx, mutation_history const& h, step const& s) {
    std::optional<bytes> before, after;
    if (s.before) { before = encoded(*s.before); }
    if (s.after) { after = encoded(*s.after); }
    auto const view = [](std::optional<bytes> const& b) {
        return b ? std::optional<bytes_view>{*b} : std::optional<bytes_view>{};
    };
    return h.record(tx, author(s.by), s.change, view(before), view(after));
}
step random_step(sl::random_generator& r, std::map<std::string, state>& now, std::uint64_t stamp) {
    static char const* const ids[] = {"a", "ab", "b", "a\0"};
    std::string const id = ids[below(r, 4)];
    std::string const collection = below(r, 2) == 0 ? "c" : "cc";
    state& current = now[collection + '/' + id];
    step s;
    s.record = {collection, id};
    s.by = 1 + below(r, 3);
    s.before = current;
    change_kind const kind = !current            ? change_kind::create
                             : below(r, 12) == 0 ? change_kind::erase
                                                 : change_kind::update;
    s.change = change_of(s.record, kind, stamp);
    if (kind != change_kind::erase) {
        for (char const* name : {"a", "n", "zz"}) {
            if (below(r, 2) == 0) { continue; }
            sl::field_op op{name, op_kind::set, number(static_cast<std::int64_t>(below(r, 5))), s.change.stamp};
            if (std::string_view{name} == "n") { op.kind = op_kind::add; }
            if (std::string_view{name} == "zz" && below(r, 2) == 0) { op = {name, op_kind::unset, {}, s.change.stamp}; }
            s.change.ops.push_back(op);
        }
    }
    s.after = applied(current, s.change);
    current = s.after;
    return s;
}
/// What was so at a bound: the steps that count, one after the other.
state naive_as_of(std::vector<step> const& all, record_key const& k, std::uint64_t upto) {
    state out;
    for (std::size_t i = 0; i < all.size() && i < upto; ++i) {
        if (all[i].record == k) { out = all[i].after; }
    }
    return out;
}

}  // namespace

TEST_CASE("history: every record at every position, against a list, with events forgotten and redacted", "[audit]") {
    for (std::uint64_t seed = 1; seed <= 6; ++seed) {
        sl::random_generator random{seed};
        sl::memory_storage store;
        mutation_history const h({.snapshot_every = static_cast<std::uint32_t>(1 + below(random, 5))});
        std::vector<step> all;
        std::map<std::string, state> now;
        std::uint64_t forgotten = 0;
        auto tx = write(store);
        for (int i = 0; i < 160; ++i) {
            all.push_back(random_step(random, now, 100 + all.size()));
            REQUIRE(*tell(tx, h, all.back()) == all.size());
            if (below(random, 15) == 0) {
                std::uint64_t const through = below(random, all.size() + 1);
                std::uint64_t const most = below(random, 20);
                std::uint64_t const n = through > forgotten ? (std::min)(through - forgotten, most) : 0;
                REQUIRE(*h.forget(tx, through, most) == n);
                forgotten += n;
            }
        }
        auto const extent = *h.extent(tx);
        REQUIRE((extent.first == forgotten + 1 && extent.last == all.size()));
        for (std::uint64_t at = 0; at <= all.size(); ++at) {
            history_bound const by_position{.position = at};
            // Stamps rise here, so both bounds say the same.
            history_bound const by_stamp{.stamp = {99 + at}};
            std::map<std::string, fields> seen;
            auto const whole = h.as_of(tx, "", by_position, [&](record_key const& k, bytes_view f) {
                seen[k.collection + '/' + std::string{k.id_text()}] = *decoded(sl::to_bytes(f));
                return true;
            });
            REQUIRE(whole.has_value() == (at >= forgotten));
            for (char const* id : {"a", "ab", "b"}) {
                for (char const* collection : {"c", "cc"}) {
                    record_key const k{collection, std::string_view{id}};
                    auto const got = h.as_of(tx, k, by_position);
                    auto const also = h.as_of(tx, k, by_stamp);
                    if (at < forgotten) {
                        REQUIRE(got.error() == errc::not_found);
                        REQUIRE(also.error() == errc::not_found);
                        continue;
                    }
                    auto const expected = naive_as_of(all, k, at);
                    REQUIRE(got);
                    REQUIRE(decoded(*got) == expected);
                    REQUIRE(also);
                    REQUIRE(decoded(*also) == expected);
                    auto const there = seen.find(std::string{collection} + '/' + id);
                    REQUIRE((there != seen.end()) == expected.has_value());
                    if (expected) { REQUIRE(there->second == *expected); }
                }
            }
        }
        // Events come back as they were told, in order.
        std::uint64_t expected = forgotten;
        REQUIRE(h.scan(tx, 1, ~std::uint64_t{0}, [&](history_event const& e) {
            step const& s = all[static_cast<std::size_t>(expected++)];
            REQUIRE((e.position == expected && e.change == s.change && e.author == author(s.by)));
            REQUIRE((e.lived == s.before.has_value() && e.lives == s.after.has_value()));
            return true;
        }));
        REQUIRE(expected == all.size());
        // What is redacted is gone, and nothing else.
        record_key const gone{"c", std::string_view{"ab"}};
        std::uint64_t events = 0;
        REQUIRE(h.scan_record(tx, gone, [&](history_event const&) { return ++events != 0; }));
        CHECK(*h.redact(tx, gone) == events);
        CHECK_FALSE(*h.as_of(tx, gone, {}));
        record_key const stays{"c", std::string_view{"a"}};
        CHECK(decoded(*h.as_of(tx, stays, {})) == naive_as_of(all, stays, all.size()));
        std::string const part{
            "\x01"
            "c\x02"
            "ab",
            5};
        for (auto const& [k, v] : raw(tx)) {
            CHECK(k.find(part) == std::string::npos);
            CHECK(v.find(part) == std::string::npos);
        }
        CHECK(*h.forget(tx, all.size(), 1'000) == all.size() - forgotten);
        CHECK(decoded(*h.as_of(tx, stays, {})) == naive_as_of(all, stays, all.size()));
    }
}

TEST_CASE("history: as of a stamp, what came late counts and what came before its time does not", "[audit]") {
    sl::memory_storage store;
    mutation_history const h({.snapshot_every = 2});
    record_key const k{"c", std::string_view{"r"}};
    auto tx = write(store);
    state now;
    auto const change = [&](change_kind kind, std::uint64_t stamp, std::string const& field, std::int64_t n) {
        step s;
        s.record = k;
        s.change = change_of(k, kind, stamp);
        s.change.ops.push_back({field, op_kind::set, number(n), {stamp}});
        s.before = now;
        s.after = now = applied(now, s.change);
        REQUIRE(tell(tx, h, s));
    };
    change(change_kind::create, 10, "a", 1);
    change(change_kind::update, 30, "a", 3);
    change(change_kind::update, 20, "b", 2);  // came late
    change(change_kind::update, 40, "b", 4);
    auto const as_of = [&](std::uint64_t stamp) { return decoded(*h.as_of(tx, k, {.stamp = {stamp}})); };
    CHECK_FALSE(as_of(9));
    CHECK(as_of(10) == fields{{"a", 1}});
    CHECK(as_of(20) == fields{{"a", 1}, {"b", 2}});
    CHECK(as_of(30) == fields{{"a", 3}, {"b", 2}});
    CHECK(as_of(40) == fields{{"a", 3}, {"b", 4}});
    CHECK(decoded(*h.as_of(tx, k, {.position = 3, .stamp = {20}})) == fields{{"a", 1}, {"b", 2}});
    CHECK(h.as_of(tx, record_key{"c", std::string_view{}}, {}).error() == errc::invalid);
}

namespace {

/// A record of all kinds of fields; tags in the order of their bytes.
struct page {
    std::string title = "untitled";
    std::int64_t count = 0;
    std::vector<std::string> tags{};
    std::map<std::string, std::int64_t> sizes{};
};
bytes encoded(page const& p) {
    bytes out;
    sl::cbor_writer w{out};
    w.map(4);
    w.text("tags");
    w.array(p.tags.size());
    for (auto const& t : p.tags) { w.text(t); }
    w.text("count"), w.integer(p.count);
    w.text("sizes"), w.map(p.sizes.size());
    for (auto const& [k, n] : p.sizes) { w.text(k), w.integer(n); }
    w.text("title"), w.text(p.title);
    return out;
}
/// The same with its tags in order: a set has none.
bytes as_set(bytes_view encoded_page) {
    auto const found = sl::map_find(encoded_page, "tags");
    REQUIRE((found && *found));
    sl::cbor_reader in{**found};
    std::vector<std::string> tags(in.array());
    for (auto& t : tags) { t = in.text(); }
    std::sort(tags.begin(), tags.end());
    bytes sorted;
    sl::cbor_writer w{sorted};
    w.array(tags.size());
    for (auto const& t : tags) { w.text(t); }
    return sl::detail::rewrite_fields(encoded_page, {{"tags", true, sorted}});
}

}  // namespace

TEST_CASE("history: as of a stamp nothing later is in it, in whatever order it came", "[audit]") {
    // Everybody writes without having seen the others, and is taken in in any order by the one apply function. What was
    // so at a stamp is what the same order makes without what is later.
    sl::random_generator random{11};
    sl::collection_rules const rules{
        "c",
        sl::rule::last_writer,
        {{"count", sl::rule::counter}, {"sizes", sl::rule::nested}, {"tags", sl::rule::add_wins}}};
    record_key const k{"c", std::string_view{"r"}};
    page const first{"untitled", 5, {"a", "b"}, {{"x", 1}}};
    bytes const began = encoded(first);
    for (int round = 0; round < rounds(400); ++round) {
        std::vector<mutation> all;
        std::size_t const n = 1 + below(random, 6);
        for (std::size_t i = 0; i < n; ++i) {
            page mine = first;
            if (below(random, 2) == 0) { mine.title = "title " + std::to_string(below(random, 3)); }
            if (below(random, 2) == 0) { mine.count += 4 - static_cast<std::int64_t>(below(random, 19)); }
            if (below(random, 2) == 0) {
                mine.tags.push_back(std::string(1, static_cast<char>('c' + below(random, 4))));
            }
            if (below(random, 2) == 0) { mine.sizes[std::string(1, static_cast<char>('x' + i))] = 7; }
            mutation m = change_of(k, change_kind::update, 100 + 10 * i);
            auto ops = sl::diff(began, encoded(mine), rules, m.stamp);
            REQUIRE(ops);
            m.ops = std::move(*ops);
            m.base = 1;
            all.push_back(std::move(m));
        }
        for (std::size_t i = all.size(); i > 1; --i) { std::swap(all[i - 1], all[below(random, i)]); }
        sl::memory_storage store;
        mutation_history const h({.snapshot_every = static_cast<std::uint32_t>(1 + below(random, 4))});
        auto tx = write(store);
        mutation create = change_of(k, change_kind::create, 50);
        auto ops = sl::diff({}, began, rules, create.stamp);
        REQUIRE(ops);
        create.ops = *ops;
        auto const begin = [&](std::optional<sl::row>& r) {
            REQUIRE(apply(r, create, rules, {.author = 9, .at = 1}).changed);
        };
        std::optional<sl::row> now;
        begin(now);
        REQUIRE(h.record(tx, author(9), create, std::nullopt, bytes_view{now->fields}));
        for (std::size_t i = 0; i < all.size(); ++i) {
            bytes const before = now->fields;
            (void)apply(now, all[i], rules, {.author = static_cast<sl::author_index>(i), .at = 2 + i});
            REQUIRE(h.record(tx, author(i), all[i], bytes_view{before}, bytes_view{now->fields}));
        }
        if (below(random, 2) == 0) { REQUIRE(h.forget(tx, below(random, n + 1), 100)); }
        std::uint64_t const known = h.extent(tx)->forgotten.raw;
        for (std::uint64_t stamp = 95; stamp < 170; stamp += 10) {
            if (stamp < known) { continue; }
            std::optional<sl::row> then;
            begin(then);
            for (std::size_t i = 0; i < all.size(); ++i) {
                if (all[i].stamp.raw > stamp) { continue; }
                (void)apply(then, all[i], rules, {.author = static_cast<sl::author_index>(i), .at = 2 + i});
            }
            auto const told = h.as_of(tx, k, {.stamp = {stamp}});
            INFO("round " << round << ", stamp " << stamp);
            REQUIRE((told && *told));
            REQUIRE(as_set(**told) == as_set(then->fields));
        }
    }
}

TEST_CASE("history: which word stood in a field is known after a whole state, and of one that is gone", "[audit]") {
    record_key const k{"c", std::string_view{"r"}};
    sl::collection_rules const rules{"c", sl::rule::last_writer, {}};
    struct word {
        std::uint64_t stamp;
        sl::position base;
        std::string field;
        std::optional<std::int64_t> value;  // nothing: unset
        sl::op_kind how = sl::op_kind::set;
    };
    struct life {
        std::string what;
        std::vector<word> words;
        std::uint32_t snapshot_every;
        std::uint64_t forgotten;
    };
    life const lives[] = {
        {"events were forgotten", {{10, 0, "a", 1}, {40, 1, "a", 2}, {60, 2, "b", 3}, {30, 1, "b", 4}}, 64, 2},
        {"unset twice", {{10, 0, "a", 1}, {20, 1, "a", {}}, {40, 2, "a", {}}, {60, 3, "a", 9}, {30, 1, "a", 5}}, 64, 0},
        {"the same value late, after a whole state",
         {{10, 0, "a", 1}, {40, 1, "a", 3}, {20, 1, "a", 3}, {60, 3, "a", 9}, {30, 1, "a", 0}},
         2,
         0},
        {"an addition beside one that is left out, and an older word",
         {{10, 0, "a", 1}, {60, 1, "a", 3, sl::op_kind::add}, {30, 1, "a", -1, sl::op_kind::add}, {20, 1, "a", {}}},
         64,
         0},
    };
    for (life const& l : lives) {
        INFO(l.what);
        sl::memory_storage store;
        mutation_history const h({.snapshot_every = l.snapshot_every});
        auto tx = write(store);
        std::optional<sl::row> now;
        std::optional<sl::row> then;
        auto const view = [](std::optional<bytes> const& b) {
            return b ? std::optional<bytes_view>{*b} : std::optional<bytes_view>{};
        };
        for (std::size_t i = 0; i < l.words.size(); ++i) {
            word const& said = l.words[i];
            mutation m = change_of(k, i == 0 ? change_kind::create : change_kind::update, said.stamp);
            m.base = said.base;
            sl::field_op op{said.field, said.value ? said.how : sl::op_kind::unset, {}, {said.stamp}};
            if (said.value) { sl::cbor_writer{op.value}.integer(*said.value); }
            m.ops = {op};
            sl::apply_context const context{.author = static_cast<sl::author_index>(i), .at = i + 1};
            auto const before = now ? std::optional<bytes>{now->fields} : std::nullopt;
            (void)apply(now, m, rules, context);
            if (said.stamp <= 50) { (void)apply(then, m, rules, context); }
            REQUIRE(h.record(tx, author(i), m, view(before), bytes_view{now->fields}));
        }
        REQUIRE(h.forget(tx, l.forgotten, 100));
        auto const told = h.as_of(tx, k, {.stamp = {50}});
        REQUIRE((told && *told));
        CHECK(**told == then->fields);
    }
}

TEST_CASE("history: a damaged event hides the past before the next whole state, and keeps nobody from writing",
          "[audit]") {
    record_key const k{"c", std::string_view{"r"}};
    sl::memory_storage store;
    mutation_history const h({.snapshot_every = 4});
    auto tx = write(store);
    std::optional<fields> now;
    auto const change = [&](std::uint64_t stamp, std::int64_t n) {
        mutation m = change_of(k, now ? change_kind::update : change_kind::create, stamp);
        sl::field_op op{"a", sl::op_kind::set, {}, {stamp}};
        sl::cbor_writer{op.value}.integer(n);
        m.ops = {op};
        auto const before = now ? std::optional<bytes>{encoded(*now)} : std::nullopt;
        now = fields{{"a", n}};
        bytes const after = encoded(*now);
        return h.record(tx, author(1), m, before ? std::optional<bytes_view>{*before} : std::nullopt,
                        bytes_view{after});
    };
    REQUIRE(change(10, 1));
    REQUIRE(change(20, 2));
    bytes event;
    REQUIRE(tx.scan({sl::as_bytes("he"), sl::as_bytes("hf")}, [&](bytes_view at, bytes_view) {
        event = sl::to_bytes(at);
        return false;
    }));
    REQUIRE(tx.put(event, sl::as_bytes("rot")));
    REQUIRE(change(30, 3));
    CHECK(h.as_of(tx, k, {.position = 3}).error() == errc::corrupt);
    REQUIRE(change(40, 4));  // kept whole
    REQUIRE(change(50, 5));
    CHECK(decoded(*h.as_of(tx, k, {.position = 4})) == fields{{"a", 4}});
    CHECK(decoded(*h.as_of(tx, k, {.stamp = {45}})) == fields{{"a", 4}});
    CHECK(decoded(*h.as_of(tx, k, {})) == fields{{"a", 5}});
    CHECK(h.as_of(tx, k, {.position = 2}).error() == errc::corrupt);
}

TEST_CASE("history: a text, an end and a value that lost, as of before what they met", "[audit]") {
    record_key const k{"c", std::string_view{"r"}};
    sl::memory_storage store;
    mutation_history const h;
    auto tx = write(store);
    auto const text = [](std::string_view t) {
        bytes out;
        sl::cbor_writer{out}.text(t);
        return out;
    };
    auto const with = [&](std::string_view t) {
        bytes out;
        sl::cbor_writer w{out};
        w.map(1);
        w.text("t"), w.raw(text(t));
        return out;
    };
    auto const change = [&](change_kind kind, std::uint64_t stamp, std::vector<sl::field_op> ops,
                            std::optional<bytes> const& before, std::optional<bytes> const& after) {
        mutation m = change_of(k, kind, stamp);
        m.ops = std::move(ops);
        auto const view = [](std::optional<bytes> const& b) {
            return b ? std::optional<bytes_view>{*b} : std::optional<bytes_view>{};
        };
        REQUIRE(h.record(tx, author(stamp), m, view(before), view(after)));
    };
    auto const set = [&](std::string_view t, std::uint64_t stamp) {
        return std::vector<sl::field_op>{{"t", op_kind::set, text(t), {stamp}}};
    };
    bytes revised;
    sl::cbor_writer w{revised};
    w.array(2);
    w.raw(text("one")), w.raw(text("one, two"));
    change(change_kind::create, 10, set("one", 10), std::nullopt, with("one"));
    change(change_kind::update, 50, set("late", 50), with("one"), with("late"));
    change(change_kind::update, 30, set("beaten", 30), with("late"), with("late"));
    change(change_kind::update, 20, set("earlier still", 20), with("late"), with("late"));
    change(change_kind::update, 35, {{"t", op_kind::revise, revised, {35}}}, with("late"), with("late, two"));
    change(change_kind::erase, 60, {}, with("late, two"), std::nullopt);
    change(change_kind::update, 40, set("in time", 40), std::nullopt, std::nullopt);
    auto const as_of = [&](std::uint64_t stamp) { return h.as_of(tx, k, {.stamp = {stamp}}); };
    CHECK(**as_of(10) == with("one"));
    CHECK(**as_of(20) == with("earlier still"));
    CHECK(**as_of(30) == with("beaten"));
    CHECK(**as_of(35) == with("one, two"));
    CHECK(**as_of(40) == with("in time"));
    CHECK(**as_of(50) == with("late, two"));
    CHECK_FALSE(*as_of(60));
}

TEST_CASE("history: what could not be read back is refused", "[audit]") {
    record_key const k{"c", std::string_view{"r"}};
    sl::memory_storage store;
    mutation_history const h;
    auto tx = write(store);
    bytes const f = encoded(fields{{"a", 1}});
    mutation erase = change_of(k, change_kind::erase, 2);
    erase.ops.push_back({"a", op_kind::set, number(1), {2}});
    CHECK(h.record(tx, {}, erase, bytes_view{f}, std::nullopt).error() == errc::invalid);
    mutation group = change_of(k, change_kind::group, 2);
    group.parts = {change_of(k, change_kind::erase, 2), change_of({"c", std::string_view{"s"}}, change_kind::erase, 2)};
    CHECK(h.record(tx, {}, group, bytes_view{f}, std::nullopt).error() == errc::invalid);
    CHECK(h.record(tx, {}, change_of(k, static_cast<change_kind>(9), 2), bytes_view{f}, bytes_view{f}).error() ==
          errc::invalid);
    CHECK(raw(tx).empty());
}

TEST_CASE("history: the events replayed through the one apply function make the same records", "[audit]") {
    sl::random_generator random{7};
    sl::memory_storage store;
    mutation_history const h;
    std::map<std::string, state> now;
    auto tx = write(store);
    for (std::uint64_t i = 0; i < 200; ++i) { REQUIRE(tell(tx, h, random_step(random, now, 100 + i))); }
    std::map<std::string, std::optional<sl::row>> rows;
    std::map<std::string, std::uint64_t> lives;
    sl::collection_rules const rules;
    REQUIRE(h.scan(tx, 1, ~std::uint64_t{0}, [&](history_event const& e) {
        std::string const name = e.change.record.collection + '/' + std::string{e.change.record.id_text()};
        mutation m = e.change;
        if (m.kind == change_kind::create) { ++lives[name]; }
        m.life = lives[name];
        m.base = e.position - 1;
        auto const out = apply(rows[name], m, rules, {.author = 1, .at = e.position});
        REQUIRE(out.verdict == sl::verdict_kind::applied);
        return true;
    }));
    for (auto const& [name, s] : now) {
        auto const& r = rows[name];
        REQUIRE((r && !r->deleted) == s.has_value());
        if (s) { REQUIRE(decoded(r->fields) == s); }
    }
}

TEST_CASE("history: undo gives back what was, unless somebody has touched it since", "[audit]") {
    sl::memory_storage store;
    mutation_history const h;
    record_key const k{"c", std::string_view{"r"}};
    auto tx = write(store);
    state now;
    std::uint64_t stamp = 0;
    auto const change = [&](change_kind kind, std::vector<sl::field_op> ops) {
        step s;
        s.record = k;
        s.by = ++stamp;
        s.change = change_of(k, kind, stamp);
        s.change.ops = std::move(ops);
        s.before = now;
        s.after = now = applied(now, s.change);
        auto const at = tell(tx, h, s);
        REQUIRE(at);
        return *at;
    };
    auto const set = [](char const* f, std::int64_t n) { return sl::field_op{f, op_kind::set, number(n), {}}; };
    auto const add = [](char const* f, std::int64_t n) { return sl::field_op{f, op_kind::add, number(n), {}}; };
    auto const created = change(change_kind::create, {set("a", 1), set("n", 10)});
    auto const alone = *h.undo(tx, created, {});
    CHECK((alone.clean() && alone.kind == change_kind::erase && alone.ops.empty() && alone.record == k));
    auto const edit = change(change_kind::update, {set("a", 2), set("b", 7)});
    auto const count = change(change_kind::update, {add("n", 5)});
    change(change_kind::update, {set("b", 8)});
    change(change_kind::update, {add("n", 100)});

    auto const creation = *h.undo(tx, created, {});
    REQUIRE(creation.conflicts.size() == 1);
    CHECK(creation.conflicts[0].field.empty());
    CHECK(creation.conflicts[0].position == 5);

    auto const plan = *h.undo(tx, edit, {77});
    CHECK(plan.kind == change_kind::update);
    REQUIRE(plan.ops.size() == 1);
    CHECK(plan.ops[0] == sl::field_op{"a", op_kind::set, number(1), {77}});
    REQUIRE(plan.conflicts.size() == 1);
    CHECK(plan.conflicts[0].field == "b");
    CHECK(plan.conflicts[0].position == 4);
    CHECK(plan.conflicts[0].author == author(4));
    REQUIRE(plan.conflicts[0].ops.size() == 1);
    CHECK(plan.conflicts[0].ops[0].kind == op_kind::unset);

    // A counter's change is taken back from under a later one.
    auto const back = *h.undo(tx, count, {});
    REQUIRE((back.clean() && back.ops.size() == 1));
    CHECK(back.ops[0] == sl::field_op{"n", op_kind::add, number(-5), {}});
    auto const undone = change(change_kind::update, back.ops);
    CHECK((*now)["n"] == 110);
    // Redo is to undo the undoing.
    auto const redo = *h.undo(tx, undone, {});
    REQUIRE((redo.clean() && redo.ops.size() == 1));
    change(change_kind::update, redo.ops);
    CHECK((*now)["n"] == 115);
    // A counter that somebody has set is theirs.
    change(change_kind::update, {set("n", 0)});
    CHECK_FALSE(h.undo(tx, count, {})->clean());
    // A value that went and came back was touched all the same.
    auto const there = change(change_kind::update, {set("c", 1)});
    change(change_kind::update, {set("c", 2)});
    change(change_kind::update, {set("c", 1)});
    CHECK_FALSE(h.undo(tx, there, {})->clean());

    auto const erased = change(change_kind::erase, {});
    auto const revive = *h.undo(tx, erased, {5});
    REQUIRE((revive.clean() && revive.kind == change_kind::create));
    CHECK(revive.ops.size() == 4);
    CHECK(revive.ops[0] == sl::field_op{"a", op_kind::set, number(2), {5}});
    CHECK_FALSE(h.undo(tx, edit, {})->clean());
    change(change_kind::create, {set("a", 3)});
    auto const late = *h.undo(tx, erased, {});
    REQUIRE(late.conflicts.size() == 1);
    CHECK(late.conflicts[0].ops.size() == 4);
    auto const least = change(change_kind::update, {add("z", (std::numeric_limits<std::int64_t>::min)())});
    CHECK(h.undo(tx, least, {}).error() == errc::overflow);
    CHECK(h.undo(tx, 999, {}).error() == errc::not_found);
}

TEST_CASE("history: from any state a record comes back to each that it was in", "[audit]") {
    sl::random_generator random{11};
    sl::memory_storage store;
    mutation_history const h;
    std::vector<step> all;
    std::map<std::string, state> now;
    auto tx = write(store);
    for (std::uint64_t i = 0; i < 60; ++i) {
        all.push_back(random_step(random, now, 100 + i));
        REQUIRE(tell(tx, h, all.back()));
    }
    record_key const k{"c", std::string_view{"a"}};
    for (std::uint64_t from = 0; from <= all.size(); from += 3) {
        state const current = naive_as_of(all, k, from);
        std::optional<bytes> fields_now;
        if (current) { fields_now = encoded(*current); }
        for (std::uint64_t to = 0; to <= all.size(); ++to) {
            state const then = naive_as_of(all, k, to);
            std::optional<bytes_view> view;
            if (fields_now) { view = *fields_now; }
            auto const plan = h.recover(tx, k, {.position = to}, view, {9});
            REQUIRE(plan);
            mutation m;
            m.kind = plan->kind;
            m.ops = plan->ops;
            REQUIRE(applied(current, m) == then);
        }
    }
    bytes const no_map = number(1);
    CHECK(h.recover(tx, k, {}, bytes_view{no_map}, {}).error() == errc::invalid);
}

TEST_CASE("history: a record that lives on after its redaction has no past until it is known again", "[audit]") {
    sl::memory_storage store;
    mutation_history const h({.snapshot_every = 3});
    record_key const k{"c", std::string_view{"r"}};
    auto tx = write(store);
    state now;
    std::uint64_t stamp = 0;
    auto const change = [&](change_kind kind, std::int64_t n) {
        step s;
        s.record = k;
        s.change = change_of(k, kind, ++stamp);
        if (kind != change_kind::erase) { s.change.ops.push_back({"a", op_kind::set, number(n), {stamp}}); }
        s.before = now;
        s.after = now = applied(now, s.change);
        REQUIRE(tell(tx, h, s));
    };
    change(change_kind::create, 1);
    change(change_kind::update, 2);
    CHECK(*h.redact(tx, k) == 2);
    CHECK(*h.redact(tx, k) == 0);
    CHECK_FALSE(*h.find(tx, 1));
    CHECK(h.undo(tx, 1, {}).error() == errc::not_found);
    CHECK(h.redact(tx, record_key{}).error() == errc::invalid);
    change(change_kind::update, 3);
    CHECK(h.as_of(tx, k, {}).error() == errc::not_found);
    CHECK(*h.forget(tx, 3, 9) == 3);
    CHECK(h.as_of(tx, k, {}).error() == errc::not_found);
    change(change_kind::update, 4);
    change(change_kind::update, 5);  // the third: its state is kept whole
    CHECK(decoded(*h.as_of(tx, k, {})) == fields{{"a", 5}});
    change(change_kind::erase, 0);
    CHECK_FALSE(*h.as_of(tx, k, {}));
}

TEST_CASE("history: what is refused, damaged or fails is said", "[audit]") {
    mutation_history const h({.snapshot_every = 2});
    sl::memory_storage store;
    {
        auto tx = write(store);
        bytes const no_map = number(1);
        auto m = change_of({"c", std::string_view{"r"}}, change_kind::update, 1);
        CHECK(h.record(tx, {}, m, bytes_view{no_map}, std::nullopt).error() == errc::invalid);
        m.record.id.clear();
        CHECK(h.record(tx, {}, m, std::nullopt, std::nullopt).error() == errc::invalid);
        CHECK(raw(tx).empty());
        sl::random_generator random{1};
        std::map<std::string, state> now;
        for (std::uint64_t i = 0; i < 20; ++i) { REQUIRE(tell(tx, h, random_step(random, now, i))); }
        REQUIRE(tx.commit());
    }
    // A value that is damaged is an error where it is needed, or other values; never more than that.
    raw_map rows;
    {
        auto tx = write(store);
        rows = raw(tx);
    }
    std::size_t errors = 0;
    for (auto const& [k, v] : rows) {
        for (std::size_t at = 0; at <= v.size(); ++at) {
            auto tx = write(store);
            std::string changed = v;
            if (at < v.size()) {
                changed[at] = static_cast<char>(~changed[at]);
            } else {
                changed += 'x';
            }
            REQUIRE(tx.put(sl::as_bytes(k), sl::as_bytes(changed)));
            auto const all = h.scan(tx, 1, 20, [](history_event const&) { return true; });
            auto const past = h.as_of(tx, "", {}, [](record_key const&, bytes_view) { return true; });
            for (auto const& s : {all, past}) {
                if (!s) {
                    ++errors;
                    REQUIRE(
                        (s.error() == errc::corrupt || s.error() == errc::unsupported || s.error() == errc::not_found));
                }
            }
            (void)h.undo(tx, 3, {});
            (void)h.forget(tx, 20, 20);
        }
    }
    CHECK(errors > 500);

    auto const make = [&](auto& s) {
        sl::random_generator random{1};
        std::map<std::string, state> now;
        auto tx = s.begin(sl::access_mode::write);
        for (std::uint64_t i = 0; i < 12; ++i) { (void)tell(*tx, h, random_step(random, now, i)); }
        (void)tx->commit();
    };
    auto const check = [&](auto const& f) {
        auto const report = sl::testing::nth_failure(make, [&](auto& s) -> sl::status {
            auto tx = s.begin(sl::access_mode::write);
            if (!tx) { return tx.error(); }
            auto const ok = f(*tx);
            if (!ok) { return ok.error(); }
            return tx->commit();
        });
        INFO(sl::testing::to_text(report.violations));
        CHECK(report.violations.empty());
    };
    check([&](auto& tx) {
        step s;
        s.record = {"c", std::string_view{"a"}};
        s.change = change_of(s.record, change_kind::create, 50);
        s.after = fields{{"a", 1}};
        return tell(tx, h, s);
    });
    check([&](auto& tx) { return h.forget(tx, 9, 9); });
    check([&](auto& tx) { return h.redact(tx, {"c", std::string_view{"a"}}); });
    check([&](auto& tx) { return h.undo(tx, 2, {}); });
    check([&](auto& tx) { return h.as_of(tx, "c", {}, [](record_key const&, bytes_view) { return true; }); });
}

TEST_CASE("history: golden bytes of an event", "[audit]") {
    history_event e;
    e.author = author(7);
    e.change = change_of({"c", std::string_view{"r"}}, change_kind::update, 256);
    e.change.ops.push_back({"a", op_kind::set, number(2), {256}});
    e.lived = e.lives = true;
    e.effects.push_back({"a", number(1), number(2)});
    e.effects.push_back({"b", std::nullopt, number(0)});
    bytes out;
    sl::cbor_writer w{out};
    encode_event(w, e);
    CHECK(sl::to_hex(out) ==
          "8501"
          "54"
          "000000000000000000000000000000070000"
          "0000"
          "03"
          "8800190100"
          "02"
          "6163"
          "4172"
          "01"
          "00"
          "81"
          "83"
          "01"
          "6161"
          "02"
          "86"
          "6161"
          "4101"
          "4102"
          "6162"
          "f6"
          "4100");
    sl::cbor_reader in{out};
    CHECK(sl::decode_event(in) == e);
    REQUIRE(in.finish());
    for (std::size_t n = 0; n < out.size(); ++n) {
        sl::cbor_reader cut{bytes_view{out}.first(n)};
        (void)sl::decode_event(cut);
        REQUIRE_FALSE(cut.finish());
    }
}

namespace {

/// Tells of a record going from one state to another, by what a rule table makes of the difference.
void tell(sl::memory_storage& store, bytes_view before, bytes_view after, std::uint64_t stamp,
          sl::collection_rules const& rules) {
    auto tx = write(store);
    mutation m;
    m.kind = before.empty() ? change_kind::create : change_kind::update;
    m.record = record_key{"things", std::string_view{"t"}};
    m.stamp = {stamp};
    auto ops = sl::diff(before, after, rules, m.stamp);
    REQUIRE(ops);
    m.ops = std::move(*ops);
    auto const was = before.empty() ? std::nullopt : std::optional{before};
    REQUIRE(mutation_history{}.record(tx, author(1), m, was, after));
    REQUIRE(tx.commit());
}
bytes map_of(std::vector<std::pair<std::string, bytes>> const& all) {
    bytes out;
    sl::cbor_writer w{out};
    w.map(all.size());
    for (auto const& [name, value] : all) {
        w.text(name);
        w.raw(value);
    }
    return out;
}
bytes number_item(std::int64_t n) {
    bytes out;
    sl::cbor_writer{out}.integer(n);
    return out;
}

}  // namespace

TEST_CASE("history: a map with other keys than texts is a value in the past, too", "[audit]") {
    sl::collection_rules const rules{"things", sl::rule::last_writer, {{"f", sl::rule::nested}}};
    auto const numbered = [](std::int64_t n) {
        bytes out;
        sl::cbor_writer w{out};
        w.map(1);
        w.integer(7);
        w.integer(n);
        return out;
    };
    auto const state_of = [&](std::int64_t n, std::int64_t box) {
        return map_of({{"f", map_of({{"n", number_item(n)}, {"box", numbered(box)}})}});
    };
    sl::memory_storage store;
    tell(store, {}, state_of(1, 1), 10, rules);
    tell(store, state_of(1, 1), state_of(5, 1), 100, rules);  // later, and here first
    tell(store, state_of(5, 1), state_of(5, 2), 20, rules);
    auto tx = write(store);
    auto const then = mutation_history{}.as_of(tx, {"things", std::string_view{"t"}}, {.stamp = {50}});
    REQUIRE(then);
    CHECK(*then == state_of(1, 2));
}

TEST_CASE("history: the past and an undoing of many fields cost about as much more as they are more", "[audit]") {
    auto const filled = [](std::size_t n, std::int64_t with) {
        std::vector<std::pair<std::string, bytes>> all;
        for (std::size_t i = 0; i != n; ++i) { all.emplace_back("f" + std::to_string(100'000 + i), number_item(with)); }
        return map_of(all);
    };
    sl::collection_rules const nested{"things", sl::rule::last_writer, {{"f", sl::rule::nested}}};
    sl::collection_rules const plain{"things"};
    auto const cost = [&](std::size_t n, bool inside) {
        auto const state_of = [&](std::int64_t with) {
            return inside ? map_of({{"f", filled(n, with)}}) : filled(n, with);
        };
        auto const& rules = inside ? nested : plain;
        sl::memory_storage store;
        tell(store, {}, state_of(1), 10, rules);
        tell(store, state_of(1), state_of(2), 100, rules);
        tell(store, state_of(2), state_of(3), 20, rules);
        auto tx = write(store);
        std::clock_t const begin = std::clock();
        auto const then = mutation_history{}.as_of(tx, {"things", std::string_view{"t"}}, {.stamp = {50}});
        auto const plan = mutation_history{}.undo(tx, 2, {200});
        auto const took = static_cast<double>(std::clock() - begin);
        REQUIRE(then);
        CHECK(*then == state_of(3));
        REQUIRE(plan);
        CHECK(plan->conflicts.size() == (inside ? 1 : n));
        return took;
    };
    for (bool const inside : {false, true}) {
        double const few = (std::min)({cost(500, inside), cost(500, inside), cost(500, inside)});
        CHECK(cost(8'000, inside) < 64 * (few + static_cast<double>(CLOCKS_PER_SEC) / 1000));
    }
}
