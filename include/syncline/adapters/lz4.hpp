// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `lz4_codec`: LZ4's blocks as a codec, with up to 64 KiB of prefix. Link `lz4`.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <lz4.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/codec.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct lz4_options {
    int acceleration = 1;  ///< 1 to 65,536: faster, and larger
    friend constexpr bool operator==(lz4_options const&, lz4_options const&) = default;
};
[[nodiscard]] constexpr bool valid(lz4_options const& o) noexcept {
    return o.acceleration >= 1 && o.acceleration <= 65536;
}

/// Models `codec`: a varint of the length, and one block. There is no checksum in it. Of a prefix the last 64 KiB count.
class lz4_codec {
public:
    /// Precondition: `valid(options)`.
    explicit lz4_codec(lz4_options const& options = {}) : options_(options), stream_(LZ4_createStream()) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] status compress(bytes_view in, bytes_view prefix, bytes& out) {
        if (!stream_) { return failure{errc::storage_full, "no memory for lz4"}; }
        if (in.size() > LZ4_MAX_INPUT_SIZE) { return failure{errc::limit, "longer than an LZ4 block"}; }
        prefix = last_part(prefix);
        LZ4_resetStream_fast(stream_.get());
        if (!prefix.empty()) { (void)LZ4_loadDict(stream_.get(), text(prefix), static_cast<int>(prefix.size())); }
        std::size_t const old = out.size();
        append_varint(out, in.size());
        std::size_t const head = out.size();
        int const bound = LZ4_compressBound(static_cast<int>(in.size()));
        out.resize(head + static_cast<std::size_t>(bound));
        int const n = LZ4_compress_fast_continue(stream_.get(), text(in), reinterpret_cast<char*>(out.data() + head),
                                                 static_cast<int>(in.size()), bound, options_.acceleration);
        if (n <= 0) {
            out.resize(old);
            return failure{errc::invalid, "lz4"};
        }
        out.resize(head + static_cast<std::size_t>(n));
        return {};
    }

    [[nodiscard]] status decompress(bytes_view in, bytes_view prefix, bounded_sink& sink) {
        auto const size = take_varint(in);
        if (!size) { return size.error(); }
        if (*size > sink.left()) { return failure{errc::limit, "longer than the sink takes"}; }
        // A byte makes 255 at most: nothing is reserved for what can't come.
        if (*size > LZ4_MAX_INPUT_SIZE || *size > std::uint64_t{in.size()} * 255) {
            return failure{errc::malformed, "length that can't be"};
        }
        prefix = last_part(prefix);
        if (in.size() > LZ4_MAX_INPUT_SIZE) { return failure{errc::limit, "longer than an LZ4 block"}; }
        auto const room = sink.room(static_cast<std::size_t>(*size));
        int const n =
            LZ4_decompress_safe_usingDict(text(in), reinterpret_cast<char*>(room.data()), static_cast<int>(in.size()),
                                          static_cast<int>(room.size()), text(prefix), static_cast<int>(prefix.size()));
        if (n < 0 || static_cast<std::uint64_t>(n) != *size) {
            sink.roll_back();
            return failure{errc::malformed, "lz4's block"};
        }
        return {};
    }

    [[nodiscard]] std::string_view name() const noexcept { return "lz4"; }

private:
    [[nodiscard]] static bytes_view last_part(bytes_view prefix) noexcept {
        return prefix.last((std::min)(prefix.size(), std::size_t{65536}));
    }
    [[nodiscard]] static char const* text(bytes_view b) noexcept {
        return b.empty() ? "" : reinterpret_cast<char const*>(b.data());
    }
    struct free_stream {
        void operator()(LZ4_stream_t* s) const noexcept { (void)LZ4_freeStream(s); }
    };
    lz4_options options_;
    std::unique_ptr<LZ4_stream_t, free_stream> stream_;
};
static_assert(codec<lz4_codec>);

}  // namespace syncline::inline SYNCLINE_ABI
