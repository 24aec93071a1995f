// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `zlib_codec`: zlib (RFC 1950) as a codec, with up to 32 KiB of prefix as its preset dictionary. Link `z`.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>

#include <zlib.h>

#include <syncline/core/bytes.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/delta/codec.hpp>

namespace syncline::inline SYNCLINE_ABI {

struct zlib_options {
    int level = 6;  ///< 1 to 9
    friend constexpr bool operator==(zlib_options const&, zlib_options const&) = default;
};
[[nodiscard]] constexpr bool valid(zlib_options const& o) noexcept { return o.level >= 1 && o.level <= 9; }

/// Models `codec`. Of a prefix the last 32 KiB count. Inputs are below 2 GiB.
class zlib_codec {
public:
    /// Precondition: `valid(options)`.
    explicit zlib_codec(zlib_options const& options = {}) noexcept : options_(options) {
        SYNCLINE_ASSERT(valid(options));
    }

    [[nodiscard]] status compress(bytes_view in, bytes_view prefix, bytes& out) {
        if (in.size() > most) { return failure{errc::limit, "longer than zlib takes at once"}; }
        z_stream z{};
        if (deflateInit(&z, options_.level) != Z_OK) { return failure{errc::storage_full, "no memory for zlib"}; }
        prefix = prefix.last((std::min)(prefix.size(), std::size_t{32768}));
        std::size_t const old = out.size();
        bool good = prefix.empty() || deflateSetDictionary(&z, raw(prefix), static_cast<uInt>(prefix.size())) == Z_OK;
        out.resize(old + deflateBound(&z, static_cast<uLong>(in.size())) + 8);
        z.next_in = raw(in);
        z.avail_in = static_cast<uInt>(in.size());
        z.next_out = reinterpret_cast<Bytef*>(out.data() + old);
        z.avail_out = static_cast<uInt>(out.size() - old);
        good = good && deflate(&z, Z_FINISH) == Z_STREAM_END;
        out.resize(good ? old + z.total_out : old);
        (void)deflateEnd(&z);
        return good ? status{} : status{failure{errc::invalid, "zlib"}};
    }

    [[nodiscard]] status decompress(bytes_view in, bytes_view prefix, bounded_sink& sink) {
        if (in.size() > most) { return failure{errc::limit, "longer than zlib takes at once"}; }
        z_stream z{};
        if (inflateInit(&z) != Z_OK) { return failure{errc::storage_full, "no memory for zlib"}; }
        prefix = prefix.last((std::min)(prefix.size(), std::size_t{32768}));
        z.next_in = raw(in);
        z.avail_in = static_cast<uInt>(in.size());
        failure why{errc::malformed, "zlib's stream"};
        bool good = false;
        for (;;) {
            auto const room = sink.room(piece);
            // At the sink's limit a byte of our own tells an end from more to come.
            Bytef spare = 0;
            z.next_out = room.empty() ? &spare : reinterpret_cast<Bytef*>(room.data());
            z.avail_out = room.empty() ? 1U : static_cast<uInt>(room.size());
            uInt const given = z.avail_out;
            int const said = inflate(&z, Z_NO_FLUSH);
            std::size_t const made = given - z.avail_out;
            sink.wrote(room.empty() ? 0 : made);
            if (room.empty() && made != 0) {
                why = {errc::limit, "longer than the sink takes"};
                break;
            }
            if (said == Z_STREAM_END) {
                good = z.avail_in == 0;
                break;
            }
            if (said == Z_NEED_DICT) {
                if (prefix.empty() || inflateSetDictionary(&z, raw(prefix), static_cast<uInt>(prefix.size())) != Z_OK) {
                    break;
                }
                continue;
            }
            if (said != Z_OK || (made == 0 && z.avail_in == 0)) { break; }
        }
        (void)inflateEnd(&z);
        if (good) { return {}; }
        sink.roll_back();
        return why;
    }

    [[nodiscard]] std::string_view name() const noexcept { return "zlib"; }

private:
    static constexpr std::size_t most = (std::numeric_limits<std::int32_t>::max)();
    static constexpr std::size_t piece = std::size_t{1} << 16;
    /// zlib only reads through it.
    [[nodiscard]] static Bytef* raw(bytes_view b) noexcept {
        return const_cast<Bytef*>(reinterpret_cast<Bytef const*>(b.data()));
    }
    zlib_options options_;
};
static_assert(codec<zlib_codec>);

}  // namespace syncline::inline SYNCLINE_ABI
