// SPDX-License-Identifier: BSL-1.0
#include <syncline/adapters/file_chunks.hpp>

#include <filesystem>
#include <fstream>
#include <string>

#include <syncline/testing/chunk_store_conformance.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

std::filesystem::path empty_folder() {
    auto const folder = std::filesystem::temp_directory_path() / "syncline_file_chunks_test";
    std::filesystem::remove_all(folder);
    return folder;
}

}  // namespace

TEST_CASE("file chunks: files are a chunk store", "[adapters]") {
    auto const folder = empty_folder();
    auto const broken = testing::check_chunk_store(
        [&](auto&& use) {
            file_chunks chunks(folder);
            use(chunks);
        },
        1, 3);
    CHECK(testing::to_text(broken) == "");
    std::filesystem::remove_all(folder);
}

TEST_CASE("file chunks: what a crash left half written is no chunk, and goes; other files are left alone",
          "[adapters]") {
    auto const folder = empty_folder();
    auto const id = sha256(as_bytes("chunk"));
    std::string const name = to_hex(id);
    auto const sub = folder / name.substr(0, 2);
    {
        file_chunks chunks(folder);
        REQUIRE(chunks.put(id, as_bytes("chunk")));
        REQUIRE(chunks.flush());
        std::ofstream(sub / (name.substr(2) + ".new")) << "chu";
        std::ofstream(sub / "notes.txt") << "mine";
    }
    file_chunks chunks(folder);
    CHECK_FALSE(std::filesystem::exists(sub / (name.substr(2) + ".new")));
    CHECK(std::filesystem::exists(sub / "notes.txt"));
    std::size_t n = 0;
    REQUIRE(chunks.scan([&](sha256_digest const& found) {
        CHECK(found == id);
        return ++n != 0;
    }));
    CHECK(n == 1);
    // A file that was cut short is written again.
    std::ofstream(sub / name.substr(2)) << "ch";
    bytes out;
    REQUIRE(chunks.put(id, as_bytes("chunk")));
    CHECK(*chunks.get(id, out));
    CHECK(as_text(out) == "chunk");
    // A folder where the file should be.
    auto const other = sha256(as_bytes("other"));
    std::filesystem::create_directories(folder / to_hex(other).substr(0, 2) / to_hex(other).substr(2) / "x");
    CHECK(chunks.put(other, as_bytes("other")).error() == errc::storage_io);
    std::filesystem::remove_all(folder);
}
