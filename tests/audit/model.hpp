// SPDX-License-Identifier: BSL-1.0
#pragma once

// The Merkle tree as RFC 9162 defines it, by recursion over lists; and what the tests of this folder share.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/merkle.hpp>
#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace audit_tests {

namespace sl = syncline;
using sl::bytes;
using sl::bytes_view;
using sl::errc;
using sl::sha256_digest;
using sl::sha256_function;

inline bytes from_hex(std::string_view hex) {
    bytes out;
    auto const digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
    for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
        out.push_back(static_cast<std::byte>(digit(hex[i]) << 4 | digit(hex[i + 1])));
    }
    return out;
}
inline sha256_digest digest(std::string_view hex) {
    bytes const b = from_hex(hex);
    REQUIRE(b.size() == 32);
    sha256_digest d;
    std::copy(b.begin(), b.end(), d.begin());
    return d;
}

/// MTH, PATH and PROOF as §2.1 of RFC 9162 says them. Each subtree is hashed once.
class naive_tree {
public:
    void push(bytes data) { leaves_.push_back(std::move(data)); }
    std::size_t size() const { return leaves_.size(); }

    sha256_digest root(std::size_t n) { return n == 0 ? sl::sha256({}) : mth(0, n); }
    sha256_digest leaf(std::size_t i) { return mth(i, i + 1); }
    /// The complete tree over [index << level, (index + 1) << level).
    sl::result<sha256_digest> node(unsigned level, std::uint64_t index) {
        auto const begin = static_cast<std::size_t>(index << level);
        std::size_t const end = begin + (std::size_t{1} << level);
        if (end > leaves_.size()) { return errc::not_found; }
        return mth(begin, end);
    }
    std::vector<sha256_digest> path(std::size_t m, std::size_t n) { return path(m, 0, n); }
    std::vector<sha256_digest> proof(std::size_t m, std::size_t n) { return subproof(m, 0, n, true); }

private:
    static std::size_t split(std::size_t n) {
        std::size_t k = 1;
        while (2 * k < n) { k *= 2; }
        return k;
    }
    sha256_digest mth(std::size_t begin, std::size_t n) {  // of leaves [begin, n)
        auto const known = known_.find({begin, n});
        if (known != known_.end()) { return known->second; }
        bytes in;
        if (n - begin == 1) {
            in.push_back(std::byte{0});
            sl::append(in, leaves_[begin]);
        } else {
            std::size_t const k = split(n - begin);
            in.push_back(std::byte{1});
            sl::append(in, mth(begin, begin + k));
            sl::append(in, mth(begin + k, n));
        }
        return known_[{begin, n}] = sl::sha256(in);
    }
    std::vector<sha256_digest> path(std::size_t m, std::size_t begin, std::size_t n) {
        if (n - begin == 1) { return {}; }
        std::size_t const k = split(n - begin);
        bool const left = m < k;
        auto out = left ? path(m, begin, begin + k) : path(m - k, begin + k, n);
        out.push_back(left ? mth(begin + k, n) : mth(begin, begin + k));
        return out;
    }
    std::vector<sha256_digest> subproof(std::size_t m, std::size_t begin, std::size_t n, bool whole) {
        if (m == n - begin) { return whole ? std::vector<sha256_digest>{} : std::vector<sha256_digest>{mth(begin, n)}; }
        std::size_t const k = split(n - begin);
        if (m <= k) {
            auto out = subproof(m, begin, begin + k, whole);
            out.push_back(mth(begin + k, n));
            return out;
        }
        auto out = subproof(m - k, begin + k, n, false);
        out.push_back(mth(begin, begin + k));
        return out;
    }

    std::vector<bytes> leaves_;
    std::map<std::pair<std::size_t, std::size_t>, sha256_digest> known_;
};

using raw_map = std::map<std::string, std::string>;
using transaction = sl::memory_storage::transaction;

inline transaction write(sl::memory_storage& s) {
    auto tx = s.begin(sl::access_mode::write);
    REQUIRE(tx);
    return std::move(*tx);
}
template <class Tx>
raw_map raw(Tx& tx) {
    raw_map out;
    REQUIRE(tx.scan({}, [&](bytes_view k, bytes_view v) {
        out.emplace(sl::as_text(k), sl::as_text(v));
        return true;
    }));
    return out;
}
inline bytes text(std::string_view s) {
    bytes out;
    sl::cbor_writer{out}.text(s);
    return out;
}
inline bytes number(std::int64_t n) {
    bytes out;
    sl::cbor_writer{out}.integer(n);
    return out;
}

}  // namespace audit_tests
