// SPDX-License-Identifier: BSL-1.0
#pragma once

/// The messages as the first version of the library wrote and read them. Kept for ever as it is: what speaks through it
/// knows nothing of what came later, and today's peers have to get on with it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/result.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Writes and reads a peer's messages of the first version: keys 1 to 7 of a request, 1 to 10 of a reply, mutations,
/// verdicts and rows one by one. Of a message of today the rest is left out, or skipped.
struct first_codec {
    /// What a replica of the first version would have asked.
    [[nodiscard]] static bytes write(request const& q) {
        bytes body;
        cbor_writer w{body};
        w.map(std::size_t{6} + (q.epoch ? 1 : 0));
        w.unsigned_integer(1);
        w.byte_string(to_array(q.replica));
        if (q.epoch) {
            w.unsigned_integer(2);
            w.byte_string(q.epoch->bytes);
        }
        w.unsigned_integer(3);
        w.unsigned_integer(q.cursor);
        w.unsigned_integer(4);
        w.unsigned_integer(q.receipts);
        w.unsigned_integer(5);
        w.array(q.mutations.size());
        for (bytes const& m : q.mutations) { w.byte_string(m); }
        w.unsigned_integer(6);
        w.unsigned_integer(q.rows_max);
        w.unsigned_integer(7);
        w.unsigned_integer(q.bytes_max);
        return framed(body);
    }
    /// What an authority of the first version would have answered.
    [[nodiscard]] static bytes write(reply const& p) {
        bytes body;
        cbor_writer w{body};
        w.map(10);
        w.unsigned_integer(1);
        w.byte_string(p.epoch.bytes);
        w.unsigned_integer(2);
        w.unsigned_integer(p.head);
        w.unsigned_integer(3);
        w.unsigned_integer(p.author);
        w.unsigned_integer(4);
        w.unsigned_integer(p.decided);
        w.unsigned_integer(5);
        w.array(p.verdicts.size());
        for (verdict const& v : p.verdicts) { encode_verdict(w, v); }
        w.unsigned_integer(6);
        w.unsigned_integer(p.from);
        w.unsigned_integer(7);
        w.unsigned_integer(p.to);
        w.unsigned_integer(8);
        w.array(p.rows.size());
        for (row_update const& u : p.rows) {
            bytes one;
            cbor_writer row_out{one};
            encode_row(row_out, u.state);
            w.array(3);
            w.text(u.key.collection);
            w.byte_string(u.key.id);
            w.raw(one);
        }
        w.unsigned_integer(9);
        w.integer(p.time.time_since_epoch().count());
        w.unsigned_integer(10);
        w.byte_string(to_array(p.replica));
        return framed(body);
    }

    /// As an authority of the first version read a request. `errc::foreign`, `errc::unsupported` for another version or a
    /// mandatory feature, `errc::malformed` and whatever the reader says for the rest.
    [[nodiscard]] static result<request> read_request(bytes_view message) {
        auto const body = opened(message);
        if (!body) { return body.error(); }
        request q;
        std::uint32_t seen = 0;
        cbor_reader in{*body};
        each_key(in, [&](std::uint64_t key) {
            seen |= key < 32 ? 1U << key : 0U;
            switch (key) {
                case 1: q.replica = replica_of(in); return;
                case 2: q.epoch = id_of(in); return;
                case 3: q.cursor = in.unsigned_integer(); return;
                case 4: q.receipts = in.unsigned_integer(); return;
                case 5:
                    for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) {
                        q.mutations.push_back(to_bytes(in.byte_string()));
                    }
                    return;
                case 6: q.rows_max = in.unsigned_integer(); return;
                case 7: q.bytes_max = in.unsigned_integer(); return;
                default: (void)in.skip(); return;
            }
        });
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        if ((seen & 0xFAU) != 0xFAU) { return failure{errc::malformed, "a part of the request is missing"}; }
        return q;
    }
    /// As a replica of the first version read a reply. Errors as of a request; `errc::malformed` for a row of a form that
    /// came later.
    [[nodiscard]] static result<reply> read_reply(bytes_view message) {
        auto const body = opened(message);
        if (!body) { return body.error(); }
        reply p;
        std::uint32_t seen = 0;
        cbor_reader in{*body};
        each_key(in, [&](std::uint64_t key) {
            seen |= key < 32 ? 1U << key : 0U;
            switch (key) {
                case 1: p.epoch = id_of(in); return;
                case 2: p.head = in.unsigned_integer(); return;
                case 3: p.author = static_cast<author_index>(in.unsigned_integer()); return;
                case 4: p.decided = in.unsigned_integer(); return;
                case 5:
                    for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) {
                        p.verdicts.push_back(decode_verdict(in));
                    }
                    return;
                case 6: p.from = in.unsigned_integer(); return;
                case 7: p.to = in.unsigned_integer(); return;
                case 8:
                    for (std::size_t n = in.array(); n != 0 && !in.failed(); --n) { p.rows.push_back(row_of(in)); }
                    return;
                case 9: p.time = wall_time{milliseconds{in.integer()}}; return;
                case 10: p.replica = replica_of(in); return;
                default: (void)in.skip(); return;
            }
        });
        if (auto ok = in.finish(); !ok) { return ok.error(); }
        if ((seen & 0x7FEU) != 0x7FEU) { return failure{errc::malformed, "a part of the reply is missing"}; }
        return p;
    }

private:
    static constexpr std::size_t head_bytes = 8;
    static constexpr std::array<std::byte, 4> head{std::byte{'S'}, std::byte{'Y'}, std::byte{'L'}, std::byte{1}};

    [[nodiscard]] static bytes framed(bytes_view body) {
        bytes out(head.begin(), head.end());
        std::uint32_t const sum = crc32c(body);
        for (unsigned shift = 32; shift != 0;) {
            shift -= 8;
            out.push_back(static_cast<std::byte>((sum >> shift) & 0xFFU));
        }
        append(out, body);
        return out;
    }
    [[nodiscard]] static result<bytes_view> opened(bytes_view message) {
        if (message.size() < head_bytes || !starts_with(message, bytes_view{head}.first(3))) {
            return failure{errc::foreign, "not a message"};
        }
        if (message[3] != head[3]) { return failure{errc::unsupported, "another version"}; }
        bytes_view const body = message.subspan(head_bytes);
        if (!equal(bytes_view{framed(body)}.first(head_bytes), message.first(head_bytes))) {
            return failure{errc::malformed, "checksum"};
        }
        return body;
    }
    template <class F>
    static void each_key(cbor_reader& in, F&& field) {
        std::uint64_t last = 0;
        std::size_t const n = in.map();
        for (std::size_t i = 0; i < n && !in.failed(); ++i) {
            std::uint64_t const key = in.unsigned_integer();
            if (i != 0 && key <= last) { in.fail({errc::not_deterministic, "keys out of order"}); }
            last = key;
            if (key != 0) {
                field(key);
            } else if (in.array() != 0) {
                in.fail({errc::unsupported, "a mandatory feature"});
            }
        }
    }
    [[nodiscard]] static id128 id_of(cbor_reader& in) {
        id128 id;
        bytes_view const raw = in.byte_string();
        if (raw.size() != id.bytes.size()) {
            in.fail({errc::malformed, "id"});
            return id;
        }
        std::copy(raw.begin(), raw.end(), id.bytes.begin());
        return id;
    }
    [[nodiscard]] static replica_id replica_of(cbor_reader& in) {
        auto const id = replica_id_from(in.byte_string());
        if (!id) { in.fail({errc::malformed, "replica"}); }
        return id ? *id : replica_id{};
    }
    [[nodiscard]] static row_update row_of(cbor_reader& in) {
        row_update u;
        if (in.array() != 3) { in.fail({errc::malformed, "row update"}); }
        u.key.collection = std::string{in.text()};
        u.key.id = to_bytes(in.byte_string());
        bytes_view const raw = in.skip();
        if (in.failed()) { return u; }
        if (raw.empty() || raw[0] != std::byte{0x87}) { in.fail({errc::malformed, "a row of another form"}); }
        cbor_reader inside{raw};
        u.state = decode_row(inside);
        if (!inside.finish()) { in.fail({errc::malformed, "row"}); }
        return u;
    }
};

}  // namespace syncline::inline SYNCLINE_ABI::testing
