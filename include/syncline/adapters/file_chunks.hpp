// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `file_chunks`: a chunk store of files, one a chunk, named by their SHA-256.

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
    #include <fcntl.h>
    #include <unistd.h>
#endif

#include <syncline/blob/chunk_store.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Models `chunk_store` over a folder: `ab/cdef…`, 256 folders by the first byte. It takes part in no transaction.
///
/// A chunk is written beside its place, synchronised, and renamed: it is there whole or not at all, whatever moment a
/// crash comes at. `flush` makes the new names durable, where the system has folders that can be synchronised. What a
/// crash left beside its place ends in ".new" and is removed when the store is opened. One object writes at a time.
/// Errors: `storage_full` (no room, quota), `storage_io` with errno as `native`.
class file_chunks {
public:
    /// Creates the folder if need be, and those that it lies in; where that fails, the first `put` says so.
    explicit file_chunks(std::filesystem::path folder) : folder_(std::move(folder)) {
        std::error_code error;
        // What is new has its name in the folder above, which the first `flush` makes durable.
        for (std::filesystem::path at = std::filesystem::absolute(folder_, error);
             !at.empty() && at != at.parent_path() && !std::filesystem::exists(at, error); at = at.parent_path()) {
            touched_.push_back(at.parent_path());
        }
        std::filesystem::create_directories(folder_, error);
        for (auto const& sub : entries(folder_)) {
            for (auto const& file : entries(sub)) {
                if (file.extension() == ".new") { std::filesystem::remove(file, error); }
            }
        }
    }

    [[nodiscard]] status put(sha256_digest const& id, bytes_view chunk) {
        std::filesystem::path const place = path_of(id);
        std::error_code error;
        std::filesystem::create_directories(place.parent_path(), error);
        if (error) { return failed(error); }
        std::filesystem::path beside = place;
        beside += ".new";
        if (auto s = write(beside, chunk); !s) {
            std::error_code ignored;
            std::filesystem::remove(beside, ignored);
            return s;
        }
        std::filesystem::rename(beside, place, error);
        if (error) { return failed(error); }
        touched_.push_back(place.parent_path());
        return {};
    }
    [[nodiscard]] result<bool> get(sha256_digest const& id, bytes& out) {
        out.clear();
        std::filesystem::path const place = path_of(id);
        std::error_code error;
        auto const size = std::filesystem::file_size(place, error);
        if (error == std::errc::no_such_file_or_directory) { return false; }
        if (error) { return failed(error).error(); }
        std::FILE* const file = std::fopen(place.string().c_str(), "rb");
        if (file == nullptr) { return failure{errc::storage_io, "chunk can't be opened", errno}; }
        out.resize(static_cast<std::size_t>(size));
        std::size_t const got = out.empty() ? 0 : std::fread(out.data(), 1, out.size(), file);
        std::fclose(file);
        if (got != out.size()) {
            out.clear();
            return failure{errc::storage_io, "chunk can't be read"};
        }
        return true;
    }
    [[nodiscard]] status erase(sha256_digest const& id) {
        std::error_code error;
        std::filesystem::remove(path_of(id), error);
        if (error && error != std::errc::no_such_file_or_directory) { return failed(error); }
        return {};
    }
    [[nodiscard]] status scan(chunk_visitor visit) {
        for (auto const& sub : entries(folder_)) {
            for (auto const& file : entries(sub)) {
                sha256_digest id;
                if (!parse(sub.filename().string() + file.filename().string(), id)) { continue; }
                if (!visit(id)) { return {}; }
            }
        }
        return {};
    }
    [[nodiscard]] status flush() {
        for (auto const& folder : touched_) {
            if (auto s = synchronise_folder(folder); !s) { return s; }
        }
        if (!touched_.empty()) {
            if (auto s = synchronise_folder(folder_); !s) { return s; }
        }
        touched_.clear();
        return {};
    }

private:
    [[nodiscard]] std::filesystem::path path_of(sha256_digest const& id) const {
        std::string const name = to_hex(id);
        return folder_ / name.substr(0, 2) / name.substr(2);
    }
    [[nodiscard]] static bool parse(std::string_view name, sha256_digest& id) noexcept {
        if (name.size() != 64) { return false; }
        for (std::size_t i = 0; i < name.size(); ++i) {
            char const c = name[i];
            int const digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
            if (digit < 0) { return false; }
            id[i / 2] = (id[i / 2] << 4) | static_cast<std::byte>(digit);
        }
        return true;
    }
    [[nodiscard]] static std::vector<std::filesystem::path> entries(std::filesystem::path const& folder) {
        std::vector<std::filesystem::path> out;
        std::error_code error;
        std::filesystem::directory_iterator at(folder, error);
        for (; !error && at != std::filesystem::directory_iterator{}; at.increment(error)) {
            out.push_back(at->path());
        }
        return out;
    }
    [[nodiscard]] static status failed(std::error_code const& error) noexcept {
        bool const full = error == std::errc::no_space_on_device || error == std::errc::file_too_large;
        return failure{full ? errc::storage_full : errc::storage_io, "file of a chunk", error.value()};
    }
    [[nodiscard]] static status write(std::filesystem::path const& to, bytes_view chunk) {
        std::FILE* const file = std::fopen(to.string().c_str(), "wb");
        if (file == nullptr) { return failed({errno, std::generic_category()}); }
        bool good = chunk.empty() || std::fwrite(chunk.data(), 1, chunk.size(), file) == chunk.size();
        good = good && std::fflush(file) == 0;
#if defined(__unix__) || defined(__APPLE__)
        good = good && ::fsync(::fileno(file)) == 0;
#endif
        int const why = errno;
        good = std::fclose(file) == 0 && good;
        return good ? status{} : failed({why, std::generic_category()});
    }
    [[nodiscard]] static status synchronise_folder([[maybe_unused]] std::filesystem::path const& folder) {
#if defined(__unix__) || defined(__APPLE__)
        int const handle = ::open(folder.c_str(), O_RDONLY);
        if (handle < 0) { return failed({errno, std::generic_category()}); }
        int const done = ::fsync(handle);
        int const why = errno;
        ::close(handle);
        if (done != 0) { return failed({why, std::generic_category()}); }
#endif
        return {};
    }

    std::filesystem::path folder_;
    std::vector<std::filesystem::path> touched_{};
};

static_assert(chunk_store<file_chunks>);

}  // namespace syncline::inline SYNCLINE_ABI
