// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Uploads and downloads of large values: in pieces, several at a time, what matters first, going on after any crash.

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

#include <syncline/blob/blob_book.hpp>
#include <syncline/blob/chunk_store.hpp>
#include <syncline/blob/manifest.hpp>
#include <syncline/blob/message.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/observer.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What the host knows of the network now.
struct blob_network {
    bool connected = true;
    bool metered = false;  ///< bytes cost money
    bool roaming = false;
    friend constexpr bool operator==(blob_network const&, blob_network const&) = default;
};
/// On what networks a class of blobs may go.
struct blob_rule {
    bool metered = true;
    bool roaming = false;
    std::uint64_t metered_bytes_max =
        (std::numeric_limits<std::uint64_t>::max)();  ///< larger blobs wait for a free one
    friend constexpr bool operator==(blob_rule const&, blob_rule const&) = default;
};
[[nodiscard]] constexpr bool permits(blob_rule const& rule, blob_network const& n, std::uint64_t size) noexcept {
    bool const metered = !n.metered || (rule.metered && size <= rule.metered_bytes_max);
    return n.connected && metered && (!n.roaming || rule.roaming);
}

/// How transfers go.
struct transfer_options {
    std::size_t parallel = 4;                            ///< messages under way at once; > 0
    std::uint64_t lead_bytes = std::uint64_t{32} << 10;  ///< the beginning of every blob goes before the rest of any
    milliseconds patience{std::chrono::seconds{60}};     ///< a message not answered within it goes again; > 0
    std::uint8_t restarts_max = 8;                       ///< a transfer that is begun anew more often is refused
    std::size_t active_max = 16;       ///< transfers that are considered at once, in order of rank; > 0
    std::array<blob_rule, 8> rules{};  ///< by class; the host's own numbers
    friend constexpr bool operator==(transfer_options const&, transfer_options const&) = default;
};
[[nodiscard]] constexpr bool valid(transfer_options const& o) noexcept {
    return o.parallel > 0 && o.patience.count() > 0 && o.active_max > 0;
}

/// Stored: append, never renumber.
enum class transfer_phase : std::uint8_t {
    start = 0,    ///< upload: offers; download: asks for the manifest
    pieces = 1,   ///< chunks go
    finish = 2,   ///< upload: asks whether all is there
    refused = 3,  ///< the other end can't or won't, or a chunk here is damaged: until the host retries or cancels
};

/// One blob on its way.
struct transfer {
    std::uint64_t token = 0;  ///< its name
    bool upload = true;
    transfer_phase phase = transfer_phase::start;
    std::uint8_t rank = 0;        ///< lower goes first: a thumbnail before photos before videos
    std::uint8_t blob_class = 0;  ///< whose rule holds, 0 to 7
    blob_ref blob{};
    std::uint64_t done = 0;     ///< bytes that need not go any more
    errc error{};               ///< refused: why
    std::uint8_t restarts = 0;  ///< times that chunks came damaged, or the other end forgot some
    friend bool operator==(transfer const&, transfer const&) = default;
};

/// What an answer did, as a value.
enum class transfer_event_kind : std::uint8_t {
    none,      ///< nothing: an answer that came late
    started,   ///< it is known which chunks have to go
    progress,  ///< a chunk more
    damaged,   ///< a chunk came with other bytes than its name says, and is asked for again
    complete,  ///< all is there, at both ends; the transfer is gone
    refused,   ///< see `transfer::error`
};
struct transfer_event {
    transfer_event_kind kind = transfer_event_kind::none;
    transfer what{};  ///< as it is now
    friend bool operator==(transfer_event const&, transfer_event const&) = default;
};

/// The asking end of all transfers to or from one peer.
///
/// Until `next` gives nothing: commit, then send what it gave. Hand each answer to `absorb` and commit. What was lost is
/// asked again after `patience`, under the same number, so that a late answer is one; at once after `restart`, which a program calls when it begins. Every message may come
/// twice: pieces are named by their content. No state but in storage.
/// Order: what is not started, and the first bytes of each blob, before the rest of any; then by rank, then by age.
/// Holds prefix, options and a reference to the book. Errors: those of storage and store; `corrupt`.
class blob_transfers {
public:
    using transfer_visitor = function_ref<bool(transfer const&)>;

    /// Preconditions: the prefix has 1 to 32 bytes and belongs to nothing else; the options are valid.
    explicit blob_transfers(blob_book const& book, std::string_view prefix = "bt", transfer_options const& options = {})
        : book_(&book), prefix_(prefix), options_(options) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 32 && valid(options));
    }

    /// Sends a blob that the book has; its token. It becomes an owner, until it is over. Errors: `not_found`,
    /// `invalid` (class).
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> upload(Tx& tx, blob_ref const& blob, std::uint8_t blob_class = 0,
                                               std::uint8_t rank = 100) const {
        auto const token = add(tx, blob, blob_class, rank, true);
        if (!token) { return token; }
        if (auto s = book_->retain(tx, blob.id, owner_of(*token)); !s) { return s.error(); }
        return token;
    }
    /// Fetches a blob; its token. The transfer is its owner until it is over; make the record one before, in the
    /// transaction that handles `complete` at the latest. Errors: `invalid` (class).
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> download(Tx& tx, blob_ref const& blob, std::uint8_t blob_class = 0,
                                                 std::uint8_t rank = 100) const {
        return add(tx, blob, blob_class, rank, false);
    }

    /// The next message to send, noted as under way; nothing when nothing may go now.
    /// Cost: a scan of what is under way and of at most `active_max` transfers with their manifests; a chunk's get and
    /// hash.
    /// An observer hears the bytes; `absorb`'s too, and what came whole or was refused.
    template <storage_transaction Tx, chunk_store Chunks, observer O = no_observer>
    [[nodiscard]] result<std::optional<bytes>> next(Tx& tx, Chunks& chunks, blob_network const& network, wall_time now,
                                                    O&& told = {}) const {
        for (;;) {
            auto c = choose(tx, network, now);
            if (!c) { return c.error(); }
            if (!c->found) { return std::optional<bytes>{}; }
            auto ask = make_ask(tx, chunks, *c);
            if (!ask) { return ask.error(); }
            if (!*ask) { continue; }  // it changed what there is to choose from
            flight f = c->what;
            if (f.number == 0) {
                auto const number = count(tx, 'n');
                if (!number) { return number.error(); }
                f.number = *number;
            }
            (*ask)->number = f.number;
            f.since = now;
            if (auto s = put_flight(tx, f); !s) { return s.error(); }
            bytes message = encode(**ask);
            told.counted(metric_counter::bytes_up, message.size());
            return std::optional{std::move(message)};
        }
    }

    /// Takes an answer in. Errors, nothing changed: `malformed` and its kin for what is no answer to its ask.
    template <storage_transaction Tx, chunk_store Chunks, observer O = no_observer>
    [[nodiscard]] result<transfer_event> absorb(Tx& tx, Chunks& chunks, bytes_view message, O&& told = {}) const {
        auto const a = decode_blob_answer(message);
        if (!a) { return a.error(); }
        auto const f = get_flight(tx, a->number);
        if (!f) { return f.error(); }
        transfer_event e;
        if (!*f) { return e; }
        auto found = load(tx, (*f)->rank, (*f)->token);
        if (!found) { return found.error(); }
        if (!*found) { return failure{errc::corrupt, "transfer that is under way"}; }
        record& r = **found;
        if (a->kind != kind_of(r.at, (*f)->what)) { return failure{errc::malformed, "answer to another ask"}; }
        if (auto s = tx.erase(flight_key(a->number)); !s) { return s.error(); }
        auto const kind = take(tx, chunks, r, **f, *a);
        if (!kind) { return kind.error(); }
        e.kind = *kind;
        if (e.kind == transfer_event_kind::damaged && r.at.restarts++ >= options_.restarts_max) {
            // A peer or a way that always spoils something must not cost data for ever.
            e.kind = transfer_event_kind::refused;
            r.at.phase = transfer_phase::refused;
            r.at.error = errc::peer_failed;
        }
        e.what = r.at;
        told.counted(metric_counter::bytes_down, message.size());
        told.counted(metric_counter::blobs_moved, e.kind == transfer_event_kind::complete ? 1 : 0);
        told.counted(metric_counter::blobs_refused, e.kind == transfer_event_kind::refused ? 1 : 0);
        if (*kind == transfer_event_kind::complete) {
            if (auto s = drop(tx, r.at); !s) { return s.error(); }
            return e;
        }
        if (auto s = put(tx, r); !s) { return s.error(); }
        return e;
    }

    /// The way to the peer failed, and this message with it: it goes again at once. Unknown numbers are fine.
    template <storage_transaction Tx>
    [[nodiscard]] status failed(Tx& tx, std::uint64_t number) const {
        return tx.erase(flight_key(number));
    }
    /// Nothing is under way: to be called when a program begins.
    template <storage_transaction Tx>
    [[nodiscard]] status restart(Tx& tx) const {
        auto const all = flights(tx);
        if (!all) { return all.error(); }
        for (flight const& f : *all) {
            if (auto s = tx.erase(flight_key(f.number)); !s) { return s; }
        }
        return {};
    }
    /// When to call `next` again without an answer: `now`, when something may go; else when the first message that is
    /// under way has been waited for long enough; nothing when only another network, or nothing, helps.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<wall_time>> next_due(Tx& tx, blob_network const& network, wall_time now) const {
        auto const c = choose(tx, network, now);
        if (!c) { return c.error(); }
        if (c->found) { return std::optional{now}; }
        return c->earliest;
    }

    /// Tries a refused transfer again, from its beginning. Errors: `not_found`.
    template <storage_transaction Tx>
    [[nodiscard]] status retry(Tx& tx, std::uint64_t token) const {
        auto r = find(tx, token);
        if (!r) { return r.error(); }
        r->at.phase = transfer_phase::start;
        r->at.error = errc{};
        r->at.restarts = 0;
        return put(tx, *r);
    }
    /// Gives a transfer up; what has come of it goes with a later `collect`, unless somebody owns it.
    template <storage_transaction Tx>
    [[nodiscard]] status cancel(Tx& tx, std::uint64_t token) const {
        auto const r = find(tx, token);
        if (!r) { return r.error(); }
        return drop(tx, r->at);
    }
    /// Every transfer that is not over, in the order in which they go.
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, transfer_visitor visit) const {
        status failed;
        auto const row = [&](bytes_view k, bytes_view v) {
            auto const r = decode(k, v);
            if (!r) {
                failed = r.error();
                return false;
            }
            return visit(r->at);
        };
        if (auto s = scan_prefix(tx, key('t'), row); !s) { return s; }
        return failed;
    }

private:
    static constexpr std::uint64_t format = 1;

    struct record {
        transfer at{};
        bytes wanted{};  // a bit for each chunk of the manifest that has to go
    };
    enum class errand : std::uint8_t { start = 0, piece = 1, finish = 2 };
    struct flight {
        std::uint64_t number = 0;
        std::uint64_t token = 0;
        std::uint8_t rank = 0;
        errand what = errand::start;
        std::uint64_t index = 0;
        wall_time since{};
    };
    struct choice {
        bool found = false;
        record of{};
        flight what{};
        std::optional<blob_manifest> manifest{};
        std::optional<wall_time> earliest{};
    };

    // Prefix, then 't', the rank and a token: a transfer; 'i' and a number: a message under way; 'n' and 'k': the last
    // number and token.

    [[nodiscard]] bytes key(char what) const {
        bytes out = to_bytes(prefix_);
        out.push_back(static_cast<std::byte>(what));
        return out;
    }
    [[nodiscard]] bytes flight_key(std::uint64_t number) const {
        bytes out = key('i');
        append_u64(out, number);
        return out;
    }
    [[nodiscard]] bytes transfer_key(std::uint8_t rank, std::uint64_t token) const {
        bytes out = key('t');
        out.push_back(static_cast<std::byte>(rank));
        append_u64(out, token);
        return out;
    }
    [[nodiscard]] bytes owner_of(std::uint64_t token) const {
        bytes out = to_bytes("transfer ");
        append(out, as_bytes(prefix_));
        append_u64(out, token);
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> count(Tx& tx, char what) const {
        bytes value;
        auto const found = tx.get(key(what), value);
        if (!found) { return found.error(); }
        if (*found && value.size() != 8) { return failure{errc::corrupt, "counter of transfers"}; }
        std::uint64_t const n = (*found ? read_u64(value) : 0) + 1;
        value.clear();
        append_u64(value, n);
        if (auto s = tx.put(key(what), value); !s) { return s.error(); }
        return n;
    }

    // ---- Transfers as bytes: [format, upload, phase, class, id, size, type, done, error, restarts, wanted]

    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, record const& r) const {
        bytes value;
        cbor_writer w(value);
        w.array(11);
        w.unsigned_integer(format);
        w.boolean(r.at.upload);
        w.unsigned_integer(static_cast<std::uint64_t>(r.at.phase));
        w.unsigned_integer(r.at.blob_class);
        w.byte_string(r.at.blob.id);
        w.unsigned_integer(r.at.blob.size);
        w.text(r.at.blob.type);
        w.unsigned_integer(r.at.done);
        w.unsigned_integer(static_cast<std::uint64_t>(r.at.error));
        w.unsigned_integer(r.at.restarts);
        w.byte_string(r.wanted);
        return tx.put(transfer_key(r.at.rank, r.at.token), value);
    }
    [[nodiscard]] result<record> decode(bytes_view k, bytes_view v) const {
        failure const damaged{errc::corrupt, "transfer"};
        if (k.size() != prefix_.size() + 10) { return damaged; }
        record r;
        r.at.rank = std::to_integer<std::uint8_t>(k[prefix_.size() + 1]);
        r.at.token = read_u64(k.last(8));
        cbor_reader in(v);
        bool const shaped = in.array() == 11 && in.unsigned_integer() == format;
        r.at.upload = in.boolean();
        std::uint64_t const phase = in.unsigned_integer();
        std::uint64_t const blob_class = in.unsigned_integer();
        bytes_view const id = in.byte_string();
        r.at.blob.size = in.unsigned_integer();
        r.at.blob.type = std::string(in.text());
        r.at.done = in.unsigned_integer();
        std::uint64_t const error = in.unsigned_integer();
        std::uint64_t const restarts = in.unsigned_integer();
        r.wanted = to_bytes(in.byte_string());
        bool const fits =
            phase <= 3 && blob_class < 8 && error <= 0xFF && restarts <= 0xFF && id.size() == r.at.blob.id.size();
        if (!in.finish() || !shaped || !fits) { return damaged; }
        r.at.phase = static_cast<transfer_phase>(phase & 3);
        r.at.blob_class = static_cast<std::uint8_t>(blob_class & 7);
        r.at.error = static_cast<errc>(error & 0xFF);
        r.at.restarts = static_cast<std::uint8_t>(restarts & 0xFF);
        for (std::size_t i = 0; i < id.size(); ++i) { r.at.blob.id[i] = id[i]; }
        return r;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<record>> load(Tx& tx, std::uint8_t rank, std::uint64_t token) const {
        bytes const k = transfer_key(rank, token);
        bytes value;
        auto const found = tx.get(k, value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<record>{}; }
        auto r = decode(k, value);
        if (!r) { return r.error(); }
        return std::optional{std::move(*r)};
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<record> find(Tx& tx, std::uint64_t token) const {
        std::optional<std::uint8_t> rank;
        auto const s = scan(tx, [&](transfer const& t) {
            if (t.token == token) { rank = t.rank; }
            return !rank;
        });
        if (!s) { return s.error(); }
        if (!rank) { return failure{errc::not_found, "transfer"}; }
        auto r = load(tx, *rank, token);
        if (!r) { return r.error(); }
        return std::move(**r);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::uint64_t> add(Tx& tx, blob_ref const& blob, std::uint8_t blob_class, std::uint8_t rank,
                                            bool up) const {
        if (blob_class >= options_.rules.size()) { return failure{errc::invalid, "class of a blob"}; }
        auto const token = count(tx, 'k');
        if (!token) { return token; }
        record r;
        r.at.token = *token;
        r.at.upload = up;
        r.at.rank = rank;
        r.at.blob_class = blob_class;
        r.at.blob = blob;
        if (auto s = put(tx, r); !s) { return s.error(); }
        return token;
    }
    /// Ends a transfer: its messages are under way no more, and it owns nothing.
    template <storage_transaction Tx>
    [[nodiscard]] status drop(Tx& tx, transfer const& t) const {
        auto const all = flights(tx);
        if (!all) { return all.error(); }
        for (flight const& f : *all) {
            if (f.token != t.token) { continue; }
            if (auto s = tx.erase(flight_key(f.number)); !s) { return s; }
        }
        if (auto s = tx.erase(transfer_key(t.rank, t.token)); !s) { return s; }
        return book_->release_all(tx, owner_of(t.token));
    }

    // ---- Messages under way: [token, rank, errand, index, since]

    template <storage_transaction Tx>
    [[nodiscard]] status put_flight(Tx& tx, flight const& f) const {
        bytes value;
        cbor_writer w(value);
        w.array(5);
        w.unsigned_integer(f.token);
        w.unsigned_integer(f.rank);
        w.unsigned_integer(static_cast<std::uint64_t>(f.what));
        w.unsigned_integer(f.index);
        w.integer(f.since.time_since_epoch().count());
        return tx.put(flight_key(f.number), value);
    }
    [[nodiscard]] static result<flight> decode_flight(bytes_view k, bytes_view v) {
        cbor_reader in(v);
        flight f;
        bool const shaped = in.array() == 5 && k.size() > 8;
        f.token = in.unsigned_integer();
        std::uint64_t const rank = in.unsigned_integer();
        std::uint64_t const what = in.unsigned_integer();
        f.index = in.unsigned_integer();
        f.since = wall_time{milliseconds{in.integer()}};
        if (!in.finish() || !shaped || rank > 0xFF || what > 2) { return failure{errc::corrupt, "message under way"}; }
        f.number = read_u64(k.last(8));
        f.rank = static_cast<std::uint8_t>(rank & 0xFF);
        f.what = static_cast<errand>(what & 3);
        return f;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<flight>> get_flight(Tx& tx, std::uint64_t number) const {
        bytes const k = flight_key(number);
        bytes value;
        auto const found = tx.get(k, value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<flight>{}; }
        auto const f = decode_flight(k, value);
        if (!f) { return f.error(); }
        return std::optional{*f};
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::vector<flight>> flights(Tx& tx) const {
        std::vector<flight> out;
        status failed;
        auto const row = [&](bytes_view k, bytes_view v) {
            auto const f = decode_flight(k, v);
            if (!f) {
                failed = f.error();
                return false;
            }
            out.push_back(*f);
            return true;
        };
        if (auto s = scan_prefix(tx, key('i'), row); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        return out;
    }

    // ---- Choosing

    [[nodiscard]] static bool wants(bytes const& wanted, std::size_t i) noexcept {
        return i / 8 < wanted.size() && (std::to_integer<unsigned>(wanted[i / 8]) >> (i % 8) & 1U) != 0;
    }
    static void unwant(bytes& wanted, std::size_t i) noexcept {
        if (i / 8 < wanted.size()) { wanted[i / 8] &= static_cast<std::byte>(~(1U << (i % 8))); }
    }
    [[nodiscard]] static bool wants_any(bytes const& wanted) noexcept {
        return std::any_of(wanted.begin(), wanted.end(), [](std::byte b) { return b != std::byte{}; });
    }
    [[nodiscard]] static blob_ask_kind kind_of(transfer const& t, errand what) noexcept {
        switch (what) {
            case errand::start: return t.upload ? blob_ask_kind::offer : blob_ask_kind::manifest;
            case errand::piece: return t.upload ? blob_ask_kind::piece : blob_ask_kind::fetch;
            case errand::finish: break;
        }
        return blob_ask_kind::finish;
    }

    template <storage_transaction Tx>
    [[nodiscard]] result<choice> choose(Tx& tx, blob_network const& network, wall_time now) const {
        choice out;
        auto all = flights(tx);
        if (!all) { return all.error(); }
        auto const over = [&](flight const& f) {
            // A clock that was set back ends no wait, so what seems to lie ahead counts as over.
            return f.since > now || now - f.since >= options_.patience;
        };
        std::vector<flight> waited_for;
        for (flight const& f : *all) {
            if (over(f)) {
                waited_for.push_back(f);
            } else if (!out.earliest || f.since + options_.patience < *out.earliest) {
                out.earliest = f.since + options_.patience;
            }
        }
        all->erase(std::remove_if(all->begin(), all->end(), over), all->end());
        if (all->size() >= options_.parallel) { return out; }

        std::vector<record> active;
        status failed;
        auto const row = [&](bytes_view k, bytes_view v) {
            auto r = decode(k, v);
            if (!r) {
                failed = r.error();
                return false;
            }
            bool const goes = r->at.phase != transfer_phase::refused &&
                              permits(options_.rules[r->at.blob_class], network, r->at.blob.size);
            if (goes) { active.push_back(std::move(*r)); }
            return active.size() < options_.active_max;
        };
        if (auto s = scan_prefix(tx, key('t'), row); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        std::vector<std::optional<blob_manifest>> manifests(active.size());
        for (bool const lead : {true, false}) {
            for (std::size_t i = 0; i < active.size(); ++i) {
                record& r = active[i];
                if (r.at.phase == transfer_phase::pieces && !manifests[i]) {
                    auto m = book_->manifest(tx, r.at.blob.id);
                    if (!m) { return m.error(); }
                    // One that lost its manifest begins anew, and keeps no other from going.
                    if (!*m) { r.at.phase = transfer_phase::start; }
                    manifests[i] = std::move(*m);
                }
                auto const what = errand_of(r, manifests[i], *all, lead);
                if (!what) { continue; }
                out.found = true;
                out.what = *what;
                for (flight const& f : waited_for) {
                    if (same_errand(f, *what)) { out.what.number = f.number; }
                }
                out.of = r;
                out.manifest = std::move(manifests[i]);
                return out;
            }
        }
        return out;
    }
    [[nodiscard]] static bool same_errand(flight const& a, flight const& b) noexcept {
        return a.token == b.token && a.what == b.what && a.index == b.index;
    }
    /// What a transfer has to do that is not under way.
    [[nodiscard]] std::optional<flight> errand_of(record const& r, std::optional<blob_manifest> const& m,
                                                  std::vector<flight> const& all, bool lead) const {
        flight f;
        f.token = r.at.token;
        f.rank = r.at.rank;
        auto const busy = [&] {
            return std::any_of(all.begin(), all.end(), [&](flight const& x) { return same_errand(x, f); });
        };
        if (r.at.phase != transfer_phase::pieces) {
            bool const first = r.at.phase == transfer_phase::start;
            f.what = first ? errand::start : errand::finish;
            return first == lead && !busy() ? std::optional{f} : std::nullopt;
        }
        f.what = errand::piece;
        std::uint64_t at = 0;
        for (std::size_t i = 0; i < m->chunks.size(); at += m->chunks[i++].size) {
            if (lead && at >= options_.lead_bytes) { break; }
            f.index = i;
            if (wants(r.wanted, i) && !busy()) { return f; }
        }
        return std::nullopt;
    }
    /// The ask of a choice; or nothing, when doing it changed the transfer instead.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<std::optional<blob_ask>> make_ask(Tx& tx, Chunks& chunks, choice& c) const {
        blob_ask ask;
        transfer& t = c.of.at;
        ask.kind = kind_of(t, c.what.what);
        ask.id = t.blob.id;
        if (c.what.what == errand::start) {
            if (!t.upload) { return std::optional{std::move(ask)}; }
            auto const m = book_->manifest(tx, t.blob.id);
            if (!m) { return m.error(); }
            if (!*m) { return refuse(tx, c.of, errc::not_found); }
            ask.body = encode(**m);
            return std::optional{std::move(ask)};
        }
        if (c.what.what == errand::finish) { return std::optional{std::move(ask)}; }
        auto const index = static_cast<std::size_t>(c.what.index);
        chunk_ref const& chunk = c.manifest->chunks[index];
        ask.id = chunk.id;
        auto const here = book_->has(tx, chunk.id);
        if (!here) { return here.error(); }
        if (!t.upload && *here) {
            // It came with another blob: others may have, too. Begun anew, all of them are seen at once.
            t.phase = transfer_phase::start;
            if (auto s = put(tx, c.of); !s) { return s.error(); }
            return std::optional<blob_ask>{};
        }
        if (t.upload) {
            auto const found = chunks.get(chunk.id, ask.body);
            if (!found) { return found.error(); }
            if (!*found || !(sha256(ask.body) == chunk.id)) { return refuse(tx, c.of, errc::corrupt); }
        }
        return std::optional{std::move(ask)};
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<blob_ask>> refuse(Tx& tx, record& r, errc why) const {
        r.at.phase = transfer_phase::refused;
        r.at.error = why;
        if (auto s = put(tx, r); !s) { return s.error(); }
        return std::optional<blob_ask>{};
    }

    // ---- Absorbing

    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<transfer_event_kind> take(Tx& tx, Chunks& chunks, record& r, flight const& f,
                                                   blob_answer const& a) const {
        if (r.at.phase == transfer_phase::refused) { return transfer_event_kind::none; }
        if (a.error != errc{}) {
            // The other end forgot what was offered, or got other bytes: that is begun anew, all else is its word.
            bool const again = f.what != errand::start && (a.error == errc::not_found || a.error == errc::malformed);
            r.at.phase = again ? transfer_phase::start : transfer_phase::refused;
            if (!again) { r.at.error = a.error; }
            return again ? transfer_event_kind::damaged : transfer_event_kind::refused;
        }
        if (f.what == errand::start) { return r.at.upload ? take_wanted(tx, r, a) : take_manifest(tx, r, a); }
        if (f.what == errand::finish) {
            bool const whole = a.body.size() == 1 && a.body[0] == std::byte{1};
            if (whole) { return transfer_event_kind::complete; }
            r.at.phase = transfer_phase::start;
            return transfer_event_kind::damaged;
        }
        auto const m = book_->manifest(tx, r.at.blob.id);
        if (!m) { return m.error(); }
        if (!*m || f.index >= (*m)->chunks.size()) { return failure{errc::corrupt, "chunk of a transfer"}; }
        auto const index = static_cast<std::size_t>(f.index);
        chunk_ref const& chunk = (*m)->chunks[index];
        if (r.at.phase != transfer_phase::pieces || !wants(r.wanted, index)) { return transfer_event_kind::none; }
        if (!r.at.upload) {
            if (a.body.empty()) { return refuse(r, errc::not_found); }
            // The manifest's sizes are what rules and progress go by: one that says another is no manifest of these bytes.
            if (a.body.size() != chunk.size && sha256(a.body) == chunk.id) { return refuse(r, errc::malformed); }
            auto const s = book_->arrived(tx, chunks, chunk.id, a.body);
            if (!s && s.error() == errc::malformed) { return transfer_event_kind::damaged; }
            if (!s) { return s.error(); }
            if (auto done = chunks.flush(); !done) { return done.error(); }
        }
        unwant(r.wanted, index);
        r.at.done += chunk.size;
        if (wants_any(r.wanted)) { return transfer_event_kind::progress; }
        return after_pieces(tx, r, **m, transfer_event_kind::progress);
    }
    static transfer_event_kind refuse(record& r, errc why) noexcept {
        r.at.phase = transfer_phase::refused;
        r.at.error = why;
        return transfer_event_kind::refused;
    }
    /// Nothing has to go any more: an upload asks whether all is there, a download looks.
    template <storage_transaction Tx>
    [[nodiscard]] result<transfer_event_kind> after_pieces(Tx& tx, record& r, blob_manifest const& m,
                                                           transfer_event_kind so_far) const {
        if (r.at.upload) {
            r.at.phase = transfer_phase::finish;
            return so_far;
        }
        auto const missing = book_->missing(tx, m);
        if (!missing && missing.error() == errc::malformed) { return refuse(r, errc::malformed); }
        if (!missing) { return missing.error(); }
        if (missing->empty()) { return transfer_event_kind::complete; }
        r.at.phase = transfer_phase::start;
        return transfer_event_kind::damaged;
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<transfer_event_kind> take_wanted(Tx& tx, record& r, blob_answer const& a) const {
        auto const m = book_->manifest(tx, r.at.blob.id);
        if (!m) { return m.error(); }
        if (!*m) { return failure{errc::corrupt, "blob of a transfer"}; }
        if (a.body.size() != ((*m)->chunks.size() + 7) / 8) { return failure{errc::malformed, "wanted chunks"}; }
        r.wanted = a.body;
        return begin_pieces(tx, r, **m);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<transfer_event_kind> take_manifest(Tx& tx, record& r, blob_answer const& a) const {
        bool const right = !a.body.empty() && manifest_id(a.body) == r.at.blob.id;
        auto const m = decode_manifest(a.body, book_->limits());
        if (!right || !m) {
            return refuse(r, a.body.empty() ? errc::not_found : right ? m.error().code : errc::malformed);
        }
        auto const missing = book_->missing(tx, *m);
        if (!missing && missing.error() == errc::malformed) { return refuse(r, errc::malformed); }
        if (!missing) { return missing.error(); }
        if (auto const b = book_->expect(tx, *m, owner_of(r.at.token)); !b) { return b.error(); }
        r.wanted.assign((m->chunks.size() + 7) / 8, std::byte{});
        for (std::uint32_t const i : *missing) { r.wanted[i / 8] |= static_cast<std::byte>(1U << (i % 8)); }
        r.at.blob.size = m->size();
        return begin_pieces(tx, r, *m);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<transfer_event_kind> begin_pieces(Tx& tx, record& r, blob_manifest const& m) const {
        r.at.phase = transfer_phase::pieces;
        r.at.done = 0;
        for (std::size_t i = 0; i < m.chunks.size(); ++i) { r.at.done += wants(r.wanted, i) ? 0 : m.chunks[i].size; }
        // Bits behind the last chunk are nobody's.
        for (std::size_t i = m.chunks.size(); i < 8 * r.wanted.size(); ++i) { unwant(r.wanted, i); }
        if (wants_any(r.wanted)) { return transfer_event_kind::started; }
        return after_pieces(tx, r, m, transfer_event_kind::started);
    }

    blob_book const* book_;
    std::string prefix_;
    transfer_options options_;
};

}  // namespace syncline::inline SYNCLINE_ABI
