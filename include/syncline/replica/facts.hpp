// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Collections of facts: records that are only added, never changed, never merged; in an order of their own, with values
/// that are derived from them by a fold over what is confirmed and what is pending.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/merge/fields.hpp>
#include <syncline/merge/rule.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/constraints.hpp>
#include <syncline/replica/record_store.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/validation.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t fact_orders_max = 4;       ///< fields that order a collection
inline constexpr std::size_t fold_name_bytes_max = 64;  ///< a fold's name: 1 to so many bytes of UTF-8
inline constexpr std::size_t fact_snapshots_max = 8;    ///< values of a fold that are kept along the order
inline constexpr std::string_view checkpoint_collection = "fact_checkpoints";  ///< where checkpoints are records

/// A field by which facts are ordered: an integer of 64 bits. The smaller first, or the greater.
struct fact_order {
    std::string field;
    bool greatest_first = false;  ///< a priority
    friend bool operator==(fact_order const&, fact_order const&) = default;
};

/// A collection whose records are facts.
struct fact_collection {
    std::string collection;
    /// The first that differs decides, then the id. None: by the stamp that the fact was written with.
    std::vector<fact_order> order{};
    /// The principal who may erase facts, once every fold has a checkpoint that covers them. Empty: nobody may.
    std::string keeper{};
    std::vector<std::string>
        folds{};  ///< the names of all folds over it: `compact` erases what all of them have covered
};

/// Whether a collection can be kept.
[[nodiscard]] inline bool valid(fact_collection const& c) {
    auto const fold_fits = [](std::string const& name) {
        return !name.empty() && name.size() <= fold_name_bytes_max && valid_utf8(name);
    };
    auto const order_fits = [](fact_order const& o) {
        return !o.field.empty() && o.field.size() <= field_name_bytes_max && valid_utf8(o.field);
    };
    return valid(record_key{c.collection, "-"}) && c.collection != checkpoint_collection &&
           c.order.size() <= fact_orders_max && std::all_of(c.order.begin(), c.order.end(), order_fits) &&
           std::all_of(c.folds.begin(), c.folds.end(), fold_fits);
}

namespace detail {

/// An integer as eight bytes in its order; the least for what is none.
inline void append_ordered(bytes& out, std::optional<std::int64_t> n, bool greatest_first) {
    std::uint64_t at = n ? static_cast<std::uint64_t>(*n) ^ (std::uint64_t{1} << 63) : 0;
    if (n && greatest_first) { at = ~at; }
    append_u64(out, at);
}
[[nodiscard]] inline std::optional<std::int64_t> ordering_value(bytes_view fields, std::string_view name) {
    auto const item = filled(fields, name);
    return item ? integer_of(*item) : std::nullopt;
}

/// The judge of a facts' check: `data` is the collection.
[[nodiscard]] inline validation judge_fact(validation_input const& in, void const* data) {
    auto const& c = *static_cast<fact_collection const*>(data);
    bool const was = in.before.has_value();
    bool const lives = was && !in.before->deleted;
    switch (in.change.kind) {
        case change_kind::update: return {false, errc::rejected, "a fact of " + c.collection + " is never changed"};
        case change_kind::erase:
            if (!c.keeper.empty() && in.principal == c.keeper) { return {}; }
            return {false, errc::rejected, "a fact of " + c.collection + " is never deleted"};
        case change_kind::create:
        case change_kind::group: break;
    }
    // One that was erased was counted, by a checkpoint. So was, perhaps, one that lives and was erased by its writer alone.
    bool const same = lives && in.before->life == in.after.life && in.before->fields == in.after.fields;
    if (was && !same) { return {false, errc::already_exists, "there is, or was, such a fact of " + c.collection}; }
    for (fact_order const& o : c.order) {
        if (!ordering_value(in.after.fields, o.field)) {
            return {false, errc::type_mismatch, o.field + ": it orders the facts, and is no integer"};
        }
    }
    return {};
}

}  // namespace detail

/// The check that makes a collection one of facts, for `check_table::add`: only creations pass, with their order's fields;
/// and erasures by the keeper. As `replica_options::checks` it refuses a write before it is queued, as
/// `authority_options::checks` whatever else is sent: `errc::rejected`, for a second fact of the same id with other
/// fields `errc::already_exists`. `fields` and `closed` are the host's to fill in. `c` outlives it.
[[nodiscard]] inline record_check check_of(fact_collection const& c) {
    return {c.collection, {}, false, &detail::judge_fact, &c};
}

/// The rules of the checkpoints' collection, the same for everybody: the first that is confirmed stands as a whole.
[[nodiscard]] inline collection_rules checkpoint_rules() {
    collection_rules r;
    r.collection = std::string{checkpoint_collection};
    r.whole = rule::authority;
    return r;
}

/// Where facts stand in their order: what `fact_collection::order` says, then the id. Unique in the collection.
[[nodiscard]] inline bytes order_key(fact_collection const& c, record_key const& k, row const& r) {
    bytes out;
    for (fact_order const& o : c.order) {
        detail::append_ordered(out, detail::ordering_value(r.fields, o.field), o.greatest_first);
    }
    if (c.order.empty()) { append_u64(out, r.floor.stamp.raw); }
    append(out, k.id);
    return out;
}
/// Where a value of the first ordering field begins: of a collection that is ordered by stamps, a time.
[[nodiscard]] inline bytes order_from(fact_collection const& c, std::int64_t value) {
    bytes out;
    if (c.order.empty()) {
        append_u64(out, timestamp::make(wall_time{milliseconds{value}}).raw);
    } else {
        detail::append_ordered(out, value, c.order.front().greatest_first);
    }
    return out;
}

/// A fact as a fold is given it. Borrowed for the call.
struct fact {
    record_key const& key;
    bytes_view fields{};
    bool pending = false;  ///< not confirmed: it may still be refused
};

/// How a value is derived from facts.
///
/// Notation: `f` a constant F, `v` lvalue of F::value_type, `x` a fact, `w` a cbor_writer, `r` a cbor_reader.
/// | expression       | result        | meaning |
/// | f.name()         | string_view   | its name in storage and in checkpoints; another when anything else of it changes |
/// | f.initial()      | F::value_type | the value of no facts |
/// | f.step(v, x)     | void          | `v` with a fact more, that comes after all others in it |
/// | f.encode(w, v)   | void          | appends one canonical item |
/// | f.decode(r)      | F::value_type | reads it; on other input the reader has failed |
/// Axioms:
///   total: `step` takes every record: what it can't use it passes over;
///   pure: the same facts in the same order give the same value, at every replica;
///   exact: what is encoded decodes to a value that goes on in the same way.
template <class F>
concept fact_fold = requires(F const& f, typename F::value_type& v, fact const& x, cbor_writer& w, cbor_reader& r) {
    { f.name() } -> std::convertible_to<std::string_view>;
    { f.initial() } -> std::same_as<typename F::value_type>;
    { f.step(v, x) } -> std::same_as<void>;
    { f.encode(w, v) } -> std::same_as<void>;
    { f.decode(r) } -> std::same_as<typename F::value_type>;
};

/// A record store that keeps the order of facts beside the records, in the same transaction. Other collections pass
/// through.
///
/// Keys begin with `prefix`, then "o" collection, order -> position: the confirmed facts; "p" the pending ones; "f"
/// collection, fold -> values along the order; "l" collection -> the last place that one of them stands at. Over a
/// store that held facts before it had this: `reorder`.
/// Cost of a fact: a look-up and a put more; of one in the middle of the order, a rewrite of the values behind it.
/// The collections outlive it, and are `valid`.
template <class Inner = stored_records>
class fact_records {
public:
    explicit fact_records(std::vector<fact_collection> const& all, Inner inner = {}, std::string_view prefix = "df")
        : all_(&all), inner_(std::move(inner)), prefix_(prefix) {
        SYNCLINE_ASSERT(std::all_of(all.begin(), all.end(), [](fact_collection const& c) { return valid(c); }));
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    [[nodiscard]] fact_collection const* collection_of(std::string_view name) const noexcept {
        for (fact_collection const& c : *all_) {
            if (c.collection == name) { return &c; }
        }
        return nullptr;
    }

    // The record store.

    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<held_record>> find(Tx& tx, record_key const& k) const {
        return inner_.find(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const {
        return inner_.find_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, record_key const& k, held_record const& h, row const* confirmed) const {
        if (fact_collection const* const c = collection_of(k.collection)) {
            auto const now = place_of(tx, *c, k, h, confirmed);
            if (!now) { return now.error(); }
            if (auto ok = move(tx, *c, k, *now); !ok) { return ok; }
        }
        return inner_.put(tx, k, h, confirmed);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status drop_confirmed(Tx& tx, record_key const& k) const {
        // A fact stands where its confirmed row says: once that is gone, nobody knows where it stood.
        if (fact_collection const* const c = collection_of(k.collection)) {
            auto const held = inner_.find(tx, k);
            bool const under = !held || (*held && (*held)->pending && (*held)->confirmed != 0);
            if (auto ok = under ? move(tx, *c, k, {}) : status{}; !ok) { return ok; }
        }
        return inner_.drop_confirmed(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status erase(Tx& tx, record_key const& k) const {
        if (fact_collection const* const c = collection_of(k.collection)) {
            if (auto ok = move(tx, *c, k, {}); !ok) { return ok; }
        }
        return inner_.erase(tx, k);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan(Tx& tx, std::string_view collection, held_visitor visit) const {
        return inner_.scan(tx, collection, visit);
    }
    template <storage_transaction Tx>
    [[nodiscard]] status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const {
        return inner_.scan_range(tx, from, to, visit);
    }

    // The order.

    /// Visits facts in their order, from after `after` on (empty: all), until the visitor says false: where each stands,
    /// and the position at which it was first confirmed. `pending`: those that are not confirmed, whose position is 0.
    template <storage_transaction Tx>
    [[nodiscard]] status in_order(Tx& tx, std::string_view collection, bool pending, bytes_view after,
                                  function_ref<bool(bytes_view at, position version)> visit) const {
        bytes const head = key(pending ? 'p' : 'o', collection);
        bytes from = head;
        append(from, after);
        if (!after.empty()) { from.push_back(std::byte{0}); }
        status outcome;
        bytes const end = prefix_end(head);
        auto const ok = tx.scan({from, end}, [&](bytes_view k, bytes_view raw) {
            if (raw.size() != 8) {
                outcome = failure{errc::corrupt, "order of facts"};
                return false;
            }
            return visit(k.subspan(head.size()), read_u64(raw));
        });
        return ok ? outcome : ok;
    }

    /// Makes the order of a collection anew from the records, for facts that were there before it was kept. All of it in
    /// one transaction. `errc::not_found` for a collection that is none of facts.
    template <storage_transaction Tx>
    [[nodiscard]] status reorder(Tx& tx, std::string_view collection) const {
        fact_collection const* const c = collection_of(collection);
        if (c == nullptr) { return failure{errc::not_found, "no collection of facts"}; }
        std::vector<bytes> old;
        for (char const kind : {'o', 'p', 'f', 'l'}) {
            auto const ok = scan_prefix(tx, key(kind, collection), [&](bytes_view k, bytes_view) {
                old.push_back(to_bytes(k));
                return true;
            });
            if (!ok) { return ok; }
        }
        for (bytes const& k : old) {
            if (auto ok = tx.erase(k); !ok) { return ok; }
        }
        std::vector<std::pair<record_key, held_record>> found;
        auto const ok = inner_.scan(tx, collection, [&](record_key const& k, held_record& h) {
            found.emplace_back(k, std::move(h));
            return true;
        });
        if (!ok) { return ok; }
        for (auto const& [k, h] : found) {
            auto const p = place_of(tx, *c, k, h, nullptr);
            if (!p) { return p.error(); }
            if (auto put = enter(tx, *c, *p); !put) { return put; }
        }
        return {};
    }

    // Values of folds along the order; `derived_value` is who asks.

    /// One value: where it stands, over how many facts since the checkpoint, and what it is.
    struct snapshot {
        bytes at{};
        std::uint64_t count = 0;
        bytes value{};
    };
    /// Those of a fold since a checkpoint, in the order of facts.
    struct snapshots {
        position since = 0;  ///< the checkpoint's version; 0: none
        std::vector<snapshot> all{};
    };
    template <storage_transaction Tx>
    [[nodiscard]] result<snapshots> snapshots_of(Tx& tx, std::string_view collection, std::string_view fold) const {
        bytes raw;
        auto const found = tx.get(fold_key(collection, fold), raw);
        if (!found) { return found.error(); }
        if (!*found) { return snapshots{}; }
        return decode(raw);
    }
    /// Precondition: the last value stands where it was made, in this transaction.
    template <storage_transaction Tx>
    [[nodiscard]] status put_snapshots(Tx& tx, std::string_view collection, std::string_view fold,
                                       snapshots const& s) const {
        if (auto ok = tx.put(fold_key(collection, fold), encode(s)); !ok) { return ok; }
        if (s.all.empty()) { return {}; }
        auto last = last_of(tx, collection);
        if (!last) { return last.error(); }
        if (compare(*last, s.all.back().at) >= 0) { return {}; }
        return tx.put(key('l', collection), s.all.back().at);
    }

private:
    struct place {
        bytes at{};  ///< empty: nowhere
        position version = 0;
        friend bool operator==(place const&, place const&) = default;
    };

    [[nodiscard]] bytes key(char kind, std::string_view collection) const {
        bytes k = to_bytes(prefix_);
        k.push_back(static_cast<std::byte>(kind));
        append_key(k, collection, {});
        return k;
    }
    [[nodiscard]] bytes fold_key(std::string_view collection, std::string_view fold) const {
        bytes k = key('f', collection);
        append(k, as_bytes(fold));
        return k;
    }

    /// By what is confirmed, where something is: a fact is never changed, so what waits over it comes to nothing. By the
    /// position of its creation: the same fact once more gives it another version. One that is deleted here is nowhere,
    /// also while that waits: a checkpoint has counted it.
    template <class Tx>
    [[nodiscard]] result<place> place_of(Tx& tx, fact_collection const& c, record_key const& k, held_record const& h,
                                         row const* confirmed) const {
        if (h.visible.deleted) { return place{}; }
        if (h.confirmed == 0) { return place{order_key(c, k, h.visible), 0}; }
        std::optional<row> kept;
        if (h.pending && confirmed == nullptr) {
            auto found = inner_.find_confirmed(tx, k);
            if (!found) { return found.error(); }
            if (!*found) { return place{}; }
            kept = std::move(*found);
        }
        row const& r = !h.pending ? h.visible : confirmed != nullptr ? *confirmed : *kept;
        if (r.deleted) { return place{}; }
        return place{order_key(c, k, r), (std::max)(r.floor.at, position{1})};
    }

    template <class Tx>
    [[nodiscard]] status move(Tx& tx, fact_collection const& c, record_key const& k, place const& now) const {
        auto const before = inner_.find(tx, k);
        result<place> was = place{};
        if (!before) {
            was = before.error();
        } else if (*before) {
            was = place_of(tx, c, k, **before, nullptr);
        }
        if (!was && was.error() != errc::corrupt) { return was.error(); }
        if (was) {
            if (*was == now) { return {}; }
            if (auto ok = leave(tx, c, *was); !ok) { return ok; }
        } else {
            // What it was can't be read: it is where its id is.
            std::size_t const id_at = 8 * (std::max)(c.order.size(), std::size_t{1});
            for (bool const pending : {false, true}) {
                std::vector<place> found;
                auto const ok = in_order(tx, c.collection, pending, {}, [&](bytes_view at, position version) {
                    if (at.size() > id_at && equal(at.subspan(id_at), k.id)) {
                        found.push_back({to_bytes(at), version});
                    }
                    return true;
                });
                if (!ok) { return ok; }
                for (place const& p : found) {
                    if (auto gone = leave(tx, c, p); !gone) { return gone; }
                }
            }
        }
        return enter(tx, c, now);
    }
    template <class Tx>
    [[nodiscard]] status enter(Tx& tx, fact_collection const& c, place const& p) const {
        if (p.at.empty()) { return {}; }
        bytes k = key(p.version == 0 ? 'p' : 'o', c.collection);
        append(k, p.at);
        bytes version;
        append_u64(version, p.version);
        if (auto ok = tx.put(k, version); !ok) { return ok; }
        return p.version == 0 ? status{} : invalidate(tx, c, p.at);
    }
    template <class Tx>
    [[nodiscard]] status leave(Tx& tx, fact_collection const& c, place const& p) const {
        if (p.at.empty()) { return {}; }
        bytes k = key(p.version == 0 ? 'p' : 'o', c.collection);
        append(k, p.at);
        if (auto ok = tx.erase(k); !ok) { return ok; }
        return p.version == 0 ? status{} : invalidate(tx, c, p.at);
    }

    template <class Tx>
    [[nodiscard]] result<bytes> last_of(Tx& tx, std::string_view collection) const {
        bytes last;
        auto const found = tx.get(key('l', collection), last);
        if (!found) { return found.error(); }
        if (!*found) { last.clear(); }
        return last;
    }
    /// Values that stand at a place or after it are not of these facts any more.
    template <class Tx>
    [[nodiscard]] status invalidate(Tx& tx, fact_collection const& c, bytes_view at) const {
        auto const last = last_of(tx, c.collection);
        if (!last) { return last.error(); }
        if (last->empty() || compare(at, *last) > 0) { return {}; }
        std::vector<std::pair<bytes, snapshots>> kept;
        status outcome;
        auto const ok = scan_prefix(tx, key('f', c.collection), [&](bytes_view k, bytes_view raw) {
            auto s = decode(raw);
            if (!s) {
                outcome = s.error();
                return false;
            }
            while (!s->all.empty() && compare(s->all.back().at, at) >= 0) { s->all.pop_back(); }
            kept.emplace_back(to_bytes(k), std::move(*s));
            return true;
        });
        if (!ok) { return ok; }
        if (!outcome) { return outcome; }
        bytes greatest;
        for (auto const& [k, s] : kept) {
            if (auto put = tx.put(k, encode(s)); !put) { return put; }
            if (!s.all.empty() && compare(greatest, s.all.back().at) < 0) { greatest = s.all.back().at; }
        }
        bytes const k = key('l', c.collection);
        return greatest.empty() ? tx.erase(k) : tx.put(k, greatest);
    }

    [[nodiscard]] static bytes encode(snapshots const& s) {
        bytes raw;
        cbor_writer w{raw};
        w.array(2 + 3 * s.all.size());
        w.unsigned_integer(1);  // the form
        w.unsigned_integer(s.since);
        for (snapshot const& one : s.all) {
            w.byte_string(one.at);
            w.unsigned_integer(one.count);
            w.byte_string(one.value);
        }
        return raw;
    }
    [[nodiscard]] static result<snapshots> decode(bytes_view raw) {
        cbor_reader in{raw};
        std::size_t const parts = in.array();
        std::uint64_t const form = in.unsigned_integer();
        if (!in.failed() && form > 1) { return failure{errc::unsupported, "written by a later version"}; }
        snapshots s;
        s.since = in.unsigned_integer();
        if (parts < 2 || (parts - 2) % 3 != 0) { return failure{errc::corrupt, "values of a fold"}; }
        for (std::size_t i = 2; i < parts && !in.failed(); i += 3) {
            snapshot one;
            one.at = to_bytes(in.byte_string());
            one.count = in.unsigned_integer();
            one.value = to_bytes(in.byte_string());
            bool const rises = s.all.empty() || compare(s.all.back().at, one.at) < 0;
            if (one.at.empty() || !rises) { return failure{errc::corrupt, "values of a fold"}; }
            s.all.push_back(std::move(one));
        }
        if (!in.finish()) { return failure{errc::corrupt, "values of a fold"}; }
        return s;
    }

    std::vector<fact_collection> const* all_;
    Inner inner_;
    std::string prefix_;
};

/// A value that was derived from facts.
template <class V>
struct derived {
    V confirmed{};
    V visible{};              ///< with what is pending in its place in the order
    std::size_t pending = 0;  ///< facts that only `visible` has
};

/// What a checkpoint covers. Read from a record that somebody wrote.
struct fact_coverage {
    bytes through{};          ///< the last place in the order
    position at = 0;          ///< facts that were confirmed later are not covered, wherever they stand
    std::uint64_t count = 0;  ///< facts in it
    bytes value{};            ///< the fold's value over them, encoded
    position version = 0;     ///< of the checkpoint itself; 0: there is none
    [[nodiscard]] bool covers(bytes_view place, position confirmed) const noexcept {
        return version != 0 && confirmed <= at && compare(place, through) <= 0;
    }
};

/// The record in which a fold's checkpoint is.
[[nodiscard]] inline record_key checkpoint_key(std::string_view collection, std::string_view fold) {
    bytes id = to_bytes(collection);
    id.push_back(std::byte{'/'});
    append(id, as_bytes(fold));
    return record_key{checkpoint_collection, id};
}

/// The confirmed checkpoint of a fold; with version 0 where there is none. `errc::malformed` for one that is none.
template <storage_transaction Tx, class Records>
[[nodiscard]] result<fact_coverage> checkpoint_of(Tx& tx, Records const& records, std::string_view collection,
                                                  std::string_view fold) {
    record_key const k = checkpoint_key(collection, fold);
    auto held = records.find(tx, k);
    if (!held) { return held.error(); }
    fact_coverage out;
    if (!*held || (*held)->confirmed == 0) { return out; }
    std::optional<row> confirmed;
    if ((*held)->pending) {
        auto kept = records.find_confirmed(tx, k);
        if (!kept) { return kept.error(); }
        confirmed = std::move(*kept);
    } else {
        confirmed = std::move((*held)->visible);
    }
    if (!confirmed || confirmed->deleted) { return out; }
    auto const item = [&](std::string_view name) { return detail::filled(confirmed->fields, name); };
    auto const through = item("through");
    auto const at = item("at");
    auto const count = item("count");
    auto const value = item("value");
    if (!through || !at || !count || !value) { return failure{errc::malformed, "checkpoint of facts"}; }
    cbor_reader places{*through};
    cbor_reader positions{*at};
    cbor_reader counts{*count};
    out.through = to_bytes(places.byte_string());
    out.at = positions.unsigned_integer();
    out.count = counts.unsigned_integer();
    out.value = to_bytes(*value);
    if (!places.finish() || !positions.finish() || !counts.finish()) {
        return failure{errc::malformed, "checkpoint of facts"};
    }
    out.version = confirmed->version;
    return out;
}

/// Derives one fold's value from a collection of facts.
///
/// It starts at the checkpoint, if one is confirmed, and folds what that doesn't cover in the order of facts. Of the
/// confirmed part `advance` keeps values along the order, so that reading costs what came since the last of them; a late
/// fact costs what came since the last value before it. What comes later than a checkpoint that passed its place counts
/// first after it: so it does at every replica. Nothing of it is kept outside of the storage.
///
/// The collection and the replica outlive it. Errors: the storage's, `errc::corrupt`; `errc::malformed` for a checkpoint
/// that doesn't decode.
template <fact_fold Fold, class Records, class Journal = no_journal>
class derived_value {
public:
    using value_type = typename Fold::value_type;

    derived_value(fact_collection const& c, basic_replica<Records, Journal> const& r, Fold fold = {})
        : collection_(&c), replica_(&r), records_(&r.records()), fold_(std::move(fold)) {}

    /// The value now. Reads only. Cost: a look-up for each fact since the last value that is kept, and for each pending
    /// one and what stands after the first of those.
    template <storage_transaction Tx>
    [[nodiscard]] result<derived<value_type>> value(Tx& tx) const {
        auto base = begin(tx);
        if (!base) { return base.error(); }
        derived<value_type> out;
        std::vector<bytes> pending;
        auto ok = records_->in_order(tx, collection_->collection, true, {}, [&](bytes_view at, position) {
            pending.push_back(to_bytes(at));
            return true;
        });
        if (!ok) { return ok.error(); }
        if (base->covered.version != 0) {
            // One that has its verdict may have been taken into a checkpoint, and be gone there, before its row came here.
            std::vector<bytes> left;
            for (bytes& at : pending) {
                auto const decided = replica_->decided_at(tx, key_at(at));
                if (!decided) { return decided.error(); }
                if (*decided == 0 || !base->covered.covers(at, *decided)) { left.push_back(std::move(at)); }
            }
            pending = std::move(left);
        }
        out.pending = pending.size();
        auto confirmed = start(*base, {});
        if (!confirmed) { return confirmed.error(); }
        if (ok = fold_on(tx, *base, *confirmed, {}, unlimited); !ok) { return ok.error(); }
        out.confirmed = std::move(confirmed->value);
        if (pending.empty()) {
            out.visible = out.confirmed;
            return out;
        }
        auto visible = start(*base, pending.front());
        if (!visible) { return visible.error(); }
        if (ok = fold_on(tx, *base, *visible, pending, unlimited); !ok) { return ok.error(); }
        out.visible = std::move(visible->value);
        return out;
    }

    /// Folds at most `budget` > 0 further confirmed facts into a value that is kept. Whether there are more.
    template <storage_transaction Tx>
    [[nodiscard]] result<bool> advance(Tx& tx, std::size_t budget) const {
        if (budget == 0) { return failure{errc::invalid, "no budget"}; }
        auto base = begin(tx);
        if (!base) { return base.error(); }
        auto at = start(*base, {});
        if (!at) { return at.error(); }
        std::uint64_t const before = at->count;
        if (auto ok = fold_on(tx, *base, *at, {}, budget); !ok) { return ok.error(); }
        if (at->count == before) { return false; }
        typename Records::snapshot next;
        next.at = std::move(at->after);
        next.count = at->count;
        cbor_writer w{next.value};
        fold_.encode(w, at->value);
        base->kept.since = base->covered.version;
        base->kept.all.push_back(std::move(next));
        thin(base->kept.all);
        if (auto ok = records_->put_snapshots(tx, collection_->collection, fold_.name(), base->kept); !ok) {
            return ok.error();
        }
        return at->more;
    }

    /// Writes a checkpoint of all confirmed facts before a place in the order (`order_from`), as a mutation of the replica:
    /// once that is confirmed, every replica starts from it. Nothing is written where it would cover nothing new.
    /// `errc::busy` while not all that the authority told of is held, or the last one that was written here is not confirmed.
    template <storage_transaction Tx>
    [[nodiscard]] result<write_receipt> checkpoint(Tx& tx, bytes_view before, instant now) const {
        auto const& r = *replica_;
        auto const whole = r.complete(tx, collection_->collection);
        if (!whole) { return whole.error(); }
        if (!*whole) { return failure{errc::busy, "not all facts are held yet"}; }
        // It would begin at what is confirmed, and follow the one that waits: with less in it, by which facts may be gone.
        auto const last = records_->find(tx, checkpoint_key(collection_->collection, fold_.name()));
        if (!last) { return last.error(); }
        if (*last && (*last)->pending) { return failure{errc::busy, "the last checkpoint is not confirmed yet"}; }
        auto const progress = r.status_of(tx);
        if (!progress) { return progress.error(); }
        // What was written once more since comes on a later page, and counts as of its first position.
        if (progress->cursor != progress->head) { return failure{errc::busy, "not all facts are held yet"}; }
        auto base = begin(tx);
        if (!base) { return base.error(); }
        base->kept.all.clear();  // those may hold what was confirmed after the cursor
        auto at = start(*base, {});
        if (!at) { return at.error(); }
        std::uint64_t const had = at->count;
        // As far as the last one at least, lest it says that it covers what came late and was not folded.
        bytes end = base->covered.through;
        if (!end.empty()) { end.push_back(std::byte{0}); }
        if (compare(end, before) < 0) { end = to_bytes(before); }
        if (end.empty()) { return write_receipt{}; }
        auto ok = fold_on(tx, *base, *at, {}, unlimited, end, progress->cursor);
        if (!ok) { return ok.error(); }
        if (at->count == had) { return write_receipt{}; }
        bytes fields;
        cbor_writer w{fields};
        w.map(4);
        w.text("at");
        w.unsigned_integer(progress->cursor);
        w.text("count");
        w.unsigned_integer(base->covered.count + at->count);
        w.text("value");
        fold_.encode(w, at->value);
        w.text("through");
        bool const further = compare(base->covered.through, at->after) > 0;
        w.byte_string(further ? base->covered.through : at->after);
        return r.put(tx, checkpoint_key(collection_->collection, fold_.name()), fields, now);
    }

private:
    static constexpr std::size_t unlimited = (std::numeric_limits<std::size_t>::max)();

    /// The fact at a place; without an id where that is none.
    [[nodiscard]] record_key key_at(bytes_view at) const {
        std::size_t const id_at = 8 * (std::max)(collection_->order.size(), std::size_t{1});
        return record_key{collection_->collection, at.subspan((std::min)(id_at, at.size()))};
    }

    struct basis {
        fact_coverage covered{};
        typename Records::snapshots kept{};
    };
    struct folding {
        value_type value;
        bytes after{};  ///< folded up to here
        std::uint64_t count = 0;
        bool more = false;
    };

    template <class Tx>
    [[nodiscard]] result<basis> begin(Tx& tx) const {
        basis b;
        auto covered = checkpoint_of(tx, *records_, collection_->collection, fold_.name());
        if (!covered) { return covered.error(); }
        b.covered = std::move(*covered);
        auto kept = records_->snapshots_of(tx, collection_->collection, fold_.name());
        if (!kept) { return kept.error(); }
        if (kept->since == b.covered.version) { b.kept = std::move(*kept); }
        return b;
    }
    /// From the last value that is kept, `before` a place where one is named.
    [[nodiscard]] result<folding> start(basis const& b, bytes_view before) const {
        auto at = b.kept.all.end();
        while (at != b.kept.all.begin()) {
            --at;
            if (before.empty() || compare(at->at, before) < 0) {
                cbor_reader in{at->value};
                folding f{fold_.decode(in), at->at, at->count, false};
                if (!in.finish()) { return failure{errc::corrupt, "value of a fold"}; }
                return f;
            }
        }
        if (b.covered.version == 0) { return folding{fold_.initial(), {}, 0, false}; }
        cbor_reader in{b.covered.value};
        folding f{fold_.decode(in), {}, 0, false};
        if (!in.finish()) { return failure{errc::malformed, "checkpoint of facts"}; }
        return f;
    }

    /// Goes on along the order, with the pending facts where they stand. `end`: not beyond this place, nor later than `last`.
    template <class Tx>
    [[nodiscard]] status fold_on(Tx& tx, basis const& b, folding& f, std::vector<bytes> const& pending,
                                 std::size_t budget, bytes_view end = {}, position last = pending_position) const {
        auto next = pending.begin();
        bytes const from = f.after;
        status outcome;
        auto const take = [&](bytes_view at, bool waits) {
            record_key const k = key_at(at);
            if (k.id.empty()) {
                outcome = failure{errc::corrupt, "order of facts"};
                return false;
            }
            auto const held = records_->find(tx, k);
            if (!held || !*held) {
                outcome = held ? failure{errc::corrupt, "order of facts"} : held.error();
                return false;
            }
            std::optional<row> under;
            if ((*held)->pending && !waits) {
                auto kept = records_->find_confirmed(tx, k);
                if (!kept || !*kept) {
                    outcome = kept ? failure{errc::corrupt, "order of facts"} : kept.error();
                    return false;
                }
                under = std::move(*kept);
            }
            fold_.step(f.value, fact{k, under ? under->fields : (*held)->visible.fields, waits});
            return true;
        };
        auto const ok =
            records_->in_order(tx, collection_->collection, false, from, [&](bytes_view at, position version) {
                if (!end.empty() && compare(at, end) >= 0) { return false; }
                for (; next != pending.end() && compare(*next, at) < 0; ++next) {
                    if (!take(*next, true)) { return false; }
                }
                if (version > last || b.covered.covers(at, version)) { return true; }
                if (budget == 0) {
                    f.more = true;
                    return false;
                }
                --budget;
                if (!take(at, false)) { return false; }
                ++f.count;
                f.after = to_bytes(at);
                return true;
            });
        if (!ok) { return ok; }
        if (!outcome) { return outcome; }
        for (; next != pending.end(); ++next) {
            if (!take(*next, true)) { return outcome; }
        }
        return {};
    }

    /// Keeps few values, the closer the nearer to the end: a late fact is mostly a little late.
    static void thin(std::vector<typename Records::snapshot>& all) {
        while (all.size() > fact_snapshots_max) {
            std::uint64_t const end = all.back().count;
            std::size_t least = 0;
            // The one whose going leaves the smallest gap, measured by how far from the end it is; halves avoid overflow.
            for (std::size_t i = 1; i + 1 < all.size(); ++i) {
                auto const gap = [&](std::size_t n) { return all[n + 1].count - (n == 0 ? 0 : all[n - 1].count); };
                auto const distance = [&](std::size_t n) { return end - all[n].count + 1; };
                bool const closer = gap(i) / distance(i) < gap(least) / distance(least) ||
                                    (gap(i) / distance(i) == gap(least) / distance(least) && gap(i) < gap(least));
                if (closer) { least = i; }
            }
            all.erase(all.begin() + static_cast<std::ptrdiff_t>(least));
        }
    }

    fact_collection const* collection_;
    basic_replica<Records, Journal> const* replica_;
    Records const* records_;
    Fold fold_;
};

/// Erases at most `budget` facts that the confirmed checkpoints of all the collection's folds cover, as the keeper's
/// mutations. How many. None where a fold has no checkpoint, or there are no folds.
/// Errors: as of `checkpoint_of` and of the replica's `erase`: for another than the keeper `errc::rejected`, where checks
/// are asked. Then roll back.
template <storage_transaction Tx, class Records, class Journal>
[[nodiscard]] result<std::size_t> compact(Tx& tx, fact_collection const& c, basic_replica<Records, Journal> const& r,
                                          std::size_t budget, instant now) {
    std::vector<fact_coverage> all;
    for (std::string const& fold : c.folds) {
        auto one = checkpoint_of(tx, r.records(), c.collection, fold);
        if (!one) { return one.error(); }
        all.push_back(std::move(*one));
    }
    if (all.empty() || budget == 0) { return std::size_t{0}; }
    std::vector<bytes> covered;
    auto const ok = r.records().in_order(tx, c.collection, false, {}, [&](bytes_view at, position version) {
        bool const by_all =
            std::all_of(all.begin(), all.end(), [&](fact_coverage const& f) { return f.covers(at, version); });
        if (by_all) { covered.push_back(to_bytes(at.subspan(8 * (std::max)(c.order.size(), std::size_t{1})))); }
        return covered.size() < budget;
    });
    if (!ok) { return ok.error(); }
    for (bytes const& id : covered) {
        auto const gone = r.erase(tx, record_key{c.collection, id}, now, priority::background);
        if (!gone) { return gone.error(); }
    }
    return covered.size();
}

}  // namespace syncline::inline SYNCLINE_ABI
