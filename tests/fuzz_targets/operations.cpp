// SPDX-License-Identifier: BSL-1.0

/// The messages of an integrity check as they come off a wire, with a checksum that is right, an authority that is asked
/// anything, and the streams of backups.

#include <algorithm>
#include <cstdint>
#include <string>

#include <syncline/core/random.hpp>
#include <syncline/replica/backup.hpp>
#include <syncline/replica/integrity.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;

/// What was read is written and read again the same; nothing is asked for that is not in the message.
template <class Decode>
void check(bytes_view message, Decode&& decode) {
    std::uint64_t const before = fuzz::allocated;
    auto const got = decode(message);
    SYNCLINE_FUZZ_REQUIRE(fuzz::allocated - before <= 256 * message.size() + (std::size_t{64} << 10));
    if (!got) { return; }
    auto const again = decode(encode(*got));
    SYNCLINE_FUZZ_REQUIRE(again && *again == *got);
}

/// Whatever is asked, the answer is one that the asking end reads.
void ask(bytes_view message) {
    memory_storage store;
    authority<> const home;
    random_generator random{1};
    auto tx = store.begin(access_mode::write);
    SYNCLINE_FUZZ_REQUIRE(home.open(*tx, {}, random).has_value());
    auto const answer = answer_integrity(*tx, home, message);
    SYNCLINE_FUZZ_REQUIRE(!answer || decode_integrity_answer(*answer).has_value());
}

/// Whatever pieces a stream comes in, it is the same; only one that is whole is a backup, and it writes as it was.
void restore(bytes_view stream, std::size_t piece) {
    auto const read = [&](memory_storage& store, std::size_t step) -> result<backup_summary> {
        auto tx = store.begin(access_mode::write);
        backup_reader reader;
        for (std::size_t at = 0; at < stream.size(); at += step) {
            auto const ok = reader.take(*tx, stream.subspan(at, (std::min)(step, stream.size() - at)));
            if (!ok) { return ok.error(); }
        }
        auto const sum = reader.finish();
        if (sum) { SYNCLINE_FUZZ_REQUIRE(tx->commit().has_value()); }
        return sum;
    };
    memory_storage one;
    memory_storage other;
    auto const whole = read(one, stream.size() + 1);
    auto const parts = read(other, piece);
    SYNCLINE_FUZZ_REQUIRE(whole.has_value() == parts.has_value());
    if (!whole) { return; }
    SYNCLINE_FUZZ_REQUIRE(*whole == *parts && one.store().count() == whole->keys && whole->size == stream.size());
}

int body(std::uint8_t const* data, std::size_t size) {
    if (size < 2) { return 0; }
    bytes_view const in(reinterpret_cast<std::byte const*>(data) + 2, size - 2);
    if (data[0] % 4 == 3) {
        // Each page with the length and check that it ought to have, so that its content is looked at.
        bytes stream;
        bytes_view rest = in;
        while (!rest.empty()) {
            auto const n = (std::min)(std::to_integer<std::size_t>(rest[0]) + 1, rest.size() - 1);
            bytes_view const page = rest.subspan(1, n);
            append_u64(stream, (static_cast<std::uint64_t>(n) << 32) | crc32c(page));
            append(stream, page);
            rest = rest.subspan(1 + n);
        }
        restore((data[1] & 1U) != 0 ? in : bytes_view{stream}, 1 + data[1] / 2U);
        return 0;
    }
    bytes message(frame_bytes);
    append(message, in);
    detail::seal_frame(message, detail::integrity_magic);
    if (data[0] % 4 == 0) {
        check(message, [](bytes_view m) { return decode_integrity_ask(m); });
    } else if (data[0] % 4 == 1) {
        check(message, [](bytes_view m) { return decode_integrity_answer(m); });
    } else {
        ask(message);
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    auto const give = [&](std::string_view name, std::uint8_t what, std::uint8_t how, bytes_view rest) {
        bytes out{static_cast<std::byte>(what), static_cast<std::byte>(how)};
        append(out, rest);
        sink(name, out);
    };
    record_key const k{"things", "x"};
    integrity_ask const q{{}, 0, to_bytes(k), 4, 16, {{"things", 2}}};
    give("ask", 0, 0, bytes_view{encode(q)}.subspan(frame_bytes));
    give("asked", 2, 0, bytes_view{encode(q)}.subspan(frame_bytes));
    integrity_answer const a{
        7, 3, {}, {{to_bytes(record_key{"things", "y"}), {1, 2}, {to_bytes(k)}}, {key_space_end(), {}, {}}}};
    give("answer", 1, 0, bytes_view{encode(a)}.subspan(frame_bytes));
    memory_storage store;
    bytes stream;
    bytes pages;
    auto tx = store.begin(access_mode::write);
    SYNCLINE_FUZZ_REQUIRE(tx->put(as_bytes("a"), as_bytes("1")) && tx->put(as_bytes("b"), {}));
    auto const take = [&](bytes_view piece) -> status {
        append(stream, piece);
        pages.push_back(static_cast<std::byte>(piece.size() - 9));
        append(pages, piece.subspan(8));
        return {};
    };
    SYNCLINE_FUZZ_REQUIRE(write_backup(*tx, take, 1).has_value());
    give("backup", 3, 1, stream);
    give("pages", 3, 2, pages);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 4, .length = 300, .seeds = seeds)
