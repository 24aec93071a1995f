// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Who may read which fields: groups of fields that are left out of what others are told.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/policy.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Fields of a collection that not everybody may read. A field that is in no group is everybody's.
struct masked_group {
    std::string collection{};
    std::vector<std::string> fields{};  ///< as the newest schema version names them
    std::string readers{};              ///< the role that reads them; and writes them, as far as the policy allows
    /// The role that may write them without reading them. What becomes of such a write, they are told. Empty: nobody.
    std::string writers{};
};

inline constexpr std::size_t masked_groups_max = 15;  ///< of one collection

/// Groups of fields, and who reads them. Groups of one collection are numbered from 1 in the order of the table; group 0
/// has all other fields. Sets of groups are bits.
///
/// A host that changes a role's holders need not say so: each principal's own fingerprint tells. Cost of a question: a
/// look at each group of the table, and a question to the role source.
class read_mask {
public:
    explicit read_mask(std::vector<masked_group> groups = {}, role_source roles = {})
        : groups_(std::move(groups)), roles_(roles) {}

    /// No field is in two groups, and no collection has more than `masked_groups_max`.
    [[nodiscard]] bool valid() const {
        for (std::size_t i = 0; i < groups_.size(); ++i) {
            if (groups_[i].collection.empty() || groups_of(groups_[i].collection) > masked_groups_max + 1) {
                return false;
            }
            for (std::size_t k = 0; k <= i; ++k) {
                if (groups_[k].collection != groups_[i].collection) { continue; }
                for (std::string const& f : groups_[i].fields) {
                    auto const times = std::count(groups_[k].fields.begin(), groups_[k].fields.end(), f);
                    if (times > (k == i ? 1 : 0)) { return false; }
                }
            }
        }
        return true;
    }
    /// How many groups a collection has, group 0 among them.
    [[nodiscard]] std::size_t groups_of(std::string_view collection) const {
        return 1 + static_cast<std::size_t>(std::count_if(groups_.begin(), groups_.end(), [&](masked_group const& g) {
                   return g.collection == collection;
               }));
    }
    /// The most groups that any collection has.
    [[nodiscard]] std::size_t groups_most() const {
        std::size_t most = 1;
        for (masked_group const& g : groups_) { most = (std::max)(most, groups_of(g.collection)); }
        return most;
    }
    [[nodiscard]] std::size_t group_of(std::string_view collection, std::string_view field) const {
        std::size_t n = 0;
        for (masked_group const& g : groups_) {
            if (g.collection != collection) { continue; }
            ++n;
            if (std::find(g.fields.begin(), g.fields.end(), field) != g.fields.end()) { return n; }
        }
        return 0;
    }
    [[nodiscard]] std::uint32_t readable(std::string_view principal, std::string_view collection) const {
        return bits(principal, collection, false);
    }
    /// The groups that the principal may write: those that they read, too.
    [[nodiscard]] std::uint32_t writable(std::string_view principal, std::string_view collection) const {
        return bits(principal, collection, true);
    }
    /// Whether something of a collection is hidden from the principal.
    [[nodiscard]] bool hides(std::string_view principal, std::string_view collection) const {
        return readable(principal, collection) != all_of(collection);
    }
    [[nodiscard]] std::uint32_t all_of(std::string_view collection) const { return (1U << groups_of(collection)) - 1U; }
    /// What the principal may read, as a number that differs from that of others; 0: everything.
    [[nodiscard]] std::uint64_t fingerprint(std::string_view principal) const {
        bytes told;
        bool hidden = false;
        for (masked_group const& g : groups_) {
            bool const reads = has(principal, g.readers);
            hidden = hidden || !reads;
            told.push_back(std::byte{reads});
        }
        if (!hidden) { return 0; }
        auto const table = print();
        append(told, table);
        auto const digest = sha256(told);
        return read_u64(bytes_view{digest}.first(8)) | 1U;
    }
    /// Of the table itself: its groups and their fields.
    [[nodiscard]] sha256_digest print() const {
        bytes raw;
        cbor_writer w{raw};
        for (masked_group const& g : groups_) {
            w.array(1 + g.fields.size());
            w.text(g.collection);
            for (std::string const& f : g.fields) { w.text(f); }
        }
        return sha256(raw);
    }

    /// The row as somebody sees it who reads the groups of `seen`: without the other fields and their marks, and as of
    /// `version`, the position at which one of those groups changed last.
    [[nodiscard]] row masked(row const& whole, std::string_view collection, std::uint32_t seen,
                             position version) const {
        row out = whole;
        out.version = version;
        std::erase_if(out.exceptions, [&](field_mark const& e) { return !in(collection, e.field, seen); });
        out.fields = of_groups(whole.fields, collection, seen);
        return out;
    }
    /// Puts what `masked` left out back into a row that was changed since: `after` is of it, `whole` what it was.
    [[nodiscard]] row unmasked(row after, row const& whole, std::string_view collection, std::uint32_t seen) const {
        // Of an earlier life, or of one that ended and left nothing, nothing is to be put back.
        if (after.life != whole.life || (after.deleted && after.fields.empty()) || whole.fields.empty()) {
            return after;
        }
        std::vector<detail::field_change> hidden;
        cbor_map_cursor at{whole.fields};
        while (at.next()) {
            if (in(collection, at.key(), seen)) { continue; }
            hidden.push_back({at.key(), true, at.value()});
        }
        std::vector<field_mark> marks;
        for (field_mark const& e : whole.exceptions) {
            if (!in(collection, e.field, seen)) { marks.push_back(e); }
        }
        if (!(after.floor == whole.floor)) {
            // Their mark was the floor's, and that is another now.
            for (detail::field_change const& f : hidden) {
                field_mark const one{std::string{f.field}, whole.floor};
                auto const place = std::lower_bound(marks.begin(), marks.end(), one, mark_before);
                bool const marked = place != marks.end() && place->field == one.field && place->path.empty();
                if (!marked) { marks.insert(place, one); }
            }
        }
        after.fields = detail::rewrite_fields(after.fields, hidden);
        std::vector<field_mark> both;
        std::merge(after.exceptions.begin(), after.exceptions.end(), marks.begin(), marks.end(),
                   std::back_inserter(both), mark_before);
        after.exceptions = std::move(both);
        return after;
    }
    /// The groups in which two states of a record differ, fields or marks; group 0 where none does, all where the record
    /// began or ended.
    [[nodiscard]] std::uint32_t changed(row const* before, row const& after, std::string_view collection) const {
        std::size_t const n = groups_of(collection);
        if (n == 1) { return 1; }
        if (before == nullptr || before->life != after.life || before->deleted != after.deleted) {
            return all_of(collection);
        }
        std::uint32_t differing = 0;
        for (std::size_t g = 0; g < n; ++g) {
            std::uint32_t const one = 1U << g;
            bool same = equal(of_groups(before->fields, collection, one), of_groups(after.fields, collection, one));
            if (same) { same = marks_of(*before, collection, one) == marks_of(after, collection, one); }
            if (!same) { differing |= one; }
        }
        return differing == 0 ? 1U : differing;
    }

private:
    [[nodiscard]] bool has(std::string_view principal, std::string const& role) const {
        return !role.empty() && roles_.has != nullptr && roles_.has(principal, role, roles_.data);
    }
    [[nodiscard]] bool in(std::string_view collection, std::string_view field, std::uint32_t set) const {
        return ((set >> group_of(collection, field)) & 1U) != 0;
    }
    [[nodiscard]] std::uint32_t bits(std::string_view principal, std::string_view collection, bool writes) const {
        std::uint32_t set = 1;
        std::uint32_t one = 1;
        for (masked_group const& g : groups_) {
            if (g.collection != collection) { continue; }
            one <<= 1U;
            if (has(principal, g.readers) || (writes && has(principal, g.writers))) { set |= one; }
        }
        return set;
    }
    [[nodiscard]] bytes of_groups(bytes_view fields, std::string_view collection, std::uint32_t set) const {
        if (fields.empty()) { return {}; }
        std::vector<detail::field_change> kept;
        cbor_map_cursor at{fields};
        while (at.next()) {
            if (in(collection, at.key(), set)) { kept.push_back({at.key(), true, at.value()}); }
        }
        return detail::rewrite_fields({}, kept);
    }
    [[nodiscard]] std::vector<field_mark> marks_of(row const& r, std::string_view collection, std::uint32_t set) const {
        std::vector<field_mark> kept;
        for (field_mark const& e : r.exceptions) {
            if (in(collection, e.field, set)) { kept.push_back(e); }
        }
        return kept;
    }

    std::vector<masked_group> groups_;
    role_source roles_;
};

}  // namespace syncline::inline SYNCLINE_ABI
