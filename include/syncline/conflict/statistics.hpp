// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Which fields conflict most, and which rule would have decided them as people did.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/conflict/resolution.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How often a rule would have decided as a person did.
struct rule_record {
    rule by = rule::last_writer;
    std::uint64_t agreed = 0;
    friend bool operator==(rule_record const&, rule_record const&) = default;
};
/// What happened to one field.
struct field_statistic {
    std::string collection{};
    std::string field{};          ///< the first key of a path; empty: whole records
    std::uint64_t conflicts = 0;  ///< raised
    std::uint64_t decided = 0;    ///< by people
    std::uint64_t automatic = 0;  ///< without asking
    std::uint64_t undone = 0;
    std::vector<rule_record> rules{};  ///< in the order of their numbers
    friend bool operator==(field_statistic const&, field_statistic const&) = default;
};

/// A rule that would have spared people a field's conflicts.
struct rule_advice {
    std::string collection{};
    std::string field{};
    rule use = rule::last_writer;
    std::uint64_t conflicts = 0;  ///< that people decided
    std::uint64_t agreed = 0;     ///< of them as the rule would have
    friend bool operator==(rule_advice const&, rule_advice const&) = default;
};
/// "bookings.price: maximum would have decided 19 of 20 conflicts as people did".
[[nodiscard]] inline std::string words(rule_advice const& a) {
    std::string out = a.collection;
    out.append(".").append(a.field).append(": ").append(name(a.use)).append(" would have decided ");
    out.append(std::to_string(a.agreed)).append(" of ").append(std::to_string(a.conflicts));
    return out.append(" conflicts as people did");
}

/// The rules that are tried on each decision: those that are there without parameters of their own.
inline constexpr std::array<rule, 5> rules_to_try{rule::last_writer, rule::authority, rule::minimum, rule::maximum,
                                                  rule::counter};

/// Counts conflicts and decisions by field, in a storage. Holds the prefix and nothing else.
///
/// Keys: prefix, length of the collection, it, the field. Fields beyond `fields_max` are counted together, under a field
/// of no name. Errors: those of the storage, `errc::corrupt`; then roll back.
class conflict_statistics {
public:
    /// Precondition: a prefix of 1 to 64 bytes, as of any component.
    explicit conflict_statistics(std::string_view prefix = "ks", std::size_t fields_max = 4096)
        : prefix_(prefix), fields_max_(fields_max) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    template <storage_transaction Tx>
    [[nodiscard]] status raised(Tx& tx, conflict const& c) const {
        return each(tx, c, [](field_statistic& s, field_path const&) { ++s.conflicts; });
    }
    template <storage_transaction Tx>
    [[nodiscard]] status undone(Tx& tx, conflict const& c) const {
        return each(tx, c, [](field_statistic& s, field_path const&) { ++s.undone; });
    }
    /// Tries `candidates` on what was decided: the same replay by another rule that a person can ask for.
    /// `c` as it was before the decision, `done` what it came to.
    template <storage_transaction Tx>
    [[nodiscard]] status decided(Tx& tx, conflict const& c, settled const& done, collection_rules const& rules,
                                 bool automatic, std::span<rule const> candidates = rules_to_try) const {
        std::vector<std::pair<rule, resolution>> would;
        if (!automatic) {
            for (rule const by : candidates) {
                // A rule that can't decide it did not agree.
                if (auto r = by_rule(c, by, rules)) { would.emplace_back(by, std::move(*r)); }
            }
        }
        return each(tx, c, [&](field_statistic& s, field_path const& path) {
            ++(automatic ? s.automatic : s.decided);
            for (auto const& [by, r] : would) {
                auto const d = std::find_if(r.fields.begin(), r.fields.end(),
                                            [&](field_decision const& f) { return f.path == path; });
                if (d == r.fields.end() || !done.after) { continue; }
                auto const is = value_at(done.after->fields, path);
                if (!is) { continue; }
                bool const same = d->take == field_take::none ? !*is : *is && equal(**is, d->value);
                if (same) { ++entry(s, by).agreed; }
            }
        });
    }
    /// The fields with most conflicts, at most `count_max` of them, ties by name.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<field_statistic>> most(Tx& tx, std::size_t count_max) const {
        std::vector<field_statistic> out;
        status outcome;
        auto const ok = scan_prefix(tx, as_bytes(prefix_), [&](bytes_view key, bytes_view raw) {
            auto s = decode(key.subspan(prefix_.size()), raw);
            if (!s) {
                outcome = s.error();
                return false;
            }
            out.push_back(std::move(*s));
            return true;
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        std::stable_sort(out.begin(), out.end(),
                         [](field_statistic const& a, field_statistic const& b) { return a.conflicts > b.conflicts; });
        if (out.size() > count_max) { out.resize(count_max); }
        return out;
    }
    /// For each field that people decided at least `least` times, the rule that agreed with them most, when it did so in
    /// at least `percent` (0 to 100); the most contested first.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<rule_advice>> advice(Tx& tx, std::uint64_t least = 10,
                                                          std::uint64_t percent = 90) const {
        auto const all = most(tx, (std::numeric_limits<std::size_t>::max)());
        if (!all) { return all.error(); }
        std::vector<rule_advice> out;
        for (field_statistic const& s : *all) {
            auto const best =
                std::max_element(s.rules.begin(), s.rules.end(),
                                 [](rule_record const& a, rule_record const& b) { return a.agreed < b.agreed; });
            bool const enough = s.decided >= least && best != s.rules.end() && !s.field.empty() && best->agreed != 0 &&
                                best->agreed >= s.decided - s.decided * (100 - percent) / 100;
            if (enough) { out.push_back({s.collection, s.field, best->by, s.decided, best->agreed}); }
        }
        return out;
    }

private:
    static rule_record& entry(field_statistic& s, rule by) {
        auto at = std::find_if(s.rules.begin(), s.rules.end(), [&](rule_record const& r) { return r.by >= by; });
        if (at == s.rules.end() || at->by != by) { at = s.rules.insert(at, {by, 0}); }
        return *at;
    }
    [[nodiscard]] bytes key(std::string_view collection, std::string_view field) const {
        bytes out = to_bytes(prefix_);
        append_key(out, collection, as_bytes(field));
        return out;
    }
    template <class Tx, class F>
    [[nodiscard]] status each(Tx& tx, conflict const& c, F&& change) const {
        std::string_view last{};
        for (std::size_t i = 0; i < c.fields.size(); ++i) {
            field_path const& path = c.fields[i].path;
            std::string_view const field = path.empty() ? std::string_view{} : std::string_view{path.front()};
            if (i != 0 && field == last) { continue; }  // two parts of one map
            last = field;
            bytes k = key(c.record.collection, field);
            bytes raw;
            auto found = tx.get(k, raw);
            if (!found) { return found.error(); }
            field_statistic s;
            if (!*found && !field.empty()) {
                auto const room = has_room(tx);
                if (!room) { return room.error(); }
                if (!*room) {
                    k = key(c.record.collection, {});
                    found = tx.get(k, raw);
                    if (!found) { return found.error(); }
                }
            }
            if (*found) {
                auto known = decode(bytes_view{k}.subspan(prefix_.size()), raw);
                if (!known) { return known.error(); }
                s = std::move(*known);
            }
            change(s, path);
            raw.clear();
            encode(raw, s);
            if (auto ok = tx.put(k, raw); !ok) { return ok; }
        }
        return {};
    }
    /// Cost: linear in the fields; asked for a new field only.
    template <class Tx>
    [[nodiscard]] result<bool> has_room(Tx& tx) const {
        std::size_t n = 0;
        auto const ok = scan_prefix(tx, as_bytes(prefix_), [&](bytes_view, bytes_view) { return ++n < fields_max_; });
        if (!ok) { return ok.error(); }
        return n < fields_max_;
    }
    static void encode(bytes& raw, field_statistic const& s) {
        cbor_writer out{raw};
        out.array(5 + 2 * s.rules.size());
        out.unsigned_integer(detail::conflict_form);
        out.unsigned_integer(s.conflicts);
        out.unsigned_integer(s.decided);
        out.unsigned_integer(s.automatic);
        out.unsigned_integer(s.undone);
        for (rule_record const& r : s.rules) {
            out.unsigned_integer(static_cast<std::uint64_t>(r.by));
            out.unsigned_integer(r.agreed);
        }
    }
    [[nodiscard]] static result<field_statistic> decode(bytes_view key, bytes_view raw) {
        constexpr failure bad{errc::corrupt, "statistic of conflicts"};
        if (key.empty()) { return bad; }
        auto const n = std::to_integer<std::size_t>(key[0]);
        if (n == 0 || key.size() < n + 1) { return bad; }
        field_statistic s;
        s.collection = std::string{as_text(key.subspan(1, n))};
        s.field = std::string{as_text(key.subspan(1 + n))};
        if (!valid_utf8(s.collection) || !valid_utf8(s.field)) { return bad; }
        cbor_reader in{raw};
        std::size_t const parts = in.array();
        if (in.unsigned_integer() != detail::conflict_form || parts < 5 || parts % 2 == 0) { return bad; }
        s.conflicts = in.unsigned_integer();
        s.decided = in.unsigned_integer();
        s.automatic = in.unsigned_integer();
        s.undone = in.unsigned_integer();
        for (std::size_t i = 5; i < parts && !in.failed(); i += 2) {
            rule_record r;
            r.by = static_cast<rule>(detail::bounded(in, 255, 1));
            r.agreed = in.unsigned_integer();
            if (!s.rules.empty() && s.rules.back().by >= r.by) { return bad; }
            s.rules.push_back(r);
        }
        if (!in.finish()) { return bad; }
        return s;
    }

    std::string prefix_;
    std::size_t fields_max_;
};

}  // namespace syncline::inline SYNCLINE_ABI
