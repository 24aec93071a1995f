// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A disk for simulated processes: what was committed, what of it survives a power cut, and disks that lie.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What a bad disk, or the storage on it, does other than it says: to see that a test notices.
enum class disk_lie : std::uint8_t {
    none,
    forgets_synced,  ///< what was promised to survive a power cut may go all the same
    tears_commits,   ///< a power cut may leave half of the writes of a commit
};

/// Something that processes open a storage on, and whose power can be cut.
///
/// | expression       | result                                | meaning                                              |
/// | m.open()         | std::unique_ptr<M::storage_type>       | as a process opens its database; several may be open |
/// | m.power_cut(g)   | void                                   | what was not promised to survive may go; none is open |
template <class M>
concept simulated_medium = storage<typename M::storage_type> && requires(M& m, random_generator& g) {
    { m.open() } -> std::same_as<std::unique_ptr<typename M::storage_type>>;
    { m.power_cut(g) } -> std::same_as<void>;
};

/// A medium in memory that keeps the promise that it is made with, and no more.
///
/// With `durability::full` each commit survives; with `ordered`, a power cut takes back any number of the last
/// commits since the last barrier. Commits are atomic and in order. Cost: a commit keeps one snapshot, O(1).
class simulated_disk {
public:
    class storage_type;

    explicit simulated_disk(durability promise = durability::full, disk_lie lie = disk_lie::none)
        : promise_(promise), lie_(lie) {}
    simulated_disk(simulated_disk const&) = delete;
    simulated_disk& operator=(simulated_disk const&) = delete;

    [[nodiscard]] std::unique_ptr<storage_type> open();

    /// Precondition: no storage is open.
    void power_cut(random_generator& random) {
        std::size_t const kept = static_cast<std::size_t>(below(random, unsynced_.size() + 1));
        memory_snapshot const& base = kept == 0 ? synced_ : unsynced_[kept - 1];
        bool const torn = lie_ == disk_lie::tears_commits && kept < unsynced_.size();
        memory_snapshot const next = torn ? unsynced_[kept] : base;
        data_.restore(base);
        if (torn) { tear(base, next); }
        synced_ = data_.snapshot();
        unsynced_.clear();
    }

private:
    /// Of the writes between two states only the first half: those of the lesser keys.
    void tear(memory_snapshot const& from, memory_snapshot const& to) {
        std::vector<std::pair<bytes, bytes>> changed;
        to.scan({}, [&](bytes_view k, bytes_view v) {
            bool same = false;
            from.scan({k, {}}, [&](bytes_view other, bytes_view was) {
                same = equal(k, other) && equal(v, was);
                return false;
            });
            if (!same) { changed.emplace_back(to_bytes(k), to_bytes(v)); }
            return true;
        });
        memory_storage handle{data_};
        auto tx = handle.begin(access_mode::write);
        for (std::size_t i = 0; i < changed.size() / 2; ++i) { (void)tx->put(changed[i].first, changed[i].second); }
        (void)tx->commit();
    }
    void committed() {
        bool const survives = promise_ == durability::full && lie_ == disk_lie::none;
        if (survives) {
            synced_ = data_.snapshot();
            unsynced_.clear();
        } else {
            unsynced_.push_back(data_.snapshot());
        }
    }
    void sync() {
        if (lie_ != disk_lie::none || unsynced_.empty()) { return; }
        synced_ = std::move(unsynced_.back());
        unsynced_.clear();
    }

    memory_store data_{};
    memory_snapshot synced_{};
    std::vector<memory_snapshot> unsynced_{};  // one a commit, oldest first
    durability promise_;
    disk_lie lie_;
};

/// One process's handle on a simulated disk.
class simulated_disk::storage_type {
public:
    class transaction {
    public:
        [[nodiscard]] result<bool> get(bytes_view key, bytes& out) { return inner_.get(key, out); }
        [[nodiscard]] status put(bytes_view key, bytes_view value) { return inner_.put(key, value); }
        [[nodiscard]] status erase(bytes_view key) { return inner_.erase(key); }
        [[nodiscard]] status scan(key_range range, scan_visitor visit) { return inner_.scan(range, visit); }
        [[nodiscard]] status commit() {
            auto const ok = inner_.commit();
            if (ok) { disk_->committed(); }
            return ok;
        }

    private:
        friend class storage_type;
        transaction(simulated_disk& disk, memory_storage::transaction inner) : disk_(&disk), inner_(std::move(inner)) {}
        simulated_disk* disk_;
        memory_storage::transaction inner_;
    };

    explicit storage_type(simulated_disk& disk) : disk_(disk), handle_(disk.data_) {}

    [[nodiscard]] result<transaction> begin(access_mode a) {
        auto tx = handle_.begin(a);
        if (!tx) { return tx.error(); }
        return transaction{disk_, std::move(*tx)};
    }
    [[nodiscard]] status barrier() {
        disk_.sync();
        return {};
    }
    [[nodiscard]] durability commit_durability() const noexcept { return disk_.promise_; }
    [[nodiscard]] std::size_t value_bytes_max() const noexcept { return handle_.value_bytes_max(); }

private:
    simulated_disk& disk_;
    memory_storage handle_;
};

inline std::unique_ptr<simulated_disk::storage_type> simulated_disk::open() {
    return std::make_unique<storage_type>(*this);
}

static_assert(simulated_medium<simulated_disk>);

}  // namespace syncline::inline SYNCLINE_ABI::testing
