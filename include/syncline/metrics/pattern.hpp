// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Patterns of users and fields as data ("this field conflicts on Mondays"), masked unless a host says otherwise.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How much is kept, and from when on a heap is a pattern.
struct pattern_options {
    std::size_t entries_max = 64;        ///< fields and users that are told apart; > 0
    std::uint64_t occurrences_min = 10;  ///< fewer are no pattern
    std::uint32_t share_min = 400;  ///< per mille of its occurrences that fall on one weekday; an even spread has 143
    std::uint64_t mask = 0;         ///< the key of the mask: random, kept on the device; zero is none and not valid
    friend constexpr bool operator==(pattern_options const&, pattern_options const&) = default;
};
[[nodiscard]] constexpr bool valid(pattern_options const& o) noexcept {
    return o.entries_max > 0 && o.share_min <= 1000 && o.mask != 0;
}

/// Whom an occurrence is about.
enum class pattern_subject : std::uint8_t { field, user };

/// Something that happens on one weekday more than on others.
struct weekday_pattern {
    pattern_subject subject = pattern_subject::field;
    std::string name{};        ///< empty where it is masked
    std::uint64_t masked = 0;  ///< the same subject, the same number, as long as the mask is kept
    std::size_t weekday = 0;   ///< 0 = Monday
    std::uint64_t on_weekday = 0;
    std::uint64_t occurrences = 0;
    std::uint64_t error = 0;  ///< at most so many of `occurrences` were another's
    friend bool operator==(weekday_pattern const&, weekday_pattern const&) = default;
};

/// Counts conflicts (or whatever a host counts) by subject and weekday.
///
/// Bounded: when the table is full, a new subject takes the place of the one with the fewest occurrences and inherits
/// their number as its error, so that what is frequent is never lost. A name is kept only where `is_public` says that it
/// may be: else a keyed hash of 64 bits stands for it, which tells subjects apart and gives nothing away to one who
/// doesn't have the key. Cost: O(entries_max) an occurrence; a hash.
/// Source: Metwally, Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams", 2005.
class weekday_patterns {
public:
    /// Precondition: valid(options): there is a key.
    explicit weekday_patterns(pattern_options options) : options_(options) { SYNCLINE_ASSERT(valid(options)); }

    /// It happened, at this local time. The last call about a subject says whether its name is public.
    void occurred(pattern_subject subject, std::string_view name, wall_time local, bool is_public = false) {
        std::uint64_t const masked = mask(subject, name);
        std::size_t at = 0;
        while (at < table_.size() && table_[at].masked != masked) { ++at; }
        if (at == table_.size()) {
            if (table_.size() < options_.entries_max) {
                table_.push_back({});
            } else {
                at = fewest();
            }
            std::uint64_t const inherited = table_[at].total;
            table_[at] = {subject, {}, masked, {}, inherited, inherited};
        }
        entry& e = table_[at];
        if (!is_public) {
            e.name.clear();
        } else if (e.name.empty()) {
            e.name = name;
        }
        ++e.total;
        ++e.days[weekday_of(local)];
    }
    /// What stands out, the most frequent first.
    [[nodiscard]] std::vector<weekday_pattern> found() const {
        std::vector<weekday_pattern> out;
        for (entry const& e : table_) {
            std::uint64_t const seen = e.total - e.error;
            if (seen < options_.occurrences_min) { continue; }
            for (std::size_t d = 0; d < 7; ++d) {
                if (e.days[d] < options_.occurrences_min / 2) { continue; }
                if (e.days[d] * 1000 < seen * options_.share_min) { continue; }
                out.push_back({e.subject, e.name, e.masked, d, e.days[d], e.total, e.error});
            }
        }
        std::sort(out.begin(), out.end(), [](weekday_pattern const& a, weekday_pattern const& b) {
            if (a.on_weekday != b.on_weekday) { return a.on_weekday > b.on_weekday; }
            return a.masked != b.masked ? a.masked < b.masked : a.weekday < b.weekday;
        });
        return out;
    }
    /// Half of every count is forgotten: call it every few weeks, so that what no longer holds fades.
    void fade() {
        for (entry& e : table_) {
            std::uint64_t seen = 0;
            for (std::uint64_t& n : e.days) { seen += n /= 2; }
            e.error /= 2;
            e.total = seen + e.error;
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return table_.size(); }

    /// Appends the table, one array of CBOR: [1, [[subject, name (empty where masked), mask, [counts from Monday on], error],
    /// …]]. The key isn't in it: keep that beside it, and apart from what leaves the device.
    void encode(cbor_writer& out) const {
        out.array(2);
        out.unsigned_integer(1);
        out.array(table_.size());
        for (entry const& e : table_) {
            out.array(5);
            out.unsigned_integer(static_cast<std::uint64_t>(e.subject));
            out.text(e.name);
            out.unsigned_integer(e.masked);
            out.array(e.days.size());
            for (std::uint64_t const n : e.days) { out.unsigned_integer(n); }
            out.unsigned_integer(e.error);
        }
    }
    /// Goes on from what `encode` wrote, under the same key. Errors, nothing changed: those of the reader, `unsupported` for
    /// another version, `malformed`, `limit` for more entries than the options allow.
    [[nodiscard]] status restore(bytes_view raw, decode_limits const& limits = {}) {
        cbor_reader in(raw, limits);
        if (in.array() != 2) { in.fail({errc::malformed, "not a table of patterns"}); }
        if (in.unsigned_integer() != 1 && !in.failed()) {
            return failure(errc::unsupported, "another version of a table of patterns");
        }
        std::vector<entry> table;
        std::size_t const entries = in.array();
        if (entries > options_.entries_max) { in.fail({errc::limit, "more than entries_max"}); }
        auto const count = [&in] {
            std::uint64_t const n = in.unsigned_integer();
            if (n > count_max) { in.fail({errc::malformed, "a count that nobody reached"}); }
            return n;
        };
        for (std::size_t i = 0; i < entries && !in.failed(); ++i) {
            if (in.array() != 5) { in.fail({errc::malformed, "not a subject"}); }
            entry e;
            std::uint64_t const subject = in.unsigned_integer();
            if (subject > 1) { in.fail({errc::malformed, "no such subject"}); }
            e.subject = static_cast<pattern_subject>(subject & 1U);
            e.name = in.text();
            e.masked = in.unsigned_integer();
            if (in.array() != e.days.size()) { in.fail({errc::malformed, "not a week"}); }
            for (std::uint64_t& n : e.days) { e.total += n = count(); }
            e.total += e.error = count();
            auto const same = [&](entry const& other) { return other.masked == e.masked; };
            if (std::any_of(table.begin(), table.end(), same)) { in.fail({errc::malformed, "a subject twice"}); }
            table.push_back(std::move(e));
        }
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        table_ = std::move(table);
        return {};
    }

    /// 0 = Monday.
    [[nodiscard]] static constexpr std::size_t weekday_of(wall_time local) noexcept {
        std::int64_t const w = (calendar_day(local) % 7 + 3) % 7;  // 1 January 1970 was a Thursday
        return static_cast<std::size_t>(w < 0 ? w + 7 : w);
    }

private:
    static constexpr std::uint64_t count_max = std::uint64_t{1} << 48;

    struct entry {
        pattern_subject subject = pattern_subject::field;
        std::string name{};
        std::uint64_t masked = 0;
        std::array<std::uint64_t, 7> days{};
        std::uint64_t total = 0;
        std::uint64_t error = 0;
    };
    [[nodiscard]] std::uint64_t mask(pattern_subject subject, std::string_view name) const {
        // SHA-256 with the key on both sides: sixty-four bits of it.
        bytes raw;
        append_u64(raw, options_.mask);
        raw.push_back(static_cast<std::byte>(subject));
        append(raw, as_bytes(name));
        append_u64(raw, options_.mask);
        return read_u64(sha256(raw));
    }
    [[nodiscard]] std::size_t fewest() const noexcept {
        std::size_t least = 0;
        for (std::size_t i = 1; i < table_.size(); ++i) {
            if (table_[i].total < table_[least].total) { least = i; }
        }
        return least;
    }

    pattern_options options_;
    std::vector<entry> table_;
};

}  // namespace syncline::inline SYNCLINE_ABI
