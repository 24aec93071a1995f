// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The messages between a replica and its authority: one request, one reply, both ways of a sync in each.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/apply.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/replica/limits.hpp>
#include <syncline/replica/mutation_batch.hpp>
#include <syncline/replica/range_sums.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/row_page.hpp>
#include <syncline/replica/row_parts.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/replica/verdict_columns.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A message is a frame: "SYL", the protocol's version, CRC-32C of the body (big-endian), the body in
/// deterministic CBOR: a map with small integers as keys. Unknown keys are skipped; key 0 lists the
/// mandatory features, and one that is unknown refuses the message.
inline constexpr std::uint8_t protocol_version = 1;
inline constexpr std::size_t frame_bytes = 8;
inline constexpr std::size_t exchange_items_max = 65'536;  ///< mutations, verdicts or rows of one message
inline constexpr std::size_t past_epochs_max = 64;         ///< epochs of one reply

/// What the sender of a message understands beyond the first version: bits of its `features`. Each end tells its own.
inline constexpr std::uint64_t feature_columns = 1;  ///< a reply's rows and verdicts, a request's mutations, in columns
inline constexpr std::uint64_t feature_parts = 2;    ///< a reply's rows without what the asker holds of them
inline constexpr std::uint64_t feature_sums = 4;    ///< a request's sums of what it holds, and ranges that are the same
inline constexpr std::uint64_t feature_ranges = 8;  ///< a request's ranges
inline constexpr std::uint64_t feature_marks = 16;  ///< exceptions of a reply's rows in columns of their own
inline constexpr std::uint64_t feature_scoped_relay = 32;  ///< others' mutations beside scopes, where any are taken
/// What an authority understands of requests, as it tells.
inline constexpr std::uint64_t authority_features = feature_columns | feature_sums | feature_ranges;

/// Fewer than these go one by one all the same: columns have their price.
inline constexpr std::size_t columns_rows_min = 8;
inline constexpr std::size_t columns_mutations_min = 4;
inline constexpr std::size_t columns_verdicts_min = 4;

/// The authority's answer to one mutation.
struct verdict {
    std::uint64_t sequence = 0;
    verdict_kind kind = verdict_kind::applied;
    bool again = false;    ///< the first verdict, answered once more
    errc reason{};         ///< of a rejection
    position version = 0;  ///< of the record once it was decided: what a confirmed state that holds it has at least
    timestamp stamp{};     ///< effective: the mutation's, or the authority's bound
    std::vector<decision> decisions{};
    std::string text{};  ///< what the authority's validation said, for people; may be empty
    /// Of a group that took effect: for each part what `version` is for its record. `version` is the group's position then.
    std::vector<position> versions{};
    /// Of a group that was rejected for one of its parts: which, counted from 0. `decisions` are of that part.
    std::optional<std::uint8_t> part{};
    /// Of a conflict the guards that ask, for people, with ", " between: 1 to 255 bytes of UTF-8; else empty.
    std::string guard{};
    friend bool operator==(verdict const&, verdict const&) = default;
};

/// The name that a mutation has from its beginning, before it is frozen; what copies of a store share bears it in each.
struct origin {
    std::uint64_t line = 0;    ///< random: what was written between two openings of a store; 0: no name
    std::uint64_t number = 0;  ///< of its outbox entry, unique in its line
    friend bool operator==(origin const&, origin const&) = default;
};

struct schema_of {
    std::string collection;
    schema_version version = 1;
    friend bool operator==(schema_of const&, schema_of const&) = default;
};

/// Another's sealed mutation, carried home.
struct relayed_item {
    dot id{};        ///< whose, and which of theirs: as the envelope says
    bytes sealed{};  ///< the envelope; see envelope.hpp
    friend bool operator==(relayed_item const&, relayed_item const&) = default;
};

/// What an authority says of an envelope. Values travel: append, never renumber.
enum class relay_outcome : std::uint8_t {
    home = 1,     ///< decided, now or before: it needn't be carried any more
    needs = 2,    ///< what it builds on is missing: keep it, and bring that
    refused = 3,  ///< it is not its author's, or no envelope that is taken here: drop it
    later = 4,    ///< not decided now: keep it, and bring it again
    settled = 5,  ///< home since so long that what it came to is forgotten: the row as it is now has it, if any does
};
[[nodiscard]] constexpr char const* name(relay_outcome o) noexcept {
    switch (o) {
        case relay_outcome::home: return "home";
        case relay_outcome::needs: return "needs";
        case relay_outcome::refused: return "refused";
        case relay_outcome::later: return "later";
        case relay_outcome::settled: return "settled";
    }
    return "unknown outcome";
}

/// What tells envelopes of one name apart: the first 16 bytes of the SHA-256 of its bytes.
[[nodiscard]] inline id128 relay_content(bytes_view sealed) noexcept {
    auto const all = sha256(sealed);
    id128 out;
    std::copy_n(all.begin(), out.bytes.size(), out.bytes.begin());
    return out;
}

struct relay_answer {
    dot id{};
    relay_outcome outcome = relay_outcome::later;
    position version = 0;  ///< of one that is home: a row of its record from this version on contains it; 0: none does
    errc reason{};         ///< of one that is refused
    dot missing{};         ///< of one that needs it
    /// Of one that isn't home: which envelope it was (`relay_content`), as another may have stood under its name. Zero: it is
    /// not told.
    id128 content{};
    /// Of a group that is home: `version` for each of its parts; the last of them is `version`.
    std::vector<position> versions{};
    friend bool operator==(relay_answer const&, relay_answer const&) = default;
};

struct request {
    replica_id replica{};
    std::optional<id128> epoch{};    ///< of the authority that the cursor belongs to; empty at first contact
    position cursor = 0;             ///< everything up to here is held
    std::uint64_t receipts = 0;      ///< verdicts up to this sequence are safe with the author
    std::vector<bytes> mutations{};  ///< frozen, in sequence
    std::uint64_t rows_max = 1'000;
    std::uint64_t bytes_max = std::uint64_t{1} << 20;  ///< of rows; one row more than fits is sent all the same
    std::vector<origin> origins{};                     ///< of the mutations, one for each; or empty
    std::uint64_t line = 0;  ///< what the store is since it was opened last; the reply names it again; 0: not told
    std::vector<record_range> ranges{};  ///< not held yet; with a cursor of 0, nothing is, and the tail is not wanted
    std::vector<schema_of> schemas{};    ///< what the device's program knows, where it is more than the first version
    std::uint64_t features = 0;          ///< what the sender understands of replies; unknown bits mean nothing
    /// The last position that the sender was told of; with it, it can follow an authority to another epoch.
    std::optional<position> known{};
    /// Tombstones up to here are gone, as far as the sender was told: by an authority that was put back since, perhaps, to
    /// where it has them again. 0: none is; from a sender to whom it may be put back.
    position horizon = 0;
    /// Where the sender's records stand whole, while it keeps back pages that came in part (`reply::partial`); before the
    /// cursor. Empty: at the cursor.
    std::optional<position> whole{};
    std::optional<exchange_limits> limits{};  ///< what the sender takes, where it isn't the usual
    std::optional<scope_request> scopes{};    ///< of a replica that holds a part; then there are no ranges
    /// Other replicas' mutations, each sealed by its author; none, but there, from a sender that would carry some.
    std::optional<std::vector<relayed_item>> relayed{};
    /// What the sender holds of the first of its ranges, so that it is told what differs. To an authority that can compare.
    std::optional<compared_range> compared{};
    /// Incarnations that the sender left when the authority was put back, the last of them, in order: what they had issued
    /// and still stands is issued under the one that it has now.
    std::vector<std::uint32_t> left{};
    friend bool operator==(request const&, request const&) = default;
};

/// An epoch of an authority that is over, and the last position that belongs to it.
struct past_epoch {
    id128 name{};
    position end = 0;
    friend bool operator==(past_epoch const&, past_epoch const&) = default;
};

struct row_update {
    record_key key;
    row state;
    friend bool operator==(row_update const&, row_update const&) = default;
};

/// A record that the requester can't take: it is told that there is one.
struct withheld_record {
    record_key key{};
    position version = 0;
    std::uint64_t size = 0;  ///< bytes of its fields
    friend bool operator==(withheld_record const&, withheld_record const&) = default;
};

struct reply {
    id128 epoch{};
    replica_id replica{};                  ///< whom it answers
    position head = 0;                     ///< the authority's last position
    author_index author = unknown_author;  ///< the requester's number
    std::uint64_t decided = 0;             ///< the requester's sequences up to here have their verdicts
    std::vector<verdict> verdicts{};
    position from = 0;  ///< the page holds every record that changed after this …
    position to = 0;    ///< … up to this position
    std::vector<row_update> rows{};
    wall_time time{};        ///< the authority's
    std::uint64_t line = 0;  ///< of the request that it answers
    /// What the authority understands of requests; unknown bits mean nothing. To who tells features of its own.
    std::uint64_t features = 0;
    position horizon = 0;  ///< tombstones up to here are gone at the authority; whoever stands below joins again
    std::vector<told_range> ranges{};  ///< told whole as of `head`; their rows stand last in `rows`, in this order
    std::optional<id128> asked{};      ///< epoch of the request, where it isn't the authority's any more
    /// Positions up to here are in a backup; told by an authority that may be put back to one. Empty: it says nothing.
    std::optional<position> stable{};
    std::vector<past_epoch> past{};  ///< with `unknown_author`: where the requester's past and the authority's may part
    bool wipe = false;               ///< an order: the replica is to be wiped; nothing else in the reply counts
    /// The page may hold a part of a group whose other parts are yet to come: it is kept back until a page that is not.
    bool partial = false;
    std::optional<exchange_limits> limits{};  ///< what the authority takes, where it isn't the usual
    /// Records of the page or its ranges that are past the limits of the request. They are there, but not told.
    std::vector<withheld_record> withheld{};
    /// Sequences, ascending, of mutations that were applied here to rows as the asker holds them: it makes the same rows
    /// of them, which are not told.
    std::vector<std::uint64_t> own{};
    std::uint64_t own_sum = 0;  ///< XXH3 of those rows, as `encode_row` writes them, in the order of their versions
    std::vector<row_update> parts{};  ///< rows of the page without the fields that were not written after `from`
    std::uint64_t parts_sum = 0;      ///< XXH3 of what is left out of them: the pairs of field and value, in order
    /// To a request with scopes: of which the rows are. Those stand in no order, with versions up to `head`.
    std::optional<scope_reply> scopes{};
    /// On what was relayed; nothing from an authority that takes none.
    std::optional<std::vector<relay_answer>> relayed{};
    /// Ranges that were compared and are the same; empty, but there, for who is to want everything anew and can compare.
    std::optional<same_ranges> same{};
    friend bool operator==(reply const&, reply const&) = default;
};

namespace detail {

inline constexpr std::array<std::byte, 3> frame_magic{std::byte{'S'}, std::byte{'Y'}, std::byte{'L'}};

/// Puts the frame before a body that was written from `frame_bytes` on.
inline void seal_frame(bytes& message, std::array<std::byte, 3> const& magic = frame_magic) {
    std::copy(magic.begin(), magic.end(), message.begin());
    message[3] = std::byte{protocol_version};
    std::uint32_t const sum = crc32c(bytes_view{message}.subspan(frame_bytes));
    for (std::size_t i = 0; i < 4; ++i) { message[4 + i] = static_cast<std::byte>(sum >> (24 - 8 * i)); }
}

[[nodiscard]] inline result<bytes_view> open_frame(bytes_view message,
                                                   std::array<std::byte, 3> const& magic = frame_magic) {
    if (message.size() < frame_bytes || !starts_with(message, magic)) {
        return failure{errc::foreign, "not a syncline message"};
    }
    if (message[3] != std::byte{protocol_version}) { return failure{errc::unsupported, "another protocol version"}; }
    std::uint32_t sum = 0;
    for (std::size_t i = 0; i < 4; ++i) { sum = (sum << 8) | std::to_integer<std::uint32_t>(message[4 + i]); }
    bytes_view const body = message.subspan(frame_bytes);
    if (crc32c(body) != sum) { return failure{errc::malformed, "checksum does not match"}; }
    return body;
}

/// Reads a body's map: `field(key)` reads one known value or answers false, then it is skipped.
template <class F>
[[nodiscard]] status read_body(cbor_reader& in, F&& field) {
    std::size_t const n = in.map();
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        std::uint64_t const key = in.unsigned_integer();
        if (i != 0 && key <= last) { in.fail({errc::not_deterministic, "keys out of order"}); }
        last = key;
        if (key == 0) {
            if (in.array() != 0) { in.fail({errc::unsupported, "a mandatory feature that this build does not know"}); }
        } else if (!field(key)) {
            (void)in.skip();
        }
    }
    return in.finish();
}

[[nodiscard]] inline id128 read_id(cbor_reader& in) {
    id128 id{};
    bytes_view const b = in.byte_string();
    if (b.size() != 16) {
        in.fail({errc::malformed, "id of the wrong length"});
    } else {
        std::copy(b.begin(), b.end(), id.bytes.begin());
    }
    return id;
}

[[nodiscard]] inline replica_id read_replica(cbor_reader& in) {
    auto const id = replica_id_from(in.byte_string());
    if (!id) {
        in.fail(id.error());
        return {};
    }
    return *id;
}

[[nodiscard]] inline std::size_t bounded_array(cbor_reader& in) {
    std::size_t const n = in.array();
    if (n > exchange_items_max) { in.fail({errc::limit, "too many items in one message"}); }
    return in.failed() ? 0 : n;
}

[[nodiscard]] inline std::uint64_t read_line(cbor_reader& in) {
    std::uint64_t const line = in.unsigned_integer();
    if (!in.failed() && line == 0) { in.fail({errc::malformed, "a line without a name"}); }
    return line;
}

/// An array of collections, each with its version behind it, which is not the first.
[[nodiscard]] inline std::vector<schema_of> decode_schemas(cbor_reader& in) {
    std::vector<schema_of> all;
    std::size_t const n = bounded_array(in);
    if (n % 2 != 0) { in.fail({errc::malformed, "schemas of the wrong length"}); }
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
        std::string_view const name = in.text();
        if (name.empty() || name.size() > collection_bytes_max) {
            in.fail({errc::malformed, "collection's name of the wrong length"});
        }
        if (!all.empty() && all.back().collection >= name) {
            in.fail({errc::not_deterministic, "collections out of order"});
        }
        all.push_back({std::string{name}, decode_later_schema(in)});
    }
    return all;
}
inline void encode_past(cbor_writer& w, std::vector<past_epoch> const& all) {
    w.array(all.size() * 2);
    for (past_epoch const& e : all) {
        w.byte_string(e.name.bytes);
        w.unsigned_integer(e.end);
    }
}
[[nodiscard]] inline std::vector<past_epoch> decode_past(cbor_reader& in) {
    std::vector<past_epoch> all;
    std::size_t const n = in.array();
    if (n == 0 || n % 2 != 0) { in.fail({errc::malformed, "epochs of the wrong length"}); }
    if (n / 2 > past_epochs_max) { in.fail({errc::limit, "too many epochs"}); }
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
        id128 const name = read_id(in);
        all.push_back({name, in.unsigned_integer()});
    }
    return all;
}
[[nodiscard]] inline std::uint64_t read_features(cbor_reader& in) {
    std::uint64_t const features = in.unsigned_integer();
    if (!in.failed() && features == 0) { in.fail({errc::not_deterministic, "no feature, said at length"}); }
    return features;
}

/// The version of a collection that the sender of a request knows.
[[nodiscard]] inline schema_version known_version(std::vector<schema_of> const& said,
                                                  std::string_view collection) noexcept {
    auto const at =
        std::find_if(said.begin(), said.end(), [&](schema_of const& s) { return s.collection == collection; });
    return at == said.end() ? schema_version{1} : at->version;
}

/// Limits that say nothing but the usual are none.
[[nodiscard]] inline std::optional<exchange_limits> read_unusual(cbor_reader& in) {
    exchange_limits const l = read_limits(in);
    return l == exchange_limits{} ? std::nullopt : std::optional{l};
}
inline void encode_withheld(cbor_writer& w, std::vector<withheld_record> const& all) {
    w.array(all.size() * 4);
    for (withheld_record const& one : all) {
        w.text(one.key.collection);
        w.byte_string(one.key.id);
        w.unsigned_integer(one.version);
        w.unsigned_integer(one.size);
    }
}
[[nodiscard]] inline std::vector<withheld_record> decode_withheld(cbor_reader& in) {
    std::vector<withheld_record> all;
    std::size_t const n = bounded_array(in);
    if (n == 0 || n % 4 != 0) { in.fail({errc::malformed, "withheld records of the wrong length"}); }
    for (std::size_t i = 0; i < n / 4 && !in.failed(); ++i) {
        withheld_record one;
        one.key.collection = std::string{in.text()};
        one.key.id = to_bytes(in.byte_string());
        one.version = in.unsigned_integer();
        one.size = in.unsigned_integer();
        if (!in.failed() && !valid(one.key)) { in.fail({errc::malformed, "record key out of range"}); }
        all.push_back(std::move(one));
    }
    return all;
}

/// A relayed envelope is an array of author, sequence and the envelope.
inline void encode_relayed(cbor_writer& w, std::vector<relayed_item> const& all) {
    w.array(all.size());
    for (relayed_item const& i : all) {
        w.array(3);
        w.byte_string(to_array(i.id.replica));
        w.unsigned_integer(i.id.sequence);
        w.byte_string(i.sealed);
    }
}
[[nodiscard]] inline std::vector<relayed_item> decode_relayed(cbor_reader& in) {
    std::vector<relayed_item> all;
    std::size_t const n = bounded_array(in);
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        if (in.array() != 3) { in.fail({errc::malformed, "relayed mutation of the wrong length"}); }
        relayed_item item;
        item.id.replica = read_replica(in);
        item.id.sequence = in.unsigned_integer();
        item.sealed = to_bytes(in.byte_string());
        all.push_back(std::move(item));
    }
    return all;
}

/// An answer is an array of author, sequence and outcome; then of one that is home or settled its version, of a refused one the
/// reason, of one that needs another that one's author and sequence; then, of one that isn't home, its content.
inline void encode_relay_answers(cbor_writer& w, std::vector<relay_answer> const& all) {
    w.array(all.size());
    for (relay_answer const& a : all) {
        bool const needs = a.outcome == relay_outcome::needs;
        bool const home = a.outcome == relay_outcome::home || a.outcome == relay_outcome::settled;
        bool const said = home || a.outcome == relay_outcome::refused;
        bool const names = !home && a.content != id128{};
        bool const grouped = home && !a.versions.empty();
        w.array(std::size_t{3} + (needs ? 2 : said ? 1 : 0) + (names || grouped ? 1 : 0));
        w.byte_string(to_array(a.id.replica));
        w.unsigned_integer(a.id.sequence);
        w.unsigned_integer(static_cast<std::uint64_t>(a.outcome));
        if (home) { w.unsigned_integer(a.version); }
        if (grouped) {
            w.array(a.versions.size());
            for (position const v : a.versions) { w.unsigned_integer(v); }
        }
        if (a.outcome == relay_outcome::refused) { w.unsigned_integer(static_cast<std::uint64_t>(a.reason)); }
        if (needs) {
            w.byte_string(to_array(a.missing.replica));
            w.unsigned_integer(a.missing.sequence);
        }
        if (names) { w.byte_string(a.content.bytes); }
    }
}
/// An unknown outcome is taken as `later`: kept, never dropped.
[[nodiscard]] inline std::vector<relay_answer> decode_relay_answers(cbor_reader& in) {
    std::vector<relay_answer> all;
    std::size_t const n = bounded_array(in);
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        relay_answer a;
        std::size_t const parts = in.array();
        a.id.replica = read_replica(in);
        a.id.sequence = in.unsigned_integer();
        std::uint64_t const outcome = in.unsigned_integer();
        a.outcome = outcome >= 1 && outcome <= 5 ? static_cast<relay_outcome>(outcome) : relay_outcome::later;
        std::size_t expected = 3;
        if (a.outcome == relay_outcome::home || a.outcome == relay_outcome::settled) {
            expected = 4;
            a.version = in.unsigned_integer();
            if (parts == 5) {
                expected = 5;
                std::size_t const of_group = in.array();
                if (of_group == 0 || of_group > group_parts_max) { in.fail({errc::malformed, "versions of a group"}); }
                for (std::size_t k = 0; k < of_group && !in.failed(); ++k) {
                    a.versions.push_back(in.unsigned_integer());
                }
                bool const last = !in.failed() && a.version == *std::max_element(a.versions.begin(), a.versions.end());
                if (!last) { in.fail({errc::malformed, "versions of a group"}); }
            }
        } else if (a.outcome == relay_outcome::refused) {
            expected = 4;
            std::uint64_t const why = in.unsigned_integer();
            if (why > 255) { in.fail({errc::malformed, "code out of range"}); }
            a.reason = static_cast<errc>(why);
        } else if (a.outcome == relay_outcome::needs) {
            expected = 5;
            a.missing.replica = read_replica(in);
            a.missing.sequence = in.unsigned_integer();
        } else if (outcome > 5) {
            expected = parts;
            for (std::size_t k = 3; k < parts; ++k) { (void)in.skip(); }
        }
        bool const home = a.outcome == relay_outcome::home || a.outcome == relay_outcome::settled;
        if (!home && outcome <= 5 && parts == expected + 1) {
            ++expected;
            a.content = read_id(in);
        }
        if (parts != expected) { in.fail({errc::malformed, "relay's answer of the wrong length"}); }
        all.push_back(a);
    }
    return all;
}

/// Origins are an array of runs; a run is an array of a line and the numbers of successive mutations in it.
inline void encode_origins(cbor_writer& w, std::vector<origin> const& all) {
    auto const run_end = [&](std::size_t i) {
        std::size_t end = i;
        while (end != all.size() && all[end].line == all[i].line) { ++end; }
        return end;
    };
    std::size_t runs = 0;
    for (std::size_t i = 0; i != all.size(); i = run_end(i)) { ++runs; }
    w.array(runs);
    for (std::size_t i = 0; i != all.size();) {
        std::size_t const end = run_end(i);
        w.array(1 + end - i);
        w.unsigned_integer(all[i].line);
        for (; i != end; ++i) { w.unsigned_integer(all[i].number); }
    }
}
[[nodiscard]] inline std::vector<origin> decode_origins(cbor_reader& in) {
    std::vector<origin> all;
    std::size_t const runs = bounded_array(in);
    for (std::size_t i = 0; i < runs && !in.failed(); ++i) {
        std::size_t const n = bounded_array(in);
        std::uint64_t const line = in.unsigned_integer();
        if (n < 2) { in.fail({errc::malformed, "origins without a number"}); }
        if (all.size() + n > exchange_items_max) { in.fail({errc::limit, "too many items in one message"}); }
        if (!all.empty() && all.back().line == line) { in.fail({errc::not_deterministic, "one line in two runs"}); }
        for (std::size_t k = 1; k < n && !in.failed(); ++k) { all.push_back({line, in.unsigned_integer()}); }
    }
    return all;
}

}  // namespace detail

inline void encode_verdict(cbor_writer& out, verdict const& v) {
    bool const of_group = !v.versions.empty() || v.part;
    out.array(of_group ? 9 : 8);
    out.unsigned_integer(v.sequence);
    out.unsigned_integer(static_cast<std::uint64_t>(v.kind));
    out.boolean(v.again);
    out.unsigned_integer(static_cast<std::uint64_t>(v.reason));
    out.unsigned_integer(v.version);
    out.unsigned_integer(v.stamp.raw);
    out.array(v.decisions.size() * 3);
    for (decision const& d : v.decisions) {
        out.text(d.field);
        out.unsigned_integer(static_cast<std::uint64_t>(d.by));
        // The reason stands in the high four bits.
        out.unsigned_integer(static_cast<std::uint64_t>(d.won) | (static_cast<std::uint64_t>(d.why) << 4));
    }
    out.text(v.text);
    if (!of_group) { return; }
    if (v.part) {
        out.unsigned_integer(*v.part);
        return;
    }
    out.array(v.versions.size());
    for (position const p : v.versions) { out.unsigned_integer(p); }
}

/// An unknown kind is taken as `retry_after`: parked, never dropped.
[[nodiscard]] constexpr verdict_kind verdict_kind_of(std::uint64_t n) noexcept {
    return n >= 1 && n <= 8 ? static_cast<verdict_kind>(n) : verdict_kind::retry_after;
}

/// Reads what `encode_verdict` wrote; an unknown kind is taken as `retry_after`: parked, never dropped.
[[nodiscard]] inline verdict decode_verdict(cbor_reader& in) {
    verdict v;
    auto const small_number = [&] {
        std::uint64_t const n = in.unsigned_integer();
        if (n > 255) { in.fail({errc::malformed, "code out of range"}); }
        return static_cast<std::uint8_t>(n);
    };
    std::size_t const length = in.array();
    if (length != 8 && length != 9) { in.fail({errc::malformed, "verdict of the wrong length"}); }
    v.sequence = in.unsigned_integer();
    v.kind = verdict_kind_of(small_number());
    v.again = in.boolean();
    v.reason = static_cast<errc>(small_number());
    v.version = in.unsigned_integer();
    v.stamp = timestamp{in.unsigned_integer()};
    std::size_t const n = in.array();
    if (n % 3 != 0) { in.fail({errc::malformed, "decisions of the wrong length"}); }
    for (std::size_t i = 0; i < n / 3 && !in.failed(); ++i) {
        decision d;
        d.field = std::string{in.text()};
        d.by = static_cast<rule>(small_number());
        std::uint8_t const won_and_why = small_number();
        d.won = static_cast<winner>(won_and_why & 15U);
        d.why = static_cast<reason>(won_and_why >> 4U);
        v.decisions.push_back(std::move(d));
    }
    v.text = std::string{in.text()};
    if (length != 9) { return v; }
    if (in.peek() == cbor_type::unsigned_integer) {
        v.part = small_number();
        if (*v.part >= group_parts_max) { in.fail({errc::malformed, "no part of a group"}); }
        return v;
    }
    std::size_t const parts = in.array();
    if (parts < 2 || parts > group_parts_max) { in.fail({errc::malformed, "verdict on a group of another size"}); }
    for (std::size_t i = 0; i < parts && !in.failed(); ++i) { v.versions.push_back(in.unsigned_integer()); }
    return v;
}

namespace detail {

/// The mutations and origins of a request in columns; false where they go one by one.
[[nodiscard]] inline bool encode_batch(bytes& out, request const& q) {
    if (q.mutations.size() < columns_mutations_min) { return false; }
    mutation_batch_writer batch;
    for (bytes const& m : q.mutations) {
        if (!batch.add(m)) { return false; }
    }
    for (origin const& o : q.origins) { batch.add_origin(o.line, o.number); }
    cbor_writer w{out};
    batch.finish(w);
    return true;
}
[[nodiscard]] inline bool decode_batch(cbor_reader& in, decode_limits const& limits, request& q) {
    return decode_mutation_batch(
               in, limits, exchange_items_max, [&](bytes&& m) { q.mutations.push_back(std::move(m)); },
               [&](std::uint64_t line, std::uint64_t number) {
                   q.origins.push_back({line, number});
               })
        .has_value();
}

}  // namespace detail

/// The key of request and reply for what their sender takes.
inline constexpr std::uint64_t limits_key = 32;
/// The reply's key for records that are withheld.
inline constexpr std::uint64_t withheld_key = 33;
/// The key for scopes, in a request and in a reply.
inline constexpr std::uint64_t scopes_key = 40;

/// The request's key for what the device's program knows of schemas.
inline constexpr std::uint64_t schemas_key = 14;
/// The request's key for the horizon that its sender was told of.
inline constexpr std::uint64_t horizon_key = 25;
/// The request's key for where its sender stands whole.
inline constexpr std::uint64_t whole_key = 29;
/// A request's key for what is relayed, and a reply's for the answers to it.
inline constexpr std::uint64_t relayed_key = 41;
/// A request's key for the sums of what is held, and a reply's for what is the same.
inline constexpr std::uint64_t sums_key = 42;

inline constexpr std::size_t left_incarnations_max = 16;  ///< of one request

namespace detail {

inline void encode_left(cbor_writer& w, std::vector<std::uint32_t> const& all) {
    w.array(all.size());
    for (std::uint32_t const n : all) { w.unsigned_integer(n); }
}
[[nodiscard]] inline std::vector<std::uint32_t> decode_left(cbor_reader& in) {
    std::vector<std::uint32_t> all;
    std::size_t const n = in.array();
    if (n > left_incarnations_max) { in.fail({errc::limit, "too many incarnations"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        std::uint64_t const one = in.unsigned_integer();
        if (one == 0 || one > (std::numeric_limits<std::uint32_t>::max)()) {
            in.fail({errc::malformed, "incarnation"});
        }
        all.push_back(static_cast<std::uint32_t>(one));
    }
    return all;
}

}  // namespace detail

/// The request's key for the incarnations that its sender has left.
inline constexpr std::uint64_t left_key = 44;

/// For an authority that is known to understand `understood` of requests: what it may not read is written as the first
/// version does.
[[nodiscard]] inline bytes encode(request const& q, std::uint64_t understood) {
    bytes out(frame_bytes);
    cbor_writer w{out};
    bytes batch;
    bool const columns = (understood & feature_columns) != 0 && detail::encode_batch(batch, q);
    w.map(std::size_t{6} + (q.epoch ? 1 : 0) + (q.origins.empty() || columns ? 0 : 1) + (q.line == 0 ? 0 : 1) +
          (q.ranges.empty() ? 0 : 1) + (q.schemas.empty() ? 0 : 1) + (q.features == 0 ? 0 : 1) + (q.known ? 1 : 0) +
          (q.horizon == 0 ? 0 : 1) + (q.whole ? 1 : 0) + (q.limits ? 1 : 0) + (q.scopes ? 1 : 0) + (q.relayed ? 1 : 0) +
          (q.compared ? 1 : 0) + (q.left.empty() ? 0 : 1));
    w.unsigned_integer(1);
    w.byte_string(to_array(q.replica));
    if (q.epoch) {
        w.unsigned_integer(2);
        w.byte_string(q.epoch->bytes);
    }
    w.unsigned_integer(3);
    w.unsigned_integer(q.cursor);
    w.unsigned_integer(4);
    w.unsigned_integer(q.receipts);
    if (!columns) {
        w.unsigned_integer(5);
        w.array(q.mutations.size());
        for (bytes const& m : q.mutations) { w.byte_string(m); }
    }
    w.unsigned_integer(6);
    w.unsigned_integer(q.rows_max);
    w.unsigned_integer(7);
    w.unsigned_integer(q.bytes_max);
    if (!q.origins.empty() && !columns) {
        w.unsigned_integer(8);
        detail::encode_origins(w, q.origins);
    }
    if (q.line != 0) {
        w.unsigned_integer(9);
        w.unsigned_integer(q.line);
    }
    if (!q.ranges.empty()) {
        w.unsigned_integer(10);
        detail::encode_ranges(w, q.ranges);
    }
    if (!q.schemas.empty()) {
        w.unsigned_integer(schemas_key);
        w.array(q.schemas.size() * 2);
        for (schema_of const& s : q.schemas) {
            w.text(s.collection);
            w.unsigned_integer(s.version);
        }
    }
    if (q.features != 0) {
        w.unsigned_integer(15);
        w.unsigned_integer(q.features);
    }
    if (columns) {
        w.unsigned_integer(16);
        w.raw(batch);
    }
    if (q.known) {
        w.unsigned_integer(24);
        w.unsigned_integer(*q.known);
    }
    if (q.horizon != 0) {
        w.unsigned_integer(horizon_key);
        w.unsigned_integer(q.horizon);
    }
    if (q.whole) {
        w.unsigned_integer(whole_key);
        w.unsigned_integer(*q.whole);
    }
    if (q.limits) {
        w.unsigned_integer(limits_key);
        write_limits(w, *q.limits);
    }
    if (q.scopes) {
        w.unsigned_integer(scopes_key);
        detail::encode_scopes(w, *q.scopes);
    }
    if (q.relayed) {
        w.unsigned_integer(relayed_key);
        detail::encode_relayed(w, *q.relayed);
    }
    if (q.compared) {
        w.unsigned_integer(sums_key);
        detail::encode_compared(w, *q.compared);
    }
    if (!q.left.empty()) {
        w.unsigned_integer(left_key);
        detail::encode_left(w, q.left);
    }
    detail::seal_frame(out);
    return out;
}
/// For an authority that understands what the sender does.
[[nodiscard]] inline bytes encode(request const& q) { return encode(q, q.features); }

/// Errors: `errc::foreign` for what is no message of ours, `errc::unsupported` for another version or an
/// unknown mandatory feature, those of `cbor_reader` (`errc::malformed`, `errc::not_deterministic`,
/// `errc::type_mismatch`, `errc::overflow`, `errc::limit`) and of `validate_fields` (`errc::invalid`) for the rest.
[[nodiscard]] inline result<request> decode_request(bytes_view message, decode_limits const& limits = {}) {
    auto const body = detail::open_frame(message);
    if (!body) { return body.error(); }
    request q;
    unsigned seen = 0;
    cbor_reader in{*body, limits};
    auto const ok = detail::read_body(in, [&](std::uint64_t key) {
        if (key <= 16) { seen |= 1U << key; }
        switch (key) {
            case 1: q.replica = detail::read_replica(in); return true;
            case 2: q.epoch = detail::read_id(in); return true;
            case 3: q.cursor = in.unsigned_integer(); return true;
            case 4: q.receipts = in.unsigned_integer(); return true;
            case 5: {
                std::size_t const n = detail::bounded_array(in);
                for (std::size_t i = 0; i < n && !in.failed(); ++i) {
                    q.mutations.push_back(to_bytes(in.byte_string()));
                }
                return true;
            }
            case 6: q.rows_max = in.unsigned_integer(); return true;
            case 7: q.bytes_max = in.unsigned_integer(); return true;
            case 8: q.origins = detail::decode_origins(in); return true;
            case 9: q.line = detail::read_line(in); return true;
            case 10: q.ranges = detail::decode_ranges(in); return true;
            case schemas_key: q.schemas = detail::decode_schemas(in); return true;
            case 15: q.features = detail::read_features(in); return true;
            case 16: {
                if ((seen & ((1U << 5) | (1U << 8))) != 0) { in.fail({errc::malformed, "mutations in two forms"}); }
                (void)detail::decode_batch(in, limits, q);
                return true;
            }
            case 24: q.known = in.unsigned_integer(); return true;
            case horizon_key: q.horizon = in.unsigned_integer(); return true;
            case whole_key: q.whole = in.unsigned_integer(); return true;
            case limits_key: q.limits = detail::read_unusual(in); return true;
            case scopes_key: q.scopes = detail::decode_scopes(in); return true;
            case relayed_key: q.relayed = detail::decode_relayed(in); return true;
            case sums_key: q.compared = detail::decode_compared(in); return true;
            case left_key:
                q.left = detail::decode_left(in);
                if (q.left.empty()) { in.fail({errc::not_deterministic, "no incarnations, said at length"}); }
                return true;
            default: return false;
        }
    });
    if (!ok) { return ok.error(); }
    if ((seen & (1U << 16)) != 0) { seen |= 1U << 5; }
    constexpr unsigned needed = 0b11111010;
    if ((seen & needed) != needed) { return failure{errc::malformed, "a part of the request is missing"}; }
    if ((seen & (1U << 8)) != 0 && (q.origins.empty() || q.origins.size() != q.mutations.size())) {
        return failure{errc::malformed, "not one origin for each mutation"};
    }
    if (q.whole.value_or(0) > q.cursor) { return failure{errc::malformed, "whole beyond the cursor"}; }
    if (q.scopes && !q.ranges.empty()) { return failure{errc::malformed, "ranges beside scopes"}; }
    if (q.compared && (q.ranges.size() != 1 || !detail::makes_up(*q.compared, q.ranges[0]))) {
        return failure{errc::malformed, "sums of something else than the range"};
    }
    return q;
}

/// Appends one row of a page: an array of collection, id and the row as `encode_row` wrote it.
inline void encode_row_update(cbor_writer& w, std::string_view collection, bytes_view id, bytes_view encoded_row) {
    w.array(3);
    w.text(collection);
    w.byte_string(id);
    w.raw(encoded_row);
}

namespace detail {

/// Reads what `encode_row_update` wrote; the row's fields are not looked at.
[[nodiscard]] inline row_update decode_row_update(cbor_reader& in) {
    row_update u;
    if (in.array() != 3) { in.fail({errc::malformed, "row update of the wrong length"}); }
    u.key.collection = std::string{in.text()};
    u.key.id = to_bytes(in.byte_string());
    if (!in.failed() && !valid(u.key)) { in.fail({errc::malformed, "record key out of range"}); }
    u.state = decode_row(in);
    return u;
}

/// The rows that stand encoded in `rows`, in columns, for who understands `features`; false where they can't be.
[[nodiscard]] inline bool encode_page(bytes& out, std::size_t count, bytes_view rows, std::uint64_t features) {
    decode_limits own;
    own.bytes_max = rows.size();
    own.work_max = ~std::uint64_t{0};
    cbor_reader in{rows, own};
    row_page_writer page{(features & feature_marks) != 0 && count >= columns_rows_min};
    for (std::size_t i = 0; i < count; ++i) {
        (void)in.array();
        std::string_view const collection = in.text();
        bytes_view const id = in.byte_string();
        if (!page.add(collection, id, in)) { return false; }
    }
    out.reserve(rows.size() / 2);
    cbor_writer w{out};
    page.finish(w);
    return true;
}

}  // namespace detail

/// The reply's key for the guards that ask in its conflicts.
inline constexpr std::uint64_t guards_key = 43;

namespace detail {

inline void encode_guards(cbor_writer& w, std::vector<verdict> const& all) {
    auto const named = [](verdict const& v) { return !v.guard.empty(); };
    w.array(2 * static_cast<std::size_t>(std::count_if(all.begin(), all.end(), named)));
    for (verdict const& v : all) {
        if (!named(v)) { continue; }
        w.unsigned_integer(v.sequence);
        w.text(v.guard);
    }
}
using guard_names = std::vector<std::pair<std::uint64_t, std::string>>;
[[nodiscard]] inline guard_names decode_guards(cbor_reader& in) {
    guard_names out;
    std::size_t const n = in.array();
    if (n == 0 || n % 2 != 0) { in.fail({errc::malformed, "guards of the wrong length"}); }
    for (std::size_t i = 0; i < n && !in.failed(); i += 2) {
        std::uint64_t const sequence = in.unsigned_integer();
        std::string_view const name = in.text();
        if (name.empty() || name.size() > guard_bytes_max) { in.fail({errc::malformed, "guard's name"}); }
        out.emplace_back(sequence, name);
    }
    return out;
}
/// Gives the verdicts their guards' names, which stand in the order of the verdicts; false: one of none, or out of order.
[[nodiscard]] inline bool name_guards(std::vector<verdict>& all, guard_names const& names) {
    auto at = all.begin();
    for (auto& [sequence, name] : names) {
        at = std::find_if(at, all.end(), [s = sequence](verdict const& v) { return v.sequence == s; });
        if (at == all.end() || at->kind != verdict_kind::conflict) { return false; }
        (at++)->guard = name;
    }
    return true;
}

}  // namespace detail

/// The reply's key for what the authority understands of requests.
inline constexpr std::uint64_t understood_key = 13;
/// The reply's key for the order to wipe the replica.
inline constexpr std::uint64_t wipe_key = 27;
/// The reply's key for a page whose groups may be in part.
inline constexpr std::uint64_t partial_key = 29;

/// A reply whose `count` rows stand encoded in `rows`; those of `p` are ignored. `features` are the asker's: rows and
/// verdicts go in columns where it understands them.
///
/// `part_count` rows without what is left out of them stand in `parts` in the same way; they are of the first schema
/// version, and the sums are `p`'s.
[[nodiscard]] inline bytes encode_with_rows(reply const& p, std::size_t count, bytes_view rows,
                                            std::uint64_t features = 0, std::size_t part_count = 0,
                                            bytes_view parts = {}) {
    bytes page;
    bool const columns = (features & feature_columns) != 0 && count >= columns_rows_min &&
                         detail::encode_page(page, count, rows, features);
    bytes part_page;
    bool const in_parts = part_count != 0 && detail::encode_page(part_page, part_count, parts, features);
    SYNCLINE_ASSERT(in_parts == (part_count != 0));
    if (columns) { rows = {}; }
    bytes out(frame_bytes);
    out.reserve(page.size() + part_page.size() + 256 + p.verdicts.size() * 48 + rows.size());
    cbor_writer w{out};
    bool const guarded =
        std::any_of(p.verdicts.begin(), p.verdicts.end(), [](verdict const& v) { return !v.guard.empty(); });
    w.map(std::size_t{10} + (guarded ? 1 : 0) + (p.line == 0 ? 0 : 1) + (p.ranges.empty() ? 0 : 1) +
          (p.features == 0 ? 0 : 1) + (p.horizon == 0 ? 0 : 1) + (p.asked ? 1 : 0) + (p.stable ? 1 : 0) +
          (p.past.empty() ? 0 : 1) + (p.wipe ? 1 : 0) + (p.partial ? 1 : 0) + (p.limits ? 1 : 0) +
          (p.withheld.empty() ? 0 : 1) + (p.own.empty() ? 0 : 1) + (in_parts ? 1 : 0) + (p.scopes ? 1 : 0) +
          (p.relayed ? 1 : 0) + (p.same ? 1 : 0));
    w.unsigned_integer(1);
    w.byte_string(p.epoch.bytes);
    w.unsigned_integer(2);
    w.unsigned_integer(p.head);
    w.unsigned_integer(3);
    w.unsigned_integer(p.author);
    w.unsigned_integer(4);
    w.unsigned_integer(p.decided);
    bool const verdict_columns = (features & feature_columns) != 0 && p.verdicts.size() >= columns_verdicts_min;
    if (!verdict_columns) {
        w.unsigned_integer(5);
        w.array(p.verdicts.size());
        for (verdict const& v : p.verdicts) { encode_verdict(w, v); }
    }
    w.unsigned_integer(6);
    w.unsigned_integer(p.from);
    w.unsigned_integer(7);
    w.unsigned_integer(p.to);
    if (!columns) {
        w.unsigned_integer(8);
        w.array(count);
        append(out, rows);
    }
    w.unsigned_integer(9);
    w.integer(p.time.time_since_epoch().count());
    w.unsigned_integer(10);
    w.byte_string(to_array(p.replica));
    if (p.line != 0) {
        w.unsigned_integer(11);
        w.unsigned_integer(p.line);
    }
    if (!p.ranges.empty()) {
        w.unsigned_integer(12);
        detail::encode_answers(w, p.ranges);
    }
    if (p.features != 0) {
        w.unsigned_integer(understood_key);
        w.unsigned_integer(p.features);
    }
    if (p.horizon != 0) {
        w.unsigned_integer(15);
        w.unsigned_integer(p.horizon);
    }
    if (columns) {
        w.unsigned_integer(18);
        w.raw(page);
    }
    if (verdict_columns) {
        w.unsigned_integer(20);
        encode_verdict_columns(w, p.verdicts);
    }
    if (!p.own.empty()) {
        w.unsigned_integer(21);
        integer_column_writer sequences;
        for (std::uint64_t const s : p.own) { sequences.add_difference(s); }
        w.array(3);
        w.unsigned_integer(p.own.size());
        sequences.finish(w);
        w.unsigned_integer(p.own_sum);
    }
    if (in_parts) {
        w.unsigned_integer(22);
        w.array(2);
        w.raw(part_page);
        w.unsigned_integer(p.parts_sum);
    }
    if (p.asked) {
        w.unsigned_integer(24);
        w.byte_string(p.asked->bytes);
    }
    if (p.stable) {
        w.unsigned_integer(25);
        w.unsigned_integer(*p.stable);
    }
    if (!p.past.empty()) {
        w.unsigned_integer(26);
        detail::encode_past(w, p.past);
    }
    if (p.wipe) {
        w.unsigned_integer(wipe_key);
        w.boolean(true);
    }
    if (p.partial) {
        w.unsigned_integer(partial_key);
        w.boolean(true);
    }
    if (p.limits) {
        w.unsigned_integer(limits_key);
        write_limits(w, *p.limits);
    }
    if (!p.withheld.empty()) {
        w.unsigned_integer(withheld_key);
        detail::encode_withheld(w, p.withheld);
    }
    if (p.scopes) {
        w.unsigned_integer(scopes_key);
        detail::encode_scope_reply(w, *p.scopes);
    }
    if (p.relayed) {
        w.unsigned_integer(relayed_key);
        detail::encode_relay_answers(w, *p.relayed);
    }
    if (p.same) {
        w.unsigned_integer(sums_key);
        detail::encode_same(w, *p.same);
    }
    if (guarded) {
        w.unsigned_integer(guards_key);
        detail::encode_guards(w, p.verdicts);
    }
    detail::seal_frame(out);
    return out;
}

[[nodiscard]] inline bytes encode(reply const& p) {
    bytes rows;
    bytes parts;
    bytes encoded;
    auto const put_all = [&](std::vector<row_update> const& all, bytes& out) {
        cbor_writer w{out};
        for (row_update const& u : all) {
            encoded.clear();
            cbor_writer one{encoded};
            encode_row(one, u.state);
            encode_row_update(w, u.key.collection, u.key.id, encoded);
        }
    };
    put_all(p.rows, rows);
    put_all(p.parts, parts);
    return encode_with_rows(p, p.rows.size(), rows, 0, p.parts.size(), parts);
}

namespace detail {

/// Sequences, of which the reply has verdicts.
[[nodiscard]] inline std::vector<std::uint64_t> decode_own(cbor_reader& in, decode_limits const& limits) {
    std::vector<std::uint64_t> own;
    if (in.array() != 3) { in.fail({errc::malformed, "own rows of the wrong length"}); }
    std::uint64_t const count = in.unsigned_integer();
    if (count == 0) { in.fail({errc::not_deterministic, "no own row, said at length"}); }
    if (count > exchange_items_max || count > limits.bytes_max / sizeof(std::uint64_t)) {
        in.fail({errc::limit, "too many items in one message"});
    }
    integer_column sequences{in.byte_string(), limits};
    for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
        own.push_back(sequences.next_sum());
        if (sequences.failed()) { in.fail(sequences.state().error()); }
    }
    if (auto ok = sequences.close(); !ok) { in.fail(ok.error()); }
    return own;
}

/// Whether what is told in part or not at all can be completed: own rows by verdicts of this reply, all in the page.
[[nodiscard]] inline status check_parts(reply const& p) {
    if (p.own.empty() && p.parts.empty()) { return {}; }
    if (!p.ranges.empty() || p.scopes) {
        return failure{errc::malformed, "ranges or scopes beside rows that are not told whole"};
    }
    auto const in_page = [&](position version) { return version > p.from && version <= p.to; };
    std::uint64_t last = 0;
    auto said = p.verdicts.begin();
    for (std::uint64_t const sequence : p.own) {
        while (said != p.verdicts.end() && said->sequence != sequence) { ++said; }
        bool const follows = sequence > last && said != p.verdicts.end();
        if (!follows || said->kind != verdict_kind::applied || !in_page(said->version)) {
            return failure{errc::malformed, "an own row without its verdict"};
        }
        last = sequence;
    }
    for (row_update const& u : p.parts) {
        if (u.state.deleted || !in_page(u.state.version)) {
            return failure{errc::malformed, "a row outside of its page"};
        }
    }
    return {};
}

/// Whether the rows of the tail lie in its page, and those of each range in it, in order.
[[nodiscard]] inline status check_places(reply const& p) {
    if (p.scopes && p.same) { return failure{errc::malformed, "ranges beside scopes"}; }
    if (p.scopes) {
        std::uint64_t rows = 0;
        for (scope_run const& r : p.scopes->runs) { rows += r.rows; }
        bool const beyond = std::any_of(p.rows.begin(), p.rows.end(), [&](row_update const& u) {
            return u.state.version == 0 || u.state.version > p.head;
        });
        bool const placed = std::all_of(p.scopes->answers.begin(), p.scopes->answers.end(), [&](scope_answer const& a) {
            return a.place.at <= p.head && a.place.since <= p.head;
        });
        bool const whole = rows == p.rows.size() && p.ranges.empty() && !beyond && placed;
        return whole ? status{} : status{failure{errc::malformed, "rows outside of their scopes"}};
    }
    std::size_t told = 0;
    for (told_range const& a : p.ranges) {
        if (a.rows > p.rows.size() - told) { return failure{errc::malformed, "a range without its rows"}; }
        told += a.rows;
    }
    std::size_t const tail = p.rows.size() - told;
    for (std::size_t i = 0; i < tail; ++i) {
        if (p.rows[i].state.version <= p.from || p.rows[i].state.version > p.to) {
            return failure{errc::malformed, "a row outside of its page"};
        }
    }
    bool const ranges = !p.ranges.empty() || (p.same && !p.same->ranges.empty());
    if (ranges && p.to != p.head) { return failure{errc::malformed, "ranges before the tail is told"}; }
    std::size_t i = tail;
    bytes k;
    auto const view_of = [&](std::size_t at) { return record_key_view{p.rows[at].key.collection, p.rows[at].key.id}; };
    auto const key_of = [&](std::size_t at) -> bytes_view {
        k.clear();
        append_key(k, p.rows[at].key.collection, p.rows[at].key.id);
        return k;
    };
    for (told_range const& a : p.ranges) {
        std::size_t const begin = i;
        std::size_t const end = begin + a.rows;
        bool good = begin == end || compare(a.covered.from, key_of(begin)) <= 0;
        for (; i < end; ++i) {
            position const version = p.rows[i].state.version;
            good = good && (i == begin || compare(view_of(i - 1), view_of(i)) < 0) && version != 0 && version <= p.head;
        }
        // In order, so that the last is the only one that may be too late.
        if (!good || (begin != end && compare(key_of(end - 1), a.covered.to) >= 0)) {
            return failure{errc::malformed, "a row outside of its range"};
        }
    }
    return {};
}

}  // namespace detail

/// Errors as of `decode_request`.
[[nodiscard]] inline result<reply> decode_reply(bytes_view message, decode_limits const& limits = {}) {
    auto const body = detail::open_frame(message);
    if (!body) { return body.error(); }
    reply p;
    detail::guard_names guards;
    unsigned seen = 0;
    cbor_reader in{*body, limits};
    auto const ok = detail::read_body(in, [&](std::uint64_t key) {
        if (key <= 20) { seen |= 1U << key; }
        switch (key) {
            case 1: p.epoch = detail::read_id(in); return true;
            case 2: p.head = in.unsigned_integer(); return true;
            case 3: {
                std::uint64_t const n = in.unsigned_integer();
                if (n > unknown_author) { in.fail({errc::malformed, "author out of range"}); }
                p.author = static_cast<author_index>(n);
                return true;
            }
            case 4: p.decided = in.unsigned_integer(); return true;
            case 5: {
                std::size_t const n = detail::bounded_array(in);
                for (std::size_t i = 0; i < n && !in.failed(); ++i) { p.verdicts.push_back(decode_verdict(in)); }
                return true;
            }
            case 6: p.from = in.unsigned_integer(); return true;
            case 7: p.to = in.unsigned_integer(); return true;
            case 8: {
                std::size_t const n = detail::bounded_array(in);
                p.rows.reserve((std::min)(n, std::size_t{1'024}));
                for (std::size_t i = 0; i < n && !in.failed(); ++i) { p.rows.push_back(detail::decode_row_update(in)); }
                return true;
            }
            case 9: p.time = wall_time{milliseconds{in.integer()}}; return true;
            case 10: p.replica = detail::read_replica(in); return true;
            case 11: p.line = detail::read_line(in); return true;
            case 12: p.ranges = detail::decode_answers(in); return true;
            case understood_key: p.features = detail::read_features(in); return true;
            case 15:
                p.horizon = in.unsigned_integer();
                if (!in.failed() && p.horizon == 0) { in.fail({errc::not_deterministic, "a horizon of nothing"}); }
                return true;
            case 18: {
                if ((seen & (1U << 8)) != 0) { in.fail({errc::malformed, "rows in two forms"}); }
                (void)decode_row_page(
                    in, limits, exchange_items_max, [&](std::size_t n) { p.rows.reserve(n); },
                    [&](record_key&& k, row&& r) {
                        p.rows.push_back({std::move(k), std::move(r)});
                    });
                return true;
            }
            case 20: {
                if ((seen & (1U << 5)) != 0) { in.fail({errc::malformed, "verdicts in two forms"}); }
                p.verdicts =
                    decode_verdict_columns<verdict>(in, limits, exchange_items_max, verdict_kind_of, decode_verdict);
                return true;
            }
            case 21:
                p.own = detail::decode_own(in, limits);
                p.own_sum = in.unsigned_integer();
                return true;
            case 22: {
                if (in.array() != 2) { in.fail({errc::malformed, "rows in parts of the wrong length"}); }
                (void)decode_row_page(
                    in, limits, exchange_items_max, [&](std::size_t n) { p.parts.reserve(n); },
                    [&](record_key&& k, row&& r) {
                        p.parts.push_back({std::move(k), std::move(r)});
                    });
                if (!in.failed() && p.parts.empty()) { in.fail({errc::not_deterministic, "no part, said at length"}); }
                p.parts_sum = in.unsigned_integer();
                return true;
            }
            case 24: p.asked = detail::read_id(in); return true;
            case 25: p.stable = in.unsigned_integer(); return true;
            case 26: p.past = detail::decode_past(in); return true;
            case relayed_key: p.relayed = detail::decode_relay_answers(in); return true;
            case sums_key: p.same = detail::decode_same(in); return true;
            case guards_key: guards = detail::decode_guards(in); return true;
            case wipe_key:
                p.wipe = in.boolean();
                if (!in.failed() && !p.wipe) { in.fail({errc::not_deterministic, "no order, said at length"}); }
                return true;
            case partial_key:
                p.partial = in.boolean();
                if (!in.failed() && !p.partial) { in.fail({errc::not_deterministic, "whole, said at length"}); }
                return true;
            case limits_key: p.limits = detail::read_unusual(in); return true;
            case withheld_key: p.withheld = detail::decode_withheld(in); return true;
            case scopes_key: p.scopes = detail::decode_scope_reply(in); return true;
            default: return false;
        }
    });
    if (!ok) { return ok.error(); }
    bool const columns = (seen & (1U << 18)) != 0;
    if (columns) { seen |= 1U << 8; }
    if ((seen & (1U << 20)) != 0) { seen |= 1U << 5; }
    constexpr unsigned needed = 0b11111111110;
    if ((seen & needed) != needed) { return failure{errc::malformed, "a part of the reply is missing"}; }
    bool const beyond = std::any_of(p.past.begin(), p.past.end(), [&](past_epoch const& e) { return e.end > p.head; });
    if (beyond || p.stable.value_or(0) > p.head) { return failure{errc::malformed, "a position outside of the log"}; }
    if (p.author == unknown_author) { return p; }  // a stranger's answer: its head alone means something
    if (p.from > p.to || p.to > p.head || p.horizon > p.head) {
        return failure{errc::malformed, "a page outside of the log"};
    }
    if (p.partial && (p.to == p.head || !p.ranges.empty() || p.scopes)) {
        return failure{errc::malformed, "a page in part at the end of the log"};
    }
    if (!detail::name_guards(p.verdicts, guards)) {
        return failure{errc::malformed, "a guard in no conflict of the reply"};
    }
    if (auto places = detail::check_places(p); !places) { return places.error(); }
    if (auto whole = detail::check_parts(p); !whole) { return whole.error(); }
    if (columns) { return p; }  // their fields were put together from what was looked at
    for (row_update const& u : p.rows) {
        if (!u.state.fields.empty()) {
            if (auto fields = validate_fields(u.state.fields, limits); !fields) { return fields.error(); }
        }
    }
    return p;
}

}  // namespace syncline::inline SYNCLINE_ABI
