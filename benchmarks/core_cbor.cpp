// SPDX-License-Identifier: BSL-1.0

/// What it costs to bring an eight-field record to bytes and back: ours, nlohmann::json, and the memory's own speed.

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include <benchmark/benchmark.h>
#include <nlohmann/json.hpp>

#include <syncline/core/describe.hpp>

namespace {

using namespace syncline;

struct reservation {
    std::string name;
    std::string mail;
    std::int64_t table = 0;
    std::int64_t arrives = 0;
    bool confirmed = false;
    double deposit = 0;
    std::optional<std::string> diet;
    std::string note;
    unknown_fields rest;
};
constexpr auto describe(reservation const*) {
    return record_of<reservation>("reservations", field("name", &reservation::name), field("mail", &reservation::mail),
                                  field("table", &reservation::table), field("arrives", &reservation::arrives),
                                  field("confirmed", &reservation::confirmed), field("deposit", &reservation::deposit),
                                  field("diet", &reservation::diet), field("note", &reservation::note),
                                  unknown(&reservation::rest));
}

reservation sample() {
    reservation r;
    r.name = "Alexandra Featherstonehaugh";
    r.mail = "alexandra.featherstonehaugh@example.org";
    r.table = 23;
    r.arrives = 1'764'500'400'000;
    r.confirmed = true;
    r.deposit = 49.95;
    r.diet = "vegetarian, no nuts";
    r.note = "Window seat if there is one; celebrates an anniversary.";
    return r;
}

nlohmann::json as_json(reservation const& r) {
    return {{"name", r.name},           {"mail", r.mail},       {"table", r.table}, {"arrives", r.arrives},
            {"confirmed", r.confirmed}, {"deposit", r.deposit}, {"diet", *r.diet},  {"note", r.note}};
}
reservation of_json(nlohmann::json const& j) {
    reservation r;
    r.name = j.at("name").get<std::string>();
    r.mail = j.at("mail").get<std::string>();
    r.table = j.at("table").get<std::int64_t>();
    r.arrives = j.at("arrives").get<std::int64_t>();
    r.confirmed = j.at("confirmed").get<bool>();
    r.deposit = j.at("deposit").get<double>();
    r.diet = j.at("diet").get<std::string>();
    r.note = j.at("note").get<std::string>();
    return r;
}

/// Both read what the other wrote, and say the same; else the numbers would compare different work.
bool checked() {
    reservation const r = sample();
    auto const ours = encode_record(r);
    if (!ours || as_json(r) != nlohmann::json::from_cbor(as_text(*ours))) { return false; }
    auto const theirs = nlohmann::json::to_cbor(as_json(r));
    auto const read =
        decode(syncline::as_bytes({reinterpret_cast<char const*>(theirs.data()), theirs.size()}), {}, cbor_form::any);
    if (!read || !equal(read->encoded(), *ours)) { return false; }
    auto const back = decode_record<reservation>(*ours);
    return back && equal_fields(*back, r) && equal_fields(of_json(nlohmann::json::from_cbor(theirs)), r);
}

void ready(benchmark::State& state, std::size_t bytes_each) {
    if (!checked()) { state.SkipWithError("the two encoders disagree"); }
    state.counters["bytes"] = static_cast<double>(bytes_each);
}

void encode_ours(benchmark::State& state) {
    reservation const r = sample();
    ready(state, encode_record(r)->size());
    for (auto _ : state) { benchmark::DoNotOptimize(encode_record(r)); }
}
BENCHMARK(encode_ours)->Name("core/cbor/encode/ours");

void encode_ours_into(benchmark::State& state) {
    reservation const r = sample();
    ready(state, encode_record(r)->size());
    bytes out;
    for (auto _ : state) {
        out.clear();
        benchmark::DoNotOptimize(encode_field(r, out));
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(encode_ours_into)->Name("core/cbor/encode/ours_reused_buffer");

/// The same record, item by item through the writer, as the protocol writes its messages.
void encode_ours_writer(benchmark::State& state) {
    reservation const r = sample();
    ready(state, encode_record(r)->size());
    for (auto _ : state) {
        bytes out;
        cbor_writer w(out);
        w.map(8);
        w.text("diet");
        w.text(*r.diet);
        w.text("mail");
        w.text(r.mail);
        w.text("name");
        w.text(r.name);
        w.text("note");
        w.text(r.note);
        w.text("table");
        w.integer(r.table);
        w.text("arrives");
        w.integer(r.arrives);
        w.text("deposit");
        w.floating(r.deposit);
        w.text("confirmed");
        w.boolean(r.confirmed);
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(encode_ours_writer)->Name("core/cbor/encode/ours_writer");

void encode_nlohmann(benchmark::State& state) {
    nlohmann::json const j = as_json(sample());
    ready(state, nlohmann::json::to_cbor(j).size());
    for (auto _ : state) { benchmark::DoNotOptimize(nlohmann::json::to_cbor(j)); }
}
BENCHMARK(encode_nlohmann)->Name("core/cbor/encode/nlohmann");

/// From the struct, as ours: with the making of the document in between.
void encode_nlohmann_struct(benchmark::State& state) {
    reservation const r = sample();
    ready(state, nlohmann::json::to_cbor(as_json(r)).size());
    for (auto _ : state) { benchmark::DoNotOptimize(nlohmann::json::to_cbor(as_json(r))); }
}
BENCHMARK(encode_nlohmann_struct)->Name("core/cbor/encode/nlohmann_from_struct");

void encode_memcpy(benchmark::State& state) {
    bytes const whole = *encode_record(sample());
    ready(state, whole.size());
    for (auto _ : state) {
        bytes out(whole.size());
        std::memcpy(out.data(), whole.data(), whole.size());
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(encode_memcpy)->Name("core/cbor/encode/memcpy");

void decode_ours(benchmark::State& state) {
    bytes const whole = *encode_record(sample());
    ready(state, whole.size());
    for (auto _ : state) { benchmark::DoNotOptimize(decode_record<reservation>(whole)); }
}
BENCHMARK(decode_ours)->Name("core/cbor/decode/ours");

void decode_ours_validate(benchmark::State& state) {
    bytes const whole = *encode_record(sample());
    ready(state, whole.size());
    for (auto _ : state) { benchmark::DoNotOptimize(validate_canonical(whole)); }
}
BENCHMARK(decode_ours_validate)->Name("core/cbor/decode/ours_validate");

void decode_ours_value(benchmark::State& state) {
    bytes const whole = *encode_record(sample());
    ready(state, whole.size());
    for (auto _ : state) { benchmark::DoNotOptimize(decode(whole)); }
}
BENCHMARK(decode_ours_value)->Name("core/cbor/decode/ours_value");

void decode_nlohmann(benchmark::State& state) {
    auto const whole = nlohmann::json::to_cbor(as_json(sample()));
    ready(state, whole.size());
    for (auto _ : state) { benchmark::DoNotOptimize(nlohmann::json::from_cbor(whole)); }
}
BENCHMARK(decode_nlohmann)->Name("core/cbor/decode/nlohmann");

void decode_nlohmann_struct(benchmark::State& state) {
    auto const whole = nlohmann::json::to_cbor(as_json(sample()));
    ready(state, whole.size());
    for (auto _ : state) { benchmark::DoNotOptimize(of_json(nlohmann::json::from_cbor(whole))); }
}
BENCHMARK(decode_nlohmann_struct)->Name("core/cbor/decode/nlohmann_to_struct");

void decode_memcpy(benchmark::State& state) {
    bytes const whole = *encode_record(sample());
    ready(state, whole.size());
    for (auto _ : state) {
        bytes out(whole.size());
        std::memcpy(out.data(), whole.data(), whole.size());
        benchmark::DoNotOptimize(out.data());
    }
}
BENCHMARK(decode_memcpy)->Name("core/cbor/decode/memcpy");

}  // namespace
