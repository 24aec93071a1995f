// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Rows told in part: what a replica holds already is left out, and a sum says whether it was the same.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Fewer bytes than these are not left out of a row: to say what a row has beside its fields has its price.
inline constexpr std::size_t row_parts_min = 32;

namespace detail {

/// The latest position at which a field, or anything inside of it, was written. `at` walks over marks in their order, as
/// the fields are asked for in theirs; `mark_of(m)` answers name, whether it is one inside, and position.
template <class It, class MarkOf>
[[nodiscard]] position last_written(std::string_view field, It& at, It const& end, position floor, MarkOf&& mark_of) {
    while (at != end && compare_keys(mark_of(*at).field, field) < 0) { ++at; }
    position own = floor;
    position inside = 0;
    for (; at != end && mark_of(*at).field == field; ++at) {
        auto const m = mark_of(*at);
        if (m.inside) {
            inside = (std::max)(inside, m.at);
        } else {
            own = m.at;
        }
    }
    return (std::max)(own, inside);
}
struct mark_view {
    std::string_view field;
    bool inside = false;
    position at = 0;
};

}  // namespace detail

/// Leaves out of rows the fields that were not written after a position. What is left out goes into a sum.
class row_cutter {
public:
    explicit row_cutter(position since) noexcept : since_(since) {}

    /// Appends the row, which is as `encode_row` writes it, without those fields. False, and nothing appended, where too
    /// little can be left out, and where the row is none of the first schema version or a tombstone.
    [[nodiscard]] bool cut(bytes_view encoded, bytes& out) {
        cbor_reader in{encoded};
        if (in.array() != 7) { return false; }
        position const version = in.unsigned_integer();
        (void)in.unsigned_integer();
        position const floor = version - in.unsigned_integer();
        (void)in.unsigned_integer();
        (void)in.unsigned_integer();
        if (floor > since_) { return false; }  // the record began after it
        marks_.clear();
        std::size_t const marked = in.array();
        for (std::size_t i = 0; i < marked / 4 && !in.failed(); ++i) {
            detail::mark_view m;
            m.inside = in.peek() == cbor_type::array;
            if (m.inside) { (void)in.array(); }
            m.field = in.text();
            if (m.inside) { (void)in.byte_string(); }
            m.at = version - in.unsigned_integer();
            (void)in.unsigned_integer();
            (void)in.unsigned_integer();
            marks_.push_back(m);
        }
        std::size_t const before_fields = in.position();
        if (in.failed() || in.peek() != cbor_type::map) { return false; }
        std::size_t const n = in.map();
        auto at = marks_.cbegin();
        auto const end = marks_.cend();
        parts_.clear();
        std::size_t told = 0;
        std::size_t left_out = 0;
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            std::size_t const begin = in.position();
            std::string_view const name = in.text();
            (void)in.skip();
            bool const tells =
                detail::last_written(name, at, end, floor, [](detail::mark_view const& m) { return m; }) > since_;
            std::size_t const size = in.position() - begin;
            told += tells ? 1 : 0;
            left_out += tells ? 0 : size;
            if (!parts_.empty() && parts_.back().tells == tells) {
                parts_.back().size += size;
            } else {
                parts_.push_back({tells, begin, size});
            }
        }
        if (in.failed() || left_out < row_parts_min) { return false; }
        append(out, encoded.first(before_fields));
        cbor_writer{out}.map(told);
        for (part const& p : parts_) {
            bytes_view const pairs = encoded.subspan(p.begin, p.size);
            if (p.tells) {
                append(out, pairs);
            } else {
                sum_.update(pairs);
            }
        }
        return true;
    }
    /// Of all that was left out.
    [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.finish(); }

private:
    struct part {
        bool tells = false;
        std::size_t begin = 0;
        std::size_t size = 0;
    };
    position since_;
    xxh3_64_hasher sum_{};
    std::vector<detail::mark_view> marks_{};
    std::vector<part> parts_{};
};

/// Puts back what a `row_cutter` left out, from the rows as they are held, in the cutter's order.
class row_completer {
public:
    explicit row_completer(position since) noexcept : since_(since) {}

    /// Gives `told` the fields of `held` that were not written after the position. The sum tells whether they are those
    /// that were left out. False for a tombstone, and for fields that are no canonical map.
    [[nodiscard]] bool complete(bytes_view held, row& told) {
        if (told.deleted || held.empty()) { return false; }
        cbor_reader old{held};
        cbor_reader fresh{told.fields};
        std::size_t olds = old.map();
        std::size_t news = fresh.map();
        auto at = told.exceptions.cbegin();
        auto const end = told.exceptions.cend();
        std::size_t count = 0;
        body_.clear();
        std::string_view name;       // of what is held
        std::string_view told_name;  // of what is told
        bytes_view pair;
        bytes_view told_pair;
        auto const next = [](cbor_reader& in, bytes_view all, std::size_t& left, std::string_view& key,
                             bytes_view& both) {
            if (left == 0) { return false; }
            --left;
            std::size_t const begin = in.position();
            key = in.text();
            (void)in.skip();
            both = all.subspan(begin, in.failed() ? 0 : in.position() - begin);
            return !in.failed();
        };
        // What is kept lies together, mostly: a run of pairs at a time.
        std::byte const* kept = nullptr;
        std::size_t kept_size = 0;
        auto const flush = [&] {
            if (kept_size == 0) { return; }
            bytes_view const run{kept, kept_size};
            sum_.update(run);
            append(body_, run);
            kept_size = 0;
        };
        bool holds = next(old, held, olds, name, pair);
        bool tells = next(fresh, told.fields, news, told_name, told_pair);
        while (holds || tells) {
            auto const order = !holds   ? std::strong_ordering::greater
                               : !tells ? std::strong_ordering::less
                                        : compare_keys(name, told_name);
            if (order < 0) {
                auto const written = detail::last_written(name, at, end, told.floor.at, [](field_mark const& m) {
                    return detail::mark_view{m.field, !m.path.empty(), m.mark.at};
                });
                // One that was written since, and is not told, is there no more.
                if (written <= since_) {
                    if (kept_size == 0 || kept + kept_size != pair.data()) {
                        flush();
                        kept = pair.data();
                    }
                    kept_size += pair.size();
                    ++count;
                }
            } else {
                flush();
                append(body_, told_pair);
                ++count;
            }
            if (order <= 0) { holds = next(old, held, olds, name, pair); }
            if (order >= 0) { tells = next(fresh, told.fields, news, told_name, told_pair); }
        }
        flush();
        if (old.failed() || fresh.failed()) { return false; }
        bytes fields;
        fields.reserve(body_.size() + 9);
        cbor_writer{fields}.map(count);
        append(fields, body_);
        told.fields = std::move(fields);
        return true;
    }
    /// Of all that was put back.
    [[nodiscard]] std::uint64_t sum() const noexcept { return sum_.finish(); }

private:
    position since_;
    xxh3_64_hasher sum_{};
    bytes body_{};
};

/// A change that a request made to one record: what its author can work out alone.
struct own_change {
    position before = 0;         ///< version of the row that it found; 0: there was none
    position after = 0;          ///< … that it left
    std::uint64_t sequence = 0;  ///< of the mutation
};

/// Which of a request's changes its author can make to what it holds, without being told the rows.
class own_changes {
public:
    /// `all` in the order of their positions; the author holds every row up to `since`.
    own_changes(std::vector<own_change> const& all, position since) : all_(all) {
        steps_.reserve(all.size());
        for (own_change const& c : all) {
            step s;
            if (c.before <= since) {
                s.known = true;
            } else if (std::size_t const i = find(c.before); i != steps_.size() && steps_[i].known) {
                s.known = true;
                s.earlier = i + 1;
            }
            steps_.push_back(s);
        }
    }

    /// Whether the row of this version comes of own changes to a row that is held; then these are told.
    [[nodiscard]] bool tell(position version) {
        std::size_t i = find(version);
        if (i == steps_.size() || !steps_[i].known) { return false; }
        for (++i; i != 0; i = steps_[i - 1].earlier) { steps_[i - 1].told = true; }
        ++rows_;
        return true;
    }
    [[nodiscard]] std::size_t rows() const noexcept { return rows_; }
    /// The sequences of those that are told, ascending.
    [[nodiscard]] std::vector<std::uint64_t> told() const {
        std::vector<std::uint64_t> out;
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            if (steps_[i].told) { out.push_back(all_[i].sequence); }
        }
        return out;
    }

private:
    struct step {
        bool known = false;
        bool told = false;
        std::size_t earlier = 0;  ///< 1 and up: of the own change that left the row which this one found
    };
    [[nodiscard]] std::size_t find(position after) const {
        auto const first = all_.begin();
        auto const last = first + static_cast<std::ptrdiff_t>(steps_.size());
        auto const at = std::lower_bound(first, last, after,
                                         [](own_change const& c, position version) { return c.after < version; });
        return at != last && at->after == after ? static_cast<std::size_t>(at - first) : steps_.size();
    }

    std::vector<own_change> const& all_;
    std::vector<step> steps_{};
    std::size_t rows_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
