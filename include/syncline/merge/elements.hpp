// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Arrays of elements that several people change at once: sets, lists whose elements have identities, siblings.

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/sequence.hpp>
#include <syncline/merge/decision.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t element_edits_max = 65'536;  ///< edits of one operation
/// Operations on one list that are kept to be brought into the order of their stamps; older ones are fixed.
inline constexpr std::size_t list_operations_max = 64;

/// What tells an element of a list from the others: of a map its "id", of an array its first item, else the element
/// itself. Empty: it has none (a map without an id, an empty array, null). Borrowed.
[[nodiscard]] inline bytes_view element_identity(bytes_view item) {
    cbor_reader in{item};
    switch (in.peek()) {
        case cbor_type::map: {
            auto const id = map_find(item, "id");
            return id && *id && detail::type_of(**id) != cbor_type::null ? **id : bytes_view{};
        }
        case cbor_type::array: return in.array() == 0 || in.null() ? bytes_view{} : in.skip(1);
        case cbor_type::null:
        case cbor_type::invalid: return {};
        default: return item;
    }
}

/// One edit of an element, its parts borrowed from the operation's value.
struct element_edit {
    element_verb verb = element_verb::add;
    bytes_view identity{};  ///< of `add` and `insert` the item's own
    bytes_view after{};     ///< of `insert` and `move`; empty: to the front
    bytes_view item{};      ///< of `add`, `insert` and `edit`
};

/// Reads the value of an operation on elements; it is not trusted. Errors: those of `cbor_reader`;
/// `errc::unsupported` for an unknown verb, `errc::invalid` for elements without an identity, `errc::limit` for more
/// than `element_edits_max`.
[[nodiscard]] inline result<std::vector<element_edit>> decode_element_edits(bytes_view value) {
    std::vector<element_edit> out;
    cbor_reader in{value};
    std::size_t const n = in.array();
    if (n > element_edits_max) { in.fail({errc::limit, "too many edits of elements"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        element_edit e;
        std::size_t const parts = in.array();
        std::uint64_t const verb = in.unsigned_integer();
        if (verb < 1 || verb > 5) { in.fail({errc::unsupported, "unknown edit of an element"}); }
        e.verb = static_cast<element_verb>(verb & 0xFF);
        bool const one = e.verb == element_verb::add || e.verb == element_verb::remove;
        if (parts != (one ? 2U : 3U)) { in.fail({errc::malformed, "edit of the wrong length"}); }
        auto const anchor = [&] { return in.null() ? bytes_view{} : in.skip(2); };
        switch (e.verb) {
            case element_verb::add: e.item = e.identity = in.skip(2); break;
            case element_verb::remove: e.identity = in.skip(2); break;
            case element_verb::insert:
                e.after = anchor();
                e.item = in.skip(2);
                e.identity = element_identity(e.item);
                break;
            case element_verb::move:
                e.identity = in.skip(2);
                e.after = anchor();
                break;
            case element_verb::edit:
                e.identity = in.skip(2);
                e.item = in.skip(2);
                if (!in.failed() && !equal(element_identity(e.item), e.identity)) {
                    in.fail({errc::invalid, "an edit that changes the element's identity"});
                }
                break;
        }
        if (!in.failed() && e.identity.empty()) { in.fail({errc::invalid, "element without an identity"}); }
        out.push_back(e);
    }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return out;
}

/// Appends edits as the value of an operation.
inline void encode_element_edits(cbor_writer& w, std::vector<element_edit> const& edits) {
    w.array(edits.size());
    for (element_edit const& e : edits) {
        bool const one = e.verb == element_verb::add || e.verb == element_verb::remove;
        w.array(one ? 2 : 3);
        w.unsigned_integer(static_cast<std::uint64_t>(e.verb));
        auto const anchor = [&] {
            if (e.after.empty()) {
                w.null();
            } else {
                w.raw(e.after);
            }
        };
        switch (e.verb) {
            case element_verb::add: w.raw(e.item); break;
            case element_verb::remove: w.raw(e.identity); break;
            case element_verb::insert:
                anchor();
                w.raw(e.item);
                break;
            case element_verb::move:
                w.raw(e.identity);
                anchor();
                break;
            case element_verb::edit:
                w.raw(e.identity);
                w.raw(e.item);
                break;
        }
    }
}

namespace detail {

/// The items of an encoded array; nothing for what is no array.
[[nodiscard]] inline std::optional<std::vector<bytes_view>> items_of(bytes_view array) {
    std::vector<bytes_view> out;
    cbor_reader in{array};
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { out.push_back(in.skip(1)); }
    if (!in.finish()) { return std::nullopt; }
    return out;
}
[[nodiscard]] inline bytes array_of(std::vector<bytes_view> const& items) {
    bytes out;
    std::size_t size = cbor_head_max;
    for (bytes_view const i : items) { size += i.size(); }
    out.reserve(size);
    cbor_writer w{out};
    w.array(items.size());
    for (bytes_view const i : items) { w.raw(i); }
    return out;
}
[[nodiscard]] inline bool bytes_before(bytes_view a, bytes_view b) noexcept { return compare(a, b) < 0; }
inline void sort_once(std::vector<bytes_view>& items) {
    std::sort(items.begin(), items.end(), bytes_before);
    items.erase(std::unique(items.begin(), items.end(), equal), items.end());
}

/// What an operation makes of a field whose inside has marks of its own.
struct inside_effect {
    errc refused{};  ///< not `errc{}`: the mutation can't be
    bool present = true;
    bytes value{};
    std::vector<field_mark> marks{};  ///< inside; replace those that were there
    bool remembered = false;          ///< where what was there stayed: `marks` hold that it was tried
    winner won = winner::both;
    reason why = reason::combined;
};

// Marks inside of a set or of siblings have an element as their path. Two kinds begin with a byte that begins no element.
inline constexpr std::byte not_an_element{0xF7};
/// That somebody edited the field, for one who replaces or removes it as a whole.
[[nodiscard]] inline bool marks_an_edit(field_mark const& m) noexcept {
    return m.path.size() == 1 && m.path.front() == not_an_element;
}
/// Who added an element to a set where removing wins, for the same.
[[nodiscard]] inline bool marks_an_addition(field_mark const& m) noexcept {
    return m.path.size() > 1 && m.path.front() == not_an_element;
}
[[nodiscard]] inline bytes_view marked_element(field_mark const& m) noexcept {
    return bytes_view{m.path}.subspan(marks_an_addition(m) ? 1 : 0);
}
[[nodiscard]] inline bool path_before(field_mark const& a, field_mark const& b) noexcept {
    return compare(a.path, b.path) < 0;
}
// A list's marks have operations as their paths, and one of them, behind a null, what was there before these.
inline constexpr std::byte before_operations{0xF6};
[[nodiscard]] inline bool marks_a_snapshot(field_mark const& m) noexcept {
    return m.path.size() > 1 && m.path.front() == before_operations;
}
/// Whether the marks inside of a field were left under another rule than the one that reads them now, which would take an
/// operation on a list for an element, or the other way round.
[[nodiscard]] inline bool left_by_another_rule(std::vector<field_mark> const& inside, rule by) {
    auto const any = [&](auto const& is) { return std::any_of(inside.begin(), inside.end(), is); };
    if (inside.empty()) { return false; }
    if (by == rule::list) { return !any(marks_a_snapshot); }
    if (by == rule::nested) {
        return any([](field_mark const& m) { return type_of(m.path) != cbor_type::text; });
    }
    return (is_set(by) || by == rule::siblings) && any(marks_a_snapshot);
}

/// The marks inside of a set, by what they are for; each kind in the order of its elements.
struct set_marks {
    std::vector<field_mark> elements{};   ///< where adding wins who added, where removing wins who removed
    std::vector<field_mark> additions{};  ///< where removing wins
    std::vector<field_mark> edits{};

    explicit set_marks(std::vector<field_mark> all) {
        std::stable_sort(all.begin(), all.end(), path_before);
        for (field_mark& m : all) {
            (marks_an_edit(m) ? edits : marks_an_addition(m) ? additions : elements).push_back(std::move(m));
        }
    }
};
/// Takes the marks of one element, or of those before it, off the front of what is left of a kind.
class mark_front {
public:
    explicit mark_front(std::vector<field_mark>& all) : all_(all) {}

    template <class Take>
    void before(bytes_view element, Take const& take) {
        while (at_ != all_.size() && compare(marked_element(all_[at_]), element) < 0) { take(std::move(all_[at_++])); }
    }
    [[nodiscard]] std::vector<field_mark> of(bytes_view element) {
        std::vector<field_mark> out;
        while (at_ != all_.size() && equal(marked_element(all_[at_]), element)) {
            out.push_back(std::move(all_[at_++]));
        }
        return out;
    }
    template <class Take>
    void rest(Take const& take) {
        while (at_ != all_.size()) { take(std::move(all_[at_++])); }
    }

private:
    std::vector<field_mark>& all_;
    std::size_t at_ = 0;
};

/// Additions and removals of a set, by marks inside of the field: where adding wins, of those who added an element that
/// is there; where removing wins, of those who removed one that isn't. One who adds (removes) takes along the marks
/// that they have seen; what they have not seen goes on to count. So the order in which operations come makes no
/// difference.
///
/// Who sets or unsets the set as a whole stands among the edits by stamp and author: what is earlier, and what they have
/// seen, goes; later edits stay, on top of theirs. For that each edit leaves a mark, also one that was beaten, and where
/// removing wins each addition.
/// Source: Bieniusa et al., "An Optimized Conflict-free Replicated Set", 2012; the authority's positions are the causal
/// context here.
template <class Foreign>
class set_edits {
public:
    set_edits(std::string_view field, write_mark const& own, std::vector<field_mark> inside, bool add_wins,
              write_mark const& mine, Foreign const& foreign)
        : field_(field), own_(own), marks_(std::move(inside)), add_wins_(add_wins), mine_(mine), foreign_(foreign) {
        // A successor is never beaten by what its predecessor beat.
        auto const saw = [&](write_mark const& w) {
            if (!foreign_(w)) { mine_.stamp = (std::max)(mine_.stamp, w.stamp); }
        };
        for (auto const* const kind : {&marks_.elements, &marks_.additions, &marks_.edits}) {
            for (field_mark const& m : *kind) { saw(m.mark); }
        }
        saw(own_);
    }

    /// The operation's mark, as it counts.
    [[nodiscard]] write_mark const& mine() const noexcept { return mine_; }

    /// Cost: that of sorting the elements and the edits.
    [[nodiscard]] inside_effect run(bytes_view was, bytes_view edits) {
        inside_effect out;
        auto const parsed = decode_element_edits(edits);
        if (!parsed) { return refuse(parsed.error().code); }
        auto items = was.empty() ? std::optional(std::vector<bytes_view>{}) : items_of(was);
        if (!items) { return refuse(errc::type_mismatch); }
        sort_once(*items);
        std::vector<element_edit const*> order;  // those of one element beside each other
        order.reserve(parsed->size());
        for (element_edit const& e : *parsed) {
            if (e.verb != element_verb::add && e.verb != element_verb::remove) { return refuse(errc::type_mismatch); }
            order.push_back(&e);
        }
        std::stable_sort(order.begin(), order.end(), [](element_edit const* a, element_edit const* b) {
            return bytes_before(a->identity, b->identity);
        });

        auto const keep = [&out](field_mark&& m) { out.marks.push_back(std::move(m)); };
        mark_front elements(marks_.elements);
        mark_front additions(marks_.additions);
        std::vector<bytes_view> there;
        there.reserve(items->size() + order.size());
        auto item = items->begin();
        std::size_t beaten = 0;
        for (auto e = order.begin(); e != order.end();) {
            bytes_view const element = (*e)->identity;
            for (; item != items->end() && bytes_before(*item, element); ++item) { there.push_back(*item); }
            bool held = item != items->end() && equal(*item, element);
            if (held) { ++item; }
            elements.before(element, keep);
            additions.before(element, keep);
            std::vector<field_mark> preferred = elements.of(element);
            std::vector<field_mark> added = additions.of(element);
            for (; e != order.end() && equal((*e)->identity, element); ++e) {
                bool const adds = (*e)->verb == element_verb::add;
                forget_seen(added);
                if (adds && !add_wins_) { added.push_back({field_, mine_, addition_of(element)}); }
                if (adds == add_wins_) {
                    prefer(preferred, element, held);
                    held = adds;
                } else if (oppose(preferred, held)) {
                    held = adds;
                } else {
                    ++beaten;
                }
            }
            if (held) { there.push_back(element); }
            std::move(preferred.begin(), preferred.end(), std::back_inserter(out.marks));
            std::move(added.begin(), added.end(), std::back_inserter(out.marks));
        }
        there.insert(there.end(), item, items->end());
        elements.rest(keep);
        additions.rest(keep);
        forget_seen(marks_.edits);
        marks_.edits.push_back({field_, mine_, bytes{not_an_element}});
        std::move(marks_.edits.begin(), marks_.edits.end(), std::back_inserter(out.marks));
        std::sort(out.marks.begin(), out.marks.end(), mark_before);
        out.value = array_of(there);
        if (beaten != 0 && beaten == parsed->size()) {
            out.remembered = true;
            out.won = winner::confirmed;
            out.why = reason::by_value;
        }
        return out;
    }

    /// The whole at once: `values`, or nothing where the field is taken away, with what others have edited later on top.
    /// Nothing: nobody has. Precondition: `values` begins as an array. Cost: that of sorting the elements.
    [[nodiscard]] std::optional<inside_effect> replace(std::optional<bytes_view> values) {
        auto const later = [this](field_mark const& m) { return foreign_(m.mark) && wins(m.mark, mine_); };
        for (auto* const kind : {&marks_.elements, &marks_.additions, &marks_.edits}) {
            kind->erase(std::remove_if(kind->begin(), kind->end(), [&](field_mark const& m) { return !later(m); }),
                        kind->end());
        }
        if (marks_.edits.empty()) { return std::nullopt; }
        auto items = values ? items_of(*values) : std::optional(std::vector<bytes_view>{});
        if (!items) { return refuse(errc::type_mismatch); }
        sort_once(*items);
        inside_effect out;
        std::vector<bytes_view> there;
        auto const marked = [](std::vector<field_mark> const& kind, bytes_view element) {
            auto const at = std::lower_bound(
                kind.begin(), kind.end(), element,
                [](field_mark const& m, bytes_view wanted) { return bytes_before(marked_element(m), wanted); });
            return at != kind.end() && equal(marked_element(*at), element);
        };
        for (bytes_view const item : *items) {
            bool const touched = marked(marks_.elements, item);
            if (add_wins_ && touched) { out.marks.push_back({field_, mine_, to_bytes(item)}); }
            if (add_wins_ || !touched) { there.push_back(item); }
        }
        for (field_mark const& m : add_wins_ ? marks_.elements : marks_.additions) {
            bytes_view const element = marked_element(m);
            if (add_wins_ || !marked(marks_.elements, element)) { there.push_back(element); }
        }
        sort_once(there);
        out.value = array_of(there);
        for (auto* const kind : {&marks_.elements, &marks_.additions, &marks_.edits}) {
            std::move(kind->begin(), kind->end(), std::back_inserter(out.marks));
        }
        std::sort(out.marks.begin(), out.marks.end(), mark_before);
        return out;
    }

private:
    [[nodiscard]] static inside_effect refuse(errc why) {
        inside_effect out;
        out.refused = why;
        return out;
    }
    [[nodiscard]] static bytes addition_of(bytes_view element) {
        bytes path{not_an_element};
        append(path, element);
        return path;
    }
    /// The preferred edit takes effect always, and leaves its mark in the place of those that it has seen.
    void prefer(std::vector<field_mark>& marks, bytes_view element, bool held) {
        // What stood there without a mark of its own has the field's: say so before it has another's.
        if (add_wins_ && held && marks.empty()) { marks.push_back({field_, own_, to_bytes(element)}); }
        forget_seen(marks);
        marks.push_back({field_, mine_, to_bytes(element)});
    }
    /// The other edit takes effect when it has seen every mark of the preferred one.
    [[nodiscard]] bool oppose(std::vector<field_mark>& marks, bool held) {
        if (marks.empty()) { return !(add_wins_ && held && foreign_(own_)); }
        forget_seen(marks);
        return marks.empty();
    }
    void forget_seen(std::vector<field_mark>& marks) {
        marks.erase(std::remove_if(marks.begin(), marks.end(), [&](field_mark const& m) { return !foreign_(m.mark); }),
                    marks.end());
    }

    std::string field_;
    write_mark own_;
    set_marks marks_;
    bool add_wins_;
    write_mark mine_;
    Foreign const& foreign_;
};

/// The values that stay beside each other when `values` replace what their writer has seen.
/// Cost: that of sorting the values.
template <class Foreign>
[[nodiscard]] inside_effect keep_siblings(std::string_view field, write_mark const& own,
                                          std::vector<field_mark> const& inside, bytes_view was,
                                          std::optional<bytes_view> values, write_mark const& mine,
                                          Foreign const& foreign) {
    inside_effect out;
    auto old = was.empty() ? std::optional(std::vector<bytes_view>{}) : items_of(was);
    auto next = values ? items_of(*values) : std::optional(std::vector<bytes_view>{});
    if (!next) {
        out.refused = errc::type_mismatch;
        return out;
    }
    if (!old) { old.emplace(); }  // what is no array, from before there was this rule, is replaced
    std::string const name{field};
    std::vector<field_mark const*> order;
    for (field_mark const& m : inside) {
        if (!marks_an_edit(m)) {
            order.push_back(&m);
        } else if (foreign(m.mark)) {
            out.marks.push_back(m);
        }
    }
    std::sort(order.begin(), order.end(), [](field_mark const* a, field_mark const* b) { return path_before(*a, *b); });
    std::vector<bytes_view> kept;
    for (bytes_view const item : *old) {
        auto at = std::lower_bound(order.begin(), order.end(), item, [](field_mark const* m, bytes_view wanted) {
            return bytes_before(m->path, wanted);
        });
        bool const marked = at != order.end() && equal((*at)->path, item);
        bool any = !marked && foreign(own);
        if (any) { out.marks.push_back({name, own, to_bytes(item)}); }
        for (; at != order.end() && equal((*at)->path, item); ++at) {
            if (!foreign((*at)->mark)) { continue; }
            any = true;
            out.marks.push_back(**at);
        }
        if (any) { kept.push_back(item); }
    }
    sort_once(*next);
    for (bytes_view const item : *next) { out.marks.push_back({name, mine, to_bytes(item)}); }
    // Who leaves no value leaves that they were here.
    if (next->empty()) { out.marks.push_back({name, mine, bytes{not_an_element}}); }
    kept.insert(kept.end(), next->begin(), next->end());
    sort_once(kept);
    std::sort(out.marks.begin(), out.marks.end(), mark_before);
    out.marks.erase(std::unique(out.marks.begin(), out.marks.end()), out.marks.end());
    out.present = !kept.empty();  // without values the field is missing
    if (out.present) { out.value = array_of(kept); }
    return out;
}

/// A list being edited: a chain of elements, those removed still in it, as others may speak of their places.
class ordered_elements {
public:
    /// False: what is no array, or has elements without an identity, or two of one.
    [[nodiscard]] bool load(bytes_view array) {
        auto const items = items_of(array);
        if (!items) { return false; }
        for (bytes_view const item : *items) {
            bytes_view const id = element_identity(item);
            if (id.empty()) { return false; }
            std::uint32_t const n = numbers_.number(id);
            if (n < nodes_.size()) { return false; }
            nodes_.push_back({item, last_, none, true});
            link_behind(n, last_);
        }
        return true;
    }
    void apply(element_edit const& e) {
        std::uint32_t const n = numbers_.number(e.identity);
        bool const known = n < nodes_.size();
        if (!known) { nodes_.push_back({{}, none, none, false}); }
        switch (e.verb) {
            case element_verb::insert:
                nodes_[n].item = e.item;
                if (nodes_[n].there) { return; }  // each identity once: as the later says, where the earlier put it
                if (nodes_[n].linked) { unlink(n); }
                nodes_[n].there = true;
                link_behind(n, place(e.after, n));
                return;
            case element_verb::move:
                if (!nodes_[n].there) { return; }
                unlink(n);
                link_behind(n, place(e.after, n));
                return;
            case element_verb::remove: nodes_[n].there = false; return;
            case element_verb::edit:
                if (nodes_[n].there) { nodes_[n].item = e.item; }
                return;
            case element_verb::add: return;
        }
    }
    [[nodiscard]] bytes encode() const {
        std::vector<bytes_view> items;
        for (std::uint32_t n = first_; n != none; n = nodes_[n].next) {
            if (nodes_[n].there) { items.push_back(nodes_[n].item); }
        }
        return array_of(items);
    }

private:
    static constexpr std::uint32_t none = (std::numeric_limits<std::uint32_t>::max)();
    struct node {
        bytes_view item;
        std::uint32_t before, next;
        bool there;
        bool linked = false;
    };

    /// Behind which one: the front for no anchor, the end for one that nobody knows.
    [[nodiscard]] std::uint32_t place(bytes_view after, std::uint32_t moving) {
        if (after.empty()) { return none; }
        std::uint32_t const n = numbers_.number(after);
        if (n == nodes_.size()) { nodes_.push_back({{}, none, none, false}); }
        return nodes_[n].linked && n != moving ? n : last_;
    }
    void link_behind(std::uint32_t n, std::uint32_t before) {
        std::uint32_t const next = before == none ? first_ : nodes_[before].next;
        nodes_[n].before = before;
        nodes_[n].next = next;
        nodes_[n].linked = true;
        (before == none ? first_ : nodes_[before].next) = n;
        (next == none ? last_ : nodes_[next].before) = n;
    }
    void unlink(std::uint32_t n) {
        node const& x = nodes_[n];
        (x.before == none ? first_ : nodes_[x.before].next) = x.next;
        (x.next == none ? last_ : nodes_[x.next].before) = x.before;
        nodes_[n].linked = false;
    }

    token_numbers numbers_{};
    std::vector<node> nodes_{};
    std::uint32_t first_ = none;
    std::uint32_t last_ = none;
};

/// Operations on a list in the order of their stamps, whatever order they came in: what was there before them and the
/// operations themselves are kept in marks inside of the field. So every replica that has the same operations has the
/// same list, with each element once, whoever moved, removed or inserted what at the same time.
/// Source: Kleppmann et al., "OpSets: Sequential Specifications for Replicated Datatypes", 2018.
template <class Foreign>
[[nodiscard]] inside_effect edit_list(std::string_view field, write_mark const& own,
                                      std::vector<field_mark> const& inside, bytes_view was, bytes_view edits,
                                      write_mark mine, Foreign const& foreign) {
    inside_effect out;
    auto const refuse = [&](errc why) {
        out.refused = why;
        return std::move(out);
    };
    auto const parsed = decode_element_edits(edits);
    if (!parsed) { return refuse(parsed.error().code); }
    for (element_edit const& e : *parsed) {
        if (e.verb == element_verb::add) { return refuse(errc::type_mismatch); }
    }
    bytes const empty_list{std::byte{0x80}};

    // The snapshot is marked by a null before it; the rest are operations.
    std::vector<field_mark> log;
    bytes snapshot = was.empty() ? empty_list : to_bytes(was);
    write_mark snapshot_mark = own;
    for (field_mark const& m : inside) {
        if (marks_a_snapshot(m)) {
            snapshot.assign(m.path.begin() + 1, m.path.end());
            snapshot_mark = m.mark;
            continue;
        }
        // What its writer has seen comes before it, whatever the clocks say.
        if (!foreign(m.mark) && m.mark.stamp >= mine.stamp) {
            mine.stamp = timestamp{saturating_add(m.mark.stamp.raw, 1)};
        }
        log.push_back(m);
    }
    log.push_back({std::string{field}, mine, to_bytes(edits)});
    std::stable_sort(log.begin(), log.end(), [](field_mark const& a, field_mark const& b) {
        return a.mark.stamp != b.mark.stamp ? a.mark.stamp < b.mark.stamp : a.mark.author < b.mark.author;
    });

    ordered_elements list;
    if (!list.load(snapshot)) { return refuse(errc::type_mismatch); }
    std::size_t const fixed = log.size() > list_operations_max ? log.size() - list_operations_max : 0;
    bytes fixed_list;
    for (std::size_t i = 0; i != log.size(); ++i) {
        if (i == fixed && fixed != 0) { fixed_list = list.encode(); }
        auto const each = decode_element_edits(log[i].path);
        if (!each) { return refuse(errc::corrupt); }
        for (element_edit const& e : *each) { list.apply(e); }
    }
    out.value = list.encode();
    if (fixed != 0) {
        snapshot_mark = log[fixed - 1].mark;
        snapshot = std::move(fixed_list);
    }
    bytes path{before_operations};
    append(path, snapshot);
    out.marks.push_back({std::string{field}, snapshot_mark, std::move(path)});
    std::move(log.begin() + static_cast<std::ptrdiff_t>(fixed), log.end(), std::back_inserter(out.marks));
    std::sort(out.marks.begin(), out.marks.end(), mark_before);
    return out;
}

}  // namespace detail

/// The edits that make one set, an encoded array, of another. Nothing where either is no array.
[[nodiscard]] inline std::optional<bytes> diff_set(bytes_view before, bytes_view after) {
    auto a = detail::items_of(before);
    auto b = detail::items_of(after);
    if (!a || !b) { return std::nullopt; }
    detail::sort_once(*a);
    detail::sort_once(*b);
    std::vector<element_edit> edits;
    auto x = a->begin();
    auto y = b->begin();
    while (x != a->end() || y != b->end()) {
        auto const order = x == a->end()   ? std::strong_ordering::greater
                           : y == b->end() ? std::strong_ordering::less
                                           : compare(*x, *y);
        if (order < 0) { edits.push_back({element_verb::remove, *x, {}, {}}); }
        if (order > 0) { edits.push_back({element_verb::add, *y, {}, *y}); }
        if (order <= 0) { ++x; }
        if (order >= 0) { ++y; }
    }
    if (edits.size() > element_edits_max) { return std::nullopt; }
    bytes out;
    cbor_writer w{out};
    encode_element_edits(w, edits);
    return out;
}

/// The edits that make one list of another, the fewest moves among them. Nothing where either is no array whose
/// elements have identities, each its own.
[[nodiscard]] inline std::optional<bytes> diff_list(bytes_view before, bytes_view after) {
    auto const a = detail::items_of(before);
    auto const b = detail::items_of(after);
    if (!a || !b) { return std::nullopt; }
    token_numbers numbers;
    std::vector<std::uint32_t> ids[2];
    for (std::size_t side = 0; side != 2; ++side) {
        std::vector<bool> seen;
        for (bytes_view const item : side == 0 ? *a : *b) {
            bytes_view const id = element_identity(item);
            if (id.empty()) { return std::nullopt; }
            std::uint32_t const n = numbers.number(id);
            if (n >= seen.size()) { seen.resize(std::size_t{n} + 1); }
            if (seen[n]) { return std::nullopt; }
            seen[n] = true;
            ids[side].push_back(n);
        }
    }
    constexpr std::size_t none = (std::numeric_limits<std::size_t>::max)();
    std::vector<std::size_t> in_a(numbers.size(), none);
    std::vector<std::size_t> in_b(numbers.size(), none);
    for (std::size_t i = 0; i != ids[0].size(); ++i) { in_a[ids[0][i]] = i; }
    for (std::size_t j = 0; j != ids[1].size(); ++j) { in_b[ids[1][j]] = j; }

    std::vector<element_edit> edits;
    std::vector<std::uint32_t> left;
    for (std::size_t i = 0; i != ids[0].size(); ++i) {
        if (in_b[ids[0][i]] == none) {
            edits.push_back({element_verb::remove, element_identity((*a)[i]), {}, {}});
        } else {
            left.push_back(ids[0][i]);
        }
    }
    std::vector<bool> stays(ids[1].size(), true);
    for (sequence_edit const& e : diff_tokens(left, ids[1])) {
        for (std::size_t j = e.b_begin; j != e.b_end; ++j) { stays[j] = false; }
    }
    for (std::size_t j = 0; j != ids[1].size(); ++j) {
        bytes_view const id = element_identity((*b)[j]);
        bytes_view const after_which = j == 0 ? bytes_view{} : element_identity((*b)[j - 1]);
        std::size_t const old = in_a[ids[1][j]];
        if (old == none) {
            edits.push_back({element_verb::insert, id, after_which, (*b)[j]});
            continue;
        }
        if (!stays[j]) { edits.push_back({element_verb::move, id, after_which, {}}); }
        if (!equal((*a)[old], (*b)[j])) { edits.push_back({element_verb::edit, id, {}, (*b)[j]}); }
    }
    if (edits.size() > element_edits_max) { return std::nullopt; }
    bytes out;
    cbor_writer w{out};
    encode_element_edits(w, edits);
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
