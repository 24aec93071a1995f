// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What the two ends of an exchange take, said by each where it isn't the usual: the lower holds.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// What an end takes. The defaults are those of both ends, and need not be said.
struct exchange_limits {
    std::uint64_t message_max = std::uint64_t{64} << 20;  ///< bytes of one message
    std::uint64_t record_max = std::uint64_t{1} << 20;    ///< bytes of one record's fields
    std::uint64_t fields_max = std::uint64_t{1} << 20;    ///< fields of one record
    std::uint64_t depth_max = 64;  ///< arrays and maps inside each other in one record, its own map counted
    friend constexpr bool operator==(exchange_limits const&, exchange_limits const&) = default;
};

/// What every end takes: less than this is not believed, lest a peer make it impossible to write anything.
inline constexpr exchange_limits exchange_floor{std::uint64_t{64} << 10, std::uint64_t{4} << 10, 256, 16};
/// Of a message, what is for its other parts, before mutations or rows.
inline constexpr std::uint64_t message_overhead = 4'096;

/// Bytes of mutations or rows that go together into one message of this limit, however they are packed: who unpacks them
/// counts what it puts together beside what it was sent. One that is alone is not packed.
[[nodiscard]] constexpr std::uint64_t content_max(std::uint64_t message_max) noexcept {
    return (message_max - (std::min)(message_max, message_overhead)) / 3;
}

[[nodiscard]] constexpr exchange_limits lower_of(exchange_limits const& a, exchange_limits const& b) noexcept {
    return {(std::min)(a.message_max, b.message_max), (std::min)(a.record_max, b.record_max),
            (std::min)(a.fields_max, b.fields_max), (std::min)(a.depth_max, b.depth_max)};
}

/// What an end of these options takes. No stored row is read deeper than `decode_limits` have it by default.
[[nodiscard]] constexpr exchange_limits limits_of(decode_limits const& message, std::size_t record_max) noexcept {
    return {message.bytes_max, record_max, message.items_max, (std::min)(message.depth_max, decode_limits{}.depth_max)};
}

/// Whether a record of these fields is within the limits: `errc::limit` that says which it passes. `deep`: false where no
/// value that is new in it is an array or a map. Precondition: `fields` is a canonical map.
/// Cost: constant, but linear with `deep`.
[[nodiscard]] inline status fits(bytes_view fields, exchange_limits const& limits, bool deep = true) noexcept {
    if (fields.size() > limits.record_max) { return failure{errc::limit, "record too large"}; }
    if (fields.size() <= limits.fields_max && (!deep || fields.size() <= limits.depth_max)) { return {}; }
    decode_limits within;
    within.depth_max = static_cast<std::uint32_t>((std::min)(limits.depth_max, std::uint64_t{cbor_depth_max}));
    if (cbor_reader head{fields, within}; head.map() > limits.fields_max || head.failed()) {
        return failure{errc::limit, "record of too many fields"};
    }
    cbor_reader in{fields, within};
    (void)in.skip();
    return in.failed() ? status{failure{errc::limit, "record nested too deep"}} : status{};
}

/// Whether any of the operations brings an array or a map.
[[nodiscard]] inline bool brings_depth(std::vector<field_op> const& ops) noexcept {
    return std::any_of(ops.begin(), ops.end(), [](field_op const& op) {
        return !op.value.empty() && (std::to_integer<unsigned>(op.value[0]) >> 5U) >= 4;
    });
}

/// An array of a number and a value for each limit that is not the usual, in the order of numbers.
inline void write_limits(cbor_writer& w, exchange_limits const& l) {
    constexpr exchange_limits usual;
    std::uint64_t const values[][2] = {{l.message_max, usual.message_max},
                                       {l.record_max, usual.record_max},
                                       {l.fields_max, usual.fields_max},
                                       {l.depth_max, usual.depth_max}};
    std::size_t n = 0;
    for (auto const& v : values) { n += v[0] == v[1] ? 0 : 2; }
    w.array(n);
    std::uint64_t number = 0;
    for (auto const& v : values) {
        ++number;
        if (v[0] == v[1]) { continue; }
        w.unsigned_integer(number);
        w.unsigned_integer(v[0]);
    }
}
/// Reads what `write_limits` wrote, of a stranger too: what is below the floor is raised to it, a number that is not known
/// is passed over.
[[nodiscard]] inline exchange_limits read_limits(cbor_reader& in) {
    exchange_limits l;
    std::size_t const n = in.array();
    if (n == 0 || n % 2 != 0 || n > 64) { in.fail({errc::malformed, "limits of the wrong length"}); }
    std::uint64_t last = 0;
    for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
        std::uint64_t const number = in.unsigned_integer();
        std::uint64_t const value = in.unsigned_integer();
        if (number <= last) { in.fail({errc::not_deterministic, "limits out of order"}); }
        last = number;
        switch (number) {
            case 1: l.message_max = (std::max)(value, exchange_floor.message_max); break;
            case 2: l.record_max = (std::max)(value, exchange_floor.record_max); break;
            case 3: l.fields_max = (std::max)(value, exchange_floor.fields_max); break;
            case 4: l.depth_max = (std::max)(value, exchange_floor.depth_max); break;
            default: break;
        }
    }
    return l;
}

}  // namespace syncline::inline SYNCLINE_ABI
