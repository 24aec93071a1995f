// SPDX-License-Identifier: BSL-1.0

/// The decoders of single items, each against its form written out once more over a tree: what is taken, and that it
/// is written again as it was; and that neither memory nor work exceed the input's length by more than a factor.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/clock/version_vector.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/pending.hpp>
#include <syncline/replica/protocol.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/cbor_mutator.hpp"
#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using cbor_model::node;

// --- the forms, naively -----------------------------------------------------------------------------------------------

bool unsigned_up_to(node const& n, std::uint64_t most) { return n.major == 0 && n.number <= most; }
bool any_unsigned(node const& n) { return n.major == 0; }
bool array_of(node const& n, std::size_t size) { return n.major == 4 && n.children.size() == size; }
bool string_of(node const& n, int major, std::size_t least, std::size_t most) {
    return n.major == major && n.string.size() >= least && n.string.size() <= most;
}
bool is_null(node const& n) { return n.major == 7 && !n.floating && n.number == 22; }
bool is_boolean(node const& n) { return n.major == 7 && !n.floating && (n.number == 20 || n.number == 21); }
bool before(std::string const& a, std::string const& b) { return a.size() != b.size() ? a.size() < b.size() : a < b; }

bool is_mutation(node const& n) {
    bool const wishes = array_of(n, 9);
    if (!array_of(n, 8) && !wishes) { return false; }
    auto const& c = n.children;
    if (wishes && (!unsigned_up_to(c[8], 2) || c[8].number == 0)) { return false; }
    bool const head = any_unsigned(c[0]) && any_unsigned(c[1]) && unsigned_up_to(c[2], 3) && c[2].number != 0 &&
                      string_of(c[3], 3, 1, 64) && string_of(c[4], 2, 1, 255) && any_unsigned(c[5]) &&
                      any_unsigned(c[6]) && c[7].major == 4;
    if (!head || (c[2].number == 3 && !c[7].children.empty())) { return false; }
    std::string last;
    for (node const& op : c[7].children) {
        std::size_t const parts = op.children.size();
        if (op.major != 4 || parts < 2 || !unsigned_up_to(op.children[0], 6) || op.children[0].number == 0) {
            return false;
        }
        bool const unset = op.children[0].number == 2;
        if (parts != (unset ? 2 : 3) && parts != 4) { return false; }
        if (!string_of(op.children[1], 3, 1, 255) || !before(last, op.children[1].string)) { return false; }
        last = op.children[1].string;
        if (parts != 4) { continue; }
        if (unset && !is_null(op.children[2])) { return false; }
        if (!any_unsigned(op.children[3]) || op.children[3].number == c[1].number) { return false; }
    }
    return true;
}

bool is_mark(node const* three, std::uint64_t version) {
    return unsigned_up_to(three[0], version) && any_unsigned(three[1]) && unsigned_up_to(three[2], 0xFFFFFFFF);
}
/// A field's name, or an array of it and a path.
bool is_place(node const& n) {
    return n.major == 3 ||
           (array_of(n, 2) && n.children[0].major == 3 && string_of(n.children[1], 2, 1, ~std::size_t{0}));
}
/// Whether the mark at `a` comes before the one at `b`, each a place and three numbers.
bool mark_before(node const* a, node const* b) {
    auto const name = [](node const& n) -> std::string const& {
        return n.major == 3 ? n.string : n.children[0].string;
    };
    auto const path = [](node const& n) { return n.major == 3 ? std::string{} : n.children[1].string; };
    if (name(a[0]) != name(b[0])) { return before(name(a[0]), name(b[0])); }
    if (path(a[0]) != path(b[0])) { return path(a[0]) < path(b[0]); }
    if (path(a[0]).empty()) { return false; }
    if (a[3].number != b[3].number) { return a[3].number < b[3].number; }
    return a[2].number < b[2].number;
}
bool is_row(node const& n) {
    if (!array_of(n, 7)) { return false; }
    auto const& c = n.children;
    if (!any_unsigned(c[0]) || !any_unsigned(c[1]) || !is_mark(&c[2], c[0].number)) { return false; }
    if (c[5].major != 4 || c[5].children.size() % 4 != 0) { return false; }
    for (std::size_t i = 0; i < c[5].children.size(); i += 4) {
        node const* const four = &c[5].children[i];
        if (!is_place(four[0]) || !is_mark(four + 1, c[0].number)) { return false; }
        if (i != 0 && !mark_before(four - 4, four)) { return false; }
    }
    return is_null(c[6]) || c[6].major == 5 || (array_of(c[6], 1) && c[6].children[0].major == 5);
}

bool is_verdict(node const& n) {
    if (!array_of(n, 8)) { return false; }
    auto const& c = n.children;
    bool const head = any_unsigned(c[0]) && unsigned_up_to(c[1], 255) && is_boolean(c[2]) &&
                      unsigned_up_to(c[3], 255) && any_unsigned(c[4]) && any_unsigned(c[5]) && c[6].major == 4 &&
                      c[7].major == 3;
    if (!head || c[6].children.size() % 3 != 0) { return false; }
    for (std::size_t i = 0; i < c[6].children.size(); i += 3) {
        node const* const three = &c[6].children[i];
        if (three[0].major != 3 || !unsigned_up_to(three[1], 255) || !unsigned_up_to(three[2], 255)) { return false; }
    }
    return true;
}

/// With the line of its origin, or without where it is older than they are.
bool is_pending(node const& n) {
    std::size_t const parts = n.major == 4 ? n.children.size() : 0;
    if (parts < 2 || parts > 5 || n.children[0].major != 2 || n.children[1].major != 2) { return false; }
    if (parts >= 3 && !any_unsigned(n.children[2])) { return false; }
    if (parts >= 4 && (!any_unsigned(n.children[3]) || (parts == 4 && n.children[3].number == 0))) { return false; }
    if (parts < 5) { return true; }
    node const& needs = n.children[4];
    std::size_t const many = needs.children.size();
    if (needs.major != 4 || many == 0 || many % 2 != 0 || many / 2 > pending::needs_max) { return false; }
    for (std::size_t i = 0; i < many; i += 2) {
        if (!string_of(needs.children[i], 2, 20, 20) || !any_unsigned(needs.children[i + 1])) { return false; }
    }
    return true;
}

bool is_vector(node const& n) {
    if (n.major != 5) { return false; }
    for (std::size_t i = 0; i < n.children.size(); i += 2) {
        node const& set = n.children[i + 1];
        if (!string_of(n.children[i], 2, 20, 20) || set.major != 4) { return false; }
        if (set.children.empty() || set.children.size() % 2 != 0) { return false; }
        std::uint64_t next = 0;  // the least number that the next interval may begin with
        bool over = false;       // there is none any more
        for (std::size_t k = 0; k < set.children.size(); k += 2) {
            if (!any_unsigned(set.children[k]) || !any_unsigned(set.children[k + 1])) { return false; }
            constexpr std::uint64_t most = ~std::uint64_t{0};
            if (over || set.children[k].number > most - next) { return false; }
            std::uint64_t const first = next + set.children[k].number;
            if (set.children[k + 1].number > most - first) { return false; }
            std::uint64_t const last = first + set.children[k + 1].number;
            over = last > most - 2;
            next = last + 2;
        }
    }
    return true;
}

// --- the properties ---------------------------------------------------------------------------------------------------

/// `decode(reader)` of an input that `takes` says it takes; `encode(writer, value)` gives the input again, unless
/// `exact` says that this value stands for others too.
template <class Decode, class Encode, class Exact>
void check(bytes_view in, bool (*takes)(node const&), Decode&& decode, Encode&& encode, Exact&& exact) {
    cbor_reader reader(in);
    std::uint64_t const before = fuzz::allocated;
    auto const value = decode(reader);
    std::uint64_t const taken = fuzz::allocated - before;
    auto const ok = reader.finish();
    // A list grows by doubling, and its smallest element is a byte or two.
    SYNCLINE_FUZZ_REQUIRE(taken <= 192 * in.size() + 4096);

    auto const form = cbor_model::judge(in);
    cbor_model::parser parser(in);
    bool const canonical = form.what == cbor_model::verdict::fine && form.canonical == as_text(in);
    bool const expected = canonical && takes(*parser.item());
    SYNCLINE_FUZZ_REQUIRE(ok ? expected : !expected || ok.error() == errc::limit);

    decode_limits tight;
    tight.work_max = 64 * in.size() + 256;
    cbor_reader bounded(in, tight);
    static_cast<void>(decode(bounded));
    SYNCLINE_FUZZ_REQUIRE(bounded.finish().has_value() == ok.has_value());
    if (!ok) { return; }

    bytes again;
    cbor_writer writer(again);
    encode(writer, value);
    if (exact(value)) { SYNCLINE_FUZZ_REQUIRE(equal(again, in)); }
    cbor_reader second(again);
    SYNCLINE_FUZZ_REQUIRE(decode(second) == value && second.finish());
    for (std::size_t n = 0; n < in.size() && in.size() < 100; ++n) {
        cbor_reader cut(in.first(n));
        static_cast<void>(decode(cut));
        SYNCLINE_FUZZ_REQUIRE(!cut.finish());
    }
}

/// A batch is what was visited, added once more.
void check_events(bytes_view in) {
    event_batch again;
    bool exact = true;
    auto const read = event_batch::read(in, [&](event const& e) {
        switch (e.kind) {
            case event_kind::changed:
            case event_kind::removed: again.add_change(e.record, e.kind == event_kind::removed); break;
            case event_kind::evicted: again.add_eviction(e.record); break;
            case event_kind::decided: again.add_verdict(e.record, e.said); break;
            case event_kind::reincarnated:
                exact = exact && e.record == record_key{};
                again.add_reincarnation();
                break;
            case event_kind::regressed:
                exact = exact && e.record == record_key{};
                again.add_regress(e.lost);
                break;
        }
        // An unknown kind of verdict is parked as another.
        exact = exact && e.said.kind != verdict_kind::retry_after;
        return true;
    });
    SYNCLINE_FUZZ_REQUIRE(read || read.error() == errc::corrupt);
    if (read && exact) { SYNCLINE_FUZZ_REQUIRE(equal(again.encode(), in)); }
}

void check_key(bytes_view in) {
    auto const key = record_key_from(in);
    if (key) {
        SYNCLINE_FUZZ_REQUIRE(valid(*key) && equal(to_bytes(*key), in));
    } else {
        SYNCLINE_FUZZ_REQUIRE(key.error() == errc::corrupt);
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    if (size == 0) { return 0; }
    bytes_view const in(reinterpret_cast<std::byte const*>(data) + 1, size - 1);
    auto const always = [](auto const&) { return true; };
    switch (data[0] % 7) {
        case 0:
            check(
                in, is_mutation, [](cbor_reader& r) { return decode_mutation(r); }, encode_mutation, always);
            break;
        case 1:
            check(
                in, is_row, [](cbor_reader& r) { return decode_row(r); }, encode_row, always);
            break;
        case 2:
            check(
                in, is_verdict, [](cbor_reader& r) { return decode_verdict(r); }, encode_verdict,
                [](verdict const& v) { return v.kind != verdict_kind::retry_after; });
            break;
        case 3:
            check(
                in, is_vector, [](cbor_reader& r) { return decode_version_vector(r); }, encode_version_vector, always);
            break;
        case 4: {
            auto const p = pending::parse(in);
            cbor_model::parser parser(in);
            auto const form = cbor_model::judge(in);
            bool const canonical = form.what == cbor_model::verdict::fine && form.canonical == as_text(in);
            SYNCLINE_FUZZ_REQUIRE(p ? canonical && is_pending(*parser.item()) : p.error() == errc::corrupt);
            if (!p) { return 0; }
            auto const m = p->decoded();
            if (!m) {
                SYNCLINE_FUZZ_REQUIRE(m.error() == errc::corrupt);
                return 0;
            }
            pending again = *p;
            again.change = *m;
            bool const old = in[0] == std::byte{0x82};
            SYNCLINE_FUZZ_REQUIRE(old ? again.line == 0 : equal(again.encode(), in));
            break;
        }
        case 5: check_events(in); break;
        default: check_key(in); break;
    }
    return 0;
}

// --- inputs to begin with ---------------------------------------------------------------------------------------------

mutation some_mutation() {
    mutation m{7, timestamp{1000}, change_kind::update, record_key{"things", "x"}, 1, 12, {}};
    bytes const one{std::byte{1}};
    m.ops.push_back({"a", op_kind::set, one, timestamp{1000}});
    m.ops.push_back({"b", op_kind::unset, {}, timestamp{999}});
    m.ops.push_back({"count", op_kind::add, one, timestamp{1001}});
    return m;
}

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](int kind, std::string_view name, bytes_view item) {
        bytes out{static_cast<std::byte>(kind)};
        append(out, item);
        sink(name, out);
    };
    auto const written = [](auto&& encode, auto const& value) {
        bytes out;
        cbor_writer w(out);
        encode(w, value);
        return out;
    };
    give(0, "mutation", written(encode_mutation, some_mutation()));
    mutation erase = some_mutation();
    erase.kind = change_kind::erase;
    erase.ops.clear();
    give(0, "erase", written(encode_mutation, erase));

    row r{12, 2, false, {10, timestamp{5}, 3}, {{"a", {12, timestamp{9}, 4}}, {"bc", {11, timestamp{8}, 3}}}, {}};
    r.fields = {std::byte{0xA1}, std::byte{0x61}, std::byte{'a'}, std::byte{0x01}};
    give(1, "row", written(encode_row, r));
    row tomb{12, 2, true, {0, timestamp{5}, unknown_author}, {}, {}};  // both at their ends
    give(1, "tombstone", written(encode_row, tomb));

    verdict v;
    v.sequence = 4;
    v.kind = verdict_kind::merged;
    v.version = 12;
    v.decisions = {{"a", rule::last_writer, winner::confirmed}, {"count", rule::counter, winner::both}};
    v.text = "said";
    give(2, "verdict", written(encode_verdict, v));

    version_vector held;
    held.add({id128{}, 1}, {1, 100});
    held.add({id128{}, 1}, {102, 104});
    held.add({id128{}, 2}, {0, 0});
    held.add({id128{}, 2}, {~std::uint64_t{0}, ~std::uint64_t{0}});
    give(3, "vector", encode(held));

    pending p;
    p.change = some_mutation();
    p.base = r.fields;
    p.line = 77;
    give(4, "pending", p.encode());

    event_batch events;
    events.add_change({"things", "x"}, false);
    events.add_verdict({"things", "x"}, v);
    events.add_change({"things", "y"}, true);
    events.add_reincarnation();
    give(5, "events", events.encode());
    give(6, "key", to_bytes(record_key{"things", "x"}));
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 2, .seeds = seeds, .mutate = fuzz::mutate_cbor<1>)
