// SPDX-License-Identifier: BSL-1.0

/// Manifests, references and messages of transfers as they come off a wire, an answering end that is asked anything,
/// and chunks that the fast loop cuts against a slow one.

#include <cstdint>
#include <string>

#include <syncline/blob/transfers.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/message.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::check_message;
using fuzz::choices;

void check_chunks(choices& in) {
    chunk_options o{.min = 64 + static_cast<std::size_t>(in.below(64)), .average = 256, .max = 256, .normalisation = 4};
    o.max += static_cast<std::size_t>(in.below(1000));
    bytes content = to_bytes(in.rest());
    while (content.size() < 1500 && !content.empty()) { append(content, bytes(content)); }
    std::size_t const n = next_chunk(content, o);
    std::uint64_t h = 0;
    std::size_t wanted = content.size() < o.max ? content.size() : o.max;
    for (std::size_t i = o.min; i < wanted; ++i) {
        h = 2 * h + detail::gear_table[std::to_integer<std::size_t>(content[i])];
        if (h >> (i < o.average ? 52 : 60) == 0) { wanted = i + 1; }
    }
    SYNCLINE_FUZZ_REQUIRE(n == wanted);
}

/// Whatever is asked, what is here is what its name says, and nothing is here that nobody offered.
void ask(choices& in) {
    memory_storage store;
    blob_book const book;
    blob_transfers const transfers(book);
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    std::string const contents[] = {"", "a", "bb", "ccc"};
    for (int step = 0; step < 40 && !in.done(); ++step) {
        auto const& content = in.of(contents);
        auto const m = make_manifest(as_bytes(content));
        auto const id = manifest_id(encode(m));
        bytes message;
        switch (in.below(6)) {
            case 0: message = encode(blob_ask{blob_ask_kind::offer, in.number(), id, encode(m)}); break;
            case 1:
                message =
                    encode(blob_ask{blob_ask_kind::piece, 1, sha256(as_bytes(content)), to_bytes(in.of(contents))});
                break;
            case 2: message = encode(blob_ask{blob_ask_kind::finish, 1, id, {}}); break;
            case 3: message = encode(blob_ask{blob_ask_kind::fetch, 1, sha256(as_bytes(content)), {}}); break;
            case 4: SYNCLINE_FUZZ_REQUIRE(transfers.absorb(*tx, chunks, in.some(60)) || true); continue;
            default: message = to_bytes(in.some(100)); break;
        }
        if (in.one_in(3) && !message.empty()) {
            message[static_cast<std::size_t>(in.below(message.size()))] ^= static_cast<std::byte>(in.byte());
        }
        auto const a = answer_blob(*tx, chunks, book, as_bytes("o"), message);
        SYNCLINE_FUZZ_REQUIRE(a || a.error() != errc::corrupt);
        if (a) { SYNCLINE_FUZZ_REQUIRE(decode_blob_answer(*a)); }
    }
    auto const damage = book.scrub(*tx, chunks);
    SYNCLINE_FUZZ_REQUIRE(damage && *damage == blob_damage{});
}

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, size);
    switch (in.below(6)) {
        case 0: check_message(in.rest(), [](bytes_view m) { return decode_manifest(m); }); break;
        case 1: check_message(in.rest(), [](bytes_view m) { return decode_blob_ref(m); }); break;
        case 2: check_message(in.rest(), [](bytes_view m) { return decode_blob_ask(m); }); break;
        case 3: check_message(in.rest(), [](bytes_view m) { return decode_blob_answer(m); }); break;
        case 4: check_chunks(in); break;
        default: ask(in); break;
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    auto const m = make_manifest(as_bytes("content"), "text/plain");
    auto const give = [&](char const* name, std::uint8_t what, bytes_view rest) {
        bytes out{static_cast<std::byte>(what)};
        append(out, rest);
        sink(name, out);
    };
    give("manifest", 0, encode(m));
    give("reference", 1, encode(blob_ref{manifest_id(encode(m)), 7, "text/plain"}));
    give("ask", 2, encode(blob_ask{blob_ask_kind::piece, 1, m.chunks[0].id, to_bytes("content")}));
    give("answer", 3, encode(blob_answer{blob_ask_kind::fetch, 1, errc{}, to_bytes("content")}));
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 4, .length = 300, .seeds = seeds)
