// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The merge of encoded records without decoding them: what is equal is passed over, what one side changed is copied.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
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

/// Where the item at `at` ends if it is a short text, as most keys are; else as `item_end`.
[[nodiscard]] inline std::size_t key_item_end(std::byte const* p, std::size_t at, std::size_t size) noexcept {
    std::uint32_t const length = std::to_integer<std::uint32_t>(p[at]) - 0x60U;
    return length < 24 ? at + 1 + length : item_end(p, at, size);
}

/// Walks one side's fields.
struct field_walk {
    std::byte const* data = nullptr;
    std::size_t size = 0;
    std::size_t at = 0;       ///< where the next field begins
    std::uint64_t count = 0;  ///< fields in all, as the map says
    std::size_t key_end = 0, end = 0;
    bool there = false;                       ///< the field at `at` has been looked at
    std::span<std::uint32_t const> begins{};  ///< where fields begin, and the end; empty where that is not known
    std::size_t index = 0;                    ///< of the field at `at` among these

    explicit field_walk(bytes_view map) noexcept : data(map.data()), size(map.size()) {
        auto const head = cbor_read_any_head(map);
        if (head.size != 0 && head.major == 5) {
            at = head.size;
            count = head.number;
        } else {
            at = size;
        }
    }
    /// Looks at the next field. False: there is none, or it is not within the bytes.
    [[nodiscard]] bool look() noexcept {
        if (there) { return true; }
        if (at >= size) { return false; }
        key_end = key_item_end(data, at, size);
        if (index + 1 < begins.size()) {
            end = begins[index + 1];
        } else {
            end = key_end < size ? item_end(data, key_end, size) : size + 1;
        }
        if (end > size || end < key_end) {
            at = size;
            return false;
        }
        return there = true;
    }
    /// The next field is as long as `other`'s, byte for byte.
    void look_like(field_walk const& other) noexcept {
        key_end = at + (other.key_end - other.at);
        end = at + (other.end - other.at);
        there = true;
    }
    void pass() noexcept {
        at = end;
        ++index;
        there = false;
    }
    /// Passes whole fields, as many as end at `until` or before, or all of these but the last. `until` is not behind
    /// the end. All items are read in one loop which only the lengths of items hold up, whatever contains them.
    void pass_until(std::size_t until) noexcept {
        if (!begins.empty()) {
            // Fields are about as long as each other: the one that is looked for is not far from where it would then be.
            std::size_t i = static_cast<std::size_t>(std::uint64_t{until} * (begins.size() - 1) / size);
            while (i > index && begins[i] > until) { --i; }
            i = (std::max)(i, index);
            while (i + 1 < begins.size() && begins[i + 1] <= until) { ++i; }
            index = i;
            at = begins[i];
            there = false;
            return;
        }
        std::uint64_t pending = 2;  // items of the field: its key and its value, and what that contains
        std::size_t next = at;
        std::size_t whole = at;
        while (next + 1 < until) {
            std::uint32_t const shape = item_shapes[std::to_integer<std::size_t>(data[next])];
            if (shape < (1U << 24)) {
                next += (shape & 0xFFU) + (std::to_integer<std::uint32_t>(data[next + 1]) & (shape >> 16));
                pending += ((shape >> 8) & 0xFFU) - std::uint64_t{1};
            } else {
                auto const head = cbor_read_any_head({data + next, size - next});
                if (head.size == 0 || head.number > size) { break; }
                next += head.size;
                --pending;
                if (head.major == 2 || head.major == 3) { next += static_cast<std::size_t>(head.number); }
                if (head.major == 4 || head.major == 5) { pending += head.major == 5 ? 2 * head.number : head.number; }
            }
            if (next > until) { break; }
            whole = pending == 0 ? next : whole;
            pending = pending == 0 ? 2 : pending;
        }
        at = whole;
        there = false;
    }
    [[nodiscard]] bytes_view key() const noexcept { return {data + at, key_end - at}; }
    [[nodiscard]] bytes_view value() const noexcept { return {data + key_end, end - key_end}; }
    [[nodiscard]] bytes_view pair() const noexcept { return {data + at, end - at}; }
};

/// How far one side is the base, byte for byte, from where both stand. Kept while both go on together, so that no byte
/// is compared twice.
struct common_run {
    std::size_t end = 0;    ///< in the base
    std::size_t shift = 0;  ///< where the side stands less where the base does, modulo

    void find(field_walk const& base, field_walk const& side) noexcept {
        std::size_t const now = side.at - base.at;
        if (now == shift && base.at < end) { return; }
        shift = now;
        end = base.at + common_prefix(base.data + base.at, side.data + side.at,
                                      (std::min)(base.size - base.at, side.size - side.at));
    }
    /// Whether that is to the ends of both.
    [[nodiscard]] bool whole(field_walk const& base, field_walk const& side) const noexcept {
        return end == base.size && side.size - side.at == base.size - base.at;
    }
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

/// The merge of canonical maps, each field by itself: the result is the remote side's bytes with what the local side
/// changed put in. Equal stretches are passed over by comparing memory, each byte once, and of their fields only the
/// base's heads are read; a field that one side changed is that side's; what both changed goes to `merge_by_apply`.
class field_merge {
public:
    /// `collection`: the rules of the whole record, of which `rules` are those at this depth.
    field_merge(bytes_view base, bytes_view local, bytes_view remote, rule_view rules,
                collection_rules const& collection, std::size_t depth = 0)
        : base_(base), local_(local), remote_(remote), rules_(rules), collection_(collection), depth_(depth) {}

    /// Where the base's fields begin, and where the last ends: then none of its heads is read to find that out.
    void base_begins(std::span<std::uint32_t const> begins) noexcept {
        if (!begins.empty() && begins.back() == base_.size) { base_.begins = begins; }
    }

    /// `refused`: told of an error's field, where it is one's.
    [[nodiscard]] result<merged<bytes>> run(side local_side, side remote_side, merge_host const* host,
                                            std::string* refused = nullptr) {
        told_ = refused;
        local_side_ = local_side;
        remote_side_ = remote_side;
        host_ = host;
        merged<bytes> out;
        out_ = &out.record;
        // As long as it gets where the sides changed different fields.
        out_->reserve(remote_.size + (std::max)(local_.size, base_.size) - base_.size + cbor_head_max);
        count_ = remote_.count;
        from_ = remote_.at;
        cbor_writer{*out_}.map(static_cast<std::size_t>(count_));
        std::size_t const head_size = out_->size();
        walk();
        if (refused_.code != errc{}) { return refused_; }
        flush(remote_.size);
        out.conflicts = std::move(conflicts_);
        if (!contests_.empty()) {
            auto some = depth_ == 0
                            ? merge_by_apply(base_some_.encode(), local_some_.encode(), remote_some_.encode(),
                                             collection_, local_side, remote_side, host, refused)
                            : merge_by_apply(base_some_.encode(), local_some_.encode(), remote_some_.encode(),
                                             {collection_.collection, rules_.fallback,
                                              rules_.fields == nullptr ? std::vector<field_rule>{} : *rules_.fields},
                                             local_side, remote_side, host, refused);
            if (!some) { return some.error(); }
            put_answers(out.record, some->record);
            std::move(some->conflicts.begin(), some->conflicts.end(), std::back_inserter(out.conflicts));
            std::move(some->decisions.begin(), some->decisions.end(), std::back_inserter(decisions_));
        }
        out.decisions = std::move(decisions_);
        put_in_order(out.decisions);
        put_in_order(out.conflicts);
        if (count_ != remote_.count) {
            bytes head;
            cbor_writer{head}.map(static_cast<std::size_t>(count_));
            out_->erase(out_->begin(), out_->begin() + static_cast<std::ptrdiff_t>(head_size));
            out_->insert(out_->begin(), head.begin(), head.end());
        }
        return out;
    }

private:
    /// A field that both changed, and where in the result its value goes.
    struct contest {
        bytes_view key;
        std::size_t at;
    };

    void walk() {
        for (;;) {
            // Where one side goes on like the base to the end, the rest is the other's, whatever it is.
            local_run_.find(base_, local_);
            if (local_run_.whole(base_, local_)) { return; }
            remote_run_.find(base_, remote_);
            if (remote_run_.whole(base_, remote_)) { return take_local(); }
            std::size_t const run = (std::min)(local_run_.end, remote_run_.end);
            if (run > base_.at) {
                std::size_t const begin = base_.at;
                base_.pass_until(run);
                for (field_walk* const side : {&local_, &remote_}) {
                    side->at += base_.at - begin;
                    side->there = false;
                }
            }
            bool const b = base_.look();
            bool const l_same = b && base_.end <= local_run_.end;
            bool const r_same = b && base_.end <= remote_run_.end;
            if (l_same) { local_.look_like(base_); }
            if (r_same) { remote_.look_like(base_); }
            bool const l = local_.look();
            bool const r = remote_.look();
            if (!b && !l && !r) { return; }
            if (b && r && l_same && equal(base_.key(), remote_.key())) {  // the remote side's edit of a field
                base_.pass();
                local_.pass();
                remote_.pass();
                continue;
            }
            bytes_view least;
            for (auto const& [is, w] : {std::pair{b, &base_}, std::pair{l, &local_}, std::pair{r, &remote_}}) {
                if (is && (least.empty() || compare(w->key(), least) < 0)) { least = w->key(); }
            }
            one(least, b && equal(base_.key(), least), l && equal(local_.key(), least),
                r && equal(remote_.key(), least));
        }
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
            // The remote side's field, or none, is in the result as it is.
        } else if (remote_kept) {
            replace(l, r, l ? local_.pair() : bytes_view{});
        } else if (!inside(key, b && l && r) && !chosen(key, b, l, r, agree)) {
            replace(false, r, {});
            contests_.push_back({key, out_->size()});
            if (b) { base_some_.add(key, base_.value()); }
            if (l) { local_some_.add(key, local_.value()); }
            if (r) { remote_some_.add(key, remote_.value()); }
        }
        if (b) { base_.pass(); }
        if (l) { local_.pass(); }
        if (r) { remote_.pass(); }
        added_ += static_cast<std::uint64_t>(l) - static_cast<std::uint64_t>(b);
    }
    /// All fields that are left are as the local side has them.
    void take_local() {
        flush(remote_.at);
        from_ = remote_.size;
        append(*out_, {local_.data + local_.at, local_.size - local_.at});
        count_ += local_.count - base_.count - added_;
    }
    /// A map that both changed, under the rule `nested`: the same inside of it. False: it is another kind of field.
    [[nodiscard]] bool inside(bytes_view key, bool all_there) {
        std::string_view const field = as_text(key_text(key));
        if (!all_there || depth_ == diff_depth_max || rules_.of(field) != rule::nested) { return false; }
        for (field_walk const* w : {&base_, &local_, &remote_}) {
            if (!text_keyed(w->value())) { return false; }
        }
        field_merge inner(base_.value(), local_.value(), remote_.value(), rules_.inside(field), collection_,
                          depth_ + 1);
        if (refused_.code != errc{}) { return true; }  // it is over: the first is told of
        auto both = inner.run(local_side_, remote_side_, host_, told_);
        if (!both) {
            if (told_ != nullptr && !told_->empty()) { *told_ = std::string{field} + '.' + *told_; }
            refused_ = both.error();
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
            return true;
        }
        replace(true, true, key);
        append(*out_, both->record);
        return true;
    }
    /// A field whose rule takes one of the two values: by the same choice as `apply`'s. False: another kind of rule.
    [[nodiscard]] bool chosen(bytes_view key, bool b, bool l, bool r, bool agree) {
        std::string_view const field = as_text(key_text(key));
        rule const by = rules_.of(field);
        // Of what was no map with names as keys there is nothing inside to merge.
        bool const flat = by == rule::nested && !agree && !(b && text_keyed(base_.value()));
        if ((!chooses_a_side(by) && !flat) || by == rule::manual || by == rule::authority_time) { return false; }
        author_index const mine =
            local_side_.author != remote_side_.author ? local_side_.author : remote_side_.author + 1;
        choice const c = choose(by, {pending_position, local_side_.stamp, mine},
                                {2, remote_side_.stamp, remote_side_.author}, merge_hint::merge, host_);
        decisions_.push_back({std::string{field}, by, c.won, c.why});
        if (c.won == winner::mutation) { replace(l, r, l ? local_.pair() : bytes_view{}); }
        return true;
    }
    /// Appends what is the remote side's and not yet in the result.
    void flush(std::size_t until) {
        if (until > from_) { append(*out_, {remote_.data + from_, until - from_}); }
        from_ = until;
    }
    /// Puts `pair`, if `there`, where the remote side's field is, if `r`, or would be.
    void replace(bool there, bool r, bytes_view pair) {
        flush(remote_.at);
        if (r) { from_ = remote_.end; }
        append(*out_, pair);
        count_ += static_cast<std::uint64_t>(there) - static_cast<std::uint64_t>(r);
    }
    void put_answers(bytes& record, bytes_view decided) {
        field_walk answers{decided};
        bytes all;
        all.reserve(record.size() + decided.size());
        std::size_t taken = 0;
        for (contest const& c : contests_) {
            append(all, bytes_view{record}.subspan(taken, c.at - taken));
            taken = c.at;
            if (!answers.look() || !equal(answers.key(), c.key)) { continue; }
            append(all, answers.pair());
            answers.pass();
            ++count_;
        }
        append(all, bytes_view{record}.subspan(taken));
        record = std::move(all);
    }

    field_walk base_, local_, remote_;
    rule_view rules_;
    collection_rules const& collection_;
    std::size_t depth_;
    side local_side_{}, remote_side_{};
    merge_host const* host_ = nullptr;
    failure refused_{};
    std::string* told_ = nullptr;
    std::vector<std::string> conflicts_{};
    common_run local_run_{}, remote_run_{};
    bytes* out_ = nullptr;
    std::size_t from_ = 0;     ///< in the remote side: what comes behind is not yet in the result
    std::uint64_t count_ = 0;  ///< fields of the result
    std::uint64_t added_ = 0;  ///< fields that the local side has more than the base, of those passed
    std::vector<contest> contests_{};
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
                                                         side remote_side, merge_host const* host,
                                                         std::span<std::uint32_t const> base_begins = {},
                                                         std::string* refused = nullptr) {
    if (refused != nullptr) { refused->clear(); }
    if (!field_by_field(rules, host)) {
        return merge_by_apply(base, local, remote, rules, local_side, remote_side, host, refused);
    }
    field_merge all(base, local, remote, rules.view(), rules);
    all.base_begins(base_begins);
    return all.run(local_side, remote_side, host, refused);
}

}  // namespace syncline::inline SYNCLINE_ABI::detail
