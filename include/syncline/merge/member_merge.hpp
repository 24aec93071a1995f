// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The merge of described structs, member by member, with the rules that stand beside them.

#include <array>
#include <cstddef>
#include <iterator>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <syncline/merge/field_merge.hpp>

namespace syncline::inline SYNCLINE_ABI::detail {

/// Merges described structs member by member; only what both sides changed is encoded.
template <class T>
class member_merge {
public:
    member_merge(T const& base, T const& local, T const& remote) : base_(base), local_(local), remote_(remote) {}

    /// `refused`: told of an error's field, where it is one's.
    [[nodiscard]] result<merged<T>> run(side local_side, side remote_side, merge_host const* host,
                                        std::string* refused = nullptr) {
        told_ = refused;
        if (told_ != nullptr) { told_->clear(); }
        if constexpr (description_of<T>.keeps_unknown) {
            if (!merge_unknown()) { return whole(local_side, remote_side, host); }
        }
        bool const watched = host != nullptr && (refers || !host->guards.empty());
        if (together || watched) { return whole(local_side, remote_side, host); }
        return member_by_member(local_side, remote_side, host);
    }

private:
    template <class Option>
    static constexpr bool any_field_has = std::apply(
        [](auto const&... f) { return (std::remove_cvref_t<decltype(f)>::template has_option<Option> || ...); },
        description_of<T>.fields);
    static constexpr bool together = any_field_has<in_group> || has_record_option<T, whole_record>;
    static constexpr bool refers = any_field_has<refers_to>;

    [[nodiscard]] result<merged<T>> member_by_member(side local_side, side remote_side, merge_host const* host) {
        out_.record = remote_;
        status ok;
        [&]<std::size_t... I>(std::index_sequence<I...>) { (one<I>(ok), ...); }
        (std::make_index_sequence<field_count<T>>{});
        if (!ok) { return ok.error(); }
        if constexpr (description_of<T>.keeps_unknown) { record_access::unknown_of(out_.record) = std::move(unknown_); }
        if (base_some_.count == 0 && local_some_.count == 0 && remote_some_.count == 0) { return std::move(out_); }
        auto const rules = rules_of<T>();
        bytes const b = base_some_.encode();
        bytes const l = local_some_.encode();
        bytes const r = remote_some_.encode();
        auto some = field_merge(b, l, r, rules.view(), rules).run(local_side, remote_side, host, told_);
        if (!some) { return some.error(); }
        std::move(some->decisions.begin(), some->decisions.end(), std::back_inserter(out_.decisions));
        put_in_order(out_.decisions);
        out_.conflicts = std::move(some->conflicts);
        [&]<std::size_t... I>(std::index_sequence<I...>) { (take<I>(some->record, ok), ...); }
        (std::make_index_sequence<field_count<T>>{});
        if (!ok) { return ok.error(); }
        return std::move(out_);
    }

    template <std::size_t Place>
    void one(status& ok) {
        constexpr auto const& f = field_in_order<T, Place>();
        auto const& b = f.get(base_);
        auto const& l = f.get(local_);
        auto const& r = f.get(remote_);
        if (record_access::same(b, l)) { return; }
        if (record_access::same(b, r)) {
            f.get(out_.record) = l;
            return;
        }
        constexpr rule by = f.option(rule::last_writer);
        if (by != rule::counter && by != rule::nested && record_access::same(l, r)) {
            out_.decisions.push_back({std::string{f.name}, by, winner::both, reason::same});
            return;
        }
        contested_[Place] = true;
        bool const fine = ok.has_value();
        add<Place>(base_some_, b, ok);
        add<Place>(local_some_, l, ok);
        add<Place>(remote_some_, r, ok);
        if (fine && !ok) { tell_field(told_, std::string{f.name}); }
    }
    template <std::size_t Place, class M>
    void add(small_map& to, M const& m, status& ok) {
        if (!record_access::present(m)) { return; }
        append(to.pairs, encoded_key<T, Place>);
        ++to.count;
        status done;
        if constexpr (is_optional<M>::value) {
            done = encode_field(*m, to.pairs);
        } else {
            done = encode_field(m, to.pairs);
        }
        if (!done && ok) { ok = done; }
    }
    template <std::size_t Place>
    void take(bytes const& record, status& ok) {
        if (!contested_[Place] || !ok) { return; }
        constexpr auto const& f = field_in_order<T, Place>();
        using member = std::remove_cvref_t<decltype(f.get(base_))>;
        auto const found = map_find(record, f.name);
        if (!found) {
            ok = found.error();
        } else if (!*found) {
            f.get(out_.record) = member{};
        } else if constexpr (is_optional<member>::value) {
            auto value = decode_field<typename member::value_type>(**found);
            if (!value) {
                ok = value.error();
            } else {
                f.get(out_.record) = std::move(*value);
            }
        } else {
            auto value = decode_field<member>(**found);
            if (!value) {
                ok = value.error();
            } else {
                f.get(out_.record) = std::move(*value);
            }
        }
        if (!ok) { tell_field(told_, std::string{f.name}); }
    }

    /// False: both sides changed what the type doesn't know, which only the whole encoding can merge.
    [[nodiscard]] bool merge_unknown() {
        auto const& b = record_access::unknown_of(base_);
        auto const& l = record_access::unknown_of(local_);
        auto const& r = record_access::unknown_of(remote_);
        if (!(b == l) && !(b == r)) { return false; }
        unknown_ = b == l ? r : l;
        return true;
    }

    [[nodiscard]] result<merged<T>> whole(side local_side, side remote_side, merge_host const* host) {
        auto const b = encode_record(base_);
        if (!b) { return b.error(); }
        auto const l = encode_record(local_);
        if (!l) { return l.error(); }
        auto const r = encode_record(remote_);
        if (!r) { return r.error(); }
        auto both = merge_encoded(*b, *l, *r, rules_of<T>(), local_side, remote_side, host, {}, told_);
        if (!both) { return both.error(); }
        auto record = decode_record<T>(both->record);
        if (!record) { return record.error(); }
        return merged<T>{std::move(*record), std::move(both->decisions), std::move(both->conflicts)};
    }

    T const& base_;
    T const& local_;
    T const& remote_;
    merged<T> out_{};
    small_map base_some_{}, local_some_{}, remote_some_{};
    std::array<bool, field_count<T> == 0 ? 1 : field_count<T>> contested_{};
    unknown_fields unknown_{};
    std::string* told_ = nullptr;
};

}  // namespace syncline::inline SYNCLINE_ABI::detail
