// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `faulty_storage`: a storage around another that counts calls and makes a chosen one fail.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// The calls that can be counted and made to fail.
enum class storage_call : std::uint8_t { begin, get, put, erase, scan, commit, barrier };
inline constexpr std::size_t storage_call_count = 7;

/// Whether the call that fails has done its work.
enum class fault_moment : std::uint8_t {
    before,  ///< nothing was done; a commit rolled back
    after,   ///< all was done, and the answer says otherwise: a commit whose success was not learned
    /// A scan has visited the fault's first `visits` keys, or all where there are fewer, and fails also where the visitor
    /// stops it. Other calls fail as with `before`.
    midway,
};

/// Which call fails, and how.
struct storage_fault {
    std::uint64_t nth = 1;  ///< the call that fails, counted from 1 at the moment of inject()
    errc code = errc::storage_io;
    fault_moment moment = fault_moment::before;
    bool sticky = false;                 ///< every later call of that kind fails too, until heal()
    std::optional<storage_call> only{};  ///< counts and fails calls of this kind; none: of every kind
    std::uint64_t visits = 1;            ///< that a scan makes before it fails midway
    /// Every later call of whatever kind answers `errc::poisoned`, until heal(): as after a failed sync.
    bool poisons = false;
    friend constexpr bool operator==(storage_fault const&, storage_fault const&) = default;
};

/// Passes every call on to another storage, but for those that were told to fail.
///
/// For "let the n-th call fail, for n = 1, 2, … until the operation succeeds; after each, the state is the
/// old one or the new one". With `transaction_lost` every later call in that transaction answers the same, as
/// with an engine, and nothing of it stays. A visitor's calls inside a scan count like all others.
/// Without a fault it is as good a model of `storage` as the inner one. The inner storage must outlive it.
template <storage S>
class faulty_storage {
public:
    /// One open transaction of the inner storage.
    class transaction {
    public:
        transaction(transaction&& o) noexcept : owner_(o.owner_), inner_(std::move(o.inner_)), lost_(o.lost_) {
            o.inner_.reset();
        }
        transaction& operator=(transaction&& o) noexcept {
            if (this != &o) {
                inner_.reset();
                if (o.inner_) { inner_.emplace(std::move(*o.inner_)); }
                o.inner_.reset();
                owner_ = o.owner_;
                lost_ = o.lost_;
            }
            return *this;
        }
        ~transaction() = default;

        [[nodiscard]] result<bool> get(bytes_view key, bytes& out) {
            auto const r = call<result<bool>>(storage_call::get, [&] { return inner_->get(key, out); });
            if (!r) { out.clear(); }
            return r;
        }
        [[nodiscard]] status put(bytes_view key, bytes_view value) {
            return call<status>(storage_call::put, [&] { return inner_->put(key, value); });
        }
        [[nodiscard]] status erase(bytes_view key) {
            return call<status>(storage_call::erase, [&] { return inner_->erase(key); });
        }
        [[nodiscard]] status scan(key_range range, scan_visitor visit) {
            std::uint64_t left = 0;
            auto const first = [&](bytes_view key, bytes_view value) { return visit(key, value) && --left != 0; };
            return call<status>(
                storage_call::scan, [&] { return inner_->scan(range, visit); },
                [&](std::uint64_t visits) {
                    left = visits;
                    if (left != 0) { (void)inner_->scan(range, first); }
                });
        }
        [[nodiscard]] status commit() {
            status const s = call<status>(storage_call::commit, [&] { return inner_->commit(); });
            inner_.reset();  // rolls back what did not get to its commit
            return s;
        }

    private:
        friend class faulty_storage;

        transaction(faulty_storage& owner, typename S::transaction inner) : owner_(&owner), inner_(std::move(inner)) {}

        struct no_part {
            void operator()(std::uint64_t) const noexcept {}
        };

        /// `part(n)` does so much of the call as comes before it fails midway.
        template <class R, class F, class P = no_part>
        R call(storage_call kind, F&& pass_on, P&& part = {}) {
            if (lost_) {
                ++owner_->calls_[static_cast<std::size_t>(kind)];
                return failure{errc::transaction_lost, "injected earlier"};
            }
            SYNCLINE_ASSERT(inner_.has_value());
            // A copy: a visitor may call back, and plan another fault.
            std::optional<storage_fault> const fault = owner_->count(kind);
            if (!fault) { return pass_on(); }
            bool const lost = fault->code == errc::transaction_lost;
            if (fault->moment == fault_moment::after && !lost) { (void)pass_on(); }
            if (fault->moment == fault_moment::midway) { part(fault->visits); }
            lost_ = lost_ || lost;
            return failure{fault->code, "injected"};
        }

        faulty_storage* owner_;
        std::optional<typename S::transaction> inner_;
        bool lost_ = false;
    };

    explicit faulty_storage(S& inner) noexcept : inner_(&inner) {}
    faulty_storage(faulty_storage const&) = delete;
    faulty_storage& operator=(faulty_storage const&) = delete;

    /// Plans a fault in place of the one before. Precondition: `nth` is at least 1.
    void inject(storage_fault const& fault) noexcept {
        SYNCLINE_ASSERT(fault.nth != 0);
        fault_ = fault;
        seen_ = 0;
        poisoned_ = false;
    }
    /// No more faults.
    void heal() noexcept {
        fault_.reset();
        poisoned_ = false;
    }
    /// Whether a fault that poisons has happened: every call fails until heal().
    [[nodiscard]] bool poisoned() const noexcept { return poisoned_; }
    /// Calls of every kind so far, those that failed included.
    [[nodiscard]] std::uint64_t calls() const noexcept {
        std::uint64_t sum = 0;
        for (std::uint64_t const n : calls_) { sum += n; }
        return sum;
    }
    [[nodiscard]] std::uint64_t calls(storage_call kind) const noexcept {
        return calls_[static_cast<std::size_t>(kind)];
    }
    /// Calls that were made to fail so far. None after an operation: it made fewer calls than `nth`.
    [[nodiscard]] std::uint64_t faults() const noexcept { return faults_; }
    [[nodiscard]] S& inner() noexcept { return *inner_; }

    [[nodiscard]] result<transaction> begin(access_mode a) {
        if (auto const fault = count(storage_call::begin)) {
            if (fault->moment == fault_moment::after) { (void)inner_->begin(a); }
            return failure{fault->code, "injected"};
        }
        auto tx = inner_->begin(a);
        if (!tx) { return tx.error(); }
        return transaction(*this, std::move(*tx));
    }
    [[nodiscard]] status barrier() {
        auto const fault = count(storage_call::barrier);
        if (!fault) { return inner_->barrier(); }
        if (fault->moment == fault_moment::after) { (void)inner_->barrier(); }
        return failure{fault->code, "injected"};
    }
    [[nodiscard]] durability commit_durability() const { return std::as_const(*inner_).commit_durability(); }
    [[nodiscard]] std::size_t value_bytes_max() const { return std::as_const(*inner_).value_bytes_max(); }

private:
    /// Counts a call, and says how it is to fail if it is.
    [[nodiscard]] std::optional<storage_fault> count(storage_call kind) noexcept {
        ++calls_[static_cast<std::size_t>(kind)];
        if (poisoned_) {
            ++faults_;
            return storage_fault{.code = errc::poisoned};
        }
        if (!fault_ || (fault_->only && *fault_->only != kind)) { return std::nullopt; }
        ++seen_;
        if (seen_ != fault_->nth && !(fault_->sticky && seen_ > fault_->nth)) { return std::nullopt; }
        ++faults_;
        poisoned_ = fault_->poisons;
        return *fault_;
    }

    S* inner_;
    std::optional<storage_fault> fault_;
    std::uint64_t seen_ = 0;
    std::uint64_t faults_ = 0;
    bool poisoned_ = false;
    std::array<std::uint64_t, storage_call_count> calls_{};
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
