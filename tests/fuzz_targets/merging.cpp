// SPDX-License-Identifier: BSL-1.0

/// What strangers may send to be merged: operations inside of fields, tables of rules, deltas, edits of elements, texts;
/// and maps that were never canonical. Always an error or a value that holds; never more than the limits.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <syncline/merge.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

bytes array_of(std::vector<bytes> const& items) {
    bytes out;
    cbor_writer w{out};
    w.array(items.size());
    for (bytes const& i : items) { w.raw(i); }
    return out;
}
bytes number(std::uint64_t n) {
    bytes out;
    cbor_writer{out}.unsigned_integer(n);
    return out;
}

bytes any_value(choices& in, op_kind kind, int depth) {
    if (in.one_in(5)) { return fuzz::any_item(in); }
    switch (kind) {
        case op_kind::elements: {
            std::vector<bytes> edits;
            for (std::uint64_t n = in.below(4); n != 0; --n) {
                bytes const a = number(in.below(4));
                bytes const b = in.one_in(3) ? bytes{std::byte{0xF6}} : number(in.below(4));
                std::uint64_t const verb = 1 + in.below(5);
                edits.push_back(verb <= 2 ? array_of({number(verb), a}) : array_of({number(verb), a, b}));
            }
            return array_of(edits);
        }
        case op_kind::revise: {
            bytes prior;
            bytes next;
            std::string_view const texts[] = {"a b c", "a b d", "x b c", "", "a\nb\n"};
            cbor_writer{prior}.text(in.of(texts));
            cbor_writer{next}.text(in.of(texts));
            if (in.one_in(3)) { return array_of({array_of({number(1), number(2)}), array_of({number(2)})}); }
            return array_of({prior, next});
        }
        case op_kind::nested: {
            bytes out;
            cbor_writer w{out};
            std::size_t const n = static_cast<std::size_t>(in.below(3));
            w.array(n);
            for (std::size_t i = 0; i != n; ++i) {
                field_op op{i == 0 ? "p" : "q", static_cast<op_kind>(1 + in.below(6)), {}, {}};
                if (op.kind == op_kind::nested && depth == 0) { op.kind = op_kind::set; }
                if (op.kind != op_kind::unset) { op.value = any_value(in, op.kind, depth - 1); }
                encode_operation(w, op, {});
            }
            return out;
        }
        default: return in.below(2) == 0 ? number(in.below(4)) : fuzz::any_item(in);
    }
}

void operations(choices& in) {
    collection_rules by{"things", rule::last_writer, {}};
    std::string_view const names[] = {"a", "b", "c"};
    for (std::string_view const n : names) {
        field_rule f{std::string{n}, static_cast<rule>(1 + in.below(rules_count))};
        if (f.decides == rule::nested) { f.inner = {{"p", static_cast<rule>(1 + in.below(rules_count))}}; }
        by.fields.push_back(std::move(f));
    }
    by.deletes = static_cast<deletion>(1 + in.below(3));
    if (in.one_in(4)) { by.groups = {{"g", rule::last_writer, {"a", "b"}}}; }
    std::optional<row> current;
    position head = 0;
    while (!in.done()) {
        mutation m;
        m.record = record_key{"things", "x"};
        m.stamp = timestamp{in.below(8)};
        m.life = current ? current->life : 1;
        m.kind = !current ? change_kind::create : in.one_in(8) ? change_kind::erase : change_kind::update;
        m.base = head == 0 ? 0 : in.below(head + 1);
        m.hint = static_cast<merge_hint>(in.below(8) < 6 ? 0 : 1 + in.below(2));
        for (std::string_view const n : names) {
            if (m.kind == change_kind::erase || in.below(2) == 0) { continue; }
            field_op op{std::string{n}, static_cast<op_kind>(1 + in.below(6)), {}, m.stamp};
            if (op.kind != op_kind::unset) { op.value = any_value(in, op.kind, 2); }
            m.ops.push_back(std::move(op));
        }
        apply_context c;
        c.author = static_cast<author_index>(1 + in.below(3));
        c.at = head + 1;
        auto const before = current;
        auto const out = apply(current, m, by, c);
        SYNCLINE_FUZZ_REQUIRE(out.changed || current == before);
        SYNCLINE_FUZZ_REQUIRE((out.verdict == verdict_kind::rejected) == (out.reason != errc{}));
        if (!out.changed) { continue; }
        ++head;
        SYNCLINE_FUZZ_REQUIRE(current->fields.empty() || validate_fields(current->fields));
        bytes raw;
        cbor_writer w(raw);
        encode_row(w, *current);
        cbor_reader r(raw);
        row const again = decode_row(r);
        SYNCLINE_FUZZ_REQUIRE(r.finish() && again == *current);
        // A difference of any two of its states leads from one to the other, where nobody else is.
        if (before && !before->deleted && !current->deleted && by.groups.empty()) {
            (void)diff(before->fields, current->fields, by, {});
            auto const d = delta_between(before->fields, current->fields);
            SYNCLINE_FUZZ_REQUIRE(d && apply_delta(*d, before->fields)->fields == current->fields);
        }
    }
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{600}));
    switch (in.below(5)) {
        case 0: {
            auto const table = decode_rule_table(in.rest());
            if (table) {
                SYNCLINE_FUZZ_REQUIRE(decode_rule_table(encode(*table))->collections() == table->collections());
            }
            break;
        }
        case 1: {
            bytes_view const b = in.rest();
            cbor_reader r{b};
            record_delta const d = decode_delta(r);
            if (!r.finish()) { break; }
            bytes again;
            cbor_writer w{again};
            encode_delta(w, d);
            SYNCLINE_FUZZ_REQUIRE(equal(again, b));
            break;
        }
        case 2: {
            // Bytes that nobody has checked.
            bytes const a = to_bytes(in.some(80));
            bytes const b = to_bytes(in.some(80));
            bytes const c = in.below(2) == 0 ? a : to_bytes(in.some(80));
            collection_rules const by{"things", in.below(2) == 0 ? rule::nested : rule::last_writer, {}};
            (void)three_way_validated(a, b, c, by);
            (void)three_way(a, b, c, by);
            break;
        }
        default: operations(in); break;
    }
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 12, .length = 200)
