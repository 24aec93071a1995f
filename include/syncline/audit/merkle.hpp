// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The Merkle tree of RFC 9162, without storage: hashes, inclusion and consistency proofs, and who verifies them.

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Hashes a whole message at once, to 32 bytes: the tree's hash.
///
/// Axioms (the compiler can't check them): equal bytes give equal digests; nobody finds two messages of one digest.
/// All who verify a tree use the function that made it. `sha256_function` is the one of RFC 9162; a host that has a
/// faster SHA-256 passes that (adapters/openssl_hash.hpp).
template <class H>
concept digest_function = std::copyable<H> && requires(H const& h, bytes_view b) {
    { h(b) }
    noexcept->std::same_as<sha256_digest>;
};

/// The SHA-256 of core/hash.hpp.
struct sha256_function {
    [[nodiscard]] sha256_digest operator()(bytes_view b) const noexcept { return sha256(b); }
};
static_assert(digest_function<sha256_function>);

/// What a leaf's and a node's input begin with, so that neither passes for the other. Source: RFC 9162 §2.1.1.
inline constexpr std::byte merkle_leaf_prefix{0};
inline constexpr std::byte merkle_node_prefix{1};

/// No proof has more hashes: a tree of 2^64 leaves is 64 high.
inline constexpr std::size_t merkle_path_max = 64;

/// The hash of a leaf that holds `data`. Cost: a hash, and a copy of `data`.
template <digest_function H>
[[nodiscard]] sha256_digest merkle_leaf(H const& hash, bytes_view data) {
    bytes whole;
    whole.reserve(data.size() + 1);
    whole.push_back(merkle_leaf_prefix);
    append(whole, data);
    return hash(whole);
}
/// The hash of the node over two others. Cost: a hash of 65 bytes.
template <digest_function H>
[[nodiscard]] sha256_digest merkle_node(H const& hash, sha256_digest const& left, sha256_digest const& right) noexcept {
    std::array<std::byte, 65> whole;
    whole[0] = merkle_node_prefix;
    std::memcpy(whole.data() + 1, left.data(), 32);
    std::memcpy(whole.data() + 33, right.data(), 32);
    return hash(whole);
}
/// The root of the tree without leaves.
template <digest_function H>
[[nodiscard]] sha256_digest merkle_empty(H const& hash) noexcept {
    return hash({});
}

/// The largest power of two that is less than `n`. Precondition: n > 1.
[[nodiscard]] constexpr std::uint64_t merkle_split(std::uint64_t n) noexcept {
    SYNCLINE_ASSERT(n > 1);
    return std::bit_floor(n - 1);
}

/// The roots of the complete trees that a tree of so many leaves is made of, the greatest first: as many as its size
/// has bits set. Enough to append and to know the root. A value.
class merkle_frontier {
public:
    merkle_frontier() = default;

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }
    [[nodiscard]] std::vector<sha256_digest> const& nodes() const noexcept { return nodes_; }

    /// The frontier of `size` leaves that was told; nothing when the number of nodes is another.
    [[nodiscard]] static result<merkle_frontier> from(std::uint64_t size, std::vector<sha256_digest> nodes) {
        if (nodes.size() != static_cast<std::size_t>(std::popcount(size))) {
            return failure{errc::malformed, "frontier of another size"};
        }
        merkle_frontier f;
        f.size_ = size;
        f.nodes_ = std::move(nodes);
        return f;
    }
    /// Appends a leaf by its hash. Cost: amortised one node hash.
    template <digest_function H>
    void add(H const& hash, sha256_digest const& leaf) {
        nodes_.push_back(leaf);
        for (std::uint64_t n = size_; (n & 1U) != 0; n >>= 1) {
            sha256_digest const right = nodes_.back();
            nodes_.pop_back();
            nodes_.back() = merkle_node(hash, nodes_.back(), right);
        }
        ++size_;
    }
    template <digest_function H>
    [[nodiscard]] sha256_digest root(H const& hash) const noexcept {
        if (nodes_.empty()) { return merkle_empty(hash); }
        sha256_digest r = nodes_.back();
        for (std::size_t i = nodes_.size() - 1; i-- > 0;) { r = merkle_node(hash, nodes_[i], r); }
        return r;
    }
    friend bool operator==(merkle_frontier const&, merkle_frontier const&) = default;

private:
    std::uint64_t size_ = 0;
    std::vector<sha256_digest> nodes_;
};

/// That a leaf stands at `index` in the tree of `size` leaves: the siblings on its way up, lowest first.
struct inclusion_proof {
    std::uint64_t index = 0;
    std::uint64_t size = 0;
    std::vector<sha256_digest> path{};
    friend bool operator==(inclusion_proof const&, inclusion_proof const&) = default;
};

/// That the tree of `first` leaves is the beginning of that of `second`.
struct consistency_proof {
    std::uint64_t first = 0;
    std::uint64_t second = 0;
    std::vector<sha256_digest> path{};
    friend bool operator==(consistency_proof const&, consistency_proof const&) = default;
};

// ---- Making proofs ---------------------------------------------------------------------------------------------

/// The root over the leaves [first, last), of which `node(level, index)` gives each complete tree: that over the leaves
/// [index << level, (index + 1) << level). Precondition: first < last, and the range is one that a proof asks for:
/// `first` is a multiple of the least power of two that isn't less than its length.
///
/// `node` answers `result<sha256_digest>`; its error is the answer.
template <digest_function H, class Node>
[[nodiscard]] result<sha256_digest> merkle_range_root(H const& hash, std::uint64_t first, std::uint64_t last,
                                                      Node&& node) {
    SYNCLINE_ASSERT(first < last);
    // Right to left: the smallest complete tree is at the right end.
    std::uint64_t rest = last - first;
    result<sha256_digest> root = errc::invalid;
    while (rest != 0) {
        auto const level = static_cast<unsigned>(std::countr_zero(rest));
        rest &= rest - 1;
        result<sha256_digest> const part = node(level, (first + rest) >> level);
        if (!part) { return part; }
        root = root ? merkle_node(hash, *part, *root) : *part;
    }
    return root;
}

/// The path of PATH(index, D[size]), RFC 9162 §2.1.3.1. Precondition: index < size. `node` as above.
template <digest_function H, class Node>
[[nodiscard]] result<inclusion_proof> make_inclusion_proof(H const& hash, std::uint64_t index, std::uint64_t size,
                                                           Node&& node) {
    SYNCLINE_ASSERT(index < size);
    inclusion_proof proof{index, size, {}};
    std::uint64_t begin = 0;
    std::uint64_t n = size;
    while (n > 1) {
        std::uint64_t const k = merkle_split(n);
        bool const left = index - begin < k;
        auto const sibling = left ? merkle_range_root(hash, begin + k, begin + n, node)
                                  : merkle_range_root(hash, begin, begin + k, node);
        if (!sibling) { return sibling.error(); }
        proof.path.push_back(*sibling);
        begin += left ? 0 : k;
        n = left ? k : n - k;
    }
    std::reverse(proof.path.begin(), proof.path.end());
    return proof;
}

/// The path of PROOF(first, D[second]), RFC 9162 §2.1.4.1; empty when both are the same, or `first` is 0.
/// Precondition: first <= second. `node` as above.
template <digest_function H, class Node>
[[nodiscard]] result<consistency_proof> make_consistency_proof(H const& hash, std::uint64_t first, std::uint64_t second,
                                                               Node&& node) {
    SYNCLINE_ASSERT(first <= second);
    consistency_proof proof{first, second, {}};
    if (first == 0) { return proof; }
    std::uint64_t begin = 0;
    std::uint64_t m = first;
    std::uint64_t n = second;
    bool known = true;  // whether the verifier has the root of what is left: it is the whole first tree
    while (m != n) {
        std::uint64_t const k = merkle_split(n);
        bool const left = m <= k;
        auto const other = left ? merkle_range_root(hash, begin + k, begin + n, node)
                                : merkle_range_root(hash, begin, begin + k, node);
        if (!other) { return other.error(); }
        proof.path.push_back(*other);
        if (left) {
            n = k;
        } else {
            begin += k;
            m -= k;
            n -= k;
            known = false;
        }
    }
    if (!known) {
        auto const last = merkle_range_root(hash, begin, begin + n, node);
        if (!last) { return last.error(); }
        proof.path.push_back(*last);
    }
    std::reverse(proof.path.begin(), proof.path.end());
    return proof;
}

// ---- Verifying -------------------------------------------------------------------------------------------------

/// Whether the leaf of this hash stands where the proof says in the tree of this root. The proof may be a stranger's.
/// Precondition: `proof.size` is the size that the root was told with, since the root doesn't say it, and a proof of
/// another size may lead to it from another index. With a head, `verify_inclusion` of head.hpp sees to that.
/// Cost: a node hash for each of the path. Source: RFC 9162 §2.1.3.2.
template <digest_function H>
[[nodiscard]] bool verify_inclusion(H const& hash, sha256_digest const& leaf, inclusion_proof const& proof,
                                    sha256_digest const& root) noexcept {
    if (proof.index >= proof.size) { return false; }
    std::uint64_t at = proof.index;
    std::uint64_t last = proof.size - 1;
    sha256_digest r = leaf;
    for (sha256_digest const& p : proof.path) {
        if (last == 0) { return false; }
        if ((at & 1U) != 0 || at == last) {
            r = merkle_node(hash, p, r);
            while ((at & 1U) == 0 && at != 0) {
                at >>= 1;
                last >>= 1;
            }
        } else {
            r = merkle_node(hash, r, p);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && r == root;
}

/// Whether the tree of the first root is the beginning of that of the second. The proof may be a stranger's, its sizes are
/// those that the roots were told with: `compare_heads` sees to that.
/// An empty tree is the beginning of each, by an empty path. Cost: two node hashes for each of the path.
/// Source: RFC 9162 §2.1.4.2.
template <digest_function H>
[[nodiscard]] bool verify_consistency(H const& hash, consistency_proof const& proof, sha256_digest const& first_root,
                                      sha256_digest const& second_root) noexcept {
    if (proof.first > proof.second) { return false; }
    if (proof.first == proof.second) { return proof.path.empty() && first_root == second_root; }
    if (proof.first == 0) { return proof.path.empty() && first_root == merkle_empty(hash); }
    std::size_t next = 0;
    sha256_digest seed = first_root;  // a complete first tree is itself the path's beginning
    if (!std::has_single_bit(proof.first)) {
        if (proof.path.empty()) { return false; }
        seed = proof.path[next++];
    }
    auto const skipped = static_cast<unsigned>(std::countr_one(proof.first - 1));
    std::uint64_t at = skipped == 64 ? 0 : (proof.first - 1) >> skipped;
    std::uint64_t last = skipped == 64 ? 0 : (proof.second - 1) >> skipped;
    sha256_digest one = seed;
    sha256_digest two = seed;
    for (; next < proof.path.size(); ++next) {
        sha256_digest const& c = proof.path[next];
        if (last == 0) { return false; }
        if ((at & 1U) != 0 || at == last) {
            one = merkle_node(hash, c, one);
            two = merkle_node(hash, c, two);
            while ((at & 1U) == 0 && at != 0) {
                at >>= 1;
                last >>= 1;
            }
        } else {
            two = merkle_node(hash, two, c);
        }
        at >>= 1;
        last >>= 1;
    }
    return last == 0 && one == first_root && two == second_root;
}

// ---- On the wire -----------------------------------------------------------------------------------------------

/// Reads a byte string of 32. On anything else the reader has failed.
[[nodiscard]] inline sha256_digest read_digest(cbor_reader& in) noexcept {
    sha256_digest out{};
    bytes_view const b = in.byte_string();
    if (in.failed()) { return out; }
    if (b.size() != out.size()) {
        in.fail({errc::malformed, "digest of the wrong length"});
    } else {
        std::memcpy(out.data(), b.data(), out.size());
    }
    return out;
}
/// Appends an array of byte strings of 32.
inline void write_path(cbor_writer& out, std::vector<sha256_digest> const& path) {
    out.array(path.size());
    for (sha256_digest const& d : path) { out.byte_string(d); }
}
/// Reads what `write_path` wrote, at most `merkle_path_max` of them. On anything else the reader has failed.
[[nodiscard]] inline std::vector<sha256_digest> read_path(cbor_reader& in) {
    std::vector<sha256_digest> path;
    std::size_t const n = in.array();
    if (n > merkle_path_max) {
        in.fail({errc::malformed, "path longer than any"});
        return path;
    }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) { path.push_back(read_digest(in)); }
    return path;
}

/// An array: index, size, path. That of consistency: first, second, path.
[[nodiscard]] inline bytes encode(inclusion_proof const& p) {
    bytes out;
    cbor_writer w{out};
    w.array(3);
    w.unsigned_integer(p.index);
    w.unsigned_integer(p.size);
    write_path(w, p.path);
    return out;
}
[[nodiscard]] inline bytes encode(consistency_proof const& p) {
    return encode(inclusion_proof{p.first, p.second, p.path});
}
/// Reads a stranger's. Errors: those of `cbor_reader`; `errc::malformed` for lengths and for an index that isn't in
/// the tree, or a first tree that isn't the lesser.
[[nodiscard]] inline result<inclusion_proof> decode_inclusion_proof(bytes_view in) {
    cbor_reader r{in};
    inclusion_proof p;
    if (r.array() != 3) { r.fail({errc::malformed, "proof of the wrong length"}); }
    p.index = r.unsigned_integer();
    p.size = r.unsigned_integer();
    p.path = read_path(r);
    if (!r.failed() && p.index >= p.size) { r.fail({errc::malformed, "leaf outside its tree"}); }
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    return p;
}
[[nodiscard]] inline result<consistency_proof> decode_consistency_proof(bytes_view in) {
    cbor_reader r{in};
    consistency_proof p;
    if (r.array() != 3) { r.fail({errc::malformed, "proof of the wrong length"}); }
    p.first = r.unsigned_integer();
    p.second = r.unsigned_integer();
    p.path = read_path(r);
    if (!r.failed() && p.first > p.second) { r.fail({errc::malformed, "first tree greater than the second"}); }
    if (auto const ok = r.finish(); !ok) { return ok.error(); }
    return p;
}

}  // namespace syncline::inline SYNCLINE_ABI
