// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What was counted, as a value: ratios, CBOR, and the text that Prometheus and OpenMetrics read.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/metrics/histogram.hpp>
#include <syncline/model/observer.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Counts of each counter.
using counter_values = std::array<std::uint64_t, metric_counters>;
[[nodiscard]] constexpr std::uint64_t value_in(counter_values const& n, metric_counter c) noexcept {
    return n[static_cast<std::size_t>(c)];
}

/// A share in millionths; empty when there is nothing to have a share in.
using millionths = std::optional<std::uint32_t>;
inline constexpr std::uint32_t whole_share = 1'000'000;
[[nodiscard]] constexpr millionths share_of(std::uint64_t part, std::uint64_t whole) noexcept {
    if (whole == 0) { return {}; }
    if (part >= whole) { return whole_share; }
    // Both scaled down where the product would leave the range.
    while (part > (~std::uint64_t{0} / whole_share)) {
        part >>= 1;
        whole >>= 1;
    }
    std::uint64_t const out = part * whole_share / whole;
    return static_cast<std::uint32_t>(out < whole_share ? out : whole_share - 1);
}
/// Of all exchanges, those that succeeded.
[[nodiscard]] constexpr millionths success_ratio(counter_values const& n) noexcept {
    std::uint64_t const good = value_in(n, metric_counter::exchanges);
    return share_of(good, saturating_add(good, value_in(n, metric_counter::exchanges_failed)));
}
/// Of all entries that were decided, those that became conflicts.
[[nodiscard]] constexpr millionths conflict_ratio(counter_values const& n) noexcept {
    std::uint64_t const conflicts = value_in(n, metric_counter::entries_conflicted);
    std::uint64_t decided = conflicts;
    for (metric_counter const c :
         {metric_counter::entries_applied, metric_counter::entries_overruled, metric_counter::entries_rejected}) {
        decided = saturating_add(decided, value_in(n, c));
    }
    return share_of(conflicts, decided);
}
/// The integrity score: of all rows that were checked, those whose fingerprint, schema, rules and references were sound.
/// A row that fails in several ways counts as often as it fails, so that the score is never too good.
[[nodiscard]] constexpr millionths integrity(counter_values const& n) noexcept {
    std::uint64_t bad = 0;
    for (metric_counter const c : {metric_counter::rows_bad_fingerprint, metric_counter::rows_bad_schema,
                                   metric_counter::rows_bad_rule, metric_counter::rows_bad_reference}) {
        bad = saturating_add(bad, value_in(n, c));
    }
    std::uint64_t const checked = value_in(n, metric_counter::rows_checked);
    return share_of(bad < checked ? checked - bad : 0, checked);
}
/// Bytes that were not moved, by all means together.
[[nodiscard]] constexpr std::uint64_t bytes_saved(counter_values const& n) noexcept {
    std::uint64_t sum = 0;
    for (metric_counter const c :
         {metric_counter::saved_by_delta, metric_counter::saved_by_compression, metric_counter::saved_by_coalescing,
          metric_counter::saved_by_batching, metric_counter::saved_by_cache}) {
        sum = saturating_add(sum, value_in(n, c));
    }
    return sum;
}

/// A failure of late.
struct recent_failure {
    wall_time at{};
    observed_part who = observed_part::other;
    errc code{};
    std::int32_t native = 0;
    std::uint32_t times = 1;  ///< how often in a row, the last at `at`
    friend constexpr bool operator==(recent_failure const&, recent_failure const&) = default;
};
inline constexpr std::size_t recent_failures_max = 16;

/// Everything that was counted, at a moment.
struct metrics_snapshot {
    wall_time at{};
    wall_time since{};  ///< when counting began
    counter_values total{};
    counter_values recent{};  ///< of the last half to whole `metrics_options::recent`
    milliseconds recent_span{0};
    std::array<std::optional<std::uint64_t>, metric_gauges> gauge_values{};
    std::array<histogram, metric_latencies> times{};  ///< microseconds
    histogram recent_exchanges{};                     ///< microseconds
    std::uint32_t failures_in_a_row = 0;
    std::vector<recent_failure> failures{};  ///< the oldest first

    [[nodiscard]] std::uint64_t of(metric_counter c) const noexcept { return total[static_cast<std::size_t>(c)]; }
    [[nodiscard]] std::optional<std::uint64_t> of(metric_gauge g) const noexcept {
        return gauge_values[static_cast<std::size_t>(g)];
    }
    [[nodiscard]] histogram const& of(metric_latency l) const noexcept { return times[static_cast<std::size_t>(l)]; }
    /// How many a minute, of late, in thousandths; empty while the span is too short to tell.
    [[nodiscard]] std::optional<std::uint64_t> per_minute(metric_counter c) const noexcept {
        if (recent_span.count() <= 0) { return {}; }
        std::uint64_t const n = recent[static_cast<std::size_t>(c)];
        return checked_multiply(n, 60'000'000).value_or(~std::uint64_t{0}) /
               static_cast<std::uint64_t>(recent_span.count());
    }
    friend bool operator==(metrics_snapshot const&, metrics_snapshot const&) = default;
};

/// Another device's snapshot, or another time's, added to this one: counters and histograms sum, gauges take the larger
/// value, failures are dropped but for the count in a row, of which the larger stays.
inline void merge(metrics_snapshot& into, metrics_snapshot const& from) {
    for (std::size_t i = 0; i < metric_counters; ++i) {
        into.total[i] = saturating_add(into.total[i], from.total[i]);
        into.recent[i] = saturating_add(into.recent[i], from.recent[i]);
    }
    for (std::size_t i = 0; i < metric_gauges; ++i) {
        auto& mine = into.gauge_values[i];
        auto const& theirs = from.gauge_values[i];
        if (theirs && (!mine || *theirs > *mine)) { mine = theirs; }
    }
    for (std::size_t i = 0; i < metric_latencies; ++i) { into.times[i].merge(from.times[i]); }
    into.recent_exchanges.merge(from.recent_exchanges);
    into.recent_span = (std::max)(into.recent_span, from.recent_span);
    into.failures_in_a_row = (std::max)(into.failures_in_a_row, from.failures_in_a_row);
    into.failures.clear();
    into.at = (std::max)(into.at, from.at);
    into.since = (std::min)(into.since, from.since);
}

namespace detail {

/// A moment within some 8 900 years of 1970, so that differences never overflow.
[[nodiscard]] constexpr wall_time sane_time(wall_time t) noexcept {
    constexpr std::int64_t most = std::int64_t{1} << 48;
    std::int64_t const ms = t.time_since_epoch().count();
    return wall_time{milliseconds{ms < -most ? -most : ms < most ? ms : most}};
}

inline void encode_counters(counter_values const& n, cbor_writer& out) {
    out.array(metric_counters);
    for (std::uint64_t const x : n) { out.unsigned_integer(x); }
}
inline void encode_failure(recent_failure const& f, cbor_writer& out) {
    out.array(5);
    out.integer(f.at.time_since_epoch().count());
    out.unsigned_integer(static_cast<std::uint64_t>(f.who));
    out.unsigned_integer(static_cast<std::uint64_t>(f.code));
    out.integer(f.native);
    out.unsigned_integer(f.times);
}
/// A list of which `known` are understood; what a later version appended is passed over.
template <class F>
void decode_known(cbor_reader& in, std::size_t known, F&& take) {
    std::size_t const n = in.array();
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        if (i < known) {
            take(i);
        } else {
            static_cast<void>(in.skip(1));
        }
    }
}
[[nodiscard]] inline counter_values decode_counters(cbor_reader& in) {
    counter_values n{};
    decode_known(in, metric_counters, [&](std::size_t i) { n[i] = in.unsigned_integer(); });
    return n;
}
/// `malformed` for what no failure writes: the reader has failed then.
[[nodiscard]] inline recent_failure decode_failure(cbor_reader& in) {
    recent_failure f;
    if (in.array() != 5) { in.fail({errc::malformed, "not a failure"}); }
    f.at = wall_time{milliseconds{in.integer()}};
    std::uint64_t const who = in.unsigned_integer();
    std::uint64_t const code = in.unsigned_integer();
    auto const native = checked_narrow<std::int32_t>(in.integer());
    auto const times = checked_narrow<std::uint32_t>(in.unsigned_integer());
    if (who > last_of(observed_part{}) || code > 255 || !native || !times) {
        in.fail({errc::malformed, "not a failure"});
        return f;
    }
    f.who = static_cast<observed_part>(who);
    f.code = static_cast<errc>(code);
    f.native = *native;
    f.times = *times;
    return f;
}

}  // namespace detail

/// Appends the snapshot: one array of CBOR, [1, at, since, [totals], [recent], span, [gauges or null], [histograms],
/// recent exchanges, failures in a row, [[at, who, code, native, times], …]].
inline void encode(metrics_snapshot const& s, cbor_writer& out) {
    out.array(11);
    out.unsigned_integer(1);
    out.integer(s.at.time_since_epoch().count());
    out.integer(s.since.time_since_epoch().count());
    detail::encode_counters(s.total, out);
    detail::encode_counters(s.recent, out);
    out.integer(s.recent_span.count());
    out.array(metric_gauges);
    for (auto const& g : s.gauge_values) { g ? out.unsigned_integer(*g) : out.null(); }
    out.array(metric_latencies);
    for (histogram const& h : s.times) { h.encode(out); }
    s.recent_exchanges.encode(out);
    out.unsigned_integer(s.failures_in_a_row);
    out.array(s.failures.size());
    for (recent_failure const& f : s.failures) { detail::encode_failure(f, out); }
}
/// Reads what `encode` wrote. A later version may have more counters, gauges and latencies at the end of each list: those
/// are passed over. Errors beside those of the reader: `unsupported` for another version, `malformed`.
[[nodiscard]] inline result<metrics_snapshot> decode_metrics_snapshot(bytes_view raw,
                                                                      decode_limits const& limits = {}) {
    cbor_reader in(raw, limits);
    metrics_snapshot s;
    if (in.array() != 11) { in.fail({errc::malformed, "not a snapshot of metrics"}); }
    if (in.unsigned_integer() != 1 && !in.failed()) {
        return failure(errc::unsupported, "another version of a snapshot");
    }
    s.at = wall_time{milliseconds{in.integer()}};
    s.since = wall_time{milliseconds{in.integer()}};
    s.total = detail::decode_counters(in);
    s.recent = detail::decode_counters(in);
    s.recent_span = milliseconds{in.integer()};
    detail::decode_known(in, metric_gauges, [&](std::size_t i) {
        if (!in.null()) { s.gauge_values[i] = in.unsigned_integer(); }
    });
    detail::decode_known(in, metric_latencies, [&](std::size_t i) { s.times[i] = histogram::decode(in); });
    s.recent_exchanges = histogram::decode(in);
    std::uint64_t const row = in.unsigned_integer();
    s.failures_in_a_row = static_cast<std::uint32_t>((std::min)(row, std::uint64_t{0xFFFFFFFF}));
    std::size_t const n = in.array();
    if (n > recent_failures_max) { in.fail({errc::limit, "more than recent_failures_max"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { s.failures.push_back(detail::decode_failure(in)); }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return s;
}

/// Which of the two text formats.
enum class metrics_text { open_metrics, prometheus };

namespace detail {

struct metric_name {
    std::string_view name;
    std::string_view unit;  ///< empty: none
    std::string_view help;
};
inline constexpr std::array<metric_name, metric_counters> counter_names{{
    {"exchanges", "", "Exchanges that succeeded."},
    {"exchanges_failed", "", "Exchanges that failed."},
    {"entries_sent", "", "Outbox entries that were sent."},
    {"entries_applied", "", "Entries that the authority applied."},
    {"entries_conflicted", "", "Entries that became conflicts for a person."},
    {"entries_rejected", "", "Entries that the authority rejected."},
    {"entries_dead", "", "Entries that were given up."},
    {"retries", "", "Attempts after a failed one."},
    {"rows_pulled", "", "Rows that were pulled."},
    {"sent_bytes", "bytes", "Bytes sent."},
    {"received_bytes", "bytes", "Bytes received."},
    {"saved_by_delta_bytes", "bytes", "Bytes not sent, as a delta was."},
    {"saved_by_compression_bytes", "bytes", "Bytes not sent, as they were compressed."},
    {"saved_by_coalescing_bytes", "bytes", "Bytes not sent, as writes became one."},
    {"saved_by_batching_bytes", "bytes", "Bytes not sent, as requests were shared."},
    {"saved_by_cache_bytes", "bytes", "Bytes not received, as they were there."},
    {"rows_checked", "", "Rows whose integrity was checked."},
    {"rows_bad_fingerprint", "", "Rows with a wrong fingerprint."},
    {"rows_bad_schema", "", "Rows that their schema refuses."},
    {"rows_bad_rule", "", "Rows that break a rule."},
    {"rows_bad_reference", "", "Rows that refer to what is not there."},
    {"decisions", "", "Decisions of the schedule."},
    {"wake_ups", "", "Decisions that time alone asked for."},
    {"entries_merged", "", "Entries that were merged with another's change."},
    {"entries_overruled", "", "Entries whose place another's change took."},
    {"entries_duplicate", "", "Entries that had been decided before."},
    {"conflicts_opened", "", "Conflicts that came into the queue."},
    {"conflicts_decided", "", "Conflicts that were decided."},
    {"rows_differing", "", "Rows that a reconciliation found to differ."},
    {"audit_entries", "", "Entries appended to the audit log."},
    {"blobs_moved", "", "Large values that were moved whole."},
    {"blobs_refused", "", "Large values that could not be moved."},
}};
inline constexpr std::array<metric_name, metric_gauges> gauge_names{{
    {"pending_entries", "", "Entries that wait in the outbox."},
    {"pending_bytes", "bytes", "Bytes that wait in the outbox."},
    {"oldest_pending_seconds", "seconds", "How long the oldest entry has waited."},
    {"staleness_seconds", "seconds", "How long ago the last exchange succeeded."},
    {"open_conflicts", "", "Conflicts that wait for a person."},
    {"battery_percent", "percent", "Charge of the battery."},
    {"storage_free_bytes", "bytes", "Free space."},
    {"stalest_collection_seconds", "seconds", "How long ago the collection was whole that waits longest."},
}};
inline constexpr std::array<metric_name, metric_latencies> latency_names{{
    {"exchange_seconds", "seconds", "How long exchanges took."},
    {"push_seconds", "seconds", "How long pushes took."},
    {"pull_seconds", "seconds", "How long pulls took."},
    {"apply_seconds", "seconds", "How long applying took."},
    {"merge_seconds", "seconds", "How long merges took."},
    {"commit_seconds", "seconds", "How long commits took."},
}};
struct bucket_bound {
    std::uint64_t microseconds;
    std::string_view le;  ///< in canonical form
};
inline constexpr std::array<bucket_bound, 14> bucket_bounds{{{1'000, "0.001"},
                                                             {2'500, "0.0025"},
                                                             {5'000, "0.005"},
                                                             {10'000, "0.01"},
                                                             {25'000, "0.025"},
                                                             {50'000, "0.05"},
                                                             {100'000, "0.1"},
                                                             {250'000, "0.25"},
                                                             {500'000, "0.5"},
                                                             {1'000'000, "1.0"},
                                                             {2'500'000, "2.5"},
                                                             {5'000'000, "5.0"},
                                                             {10'000'000, "10.0"},
                                                             {60'000'000, "60.0"}}};

/// Writes families of one of the formats.
class metrics_writer {
public:
    metrics_writer(metrics_text format, std::string labels)
        : open_(format == metrics_text::open_metrics), labels_(std::move(labels)) {}

    void family(metric_name const& m, std::string_view type) {
        std::string const name = "syncline_" + std::string(m.name);
        // Prometheus names the family of a counter as its sample.
        std::string const shown = !open_ && type == "counter" ? name + "_total" : name;
        out_ += "# TYPE " + shown + ' ' + std::string(type) + '\n';
        if (open_ && !m.unit.empty()) { out_ += "# UNIT " + shown + ' ' + std::string(m.unit) + '\n'; }
        out_ += "# HELP " + shown + ' ' + std::string(m.help) + '\n';
    }
    void sample(metric_name const& m, std::string_view suffix, std::string_view label, std::string_view value) {
        out_ += "syncline_";
        out_ += m.name;
        out_ += suffix;
        if (!labels_.empty() || !label.empty()) {
            out_ += '{' + labels_;
            if (!labels_.empty() && !label.empty()) { out_ += ','; }
            out_ += label;
            out_ += '}';
        }
        out_ += ' ';
        out_ += value;
        out_ += '\n';
    }
    [[nodiscard]] std::string done() {
        if (open_) { out_ += "# EOF\n"; }
        return std::move(out_);
    }
    [[nodiscard]] bool open() const noexcept { return open_; }

    /// A number of millionths as a decimal.
    [[nodiscard]] static std::string decimal(std::uint64_t n) {
        std::string part = std::to_string(n % 1'000'000);
        part.insert(0, 6 - part.size(), '0');
        while (part.size() > 1 && part.back() == '0') { part.pop_back(); }
        return std::to_string(n / 1'000'000) + '.' + part;
    }

private:
    bool open_;
    std::string labels_;
    std::string out_;
};

}  // namespace detail

/// A label that the host adds to each sample, say the device's class. Never a user's name: it leaves the device.
struct metrics_label {
    std::string_view name;
    std::string_view value;
};
/// The media types to answer with.
inline constexpr std::string_view open_metrics_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
inline constexpr std::string_view prometheus_type = "text/plain; version=0.0.4; charset=utf-8";

/// The snapshot as text for a scraper. Times are seconds, shares ratios from 0 to 1.
///
/// Errors: `invalid` for a label whose name isn't one ([a-zA-Z_][a-zA-Z0-9_]*, not "le", "code" or "part") or is there
/// twice, or whose value isn't UTF-8.
/// Source: OpenMetrics 1.0, text format; Prometheus, exposition formats.
[[nodiscard]] inline result<std::string> to_text(metrics_snapshot const& s, metrics_text format,
                                                 std::vector<metrics_label> const& labels = {}) {
    std::string shared;
    for (std::size_t i = 0; i < labels.size(); ++i) {
        auto const& [name, value] = labels[i];
        bool good = !name.empty() && !(name[0] >= '0' && name[0] <= '9') && name != "le" && name != "code" &&
                    name != "part" && valid_utf8(value);
        for (char const c : name) {
            good = good && ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_');
        }
        for (std::size_t k = 0; k < i; ++k) { good = good && labels[k].name != name; }
        if (!good) { return failure(errc::invalid, "not a label"); }
        if (i != 0) { shared += ','; }
        shared += name;
        shared += "=\"";
        for (char const c : value) {
            if (c == '\n') {
                shared += "\\n";
                continue;
            }
            if (c == '"' || c == '\\') { shared += '\\'; }
            shared += c;
        }
        shared += '"';
    }
    detail::metrics_writer out(format, std::move(shared));
    for (std::size_t i = 0; i < metric_counters; ++i) {
        out.family(detail::counter_names[i], "counter");
        out.sample(detail::counter_names[i], "_total", "", std::to_string(s.total[i]));
    }
    for (std::size_t i = 0; i < metric_gauges; ++i) {
        auto const& value = s.gauge_values[i];
        if (!value) { continue; }
        bool const seconds = detail::gauge_names[i].unit == "seconds";
        out.family(detail::gauge_names[i], "gauge");
        out.sample(detail::gauge_names[i], "", "",
                   seconds ? detail::metrics_writer::decimal(checked_multiply(*value, 1000).value_or(~std::uint64_t{0}))
                           : std::to_string(*value));
    }
    using ratio = std::pair<detail::metric_name, millionths>;
    for (auto const& [name, value] :
         {ratio{{"success_ratio", "ratio", "Of recent exchanges, those that succeeded."}, success_ratio(s.recent)},
          ratio{{"conflict_ratio", "ratio", "Of recently decided entries, the conflicts."}, conflict_ratio(s.recent)},
          ratio{{"integrity_ratio", "ratio", "Of all rows checked, the sound ones."}, integrity(s.total)}}) {
        if (!value) { continue; }
        out.family(name, "gauge");
        out.sample(name, "", "", detail::metrics_writer::decimal(*value));
    }
    detail::metric_name const row{"failures_in_a_row", "", "Exchanges that failed since the last one that didn't."};
    out.family(row, "gauge");
    out.sample(row, "", "", std::to_string(s.failures_in_a_row));
    if (!s.failures.empty()) {
        detail::metric_name const late{"recent_failures", "", "Failures that are remembered, by part and code."};
        out.family(late, "gauge");
        std::vector<std::pair<std::string, std::uint64_t>> by_label;
        for (recent_failure const& f : s.failures) {
            std::string const label = std::string("part=\"") + words(f.who) + "\",code=\"" +
                                      std::to_string(static_cast<unsigned>(f.code)) + '"';
            std::size_t k = 0;
            while (k < by_label.size() && by_label[k].first != label) { ++k; }
            if (k == by_label.size()) { by_label.emplace_back(label, 0); }
            by_label[k].second += f.times;
        }
        for (auto const& [label, times] : by_label) { out.sample(late, "", label, std::to_string(times)); }
    }
    for (std::size_t i = 0; i < metric_latencies; ++i) {
        histogram const& h = s.times[i];
        auto const& name = detail::latency_names[i];
        out.family(name, "histogram");
        for (auto const& [bound, le] : detail::bucket_bounds) {
            out.sample(name, "_bucket", "le=\"" + std::string(le) + '"', std::to_string(h.at_most(bound)));
        }
        out.sample(name, "_bucket", "le=\"+Inf\"", std::to_string(h.count()));
        out.sample(name, "_count", "", std::to_string(h.count()));
        out.sample(name, "_sum", "", detail::metrics_writer::decimal(h.sum()));
    }
    return out.done();
}

}  // namespace syncline::inline SYNCLINE_ABI
