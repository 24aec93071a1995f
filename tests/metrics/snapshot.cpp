// SPDX-License-Identifier: BSL-1.0

/// Ratios, the snapshot's bytes, and the texts, read by a strict parser that knows only the specification.

#include <syncline/metrics/snapshot.hpp>

#include <cstdint>
#include <string>

#include <syncline/core/random.hpp>
#include <syncline/metrics/registry.hpp>

#include "metrics/open_metrics_parser.hpp"
#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr wall_time noon{milliseconds{1'790'035'200'000}};

metrics any_metrics(random_generator& g) {
    metrics m;
    wall_time now = noon;
    m.pass(now);
    for (std::uint64_t n = below(g, 300); n != 0; --n) {
        now += milliseconds{static_cast<std::int64_t>(below(g, 600'000))};
        m.pass(now);
        switch (below(g, 5)) {
            case 0: m.measured(static_cast<metric_gauge>(below(g, metric_gauges)), g() >> below(g, 64)); break;
            case 1:
                m.took(static_cast<metric_latency>(below(g, metric_latencies)),
                       std::chrono::microseconds{static_cast<std::int64_t>(below(g, 5'000'000))});
                break;
            case 2:
                m.failed(static_cast<observed_part>(below(g, 9)),
                         failure(static_cast<errc>(1 + below(g, 4)), "", static_cast<std::int32_t>(below(g, 2))), now);
                break;
            default: m.counted(static_cast<metric_counter>(below(g, metric_counters)), below(g, 1000)); break;
        }
    }
    return m;
}

}  // namespace

TEST_CASE("shares are in millionths, and unknown of nothing") {
    counter_values n{};
    CHECK_FALSE(success_ratio(n));
    CHECK_FALSE(conflict_ratio(n));
    CHECK_FALSE(integrity(n));
    auto const set = [&](metric_counter c, std::uint64_t v) { n[static_cast<std::size_t>(c)] = v; };
    set(metric_counter::exchanges, 199);
    set(metric_counter::exchanges_failed, 1);
    CHECK(success_ratio(n) == 995'000U);
    set(metric_counter::entries_applied, 98);
    set(metric_counter::entries_rejected, 1);
    set(metric_counter::entries_conflicted, 1);
    CHECK(conflict_ratio(n) == 10'000U);
    set(metric_counter::rows_checked, 1000);
    set(metric_counter::rows_bad_fingerprint, 1);
    set(metric_counter::rows_bad_reference, 2);
    CHECK(integrity(n) == 997'000U);
    set(metric_counter::rows_bad_rule, ~std::uint64_t{0});
    CHECK(integrity(n) == 0U);
    set(metric_counter::saved_by_delta, 700);
    set(metric_counter::saved_by_batching, 300);
    CHECK(bytes_saved(n) == 1000);
    CHECK(share_of(~std::uint64_t{0} - 1, ~std::uint64_t{0}) == 999'999U);
    CHECK(share_of(~std::uint64_t{0} / 2, ~std::uint64_t{0}) == 499'999U);
}

TEST_CASE("a snapshot comes back from its bytes, and a later version's extras are passed over") {
    random_generator g(1);
    for (int i = 0; i < 100; ++i) {
        metrics_snapshot const s = any_metrics(g).snapshot();
        bytes raw;
        cbor_writer out(raw);
        encode(s, out);
        REQUIRE(validate_canonical(raw));
        auto const again = decode_metrics_snapshot(raw);
        REQUIRE(again);
        REQUIRE(*again == s);
    }
    bytes raw;
    cbor_writer out(raw);
    encode(metrics_snapshot{}, out);
    CHECK(to_hex(raw) ==
          "8b01000098200000000000000000000000000000000000000000000000000000000000000000"
          "98200000000000000000000000000000000000000000000000000000000000000000"
          "0088f6f6f6f6f6f6f6f686850000000080850000000080850000000080850000000080850000000080850000000080"
          "8500000000800080");
    raw[5] = std::byte{33};  // as many counters and one more
    raw.insert(raw.begin() + 6, std::byte{0});
    CHECK(decode_metrics_snapshot(raw));
}

TEST_CASE("hostile snapshots are refused without harm") {
    random_generator g(2);
    bytes good;
    cbor_writer out(good);
    encode(any_metrics(g).snapshot(), out);
    int refused = 0;
    for (int i = 0; i < 5000; ++i) {
        bytes raw = good;
        if (below(g, 4) == 0) { raw.resize(below(g, raw.size())); }
        for (std::uint64_t n = below(g, 3); n != 0 && !raw.empty(); --n) {
            raw[below(g, raw.size())] = static_cast<std::byte>(g());
        }
        refused += decode_metrics_snapshot(raw) ? 0 : 1;
    }
    CHECK(refused > 2000);
    bytes other = good;
    other[1] = std::byte{2};
    CHECK(decode_metrics_snapshot(other).error() == errc::unsupported);
}

TEST_CASE("the texts obey the rules of their formats, whatever was counted") {
    random_generator g(3);
    for (int i = 0; i < 60; ++i) {
        metrics_snapshot const s = any_metrics(g).snapshot();
        for (bool const open : {true, false}) {
            std::vector<metrics_label> labels;
            if (i % 2 == 0) { labels = {{"fleet", "a\"b\\c\nd"}, {"_x1", "\xC3\xA4"}}; }
            auto const text = to_text(s, open ? metrics_text::open_metrics : metrics_text::prometheus, labels);
            REQUIRE(text);
            open_metrics::parser const p(*text, open);
            REQUIRE(p.error == "");
            std::uint64_t families = 0;
            for (auto const& f : p.families) {
                ++families;
                REQUIRE(f.name.substr(0, 9) == "syncline_");
                REQUIRE_FALSE(f.help.empty());
                for (auto const& sample : f.samples) {
                    if (i % 2 == 0) { REQUIRE(sample.labels.at("fleet") == "a\"b\\c\nd"); }
                    if (f.name == (open ? "syncline_exchanges" : "syncline_exchanges_total")) {
                        REQUIRE(sample.text == std::to_string(s.of(metric_counter::exchanges)));
                    }
                }
                if (f.name == "syncline_exchange_seconds") { REQUIRE(f.samples.size() == 14 + 3); }
            }
            REQUIRE(families >= metric_counters + metric_latencies + 1);
        }
    }
}

TEST_CASE("the strict parser refuses what the rules forbid") {
    auto const error = [](std::string_view text) { return open_metrics::parser(text, true).error; };
    CHECK(error("# TYPE a counter\na_total 1\n# EOF\n") == "");
    CHECK(error("# TYPE a counter\na_total 1\n") != "");
    CHECK(error("# TYPE a counter\na 1\n# EOF\n") != "");
    CHECK(error("# TYPE a_seconds gauge\n# UNIT a_seconds bytes\na_seconds 1\n# EOF\n") != "");
    CHECK(error("# TYPE a gauge\na 1\n# TYPE b gauge\nb 1\n# TYPE a gauge\n# EOF\n") != "");
    CHECK(error("# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n# EOF\n") != "");
    CHECK(error("# TYPE a gauge\na{x=\"\\q\"} 1\n# EOF\n") != "");
    CHECK(error("# TYPE a gauge\na 1 \n# EOF\n") != "");
    CHECK(error("# TYPE a gauge\na 1\n# EOF\nx 1\n") != "");
    CHECK(error("# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n# EOF\n") !=
          "");
    CHECK(error("# TYPE a histogram\na_bucket{le=\"1\"} 0\na_bucket{le=\"+Inf\"} 1\na_count 1\na_sum 1\n# EOF\n") !=
          "");
}

TEST_CASE("labels that are none are refused") {
    metrics_snapshot const s;
    for (metrics_label const bad : {metrics_label{"", "x"}, {"1a", "x"}, {"le", "x"}, {"a-b", "x"}, {"a", "\xFF"}}) {
        CHECK(to_text(s, metrics_text::open_metrics, {bad}).error() == errc::invalid);
    }
    CHECK(to_text(s, metrics_text::open_metrics, {{"a", "1"}, {"a", "2"}}).error() == errc::invalid);
}

TEST_CASE("snapshots of a fleet merge") {
    random_generator g(4);
    metrics_snapshot const a = any_metrics(g).snapshot();
    metrics_snapshot const b = any_metrics(g).snapshot();
    metrics_snapshot ab = a, ba = b;
    merge(ab, b);
    merge(ba, a);
    CHECK(ab == ba);
    CHECK(ab.of(metric_counter::exchanges) == a.of(metric_counter::exchanges) + b.of(metric_counter::exchanges));
    CHECK(ab.of(metric_latency::push).count() ==
          a.of(metric_latency::push).count() + b.of(metric_latency::push).count());
}
