// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What edits of elements make of a set or a list, said once more from everything that was ever done to it, without
/// marks: what a test's oracles compare with.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/merge/elements.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// One operation on elements, as the authority took it.
struct naive_deed {
    author_index author = unknown_author;
    position at = 0;
    position base = 0;                 ///< what its author had seen; never less than that of the author's deed before
    timestamp stamp{};                 ///< as it counts: at most the authority's bound
    bytes edits{};                     ///< the operation's value
    op_kind kind = op_kind::elements;  ///< or `set`, `unset`: the whole at once
};
/// Whether `later` was done in the knowledge of `earlier`.
[[nodiscard]] inline bool naive_sees(naive_deed const& later, naive_deed const& earlier) noexcept {
    return earlier.at <= later.base || earlier.author == later.author;
}

/// A set, an encoded array, from the deed that made it (its edits are not looked at: `items` is what it made) and all
/// that came after it, in the order in which it came. Where adding wins, an element is there that somebody added and
/// nobody removed in the knowledge of it; where removing wins, one that was added, and of which every removal was known
/// to somebody who added it.
/// Cost: for each element quadratic in the deeds.
[[nodiscard]] inline bytes naive_set(naive_deed const& made, std::vector<bytes> const& items,
                                     std::vector<naive_deed> const& deeds, bool add_wins) {
    struct touch {
        naive_deed const* deed;
        std::size_t nth;  ///< within the deed
        bool adds;
    };
    // Within one deed a later edit knows the earlier.
    auto const knows = [](touch const& a, touch const& b) {
        return a.deed == b.deed ? b.nth < a.nth : b.deed->at < a.deed->at && naive_sees(*a.deed, *b.deed);
    };
    std::vector<std::pair<bytes, std::vector<touch>>> elements;
    auto const of = [&](bytes const& item) -> std::vector<touch>& {
        for (auto& e : elements) {
            if (e.first == item) { return e.second; }
        }
        elements.push_back({item, {}});
        return elements.back().second;
    };
    for (bytes const& item : items) { of(item).push_back({&made, 0, true}); }
    for (naive_deed const& d : deeds) {
        auto const edits = decode_element_edits(d.edits);
        for (std::size_t i = 0; i < edits->size(); ++i) {
            element_edit const& e = (*edits)[i];
            of(to_bytes(e.identity)).push_back({&d, i, e.verb == element_verb::add});
        }
    }
    std::vector<bytes> there;
    for (auto const& [item, touches] : elements) {
        bool added = false;
        bool unanswered = false;  // an addition that no removal knew; a removal that no addition knew
        for (touch const& t : touches) {
            added = added || t.adds;
            if (t.adds != add_wins) { continue; }
            bool answered = false;
            for (touch const& other : touches) { answered = answered || (other.adds != t.adds && knows(other, t)); }
            unanswered = unanswered || !answered;
        }
        if (add_wins ? unanswered : added && !unanswered) { there.push_back(item); }
    }
    std::sort(there.begin(), there.end(), [](bytes const& a, bytes const& b) { return compare(a, b) < 0; });
    bytes out;
    cbor_writer w{out};
    w.array(there.size());
    for (bytes const& item : there) { w.raw(item); }
    return out;
}

/// The same with deeds among the others that set or unset the whole: the last of them counts, and of the edits those that
/// are later than it. Nothing: the field is missing.
/// Precondition: every deed's stamp is greater than those of all that its author had seen.
[[nodiscard]] inline std::optional<bytes> naive_set_or_none(naive_deed const& made, std::vector<bytes> const& items,
                                                            std::vector<naive_deed> const& deeds, bool add_wins) {
    auto const later = [](naive_deed const& a, naive_deed const& b) {
        return a.stamp != b.stamp ? a.stamp > b.stamp : a.author > b.author;
    };
    naive_deed const* last = &made;
    for (naive_deed const& d : deeds) {
        if (d.kind != op_kind::elements && (last == &made || later(d, *last))) { last = &d; }
    }
    std::vector<naive_deed> edits;
    for (naive_deed const& d : deeds) {
        if (d.kind == op_kind::elements && (last == &made || later(d, *last))) { edits.push_back(d); }
    }
    if (last->kind == op_kind::unset && edits.empty()) { return std::nullopt; }
    std::vector<bytes> held = last == &made ? items : std::vector<bytes>{};
    if (last->kind == op_kind::set) {
        cbor_reader in{last->edits};
        for (std::size_t n = in.array(); n != 0; --n) { held.push_back(to_bytes(in.skip(1))); }
    }
    return naive_set(*last, held, edits, add_wins);
}

/// A list, an encoded array, from what it was and all that came after it, in the order in which it came: all is played
/// again in the order of stamps, after whatever each knew. An element that was removed keeps its place for those who
/// speak of it; who inserts one that is there says what it is, and leaves it where it is. Precondition: at most `list_operations_max` deeds.
/// Cost: quadratic in deeds and elements.
[[nodiscard]] inline bytes naive_list(bytes const& before, std::vector<naive_deed> const& deeds) {
    std::vector<std::pair<timestamp, naive_deed const*>> order;
    for (naive_deed const& d : deeds) {
        timestamp stamp = d.stamp;
        for (auto const& [known, earlier] : order) {
            if (naive_sees(d, *earlier) && stamp <= known) { stamp = timestamp{known.raw + 1}; }
        }
        order.push_back({stamp, &d});
    }
    std::sort(order.begin(), order.end(), [](auto const& a, auto const& b) {
        if (a.first != b.first) { return a.first < b.first; }
        return a.second->author != b.second->author ? a.second->author < b.second->author : a.second->at < b.second->at;
    });
    struct element {
        bytes id;
        bytes item;
        bool there;
    };
    std::vector<element> list;
    cbor_reader in{before};
    for (std::size_t n = in.array(); n != 0; --n) {
        bytes_view const item = in.skip(1);
        list.push_back({to_bytes(element_identity(item)), to_bytes(item), true});
    }
    auto const find = [&](bytes_view id) {
        return std::find_if(list.begin(), list.end(), [&](element const& e) { return equal(e.id, id); });
    };
    // At the front without an anchor; behind it; at the end where it isn't, or is the element itself.
    auto const put = [&](element e, bytes_view after) {
        auto const anchor = find(after);
        list.insert(after.empty() ? list.begin() : anchor == list.end() ? anchor : anchor + 1, std::move(e));
    };
    for (auto const& [stamp, deed] : order) {
        auto const edits = decode_element_edits(deed->edits);
        for (element_edit const& e : *edits) {
            auto const at = find(e.identity);
            bool const there = at != list.end() && at->there;
            if (e.verb == element_verb::insert && !there) {
                if (at != list.end()) { list.erase(at); }
                put({to_bytes(e.identity), to_bytes(e.item), true}, e.after);
            } else if (e.verb == element_verb::move && there) {
                element moving = *at;
                list.erase(at);
                put(std::move(moving), e.after);
            } else if (e.verb == element_verb::remove && there) {
                at->there = false;
            } else if ((e.verb == element_verb::edit || e.verb == element_verb::insert) && there) {
                at->item = to_bytes(e.item);
            }
        }
    }
    std::size_t const n =
        static_cast<std::size_t>(std::count_if(list.begin(), list.end(), [](element const& e) { return e.there; }));
    bytes out;
    cbor_writer w{out};
    w.array(n);
    for (element const& e : list) {
        if (e.there) { w.raw(e.item); }
    }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
