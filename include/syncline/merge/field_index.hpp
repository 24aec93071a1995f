// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Where the fields of an encoded record begin: what validating it finds out, kept beside it, so that a merge need not
/// find it out again.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Where the fields of one encoded map begin, and where the last one ends. A value, of four bytes a field; it means
/// something only beside the bytes that it was made of.
class field_index {
public:
    field_index() = default;

    /// In ascending order; the last is the map's length. Empty when it was made of nothing.
    [[nodiscard]] std::span<std::uint32_t const> begins() const noexcept { return begins_; }
    friend bool operator==(field_index const&, field_index const&) = default;

private:
    friend result<field_index> index_fields(bytes_view fields, decode_limits const& limits);
    std::vector<std::uint32_t> begins_{};
};

/// Validates fields as `validate_fields` does, and remembers where each begins.
/// Errors: those of `validate_fields`; `errc::limit` beyond 4 GiB. Cost: as `validate_fields`, and an allocation.
[[nodiscard]] inline result<field_index> index_fields(bytes_view fields, decode_limits const& limits = {}) {
    if (fields.size() > (std::numeric_limits<std::uint32_t>::max)()) {
        return failure{errc::limit, "a record too long to be indexed"};
    }
    if (auto ok = validate_fields(fields, limits); !ok) { return ok.error(); }
    field_index out;
    cbor_reader in{fields, limits};
    std::size_t const n = in.map();
    out.begins_.reserve(n + 1);
    for (std::size_t i = 0; i != n; ++i) {
        out.begins_.push_back(static_cast<std::uint32_t>(in.position()));
        (void)in.text();
        (void)in.skip();
    }
    out.begins_.push_back(static_cast<std::uint32_t>(in.position()));
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
