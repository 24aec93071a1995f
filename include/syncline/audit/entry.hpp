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

/// A name and a canonical CBOR item, borrowed.
struct audit_field {
    std::string_view name;
    bytes_view item;
};

/// What is to be logged; borrows all that it points to. What is `open` is in the leaf for ever; the record's id and
/// what is `masked` are behind the leaf's commitment, and can be redacted.
///
/// `open` and `masked` are in canonical key order (`compare_keys`), each name once. An actor is an opaque name that the
/// host may keep for ever, such as an account's number; who wants it masked passes it as a masked field.
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

    /// Whether there is anything that needs a commitment.
    [[nodiscard]] bool has_private() const noexcept { return !record.empty() || !masked.empty(); }
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

namespace detail {

/// `errc::invalid` unless names are 1 to 255 bytes of UTF-8, in canonical order, and items canonical.
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
        if (!validate_canonical(f.item)) { return failure{errc::invalid, "value of an audit field"}; }
    }
    return {};
}

inline void write_audit_fields(cbor_writer& out, std::span<audit_field const> fields) {
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
[[nodiscard]] inline std::optional<sha256_digest> read_optional_digest(cbor_reader& in) noexcept {
    if (in.null()) { return std::nullopt; }
    return read_digest(in);
}
inline void write_optional_digest(cbor_writer& out, sha256_digest const* d) {
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
    return detail::check_audit_fields(item.masked);
}

/// Appends the private part: an array of the record's id, the masked fields and the link to the record's entry before.
/// Precondition: `check(item)`.
inline void encode_secret(cbor_writer& out, audit_item const& item, std::uint64_t link) {
    out.array(3);
    out.byte_string(item.record);
    detail::write_audit_fields(out, item.masked);
    out.unsigned_integer(link);
}
/// Reads a stranger's. On anything else the reader has failed.
[[nodiscard]] inline audit_entry::secret decode_secret(cbor_reader& in) {
    audit_entry::secret s;
    if (in.array() != 3) { in.fail({errc::malformed, "private part of the wrong length"}); }
    s.record = to_bytes(in.byte_string());
    if (s.record.size() > record_id_bytes_max) { in.fail({errc::malformed, "record of an audit entry"}); }
    s.masked = detail::read_audit_fields(in);
    s.link = in.unsigned_integer();
    return s;
}

/// Appends a leaf's data: an array of thirteen. Precondition: `check(item)`.
inline void encode_leaf(cbor_writer& out, audit_item const& item, std::uint64_t index, sha256_digest const* previous,
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

/// Which fields of which collections may be read in the log by everybody, for ever. Nothing is, until it is said.
class audit_disclosure {
public:
    /// Makes a field public.
    audit_disclosure& show(std::string_view collection, std::string_view field) {
        shown_.push_back({std::string{collection}, std::string{field}});
        return *this;
    }
    [[nodiscard]] bool shows(std::string_view collection, std::string_view field) const noexcept {
        for (entry const& e : shown_) {
            if (e.collection == collection && e.field == field) { return true; }
        }
        return false;
    }

private:
    struct entry {
        std::string collection;
        std::string field;
    };
    std::vector<entry> shown_;
};

/// An item that owns its fields. Movable; the item borrows from it.
class audit_draft {
public:
    audit_draft() = default;
    audit_draft(audit_draft&&) noexcept = default;
    audit_draft& operator=(audit_draft&&) noexcept = default;

    audit_item item{};

    /// Adds a field, encoded. Precondition: in canonical key order among those of its kind.
    void add(std::string_view field, bytes_view encoded, bool shown) {
        parts_.push_back({std::string{field}, to_bytes(encoded), shown});
    }
    /// The item, whole. It lives as long as this, unchanged.
    [[nodiscard]] audit_item const& finish() {
        open_.clear();
        masked_.clear();
        for (part const& p : parts_) { (p.shown ? open_ : masked_).push_back({p.name, p.item}); }
        item.open = open_;
        item.masked = masked_;
        return item;
    }

private:
    struct part {
        std::string name;
        bytes item;
        bool shown;
    };
    std::vector<part> parts_;
    std::vector<audit_field> open_;
    std::vector<audit_field> masked_;
};

/// A mutation as an entry of any kind about it: its fields, each as an array of what was done (`op_kind`) and the value;
/// shown where `disclosure` says so, masked else. Borrows the mutation's record.
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
        d.add(op.field, encoded, disclosure.shows(m.record.collection, op.field));
    }
    return d;
}

}  // namespace syncline::inline SYNCLINE_ABI
