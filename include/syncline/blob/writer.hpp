// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `blob_writer`: takes in content that is too large for memory, piece by piece.

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include <syncline/blob/blob_book.hpp>
#include <syncline/blob/chunk_store.hpp>
#include <syncline/blob/chunker.hpp>
#include <syncline/blob/manifest.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/checked.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Writes one blob as its content comes: a download of the host's, a camera, a file of 2 GB.
///
/// `write()` each piece, of any length, in as many transactions as there shall be; then `finish()`. What it makes is what
/// `blob_book::store` makes of the whole. Until then the chunks are a draft of `owner`, which nothing collects; a program
/// that begins calls `blob_book::discard_drafts`, as a writer does not outlive its program. One draft an owner.
/// After an error, and when a transaction in which it wrote was rolled back, it is of no use any more: `finish` refuses.
/// Discard the draft and begin anew; chunks that are here are not written again.
/// Memory: at most three times `chunk_options::max`, and 40 bytes a chunk.
template <hasher H = sha256_hasher>
    requires std::same_as<typename H::digest_type, sha256_digest>
class blob_writer {
public:
    /// Preconditions: the options are valid; the book outlives it. `fresh` is an unused hasher.
    blob_writer(blob_book const& book, bytes_view owner, std::string_view type, chunk_options const& options = {},
                H fresh = {})
        : book_(&book), owner_(to_bytes(owner)), options_(options), fresh_(std::move(fresh)) {
        SYNCLINE_ASSERT(valid(options));
        manifest_.type = type;
    }

    /// The content goes on with `piece`. Flushes the store when it put something.
    /// Errors: `invalid` (owner; an error before), `limit` (larger than the book's limits), `unsupported` (the hasher
    /// failed: its digest is all zero), those of storage and store.
    /// Cost: the hash; a put for each new chunk; what doesn't fill a chunk is copied.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] status write(Tx& tx, Chunks& chunks, bytes_view piece) {
        if (failed_) { return failure{errc::invalid, "writer that failed before"}; }
        status done = take(tx, chunks, piece);
        if (done && put_) { done = chunks.flush(); }
        put_ = false;
        failed_ = !done;
        return done;
    }
    /// The content's end: the blob is known from now on, and `owner` its owner; the draft is over. The writer may not be
    /// used any more. Errors: as `write`; `invalid` when a transaction in which it wrote was rolled back.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<blob_ref> finish(Tx& tx, Chunks& chunks) {
        if (failed_) { return failure{errc::invalid, "writer that failed before"}; }
        failed_ = true;
        for (bytes_view rest = held_; !rest.empty();) {
            auto const n = cut(tx, chunks, rest);
            if (!n) { return n.error(); }
            rest = rest.subspan(*n);
        }
        held_.clear();
        if (auto done = chunks.flush(); !done) { return done.error(); }
        auto const missing = book_->missing(tx, manifest_);
        if (!missing) { return missing.error(); }
        if (!missing->empty()) { return failure{errc::invalid, "a write was rolled back"}; }
        auto const b = book_->expect(tx, manifest_, owner_);
        if (!b) { return b; }
        if (auto done = book_->discard_drafts(tx, owner_); !done) { return done.error(); }
        return b;
    }

    /// Bytes that were taken.
    [[nodiscard]] std::uint64_t size() const noexcept { return cut_ + held_.size(); }
    /// Bytes of content that it has room for in memory.
    [[nodiscard]] std::size_t bytes_held() const noexcept { return held_.capacity(); }

private:
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] status take(Tx& tx, Chunks& chunks, bytes_view piece) {
        auto const& limits = book_->limits();
        if (piece.size() > limits.bytes_max - (std::min)(limits.bytes_max, size())) {
            return failure{errc::limit, "size of a blob"};
        }
        while (!piece.empty()) {
            // Where a chunk is in the piece whole, it is cut there.
            if (held_.empty() && piece.size() >= options_.max) {
                auto const n = cut(tx, chunks, piece);
                if (!n) { return n.error(); }
                piece = piece.subspan(*n);
                continue;
            }
            held_.reserve(2 * options_.max);
            std::size_t const more = (std::min)(piece.size(), 2 * options_.max - held_.size());
            append(held_, piece.first(more));
            bytes_view rest = held_;
            while (rest.size() >= options_.max) {
                auto const n = cut(tx, chunks, rest);
                if (!n) { return n.error(); }
                rest = rest.subspan(*n);
            }
            bool const all_of_piece = rest.size() <= more && more < piece.size();
            if (all_of_piece) {
                // What is left is the piece's own: it goes on there.
                piece = piece.subspan(more - rest.size());
                held_.clear();
            } else {
                piece = piece.subspan(more);
                held_.erase(held_.begin(), held_.end() - static_cast<std::ptrdiff_t>(rest.size()));
            }
        }
        return {};
    }
    /// Cuts one chunk off; its length. Precondition: `in` is all that is left, or at least `max` bytes.
    template <storage_transaction Tx, chunk_store Chunks>
    [[nodiscard]] result<std::size_t> cut(Tx& tx, Chunks& chunks, bytes_view in) {
        bytes_view const chunk = in.first(next_chunk(in, options_));
        if (manifest_.chunks.size() == book_->limits().chunks_max || chunk.size() > book_->limits().chunk_bytes_max) {
            return failure{errc::limit, "chunks of a blob"};
        }
        H hash = fresh_;
        hash.update(chunk);
        sha256_digest const id = hash.finish();
        if (id == sha256_digest{}) { return failure{errc::unsupported, "hash that could not be made"}; }
        if (auto done = book_->draft(tx, chunks, owner_, id, chunk); !done) { return done.error(); }
        put_ = true;
        manifest_.chunks.push_back({id, chunk.size()});
        cut_ += chunk.size();
        return chunk.size();
    }

    blob_book const* book_;
    bytes owner_;
    chunk_options options_;
    H fresh_;
    blob_manifest manifest_{};
    bytes held_{};
    std::uint64_t cut_ = 0;  ///< bytes of the chunks so far
    bool put_ = false;
    bool failed_ = false;
};

}  // namespace syncline::inline SYNCLINE_ABI
