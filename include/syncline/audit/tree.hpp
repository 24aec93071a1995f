// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The Merkle tree over a storage: sixteen leaves are a tile, full tiles are rows, the rest is a state of a kilobyte.

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/merkle.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Four levels of the tree are a tile: sixteen hashes at its bottom, then the eight, four and two above them. The one
/// at its top stands at the bottom of the tile above.
inline constexpr unsigned merkle_tile_levels = 4;
inline constexpr std::size_t merkle_tile_width = 16;
inline constexpr std::size_t merkle_tile_nodes = 30;
inline constexpr std::size_t merkle_tile_bytes = merkle_tile_nodes * 32;

/// Where the nodes of a level begin in a tile's row.
[[nodiscard]] constexpr std::size_t merkle_tile_offset(unsigned level_in_tile) noexcept {
    return 2 * merkle_tile_width - (2 * merkle_tile_width >> level_in_tile);
}
static_assert(merkle_tile_offset(0) == 0 && merkle_tile_offset(1) == 16 && merkle_tile_offset(2) == 24 &&
              merkle_tile_offset(3) == 28);

/// A tree that was opened in a transaction: its size and what stands in tiles that are not full.
///
/// A value that refers to no transaction; whoever appends stores `encode` of it in the same transaction.
/// Cost of an append: amortised one node hash and a sixteenth of a put and 64 bytes; of a proof: a get for each four
/// levels, hashes only at the right edge.
class merkle_tree {
public:
    merkle_tree() = default;

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }

    /// Appends two items: the size, and the hashes of the unfinished tiles as one byte string, the highest tile first.
    template <class Writer>
    void encode(Writer& out) const {
        out.unsigned_integer(size_);
        bytes_view const open{reinterpret_cast<std::byte const*>(open_.data()), open_.size() * 32};
        out.byte_string(open);
    }
    /// An upper bound of the bytes that `encode` appends.
    [[nodiscard]] std::size_t encoded_bytes_max() const noexcept { return 32 + open_.size() * 32; }
    /// Reads what `encode` wrote. On anything else the reader has failed.
    [[nodiscard]] static merkle_tree decode(cbor_reader& in) {
        merkle_tree t;
        t.size_ = in.unsigned_integer();
        bytes_view const open = in.byte_string();
        if (in.failed()) { return t; }
        if (t.size_ > leaves_max || open.size() != 32 * open_count(t.size_)) {
            in.fail({errc::malformed, "tree of another size"});
            return t;
        }
        t.open_.reserve(open.size() / 32 + 1);  // and the next leaf
        t.open_.resize(open.size() / 32);
        if (!open.empty()) { std::memcpy(t.open_.data(), open.data(), open.size()); }
        return t;
    }

    /// Appends a leaf by its hash; a tile that it fills is put under `prefix`. Errors: those of the storage; then this
    /// and the transaction are to be dropped. `errc::overflow` at 2^63 leaves.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] status add(Tx& tx, std::string_view prefix, H const& hash, sha256_digest const& leaf) {
        if (size_ >= leaves_max) { return errc::overflow; }
        ++size_;
        open_.push_back(leaf);
        std::uint64_t full = size_;
        for (unsigned height = 0; full % merkle_tile_width == 0; ++height) {
            full /= merkle_tile_width;
            std::array<sha256_digest, merkle_tile_nodes + 1> nodes;
            std::size_t const first = open_.size() - merkle_tile_width;
            std::memcpy(nodes.data(), open_.data() + first, merkle_tile_width * 32);
            fill(hash, nodes);
            open_.resize(first);
            open_.push_back(nodes[merkle_tile_nodes]);
            bytes_view const row{reinterpret_cast<std::byte const*>(nodes.data()), merkle_tile_bytes};
            if (auto s = tx.put(tile_key(prefix, height, full - 1), row); !s) { return s; }
        }
        return {};
    }

    /// The root of the tree as it was at a size. Precondition: at <= size(). Errors: those of the storage, `errc::corrupt` for a tile that isn't there or is none.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] result<sha256_digest> root(Tx& tx, std::string_view prefix, H const& hash, std::uint64_t at) const {
        SYNCLINE_ASSERT(at <= size_);
        if (at == 0) { return merkle_empty(hash); }
        reader<H, Tx> nodes{*this, tx, prefix, hash};
        return merkle_range_root(hash, 0, at, nodes);
    }
    /// Precondition: index < at <= size(). Errors as of `root`.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] result<inclusion_proof> prove_inclusion(Tx& tx, std::string_view prefix, H const& hash,
                                                          std::uint64_t index, std::uint64_t at) const {
        SYNCLINE_ASSERT(index < at && at <= size_);
        reader<H, Tx> nodes{*this, tx, prefix, hash};
        return make_inclusion_proof(hash, index, at, nodes);
    }
    /// Precondition: first <= second <= size(). Errors as of `root`.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] result<consistency_proof> prove_consistency(Tx& tx, std::string_view prefix, H const& hash,
                                                              std::uint64_t first, std::uint64_t second) const {
        SYNCLINE_ASSERT(first <= second && second <= size_);
        reader<H, Tx> nodes{*this, tx, prefix, hash};
        return make_consistency_proof(hash, first, second, nodes);
    }
    /// The frontier of the first `at` leaves. Precondition and errors as of `root`.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] result<merkle_frontier> frontier(Tx& tx, std::string_view prefix, H const& hash,
                                                   std::uint64_t at) const {
        SYNCLINE_ASSERT(at <= size_);
        reader<H, Tx> nodes{*this, tx, prefix, hash};
        std::vector<sha256_digest> found;
        std::uint64_t begin = 0;
        for (std::uint64_t rest = at; rest != 0;) {
            auto const level = static_cast<unsigned>(std::bit_width(rest)) - 1;
            auto const one = nodes(level, begin >> level);
            if (!one) { return one.error(); }
            found.push_back(*one);
            begin += std::uint64_t{1} << level;
            rest -= std::uint64_t{1} << level;
        }
        return merkle_frontier::from(at, std::move(found));
    }
    /// The hash of one leaf. Precondition: index < size(). Errors as of `root`.
    template <digest_function H, storage_transaction Tx>
    [[nodiscard]] result<sha256_digest> leaf(Tx& tx, std::string_view prefix, H const& hash,
                                             std::uint64_t index) const {
        SYNCLINE_ASSERT(index < size_);
        reader<H, Tx> nodes{*this, tx, prefix, hash};
        return nodes(0, index);
    }

    /// The key of a full tile: prefix, height of the tile, its index among those of that height.
    [[nodiscard]] static bytes tile_key(std::string_view prefix, unsigned height, std::uint64_t index) {
        bytes key;
        key.reserve(prefix.size() + 9);
        append(key, as_bytes(prefix));
        key.push_back(static_cast<std::byte>(height));
        append_u64(key, index);
        return key;
    }
    /// Makes the upper levels of a tile from its bottom; the last of the array is the tile's root.
    template <digest_function H>
    static void fill(H const& hash, std::array<sha256_digest, merkle_tile_nodes + 1>& nodes) noexcept {
        std::size_t from = 0;
        for (std::size_t to = merkle_tile_width; to <= merkle_tile_nodes; ++to, from += 2) {
            nodes[to] = merkle_node(hash, nodes[from], nodes[from + 1]);
        }
    }
    /// The hashes at the bottom of the unfinished tile of a height.
    [[nodiscard]] std::span<sha256_digest const> unfinished(unsigned height) const noexcept {
        if (height >= 16) { return {}; }
        std::size_t const below = open_count(size_ & ((std::uint64_t{1} << (4 * height)) - 1));
        auto const mine = static_cast<std::size_t>((size_ >> (4 * height)) % merkle_tile_width);
        return std::span<sha256_digest const>{open_}.subspan(open_.size() - below - mine, mine);
    }

    friend bool operator==(merkle_tree const&, merkle_tree const&) = default;

private:
    static constexpr std::uint64_t leaves_max = std::uint64_t{1} << 63;

    /// How many hashes stand in unfinished tiles: the sum of the hexadecimal digits of the size.
    [[nodiscard]] static constexpr std::size_t open_count(std::uint64_t size) noexcept {
        std::size_t n = 0;
        for (; size != 0; size /= merkle_tile_width) { n += static_cast<std::size_t>(size % merkle_tile_width); }
        return n;
    }

    /// Gives the complete trees that are asked for; keeps the tile that it read last.
    template <digest_function H, storage_transaction Tx>
    class reader {
    public:
        reader(merkle_tree const& tree, Tx& tx, std::string_view prefix, H const& hash)
            : tree_(tree), tx_(tx), prefix_(prefix), hash_(hash) {}

        result<sha256_digest> operator()(unsigned level, std::uint64_t index) {
            unsigned const height = level / merkle_tile_levels;
            unsigned const up = level % merkle_tile_levels;
            std::uint64_t const tile = index >> (merkle_tile_levels - up);
            auto const at = static_cast<std::size_t>(index & ((merkle_tile_width >> up) - 1));
            std::uint64_t const full = tree_.size_ >> (merkle_tile_levels * height) >> merkle_tile_levels;
            if (tile >= full) { return open(height, up, at); }
            if (row_.empty() || height != height_ || tile != tile_) {
                auto const found = tx_.get(tile_key(prefix_, height, tile), row_);
                if (!found || !*found || row_.size() != merkle_tile_bytes) {
                    row_.clear();
                    if (!found) { return found.error(); }
                    return failure{errc::corrupt, "tile of the tree"};
                }
                height_ = height;
                tile_ = tile;
            }
            sha256_digest out;
            std::memcpy(out.data(), row_.data() + 32 * (merkle_tile_offset(up) + at), out.size());
            return out;
        }

    private:
        /// One that stands in an unfinished tile, of up to eight at its bottom.
        result<sha256_digest> open(unsigned height, unsigned up, std::size_t at) const {
            auto const bottom = tree_.unfinished(height);
            std::size_t const width = std::size_t{1} << up;
            SYNCLINE_ASSERT((at + 1) * width <= bottom.size());
            std::array<sha256_digest, merkle_tile_width / 2> nodes;
            for (std::size_t i = 0; i < width; ++i) { nodes[i] = bottom[at * width + i]; }
            for (std::size_t n = width; n > 1; n /= 2) {
                for (std::size_t i = 0; i < n / 2; ++i) {
                    nodes[i] = merkle_node(hash_, nodes[2 * i], nodes[2 * i + 1]);
                }
            }
            return nodes[0];
        }

        merkle_tree const& tree_;
        Tx& tx_;
        std::string_view prefix_;
        H const& hash_;
        bytes row_;
        unsigned height_ = 0;
        std::uint64_t tile_ = 0;
    };

    std::uint64_t size_ = 0;
    std::vector<sha256_digest> open_;  // unfinished tiles, the highest first
};

}  // namespace syncline::inline SYNCLINE_ABI
