// SPDX-License-Identifier: BSL-1.0

/// Three-way merge of records from bytes to bytes: ours, a recursive merge over nlohmann::json, one written by hand over
/// the cursor; and of described structs beside a comparison of the members written by hand.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <nlohmann/json.hpp>

#include <syncline/merge.hpp>

#include "documents.hpp"

namespace {

using namespace syncline;

/// Nested maps are merged field by field, as the peers do; the local side is later.
collection_rules rules() {
    collection_rules out{"documents", rule::nested, {}};
    return out;
}
side const local_side{timestamp{20}, 1};
side const remote_side{timestamp{10}, 2};

struct encoded_document {
    bytes base, local, remote;
};
std::vector<encoded_document> const& corpus() {
    static std::vector<encoded_document> const all = [] {
        std::vector<encoded_document> out;
        for (documents::document const& d : documents::make()) {
            out.push_back({documents::encoded(d.base), documents::encoded(d.local), documents::encoded(d.remote)});
        }
        return out;
    }();
    return all;
}
struct text_document {
    std::string base, local, remote;
};
std::vector<text_document> const& texts() {
    static std::vector<text_document> const all = [] {
        std::vector<text_document> out;
        for (documents::document const& d : documents::make()) {
            out.push_back({d.base.dump(), d.local.dump(), d.remote.dump()});
        }
        return out;
    }();
    return all;
}

nlohmann::json merge_json(nlohmann::json const& base, nlohmann::json const& local, nlohmann::json const& remote) {
    nlohmann::json out = nlohmann::json::object();
    auto const get = [](nlohmann::json const& j, std::string const& k) {
        auto const at = j.find(k);
        return at == j.end() ? nullptr : &*at;
    };
    auto const same = [](nlohmann::json const* a, nlohmann::json const* b) {
        return a == nullptr || b == nullptr ? a == b : *a == *b;
    };
    auto const one = [&](std::string const& k) {
        auto const* b = get(base, k);
        auto const* l = get(local, k);
        auto const* r = get(remote, k);
        nlohmann::json const* take = nullptr;
        if (same(b, l)) {
            take = r;
        } else if (same(b, r) || same(l, r)) {
            take = l;
        } else if (b != nullptr && l != nullptr && r != nullptr && b->is_object() && l->is_object() && r->is_object()) {
            out[k] = merge_json(*b, *l, *r);
            return;
        } else {
            take = l;
        }
        if (take != nullptr) { out[k] = *take; }
    };
    for (auto const& item : local.items()) { one(item.key()); }
    for (auto const& item : remote.items()) {
        if (!local.contains(item.key())) { one(item.key()); }
    }
    return out;
}

/// The same over cursors, as one writes it by hand: every pair of the three is looked at, and checked on the way.
bytes merge_by_hand(bytes_view base, bytes_view local, bytes_view remote) {
    bytes pairs;
    cbor_writer w{pairs};
    std::size_t count = 0;
    cbor_map_cursor b{base}, l{local}, r{remote};
    bool more_b = b.next(), more_l = l.next(), more_r = r.next();
    auto const is_map = [](bytes_view item) { return cbor_reader{item}.peek() == cbor_type::map; };
    while (more_b || more_l || more_r) {
        std::string_view key;
        bool any = false;
        auto const least = [&](bool more, cbor_map_cursor const& c) {
            if (more && (!any || compare_keys(c.key(), key) < 0)) { key = c.key(); }
            any = any || more;
        };
        least(more_b, b);
        least(more_l, l);
        least(more_r, r);
        auto const at = [&](bool more, cbor_map_cursor const& c) {
            return more && c.key() == key ? std::optional(c.value()) : std::nullopt;
        };
        auto const vb = at(more_b, b);
        auto const vl = at(more_l, l);
        auto const vr = at(more_r, r);
        auto const same = [](std::optional<bytes_view> const& x, std::optional<bytes_view> const& y) {
            return x && y ? equal(*x, *y) : x.has_value() == y.has_value();
        };
        auto const put = [&](bytes_view item) {
            w.text(key);
            w.raw(item);
            ++count;
        };
        if (same(vb, vl)) {
            if (vr) { put(*vr); }
        } else if (!same(vb, vr) && vb && vl && vr && is_map(*vb) && is_map(*vl) && is_map(*vr)) {
            put(merge_by_hand(*vb, *vl, *vr));
        } else if (vl) {
            put(*vl);
        }
        if (vb) { more_b = b.next(); }
        if (vl) { more_l = l.next(); }
        if (vr) { more_r = r.next(); }
    }
    bytes out;
    cbor_writer{out}.map(count);
    append(out, pairs);
    return out;
}

bool checked() {
    static bool const same = [] {
        auto const by = rules();
        for (std::size_t i = 0; i != corpus().size(); ++i) {
            auto const& e = corpus()[i];
            auto const& t = texts()[i];
            auto const ours = three_way(e.base, e.local, e.remote, by, local_side, remote_side);
            auto const theirs = merge_json(nlohmann::json::parse(t.base), nlohmann::json::parse(t.local),
                                           nlohmann::json::parse(t.remote));
            if (!ours || ours->record != documents::encoded(theirs)) { return false; }
            if (merge_by_hand(e.base, e.local, e.remote) != ours->record) { return false; }
        }
        return true;
    }();
    return same;
}
void ready(benchmark::State& state) {
    if (!checked()) { state.SkipWithError("the merges disagree"); }
    std::size_t total = 0;
    for (encoded_document const& e : corpus()) { total += e.base.size(); }
    state.counters["bytes"] = static_cast<double>(total) / static_cast<double>(corpus().size());
}

/// All documents in turn; time is that of one.
template <class F>
void over_all(benchmark::State& state, F const& merge) {
    ready(state);
    std::size_t i = 0;
    for (auto _ : state) {
        benchmark::DoNotOptimize(merge(i));
        i = i + 1 == documents::count ? 0 : i + 1;
    }
}

void records_ours(benchmark::State& state) {
    auto const by = rules();
    over_all(state, [&](std::size_t i) {
        auto const& e = corpus()[i];
        return three_way_validated(e.base, e.local, e.remote, by, local_side, remote_side);
    });
}
BENCHMARK(records_ours)->Name("merge/records/ours")->MinTime(0.5);

/// With the index of the base that validating it gave when it entered.
void records_ours_indexed(benchmark::State& state) {
    auto const by = rules();
    std::vector<field_index> indices;
    for (encoded_document const& e : corpus()) {
        auto index = index_fields(e.base);
        if (!index) { return state.SkipWithError("a base that is no record"); }
        indices.push_back(std::move(*index));
    }
    over_all(state, [&](std::size_t i) {
        auto const& e = corpus()[i];
        return three_way_validated(e.base, indices[i], e.local, e.remote, by, local_side, remote_side);
    });
}
BENCHMARK(records_ours_indexed)->Name("merge/records/ours_indexed")->MinTime(0.5);

/// No merge: only how far the base and each side begin and end alike, which a merge can't know for less.
void records_compared(benchmark::State& state) {
    over_all(state, [&](std::size_t i) {
        auto const& e = corpus()[i];
        std::size_t alike = 0;
        for (bytes const* const side : {&e.local, &e.remote}) {
            std::size_t const n = (std::min)(e.base.size(), side->size());
            alike += detail::common_prefix(e.base.data(), side->data(), n);
            alike += detail::common_suffix(e.base.data() + e.base.size(), side->data() + side->size(), n);
        }
        return alike;
    });
}
BENCHMARK(records_compared)->Name("merge/records/prefix_and_suffix_alone")->MinTime(0.5);

void records_ours_checked(benchmark::State& state) {
    auto const by = rules();
    over_all(state, [&](std::size_t i) {
        auto const& e = corpus()[i];
        return three_way(e.base, e.local, e.remote, by, local_side, remote_side);
    });
}
BENCHMARK(records_ours_checked)->Name("merge/records/ours_validating_all_three")->MinTime(0.5);

void records_nlohmann(benchmark::State& state) {
    over_all(state, [&](std::size_t i) {
        auto const& t = texts()[i];
        return merge_json(nlohmann::json::parse(t.base), nlohmann::json::parse(t.local),
                          nlohmann::json::parse(t.remote))
            .dump();
    });
}
BENCHMARK(records_nlohmann)->Name("merge/records/nlohmann")->MinTime(0.5);

void records_by_hand(benchmark::State& state) {
    over_all(state, [&](std::size_t i) {
        auto const& e = corpus()[i];
        return merge_by_hand(e.base, e.local, e.remote);
    });
}
BENCHMARK(records_by_hand)->Name("merge/records/by_hand_over_cursors")->MinTime(0.5);

struct booking {
    std::string client, mail, phone, venue, note;
    std::int64_t guests = 0, deposit = 0, starts = 0, ends = 0;
    double total = 0;
    bool confirmed = false;
    std::optional<std::string> diet;
};
constexpr auto describe(booking const*) {
    using b = booking;
    return record_of<b>("bookings", field("client", &b::client), field("mail", &b::mail), field("phone", &b::phone),
                        field("venue", &b::venue), field("note", &b::note), field("guests", &b::guests, rule::counter),
                        field("deposit", &b::deposit, rule::maximum), field("starts", &b::starts),
                        field("ends", &b::ends), field("total", &b::total), field("confirmed", &b::confirmed),
                        field("diet", &b::diet));
}
struct three_bookings {
    booking base{"Alexandra Featherstonehaugh",
                 "alexandra@example.org",
                 "+41 79 000 00 00",
                 "garden and terrace",
                 "Window seats if there are some; an anniversary.",
                 120,
                 500,
                 1'764'500'400'000,
                 1'764'522'000'000,
                 4'999.5,
                 true,
                 "no nuts"};
    booking local = base;
    booking remote = base;
    three_bookings() {
        local.note = "Window seats; it is an anniversary.";
        remote.venue = "hall";
    }
};
void structs_ours(benchmark::State& state) {
    three_bookings const t;
    for (auto _ : state) { benchmark::DoNotOptimize(three_way(t.base, t.local, t.remote, local_side, remote_side)); }
}
BENCHMARK(structs_ours)->Name("merge/structs/ours")->MinTime(0.3);

void structs_by_hand(benchmark::State& state) {
    three_bookings const t;
    for (auto _ : state) {
        booking out = t.remote;
        auto const one = [&](auto booking::*m) {
            if (t.local.*m != t.base.*m) { out.*m = t.local.*m; }
        };
        one(&booking::client);
        one(&booking::mail);
        one(&booking::phone);
        one(&booking::venue);
        one(&booking::note);
        one(&booking::guests);
        one(&booking::deposit);
        one(&booking::starts);
        one(&booking::ends);
        one(&booking::total);
        one(&booking::confirmed);
        one(&booking::diet);
        benchmark::DoNotOptimize(out);
    }
}
BENCHMARK(structs_by_hand)->Name("merge/structs/by_hand")->MinTime(0.3);

}  // namespace
