// SPDX-License-Identifier: BSL-1.0
#pragma once

/// CBOR done the naive way, straight from RFC 8949: a tree, recursion, and no care for speed. What the library's
/// decoders are compared with. It also makes random trees and writes them in any of their many forms.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/random.hpp>

namespace cbor_model {

struct node {
    int major = 0;
    std::uint64_t number = 0;  // argument; of a simple value which one
    bool floating = false;
    double real = 0;
    std::string string{};
    std::vector<node> children{};  // of a map: key, value, key, value
};

enum class verdict { fine, malformed, invalid, unsupported };

// --- parsing, appendix C --------------------------------------------------------------------------------------------

class parser {
public:
    explicit parser(syncline::bytes_view in) : in_(in) {}

    /// Nothing when not well-formed. The break code is a node of major type -1.
    std::optional<node> item(bool may_break = false) {
        if (at_ >= in_.size()) { return std::nullopt; }
        unsigned const initial = std::to_integer<unsigned>(in_[at_++]);
        node n;
        n.major = static_cast<int>(initial >> 5);
        unsigned const info = initial & 31;
        if (info >= 28 && info <= 30) { return std::nullopt; }
        if (info < 24) { n.number = info; }
        if (info >= 24 && info <= 27) {
            for (unsigned i = 0; i < (1U << (info - 24)); ++i) {
                if (at_ >= in_.size()) { return std::nullopt; }
                n.number = n.number * 256 + std::to_integer<std::uint64_t>(in_[at_++]);
            }
        }
        bool const indefinite = info == 31;
        switch (n.major) {
            case 0:
            case 1: return indefinite ? std::nullopt : std::optional(n);
            case 2:
            case 3:
                if (!indefinite) {
                    if (n.number > in_.size() - at_) { return std::nullopt; }
                    n.string = syncline::as_text(in_.subspan(at_, static_cast<std::size_t>(n.number)));
                    at_ += n.string.size();
                    bad_text_ = bad_text_ || (n.major == 3 && !utf8(n.string));
                    return n;
                }
                for (;;) {
                    bool const definite = at_ < in_.size() && (std::to_integer<unsigned>(in_[at_]) & 31) != 31;
                    auto const piece = item(true);
                    if (!piece) { return std::nullopt; }
                    if (piece->major == -1) { return n; }
                    if (piece->major != n.major || !definite) { return std::nullopt; }
                    n.string += piece->string;
                }
            case 4:
            case 5: {
                std::uint64_t const per = n.major == 5 ? 2 : 1;
                if (!indefinite && n.number > in_.size()) { return std::nullopt; }
                for (std::uint64_t i = 0; indefinite || i < n.number * per; ++i) {
                    auto child = item(indefinite && i % per == 0);
                    if (!child) { return std::nullopt; }
                    if (child->major == -1) { break; }
                    n.children.push_back(*child);
                }
                return n;
            }
            case 6: {
                if (indefinite) { return std::nullopt; }
                auto child = item();
                if (!child) { return std::nullopt; }
                n.children.push_back(*child);
                return n;
            }
            default: break;
        }
        if (indefinite) {
            if (!may_break) { return std::nullopt; }
            n.major = -1;
            return n;
        }
        if (info == 24 && n.number < 32) { return std::nullopt; }
        if (info >= 25) {
            n.floating = true;
            if (info == 25) { n.real = half(static_cast<unsigned>(n.number)); }
            if (info == 26) {
                float f = 0;
                auto const raw = static_cast<std::uint32_t>(n.number);
                std::memcpy(&f, &raw, 4);
                n.real = static_cast<double>(f);
            }
            if (info == 27) { std::memcpy(&n.real, &n.number, 8); }
        }
        return n;
    }
    bool at_end() const { return at_ == in_.size(); }
    bool bad_text() const { return bad_text_; }

    /// Appendix D, in the RFC's own words.
    static double half(unsigned h) {
        int const e = static_cast<int>((h >> 10) & 0x1F);
        int const m = static_cast<int>(h & 0x3FF);
        double v = 0;
        if (e == 0) {
            v = std::ldexp(m, -24);
        } else if (e != 31) {
            v = std::ldexp(m + 1024, e - 25);
        } else {
            v = m == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
        }
        return (h & 0x8000) != 0 ? -v : v;
    }
    /// By decoding to code points and encoding them again.
    static bool utf8(std::string const& s) {
        std::string again;
        for (std::size_t i = 0; i < s.size();) {
            auto const lead = static_cast<unsigned char>(s[i]);
            std::size_t const size = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
            if (size == 0 || size > s.size() - i) { return false; }
            std::uint32_t c = size == 1 ? lead : lead & (0x7FU >> size);
            for (std::size_t k = 1; k < size; ++k) { c = (c << 6) | (static_cast<unsigned char>(s[i + k]) & 0x3FU); }
            if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) { return false; }
            auto const put = [&](std::uint32_t byte) { again.push_back(static_cast<char>(byte)); };
            if (c < 0x80) {
                put(c);
            } else if (c < 0x800) {
                put(0xC0 | (c >> 6));
                put(0x80 | (c & 0x3F));
            } else if (c < 0x10000) {
                put(0xE0 | (c >> 12));
                put(0x80 | ((c >> 6) & 0x3F));
                put(0x80 | (c & 0x3F));
            } else {
                put(0xF0 | (c >> 18));
                put(0x80 | ((c >> 12) & 0x3F));
                put(0x80 | ((c >> 6) & 0x3F));
                put(0x80 | (c & 0x3F));
            }
            i += size;
        }
        return again == s;
    }

private:
    syncline::bytes_view in_;
    std::size_t at_ = 0;
    bool bad_text_ = false;
};

// --- the canonical form, §4.2.1 -------------------------------------------------------------------------------------

inline std::string head(int major, std::uint64_t n, unsigned info) {
    std::string out(1, static_cast<char>((static_cast<unsigned>(major) << 5) | info));
    for (int i = info < 24 ? 0 : 1 << (info - 24); i > 0; --i) { out.push_back(static_cast<char>(n >> (8 * (i - 1)))); }
    return out;
}
inline unsigned least_info(std::uint64_t n) {
    return n < 24 ? static_cast<unsigned>(n) : n < 256 ? 24 : n < 65536 ? 25 : n < 4294967296 ? 26 : 27;
}
inline bool same_number(double a, double b) { return std::memcmp(&a, &b, 8) == 0; }

/// The half that is the double of such bits, if one is: looked up among all there are, the least of those that are it.
inline std::optional<unsigned> half_of(std::uint64_t bits) {
    static auto const all = [] {
        std::map<std::uint64_t, unsigned> table;
        for (unsigned h = 0; h < 0x10000; ++h) {
            double const v = parser::half(h);
            std::uint64_t raw = 0;
            std::memcpy(&raw, &v, 8);
            table.emplace(raw, h);
        }
        return table;
    }();
    auto const found = all.find(bits);
    return found == all.end() ? std::nullopt : std::optional(found->second);
}

/// Shortest by trying: every half there is, then the float.
inline std::string real(double v, unsigned least = 25) {
    if (std::isnan(v)) { return head(7, 0x7E00, 25); }
    std::uint64_t raw = 0;
    std::memcpy(&raw, &v, 8);
    if (least == 25 && raw << 22 == 0) {  // a half has ten bits of fraction
        if (auto const h = half_of(raw)) { return head(7, *h, 25); }
    }
    if (least <= 26 && (std::isinf(v) || std::fabs(v) <= static_cast<double>(std::numeric_limits<float>::max()))) {
        auto const f = static_cast<float>(v);
        if (same_number(static_cast<double>(f), v)) {
            std::uint32_t bits = 0;
            std::memcpy(&bits, &f, 4);
            return head(7, bits, 26);
        }
    }
    return head(7, raw, 27);
}

inline std::string canonical(node const& n, verdict& v) {
    auto const worse = [&](verdict w) { v = v == verdict::fine ? w : v; };
    switch (n.major) {
        case 0:
        case 1: return head(n.major, n.number, least_info(n.number));
        case 2:
        case 3: return head(n.major, n.string.size(), least_info(n.string.size())) + n.string;
        case 4: {
            std::string out = head(4, n.children.size(), least_info(n.children.size()));
            for (node const& c : n.children) { out += canonical(c, v); }
            return out;
        }
        case 5: {
            std::vector<std::pair<std::string, std::string>> pairs;
            for (std::size_t i = 0; i < n.children.size(); i += 2) {
                std::string key = canonical(n.children[i], v);
                pairs.emplace_back(std::move(key), canonical(n.children[i + 1], v));
            }
            std::stable_sort(pairs.begin(), pairs.end(),
                             [](auto const& a, auto const& b) { return a.first < b.first; });
            std::string out = head(5, pairs.size(), least_info(pairs.size()));
            for (std::size_t i = 0; i < pairs.size(); ++i) {
                if (i != 0 && pairs[i].first == pairs[i - 1].first) { worse(verdict::invalid); }
                out += pairs[i].first + pairs[i].second;
            }
            return out;
        }
        case 6: worse(verdict::unsupported); return {};
        default:
            if (n.floating) { return real(n.real); }
            if (n.number >= 20 && n.number <= 22) { return head(7, 0, static_cast<unsigned>(n.number)); }
            worse(verdict::unsupported);
            return {};
    }
}

struct answer {
    verdict what = verdict::malformed;
    std::string canonical{};
};

inline answer judge(syncline::bytes_view in) {
    parser p(in);
    auto const n = p.item();
    if (!n || !p.at_end()) { return {}; }
    answer a{verdict::fine, {}};
    a.canonical = canonical(*n, a.what);
    if (p.bad_text() && a.what == verdict::fine) { a.what = verdict::invalid; }
    return a;
}

// --- random trees, and the many ways to write one -------------------------------------------------------------------

inline double random_real(syncline::random_generator& g) {
    constexpr double corners[] = {0.0,
                                  -0.0,
                                  1.0,
                                  1.5,
                                  -2.0,
                                  65504.0,
                                  65505.0,
                                  100000,
                                  5.960464477539063e-8,
                                  3.4028234663852886e+38,
                                  1.0e+300,
                                  1.1,
                                  1.401298464324817e-45,
                                  2.2250738585072014e-308,
                                  5.0e-324};
    switch (syncline::below(g, 5)) {
        case 0: {
            std::uint64_t const raw = g();
            double v = 0;
            std::memcpy(&v, &raw, 8);
            return v;
        }
        case 1: {
            auto const raw = static_cast<std::uint32_t>(g());
            float v = 0;
            std::memcpy(&v, &raw, 4);
            return static_cast<double>(v);
        }
        case 2: return parser::half(static_cast<unsigned>(g() & 0xFFFF));
        case 3: return std::numeric_limits<double>::infinity() * (syncline::below(g, 2) == 0 ? 1 : -1);
        default: return corners[syncline::below(g, std::size(corners))];
    }
}
inline std::uint64_t random_number(syncline::random_generator& g) { return g() >> syncline::below(g, 64); }
inline std::string random_text(syncline::random_generator& g) {
    constexpr char const* pieces[] = {"a",    "b",         "name", "\xC3\xA9", "\xE2\x82\xAC", "\xF0\x9F\x8D\x8C",
                                      "seat", "0123456789"};
    std::string out;
    for (std::uint64_t i = syncline::below(g, 4); i > 0; --i) { out += pieces[syncline::below(g, std::size(pieces))]; }
    return out;
}

inline node random_node(syncline::random_generator& g, int depth) {
    node n;
    switch (syncline::below(g, depth > 0 ? 10 : 6)) {
        case 0: n.number = random_number(g); break;
        case 1:
            n.major = 1;
            n.number = random_number(g);
            break;
        case 2:
            n.major = 2;
            for (std::uint64_t i = syncline::below(g, 30); i > 0; --i) { n.string.push_back(static_cast<char>(g())); }
            break;
        case 3:
            n.major = 3;
            n.string = random_text(g);
            break;
        case 4:
            n.major = 7;
            n.number = 20 + syncline::below(g, 3);
            break;
        case 5:
            n.major = 7;
            n.floating = true;
            n.real = random_real(g);
            break;
        case 6:
        case 7:
            n.major = 4;
            for (std::uint64_t i = syncline::below(g, 5); i > 0; --i) {
                n.children.push_back(random_node(g, depth - 1));
            }
            break;
        default: {
            n.major = 5;
            std::vector<std::string> keys;
            bool const text = syncline::below(g, 3) != 0;
            for (std::uint64_t i = syncline::below(g, 6); i > 0; --i) {
                node key;
                key.major = 3;
                key.string = random_text(g);
                if (!text) { key = random_node(g, depth - 1); }
                verdict v = verdict::fine;
                std::string const encoded = canonical(key, v);
                if (std::find(keys.begin(), keys.end(), encoded) != keys.end()) { continue; }
                keys.push_back(encoded);
                n.children.push_back(key);
                n.children.push_back(random_node(g, depth - 1));
            }
        }
    }
    return n;
}

/// One of the forms that say the same, chosen at random.
inline std::string loose(node const& n, syncline::random_generator& g) {
    auto const any_head = [&](int major, std::uint64_t number) {
        unsigned const least = least_info(number);
        auto const longer = static_cast<unsigned>(24 + syncline::below(g, 4));
        return head(major, number, syncline::below(g, 2) != 0 && (least < 24 || longer > least) ? longer : least);
    };
    bool const indefinite = syncline::below(g, 3) == 0;
    std::string const open(1, static_cast<char>((static_cast<unsigned>(n.major) << 5) | 31U));
    switch (n.major) {
        case 0:
        case 1: return any_head(n.major, n.number);
        case 2:
        case 3: {
            if (!indefinite) { return any_head(n.major, n.string.size()) + n.string; }
            std::string out = open;
            for (std::size_t i = 0; i < n.string.size();) {
                std::size_t size = static_cast<std::size_t>(syncline::below(g, n.string.size() - i + 1));
                // A piece of text ends where a character does.
                while (n.major == 3 && i + size < n.string.size() &&
                       (static_cast<unsigned char>(n.string[i + size]) & 0xC0) == 0x80) {
                    ++size;
                }
                out += any_head(n.major, size) + n.string.substr(i, size);
                i += size;
            }
            return out + '\xFF';
        }
        case 4: {
            std::string out = indefinite ? open : any_head(4, n.children.size());
            for (node const& c : n.children) { out += loose(c, g); }
            return indefinite ? out + '\xFF' : out;
        }
        case 5: {
            std::vector<std::size_t> order;
            for (std::size_t i = 0; i < n.children.size(); i += 2) { order.push_back(i); }
            for (std::size_t i = order.size(); i > 1; --i) {
                std::swap(order[i - 1], order[static_cast<std::size_t>(syncline::below(g, i))]);
            }
            std::string out = indefinite ? open : any_head(5, order.size());
            for (std::size_t const i : order) {
                out += loose(n.children[i], g);
                out += loose(n.children[i + 1], g);
            }
            return indefinite ? out + '\xFF' : out;
        }
        default: break;
    }
    if (!n.floating) { return head(7, 0, static_cast<unsigned>(n.number)); }
    return real(n.real, static_cast<unsigned>(25 + syncline::below(g, 3)));
}

/// Some bytes changed, cut or doubled.
inline syncline::bytes mutate(std::string const& encoded, syncline::random_generator& g) {
    syncline::bytes out = syncline::to_bytes(encoded);
    for (std::uint64_t i = syncline::below(g, 4); i > 0 && !out.empty(); --i) {
        auto const at = static_cast<std::ptrdiff_t>(syncline::below(g, out.size()));
        switch (syncline::below(g, 4)) {
            case 0: out[static_cast<std::size_t>(at)] = static_cast<std::byte>(g()); break;
            case 1: out[static_cast<std::size_t>(at)] ^= static_cast<std::byte>(1U << syncline::below(g, 8)); break;
            case 2: out.erase(out.begin() + at); break;
            default: out.insert(out.begin() + at, static_cast<std::byte>(g())); break;
        }
    }
    return out;
}

}  // namespace cbor_model
