// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Records as the library sees them: a key, and a row of canonical fields with the marks of who wrote what.

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t collection_bytes_max = 64;   ///< a collection's name: 1 to so many bytes of UTF-8
inline constexpr std::size_t record_id_bytes_max = 255;   ///< a record's id: 1 to so many bytes
inline constexpr std::size_t field_name_bytes_max = 255;  ///< a field's name: 1 to so many bytes of UTF-8

/// Which record: a collection and an id of the host's choice, unique in it.
struct record_key {
    std::string collection;
    bytes id;

    record_key() = default;
    record_key(std::string_view c, bytes_view i) : collection(c), id(to_bytes(i)) {}
    record_key(std::string_view c, std::string_view i) : record_key(c, as_bytes(i)) {}

    [[nodiscard]] std::string_view id_text() const noexcept { return as_text(id); }
    friend bool operator==(record_key const&, record_key const&) = default;
};

[[nodiscard]] inline bool valid(std::string_view collection, bytes_view id) noexcept {
    return !collection.empty() && collection.size() <= collection_bytes_max && valid_utf8(collection) && !id.empty() &&
           id.size() <= record_id_bytes_max;
}
[[nodiscard]] inline bool valid(record_key const& key) noexcept { return valid(key.collection, key.id); }

/// Appends the key as ordered bytes: all of a collection together, its ids in byte order.
/// Precondition: `valid(key)`. At most 320 bytes.
inline void append_key(bytes& out, std::string_view collection, bytes_view id) {
    SYNCLINE_ASSERT(!collection.empty() && collection.size() <= collection_bytes_max &&
                    id.size() <= record_id_bytes_max);
    std::size_t const before = out.size();
    out.resize(before + 1 + collection.size() + id.size());
    std::byte* const to = out.data() + before;
    *to = static_cast<std::byte>(collection.size());
    std::memcpy(to + 1, collection.data(), collection.size());
    if (!id.empty()) { std::memcpy(to + 1 + collection.size(), id.data(), id.size()); }
}
[[nodiscard]] inline bytes to_bytes(record_key const& key) {
    bytes out;
    append_key(out, key.collection, key.id);
    return out;
}
/// A key in storage: a prefix, and what `append_key` writes. A value that allocates nothing.
class record_entry {
public:
    static constexpr std::size_t prefix_bytes_max = 16;

    /// Preconditions: `valid(key)`, and at most `prefix_bytes_max` bytes of a prefix.
    record_entry(std::string_view prefix, record_key const& key) noexcept
        : size_(prefix.size() + 1 + key.collection.size() + key.id.size()) {
        SYNCLINE_ASSERT(prefix.size() <= prefix_bytes_max && key.collection.size() <= collection_bytes_max &&
                        key.id.size() <= record_id_bytes_max);
        if (size_ > raw_.size()) {  // a key of no record: no storage takes an empty one
            size_ = 0;
            return;
        }
        std::byte* to = raw_.data();
        std::memcpy(to, prefix.data(), prefix.size());
        to += prefix.size();
        *to++ = static_cast<std::byte>(key.collection.size());
        std::memcpy(to, key.collection.data(), key.collection.size());
        to += key.collection.size();
        if (!key.id.empty()) { std::memcpy(to, key.id.data(), key.id.size()); }
    }
    operator bytes_view() const noexcept { return {raw_.data(), size_}; }

private:
    std::size_t size_;
    std::array<std::byte, prefix_bytes_max + 1 + collection_bytes_max + record_id_bytes_max> raw_;  // up to size_
};
/// A record's key, borrowed.
struct record_key_view {
    std::string_view collection;
    bytes_view id;
};
/// The order of keys: that of what `append_key` writes.
[[nodiscard]] inline std::strong_ordering compare(record_key_view const& a, record_key_view const& b) noexcept {
    if (auto const order = a.collection.size() <=> b.collection.size(); order != 0) { return order; }
    if (auto const order = compare(as_bytes(a.collection), as_bytes(b.collection)); order != 0) { return order; }
    return compare(a.id, b.id);
}
/// The key that `append_key` wrote, borrowed from it; `errc::corrupt` for anything else.
[[nodiscard]] inline result<record_key_view> record_key_in(bytes_view b) noexcept {
    if (b.empty()) { return failure{errc::corrupt, "empty record key"}; }
    auto const n = std::to_integer<std::size_t>(b[0]);
    if (n >= b.size()) { return failure{errc::corrupt, "truncated record key"}; }
    record_key_view const key{as_text(b.subspan(1, n)), b.subspan(1 + n)};
    if (!valid(key.collection, key.id)) { return failure{errc::corrupt, "record key out of range"}; }
    return key;
}
/// The same as a value of its own.
[[nodiscard]] inline result<record_key> record_key_from(bytes_view b) {
    auto const key = record_key_in(b);
    if (!key) { return key.error(); }
    return record_key{key->collection, key->id};
}

/// A place in the authority's commit order; the first is 1. As a base or a cursor, 0 says "nothing yet".
using position = std::uint64_t;

/// The position of what is not confirmed: after every confirmed one.
inline constexpr position pending_position = (std::numeric_limits<position>::max)();

/// A replica as its authority numbers it: short, and ordered the same for everybody.
using author_index = std::uint32_t;

/// The author of what this replica wrote before it first met its authority.
inline constexpr author_index unknown_author = (std::numeric_limits<author_index>::max)();

/// Who wrote a field last, when by the clock, and where in the commit order.
struct write_mark {
    position at = 0;
    timestamp stamp{};
    author_index author = 0;
    friend bool operator==(write_mark const&, write_mark const&) = default;
};

/// The total order of last writer wins: by clock, then by author. Never by "mine".
[[nodiscard]] constexpr bool wins(write_mark const& a, write_mark const& b) noexcept {
    return a.stamp != b.stamp ? a.stamp > b.stamp : a.author > b.author;
}

/// The mark of one field that differs from its row's, or of something inside of the field.
///
/// `path` says what: canonical CBOR items, one after the other. Their meaning is the rule's (a nested field's name, a
/// set's element, a list's operations); empty, it is the field itself.
struct field_mark {
    std::string field;
    write_mark mark;
    bytes path{};
    friend bool operator==(field_mark const&, field_mark const&) = default;
};

/// The order of a row's marks: by field in canonical key order, then by path, then by who and when.
[[nodiscard]] inline bool mark_before(field_mark const& a, field_mark const& b) noexcept {
    if (auto const field = compare_keys(a.field, b.field); field != 0) { return field < 0; }
    if (auto const path = compare(a.path, b.path); path != 0) { return path < 0; }
    if (a.path.empty()) { return false; }  // a field has one mark
    if (a.mark.author != b.mark.author) { return a.mark.author < b.mark.author; }
    return a.mark.stamp < b.mark.stamp;
}

/// Which version of its collection's schema something is written in; the first is 1. See model/schema.hpp.
using schema_version = std::uint32_t;

/// A record's state at a position.
///
/// One version per row with sparse exceptions: `floor` is the mark of every field that `exceptions`
/// doesn't name. A deleted record is a tombstone: `deleted`, and no fields but those that a concurrent edit may bring
/// back, where the collection's rules let an edit win over a deletion.
struct row {
    position version = 0;    ///< where it changed last
    std::uint64_t life = 1;  ///< counts creations: 1, and one more for each creation after a delete
    bool deleted = false;
    write_mark floor{};
    std::vector<field_mark> exceptions{};  ///< in the order of `mark_before`
    bytes fields{};                        ///< canonical CBOR map with text keys; empty for most tombstones
    schema_version schema = 1;             ///< of `fields`

    friend bool operator==(row const&, row const&) = default;

    [[nodiscard]] write_mark const& mark_of(std::string_view field) const noexcept {
        for (field_mark const& e : exceptions) {
            if (e.path.empty() && e.field == field) { return e.mark; }
        }
        return floor;
    }
};

/// Bytes that `encode_row` writes at most.
[[nodiscard]] inline std::size_t encoded_row_max(row const& r) noexcept {
    std::size_t bound = 64 + r.fields.size();
    for (field_mark const& e : r.exceptions) { bound += 48 + e.field.size() + e.path.size(); }
    return bound;
}

/// As `encode_row`, into room. Precondition: it has `encoded_row_max(r)` bytes.
inline void encode_row_in(cbor_room_writer& out, row const& r) {
    auto const mark = [&](write_mark const& m) {
        out.unsigned_integer(r.version - m.at);
        out.unsigned_integer(m.stamp.raw);
        out.unsigned_integer(m.author);
    };
    out.array(r.schema == 1 ? 7 : 8);
    out.unsigned_integer(r.version);
    out.unsigned_integer(r.life);
    mark(r.floor);
    out.array(r.exceptions.size() * 4);
    for (field_mark const& e : r.exceptions) {
        if (!e.path.empty()) { out.array(2); }
        out.text(e.field);
        if (!e.path.empty()) { out.byte_string(e.path); }
        mark(e.mark);
    }
    if (r.deleted && r.fields.empty()) {
        out.null();
    } else {
        if (r.deleted) { out.array(1); }
        out.raw(r.fields);
    }
    if (r.schema != 1) { out.unsigned_integer(r.schema); }
}

/// Appends the row as one canonical CBOR array: version, life, floor (three items), exceptions, fields or null; of a
/// tombstone with fields an array of these; and the schema's version, unless it is the first. An exception is its
/// field, or an array of field and path, and its mark. Marks are differences to the version: in a clean row they cost a byte or two.
inline void encode_row(cbor_writer& out, row const& r) {
    out.in_room(encoded_row_max(r), [&](cbor_room_writer& room) { encode_row_in(room, r); });
}

/// Reads a schema's version that is written only where it isn't the first.
[[nodiscard]] inline schema_version decode_later_schema(cbor_reader& in) {
    std::uint64_t const v = in.unsigned_integer();
    if (v == 1) { in.fail({errc::not_deterministic, "the first schema version, said at length"}); }
    if (v == 0 || v > (std::numeric_limits<schema_version>::max)()) {
        in.fail({errc::malformed, "schema version out of range"});
    }
    return static_cast<schema_version>(v);
}

/// Reads what `encode_row` wrote; on malformed input the reader has failed and the row means nothing.
[[nodiscard]] inline row decode_row(cbor_reader& in) {
    row r;
    auto const mark = [&] {
        write_mark m;
        std::uint64_t const back = in.unsigned_integer();
        if (back > r.version) { in.fail({errc::malformed, "mark after its row's version"}); }
        m.at = r.version - back;
        m.stamp = timestamp{in.unsigned_integer()};
        std::uint64_t const author = in.unsigned_integer();
        if (author > unknown_author) { in.fail({errc::malformed, "author out of range"}); }
        m.author = static_cast<author_index>(author);
        return m;
    };
    std::size_t const parts = in.array();
    if (parts != 7 && parts != 8) { in.fail({errc::malformed, "row of the wrong length"}); }
    r.version = in.unsigned_integer();
    r.life = in.unsigned_integer();
    r.floor = mark();
    std::size_t const marked = in.array();
    if (marked % 4 != 0) { in.fail({errc::malformed, "exceptions of the wrong length"}); }
    for (std::size_t i = 0; i < marked / 4 && !in.failed(); ++i) {
        field_mark e;
        bool const inside = in.peek() == cbor_type::array;
        if (inside && in.array() != 2) { in.fail({errc::malformed, "exception of the wrong length"}); }
        e.field = std::string{in.text()};
        if (inside) {
            e.path = to_bytes(in.byte_string());
            if (e.path.empty()) { in.fail({errc::not_deterministic, "empty path"}); }
        }
        e.mark = mark();
        if (!r.exceptions.empty() && !mark_before(r.exceptions.back(), e)) {
            in.fail({errc::not_deterministic, "exceptions out of order"});
        }
        r.exceptions.push_back(std::move(e));
    }
    if (in.null()) {
        r.deleted = true;
    } else {
        if (in.peek() == cbor_type::array) {
            r.deleted = true;
            if (in.array() != 1) { in.fail({errc::malformed, "tombstone of the wrong length"}); }
        }
        if (in.peek() != cbor_type::map) { in.fail({errc::malformed, "fields that are no map"}); }
        r.fields = to_bytes(in.skip());
    }
    if (parts == 8) { r.schema = decode_later_schema(in); }
    return r;
}

/// Canonical fields of a record: a CBOR map in deterministic form whose keys are texts of 1 to 255 bytes.
[[nodiscard]] inline status validate_fields(bytes_view fields, decode_limits const& limits = {}) {
    cbor_reader in{fields, limits};
    std::size_t const n = in.map();
    std::string_view last;
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        std::string_view const name = in.text();
        if (name.empty() || name.size() > field_name_bytes_max) {
            in.fail({errc::invalid, "field name of the wrong length"});
        }
        if (i != 0 && compare_keys(last, name) >= 0) { in.fail({errc::not_deterministic, "fields out of order"}); }
        last = name;
        (void)in.skip();
    }
    return in.finish();
}

}  // namespace syncline::inline SYNCLINE_ABI
