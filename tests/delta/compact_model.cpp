// SPDX-License-Identifier: BSL-1.0

/// The codes are prefix codes without a gap, and what is written is read.

#include <syncline/delta/compact_model.hpp>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::detail;

TEST_CASE("each context's code is complete: no bits that mean nothing") {
    for (std::size_t c = 0; c < compact_contexts; ++c) {
        REQUIRE(compact_lengths[c].size() == 257);
        std::uint32_t sum = 0;
        for (auto const& code : compact_codes.codes[c]) {
            sum += code.size == 0 ? 0U : 1U << (compact_code_bits - code.size);
        }
        CHECK(sum == 1U << compact_code_bits);
        CHECK(compact_codes.codes[c][256].size != 0);
        for (auto const& s : compact_codes.symbols[c]) { CHECK(s.size != 0); }
    }
}

TEST_CASE("the table is what it was: deltas are kept") {
    bytes all;
    for (auto const& lengths : compact_lengths) { append(all, as_bytes(lengths)); }
    CHECK(to_hex(bytes_view(sha256(all)).first(8)) == "a8962a38151a13c2");
}

TEST_CASE("literals come back in every context, and the end is known") {
    random_generator r(41);
    for (int round = 0; round < 200; ++round) {
        std::size_t const n = below(r, 300);
        bytes packed(compact_bits_writer::room_for(n));
        compact_bits_writer w(packed.data());
        bytes literals(n);
        bytes contexts(n);
        for (std::size_t i = 0; i < n; ++i) {
            literals[i] = static_cast<std::byte>(below(r, 4) == 0 ? below(r, 256) : 'a' + below(r, 26));
            contexts[i] = static_cast<std::byte>(below(r, compact_contexts));
            w.put(std::to_integer<std::size_t>(contexts[i]), literals[i]);
        }
        packed.resize(static_cast<std::size_t>(w.end() - packed.data()));
        auto const read = [&](bytes_view in) {
            compact_bits_reader b(in);
            bytes out;
            for (std::size_t i = 0; i < n; ++i) { out.push_back(b.take(std::to_integer<std::size_t>(contexts[i]))); }
            return b.ended_well() ? out : bytes{std::byte{1}, std::byte{2}};
        };
        if (n > 2) {
            CHECK(read(packed) == literals);
            CHECK(read(bytes_view(packed).first(packed.size() - 1)) != literals);
            packed.push_back(std::byte{0});
            CHECK(read(packed) != literals);
        }
    }
}
