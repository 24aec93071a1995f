// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a device carries for others: sealed mutations in a keyspace of their own, with limits, until they are home.

#include <algorithm>
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
#include <syncline/core/function_ref.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

class scope_table;

/// How a replica carries others' mutations, and hands on its own.
struct relay_options {
    std::string realm{};               ///< names the authority and its data, alike at all; at most 255 bytes
    relay_gate const* gate = nullptr;  ///< asked of each envelope that a peer brings; null: taken as they come
    std::size_t carried_max = 10'000;  ///< envelopes held
    std::size_t carried_bytes = std::size_t{16} << 20;  ///< … and their bytes
    std::size_t author_max = 2'000;                     ///< envelopes held of one replica
    std::size_t authors_max = 1'000;                    ///< replicas of which anything is held or known
    std::size_t sealed_max = 10'000;                    ///< own mutations that are frozen to be handed on
    std::size_t submit_max = 100;                       ///< envelopes of one request to the authority
    std::size_t submit_bytes = std::size_t{256} << 10;  ///< … and their bytes; one more than fits goes all the same
    std::size_t page_max = 100;                         ///< envelopes of one message to a peer
    std::size_t page_bytes = std::size_t{256} << 10;    ///< … and their bytes; one more than fits goes all the same
    /// Declared trust: confirmed rows that a peer tells are taken as if the authority had told them. The cursor stays.
    bool trust_rows = false;
    /// Beside scopes: the authority's table, where devices have it. A peer is told rows only of scopes that it permits to
    /// whom the host has authenticated; null: of those that the peer says to hold. Outlives the replica.
    scope_table const* scopes = nullptr;
    std::size_t rows_max = 1'000;  ///< records looked at for one message to a peer
    /// Bytes of a peer's rows that a meeting holds until all are told, to be taken together; of more none is taken.
    std::size_t rows_bytes_max = std::size_t{64} << 20;
};

/// What a carried envelope does to one record.
struct carried_part {
    bytes record{};        ///< its key
    position version = 0;  ///< of a decided one: a row that contains it has at least this
    bool applies = true;   ///< of a group: it takes effect on the record as that is here
    friend bool operator==(carried_part const&, carried_part const&) = default;
};

/// An envelope that is carried.
struct carried_envelope {
    dot id{};
    std::vector<carried_part> parts{};  ///< of a group one for each record, but for those whose held rows contain it
    bool asked = false;                 ///< the authority has answered about it
    bool decided = false;               ///< … that it is home; carried on until a held row contains it
    bool vague = false;                 ///< … and which row contained it first is forgotten
    bool shown = false;                 ///< of a group: its records show it
    bool distant = false;               ///< its stamp is too far ahead: carried home, and shown to nobody
    position clear = 0;                 ///< no row up to this position contains it
    dot missing{};                      ///< what the authority said that it needs; sequence 0: nothing
    bytes sealed{};
    friend bool operator==(carried_envelope const&, carried_envelope const&) = default;

    /// What it does to a record; null where that is nothing, or a held row contains it.
    [[nodiscard]] carried_part const* on(bytes_view record) const noexcept {
        auto const at =
            std::find_if(parts.begin(), parts.end(), [&](carried_part const& p) { return equal(p.record, record); });
        return at == parts.end() ? nullptr : &*at;
    }
    /// Whether a part's record shows it that is held as confirmed at this version: surely not contained, and not
    /// suspicious.
    [[nodiscard]] bool shows_over(carried_part const& part, position confirmed) const noexcept {
        return !distant && (decided && !vague ? confirmed < part.version : confirmed <= clear);
    }
};

/// What is held of one replica's mutations.
struct held_of_author {
    replica_id author{};
    std::uint64_t home = 0;  ///< those up to here have their verdicts
    interval_set held{};     ///< those that are held
    [[nodiscard]] bool has(std::uint64_t sequence) const noexcept {
        return sequence <= home || held.contains(sequence);
    }
    friend bool operator==(held_of_author const&, held_of_author const&) = default;
};

/// What became of an envelope that was brought.
enum class relay_taking : std::uint8_t {
    added = 1,   ///< it is carried from now on
    known = 2,   ///< it is carried already, or home
    full = 3,    ///< no room: its author, or another carrier, keeps it
    forked = 4,  ///< another content under its name is carried: somebody is a clone, or lies; the first is kept
};

/// Counts of what a device carries.
struct carried_totals {
    std::uint64_t count = 0;
    std::uint64_t size = 0;     ///< bytes of the envelopes
    std::uint64_t unasked = 0;  ///< of which the authority has not answered yet
    std::uint64_t forks = 0;    ///< brought under a name that had another content, ever
    std::uint64_t refused = 0;  ///< that the authority refused, ever
    friend bool operator==(carried_totals const&, carried_totals const&) = default;
};

/// The envelopes that a device carries, in storage.
///
/// Holds prefix and options, and nothing else. Errors: the storage's, and `errc::corrupt`.
/// Keys behind the prefix: 'm' the counts; 'e' author, sequence -> an envelope; 'r' length and name of a record, stamp,
/// author, sequence -> nothing, so that one scan tells a record's in the order of the clock; 'u' author, sequence of those that the
/// authority has not answered about; 'n' author, sequence of what is needed, then of what needs it; 'a' author -> what is held and known of them.
class relay_book {
public:
    relay_book(std::string_view prefix, relay_options options)
        : prefix_(to_bytes(prefix)), options_(std::move(options)) {}

    [[nodiscard]] relay_options const& options() const noexcept { return options_; }

    /// Carries an envelope whose author is not in doubt. `clear`: a position of which who brought it knows that no row up
    /// to it contains it. `distant`: its stamp is too far ahead. Cost: 4 gets and 5 puts, of a group a put more a part.
    template <storage_transaction Tx>
    [[nodiscard]] result<relay_taking> add(Tx& tx, opened_envelope const& e, position clear, bool distant) const {
        dot const id = e.id();
        auto author = read_author(tx, id.replica);
        if (!author) { return author.error(); }
        if (id.sequence <= author->home) { return relay_taking::known; }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        if (author->held.contains(id.sequence)) {
            auto had = find(tx, id);
            if (!had) { return had.error(); }
            if (!*had) { return failure{errc::corrupt, "carried envelope"}; }
            auto const first = open_envelope((*had)->sealed);
            if (!first) { return failure{errc::corrupt, "carried envelope"}; }
            if (!equal(first->statement, e.statement)) {
                ++counts->all.forks;
                if (auto ok = write_counts(tx, *counts); !ok) { return ok.error(); }
                return relay_taking::forked;
            }
            if (clear > (*had)->clear && !(*had)->decided) {
                (*had)->clear = clear;
                if (auto ok = write(tx, **had); !ok) { return ok.error(); }
            }
            return relay_taking::known;
        }
        bytes const sealed = encode_sealed(e.statement, e.key_id, e.proof);
        bool const fresh = author->home == 0 && author->held.empty();
        bool const room =
            counts->all.count < options_.carried_max && counts->all.size + sealed.size() <= options_.carried_bytes &&
            author->held.count() < options_.author_max && (!fresh || counts->authors < options_.authors_max);
        if (!room) { return relay_taking::full; }
        counts->authors += fresh ? 1 : 0;
        ++counts->all.count;
        ++counts->all.unasked;
        counts->all.size += sealed.size();
        author->held.add(id.sequence);
        carried_envelope c;
        c.id = id;
        c.parts = parts_of(e);
        c.distant = distant;
        c.clear = clear;
        c.sealed = sealed;
        if (auto ok = write(tx, c); !ok) { return ok.error(); }
        if (auto ok = index(tx, c, e); !ok) { return ok.error(); }
        if (auto ok = tx.put(dot_key('u', id), {}); !ok) { return ok.error(); }
        if (auto ok = write_author(tx, *author); !ok) { return ok.error(); }
        if (auto ok = write_counts(tx, *counts); !ok) { return ok.error(); }
        return relay_taking::added;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<carried_envelope>> find(Tx& tx, dot const& id) const {
        bytes raw;
        auto found = tx.get(dot_key('e', id), raw);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<carried_envelope>{}; }
        auto c = parse(id, raw);
        if (!c) { return c.error(); }
        return std::optional<carried_envelope>{std::move(*c)};
    }

    /// Visits what is carried of a record, in the order of stamps, then of authors. The visitor may read, not write.
    template <storage_transaction Tx>
    [[nodiscard]] status each_of(
        Tx& tx, bytes_view record,
        function_ref<bool(carried_envelope const&, carried_part const&, timestamp)> visit) const {
        status outcome;
        bytes const lead = record_lead(record);
        auto ok = scan_prefix(tx, lead, [&](bytes_view k, bytes_view) {
            bytes_view const rest = k.subspan(lead.size());
            auto const id = rest.size() == 8 + dot_bytes ? dot_of(rest.subspan(8)) : std::nullopt;
            auto c = id ? find(tx, *id) : result<std::optional<carried_envelope>>{std::optional<carried_envelope>{}};
            carried_part const* const part = c && *c ? (*c)->on(record) : nullptr;
            if (part == nullptr) {
                outcome = c ? failure{errc::corrupt, "carried envelope"} : c.error();
                return false;
            }
            return visit(**c, *part, timestamp{read_u64(rest)});
        });
        return ok ? outcome : ok;
    }

    /// Visits all that is carried, in the order of authors and sequences, from `first` on.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, dot const& first, function_ref<bool(carried_envelope const&)> visit) const {
        status outcome;
        bytes const end = prefix_end(key('e'));
        auto ok = tx.scan({dot_key('e', first), end}, [&](bytes_view k, bytes_view raw) {
            auto const id = dot_of(k.subspan(prefix_.size() + 1));
            auto c = id ? parse(*id, raw) : result<carried_envelope>{failure{errc::corrupt, "carried envelope"}};
            if (!c) {
                outcome = c.error();
                return false;
            }
            return visit(*c);
        });
        return ok ? outcome : ok;
    }

    /// What is held and known of each replica, in the order of their names.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<held_of_author>> summary(Tx& tx) const {
        std::vector<held_of_author> all;
        status outcome;
        auto ok = scan_prefix(tx, key('a'), [&](bytes_view k, bytes_view raw) {
            auto const who = replica_id_from(k.subspan(prefix_.size() + 1));
            auto a = who ? parse_author(*who, raw) : result<held_of_author>{failure{errc::corrupt, "carried author"}};
            if (!a) {
                outcome = a.error();
                return false;
            }
            all.push_back(std::move(*a));
            return true;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return all;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<carried_totals> totals(Tx& tx) const {
        auto c = read_counts(tx);
        if (!c) { return c.error(); }
        return c->all;
    }
    /// Whether the authority is known to take no envelopes: its last reply said nothing of them.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> untaken(Tx& tx) const {
        auto c = read_counts(tx);
        if (!c) { return c.error(); }
        return c->untaken;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status set_untaken(Tx& tx, bool untaken) const {
        auto c = read_counts(tx);
        if (!c) { return c.error(); }
        if (c->untaken == untaken) { return {}; }
        c->untaken = untaken;
        return write_counts(tx, *c);
    }

    /// What the next request carries home: first what the authority was never asked about, then what it wanted to be
    /// asked about again, from where the last answer ended. In the order of authors and sequences; at most `room` bytes:
    /// one that is larger than that is passed over, and waits for another carrier.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<relayed_item>> due(
        Tx& tx, std::uint64_t room = (std::numeric_limits<std::uint64_t>::max)()) const {
        std::vector<relayed_item> out;
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        if (counts->all.count == 0) { return out; }
        std::size_t size = 0;
        auto const add = [&](carried_envelope const& c) {
            if (c.sealed.size() > room) { return true; }
            bool const fits = out.size() < options_.submit_max && size + c.sealed.size() <= room &&
                              (out.empty() || size + c.sealed.size() <= options_.submit_bytes);
            if (!fits) { return false; }
            size += c.sealed.size();
            out.push_back({c.id, c.sealed});
            return true;
        };
        status outcome;
        auto ok = scan_prefix(tx, key('u'), [&](bytes_view k, bytes_view) {
            auto const id = dot_of(k.subspan(prefix_.size() + 1));
            auto c = id ? find(tx, *id) : result<std::optional<carried_envelope>>{std::optional<carried_envelope>{}};
            if (!c || !*c) {
                outcome = c ? failure{errc::corrupt, "carried envelope"} : c.error();
                return false;
            }
            return add(**c);
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        std::size_t looked = 0;
        bool full = false;
        auto const again = [&](carried_envelope const& c) {
            if (++looked > again_looked_max) { return false; }
            if (!c.asked || c.decided) { return true; }
            full = !add(c);
            return !full;
        };
        if (ok = scan(tx, counts->next, again); !ok) { return ok.error(); }
        if (!full && counts->next != dot{}) {
            auto const wrapped = [&](carried_envelope const& c) { return c.id < counts->next && again(c); };
            if (ok = scan(tx, dot{}, wrapped); !ok) { return ok.error(); }
        }
        auto const by_id = [](relayed_item const& a, relayed_item const& b) { return a.id < b.id; };
        std::sort(out.begin(), out.end(), by_id);
        return out;
    }

    /// Whether the next request would carry home something that the authority was never asked about: one that is larger
    /// than `room` is none of that. Cost: a get for each that is, and one.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> asks(Tx& tx, std::uint64_t room) const {
        auto const counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        if (counts->all.unasked == 0) { return false; }
        bool goes = false;
        status outcome;
        auto ok = scan_prefix(tx, key('u'), [&](bytes_view k, bytes_view) {
            auto const id = dot_of(k.subspan(prefix_.size() + 1));
            auto c = id ? find(tx, *id) : result<std::optional<carried_envelope>>{std::optional<carried_envelope>{}};
            if (!c || !*c) {
                outcome = c ? failure{errc::corrupt, "carried envelope"} : c.error();
                return false;
            }
            goes = (*c)->sealed.size() <= room;
            return !goes;
        });
        if (!ok || !outcome) { return ok ? outcome.error() : ok.error(); }
        return goes;
    }

    /// Takes an answer of the authority, which had `head` as its last position. Answers the records that it concerns, to
    /// be computed anew; none where nothing changes.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> take(Tx& tx, relay_answer const& a, position head) const {
        auto found = find(tx, a.id);
        if (!found) { return found.error(); }
        std::vector<bytes> concerned;
        if (!*found) { return concerned; }
        carried_envelope& c = **found;
        if (c.decided) { return concerned; }
        // Of another that stood under its name: a forgery whose refusal must not end what is its author's.
        if (a.content != id128{} && a.content != relay_content(c.sealed)) { return concerned; }
        for (carried_part const& part : c.parts) { concerned.push_back(part.record); }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        if (!c.asked) {
            if (auto ok = tx.erase(dot_key('u', c.id)); !ok) { return ok.error(); }
            --counts->all.unasked;
            c.asked = true;
        }
        if (auto ok = forget_missing(tx, c); !ok) { return ok.error(); }
        switch (a.outcome) {
            case relay_outcome::home:
            case relay_outcome::settled: {
                if (auto ok = write_counts(tx, *counts); !ok) { return ok.error(); }
                auto author = read_author(tx, c.id.replica);
                if (!author) { return author.error(); }
                interval_set passed;  // home before it, by whoever's hands
                if (c.id.sequence > author->home + 1) { passed.add({author->home + 1, c.id.sequence - 1}); }
                author->home = (std::max)(author->home, c.id.sequence);
                if (auto ok = write_author(tx, *author); !ok) { return ok.error(); }
                if (auto ok = ask_passed(tx, *author, passed); !ok) { return ok.error(); }
                c.decided = true;
                c.vague = a.outcome == relay_outcome::settled;
                std::vector<bytes> without;  // no row will contain it
                for (std::size_t i = 0; i < c.parts.size(); ++i) {
                    c.parts[i].version = i < a.versions.size() ? a.versions[i] : a.version;
                    if (c.parts[i].version == 0) { without.push_back(c.parts[i].record); }
                }
                if (auto ok = take_out(tx, c, without); !ok) { return ok.error(); }
                if (auto ok = ask_again(tx, c.id); !ok) { return ok.error(); }
                break;
            }
            case relay_outcome::refused:
                ++counts->all.refused;
                if (auto ok = write_counts(tx, *counts); !ok) { return ok.error(); }
                if (auto ok = drop(tx, c); !ok) { return ok.error(); }
                break;
            case relay_outcome::needs:
            case relay_outcome::later:
                counts->next = {c.id.replica, c.id.sequence + 1};
                if (auto ok = write_counts(tx, *counts); !ok) { return ok.error(); }
                c.clear = (std::max)(c.clear, head);
                if (a.outcome == relay_outcome::needs && a.missing.sequence != 0) {
                    c.missing = a.missing;
                    if (auto ok = tx.put(missing_row(c), {}); !ok) { return ok.error(); }
                }
                if (auto ok = write(tx, c); !ok) { return ok.error(); }
                break;
        }
        return concerned;
    }

    /// Has what needed this one, or one of its replica before it, asked about anew: that is home, or this device's own
    /// and decided.
    template <storage_transaction Tx>
    [[nodiscard]] status ask_again(Tx& tx, dot const& home) const {
        std::vector<dot> free;
        bytes first = key('n');
        append(first, to_array(home.replica));
        auto ok = tx.scan({first, dot_key('n', {home.replica, home.sequence + 1})}, [&](bytes_view k, bytes_view) {
            auto const id = k.size() < dot_bytes ? std::nullopt : dot_of(k.last(dot_bytes));
            if (id) { free.push_back(*id); }
            return true;
        });
        if (!ok || free.empty()) { return ok; }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        for (dot const& d : free) {
            if (ok = unask(tx, d, *counts); !ok) { return ok; }
        }
        return write_counts(tx, *counts);
    }

    /// Of a group: whether it applies to this record, and is shown. Answers its other records where they have to show it
    /// from now on, or must not any more.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> note_shown(Tx& tx, dot const& id, bytes_view record, bool applies,
                                                        bool shown) const {
        std::vector<bytes> others;
        auto found = find(tx, id);
        if (!found) { return found.error(); }
        if (!*found || (*found)->on(record) == nullptr) { return others; }
        carried_envelope& c = **found;
        bool changed = c.shown != shown;
        for (carried_part& part : c.parts) {
            if (!equal(part.record, record)) {
                if (c.shown != shown) { others.push_back(part.record); }
            } else if (part.applies != applies) {
                part.applies = applies;
                changed = true;
            }
        }
        c.shown = shown;
        if (changed) {
            if (auto ok = write(tx, c); !ok) { return ok.error(); }
        }
        return others;
    }

    /// A held row of this record contains it: carries it no more when that was the last. Answers its other records where they
    /// may show it no more.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> contained(Tx& tx, dot const& id, bytes_view record) const {
        std::vector<bytes> others;
        auto c = find(tx, id);
        if (!c) { return c.error(); }
        if (!*c) { return others; }
        if (auto ok = take_out(tx, **c, std::vector<bytes>{to_bytes(record)}); !ok) { return ok.error(); }
        if (!(*c)->vague) { return others; }
        for (carried_part const& part : (*c)->parts) {
            if (!equal(part.record, record)) { others.push_back(part.record); }
        }
        return others;
    }

    /// Carries it no more: held rows contain it, or nobody takes it.
    template <storage_transaction Tx>
    [[nodiscard]] status drop(Tx& tx, carried_envelope const& c) const {
        auto const e = open_envelope(c.sealed);
        if (!e) { return failure{errc::corrupt, "carried envelope"}; }
        auto author = read_author(tx, c.id.replica);
        if (!author) { return author.error(); }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        interval_set gone;
        gone.add(c.id.sequence);
        author->held = author->held.difference(gone);
        if (counts->all.count == 0 || counts->all.size < c.sealed.size()) {
            return failure{errc::corrupt, "counts of what is carried"};
        }
        --counts->all.count;
        counts->all.size -= c.sealed.size();
        if (!c.asked) { --counts->all.unasked; }
        bool const nothing = author->home == 0 && author->held.empty();
        if (nothing) { --counts->authors; }
        if (auto ok = tx.erase(dot_key('e', c.id)); !ok) { return ok; }
        for (carried_part const& part : c.parts) {
            if (auto ok = tx.erase(record_row(part.record, e->change.stamp, c.id)); !ok) { return ok; }
        }
        if (auto ok = tx.erase(dot_key('u', c.id)); !ok) { return ok; }
        if (c.missing.sequence != 0) {
            if (auto ok = tx.erase(missing_row(c)); !ok) { return ok; }
        }
        if (auto ok = nothing ? tx.erase(author_key(author->author)) : write_author(tx, *author); !ok) { return ok; }
        return write_counts(tx, *counts);
    }

    /// The authority was put back, and nothing after `shared` counts any more: what was home since may not be. Answers the
    /// records that this concerns. Cost: O(carried).
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<bytes>> doubt(Tx& tx, position shared) const {
        std::vector<carried_envelope> all;
        std::vector<bytes> records;
        auto ok = scan(tx, dot{}, [&](carried_envelope const& c) {
            all.push_back(c);
            return true;
        });
        if (!ok) { return ok.error(); }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        for (carried_envelope& c : all) {
            if (c.asked) {
                ++counts->all.unasked;
                if (auto put = tx.put(dot_key('u', c.id), {}); !put) { return put.error(); }
            }
            if (auto gone = forget_missing(tx, c); !gone) { return gone.error(); }
            c.asked = false;
            c.decided = false;
            c.vague = false;
            c.clear = (std::min)(c.clear, shared);
            auto const e = open_envelope(c.sealed);
            if (!e) { return failure{errc::corrupt, "carried envelope"}; }
            c.parts = parts_of(*e);
            if (auto put = write(tx, c); !put) { return put.error(); }
            if (auto put = index(tx, c, *e); !put) { return put.error(); }
            for (carried_part const& part : c.parts) { records.push_back(part.record); }
        }
        auto authors = summary(tx);
        if (!authors) { return authors.error(); }
        for (held_of_author& a : *authors) {
            a.home = 0;
            bool const nothing = a.held.empty();
            if (nothing) { --counts->authors; }
            if (auto put = nothing ? tx.erase(author_key(a.author)) : write_author(tx, a); !put) { return put.error(); }
        }
        if (auto put = write_counts(tx, *counts); !put) { return put.error(); }
        return records;
    }

private:
    struct counts_state {
        carried_totals all{};
        std::uint64_t authors = 0;
        bool untaken = false;
        dot next{};  ///< from here on it is asked again
    };
    static constexpr std::size_t dot_bytes = replica_id_bytes + 8;
    static constexpr std::size_t again_looked_max = 1'024;  ///< envelopes, for one request

    [[nodiscard]] bytes key(char kind) const {
        bytes k = prefix_;
        k.push_back(static_cast<std::byte>(kind));
        return k;
    }
    [[nodiscard]] bytes dot_key(char kind, dot const& id) const {
        bytes k = key(kind);
        append(k, to_array(id.replica));
        append_u64(k, id.sequence);
        return k;
    }
    [[nodiscard]] static std::optional<dot> dot_of(bytes_view b) {
        if (b.size() != dot_bytes) { return std::nullopt; }
        auto const who = replica_id_from(b.first(replica_id_bytes));
        if (!who) { return std::nullopt; }
        return dot{*who, read_u64(b.subspan(replica_id_bytes))};
    }
    [[nodiscard]] bytes author_key(replica_id const& who) const {
        bytes k = key('a');
        append(k, to_array(who));
        return k;
    }
    [[nodiscard]] bytes record_lead(bytes_view record) const {
        bytes k = key('r');
        k.push_back(static_cast<std::byte>(record.size() >> 8));
        k.push_back(static_cast<std::byte>(record.size() & 0xFF));
        append(k, record);
        return k;
    }
    [[nodiscard]] bytes record_row(bytes_view record, timestamp stamp, dot const& id) const {
        bytes k = record_lead(record);
        append_u64(k, stamp.raw);
        append(k, to_array(id.replica));
        append_u64(k, id.sequence);
        return k;
    }

    [[nodiscard]] static std::vector<carried_part> parts_of(opened_envelope const& e) {
        std::vector<carried_part> out;
        each_part(e.change, [&](mutation const& part) { out.push_back({to_bytes(part.record), 0}); });
        return out;
    }
    /// Has an envelope found by the records of its parts.
    template <class Tx>
    [[nodiscard]] status index(Tx& tx, carried_envelope const& c, opened_envelope const& e) const {
        status ok;
        for (std::size_t i = 0; i < c.parts.size() && ok; ++i) {
            ok = tx.put(record_row(c.parts[i].record, e.change.stamp, c.id), {});
        }
        return ok;
    }
    /// Leaves parts out, and writes what is left, or drops it.
    template <class Tx>
    [[nodiscard]] status take_out(Tx& tx, carried_envelope& c, std::vector<bytes> const& records) const {
        auto const leaves = [&](carried_part const& p) {
            return std::any_of(records.begin(), records.end(), [&](bytes const& r) { return equal(r, p.record); });
        };
        if (std::all_of(c.parts.begin(), c.parts.end(), leaves)) { return drop(tx, c); }
        auto const e = records.empty() ? result<opened_envelope>{opened_envelope{}} : open_envelope(c.sealed);
        if (!e) { return failure{errc::corrupt, "carried envelope"}; }
        for (bytes const& r : records) {
            if (auto ok = tx.erase(record_row(r, e->change.stamp, c.id)); !ok) { return ok; }
        }
        c.parts.erase(std::remove_if(c.parts.begin(), c.parts.end(), leaves), c.parts.end());
        return write(tx, c);
    }

    [[nodiscard]] bytes missing_row(carried_envelope const& c) const {
        bytes k = dot_key('n', c.missing);
        append(k, to_array(c.id.replica));
        append_u64(k, c.id.sequence);
        return k;
    }
    template <class Tx>
    [[nodiscard]] status forget_missing(Tx& tx, carried_envelope& c) const {
        if (c.missing.sequence == 0) { return {}; }
        auto ok = tx.erase(missing_row(c));
        c.missing = {};
        return ok;
    }
    /// Has one asked about anew that the authority has answered about, unless it is decided.
    template <class Tx>
    [[nodiscard]] status unask(Tx& tx, dot const& d, counts_state& counts) const {
        auto c = find(tx, d);
        if (!c) { return c.error(); }
        if (!*c) { return failure{errc::corrupt, "carried envelope"}; }
        if (!(*c)->asked || (*c)->decided) { return {}; }
        if (auto ok = forget_missing(tx, **c); !ok) { return ok; }
        (*c)->asked = false;
        ++counts.all.unasked;
        if (auto ok = tx.put(dot_key('u', d), {}); !ok) { return ok; }
        return write(tx, **c);
    }
    /// Has those of a replica asked about anew that are known to be home since a later one is. What they lack may never
    /// come: their author needs no carrier.
    template <class Tx>
    [[nodiscard]] status ask_passed(Tx& tx, held_of_author const& author, interval_set const& passed) const {
        interval_set const known = author.held.difference(author.held.difference(passed));
        if (known.empty()) { return {}; }
        auto counts = read_counts(tx);
        if (!counts) { return counts.error(); }
        for (interval const& run : known.intervals()) {
            for (std::uint64_t n = run.first; n <= run.last; ++n) {
                if (auto ok = unask(tx, {author.author, n}, *counts); !ok) { return ok; }
            }
        }
        return write_counts(tx, *counts);
    }
    template <class Tx>
    [[nodiscard]] status write(Tx& tx, carried_envelope const& c) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(c.missing.sequence == 0 ? 4 : 6);
        w.unsigned_integer((c.asked ? 1U : 0U) | (c.decided ? 2U : 0U) | (c.distant ? 4U : 0U) | (c.vague ? 8U : 0U) |
                           (c.shown ? 16U : 0U));
        w.unsigned_integer(c.clear);
        w.array(c.parts.size() * 3);
        for (carried_part const& part : c.parts) {
            w.byte_string(part.record);
            w.unsigned_integer(part.version);
            w.boolean(part.applies);
        }
        w.byte_string(c.sealed);
        if (c.missing.sequence != 0) {
            w.byte_string(to_array(c.missing.replica));
            w.unsigned_integer(c.missing.sequence);
        }
        return tx.put(dot_key('e', c.id), raw);
    }
    [[nodiscard]] static result<carried_envelope> parse(dot const& id, bytes_view raw) {
        cbor_reader in{raw};
        carried_envelope c;
        c.id = id;
        std::size_t const parts = in.array();
        std::uint64_t const flags = in.unsigned_integer();
        c.asked = (flags & 1U) != 0;
        c.decided = (flags & 2U) != 0;
        c.distant = (flags & 4U) != 0;
        c.vague = (flags & 8U) != 0;
        c.shown = (flags & 16U) != 0;
        c.clear = in.unsigned_integer();
        std::size_t const words = in.array();
        for (std::size_t i = 0; i + 2 < words && !in.failed(); i += 3) {
            carried_part& part = c.parts.emplace_back();
            part.record = to_bytes(in.byte_string());
            part.version = in.unsigned_integer();
            part.applies = in.boolean();
        }
        c.sealed = to_bytes(in.byte_string());
        if (parts == 6) {
            c.missing.replica = detail::read_replica(in);
            c.missing.sequence = in.unsigned_integer();
        }
        bool const right = (parts == 4 || parts == 6) && words != 0 && words % 3 == 0;
        if (!right || !in.finish()) { return failure{errc::corrupt, "carried envelope"}; }
        return c;
    }

    template <class Tx>
    [[nodiscard]] result<held_of_author> read_author(Tx& tx, replica_id const& who) const {
        bytes raw;
        auto found = tx.get(author_key(who), raw);
        if (!found) { return found.error(); }
        if (!*found) { return held_of_author{who, 0, {}}; }
        return parse_author(who, raw);
    }
    [[nodiscard]] static result<held_of_author> parse_author(replica_id const& who, bytes_view raw) {
        cbor_reader in{raw};
        held_of_author a{who, 0, {}};
        bool const right = in.array() == 2;
        a.home = in.unsigned_integer();
        a.held = decode_interval_set(in);
        if (!right || !in.finish()) { return failure{errc::corrupt, "carried author"}; }
        return a;
    }
    template <class Tx>
    [[nodiscard]] status write_author(Tx& tx, held_of_author const& a) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(2);
        w.unsigned_integer(a.home);
        encode_interval_set(w, a.held);
        return tx.put(author_key(a.author), raw);
    }

    template <class Tx>
    [[nodiscard]] result<counts_state> read_counts(Tx& tx) const {
        bytes raw;
        counts_state c;
        auto found = tx.get(key('m'), raw);
        if (!found) { return found.error(); }
        if (!*found) { return c; }
        cbor_reader in{raw};
        bool const right = in.array() == 9;
        c.all.count = in.unsigned_integer();
        c.all.size = in.unsigned_integer();
        c.all.unasked = in.unsigned_integer();
        c.all.forks = in.unsigned_integer();
        c.all.refused = in.unsigned_integer();
        c.authors = in.unsigned_integer();
        c.untaken = in.boolean();
        c.next.replica = detail::read_replica(in);
        c.next.sequence = in.unsigned_integer();
        if (!right || !in.finish()) { return failure{errc::corrupt, "counts of what is carried"}; }
        return c;
    }
    template <class Tx>
    [[nodiscard]] status write_counts(Tx& tx, counts_state const& c) const {
        bytes raw;
        cbor_writer w{raw};
        w.array(9);
        w.unsigned_integer(c.all.count);
        w.unsigned_integer(c.all.size);
        w.unsigned_integer(c.all.unasked);
        w.unsigned_integer(c.all.forks);
        w.unsigned_integer(c.all.refused);
        w.unsigned_integer(c.authors);
        w.boolean(c.untaken);
        w.byte_string(to_array(c.next.replica));
        w.unsigned_integer(c.next.sequence);
        return tx.put(key('m'), raw);
    }

    bytes prefix_;
    relay_options options_;
};

}  // namespace syncline::inline SYNCLINE_ABI
