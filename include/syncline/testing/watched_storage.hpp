// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A storage around another that tells what each commit wrote: the raw bytes that a test's oracles judge by.

#include <optional>
#include <utility>
#include <vector>

#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// One write of a committed transaction.
struct storage_write {
    bytes key;
    std::optional<bytes> value;  ///< nothing: erased
    friend bool operator==(storage_write const&, storage_write const&) = default;
};

/// Who hears of commits.
class storage_watcher {
public:
    /// A commit happened; its writes in the order in which they were made.
    virtual void committed(std::vector<storage_write> const& writes) = 0;
    /// Everything that was committed so far survives a power cut now.
    virtual void synced() = 0;

protected:
    ~storage_watcher() = default;
};

/// Passes every call on to another storage, which must outlive it, and tells a watcher what was committed.
template <storage S>
class watched_storage {
public:
    class transaction {
    public:
        [[nodiscard]] result<bool> get(bytes_view key, bytes& out) { return inner_.get(key, out); }
        [[nodiscard]] status put(bytes_view key, bytes_view value) {
            auto ok = inner_.put(key, value);
            if (ok) { writes_.push_back({to_bytes(key), to_bytes(value)}); }
            return ok;
        }
        [[nodiscard]] status erase(bytes_view key) {
            auto ok = inner_.erase(key);
            if (ok) { writes_.push_back({to_bytes(key), std::nullopt}); }
            return ok;
        }
        [[nodiscard]] status scan(key_range range, scan_visitor visit) { return inner_.scan(range, visit); }
        [[nodiscard]] status commit() {
            auto ok = inner_.commit();
            if (ok) { owner_->tell(writes_); }
            return ok;
        }

    private:
        friend class watched_storage;
        transaction(watched_storage& owner, typename S::transaction inner) : owner_(&owner), inner_(std::move(inner)) {}
        watched_storage* owner_;
        typename S::transaction inner_;
        std::vector<storage_write> writes_{};
    };

    watched_storage(S& inner, storage_watcher& watcher) noexcept : inner_(inner), watcher_(watcher) {}
    watched_storage(watched_storage const&) = delete;
    watched_storage& operator=(watched_storage const&) = delete;

    [[nodiscard]] result<transaction> begin(access_mode a) {
        auto tx = inner_.begin(a);
        if (!tx) { return tx.error(); }
        return transaction{*this, std::move(*tx)};
    }
    [[nodiscard]] status barrier() {
        auto ok = inner_.barrier();
        if (ok) { watcher_.synced(); }
        return ok;
    }
    [[nodiscard]] durability commit_durability() const { return std::as_const(inner_).commit_durability(); }
    [[nodiscard]] std::size_t value_bytes_max() const { return std::as_const(inner_).value_bytes_max(); }

private:
    void tell(std::vector<storage_write> const& writes) {
        if (!writes.empty()) { watcher_.committed(writes); }
        if (commit_durability() == durability::full) { watcher_.synced(); }
    }

    S& inner_;
    storage_watcher& watcher_;
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
