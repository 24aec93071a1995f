// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Field deltas: what changed in a record or any other value of canonical CBOR, by names and identities.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/core/value.hpp>
#include <syncline/delta/compact.hpp>

namespace syncline::inline SYNCLINE_ABI {

// The format, one item of canonical CBOR: [1, base, result, patch]. `base` and `result` are the first eight bytes of the
// SHA-256 of the two values. A patch, by what it is:
//
//   null              (in a map) the field is gone
//   [v]               the value is v now
//   {k: patch, …}     a map in which these fields changed
//   bytes             a text or byte string, changed by this compact delta
//   [false, op, …]    a list; an op is
//     n > 0             n elements of the base stay
//     n < 0             -n elements of the base are left out
//     [true, i]         element i of the base stands here; [true, i, patch]: changed so
//     another patch     of [v], an element put in; of the others, the base's next element, changed so
//                     after the last op the rest of the base stays

struct field_delta_options {
    std::string_view identity = "id";  ///< elements of lists that are maps are the same when their value of this key is
    friend constexpr bool operator==(field_delta_options const&, field_delta_options const&) = default;
};

namespace detail {

inline constexpr std::size_t field_hash_bytes = 8;
using field_hash = std::array<std::byte, field_hash_bytes>;
[[nodiscard]] inline field_hash field_hash_of(bytes_view value) noexcept {
    field_hash out;
    auto const whole = sha256(value);
    std::copy_n(whole.begin(), out.size(), out.begin());
    return out;
}

/// The content of a text or byte string; nothing of anything else.
[[nodiscard]] inline std::optional<bytes_view> string_content(value_view v) noexcept {
    if (auto const text = v.as_text()) { return syncline::as_bytes(*text); }
    return v.as_bytes();
}

class field_differ {
public:
    field_differ(field_delta_options const& options, delta_scratch& scratch) noexcept
        : options_(options), scratch_(scratch) {}

    /// Appends the patch that makes `target` of `base`: whichever is shorter of what it can say.
    void patch(value_view base, value_view target, bytes& out) {
        std::size_t const start = out.size();
        bool const said = (base.is_map() && target.is_map() && map(base, target, out)) ||
                          (base.is_array() && target.is_array() && list(base, target, out)) ||
                          string(base, target, out);
        if (said && out.size() - start <= target.encoded().size()) { return; }
        out.resize(start);
        cbor_writer w(out);
        w.array(1);
        w.raw(target.encoded());
    }

private:
    bool map(value_view base, value_view target, bytes& out) {
        bytes body;
        cbor_writer w(body);
        std::size_t changes = 0;
        value_cursor was(base);
        value_cursor is(target);
        bool more_was = was.next();
        bool more_is = is.next();
        while (more_was || more_is) {
            auto const order = !more_was  ? std::strong_ordering::greater
                               : !more_is ? std::strong_ordering::less
                                          : was.key() <=> is.key();
            bool const same = order == 0 && was.item() == is.item();
            if (!same) {
                ++changes;
                w.raw(order < 0 ? was.key().encoded() : is.key().encoded());
            }
            if (order < 0) {
                w.null();
            } else if (order > 0) {
                w.array(1);
                w.raw(is.item().encoded());
            } else if (!same) {
                patch(was.item(), is.item(), body);
            }
            if (order <= 0) { more_was = was.next(); }
            if (order >= 0) { more_is = is.next(); }
        }
        cbor_writer{out}.map(changes);
        append(out, body);
        return true;
    }

    bool string(value_view base, value_view target, bytes& out) {
        auto const was = string_content(base);
        auto const is = string_content(target);
        if (!was || !is || base.type() != target.type() || is->size() < 16) { return false; }
        bytes delta;
        compact_encode(*was, *is, delta, scratch_);
        if (delta.size() >= is->size()) { return false; }
        cbor_writer{out}.byte_string(delta);
        return true;
    }

    struct element {
        bytes_view identity{};
        value_view item{};
        std::size_t index = 0;
    };
    static constexpr std::size_t none = static_cast<std::size_t>(-1);

    [[nodiscard]] std::vector<element> elements(value_view list) const {
        std::vector<element> out;
        out.reserve(list.size());
        value_cursor c(list);
        while (c.next()) {
            auto const id = c.item().find(options_.identity);
            out.push_back({id ? id->encoded() : c.item().encoded(), c.item(), out.size()});
        }
        return out;
    }
    /// For each element of the target the base's with the same identity, each once: of equals the first first.
    [[nodiscard]] static std::vector<std::size_t> pair_up(std::vector<element> const& was,
                                                          std::vector<element> const& is) {
        auto const in_order = [](std::vector<element> list) {
            std::sort(list.begin(), list.end(), [](element const& a, element const& b) {
                auto const order = compare(a.identity, b.identity);
                return order != 0 ? order < 0 : a.index < b.index;
            });
            return list;
        };
        auto const a = in_order(was);
        auto const b = in_order(is);
        std::vector<std::size_t> out(is.size(), none);
        for (std::size_t i = 0, k = 0; i < a.size() && k < b.size();) {
            auto const order = compare(a[i].identity, b[k].identity);
            if (order == 0) { out[b[k].index] = a[i].index; }
            i += order <= 0 ? 1U : 0U;
            k += order >= 0 ? 1U : 0U;
        }
        return out;
    }
    /// Which elements stay in place: a longest rising sequence of the pairs. The others move.
    [[nodiscard]] static std::vector<bool> stay(std::vector<std::size_t> const& pairs) {
        std::vector<std::size_t> ends;  // of the best sequence of each length, the target's index of its last
        std::vector<std::size_t> before(pairs.size(), none);
        for (std::size_t t = 0; t < pairs.size(); ++t) {
            if (pairs[t] == none) { continue; }
            auto const at = std::lower_bound(ends.begin(), ends.end(), pairs[t],
                                             [&](std::size_t i, std::size_t v) { return pairs[i] < v; });
            if (at != ends.begin()) { before[t] = *(at - 1); }
            if (at == ends.end()) {
                ends.push_back(t);
            } else {
                *at = t;
            }
        }
        std::vector<bool> out(pairs.size(), false);
        for (std::size_t t = ends.empty() ? none : ends.back(); t != none; t = before[t]) { out[t] = true; }
        return out;
    }

    bool list(value_view base, value_view target, bytes& out) {
        auto const was = elements(base);
        auto const is = elements(target);
        auto const pairs = pair_up(was, is);
        auto const stays = stay(pairs);
        bytes body;
        cbor_writer w(body);
        std::size_t ops = 0;
        std::size_t at = 0;    // in the base
        std::size_t kept = 0;  // elements that stay, not yet written
        auto const flush = [&] {
            if (kept == 0) { return; }
            w.unsigned_integer(kept);
            ++ops;
            kept = 0;
        };
        auto const leave_out = [&](std::size_t to) {
            if (to == at) { return; }
            flush();
            w.integer(-static_cast<std::int64_t>(to - at));
            ++ops;
            at = to;
        };
        for (std::size_t t = 0; t < is.size(); ++t) {
            std::size_t const from = pairs[t];
            bool const same = from != none && was[from].item == is[t].item;
            if (from != none && stays[t]) {
                leave_out(from);
                ++at;
                if (same) {
                    ++kept;
                    continue;
                }
                flush();
                std::size_t const start = body.size();
                patch(was[from].item, is[t].item, body);
                // A patch that says the whole value would put it in beside the old.
                if (body[start] == set_head) {
                    body.resize(start);
                    w.integer(-1);
                    ++ops;
                    w.array(1);
                    w.raw(is[t].item.encoded());
                }
                ++ops;
                continue;
            }
            flush();
            ++ops;
            if (from == none) {
                w.array(1);
                w.raw(is[t].item.encoded());
            } else {
                w.array(same ? 2 : 3);
                w.boolean(true);
                w.unsigned_integer(from);
                if (!same) { patch(was[from].item, is[t].item, body); }
            }
        }
        leave_out(was.size());
        // What stays up to the end needs no op.
        cbor_writer head(out);
        head.array(1 + ops);
        head.boolean(false);
        append(out, body);
        return ops != 0;
    }
    static constexpr std::byte set_head{0x81};  ///< an array of one

    field_delta_options options_;
    delta_scratch& scratch_;
};

/// Applies patches of a stranger: everything is checked, and recursion is as deep as the patch, which is bounded.
class field_patcher {
public:
    field_patcher(bytes& out, std::size_t most) noexcept : out_(out), most_(most) {}

    [[nodiscard]] status apply(value_view base, value_view patch) {
        if (patch.is_map()) { return map(base, patch); }
        if (patch.is_array()) { return patch.size() == 1 ? put(patch.at(0)->encoded()) : list(base, patch); }
        if (patch.as_bytes()) { return string(base, *patch.as_bytes()); }
        return failure{errc::malformed, "not a patch"};
    }

private:
    [[nodiscard]] status put(bytes_view encoded) {
        if (encoded.size() > most_ - (std::min)(most_, out_.size())) {
            return failure{errc::limit, "longer than result_max"};
        }
        append(out_, encoded);
        return {};
    }

    [[nodiscard]] status map(value_view base, value_view patch) {
        if (!base.is_map()) { return failure{errc::malformed, "fields of what is no map"}; }
        std::size_t count = base.size();
        for (bool const writing : {false, true}) {
            value_cursor was(base);
            value_cursor change(patch);
            bool more_was = was.next();
            bool more_change = change.next();
            if (writing) { cbor_writer{out_}.map(count); }
            while (more_was || more_change) {
                auto const order = !more_was      ? std::strong_ordering::greater
                                   : !more_change ? std::strong_ordering::less
                                                  : was.key() <=> change.key();
                bool const gone = order >= 0 && change.item().is_null();
                if (!writing) {
                    bool const set = order >= 0 && change.item().is_array() && change.item().size() == 1;
                    if (order > 0 && !set) { return failure{errc::malformed, "change of a field that isn't there"}; }
                    count += order > 0 ? 1U : 0U;
                    count -= gone ? 1U : 0U;
                } else if (!gone) {
                    if (auto ok = put(order < 0 ? was.key().encoded() : change.key().encoded()); !ok) { return ok; }
                    auto ok = order < 0 ? put(was.item().encoded())
                                        : apply(order > 0 ? value_view{} : was.item(), change.item());
                    if (!ok) { return ok; }
                }
                if (order <= 0) { more_was = was.next(); }
                if (order >= 0) { more_change = change.next(); }
            }
        }
        return {};
    }

    [[nodiscard]] status string(value_view base, bytes_view delta) {
        auto const was = string_content(base);
        if (!was) { return failure{errc::malformed, "delta of what is no string"}; }
        bytes is;
        if (auto ok = compact_decode(*was, delta, is, most_); !ok) { return ok; }
        if (base.is_text() && !valid_utf8(syncline::as_text(is))) {
            return failure{errc::malformed, "text that is not UTF-8"};
        }
        if (is.size() + cbor_head_max > most_ - (std::min)(most_, out_.size())) {
            return failure{errc::limit, "longer than result_max"};
        }
        cbor_writer w(out_);
        if (base.is_text()) {
            w.text(syncline::as_text(is));
        } else {
            w.byte_string(is);
        }
        return {};
    }

    [[nodiscard]] status list(value_view base, value_view patch) {
        if (!base.is_array()) { return failure{errc::malformed, "elements of what is no list"}; }
        value_cursor ops(patch);
        if (!ops.next() || ops.item().as_bool() != std::optional(false)) {
            return failure{errc::malformed, "not a patch"};
        }
        std::vector<value_view> was;
        was.reserve(base.size());
        for (value_cursor c(base); c.next();) { was.push_back(c.item()); }
        // The elements go behind what is there, and their head, whose length is known at last, before them.
        bytes body;
        field_patcher inner(body, most_);
        std::size_t at = 0;
        std::size_t count = 0;
        auto const keep = [&](std::size_t n) -> status {
            for (; n != 0; --n, ++at, ++count) {
                if (auto ok = inner.put(was[at].encoded()); !ok) { return ok; }
            }
            return {};
        };
        while (ops.next()) {
            value_view const op = ops.item();
            status ok;
            if (op.is_integer()) {
                auto const n = op.as_int64().value_or(0);
                auto const size =
                    n < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(n) : static_cast<std::uint64_t>(n);
                if (n == 0 || size > was.size() - at) { return failure{errc::malformed, "beyond the list"}; }
                if (n < 0) {
                    at += static_cast<std::size_t>(size);
                } else {
                    ok = keep(static_cast<std::size_t>(size));
                }
            } else if (op.is_array() && op.size() >= 2 && op.at(0)->as_bool() == std::optional(true)) {
                auto const from = op.at(1)->as_uint64();
                if (!from || *from >= was.size() || op.size() > 3) {
                    return failure{errc::malformed, "beyond the list"};
                }
                value_view const item = was[static_cast<std::size_t>(*from)];
                ok = op.size() == 2 ? inner.put(item.encoded()) : inner.apply(item, *op.at(2));
                ++count;
            } else if (op.is_array() && op.size() == 1) {
                ok = inner.put(op.at(0)->encoded());
                ++count;
            } else {
                if (at == was.size()) { return failure{errc::malformed, "beyond the list"}; }
                ok = inner.apply(was[at], op);
                ++at;
                ++count;
            }
            if (!ok) { return ok; }
        }
        if (auto ok = keep(was.size() - at); !ok) { return ok; }
        cbor_writer{out_}.array(count);
        return put(body);
    }

    bytes& out_;
    std::size_t most_;
};

}  // namespace detail

/// Appends to `out` the field delta that makes `target` of `base`.
///
/// Precondition: both are values of canonical CBOR (`value_view::check`). Costs both a hash and a pass over them;
/// lists n log n of their elements.
inline void field_delta_encode(value_view base, value_view target, bytes& out, delta_scratch& scratch,
                               field_delta_options const& options = {}) {
    cbor_writer w(out);
    w.array(4);
    w.unsigned_integer(1);
    w.byte_string(detail::field_hash_of(base.encoded()));
    w.byte_string(detail::field_hash_of(target.encoded()));
    detail::field_differ(options, scratch).patch(base, target, out);
}

/// Appends to `out` what a field delta makes of `base`, which is canonical CBOR; the delta is a stranger's.
///
/// Errors, `out` as it was: `not_found` when it was made for another base: ask for the full value; `corrupt` when the
/// result isn't what the sender had; `malformed`, `not_deterministic`, `unsupported` (a later version, tags), `limit`
/// (a result of more than `limits.bytes_max` bytes).
/// Cost: a hash of both and a pass over them; recursion as deep as `limits.depth_max`.
[[nodiscard]] inline status field_delta_apply(value_view base, bytes_view delta, bytes& out,
                                              decode_limits const& limits = {}) {
    if (auto ok = validate_canonical(delta, limits); !ok) { return ok; }
    value_view const whole(delta);
    if (!whole.is_array() || whole.size() != 4) { return failure{errc::malformed, "not a field delta"}; }
    if (whole.at(0)->as_uint64() != std::optional<std::uint64_t>(1)) {
        return failure{errc::unsupported, "version of field delta"};
    }
    auto const from = whole.at(1)->as_bytes();
    auto const to = whole.at(2)->as_bytes();
    if (!from || !to || from->size() != detail::field_hash_bytes || to->size() != detail::field_hash_bytes) {
        return failure{errc::malformed, "hash of another length"};
    }
    if (!equal(*from, detail::field_hash_of(base.encoded()))) {
        return failure{errc::not_found, "made for another base"};
    }
    bytes made;
    if (auto ok = detail::field_patcher(made, limits.bytes_max).apply(base, *whole.at(3)); !ok) { return ok; }
    if (auto ok = validate_canonical(made, limits); !ok) { return ok; }
    if (!equal(*to, detail::field_hash_of(made))) { return failure{errc::corrupt, "result isn't what was meant"}; }
    append(out, made);
    return {};
}

}  // namespace syncline::inline SYNCLINE_ABI
