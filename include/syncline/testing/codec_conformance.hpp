// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `certify_codec`: runs the axioms of `codec` on a model of one's own and says which are broken.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>
#include <syncline/delta/codec.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

struct codec_conformance_options {
    std::uint64_t seed = 1;
    std::uint32_t damages = 60;  ///< flipped bits and cut ends for each input
    friend constexpr bool operator==(codec_conformance_options const&, codec_conformance_options const&) = default;
};

namespace detail {

template <codec C>
class codec_certifier {
public:
    codec_certifier(C& c, codec_conformance_options const& options) : c_(c), options_(options), random_(options.seed) {}

    [[nodiscard]] std::vector<violation> run() {
        bytes const prefix = text(5000);
        for (bytes const& in : inputs()) {
            for (bytes_view const p : {bytes_view{}, bytes_view{prefix}}) { one(in, p); }
        }
        return std::move(found_);
    }

private:
    void report(std::string_view axiom, std::string what) {
        for (violation const& v : found_) {
            if (v.axiom == axiom) { return; }
        }
        found_.push_back({std::string(axiom), std::move(what)});
    }

    [[nodiscard]] bytes text(std::size_t n) {
        constexpr std::string_view words =
            "the guest asked for a table near the window {\"id\":\"7f\",\"status\":\"seated\"} ";
        bytes out;
        while (out.size() < n) {
            std::size_t const at = below(random_, words.size());
            append(out, as_bytes(words.substr(at, 1 + below(random_, words.size() - at))));
        }
        out.resize(n);
        return out;
    }
    [[nodiscard]] std::vector<bytes> inputs() {
        std::vector<bytes> out{{}, to_bytes("a"), bytes(100'000), text(40), text(3000), text(200'000)};
        bytes noise(70'000);
        fill(random_, noise);
        out.push_back(std::move(noise));
        return out;
    }

    void one(bytes const& in, bytes_view prefix) {
        std::string const what =
            "an input of " + std::to_string(in.size()) + " bytes, prefix " + std::to_string(prefix.size());
        bytes packed = to_bytes("before");
        if (!c_.compress(in, prefix, packed)) { return report("round_trip", "compress fails on " + what); }
        if (!starts_with(packed, as_bytes("before"))) {
            return report("appends", "compress changed what was there, " + what);
        }
        packed.erase(packed.begin(), packed.begin() + 6);
        bytes again;
        if (!c_.compress(in, prefix, again) || again != packed) {
            report("deterministic", "other bytes the second time, " + what);
        }

        if (auto const back = unpack(packed, prefix, in.size()); !back || *back != in) {
            report("round_trip", "not the same comes back, " + what);
        }
        if (!in.empty()) {
            auto const less = unpack(packed, prefix, in.size() - 1);
            if (less) { report("bounded", "more than the sink takes was let through, " + what); }
            if (!less && less.error() != errc::limit) { report("bounded", "not errc::limit, " + what); }
        }
        damage(packed, prefix, in.size(), what);
        if (auto const back = unpack(packed, prefix, in.size()); !back || *back != in) {
            report("stable", "after errors the same no longer comes back, " + what);
        }
    }

    void damage(bytes const& packed, bytes_view prefix, std::size_t size, std::string const& what) {
        for (std::uint32_t i = 0; i < options_.damages && !packed.empty(); ++i) {
            std::size_t const at =
                i < 20 ? (std::min)(std::size_t{i}, packed.size() - 1) : below(random_, packed.size());
            if (unpack(bytes_view(packed).first(at), prefix, size + 1000)) {
                report("hostile", "the first " + std::to_string(at) + " bytes alone are taken, " + what);
            }
            bytes flipped = packed;
            flipped[at] ^= static_cast<std::byte>(1U << below(random_, 8));
            (void)unpack(flipped, prefix, size + 1000);
        }
        bytes noise(200);
        fill(random_, noise);
        (void)unpack(noise, prefix, 1 << 20);
    }

    /// What comes out, with a look at whether the sink was left as promised.
    [[nodiscard]] result<bytes> unpack(bytes_view packed, bytes_view prefix, std::size_t most) {
        bytes out = to_bytes("before");
        bounded_sink sink(out, most);
        auto const ok = c_.decompress(packed, prefix, sink);
        if (!starts_with(out, as_bytes("before"))) { report("appends", "decompress changed what was there"); }
        if (out.size() > 6 + most) { report("bounded", "more came than the sink takes"); }
        if (!ok && out.size() != 6) { report("bounded", "not rolled back after an error"); }
        if (!ok) { return ok.error(); }
        out.erase(out.begin(), out.begin() + 6);
        return out;
    }

    C& c_;
    codec_conformance_options options_;
    random_generator random_;
    std::vector<violation> found_;
};

}  // namespace detail

/// The axioms that the codec breaks, each once; empty when all is well. Takes a second or so.
template <codec C>
[[nodiscard]] std::vector<violation> certify_codec(C& c, codec_conformance_options const& options = {}) {
    return detail::codec_certifier<C>(c, options).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
