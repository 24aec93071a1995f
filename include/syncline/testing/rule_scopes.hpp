// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Every built-in merge rule in the small, to the end: three replicas, each with every two operations on three
/// elements, arriving in every order.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/testing/naive_elements.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// How much of it.
struct rule_scope_options {
    /// Choices of operations that are tried for each pattern of stamps, about, evenly spread; 0: all there are.
    std::uint64_t choices_max = 0;
};

/// What an enumeration came to.
struct rule_scope_report {
    rule by{};
    std::uint64_t operations = 0;    ///< different ones that a replica may do
    std::uint64_t choices = 0;       ///< of three or six operations and a pattern of stamps, tried
    std::uint64_t choices_all = 0;   ///< that there are
    std::uint64_t orders = 0;        ///< of arrival that these have: 6 or 90 each
    std::uint64_t applications = 0;  ///< runs of `apply`: orders share their beginnings
    std::uint64_t asked = 0;         ///< of them, those in which a person had to decide
    std::uint64_t refused = 0;       ///< of them, those that were rejected
    std::uint64_t modelled = 0;  ///< of them, those that the naive model was asked about; of sets and lists: choices
    std::uint64_t by_order = 0;  ///< of texts by characters: choices that come out differently, and nobody is asked
    std::vector<violation> broken{};
};

/// A report in words, one line, and one for each violation.
[[nodiscard]] inline std::string to_text(rule_scope_report const& r) {
    return std::string{name(r.by)} + ": " + std::to_string(r.choices) + " of " + std::to_string(r.choices_all) +
           " choices, " + std::to_string(r.orders) + " orders, " + std::to_string(r.applications) + " applications (" +
           std::to_string(r.asked) + " asked, " + std::to_string(r.refused) + " refused, " +
           std::to_string(r.modelled) + " modelled)" +
           (r.by_order == 0 ? std::string{} : ", " + std::to_string(r.by_order) + " come out by their order") + "\n" +
           to_text(r.broken);
}

namespace scopes {

inline constexpr std::size_t replicas = 3;
inline constexpr std::size_t turns_max = 2;

[[nodiscard]] inline bytes scope_text(std::string_view s) {
    bytes out;
    cbor_writer{out}.text(s);
    return out;
}
[[nodiscard]] inline bytes scope_array(std::vector<bytes> const& items) {
    bytes out;
    cbor_writer w{out};
    w.array(items.size());
    for (bytes const& i : items) { w.raw(i); }
    return out;
}
[[nodiscard]] inline bytes scope_boolean(bool b) {
    bytes out;
    cbor_writer{out}.boolean(b);
    return out;
}
/// An element of a list: [identity, text].
[[nodiscard]] inline bytes scope_element(std::string_view id, std::string_view text) {
    return scope_array({scope_text(id), scope_text(text)});
}
[[nodiscard]] inline bytes scope_edits(std::vector<element_edit> const& edits) {
    bytes out;
    cbor_writer w{out};
    encode_element_edits(w, edits);
    return out;
}

/// One operation, and who does it when.
struct scope_deed {
    op_kind kind = op_kind::set;
    bytes value{};
};

/// What can be done under a rule.
class rule_scope {
public:
    explicit rule_scope(rule by) : by_(by) {
        rules.collection = "things";
        rules.fields = {{"f", by}};
        if (by == rule::nested) {
            rules.fields[0].inner = {{"a", rule::last_writer}, {"b", rule::counter}, {"c", rule::add_wins}};
        }
    }

    collection_rules rules{};

    /// How many different operations there are.
    [[nodiscard]] std::size_t operations() const noexcept {
        switch (by_) {
            case rule::minimum:
            case rule::maximum:
            case rule::counter:
            case rule::enable_wins:
            case rule::disable_wins:
            case rule::siblings: return 3;
            case rule::nested: return 6;
            case rule::add_wins:
            case rule::remove_wins: return 8;
            case rule::list: return 11;
            case rule::sequence:
            case rule::text_lines:
            case rule::text_words:
            case rule::text_characters: return 7;
            default: return 4;
        }
    }
    /// The field as all have seen it; nothing: it is missing.
    [[nodiscard]] std::optional<bytes> before() const {
        switch (by_) {
            case rule::counter: return naive_item(10);
            case rule::minimum:
            case rule::maximum: return naive_item(2);
            case rule::enable_wins:
            case rule::disable_wins: return scope_boolean(false);
            case rule::siblings: return scope_array({});
            case rule::add_wins:
            case rule::remove_wins: return scope_array({naive_item(1)});
            case rule::list:
                return scope_array({scope_element("a", "1"), scope_element("b", "2"), scope_element("c", "3")});
            case rule::nested: {
                bytes out;
                cbor_writer w{out};
                w.map(1);
                w.text("b");
                w.integer(1);
                return out;
            }
            case rule::sequence:
            case rule::text_lines:
            case rule::text_words:
            case rule::text_characters: return written({"a", "b", "c"});
            default: return std::nullopt;
        }
    }
    /// The `which`-th operation, done by a replica on its turn. `view`: the text or sequence as it has it.
    [[nodiscard]] scope_deed deed(std::size_t which, std::size_t replica, std::size_t turn,
                                  std::vector<std::string>& view) const {
        auto const element = [&](std::size_t i) { return naive_item(static_cast<std::int64_t>(i) + 1); };
        std::string const own = std::string{static_cast<char>('p' + replica)} + static_cast<char>('0' + turn);
        switch (by_) {
            case rule::counter: return {op_kind::add, naive_item(std::array<std::int64_t, 3>{1, -3, 7}[which])};
            case rule::minimum:
            case rule::maximum: return {op_kind::set, element(which)};
            case rule::enable_wins:
            case rule::disable_wins:
                return which == 2 ? scope_deed{op_kind::unset, {}}
                                  : scope_deed{op_kind::set, scope_boolean(which == 1)};
            case rule::siblings: return {op_kind::set, scope_array({element(which)})};
            case rule::add_wins:
            case rule::remove_wins:
                if (which == 6) { return {op_kind::unset, {}}; }
                if (which == 7) { return {op_kind::set, scope_array({element(1)})}; }
                return {op_kind::elements, set_edit(which)};
            case rule::nested: return {op_kind::nested, inside(which)};
            case rule::list: return {op_kind::elements, list_edit(which, own)};
            case rule::sequence:
            case rule::text_lines:
            case rule::text_words:
            case rule::text_characters: {
                bytes const prior = written(view);
                if (which == 6) {
                    view.push_back(own);
                } else {
                    std::string const target{static_cast<char>('a' + which % 3)};
                    auto const at =
                        std::find_if(view.begin(), view.end(), [&](std::string const& s) { return s[0] == target[0]; });
                    if (at != view.end()) {
                        if (which < 3) {
                            *at += own;
                        } else {
                            view.erase(at);
                        }
                    }
                }
                return {op_kind::revise, scope_array({prior, written(view)})};
            }
            default: return which == 3 ? scope_deed{op_kind::unset, {}} : scope_deed{op_kind::set, element(which)};
        }
    }
    /// Whether the rule promises the same value in every order of arrival, when each replica writes so often without
    /// having seen the others. (What a replica replaced itself no longer stands against others': of rules that don't
    /// prefer the later write, nor a value for good, so the second write of one decides with the order.)
    [[nodiscard]] bool order_free(std::size_t turns) const noexcept {
        switch (by_) {
            case rule::first_writer:
            case rule::enable_wins:
            case rule::disable_wins: return turns == 1;
            case rule::authority:
            case rule::authority_time:
            case rule::local:
            case rule::manual:
            case rule::sequence:
            case rule::text_lines:
            case rule::text_words:
            case rule::text_characters: return false;
            default: return true;
        }
    }
    /// Whether a naive model knows the rule by all that was ever done.
    [[nodiscard]] bool of_elements() const noexcept { return is_set(by_) || by_ == rule::list; }
    /// What that says of it, when all of `deeds` has come.
    [[nodiscard]] std::optional<bytes> of_elements(std::vector<naive_deed> const& deeds) const {
        if (by_ == rule::list) { return naive_list(*before(), deeds); }
        return naive_set_or_none({unknown_author, 1, 0, {}, {}}, {naive_item(1)}, deeds, by_ == rule::add_wins);
    }
    /// Whether the naive model knows the rule and its operations.
    [[nodiscard]] bool modelled() const noexcept {
        switch (by_) {
            case rule::last_writer:
            case rule::authority:
            case rule::minimum:
            case rule::maximum:
            case rule::counter:
            case rule::manual:
            case rule::authority_time:
            case rule::first_writer:
            case rule::local:
            case rule::enable_wins:
            case rule::disable_wins: return true;
            default: return false;
        }
    }
    [[nodiscard]] bool text() const noexcept { return is_text(by_) || by_ == rule::sequence; }

private:
    /// Three parts as a text or sequence of the rule's units.
    [[nodiscard]] bytes written(std::vector<std::string> const& parts) const {
        if (by_ == rule::sequence) {
            std::vector<bytes> items;
            for (std::string const& p : parts) { items.push_back(scope_text(p)); }
            return scope_array(items);
        }
        std::string all;
        for (std::string const& p : parts) { all += p + (by_ == rule::text_lines ? "\n" : " "); }
        return scope_text(all);
    }
    [[nodiscard]] static bytes set_edit(std::size_t which) {
        bytes const item = naive_item(static_cast<std::int64_t>(which % 3) + 1);
        element_edit e{which < 3 ? element_verb::add : element_verb::remove, item, {}, {}};
        if (which < 3) { e.item = item; }
        return scope_edits({e});
    }
    [[nodiscard]] static bytes list_edit(std::size_t which, std::string const& own) {
        bytes const a = scope_text("a");
        bytes const c = scope_text("c");
        bytes const target = scope_text(std::string{static_cast<char>('a' + which % 3)});
        bytes const edited = scope_element(std::string{static_cast<char>('a' + which % 3)}, own);
        bytes const fresh = scope_element(own, own);
        bytes const fresh_id = scope_text(own);
        bytes const shared = scope_element("n", own);  // one that others may insert at the same time
        switch (which) {
            case 0:
            case 1:
            case 2: return scope_edits({{element_verb::remove, target, {}, {}}});
            case 3:
            case 4:
            case 5: return scope_edits({{element_verb::edit, target, {}, edited}});
            case 6: return scope_edits({{element_verb::move, a, c, {}}});
            case 7: return scope_edits({{element_verb::move, target, {}, {}}});
            case 8: return scope_edits({{element_verb::move, c, {}, {}}});
            case 9: return scope_edits({{element_verb::insert, fresh_id, a, fresh}});
            default: return scope_edits({{element_verb::insert, scope_text("n"), {}, shared}});
        }
    }
    [[nodiscard]] static bytes inside(std::size_t which) {
        field_op op;
        switch (which) {
            case 0: op = {"a", op_kind::set, naive_item(1), {}}; break;
            case 1: op = {"a", op_kind::unset, {}, {}}; break;
            case 2: op = {"b", op_kind::add, naive_item(1), {}}; break;
            case 3: op = {"b", op_kind::add, naive_item(-4), {}}; break;
            case 4: op = {"c", op_kind::elements, set_edit(0), {}}; break;
            default: op = {"c", op_kind::elements, set_edit(3), {}}; break;
        }
        bytes out;
        cbor_writer w{out};
        w.array(1);
        encode_operation(w, op, op.stamp);
        return out;
    }

    rule by_;
};

/// Integrity of a list: each identity once, what was removed is gone, and what was inserted is there.
[[nodiscard]] inline std::string list_complaint(bytes_view list, std::vector<scope_deed> const& done) {
    std::vector<std::string> ids;
    cbor_reader in{list};
    std::size_t const n = in.array();
    for (std::size_t i = 0; i != n && !in.failed(); ++i) {
        cbor_reader one{in.skip(1)};
        (void)one.array();
        ids.emplace_back(one.text());
    }
    std::vector<std::string> wanted{"a", "b", "c"};
    std::vector<std::string> gone;
    for (scope_deed const& d : done) {
        auto const edits = decode_element_edits(d.value);
        for (element_edit const& e : *edits) {
            std::string const id{cbor_reader{e.identity}.text()};
            if (e.verb == element_verb::insert) { wanted.push_back(id); }
            if (e.verb == element_verb::remove) { gone.push_back(id); }
        }
    }
    wanted.erase(
        std::remove_if(wanted.begin(), wanted.end(),
                       [&](std::string const& id) { return std::find(gone.begin(), gone.end(), id) != gone.end(); }),
        wanted.end());
    std::sort(wanted.begin(), wanted.end());
    wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
    std::sort(ids.begin(), ids.end());
    return in.finish() && ids == wanted ? std::string{} : std::string{"elements lost, doubled or come back"};
}

}  // namespace scopes

/// Enumerates one rule: every choice of one and of two operations for each of three replicas, which have seen the same
/// state and nothing of each other, in every order of arrival at the authority, each replica's own in its order; once
/// with stamps that lie between each other's, once with equal ones.
///
/// Checked: `order_free`, that all orders leave the same value, for the rules that promise it, and for
/// sequences and texts by lines and words where no order asks a person (by characters it is counted, `by_order`); `model`, that the naive model comes to the same row and verdict after every
/// step, for the rules that it knows, and of sets and lists that the naive one of elements comes to the same in the end;
/// `kept`, that a step which is parked or refused leaves the row as it is, and that
/// none is refused for another reason than its rule's; `integrity`, that no element of a list is lost, doubled or comes
/// back.
/// Every position behind the base counts alike, so orders that reach the same row after the same operations are one
/// from there on, and choices that begin alike share what comes of their beginnings. Deterministic. Cost: to the end
/// about four applications a choice; of a thin slice about 54.
[[nodiscard]] inline rule_scope_report enumerate_rule(rule by, rule_scope_options options = {}) {
    using namespace scopes;
    rule_scope const scope{by};
    rule_scope_report report;
    report.by = by;
    report.operations = scope.operations();
    merge_host host;
    host.role_of = [](author_index author, void const*) { return author == 3 ? std::uint32_t{2} : std::uint32_t{1}; };
    row start;
    start.version = 1;
    start.floor.at = 1;
    {
        cbor_writer w{start.fields};
        auto const before = scope.before();
        w.map(before ? 1 : 0);
        if (before) {
            w.text("f");
            w.raw(*before);
        }
    }
    constexpr std::uint64_t stamps[2][replicas][turns_max] = {{{5, 8}, {6, 7}, {4, 9}}, {{5, 6}, {5, 6}, {5, 6}}};

    /// One choice: what each replica does, and the pattern of its stamps.
    struct one_choice {
        std::uint64_t number;
        std::size_t pattern;
        std::size_t turns;
    };
    auto const complain = [&](char const* law, one_choice const& c, std::string const& what) {
        if (report.broken.size() == 8) { return; }
        report.broken.push_back({law, std::string{name(by)} + ", " + std::to_string(c.turns) + " each, choice " +
                                          std::to_string(c.number) + ", stamps " + std::to_string(c.pattern) + ": " +
                                          what});
    };
    /// What may have come of some operations in any order, and whether any of the orders asked a person.
    struct outcomes {
        std::map<bytes, row> rows{};  // by their encoding
        bool asked = false;
    };
    std::size_t const n = scope.operations();
    std::size_t const parts = 1 + n + n * n;  // what a replica may have done so far: nothing, one, or two operations
    struct planned {
        mutation m{};
        scope_deed done{};
    };
    std::vector<planned> plans;  // of the pattern at hand: by replica and by what it has done with this
    auto const plan_of = [&](std::size_t r, std::size_t part) -> planned const& { return plans[r * parts + part]; };
    auto const plan_all = [&](std::size_t pattern) {
        plans.assign(replicas * parts, {});
        for (std::size_t r = 0; r != replicas; ++r) {
            for (std::size_t part = 1; part != parts; ++part) {
                std::vector<std::string> view{"a", "b", "c"};
                std::size_t const turn = part > n ? 1 : 0;
                if (turn == 1) { (void)scope.deed((part - 1 - n) / n, r, 0, view); }
                planned& p = plans[r * parts + part];
                p.done = scope.deed(turn == 1 ? (part - 1 - n) % n : part - 1, r, turn, view);
                p.m.sequence = turn + 1;
                p.m.stamp = timestamp{stamps[pattern][r][turn]};
                p.m.record = {"things", "x"};
                p.m.base = 1;
                p.m.ops = {{"f", p.done.kind, p.done.value, p.m.stamp}};
            }
        }
    };
    // Choices share their beginnings: what the first replica has done is one of three at a time, and for each there is
    // a table by what the others have. So each set of operations is come to once, and not once in each choice with it.
    using path = std::array<std::size_t, replicas>;  // a part each
    std::array<std::vector<std::optional<outcomes>>, turns_max + 1> tables;
    std::array<std::size_t, turns_max + 1> first{};  // the part of the first replica that each is of
    auto const turns_of = [&](std::size_t part) -> std::size_t { return part == 0 ? 0 : part <= n ? 1 : 2; };
    auto const back = [&](std::size_t part) -> std::size_t { return part <= n ? 0 : 1 + (part - 1 - n) / n; };
    auto const cell = [&](path const& at) -> std::optional<outcomes>& {
        std::size_t const turn = turns_of(at[0]);
        if (tables[turn].empty() || first[turn] != at[0]) {
            tables[turn].assign(parts * parts, std::nullopt);
            first[turn] = at[0];
        }
        return tables[turn][at[1] * parts + at[2]];
    };
    /// The operations of `m` applied to each of `from`, into `into`.
    auto const step = [&](outcomes const& from, std::size_t r, mutation const& m, outcomes& into, one_choice const& c) {
        for (auto const& was : from.rows) {
            apply_context context;
            context.author = static_cast<author_index>(r) + 2;
            context.at = 2;
            context.host = &host;
            std::optional<row> now = was.second;
            apply_outcome const out = apply(now, m, scope.rules, context);
            ++report.applications;
            bool const asked = out.verdict == verdict_kind::conflict;
            bool const refused = out.verdict == verdict_kind::rejected;
            report.asked += asked ? 1 : 0;
            report.refused += refused ? 1 : 0;
            into.asked = into.asked || asked;
            if ((asked || refused) && *now != was.second) { complain("kept", c, "a row that changed"); }
            if (refused && by != rule::authority_time) { complain("kept", c, message(out.reason)); }
            if (scope.modelled()) {
                ++report.modelled;
                naive_row model{was.second};
                auto const said = naive_apply(model, m, scope.rules, context.author, context.at, context.stamp_max);
                if (said.verdict != out.verdict || model != naive_row{*now}) {
                    complain("model", c,
                             std::string{"the model says "} + syncline::name(said.verdict) + ", apply " +
                                 syncline::name(out.verdict));
                }
            }
            bytes encoded;
            cbor_writer w{encoded};
            encode_row(w, *now);
            into.rows.emplace(std::move(encoded), std::move(*now));
        }
    };
    /// Has what may come of everything up to `end`, without end itself being known.
    auto const reach = [&](path const& end, one_choice const& c) -> outcomes const& {
        std::array<std::array<std::size_t, turns_max + 1>, replicas> prefix{};
        for (std::size_t r = 0; r != replicas; ++r) {
            std::size_t part = end[r];
            for (std::size_t t = turns_of(end[r]) + 1; t-- != 0; part = back(part)) { prefix[r][t] = part; }
        }
        for (std::size_t i = 0; i <= c.turns; ++i) {
            for (std::size_t j = 0; j <= c.turns; ++j) {
                for (std::size_t k = 0; k <= c.turns; ++k) {
                    path const at{prefix[0][i], prefix[1][j], prefix[2][k]};
                    if (cell(at)) { continue; }
                    outcomes now;
                    if (at == path{}) {
                        bytes encoded;
                        cbor_writer w{encoded};
                        encode_row(w, start);
                        now.rows.emplace(std::move(encoded), start);
                    }
                    for (std::size_t r = 0; r != replicas; ++r) {
                        if (at[r] == 0) { continue; }
                        path from = at;
                        from[r] = back(at[r]);
                        outcomes const& before = *cell(from);
                        now.asked = now.asked || before.asked;
                        step(before, r, plan_of(r, at[r]).m, now, c);
                    }
                    cell(at) = std::move(now);
                }
            }
        }
        return *cell(end);
    };
    auto const try_one = [&](one_choice const& c) {
        path end{};
        std::uint64_t rest = c.number;  // the first replica's are its leading digits
        for (std::size_t r = replicas; r-- != 0;) {
            std::array<std::size_t, turns_max> which{};
            for (std::size_t t = c.turns; t-- != 0;) {
                which[t] = static_cast<std::size_t>(rest % n);
                rest /= n;
            }
            end[r] = c.turns == 1 ? 1 + which[0] : 1 + n + which[0] * n + which[1];
        }
        outcomes const& last_ones = reach(end, c);
        bool const asks = last_ones.asked;
        std::vector<std::optional<bytes>> values;
        for (auto const& last : last_ones.rows) {
            auto const found = map_find(last.second.fields, "f");
            std::optional<bytes> value;
            if (found && *found) { value = to_bytes(**found); }
            if (std::find(values.begin(), values.end(), value) == values.end()) { values.push_back(value); }
        }
        if (scope.order_free(c.turns) && values.size() != 1) {
            complain("order_free", c, std::to_string(values.size()) + " different values");
        }
        if (scope.text() && !asks && values.size() != 1) {
            // An insertion beside a character that it begins or ends with may as well stand on that one's other side.
            if (by == rule::text_characters) {
                ++report.by_order;
            } else {
                complain("order_free", c, "nobody is asked, and there are " + std::to_string(values.size()) + " texts");
            }
        }
        if (scope.of_elements()) {
            // In any order of arrival: the model needs one in which each replica's own are in theirs.
            std::vector<naive_deed> deeds;
            for (std::size_t r = 0; r != replicas; ++r) {
                for (std::size_t const part : {back(end[r]), end[r]}) {
                    if (part == 0) { continue; }
                    mutation const& m = plan_of(r, part).m;
                    deeds.push_back({static_cast<author_index>(r) + 2, 2 + deeds.size(), m.base, m.stamp,
                                     m.ops[0].value, m.ops[0].kind});
                }
            }
            ++report.modelled;
            if (values.size() != 1 || values[0] != scope.of_elements(deeds)) {
                complain("model", c, "other elements than the model's");
            }
        }
        for (auto const& value : values) {
            if (by != rule::list) { break; }
            std::vector<scope_deed> done;
            for (std::size_t r = 0; r != replicas; ++r) {
                for (std::size_t const part : {back(end[r]), end[r]}) {
                    if (part != 0) { done.push_back(plan_of(r, part).done); }
                }
            }
            std::string const what = value ? list_complaint(*value, done) : "the list is gone";
            if (!what.empty()) { complain("integrity", c, what); }
        }
    };

    for (std::size_t pattern = 0; pattern != 2; ++pattern) {
        plan_all(pattern);
        for (auto& t : tables) { t.clear(); }
        std::uint64_t each = 1;
        for (std::size_t turns = 1; turns <= turns_max; ++turns) {
            for (std::size_t i = 0; i != replicas; ++i) { each *= n; }
            report.choices_all += each;
            bool const all = options.choices_max == 0 || each <= options.choices_max;
            std::uint64_t const stride = all ? 1 : (each / options.choices_max) | 1;
            for (std::uint64_t choice = 0; choice < each; choice += stride) {
                ++report.choices;
                report.orders += turns == 1 ? 6 : 90;
                try_one({choice, pattern, turns});
            }
        }
    }
    return report;
}

/// All built-in rules, one after the other.
[[nodiscard]] inline std::vector<rule_scope_report> enumerate_rules(rule_scope_options options = {}) {
    std::vector<rule_scope_report> out;
    for (std::uint8_t n = 1; n <= rules_count; ++n) { out.push_back(enumerate_rule(static_cast<rule>(n), options)); }
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
