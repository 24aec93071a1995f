// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the host knows when it asks whether to synchronise: each member may be unknown.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include <syncline/core/config.hpp>
#include <syncline/core/time.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// How urgent work is. The numbers are the outbox's. Stored: append, never renumber.
enum class sync_class : std::uint8_t { critical = 0, important = 1, normal = 2, background = 3 };
inline constexpr std::size_t sync_classes = 4;

/// What carries the bytes.
enum class link_kind : std::uint8_t { wired, wifi, cellular, satellite, other };
/// The quality of the way as browsers name it. Source: W3C, "Network Information API", effective connection types.
enum class effective_type : std::uint8_t { slow_2g, type_2g, type_3g, type_4g };
/// How hot the device is, in the steps that the platforms share.
enum class thermal_state : std::uint8_t { nominal, fair, serious, critical };

[[nodiscard]] constexpr unsigned last_of(sync_class) noexcept { return 3; }
[[nodiscard]] constexpr unsigned last_of(link_kind) noexcept { return 4; }
[[nodiscard]] constexpr unsigned last_of(effective_type) noexcept { return 3; }
[[nodiscard]] constexpr unsigned last_of(thermal_state) noexcept { return 3; }

struct network_conditions {
    std::optional<bool> online{};
    std::optional<link_kind> kind{};
    std::optional<bool> metered{};
    std::optional<bool> roaming{};
    std::optional<bool> data_saver{};
    std::optional<effective_type> effective{};
    std::optional<std::uint32_t> downlink_kbps{};
    std::optional<milliseconds> round_trip{};
    std::optional<bool> transferring{};          ///< another program transfers now: the radio is on anyway
    std::optional<milliseconds> radio_on_for{};  ///< how long the radio stays on if nobody transfers any more
    friend constexpr bool operator==(network_conditions const&, network_conditions const&) = default;
};
struct power_conditions {
    std::optional<std::uint8_t> level{};  ///< per cent
    std::optional<bool> charging{};
    std::optional<bool> low_power_mode{};
    std::optional<thermal_state> thermal{};
    friend constexpr bool operator==(power_conditions const&, power_conditions const&) = default;
};
struct storage_conditions {
    std::optional<std::uint64_t> free_bytes{};
    std::optional<std::uint64_t> quota_left{};  ///< of this program; browsers and stores set one
    friend constexpr bool operator==(storage_conditions const&, storage_conditions const&) = default;
};
struct application_conditions {
    std::optional<bool> foreground{};
    std::optional<bool> user_active{};
    /// In the background: what is left of the time that the system granted; zero = none granted.
    std::optional<milliseconds> window{};
    std::optional<bool> quiet{};  ///< quiet hours
    std::optional<wall_time> quiet_until{};
    /// A push notification woke the program, and what it was about at most.
    std::optional<sync_class> woken_for{};
    std::optional<bool> notices_live{};  ///< changes of others are told by push notifications
    friend constexpr bool operator==(application_conditions const&, application_conditions const&) = default;
};
/// What the authority asked for.
struct server_conditions {
    std::optional<wall_time> not_before{};   ///< its Retry-After, as a moment
    std::optional<std::uint8_t> load{};      ///< per cent
    std::optional<milliseconds> interval{};  ///< between two looks
    friend constexpr bool operator==(server_conditions const&, server_conditions const&) = default;
};

/// What waits to be sent, of one class. All zero: nothing.
struct class_pending {
    std::uint32_t entries = 0;
    std::uint64_t bytes = 0;
    std::optional<wall_time> oldest{};
    std::optional<wall_time> deadline{};  ///< the earliest that an entry has to arrive by
    friend constexpr bool operator==(class_pending const&, class_pending const&) = default;
};
/// What waits in the outbox, by class.
struct pending_work {
    std::array<class_pending, sync_classes> of{};

    /// Counts one entry, or `entries` that came at the same time.
    constexpr void add(sync_class c, std::uint64_t size, wall_time entered, std::optional<wall_time> deadline = {},
                       std::uint32_t entries = 1) noexcept {
        auto& p = of[static_cast<std::size_t>(c)];
        p.entries += entries;
        p.bytes += size;
        if (!p.oldest || entered < *p.oldest) { p.oldest = entered; }
        if (deadline && (!p.deadline || *deadline < *p.deadline)) { p.deadline = deadline; }
    }
    friend constexpr bool operator==(pending_work const&, pending_work const&) = default;
};

/// A collection, or a group of them, as far as pulling is concerned.
struct collection_state {
    std::uint16_t id = 0;
    std::uint16_t scope = 0;  ///< whose it is: among scopes that are equally overdue, each has its turn
    sync_class urgency = sync_class::normal;
    std::optional<wall_time> fresh_at{};        ///< as of when it is known to be complete; empty = never pulled
    std::optional<wall_time> told_at{};         ///< a notification said that it changed
    std::optional<wall_time> complete_by{};     ///< a calendar's hint ("event day", "travel"): wanted whole by then
    std::optional<std::uint64_t> bytes_left{};  ///< of it, to be whole; zero = it is whole
    friend constexpr bool operator==(collection_state const&, collection_state const&) = default;
};

/// Collections that one decision looks at. A host with more groups them by class and scope.
inline constexpr std::size_t collections_max = 32;
/// At most `collections_max` of them, in place.
class collection_list {
public:
    /// False, and nothing changed, when it is full.
    constexpr bool push_back(collection_state const& c) noexcept {
        if (size_ == collections_max) { return false; }
        items_[size_++] = c;
        return true;
    }
    [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
    /// Precondition: i < size(). So too below.
    [[nodiscard]] constexpr collection_state const& operator[](std::size_t i) const noexcept {
        SYNCLINE_ASSERT(i < size_);
        return items_[i];
    }
    [[nodiscard]] constexpr collection_state& operator[](std::size_t i) noexcept {
        SYNCLINE_ASSERT(i < size_);
        return items_[i];
    }
    [[nodiscard]] constexpr collection_state const* begin() const noexcept { return items_.data(); }
    [[nodiscard]] constexpr collection_state const* end() const noexcept { return items_.data() + size_; }
    friend constexpr bool operator==(collection_list const& a, collection_list const& b) noexcept {
        if (a.size_ != b.size_) { return false; }
        for (std::size_t i = 0; i < a.size_; ++i) {
            if (!(a.items_[i] == b.items_[i])) { return false; }
        }
        return true;
    }

private:
    std::array<collection_state, collections_max> items_{};
    std::size_t size_ = 0;
};

/// Everything that a decision is made from, beside what was learned and the time.
struct conditions {
    network_conditions network{};
    power_conditions power{};
    storage_conditions storage{};
    application_conditions application{};
    server_conditions server{};
    pending_work pending{};
    collection_list collections{};
    friend constexpr bool operator==(conditions const&, conditions const&) = default;
};

}  // namespace syncline::inline SYNCLINE_ABI
