// SPDX-License-Identifier: BSL-1.0

/// Mistakes planted in delta and blob (parts/*.plant), each of which a property has to find: prints what found which.
/// With every switch off all properties hold. Run with a plant's name, that one alone.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <unordered_map>

#include <syncline_plants.hpp>

#include <syncline/blob.hpp>
#include <syncline/core/random.hpp>
#include <syncline/delta.hpp>
#include <syncline/storage/memory.hpp>

#include "delta/pairs.hpp"

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
