// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The merge of encoded records without decoding them: what is equal is passed over, what one side changed is copied.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/delta/sequence.hpp>
#include <syncline/merge/merged.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

// What follows reads maps that are known to be canonical: it looks at heads only. Of what is not it makes nonsense, but
// stays within the bytes.

/// What an item's first byte says: bytes of it without its children, in the low eight bits; how many children; a mask
/// for the byte behind it, which adds to the size; and in the high eight bits, that all this is not so simple.
[[nodiscard]] constexpr std::array<std::uint32_t, 256> make_item_shapes() noexcept {
    std::array<std::uint32_t, 256> shapes{};
    for (std::uint32_t b = 0; b != 256; ++b) {
        std::uint32_t const major = b >> 5;
        std::uint32_t const info = b & 31U;
        bool const string = major == 2 || major == 3;
        bool const container = major == 4 || major == 5;
        std::uint32_t size = 1, children = 0, mask = 0, hard = 0;
        if (info < 24) {
            if (string) { size += info; }
            if (container) { children = major == 4 ? info : 2 * info; }
        } else if (info == 24) {
            size = 2;
            if (string) { mask = 0xFF; }
            if (container) { hard = 1; }
        } else if (info <= 27) {
            size = 1 + (std::uint32_t{1} << (info - 24));
            if (string || container) { hard = 1; }
        } else {
            hard = 1;
        }
        if (major == 6) { hard = 1; }
        shapes[b] = size | (children << 8) | (mask << 16) | (hard << 24);
    }
    return shapes;
}
inline constexpr std::array<std::uint32_t, 256> item_shapes = make_item_shapes();

/// Where the item at `at` ends; `size` + 1 when not within the bytes. Without a branch for most items: where the next one
/// begins is not to be guessed.
[[nodiscard]] inline std::size_t item_end(std::byte const* p, std::size_t at, std::size_t size) noexcept {
    std::uint64_t pending = 1;
    while (pending != 0) {
        if (at + 1 >= size) {  // the last byte: an item of one byte, or not within
            bool const whole = at + 1 == size && pending == 1 && item_shapes[std::to_integer<std::size_t>(p[at])] == 1;
            return whole ? size : size + 1;
        }
        std::uint32_t const shape = item_shapes[std::to_integer<std::size_t>(p[at])];
        if (shape < (1U << 24)) {
            at += (shape & 0xFFU) + (std::to_integer<std::uint32_t>(p[at + 1]) & (shape >> 16));
            pending += ((shape >> 8) & 0xFFU) - std::uint64_t{1};
            continue;
        }
        auto const head = cbor_read_any_head({p + at, size - at});
        if (head.size == 0 || head.number > size) { return size + 1; }
        at += head.size;
        --pending;
        if (head.major == 2 || head.major == 3) { at += static_cast<std::size_t>(head.number); }
        if (head.major == 4 || head.major == 5) { pending += head.major == 5 ? 2 * head.number : head.number; }
    }
    return at <= size ? at : size + 1;
}

/// Walks one side's fields.
struct field_walk {
    std::byte const* data = nullptr;
    std::size_t size = 0;
    std::size_t at = 0;      ///< where the next field begins
    std::uint64_t left = 0;  ///< fields from there on
    std::size_t key_end = 0, end = 0;
    bool there = false;  ///< the field at `at` has been looked at

    explicit field_walk(bytes_view map) noexcept : data(map.data()), size(map.size()) {
        auto const head = cbor_read_any_head(map);
        if (head.size != 0 && head.major == 5) {
            at = head.size;
            left = head.number;
        }
    }
    /// Looks at the next field. False: there is none, or it is not within the bytes.
    [[nodiscard]] bool look() noexcept {
        if (there) { return true; }
        if (left == 0) { return false; }
        unsigned const initial = at < size ? std::to_integer<unsigned>(data[at]) : 0U;
        bool const short_key = initial >= 0x60 && initial < 0x78;
        key_end = short_key ? at + 1 + (initial - 0x60U) : item_end(data, at, size);
        end = key_end < size ? item_end(data, key_end, size) : size + 1;
        if (end > size) {
            left = 0;
            return false;
        }
        return there = true;
    }
    void pass() noexcept {
        at = end;
        --left;
        there = false;
    }
    [[nodiscard]] bytes_view key() const noexcept { return {data + at, key_end - at}; }
    [[nodiscard]] bytes_view value() const noexcept { return {data + key_end, end - key_end}; }
    [[nodiscard]] bytes_view pair() const noexcept { return {data + at, end - at}; }
};

/// Canonical order of encoded keys is that of their bytes.
[[nodiscard]] inline bytes_view key_text(bytes_view encoded_key) noexcept {
    auto const head = cbor_read_any_head(encoded_key);
    return encoded_key.subspan((std::min)(head.size, encoded_key.size()));
}

/// A map of some fields, built pair by pair.
struct small_map {
    bytes pairs{};
    std::size_t count = 0;
    void add(bytes_view key, bytes_view value) {
        append(pairs, key);
        append(pairs, value);
        ++count;
    }
    [[nodiscard]] bytes encode() const {
        bytes out;
        cbor_writer{out}.map(count);
        append(out, pairs);
        return out;
    }
};

/// The merge of canonical maps, each field by itself: equal stretches are passed over by comparing memory and read
/// once; a field that one side changed is that side's; only what both changed goes to `merge_by_apply`.
class field_merge {
public:
    /// `collection`: the rules of the whole record, of which `rules` are those at this depth.
    field_merge(bytes_view base, bytes_view local, bytes_view remote, rule_view rules,
                collection_rules const& collection, std::size_t depth = 0)
        : base_(base), local_(local), remote_(remote), rules_(rules), collection_(collection), depth_(depth) {}

    [[nodiscard]] result<merged<bytes>> run(side local_side, side remote_side, merge_host const* host) {
        local_side_ = local_side;
        remote_side_ = remote_side;
        host_ = host;
        pieces_.reserve(8);
        walk();
        if (refused_.code != errc{}) { return refused_; }
        merged<bytes> out;
        out.conflicts = std::move(conflicts_);
        bytes decided_bytes;
        if (contested_ != 0) {
            auto some = depth_ == 0
                            ? merge_by_apply(base_some_.encode(), local_some_.encode(), remote_some_.encode(),
                                             collection_, local_side, remote_side, host)
                            : merge_by_apply(base_some_.encode(), local_some_.encode(), remote_some_.encode(),
                                             {collection_.collection, rules_.fallback,
                                              rules_.fields == nullptr ? std::vector<field_rule>{} : *rules_.fields},
                                             local_side, remote_side, host);
            if (!some) { return some.error(); }
            decided_bytes = std::move(some->record);
            std::move(some->conflicts.begin(), some->conflicts.end(), std::back_inserter(out.conflicts));
            std::move(some->decisions.begin(), some->decisions.end(), std::back_inserter(decisions_));
        }
        out.decisions = std::move(decisions_);

        std::size_t total = cbor_head_max + decided_bytes.size();
        for (bytes_view const piece : pieces_) { total += piece.size(); }
        out.record.reserve(total);
        field_walk answers{decided_bytes};
        std::uint64_t const count = count_ + answers.left;
        cbor_writer{out.record}.map(static_cast<std::size_t>(count));
        std::size_t next = 0;
        for (std::size_t i = 0; i != pieces_.size(); ++i) {
            put_answers(out.record, answers, next, i);
            append(out.record, pieces_[i]);
        }
        put_answers(out.record, answers, next, pieces_.size());
        return out;
    }

private:
    /// A field that both changed, and before which piece its value goes.
    struct contest {
        bytes_view key;
        std::size_t before;
    };

    void walk() {
        while (base_.left != 0 || local_.left != 0 || remote_.left != 0) {
            pass_common();
            bool const b = base_.look();
            bool const l = local_.look();
            bool const r = remote_.look();
            if (!b && !l && !r) { return; }
            bytes_view least;
            for (auto const& [there, w] : {std::pair{b, &base_}, std::pair{l, &local_}, std::pair{r, &remote_}}) {
                if (there && (least.empty() || compare(w->key(), least) < 0)) { least = w->key(); }
            }
            one(least, b && equal(base_.key(), least), l && equal(local_.key(), least),
                r && equal(remote_.key(), least));
        }
    }

    /// Takes over what all three have from here on, whole fields of it.
    void pass_common() {
        if (base_.there || local_.there || remote_.there) { return; }
        std::size_t const n = (std::min)({base_.size - base_.at, local_.size - local_.at, remote_.size - remote_.at});
        std::size_t run = common_prefix(base_.data + base_.at, local_.data + local_.at, n);
        run = common_prefix(base_.data + base_.at, remote_.data + remote_.at, run);
        std::size_t const begin = base_.at;
        std::size_t const end = begin + run;
        std::uint64_t fields = 0;
        std::uint64_t const most = (std::min)({base_.left, local_.left, remote_.left});
        bool const rest = end == base_.size && local_.at + run == local_.size && remote_.at + run == remote_.size &&
                          base_.left == local_.left && base_.left == remote_.left;
        if (rest) {
            // All three end alike: nothing there needs to be looked at.
            fields = base_.left;
            base_.at = end;
            base_.left = 0;
        } else {
            while (fields != most && base_.look() && base_.end <= end) {
                base_.pass();
                ++fields;
            }
        }
        if (fields == 0) { return; }
        std::size_t const length = base_.at - begin;
        take({base_.data + begin, length});
        count_ += fields;
        local_.at += length;
        remote_.at += length;
        local_.left -= fields;
        remote_.left -= fields;
    }

    void one(bytes_view key, bool b, bool l, bool r) {
        auto const same = [](bool x, field_walk const& a, bool y, field_walk const& c) {
            return x == y && (!x || equal(a.value(), c.value()));
        };
        bool const local_kept = same(b, base_, l, local_);
        bool const remote_kept = same(b, base_, r, remote_);
        bool const agree = same(l, local_, r, remote_);
        // Two who add the same add twice, also inside of a field.
        auto const counts = [this, key] {
            rule const by = rules_.of(as_text(key_text(key)));
            return by == rule::counter || by == rule::nested;
        };
        if (local_kept || (agree && !counts())) {
            if (!local_kept && !remote_kept) {
                std::string const field{as_text(key_text(key))};
                decisions_.push_back({field, rules_.of(field), winner::both, reason::same});
            }
            keep(r, remote_);
        } else if (remote_kept) {
            keep(l, local_);
        } else if (!inside(key, b && l && r) && !chosen(key, l, r)) {
            contests_.push_back({key, pieces_.size()});
            ++contested_;
            if (b) { base_some_.add(key, base_.value()); }
            if (l) { local_some_.add(key, local_.value()); }
            if (r) { remote_some_.add(key, remote_.value()); }
        }
        if (b) { base_.pass(); }
        if (l) { local_.pass(); }
        if (r) { remote_.pass(); }
    }
    /// A map that both changed, under the rule `nested`: the same inside of it. False: it is another kind of field.
    [[nodiscard]] bool inside(bytes_view key, bool all_there) {
        std::string_view const field = as_text(key_text(key));
        if (!all_there || depth_ == diff_depth_max || rules_.of(field) != rule::nested) { return false; }
        for (field_walk const* w : {&base_, &local_, &remote_}) {
            if (type_of(w->value()) != cbor_type::map) { return false; }
        }
        field_merge inner(base_.value(), local_.value(), remote_.value(), rules_.inside(field), collection_,
                          depth_ + 1);
        auto both = inner.run(local_side_, remote_side_, host_);
        if (!both) {
            refused_ = both.error();
            keep(true, remote_);
            return true;
        }
        for (decision& d : both->decisions) {
            if (!both->conflicts.empty() && d.won != winner::nobody) { continue; }
            d.inside = d.field + (d.inside.empty() ? "" : "." + d.inside);
            d.field = field;
            decisions_.push_back(std::move(d));
        }
        if (!both->conflicts.empty()) {
            conflicts_.push_back(std::string{field});
            keep(true, remote_);
            return true;
        }
        small_map pair;
        pair.add(key, both->record);
        made_.push_back(std::move(pair.pairs));
        pieces_.push_back(made_.back());
        ++count_;
        return true;
    }
    /// A field whose rule takes one of the two values: by the same choice as `apply`'s. False: another kind of rule.
    [[nodiscard]] bool chosen(bytes_view key, bool l, bool r) {
        std::string_view const field = as_text(key_text(key));
        rule const by = rules_.of(field);
        if (!chooses_a_side(by) || by == rule::manual || by == rule::authority_time) { return false; }
        author_index const mine =
            local_side_.author != remote_side_.author ? local_side_.author : remote_side_.author + 1;
        choice const c = choose(by, {pending_position, local_side_.stamp, mine},
                                {2, remote_side_.stamp, remote_side_.author}, merge_hint::merge, host_);
        decisions_.push_back({std::string{field}, by, c.won, c.why});
        if (c.won == winner::mutation) {
            keep(l, local_);
        } else {
            keep(r, remote_);
        }
        return true;
    }
    void keep(bool there, field_walk const& w) {
        if (!there) { return; }
        take(w.pair());
        ++count_;
    }
    /// One more piece of the result, a part of the one before where it follows it in memory.
    void take(bytes_view piece) {
        bool const contested_between = !contests_.empty() && contests_.back().before == pieces_.size();
        if (!pieces_.empty() && !contested_between && pieces_.back().data() + pieces_.back().size() == piece.data()) {
            pieces_.back() = {pieces_.back().data(), pieces_.back().size() + piece.size()};
        } else {
            pieces_.push_back(piece);
        }
    }
    void put_answers(bytes& out, field_walk& answers, std::size_t& next, std::size_t piece) const {
        for (; next != contests_.size() && contests_[next].before == piece; ++next) {
            if (!answers.look() || !equal(answers.key(), contests_[next].key)) { continue; }
            append(out, answers.pair());
            answers.pass();
        }
    }

    field_walk base_, local_, remote_;
    rule_view rules_;
    collection_rules const& collection_;
    std::size_t depth_;
    side local_side_{}, remote_side_{};
    merge_host const* host_ = nullptr;
    failure refused_{};
    std::vector<std::string> conflicts_{};
    std::vector<bytes> made_{};  ///< pairs made here; moving the outer vector leaves their bytes where they are
    std::vector<bytes_view> pieces_{};
    std::vector<contest> contests_{};
    std::size_t contested_ = 0;
    std::uint64_t count_ = 0;  ///< fields in the pieces
    small_map base_some_{}, local_some_{}, remote_some_{};
    std::vector<decision> decisions_{};
};

/// Whether fields can be decided one by one.
[[nodiscard]] inline bool field_by_field(collection_rules const& rules, merge_host const* host) noexcept {
    return !rules.whole && rules.groups.empty() &&
           (host == nullptr || (host->guards.empty() && rules.references.empty()));
}

/// Field by field where that is enough, else by mutations. Precondition: all three are canonical.
[[nodiscard]] inline result<merged<bytes>> merge_encoded(bytes_view base, bytes_view local, bytes_view remote,
                                                         collection_rules const& rules, side local_side,
                                                         side remote_side, merge_host const* host) {
    if (!field_by_field(rules, host)) {
        return merge_by_apply(base, local, remote, rules, local_side, remote_side, host);
    }
    return field_merge(base, local, remote, rules.view(), rules).run(local_side, remote_side, host);
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
