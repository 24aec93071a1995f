// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `zstd_codec`: Zstandard as a codec, with a dictionary or an older version as prefix, and the training of
/// dictionaries. Link `zstd`.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <zdict.h>
#include <zstd.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/codec.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct zstd_options {
    int level = 3;            ///< 1 to 19
    bool checksum = true;     ///< four bytes of XXH64 at the end
    int window_log_max = 27;  ///< so much memory, as a power of two, a stranger's frame may ask for
    friend constexpr bool operator==(zstd_options const&, zstd_options const&) = default;
};
[[nodiscard]] constexpr bool valid(zstd_options const& o) noexcept {
    return o.level >= 1 && o.level <= 19 && o.window_log_max >= 10 && o.window_log_max <= 31;
}

/// Models `codec`. A prefix that `zstd_train` made is taken as a dictionary, any other as what comes before.
class zstd_codec {
public:
    /// Precondition: `valid(options)`.
    explicit zstd_codec(zstd_options const& options = {})
        : options_(options), compressor_(ZSTD_createCCtx()), decompressor_(ZSTD_createDCtx()) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] status compress(bytes_view in, bytes_view prefix, bytes& out) {
        auto* const c = compressor_.get();
        if (c == nullptr) { return failure{errc::storage_full, "no memory for zstd"}; }
        (void)ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
        bool good =
            set(c, ZSTD_c_compressionLevel, options_.level) && set(c, ZSTD_c_checksumFlag, options_.checksum ? 1 : 0);
        // What comes before is seen only as far as the window goes back.
        int log = 10;
        while (log < options_.window_log_max && (std::size_t{1} << log) < prefix.size() + in.size()) { ++log; }
        if (!prefix.empty() && !trained(prefix)) {
            good = good && set(c, ZSTD_c_windowLog, log) &&
                   (prefix.size() < (std::size_t{1} << 20) || set(c, ZSTD_c_enableLongDistanceMatching, 1)) &&
                   ZSTD_isError(ZSTD_CCtx_refPrefix(c, prefix.data(), prefix.size())) == 0;
        } else if (!prefix.empty()) {
            good = good && ZSTD_isError(ZSTD_CCtx_loadDictionary(c, prefix.data(), prefix.size())) == 0;
        }
        if (!good) { return failure{errc::invalid, "zstd's parameters or dictionary"}; }
        std::size_t const old = out.size();
        out.resize(old + ZSTD_compressBound(in.size()));
        std::size_t const n = ZSTD_compress2(c, out.data() + old, out.size() - old, in.data(), in.size());
        bool const failed = ZSTD_isError(n) != 0;
        out.resize(failed ? old : old + n);
        return failed ? status{failure{errc::invalid, "zstd"}} : status{};
    }

    [[nodiscard]] status decompress(bytes_view in, bytes_view prefix, bounded_sink& sink) {
        auto* const d = decompressor_.get();
        if (d == nullptr) { return failure{errc::storage_full, "no memory for zstd"}; }
        (void)ZSTD_DCtx_reset(d, ZSTD_reset_session_and_parameters);
        (void)ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, options_.window_log_max);
        if (!prefix.empty()) {
            std::size_t const set = trained(prefix) ? ZSTD_DCtx_loadDictionary(d, prefix.data(), prefix.size())
                                                    : ZSTD_DCtx_refPrefix(d, prefix.data(), prefix.size());
            if (ZSTD_isError(set) != 0) { return failure{errc::invalid, "zstd's dictionary"}; }
        }
        ZSTD_inBuffer from{in.data(), in.size(), 0};
        for (;;) {
            auto const room = sink.room(piece);
            ZSTD_outBuffer to{room.data(), room.size(), 0};
            std::size_t const before = from.pos;
            std::size_t const left = ZSTD_decompressStream(d, &to, &from);
            sink.wrote(to.pos);
            if (ZSTD_isError(left) != 0) { return end(sink, errc::malformed, "zstd's frame"); }
            if (left == 0) { break; }
            if (to.pos == 0 && from.pos == before) {
                return room.empty() ? end(sink, errc::limit, "longer than the sink takes")
                                    : end(sink, errc::malformed, "truncated");
            }
        }
        if (from.pos != in.size()) { return end(sink, errc::malformed, "bytes after the end"); }
        return {};
    }

    [[nodiscard]] std::string_view name() const noexcept { return "zstd"; }

private:
    static constexpr std::size_t piece = std::size_t{1} << 17;

    [[nodiscard]] static bool set(ZSTD_CCtx* c, ZSTD_cParameter what, int n) noexcept {
        return ZSTD_isError(ZSTD_CCtx_setParameter(c, what, n)) == 0;
    }
    [[nodiscard]] static bool trained(bytes_view prefix) noexcept {
        return prefix.size() >= 8 && detail::load_little32(prefix.data()) == ZSTD_MAGIC_DICTIONARY;
    }
    [[nodiscard]] static failure end(bounded_sink& sink, errc e, char const* why) {
        sink.roll_back();
        return {e, why};
    }

    struct free_compressor {
        void operator()(ZSTD_CCtx* c) const noexcept { (void)ZSTD_freeCCtx(c); }
    };
    struct free_decompressor {
        void operator()(ZSTD_DCtx* d) const noexcept { (void)ZSTD_freeDCtx(d); }
    };
    zstd_options options_;
    std::unique_ptr<ZSTD_CCtx, free_compressor> compressor_;
    std::unique_ptr<ZSTD_DCtx, free_decompressor> decompressor_;
};
static_assert(codec<zstd_codec>);

/// A dictionary of at most `size_max` bytes, trained on records: of a stream some hundred of them, and a hundredth of
/// their bytes, is a good measure. The same samples give the same dictionary with the same version of zstd.
/// Errors: `invalid` when they are too few or too small.
[[nodiscard]] inline result<bytes> zstd_train(std::span<bytes_view const> samples, std::size_t size_max) {
    bytes all;
    std::vector<std::size_t> sizes;
    for (bytes_view const s : samples) {
        append(all, s);
        sizes.push_back(s.size());
    }
    bytes out(size_max);
    std::size_t const n =
        ZDICT_trainFromBuffer(out.data(), out.size(), all.data(), sizes.data(), static_cast<unsigned>(sizes.size()));
    if (ZDICT_isError(n) != 0) { return failure{errc::invalid, "too little to train a dictionary on"}; }
    out.resize(n);
    return out;
}

}  // namespace syncline::inline SYNCLINE_ABI
