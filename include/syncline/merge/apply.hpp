// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The one apply function: a mutation over a row. It serves the overlay, the authority and every preview.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/checked.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/merge/choice.hpp>
#include <syncline/merge/context.hpp>
#include <syncline/merge/elements.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/merge/order.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/merge/text.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t nested_depth_max = 16;  ///< maps inside each other that operations reach into

namespace detail {

/// What is the same for all fields of one application.
struct application {
    mutation const& m;
    collection_rules const& rules;
    apply_context const& context;
    bool begins = false;  ///< the mutation begins the record's life
    apply_outcome& out;
    group_index groups{rules, m.ops.size()};

    [[nodiscard]] write_mark mark_of(timestamp stamp) const {
        return write_mark{context.at, (std::min)(stamp, context.stamp_max), context.author};
    }
    // In a preview the author's number may have changed since a pending mark was made: at its first contact with the
    // authority, or because the store was a clone.
    [[nodiscard]] bool foreign(write_mark const& w, position base) const {
        return w.at > base && w.author != context.author && w.at != pending_position;
    }
    [[nodiscard]] bool foreign(write_mark const& w) const { return !begins && foreign(w, m.base); }
};

/// Where a field stands before an operation on it.
struct field_site {
    std::string_view name;
    bool had = false;
    bytes_view was{};
    bool marked = false;  ///< it has a mark of its own
    write_mark mark{};    ///< its own, or the row's
    std::vector<field_mark> inside{};

    /// A field that is missing without a mark of its own was never written: who made the record meanwhile said
    /// nothing of it.
    [[nodiscard]] bool written() const noexcept { return had || marked || !inside.empty(); }
};

/// What an operation makes of its field.
struct field_effect {
    errc refused{};
    std::string at{};  ///< of what is refused inside, the way to it
    winner won = winner::mutation;
    reason why = reason::none;
    bool concurrent = false;
    bool present = true;
    bytes value{};            ///< where it is made here
    bytes_view borrowed{};    ///< where it is the operation's
    bool whole = true;        ///< the field as such was written: it takes `mine`
    bool remembered = false;  ///< what was there stayed, and the marks inside hold that this came
    write_mark mine{};
    std::vector<field_mark> inside{};   ///< the marks inside
    std::vector<decision> decisions{};  ///< of the fields inside
};

/// Fields that win together and that others have changed too: decided once for all of them.
struct group_choice {
    field_group const* group = nullptr;  ///< null: the whole record
    choice decided{};
};

/// Whether a whole value is none that the rule can go on with.
[[nodiscard]] inline bool mistyped(bytes_view value, rule by) noexcept {
    if (is_flag(by)) { return type_of(value) != cbor_type::boolean; }
    if (is_set(by) || by == rule::siblings) { return type_of(value) != cbor_type::array; }
    return false;
}

/// Fields that an operation takes as it says, as under last writer wins, whatever their rules make of such a value: what
/// one side of a merge alone has written. Of each field those inside of it.
struct as_written {
    std::string field{};
    bool taken = false;
    std::vector<as_written> inside{};  ///< in canonical key order

    [[nodiscard]] as_written const* find(std::string_view name) const {
        auto const at = std::lower_bound(
            inside.begin(), inside.end(), name,
            [](as_written const& one, std::string_view wanted) { return compare_keys(one.field, wanted) < 0; });
        return at != inside.end() && at->field == name ? &*at : nullptr;
    }
};

/// Folds operations over a map of fields, those of a record or those inside of one.
class field_fold {
public:
    field_fold(application const& a, rule_view rules, write_mark const& floor, std::size_t depth,
               as_written const* as_they_say, std::vector<group_choice> const* groups = nullptr)
        : app_(a), rules_(rules), floor_(floor), depth_(depth), as_they_say_(as_they_say), groups_(groups) {}

    std::vector<decision> decisions{};
    std::vector<field_mark> marks{};  ///< after it
    std::size_t lost = 0;             ///< operations that found what was there stronger
    bool asks = false;                ///< a person must decide
    bytes fields{};                   ///< after it
    std::string refused{};            ///< why the mutation can't be: this field, or the way to it with dots

    /// `errc{}`, or why the mutation can't be. `before`: a canonical map, or empty. `exceptions`: the marks before, moved
    /// from where they may be.
    template <class Marks>
    [[nodiscard]] errc run(bytes_view before, Marks& exceptions, std::vector<field_op> const& ops) {
        std::vector<field_change> changes;
        std::vector<bytes> made;  // values made here; the changes borrow what they own, which stays where it is
        changes.reserve(ops.size());
        marks.reserve(exceptions.size() + ops.size());
        auto mark_at = exceptions.begin();
        cbor_map_cursor old{before};
        bool more = !before.empty() && old.next();
        for (field_op const& op : ops) {
            while (more && compare_keys(old.key(), op.field) < 0) { more = old.next(); }
            field_site site;
            site.name = op.field;
            site.had = more && old.key() == op.field;
            if (site.had) { site.was = old.value(); }
            // Where the pair stands, or would: before the next one, or at the end.
            std::size_t const key_size = more ? cbor_head_size(old.key().size()) : 0;
            std::size_t const begin =
                more ? static_cast<std::size_t>(as_bytes(old.key()).data() - before.data()) - key_size : before.size();
            std::size_t const end =
                site.had ? static_cast<std::size_t>(site.was.data() - before.data()) + site.was.size() : begin;
            while (mark_at != exceptions.end() && compare_keys(mark_at->field, op.field) < 0) {
                marks.push_back(std::move(*mark_at++));
            }
            site.mark = floor_;
            for (; mark_at != exceptions.end() && mark_at->field == op.field; ++mark_at) {
                if (mark_at->path.empty()) {
                    site.marked = true;
                    site.mark = mark_at->mark;
                } else {
                    site.inside.push_back(std::move(*mark_at));
                }
            }
            rule const by = decided_by(op.field);
            if (left_by_another_rule(site.inside, by)) { as_whole(site); }

            field_effect e = effect(op, site, by);
            if (e.refused != errc{}) {
                refused = op.field + (e.at.empty() ? "" : "." + e.at);
                return e.refused;
            }
            if (!e.decisions.empty()) {
                std::move(e.decisions.begin(), e.decisions.end(), std::back_inserter(decisions));
            } else if (e.concurrent || e.won == winner::confirmed) {
                decisions.push_back({op.field, by, e.won, e.why});
            }
            if (e.won == winner::nobody) { asks = true; }
            if (e.won == winner::confirmed && e.remembered) {
                if (site.marked) { marks.push_back({op.field, site.mark}); }
                std::move(e.inside.begin(), e.inside.end(), std::back_inserter(marks));
                continue;
            }
            if (e.won == winner::confirmed) {
                ++lost;
                if (site.marked) { marks.push_back({op.field, site.mark}); }
                std::move(site.inside.begin(), site.inside.end(), std::back_inserter(marks));
                continue;
            }
            if (e.value.empty()) {
                changes.push_back({op.field, e.present, e.borrowed, begin, end});
            } else {
                made.push_back(std::move(e.value));
                changes.push_back({op.field, e.present, made.back(), begin, end});
            }
            if (!e.whole) {
                if (site.marked) { marks.push_back({op.field, site.mark}); }
                std::move(e.inside.begin(), e.inside.end(), std::back_inserter(marks));
                continue;
            }
            if (!(app_.begins && e.mine == floor_)) { marks.push_back({op.field, e.mine}); }
            std::move(e.inside.begin(), e.inside.end(), std::back_inserter(marks));
        }
        std::move(mark_at, exceptions.end(), std::back_inserter(marks));
        if (!asks && (lost != ops.size() || ops.empty())) {
            bool const whole = before.empty() || !old.failed();
            fields = whole ? rewrite_fields_at(before, changes) : rewrite_fields(before, changes);
        }
        return errc{};
    }

private:
    [[nodiscard]] rule decided_by(std::string_view field) const {
        return depth_ == 0 ? app_.groups.decides(field) : rules_.of(field);
    }
    /// How the field's group was decided; null: nobody else was there.
    [[nodiscard]] choice const* group_of(std::string_view field) const {
        if (groups_ == nullptr || groups_->empty()) { return nullptr; }
        if (groups_->front().group == nullptr) { return &groups_->front().decided; }
        field_group const* const mine = app_.groups.of(field);
        if (mine == nullptr) { return nullptr; }
        auto const at = std::lower_bound(
            groups_->begin(), groups_->end(), app_.groups.place(*mine),
            [&](group_choice const& g, std::size_t place) { return app_.groups.place(*g.group) < place; });
        return at != groups_->end() && at->group == mine ? &at->decided : nullptr;
    }

    /// A field of which the marks inside mean nothing any more, as written whole by the last who edited it.
    static void as_whole(field_site& site) {
        auto const place = [](write_mark const& w) { return w.at == pending_position ? 0 : w.at; };
        for (field_mark const& f : site.inside) {
            if (place(f.mark) > place(site.mark)) { site.mark = f.mark; }
        }
        site.marked = true;
        site.inside.clear();
    }
    [[nodiscard]] field_effect effect(field_op const& op, field_site& site, rule of_field) {
        as_written const* const here = as_they_say_ == nullptr ? nullptr : as_they_say_->find(op.field);
        rule const by = here != nullptr && here->taken ? rule::last_writer : of_field;
        switch (op.kind) {
            case op_kind::elements: return elements(op, site, by);
            case op_kind::revise: return revision(op, site, by);
            case op_kind::nested: return nested(op, site, by, here);
            default: break;
        }
        if (by == rule::siblings && op.kind != op_kind::add && !app_.begins) { return siblings(op, site); }
        if (is_set(by) && op.kind != op_kind::add && !app_.begins) { return whole_set(op, site, by); }
        return whole_value(op, site, by);
    }

    /// The strongest mark that somebody else has left in a field, or its own.
    [[nodiscard]] write_mark rival(field_site const& site, rule by, bool& concurrent) const {
        write_mark strongest = site.mark;
        concurrent = site.written() && app_.foreign(site.mark);
        for (field_mark const& f : site.inside) {
            if (!app_.foreign(f.mark)) { continue; }
            if (!concurrent || outranks(by, f.mark, strongest, app_.context.host)) { strongest = f.mark; }
            concurrent = true;
        }
        return strongest;
    }

    /// `set`, `unset` and `add`: one value against another.
    [[nodiscard]] field_effect whole_value(field_op const& op, field_site const& site, rule by) {
        field_effect e;
        bool const sets = op.kind == op_kind::set;
        bool const begins = app_.begins;
        write_mark const mark = rival(site, by, e.concurrent);
        write_mark mine = app_.mark_of(op.stamp);
        e.present = op.kind != op_kind::unset;
        e.borrowed = op.value;
        choice const* const group = group_of(op.field);

        if (sets && mistyped(op.value, by)) {
            e.refused = errc::type_mismatch;
            return e;
        }
        if (group != nullptr && group->won != winner::mutation) {
            e.concurrent = true;
            e.won = group->won;
            e.why = group->why;
        } else if (op.kind == op_kind::add) {
            auto const n = integer_of(op.value);
            auto const w = site.had ? integer_of(site.was) : std::optional<std::int64_t>{0};
            auto const sum = n && w ? checked_add(*w, *n) : std::nullopt;
            if (!sum) {
                e.refused = n && w ? errc::overflow : errc::type_mismatch;
                return e;
            }
            cbor_writer{e.value}.integer(*sum);
            e.won = winner::both;
            e.why = reason::combined;
            if (e.concurrent && app_.m.hint == merge_hint::remote) {
                e.won = winner::confirmed;
                e.why = reason::by_hint;
            }
        } else if (is_extreme(by) && sets && site.had) {
            auto const order = compare_values(op.value, site.was);
            bool const keeps = by == rule::minimum ? order > 0 : order < 0;
            e.won = order == 0 ? winner::both : keeps ? winner::confirmed : winner::mutation;
            e.why = order == 0 ? reason::same : reason::by_value;
        } else if (group != nullptr) {
            e.concurrent = true;
            e.why = group->why;
        } else if (e.concurrent) {
            bool const same = sets ? site.had && equal(op.value, site.was) : !site.had;
            choice const decided = same ? choice{winner::both, reason::same} : contest(op, site, by, mine, mark);
            if (!same && by == rule::authority_time && decided.why != reason::by_hint) {
                e.refused = errc::contended;
                return e;
            }
            e.won = decided.won;
            e.why = decided.why;
        }

        // Of two who write the same, the mark that wins stays: else a third one's chances depend on who came first.
        if (e.concurrent && e.won == winner::both && op.kind != op_kind::add &&
            outranks(by, mark, mine, app_.context.host)) {
            mine.author = mark.author;
            mine.stamp = mark.stamp;
        }
        // A successor is never beaten by what its predecessor beat.
        bool const keeps_own = by == rule::first_writer || (by == rule::role && e.concurrent);
        if (!keeps_own) {
            if (!begins) { mine.stamp = (std::max)(mine.stamp, mark.stamp); }
        }
        e.mine = mine;
        return e;
    }

    /// Decides a concurrent write that differs.
    [[nodiscard]] choice contest(field_op const& op, field_site const& site, rule by, write_mark const& mine,
                                 write_mark const& mark) {
        if (is_flag(by) && app_.m.hint == merge_hint::merge) {
            int const yes = flag_rank(by, op.kind != op_kind::unset, op.value);
            int const no = flag_rank(by, site.had, site.was);
            return {yes > no ? winner::mutation : winner::confirmed, reason::by_value};
        }
        return choose(by, mine, mark, app_.m.hint, app_.context.host);
    }

    /// Additions to and removals from a set, edits of a list.
    [[nodiscard]] field_effect elements(field_op const& op, field_site& site, rule by) {
        bool concurrent = false;
        static_cast<void>(rival(site, by, concurrent));
        auto const foreign = [this](write_mark const& w) { return app_.foreign(w); };
        write_mark const mine = app_.mark_of(op.stamp);
        auto const replaced = [&](write_mark const& w) {
            return concurrent && app_.foreign(site.mark) && wins(site.mark, w) && app_.m.hint != merge_hint::local;
        };
        auto const gone = [&](write_mark const& w) {
            field_effect e;
            e.concurrent = true;
            e.won = winner::confirmed;
            e.why = !site.had ? reason::deleted : site.mark.stamp == w.stamp ? reason::by_author : reason::by_time;
            return e;
        };
        inside_effect in;
        if (is_set(by)) {
            set_edits set(op.field, site.mark, site.inside, by == rule::add_wins, mine, foreign);
            if (replaced(set.mine())) { return gone(set.mine()); }
            in = set.run(site.was, op.value);
        } else if (!site.had && replaced(mine)) {
            return gone(mine);
        } else if (by == rule::list) {
            in = edit_list(op.field, site.mark, site.inside, site.was, op.value, mine, foreign);
        } else {
            in.refused = errc::type_mismatch;
        }
        return of_inside(std::move(in), site, concurrent);
    }
    /// A set as a whole: among edits it stands by its stamp.
    [[nodiscard]] field_effect whole_set(field_op const& op, field_site const& site, rule by) {
        field_effect e;
        bool const sets = op.kind == op_kind::set;
        if (sets && mistyped(op.value, by)) {
            e.refused = errc::type_mismatch;
            return e;
        }
        bool const written_over = site.written() && app_.foreign(site.mark);
        auto const foreign = [this](write_mark const& w) { return app_.foreign(w); };
        set_edits set(op.field, site.mark, site.inside, by == rule::add_wins, app_.mark_of(op.stamp), foreign);
        bool concurrent = false;
        write_mark const mark = rival(site, by, concurrent);
        bool const same = sets ? site.had && equal(op.value, site.was) : !site.had;
        e.concurrent = concurrent;
        e.present = sets;
        e.borrowed = op.value;
        e.mine = set.mine();
        if (concurrent && app_.m.hint != merge_hint::merge) {
            e.won = app_.m.hint == merge_hint::local ? winner::mutation : winner::confirmed;
            e.why = reason::by_hint;
            e.mine.stamp = (std::max)(e.mine.stamp, mark.stamp);
            return e;
        }
        if (written_over && wins(site.mark, e.mine)) {
            e.won = same ? winner::both : winner::confirmed;
            e.why = same ? reason::same : site.mark.stamp == e.mine.stamp ? reason::by_author : reason::by_time;
            if (same) {
                e.whole = false;
                e.present = site.had;
                e.borrowed = site.was;
                e.inside = site.inside;
            }
            return e;
        }
        if (concurrent) { e.why = mark.stamp == e.mine.stamp ? reason::by_author : reason::by_time; }
        if (written_over && same) {
            e.won = winner::both;
            e.why = reason::same;
        }
        auto on_top = set.replace(sets ? std::optional{bytes_view{op.value}} : std::nullopt);
        if (!on_top) { return e; }
        e.refused = on_top->refused;
        e.won = on_top->won;
        e.why = on_top->why;
        e.present = true;
        e.value = std::move(on_top->value);
        e.inside = std::move(on_top->marks);
        return e;
    }
    [[nodiscard]] field_effect siblings(field_op const& op, field_site& site) {
        if (op.kind == op_kind::set && mistyped(op.value, rule::siblings)) {
            field_effect e;
            e.refused = errc::type_mismatch;
            return e;
        }
        bool concurrent = false;
        static_cast<void>(rival(site, rule::siblings, concurrent));
        write_mark const mine = app_.mark_of(op.stamp);
        std::optional<bytes_view> values;
        if (op.kind == op_kind::set) { values = op.value; }
        auto const foreign = [this](write_mark const& w) { return app_.foreign(w); };
        return of_inside(keep_siblings(op.field, site.mark, site.inside, site.was, values, mine, foreign), site,
                         concurrent);
    }
    [[nodiscard]] field_effect of_inside(inside_effect in, field_site const& site, bool concurrent) {
        field_effect e;
        if (in.refused == errc::type_mismatch && concurrent) {
            // Somebody has made it something else meanwhile: one of the two, as with any values.
            e.concurrent = true;
            e.won = winner::confirmed;
            e.why = reason::mistyped;
            return e;
        }
        e.refused = in.refused;
        e.concurrent = concurrent;
        e.won = in.won;
        e.why = in.why;
        e.present = in.present;
        e.value = std::move(in.value);
        // Who began the record did not write a field that is only now there: its mark is nobody's.
        e.whole = !site.written() && !app_.begins;
        e.remembered = in.remembered;
        e.inside = std::move(in.marks);
        if (e.concurrent && app_.m.hint == merge_hint::remote) {
            e.remembered = false;
            e.won = winner::confirmed;
            e.why = reason::by_hint;
        }
        return e;
    }

    /// A text or sequence: what its writer saw and what they made of it, merged into what is there.
    [[nodiscard]] field_effect revision(field_op const& op, field_site const& site, rule by) {
        field_effect e;
        write_mark const mark = rival(site, by, e.concurrent);
        auto const refuse = [&](errc why) {
            e.refused = why;
            return std::move(e);
        };
        cbor_reader in{op.value};
        if (in.array() != 2) { return refuse(errc::malformed); }
        bytes_view const prior = in.skip(1);
        bytes_view const next = in.skip(1);
        if (!in.finish()) { return refuse(errc::malformed); }
        cbor_type const wanted = by == rule::sequence ? cbor_type::array : cbor_type::text;
        if (!(is_text(by) || by == rule::sequence) || type_of(prior) != wanted || type_of(next) != wanted) {
            return refuse(errc::type_mismatch);
        }
        e.mine = app_.mark_of(op.stamp);
        e.borrowed = next;
        if (site.had && equal(site.was, next)) {
            e.won = winner::both;
            e.why = reason::same;
        } else if (!site.had || !equal(site.was, prior)) {
            e.concurrent = e.concurrent || (site.had && !app_.begins);
            e.won = winner::both;
            e.why = reason::combined;
            if (!site.had || type_of(site.was) != wanted) {
                choice const c = choose(e.concurrent ? rule::last_writer : rule::local, e.mine, mark, app_.m.hint,
                                        app_.context.host);
                e.won = c.won;
                e.why = reason::mistyped;
            } else if (e.concurrent && app_.m.hint != merge_hint::merge) {
                e.won = app_.m.hint == merge_hint::local ? winner::mutation : winner::confirmed;
                e.why = reason::by_hint;
            } else if (auto both = merged_value(prior, next, site.was, by)) {
                e.value = std::move(*both);
            } else {
                e.won = winner::nobody;
                e.why = reason::overlap;
            }
        }
        if (!app_.begins) { e.mine.stamp = (std::max)(e.mine.stamp, mark.stamp); }
        return e;
    }
    [[nodiscard]] static std::optional<bytes> merged_value(bytes_view prior, bytes_view next, bytes_view was, rule by) {
        if (by == rule::sequence) {
            auto both = merge_sequence(prior, next, was, rule_effort);
            return both ? std::move(*both) : std::nullopt;
        }
        text_unit const unit = by == rule::text_lines   ? text_unit::lines
                               : by == rule::text_words ? text_unit::words
                                                        : text_unit::characters;
        auto const text_of = [](bytes_view item) { return cbor_reader{item}.text(); };
        auto const both = merge_text(text_of(prior), text_of(next), text_of(was), unit, rule_effort);
        if (!both || !both->conflicts.empty()) { return std::nullopt; }
        bytes out;
        cbor_writer{out}.text(both->text);
        return out;
    }

    /// Fields inside of a map: the same once more, a level deeper. Where the field isn't `nested` to the rules, as to those
    /// of a later table, it is decided as a whole before anything inside is touched.
    [[nodiscard]] field_effect nested(field_op const& op, field_site& site, rule by, as_written const* as_they_say) {
        field_effect e;
        auto const refuse = [&](errc why) {
            e.refused = why;
            return std::move(e);
        };
        if (depth_ + 1 >= nested_depth_max) { return refuse(errc::limit); }
        cbor_reader in{op.value};
        std::vector<field_op> const ops = decode_operations(in, op.stamp);
        if (auto ok = in.finish(); !ok) { return refuse(ok.error().code); }
        bool const whole = by != rule::nested;
        bool concurrent = false;
        write_mark const mark = rival(site, whole ? by : rule::last_writer, concurrent);
        choice const* const group = group_of(op.field);
        // A map with other keys than texts has no fields inside that an operation could name.
        if ((site.had && !text_keyed(site.was)) || (whole && !chooses_a_side(by))) {
            if (!concurrent) { return refuse(errc::type_mismatch); }
            e.concurrent = true;
            e.won = winner::confirmed;
            e.why = reason::mistyped;
            return e;
        }
        if (whole && (concurrent || group != nullptr)) {
            choice const decided =
                group != nullptr ? *group : choose(by, app_.mark_of(op.stamp), mark, app_.m.hint, app_.context.host);
            if (by == rule::authority_time && decided.why != reason::by_hint) { return refuse(errc::contended); }
            e.concurrent = true;
            e.won = decided.won;
            e.why = decided.why;
            if (e.won != winner::mutation) { return e; }
        }
        if (!whole && !site.had && concurrent && wins(mark, app_.mark_of(op.stamp))) {
            e.concurrent = true;
            e.won = winner::confirmed;
            e.why = reason::deleted;
            return e;
        }

        // The marks inside, seen from inside: the first part of a path is a field's name there.
        std::vector<field_mark> below;
        below.reserve(site.inside.size());
        for (field_mark const& f : site.inside) {
            cbor_reader path{f.path};
            std::string const name{path.text()};
            if (path.failed()) { return refuse(errc::corrupt); }
            bytes_view const rest = bytes_view{f.path}.subspan(path.position());
            below.push_back({name, f.mark, to_bytes(rest)});
        }
        std::sort(below.begin(), below.end(), mark_before);
        rule_view const inside = whole ? rule_view{rule::local, nullptr} : rules_.inside(op.field);
        field_fold inner(app_, inside, site.mark, depth_ + 1, as_they_say);
        if (errc const why = inner.run(site.was, below, ops); why != errc{}) {
            e.at = std::move(inner.refused);
            return refuse(why);
        }
        if (!whole) {
            e.won = inner.asks                                 ? winner::nobody
                    : !ops.empty() && inner.lost == ops.size() ? winner::confirmed
                                                               : winner::both;
            e.why = reason::combined;
            for (decision& d : inner.decisions) {
                decision up = d;
                up.field = op.field;
                up.inside = d.field + (d.inside.empty() ? "" : "." + d.inside);
                if (e.won == winner::nobody && d.won != winner::nobody) { continue; }
                e.concurrent = true;
                e.decisions.push_back(std::move(up));
            }
        }
        if (e.won == winner::nobody || e.won == winner::confirmed) { return e; }
        e.whole = false;
        e.value = std::move(inner.fields);
        for (field_mark& f : inner.marks) {
            field_mark up{op.field, f.mark, {}};
            cbor_writer{up.path}.text(f.field);
            append(up.path, f.path);
            e.inside.push_back(std::move(up));
        }
        std::sort(e.inside.begin(), e.inside.end(), mark_before);
        return e;
    }

    application const& app_;
    rule_view rules_;
    write_mark floor_;
    std::size_t depth_;
    as_written const* as_they_say_;
    std::vector<group_choice> const* groups_;
};

/// The groups that a mutation touches and that somebody else has changed to something else, each decided; in the order of
/// the collection's groups.
[[nodiscard]] inline std::vector<group_choice> decide_groups(application const& app, row const& r) {
    struct contest {
        field_group const* group;
        rule by;
        std::optional<write_mark> mine{};
        std::optional<write_mark> rival{};
        bool differs = false;
    };
    std::vector<contest> all;
    if (app.rules.whole) {
        all.push_back({nullptr, *app.rules.whole});
    } else {
        for (field_group const& g : app.rules.groups) { all.push_back({&g, g.decides}); }
    }
    auto const of = [&](std::string_view field) -> contest* {
        if (app.rules.whole) { return &all.front(); }
        field_group const* const g = app.groups.of(field);
        return g == nullptr ? nullptr : &all[app.groups.place(*g)];
    };
    auto const meet = [&](contest& c, write_mark const& w) {
        if (app.foreign(w) && (!c.rival || outranks(c.by, w, *c.rival, app.context.host))) { c.rival = w; }
    };
    fields_in_order there{r.fields};
    for (field_op const& op : app.m.ops) {
        contest* const c = of(op.field);
        if (c == nullptr) { continue; }
        write_mark const w = app.mark_of(op.stamp);
        if (!c->mine || w.stamp > c->mine->stamp) { c->mine = w; }
        auto const was = there.find(op.field);
        c->differs = c->differs || was.has_value() != (op.kind != op_kind::unset) || (was && !equal(*was, op.value));
    }
    for (field_mark const& e : r.exceptions) {
        if (contest* const c = of(e.field)) { meet(*c, e.mark); }
    }
    auto mark = r.exceptions.begin();
    cbor_map_cursor at{r.fields};
    while (!r.fields.empty() && at.next()) {
        while (mark != r.exceptions.end() && compare_keys(mark->field, at.key()) < 0) { ++mark; }
        bool const marked = mark != r.exceptions.end() && mark->field == at.key() && mark->path.empty();
        contest* const c = marked ? nullptr : of(at.key());
        if (c != nullptr) { meet(*c, r.floor); }
    }
    std::vector<group_choice> out;
    for (contest const& c : all) {
        if (!c.mine || !c.differs || !c.rival) { continue; }
        choice decided = choose(c.by, *c.mine, *c.rival, app.m.hint, app.context.host);
        if (decided.why != reason::by_hint && decided.why != reason::asked) { decided.why = reason::by_group; }
        out.push_back({c.group, decided});
    }
    return out;
}

/// In canonical key order; of one field by the paths inside.
[[nodiscard]] inline bool told_before(decision const& a, decision const& b) noexcept {
    auto const order = compare_keys(a.field, b.field);
    return order != 0 ? order < 0 : a.inside < b.inside;
}
/// So that what is told does not depend on how a merge came about.
inline void put_in_order(std::vector<decision>& told) {
    if (!std::is_sorted(told.begin(), told.end(), told_before)) {
        std::stable_sort(told.begin(), told.end(), told_before);
    }
}
inline void put_in_order(std::vector<std::string>& fields) {
    std::sort(fields.begin(), fields.end(),
              [](std::string const& a, std::string const& b) { return compare_keys(a, b) < 0; });
}

/// Puts what is asked in the place of what was told of those fields; `all` is in canonical key order then.
inline void put_decisions(std::vector<decision>& all, std::vector<decision> asked) {
    put_in_order(asked);
    auto const before = [](decision const& a, decision const& b) { return compare_keys(a.field, b.field) < 0; };
    std::erase_if(all, [&](decision const& d) { return std::binary_search(asked.begin(), asked.end(), d, before); });
    std::move(asked.begin(), asked.end(), std::back_inserter(all));
    put_in_order(all);
}

/// What guards and references say of `next`, the record as merged.
class refusals {
public:
    /// `asks`: the mutation is a person's matter already.
    refusals(application const& app, std::optional<row> const& before, bool asks)
        : app_(app), before_(before), asks_(asks) {}

    /// False: `next` may not be; the outcome says what becomes of the mutation. Guards' repairs go into `next`.
    [[nodiscard]] bool pass(row& next, bool concurrent) {
        merge_host const* const host = app_.context.host;
        if (host == nullptr) { return true; }
        bool const asks = concurrent || asks_;
        // A repair may be another guard's business, or refer to something: ask again, but not for ever.
        std::vector<std::string> read;  // by those that repaired in the last round; of one that reads all, nothing
        for (int rounds = 0; rounds != rounds_max; ++rounds) {
            for (reference_rule const& r : app_.rules.references) {
                if (!refers(r, next)) { return refuse({r.field}, reason::reference, asks, errc::not_found); }
            }
            bool repaired = false;
            bool reads_all = false;
            read.clear();
            for (guard const& g : host->guards) {
                if (g.judge == nullptr || !reads(g, next)) { continue; }
                guard_answer a = g.judge({app_.m, before_, next, concurrent, app_.context.author}, g.data);
                bool const repairs = a.says == guard_answer::kind::repair && !next.deleted && fits(a.repairs);
                if (repairs) { drop_done(a.repairs, next); }
                if (a.says == guard_answer::kind::accept || (repairs && a.repairs.empty())) { continue; }
                app_.out.guard = g.name;
                if (a.says == guard_answer::kind::veto) {
                    return refuse(g.reads, reason::guarded, asks, errc::forbidden);
                }
                if (!repairs) { return refuse(g.reads, reason::guarded, true, errc::forbidden); }
                repair(next, a.repairs);
                for (field_op const& op : a.repairs) { repairs_.push_back({op.field, &g}); }
                read.insert(read.end(), g.reads.begin(), g.reads.end());
                reads_all = reads_all || g.reads.empty();
                repaired = true;
            }
            if (!repaired) { return true; }
            if (reads_all) { read.clear(); }
        }
        return refuse(std::move(read), reason::guarded, true, errc::forbidden);
    }

private:
    static constexpr int rounds_max = 4;

    /// A merge that may not be is a person's matter; what met nobody is rejected. `read`: the fields that tell.
    [[nodiscard]] bool refuse(std::vector<std::string> read, reason why, bool ask, errc otherwise) {
        apply_outcome& out = app_.out;
        out.changed = false;
        auto const repaired = [](decision const& d) { return d.won == winner::guard; };
        out.decisions.erase(std::remove_if(out.decisions.begin(), out.decisions.end(), repaired), out.decisions.end());
        if (ask) {
            out.verdict = verdict_kind::conflict;
            std::vector<decision> asked;
            if (of_whole_record()) {
                asked.push_back({std::string{}, rule::last_writer, winner::nobody, why});
            } else {
                std::vector<bool> const blamed = blame(std::move(read));
                for (std::size_t i = 0; i != blamed.size(); ++i) {
                    std::string const& field = app_.m.ops[i].field;
                    if (blamed[i]) { asked.push_back({field, app_.groups.decides(field), winner::nobody, why}); }
                }
            }
            put_decisions(out.decisions, std::move(asked));
        } else {
            std::string guard = std::move(out.guard);
            out = {};
            out.guard = std::move(guard);
            out.verdict = verdict_kind::rejected;
            out.reason = otherwise;
            if (why == reason::reference) { out.field = std::move(read.front()); }
        }
        return false;
    }
    /// Whether there is no field to choose: the record ends, comes back, or begins another life.
    [[nodiscard]] bool of_whole_record() const {
        return app_.m.ops.empty() || app_.m.kind == change_kind::erase ||
               (before_ && (app_.begins || before_->deleted));
    }
    /// Which operations a refusal is about: those on fields that are `read`, and on what wins together with them. Where the
    /// mutation has touched none of these, those on what was read by the guards whose repairs are among them; where there is
    /// none either, nothing tells, and it is about all.
    [[nodiscard]] std::vector<bool> blame(std::vector<std::string> read) const {
        std::vector<field_op> const& ops = app_.m.ops;
        auto const reads = [&](std::string_view f) { return std::find(read.begin(), read.end(), f) != read.end(); };
        for (;;) {
            std::vector<bool> out(ops.size());
            std::vector<bool> together(app_.rules.groups.size());
            bool any = false;
            for (std::size_t i = 0; i != ops.size(); ++i) {
                if (!reads(ops[i].field)) { continue; }
                field_group const* const g = app_.groups.of(ops[i].field);
                if (g != nullptr) { together[app_.groups.place(*g)] = true; }
                out[i] = any = true;
            }
            if (any) {
                for (std::size_t i = 0; i != ops.size(); ++i) {
                    field_group const* const g = app_.groups.of(ops[i].field);
                    if (app_.rules.whole || (g != nullptr && together[app_.groups.place(*g)])) { out[i] = true; }
                }
                return out;
            }
            std::size_t const known = read.size();
            for (auto const& [field, by] : repairs_) {
                if (!reads(field)) { continue; }
                for (std::string const& f : by->reads) {
                    if (!reads(f)) { read.push_back(f); }
                }
            }
            if (read.size() == known) { return std::vector<bool>(ops.size(), true); }
        }
    }
    [[nodiscard]] std::optional<bytes_view> value_in(std::optional<row> const& r, std::string_view field) const {
        return r ? value_in(*r, field) : std::nullopt;
    }
    [[nodiscard]] static std::optional<bytes_view> value_in(row const& r, std::string_view field) {
        if (r.deleted || r.fields.empty()) { return std::nullopt; }
        auto const found = map_find(r.fields, field);
        return found ? *found : std::nullopt;
    }
    [[nodiscard]] bool changed(std::string_view field, row const& next) const {
        auto const a = value_in(before_, field);
        auto const b = value_in(next, field);
        return a.has_value() != b.has_value() || (a && !equal(*a, *b));
    }
    [[nodiscard]] bool reads(guard const& g, row const& next) const {
        return g.reads.empty() || next.deleted ||
               std::any_of(g.reads.begin(), g.reads.end(), [&](std::string const& f) { return changed(f, next); });
    }
    [[nodiscard]] bool refers(reference_rule const& r, row const& next) const {
        merge_host const& host = *app_.context.host;
        if (host.exists == nullptr || next.deleted || !changed(r.field, next)) { return true; }
        auto const found = map_find(next.fields, r.field);
        if (!found || !*found) { return true; }
        cbor_reader in{**found};
        switch (in.peek()) {
            case cbor_type::null: return true;
            case cbor_type::text: return host.exists(r.collection, as_bytes(in.text()), host.data);
            case cbor_type::byte_string: return host.exists(r.collection, in.byte_string(), host.data);
            default: return false;
        }
    }
    /// Whether a guard's repairs are what they may be.
    [[nodiscard]] static bool fits(std::vector<field_op> const& repairs) {
        for (std::size_t i = 0; i != repairs.size(); ++i) {
            field_op const& op = repairs[i];
            bool const named = !op.field.empty() && op.field.size() <= field_name_bytes_max && valid_utf8(op.field);
            bool const known = op.kind == op_kind::unset || (op.kind == op_kind::set && validate_canonical(op.value));
            if (!named || !known || (i != 0 && compare_keys(repairs[i - 1].field, op.field) >= 0)) { return false; }
        }
        return true;
    }
    /// Takes out what is so already.
    void drop_done(std::vector<field_op>& repairs, row const& next) const {
        auto const done = [&](field_op const& op) {
            auto const is = value_in(next, op.field);
            return is.has_value() == (op.kind == op_kind::set) && (!is || equal(*is, op.value));
        };
        repairs.erase(std::remove_if(repairs.begin(), repairs.end(), done), repairs.end());
    }
    void repair(row& next, std::vector<field_op> const& repairs) {
        std::vector<field_change> changes;
        for (field_op const& op : repairs) {
            changes.push_back({op.field, op.kind == op_kind::set, op.value});
            field_mark mine{op.field, app_.mark_of(app_.m.stamp)};
            next.exceptions.erase(std::remove_if(next.exceptions.begin(), next.exceptions.end(),
                                                 [&](field_mark const& e) { return e.field == op.field; }),
                                  next.exceptions.end());
            next.exceptions.insert(std::lower_bound(next.exceptions.begin(), next.exceptions.end(), mine, mark_before),
                                   mine);
            decision told{op.field, app_.rules.decides(op.field), winner::guard, reason::guarded};
            std::vector<decision>& all = app_.out.decisions;
            if (std::find(all.begin(), all.end(), told) == all.end()) { all.push_back(std::move(told)); }
        }
        next.fields = rewrite_fields(next.fields, changes);
    }

    application const& app_;
    std::optional<row> const& before_;
    bool asks_;
    std::vector<std::pair<std::string, guard const*>> repairs_{};  ///< of which field, by whom
};

/// Whether tombstones keep what an edit may bring back.
[[nodiscard]] inline bool keeps_deleted(collection_rules const& rules) noexcept {
    return rules.deletes != deletion::wins;
}

/// A tombstone's fields keep their marks, as its floor is the deletion's.
inline void keep_fields(row& tomb, row&& was) {
    tomb.fields = std::move(was.fields);
    cbor_map_cursor at{tomb.fields};
    while (!tomb.fields.empty() && at.next()) {
        field_mark const one{std::string{at.key()}, was.floor};
        auto const place = std::lower_bound(was.exceptions.begin(), was.exceptions.end(), one, mark_before);
        bool const marked = place != was.exceptions.end() && place->field == one.field && place->path.empty();
        if (!marked) { was.exceptions.insert(place, one); }
    }
    tomb.exceptions = std::move(was.exceptions);
}

/// `apply`, with some fields as the mutation says them, none where null, into `after`: set where it changed something. Of what
/// guards refuse the first alone is told, and nothing beside what the rules leave open. `asks`: the mutation is a person's
/// matter already, and so is what would be rejected for a guard or a reference.
[[nodiscard]] inline apply_outcome apply_as_written(std::optional<row> const& current, mutation const& m,
                                                    collection_rules const& rules, apply_context const& context,
                                                    as_written const* as_it_says, bool asks,
                                                    std::optional<row>& after) {
    apply_outcome out;
    bool const begins = m.kind == change_kind::create && (!current || m.life > current->life);
    application const app{m, rules, context, begins, out};
    auto const whole_record = [&](verdict_kind v, winner w) {
        out.verdict = v;
        out.decisions.push_back({std::string{}, rule::last_writer, w, reason::deleted});
        return std::move(out);
    };
    auto const reject = [&](errc why, std::string field = {}) {
        out = {};
        out.field = std::move(field);
        out.verdict = verdict_kind::rejected;
        out.reason = why;
        return std::move(out);
    };
    auto const mark_of = [&](timestamp stamp) { return app.mark_of(stamp); };
    auto const foreign = [&](write_mark const& w, position base) { return app.foreign(w, base); };

    bool revives = false;
    if (!begins) {
        if (!current || m.life > current->life) { return reject(errc::not_found); }
        if (m.life < current->life) { return whole_record(verdict_kind::overruled, winner::confirmed); }
        if (current->deleted) {
            bool const agree = m.kind == change_kind::erase;
            if (agree) { return whole_record(verdict_kind::merged, winner::both); }
            bool const met = keeps_deleted(rules) && foreign(current->floor, m.base);
            revives =
                met && (m.hint == merge_hint::merge ? rules.deletes == deletion::loses
                                                    : rules.deletes == deletion::loses && m.hint == merge_hint::local);
            if (met && rules.deletes == deletion::manual) {
                return whole_record(verdict_kind::conflict, winner::nobody);
            }
            if (!revives) { return whole_record(verdict_kind::overruled, winner::confirmed); }
        }
    }

    bool const met_somebody = !begins && [&] {
        auto const other = [&](write_mark const& w) { return foreign(w, m.base); };
        return other(current->floor) || std::any_of(current->exceptions.begin(), current->exceptions.end(),
                                                    [&](field_mark const& e) { return other(e.mark); });
    }();

    if (m.kind == change_kind::erase) {
        bool const concurrent = met_somebody;
        if (concurrent && rules.deletes == deletion::manual) {
            return whole_record(verdict_kind::conflict, winner::nobody);
        }
        if (concurrent && (rules.deletes == deletion::loses || m.hint == merge_hint::remote)) {
            return whole_record(verdict_kind::overruled, winner::confirmed);
        }
        row tomb;
        tomb.version = context.at;
        tomb.life = m.life;
        tomb.deleted = true;
        tomb.floor = mark_of(m.stamp);
        if (keeps_deleted(rules)) { keep_fields(tomb, row{*current}); }
        if (!refusals(app, current, asks).pass(tomb, concurrent)) { return out; }
        after = std::move(tomb);
        out.changed = true;
        if (concurrent) { return whole_record(verdict_kind::merged, winner::mutation); }
        return out;
    }

    row next;
    if (begins) {
        next.life = m.life;
        next.floor = mark_of(m.stamp);
    } else {
        next.life = current->life;
        next.floor = current->floor;
        next.schema = current->schema;
    }
    std::vector<group_choice> groups;
    if (!begins && (rules.whole || !rules.groups.empty())) { groups = decide_groups(app, *current); }
    for (group_choice const& g : groups) {
        rule const by = g.group == nullptr ? *rules.whole : g.group->decides;
        if (by == rule::authority_time && g.decided.why != reason::by_hint) { return reject(errc::contended); }
    }

    field_fold fold(app, rules.view(), next.floor, 0, as_it_says, &groups);
    row const nothing;
    row const& was = begins ? nothing : *current;
    if (errc const why = fold.run(was.fields, was.exceptions, m.ops); why != errc{}) {
        return reject(why, std::move(fold.refused));
    }
    out.decisions = std::move(fold.decisions);
    if (revives) {
        out.decisions.insert(out.decisions.begin(),
                             {std::string{}, rule::last_writer, winner::mutation, reason::deleted});
    }
    if (fold.asks) {
        out.verdict = verdict_kind::conflict;
        return out;
    }
    if (!m.ops.empty() && fold.lost == m.ops.size() && !revives) {
        out.verdict = verdict_kind::overruled;
        return out;
    }
    if (!out.decisions.empty()) { out.verdict = verdict_kind::merged; }
    next.exceptions = std::move(fold.marks);
    bool const changes = fold.lost != m.ops.size() || m.ops.empty();
    if (changes) { next.fields = std::move(fold.fields); }
    if (!changes) { next.fields = was.fields; }
    next.version = context.at;
    if (!refusals(app, current, asks).pass(next, met_somebody)) { return out; }
    if (!out.decisions.empty()) { out.verdict = verdict_kind::merged; }
    out.changed = true;
    after = std::move(next);
    return out;
}
/// The same in place.
[[nodiscard]] inline apply_outcome apply_as_written(std::optional<row>& current, mutation const& m,
                                                    collection_rules const& rules, apply_context const& context,
                                                    as_written const* as_it_says, bool asks = false) {
    std::optional<row> after;
    apply_outcome out = apply_as_written(current, m, rules, context, as_it_says, asks, after);
    if (out.changed) { current = std::move(after); }
    return out;
}

/// Takes the operations on fields that a person is asked about out of others; both in canonical key order. False: there is none.
[[nodiscard]] inline bool take_asked(std::vector<field_op>& ops, std::vector<decision> const& told) {
    std::vector<std::string_view> asked;
    for (decision const& d : told) {
        if (d.won == winner::nobody) { asked.emplace_back(d.field); }
    }
    auto at = asked.begin();
    return std::erase_if(ops, [&](field_op const& op) {
               while (at != asked.end() && compare_keys(*at, op.field) < 0) { ++at; }
               return at != asked.end() && *at == op.field;
           }) != 0;
}

/// A field that a guard or a reference leaves to a person.
struct refused_field {
    decision told{};
    std::string guard{};  ///< the guard's name; of a reference none
};

/// What guards and references refuse of what is left of a mutation, `rest`, and then of what is left without that, until nobody
/// refuses: whoever leaves all of it to the other side has made a record that may be. Cost: that of `apply` for each that refuses.
[[nodiscard]] inline std::vector<refused_field> refused_of_rest(std::optional<row> const& current, mutation rest,
                                                                collection_rules const& rules,
                                                                apply_context const& context) {
    std::vector<refused_field> out;
    while (context.host != nullptr && !rest.ops.empty()) {
        std::optional<row> after = current;
        apply_outcome const more = apply_as_written(after, rest, rules, context, nullptr, true);
        if (more.verdict != verdict_kind::conflict || !take_asked(rest.ops, more.decisions)) { break; }
        for (decision const& d : more.decisions) {
            if (d.won == winner::nobody) { out.push_back({d, more.guard}); }
        }
    }
    return out;
}

/// Adds to a conflict what else guards and references refuse, beside what is asked already.
inline void ask_about_rest(std::optional<row> const& current, mutation const& m, collection_rules const& rules,
                           apply_context const& context, apply_outcome& out) {
    if (context.host == nullptr || (context.host->guards.empty() && rules.references.empty())) { return; }
    mutation rest = m;
    if (!take_asked(rest.ops, out.decisions)) { return; }
    std::vector<std::string> named{out.guard};
    std::vector<decision> asked;
    for (refused_field& f : refused_of_rest(current, std::move(rest), rules, context)) {
        asked.push_back(std::move(f.told));
        if (f.guard.empty() || std::find(named.begin(), named.end(), f.guard) != named.end()) { continue; }
        out.guard += (out.guard.empty() ? "" : ", ") + f.guard;
        named.push_back(std::move(f.guard));
    }
    put_decisions(out.decisions, std::move(asked));
}

}  // namespace detail

/// Applies a mutation to a row: the state after it, and what was decided.
///
/// `current`: the row before, or nothing where no such record ever was; becomes the row after when
/// `changed`. Precondition: its fields are canonical. The mutation may come from a stranger; it was decoded.
///
/// A field is concurrent when somebody else has changed it after the mutation's base; what is not confirmed yet is
/// nobody else's. What is not concurrent takes effect; what is, its field's rule decides. A mutation is taken whole
/// or not at all: one field that a person must decide parks it, one operation that can't be (a counter over a text,
/// an overflow, a text where a flag is due) rejects it; `current` is then untouched. A deletion and a concurrent edit
/// are decided by the collection's `deletes`. An update never creates. Last, the host's guards are asked, of a mutation that
/// a person must decide about what is left of it.
///
/// Rejections: `errc::not_found` (no such record or life; a reference to nothing), `errc::type_mismatch`,
/// `errc::overflow`, `errc::contended` (by the authority's time, somebody was first: pull, and apply again),
/// `errc::forbidden` (a guard), and for what its operations hold `errc::malformed`, `errc::invalid`,
/// `errc::unsupported`, `errc::limit`.
/// Cost: O(fields + operations), allocates the new fields; on a list O(elements + operations kept); on a text a diff. The
/// same once more for each guard that refuses a merge.
[[nodiscard]] inline apply_outcome apply(std::optional<row>& current, mutation const& m, collection_rules const& rules,
                                         apply_context const& context) {
    apply_outcome out = detail::apply_as_written(current, m, rules, context, nullptr);
    if (out.verdict == verdict_kind::conflict) { detail::ask_about_rest(current, m, rules, context, out); }
    return out;
}
/// The same for who needs the row before as well: `before` stays, and `after` is the row after where the outcome says
/// `changed`, else as it was. Precondition: they are two.
[[nodiscard]] inline apply_outcome apply_over(std::optional<row> const& before, mutation const& m,
                                              collection_rules const& rules, apply_context const& context,
                                              std::optional<row>& after) {
    apply_outcome out = detail::apply_as_written(before, m, rules, context, nullptr, false, after);
    if (out.verdict == verdict_kind::conflict) { detail::ask_about_rest(before, m, rules, context, out); }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
