// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Changes CBOR as a tree: what comes out is canonical mostly, and differs from what went in by a number, an item, an
/// order. Bits and bytes alone seldom get past the first check.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include <syncline/core/random.hpp>

#include "fuzz_targets/cbor_model.hpp"
#include "fuzz_targets/target.hpp"

namespace fuzz {

inline void collect_nodes(cbor_model::node& n, std::vector<cbor_model::node*>& out) {
    out.push_back(&n);
    for (cbor_model::node& c : n.children) { collect_nodes(c, out); }
}

/// One change somewhere in the tree; false when there was nothing to change where it looked.
inline bool change_tree(cbor_model::node& root, syncline::random_generator& g, int nesting = 2) {
    using cbor_model::node;
    using syncline::below;
    std::vector<node*> all;
    collect_nodes(root, all);
    node& n = *all[static_cast<std::size_t>(below(g, all.size()))];
    node const other = *all[static_cast<std::size_t>(below(g, all.size()))];
    if (below(g, 8) == 0) {
        n = below(g, 2) == 0 ? other : cbor_model::random_node(g, 2);
        return true;
    }
    switch (n.major) {
        case 0:
        case 1:
            switch (below(g, 4)) {
                case 0: n.number += 1; break;
                case 1: n.number -= 1; break;
                case 2: n.number = other.major <= 1 ? other.number : other.string.size(); break;
                default: n.number = cbor_model::random_number(g); break;
            }
            return true;
        case 2: {
            cbor_model::parser inner(syncline::as_bytes(n.string));
            auto tree = inner.item();
            if (nesting > 0 && tree && inner.at_end() && below(g, 8) != 0) {
                cbor_model::verdict ignored = cbor_model::verdict::fine;
                bool const changed = change_tree(*tree, g, nesting - 1);
                n.string = cbor_model::canonical(*tree, ignored);
                return changed;
            }
            n.string = syncline::as_text(cbor_model::mutate(n.string, g));
            return true;
        }
        case 3:
            if (below(g, 2) == 0) {
                n.string = cbor_model::random_text(g);
            } else {
                n.string = syncline::as_text(cbor_model::mutate(n.string, g));
            }
            return true;
        case 4:
        case 5: {
            std::size_t const step = n.major == 5 ? 2 : 1;
            std::size_t const count = n.children.size() / step;
            auto const at = n.children.begin() + static_cast<std::ptrdiff_t>(step * below(g, count + 1));
            auto const width = static_cast<std::ptrdiff_t>(step);
            switch (below(g, 3)) {
                case 0:
                    if (at == n.children.end()) { return false; }
                    n.children.erase(at, at + width);
                    return true;
                case 1: {
                    if (at == n.children.end()) { return false; }
                    std::vector<node> const copy(at, at + width);
                    auto const to = n.children.begin() + static_cast<std::ptrdiff_t>(step * below(g, count + 1));
                    n.children.insert(to, copy.begin(), copy.end());
                    return true;
                }
                default: {
                    std::vector<node> made;
                    for (std::size_t i = 0; i < step; ++i) { made.push_back(cbor_model::random_node(g, 1)); }
                    n.children.insert(at, made.begin(), made.end());
                    return true;
                }
            }
        }
        default: n = cbor_model::random_node(g, 0); return true;
    }
}

/// Changes an input of `Prefix` bytes of choices and a CBOR item.
template <std::size_t Prefix>
std::size_t mutate_cbor(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed) {
    syncline::random_generator g(seed);
    if (size < Prefix || syncline::below(g, 6) == 0) { return LLVMFuzzerMutate(data, size, size_max); }
    if (Prefix != 0 && syncline::below(g, 10) == 0) {
        data[syncline::below(g, Prefix)] = static_cast<std::uint8_t>(g());
        return size;
    }
    cbor_model::parser in({reinterpret_cast<std::byte const*>(data) + Prefix, size - Prefix});
    auto tree = in.item();
    if (!tree || tree->major < 0 || !in.at_end()) { return LLVMFuzzerMutate(data, size, size_max); }
    for (std::uint64_t i = 1 + syncline::below(g, 3); i != 0; --i) { static_cast<void>(change_tree(*tree, g)); }
    cbor_model::verdict ignored = cbor_model::verdict::fine;
    std::string const out = cbor_model::canonical(*tree, ignored);
    if (out.size() + Prefix > size_max) { return LLVMFuzzerMutate(data, size, size_max); }
    std::memcpy(data + Prefix, out.data(), out.size());
    return Prefix + out.size();
}

}  // namespace fuzz
