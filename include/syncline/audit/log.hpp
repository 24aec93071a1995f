// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `audit_log`: an append-only log over any storage that shows any edit, and, against a head kept elsewhere, any
/// truncation and fork; with redaction, and with old segments sealed and dropped.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/archive.hpp>
#include <syncline/audit/entry.hpp>
#include <syncline/audit/head.hpp>
#include <syncline/audit/merkle.hpp>
#include <syncline/audit/tree.hpp>
#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Limits of a log.
struct audit_options {
    std::size_t entry_bytes_max = std::size_t{1} << 20;  ///< of a leaf and its private part; larger is `errc::limit`
    std::size_t redactions_max = 4096;                   ///< intervals of indices in one redaction's entry; > 0
    friend constexpr bool operator==(audit_options const&, audit_options const&) = default;
};
[[nodiscard]] constexpr bool valid(audit_options const& o) noexcept {
    return o.redactions_max > 0 && o.entry_bytes_max >= 1024 && o.entry_bytes_max <= value_bytes_min_max;
}

/// How far a log goes.
struct audit_extent {
    id128 log{};
    std::uint64_t size = 0;    ///< entries that were ever appended
    std::uint64_t first = 0;   ///< those before it were dropped
    std::uint64_t sealed = 0;  ///< those before it may be dropped
    friend bool operator==(audit_extent const&, audit_extent const&) = default;
};

/// What a verification found wrong. Values travel: append, never renumber.
enum class audit_fault : std::uint8_t {
    missing = 1,     ///< no entry at an index that has to have one
    damaged = 2,     ///< a row that is no entry
    moved = 3,       ///< an entry that says another index than its place
    chain = 4,       ///< an entry that doesn't name the one before
    leaf = 5,        ///< an entry that is not what the tree has there
    tile = 6,        ///< a tile of the tree that isn't there, or isn't what its leaves make it; at its first leaf
    opening = 7,     ///< a private part that does not open its commitment, or whose record's key is gone or changed
    hidden = 8,      ///< a private part that is gone, and no redaction says so
    record = 9,      ///< a record's row that doesn't lead to its newest entry; at the entry that it names
    stray = 10,      ///< a row that belongs to nothing
    truncated = 11,  ///< shorter than a head that was given; at its size
    forked = 12,     ///< of that size it was another; at its size
    other_log = 13,  ///< a head that was given is another log's
    state = 14,      ///< the log's own row says other than its entries
    returned = 15,   ///< a private part or value that is there, and a redaction says that it was destroyed
};
[[nodiscard]] constexpr char const* name(audit_fault f) noexcept {
    switch (f) {
        case audit_fault::missing: return "missing";
        case audit_fault::damaged: return "damaged";
        case audit_fault::moved: return "moved";
        case audit_fault::chain: return "chain broken";
        case audit_fault::leaf: return "not what the tree has";
        case audit_fault::tile: return "tree damaged";
        case audit_fault::opening: return "private part changed";
        case audit_fault::hidden: return "private part gone";
        case audit_fault::record: return "record's row changed";
        case audit_fault::stray: return "stray row";
        case audit_fault::truncated: return "truncated";
        case audit_fault::forked: return "forked";
        case audit_fault::other_log: return "another log";
        case audit_fault::state: return "state changed";
        case audit_fault::returned: return "redacted part is back";
    }
    return "unknown fault";
}

struct audit_finding {
    audit_fault fault{};
    std::uint64_t index = 0;
    friend bool operator==(audit_finding const&, audit_finding const&) = default;
};

/// What was verified, and what was wrong with it.
struct audit_report {
    std::uint64_t entries = 0;              ///< looked at
    std::uint64_t redacted = 0;             ///< of them, those without their private part
    std::uint64_t redacted_fields = 0;      ///< personal fields without their value, in the others
    std::vector<audit_finding> findings{};  ///< the first of them, as many as asked for
    std::uint64_t more = 0;                 ///< findings beyond these
    [[nodiscard]] bool sound() const noexcept { return findings.empty() && more == 0; }
};

/// What the redaction of a field did.
struct audit_field_redaction {
    std::uint64_t destroyed = 0;  ///< values that were there and are gone
    /// Entries that hold a field of that name as a masked one: behind the entry's own commitment, which only `redact`
    /// destroys. Their values are still there.
    std::uint64_t shared = 0;
    friend bool operator==(audit_field_redaction const&, audit_field_redaction const&) = default;
};

/// What to verify.
struct audit_verification {
    std::uint64_t first = 0;  ///< from here, or from the first that was not dropped
    std::uint64_t last = (std::numeric_limits<std::uint64_t>::max)();  ///< to before here, or to the end
    /// The tiles and the records' rows too, and that nothing is back that was redacted: then `first` and `last` should
    /// leave nothing out.
    bool whole = true;
    std::size_t findings_max = 100;
    std::span<audit_head const> anchors{};  ///< heads of earlier, from where the writer of this storage can't reach
};

/// Called with each entry of a scan. False stops it.
using audit_visitor = function_ref<bool(audit_entry const& entry)>;

/// An append-only log, in the caller's transaction. Holds its prefix and options and nothing else.
///
/// Any number of objects and processes may work on one log; storage serialises them. After an error of the storage or
/// `errc::corrupt` in a call that writes, roll the transaction back. `errc::not_found` where `open` never was.
template <digest_function H = sha256_function>
class audit_log {
public:
    /// Precondition: valid(options); the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit audit_log(audit_options options = {}, std::string_view prefix = "a", H hash = {})
        : options_(options), prefix_(prefix), tiles_(std::string{prefix} + 't'), hash_(std::move(hash)) {
        SYNCLINE_ASSERT(valid(options));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    // ---- Writing ------------------------------------------------------------------------------------------------

    /// Makes the log where there is none, under a new name. Where there is one, nothing changes. `errc::corrupt` where rows
    /// of one are left without the log's own.
    /// Cost: a get; the first time two scans of a row, and a put.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status open(Tx& tx, wall_time now, G& random) const {
        bytes value;
        auto const found = tx.get(state_key(), value);
        if (!found) { return found.error(); }
        if (*found) {
            auto const there = load(tx);
            return there ? status{} : status{there.error()};
        }
        auto const rows = any_row(tx);
        if (!rows) { return rows.error(); }
        if (*rows) { return failure{errc::corrupt, "an audit log without its own row"}; }
        state s;
        s.log = make_id(now, random);
        return store(tx, s);
    }

    /// Appends an entry; its index. What is masked is kept beside it, behind a commitment keyed by the record.
    ///
    /// `random` makes a key for a record that has none: it must be the operating system's, or one that nobody guesses.
    /// Errors: `errc::invalid` for what `check` refuses, and for kinds that the log writes itself; `errc::limit`;
    /// then nothing was written. Those of the storage, `errc::corrupt`.
    /// Cost: a get and two puts, with a private part one more each; one hash for the leaf, amortised one for the tree,
    /// with a private part two more, and one for each personal field. Amortised 64 bytes of tree.
    template <storage_transaction Tx, random_source G, observer O = no_observer>
    [[nodiscard]] result<std::uint64_t> append(Tx& tx, audit_item const& item, G& random, O&& told = {}) const {
        return append_all(tx, std::span<audit_item const>{&item, 1}, random, told);
    }
    /// The same for many, whose state is read and written once; the index of the first. All or none is checked before
    /// anything is written.
    template <storage_transaction Tx, random_source G, observer O = no_observer>
    [[nodiscard]] result<std::uint64_t> append_all(Tx& tx, std::span<audit_item const> items, G& random,
                                                   O&& told = {}) const {
        for (audit_item const& item : items) {
            if (auto const ok = check(item); !ok) { return ok.error(); }
            if (item.kind == audit_kind::redaction || item.kind == audit_kind::archival) {
                return failure{errc::invalid, "kind that the log writes itself"};
            }
            if (size_of(item) > options_.entry_bytes_max) { return failure{errc::limit, "audit entry"}; }
        }
        bytes stored;
        stored.reserve(state_bytes_usual);
        auto s = load(tx, stored);
        if (!s) { return s.error(); }
        std::uint64_t const first = s->tree.size();
        writer w{items.empty() ? 0 : size_of(items[0])};
        for (audit_item const& item : items) {
            if (auto const ok = put(tx, *s, item, random, w); !ok) { return ok.error(); }
        }
        if (items.empty()) { return first; }
        if (auto const ok = store(tx, *s, stored); !ok) { return ok.error(); }
        told.counted(metric_counter::audit_entries, items.size());
        return first;
    }

    /// Destroys the private parts of all entries of a record, and the key of their commitments; what was destroyed is
    /// an entry itself. The tree stays as it is, and every proof. How many private parts there were.
    ///
    /// `context` says who asked (actor, device, stamp); its kind, record and fields are not looked at. The record's id
    /// appears nowhere after it, only the indices. An empty collection and id mean what was logged without them.
    /// Secure deletion below the storage is the storage's. Copies in archives: `redact_archive`.
    /// Cost: a get and a put for each entry of the record.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] result<std::uint64_t> redact(Tx& tx, std::string_view collection, bytes_view record,
                                               audit_item const& context, G& random) const {
        if (collection.size() > collection_bytes_max || record.size() > record_id_bytes_max) {
            return failure{errc::invalid, "record"};
        }
        if (auto const ok = check_context(context); !ok) { return ok.error(); }
        auto s = load(tx);
        if (!s) { return s.error(); }
        row_key const key = record_row_key(collection, record);
        auto const row = load_record(tx, key);
        if (!row) { return row.error(); }
        if (!*row) { return std::uint64_t{0}; }
        interval_set gone;
        bytes value;
        for (std::uint64_t link = (*row)->last; link > s->first;) {
            std::uint64_t const index = link - 1;
            auto const e = load_present(tx, index, value);
            if (!e) { return e.error(); }
            if (!is_of(e->entry, collection, record, link)) { return failure{errc::corrupt, "link of an audit entry"}; }
            link = e->entry.opened->link;
            value.resize(e->leaf_end);
            if (auto const ok = tx.put(entry_key(index), value); !ok) { return ok.error(); }
            gone.add(index);
        }
        if (auto const ok = tx.erase(key); !ok) { return ok.error(); }
        if (auto const ok = log_redaction(tx, *s, gone, context, random); !ok) { return ok.error(); }
        if (auto const ok = store(tx, *s); !ok) { return ok.error(); }
        return gone.count();
    }

    /// Destroys the values and salts of one personal field in all entries of a record; what was destroyed is an entry
    /// itself. Everything else of the entries stays, the tree, every proof, and openings that were given away before.
    ///
    /// The redaction says which entries and at which place among their personal fields, never the field's name.
    /// `context` as of `redact`. Look at `shared`: an entry that was logged with the field masked keeps it. What is
    /// logged later is not concerned. Copies in archives: `redact_archive_fields`.
    /// Errors: `errc::invalid` for a record or field that can't be; those of the storage, `errc::corrupt`.
    /// Cost: a get for each entry of the record, a put for each value.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] result<audit_field_redaction> redact_field(Tx& tx, std::string_view collection, bytes_view record,
                                                             std::string_view field, audit_item const& context,
                                                             G& random) const {
        bool const possible = collection.size() <= collection_bytes_max && record.size() <= record_id_bytes_max &&
                              !field.empty() && field.size() <= field_name_bytes_max;
        if (!possible) { return failure{errc::invalid, "field of a record"}; }
        if (auto const ok = check_context(context); !ok) { return ok.error(); }
        auto s = load(tx);
        if (!s) { return s.error(); }
        auto const row = load_record(tx, record_row_key(collection, record));
        if (!row) { return row.error(); }
        audit_field_redaction done;
        std::vector<interval_set> gone;
        bytes value;
        for (std::uint64_t link = *row ? (*row)->last : 0; link > s->first;) {
            std::uint64_t const index = link - 1;
            auto const e = load_present(tx, index, value);
            if (!e) { return e.error(); }
            if (!is_of(e->entry, collection, record, link)) { return failure{errc::corrupt, "link of an audit entry"}; }
            audit_entry::secret const& secret = *e->entry.opened;
            link = secret.link;
            auto const masked = map_find(secret.masked, field);
            if (masked && *masked) { ++done.shared; }
            std::size_t place = 0;
            while (place < secret.personal.size() && secret.personal[place].name != field) { ++place; }
            if (place == secret.personal.size() || !secret.personal[place].item) { continue; }
            bytes const left = without_fields(secret, bytes_view{value}.subspan(e->fields_at),
                                              [&](std::size_t at) { return at == place; });
            value.resize(e->fields_at);
            append_bytes(value, left);
            if (auto const ok = tx.put(entry_key(index), value); !ok) { return ok.error(); }
            if (gone.size() <= place) { gone.resize(place + 1); }
            gone[place].add(index);
            ++done.destroyed;
        }
        if (done.destroyed == 0) { return done; }
        if (auto const ok = log_field_redaction(tx, *s, gone, context, random); !ok) { return ok.error(); }
        if (auto const ok = store(tx, *s); !ok) { return ok.error(); }
        return done;
    }

    // ---- Reading ------------------------------------------------------------------------------------------------

    /// Cost: a get.
    template <storage_transaction Tx>
    [[nodiscard]] result<audit_extent> extent(Tx& tx) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        return audit_extent{s->log, s->tree.size(), s->first, s->sealed};
    }
    /// The head now, to sign or anchor. Cost: a get, and a node hash for each level.
    template <storage_transaction Tx>
    [[nodiscard]] result<audit_head> head(Tx& tx, timestamp stamp) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        return head_of(tx, *s, s->tree.size(), stamp);
    }
    /// The head at an earlier size, as it must have been. `errc::not_found` for one that is not reached yet.
    template <storage_transaction Tx>
    [[nodiscard]] result<audit_head> head_at(Tx& tx, std::uint64_t size, timestamp stamp) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (size > s->tree.size()) { return failure{errc::not_found, "size of the log"}; }
        return head_of(tx, *s, size, stamp);
    }

    /// One entry; nothing when it was dropped or is not there yet. Errors: `errc::corrupt`. Cost: two gets.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<audit_entry>> find(Tx& tx, std::uint64_t index) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (index < s->first || index >= s->tree.size()) { return std::optional<audit_entry>{}; }
        bytes value;
        auto e = load_present(tx, index, value);
        if (!e) { return e.error(); }
        return std::optional<audit_entry>{std::move(e->entry)};
    }
    /// The entries of [first, last) that are here, in order. Errors: `errc::corrupt` at one that doesn't decode.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::uint64_t first, std::uint64_t last, audit_visitor visit) const {
        status failed;
        auto const row = [&](bytes_view key, bytes_view value) {
            auto const e = parse_row(value);
            if (!e || key.size() != prefix_.size() + 9) {
                failed = failure{errc::corrupt, "audit entry"};
                return false;
            }
            return visit(e->entry);
        };
        if (first >= last) { return {}; }
        if (auto const ok = tx.scan({entry_key(first), entry_end(last)}, row); !ok) { return ok; }
        return failed;
    }
    /// The entries of a record, the newest first. Errors: `errc::invalid` for a key that no record can have; those of the
    /// storage, `errc::corrupt`. Cost: a get for each.
    template <storage_transaction Tx>
    [[nodiscard]] status scan_record(Tx& tx, record_key const& record, audit_visitor visit) const {
        if (record.collection.size() > collection_bytes_max || record.id.size() > record_id_bytes_max) {
            return failure{errc::invalid, "record"};
        }
        auto const s = load(tx);
        if (!s) { return s.error(); }
        auto const row = load_record(tx, record_row_key(record.collection, record.id));
        if (!row) { return row.error(); }
        bytes value;
        for (std::uint64_t link = *row ? (*row)->last : 0; link > s->first;) {
            auto const e = load_present(tx, link - 1, value);
            if (!e) { return e.error(); }
            if (!e->entry.opened || e->entry.opened->link >= link) {
                return failure{errc::corrupt, "link of an audit entry"};
            }
            if (!visit(e->entry)) { break; }
            link = e->entry.opened->link;
        }
        return {};
    }

    /// That an entry stands in the tree of `size` entries; 0: the tree as it is.
    /// Errors: `errc::not_found` for an entry or a tree that isn't there. Cost: a get for each four levels.
    template <storage_transaction Tx>
    [[nodiscard]] result<inclusion_proof> prove_inclusion(Tx& tx, std::uint64_t index, std::uint64_t size = 0) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        std::uint64_t const at = size == 0 ? s->tree.size() : size;
        if (at > s->tree.size() || index >= at) { return failure{errc::not_found, "entry of the log"}; }
        return s->tree.prove_inclusion(tx, tiles_, hash_, index, at);
    }
    /// That the tree of `first` entries is the beginning of that of `second`; 0 for `second`: the tree as it is.
    template <storage_transaction Tx>
    [[nodiscard]] result<consistency_proof> prove_consistency(Tx& tx, std::uint64_t first,
                                                              std::uint64_t second = 0) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        std::uint64_t const at = second == 0 ? s->tree.size() : second;
        if (at > s->tree.size() || first > at) { return failure{errc::not_found, "size of the log"}; }
        return s->tree.prove_consistency(tx, tiles_, hash_, first, at);
    }
    /// An entry's leaf data, to give away: its hash with the prefix is what an inclusion proof speaks of.
    template <storage_transaction Tx>
    [[nodiscard]] result<bytes> leaf_data(Tx& tx, std::uint64_t index) const {
        bytes value;
        auto const e = load_entry(tx, index, value);
        if (!e) { return e.error(); }
        value.resize(e->leaf_end);
        value.erase(value.begin());
        return value;
    }
    /// What lets somebody check this entry's private part, and no other's. Nothing where there is none any more.
    /// Errors: `errc::not_found`, `errc::corrupt`.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<audit_opening>> opening(Tx& tx, std::uint64_t index) const {
        bytes value;
        auto const e = load_entry(tx, index, value);
        if (!e) { return e.error(); }
        return opening_of(tx, *e, value);
    }

    // ---- Verifying ----------------------------------------------------------------------------------------------

    /// Looks for anything that is not as it was written. Errors are the storage's, `errc::invalid` for a range that ends
    /// before it begins, and `errc::not_found` where no row is left of a log that was opened, nor a head was given: what is
    /// wrong is in the report.
    ///
    /// Without anchors this finds every edit, reorder and gap of one who can't compute hashes, and of one who can,
    /// everything but a log written anew from some entry on, or cut there; anchors find that.
    /// Cost: linear; an entry costs its leaf's hash and a node's, with a private part two more and a get.
    template <storage_transaction Tx>
    [[nodiscard]] result<audit_report> verify(Tx& tx, audit_verification const& what = {}) const {
        if (what.first > what.last) { return failure{errc::invalid, "range of entries"}; }
        auto const s = load(tx);
        if (!s) {
            bool damaged = s.error() == errc::corrupt;
            if (s.error() == errc::not_found) {
                auto const rows = any_row(tx);
                if (!rows) { return rows.error(); }
                damaged = *rows || !what.anchors.empty();
            }
            if (!damaged) { return s.error(); }
            audit_report r;
            r.findings.push_back({audit_fault::damaged, 0});
            return r;
        }
        verifier v{*this, *s, what};
        if (auto const ok = v.run(tx); !ok) { return ok.error(); }
        return std::move(v.report);
    }
    /// How the log stands to a head that was kept elsewhere. Errors: the storage's, `errc::corrupt` for a tree that
    /// can't be read.
    template <storage_transaction Tx>
    [[nodiscard]] result<anchor_finding> compare(Tx& tx, audit_head const& anchor) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (anchor.log != s->log) { return anchor_finding::other_log; }
        if (anchor.size > s->tree.size()) { return anchor_finding::truncated; }
        auto const root = s->tree.root(tx, tiles_, hash_, anchor.size);
        if (!root) { return root.error(); }
        return *root == anchor.root ? anchor_finding::extends : anchor_finding::forked;
    }

    // ---- Retention ----------------------------------------------------------------------------------------------

    /// The entries of [first, last) as an archive that proves itself against the head as it is; with their private parts,
    /// or with commitments only.
    /// Errors: `errc::not_found` for a range that isn't here or is empty, `errc::limit` when it would exceed
    /// `bytes_max`. Cost: linear, all in memory.
    template <storage_transaction Tx>
    [[nodiscard]] result<bytes> export_segment(Tx& tx, std::uint64_t first, std::uint64_t last, timestamp stamp,
                                               bool with_private = false,
                                               std::size_t bytes_max = decode_limits{}.bytes_max) const {
        auto const s = load(tx);
        if (!s) { return s.error(); }
        if (first < s->first || first >= last || last > s->tree.size()) {
            return failure{errc::not_found, "segment of the log"};
        }
        archive_header h;
        auto const now = head_of(tx, *s, s->tree.size(), stamp);
        if (!now) { return now.error(); }
        auto left = s->tree.frontier(tx, tiles_, hash_, first);
        if (!left) { return left.error(); }
        auto right = s->tree.prove_consistency(tx, tiles_, hash_, last, s->tree.size());
        if (!right) { return right.error(); }
        h = {*now, first, last, std::move(*left), std::move(*right)};
        bytes out;
        cbor_writer w{out};
        write_archive_header(w, h);
        bytes value;
        for (std::uint64_t index = first; index < last; ++index) {
            auto const e = load_present(tx, index, value);
            if (!e) { return e.error(); }
            std::optional<audit_opening> opened;
            if (with_private) {
                auto o = opening_of(tx, *e, value);
                if (!o) { return o.error(); }
                opened = std::move(*o);
            }
            bytes_view const leaf = bytes_view{value}.subspan(1, e->leaf_end - 1);
            write_archive_entry(w, leaf, opened ? &*opened : nullptr);
            if (out.size() > bytes_max) { return failure{errc::limit, "archive"}; }
        }
        return out;
    }
    /// Says that an archive of the oldest entries that are not sealed yet was stored away, so that `drop` may drop them.
    /// The saying is an entry, with the archive's own digest.
    ///
    /// Errors: `errc::invalid` for an archive that isn't of this log or doesn't begin where the last one ended; those
    /// of `read_archive`. Then nothing changed.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status seal(Tx& tx, bytes_view archive, audit_item const& context, G& random,
                              decode_limits const& limits = {}) const {
        auto s = load(tx);
        if (!s) { return s.error(); }
        auto const seen = verify_archive(hash_, archive, limits);
        if (!seen) { return seen.error(); }
        bool const ours = seen->head.log == s->log && seen->first == (s->sealed > s->first ? s->sealed : s->first) &&
                          seen->last <= s->tree.size();
        if (!ours) { return failure{errc::invalid, "archive of another segment"}; }
        auto const root = s->tree.root(tx, tiles_, hash_, seen->last);
        if (!root) { return root.error(); }
        if (*root != seen->root_after) { return failure{errc::invalid, "archive of another log"}; }
        s->sealed = seen->last;
        bytes first;
        cbor_writer{first}.unsigned_integer(seen->first);
        bytes digest;
        cbor_writer{digest}.byte_string(hash_(archive));
        std::array<audit_field, 2> const open{audit_field{"first", first}, audit_field{"archive", digest}};
        if (auto const ok = put_own(tx, *s, audit_kind::archival, seen->last, open, context, random); !ok) {
            return ok;
        }
        return store(tx, *s);
    }
    /// Drops sealed entries, at most `most`, the oldest first; how many. Their hashes stay, 64 bytes an entry, so that
    /// all proofs go on. Call it until it answers 0. Cost: an entry: a get and an erase, with a private part one more.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> drop(Tx& tx, std::uint64_t most) const {
        auto s = load(tx);
        if (!s) { return s.error(); }
        std::uint64_t dropped = 0;
        bytes value;
        for (; s->first < s->sealed && dropped < most; ++dropped) {
            auto const e = load_present(tx, s->first, value);
            if (!e) { return e.error(); }
            if (e->entry.opened) {
                row_key const key = record_row_key(e->entry.collection, e->entry.opened->record);
                auto const row = load_record(tx, key);
                if (!row) { return row.error(); }
                if (*row && (*row)->last == s->first + 1) {  // nothing of the record is left
                    if (auto const ok = tx.erase(key); !ok) { return ok.error(); }
                }
            }
            if (auto const ok = tx.erase(entry_key(s->first)); !ok) { return ok.error(); }
            ++s->first;
        }
        if (dropped != 0) {
            if (auto const ok = store(tx, *s); !ok) { return ok.error(); }
        }
        return dropped;
    }

private:
    struct state {
        id128 log{};
        std::uint64_t first = 0;
        std::uint64_t sealed = 0;
        sha256_digest last{};  ///< hash of the last leaf; means nothing while there is none
        merkle_tree tree{};
    };
    struct record_row {
        audit_record_key key{};
        std::uint64_t last = 0;  ///< index of the newest entry, and one
    };
    struct stored_entry {
        audit_entry entry{};
        std::size_t leaf_end = 0;   ///< of the row: prefix and leaf
        std::size_t secret_at = 0;  ///< where the private part begins; the row's end: there is none
        std::size_t fields_at = 0;  ///< where it ends, and what opens its personal fields begins, if it has any

        [[nodiscard]] bytes_view secret_in(bytes_view row) const noexcept {
            return row.subspan(secret_at, fields_at - secret_at);
        }
        [[nodiscard]] bytes_view fields_in(bytes_view row) const noexcept { return row.subspan(fields_at); }
    };
    /// Buffers of a call that appends: allocated once, however many entries it has.
    struct writer {
        bytes row;
        bytes secret;
        bytes fields;
        std::vector<sha256_digest> commitments;
        explicit writer(std::size_t room) { row.reserve(room); }
    };
    /// Of most trees of up to a million leaves; small enough to be had from an allocator's quickest list.
    static constexpr std::size_t state_bytes_usual = 1'024;

    // ---- Keys and rows ------------------------------------------------------------------------------------------

    /// A key, where it is made: no row's is longer.
    class row_key {
    public:
        row_key(std::string_view prefix, char space) noexcept {
            add(as_bytes(prefix));
            add(static_cast<std::byte>(space));
        }
        row_key& add(bytes_view more) noexcept {
            SYNCLINE_ASSERT(more.size() <= room_.size() - size_);
            if (!more.empty()) { std::memcpy(room_.data() + size_, more.data(), more.size()); }
            size_ += more.size();
            return *this;
        }
        row_key& add(std::byte one) noexcept { return add(bytes_view{&one, 1}); }
        row_key& add(std::uint64_t n) noexcept {
            for (unsigned shift = 64; shift != 0; shift -= 8) { add(static_cast<std::byte>(n >> (shift - 8))); }
            return *this;
        }
        operator bytes_view() const noexcept { return {room_.data(), size_}; }

    private:
        std::array<std::byte, 64 + 2 + collection_bytes_max + record_id_bytes_max> room_;
        std::size_t size_ = 0;
    };
    [[nodiscard]] row_key key_of(char space) const noexcept { return {prefix_, space}; }
    static void append_bytes(bytes& out, bytes_view more) { syncline::append(out, more); }
    [[nodiscard]] row_key state_key() const noexcept { return key_of('c'); }
    [[nodiscard]] row_key entry_key(std::uint64_t index) const noexcept { return key_of('e').add(index); }
    [[nodiscard]] row_key entry_end(std::uint64_t last) const noexcept {
        return last == (std::numeric_limits<std::uint64_t>::max)() ? key_of('f') : entry_key(last);
    }
    /// Precondition: both within the limits of a record's key.
    [[nodiscard]] row_key record_row_key(std::string_view collection, bytes_view record) const noexcept {
        return key_of('k').add(static_cast<std::byte>(collection.size())).add(as_bytes(collection)).add(record);
    }

    /// Whether there is an entry, or a key of a record's.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> any_row(Tx& tx) const {
        bool any = false;
        auto const seen = [&](bytes_view, bytes_view) {
            any = true;
            return false;
        };
        for (auto const& [from, to] : {std::pair{'e', 'f'}, std::pair{'k', 'l'}}) {
            if (auto const ok = tx.scan({key_of(from), key_of(to)}, seen); !ok) { return ok.error(); }
        }
        return any;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<state> load(Tx& tx) const {
        bytes value;
        return load(tx, value);
    }
    /// `value` is what is stored, and room to store it again.
    template <storage_transaction Tx>
    [[nodiscard]] result<state> load(Tx& tx, bytes& value) const {
        auto const found = tx.get(state_key(), value);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "no log was opened"}; }
        failure const damaged{errc::corrupt, "state of the audit log"};
        cbor_reader in{value};
        state s;
        if (in.array() != 7) { return damaged; }
        std::uint64_t const format = in.unsigned_integer();
        if (!in.failed() && format != audit_format) { return failure{errc::unsupported, "format of the audit log"}; }
        bytes_view const log = in.byte_string();
        if (log.size() != s.log.bytes.size()) { return damaged; }
        std::memcpy(s.log.bytes.data(), log.data(), log.size());
        s.first = in.unsigned_integer();
        s.sealed = in.unsigned_integer();
        s.last = read_digest(in);
        s.tree = merkle_tree::decode(in);
        if (!in.finish() || s.first > s.tree.size() || s.sealed > s.tree.size()) { return damaged; }
        return s;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, state const& s) const {
        bytes value;
        return store(tx, s, value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status store(Tx& tx, state const& s, bytes& value) const {
        value.resize(96 + s.tree.encoded_bytes_max());
        cbor_room_writer w{value};
        w.array(7);
        w.unsigned_integer(audit_format);
        w.byte_string(s.log.bytes);
        w.unsigned_integer(s.first);
        w.unsigned_integer(s.sealed);
        w.byte_string(s.last);
        s.tree.encode(w);
        return tx.put(state_key(), bytes_view{value}.first(w.size()));
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<audit_head> head_of(Tx& tx, state const& s, std::uint64_t size, timestamp stamp) const {
        auto const root = s.tree.root(tx, tiles_, hash_, size);
        if (!root) { return root.error(); }
        return audit_head{s.log, size, *root, stamp};
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record_row>> load_record(Tx& tx, bytes_view key) const {
        bytes value;
        return load_record(tx, key, value);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record_row>> load_record(Tx& tx, bytes_view key, bytes& value) const {
        auto const found = tx.get(key, value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<record_row>{}; }
        return record_row_from(value);
    }
    [[nodiscard]] static std::array<std::byte, 40> record_bytes(record_row const& r) noexcept {
        std::array<std::byte, 40> out;
        std::memcpy(out.data(), r.key.data(), r.key.size());
        for (std::size_t i = 0; i != 8; ++i) { out[32 + i] = static_cast<std::byte>(r.last >> (56 - 8 * i)); }
        return out;
    }
    [[nodiscard]] static result<std::optional<record_row>> record_row_from(bytes_view value) {
        record_row r;
        if (value.size() != 40) { return failure{errc::corrupt, "record of the audit log"}; }
        std::memcpy(r.key.data(), value.data(), r.key.size());
        r.last = read_u64(value.subspan(32));
        return std::optional<record_row>{r};
    }

    /// Whether the entry that a record's chain leads to by `link` is that record's.
    [[nodiscard]] static bool is_of(audit_entry const& e, std::string_view collection, bytes_view record,
                                    std::uint64_t link) noexcept {
        return e.opened && e.collection == collection && equal(e.opened->record, record) && e.opened->link < link;
    }
    /// A row: the leaf with its prefix, then the private part if there is one, then what opens its personal fields if
    /// there are any.
    [[nodiscard]] result<stored_entry> parse_row(bytes_view value) const {
        failure const damaged{errc::corrupt, "audit entry"};
        if (value.empty() || value[0] != merkle_leaf_prefix) { return damaged; }
        cbor_reader in{value.subspan(1)};
        stored_entry e;
        e.entry = decode_leaf(in);
        if (in.failed()) { return in.error().code == errc::unsupported ? in.error() : damaged; }
        e.leaf_end = 1 + in.position();
        e.secret_at = value.size();
        e.fields_at = value.size();
        if (!in.at_end()) {
            if (!e.entry.commitment) { return damaged; }
            e.secret_at = e.leaf_end;
            e.entry.opened = decode_secret(in);
            if (in.failed()) { return damaged; }
            e.fields_at = 1 + in.position();
            if (!e.entry.opened->personal.empty()) { decode_field_openings(in, *e.entry.opened); }
        }
        if (!in.finish()) { return damaged; }
        return e;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<stored_entry> load_entry(Tx& tx, std::uint64_t index, bytes& value) const {
        auto const found = tx.get(entry_key(index), value);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::not_found, "audit entry"}; }
        auto e = parse_row(value);
        if (e && e->entry.index != index) { return failure{errc::corrupt, "audit entry out of its place"}; }
        return e;
    }
    /// The same of one that must be there: it is between the first and the last, or a record's chain leads to it.
    template <storage_transaction Tx>
    [[nodiscard]] result<stored_entry> load_present(Tx& tx, std::uint64_t index, bytes& value) const {
        auto e = load_entry(tx, index, value);
        if (!e && e.error() == errc::not_found) { return failure{errc::corrupt, "audit entry that is missing"}; }
        return e;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<audit_opening>> opening_of(Tx& tx, stored_entry const& e,
                                                                  bytes_view value) const {
        if (!e.entry.opened) { return std::optional<audit_opening>{}; }
        auto const row = load_record(tx, record_row_key(e.entry.collection, e.entry.opened->record));
        if (!row) { return row.error(); }
        if (!*row) { return failure{errc::corrupt, "key of an audit record"}; }
        return std::optional<audit_opening>{audit_opening{audit_salt(hash_, (*row)->key, e.entry.index),
                                                          to_bytes(e.secret_in(value)), to_bytes(e.fields_in(value))}};
    }

    /// An upper bound of what an item takes.
    [[nodiscard]] static std::size_t size_of(audit_item const& item) noexcept {
        std::size_t n = 256 + item.actor.size() + item.collection.size() + item.record.size();
        for (auto const fields : {item.open, item.masked}) {
            for (audit_field const& f : fields) { n += f.name.size() + f.item.size() + 9; }
        }
        // Name, commitment; name, salt and value.
        for (audit_field const& f : item.personal) { n += 2 * f.name.size() + f.item.size() + 80; }
        return n;
    }

    // ---- Appending ----------------------------------------------------------------------------------------------

    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status put(Tx& tx, state& s, audit_item const& item, G& random, writer& w) const {
        std::uint64_t const index = s.tree.size();
        sha256_digest commitment{};
        if (item.has_private()) {
            row_key const key = record_row_key(item.collection, item.record);
            auto const row = load_record(tx, key, w.secret);
            if (!row) { return row.error(); }
            record_row r;
            if (*row) {
                r = **row;
            } else {
                fill(random, std::span<std::byte>{r.key});
            }
            w.commitments.clear();
            if (!item.personal.empty()) { commit_fields(item, random, w); }
            w.secret.assign(33, std::byte{});
            cbor_writer out{w.secret};
            encode_secret(out, item, r.last, w.commitments);
            commitment = audit_commitment(hash_, audit_salt(hash_, r.key, index), w.secret);
            if (auto const ok = tx.put(key, record_bytes({r.key, index + 1})); !ok) { return ok; }
        }
        w.row.resize(size_of(item));
        w.row[0] = merkle_leaf_prefix;
        cbor_room_writer out{std::span{w.row}.subspan(1)};
        encode_leaf(out, item, index, index == 0 ? nullptr : &s.last, item.has_private() ? &commitment : nullptr);
        w.row.resize(1 + out.size());
        s.last = hash_(w.row);
        if (item.has_private()) { append_bytes(w.row, bytes_view{w.secret}.subspan(33)); }
        if (!item.personal.empty()) { append_bytes(w.row, w.fields); }
        if (auto const ok = tx.put(entry_key(index), w.row); !ok) { return ok; }
        return s.tree.add(tx, tiles_, hash_, s.last);
    }
    /// A salt and a commitment for each personal field.
    template <random_source G>
    void commit_fields(audit_item const& item, G& random, writer& w) const {
        w.fields.clear();
        cbor_writer out{w.fields};
        out.map(item.personal.size());
        for (audit_field const& f : item.personal) {
            audit_field_salt salt;
            fill(random, std::span<std::byte>{salt});
            encode_field_opening(out, {f.name, salt, f.item});
            w.commitments.push_back(audit_field_commitment(hash_, salt, f.item));
        }
    }
    /// Whether who asks can be told in an entry of the log's own: asked before anything is destroyed.
    [[nodiscard]] static status check_context(audit_item const& context) noexcept {
        return context.actor.size() > audit_actor_bytes_max ? failure{errc::invalid, "actor of an audit entry"}
                                                            : status{};
    }
    /// An entry of the log's own: who asked, and what is open.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status put_own(Tx& tx, state& s, audit_kind kind, std::uint64_t code,
                                 std::span<audit_field const> open, audit_item const& context, G& random) const {
        audit_item item;
        item.kind = kind;
        item.stamp = context.stamp;
        item.device = context.device;
        item.actor = context.actor;
        item.code = code;
        item.open = open;
        if (auto const ok = check(item); !ok) { return ok; }
        writer w{size_of(item)};
        return put(tx, s, item, random, w);
    }
    /// Says which indices were redacted, in as many entries as it takes.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status log_redaction(Tx& tx, state& s, interval_set const& gone, audit_item const& context,
                                       G& random) const {
        auto const all = gone.intervals();
        for (std::size_t at = 0; at < all.size(); at += options_.redactions_max) {
            interval_set some;
            for (std::size_t i = at; i < all.size() && i - at < options_.redactions_max; ++i) { some.add(all[i]); }
            bytes encoded;
            cbor_writer w{encoded};
            encode_interval_set(w, some);
            audit_field const open{"entries", encoded};
            auto const ok = put_own(tx, s, audit_kind::redaction, some.count(), std::span<audit_field const>{&open, 1},
                                    context, random);
            if (!ok) { return ok; }
        }
        return {};
    }
    /// Says which values at which places were redacted, in as many entries as it takes. `gone` is by place.
    template <storage_transaction Tx, random_source G>
    [[nodiscard]] status log_field_redaction(Tx& tx, state& s, std::vector<interval_set> const& gone,
                                             audit_item const& context, G& random) const {
        std::size_t place = 0;
        std::size_t at = 0;  // among the intervals of that place
        while (place < gone.size()) {
            std::size_t places = 0;
            std::uint64_t values = 0;
            bytes groups;
            cbor_writer group{groups};
            for (std::size_t room = options_.redactions_max; room != 0 && place < gone.size();) {
                auto const all = gone[place].intervals();
                interval_set some;
                for (; at < all.size() && room != 0; ++at, --room) { some.add(all[at]); }
                if (!some.empty()) {
                    group.array(2);
                    group.unsigned_integer(place);
                    encode_interval_set(group, some);
                    values += some.count();
                    ++places;
                }
                if (at == all.size()) {
                    at = 0;
                    ++place;
                }
            }
            bytes encoded;
            cbor_writer w{encoded};
            w.array(places);
            w.raw(groups);
            audit_field const open{"fields", encoded};
            auto const ok =
                put_own(tx, s, audit_kind::redaction, values, std::span<audit_field const>{&open, 1}, context, random);
            if (!ok) { return ok; }
        }
        return {};
    }
    /// Adds the values that a redaction speaks of to those by place; nothing for one that is damaged.
    static void fields_redacted_by(audit_entry const& e, std::vector<std::vector<interval>>& by_place) {
        auto const found = map_find(e.open, "fields");
        if (!found || !*found) { return; }
        cbor_reader in{**found};
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            if (in.array() != 2) { return; }
            std::uint64_t const place = in.unsigned_integer();
            interval_set const set = decode_interval_set(in);
            if (in.failed() || place >= audit_personal_max) { return; }
            if (by_place.size() <= place) { by_place.resize(static_cast<std::size_t>(place) + 1); }
            auto const more = set.intervals();
            auto& all = by_place[static_cast<std::size_t>(place)];
            all.insert(all.end(), more.begin(), more.end());
        }
    }
    /// All of many redactions' intervals, in any order. Cost: that of sorting them.
    [[nodiscard]] static interval_set set_of(std::vector<interval> all) {
        std::sort(all.begin(), all.end(), [](interval const& a, interval const& b) { return a.first < b.first; });
        interval_set out;
        for (interval const& i : all) { out.add(i); }
        return out;
    }
    /// The indices that a redaction speaks of; nothing for one that is damaged.
    [[nodiscard]] static interval_set redacted_by(audit_entry const& e) {
        auto const found = map_find(e.open, "entries");
        if (!found || !*found) { return {}; }
        cbor_reader in{**found};
        interval_set set = decode_interval_set(in);
        return in.finish() ? set : interval_set{};
    }

    // ---- Verification -------------------------------------------------------------------------------------------

    struct verifier {
        audit_log const& log;
        state const& s;
        audit_verification const& what;
        audit_report report{};
        interval_set hidden{};                                 ///< private parts that are not there
        interval_set shown{};                                  ///< … and that are
        std::vector<interval> redacted{};                      ///< those of which an entry says so, in no order
        std::vector<interval_set> hidden_fields{};             ///< values that are not there, by place
        std::vector<interval_set> shown_fields{};              ///< … and that are
        std::vector<std::vector<interval>> redacted_fields{};  ///< those of which an entry says so
        std::optional<sha256_digest> previous{};
        std::uint64_t sealed = 0;  ///< as the last of the log's entries about it says

        void found(audit_fault fault, std::uint64_t index) {
            if (report.findings.size() < what.findings_max) {
                report.findings.push_back({fault, index});
            } else {
                ++report.more;
            }
        }

        template <storage_transaction Tx>
        [[nodiscard]] status run(Tx& tx) {
            std::uint64_t const size = s.tree.size();
            std::uint64_t const first = what.first > s.first ? what.first : s.first;
            std::uint64_t const last = what.last < size ? what.last : size;
            if (first < last) {
                if (auto const ok = entries(tx, first, last); !ok) { return ok; }
            }
            if (auto const ok = later_redactions(tx, last); !ok) { return ok; }
            held_against(hidden, shown, set_of(std::move(redacted)));
            redacted_fields.resize((std::max)(redacted_fields.size(), hidden_fields.size()));
            hidden_fields.resize(redacted_fields.size());
            shown_fields.resize((std::max)(shown_fields.size(), redacted_fields.size()));
            for (std::size_t place = 0; place < redacted_fields.size(); ++place) {
                held_against(hidden_fields[place], shown_fields[place], set_of(std::move(redacted_fields[place])));
            }
            if (what.whole) {
                bool const empty = size == 0;
                bool const told = first == s.first && last == size;  // of all that the state speaks of
                if ((told && s.sealed != sealed) || s.first > s.sealed || (empty && s.last != sha256_digest{})) {
                    found(audit_fault::state, size);
                }
                if (auto const ok = strays(tx); !ok) { return ok; }
                if (auto const ok = tiles(tx); !ok) { return ok; }
                if (auto const ok = records(tx); !ok) { return ok; }
            }
            return anchors(tx);
        }

        /// What is not there, and what is, against what redactions say.
        void held_against(interval_set const& gone, interval_set const& there, interval_set const& said) {
            interval_set const unsaid = gone.difference(said);
            for (interval const& i : unsaid.intervals()) { found(audit_fault::hidden, i.first); }
            interval_set const back = there.difference(there.difference(said));
            for (interval const& i : back.intervals()) { found(audit_fault::returned, i.first); }
        }

        template <storage_transaction Tx>
        [[nodiscard]] status entries(Tx& tx, std::uint64_t first, std::uint64_t last) {
            if (first != 0) {
                auto const before = leaf(tx, first - 1);
                if (!before) { return before.error(); }
                previous = *before;
            }
            std::uint64_t expected = first;
            status failed;
            auto const row = [&](bytes_view key, bytes_view value) {
                if (key.size() != log.prefix_.size() + 9) { return true; }  // `strays` tells of it
                std::uint64_t const index = read_u64(key.last(8));
                if (index != expected) {
                    found(audit_fault::missing, expected);
                    previous.reset();
                }
                expected = index + 1;
                failed = entry(tx, index, value);
                return failed.has_value();
            };
            if (auto const ok = tx.scan({log.entry_key(first), log.entry_end(last)}, row); !ok) { return ok; }
            if (!failed) { return failed; }
            if (expected < last) { found(audit_fault::missing, expected); }
            if (last == s.tree.size() && previous && *previous != s.last) { found(audit_fault::chain, last); }
            return {};
        }
        template <storage_transaction Tx>
        [[nodiscard]] status entry(Tx& tx, std::uint64_t index, bytes_view value) {
            ++report.entries;
            auto const e = log.parse_row(value);
            if (!e) {
                found(audit_fault::damaged, index);
                previous.reset();
                return {};
            }
            if (e->entry.index != index) { found(audit_fault::moved, index); }
            if (previous && e->entry.previous != previous) { found(audit_fault::chain, index); }
            previous = log.hash_(value.first(e->leaf_end));
            auto const stored = leaf(tx, index);
            if (!stored) { return stored.error(); }
            if (*stored && **stored != *previous) { found(audit_fault::leaf, index); }
            if (e->entry.kind == audit_kind::redaction) { redaction(e->entry); }
            if (e->entry.kind == audit_kind::archival) { sealed = e->entry.code; }
            if (!e->entry.commitment) { return {}; }
            if (!e->entry.opened) {
                ++report.redacted;
                hidden.add(index);
                return {};
            }
            return secret(tx, index, *e, value);
        }
        template <storage_transaction Tx>
        [[nodiscard]] status secret(Tx& tx, std::uint64_t index, stored_entry const& e, bytes_view value) {
            auto const row = log.load_record(tx, log.record_row_key(e.entry.collection, e.entry.opened->record));
            if (!row && row.error() != errc::corrupt) { return row.error(); }
            bool opens = row && *row;
            if (opens) {
                audit_opening const o{
                    audit_salt(log.hash_, (*row)->key, e.entry.index), to_bytes(e.secret_in(value)), {}};
                opens = audit_commitment(log.hash_, o) == *e.entry.commitment && fields(index, e, value);
                if ((*row)->last < index + 1) { found(audit_fault::record, index); }
            }
            if (opens) {
                shown.add(index);
            } else {
                found(audit_fault::opening, index);
            }
            return {};
        }
        /// That the personal fields that are there open their commitments; which are there and which aren't is kept.
        [[nodiscard]] bool fields(std::uint64_t index, stored_entry const& e, bytes_view value) {
            auto const& personal = e.entry.opened->personal;
            if (personal.empty()) { return true; }
            bool const open = open_fields(log.hash_, *e.entry.opened, e.fields_in(value)).has_value();
            for (std::size_t place = 0; place < personal.size(); ++place) {
                if (personal[place].item && !open) { continue; }
                auto& by_place = personal[place].item ? shown_fields : hidden_fields;
                if (by_place.size() <= place) { by_place.resize(place + 1); }
                by_place[place].add(index);
                report.redacted_fields += personal[place].item ? 0 : 1;
            }
            return open;
        }
        void redaction(audit_entry const& e) {
            interval_set const said = redacted_by(e);
            redacted.insert(redacted.end(), said.intervals().begin(), said.intervals().end());
            fields_redacted_by(e, redacted_fields);
        }
        /// What the tree has at an index; nothing where the tree is damaged, which `tiles` tells of.
        template <storage_transaction Tx>
        [[nodiscard]] result<std::optional<sha256_digest>> leaf(Tx& tx, std::uint64_t index) {
            std::uint64_t const tile = index / merkle_tile_width;
            if ((tile + 1) * merkle_tile_width > s.tree.size()) {
                return std::optional<sha256_digest>{
                    s.tree.unfinished(0)[static_cast<std::size_t>(index % merkle_tile_width)]};
            }
            if (!row_of_ || *row_of_ != tile) {
                auto const got = tx.get(merkle_tree::tile_key(log.tiles_, 0, tile), row_);
                if (!got) { return got.error(); }
                row_of_ = tile;
                if (!*got || row_.size() != merkle_tile_bytes) {
                    row_.clear();
                    if (!what.whole) { found(audit_fault::tile, tile * merkle_tile_width); }
                }
            }
            if (row_.empty()) { return std::optional<sha256_digest>{}; }
            sha256_digest out;
            std::memcpy(out.data(), row_.data() + 32 * (index % merkle_tile_width), out.size());
            return std::optional<sha256_digest>{out};
        }

        /// Redactions behind the range that was looked at speak of entries in it.
        template <storage_transaction Tx>
        [[nodiscard]] status later_redactions(Tx& tx, std::uint64_t from) {
            bool const asked = what.whole || !hidden.empty() || !hidden_fields.empty();
            if (!asked || from >= s.tree.size()) { return {}; }
            auto const row = [&](bytes_view, bytes_view value) {
                auto const e = log.parse_row(value);
                if (e && e->entry.kind == audit_kind::redaction) { redaction(e->entry); }
                return true;
            };
            return tx.scan({log.entry_key(from), log.entry_end((std::numeric_limits<std::uint64_t>::max)())}, row);
        }
        /// Rows of entries where there are none, and such behind the state's.
        template <storage_transaction Tx>
        [[nodiscard]] status strays(Tx& tx) {
            auto const behind = [&](bytes_view key, bytes_view) {
                if (key.size() != log.prefix_.size() + 1) { found(audit_fault::stray, 0); }
                return true;
            };
            if (auto const ok = tx.scan({log.key_of('c'), log.key_of('d')}, behind); !ok) { return ok; }
            auto const row = [&](bytes_view key, bytes_view) {
                bool const shaped = key.size() == log.prefix_.size() + 9;
                std::uint64_t const index = shaped ? read_u64(key.last(8)) : 0;
                if (!shaped || index < s.first || index >= s.tree.size()) { found(audit_fault::stray, index); }
                return true;
            };
            return tx.scan({log.key_of('e'), log.key_of('f')}, row);
        }
        /// Every tile is there, is what its bottom makes it, and stands at the bottom of the one above.
        template <storage_transaction Tx>
        [[nodiscard]] status tiles(Tx& tx) {
            std::vector<std::uint64_t> next(17, 0);  // by height: the tile that has to come
            std::vector<sha256_digest> roots;
            unsigned height = 0;
            status failed;
            auto const full = [&](unsigned h) { return h >= 16 ? 0 : s.tree.size() >> (4 * h) >> 4; };
            auto const at = [](unsigned h, std::uint64_t index) { return h >= 15 ? 0 : index << (4 * h + 4); };
            auto const row = [&](bytes_view key, bytes_view value) {
                std::size_t const n = log.tiles_.size();
                unsigned const h = key.size() == n + 9 ? std::to_integer<unsigned>(key[n]) : 16;
                std::uint64_t const index = key.size() == n + 9 ? read_u64(key.last(8)) : 0;
                if (h >= 16 || index >= full(h)) {
                    found(audit_fault::stray, at(h, index));
                    return true;
                }
                height = h;
                if (index != next[height]) { found(audit_fault::tile, at(height, next[height])); }
                next[height] = index + 1;
                failed = tile(tx, height, index, value, at(height, index));
                return failed.has_value();
            };
            bytes const end = prefix_end(as_bytes(log.tiles_));
            if (auto const ok = tx.scan({as_bytes(log.tiles_), end}, row); !ok) { return ok; }
            if (!failed) { return failed; }
            for (unsigned h = 0; h < 16; ++h) {
                if (next[h] < full(h)) { found(audit_fault::tile, at(h, next[h])); }
            }
            return {};
        }
        template <storage_transaction Tx>
        [[nodiscard]] status tile(Tx& tx, unsigned height, std::uint64_t index, bytes_view value, std::uint64_t first) {
            std::array<sha256_digest, merkle_tile_nodes + 1> nodes{};
            if (value.size() != merkle_tile_bytes) {
                found(audit_fault::tile, first);
                return {};
            }
            std::memcpy(nodes.data(), value.data(), merkle_tile_width * 32);
            merkle_tree::fill(log.hash_, nodes);
            if (std::memcmp(nodes.data(), value.data(), merkle_tile_bytes) != 0) { found(audit_fault::tile, first); }
            auto const above = index / merkle_tile_width;
            auto const place = static_cast<std::size_t>(index % merkle_tile_width);
            sha256_digest parent{};
            if ((above + 1) * merkle_tile_width > s.tree.size() >> (4 * height) >> 4) {
                parent = s.tree.unfinished(height + 1)[place];
            } else {
                bytes up;
                auto const got = tx.get(merkle_tree::tile_key(log.tiles_, height + 1, above), up);
                if (!got) { return got.error(); }
                if (!*got || up.size() != merkle_tile_bytes) { return {}; }  // told of where it is missing
                std::memcpy(parent.data(), up.data() + 32 * place, parent.size());
            }
            if (parent != nodes[merkle_tile_nodes]) { found(audit_fault::tile, first); }
            return {};
        }
        /// Every record's row leads to an entry of that record. That no later one is left out was seen at the entries.
        template <storage_transaction Tx>
        [[nodiscard]] status records(Tx& tx) {
            status failed;
            auto const row = [&](bytes_view key, bytes_view value) {
                auto const r = record_row_from(value);
                std::uint64_t const last = r ? (*r)->last : 0;
                bytes there;
                auto const e = last == 0 ? result<stored_entry>{errc::not_found} : log.load_entry(tx, last - 1, there);
                if (!e && e.error() != errc::not_found && e.error() != errc::corrupt &&
                    e.error() != errc::unsupported) {
                    failed = e.error();
                    return false;
                }
                bool const leads = e && e->entry.opened &&
                                   equal(log.record_row_key(e->entry.collection, e->entry.opened->record), key);
                if (!leads) { found(audit_fault::record, last == 0 ? 0 : last - 1); }
                return true;
            };
            if (auto const ok = tx.scan({log.key_of('k'), log.key_of('l')}, row); !ok) { return ok; }
            return failed;
        }
        template <storage_transaction Tx>
        [[nodiscard]] status anchors(Tx& tx) {
            for (audit_head const& a : what.anchors) {
                auto const f = log.compare(tx, a);
                if (!f && f.error() != errc::corrupt) { return f.error(); }
                if (!f) {
                    found(audit_fault::tile, a.size);
                    continue;
                }
                switch (*f) {
                    case anchor_finding::extends: break;
                    case anchor_finding::truncated: found(audit_fault::truncated, a.size); break;
                    case anchor_finding::forked: found(audit_fault::forked, a.size); break;
                    case anchor_finding::other_log: found(audit_fault::other_log, a.size); break;
                }
            }
            return {};
        }

        bytes row_{};
        std::optional<std::uint64_t> row_of_{};
    };

    audit_options options_;
    std::string prefix_;
    std::string tiles_;
    SYNCLINE_NO_UNIQUE_ADDRESS H hash_;
};

}  // namespace syncline::inline SYNCLINE_ABI
