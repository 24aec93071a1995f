// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `brotli_codec`: Brotli (RFC 7932) as a codec. Link `brotlienc` and `brotlidec`.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

#include <brotli/decode.h>
#include <brotli/encode.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/codec.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct brotli_options {
    int quality = 5;  ///< 0 to 11
    int window = 22;  ///< bytes that it looks back, as a power of two: 10 to 24
    friend constexpr bool operator==(brotli_options const&, brotli_options const&) = default;
};
[[nodiscard]] constexpr bool valid(brotli_options const& o) noexcept {
    return o.quality >= 0 && o.quality <= 11 && o.window >= 10 && o.window <= 24;
}

/// Models `codec`. A prefix is ignored: Brotli has dictionaries of the user's from version 1.1 on only. There is no
/// checksum in it.
class brotli_codec {
public:
    /// Precondition: `valid(options)`.
    explicit brotli_codec(brotli_options const& options = {}) noexcept : options_(options) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] status compress(bytes_view in, bytes_view, bytes& out) {
        std::size_t n = BrotliEncoderMaxCompressedSize(in.size());
        if (n == 0) { return failure{errc::limit, "longer than brotli takes at once"}; }
        std::size_t const old = out.size();
        out.resize(old + n);
        bool const good =
            BrotliEncoderCompress(options_.quality, options_.window, BROTLI_MODE_GENERIC, in.size(), raw(in), &n,
                                  reinterpret_cast<std::uint8_t*>(out.data() + old)) == BROTLI_TRUE;
        out.resize(good ? old + n : old);
        return good ? status{} : status{failure{errc::invalid, "brotli"}};
    }

    [[nodiscard]] status decompress(bytes_view in, bytes_view, bounded_sink& sink) {
        std::unique_ptr<BrotliDecoderState, free_state> const d{BrotliDecoderCreateInstance(nullptr, nullptr, nullptr)};
        if (!d) { return failure{errc::storage_full, "no memory for brotli"}; }
        std::uint8_t const* from = raw(in);
        std::size_t left = in.size();
        for (;;) {
            auto const room = sink.room(piece);
            auto* to = reinterpret_cast<std::uint8_t*>(room.data());
            std::size_t free = room.size();
            auto const said = BrotliDecoderDecompressStream(d.get(), &left, &from, &free, &to, nullptr);
            sink.wrote(room.size() - free);
            if (said == BROTLI_DECODER_RESULT_SUCCESS) { break; }
            if (said == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT && !room.empty()) { continue; }
            sink.roll_back();
            if (said == BROTLI_DECODER_RESULT_NEEDS_MORE_OUTPUT) {
                return failure{errc::limit, "longer than the sink takes"};
            }
            return failure{errc::malformed, "brotli's stream"};
        }
        if (left == 0) { return {}; }
        sink.roll_back();
        return failure{errc::malformed, "bytes after the end"};
    }

    [[nodiscard]] std::string_view name() const noexcept { return "brotli"; }

private:
    static constexpr std::size_t piece = std::size_t{1} << 16;
    [[nodiscard]] static std::uint8_t const* raw(bytes_view b) noexcept {
        return reinterpret_cast<std::uint8_t const*>(b.data());
    }
    struct free_state {
        void operator()(BrotliDecoderState* s) const noexcept { BrotliDecoderDestroyInstance(s); }
    };
    brotli_options options_;
};
static_assert(codec<brotli_codec>);

}  // namespace syncline::inline SYNCLINE_ABI
