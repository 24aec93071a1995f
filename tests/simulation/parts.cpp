// SPDX-License-Identifier: BSL-1.0

/// Mistakes planted in parts that no simulated world runs (parts/*.plant), each of which a property has to find: prints what found which.
/// With every switch off all properties hold. Run with a plant's name, that one alone.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <syncline_plants.hpp>

#include <syncline/audit.hpp>
#include <syncline/blob.hpp>
#include <syncline/conflict.hpp>
#include <syncline/core/random.hpp>
#include <syncline/delta.hpp>
#include <syncline/merge.hpp>
#include <syncline/replica/admission.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/storage/memory.hpp>

#include "delta/pairs.hpp"
#include "merge/folding.hpp"
#include "replica/promises.hpp"
#include "replica/strong_world.hpp"

namespace {

using namespace syncline;

// ---- Properties: true when they hold

bool records_come_back() {
    random_generator r(1);
    delta_scratch scratch;
    for (int i = 0; i < 200; ++i) {
        auto const [base, target] = delta_tests::pair(r, 3000);
        bytes delta, made;
        compact_encode(base, target, delta, scratch);
        if (!compact_decode(base, delta, made) || made != target) { return false; }
    }
    return true;
}
bool texts_come_back() {
    random_generator r(2);
    delta_scratch scratch;
    for (int i = 0; i < 50; ++i) {
        std::string base, target;
        for (int line = 0; line < 40; ++line) {
            std::string const words = "line " + std::to_string(below(r, 1000)) + '\n';
            base += words;
            target += below(r, 4) == 0 ? "edited " + std::to_string(below(r, 1000)) + '\n' : words;
            if (below(r, 3) == 0) {
                base += '\n';
                target += '\n';
            }
        }
        bytes delta, made;
        line_delta_encode(as_bytes(base), as_bytes(target), delta, scratch);
        if (!compact_decode(as_bytes(base), delta, made) || made != to_bytes(target)) { return false; }
    }
    return true;
}
bool files_come_back() {
    random_generator r(3);
    delta_scratch scratch;
    for (int i = 0; i < 60; ++i) {
        auto const [base, target] = delta_tests::pair(r, 20'000);
        bytes delta, made;
        vcdiff_encode(base, target, delta, scratch, {.level = delta_level::smaller});
        if (!vcdiff_decode(base, delta, made) || made != target) { return false; }
    }
    return true;
}
bool damage_is_told() {
    bytes const base(300, std::byte{1});
    bytes target(300);
    random_generator r(4);
    fill(r, target);
    delta_scratch scratch;
    bytes delta, made;
    vcdiff_encode(base, target, delta, scratch, {.checksum = true});
    for (std::size_t i = 0; i < delta.size(); ++i) {
        bytes bad = delta;
        bad[i] ^= std::byte{4};
        made.clear();
        if (vcdiff_decode(base, bad, made) && made != target) { return false; }
    }
    return true;
}
bytes record(std::string_view note) {
    bytes out;
    cbor_writer w(out);
    w.map(2);
    w.text("note");
    w.text(note);
    w.text("table");
    w.text("window");
    return out;
}
bool another_base_is_told() {
    bytes const a = record("one"), b = record("two"), other = record("six");
    delta_scratch scratch;
    bytes delta, made;
    field_delta_encode(value_view(a), value_view(b), delta, scratch);
    auto const refused = field_delta_apply(value_view(other), delta, made);
    return !refused && refused.error() == errc::not_found;
}
bool another_result_is_told() {
    no_codec none;
    delta_chooser<> chooser(none);
    bytes const base(3000, std::byte{'a'});
    bytes target = base, other = base, out, made;
    target[9] = std::byte{'b'};
    other[2000] = std::byte{'c'};
    (void)chooser.choose(1, bytes_view(base), target, out);
    return !chooser.apply(bytes_view(other), out, made, {}, sha256(target));
}
bool what_won_is_remembered() {
    no_codec none;
    delta_chooser<> chooser(none, {.explore_every = 8});
    bytes const base = record(std::string(400, 'x'));
    bytes const target = record(std::string(400, 'x') + 'y');
    int tried = 0;
    for (int i = 0; i < 64; ++i) {
        bytes out;
        auto const c = chooser.choose(1, bytes_view(base), target, out);
        tried += c.tried >> static_cast<unsigned>(delta_kind::field) & 1;
    }
    return tried < 32;
}
bool output_is_bounded() {
    bytes out;
    bounded_sink sink(out, 10);
    return !sink.write(bytes(11)) && out.empty();
}
bool collisions_are_told_apart() {
    // Two blocks with the same rolling checksum, by their last eight bytes.
    random_generator r(5);
    bytes block(256);
    fill(r, block);
    std::unordered_map<std::uint32_t, bytes> seen;
    for (;;) {
        fill(r, std::span<std::byte>(block).last(8));
        auto const [at, fresh] = seen.try_emplace(syncline::detail::rolling_of(block), block);
        if (fresh || at->second == block) { continue; }
        bytes signature, delta, made;
        signature_encode(at->second, {}, signature);
        delta_scratch scratch;
        auto const index = signature_index::read(signature);
        if (!index) { return false; }
        index->encode(block, delta, scratch);
        return vcdiff_decode(at->second, delta, made) && made == block;
    }
}

constexpr chunk_options little{.min = 64, .average = 256, .max = 1024};
bytes noise(std::uint64_t seed, std::size_t n) {
    random_generator r(seed);
    bytes out(n);
    fill(r, out);
    return out;
}
/// Collects and sweeps; whether the content is still there.
template <class Tx>
bool stays(blob_book const& book, Tx& tx, sha256_digest const& blob, bytes const& content) {
    storage_chunks chunks(tx);
    bytes back;
    return book.collect(tx, 1000) && book.sweep(tx, chunks, 1000) &&
           book.read(tx, chunks, blob, 0, content.size() + 1, back) && back == content;
}
bool what_is_owned_stays() {
    blob_book const book;
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    bytes const content = noise(6, 5000);
    auto const b = book.store(*tx, chunks, content, "", as_bytes("row"), little);
    if (!b || !book.retain(*tx, b->id, as_bytes("mutation"))) { return false; }
    return book.release(*tx, b->id, as_bytes("row")) && stays(book, *tx, b->id, content);
}
bool what_is_drafted_stays() {
    blob_book const book;
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    bytes const content = noise(7, 5000);
    auto const b = book.store(*tx, chunks, content, "", as_bytes("row"), little);
    blob_writer writer(book, as_bytes("draft"), "", little);
    if (!b || !writer.write(*tx, chunks, content)) { return false; }
    if (!book.release(*tx, b->id, as_bytes("row")) || !book.collect(*tx, 1000) || !book.sweep(*tx, chunks, 1000)) {
        return false;
    }
    auto const again = writer.finish(*tx, chunks);
    return again && stays(book, *tx, again->id, content);
}
bool other_bytes_are_refused() {
    blob_book const book;
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    auto const m = make_manifest(noise(8, 3000), "", little);
    return book.expect(*tx, m, as_bytes("row")) &&
           !book.arrived(*tx, chunks, m.chunks[0].id, noise(9, static_cast<std::size_t>(m.chunks[0].size)));
}
bool pieces_are_the_whole() {
    blob_book const book;
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    bytes const content = noise(10, 9000);
    blob_writer writer(book, as_bytes("row"), "", little);
    for (bytes_view rest = content; !rest.empty(); rest = rest.subspan((std::min)(rest.size(), std::size_t{100}))) {
        if (!writer.write(*tx, chunks, rest.first((std::min)(rest.size(), std::size_t{100})))) { return false; }
    }
    auto const b = writer.finish(*tx, chunks);
    return b && b->id == manifest_id(encode(make_manifest(content, "", little)));
}
bool rules_are_asked() {
    blob_network metered;
    metered.metered = true;
    blob_rule never;
    never.metered = false;
    blob_rule up_to;
    up_to.metered_bytes_max = 100;
    return !permits(never, metered, 1) && !permits(up_to, metered, 101) && permits(up_to, metered, 100);
}

// ---- Merging

std::string merged(std::string_view base, std::string_view local, std::string_view remote, text_unit unit) {
    auto const m = merge_text(base, local, remote, unit);
    return m && m->conflicts.empty() ? m->text : "(conflict)";
}
bool what_meets_is_asked() {
    return merged("a b c", "a x c", "a y c", text_unit::words) == "(conflict)" &&
           merged("a b c", "x b c", "a b y", text_unit::words) == "x b y";
}
bool characters_stay_whole() {
    // A family is one character: whoever changes the father and whoever changes the child are in each other's way.
    std::string const joint = "\xE2\x80\x8D", man = "\xF0\x9F\x91\xA8", woman = "\xF0\x9F\x91\xA9",
                      girl = "\xF0\x9F\x91\xA7", boy = "\xF0\x9F\x91\xA6";
    auto const family = [&](std::string const& a, std::string const& b) { return a + joint + woman + joint + b; };
    return merged(family(man, girl), family(woman, girl), family(man, boy), text_unit::characters) == "(conflict)";
}
bool items_are_asked_about() {
    using folding::array_item;
    using folding::number_item;
    auto const m =
        merge_sequence(array_item({number_item(1)}), array_item({number_item(2)}), array_item({number_item(3)}));
    return m && !*m;
}
collection_rules by(rule r) { return {"things", rule::last_writer, {{"f", r}}}; }
bool lists_are_order_free() {
    using namespace folding;
    bytes const p = text_item("p"), q = text_item("q");
    bytes const in_p = element("p", "1"), in_q = element("q", "2");
    deed const first{op_kind::elements, edits_item({{element_verb::insert, p, {}, in_p}})};
    deed const second{op_kind::elements, edits_item({{element_verb::insert, q, {}, in_q}})};
    std::optional<bytes> value;
    return order_free(array_item({element("a", "0")}), {{1, {5}, {first}}, {2, {6}, {second}}}, by(rule::list), value);
}
bool removed_is_gone() {
    using namespace folding;
    bytes const a = text_item("a"), edited = element("a", "9");
    deed const removes{op_kind::elements, edits_item({{element_verb::remove, a, {}, {}}})};
    deed const edits{op_kind::elements, edits_item({{element_verb::edit, a, {}, edited}})};
    std::optional<bytes> value;
    return order_free(array_item({element("a", "0")}), {{1, {5}, {removes}}, {2, {6}, {edits}}}, by(rule::list),
                      value) &&
           value == array_item({});
}
bool inserted_is_as_the_later_says() {
    using namespace folding;
    bytes const p = text_item("p");
    bytes const early = element("p", "1"), late = element("p", "2");
    deed const first{op_kind::elements, edits_item({{element_verb::insert, p, {}, early}})};
    deed const second{op_kind::elements, edits_item({{element_verb::insert, p, {}, late}})};
    std::optional<bytes> value;
    return order_free(array_item({}), {{1, {5}, {first}}, {2, {6}, {second}}}, by(rule::list), value) &&
           value == array_item({late});
}
bool moved_is_there_once() {
    using namespace folding;
    bytes const a = text_item("a"), c = text_item("c");
    auto r = start(array_item({element("a", "1"), element("b", "2"), element("c", "3")}));
    (void)lay(r, 1, 2, 1, 5, {{"f", op_kind::elements, edits_item({{element_verb::move, a, c, {}}}), {}}},
              by(rule::list));
    return value_of(r) == array_item({element("b", "2"), element("c", "3"), element("a", "1")});
}
bool added_stays() {
    using namespace folding;
    bytes const x = number_item(7);
    deed const adds{op_kind::elements, edits_item({{element_verb::add, x, {}, x}})};
    deed const removes{op_kind::elements, edits_item({{element_verb::remove, x, {}, {}}})};
    std::optional<bytes> value;
    return order_free(array_item({x}), {{1, {5}, {adds}}, {2, {6}, {removes}}}, by(rule::add_wins), value) &&
           value == array_item({x});
}
bool siblings_stay() {
    using namespace folding;
    deed const one{op_kind::set, array_item({number_item(1)})};
    deed const two{op_kind::set, array_item({number_item(2)})};
    std::optional<bytes> value;
    return order_free(array_item({}), {{1, {5}, {one}}, {2, {6}, {two}}}, by(rule::siblings), value) &&
           value == array_item({number_item(1), number_item(2)});
}
/// "At most 5 in the field that the data names."
guard_answer at_most_five(guard_input const& in, void const* field) {
    auto const is = in.new_value(static_cast<char const*>(field));
    bool const ok = !is || detail::integer_of(*is).value_or(0) <= 5;
    return {ok ? guard_answer::kind::accept : guard_answer::kind::veto, {}};
}
/// The fields that wait for a person when two have added three to b and to c at once, and the second has set a.
std::vector<std::string> waiting(merge_host const& host) {
    using namespace folding;
    collection_rules const rules{"things", rule::last_writer, {{"b", rule::counter}, {"c", rule::counter}}};
    auto const add = [](char const* f) { return field_op{f, op_kind::add, number_item(3), {}}; };
    std::optional<row> r = start(std::nullopt);
    r->fields = map_item({{"b", number_item(1)}, {"c", number_item(1)}});
    (void)lay(r, 1, 2, 1, 5, {add("b"), add("c")}, rules, &host);
    auto const met = lay(r, 2, 3, 1, 6, {{"a", op_kind::set, number_item(1), {}}, add("b"), add("c")}, rules, &host);
    std::vector<std::string> out;
    for (decision const& d : met.decisions) {
        if (d.won == winner::nobody) { out.push_back(d.field); }
    }
    return out;
}
bool guards_are_about_what_they_read() {
    merge_host host;
    host.guards = {{"c", {"z", "c"}, at_most_five, "c"}};
    return waiting(host) == std::vector<std::string>{"c"};
}
bool every_guard_is_told() {
    merge_host host;
    host.guards = {{"c", {"c"}, at_most_five, "c"}, {"b", {"b"}, at_most_five, "b"}};
    return waiting(host) == std::vector<std::string>{"b", "c"};
}
bool undo_spares_what_came_later() {
    using namespace folding;
    auto const delta = delta_between(map_item({{"a", number_item(1)}}), map_item({{"a", number_item(2)}}));
    bytes const later = map_item({{"a", number_item(3)}});
    auto const undone = apply_delta(inverse(*delta), later);
    return undone && undone->fields == later && undone->conflicts.size() == 1;
}
bool undone_is_nothing() {
    using namespace folding;
    auto const delta = delta_between(map_item({{"a", number_item(1)}}), map_item({{"a", number_item(2)}}));
    auto const both = compose(*delta, inverse(*delta));
    return both && both->empty();
}

// ---- Conflicts

bool what_touches_is_not_combined() {
    using folding::text_item;
    return !combine(text_item("one two"), text_item("six two"), text_item("one! two"));
}
wall_time at(std::int64_t seconds) { return wall_time{milliseconds{seconds * 1000}}; }
presence editing(std::uint64_t stamp, std::uint32_t seconds) {
    presence p;
    p.record = {"bookings", "b1"};
    p.who = to_bytes("ann");
    p.stamp = timestamp{stamp};
    p.seconds = seconds;
    return p;
}
bool nobody_holds_for_ever() {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here;
    if (!here.take(*tx, editing(1, 4'000'000'000), at(100))) { return false; }
    auto const all = here.of(*tx, {"bookings", "b1"}, at(160));
    return all && all->size() == 1 && (*all)[0].until <= at(100) + presence_options{}.lease_max;
}
bool who_is_done_stays_done() {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    presences const here;
    if (!here.take(*tx, editing(2, 0), at(100)) || !here.take(*tx, editing(1, 60), at(101))) { return false; }
    auto const all = here.of(*tx, {"bookings", "b1"}, at(102));
    return all && all->empty();
}
conflict clash() {
    using namespace folding;
    conflict c;
    c.record = {"bookings", "b1"};
    c.local.sequence = 1;
    c.local.stamp = timestamp{100};
    c.local.record = c.record;
    c.local.base = 4;
    c.local.ops = {{"table", op_kind::set, text_item("garden"), timestamp{100}}};
    c.base = map_item({{"table", text_item("hall")}});
    c.remote.emplace();
    c.remote->version = 9;
    c.remote->floor = {9, timestamp{200}, 2};
    c.remote->fields = map_item({{"table", text_item("terrace")}});
    c.fields = {{{"table"}, rule::manual, "", 0, 0, {}}};
    return c;
}
suggestion local_with(share16 confidence) {
    suggestion s;
    s.what = conflict_action::local;
    s.confidence = confidence;
    return s;
}
bool a_person_decides_their_fields() {
    automatic_options const o{.threshold = 0, .fields = {{"bookings", "table", true, 0}}};
    suggestion const sure = local_with(share_one);
    return !automatic_resolution(clash(), {&sure, 1}, o);
}
bool below_the_threshold_nothing_happens() {
    suggestion const unsure = local_with(share_one / 2), sure = local_with(share_one);
    automatic_options const o{.threshold = share_one / 2 + 1, .fields = {}};
    return !automatic_resolution(clash(), {&unsure, 1}, o) && automatic_resolution(clash(), {&sure, 1}, o);
}
bool the_fields_wish_goes_first() {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_preferences const wishes;
    bytes_view const ann = as_bytes("ann");
    if (!wishes.set(*tx, ann, "bookings", "", standing_choice::remote)) { return false; }
    if (!wishes.set(*tx, ann, "bookings", "table", standing_choice::local)) { return false; }
    auto const found = wishes.find(*tx, ann, "bookings", "table");
    return found && *found == standing_choice::local;
}
bool advice_is_from_people() {
    memory_storage store;
    auto tx = store.begin(access_mode::write);
    conflict_statistics const counts;
    collection_rules const rules{"bookings", rule::last_writer, {{"table", rule::manual}}};
    auto const done = settle(clash(), resolution::use_local(), rules, timestamp{300}, 1);
    if (!done || !counts.decided(*tx, clash(), *done, rules, true)) { return false; }
    auto const all = counts.most(*tx, 1);
    return all && all->size() == 1 && (*all)[0].decided == 0 && (*all)[0].automatic == 1;
}

// ---- Audit

/// A log of a person's entries, each with the same mail address and phone number.
struct personal_log {
    memory_storage store{};
    memory_storage::transaction tx;
    audit_log<> log{};
    random_generator random{11};
    bytes mail = folding::text_item("ann@example");
    bytes phone = folding::text_item("+49 30 1");

    personal_log() : tx(*store.begin(access_mode::write)) {
        (void)log.open(tx, at(1), random);
        for (int i = 0; i < 3; ++i) {
            audit_field const fields[] = {{"mail", mail}, {"phone", phone}};
            audit_item item;
            item.collection = "people";
            item.record = as_bytes("ann");
            item.personal = fields;
            (void)log.append(tx, item, random);
        }
    }
    bool redact(std::string_view field) {
        return log.redact_field(tx, "people", as_bytes("ann"), field, {}, random).has_value();
    }
    bool sound() {
        auto const report = log.verify(tx);
        return report && report->sound();
    }
    /// Writes an entry's row anew, what opens its personal fields replaced.
    void write(std::uint64_t index, std::vector<audit_field_opening> const& fields) {
        bytes key = to_bytes("ae");
        append_u64(key, index);
        bytes row;
        (void)tx.get(key, row);
        row.resize(row.size() - (**log.opening(tx, index)).fields.size());
        cbor_writer w{row};
        w.map(fields.size());
        for (audit_field_opening const& f : fields) { encode_field_opening(w, f); }
        (void)tx.put(key, row);
    }
    /// What opens an entry's fields; `held` keeps the bytes.
    std::vector<audit_field_opening> fields(std::uint64_t index, bytes& held) {
        held = (**log.opening(tx, index)).fields;
        std::vector<audit_field_opening> out;
        cbor_reader in{held};
        read_field_openings(in, [&](audit_field_opening const& f) { out.push_back(f); });
        return out;
    }
};
bool equal_values_look_different() {
    personal_log l;
    auto const a = *l.log.find(l.tx, 0), b = *l.log.find(l.tx, 1);
    return a->opened->personal[0].commitment != b->opened->personal[0].commitment;
}
bool redacted_values_are_gone() {
    personal_log l;
    if (!l.redact("mail")) { return false; }
    for (std::uint64_t i = 0; i < 3; ++i) {
        auto const e = *l.log.find(l.tx, i);
        if (e->opened->personal[0].item || e->opened->personal[1].item != l.phone) { return false; }
    }
    return true;
}
bool redactions_are_said() {
    personal_log l;
    return l.sound() && l.redact("mail") && l.sound();
}
bool taken_values_are_found() {
    personal_log l;
    if (!l.redact("mail")) { return false; }
    l.write(1, {});
    return !l.sound();
}
bool changed_values_are_found() {
    personal_log l;
    bytes held;
    auto fields = l.fields(1, held);
    fields[0].item = l.phone;
    l.write(1, fields);
    return !l.sound();
}
bool returned_values_are_found() {
    personal_log l;
    bytes held;
    auto const fields = l.fields(1, held);
    if (!l.redact("phone")) { return false; }
    l.write(1, fields);
    return !l.sound();
}
bool changed_archives_are_found() {
    personal_log l;
    auto const whole = l.log.export_segment(l.tx, 0, 3, {}, true);
    if (!whole || !verify_archive(sha256_function{}, *whole)) { return false; }
    bytes changed = *whole;
    auto const text = as_text(changed);
    auto const value = text.find("ann@example");
    if (value == std::string_view::npos) { return false; }
    changed[value] = std::byte{'e'};
    return !verify_archive(sha256_function{}, changed);
}

// ---- The authority's permissions and constraints

bytes texts(std::vector<std::pair<std::string_view, std::string_view>> const& fields) {
    bytes out;
    cbor_writer w(out);
    w.map(fields.size());
    for (auto const& [name, text] : fields) {
        w.text(name);
        w.text(text);
    }
    return out;
}
/// An authority, and one device that tells it one change after the other; fields are given in their canonical order.
struct little_house {
    constraint_table constraints{
        {{"one_a_seat", "tickets", {"seat"}}}, {{"of_show", "tickets", "show", "shows", parent_deletion::cascades}}, 3};
    check_table checks{};
    std::vector<access_rule> rules{};
    memory_storage store{};
    id128 device{{std::byte{1}}};
    std::uint64_t sequence = 0;
    bool constrained = true;

    using guarded = authority<access_policy<>>;
    static constexpr instant now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1}}};

    little_house() {
        access_rule all;
        all.creates = all.updates = all.erases = true;
        rules.push_back(all);
        field_check seat{"seat", field_types::text};
        seat.length_max = 3;
        checks.add({"tickets", {seat}});
        random_generator random(1);
        auto tx = store.begin(access_mode::write);
        if (self().open(*tx, now, random)) { (void)tx->commit(); }
    }
    [[nodiscard]] guarded self() const {
        authority_options o;
        o.standings = true;
        o.checks = &checks;
        if (constrained) { o.constraints = &constraints; }
        return guarded{{}, o, access_policy<>{rules}};
    }
    std::optional<verdict> decide(change_kind kind, record_key const& k, bytes const& fields = {}) {
        auto const a = self();
        mutation m;
        m.kind = kind;
        m.record = k;
        {
            auto tx = store.begin(access_mode::read);
            auto const there = a.find(*tx, k);
            if (there && *there) {
                m.life = (*there)->life + (kind == change_kind::create ? 1 : 0);
                m.base = (*there)->version;
            }
        }
        m.sequence = sequence + 1;
        m.stamp = timestamp{m.sequence << 16U};
        cbor_map_cursor at{fields};
        while (!fields.empty() && at.next()) {
            m.ops.push_back({std::string{at.key()}, op_kind::set, to_bytes(at.value()), m.stamp});
        }
        request q;
        q.replica = {device, 1};
        bytes raw;
        cbor_writer w(raw);
        encode_mutation(w, m);
        q.mutations.push_back(raw);
        auto const answer = serve(store, a, "anna", encode(q), now);
        if (!answer) { return std::nullopt; }
        auto p = decode_reply(*answer);
        if (!p || p->verdicts.empty()) { return std::nullopt; }
        ++sequence;
        return p->verdicts[0];
    }
    bool does(change_kind kind, record_key const& k, bytes const& fields = {}) {
        auto const v = decide(kind, k, fields);
        return v && v->kind == verdict_kind::applied;
    }
    bool create(std::string_view collection, std::string_view id, bytes const& fields = {}) {
        return does(change_kind::create, {collection, id}, fields);
    }
};
bool a_seat_that_is_left_is_free() {
    little_house h;
    return h.create("tickets", "1", texts({{"seat", "12"}})) && !h.create("tickets", "2", texts({{"seat", "12"}})) &&
           h.does(change_kind::update, {"tickets", std::string_view{"1"}}, texts({{"seat", "13"}})) &&
           h.create("tickets", "2", texts({{"seat", "12"}})) &&
           h.does(change_kind::erase, {"tickets", std::string_view{"2"}}) &&
           h.create("tickets", "3", texts({{"seat", "12"}}));
}
bool an_index_of_other_rows_is_told() {
    little_house h;
    h.constrained = false;
    if (!h.create("tickets", "1", texts({{"seat", "12"}}))) { return false; }
    h.constrained = true;
    return !h.decide(change_kind::create, {"tickets", std::string_view{"2"}}, texts({{"seat", "12"}}));
}
bool children_have_their_parent() {
    little_house h;
    record_key const show{"shows", std::string_view{"s"}};
    bytes const of_show = texts({{"show", "s"}});
    if (h.create("tickets", "1", of_show) || !h.create("shows", "s")) { return false; }
    for (std::string_view const id : {"1", "2", "3", "4"}) {
        if (!h.create("tickets", id, of_show)) { return false; }
    }
    // One more than one deletion may take along.
    if (h.does(change_kind::erase, show)) { return false; }
    if (!h.does(change_kind::erase, {"tickets", std::string_view{"4"}}) || !h.does(change_kind::erase, show)) {
        return false;
    }
    {
        auto tx = h.store.begin(access_mode::read);
        auto const child = h.self().find(*tx, {"tickets", std::string_view{"1"}});
        if (!child || !*child || !(*child)->deleted) { return false; }
    }
    return !h.create("tickets", "5", of_show);
}
bool the_forbidden_learn_nothing() {
    little_house h;
    h.rules.clear();
    auto const v = h.decide(change_kind::update, {"tickets", std::string_view{"1"}}, texts({{"seat", "12"}}));
    return v && v->kind == verdict_kind::rejected && v->reason == errc::forbidden;
}
bool owners_create_their_own() {
    little_house h;
    h.rules[0].owner = "guest";
    return h.create("tickets", "1", texts({{"guest", "anna"}})) && !h.create("tickets", "2", texts({{"guest", "ben"}}));
}
bool updates_are_checked() {
    little_house h;
    return h.create("tickets", "1", texts({{"seat", "12"}})) &&
           !h.does(change_kind::update, {"tickets", std::string_view{"1"}}, texts({{"seat", "1234"}}));
}
bool the_refused_are_not_charged() {
    admission_options o;
    o.requests.burst = 3;
    o.kilobytes.burst = 10;
    admission door(o);
    random_generator random(1);
    monotonic_time const now{milliseconds{5}};
    bool holds = door.admit("anna", 10'000, 0, now, random).count() == 0;
    for (int i = 0; i < 9; ++i) { holds = holds && door.admit("anna", 10'000, 0, now, random).count() != 0; }
    return holds && door.admit("anna", 0, 0, now, random).count() == 0;
}
bool quarantine_holds_writes() {
    little_house h;
    {
        auto tx = h.store.begin(access_mode::write);
        if (!h.self().set_standing(*tx, h.device, device_standing::quarantined) || !tx->commit()) { return false; }
    }
    return !h.decide(change_kind::create, {"shows", std::string_view{"s"}});
}
bool strong_writes_saw_what_is_there() {
    for (std::uint64_t seed = 1; seed <= 12; ++seed) {
        strong_world::crowd all{seed};
        if (!all.run(120).empty()) { return false; }
    }
    return true;
}

opened_envelope carried_sample(std::uint64_t sequence) {
    mutation m;
    m.sequence = sequence;
    m.kind = change_kind::erase;
    m.record = {"shows", "s"};
    envelope e;
    e.realm = "house";
    e.author.incarnation = 1;
    cbor_writer w{e.frozen};
    encode_mutation(w, m);
    mac_sealer sealer(as_bytes("k"), as_bytes("sixteen bytes or more"));
    auto const sealed = seal(e, sealer);
    return *open_envelope(*sealed);
}
/// A reply with a deletion comes once more, after everybody has it and the tombstone is gone at both ends.
bool what_was_heard_changes_nothing() {
    struct device {
        memory_storage store{};
        replica self{};
        random_generator random;
        explicit device(std::uint64_t seed) : random(seed) {}
    };
    instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1}}};
    memory_storage store;
    authority_options o;
    o.leases.length = milliseconds{1'000'000};
    authority<> const home{{}, o};
    device anna(1), ben(2);
    bool sound = true;
    auto const in = [&](memory_storage& s, auto&& f) {
        auto tx = s.begin(access_mode::write);
        auto const done = f(*tx);
        sound = sound && done.has_value() && tx->commit().has_value();
    };
    auto const hear = [&](device& d, bytes_view said) {
        in(d.store, [&](auto& tx) { return d.self.absorb(tx, said, now, d.random); });
    };
    auto const exchange = [&](device& d) {
        in(d.store, [&](auto& tx) { return d.self.prepare(tx, now); });
        bytes asked, said;
        in(d.store, [&](auto& tx) {
            auto q = d.self.request_message(tx);
            if (q) { asked = *q; }
            return q;
        });
        if (auto answer = serve(store, home, "anna", asked, now)) { said = *answer; }
        hear(d, said);
        return said;
    };
    auto const contents = [](memory_storage& s) {
        bytes all;
        auto tx = s.begin(access_mode::read);
        (void)tx->scan({}, [&](bytes_view k, bytes_view v) {
            append(all, k);
            append(all, v);
            return true;
        });
        return all;
    };
    in(store, [&](auto& tx) { return home.open(tx, now, anna.random); });
    for (device* d : {&anna, &ben}) {
        in(d->store, [&](auto& tx) { return d->self.open(tx, "anna", now, d->random); });
    }
    record_key const k{"things", std::string_view{"a"}};
    in(anna.store, [&](auto& tx) { return anna.self.create(tx, k, texts({{"name", "x"}}), now); });
    (void)exchange(anna);
    (void)exchange(ben);
    in(anna.store, [&](auto& tx) { return anna.self.erase(tx, k, now); });
    (void)exchange(anna);
    bytes const told = exchange(ben);
    (void)exchange(anna);
    (void)exchange(ben);
    in(store, [&](auto& tx) { return home.collect(tx, 100); });
    (void)exchange(ben);
    bytes const before = contents(ben.store);
    hear(ben, told);
    return sound && contents(ben.store) == before;
}
/// What a device wrote last in one row of the origins and first in the next goes home in one request; then a copy of its
/// store sends the second alone.
bool origins_are_known_in_every_row() {
    memory_storage store;
    authority<> const home;
    random_generator random(1);
    instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1}}};
    {
        auto tx = store.begin(access_mode::write);
        if (!home.open(*tx, now, random) || !tx->commit()) { return false; }
    }
    auto const send = [&](std::uint32_t incarnation, std::vector<std::uint64_t> const& numbers) {
        request q;
        q.replica = {id128{{std::byte{1}}}, incarnation};
        for (std::size_t i = 0; i < numbers.size(); ++i) {
            mutation m;
            m.sequence = i + 1;
            m.stamp = timestamp{(numbers[i] + 1) << 16U};
            m.kind = change_kind::create;
            m.life = 1;
            m.record = {"things", std::string_view{"ab"}.substr(numbers[i] & 1U, 1)};
            bytes raw;
            cbor_writer w(raw);
            encode_mutation(w, m);
            q.mutations.push_back(raw);
            q.origins.push_back({7, numbers[i]});
        }
        auto const answer = serve(store, home, "anna", encode(q), now);
        auto const p = answer ? decode_reply(*answer) : result<reply>{answer.error()};
        return p ? p->verdicts : std::vector<verdict>{};
    };
    auto const first = send(1, {1'023, 1'024});
    auto const again = send(2, {1'024});
    return first.size() == 2 && first[1].kind == verdict_kind::applied && again.size() == 1 &&
           again[0].kind == verdict_kind::duplicate;
}
bool envelopes_are_for_one_realm() {
    mac_keys keys;
    opened_envelope const e = carried_sample(1);
    keys.add(as_bytes("k"), as_bytes("sixteen bytes or more"), e.said.author.device, "");
    return gate_of("house", keys).admits(e, {}, "").has_value() && !gate_of("another", keys).admits(e, {}, "");
}
bool needs_are_asked_again() {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = store.begin(access_mode::write);
    for (std::uint64_t n : {1U, 2U}) {
        if (!book.add(*tx, carried_sample(n), 0, false)) { return false; }
    }
    replica_id const who = carried_sample(1).said.author;
    bool const taken = book.take(*tx, {{who, 2}, relay_outcome::needs, 0, {}, {who, 1}}, 3).has_value() &&
                       book.take(*tx, {{who, 1}, relay_outcome::home, 0, {}, {}}, 4).has_value();
    return taken && book.totals(*tx)->unasked == 1;
}
bool passed_ones_are_asked_again() {
    memory_storage store;
    relay_book const book("x", {});
    auto tx = store.begin(access_mode::write);
    for (std::uint64_t n : {1U, 2U}) {
        if (!book.add(*tx, carried_sample(n), 0, false)) { return false; }
    }
    replica_id const who = carried_sample(1).said.author;
    replica_id another = who;
    ++another.incarnation;
    bool const taken = book.take(*tx, {{who, 1}, relay_outcome::needs, 0, {}, {another, 1}}, 3).has_value() &&
                       book.take(*tx, {{who, 2}, relay_outcome::home, 0, {}, {}}, 4).has_value();
    return taken && book.totals(*tx)->unasked == 1;
}
template <bool (*Kept)(std::uint64_t seed)>
bool of_each_seed() {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        if (!Kept(seed)) { return false; }
    }
    return true;
}

struct property {
    std::string_view name;
    bool (*holds)();
};
constexpr property properties[] = {
    {"records come back", records_come_back},
    {"texts come back", texts_come_back},
    {"files come back", files_come_back},
    {"damage is told", damage_is_told},
    {"another base is told", another_base_is_told},
    {"another result is told", another_result_is_told},
    {"what won is remembered", what_won_is_remembered},
    {"output is bounded", output_is_bounded},
    {"collisions are told apart", collisions_are_told_apart},
    {"what is owned stays", what_is_owned_stays},
    {"what is drafted stays", what_is_drafted_stays},
    {"other bytes are refused", other_bytes_are_refused},
    {"pieces are the whole", pieces_are_the_whole},
    {"rules are asked", rules_are_asked},
    {"what meets is asked", what_meets_is_asked},
    {"characters stay whole", characters_stay_whole},
    {"items are asked about", items_are_asked_about},
    {"lists are order free", lists_are_order_free},
    {"removed is gone", removed_is_gone},
    {"inserted is as the later says", inserted_is_as_the_later_says},
    {"moved is there once", moved_is_there_once},
    {"guards are about what they read", guards_are_about_what_they_read},
    {"every guard is told", every_guard_is_told},
    {"added stays", added_stays},
    {"siblings stay", siblings_stay},
    {"undo spares what came later", undo_spares_what_came_later},
    {"undone is nothing", undone_is_nothing},
    {"what touches is not combined", what_touches_is_not_combined},
    {"nobody holds for ever", nobody_holds_for_ever},
    {"who is done stays done", who_is_done_stays_done},
    {"a person decides their fields", a_person_decides_their_fields},
    {"below the threshold nothing happens", below_the_threshold_nothing_happens},
    {"the field's wish goes first", the_fields_wish_goes_first},
    {"advice is from people", advice_is_from_people},
    {"equal values look different", equal_values_look_different},
    {"redacted values are gone", redacted_values_are_gone},
    {"redactions are said", redactions_are_said},
    {"taken values are found", taken_values_are_found},
    {"returned values are found", returned_values_are_found},
    {"changed values are found", changed_values_are_found},
    {"changed archives are found", changed_archives_are_found},
    {"a seat that is left is free", a_seat_that_is_left_is_free},
    {"an index of other rows is told", an_index_of_other_rows_is_told},
    {"children have their parent", children_have_their_parent},
    {"the forbidden learn nothing", the_forbidden_learn_nothing},
    {"owners create their own", owners_create_their_own},
    {"updates are checked", updates_are_checked},
    {"the refused are not charged", the_refused_are_not_charged},
    {"quarantine holds writes", quarantine_holds_writes},
    {"strong writes saw what is there", strong_writes_saw_what_is_there},
    {"what was heard changes nothing", what_was_heard_changes_nothing},
    {"origins are known in every row", origins_are_known_in_every_row},
    {"envelopes are for one realm", envelopes_are_for_one_realm},
    {"needs are asked again", needs_are_asked_again},
    {"passed ones are asked again", passed_ones_are_asked_again},
    {"the healed are asked", of_each_seed<promises::the_healed_are_asked>},
    {"a put is what changed", of_each_seed<promises::a_put_is_what_changed>},
    {"answers are durable", of_each_seed<promises::answers_are_durable>},
    {"a wipe leaves nothing", of_each_seed<promises::a_wipe_leaves_nothing>},
};

}  // namespace

int main(int argc, char** argv) {
    int missed = 0;
    syncline_plants::all_off();
    for (property const& p : properties) {
        if (p.holds()) { continue; }
        std::printf("without a mistake: NOT so that %s\n", std::string(p.name).c_str());
        ++missed;
    }
    for (std::size_t i = 0; i < syncline_plants::count; ++i) {
        std::string const name{syncline_plants::all[i].name};
        if (argc == 2 && name != argv[1]) { continue; }
        syncline_plants::set(i, true);
        auto const found =
            std::find_if(std::begin(properties), std::end(properties), [](property const& p) { return !p.holds(); });
        syncline_plants::set(i, false);
        bool const is = found != std::end(properties);
        std::printf("%-28s %s\n", name.c_str(), is ? std::string(found->name).c_str() : "NOT FOUND");
        missed += is ? 0 : 1;
    }
    return missed == 0 ? 0 : 1;
}
