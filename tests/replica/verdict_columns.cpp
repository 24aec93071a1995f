// SPDX-License-Identifier: BSL-1.0

#include "support/catch.hpp"

#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/testing/generator.hpp>

using namespace syncline;

namespace {

bytes columns_of(std::vector<verdict> const& all) {
    bytes out;
    cbor_writer w{out};
    encode_verdict_columns(w, all);
    return out;
}
result<std::vector<verdict>> read(bytes_view raw, std::size_t most = 65'536, decode_limits const& limits = {}) {
    cbor_reader in{raw, limits};
    auto all = decode_verdict_columns<verdict>(in, limits, most, verdict_kind_of, decode_verdict);
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return all;
}

}  // namespace

TEST_CASE("any verdicts come back as they were", "[verdict_columns]") {
    syncline::random_generator dice{20'261'129};
    for (int round = 0; round < 300; ++round) {
        std::vector<verdict> all;
        for (std::uint64_t n = dice() % 20; n != 0; --n) {
            verdict v = testing::any<verdict>{}(dice);
            v.kind = verdict_kind_of(1 + dice() % 8);
            if (dice() % 2 == 0) { v = {v.sequence, v.kind, false, {}, v.version, v.stamp, {}, {}}; }
            all.push_back(v);
        }
        bytes const raw = columns_of(all);
        CHECK(validate_canonical(raw));
        REQUIRE(*read(raw) == all);
        if (!all.empty()) { CHECK(read(raw, all.size() - 1).error() == errc::limit); }
        bytes damaged = raw;
        damaged[static_cast<std::size_t>(dice() % raw.size())] = static_cast<std::byte>(dice() & 0xFF);
        (void)read(damaged);
        CHECK_FALSE(read(bytes_view{raw}.first(static_cast<std::size_t>(dice() % raw.size()))));
    }
}

TEST_CASE("a verdict that took effect costs a few bytes", "[verdict_columns]") {
    std::vector<verdict> all;
    for (unsigned i = 0; i < 1'000; ++i) {
        all.push_back({7 + i,
                       verdict_kind::applied,
                       false,
                       {},
                       500 + i,
                       timestamp{(1'790'000'000'000U + 700U * i) << 16U},
                       {},
                       {}});
    }
    bytes const raw = columns_of(all);
    CHECK(raw.size() < 100);
    decode_limits narrow;
    narrow.bytes_max = 10'000;
    CHECK(read(raw, 65'536, narrow).error() == errc::limit);
}
