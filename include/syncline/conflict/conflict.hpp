// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a person needs to decide a conflict: three values of each field, who wrote them and when, what is suggested.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/merge/partial.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t path_depth_max = 8;      ///< keys of a path
inline constexpr std::size_t writer_bytes_max = 255;  ///< a writer's name

[[nodiscard]] inline bool valid(field_path const& path) noexcept {
    if (path.size() > path_depth_max) { return false; }
    for (std::string const& key : path) {
        if (key.empty() || key.size() > field_name_bytes_max || !valid_utf8(key)) { return false; }
    }
    return true;
}
/// The order of paths: key by key, as in a canonical map; a path before what it begins.
[[nodiscard]] inline std::strong_ordering compare_paths(field_path const& a, field_path const& b) noexcept {
    for (std::size_t i = 0; i < a.size() && i < b.size(); ++i) {
        if (auto const order = compare_keys(a[i], b[i]); order != 0) { return order; }
    }
    return a.size() <=> b.size();
}
/// "address/street"; for people, not to be taken apart again.
[[nodiscard]] inline std::string to_text(field_path const& path) {
    if (path.empty()) { return "the record"; }
    std::string out = path.front();
    for (std::size_t i = 1; i < path.size(); ++i) { out.append("/").append(path[i]); }
    return out;
}

/// The encoded value at a path of an encoded map, borrowed; nothing where it isn't. An empty path is the map itself.
/// Errors as of `map_find`. Cost: linear in the bytes before it.
[[nodiscard]] inline result<std::optional<bytes_view>> value_at(bytes_view map, field_path const& path) {
    bytes_view at = map;
    for (std::string const& key : path) {
        if (at.empty() || cbor_reader{at}.peek() != cbor_type::map) { return std::optional<bytes_view>{}; }
        auto found = map_find(at, key);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<bytes_view>{}; }
        at = **found;
    }
    return std::optional<bytes_view>{at};
}

/// What may be done about a field. Values travel: append, never renumber.
enum class conflict_action : std::uint8_t {
    local = 1,   ///< this side's value
    remote = 2,  ///< the other side's
    merge = 3,   ///< both, as `combine` makes one of them
    ask = 4,     ///< a person must look
};
[[nodiscard]] constexpr char const* name(conflict_action a) noexcept {
    switch (a) {
        case conflict_action::local: return "local";
        case conflict_action::remote: return "remote";
        case conflict_action::merge: return "merge";
        case conflict_action::ask: return "ask";
    }
    return "unknown action";
}

/// A share, in 65536ths: 65536 is certain.
using share16 = std::uint32_t;
inline constexpr share16 share_one = 65536;

/// Why something is suggested. Values travel: append, never renumber.
enum class suggestion_reason : std::uint8_t {
    none = 0,
    newer = 1,             ///< that side was written later
    higher_role = 2,       ///< … by the higher role
    usual_writer = 3,      ///< … by who edits this field more often
    says_something = 4,    ///< the other side is empty
    larger = 5,            ///<
    smaller = 6,           ///<
    longer = 7,            ///<
    shorter = 8,           ///<
    bigger_change = 9,     ///< further from the base
    smaller_change = 10,   ///< nearer to the base
    such_values_won = 11,  ///< this value was preferred to the like of the other before
    mine_usually = 12,     ///< the person mostly takes their own here
    theirs_usually = 13,   ///< … the other's
    both_fit = 14,         ///< the two changes don't touch each other
    merged_before = 15,    ///< the person mostly keeps both here
    preference = 16,       ///< the person said so once and for all
    nothing_known = 17,    ///< no two sides differ in anything that counts
    host = 18,             ///< the host's own model
};
[[nodiscard]] constexpr char const* name(suggestion_reason r) noexcept {
    switch (r) {
        case suggestion_reason::none: return "";
        case suggestion_reason::newer: return "it is newer";
        case suggestion_reason::higher_role: return "it is from the higher role";
        case suggestion_reason::usual_writer: return "its writer edits this field more often";
        case suggestion_reason::says_something: return "the other side is empty";
        case suggestion_reason::larger: return "it is larger";
        case suggestion_reason::smaller: return "it is smaller";
        case suggestion_reason::longer: return "it is longer";
        case suggestion_reason::shorter: return "it is shorter";
        case suggestion_reason::bigger_change: return "it changes more";
        case suggestion_reason::smaller_change: return "it changes less";
        case suggestion_reason::such_values_won: return "such a value was preferred before";
        case suggestion_reason::mine_usually: return "here you mostly keep your own";
        case suggestion_reason::theirs_usually: return "here you mostly take the other side's";
        case suggestion_reason::both_fit: return "the two changes don't touch each other";
        case suggestion_reason::merged_before: return "here you mostly keep both";
        case suggestion_reason::preference: return "you said so for this field";
        case suggestion_reason::nothing_known: return "nothing tells the sides apart";
        case suggestion_reason::host: return "the host's model says so";
    }
    return "unknown reason";
}

/// Who said it. Values travel: append, never renumber.
enum class suggestion_source : std::uint8_t { heuristics = 1, learned = 2, preference = 3, host = 4 };

struct ranked_action {
    conflict_action what = conflict_action::ask;
    share16 confidence = 0;
    friend bool operator==(ranked_action const&, ranked_action const&) = default;
};

/// What to do about one field, how sure that is, what else might be done, and why.
///
/// `ask` says that nothing is worth suggesting; the alternatives are then the likeliest two.
struct suggestion {
    conflict_action what = conflict_action::ask;
    share16 confidence = 0;                       ///< how often such a suggestion is right
    std::array<ranked_action, 2> alternatives{};  ///< the next best, best first; one that is no way is `ask` with 0
    std::array<suggestion_reason, 2> reasons{};   ///< the weightiest first
    suggestion_source source = suggestion_source::heuristics;
    friend bool operator==(suggestion const&, suggestion const&) = default;
};
/// "remote: it is newer, it is from the higher role".
[[nodiscard]] inline std::string words(suggestion const& s) {
    std::string out = name(s.what);
    char const* before = ": ";
    for (suggestion_reason const r : s.reasons) {
        if (r == suggestion_reason::none) { continue; }
        out.append(before).append(name(r));
        before = ", ";
    }
    return out;
}
[[nodiscard]] constexpr bool valid(suggestion const& s) noexcept {
    auto const known = [](conflict_action a) { return a >= conflict_action::local && a <= conflict_action::ask; };
    return known(s.what) && s.confidence <= share_one && known(s.alternatives[0].what) &&
           known(s.alternatives[1].what) && s.alternatives[0].confidence <= share_one &&
           s.alternatives[1].confidence <= share_one;
}

/// Who wrote a side, and when.
struct conflict_writer {
    bytes writer{};         ///< the host's name for them, at most 255 bytes
    timestamp stamp{};      ///< of the side's last write
    std::uint8_t role = 0;  ///< the higher the more to say; the host's own numbers
    friend bool operator==(conflict_writer const&, conflict_writer const&) = default;
};

/// One field that waits for a person.
struct contested_field {
    field_path path{};
    rule by = rule::manual;         ///< the rule that raised it
    std::string guard{};            ///< the guard that raised it; empty: the rule
    std::uint32_t local_edits = 0;  ///< how often this side's writer edits the field, over a time of the host's choice
    std::uint32_t remote_edits = 0;
    std::optional<suggestion> suggested{};
    friend bool operator==(contested_field const&, contested_field const&) = default;
};

/// Stored: append, never renumber.
enum class conflict_state : std::uint8_t {
    open = 1,     ///< waits for a decision
    decided = 2,  ///< has one, which can be undone
};

/// A conflict as it stands in the queue.
struct conflict {
    std::uint64_t id = 0;  ///< its name in the queue: rising with every conflict
    record_key record{};
    mutation local{};  ///< what could not be applied, as it was sent
    /// The fields that it touched, as its writer saw them: a canonical map. Once a deletion that keeps none has come, the
    /// others too, as they were last held.
    bytes base{};
    std::optional<row> remote{};            ///< what it collides with; nothing: not held yet
    std::vector<contested_field> fields{};  ///< in the order of paths, each once; at least one
    conflict_writer local_by{};
    conflict_writer remote_by{};
    wall_time opened{};
    wall_time changed{};         ///< when the queue last changed it
    std::uint64_t revision = 1;  ///< counts what the person may not have seen yet: one more for each new remote
    std::uint64_t events = 0;    ///< entries of its history
    std::uint64_t last_decision =
        0;  ///< the history entry of the decision that stands, or that was undone last; 0: none
    conflict_state state = conflict_state::open;
    friend bool operator==(conflict const&, conflict const&) = default;

    [[nodiscard]] contested_field const* find(field_path const& path) const noexcept {
        for (contested_field const& f : fields) {
            if (f.path == path) { return &f; }
        }
        return nullptr;
    }
    /// Deleted by one, changed by the other.
    [[nodiscard]] bool of_whole_record() const noexcept { return fields.size() == 1 && fields.front().path.empty(); }
};

namespace detail {

/// What `decode_mutation` would take back.
[[nodiscard]] inline status check_operations(mutation const& m, decode_limits const& limits) {
    for (std::size_t i = 0; i < m.ops.size(); ++i) {
        field_op const& op = m.ops[i];
        bool const named = !op.field.empty() && op.field.size() <= field_name_bytes_max && valid_utf8(op.field);
        bool const valued =
            op.kind == op_kind::unset ? op.value.empty() : validate_canonical(op.value, limits).has_value();
        if (!named || !valued || (i != 0 && compare_keys(m.ops[i - 1].field, op.field) >= 0)) {
            return failure{errc::invalid, "operations of a mutation"};
        }
    }
    if (m.kind == change_kind::erase && !m.ops.empty()) { return failure{errc::invalid, "erase with operations"}; }
    return {};
}
/// What `decode_row` would take back: no mark after the version, as those of what is still pending have; a field may have
/// many inside.
[[nodiscard]] inline status check_row(row const& r, decode_limits const& limits) {
    bool fits = r.floor.at <= r.version;
    for (std::size_t i = 0; i < r.exceptions.size() && fits; ++i) {
        fits = r.exceptions[i].mark.at <= r.version && valid_utf8(r.exceptions[i].field) &&
               (i == 0 || mark_before(r.exceptions[i - 1], r.exceptions[i]));
    }
    if (!fits) { return failure{errc::invalid, "marks of a row"}; }
    // Where a deletion doesn't always win, its tombstone keeps the fields.
    return r.deleted && r.fields.empty() ? status{} : validate_fields(r.fields, limits);
}

}  // namespace detail

/// Whether a conflict may be stored: keys and paths in range and in order, operations and fields canonical.
[[nodiscard]] inline status check(conflict const& c, decode_limits const& limits = {}) {
    if (!valid(c.record) || !valid(c.local.record) || c.record != c.local.record) {
        return failure{errc::invalid, "record key of a conflict"};
    }
    if (c.fields.empty() || c.fields.size() > contested_fields_max) {
        return failure{errc::invalid, "a conflict has 1 to 4096 fields"};
    }
    for (std::size_t i = 0; i < c.fields.size(); ++i) {
        contested_field const& f = c.fields[i];
        if (!valid(f.path) || f.guard.size() > guard_bytes_max || !valid_utf8(f.guard)) {
            return failure{errc::invalid, "field of a conflict"};
        }
        if (f.path.empty() && c.fields.size() != 1) { return failure{errc::invalid, "the whole record and a field"}; }
        if (i != 0 && compare_paths(c.fields[i - 1].path, f.path) >= 0) {
            return failure{errc::invalid, "fields of a conflict out of order"};
        }
        if (i != 0 && c.fields[i - 1].path.size() < f.path.size() &&
            std::equal(c.fields[i - 1].path.begin(), c.fields[i - 1].path.end(), f.path.begin())) {
            return failure{errc::invalid, "a field inside another"};
        }
        if (f.suggested && !valid(*f.suggested)) { return failure{errc::invalid, "suggestion"}; }
    }
    if (c.local_by.writer.size() > writer_bytes_max || c.remote_by.writer.size() > writer_bytes_max) {
        return failure{errc::invalid, "writer of a conflict"};
    }
    if (auto ok = detail::check_operations(c.local, limits); !ok) { return ok; }
    if (!c.base.empty()) {
        if (auto ok = validate_fields(c.base, limits); !ok) { return ok; }
    }
    return c.remote ? detail::check_row(*c.remote, limits) : status{};
}

namespace detail {

/// The form of a stored conflict. Another number is another form: `errc::unsupported`.
inline constexpr std::uint64_t conflict_form = 1;

inline void encode_path(cbor_writer& out, field_path const& path) {
    out.array(path.size());
    for (std::string const& key : path) { out.text(key); }
}
[[nodiscard]] inline field_path decode_path(cbor_reader& in) {
    field_path path;
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { path.emplace_back(in.text()); }
    if (!in.failed() && !valid(path)) { in.fail({errc::malformed, "path out of range"}); }
    return path;
}

[[nodiscard]] inline std::uint64_t time_bits(wall_time t) noexcept {
    return static_cast<std::uint64_t>(t.time_since_epoch().count());
}
[[nodiscard]] inline wall_time time_of(std::uint64_t bits) noexcept {
    return wall_time{milliseconds{static_cast<std::int64_t>(bits)}};
}
/// A number up to `most`; the reader has failed on a greater one.
[[nodiscard]] inline std::uint64_t bounded(cbor_reader& in, std::uint64_t most, std::uint64_t least = 0) {
    std::uint64_t const n = in.unsigned_integer();
    if (n > most || n < least) { in.fail({errc::malformed, "number out of range"}); }
    return n;
}

inline void encode_suggestion(cbor_writer& out, suggestion const& s) {
    out.array(9);
    out.unsigned_integer(static_cast<std::uint64_t>(s.what));
    out.unsigned_integer(s.confidence);
    for (ranked_action const& a : s.alternatives) {
        out.unsigned_integer(static_cast<std::uint64_t>(a.what));
        out.unsigned_integer(a.confidence);
    }
    for (suggestion_reason const r : s.reasons) { out.unsigned_integer(static_cast<std::uint64_t>(r)); }
    out.unsigned_integer(static_cast<std::uint64_t>(s.source));
}
[[nodiscard]] inline suggestion decode_suggestion(cbor_reader& in) {
    suggestion s;
    if (in.array() != 9) { in.fail({errc::malformed, "suggestion of the wrong length"}); }
    auto const action = [&] { return static_cast<conflict_action>(bounded(in, 4, 1)); };
    auto const share = [&] { return static_cast<share16>(bounded(in, share_one)); };
    s.what = action();
    s.confidence = share();
    for (ranked_action& a : s.alternatives) {
        a.what = action();
        a.confidence = share();
    }
    for (suggestion_reason& r : s.reasons) { r = static_cast<suggestion_reason>(bounded(in, 255)); }
    s.source = static_cast<suggestion_source>(bounded(in, 255, 1));
    return s;
}

inline void encode_writer(cbor_writer& out, conflict_writer const& w) {
    out.array(3);
    out.byte_string(w.writer);
    out.unsigned_integer(w.stamp.raw);
    out.unsigned_integer(w.role);
}
[[nodiscard]] inline conflict_writer decode_writer(cbor_reader& in) {
    conflict_writer w;
    if (in.array() != 3) { in.fail({errc::malformed, "writer of the wrong length"}); }
    w.writer = to_bytes(in.byte_string());
    w.stamp = timestamp{in.unsigned_integer()};
    w.role = static_cast<std::uint8_t>(bounded(in, 255));
    return w;
}

inline void encode_optional_row(cbor_writer& out, std::optional<row> const& r) {
    if (r) {
        encode_row(out, *r);
    } else {
        out.null();
    }
}
[[nodiscard]] inline std::optional<row> decode_optional_row(cbor_reader& in) {
    if (in.null()) { return std::nullopt; }
    return decode_row(in);
}

}  // namespace detail

/// Appends the canonical form: an array of fourteen items, the first the number of the form. The id is the key's.
/// Precondition: `check(c)`.
inline void encode_conflict(cbor_writer& out, conflict const& c) {
    out.array(14);
    out.unsigned_integer(detail::conflict_form);
    out.unsigned_integer(static_cast<std::uint64_t>(c.state));
    encode_mutation(out, c.local);
    if (c.base.empty()) {
        out.null();
    } else {
        out.raw(c.base);
    }
    detail::encode_optional_row(out, c.remote);
    out.array(c.fields.size());
    for (contested_field const& f : c.fields) {
        out.array(6);
        detail::encode_path(out, f.path);
        out.unsigned_integer(static_cast<std::uint64_t>(f.by));
        out.text(f.guard);
        out.unsigned_integer(f.local_edits);
        out.unsigned_integer(f.remote_edits);
        if (f.suggested) {
            detail::encode_suggestion(out, *f.suggested);
        } else {
            out.null();
        }
    }
    detail::encode_writer(out, c.local_by);
    detail::encode_writer(out, c.remote_by);
    out.unsigned_integer(detail::time_bits(c.opened));
    out.unsigned_integer(detail::time_bits(c.changed));
    out.unsigned_integer(c.revision);
    out.unsigned_integer(c.events);
    out.unsigned_integer(c.last_decision);
    out.null();  // kept for a later form
}

/// Reads what `encode_conflict` wrote. Errors: `errc::unsupported` for another form, `errc::corrupt` for anything else
/// that `encode_conflict` doesn't write.
[[nodiscard]] inline result<conflict> decode_conflict(std::uint64_t id, bytes_view raw) {
    constexpr failure bad{errc::corrupt, "conflict"};
    cbor_reader in{raw};
    conflict c;
    c.id = id;
    if (in.array() != 14) { return bad; }
    if (in.unsigned_integer() != detail::conflict_form) {
        return in.failed() ? bad : failure{errc::unsupported, "conflict of another form"};
    }
    c.state = static_cast<conflict_state>(detail::bounded(in, 2, 1));
    c.local = decode_mutation(in);
    c.record = c.local.record;
    if (!in.null()) { c.base = to_bytes(in.skip()); }
    c.remote = detail::decode_optional_row(in);
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        contested_field f;
        if (in.array() != 6) { return bad; }
        f.path = detail::decode_path(in);
        f.by = static_cast<rule>(detail::bounded(in, 255, 1));
        f.guard = std::string{in.text()};
        f.local_edits = static_cast<std::uint32_t>(detail::bounded(in, 0xFFFFFFFF));
        f.remote_edits = static_cast<std::uint32_t>(detail::bounded(in, 0xFFFFFFFF));
        if (!in.null()) { f.suggested = detail::decode_suggestion(in); }
        c.fields.push_back(std::move(f));
    }
    c.local_by = detail::decode_writer(in);
    c.remote_by = detail::decode_writer(in);
    c.opened = detail::time_of(in.unsigned_integer());
    c.changed = detail::time_of(in.unsigned_integer());
    c.revision = in.unsigned_integer();
    c.events = in.unsigned_integer();
    c.last_decision = in.unsigned_integer();
    if (!in.null() || !in.finish() || !check(c) || c.last_decision > c.events) { return bad; }
    return c;
}

}  // namespace syncline::inline SYNCLINE_ABI
