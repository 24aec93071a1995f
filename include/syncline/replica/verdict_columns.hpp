// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The verdicts of a reply in columns: most say no more than that a mutation took effect, where and when.

#include <cstddef>
#include <cstdint>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/replica/columns.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Appends verdicts as one item: an array of how many there are; sequences as differences; kinds; versions as
/// differences; stamps in two columns; an array of those that say more, whose kind is 0 in its column and who stand
/// in no other column but the sequences'.
template <class Verdict>
void encode_verdict_columns(cbor_writer& w, std::vector<Verdict> const& all) {
    integer_column_writer sequences;
    integer_column_writer kinds;
    integer_column_writer versions;
    stamp_column_writer stamps;
    bytes whole;
    cbor_writer each{whole};
    std::size_t more = 0;
    for (Verdict const& v : all) {
        Verdict plain;
        plain.sequence = v.sequence;
        plain.kind = v.kind;
        plain.version = v.version;
        plain.stamp = v.stamp;
        sequences.add_difference(v.sequence);
        if (!(plain == v)) {
            kinds.add(0);
            encode_verdict(each, v);
            ++more;
            continue;
        }
        kinds.add(static_cast<std::int64_t>(v.kind));
        versions.add_difference(v.version);
        stamps.add(v.stamp.raw);
    }
    w.array(7);
    w.unsigned_integer(all.size());
    sequences.finish(w);
    kinds.finish(w);
    versions.finish(w);
    stamps.finish(w);
    w.array(more);
    w.raw(whole);
}

/// Reads what `encode_verdict_columns` wrote, of a stranger too; on anything else the reader has failed.
/// `kind_of(n)` says what kind a number of the wire is, `decode_whole(in)` reads one that says more. At most `verdicts_max` of them, which take `limits.bytes_max`
/// bytes of memory at most.
template <class Verdict, class KindOf, class DecodeWhole>
[[nodiscard]] std::vector<Verdict> decode_verdict_columns(cbor_reader& in, decode_limits const& limits,
                                                          std::size_t verdicts_max, KindOf&& kind_of,
                                                          DecodeWhole&& decode_whole) {
    std::vector<Verdict> all;
    if (in.array() != 7) { in.fail({errc::malformed, "verdicts of the wrong length"}); }
    std::uint64_t const count = in.unsigned_integer();
    if (count > verdicts_max || count > limits.bytes_max / sizeof(Verdict)) {
        in.fail({errc::limit, "too many items in one message"});
    }
    auto const integers = [&] { return integer_column{in.byte_string(), limits}; };
    integer_column sequences = integers();
    integer_column kinds = integers();
    integer_column versions = integers();
    bytes_view const millis = in.byte_string();
    stamp_column stamps{millis, in.byte_string(), limits};
    std::size_t more = in.array();
    for (std::uint64_t i = 0; i < count && !in.failed(); ++i) {
        std::uint64_t const sequence = sequences.next_sum();
        auto const kind = static_cast<std::uint64_t>(kinds.next());
        auto const state = detail::state_of(sequences, kinds, versions, stamps);
        if (!state) {
            in.fail(state.error());
        } else if (kind != 0) {
            Verdict v;
            v.sequence = sequence;
            v.kind = kind_of(kind);
            v.version = versions.next_sum();
            v.stamp = timestamp{stamps.next()};
            all.push_back(std::move(v));
        } else if (more == 0) {
            in.fail({errc::malformed, "a verdict is missing"});
        } else {
            --more;
            all.push_back(decode_whole(in));
            if (all.back().sequence != sequence) { in.fail({errc::malformed, "a verdict of another sequence"}); }
        }
    }
    if (more != 0) { in.fail({errc::malformed, "verdicts that nobody asked for"}); }
    auto const closed = detail::close_all(sequences, kinds, versions, stamps);
    if (!closed) { in.fail(closed.error()); }
    return all;
}

}  // namespace syncline::inline SYNCLINE_ABI
