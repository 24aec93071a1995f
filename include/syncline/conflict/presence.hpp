// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Who is editing what: presence and intent as values, soft leases that end by themselves, a warning before a write.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/conflict/conflict.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What somebody is about to do with a record. Values travel: append, never renumber.
enum class presence_intent : std::uint8_t {
    viewing = 1,
    editing = 2,
};

inline constexpr std::size_t presence_device_bytes_max = 64;
inline constexpr std::size_t presence_fields_max = 64;

/// "This record is being edited by …": a value that travels. It locks nothing.
struct presence {
    record_key record{};
    bytes who{};     ///< the host's name for the person, 1 to 64 bytes
    bytes device{};  ///< of the person's devices which, 0 to 64 bytes
    presence_intent intent = presence_intent::editing;
    std::vector<std::string> fields{};  ///< those in hand, in canonical key order; none: the whole record
    timestamp stamp{};                  ///< of the announcement: a later one of the same device replaces it
    std::uint32_t seconds = 30;         ///< how long it holds from when it is taken in; 0: it is over
    friend bool operator==(presence const&, presence const&) = default;
};

[[nodiscard]] inline bool valid(presence const& p) noexcept {
    if (!valid(p.record) || p.who.empty() || p.who.size() > presence_device_bytes_max ||
        p.device.size() > presence_device_bytes_max || p.fields.size() > presence_fields_max) {
        return false;
    }
    for (std::size_t i = 0; i < p.fields.size(); ++i) {
        if (p.fields[i].empty() || p.fields[i].size() > field_name_bytes_max || !valid_utf8(p.fields[i]) ||
            (i != 0 && compare_keys(p.fields[i - 1], p.fields[i]) >= 0)) {
            return false;
        }
    }
    return p.intent == presence_intent::viewing || p.intent == presence_intent::editing;
}

/// Appends the canonical form, an array of eight items: what a replica carries to others. Precondition: `valid(p)`.
inline void encode_presence(cbor_writer& out, presence const& p) {
    out.array(8);
    out.text(p.record.collection);
    out.byte_string(p.record.id);
    out.byte_string(p.who);
    out.byte_string(p.device);
    out.unsigned_integer(static_cast<std::uint64_t>(p.intent));
    out.array(p.fields.size());
    for (std::string const& f : p.fields) { out.text(f); }
    out.unsigned_integer(p.stamp.raw);
    out.unsigned_integer(p.seconds);
}
/// Reads what `encode_presence` wrote, of a stranger too. On anything else the reader has failed.
[[nodiscard]] inline presence decode_presence(cbor_reader& in) {
    presence p;
    if (in.array() != 8) { in.fail({errc::malformed, "presence of the wrong length"}); }
    p.record.collection = std::string{in.text()};
    p.record.id = to_bytes(in.byte_string());
    p.who = to_bytes(in.byte_string());
    p.device = to_bytes(in.byte_string());
    p.intent = static_cast<presence_intent>(detail::bounded(in, 2, 1));
    std::size_t const n = in.array();
    if (n > presence_fields_max) { in.fail({errc::limit, "fields of a presence"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { p.fields.emplace_back(in.text()); }
    p.stamp = timestamp{in.unsigned_integer()};
    p.seconds = static_cast<std::uint32_t>(detail::bounded(in, 0xFFFFFFFF));
    if (!in.failed() && !valid(p)) { in.fail({errc::malformed, "presence out of range"}); }
    return p;
}

struct presence_options {
    milliseconds lease_max{
        std::chrono::minutes{2}};       ///< longer ones are cut to it: nobody holds a record by asking; > 0
    std::uint32_t per_record_max = 64;  ///< announcements of one record; one more is refused; > 0
    friend constexpr bool operator==(presence_options const&, presence_options const&) = default;
};
[[nodiscard]] constexpr bool valid(presence_options const& o) noexcept {
    return o.lease_max.count() > 0 && o.per_record_max > 0;
}

/// A presence as it is held here, and until when.
struct held_presence {
    presence said{};
    wall_time until{};
    friend bool operator==(held_presence const&, held_presence const&) = default;
};

/// Why a write may end as a conflict.
struct write_warning {
    enum class kind : std::uint8_t {
        somebody_edits = 1,  ///< somebody else has these fields in hand now
        changed_since = 2,   ///< the confirmed record has changed since the writer saw it, and a rule asks a person
    };
    kind what = kind::somebody_edits;
    std::optional<held_presence> by{};  ///< somebody_edits
    std::vector<std::string> fields{};  ///< which of the write's; none: the whole record
    friend bool operator==(write_warning const&, write_warning const&) = default;
};

/// The presences that this device knows of, in a storage. Holds options and the prefix, nothing else.
///
/// A lease counts from when it was taken in, by this device's clock: others' clocks don't matter. What ends later than
/// `lease_max` from now was taken in under a clock that has since been set back: it is over.
/// Keys: prefix, collection and id with their lengths, who and device with theirs.
/// Errors: those of the storage, `errc::corrupt`; then roll back. Others leave it as it was.
class presences {
public:
    /// Preconditions: valid(options); a prefix of 1 to 16 bytes, as of any component.
    explicit presences(presence_options options = {}, std::string_view prefix = "kw")
        : options_(options), prefix_(prefix) {
        SYNCLINE_ASSERT(valid(options) && !prefix.empty() && prefix.size() <= 16);
    }

    /// Takes in what somebody said, this device's own person included. True: it is news. One that is older than what the
    /// same device said, or the same, is none. Errors: `errc::invalid`; `errc::limit` (per_record_max, of
    /// those that `sweep` would leave).
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> take(Tx& tx, presence const& p, wall_time now) const {
        if (!valid(p) || key_of(p).size() > key_bytes_max) { return failure{errc::invalid, "presence"}; }
        bytes const key = key_of(p);
        bytes raw;
        auto const found = tx.get(key, raw);
        if (!found) { return found.error(); }
        if (*found) {
            auto const known = decode(raw);
            if (!known) { return known.error(); }
            if (known->said.stamp >= p.stamp) { return false; }
        } else {
            std::uint32_t held = 0;
            bytes over;
            auto const ok = scan_prefix(tx, head_of(p.record), [&](bytes_view k, bytes_view h) {
                ++held;
                if (over.empty() && ended(h, now)) { over = to_bytes(k); }
                return held < options_.per_record_max;
            });
            if (!ok) { return ok.error(); }
            if (held >= options_.per_record_max) {
                // One that would be swept makes room.
                if (over.empty()) { return failure{errc::limit, "presences of a record"}; }
                if (auto gone = tx.erase(over); !gone) { return gone.error(); }
            }
        }
        // One that is over stays until it is swept, so that an older word which comes late doesn't bring it back.
        held_presence h{p, now + (std::min)(milliseconds{std::int64_t{p.seconds} * 1000}, options_.lease_max)};
        raw.clear();
        cbor_writer out{raw};
        out.array(3);
        out.unsigned_integer(detail::conflict_form);
        out.unsigned_integer(detail::time_bits(h.until));
        encode_presence(out, h.said);
        if (auto ok = tx.put(key, raw); !ok) { return ok.error(); }
        return true;
    }
    /// Those of a record that hold now.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<held_presence>> of(Tx& tx, record_key const& record, wall_time now) const {
        std::vector<held_presence> out;
        if (!valid(record)) { return failure{errc::invalid, "record key"}; }
        status outcome;
        auto const ok = scan_prefix(tx, head_of(record), [&](bytes_view, bytes_view raw) {
            auto h = decode(raw);
            if (!h) {
                outcome = h.error();
                return false;
            }
            if (holds(*h, now)) { out.push_back(std::move(*h)); }
            return true;
        });
        if (!ok) { return ok.error(); }
        if (!outcome) { return outcome.error(); }
        return out;
    }
    /// Drops those that have been over for as long as a lease may last; at most `count_max`, from `after` on (empty: from
    /// the beginning). How many went, and where to go on: empty when the end was reached.
    struct swept {
        std::size_t gone = 0;
        bytes next{};
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<swept> sweep(Tx& tx, wall_time now, std::size_t count_max, bytes_view after = {}) const {
        swept out;
        std::vector<bytes> over;
        std::size_t seen = 0;
        bytes from = to_bytes(after.empty() ? as_bytes(prefix_) : after);
        if (!after.empty()) { from.push_back(std::byte{0}); }
        bytes const to = prefix_end(as_bytes(prefix_));
        auto const ok = tx.scan({from, to}, [&](bytes_view key, bytes_view raw) {
            if (seen++ == count_max) { return false; }
            out.next = to_bytes(key);
            if (ended(raw, now)) { over.push_back(to_bytes(key)); }
            return true;
        });
        if (!ok) { return ok.error(); }
        if (seen <= count_max) { out.next.clear(); }
        for (bytes const& key : over) {
            if (auto erased = tx.erase(key); !erased) { return erased.error(); }
        }
        out.gone = over.size();
        return out;
    }

    /// What speaks against a write, before it is made: others who have the same fields in hand, and fields that a person
    /// would have to decide since the confirmed record has moved on. Empty: nothing. It forbids nothing.
    ///
    /// `me` is who writes: their other devices are not others. `confirmed`: the record as the authority confirmed it, or
    /// nothing. `as`: this device's number, so that its own writes are nobody else's, and what is known here of the
    /// authority's host. Errors: `errc::invalid`, `errc::corrupt`, those of the storage. Writes nothing.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<write_warning>> before_write(Tx& tx, mutation const& m,
                                                                  std::optional<row> const& confirmed,
                                                                  collection_rules const& rules, bytes_view me,
                                                                  wall_time now, apply_context const& as = {}) const {
        auto held = of(tx, m.record, now);
        if (!held) { return held.error(); }
        std::vector<write_warning> out;
        for (held_presence& h : *held) {
            if (equal(h.said.who, me) || h.said.intent != presence_intent::editing) { continue; }
            write_warning w;
            for (field_op const& op : m.ops) {
                if (h.said.fields.empty() ||
                    std::find(h.said.fields.begin(), h.said.fields.end(), op.field) != h.said.fields.end()) {
                    w.fields.push_back(op.field);
                }
            }
            if (w.fields.empty() && m.kind != change_kind::erase) { continue; }
            w.by = std::move(h);
            out.push_back(std::move(w));
        }
        if (confirmed) {
            std::optional<row> after = confirmed;
            auto const outcome = apply(after, m, rules, as);
            write_warning w;
            w.what = write_warning::kind::changed_since;
            bool asks = false;
            for (decision const& d : outcome.decisions) {
                bool const told = !w.fields.empty() && w.fields.back() == d.field;  // of a nested field, once
                if (d.won != winner::nobody || told) { continue; }
                asks = true;
                if (!d.field.empty()) { w.fields.push_back(d.field); }
            }
            if (asks) { out.push_back(std::move(w)); }
        }
        return out;
    }

private:
    /// Whether it has been over for as long as a lease may last. What is damaged is: presence is told again every few
    /// seconds.
    [[nodiscard]] bool ended(bytes_view raw, wall_time now) const {
        auto const h = decode(raw);
        return !h || h->until <= now - options_.lease_max || h->until > now + options_.lease_max;
    }
    [[nodiscard]] bool holds(held_presence const& h, wall_time now) const noexcept {
        return h.until > now && h.until - now <= options_.lease_max;
    }
    [[nodiscard]] bytes head_of(record_key const& r) const {
        bytes out;
        append(out, as_bytes(prefix_));
        out.push_back(static_cast<std::byte>(r.collection.size()));
        append(out, as_bytes(r.collection));
        out.push_back(static_cast<std::byte>(r.id.size()));
        append(out, r.id);
        return out;
    }
    [[nodiscard]] bytes key_of(presence const& p) const {
        bytes out = head_of(p.record);
        out.push_back(static_cast<std::byte>(p.who.size()));
        append(out, p.who);
        append(out, p.device);
        return out;
    }
    [[nodiscard]] static result<held_presence> decode(bytes_view raw) {
        constexpr failure bad{errc::corrupt, "presence"};
        cbor_reader in{raw};
        held_presence h;
        if (in.array() != 3 || in.unsigned_integer() != detail::conflict_form) { return bad; }
        h.until = detail::time_of(in.unsigned_integer());
        h.said = decode_presence(in);
        if (!in.finish()) { return bad; }
        return h;
    }

    presence_options options_;
    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
