// SPDX-License-Identifier: BSL-1.0

/// Everything that the library has obeys its laws. That each law can be broken is in broken_laws.cpp.

#include <syncline/testing/laws.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/clock/atomic_hybrid_clock.hpp>
#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/clock/reserved_clock.hpp>
#include <syncline/clock/version_vector.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

namespace {

using namespace syncline;
using namespace syncline::testing;

/// A described struct with a field of every class of rule.
struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::int64_t deposit = 0;
    std::optional<std::string> note{};
    std::vector<bytes> tags{};
    double price = 0;
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings", field("client", &booking::client),
                              field("guests", &booking::guests, rule::counter),
                              field("deposit", &booking::deposit, rule::maximum), field("note", &booking::note),
                              field("tags", &booking::tags), field("price", &booking::price));
}

/// One without a counter and without a choice of order: it obeys every law of a merge.
struct seat {
    std::string guest;
    std::int64_t lowest = 0;
    std::optional<bool> vegetarian{};
};
constexpr auto describe(seat const*) {
    return record_of<seat>("seats", field("guest", &seat::guest), field("lowest", &seat::lowest, rule::minimum),
                           field("vegetarian", &seat::vegetarian));
}

/// What was found, as one line a violation, without the round.
std::string told(std::vector<violation> const& found) {
    std::string out;
    for (violation const& v : found) { out += v.axiom + ": " + v.what.substr(0, v.what.rfind(" (round ")) + '\n'; }
    return out;
}
template <class T, class Encode>
bytes written(T const& x, Encode const& encode) {
    bytes out;
    cbor_writer w{out};
    encode(w, x);
    return out;
}
template <class Decode>
auto read_whole(bytes_view b, Decode const& decode) -> result<decltype(decode(std::declval<cbor_reader&>()))> {
    cbor_reader in{b};
    auto x = decode(in);
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return x;
}
void seal(bytes& message) {
    if (message.size() >= frame_bytes) { syncline::detail::seal_frame(message); }
}

}  // namespace

TEST_CASE("laws: the built-in rules, and the tables of described structs") {
    CHECK(told(check_built_in_rules({1, 4'000})) == "");
    CHECK(told(check_record<booking>({2, 1'000})) == "");
    CHECK(told(check_record<seat>({3, 2'000})) == "");
    CHECK(told(check_rules({"things", rule::minimum, {}}, {4, 1'000})) == "");
}

TEST_CASE("laws: what merges by states is a semilattice") {
    auto const join = [](auto const& a, auto const& b) {
        auto out = a;
        out.merge(b);
        return out;
    };
    CHECK(told(check_semilattice(join, any<interval_set>{}, {1, 10'000})) == "");
    CHECK(told(check_semilattice(join, any<version_vector>{}, {1, 10'000})) == "");
    CHECK(told(check_semilattice([](timestamp a, timestamp b) { return (std::max)(a, b); }, any<timestamp>{})) == "");
    auto const least = [](value const& a, value const& b) {
        return compare_values(a.encoded(), b.encoded()) < 0 ? a : b;
    };
    CHECK(told(check_semilattice(least, any<value>{}, {1, 10'000})) == "");
    auto const last = [](write_mark const& a, write_mark const& b) { return wins(a, b) ? a : b; };
    auto const writers = [](random_generator& r) {  // the order is that of stamp and author alone
        auto m = any<write_mark>{}(r);
        m.at = 0;
        return m;
    };
    CHECK(told(check_semilattice(last, writers, {1, 10'000})) == "");
}

TEST_CASE("laws: a counter of operations with identities") {
    struct addition {
        dot id{};
        std::int64_t n = 0;
    };
    struct counter {
        std::int64_t sum = 0;
        version_vector seen{};
        bool operator==(counter const&) const = default;
    };
    auto const apply = [](counter c, addition const& a) {
        if (c.seen.add(a.id)) { c.sum += a.n; }
        return c;
    };
    auto const make = [](random_generator& r) {
        auto const id = any<dot>{}(r);
        return addition{id, static_cast<std::int64_t>(below(r, 9)) - 4};
    };
    auto const identity = [](addition const& a) { return a.id; };
    CHECK(told(check_operations(counter{}, apply, make, identity)) == "");
}

TEST_CASE("laws: every encoding that travels or is stored") {
    auto const rounds = [](bool canonical, void (*reseal)(bytes&) = nullptr) {
        return codec_options{{5, 3'000}, canonical, reseal};
    };
    CHECK(told(check_codec([](value const& v) { return encode(v); }, [](bytes_view b) { return decode(b); },
                           any<value>{}, rounds(true))) == "");
    CHECK(told(check_codec([](value const& v) { return encode(v); },
                           [](bytes_view b) { return decode(b, {}, cbor_form::any); }, any<value>{}, rounds(false))) ==
          "");
    CHECK(told(check_codec([](mutation const& m) { return written(m, encode_mutation); },
                           [](bytes_view b) { return read_whole(b, decode_mutation); }, any<mutation>{},
                           rounds(true))) == "");
    CHECK(told(check_codec([](row const& r) { return written(r, encode_row); },
                           [](bytes_view b) { return read_whole(b, decode_row); }, any<row>{}, rounds(true))) == "");
    // An unknown kind of verdict is taken as retry_after, an unknown part of a message is passed over.
    CHECK(told(check_codec([](verdict const& v) { return written(v, encode_verdict); },
                           [](bytes_view b) { return read_whole(b, decode_verdict); }, any<verdict>{},
                           rounds(false))) == "");
    CHECK(told(check_codec([](request const& q) { return encode(q); }, [](bytes_view b) { return decode_request(b); },
                           any<request>{}, rounds(false, seal))) == "");
    CHECK(told(check_codec([](reply const& p) { return encode(p); }, [](bytes_view b) { return decode_reply(b); },
                           any<reply>{}, rounds(false, seal))) == "");
    CHECK(told(check_codec([](version_vector const& v) { return encode(v); },
                           [](bytes_view b) { return version_vector_from(b); }, any<version_vector>{}, rounds(true))) ==
          "");
    CHECK(told(check_codec([](interval_set const& s) { return written(s, encode_interval_set); },
                           [](bytes_view b) { return read_whole(b, decode_interval_set); }, any<interval_set>{},
                           rounds(true))) == "");
    CHECK(told(check_codec([](replica_id const& id) { return to_bytes(to_array(id)); },
                           [](bytes_view b) { return replica_id_from(b); }, any<replica_id>{}, rounds(true))) == "");
    CHECK(told(check_codec([](timestamp t) { return to_bytes(to_array(t)); },
                           [](bytes_view b) { return timestamp_from(b); }, any<timestamp>{}, rounds(true))) == "");
    auto const text_of = [](auto const& id) { return to_bytes(to_string(id)); };
    // Upper-case digits are read, and not written.
    CHECK(told(check_codec(
              text_of, [](bytes_view b) { return parse_id(as_text(b)); }, any<id128>{}, rounds(false))) == "");
    // A key and a decimal number have no end of their own: cut, they are others.
    auto const no_end = [](std::vector<violation> found) {
        std::erase_if(found, [](violation const& v) { return v.axiom == "truncation" || v.axiom == "extension"; });
        return told(found);
    };
    CHECK(no_end(check_codec(
              text_of, [](bytes_view b) { return parse_replica_id(as_text(b)); }, any<replica_id>{}, rounds(false))) ==
          "");
    CHECK(no_end(check_codec([](record_key const& k) { return to_bytes(k); },
                             [](bytes_view b) { return record_key_from(b); }, any<record_key>{}, rounds(true))) == "");
    auto const batch = [](std::vector<event> const& all) {
        event_batch out;
        for (event const& e : all) {
            if (e.kind == event_kind::decided) {
                out.add_verdict(e.record, e.said);
            } else if (e.kind == event_kind::reincarnated) {
                out.add_reincarnation();
            } else if (e.kind == event_kind::evicted) {
                out.add_eviction(e.record);
            } else {
                out.add_change(e.record, e.kind == event_kind::removed);
            }
        }
        return out.encode();
    };
    auto const events_in = [](bytes_view b) -> result<std::vector<event>> {
        std::vector<event> out;
        auto const keep = [&](event const& e) {
            out.push_back(e);
            if (e.kind == event_kind::reincarnated) { out.back().record = {}; }  // of no record, whatever stands there
            return true;
        };
        if (auto ok = event_batch::read(b, keep); !ok) { return ok.error(); }
        return out;
    };
    CHECK(told(check_codec(batch, events_in, any<std::vector<event>>{}, rounds(false))) == "");
    CHECK(told(check_record_codec<booking>({5, 3'000})) == "");
}

TEST_CASE("laws: orders, and the bytes that promise the same order") {
    auto const by_bytes = [](auto const& a, auto const& b) { return a <=> b; };
    CHECK(told(check_order([](std::string const& a, std::string const& b) { return compare_keys(a, b); },
                           any<std::string>{})) == "");
    CHECK(told(check_encoded_order([](std::string const& a, std::string const& b) { return compare_keys(a, b); },
                                   [](std::string const& s) { return encode(value(s)); }, any<std::string>{})) == "");
    CHECK(told(check_order(by_bytes, any<value>{}, {1, 10'000})) == "");
    CHECK(told(check_encoded_order(
              by_bytes, [](value const& v) { return encode(v); }, any<value>{})) == "");
    CHECK(told(check_order([](value const& a, value const& b) { return compare_values(a.encoded(), b.encoded()); },
                           any<value>{}, {1, 20'000})) == "");
    CHECK(told(check_order(by_bytes, any<timestamp>{})) == "");
    CHECK(told(check_encoded_order(
              by_bytes, [](timestamp t) { return to_array(t); }, any<timestamp>{})) == "");
    CHECK(told(check_order(by_bytes, any<replica_id>{})) == "");
    CHECK(told(check_encoded_order(
              by_bytes, [](replica_id const& r) { return to_array(r); }, any<replica_id>{})) == "");
    CHECK(told(check_order(by_bytes, any<dot>{})) == "");
    auto const later = [](write_mark const& a, write_mark const& b) { return wins(a, b); };
    CHECK(told(check_strict_weak_order(later, any<write_mark>{}, {1, 10'000})) == "");
    auto const key_order = [](record_key const& a, record_key const& b) {
        auto const c = compare_keys(a.collection, b.collection);
        return c != 0 ? c : compare(bytes_view{a.id}, bytes_view{b.id});
    };
    CHECK(told(check_order(key_order, any<record_key>{})) == "");
    CHECK(told(check_encoded_order(key_order, [](record_key const& k) { return to_bytes(k); }, any<record_key>{},
                                   {1, 10'000})) == "");
}

namespace {

/// A reserved clock with its store, as a process that is killed between two calls.
struct stored_clock {
    memory_store data{};
    memory_storage store{data};
    std::optional<reserved_clock> clock{};

    stored_clock() { restart(); }
    void restart() {
        auto tx = store.begin(access_mode::write);
        auto opened = reserved_clock::open(*tx, as_bytes("clock"));
        REQUIRE(opened);
        clock = std::move(*opened);
    }
    result<timestamp> now(wall_time at) {
        if (auto const quick = clock->try_now(at)) { return *quick; }
        auto tx = store.begin(access_mode::write);
        auto stamp = clock->now(*tx, at);
        if (auto ok = tx->commit(); !ok) { return ok.error(); }
        clock->committed();
        return stamp;
    }
    status accept(timestamp remote, wall_time at) {
        auto tx = store.begin(access_mode::write);
        auto ok = clock->accept(*tx, remote, at);
        if (ok) {
            ok = tx->commit();
            clock->committed();
        }
        return ok;
    }
};

}  // namespace

TEST_CASE("laws: clocks, through jumps, standstill and restarts") {
    CHECK(told(check_clock([] { return hybrid_clock{}; }, {{1, 10'000}})) == "");
    CHECK(told(check_clock([] { return hybrid_clock{clock_options{milliseconds{0}}}; },
                           {{2, 5'000}, milliseconds{0}})) == "");
    CHECK(told(check_clock([] { return atomic_hybrid_clock{}; }, {{1, 5'000}})) == "");
    CHECK(told(check_clock([] { return stored_clock{}; }, {{1, 5'000}})) == "");
}
