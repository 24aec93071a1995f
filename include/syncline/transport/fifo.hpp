// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A queue over a vector: what a live connection's ends keep in order, without the cost of compiling <deque>.

#include <cstddef>
#include <utility>
#include <vector>

#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// First in, first out; what stays is moved together when half of the room is spent. Cost: amortised O(1) an item.
template <class T>
class fifo {
public:
    [[nodiscard]] bool empty() const noexcept { return first_ == items_.size(); }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size() - first_; }
    void push(T item) { items_.push_back(std::move(item)); }
    /// Takes out the oldest. Precondition: !empty().
    [[nodiscard]] T pop() {
        SYNCLINE_ASSERT(!empty());
        T oldest = std::move(items_[first_]);
        ++first_;
        if (first_ == items_.size()) {
            clear();
        } else if (first_ >= 16 && first_ >= items_.size() / 2) {
            items_.erase(items_.begin(), items_.begin() + static_cast<std::ptrdiff_t>(first_));
            first_ = 0;
        }
        return oldest;
    }
    void clear() noexcept {
        items_.clear();
        first_ = 0;
    }
    /// From the oldest to the newest.
    [[nodiscard]] auto begin() noexcept { return items_.begin() + static_cast<std::ptrdiff_t>(first_); }
    [[nodiscard]] auto end() noexcept { return items_.end(); }

private:
    std::vector<T> items_;
    std::size_t first_ = 0;
};

}  // namespace syncline::inline SYNCLINE_ABI::detail
