// SPDX-License-Identifier: BSL-1.0
#pragma once

/// How far each entry got, after a restart too and after it has left the outbox.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/outbox/entry.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Stored: append, never renumber.
enum class receipt_level : std::uint8_t {
    durable = 1,    ///< in the outbox, as durable as the commit that put it there
    sent = 2,       ///< claimed at least once: the other side may have it
    accepted = 3,   ///< the other side took it
    overruled = 4,  ///< the other side took it, and kept another's
    parked = 5,     ///< a person has to decide: a dead letter here, or a conflict there
    stable = 6,     ///< accepted, and covered by what survives the loss of the other side's disk
};

/// What is known about an entry.
struct entry_receipt {
    receipt_level level{};
    std::optional<wall_time> noted{};  ///< when it was noted; empty while the outbox itself says it
    friend constexpr bool operator==(entry_receipt const&, entry_receipt const&) = default;
};

/// Keeps the receipts of entries that an outbox holds no more.
///
/// Holds its prefix and nothing else. Writes in the transaction of the acknowledgement.
class receipt_book {
public:
    /// Precondition: the prefix has 1 to 64 bytes and belongs to nothing else.
    explicit receipt_book(std::string_view prefix = "er") : prefix_(prefix) {
        SYNCLINE_ASSERT(!prefix.empty() && prefix.size() <= 64);
    }

    /// Acknowledges an entry and notes what the other side said: accepted, overruled, parked or stable.
    /// Errors: as `outbox::ack`; `errc::invalid` for durable and sent. Cost: as `ack`, and a put.
    template <storage_transaction Tx>
    [[nodiscard]] status ack(Tx& tx, outbox const& box, std::uint64_t token, std::uint64_t fence, receipt_level level,
                             wall_time now) const {
        if (level < receipt_level::accepted || level > receipt_level::stable) {
            return failure{errc::invalid, "receipt"};
        }
        if (auto s = box.ack(tx, token, fence); !s) { return s; }
        return put(tx, token, level, now);
    }
    /// Notes a later level of an entry that has a receipt: what was accepted became stable, a parked one was decided.
    /// A level may go back, as the other side may. Errors: `errc::not_found`, `errc::invalid` as above.
    template <storage_transaction Tx>
    [[nodiscard]] status note(Tx& tx, std::uint64_t token, receipt_level level, wall_time now) const {
        if (level < receipt_level::accepted || level > receipt_level::stable) {
            return failure{errc::invalid, "receipt"};
        }
        auto const there = stored(tx, token);
        if (!there) { return there.error(); }
        if (!*there) { return errc::not_found; }
        return put(tx, token, level, now);
    }
    /// Makes stable what was accepted, of all tokens up to one: the other side said that so much is safe; how many.
    /// Cost: a scan, and a put for each.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> settle(Tx& tx, std::uint64_t through, wall_time now) const {
        std::vector<std::uint64_t> accepted;
        bytes end = key(through);
        end.push_back(std::byte{0});
        auto const row = [&](bytes_view k, bytes_view v) {
            bool const is = k.size() == prefix_.size() + 8 && !v.empty() &&
                            static_cast<receipt_level>(v[0]) == receipt_level::accepted;
            if (is) { accepted.push_back(read_u64(k.last(8))); }
            return true;
        };
        if (auto s = tx.scan({key(0), end}, row); !s) { return s.error(); }
        for (std::uint64_t const token : accepted) {
            if (auto s = put(tx, token, receipt_level::stable, now); !s) { return s.error(); }
        }
        return accepted.size();
    }
    /// How far an entry got; nothing when it was never there, was withdrawn or discarded, or its receipt forgotten.
    /// Cost: a few gets.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<entry_receipt>> find(Tx& tx, outbox const& box, std::uint64_t token) const {
        auto const there = stored(tx, token);
        if (!there || *there) { return there; }
        auto const entry = box.find(tx, token);
        if (!entry) { return entry.error(); }
        if (!*entry) { return std::optional<entry_receipt>{}; }
        receipt_level const level = (*entry)->state == entry_state::dead ? receipt_level::parked
                                    : (*entry)->fence != 0               ? receipt_level::sent
                                                                         : receipt_level::durable;
        return std::optional<entry_receipt>{entry_receipt{level, {}}};
    }
    /// Forgets what was noted before a time, in order of token, at most `most`; how many.
    template <storage_transaction Tx>
    [[nodiscard]] result<std::size_t> forget(Tx& tx, wall_time before, std::size_t most) const {
        std::vector<bytes> old;
        status failed;
        auto const row = [&](bytes_view k, bytes_view v) {
            auto const r = decode(v);
            if (!r) {
                failed = r.error();
                return false;
            }
            if (*r->noted < before) { old.push_back(to_bytes(k)); }
            return old.size() < most;
        };
        if (most == 0) { return std::size_t{0}; }
        if (auto s = scan_prefix(tx, as_bytes(prefix_), row); !s) { return s.error(); }
        if (!failed) { return failed.error(); }
        for (bytes const& k : old) {
            if (auto s = tx.erase(k); !s) { return s.error(); }
        }
        return old.size();
    }

private:
    [[nodiscard]] bytes key(std::uint64_t token) const {
        bytes out = to_bytes(prefix_);
        append_u64(out, token);
        return out;
    }
    template <storage_transaction Tx>
    [[nodiscard]] status put(Tx& tx, std::uint64_t token, receipt_level level, wall_time now) const {
        bytes value;
        value.push_back(static_cast<std::byte>(level));
        append_u64(value, static_cast<std::uint64_t>(now.time_since_epoch().count()));
        return tx.put(key(token), value);
    }
    [[nodiscard]] static result<entry_receipt> decode(bytes_view v) noexcept {
        if (v.size() != 9) { return failure{errc::corrupt, "receipt"}; }
        auto const level = static_cast<receipt_level>(v[0]);
        if (level < receipt_level::accepted || level > receipt_level::stable) {
            return failure{errc::corrupt, "receipt's level"};
        }
        return entry_receipt{level, wall_time{milliseconds{static_cast<milliseconds::rep>(read_u64(v.subspan(1)))}}};
    }
    template <storage_transaction Tx>
    [[nodiscard]] result<std::optional<entry_receipt>> stored(Tx& tx, std::uint64_t token) const {
        bytes value;
        auto const found = tx.get(key(token), value);
        if (!found) { return found.error(); }
        if (!*found) { return std::optional<entry_receipt>{}; }
        auto const r = decode(value);
        if (!r) { return r.error(); }
        return std::optional<entry_receipt>{*r};
    }

    std::string prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
