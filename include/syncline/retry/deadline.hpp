// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Deadlines that travel: a moment until when an answer is of use, handed on as what is left of it.

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/retry/state.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Until when an answer is of use.
///
/// Two machines' clocks don't agree, so what travels is the time that is left (`to_timeout`), less what the way takes;
/// whoever gets it makes a deadline of it at once. The default is none: never expired.
/// A value of 8 bytes. Cost: O(1), allocates nothing.
/// Source: gRPC, "Deadlines"; PROTOCOL-HTTP2.md, `grpc-timeout`.
class deadline {
public:
    using state = std::array<std::byte, 17>;

    constexpr deadline() noexcept = default;
    constexpr explicit deadline(monotonic_time at) noexcept : at_(at) {}
    /// `left` from now; what is negative is over already, what no clock reaches is none.
    [[nodiscard]] static constexpr deadline after(milliseconds left, monotonic_time now) noexcept {
        return deadline(later(now, clamped(left, retry_time_max)));
    }

    [[nodiscard]] constexpr bool limited() const noexcept { return at_ != (monotonic_time::max)(); }
    [[nodiscard]] constexpr monotonic_time at() const noexcept { return at_; }
    [[nodiscard]] constexpr bool expired(monotonic_time now) const noexcept { return limited() && now >= at_; }
    /// What is left, at least zero; `retry_time_max` where there is none.
    [[nodiscard]] constexpr milliseconds left(monotonic_time now) const noexcept {
        return limited() ? elapsed(now, at_) : retry_time_max;
    }
    /// Whether something that takes `span` from now ends before it.
    [[nodiscard]] constexpr bool allows(milliseconds span, monotonic_time now) const noexcept {
        return !limited() || span < left(now);
    }
    /// What to give one of `attempts` attempts that are still to be made, so that the later ones have their share.
    /// Precondition: attempts > 0.
    [[nodiscard]] constexpr milliseconds share(std::uint32_t attempts, monotonic_time now) const noexcept {
        SYNCLINE_ASSERT(attempts > 0);
        return limited() ? left(now) / static_cast<milliseconds::rep>(attempts) : retry_time_max;
    }
    /// The deadline to hand on: what is left less `margin`, the time that the way there and back takes.
    [[nodiscard]] constexpr deadline hand_on(milliseconds margin, monotonic_time now) const noexcept {
        if (!limited()) { return *this; }
        milliseconds const rest = left(now);
        return after(rest - clamped(margin, rest), now);
    }
    /// The earlier of the two: a callee's own limit and its caller's.
    [[nodiscard]] friend constexpr deadline sooner(deadline a, deadline b) noexcept { return a.at_ < b.at_ ? a : b; }

    /// Whether there is one (1), what is left in ms (8), wall time (8), big-endian.
    [[nodiscard]] friend constexpr state to_array(deadline d, instant now) noexcept {
        return detail::state_writer<17>()
            .put(d.limited() ? 1U : 0U, 1)
            .put(d.limited() ? d.left(now.monotonic) : milliseconds{0})
            .put(now.wall)
            .done();
    }
    /// Takes on what `to_array` wrote. Time that passed meanwhile counts as `elapsed_by_restart` says. `malformed`,
    /// and nothing changed, for anything else.
    [[nodiscard]] constexpr status restore(bytes_view b, instant now) noexcept {
        detail::state_reader in(b);
        bool const limits = in.take(1, 1) == 1;
        milliseconds const rest = in.take_time();
        wall_time const written = in.take_wall();
        in.require(limits || rest.count() == 0);
        if (!in.done()) { return failure(errc::malformed, "not the state of a deadline"); }
        *this = limits ? after(rest - clamped(elapsed_by_restart(written, now.wall), rest), now.monotonic) : deadline();
        return {};
    }

    friend constexpr bool operator==(deadline const&, deadline const&) = default;

private:
    monotonic_time at_ = (monotonic_time::max)();
};

/// What is left of a deadline as the value of a `grpc-timeout` header: at most eight digits and a unit, the finest
/// that holds it. More than 99,999,999 hours, which nobody means, is that.
[[nodiscard]] inline std::string to_timeout(milliseconds left) {
    constexpr std::int64_t most = 99'999'999;
    std::int64_t const n = clamped(left, retry_time_max).count();
    if (n <= most) { return std::to_string(n) + 'm'; }
    if (n / 1000 <= most) { return std::to_string(n / 1000) + 'S'; }
    if (n / 60'000 <= most) { return std::to_string(n / 60'000) + 'M'; }
    return std::to_string(n / 3'600'000 <= most ? n / 3'600'000 : most) + 'H';
}
/// Reads the value of a `grpc-timeout` header; parts of a millisecond are rounded up. Empty when it is none.
[[nodiscard]] constexpr std::optional<milliseconds> parse_timeout(std::string_view text) noexcept {
    if (text.size() < 2 || text.size() > 9) { return std::nullopt; }
    std::int64_t n = 0;
    for (char const c : text.substr(0, text.size() - 1)) {
        if (c < '0' || c > '9') { return std::nullopt; }
        n = n * 10 + (c - '0');
    }
    switch (text.back()) {
        case 'H': return milliseconds{n * 3'600'000};
        case 'M': return milliseconds{n * 60'000};
        case 'S': return milliseconds{n * 1000};
        case 'm': return milliseconds{n};
        case 'u': return milliseconds{(n + 999) / 1000};
        case 'n': return milliseconds{(n + 999'999) / 1'000'000};
        default: return std::nullopt;
    }
}

}  // namespace syncline::inline SYNCLINE_ABI
