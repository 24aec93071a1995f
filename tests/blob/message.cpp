// SPDX-License-Identifier: BSL-1.0
#include <syncline/blob/message.hpp>

#include <string>

#include <syncline/core/random.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

TEST_CASE("blob message: each comes back as it was, its bytes are pinned, and other bytes are refused", "[blob]") {
    blob_ask const piece{blob_ask_kind::piece, 300, sha256(as_bytes("abc")), to_bytes("abc")};
    blob_ask const fetch{blob_ask_kind::fetch, 1, sha256(as_bytes("abc")), {}};
    blob_answer const wanted{blob_ask_kind::offer, 7, errc{}, bytes(2, std::byte{0x81})};
    blob_answer const refused{blob_ask_kind::piece, 8, errc::not_found, {}};
    std::string all;
    for (auto const& a : {piece, fetch}) {
        CHECK(*decode_blob_ask(encode(a)) == a);
        all += to_hex(encode(a)) + '\n';
    }
    for (auto const& a : {wanted, refused}) {
        CHECK(*decode_blob_answer(encode(a)) == a);
        all += to_hex(encode(a)) + '\n';
    }
    CHECK(all ==
          "85010119012c5820ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad43616263\n"
          "850104015820ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad40\n"
          "8501000700428181\n"
          "850101080d40\n");
    random_generator g(1);
    auto const check = [&](bytes const& m, auto const& decode) {
        for (std::size_t n = 0; n < m.size(); ++n) { CHECK_FALSE(decode(bytes_view{m}.first(n))); }
        for (int i = 0; i < 500; ++i) {
            bytes bad = m;
            bad[below(g, bad.size())] = static_cast<std::byte>(g());
            auto const got = decode(bad);
            if (got) { CHECK(encode(*got) == bad); }
        }
    };
    check(encode(piece), [](bytes_view m) { return decode_blob_ask(m); });
    check(encode(wanted), [](bytes_view m) { return decode_blob_answer(m); });
    blob_ask odd = fetch;
    odd.body = to_bytes("x");
    CHECK(decode_blob_ask(encode(odd)).error() == errc::malformed);
    odd = piece;
    odd.body.clear();
    CHECK(decode_blob_ask(encode(odd)).error() == errc::malformed);
}

TEST_CASE("blob message: the answering end stores only what was offered, under its own name", "[blob]") {
    memory_storage store;
    blob_book const book;
    auto tx = store.begin(access_mode::write);
    storage_chunks chunks(*tx);
    auto const say = [&](blob_ask const& a) {
        return *decode_blob_answer(*answer_blob(*tx, chunks, book, as_bytes("anna"), encode(a)));
    };
    bytes const content = to_bytes("some content");
    auto const m = make_manifest(content);
    bytes const encoded = encode(m);
    blob_ask const piece{blob_ask_kind::piece, 1, m.chunks[0].id, content};
    CHECK(say(piece).error == errc::not_found);
    CHECK(say({blob_ask_kind::offer, 2, sha256(as_bytes("other")), encoded}).error == errc::malformed);
    CHECK(say({blob_ask_kind::offer, 2, sha256(as_bytes("x")), to_bytes("x")}).error != errc{});
    CHECK(say({blob_ask_kind::finish, 3, manifest_id(encoded), {}}).error == errc::not_found);
    CHECK(say({blob_ask_kind::offer, 4, manifest_id(encoded), encoded}).body == bytes(1, std::byte{1}));
    CHECK(say({blob_ask_kind::finish, 5, manifest_id(encoded), {}}).body == bytes(1, std::byte{0}));
    CHECK(say({blob_ask_kind::piece, 6, m.chunks[0].id, to_bytes("other")}).error == errc::malformed);
    CHECK(say({blob_ask_kind::fetch, 7, m.chunks[0].id, {}}).body.empty());
    CHECK(say(piece).error == errc{});
    CHECK(say({blob_ask_kind::finish, 8, manifest_id(encoded), {}}).body == bytes(1, std::byte{1}));
    CHECK(say({blob_ask_kind::fetch, 9, m.chunks[0].id, {}}).body == content);
    CHECK(say({blob_ask_kind::manifest, 10, manifest_id(encoded), {}}).body == encoded);
    CHECK(say({blob_ask_kind::manifest, 11, m.chunks[0].id, {}}).body.empty());
}
