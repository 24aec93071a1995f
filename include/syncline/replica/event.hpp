// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What a sync did, told to the host: committed with the change itself, so that nothing untrue is ever told.

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/function_ref.hpp>
#include <syncline/core/result.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Values are stored: append, never renumber.
enum class event_kind : std::uint8_t {
    changed = 1,  ///< a visible record appeared or changed
    removed = 2,  ///< a visible record went
    decided = 3,  ///< a mutation got its verdict; `said` holds it, `conflict` and `rejected` too; `collateral`: in a
                  ///< strong collection, what it was made on was refused, and it was never sent
    reincarnated = 4,  ///< the store was a clone or was restored, and has taken a new identity
    regressed = 5,     ///< the authority was put back to an older state; `lost` says what that means here
    evicted = 6,       ///< a visible record is in none of this replica's scopes any more; it was not deleted
};

/// What an authority that was put back had lost of what a replica knew.
struct lost_work {
    std::uint64_t offered = 0;  ///< mutations that had their verdict, and wait for another one
    std::uint64_t fetched = 0;  ///< records whose confirmed state is gone, and is asked for anew
    friend bool operator==(lost_work const&, lost_work const&) = default;
};

struct event {
    event_kind kind = event_kind::changed;
    record_key record{};  ///< empty for `reincarnated` and `regressed`
    verdict said{};       ///< of `decided`
    lost_work lost{};     ///< of `regressed`
    friend bool operator==(event const&, event const&) = default;
};

/// Where a reader of a stored batch stands. Of another batch it means nothing.
struct event_place {
    std::size_t index = 0;   ///< events before it
    std::size_t offset = 0;  ///< bytes before it; 0: nothing is read yet
    friend bool operator==(event_place const&, event_place const&) = default;
};

/// The events of one exchange, as one stored value.
class event_batch {
public:
    void add_change(record_key const& k, bool removed) {
        head(removed ? event_kind::removed : event_kind::changed, k);
        ++changed_;
    }
    void add_verdict(record_key const& k, verdict const& v) {
        head(event_kind::decided, k);
        cbor_writer w{body_};
        encode_verdict(w, v);
    }
    void add_eviction(record_key const& k) {
        head(event_kind::evicted, k);
        ++changed_;
    }
    void add_reincarnation() { head(event_kind::reincarnated, {}); }
    void add_regress(lost_work const& lost) {
        head(event_kind::regressed, {});
        cbor_writer w{body_};
        w.unsigned_integer(lost.offered);
        w.unsigned_integer(lost.fetched);
    }

    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    [[nodiscard]] std::size_t changed() const noexcept { return changed_; }

    [[nodiscard]] bytes encode() const {
        bytes out;
        cbor_writer w{out};
        w.array(count_);
        append(out, body_);
        return out;
    }
    /// Visits the events of a stored batch. `errc::corrupt` when it is none; what was visited before is true.
    [[nodiscard]] static status read(bytes_view stored, function_ref<bool(event const&)> visit) {
        cbor_reader in{stored};
        std::size_t const n = in.array();
        for (std::size_t i = 0; i < n; ++i) {
            event e;
            if (!next(in, e)) { return failure{errc::corrupt, "event"}; }
            if (!visit(e)) { return {}; }
        }
        return in.finish() ? status{} : status{failure{errc::corrupt, "event"}};
    }
    /// Appends up to `most` events from a place in a stored batch on, which moves behind them; whether they end it.
    /// `errc::corrupt` where the first of them is none, or nothing follows where there should: what comes before a damage
    /// is read first. Cost: O(most), and a look at the batch's head.
    [[nodiscard]] static result<bool> read_on(bytes_view stored, event_place& at, std::size_t most,
                                              std::vector<event>& out) {
        cbor_reader head{stored};
        std::size_t const n = head.array();
        std::size_t const from = at.offset == 0 ? head.position() : at.offset;
        if (head.failed() || from > stored.size()) { return failure{errc::corrupt, "event"}; }
        cbor_reader in{stored.subspan(from)};
        for (std::size_t read = 0; at.index < n && read < most; ++read) {
            event e;
            if (!next(in, e)) {
                if (read != 0) { return false; }
                return failure{errc::corrupt, "event"};
            }
            out.push_back(std::move(e));
            ++at.index;
            at.offset = from + in.position();
        }
        if (at.index < n) { return false; }
        if (!in.finish()) { return failure{errc::corrupt, "event"}; }
        return true;
    }

private:
    /// The next event; false where there is none, or it is damaged.
    [[nodiscard]] static bool next(cbor_reader& in, event& e) {
        std::uint64_t const kind = in.unsigned_integer();
        e.kind = static_cast<event_kind>(kind);
        e.record.collection = std::string{in.text()};
        e.record.id = to_bytes(in.byte_string());
        if (e.kind == event_kind::decided) { e.said = decode_verdict(in); }
        if (e.kind == event_kind::regressed) {
            e.lost.offered = in.unsigned_integer();
            e.lost.fetched = in.unsigned_integer();
        }
        return !in.failed() && kind >= 1 && kind <= 6;
    }
    void head(event_kind kind, record_key const& k) {
        cbor_writer{body_}.in_room(24 + k.collection.size() + k.id.size(), [&](cbor_room_writer& w) {
            w.unsigned_integer(static_cast<std::uint64_t>(kind));
            w.text(k.collection);
            w.byte_string(k.id);
        });
        ++count_;
    }

    bytes body_;
    std::size_t count_ = 0;
    std::size_t changed_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI
