// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Finds the rows in which two replicas differ: one end asks, the other answers, both from what storage holds.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/reconcile/estimate.hpp>
#include <syncline/reconcile/fingerprint.hpp>
#include <syncline/reconcile/message.hpp>
#include <syncline/reconcile/row_source.hpp>
#include <syncline/reconcile/row_summary.hpp>
#include <syncline/reconcile/sketch.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Bounds of a pass. Each end has its own.
struct reconcile_options {
    std::size_t message_bytes_max = std::size_t{64} << 10;  ///< of an ask and of an answer; at least 2 KiB
    std::size_t cells_first = 4;                            ///< cells of the first answer
    std::size_t cells_max = sketch_cells_max;               ///< of the sketch that are asked for; 0 = ranges only
    std::uint32_t restarts_max = 3;         ///< times that the other end's rows may change under the sketch
    std::size_t list_rows = 32;             ///< a range of so many rows is answered by a list; at most 64
    std::size_t rows_max = 4096;            ///< own rows that one range's answer is compared with
    std::uint64_t exchanges_max = 100'000;  ///< of one pass; then it ends incomplete
    std::uint64_t queue_max = 100'000;      ///< ranges that wait; a peer that makes more ends the pass
    std::uint64_t found_max = 1'000'000;    ///< differences of one pass; then it ends incomplete
    friend constexpr bool operator==(reconcile_options const&, reconcile_options const&) = default;
};
[[nodiscard]] constexpr bool valid(reconcile_options const& o) noexcept {
    return o.message_bytes_max >= 2048 && o.cells_first > 0 && o.cells_max <= sketch_cells_max && o.list_rows > 0 &&
           o.list_rows <= reconcile_rows_max && o.rows_max > 0;
}

/// Where a pass is. Stored: append, never renumber.
enum class reconcile_phase : std::uint8_t {
    idle = 0,        ///< none was begun
    total = 1,       ///< asks whether everything is equal
    cells = 2,       ///< asks for cells of the sketch
    ranges = 3,      ///< asks for ranges
    complete = 4,    ///< over: the differences that there were are noted
    incomplete = 5,  ///< over: a limit was reached, or the other end has another key
};

/// How a pass goes on, as a value.
struct reconcile_progress {
    reconcile_phase phase = reconcile_phase::idle;
    std::uint64_t exchanges = 0;  ///< answers absorbed
    std::uint64_t bytes = 0;      ///< of asks answered and of answers
    std::uint64_t found = 0;      ///< differences noted, those settled since included
    std::uint64_t cells = 0;      ///< of the other end's sketch
    std::uint32_t restarts = 0;
    bool used_ranges = false;
    friend constexpr bool operator==(reconcile_progress const&, reconcile_progress const&) = default;
};

/// A row that only one end has, or that has another version at each.
struct row_difference {
    bytes key{};
    std::optional<std::uint64_t> here{};   ///< 64 bits of the hash of this end's row
    std::optional<std::uint64_t> there{};  ///< of the other end's, as it claims
    friend bool operator==(row_difference const&, row_difference const&) = default;
};

/// The answering end: what it says to an ask. It keeps no state of the asker's.
///
/// Errors: `malformed` and its kin for an ask that is none; what storage, rows and summary answer.
/// Cost, whatever the ask: at most `message_bytes_max` of answer; cells a read of their pages; each of at most 64
/// ranges O(log n) gets and a scan of a few leaves. The transaction is for writing: what waits in the summary's log
/// is folded in first, unless everything is equal, which takes one get.
template <storage_transaction Tx, row_source Rows>
[[nodiscard]] result<bytes> answer_reconcile(Tx& tx, Rows& rows, row_summary const& summary, bytes_view message,
                                             reconcile_options const& options = {});

/// The asking end. Holds its prefix, its options and a reference to the summary; the pass is in storage.
///
/// `begin`, then, until `ask` gives nothing: send what it gives, hand the answer to `absorb`, commit. After a crash
/// `ask` gives again what has not been answered. What differs is noted in the same transaction, and stays until it is
/// settled; each row was looked at once more here, the other end's part is its claim.
/// A pass that met rows which changed meanwhile may miss those: the next one finds them.
class reconciler {
public:
    using difference_visitor = function_ref<bool(row_difference const&)>;

    /// Preconditions: the prefix has 1 to 32 bytes and belongs to nothing else; the options are valid. The summary
    /// outlives it.
    reconciler(std::string_view prefix, row_summary const& summary, reconcile_options const& options = {})
        : prefix_(prefix), summary_(&summary), options_(options) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 32 && valid(options));
    }

    /// Begins a pass; one that is under way is given up, differences that were not settled are forgotten.
    template <storage_transaction Tx>
    [[nodiscard]] status begin(Tx& tx) const {
        auto before = load(tx);
        if (!before && before.error() != errc::corrupt) { return before.error(); }
        if (auto s = erase(tx, {}); !s) { return s; }
        pass p;
        // An answer that is still under way must not be taken for one of this pass.
        p.number = before ? next_number(before->number) : 1;
        p.at.phase = reconcile_phase::total;
        return store(tx, p);
    }

    /// What to send next; nothing when the pass is over. The same again as long as nothing was absorbed.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<bytes>> ask(Tx& tx) const {
        auto const p = load(tx);
        if (!p) { return p.error(); }
        auto a = ask_of(tx, *p);
        if (!a) { return a.error(); }
        if (!*a) { return std::optional<bytes>{}; }
        bytes out;
        encode(**a, out);
        return std::optional<bytes>{std::move(out)};
    }

    /// Takes an answer in. One to an ask that was answered already changes nothing.
    ///
    /// Errors, the pass as it was: `malformed` and its kin for an answer that is none or doesn't fit its ask.
    /// Cost: what the answer's size allows, and for the sketch O(cells log cells).
    /// An observer hears the bytes of ask and answer, and how many differences came to be known.
    template <storage_transaction Tx, row_source Rows, observer O = no_observer>
    [[nodiscard]] status absorb(Tx& tx, Rows& rows, bytes_view message, O&& told = {}) const {
        auto p = load(tx);
        if (!p) { return p.error(); }
        decode_limits limits;
        limits.bytes_max = 2 * options_.message_bytes_max;
        auto const a = decode_reconcile_answer(message, limits);
        if (!a) { return a.error(); }
        bool const over = p->at.phase == reconcile_phase::idle || p->at.phase >= reconcile_phase::complete;
        if (over || a->number != p->number) { return {}; }
        auto const asked = ask_of(tx, *p);
        if (!asked) { return asked.error(); }
        bytes sent;
        encode(**asked, sent);
        std::uint64_t const found = p->at.found;
        if (auto s = take(tx, rows, *p, **asked, *a); !s) { return s; }
        p->at.bytes += sent.size() + message.size();
        ++p->at.exchanges;
        p->number = next_number(p->number);
        bool const goes_on = p->at.phase < reconcile_phase::complete;
        bool const too_much = p->at.exchanges >= options_.exchanges_max || p->at.found >= options_.found_max ||
                              p->waiting > options_.queue_max;
        if (goes_on && too_much) { p->at.phase = reconcile_phase::incomplete; }
        if (auto s = store(tx, *p); !s) { return s; }
        told.counted(metric_counter::bytes_up, sent.size());
        told.counted(metric_counter::bytes_down, message.size());
        told.counted(metric_counter::rows_differing, p->at.found > found ? p->at.found - found : 0);
        return {};
    }

    /// Visits the differences in the order of keys. False from the visitor stops. Cost: a scan.
    template <storage_transaction Tx>
    [[nodiscard]] status differences(Tx& tx, difference_visitor visit) const {
        status failed;
        bytes const lead = key('f');
        auto const row = [&](bytes_view k, bytes_view v) {
            row_difference d;
            d.key = to_bytes(k.subspan(lead.size()));
            auto const flags = v.empty() ? 0U : std::to_integer<unsigned>(v[0]);
            std::size_t const size = 1 + ((flags & 1U) != 0 ? 8U : 0U) + ((flags & 2U) != 0 ? 8U : 0U);
            if (flags == 0 || flags > 3 || v.size() != size) {
                failed = failure{errc::corrupt, "difference of a reconciliation"};
                return false;
            }
            if ((flags & 1U) != 0) { d.here = read_u64(v.subspan(1)); }
            if ((flags & 2U) != 0) { d.there = read_u64(v.last(8)); }
            return visit(d);
        };
        if (auto s = scan_prefix(tx, lead, row); !s) { return s; }
        return failed;
    }
    /// Forgets a difference that was dealt with.
    template <storage_transaction Tx>
    [[nodiscard]] status settle(Tx& tx, bytes_view row_key) const {
        return tx.erase(found_key(row_key));
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<reconcile_progress> progress(Tx& tx) const {
        auto const p = load(tx);
        if (!p) { return p.error(); }
        return p->at;
    }

private:
    static constexpr std::uint64_t format = 1;

    struct pass {
        reconcile_progress at{};
        std::uint64_t number = 0;   // of the exchange that is under way
        std::uint64_t want = 0;     // cells to have next
        std::uint64_t stamp = 0;    // of the rows that the cells are of
        std::uint64_t there = 0;    // how many those are
        std::uint64_t kept = 0;     // cells that the other end has
        std::uint64_t waiting = 0;  // ranges
        bool probed = false;
    };

    /// Sixteen bits: an answer that is 65,536 exchanges late is none.
    [[nodiscard]] static constexpr std::uint64_t next_number(std::uint64_t n) noexcept { return (n + 1) & 0xFFFF; }

    // Prefix, then 'm': the pass; 'c' and eight bytes: cells as they came, from that index on; 'q' and a key: a range
    // to ask about, the value its end; 'f' and a key: a difference.

    [[nodiscard]] bytes key(char what) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(what));
        return out;
    }
    [[nodiscard]] bytes key(char what, bytes_view rest) const {
        bytes out = key(what);
        append(out, rest);
        return out;
    }
    [[nodiscard]] bytes found_key(bytes_view row_key) const { return key('f', row_key); }
    [[nodiscard]] bytes cells_key(std::uint64_t first) const {
        bytes out = key('c');
        append_u64(out, first);
        return out;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<pass> load(Tx& tx) const {
        bytes value;
        auto const found = tx.get(key('m'), value);
        if (!found) { return found.error(); }
        pass p;
        if (!*found) { return p; }
        cbor_reader in(value);
        bool const shaped = in.array() == 14 && in.unsigned_integer() == format;
        std::uint64_t const phase = in.unsigned_integer();
        p.at.phase = static_cast<reconcile_phase>(phase & 7);
        std::uint64_t restarts = 0;
        for (std::uint64_t* const n : {&p.at.exchanges, &p.at.bytes, &p.at.found, &p.at.cells, &restarts, &p.number,
                                       &p.want, &p.stamp, &p.there, &p.kept, &p.waiting}) {
            *n = in.unsigned_integer();
        }
        std::uint64_t const flags = in.unsigned_integer();
        p.probed = (flags & 1) != 0;
        p.at.used_ranges = (flags & 2) != 0;
        p.at.restarts = static_cast<std::uint32_t>(restarts & 0xFFFFFFFF);
        bool const fits = phase <= 5 && flags <= 3 && p.want <= sketch_cells_max && p.at.cells <= sketch_cells_max;
        if (!in.finish() || !shaped || !fits) { return failure{errc::corrupt, "pass of a reconciliation"}; }
        return p;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, pass const& p) const {
        bytes value;
        cbor_writer out(value);
        out.array(14);
        out.unsigned_integer(format);
        out.unsigned_integer(static_cast<std::uint64_t>(p.at.phase));
        for (std::uint64_t const n :
             {p.at.exchanges, p.at.bytes, p.at.found, p.at.cells, static_cast<std::uint64_t>(p.at.restarts), p.number,
              p.want, p.stamp, p.there, p.kept, p.waiting}) {
            out.unsigned_integer(n);
        }
        out.unsigned_integer((p.probed ? 1U : 0U) | (p.at.used_ranges ? 2U : 0U));
        return tx.put(key('m'), value);
    }
    /// Erases what begins with the prefix and `more`.
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, std::string_view more) const {
        std::vector<bytes> keys;
        auto const note = [&](bytes_view k, bytes_view) {
            keys.push_back(to_bytes(k));
            return true;
        };
        bytes lead = to_bytes(prefix_);
        append(lead, as_bytes(more));
        if (auto s = scan_prefix(tx, lead, note); !s) { return s; }
        for (bytes const& k : keys) {
            if (auto s = tx.erase(k); !s) { return s; }
        }
        return {};
    }

    // ---- Asking

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<reconcile_ask>> ask_of(Tx& tx, pass const& p) const {
        reconcile_ask a;
        a.number = p.number;
        a.key_check = summary_->hasher().key_check();
        switch (p.at.phase) {
            case reconcile_phase::total: {
                auto const s = summary_->state(tx);
                if (!s) { return s.error(); }
                a.kind = reconcile_kind::total;
                a.total = s->total;
                return std::optional{std::move(a)};
            }
            case reconcile_phase::cells:
                a.kind = reconcile_kind::cells;
                a.first = p.at.cells;
                a.count = p.want - p.at.cells;
                a.probes = !p.probed && p.at.cells != 0;
                return std::optional{std::move(a)};
            case reconcile_phase::ranges: break;
            default: return std::optional<reconcile_ask>{};
        }
        a.kind = reconcile_kind::ranges;
        bytes const lead = key('q');
        std::size_t size = 32;
        auto const row = [&](bytes_view k, bytes_view v) {
            size += k.size() - lead.size() + v.size() + 6;
            if (!a.ranges.empty() && size > options_.message_bytes_max) { return false; }
            a.ranges.push_back({to_bytes(k.subspan(lead.size())), to_bytes(v)});
            return a.ranges.size() < reconcile_ranges_max;
        };
        if (auto s = scan_prefix(tx, lead, row); !s) { return s.error(); }
        if (a.ranges.empty()) { return failure{errc::corrupt, "ranges of a reconciliation"}; }
        return std::optional{std::move(a)};
    }

    // ---- Absorbing

    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status take(Tx& tx, Rows& rows, pass& p, reconcile_ask const& asked,
                              reconcile_answer const& a) const {
        if (a.kind == reconcile_kind::other_key) {
            p.at.phase = reconcile_phase::incomplete;
            return {};
        }
        if (a.kind == reconcile_kind::total && asked.kind == reconcile_kind::total) {
            p.at.phase = reconcile_phase::complete;
            return {};
        }
        if (a.kind == reconcile_kind::cells && asked.kind != reconcile_kind::ranges) {
            return take_cells(tx, rows, p, asked, a);
        }
        if (a.kind == reconcile_kind::ranges && asked.kind == reconcile_kind::ranges) {
            return take_ranges(tx, rows, p, asked, a);
        }
        return failure{errc::malformed, "answer to another ask"};
    }

    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status take_cells(Tx& tx, Rows& rows, pass& p, reconcile_ask const& asked,
                                    reconcile_answer const& a) const {
        if (auto s = summary_->fold(tx, rows); !s) { return s; }
        auto const own = summary_->state(tx);
        if (!own) { return own.error(); }
        bool const same_rows = p.at.cells == 0 || a.stamp == p.stamp;
        if (!same_rows) {
            // Cells of other rows don't go with those that are here.
            if (auto s = erase(tx, "c"); !s) { return s; }
            p.at.cells = 0;
            p.probed = false;
            if (p.at.restarts++ >= options_.restarts_max) { return to_ranges(tx, p); }
            p.want = options_.cells_first;
            return {};
        }
        std::size_t const usable = usable_cells(own->cells, a.kept);
        if (!(a.long_rows == own->long_rows) || usable == 0) { return to_ranges(tx, p); }
        if (a.first != p.at.cells) { return failure{errc::malformed, "cells that were not asked for"}; }
        std::vector<sketch_cell> cells;
        std::size_t const room = usable > p.at.cells ? usable - static_cast<std::size_t>(p.at.cells) : 0;
        std::size_t const most = asked.kind == reconcile_kind::total ? room : static_cast<std::size_t>(asked.count);
        if (auto s = load_peer_cells(tx, p, cells); !s) { return s; }
        if (auto s = decode_cells(a.cells, static_cast<std::size_t>(a.first), a.rows, most, cells); !s) { return s; }
        if (cells.size() == p.at.cells) { return to_ranges(tx, p); }
        if (auto s = tx.put(cells_key(a.first), a.cells); !s) { return s; }
        p.stamp = a.stamp;
        p.there = a.rows;
        p.kept = a.kept;
        p.at.cells = cells.size();
        p.at.phase = reconcile_phase::cells;
        cells.resize((std::min)(cells.size(), usable));
        std::size_t const have = cells.size();
        if (auto s = subtract_own(tx, *own, cells); !s) { return s; }
        sketch_difference d;
        if (decode_sketch(cells, summary_->hasher(), d)) {
            std::vector<row_difference> found;
            bool fair = true;
            if (auto s = look(rows, d, found, fair); !s) { return s; }
            if (!fair) { return to_ranges(tx, p); }
            return finish_cells(tx, p, found);
        }
        std::size_t next = have + have / 2 + 8;
        if (asked.probes && !p.probed) {
            p.probed = true;
            auto const estimate = estimate_from(tx, *own, a);
            if (!estimate) { return estimate.error(); }
            next = (std::max)(*estimate, next);
        } else if (!p.probed) {
            next = 4 * have;
        }
        // Cells stop being worth it when lists of all rows would cost no more. Where all that there are cost a small
        // part of that, they are tried though the estimate says that they hardly do.
        std::uint64_t const all = saturating_add(a.rows, own->rows);
        bool const hopeless = next > usable + usable / 2 && usable > all / 32;
        if (have == usable || next / 2 > all || hopeless) { return to_ranges(tx, p); }
        p.want = (std::min)(next, usable);
        return {};
    }
    [[nodiscard]] std::size_t usable_cells(std::size_t own, std::uint64_t kept) const noexcept {
        std::size_t const both = kept < own ? static_cast<std::size_t>(kept) : own;
        return (std::min)(both, options_.cells_max);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status load_peer_cells(Tx& tx, pass const& p, std::vector<sketch_cell>& out) const {
        bytes value;
        while (out.size() < p.at.cells) {
            auto const found = tx.get(cells_key(out.size()), value);
            if (!found) { return found.error(); }
            std::size_t const before = out.size();
            auto const s = decode_cells(value, before, p.there, static_cast<std::size_t>(p.at.cells) - before, out);
            if (!*found || !s || out.size() == before) { return failure{errc::corrupt, "cells of a reconciliation"}; }
        }
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status subtract_own(Tx& tx, summary_state const& own, std::vector<sketch_cell>& cells) const {
        std::vector<sketch_cell> mine;
        if (auto s = summary_->cells(tx, own, cells.size(), mine); !s) { return s; }
        for (std::size_t i = 0; i < cells.size(); ++i) { cells[i].subtract(mine[i]); }
        return {};
    }
    /// Cells that are likely to do. More than there are when the sketch can't.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> estimate_from(Tx& tx, summary_state const& own, reconcile_answer const& a) const {
        std::size_t const probes = probe_count(usable_cells(own.cells, a.kept));
        if (a.probes.size() / 2 < probes || probes == 0) { return std::size_t{0}; }
        std::size_t equal = 0;
        std::vector<sketch_cell> page;
        for (std::size_t i = 0; i < probes; ++i) {
            std::size_t const at = probe_at(i);
            if (i % probes_per_octave == 0) {
                page.clear();
                if (auto s = summary_->cells_at(tx, own, at, probes_per_octave, page); !s) { return s.error(); }
            }
            auto const theirs =
                (std::to_integer<unsigned>(a.probes[2 * i]) << 8) | std::to_integer<unsigned>(a.probes[2 * i + 1]);
            equal += theirs == probe_of(page[i % probes_per_octave]) ? 1U : 0U;
        }
        if (equal == 0) { return 4 * sketch_cells_max; }
        return estimated_cells(equal, probes).value_or(0);
    }

    /// Looks at this end's row of each item. Not fair: an item that this end's sketch can't have had.
    template <row_source Rows>
    [[nodiscard]] status look(Rows& rows, sketch_difference const& d, std::vector<row_difference>& out,
                              bool& fair) const {
        for (bool const theirs : {true, false}) {
            for (sketch_item const& item : theirs ? d.added : d.removed) {
                auto k = sketch_item_key(item);
                if (!k) {
                    fair = false;
                    return {};
                }
                row_difference r;
                r.key = std::move(*k);
                if (theirs) { r.there = item.tag; }
                out.push_back(std::move(r));
            }
        }
        std::sort(out.begin(), out.end(), [](row_difference const& a, row_difference const& b) {
            auto const c = compare(a.key, b.key);
            return c != 0 ? c < 0 : a.there.has_value() && !b.there.has_value();
        });
        std::size_t kept = 0;
        for (std::size_t i = 0; i < out.size(); ++i) {
            if (kept != 0 && equal(out[kept - 1].key, out[i].key)) { continue; }
            row_difference& r = out[i];
            if (auto s = look_here(rows, r); !s) { return s; }
            if (r.here == r.there) { continue; }
            if (kept != i) { out[kept] = std::move(r); }
            ++kept;
        }
        out.resize(kept);
        return {};
    }
    template <row_source Rows>
    [[nodiscard]] status look_here(Rows& rows, row_difference& r) const {
        bytes version;
        auto const found = rows.get(r.key, version);
        if (!found) { return found.error(); }
        if (*found) { r.here = summary_->hasher().row(r.key, version).high; }
        return {};
    }
    template <storage_transaction Tx>
    [[nodiscard]] status finish_cells(Tx& tx, pass& p, std::vector<row_difference> const& found) const {
        for (row_difference const& d : found) {
            if (auto s = note(tx, p, d); !s) { return s; }
        }
        p.at.phase = reconcile_phase::complete;
        return erase(tx, "c");
    }
    template <storage_transaction Tx>
    [[nodiscard]] status note(Tx& tx, pass& p, row_difference const& d) const {
        bytes value{static_cast<std::byte>((d.here ? 1U : 0U) | (d.there ? 2U : 0U))};
        if (d.here) { append_u64(value, *d.here); }
        if (d.there) { append_u64(value, *d.there); }
        ++p.at.found;
        return tx.put(found_key(d.key), value);
    }

    template <storage_transaction Tx>
    [[nodiscard]] status to_ranges(Tx& tx, pass& p) const {
        if (auto s = erase(tx, "c"); !s) { return s; }
        p.at.phase = reconcile_phase::ranges;
        p.at.used_ranges = true;
        p.waiting = 1;
        return tx.put(key('q'), {});
    }
    template <storage_transaction Tx>
    [[nodiscard]] status queue(Tx& tx, pass& p, bytes_view from, bytes_view to) const {
        ++p.waiting;
        return tx.put(key('q', from), to);
    }

    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status take_ranges(Tx& tx, Rows& rows, pass& p, reconcile_ask const& asked,
                                     reconcile_answer const& a) const {
        if (a.ranges.empty() || a.ranges.size() > asked.ranges.size()) {
            return failure{errc::malformed, "answers to ranges"};
        }
        for (std::size_t i = 0; i < a.ranges.size(); ++i) {
            if (!fits(asked.ranges[i], a.ranges[i])) { return failure{errc::malformed, "answer to a range"}; }
        }
        if (auto s = summary_->fold(tx, rows); !s) { return s; }
        auto const own = summary_->state(tx);
        if (!own) { return own.error(); }
        for (std::size_t i = 0; i < a.ranges.size(); ++i) {
            asked_range const& r = asked.ranges[i];
            if (auto s = tx.erase(key('q', r.from)); !s) { return s; }
            p.waiting -= p.waiting != 0 ? 1 : 0;
            auto const s = a.ranges[i].is_list ? take_list(tx, rows, p, r, a.ranges[i])
                                               : take_parts(tx, rows, p, *own, r, a.ranges[i]);
            if (!s) { return s; }
        }
        if (p.waiting == 0) { p.at.phase = reconcile_phase::complete; }
        return {};
    }
    /// Whether bounds and rows lie in the range, in order.
    [[nodiscard]] static bool fits(asked_range const& r, range_answer const& a) {
        auto const inside = [&](bytes const& k) {
            return compare(k, r.from) >= 0 && (r.to.empty() || compare(k, r.to) < 0);
        };
        if (a.is_list) {
            bool const ends = a.through.empty() || (inside(a.through) && !equal(a.through, r.from));
            bool const rows = a.rows.empty() || (inside(a.rows.front().key) && inside(a.rows.back().key));
            bool const before = a.through.empty() || a.rows.empty() || compare(a.rows.back().key, a.through) < 0;
            return ends && rows && before;
        }
        bytes const* last = &r.from;
        for (bytes const& b : a.bounds) {
            if (!inside(b) || compare(*last, b) >= 0) { return false; }
            last = &b;
        }
        return true;
    }
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status take_parts(Tx& tx, Rows& rows, pass& p, summary_state const& own, asked_range const& r,
                                    range_answer const& a) const {
        for (std::size_t i = 0; i < a.sums.size(); ++i) {
            bytes const& from = i == 0 ? r.from : a.bounds[i - 1];
            bytes const& to = i < a.bounds.size() ? a.bounds[i] : r.to;
            auto const mine = summary_->sum(tx, rows, own, {from, to});
            if (!mine) { return mine.error(); }
            if (mine->sum == a.sums[i]) { continue; }
            if (auto s = queue(tx, p, from, to); !s) { return s; }
        }
        return {};
    }
    template <storage_transaction Tx, row_source Rows>
    [[nodiscard]] status take_list(Tx& tx, Rows& rows, pass& p, asked_range const& r, range_answer const& a) const {
        bytes_view const to = a.through.empty() ? bytes_view{r.to} : bytes_view{a.through};
        bytes stopped;  // where own rows became too many for one answer
        std::size_t seen = 0;
        std::size_t next = 0;
        std::vector<row_difference> found;
        auto const only_there = [&](bytes_view before) {
            for (; next < a.rows.size() && (before.empty() || compare(a.rows[next].key, before) < 0); ++next) {
                found.push_back({a.rows[next].key, std::nullopt, a.rows[next].tag});
            }
        };
        auto const row = [&](bytes_view k, bytes_view version) {
            only_there(k);
            if (++seen > options_.rows_max) {
                stopped = to_bytes(k);
                return false;
            }
            row_difference d{to_bytes(k), summary_->hasher().row(k, version).high, std::nullopt};
            if (next < a.rows.size() && equal(a.rows[next].key, k)) { d.there = a.rows[next++].tag; }
            if (d.here != d.there) { found.push_back(std::move(d)); }
            return true;
        };
        if (auto s = rows.scan({r.from, to}, row); !s) { return s; }
        if (stopped.empty()) { only_there({}); }
        for (row_difference const& d : found) {
            if (auto s = note(tx, p, d); !s) { return s; }
        }
        if (!stopped.empty()) { return queue(tx, p, stopped, r.to); }
        if (!a.through.empty()) { return queue(tx, p, a.through, r.to); }
        return {};
    }

    std::string prefix_;
    row_summary const* summary_;
    reconcile_options options_;
};

namespace detail {

/// One answer to an ask, while its room lasts.
template <storage_transaction Tx, row_source Rows>
class reconcile_answerer {
public:
    reconcile_answerer(Tx& tx, Rows& rows, row_summary const& summary, reconcile_options const& options)
        : tx_(tx), rows_(rows), summary_(summary), options_(options) {}

    [[nodiscard]] result<bytes> operator()(reconcile_ask const& ask) {
        answer_.number = ask.number;
        if (ask.key_check != summary_.hasher().key_check()) {
            answer_.kind = reconcile_kind::other_key;
            return encoded();
        }
        auto s = summary_.state(tx_);
        if (!s) { return s.error(); }
        if (ask.kind == reconcile_kind::total && ask.total == s->total) {
            answer_.kind = reconcile_kind::total;
            return encoded();
        }
        if (auto done = summary_.fold(tx_, rows_); !done) { return done.error(); }
        s = summary_.state(tx_);
        if (!s) { return s.error(); }
        if (ask.kind == reconcile_kind::ranges) { return ranges(*s, ask); }
        bool const whole = ask.kind == reconcile_kind::total;
        return cells(*s, whole ? 0 : ask.first, whole ? options_.cells_first : ask.count, ask.probes);
    }

private:
    [[nodiscard]] bytes encoded() const {
        bytes out;
        encode(answer_, out);
        return out;
    }

    [[nodiscard]] result<bytes> cells(summary_state const& s, std::uint64_t first, std::uint64_t count, bool probes) {
        answer_.kind = reconcile_kind::cells;
        answer_.stamp = s.total.low;
        answer_.rows = s.rows;
        answer_.long_rows = s.long_rows;
        answer_.kept = (std::min)(s.cells, options_.cells_max);
        answer_.first = first;
        // No cell is smaller than its tag, its check and a byte: more than so many never fit.
        std::uint64_t const fit = (std::min<std::uint64_t>)(count, options_.message_bytes_max / 17);
        std::uint64_t const left = first < answer_.kept ? answer_.kept - first : 0;
        auto n = static_cast<std::size_t>((std::min)(fit, left));
        std::vector<sketch_cell> page;
        if (n != 0) {
            if (auto done = summary_.cells_at(tx_, s, static_cast<std::size_t>(first), n, page); !done) {
                return done.error();
            }
        }
        std::size_t const room = options_.message_bytes_max - 256;
        for (;; n = n * 3 / 4) {
            answer_.cells.clear();
            encode_cells(std::span<sketch_cell const>{page}.first(n), static_cast<std::size_t>(first), s.rows,
                         answer_.cells);
            if (answer_.cells.size() <= room) { break; }
        }
        if (probes) {
            if (auto done = add_probes(s); !done) { return done.error(); }
        }
        return encoded();
    }
    [[nodiscard]] status add_probes(summary_state const& s) {
        std::size_t const probes = probe_count(static_cast<std::size_t>(answer_.kept));
        std::vector<sketch_cell> page;
        for (std::size_t i = 0; i < probes; i += probes_per_octave) {
            page.clear();
            if (auto done = summary_.cells_at(tx_, s, probe_at(i), probes_per_octave, page); !done) { return done; }
            for (sketch_cell const& c : page) {
                answer_.probes.push_back(static_cast<std::byte>(probe_of(c) >> 8));
                answer_.probes.push_back(static_cast<std::byte>(probe_of(c) & 0xFF));
            }
        }
        return {};
    }

    [[nodiscard]] result<bytes> ranges(summary_state const& s, reconcile_ask const& ask) {
        answer_.kind = reconcile_kind::ranges;
        bytes piece;
        std::size_t left = options_.message_bytes_max - 64;
        for (asked_range const& r : ask.ranges) {
            bool const first = answer_.ranges.empty();
            // A bound may take as many bytes as a key may have: the first answer always fits, the others may wait.
            std::size_t const parts =
                first && left < reconcile_parts_max * (reconcile_key_bytes_max + 32) ? 2 : reconcile_parts_max;
            range_answer a;
            if (auto done = range(s, r, parts, left, a); !done) { return done.error(); }
            piece.clear();
            encode(a, piece);
            if (!first && piece.size() > left) { break; }
            left -= (std::min)(left, piece.size());
            answer_.ranges.push_back(std::move(a));
            if (left < 1024) { break; }
        }
        return encoded();
    }
    [[nodiscard]] status range(summary_state const& s, asked_range const& r, std::size_t parts, std::size_t left,
                               range_answer& out) {
        auto const all = summary_.sum(tx_, rows_, s, {r.from, r.to});
        if (!all) { return all.error(); }
        if (all->rows > options_.list_rows) {
            auto cut = summary_.divide(tx_, rows_, s, {r.from, r.to}, all->rows, parts);
            if (!cut) { return cut.error(); }
            if (cut->size() > 1 && cut->size() <= reconcile_parts_max) {
                for (std::size_t i = 0; i < cut->size(); ++i) {
                    if (i != 0) { out.bounds.push_back(std::move((*cut)[i].from)); }
                    out.sums.push_back((*cut)[i].sum);
                }
                return {};
            }
        }
        out.is_list = true;
        std::size_t size = 64;
        return rows_.scan({r.from, r.to}, [&](bytes_view key, bytes_view version) {
            size += key.size() + 12;
            bool const full = out.rows.size() == reconcile_rows_max || (!out.rows.empty() && size > left);
            if (full) {
                out.through = to_bytes(key);
                return false;
            }
            out.rows.push_back({to_bytes(key), summary_.hasher().row(key, version).high});
            return true;
        });
    }

    Tx& tx_;
    Rows& rows_;
    row_summary const& summary_;
    reconcile_options const& options_;
    reconcile_answer answer_{};
};

}  // namespace detail

template <storage_transaction Tx, row_source Rows>
[[nodiscard]] result<bytes> answer_reconcile(Tx& tx, Rows& rows, row_summary const& summary, bytes_view message,
                                             reconcile_options const& options) {
    SYNCLINE_ASSERT(valid(options));
    decode_limits limits;
    limits.bytes_max = 2 * options.message_bytes_max;
    auto const ask = decode_reconcile_ask(message, limits);
    if (!ask) { return ask.error(); }
    return detail::reconcile_answerer<Tx, Rows>(tx, rows, summary, options)(*ask);
}

}  // namespace syncline::inline SYNCLINE_ABI
