// SPDX-License-Identifier: BSL-1.0

/// What is encoded decodes, on every level, in pieces as in one, and xdelta3 reads it and is read.

#include <syncline/delta/vcdiff_encoder.hpp>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <syncline/delta/vcdiff_decoder.hpp>

#include "delta/pairs.hpp"
#include "support/catch.hpp"

namespace {

using namespace syncline;

constexpr delta_level levels[] = {delta_level::fastest, delta_level::fast, delta_level::smaller, delta_level::smallest};

bytes encoded(bytes_view base, bytes_view target, vcdiff_options const& options) {
    delta_scratch scratch;
    bytes out;
    vcdiff_encode(base, target, out, scratch, options);
    return out;
}
bytes decoded(bytes_view base, bytes_view delta) {
    bytes out;
    auto const ok = vcdiff_decode(base, delta, out);
    REQUIRE(ok);
    return out;
}

}  // namespace

TEST_CASE("pairs come back on every level") {
    random_generator r(21);
    delta_scratch scratch;
    for (unsigned i = 0; i < delta_tests::rounds(60); ++i) {
        auto const [base, target] = delta_tests::pair(r, 6000);
        for (delta_level const level : levels) {
            vcdiff_options const options{.level = level, .checksum = below(r, 2) == 0, .window = 1 + below(r, 5000)};
            bytes whole;
            vcdiff_encode(base, target, whole, scratch, options);
            REQUIRE(decoded(base, whole) == target);
            bytes pieces;
            vcdiff_encoder encoder(base, pieces, scratch, options);
            for (bytes_view rest = target; !rest.empty();) {
                std::size_t const n = 1 + below(r, rest.size());
                encoder.write(rest.first(n));
                rest = rest.subspan(n);
            }
            encoder.finish();
            REQUIRE(pieces == whole);
        }
    }
}

TEST_CASE("golden: a delta that version 0.1 wrote is read for ever") {
    bytes const base = to_bytes("the quick brown fox jumps over the lazy dog");
    // magic, version, indicator; a source with a checksum: 43 bytes at 0; 23 bytes of window: target 56, not compressed,
    // data 5, codes 6, addresses 3, Adler-32; "cat -"; copy 16, add 3, copy 24, add 1, then a run as a copy of 19
    std::string const hex =
        "d6c3c40000"
        "052b00"
        "17"
        "38000506033d211221"
        "636174202d"
        "20041318031b"
        "001357";
    bytes delta;
    for (std::size_t i = 0; i < hex.size(); i += 2) {
        delta.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    }
    CHECK(as_text(decoded(base, delta)) == "the quick brown cat jumps over the lazy dog ------------");
}

TEST_CASE("the worst case takes hardly more than the target, and the same next to nothing") {
    random_generator r(22);
    bytes base(50'000);
    bytes target(50'000);
    fill(r, base);
    fill(r, target);
    for (delta_level const level : levels) {
        CHECK(encoded(base, target, {.level = level}).size() < target.size() + 64);
        CHECK(encoded(base, base, {.level = level}).size() < 30);
        CHECK(encoded({}, {}, {.level = level}).size() == 12);  // a header, and a window of nothing
        bytes const zeros(60'000);
        CHECK(encoded({}, zeros, {.level = level}).size() < 40);
        CHECK(decoded({}, encoded({}, zeros, {.level = level})) == zeros);
    }
}

namespace {

std::filesystem::path folder() {
    auto const out = std::filesystem::temp_directory_path() / ("syncline-vcdiff-" + std::to_string(std::rand()));
    std::filesystem::create_directories(out);
    return out;
}
void save(std::filesystem::path const& file, bytes_view b) {
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<char const*>(b.data()), static_cast<std::streamsize>(b.size()));
}
bytes load(std::filesystem::path const& file) {
    std::ifstream in(file, std::ios::binary);
    std::string const all{std::istreambuf_iterator<char>(in), {}};
    return to_bytes(all);
}
bool run(std::string const& command) { return std::system((command + " 2>/dev/null").c_str()) == 0; }

}  // namespace

TEST_CASE("xdelta3 reads what is written here, and is read") {
    if (!run("xdelta3 -V")) {
        WARN("SKIPPED: no xdelta3 on this machine");
        return;
    }
    std::srand(static_cast<unsigned>(std::hash<std::string>{}(std::filesystem::current_path().string())));
    auto const work = folder();
    auto const file = [&](char const* name) { return (work / name).string(); };
    random_generator r(23);
    for (unsigned i = 0; i < delta_tests::rounds(10); ++i) {
        auto [base, target] = delta_tests::pair(r, 60'000);
        if (base.empty()) { base = to_bytes("some base"); }
        save(file("base"), base);
        save(file("target"), target);
        for (bool const checksum : {false, true}) {
            save(file("delta"),
                 encoded(base, target, {.level = levels[i % 4], .checksum = checksum, .window = 20'000}));
            REQUIRE(run("xdelta3 -d -f -s " + file("base") + ' ' + file("delta") + ' ' + file("made")));
            REQUIRE(load(file("made")) == target);
            std::string const flags =
                std::string(checksum ? "" : "-n ") + (i % 2 == 0 ? "-9 " : "-1 ") + (i % 3 == 0 ? "" : "-A ");
            REQUIRE(run("xdelta3 -e -f -S none " + flags + "-W 16384 -s " + file("base") + ' ' + file("target") + ' ' +
                        file("delta")));
            bytes made;
            REQUIRE(vcdiff_decode(base, load(file("delta")), made));
            REQUIRE(made == target);
        }
    }
    // Secondary compression is told, not guessed at.
    bytes const text = delta_tests::stretch(r, 50'000);
    bytes noise(50'000);
    for (std::byte& b : noise) { b = static_cast<std::byte>('a' + below(r, 20)); }
    save(file("base"), text);
    save(file("target"), noise);
    if (run("xdelta3 -e -f -S djw -s " + file("base") + ' ' + file("target") + ' ' + file("delta"))) {
        bytes made;
        CHECK(vcdiff_decode(text, load(file("delta")), made).error() == errc::unsupported);
    }
    std::filesystem::remove_all(work);
}
