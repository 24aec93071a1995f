// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Three-way merge on its own: `diff(base, local)` applied to `remote`, by the same apply as everywhere.

#include <string>

#include <syncline/merge/field_index.hpp>
#include <syncline/merge/field_merge.hpp>
#include <syncline/merge/member_merge.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Merges two descendants of `base`, all three canonical maps with text keys which were validated when they entered
/// (`validate_fields`, `decode_reply`, `encode_record`): they are not checked again.
///
/// A field that one side changed takes that side's value; a field that both changed is decided by its rule; groups,
/// guards and references count where there are any.
/// The sides must differ in (stamp, author), else the remote one wins ties.
/// Errors: `errc::type_mismatch` and `errc::overflow` for values that their rules can't take, `errc::forbidden` and
/// `errc::not_found` where a guard or a reference refuses what the local side did and the remote one did nothing,
/// `errc::malformed` where both sides changed a field to what is no CBOR. Maps that are not canonical give a meaningless
/// record, or an error. Where such an error is about one field its name goes to `refused`, if there is one: of a field inside
/// of another the way to it with dots; else it is emptied.
/// Cost: of comparing memory, of reading the heads of the base up to where one side goes on like it, and of the rules
/// where both sides changed a field; one allocation where there is none.
[[nodiscard]] inline result<merged<bytes>> three_way_validated(bytes_view base, bytes_view local, bytes_view remote,
                                                               collection_rules const& rules,
                                                               side local_side = {timestamp{1}, 1},
                                                               side remote_side = {timestamp{1}, 2},
                                                               merge_host const* host = nullptr,
                                                               std::string* refused = nullptr) {
    return detail::merge_encoded(base, local, remote, rules, local_side, remote_side, host, {}, refused);
}

/// The same with the base's index, which `index_fields` made of it when it entered.
/// Cost: near that of comparing memory; no head is read but those of the fields that changed.
[[nodiscard]] inline result<merged<bytes>> three_way_validated(
    bytes_view base, field_index const& index, bytes_view local, bytes_view remote, collection_rules const& rules,
    side local_side = {timestamp{1}, 1}, side remote_side = {timestamp{1}, 2}, merge_host const* host = nullptr,
    std::string* refused = nullptr) {
    SYNCLINE_ASSERT(index.begins().empty() || index.begins().back() == base.size());
    return detail::merge_encoded(base, local, remote, rules, local_side, remote_side, host, index.begins(), refused);
}

/// The same for maps of which nothing is known. Errors: those of `validate_fields` too.
[[nodiscard]] inline result<merged<bytes>> three_way(bytes_view base, bytes_view local, bytes_view remote,
                                                     collection_rules const& rules, side local_side = {timestamp{1}, 1},
                                                     side remote_side = {timestamp{1}, 2},
                                                     merge_host const* host = nullptr, std::string* refused = nullptr) {
    if (refused != nullptr) { refused->clear(); }
    for (bytes_view const fields : {base, local, remote}) {
        if (auto ok = validate_fields(fields); !ok) { return ok.error(); }
    }
    return three_way_validated(base, local, remote, rules, local_side, remote_side, host, refused);
}

/// The same for described structs; the rules stand beside the members and are known at compile time.
///
/// What one side alone changed is taken without being encoded or looked at further.
/// Errors: those of `encode_field` and `decode_field` of the members that both sides changed, too.
/// Cost: that of comparing the members, and of one copy; for members that both changed, as of dynamic records.
template <described T>
[[nodiscard]] result<merged<T>> three_way(T const& base, T const& local, T const& remote,
                                          side local_side = {timestamp{1}, 1}, side remote_side = {timestamp{1}, 2},
                                          merge_host const* host = nullptr, std::string* refused = nullptr) {
    return detail::member_merge<T>(base, local, remote).run(local_side, remote_side, host, refused);
}

}  // namespace syncline::inline SYNCLINE_ABI
