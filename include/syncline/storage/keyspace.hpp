// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `keyspace`: the part of a storage under one prefix, as a storage transaction of its own.

#include <array>
#include <cstddef>
#include <cstring>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// A view of another transaction in which every key begins with `prefix`, that the user of the view never sees.
///
/// So components share one storage, and one transaction, without knowing each other. Keyspaces nest.
/// Two keyspaces are disjoint when neither prefix begins with the other: give them the same length, or end
/// them with a byte that they contain nowhere else.
/// It refers to the transaction, which must outlive it, and ends with it; it has no commit of its own.
/// A key has 1 to `511 - prefix.size()` bytes; a longer one is `errc::invalid`. All else is as the other
/// transaction answers. Cost: a key's copy on the stack; nothing is allocated.
template <storage_transaction Tx>
class keyspace {
public:
    /// Precondition: the prefix has 0 to 510 bytes. It is copied.
    keyspace(Tx& tx, bytes_view prefix) noexcept : tx_(&tx), prefix_size_(prefix.size()) {
        SYNCLINE_ASSERT(prefix.size() < key_bytes_max);
        if (!prefix.empty()) { std::memcpy(prefix_.data(), prefix.data(), prefix.size()); }
    }
    keyspace(keyspace const& o) noexcept : keyspace(*o.tx_, o.prefix()) {}
    keyspace& operator=(keyspace const& o) noexcept {
        if (this == &o) { return *this; }
        tx_ = o.tx_;
        prefix_size_ = o.prefix_size_;
        std::memcpy(prefix_.data(), o.prefix_.data(), prefix_size_);
        return *this;
    }

    [[nodiscard]] bytes_view prefix() const noexcept { return {prefix_.data(), prefix_size_}; }
    /// The longest key that fits behind the prefix.
    [[nodiscard]] std::size_t longest_key() const noexcept { return key_bytes_max - prefix_size_; }

    [[nodiscard]] result<bool> get(bytes_view key, bytes& out) {
        if (!fits(key)) {
            out.clear();
            return bad_key();
        }
        buffer whole;
        return tx_->get(compose(whole, key), out);
    }
    [[nodiscard]] status put(bytes_view key, bytes_view value) {
        if (!fits(key)) { return bad_key(); }
        buffer whole;
        return tx_->put(compose(whole, key), value);
    }
    [[nodiscard]] status erase(bytes_view key) {
        if (!fits(key)) { return bad_key(); }
        buffer whole;
        return tx_->erase(compose(whole, key));
    }
    [[nodiscard]] status scan(key_range range, scan_visitor visit) {
        buffer first;
        buffer last;
        key_range whole;
        // The prefix alone is no key of this space; the first that can be is the prefix and a zero.
        constexpr std::byte zero{};
        whole.from = bound(first, range.from.empty() ? bytes_view{&zero, 1} : range.from);
        whole.to = range.to.empty() ? end(last) : bound(last, range.to);
        return tx_->scan(whole,
                         [&](bytes_view key, bytes_view value) { return visit(key.subspan(prefix_size_), value); });
    }

private:
    using buffer = std::array<std::byte, key_bytes_max + 1>;  // a bound can be one longer than any key

    [[nodiscard]] bool fits(bytes_view key) const noexcept { return !key.empty() && key.size() <= longest_key(); }
    [[nodiscard]] static failure bad_key() noexcept { return {errc::invalid, "key does not fit the keyspace"}; }
    [[nodiscard]] bytes_view compose(buffer& out, bytes_view key) const noexcept {
        if (prefix_size_ != 0) { std::memcpy(out.data(), prefix_.data(), prefix_size_); }
        std::memcpy(out.data() + prefix_size_, key.data(), key.size());
        return {out.data(), prefix_size_ + key.size()};
    }
    /// A bound may be longer than any key. Then it lies just behind the longest key that it begins with,
    /// and so does that key with a zero appended: nothing is between them.
    [[nodiscard]] bytes_view bound(buffer& out, bytes_view b) const noexcept {
        if (b.size() <= longest_key()) { return compose(out, b); }
        std::size_t const n = compose(out, b.first(longest_key())).size();
        out[n] = std::byte{};
        return {out.data(), n + 1};
    }
    /// `prefix_end` without an allocation.
    [[nodiscard]] bytes_view end(buffer& out) const noexcept {
        std::size_t n = prefix_size_;
        while (n != 0 && prefix_[n - 1] == std::byte{0xFF}) { --n; }
        if (n == 0) { return {}; }
        std::memcpy(out.data(), prefix_.data(), n);
        out[n - 1] = static_cast<std::byte>(std::to_integer<unsigned>(out[n - 1]) + 1U);
        return {out.data(), n};
    }

    Tx* tx_;
    std::size_t prefix_size_;
    std::array<std::byte, key_bytes_max> prefix_;
};

}  // namespace syncline::inline SYNCLINE_ABI
