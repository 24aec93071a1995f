// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `commit_history`: what was committed to a store, when, and what a power loss may have left of it.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Everything that a store holds.
using store_content = std::map<bytes, bytes>;

/// The content of a store, in a transaction of its own. Errors: the store's.
template <storage S>
[[nodiscard]] result<store_content> read_content(S& s) {
    auto tx = s.begin(access_mode::read);
    if (!tx) { return tx.error(); }
    store_content all;
    status const read = tx->scan({}, [&](bytes_view k, bytes_view v) {
        all[to_bytes(k)] = to_bytes(v);
        return true;
    });
    if (!read) { return read.error(); }
    return all;
}

/// The commits of one writer in their order, each with the moment when it began, and when it was promised to last.
///
/// A moment is a number that doesn't fall: a step of a disk's, say, so that a history that was recorded once can judge
/// the power cut at any step of it. Whether a commit counts is a question of the moment: one that began before it may
/// have survived, one that was promised to last before it must have.
/// Each commit has to leave another content than every one before it, as those of `commit_workload` do.
class commit_history {
public:
    using moment = std::uint64_t;

    /// A commit is about to be called, and leaves this content if it succeeds; the store says that its commits are so
    /// durable. Call answered() or failed() next.
    void begins(moment now, durability said, store_content after) { all_.push_back({std::move(after), said, now}); }
    /// It succeeded.
    void answered(moment now) {
        all_.back().answered = now;
        if (all_.back().said == durability::full) { all_.back().lasting = now; }
    }
    /// It did not. Whether it is there after all is open until a later commit is made, which must not contain it.
    void failed() { all_.back().undone = true; }
    /// A barrier succeeded.
    void barrier(moment now) {
        for (entry& e : all_) { e.lasting = (std::min)(e.lasting, now); }
    }

    /// The power went, and the store came back with the content at this position: what came after it is gone for good,
    /// and no later content may hold it. What a store whose commits are `full` has shown again has to last.
    /// Precondition: position <= size().
    void survived(std::size_t position, moment now) {
        all_.erase(all_.begin() + static_cast<std::ptrdiff_t>(position), all_.end());
        for (entry& e : all_) {
            if (e.said == durability::full) { e.lasting = (std::min)(e.lasting, now); }
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    /// How many of them had begun by then.
    [[nodiscard]] std::size_t begun(moment now) const noexcept {
        return static_cast<std::size_t>(
            std::count_if(all_.begin(), all_.end(), [now](entry const& e) { return e.began <= now; }));
    }
    /// How many of them were answered with success by then.
    [[nodiscard]] std::size_t answered_by(moment now) const noexcept {
        return static_cast<std::size_t>(
            std::count_if(all_.begin(), all_.end(), [now](entry const& e) { return e.answered <= now; }));
    }
    /// The last of them that has to be there, counted from 1; 0 for none. A commit that is promised `none` may damage
    /// what was there, so what a barrier promised before it is over with it.
    [[nodiscard]] std::size_t lasting(moment now) const noexcept {
        std::size_t last = 0;
        for (std::size_t i = 0; i < all_.size() && all_[i].began <= now; ++i) {
            if (all_[i].said == durability::none) { last = 0; }
            if (all_[i].lasting <= now && !all_[i].undone) { last = i + 1; }
        }
        return last;
    }
    /// Whether anything is promised about a power loss then: not while the last commit is one that was promised `none`.
    [[nodiscard]] bool promises(moment now) const noexcept {
        std::size_t const last = begun(now);
        if (last == 0) { return all_.empty() || all_.front().said != durability::none; }
        return lasting(now) == last || all_[last - 1].said != durability::none;
    }

    /// Where a content stands among the commits: 0 is the empty store, nothing that no commits make it.
    [[nodiscard]] std::optional<std::size_t> position(store_content const& found, moment now) const {
        for (std::size_t i = begun(now); i != 0; --i) {
            if (all_[i - 1].after == found) { return i; }
        }
        if (found.empty()) { return 0; }
        return std::nullopt;
    }

    /// What is wrong with a store that lost its power at that moment and holds this; nothing if it may.
    /// The axioms are storage's: `durability` when what had to last is gone, `atomicity` when it holds what no
    /// commits make, half of one for instance.
    [[nodiscard]] std::optional<violation> judge(store_content const& found, moment now) const {
        if (!promises(now)) { return std::nullopt; }
        std::size_t const least = lasting(now);
        std::size_t const most = begun(now);
        auto const at = position(found, now);
        if (!at) {
            return violation{"atomicity", "after " + std::to_string(most) +
                                              " commits it holds what no number of them makes: " +
                                              difference(most == 0 ? store_content{} : all_[most - 1].after, found) +
                                              " from all of them"};
        }
        if (*at < least) {
            return violation{"durability", "of " + std::to_string(most) + " commits the first " +
                                               std::to_string(least) + " had to last, " + std::to_string(*at) + " did"};
        }
        return std::nullopt;
    }

private:
    struct entry {
        store_content after;
        durability said = durability::none;
        moment began = 0;
        moment answered = (std::numeric_limits<moment>::max)();
        moment lasting = (std::numeric_limits<moment>::max)();
        bool undone = false;
    };

    [[nodiscard]] static std::string difference(store_content const& wanted, store_content const& found) {
        std::size_t missing = 0;
        std::size_t other = 0;
        std::size_t more = 0;
        for (auto const& [key, value] : wanted) {
            auto const at = found.find(key);
            missing += at == found.end() ? 1 : 0;
            other += at != found.end() && at->second != value ? 1 : 0;
        }
        for (auto const& [key, value] : found) { more += wanted.count(key) == 0 ? 1 : 0; }
        return std::to_string(missing) + " keys missing, " + std::to_string(other) + " different and " +
               std::to_string(more) + " too many";
    }

    std::vector<entry> all_;
};

/// Random transactions, each of which leaves another content than all before it: a few keys that are written over and
/// over and erased again, short values and some of several pages, and a counter.
class commit_workload {
public:
    explicit commit_workload(std::uint64_t seed) noexcept : random_(seed) {}

    /// Writes the next transaction; the content is as if it was committed. Errors: the store's, and the transaction is
    /// then to be rolled back.
    template <storage_transaction T>
    [[nodiscard]] status write(T& tx) {
        bytes number;
        append_u64(number, ++count_);
        if (status const s = put(tx, to_bytes("count"), number); !s) { return s; }
        for (std::uint64_t n = 1 + below(random_, 6); n != 0; --n) {
            bytes const key = to_bytes("key " + std::to_string(below(random_, 24)));
            if (below(random_, 5) == 0) {
                if (status const s = tx.erase(key); !s) { return s; }
                content_.erase(key);
                continue;
            }
            bytes value(below(random_, 8) == 0 ? 3'000 + below(random_, 9'000) : below(random_, 300));
            fill(random_, value);
            if (status const s = put(tx, key, value); !s) { return s; }
        }
        return {};
    }
    [[nodiscard]] store_content const& content() const noexcept { return content_; }
    /// The last transaction was rolled back, or its commit failed: goes on from an earlier content.
    void undo(store_content before) { content_ = std::move(before); }

    /// A number in [0, n) for whoever drives it. Precondition: n > 0.
    [[nodiscard]] std::uint64_t dice(std::uint64_t n) noexcept { return below(random_, n); }

private:
    template <storage_transaction T>
    [[nodiscard]] status put(T& tx, bytes const& key, bytes const& value) {
        if (status const s = tx.put(key, value); !s) { return s; }
        content_[key] = value;
        return {};
    }

    random_generator random_;
    store_content content_;
    std::uint64_t count_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
