// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The judge of a simulated world: a ledger outside of its processes, and oracles over their raw storage.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/violation.hpp>
#include <syncline/testing/watched_storage.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What must hold. A violation's `axiom` is one of these names.
namespace invariant {
inline constexpr char const* nothing_lost = "nothing_lost";    ///< an acknowledged write left its store unjustified
inline constexpr char const* exactly_once = "exactly_once";    ///< an effect twice, half, or not at all
inline constexpr char const* durable_first = "durable_first";  ///< told before it would survive a power cut
inline constexpr char const* frozen_bytes = "frozen_bytes";    ///< a frozen mutation changed
inline constexpr char const* honest_write = "honest_write";    ///< a commit holds not what was written
inline constexpr char const* local_write = "local_write";      ///< refused for no reason, or not refused with one
inline constexpr char const* clock = "clock";                  ///< a stamp not after all before, or out of its bounds
inline constexpr char const* causality = "causality";          ///< a stamp not after what its writer had seen
inline constexpr char const* one_verdict = "one_verdict";      ///< a verdict twice, changed, or out of sequence
inline constexpr char const* lawful_merge = "lawful_merge";    ///< a row that the rules don't give
inline constexpr char const* no_silent_loser = "no_silent_loser";    ///< a value gone, no decision names it
inline constexpr char const* order_per_record = "order_per_record";  ///< an author's writes in another order
inline constexpr char const* no_resurrection = "no_resurrection";    ///< deleted, and alive without a new life
inline constexpr char const* cursor_complete = "cursor_complete";    ///< a cursor past what is held
inline constexpr char const* true_copy = "true_copy";                ///< a confirmed row that was never the authority's
inline constexpr char const* visible_state = "visible_state";        ///< not what is confirmed plus what is pending
inline constexpr char const* true_events = "true_events";            ///< told what isn't, or not told what is
inline constexpr char const* crash_atomicity = "crash_atomicity";    ///< a restart found a state that never was
inline constexpr char const* idempotence = "idempotence";            ///< the same reply again changed something
inline constexpr char const* bounded = "bounded";                    ///< more kept than limits and state need
inline constexpr char const* convergence = "convergence";            ///< at rest, not the same everywhere
inline constexpr char const* liveness = "liveness";                  ///< work pending, and nothing will happen
inline constexpr char const* total_decoders = "total_decoders";      ///< a stranger's bytes changed the state
inline constexpr char const* authorisation =
    "authorisation";                                 ///< somebody else's word or store was taken for the principal's
inline constexpr char const* patience = "patience";  ///< came back sooner than asked or agreed, or much later
inline constexpr char const* epoch_honesty = "epoch_honesty";  ///< another authority's word was taken
}  // namespace invariant

struct bytes_order {
    using is_transparent = void;
    bool operator()(bytes_view a, bytes_view b) const noexcept { return compare(a, b) < 0; }
};
/// A store's keys and values.
using raw_image = std::map<bytes, bytes, bytes_order>;

template <storage S>
[[nodiscard]] raw_image image_of(S& store) {
    raw_image out;
    auto tx = store.begin(access_mode::read);
    if (!tx) { return out; }
    (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace_hint(out.end(), to_bytes(k), to_bytes(v));
        return true;
    });
    return out;
}

/// A mutation as it lies in raw storage; `content` is its canonical form without the sequence.
struct held_mutation {
    mutation change{};
    bytes content{};
    std::map<std::string, bytes> base{};  ///< what its writer saw, kept beside it
    std::uint64_t line = 0;               ///< of its origin, kept beside it; 0 where that isn't there
};

/// A canonical map, as a map.
[[nodiscard]] inline std::map<std::string, bytes> fields_of(bytes_view raw) {
    std::map<std::string, bytes> out;
    if (raw.empty()) { return out; }
    cbor_reader in{raw};
    std::size_t const n = in.map();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        std::string const name{in.text()};
        out[name] = to_bytes(in.skip());
    }
    return out;
}

/// Every mutation in a stored value, wherever it lies: what a byte string holds that decodes as one.
///
/// So that the judge depends on no layout of a queue. Cost: O(length).
[[nodiscard]] inline std::vector<held_mutation> mutations_in(bytes_view value) {
    std::vector<held_mutation> out;
    auto const at = [&](std::size_t i) { return std::to_integer<std::size_t>(value[i]); };
    for (std::size_t i = 1; i < value.size(); ++i) {
        if (value[i] != std::byte{0x88}) { continue; }
        std::array<std::size_t, 3> const lengths{
            (at(i - 1) & 0xE0U) == 0x40U && (at(i - 1) & 0x1FU) < 24 ? at(i - 1) & 0x1FU : 0,
            i >= 2 && at(i - 2) == 0x58 ? at(i - 1) : 0,
            i >= 3 && at(i - 3) == 0x59 ? (at(i - 2) << 8) + at(i - 1) : 0,
        };
        for (std::size_t const n : lengths) {
            if (n < 8 || n > value.size() - i) { continue; }
            cbor_reader in{value.subspan(i, n)};
            held_mutation h;
            h.change = decode_mutation(in);
            if (!in.finish()) { continue; }
            mutation unnumbered = h.change;
            unnumbered.sequence = 0;
            cbor_writer w{h.content};
            encode_mutation(w, unnumbered);
            cbor_reader after{value.subspan(i + n)};
            bytes_view const base = after.byte_string();
            if (!after.failed()) { h.base = fields_of(base); }
            if (!after.failed() && after.peek() == cbor_type::unsigned_integer) { h.line = after.unsigned_integer(); }
            out.push_back(std::move(h));
            i += n - 1;
            break;
        }
    }
    return out;
}

/// What a simulated host is doing in the transaction that commits next.
struct deed {
    enum class kind : std::uint8_t {
        nothing,
        open,     ///< the store is made a replica's
        write,    ///< `change` is being written
        person,   ///< a conflict or a dead letter is being decided about
        revive,   ///< a dead letter lives again
        receive,  ///< a reply is being taken in
        turn,     ///< a session's turn: freezes, forgets what was told
    };
    kind what = kind::nothing;
    mutation change{};          ///< of a write or a resolution: kind, record and operations; no stamp, base or life
    std::uint64_t reply = 0;    ///< of a receipt: a hash of the reply
    instant now{};              ///< by the device's own clock
    priority urgency{};         ///< of a write
    std::uint64_t decided = 0;  ///< of a receipt: up to where the reply says that the sender's mutations are decided
};

struct judge_options {
    rule_table rules{};
    clock_options clock{};
    std::vector<std::string> counted{};  ///< ids of records in which every addition to `counter_field` is accounted for
    std::string counter_field = "count";
    std::size_t entries_max = 0;     ///< living outbox entries of a replica; 0: no limit
    std::uint64_t verdicts_max = 0;  ///< that the authority keeps for a replica; 0: no limit
};

/// The validation that the authority runs, once more.
using judge_validation = function_ref<bool(mutation const&)>;

/// Keeps the ledger and judges. One for each simulated world.
///
/// It hears of commits as raw writes, of messages as bytes, and of what the host did; it never asks the library.
/// What it finds first is kept: after the first violation the rest may be its consequence.
class judge {
public:
    judge(judge_options options, std::size_t stores) : options_(std::move(options)), stores_(stores) {}

    /// Once it is known what the authority's options are.
    void limit_verdicts(std::uint64_t most) noexcept { options_.verdicts_max = most; }
    [[nodiscard]] std::vector<violation> const& found() const noexcept { return found_; }
    [[nodiscard]] std::uint64_t checks() const noexcept { return checks_; }
    void report(char const* axiom, std::string what) {
        if (found_.size() < 16) { found_.push_back({axiom, std::move(what)}); }
    }
    /// Counts a check, and reports when it does not hold. `what` is called only then.
    template <class F>
    bool check(bool holds, char const* axiom, F&& what) {
        ++checks_;
        if (!holds) { report(axiom, what()); }
        return holds;
    }

    // Devices.

    /// What the next commits of a store come from.
    void begin(std::size_t store, deed d) {
        device& s = stores_[store];
        s.doing = std::move(d);
        s.landed = false;
    }
    /// The host was told that its write succeeded.
    void acknowledged(std::size_t store) {
        check(stores_[store].landed, invariant::durable_first,
              [] { return std::string{"a write was acknowledged and nothing was committed"}; });
    }

    void device_committed(std::size_t store, std::vector<storage_write> const& writes) {
        device& s = stores_[store];
        s.landed = true;
        commit_record record;
        std::vector<change> const changes = s.image.apply(writes, record);
        s.bound = (std::max)(s.bound, latest_within(s.doing.now.wall, options_.clock.accept_ahead_max));
        judge_replay(s, changes);
        judge_custody(store, s, changes, record);
        judge_state(store, s, changes);
        judge_visible(store, s, changes);
        judge_events(s, changes);
        s.unsynced.push_back(std::move(record));
        if (s.doing.what == deed::kind::receive) { s.taken.insert(s.doing.reply); }
    }
    void device_synced(std::size_t store) { stores_[store].unsynced.clear(); }

    /// After a crash: what is on the disk now must be a state that was committed, no older than what was synced.
    /// Without a power cut it is the last one.
    void device_reopened(std::size_t store, raw_image const& found, bool power_cut) {
        device& s = stores_[store];
        std::size_t const undone =
            go_back(s.image, s.unsynced, found, power_cut, [&](commit_record const& r) { forget(r); });
        if (undone != 0) { adopt(s, found); }
        if (power_cut) { s.unsynced.clear(); }
    }
    /// The disk of a device holds another state now: a backup, or another device's.
    void device_replaced(std::size_t store, raw_image const& found) {
        device& s = stores_[store];
        // What was on it alone goes with it: a person who loses a disk loses that.
        for (auto const& [k, held] : s.custody) {
            for (held_mutation const& h : held) { end(writes_in(h)); }
        }
        adopt(s, found);
        s.unsynced.clear();
        // What waits in it may be a letter that a person had revived: not shown before its record is computed anew.
        s.revived = waiting(store) != 0;
        lived_twice_.insert(s.self.device);
        for (device& each : stores_) { each.forked = each.forked || each.self == s.self; }
    }

    /// Mutations that wait in the outbox of a store.
    [[nodiscard]] std::size_t waiting(std::size_t store) const {
        std::size_t n = 0;
        for (auto const& [k, held] : stores_[store].custody) { n += home_of(k) == home::outbox ? held.size() : 0; }
        return n;
    }
    /// Records of the mutations that are parked in a store for a person, as conflicts or as dead letters; one a mutation.
    [[nodiscard]] std::multiset<bytes, bytes_order> parked(std::size_t store) const {
        std::multiset<bytes, bytes_order> out;
        for (auto const& [k, held] : stores_[store].custody) {
            if (home_of(k) == home::outbox) { continue; }
            for (held_mutation const& h : held) { out.insert(to_bytes(h.change.record)); }
        }
        return out;
    }
    [[nodiscard]] replica_id const& self(std::size_t store) const { return stores_[store].self; }
    [[nodiscard]] author_index author(std::size_t store) const { return stores_[store].author; }
    [[nodiscard]] position cursor(std::size_t store) const { return stores_[store].cursor; }
    /// Whether the device has ranges that it was not told yet.
    [[nodiscard]] bool wants(std::size_t store) const {
        bytes const all = entry('w', {});
        auto const first = stores_[store].image.now.lower_bound(all);
        return first != stores_[store].image.now.end() && starts_with(first->first, all);
    }
    /// Whether a reply is for what the store is since it was opened last.
    [[nodiscard]] bool answers(std::size_t store, reply const& p) const {
        device const& s = stores_[store];
        return p.replica == s.self && (p.line == 0 || p.line == s.line);
    }
    [[nodiscard]] raw_image const& image(std::size_t store) const { return stores_[store].image.now; }
    /// The record as a person sees it, from raw storage.
    [[nodiscard]] naive_row visible(std::size_t store, record_key const& k) const {
        return parse_visible(stores_[store].image.find(entry('v', to_bytes(k)))).state;
    }

    // The wire.

    /// A request leaves a device.
    void request_sent(std::size_t store, bytes_view message, durability promise) {
        device& s = stores_[store];
        if (promise != durability::none) {
            check(s.unsynced.empty(), invariant::durable_first,
                  [] { return std::string{"a request left before what it says would survive a power cut"}; });
        }
        auto const q = decode_request(message);
        if (!check(q.has_value(), invariant::total_decoders,
                   [] { return std::string{"a request that does not decode"}; })) {
            return;
        }
        check(q->cursor == s.cursor, invariant::cursor_complete,
              [] { return std::string{"a request with another cursor than the stored one"}; });
        bytes const frozen = entry('f', {});
        auto const first = s.image.now.lower_bound(frozen);
        if (first != s.image.now.end() && starts_with(first->first, frozen)) {
            std::uint64_t const sequence = read_u64(bytes_view{first->first}.subspan(2));
            check(sequence > q->receipts, invariant::one_verdict, [&] {
                return "a receipt up to " + std::to_string(q->receipts) + " while mutation " +
                       std::to_string(sequence) + " waits for its verdict";
            });
        }
        std::uint64_t last = 0;
        for (bytes const& raw : q->mutations) {
            held_mutation const h = numbered(raw);
            check(last == 0 || h.change.sequence == last + 1, invariant::order_per_record,
                  [] { return std::string{"a request whose mutations are not in sequence"}; });
            last = h.change.sequence;
            check(was_frozen(q->replica, h), invariant::frozen_bytes, [&] {
                return "mutation " + std::to_string(h.change.sequence) + " was sent with other bytes than were frozen";
            });
        }
    }

    // The authority.

    /// The request that the authority's next commit answers. `now` is its time, `stamp_ahead_max` its bound.
    void handling(bytes_view message, instant now, milliseconds stamp_ahead_max) {
        auto q = decode_request(message);
        request_.reset();
        collecting_ = false;
        if (q) { request_ = std::move(*q); }
        stamp_max_ = latest_within(now.wall, stamp_ahead_max);
    }
    /// The authority's next commits are of a host that lets it collect tombstones.
    void collecting() {
        request_.reset();
        collecting_ = true;
    }
    /// Replicas whose writes the judge does not know: strangers.
    void stranger(replica_id const& who) { strangers_.insert(who); }

    void authority_committed(std::vector<storage_write> const& writes, judge_validation accepts) {
        commit_record record;
        std::vector<change> const changes = home_.apply(writes, record);
        if (collecting_) {
            judge_collection(changes, record);
        } else {
            judge_decisions(changes, record, accepts);
            judge_lease(changes);
            judge_lease_time(changes);
            judge_kept_verdicts(changes);
        }
        home_unsynced_.push_back(std::move(record));
    }
    void authority_synced() { home_unsynced_.clear(); }
    void authority_reopened(raw_image const& found, bool power_cut) {
        std::size_t const undone = go_back(home_, home_unsynced_, found, power_cut, [&](commit_record const& r) {
            for (auto const& id : r.decided) { decided_.erase(id); }
            for (position const p : r.versions) { versions_.erase(p); }
            for (std::uint32_t const w : r.effective) { --writes_[w].effective; }
            for (std::uint32_t const w : r.looked_at) { --writes_[w].decided; }
            for (named_origin const& o : r.origins) { decided_origins_.erase(o); }
            for (auto const& [name, earlier] : r.collected) { collected_[name] = earlier; }
        });
        if (power_cut) { home_unsynced_.clear(); }
        if (undone == 0) { return; }
        home_.now = found;
        decided_upto_.clear();
        for (auto const& [id, d] : decided_) {
            decided_upto_[id.first] = (std::max)(decided_upto_[id.first], id.second);
        }
    }
    [[nodiscard]] raw_image const& authority_image() const noexcept { return home_.now; }
    [[nodiscard]] position head() const { return parse_head(home_.find(authority_entry('m'))); }

    [[nodiscard]] static position head_of(raw_image const& authority) {
        auto const it = authority.find(authority_entry('m'));
        return parse_head(it == authority.end() ? nullptr : &it->second);
    }
    /// The last mutation of a replica that an authority's storage has decided.
    [[nodiscard]] static std::uint64_t decided_of(raw_image const& authority, replica_id const& who) {
        bytes k = authority_entry('u');
        append(k, to_array(who));
        auto const it = authority.find(k);
        if (it == authority.end()) { return 0; }
        cbor_reader in{it->second};
        (void)in.array();
        (void)in.skip();
        (void)in.skip();
        return in.unsigned_integer();
    }
    /// Whether the authority has registered a replica.
    [[nodiscard]] bool knows(replica_id const& who) const {
        return author_of(who) != nullptr && strangers_.count(who) == 0;
    }

    /// A reply leaves the authority.
    void reply_sent(bytes_view message, durability promise) {
        if (promise != durability::none) {
            check(home_unsynced_.empty(), invariant::durable_first,
                  [] { return std::string{"a reply left before its verdicts would survive a power cut"}; });
        }
        auto const p = decode_reply(message);
        if (!check(p.has_value(), invariant::total_decoders,
                   [] { return std::string{"a reply that does not decode"}; })) {
            return;
        }
        for (verdict const& v : p->verdicts) {
            auto const d = decided_.find({p->replica, v.sequence});
            bool const fork = v.kind == verdict_kind::rejected && v.reason == errc::identity_fork;
            check(d != decided_.end(), invariant::one_verdict,
                  [] { return std::string{"a verdict that is not in the authority's storage"}; });
            if (d == decided_.end()) { continue; }
            if (!fork && v.kind != verdict_kind::duplicate) {
                if (!d->second.text) { d->second.text = v.text; }
                check(*d->second.text == v.text, invariant::one_verdict,
                      [] { return std::string{"a verdict told again without the words that it had"}; });
            }
            check(fork || v.kind == verdict_kind::duplicate || v.kind == d->second.kind, invariant::one_verdict, [&] {
                return "mutation " + std::to_string(v.sequence) + " was " + name(d->second.kind) +
                       ", and is said to be " + name(v.kind);
            });
        }
    }

    // At rest, when everything that could be exchanged was.

    void at_rest() {
        std::map<bytes, naive_row, bytes_order> truth;
        std::map<position, bytes> index;
        std::size_t rows = 0;
        std::size_t pointers = 0;
        for (auto const& [k, v] : home_.now) {
            if (k.size() < 2 || k[0] != std::byte{'a'}) { continue; }
            if (k[1] == std::byte{'r'}) {
                row const r = parse_row(v);
                truth.emplace(bytes(k.begin() + 2, k.end()), naive_row{r});
                index[r.version] = bytes(k.begin() + 2, k.end());
                ++rows;
            }
            if (k[1] == std::byte{'p'}) { ++pointers; }
        }
        for (auto const& place : index) {
            position const at = place.first;
            bytes const& name = place.second;
            bytes k = authority_entry('p');
            append_u64(k, at);
            bytes const* const v = home_.find(k);
            check(v != nullptr && *v == name, invariant::cursor_complete,
                  [&] { return "the authority's index misses position " + std::to_string(at); });
        }
        check(rows == pointers, invariant::bounded,
              [] { return std::string{"the authority's index points to rows that are no more"}; });

        std::set<std::uint32_t> held_somewhere;
        for (std::size_t i = 0; i < stores_.size(); ++i) {
            device const& s = stores_[i];
            if (s.image.now.empty()) { continue; }
            check(waiting(i) == 0, invariant::liveness,
                  [&] { return "device " + std::to_string(i) + " rests with mutations that nobody has decided"; });
            std::size_t shown = 0;
            for (auto const& pair : s.image.now) {
                bytes const& k = pair.first;
                bytes const& v = pair.second;
                if (k.size() < 2 || k[0] != std::byte{'r'}) { continue; }
                char const kind = static_cast<char>(k[1]);
                if (kind == 'b' || kind == 'h' || kind == 'f' || kind == 'w') {
                    check(false, invariant::bounded, [&] {
                        return "device " + std::to_string(i) + " rests with a leftover under 'r' '" + kind + "'";
                    });
                }
                if (kind != 'v') { continue; }
                seen const held = parse_visible(&v);
                auto const there = truth.find(bytes(k.begin() + 2, k.end()));
                // It learns with its next exchange that everybody has the tombstone.
                if (there == truth.end() && held.state.deleted && !held.dirty &&
                    collected_of(bytes(k.begin() + 2, k.end())) == held.state.version) {
                    continue;
                }
                bool const same = there != truth.end() && there->second == held.state && !held.dirty;
                check(same, invariant::convergence, [&] {
                    return "device " + std::to_string(i) + " rests with another " + show(bytes_view{k}.subspan(2)) +
                           " than the authority";
                });
                ++shown;
            }
            check(shown == truth.size(), invariant::convergence, [&] {
                return "device " + std::to_string(i) + " rests with " + std::to_string(shown) + " records of " +
                       std::to_string(truth.size());
            });
            for (auto const& [k, held] : s.custody) {
                for (held_mutation const& h : held) {
                    for (std::uint32_t const w : writes_in(h)) { held_somewhere.insert(w); }
                }
            }
        }
        std::map<std::string, std::int64_t> ledger;
        for (std::uint32_t n = 0; n < writes_.size(); ++n) {
            written const& w = writes_[n];
            if (w.effective != 0) { ledger[w.record] += w.counted; }
            bool const accounted = w.taken_back || w.ended || w.effective != 0 || held_somewhere.count(n) != 0;
            check(accounted, invariant::nothing_lost,
                  [&] { return "a write to " + w.record + " took no effect, and is nowhere"; });
        }
        for (std::string const& id : options_.counted) {
            auto const there = truth.find(to_bytes(record_key{"things", id}));
            std::int64_t sum = 0;
            if (there != truth.end()) {
                auto const field = there->second.fields.find(options_.counter_field);
                if (field != there->second.fields.end()) { sum += naive_integer(field->second).value_or(0); }
            }
            check(sum == ledger[id], invariant::exactly_once, [&] {
                return "record " + id + ": what took effect adds up to " + std::to_string(ledger[id]) + ", found " +
                       std::to_string(sum);
            });
        }
    }

private:
    struct change {
        bytes key;
        std::optional<bytes> before;
        std::optional<bytes> after;
    };
    using named_origin = std::pair<id128, std::pair<std::uint64_t, std::uint64_t>>;
    /// What a commit did to a store and to the books: to take it back when a power cut does.
    struct commit_record {
        std::vector<std::pair<bytes, std::optional<bytes>>> before{};
        std::vector<std::uint32_t> written{};
        std::vector<std::pair<std::pair<replica_id, std::uint64_t>, bytes>> frozen{};
        std::vector<std::pair<replica_id, std::uint64_t>> decided{};
        std::vector<position> versions{};
        std::vector<std::uint32_t> effective{};
        std::vector<std::uint32_t> looked_at{};
        std::vector<named_origin> origins{};
        std::vector<std::pair<bytes, position>> collected{};  ///< records, and what was collected of them before
    };
    /// One acknowledged write, under whatever names and in whatever company it travels.
    struct written {
        std::string record{};
        std::int64_t counted = 0;  ///< what it adds to a counted record
        bool taken_back = false;   ///< by a power cut, before it was synced
        bool ended = false;  ///< by a person, by a verdict without an effect, by annihilation, or with a lost disk
        int decided = 0;     ///< mutations with it that the authority decided
        int effective = 0;   ///< … and that took effect
    };
    struct shadow {
        raw_image now{};

        [[nodiscard]] bytes const* find(bytes_view k) const {
            auto const it = now.find(k);
            return it == now.end() ? nullptr : &it->second;
        }
        /// The changes in key order, each key once.
        std::vector<change> apply(std::vector<storage_write> const& writes, commit_record& record) {
            std::map<bytes, std::optional<bytes>, bytes_order> last;
            for (storage_write const& w : writes) { last[w.key] = w.value; }
            std::vector<change> out;
            for (auto& [k, v] : last) {
                auto const it = now.find(k);
                std::optional<bytes> before;
                if (it != now.end()) { before = it->second; }
                if (before == v) { continue; }
                record.before.emplace_back(k, before);
                if (!v) {
                    now.erase(it);
                } else if (it != now.end()) {
                    it->second = *v;
                } else {
                    now.emplace(k, *v);
                }
                out.push_back({k, std::move(before), v});
            }
            return out;
        }
        void undo(commit_record const& r) {
            for (auto const& [k, v] : r.before) {
                if (v) {
                    now[k] = *v;
                } else {
                    now.erase(k);
                }
            }
        }
    };
    struct seen {
        bool present = false;
        bool dirty = false;
        position confirmed = 0;
        naive_row state{};
    };
    struct device {
        shadow image{};
        std::vector<commit_record> unsynced{};
        std::map<bytes, std::vector<held_mutation>, bytes_order> custody{};
        /// What was decided and is not in a held row yet: record, version, effective stamp.
        struct settled {
            mutation change{};
            position version = 0;
            timestamp stamp{};
        };
        std::vector<settled> overlay{};
        std::map<bytes, priority, bytes_order> urgency{};  ///< of what waits, by content
        std::set<std::uint64_t> taken{};  ///< replies that were taken in since the state last went back
        deed doing{};
        bool landed = false;
        bool forked = false;   ///< holds another's past, or an older one of its own
        bool renamed = false;  ///< has a new name while old work waits: it was first shown under the old one
        bool revived = false;  ///< a dead letter lives again: it is shown when something else computes the record anew
        replica_id self{};
        position cursor = 0;
        std::uint64_t line = 0;
        author_index author = unknown_author;
        timestamp issued{};                                   ///< the last stamp of its own
        std::map<bytes, position, bytes_order> learned_of{};  ///< the versions whose stamps were looked at
        timestamp learned{};                                  ///< the greatest of others that it had to accept
        timestamp bound{};  ///< no own stamp may be later: from what its clock ever said
    };
    struct decided {
        bytes content{};
        verdict_kind kind = verdict_kind::applied;
        position version = 0;
        timestamp stamp{};
        std::optional<std::string> text{};  ///< as it was first told
    };
    enum class home : std::uint8_t { outbox, dead, conflict };

    [[nodiscard]] static bytes entry(char kind, bytes_view name) {
        bytes k{std::byte{'r'}, static_cast<std::byte>(kind)};
        append(k, name);
        return k;
    }
    [[nodiscard]] static bytes authority_entry(char kind) { return {std::byte{'a'}, static_cast<std::byte>(kind)}; }
    [[nodiscard]] static bool is(bytes_view k, char component, char kind) {
        return k.size() >= 2 && k[0] == static_cast<std::byte>(component) && k[1] == static_cast<std::byte>(kind);
    }
    [[nodiscard]] static home home_of(bytes_view k) {
        if (is(k, 'r', 'c')) { return home::conflict; }
        constexpr auto dead = static_cast<std::byte>(syncline::detail::outbox_space::dead);
        return k.size() > 2 && k[2] == dead ? home::dead : home::outbox;
    }
    [[nodiscard]] static std::string show(bytes_view record) {
        auto const k = record_key_from(record);
        return k ? std::string{k->id_text()} : std::string{"?"};
    }
    [[nodiscard]] static row parse_row(bytes_view v) {
        cbor_reader in{v};
        return decode_row(in);
    }
    [[nodiscard]] static seen parse_visible(bytes const* v) {
        seen out;
        if (v == nullptr) { return out; }
        cbor_reader in{*v};
        out.present = true;
        bool const apart = !v->empty() && v->front() == std::byte{0x83};  // else the row is the confirmed one
        if (apart) {
            (void)in.array();
            out.dirty = in.boolean();
            out.confirmed = in.unsigned_integer();
        }
        row const held = decode_row(in);
        if (!apart) { out.confirmed = held.version; }
        out.state = naive_row{held};
        return out;
    }
    [[nodiscard]] static position parse_head(bytes const* v) {
        if (v == nullptr) { return 0; }
        cbor_reader in{*v};
        (void)in.array();
        (void)in.skip();
        (void)in.skip();
        return in.unsigned_integer();
    }
    [[nodiscard]] static held_mutation numbered(bytes_view raw) {
        held_mutation h;
        cbor_reader in{raw};
        h.change = decode_mutation(in);
        mutation unnumbered = h.change;
        unnumbered.sequence = 0;
        cbor_writer w{h.content};
        encode_mutation(w, unnumbered);
        return h;
    }
    [[nodiscard]] bool was_frozen(replica_id const& who, held_mutation const& h) const {
        auto const it = frozen_.find({who, h.change.sequence});
        return it != frozen_.end() && std::find(it->second.begin(), it->second.end(), h.content) != it->second.end();
    }
    [[nodiscard]] bool counted(mutation const& m) const {
        auto const& ids = options_.counted;
        return std::find(ids.begin(), ids.end(), m.record.id_text()) != ids.end();
    }
    // Writes: which of them a mutation stands for, by its content and the line of its origin.

    [[nodiscard]] static bytes name_of(held_mutation const& h) {
        bytes name = h.content;
        append_u64(name, h.line);
        return name;
    }
    /// Where the line is not known, those of all lines.
    [[nodiscard]] std::set<std::uint32_t> writes_in(held_mutation const& h) const {
        std::set<std::uint32_t> out;
        for (auto it = writes_of_.lower_bound(h.line == 0 ? h.content : name_of(h)); it != writes_of_.end(); ++it) {
            bool const same = h.line == 0
                                  ? it->first.size() == h.content.size() + 8 && starts_with(it->first, h.content)
                                  : it->first == name_of(h);
            if (!same) { break; }
            out.insert(it->second.begin(), it->second.end());
        }
        return out;
    }
    std::uint32_t book(commit_record& record, mutation const& m) {
        written w;
        w.record = m.record.id_text();
        if (counted(m)) {
            for (field_op const& op : m.ops) {
                if (op.field == options_.counter_field && op.kind != op_kind::unset) {
                    w.counted += naive_integer(op.value).value_or(0);
                }
            }
        }
        auto const number = static_cast<std::uint32_t>(writes_.size());
        writes_.push_back(std::move(w));
        record.written.push_back(number);
        return number;
    }
    void end(std::set<std::uint32_t> const& all) {
        for (std::uint32_t const w : all) { writes_[w].ended = true; }
    }
    [[nodiscard]] bool any_decided(std::set<std::uint32_t> const& all) const {
        return std::any_of(all.begin(), all.end(), [&](std::uint32_t w) { return writes_[w].decided != 0; });
    }

    /// Undoes commits until a shadow is what was found; how many. A state that it can't get to is a violation.
    template <class Forget>
    std::size_t go_back(shadow& image, std::vector<commit_record>& unsynced, raw_image const& found, bool power_cut,
                        Forget&& forget_commit) {
        std::size_t undone = 0;
        while (image.now != found && power_cut && !unsynced.empty()) {
            image.undo(unsynced.back());
            forget_commit(unsynced.back());
            unsynced.pop_back();
            ++undone;
        }
        bool const legal = check(image.now == found, invariant::crash_atomicity, [&] {
            return std::string{power_cut
                                   ? "a restart after a power cut found a state that was never committed, or one older "
                                     "than was promised"
                                   : "a restart found another state than the last that was committed"};
        });
        return legal ? undone : undone + 1;
    }
    void forget(commit_record const& r) {
        for (std::uint32_t const w : r.written) { writes_[w].taken_back = true; }
        for (auto const& [id, content] : r.frozen) {
            auto& all = frozen_[id];
            auto const it = std::find(all.begin(), all.end(), content);
            if (it != all.end()) { all.erase(it); }
        }
    }
    /// Takes a state as it is: what is derived from it is made anew.
    void adopt(device& s, raw_image const& found) {
        s.image.now = found;
        s.custody.clear();
        s.taken.clear();
        for (auto const& [k, v] : found) {
            if (!in_custody(k)) { continue; }
            auto held = mutations_in(v);
            if (!held.empty()) { s.custody[k] = std::move(held); }
        }
        s.overlay.clear();
        for (auto it = found.lower_bound(entry('h', {})); it != found.end() && is(it->first, 'r', 'h'); ++it) {
            cbor_reader in{it->second};
            (void)in.array();
            position const version = in.unsigned_integer();
            timestamp const stamp{in.unsigned_integer()};
            s.overlay.push_back({numbered(in.byte_string()).change, version, stamp});
        }
        s.issued = {};
        if (bytes const* const t = s.image.find(entry('t', {}))) {
            s.issued = timestamp_from(*t).value_or(timestamp{});
        }
        s.learned = {};
        s.learned_of.clear();
        for (auto it = found.lower_bound(entry('v', {})); it != found.end() && is(it->first, 'r', 'v'); ++it) {
            s.learned_of[bytes(it->first.begin() + 2, it->first.end())] = parse_visible(&it->second).confirmed;
        }
        s.bound = {};
        read_identity(s);
        read_sync(s);
    }
    [[nodiscard]] static bool in_custody(bytes_view k) { return is(k, 'r', 'o') || is(k, 'r', 'c'); }

    void read_identity(device& s) {
        bytes const* const raw = s.image.find(entry('i', {}));
        if (raw == nullptr) { return; }
        cbor_reader in{*raw};
        (void)in.array();
        (void)in.skip();
        auto const id = replica_id_from(in.byte_string());
        if (id) { s.self = *id; }
    }
    void read_sync(device& s) {
        bytes const* const raw = s.image.find(entry('s', {}));
        if (raw == nullptr) { return; }
        cbor_reader in{*raw};
        (void)in.array();
        (void)in.skip();
        s.cursor = in.unsigned_integer();
        (void)in.skip();
        s.author = static_cast<author_index>(in.unsigned_integer());
        for (int n = 0; n < 3; ++n) { (void)in.skip(); }
        s.line = in.unsigned_integer();
    }

    /// A row in words, for a report.
    [[nodiscard]] static std::string show(naive_row const& r) {
        if (r.life == 0) { return "nothing"; }
        std::string text = "position " + std::to_string(r.version) + ", life " + std::to_string(r.life);
        if (r.deleted) { return text + ", deleted"; }
        for (auto const& [field, value] : r.fields) {
            auto const n = naive_integer(value);
            text += ", " + field + " " + (n ? std::to_string(*n) : std::string{"?"});
        }
        auto const mark = [](write_mark const& w) {
            return std::to_string(w.at) + "/" + std::to_string(w.stamp.raw) + "/" + std::to_string(w.author);
        };
        text += ", marked " + mark(r.floor);
        for (auto const& [field, w] : r.marks) { text += ", " + field + " " + mark(w); }
        return text;
    }

    // The oracles of a device's commit.

    /// A reply that was taken in before changes nothing.
    void judge_replay(device& s, std::vector<change> const& changes) {
        if (s.doing.what != deed::kind::receive || s.taken.count(s.doing.reply) == 0) { return; }
        // Heard again when nothing waits any more, the same reply may be what tells a copy that it is one.
        if (std::any_of(changes.begin(), changes.end(), [](change const& c) { return is(c.key, 'r', 'i'); })) {
            return;
        }
        for (change const& c : changes) {
            if (is(c.key, 'r', 't')) { continue; }  // a stamp that was too far ahead then may be taken now
            check(is(c.key, 'r', 'e') && !c.after, invariant::idempotence, [&] {
                return std::string{"a reply that was taken in before changed the store once more, under '"} +
                       static_cast<char>(c.key[0]) + static_cast<char>(c.key[1]) + "'";
            });
        }
    }

    /// Where every mutation that the store holds went, and by what right.
    void judge_custody(std::size_t store, device& s, std::vector<change> const& changes, commit_record& record) {
        replica_id const before = s.self;
        for (change const& c : changes) {
            if (is(c.key, 'r', 'i')) { read_identity(s); }
        }
        bool const renamed = !(before == s.self) && !before.is_nil();
        bool const forked = s.forked || renamed;

        struct piece {
            bytes const* key;
            held_mutation held;
            bool matched = false;
        };
        std::vector<piece> gone;
        std::vector<piece> come;
        for (change const& c : changes) {
            if (!in_custody(c.key)) { continue; }
            auto const old = s.custody.find(c.key);
            if (old != s.custody.end()) {
                for (held_mutation& h : old->second) { gone.push_back({&c.key, std::move(h)}); }
                s.custody.erase(old);
            }
            if (!c.after) { continue; }
            auto held = mutations_in(*c.after);
            if (held.empty()) { continue; }
            for (held_mutation const& h : held) { come.push_back({&c.key, h}); }
            s.custody[c.key] = std::move(held);
        }
        if (renamed) {
            // What is frozen still may be what showed the fork: then nothing after it can be asked for.
            bool const asked_all = std::none_of(s.custody.begin(), s.custody.end(), [](auto const& place) {
                return home_of(place.first) == home::outbox &&
                       std::any_of(place.second.begin(), place.second.end(),
                                   [](held_mutation const& h) { return h.change.sequence != 0; });
            });
            if (asked_all) { judge_new_name(s, changes, before); }
            s.renamed = true;
            s.taken.clear();
            s.forked = false;
        } else if (s.renamed && waiting(store) == 0 && s.overlay.empty()) {
            s.renamed = false;
        }
        if (s.doing.what == deed::kind::revive) { s.revived = true; }
        if (s.revived && waiting(store) == 0) { s.revived = false; }

        for (piece& g : gone) {
            for (piece& c : come) {
                if (c.matched || g.matched || c.held.content != g.held.content) { continue; }
                g.matched = c.matched = true;
                if (g.held.line != c.held.line && c.held.line != 0) {
                    auto const same = writes_in(g.held);
                    writes_of_[name_of(c.held)].insert(same.begin(), same.end());
                }
                judge_move(s, g.held, c.held, *g.key, *c.key, before, forked);
                if (home_of(*c.key) == home::dead) { set_aside_.insert(c.held.content); }
            }
        }
        piece* fresh = nullptr;
        for (piece& c : come) {
            if (!c.matched) {
                check(fresh == nullptr, invariant::honest_write,
                      [] { return std::string{"two mutations of one write"}; });
                fresh = &c;
            }
        }
        bool const decides = s.doing.what == deed::kind::person && !s.doing.change.ops.empty();
        bool const writes = s.doing.what == deed::kind::write || decides;
        piece* absorbed = nullptr;
        for (piece& g : gone) {
            if (g.matched) { continue; }
            mutation const& m = g.held.change;
            bool const waited = home_of(*g.key) == home::outbox;
            if (writes && m.record == s.doing.change.record && absorbed == nullptr &&
                (waited || s.doing.what == deed::kind::write)) {
                absorbed = &g;
                continue;
            }
            if (s.doing.what == deed::kind::person && !waited) {
                end(writes_in(g.held));
                continue;
            }
            auto const d = decided_.find({before, m.sequence});
            bool const settled = home_of(*g.key) == home::outbox && m.sequence != 0 && d != decided_.end() &&
                                 d->second.content == g.held.content && d->second.kind != verdict_kind::rejected &&
                                 d->second.kind != verdict_kind::conflict;
            if (settled && (d->second.kind == verdict_kind::applied || d->second.kind == verdict_kind::merged)) {
                s.overlay.push_back({m, d->second.version, d->second.stamp});
            }
            check(settled, invariant::nothing_lost, [&] {
                return "the write to " + std::string{m.record.id_text()} + " left device " + std::to_string(store) +
                       (m.sequence == 0 ? " and was never sent" : " and has no verdict for its bytes that lets it go");
            });
        }
        if (writes) {
            judge_write(s, changes, absorbed == nullptr ? nullptr : &absorbed->held,
                        fresh == nullptr ? nullptr : &fresh->held,
                        absorbed != nullptr && home_of(*absorbed->key) != home::outbox, record);
        } else {
            check(fresh == nullptr, invariant::honest_write,
                  [] { return std::string{"a mutation that nobody wrote"}; });
        }
        auto const note_frozen = [&](held_mutation const& h) {
            if (h.change.sequence == 0) { return; }
            auto& all = frozen_[{s.self, h.change.sequence}];
            if (std::find(all.begin(), all.end(), h.content) == all.end()) {
                all.push_back(h.content);
                record.frozen.push_back({{s.self, h.change.sequence}, h.content});
            }
        };
        for (piece const& c : come) {
            if (home_of(*c.key) == home::outbox) { note_frozen(c.held); }
        }
        if (renamed) {
            for (auto const& [k, held] : s.custody) {
                if (home_of(k) != home::outbox) { continue; }
                for (held_mutation const& h : held) { note_frozen(h); }
            }
        }
        if (options_.entries_max != 0 && s.doing.what == deed::kind::write && absorbed == nullptr) {
            check(waiting(store) <= options_.entries_max, invariant::bounded,
                  [] { return std::string{"more in the outbox than its limit"}; });
        }
    }

    /// A store that finds that another bears its name asks first for the verdicts that it can have under that name.
    void judge_new_name(device const& s, std::vector<change> const& changes, replica_id const& old_name) {
        bytes const k = entry('s', {});
        auto const sync = std::find_if(changes.begin(), changes.end(), [&](change const& c) { return c.key == k; });
        if (sync == changes.end() || !sync->before) { return; }
        cbor_reader in{*sync->before};
        (void)in.array();
        for (int n = 0; n < 4; ++n) { (void)in.skip(); }
        std::uint64_t const next = in.unsigned_integer();
        if (s.doing.decided < next) { return; }  // decided since the reply was made: nobody here knows
        auto const d = decided_.find({old_name, next});
        if (d == decided_.end() || d->second.kind == verdict_kind::duplicate || !verdict_is_kept(old_name, next)) {
            return;
        }
        for (auto const& [place, held] : s.custody) {
            for (held_mutation const& h : held) {
                check(home_of(place) != home::outbox || h.content != d->second.content, invariant::no_silent_loser,
                      [&] {
                          return "a new name was taken, and the verdict on the write to " +
                                 std::string{h.change.record.id_text()} + " was to be had under the old one";
                      });
            }
        }
    }
    [[nodiscard]] bool verdict_is_kept(replica_id const& author, std::uint64_t sequence) const {
        bytes const* const raw = author_of(author);
        if (raw == nullptr) { return false; }
        bytes v = authority_entry('v');
        append_u64(v, index_in(*raw));
        append_u64(v, sequence);
        return home_.find(v) != nullptr;
    }
    /// A mutation that is still in the store, under another key or number.
    void judge_move(device& s, held_mutation const& old, held_mutation const& fresh, bytes_view from, bytes_view to,
                    replica_id const& author, bool forked) {
        mutation const& was = old.change;
        mutation const& is_now = fresh.change;
        check(old.base == fresh.base, invariant::honest_write, [&] {
            return "what the writer of " + std::string{was.record.id_text()} + " saw is not kept with the mutation";
        });
        auto const d = decided_.find({author, was.sequence});
        if (home_of(from) == home::outbox && home_of(to) != home::outbox) {
            // Parked for a person: by a verdict that says so, or because nobody knows any more what was decided.
            bool const same = d != decided_.end() && d->second.content == fresh.content;
            bool const elsewhere = (same && d->second.kind == verdict_kind::duplicate) ||
                                   (forked && d != decided_.end() && !verdict_is_kept(author, was.sequence));
            bool const right =
                home_of(to) == home::conflict
                    ? d != decided_.end() && d->second.kind == verdict_kind::conflict
                    : (same && d->second.kind == verdict_kind::rejected) || (elsewhere && any_decided(writes_in(old)));
            check(right, invariant::nothing_lost,
                  [] { return std::string{"a mutation was set aside for a person without a verdict that says so"}; });
        }
        bool const known = d != decided_.end() && d->second.content == fresh.content &&
                           (!forked || verdict_is_kept(author, was.sequence));
        if (home_of(from) == home::outbox && home_of(to) == home::dead && known && d->second.text) {
            bytes const* const letter = s.image.find(to);
            bytes_view const words = as_bytes(*d->second.text);
            bool const said = letter != nullptr &&
                              std::search(letter->begin(), letter->end(), words.begin(), words.end()) != letter->end();
            check(said || d->second.kind != verdict_kind::rejected, invariant::no_silent_loser,
                  [] { return std::string{"a dead letter without the words of its verdict"}; });
        }
        if (was.sequence == is_now.sequence) { return; }
        bool const sent_anew = was.sequence != 0 && s.doing.what == deed::kind::turn;
        check(!sent_anew || old.line != fresh.line, invariant::exactly_once,
              [] { return std::string{"a dead letter that lives again has the name under which it was decided"}; });
        bool const frozen_first = was.sequence == 0;
        bool const again = forked || s.revived || s.renamed;
        check(is_now.sequence != 0 && (frozen_first || again), invariant::frozen_bytes, [&] {
            return "frozen mutation " + std::to_string(was.sequence) + " became " + std::to_string(is_now.sequence);
        });
    }

    /// A commit in which the host wrote holds what it wrote, alone or joined with one that was never frozen.
    void judge_write(device& s, std::vector<change> const& changes, held_mutation const* absorbed_held,
                     held_mutation const* fresh_held, bool not_waiting, commit_record& record) {
        mutation const* const absorbed = absorbed_held == nullptr ? nullptr : &absorbed_held->change;
        mutation const* const fresh = fresh_held == nullptr ? nullptr : &fresh_held->change;
        mutation const& wrote = s.doing.change;
        collection_rules const& rules = options_.rules.of(wrote.record.collection);
        std::uint32_t const number = book(record, wrote);
        std::set<std::uint32_t> all{number};
        if (absorbed_held != nullptr) { all.merge(writes_in(*absorbed_held)); }
        if (fresh_held != nullptr) {
            writes_of_[name_of(*fresh_held)].insert(all.begin(), all.end());
        } else {
            end(all);
        }
        if (absorbed != nullptr) {
            check(absorbed->sequence == 0 && !not_waiting, invariant::frozen_bytes,
                  [] { return std::string{"a write was joined with a mutation that was frozen"}; });
            check(absorbed_held->line == s.line, invariant::exactly_once,
                  [] { return std::string{"a write was joined with one that a copy of the store may hold as well"}; });
            bool const nothing = absorbed->kind == change_kind::create && wrote.kind == change_kind::erase;
            if (fresh == nullptr) {
                check(nothing, invariant::nothing_lost,
                      [] { return std::string{"a write and the one before it are both gone"}; });
                return;
            }
        }
        if (!check(fresh != nullptr, invariant::honest_write,
                   [] { return std::string{"a write was committed that is not in the outbox"}; })) {
            return;
        }
        std::vector<field_op> expected = wrote.ops;
        change_kind kind = wrote.kind;
        if (absorbed != nullptr && wrote.kind != change_kind::erase) {
            auto both = naive_union(*absorbed, wrote, rules);
            check(both.has_value(), invariant::honest_write,
                  [] { return std::string{"two writes were joined that don't compose"}; });
            if (both) { expected = std::move(*both); }
            kind = absorbed->kind;
        }
        auto const same = [](field_op const& a, field_op const& b) {
            return a.field == b.field && a.kind == b.kind && a.value == b.value;
        };
        bool const whole = fresh->kind == kind && fresh->record == wrote.record &&
                           std::equal(fresh->ops.begin(), fresh->ops.end(), expected.begin(), expected.end(), same);
        check(whole, invariant::honest_write,
              [&] { return "the mutation of " + std::string{wrote.record.id_text()} + " is not what was written"; });
        if (absorbed != nullptr) {
            for (field_op const& op : absorbed->ops) {
                bool const touched = std::any_of(wrote.ops.begin(), wrote.ops.end(),
                                                 [&](field_op const& o) { return o.field == op.field; });
                bool const kept = touched || wrote.kind == change_kind::erase ||
                                  std::find(fresh->ops.begin(), fresh->ops.end(), op) != fresh->ops.end();
                check(kept, invariant::honest_write,
                      [] { return std::string{"a joined write lost the stamp of what it took in"}; });
            }
        }
        judge_stamp(s, *fresh);
        seen const before = seen_before(s, changes, wrote.record);
        if (absorbed == nullptr) { judge_base(before, *fresh); }
        std::map<std::string, bytes> saw;
        if (absorbed != nullptr && wrote.kind != change_kind::erase) { saw = absorbed_held->base; }
        for (field_op const& op : wrote.ops) {
            bool const earlier =
                absorbed != nullptr && std::any_of(absorbed->ops.begin(), absorbed->ops.end(),
                                                   [&](field_op const& o) { return o.field == op.field; });
            auto const was = before.state.fields.find(op.field);
            if (!earlier && was != before.state.fields.end()) { saw[op.field] = was->second; }
        }
        check(saw == fresh_held->base, invariant::honest_write, [&] {
            return "what the writer of " + std::string{wrote.record.id_text()} + " saw is not kept with the mutation";
        });
        if (absorbed != nullptr) {
            auto const urgent = s.urgency.find(absorbed_held->content);
            check(urgent == s.urgency.end() || urgent->second == s.doing.urgency, invariant::honest_write,
                  [] { return std::string{"a write was joined with one of another urgency"}; });
            if (urgent != s.urgency.end()) { s.urgency.erase(urgent); }
        }
        s.urgency[fresh_held->content] = s.doing.urgency;
    }
    [[nodiscard]] static seen seen_before(device const& s, std::vector<change> const& changes,
                                          record_key const& record) {
        bytes const k = entry('v', to_bytes(record));
        auto const changed = std::find_if(changes.begin(), changes.end(), [&](change const& c) { return c.key == k; });
        if (changed == changes.end()) { return parse_visible(s.image.find(k)); }
        return parse_visible(changed->before ? &*changed->before : nullptr);
    }
    /// The life and the version that the writer saw are those that the mutation names.
    void judge_base(seen const& before, mutation const& m) {
        std::uint64_t const life =
            m.kind == change_kind::create ? (before.present ? before.state.life + 1 : 1) : before.state.life;
        check(m.life == life, invariant::no_resurrection, [&] {
            return "a write to life " + std::to_string(m.life) + " of a record in life " + std::to_string(life);
        });
        check(m.base == before.confirmed, invariant::honest_write,
              [] { return std::string{"a mutation says that its writer saw another version"}; });
    }
    void judge_stamp(device& s, mutation const& m) {
        check(m.stamp > s.issued, invariant::clock,
              [] { return std::string{"a stamp that is not after the last one of its device"}; });
        check(m.stamp > s.learned, invariant::causality,
              [] { return std::string{"a stamp that is not after what its writer had seen"}; });
        // Equal readings count on; ten thousand stamps stay within a minute of the counter.
        check(m.stamp.raw <= s.bound.raw + (std::uint64_t{60'000} << 16) || s.issued >= s.bound, invariant::clock,
              [] { return std::string{"a stamp further ahead than any clock that the device could believe"}; });
        s.issued = (std::max)(s.issued, m.stamp);
    }

    /// Cursor, identity, clock.
    void judge_state(std::size_t store, device& s, std::vector<change> const& changes) {
        bool told = false;  // the cursor or the ranges that are still wanted have changed
        for (change const& c : changes) {
            if (is(c.key, 'r', 't') && c.after) {
                auto const now = timestamp_from(*c.after);
                auto const was = c.before ? timestamp_from(*c.before) : result<timestamp>{timestamp{}};
                check(now && was && *now >= *was, invariant::clock,
                      [] { return std::string{"a stored clock went back"}; });
            }
            told = told || is(c.key, 'r', 'w');
            if (!is(c.key, 'r', 's')) { continue; }
            position const old = s.cursor;
            read_sync(s);
            check(s.cursor >= old, invariant::cursor_complete, [] { return std::string{"a cursor went back"}; });
            told = told || s.cursor != old;
        }
        if (told) {
            for (auto it = home_.now.lower_bound(authority_entry('r'));
                 it != home_.now.end() && is(it->first, 'a', 'r'); ++it) {
                row const there = parse_row(it->second);
                bytes_view const record = bytes_view{it->first}.subspan(2);
                if (there.version > s.cursor || wanted(s, record)) { continue; }
                seen const here = parse_visible(s.image.find(entry('v', record)));
                check(here.confirmed >= there.version, invariant::cursor_complete, [&] {
                    return "device " + std::to_string(store) + " stands at " + std::to_string(s.cursor) +
                           " and holds no " + show(record) + " of position " + std::to_string(there.version);
                });
            }
        }
    }

    /// Whether the device has yet to be told the range that a record is in.
    [[nodiscard]] static bool wanted(device const& s, bytes_view record) {
        bytes const all = entry('w', {});
        for (auto it = s.image.now.lower_bound(all); it != s.image.now.end() && starts_with(it->first, all); ++it) {
            bytes_view const to = bytes_view{it->first}.subspan((std::min)(it->first.size(), std::size_t{3}));
            if (compare(it->second, record) <= 0 && compare(record, to) < 0) { return true; }
        }
        return false;
    }

    /// What is shown is what is confirmed, then what was decided and is not held yet, then what waits.
    void judge_visible(std::size_t store, device& s, std::vector<change> const& changes) {
        std::set<bytes, bytes_order> touched;
        for (change const& c : changes) {
            bytes_view const k = c.key;
            if (is(k, 'r', 'v') || is(k, 'r', 'b')) { touched.insert(to_bytes(k.subspan(2))); }
            if (is(k, 'r', 'h') && k.size() > 12) { touched.insert(to_bytes(k.subspan(4, k.size() - 12))); }
            if (in_custody(k)) {
                for (auto const* value : {&c.before, &c.after}) {
                    if (!*value) { continue; }
                    for (held_mutation const& h : mutations_in(**value)) { touched.insert(to_bytes(h.change.record)); }
                }
            }
        }
        for (bytes const& name : touched) { judge_record(store, s, name); }
    }
    void judge_record(std::size_t store, device& s, bytes const& name) {
        auto const k = record_key_from(name);
        if (!check(k.has_value(), invariant::visible_state, [] { return std::string{"a record without a name"}; })) {
            return;
        }
        seen const shown = parse_visible(s.image.find(entry('v', name)));
        bytes const* const base = s.image.find(entry('b', name));
        naive_row now;
        if (!shown.dirty && shown.present) { now = shown.state; }
        if (shown.dirty && base != nullptr) { now = naive_row{parse_row(*base)}; }
        position const known = now.life == 0 ? 0 : now.version;
        if (known != 0) {
            judge_copy(store, s, *k, now);
            check(shown.confirmed == known, invariant::visible_state,
                  [] { return std::string{"a record names another confirmed version than it holds"}; });
        }

        collection_rules const& rules = options_.rules.of(k->collection);
        timestamp const unbounded{(std::numeric_limits<std::uint64_t>::max)()};
        bool pending = false;
        // Told that nothing is there any more, it holds what became of the write too.
        position const gone = known != 0 || wanted(s, name) ? 0 : (std::min)(collected_of(name), s.cursor);
        std::erase_if(s.overlay, [&](typename device::settled const& d) {
            return d.change.record == *k && d.version <= (std::max)(known, gone);
        });
        for (auto const& d : s.overlay) {
            if (!(d.change.record == *k)) { continue; }
            naive_apply(now, d.change, rules, s.author, pending_position, d.stamp);
            pending = true;
        }
        std::vector<mutation const*> waits;
        for (auto const& [key, held] : s.custody) {
            if (home_of(key) != home::outbox) { continue; }
            for (held_mutation const& h : held) {
                if (h.change.record == *k) { waits.push_back(&h.change); }
            }
        }
        std::sort(waits.begin(), waits.end(), [](auto const* a, auto const* b) { return a->stamp < b->stamp; });
        for (mutation const* m : waits) {
            naive_apply(now, *m, rules, s.author, pending_position, unbounded);
            pending = true;
        }
        if (s.renamed || s.revived) { return; }
        check(now.looks_like(shown.state), invariant::visible_state, [&] {
            return "device " + std::to_string(store) + " shows another " + show(name) +
                   " than what is confirmed plus what is pending: " + show(shown.state) + " instead of " + show(now);
        });
        check(shown.dirty == pending, invariant::visible_state, [&] {
            return "device " + std::to_string(store) + (pending ? " hides that " : " says that ") + show(name) +
                   (pending ? " has pending writes" : " has pending writes, and it has none");
        });
    }
    /// A confirmed row is bit for bit what the authority had at that position; the clock had to learn from it.
    void judge_copy(std::size_t store, device& s, record_key const& k, naive_row const& held) {
        auto const it = versions_.find(held.version);
        check(it != versions_.end() && it->second.first == k && it->second.second == held, invariant::true_copy, [&] {
            return "device " + std::to_string(store) + " holds a " + std::string{k.id_text()} + " of position " +
                   std::to_string(held.version) + " that the authority never had: " + show(held) + " instead of " +
                   (it == versions_.end() ? std::string{"nothing"} : show(it->second.second));
        });
        position& learned = s.learned_of[to_bytes(k)];
        position const known = std::exchange(learned, held.version);
        if (known >= held.version || s.doing.what != deed::kind::receive) { return; }
        timestamp const believable = latest_within(s.doing.now.wall, options_.clock.accept_ahead_max);
        // What stood there before was looked at then: it may have been too far ahead.
        std::set<timestamp> old;
        if (auto const before = versions_.find(known); before != versions_.end()) {
            old.insert(before->second.second.floor.stamp);
            for (auto const& [field, w] : before->second.second.marks) { old.insert(w.stamp); }
        }
        auto const learn = [&](timestamp t) {
            if (t <= believable && !old.contains(t)) { s.learned = (std::max)(s.learned, t); }
        };
        learn(held.floor.stamp);
        for (auto const& [field, w] : held.marks) { learn(w.stamp); }
    }

    /// The events of an exchange are the difference between what was visible before and after it.
    void judge_events(device& s, std::vector<change> const& changes) {
        if (s.doing.what != deed::kind::receive) { return; }
        std::map<bytes, bool, bytes_order> differs;  // record -> it is gone
        std::map<bytes, bool, bytes_order> told;
        for (change const& c : changes) {
            if (is(c.key, 'r', 'v')) {
                seen const before = parse_visible(c.before ? &*c.before : nullptr);
                seen const after = parse_visible(c.after ? &*c.after : nullptr);
                if (!before.state.looks_like(after.state)) {
                    differs[bytes(c.key.begin() + 2, c.key.end())] = after.state.deleted;
                }
            }
            if (is(c.key, 'r', 'e') && c.after) {
                auto const ok = event_batch::read(*c.after, [&](event const& e) {
                    if (e.kind == event_kind::changed || e.kind == event_kind::removed) {
                        told[to_bytes(e.record)] = e.kind == event_kind::removed;
                    }
                    return true;
                });
                check(ok.has_value(), invariant::true_events, [] { return std::string{"events that don't decode"}; });
            }
        }
        check(differs == told, invariant::true_events, [&] {
            std::string text = "an exchange changed";
            for (auto const& [k, gone] : differs) { text += ' ' + show(k) + (gone ? " (gone)" : ""); }
            text += ", and told of";
            for (auto const& [k, gone] : told) { text += ' ' + show(k) + (gone ? " (gone)" : ""); }
            return text;
        });
    }

    // The oracles of the authority's commit.

    /// Tombstones alone go, each under the horizon that whoever comes back is told.
    void judge_collection(std::vector<change> const& changes, commit_record& record) {
        for (change const& c : changes) {
            if (is(c.key, 'a', 'l') || is(c.key, 'a', 'p')) { continue; }
            if (!check(is(c.key, 'a', 'r') && c.before && !c.after, invariant::no_resurrection,
                       [] { return std::string{"a collection of tombstones changed something else"}; })) {
                continue;
            }
            naive_row const was{parse_row(*c.before)};
            bytes const name = to_bytes(bytes_view{c.key}.subspan(2));
            check(was.deleted, invariant::nothing_lost,
                  [&] { return "the living " + show(name) + " was collected as a tombstone"; });
            check(was.version <= horizon(), invariant::no_resurrection,
                  [&] { return "the tombstone of " + show(name) + " went from above the horizon"; });
            record.collected.push_back({name, collected_of(name)});
            collected_[name] = was.version;
        }
        judge_horizon(changes);
    }
    /// A lease that is held says of its replica no more than that holds.
    ///
    /// Who has none, and says that it starts anew, is believed: an old request that comes again long after the lease is
    /// over may get one that says too much. It ends with the next word of the replica.
    void judge_lease(std::vector<change> const& changes) {
        for (change const& c : changes) {
            if (!request_ || !is(c.key, 'a', 'l') || c.key.size() != 11 || c.key[2] != std::byte{2} || !c.after) {
                continue;
            }
            position const said = read_u64(*c.after);
            bool const believed =
                c.before ? said <= read_u64(*c.before) : request_->cursor == 0 || request_->cursor < horizon();
            overstated_.erase(request_->replica);
            for (device const& s : stores_) {
                if (!(s.self == request_->replica) || said <= s.cursor) { continue; }
                overstated_.insert(s.self);
                check(believed || starts_anew(s, horizon()), invariant::no_resurrection, [&] {
                    return "a lease says that its replica holds everything up to " + std::to_string(said) +
                           ", and it stands at " + std::to_string(s.cursor);
                });
            }
        }
    }
    /// Lease time goes on by a bounded step from one exchange to the next, however far the clock went.
    void judge_lease_time(std::vector<change> const& changes) {
        bytes state = authority_entry('l');
        state.push_back(std::byte{0});
        for (change const& c : changes) {
            if (c.key != state || !c.after) { continue; }
            std::int64_t const step = lease_time_in(*c.after) - (c.before ? lease_time_in(*c.before) : 0);
            check(step >= 0 && step <= lease_options{}.step_max.count(), invariant::no_resurrection,
                  [&] { return "lease time went on by " + std::to_string(step) + " ms with one exchange"; });
        }
    }
    /// No replica that holds a lease stands below the horizon, whatever its lease says, but those that start anew.
    void judge_horizon(std::vector<change> const& changes) {
        bytes state = authority_entry('l');
        state.push_back(std::byte{0});
        auto const moved =
            std::find_if(changes.begin(), changes.end(), [&](change const& c) { return c.key == state; });
        if (moved == changes.end()) { return; }
        position const before = moved->before ? horizon_in(*moved->before) : 0;
        for (device const& s : stores_) {
            bytes const* const author = author_of(s.self);
            if (author == nullptr) { continue; }
            bytes lease = authority_entry('l');
            lease.push_back(std::byte{2});
            append_u64(lease, index_in(*author));
            bool const excused = starts_anew(s, before) || overstated_.count(s.self) != 0;
            check(home_.find(lease) == nullptr || horizon() <= s.cursor || excused, invariant::no_resurrection, [&] {
                return "tombstones went up to " + std::to_string(horizon()) +
                       ", and a replica that holds a lease stands at " + std::to_string(s.cursor);
            });
        }
    }
    /// Whether a device is told everything once more, so that no tombstone matters to it; or is one whose past came back.
    [[nodiscard]] bool starts_anew(device const& s, position horizon) const {
        return s.cursor == 0 || s.cursor < horizon || lived_twice_.count(s.self.device) != 0;
    }
    /// A replica that confirms the receipt of nothing is decided about no further than was agreed.
    void judge_kept_verdicts(std::vector<change> const& changes) {
        bool const any_new =
            std::any_of(changes.begin(), changes.end(), [](change const& c) { return is(c.key, 'a', 'v') && c.after; });
        bytes const* const author = request_ ? author_of(request_->replica) : nullptr;
        if (options_.verdicts_max == 0 || !any_new || author == nullptr) { return; }
        bytes all = authority_entry('v');
        append_u64(all, index_in(*author));
        std::uint64_t kept = 0;
        for (auto it = home_.now.lower_bound(all); it != home_.now.end() && starts_with(it->first, all); ++it) {
            ++kept;
        }
        check(kept <= options_.verdicts_max, invariant::bounded, [&] {
            return "the authority keeps " + std::to_string(kept) + " verdicts for a replica, and " +
                   std::to_string(options_.verdicts_max) + " are the limit";
        });
    }
    [[nodiscard]] bytes const* author_of(replica_id const& who) const {
        bytes k = authority_entry('u');
        append(k, to_array(who));
        return home_.find(k);
    }
    [[nodiscard]] static std::uint64_t index_in(bytes_view author) {
        cbor_reader in{author};
        (void)in.array();
        return in.unsigned_integer();
    }
    /// Where the last tombstone of a record was that is gone; 0 if none is.
    [[nodiscard]] position collected_of(bytes const& name) const {
        auto const it = collected_.find(name);
        return it == collected_.end() ? 0 : it->second;
    }
    /// Tombstones up to here are gone, and whoever comes back is told so.
    [[nodiscard]] position horizon() const {
        bytes state = authority_entry('l');
        state.push_back(std::byte{0});
        bytes const* const said = home_.find(state);
        return said == nullptr ? 0 : horizon_in(*said);
    }
    [[nodiscard]] static position horizon_in(bytes_view state) {
        cbor_reader in{state};
        (void)in.array();
        return in.unsigned_integer();
    }
    [[nodiscard]] static std::int64_t lease_time_in(bytes_view state) {
        cbor_reader in{state};
        (void)in.array();
        (void)in.unsigned_integer();
        return in.integer();
    }
    /// Whether a change is to a life that ended in a tombstone which is gone, as far as an authority without it can tell.
    [[nodiscard]] bool of_collected(mutation const& m, naive_row const& now) const {
        if (m.kind == change_kind::create || m.base == 0 || m.base > horizon()) { return false; }
        if (now.life == 0) { return true; }
        bool const earlier = m.life < now.life || (m.life == 1 && now.life == 1);
        return !now.deleted && earlier && now.floor.at > m.base;
    }

    void judge_decisions(std::vector<change> const& changes, commit_record& record, judge_validation accepts) {
        std::map<author_index, replica_id> authors;
        for (change const& c : changes) {
            if (!is(c.key, 'a', 'u') || !c.after) { continue; }
            auto const id = replica_id_from(bytes_view{c.key}.subspan(2));
            cbor_reader in{*c.after};
            (void)in.array();
            auto const index = static_cast<author_index>(in.unsigned_integer());
            if (id) { authors[index] = *id; }
        }
        struct fresh {
            verdict said;
            held_mutation held;
            std::uint64_t number = 0;  ///< of its origin
        };
        std::map<std::uint64_t, fresh> decisions;
        author_index author = 0;
        position head = parse_head(home_.find(authority_entry('m')));
        std::map<bytes, naive_row, bytes_order> rows;    // as they ought to be
        std::map<bytes, naive_row, bytes_order> actual;  // as they were written
        for (change const& c : changes) {
            bytes_view const k = c.key;
            if (is(k, 'a', 'm')) { head = parse_head(c.before ? &*c.before : nullptr); }
            if (is(k, 'a', 'r')) {
                bytes const name = to_bytes(k.subspan(2));
                check(c.after.has_value(), invariant::no_resurrection,
                      [] { return std::string{"the authority dropped a row, a tombstone perhaps"}; });
                if (c.after) { actual[name] = naive_row{parse_row(*c.after)}; }
                rows[name] = c.before ? naive_row{parse_row(*c.before)} : naive_row{};
            }
            if (!is(k, 'a', 'v') || k.size() != 18) { continue; }
            author = static_cast<author_index>(read_u64(k.subspan(2)));
            std::uint64_t const sequence = read_u64(k.subspan(10));
            if (!c.after) {
                check(request_ && sequence <= request_->receipts, invariant::one_verdict,
                      [] { return std::string{"a verdict was forgotten before its receipt was confirmed"}; });
                continue;
            }
            check(!c.before, invariant::one_verdict, [] { return std::string{"a kept verdict was replaced"}; });
            fresh f;
            cbor_reader in{bytes_view{*c.after}.subspan((std::min)(std::size_t{16}, c.after->size()))};
            f.said = decode_verdict(in);
            for (std::size_t i = 0; request_ && i < request_->mutations.size(); ++i) {
                bytes named = request_->mutations[i];
                held_mutation h = numbered(named);
                if (h.change.sequence != sequence) { continue; }
                if (!request_->origins.empty() && request_->origins[i].line != 0) {
                    h.line = request_->origins[i].line;
                    f.number = request_->origins[i].number;
                    append_u64(named, h.line);
                    append_u64(named, request_->origins[i].number);
                }
                auto const digest = sha256(named);
                check(equal(bytes_view{digest}.first(16), bytes_view{*c.after}.first(16)), invariant::one_verdict,
                      [] { return std::string{"a verdict is kept with the hash of other bytes"}; });
                f.held = std::move(h);
                break;
            }
            check(f.held.change.sequence == sequence, invariant::one_verdict,
                  [] { return std::string{"a verdict on a mutation that is not in the request"}; });
            decisions.emplace(sequence, std::move(f));
        }
        if (!request_) {
            check(decisions.empty() && actual.empty(), invariant::total_decoders,
                  [] { return std::string{"a message that is none changed the authority"}; });
            return;
        }
        if (decisions.empty()) {
            check(actual.empty(), invariant::lawful_merge,
                  [] { return std::string{"a row changed and nothing was decided"}; });
            return;
        }
        replica_id const who = request_->replica;
        bool const known_index = authors.count(author) != 0;
        check(known_index && authors[author] == who, invariant::one_verdict,
              [] { return std::string{"verdicts under another author's number"}; });

        for (bytes const& raw : request_->mutations) {
            held_mutation const h = numbered(raw);
            auto const before = decided_.find({who, h.change.sequence});
            check(before == decided_.end() || before->second.content == h.content, invariant::one_verdict, [&] {
                return "mutation " + std::to_string(h.change.sequence) +
                       " has another content than the one decided, and what came with it was decided all the same";
            });
        }
        position at = head;
        for (auto& numbered_decision : decisions) {
            std::uint64_t const sequence = numbered_decision.first;
            fresh& f = numbered_decision.second;
            mutation const& m = f.held.change;
            auto const earlier = decided_.find({who, sequence});
            check(earlier == decided_.end(), invariant::exactly_once,
                  [&] { return "mutation " + std::to_string(sequence) + " was decided twice"; });
            std::uint64_t& upto = decided_upto_[who];
            check(sequence == upto + 1, invariant::one_verdict, [&] {
                return "mutation " + std::to_string(sequence) + " was decided after mutation " + std::to_string(upto);
            });
            upto = (std::max)(upto, sequence);
            bool const elsewhere = f.said.kind == verdict_kind::duplicate;
            judge_writes(f.held, f.number, f.said.kind, record);
            decided_[{who, sequence}] = {f.held.content, f.said.kind, f.said.version, f.said.stamp, {}};
            record.decided.push_back({who, sequence});

            bool const stranger = strangers_.count(who) != 0;
            if (!stranger) {
                check(was_frozen(who, f.held), invariant::honest_write,
                      [] { return std::string{"the authority decided what no device had frozen"}; });
                // Two lives of one store may know nothing of each other's clocks: then each has its own order.
                std::uint64_t const life = lived_twice_.count(who.device) != 0 ? f.held.line : 0;
                timestamp& last = last_stamp_[{{who, life}, to_bytes(m.record)}];
                check(m.stamp >= last || set_aside_.count(f.held.content) != 0, invariant::order_per_record, [&] {
                    return "writes to " + std::string{m.record.id_text()} +
                           " were decided in another order than written";
                });
                last = (std::max)(last, m.stamp);
            }

            bytes const name = to_bytes(m.record);
            if (rows.count(name) == 0) {
                bytes k = authority_entry('r');
                append(k, name);
                bytes const* const raw = home_.find(k);
                rows[name] = raw == nullptr ? naive_row{} : naive_row{parse_row(*raw)};
                actual[name] = rows[name];
            }
            naive_row after = rows[name];
            bool const was_deleted = after.life != 0 && after.deleted;
            std::uint64_t const was_life = after.life;
            // A stranger's mutation may be beyond some limit: it may always be rejected.
            bool const refused = elsewhere || (stranger && f.said.kind == verdict_kind::rejected);
            bool const readable =
                !refused && valid(m.record) && m.base <= at && m.life <= was_life + (std::uint64_t{1} << 32);
            naive_outcome out;
            out.verdict = verdict_kind::rejected;
            if (readable && of_collected(m, rows[name])) {
                bool const anew = was_life != 0;
                check(stranger || anew || m.base <= collected_of(name), invariant::honest_write, [&] {
                    return "a write to " + std::string{m.record.id_text()} +
                           " is said to be of a life whose tombstone was collected, and none was";
                });
                bool const erases = m.kind == change_kind::erase;
                out.verdict = erases ? verdict_kind::overruled : verdict_kind::conflict;
            } else if (readable) {
                out = naive_apply(after, m, options_.rules.of(m.record.collection), author, at + 1, stamp_max_);
                if (out.changed && !accepts(m)) {
                    out = {};
                    out.verdict = verdict_kind::rejected;
                }
            }
            if (out.verdict == verdict_kind::rejected || !out.changed) { after = rows[name]; }
            bool const changed = out.changed && out.verdict != verdict_kind::rejected;
            if (changed) { ++at; }
            rows[name] = std::move(after);
            check(elsewhere || f.said.kind == out.verdict, invariant::lawful_merge, [&] {
                return "the write to " + std::string{m.record.id_text()} + " was " + name_of(f.said.kind) +
                       ", by the rules it is " + name_of(out.verdict);
            });
            for (std::string const& field : out.lost) {
                bool const said = std::any_of(f.said.decisions.begin(), f.said.decisions.end(), [&](decision const& d) {
                    return d.field == field && d.won == winner::confirmed;
                });
                check(said, invariant::no_silent_loser,
                      [&] { return "the value of " + field + " lost, and the verdict does not say so"; });
            }
            for (std::string const& field : out.waiting) {
                bool const said = std::any_of(f.said.decisions.begin(), f.said.decisions.end(), [&](decision const& d) {
                    return d.field == field && d.won == winner::nobody;
                });
                check(said, invariant::no_silent_loser,
                      [&] { return "the value of " + field + " waits for a person, and the verdict does not say so"; });
            }
            naive_row const& ought = rows[name];
            check(!(was_deleted && !ought.deleted) || ought.life > was_life, invariant::no_resurrection,
                  [&] { return "the deleted " + std::string{m.record.id_text()} + " lives again in the same life"; });
        }
        for (auto const& pair : rows) {
            bytes const& name = pair.first;
            naive_row const& ought = pair.second;
            auto const is_there = actual.find(name);
            check(is_there != actual.end() && is_there->second == ought, invariant::lawful_merge, [&] {
                return "the authority's " + show(name) + " is not what the rules give: " +
                       (is_there == actual.end() ? std::string{"unchanged"} : show(is_there->second)) + " instead of " +
                       show(ought);
            });
        }
        for (auto const& [name, is_there] : actual) {
            auto const k = record_key_from(name);
            if (!k || is_there.life == 0) { continue; }
            auto const [it, first] = versions_.try_emplace(is_there.version, std::pair{*k, is_there});
            if (first) { record.versions.push_back(is_there.version); }
        }
        check(parse_head(home_.find(authority_entry('m'))) == at, invariant::cursor_complete,
              [] { return std::string{"the authority's head is not the position of its last change"}; });
    }
    /// Each write takes effect once, whatever it travels in, and is said to be decided only when it was.
    void judge_writes(held_mutation const& held, std::uint64_t number, verdict_kind said, commit_record& record) {
        auto const all = writes_in(held);
        origin const from = request_->origins.empty() ? origin{} : origin{held.line, number};
        bool const told =
            from.line != 0 && !decided_origins_.insert({request_->replica.device, {from.line, from.number}}).second;
        if (!told && from.line != 0) { record.origins.push_back({request_->replica.device, {from.line, from.number}}); }
        check(told == (said == verdict_kind::duplicate) || strangers_.count(request_->replica) != 0,
              invariant::exactly_once, [&] {
                  return "a write to " + std::string{held.change.record.id_text()} +
                         (told ? " was decided before, under the same origin"
                               : " is said to be decided, and its origin never was");
              });
        if (said == verdict_kind::duplicate) {
            check(any_decided(all), invariant::nothing_lost, [&] {
                return "a write to " + std::string{held.change.record.id_text()} +
                       " is said to be decided under another name, and never was";
            });
            return;
        }
        bool const took_effect = said == verdict_kind::applied || said == verdict_kind::merged;
        for (std::uint32_t const w : all) {
            written& one = writes_[w];
            ++one.decided;
            record.looked_at.push_back(w);
            if (said == verdict_kind::overruled) { one.ended = true; }
            if (!took_effect) { continue; }
            check(one.effective == 0, invariant::exactly_once,
                  [&] { return "a write to " + one.record + " took effect twice, under two names"; });
            ++one.effective;
            record.effective.push_back(w);
        }
    }
    [[nodiscard]] static std::string name_of(verdict_kind k) { return name(k); }

    judge_options options_;
    std::vector<device> stores_;
    std::vector<violation> found_;
    std::uint64_t checks_ = 0;

    shadow home_;
    std::vector<commit_record> home_unsynced_;
    std::optional<request> request_;
    timestamp stamp_max_{};
    std::set<replica_id> strangers_;
    std::set<replica_id> overstated_;  // those whose lease says more than they hold
    bool collecting_ = false;
    std::map<bytes, position, bytes_order> collected_;  // records, and where the last tombstone was that is gone

    std::map<std::pair<replica_id, std::uint64_t>, std::vector<bytes>> frozen_;
    std::map<std::pair<replica_id, std::uint64_t>, decided> decided_;
    std::map<replica_id, std::uint64_t> decided_upto_;
    std::map<std::pair<std::pair<replica_id, std::uint64_t>, bytes>, timestamp> last_stamp_;
    std::set<id128> lived_twice_;             // devices whose stores were put back or copied
    std::set<bytes, bytes_order> set_aside_;  // contents that were dead letters: they may come again, late
    std::map<position, std::pair<record_key, naive_row>> versions_;
    std::vector<written> writes_;  // the ledger
    std::set<named_origin> decided_origins_;
    std::map<bytes, std::set<std::uint32_t>, bytes_order> writes_of_;
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
