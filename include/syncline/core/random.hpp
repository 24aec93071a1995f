// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Randomness as an argument: the `random_source` concept and a generator that is the same on every platform.

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>

#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// 64 uniform random bits a call.
///
/// Axioms (the compiler can't check them): every bit is fair and independent of the others and of earlier
/// calls, as far as its use needs. Jitter and simulation need a statistical generator (`random_generator`); identities
/// and salts that a stranger must not guess or make collide need the operating system's.
template <class G>
concept random_source = requires(G& g) {
    { g() }
    noexcept->std::same_as<std::uint64_t>;
};

/// SplitMix64: turns a weak seed into well-spread words. Source: Steele, Lea, Flood, OOPSLA 2014.
class splitmix64 {
public:
    constexpr explicit splitmix64(std::uint64_t seed = 0) noexcept : state_(seed) {}

    constexpr std::uint64_t operator()() noexcept {
        state_ += 0x9E3779B97F4A7C15;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
    friend constexpr bool operator==(splitmix64 const&, splitmix64 const&) = default;

private:
    std::uint64_t state_;
};

/// xoshiro256**: a statistical generator, identical on all platforms, whose state can be stored.
///
/// A value: two that are equal give the same numbers for ever. Period 2^256 - 1. Not for secrets: whoever
/// sees four outputs can tell all others. Cost: about a nanosecond a call, 32 bytes.
/// Source: Blackman, Vigna, "Scrambled Linear Pseudorandom Number Generators", 2018.
class random_generator {
public:
    using state = std::array<std::byte, 32>;

    /// From a number: its four words are the first four of `splitmix64`, as the authors advise.
    constexpr explicit random_generator(std::uint64_t seed = 0) noexcept {
        splitmix64 words(seed);
        for (auto& w : s_) { w = words(); }
    }
    /// From 32 bytes of entropy, or from what `to_array` gave: four words, big-endian. All zero, which is
    /// no state of the generator, counts as the seed 0.
    constexpr explicit random_generator(state const& saved) noexcept : random_generator(std::uint64_t{0}) {
        std::array<std::uint64_t, 4> words{};
        for (std::size_t i = 0; i < saved.size(); ++i) {
            words[i / 8] = (words[i / 8] << 8) | std::to_integer<std::uint64_t>(saved[i]);
        }
        if ((words[0] | words[1] | words[2] | words[3]) != 0) { s_ = words; }
    }

    constexpr std::uint64_t operator()() noexcept {
        std::uint64_t const out = rotate(s_[1] * 5, 7) * 9;
        std::uint64_t const t = s_[1] << 17;
        s_[2] ^= s_[0];
        s_[3] ^= s_[1];
        s_[1] ^= s_[2];
        s_[0] ^= s_[3];
        s_[2] ^= t;
        s_[3] = rotate(s_[3], 45);
        return out;
    }

    /// The state, to go on from later: `random_generator(to_array(r)) == r`.
    [[nodiscard]] friend constexpr state to_array(random_generator const& r) noexcept {
        state out{};
        for (std::size_t i = 0; i < out.size(); ++i) {
            out[i] = static_cast<std::byte>(r.s_[i / 8] >> (56 - 8 * (i % 8)));
        }
        return out;
    }
    friend constexpr bool operator==(random_generator const&, random_generator const&) = default;

private:
    [[nodiscard]] static constexpr std::uint64_t rotate(std::uint64_t x, int k) noexcept {
        return (x << k) | (x >> (64 - k));
    }
    std::array<std::uint64_t, 4> s_{};
};

/// A number in [0, n), each exactly equally likely. Precondition: n > 0.
///
/// Cost: one call of the source, more with a chance of n / 2^64; one division with the same chance.
/// Source: Lemire, "Fast Random Integer Generation in an Interval", 2019.
template <random_source G>
[[nodiscard]] constexpr std::uint64_t below(G& source, std::uint64_t n) noexcept {
    SYNCLINE_ASSERT(n > 0);
    auto product = multiply_wide(source(), n);
    if (product.low < n) {
        std::uint64_t const uneven = (0 - n) % n;
        while (product.low < uneven) { product = multiply_wide(source(), n); }
    }
    return product.high;
}

/// Fills `out` with random bytes, eight from each word, big-endian.
template <random_source G>
constexpr void fill(G& source, std::span<std::byte> out) noexcept {
    std::uint64_t word = 0;
    for (std::size_t i = 0; i < out.size(); ++i) {
        if (i % 8 == 0) { word = source(); }
        out[i] = static_cast<std::byte>(word >> (56 - 8 * (i % 8)));
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
