// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What stands in the audit log: who did what to which record and when, with what is personal behind a commitment.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/merkle.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/value.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an entry tells of. Values are stored and hashed: append, never renumber.
enum class audit_kind : std::uint8_t {
    local_write = 1,        ///< a mutation was made here; code: its `change_kind`
    push = 2,               ///< mutations were handed to a peer; code: how many
    pull = 3,               ///< rows came from a peer; code: the position up to which
    verdict = 4,            ///< the authority decided a mutation; code: its `verdict_kind`
    denial = 5,             ///< somebody was refused; code: the `errc`
    merge_decision = 6,     ///< a rule decided a field; code: the rule
    conflict_decision = 7,  ///< a person decided a conflict; code: the host's or the queue's choice
    eviction = 8,           ///< a record left this replica without being deleted
    principal_switch = 9,   ///< another principal works here from now on
    reset = 10,             ///< a store was put back or began anew
    migration = 11,         ///< stored data changed its form; code: the new version
    redaction = 12,         ///< private parts of earlier entries were destroyed; written by the log itself
    archival = 13,          ///< the entries before a size were sealed; code: the size; written by the log itself
};

[[nodiscard]] constexpr char const* name(audit_kind k) noexcept {
    switch (k) {
        case audit_kind::local_write: return "local write";
        case audit_kind::push: return "push";
        case audit_kind::pull: return "pull";
        case audit_kind::verdict: return "verdict";
        case audit_kind::denial: return "denial";
        case audit_kind::merge_decision: return "merge decision";
        case audit_kind::conflict_decision: return "conflict decision";
        case audit_kind::eviction: return "eviction";
        case audit_kind::principal_switch: return "principal switch";
        case audit_kind::reset: return "reset";
        case audit_kind::migration: return "migration";
        case audit_kind::redaction: return "redaction";
        case audit_kind::archival: return "archival";
    }
    return "unknown kind";
}

inline constexpr std::uint64_t audit_kind_last = 13;
inline constexpr std::uint64_t audit_format = 1;
inline constexpr std::size_t audit_actor_bytes_max = 255;
/// How deep a value may be nested: rows and archives, which are read within the limits of all decoders, nest it deeper.
inline constexpr std::uint32_t audit_item_depth_max = 56;
inline constexpr std::size_t audit_personal_max = 4096;  ///< personal fields in one entry

/// A name and a canonical CBOR item, borrowed.
struct audit_field {
    std::string_view name;
    bytes_view item;
};

/// What is to be logged; borrows all that it points to. What is `open` is in the leaf for ever; the record's id and
/// what is `masked` are behind the leaf's commitment, and can be redacted all at once; each `personal` field is behind
/// a commitment of its own inside of that, and can be redacted by itself.
///
/// `open`, `masked` and `personal` are in canonical key order (`compare_keys`), each name once, and no name is masked
/// and personal. An actor is an opaque name that the host may keep for ever, such as an account's number; who wants it
/// masked passes it as a masked field.
struct audit_item {
    audit_kind kind = audit_kind::local_write;
    timestamp stamp{};
    replica_id device{};            ///< where it happened
    bytes_view actor{};             ///< whom the host had authenticated; at most 255 bytes
    replica_id author{};            ///< of the mutation that it is about; nil: the device
    std::uint64_t sequence = 0;     ///< of that mutation; 0: about none, or one that is not frozen
    std::uint64_t code = 0;         ///< by kind
    std::string_view collection{};  ///< at most 64 bytes of UTF-8; may be empty
    bytes_view record{};            ///< the record's id, masked; at most 255 bytes; may be empty
    std::span<audit_field const> open{};
    std::span<audit_field const> masked{};
    std::span<audit_field const> personal{};  ///< at most `audit_personal_max`

    /// Whether there is anything that needs a commitment.
    [[nodiscard]] bool has_private() const noexcept { return !record.empty() || !masked.empty() || !personal.empty(); }
};

/// A field that can be redacted by itself, as it was logged.
struct audit_personal_field {
    std::string name{};
    sha256_digest commitment{};   ///< to the value
    std::optional<bytes> item{};  ///< the value; nothing where it was redacted
    friend bool operator==(audit_personal_field const&, audit_personal_field const&) = default;
};

/// An entry as it was logged. The values are one canonical CBOR map each.
struct audit_entry {
    std::uint64_t index = 0;
    std::optional<sha256_digest> previous{};  ///< the leaf hash of the entry before; nothing at the first
    audit_kind kind = audit_kind::local_write;
    timestamp stamp{};
    replica_id device{};
    bytes actor{};
    replica_id author{};  ///< nil: the device
    std::uint64_t sequence = 0;
    std::uint64_t code = 0;
    std::string collection{};
    bytes open{};                               ///< a map
    std::optional<sha256_digest> commitment{};  ///< to the private part; nothing: there was none

    /// What the commitment is to, while it is here. Nothing where it was redacted.
    struct secret {
        bytes record{};          ///< the record's id
        bytes masked{};          ///< a map
        std::uint64_t link = 0;  ///< index of the record's entry before, and one; 0: this is its first
        std::vector<audit_personal_field> personal{};  ///< in canonical key order
        friend bool operator==(secret const&, secret const&) = default;
    };
    std::optional<secret> opened{};

    [[nodiscard]] bool redacted() const noexcept { return commitment.has_value() && !opened.has_value(); }
    friend bool operator==(audit_entry const&, audit_entry const&) = default;
};

/// What lets somebody else check an entry's private part against its leaf, and nothing else of the record.
struct audit_opening {
    std::array<std::byte, 32> salt{};
    bytes secret{};  ///< the encoded private part
    bytes fields{};  ///< what opens its personal fields, as `encode_field_opening` writes it; empty: it has none
    friend bool operator==(audit_opening const&, audit_opening const&) = default;
};

/// The key of a record's commitments: 32 secret random bytes. Destroying it makes them say nothing.
using audit_record_key = std::array<std::byte, 32>;

/// An entry's salt: SHA-256(2 ‖ key ‖ index). It tells nothing of the key, so one entry may be opened alone.
template <digest_function H>
[[nodiscard]] sha256_digest audit_salt(H const& hash, audit_record_key const& key, std::uint64_t index) noexcept {
    std::array<std::byte, 41> whole;
    whole[0] = std::byte{2};
    std::memcpy(whole.data() + 1, key.data(), 32);
    for (std::size_t i = 0; i < 8; ++i) { whole[33 + i] = static_cast<std::byte>(index >> (56 - 8 * i)); }
    return hash(whole);
}

/// The commitment to a private part: SHA-256(3 ‖ salt ‖ part). `prefixed` begins with 33 bytes of room for the former.
template <digest_function H>
[[nodiscard]] sha256_digest audit_commitment(H const& hash, sha256_digest const& salt,
                                             std::span<std::byte> prefixed) noexcept {
    SYNCLINE_ASSERT(prefixed.size() >= 33);
    prefixed[0] = std::byte{3};
    std::memcpy(prefixed.data() + 1, salt.data(), 32);
    return hash(prefixed);
}
template <digest_function H>
[[nodiscard]] sha256_digest audit_commitment(H const& hash, audit_opening const& opening) {
    bytes whole(33);
    append(whole, opening.secret);
    return audit_commitment(hash, opening.salt, whole);
}

/// The salt of a personal field: 32 secret random bytes, kept beside the value. Destroying it makes the field's
/// commitment say nothing.
using audit_field_salt = std::array<std::byte, 32>;

/// The commitment to a personal field's value: SHA-256(4 ‖ salt ‖ item). Its name is bound by where this stands.
template <digest_function H>
[[nodiscard]] sha256_digest audit_field_commitment(H const& hash, bytes_view salt, bytes_view item) {
    bytes whole;
    whole.reserve(1 + salt.size() + item.size());
    whole.push_back(std::byte{4});
    append(whole, salt);
    append(whole, item);
    return hash(whole);
}

namespace detail {

/// `errc::invalid` unless names are 1 to 255 bytes of UTF-8, in canonical order, and items canonical and not nested
/// deeper than `audit_item_depth_max`.
[[nodiscard]] inline status check_audit_fields(std::span<audit_field const> fields) noexcept {
    std::string_view before;
    for (audit_field const& f : fields) {
        if (f.name.empty() || f.name.size() > field_name_bytes_max || !valid_utf8(f.name)) {
            return failure{errc::invalid, "name of an audit field"};
        }
        if (!before.empty() && compare_keys(before, f.name) >= 0) {
            return failure{errc::invalid, "audit fields out of order"};
        }
        before = f.name;
        decode_limits room;
        room.depth_max = audit_item_depth_max;
        if (!validate_canonical(f.item, room)) { return failure{errc::invalid, "value of an audit field"}; }
    }
    return {};
}

template <class Writer>
void write_audit_fields(Writer& out, std::span<audit_field const> fields) {
    out.map(fields.size());
    for (audit_field const& f : fields) {
        out.text(f.name);
        out.raw(f.item);
    }
}
/// A map with text names of 1 to 255 bytes. On anything else the reader has failed.
[[nodiscard]] inline bytes read_audit_fields(cbor_reader& in) {
    if (in.peek() != cbor_type::map) { in.fail({errc::malformed, "audit fields that are no map"}); }
    bytes_view const map = in.skip();
    if (in.failed()) { return {}; }
    if (auto const ok = validate_fields(map, cbor_depth_only()); !ok) { in.fail({errc::malformed, "audit fields"}); }
    return to_bytes(map);
}
/// A personal field's name, behind the one before.
[[nodiscard]] inline std::string_view read_personal_name(cbor_reader& in, std::string_view before) noexcept {
    std::string_view const name = in.text();
    if (in.failed()) { return name; }
    if (name.empty() || name.size() > field_name_bytes_max) { in.fail({errc::malformed, "name of a personal field"}); }
    if (!before.empty() && compare_keys(before, name) >= 0) {
        in.fail({errc::not_deterministic, "personal fields out of order"});
    }
    return name;
}
[[nodiscard]] inline std::optional<sha256_digest> read_optional_digest(cbor_reader& in) noexcept {
    if (in.null()) { return std::nullopt; }
    return read_digest(in);
}
template <class Writer>
void write_optional_digest(Writer& out, sha256_digest const* d) {
    if (d == nullptr) {
        out.null();
    } else {
        out.byte_string(*d);
    }
}
[[nodiscard]] inline replica_id read_audit_replica(cbor_reader& in) noexcept {
    bytes_view const b = in.byte_string();
    if (in.failed()) { return {}; }
    auto const r = replica_id_from(b);
    if (!r) {
        in.fail(r.error());
        return {};
    }
    return *r;
}

}  // namespace detail

/// `errc::invalid` for what can't be logged: a kind that is unknown or the log's own, something too long, fields out of
/// order or not canonical.
[[nodiscard]] inline status check(audit_item const& item) noexcept {
    auto const kind = static_cast<std::uint64_t>(item.kind);
    if (kind == 0 || kind > audit_kind_last) { return failure{errc::invalid, "kind of an audit entry"}; }
    if (item.actor.size() > audit_actor_bytes_max) { return failure{errc::invalid, "actor of an audit entry"}; }
    if (item.collection.size() > collection_bytes_max || !valid_utf8(item.collection)) {
        return failure{errc::invalid, "collection of an audit entry"};
    }
    if (item.record.size() > record_id_bytes_max) { return failure{errc::invalid, "record of an audit entry"}; }
    if (auto const s = detail::check_audit_fields(item.open); !s) { return s; }
    if (auto const s = detail::check_audit_fields(item.masked); !s) { return s; }
    if (item.personal.size() > audit_personal_max) { return failure{errc::invalid, "so many personal fields"}; }
    if (auto const s = detail::check_audit_fields(item.personal); !s) { return s; }
    for (std::size_t m = 0, p = 0; m < item.masked.size() && p < item.personal.size();) {
        auto const order = compare_keys(item.masked[m].name, item.personal[p].name);
        if (order == 0) { return failure{errc::invalid, "audit field that is masked and personal"}; }
        ++(order < 0 ? m : p);
    }
    return {};
}

/// Appends the private part: an array of the record's id, the masked fields, the link to the record's entry before and,
/// if there are personal fields, a map of their names and commitments.
/// Preconditions: `check(item)`; a commitment for each personal field.
inline void encode_secret(cbor_writer& out, audit_item const& item, std::uint64_t link,
                          std::span<sha256_digest const> commitments = {}) {
    SYNCLINE_ASSERT(commitments.size() == item.personal.size());
    out.array(item.personal.empty() ? 3 : 4);
    out.byte_string(item.record);
    detail::write_audit_fields(out, item.masked);
    out.unsigned_integer(link);
    if (item.personal.empty()) { return; }
    out.map(item.personal.size());
    for (std::size_t i = 0; i < item.personal.size(); ++i) {
        out.text(item.personal[i].name);
        out.byte_string(commitments[i]);
    }
}
/// Reads a stranger's; its personal fields have no values yet (`decode_field_openings`). On anything else the reader has
/// failed.
[[nodiscard]] inline audit_entry::secret decode_secret(cbor_reader& in) {
    audit_entry::secret s;
    std::size_t const parts = in.array();
    if (parts != 3 && parts != 4) { in.fail({errc::malformed, "private part of the wrong length"}); }
    s.record = to_bytes(in.byte_string());
    if (s.record.size() > record_id_bytes_max) { in.fail({errc::malformed, "record of an audit entry"}); }
    s.masked = detail::read_audit_fields(in);
    s.link = in.unsigned_integer();
    if (in.failed() || parts == 3) { return s; }
    std::size_t const n = in.map();
    if (n == 0 || n > audit_personal_max) { in.fail({errc::malformed, "number of personal fields"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        std::string_view const name = detail::read_personal_name(in, s.personal.empty() ? "" : s.personal.back().name);
        sha256_digest const commitment = read_digest(in);
        if (!in.failed()) { s.personal.push_back({std::string{name}, commitment, std::nullopt}); }
    }
    return s;
}

/// What opens one personal field; borrows.
struct audit_field_opening {
    std::string_view name{};
    bytes_view salt{};  ///< 32 bytes
    bytes_view item{};
};
/// Appends one of a map's: the name, and an array of salt and value. The map's head is the caller's, and the order.
inline void encode_field_opening(cbor_writer& out, audit_field_opening const& o) {
    out.text(o.name);
    out.array(2);
    out.byte_string(o.salt);
    out.raw(o.item);
}
/// Reads a stranger's map of them, and calls `visit` with each, in order. On anything else the reader has failed.
template <class Visit>
void read_field_openings(cbor_reader& in, Visit&& visit) {
    std::size_t const n = in.map();
    std::string_view before;
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        audit_field_opening o;
        o.name = detail::read_personal_name(in, before);
        if (in.array() != 2) { in.fail({errc::malformed, "opening of a field of the wrong length"}); }
        o.salt = in.byte_string();
        if (!in.failed() && o.salt.size() != 32) { in.fail({errc::malformed, "salt of the wrong length"}); }
        o.item = in.skip(2);
        if (!in.failed()) { visit(o); }
        before = o.name;
    }
}
/// Reads a stranger's map of them into the fields of their private part. Whether they open the commitments is for
/// `open_fields` to say. On a name that the private part hasn't, and anything else, the reader has failed.
inline void decode_field_openings(cbor_reader& in, audit_entry::secret& s) {
    std::size_t at = 0;
    read_field_openings(in, [&](audit_field_opening const& o) {
        while (at < s.personal.size() && s.personal[at].name != o.name) { ++at; }
        if (at == s.personal.size()) {
            in.fail({errc::malformed, "opening of no personal field"});
            return;
        }
        s.personal[at++].item = to_bytes(o.item);
    });
}
/// Whether what is given opens the commitments of a private part's personal fields; those that are missing were
/// redacted, or are not shown. `errc::corrupt` when one doesn't open, else as of `decode_field_openings`.
/// Cost: a hash and an allocation for each.
template <digest_function H>
[[nodiscard]] status open_fields(H const& hash, audit_entry::secret const& s, bytes_view openings) {
    cbor_reader in{openings};
    std::size_t at = 0;
    read_field_openings(in, [&](audit_field_opening const& o) {
        while (at < s.personal.size() && s.personal[at].name != o.name) { ++at; }
        if (at == s.personal.size()) {
            in.fail({errc::malformed, "opening of no personal field"});
        } else if (audit_field_commitment(hash, o.salt, o.item) != s.personal[at++].commitment) {
            in.fail({errc::corrupt, "opening of another value"});
        }
    });
    return in.finish();
}
/// The same map without the fields for which `gone(place)` is true, where a place counts in the private part's fields.
/// Precondition: a map that `decode_field_openings` took with `s`. Nothing is left of what was taken out.
template <class Gone>
[[nodiscard]] bytes without_fields(audit_entry::secret const& s, bytes_view openings, Gone&& gone) {
    std::vector<audit_field_opening> left;
    std::size_t at = 0;
    cbor_reader in{openings};
    read_field_openings(in, [&](audit_field_opening const& o) {
        while (at < s.personal.size() && s.personal[at].name != o.name) { ++at; }
        if (!gone(at)) { left.push_back(o); }
    });
    bytes out;
    cbor_writer w{out};
    w.map(left.size());
    for (audit_field_opening const& o : left) { encode_field_opening(w, o); }
    return out;
}

/// Appends a leaf's data: an array of thirteen. Precondition: `check(item)`.
template <class Writer>
void encode_leaf(Writer& out, audit_item const& item, std::uint64_t index, sha256_digest const* previous,
                 sha256_digest const* commitment) {
    out.array(13);
    out.unsigned_integer(audit_format);
    out.unsigned_integer(static_cast<std::uint64_t>(item.kind));
    out.unsigned_integer(index);
    detail::write_optional_digest(out, previous);
    out.unsigned_integer(item.stamp.raw);
    out.byte_string(to_array(item.device));
    out.byte_string(item.actor);
    if (item.author.is_nil() || item.author == item.device) {
        out.null();
    } else {
        out.byte_string(to_array(item.author));
    }
    out.unsigned_integer(item.sequence);
    out.unsigned_integer(item.code);
    out.text(item.collection);
    detail::write_audit_fields(out, item.open);
    detail::write_optional_digest(out, commitment);
}

/// Reads a leaf's data, of a stranger too; its private part is not there. On anything else the reader has failed:
/// `errc::unsupported` for a format or kind of a later version, else as `cbor_reader`.
[[nodiscard]] inline audit_entry decode_leaf(cbor_reader& in) {
    audit_entry e;
    if (in.array() != 13) { in.fail({errc::malformed, "leaf of the wrong length"}); }
    if (std::uint64_t const format = in.unsigned_integer(); !in.failed() && format != audit_format) {
        in.fail({errc::unsupported, "format of an audit entry"});
    }
    std::uint64_t const kind = in.unsigned_integer();
    if (!in.failed() && (kind == 0 || kind > audit_kind_last)) {
        in.fail({errc::unsupported, "kind of an audit entry"});
    }
    e.kind = static_cast<audit_kind>(kind);
    e.index = in.unsigned_integer();
    e.previous = detail::read_optional_digest(in);
    if (!in.failed() && e.previous.has_value() != (e.index != 0)) {
        in.fail({errc::malformed, "chain of an audit entry"});
    }
    e.stamp = timestamp{in.unsigned_integer()};
    e.device = detail::read_audit_replica(in);
    e.actor = to_bytes(in.byte_string());
    if (!in.null()) {
        e.author = detail::read_audit_replica(in);
        if (!in.failed() && (e.author.is_nil() || e.author == e.device)) {
            in.fail({errc::not_deterministic, "author of an audit entry"});
        }
    }
    e.sequence = in.unsigned_integer();
    e.code = in.unsigned_integer();
    e.collection = std::string{in.text()};
    if (e.actor.size() > audit_actor_bytes_max || e.collection.size() > collection_bytes_max) {
        in.fail({errc::malformed, "audit entry out of range"});
    }
    e.open = detail::read_audit_fields(in);
    e.commitment = detail::read_optional_digest(in);
    return e;
}

// ---- What is shown ---------------------------------------------------------------------------------------------

/// How an entry holds a field.
enum class audit_visibility : std::uint8_t {
    masked = 1,    ///< behind the entry's commitment, with all that is masked
    open = 2,      ///< in the leaf, for ever
    personal = 3,  ///< behind a commitment of its own, to be redacted by itself
};

/// Which fields of which collections may be read in the log by everybody, for ever, and which are to be redacted by
/// themselves. All are masked, until it is said.
class audit_disclosure {
public:
    /// Makes a field public.
    audit_disclosure& show(std::string_view collection, std::string_view field) {
        return set(collection, field, audit_visibility::open);
    }
    /// Lets a field be redacted by itself. It costs a hash and about 75 bytes an entry.
    audit_disclosure& separate(std::string_view collection, std::string_view field) {
        return set(collection, field, audit_visibility::personal);
    }
    [[nodiscard]] bool shows(std::string_view collection, std::string_view field) const noexcept {
        return of(collection, field) == audit_visibility::open;
    }
    /// What was said of a field last. Cost: linear in what was said.
    [[nodiscard]] audit_visibility of(std::string_view collection, std::string_view field) const noexcept {
        for (entry const& e : said_) {
            if (e.collection == collection && e.field == field) { return e.how; }
        }
        return audit_visibility::masked;
    }

private:
    struct entry {
        std::string collection;
        std::string field;
        audit_visibility how;
    };
    audit_disclosure& set(std::string_view collection, std::string_view field, audit_visibility how) {
        for (entry& e : said_) {
            if (e.collection == collection && e.field == field) {
                e.how = how;
                return *this;
            }
        }
        said_.push_back({std::string{collection}, std::string{field}, how});
        return *this;
    }
    std::vector<entry> said_;
};

/// An item that owns its fields. Movable; the item borrows from it.
class audit_draft {
public:
    audit_draft() = default;
    audit_draft(audit_draft&&) noexcept = default;
    audit_draft& operator=(audit_draft&&) noexcept = default;

    audit_item item{};

    /// Adds a field, encoded. Precondition: in canonical key order among those of its kind.
    void add(std::string_view field, bytes_view encoded, audit_visibility how) {
        parts_.push_back({std::string{field}, to_bytes(encoded), how});
    }
    /// The item, whole. It lives as long as this, unchanged.
    [[nodiscard]] audit_item const& finish() {
        open_.clear();
        masked_.clear();
        personal_.clear();
        for (part const& p : parts_) {
            switch (p.how) {
                case audit_visibility::masked: masked_.push_back({p.name, p.item}); break;
                case audit_visibility::open: open_.push_back({p.name, p.item}); break;
                case audit_visibility::personal: personal_.push_back({p.name, p.item}); break;
            }
        }
        item.open = open_;
        item.masked = masked_;
        item.personal = personal_;
        return item;
    }

private:
    struct part {
        std::string name;
        bytes item;
        audit_visibility how;
    };
    std::vector<part> parts_;
    std::vector<audit_field> open_;
    std::vector<audit_field> masked_;
    std::vector<audit_field> personal_;
};

/// An entry about no record and no mutation: a push (how many), a pull (up to which position), a switch of the principal,
/// a reset, a migration (to which version). Stamp, device and actor are the caller's to add.
[[nodiscard]] inline audit_item item_of(audit_kind kind, std::uint64_t code = 0) noexcept {
    audit_item out;
    out.kind = kind;
    out.code = code;
    return out;
}
/// An entry about a record as such, which it borrows: that it was evicted, that somebody was denied it (the `errc`).
[[nodiscard]] inline audit_item item_of(audit_kind kind, record_key const& record, std::uint64_t code = 0) noexcept {
    audit_item out = item_of(kind, code);
    out.collection = record.collection;
    out.record = record.id;
    return out;
}

/// A mutation as an entry of any kind about it: its fields, each as an array of what was done (`op_kind`) and the value;
/// shown or personal where `disclosure` says so, masked else. Borrows the mutation's record.
[[nodiscard]] inline audit_draft draft_of(audit_kind kind, mutation const& m, audit_disclosure const& disclosure) {
    audit_draft d;
    d.item.kind = kind;
    d.item.stamp = m.stamp;
    d.item.sequence = m.sequence;
    d.item.code = static_cast<std::uint64_t>(m.kind);
    d.item.collection = m.record.collection;
    d.item.record = m.record.id;
    for (field_op const& op : m.ops) {
        bytes encoded;
        cbor_writer w{encoded};
        w.array(op.kind == op_kind::unset ? 1 : 2);
        w.unsigned_integer(static_cast<std::uint64_t>(op.kind));
        if (op.kind != op_kind::unset) { w.raw(op.value); }
        d.add(op.field, encoded, disclosure.of(m.record.collection, op.field));
    }
    return d;
}
/// The verdict on a mutation as an entry: verdict, whose code is its `verdict_kind`; of one that was rejected denial,
/// whose code is the `errc`. Else as `draft_of` for a local write.
[[nodiscard]] inline audit_draft draft_of(verdict_kind said, errc why, mutation const& m,
                                          audit_disclosure const& disclosure) {
    bool const refused = said == verdict_kind::rejected;
    audit_draft d = draft_of(refused ? audit_kind::denial : audit_kind::verdict, m, disclosure);
    d.item.code = refused ? static_cast<std::uint64_t>(why) : static_cast<std::uint64_t>(said);
    return d;
}

}  // namespace syncline::inline SYNCLINE_ABI
