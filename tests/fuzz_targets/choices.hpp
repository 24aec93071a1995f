// SPDX-License-Identifier: BSL-1.0
#pragma once

/// An input's bytes read as decisions, so that a fuzzer that changes bytes changes what is done.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>

namespace fuzz {

/// Never runs dry: after the last byte every decision is 0.
class choices {
public:
    choices(std::uint8_t const* data, std::size_t size) noexcept
        : rest_(reinterpret_cast<std::byte const*>(data), size) {}
    explicit choices(syncline::bytes_view in) noexcept : rest_(in) {}

    [[nodiscard]] bool done() const noexcept { return rest_.empty(); }

    std::uint8_t byte() noexcept {
        if (rest_.empty()) { return 0; }
        auto const b = std::to_integer<std::uint8_t>(rest_[0]);
        rest_ = rest_.subspan(1);
        return b;
    }
    /// In [0, n), of one byte for n up to 256, of eight beyond.
    std::uint64_t below(std::uint64_t n) noexcept { return (n <= 256 ? byte() : word()) % n; }
    bool one_in(std::uint64_t n) noexcept { return below(n) == n - 1; }
    std::uint64_t word() noexcept {
        std::uint64_t n = 0;
        for (int i = 0; i < 8; ++i) { n = (n << 8) | byte(); }
        return n;
    }
    /// Any number, mostly one where something changes: little ones, powers of two, both ends.
    std::uint64_t number() noexcept {
        switch (below(4)) {
            case 0: return below(24);
            case 1: {
                std::uint64_t const power = std::uint64_t{1} << below(64);
                return power + below(3) - 1;
            }
            case 2: return (std::numeric_limits<std::uint64_t>::max)() - below(4);
            default: return word() >> below(64);
        }
    }
    std::int64_t signed_number() noexcept { return static_cast<std::int64_t>(number()); }
    /// Up to `most` bytes of the input as they stand.
    syncline::bytes_view some(std::size_t most) noexcept {
        auto const wanted = static_cast<std::size_t>(below(most + 1));
        std::size_t const n = (std::min)(wanted, rest_.size());
        auto const out = rest_.first(n);
        rest_ = rest_.subspan(n);
        return out;
    }
    syncline::bytes_view rest() noexcept {
        auto const out = rest_;
        rest_ = {};
        return out;
    }
    template <class T, std::size_t N>
    T const& of(T const (&all)[N]) noexcept {
        return all[static_cast<std::size_t>(below(N))];
    }

private:
    syncline::bytes_view rest_;
};

/// A small canonical CBOR item of any type.
inline syncline::bytes any_item(choices& in, unsigned depth = 2) {
    syncline::bytes out;
    syncline::cbor_writer w(out);
    switch (in.below(depth == 0 ? 8 : 10)) {
        case 0: w.null(); break;
        case 1: w.boolean(in.below(2) != 0); break;
        case 2: w.unsigned_integer(in.number()); break;
        case 3:
        case 4: w.integer(in.signed_number()); break;
        case 5: {
            double const edges[] = {0.0,
                                    -0.0,
                                    1.0,
                                    -1.5,
                                    9007199254740993.0,
                                    18446744073709551616.0,
                                    -9.3e18,
                                    1e300,
                                    std::numeric_limits<double>::infinity(),
                                    std::numeric_limits<double>::quiet_NaN()};
            w.floating(in.of(edges));
            break;
        }
        case 6: {
            std::string_view const texts[] = {"", "a", "b", "zebra", "\xC3\xA9", "a longer text of more than 23 bytes"};
            w.text(in.of(texts));
            break;
        }
        case 7: w.byte_string(in.some(30)); break;
        case 8: {
            std::uint64_t const n = in.below(4);
            w.array(static_cast<std::size_t>(n));
            for (std::uint64_t i = 0; i < n; ++i) { w.raw(any_item(in, depth - 1)); }
            break;
        }
        default: {
            std::uint64_t const n = in.below(4);
            std::string_view const keys[] = {"", "b", "aa"};
            w.map(static_cast<std::size_t>(n));
            for (std::uint64_t i = 0; i < n; ++i) {
                w.text(keys[i]);
                w.raw(any_item(in, depth - 1));
            }
            break;
        }
    }
    return out;
}

}  // namespace fuzz
