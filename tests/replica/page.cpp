// SPDX-License-Identifier: BSL-1.0
// What docs/replica.md and docs/protocol.md quote.

#include "support/catch.hpp"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include <syncline/replica/audit_journal.hpp>
#include <syncline/replica/conflict_desk.hpp>
#include <syncline/replica/dry_run.hpp>

#include "replica/world.hpp"

using namespace syncline;
using namespace world;

namespace {

// region: loop
/// Called when the timer fires, when something was written, and with what the network brought: does what is due and
/// answers when to come again. `send(message)` begins an exchange, whose end comes here as `received` or `failed`.
template <class Store, class Send, class Tell>
result<wait_until> step(Store& store, session<Store, syncline::random_generator>& link, session_input const& input,
                        instant now, Send send, Tell tell) {
    {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto ok = link.handle(input, *tx, now);
        if (ok) { ok = tx->commit(); }
        // A reply that could not be taken is a failed exchange: the session knows, and the wait says until when.
        if (!ok && !std::holds_alternative<received>(input)) { return ok.error(); }
    }
    for (;;) {
        auto const out = link.poll(now);
        if (!out) { return out.error(); }
        if (auto const* message = std::get_if<transmit>(&*out)) {
            send(message->message);
        } else if (auto const* note = std::get_if<notify>(&*out)) {
            tell(*note->what);
        } else {
            return *std::get_if<wait_until>(&*out);
        }
    }
}
// endregion: loop

// region: dry_run
/// What the person is shown before anything is taken in: "to change: 3, to decide: 1".
template <class Store, class Ask, class Random>
result<std::string> look_ahead(Store& store, replica const& self, Ask ask, instant now, Random random) {
    result<bytes> question = errc::busy;
    {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        question = pull_message(*tx, self);
    }
    if (!question) { return question.error(); }
    result<bytes> const reply = ask(*question);
    if (!reply) { return reply.error(); }
    auto const would = dry_run(store, self, *reply, now, random);
    if (!would) { return would.error(); }
    auto const changed =
        std::count_if(would->records.begin(), would->records.end(), [](record_preview const& r) { return r.shows(); });
    auto const asked = std::count_if(would->ahead.begin(), would->ahead.end(),
                                     [](foreseen const& f) { return f.outcome.verdict == verdict_kind::conflict; });
    return "to change: " + std::to_string(changed) + ", to decide: " + std::to_string(asked);
}
// endregion: dry_run

// region: desk
/// A device whose conflicts stand in a queue. Rules and queue come first: desk and replica refer to them.
struct deciding_device {
    memory_storage store{};
    rule_table table = rules();
    conflict_queue queue{};
    conflict_desk desk{queue, table};
    basic_replica<stored_records, conflict_desk> self{table, {}, {}, desk};

    /// What a person chose, of a conflict as they saw it: decided in the queue, and written as a mutation.
    result<settled> decide(conflict const& seen, resolution const& how, instant now) {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto done = desk.resolve(*tx, self, seen.id, seen.revision, how, as_bytes("anna"), now);
        if (!done) { return done; }
        if (auto ok = tx->commit(); !ok) { return ok.error(); }
        return done;
    }
};
// endregion: desk

// region: audit
/// A device that logs what it does, in the store in which it does it.
struct logging_device {
    memory_storage store{};
    syncline::random_generator secrets;  // in a program: the operating system's, as it makes keys
    audit_log<> log{{}, "log"};
    basic_replica<stored_records, audit_journal<syncline::random_generator>> self{
        rules(), {}, {}, {log, secrets, audit_disclosure{}.show("things", "name")}};

    status open(instant now) {
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto ok = log.open(*tx, now.wall, secrets);
        if (ok) { ok = self.open(*tx, "anna", now, secrets); }
        return ok ? tx->commit() : ok;
    }
};
// endregion: audit

/// Hexadecimal digits without the blanks between them.
std::string packed(std::string_view spaced) {
    std::string out;
    for (char const c : spaced) {
        if (c != ' ') { out.push_back(c); }
    }
    return out;
}

request sample_request() {
    request q;
    q.replica.device.bytes.fill(std::byte{0x11});
    q.replica.incarnation = 1;
    q.epoch.emplace().bytes.fill(std::byte{0x22});
    q.cursor = 7;
    q.receipts = 1;
    mutation m;
    m.sequence = 2;
    m.stamp = timestamp::make(wall_time{milliseconds{1'790'000'000'000}});
    m.record = {"rooms", "a"};
    m.base = 6;
    m.ops = {{"guests", op_kind::add, integer(5), m.stamp}};
    cbor_writer w{q.mutations.emplace_back()};
    encode_mutation(w, m);
    return q;
}
reply sample_reply() {
    request const q = sample_request();
    reply p;
    p.epoch = *q.epoch;
    p.replica = q.replica;
    p.head = 8;
    p.author = 3;
    p.decided = 2;
    p.from = 7;
    p.to = 8;
    p.time = wall_time{milliseconds{1'790'000'000'500}};
    verdict v;
    v.sequence = 2;
    v.kind = verdict_kind::merged;
    v.version = 8;
    v.stamp = timestamp::make(wall_time{milliseconds{1'790'000'000'000}});
    v.decisions = {{"guests", rule::counter, winner::both}};
    p.verdicts = {v};
    row r;
    r.version = 8;
    r.floor = {2, v.stamp, 1};
    r.exceptions = {{"guests", {8, v.stamp, 3}}};
    r.fields = fields({{"guests", 103}});
    p.rows = {{{"rooms", "a"}, r}};
    return p;
}

}  // namespace

TEST_CASE("the page of protocol: a request and its reply, byte by byte") {
    std::string const request_hex = packed(
        // region: request
        "53 59 4c"                                          // "SYL"
        "01"                                                // version of the protocol
        "6c 51 02 f0"                                       // CRC-32C of what follows
        "a7"                                                // a map of seven pairs
        "01 54 1111111111111111 1111111111111111 00000001"  // replica: device, incarnation
        "02 50 2222222222222222 2222222222222222"           // epoch
        "03 07"                                             // cursor
        "04 01"                                             // receipts
        "05 81 58 21"                                       // mutations: one, of 33 bytes:
        "   88"                                             //   an array of eight
        "   02"                                             //   sequence
        "   1b 01a0c4506c00 0000"                           //   stamp: milliseconds, counter
        "   02"                                             //   update
        "   65 726f6f6d73"                                  //   collection "rooms"
        "   41 61"                                          //   id 'a'
        "   01"                                             //   life
        "   06"                                             //   base
        "   81 83 03 66 677565737473 05"                    //   operations: one: add, "guests", 5
        "06 19 03e8"                                        // rows_max 1000
        "07 1a 00100000"                                    // bytes_max 1 MiB
        // endregion: request
    );
    CHECK(to_hex(encode(sample_request())) == request_hex);

    std::string const reply_hex = packed(
        // region: reply
        "53 59 4c 01 01 de 75 e7"                           // frame
        "aa"                                                // a map of ten pairs
        "01 50 2222222222222222 2222222222222222"           // epoch
        "02 08"                                             // head
        "03 03"                                             // the requester's number as an author
        "04 02"                                             // decided
        "05 81 88"                                          // verdicts: one, an array of eight:
        "   02"                                             //   sequence
        "   03"                                             //   merged
        "   f4"                                             //   not answered again
        "   00"                                             //   no reason
        "   08"                                             //   version
        "   1b 01a0c4506c00 0000"                           //   effective stamp
        "   83 66 677565737473 05 03"                       //   decisions: "guests", counter, both
        "   60"                                             //   text ""
        "06 07"                                             // from
        "07 08"                                             // to
        "08 81 83"                                          // rows: one, an array of three:
        "   65 726f6f6d73 41 61"                            //   collection "rooms", id 'a'
        "   87 08 01"                                       //   the row, an array of seven: version, life
        "   06 1b 01a0c4506c00 0000 01"                     //   floor: version - 6, stamp, author 1
        "   84 66 677565737473"                             //   exceptions: "guests":
        "      00 1b 01a0c4506c00 0000 03"                  //     version - 0, stamp, author 3
        "   a1 66 677565737473 18 67"                       //   fields: {"guests": 103}
        "09 1b 000001a0c4506df4"                            // the authority's time
        "0a 54 1111111111111111 1111111111111111 00000001"  // the replica that is answered
        // endregion: reply
    );
    CHECK(to_hex(encode(sample_reply())) == reply_hex);
    CHECK(*decode_request(encode(sample_request())) == sample_request());
    CHECK(*decode_reply(encode(sample_reply())) == sample_reply());
}

TEST_CASE("the page of replica: a host's own event loop") {
    virtual_clock clock;
    cloud c(clock.now);
    device d(100);
    REQUIRE(open(d, clock.now));
    record_key const key{"things", "a"};
    REQUIRE(d.write([&](auto& tx) { return d.self.create(tx, key, fields({{"name", 1}}), clock.now); }));

    std::optional<bytes> sent;
    std::size_t told = 0;
    auto const go = [&](session_input const& input) {
        return step(
            d.store, d.link, input, clock.now, [&](bytes_view m) { sent = to_bytes(m); },
            [&](event const&) { ++told; });
    };
    auto wait = go(hurry{});
    REQUIRE(wait);
    REQUIRE(sent);
    auto const answer = c.answer(*sent, clock.now);
    REQUIRE(answer);
    sent.reset();
    REQUIRE(go(received{as_bytes("a captive portal's page")}));
    CHECK(d.link.last_failure());
    clock.pass(1'000);
    REQUIRE(go(tick{}));
    REQUIRE(sent);
    wait = go(received{*answer});
    REQUIRE(wait);
    CHECK(told == 1);
    REQUIRE(wait->deadline);
    CHECK(*wait->deadline > clock.now.monotonic);
    CHECK(confirmed(c).size() == 1);
}

TEST_CASE("the page's dry run counts what would change, and what would need a person") {
    virtual_clock clock;
    cloud c{clock.now};
    device one{100};
    device two{200};
    REQUIRE(open(one, clock.now));
    REQUIRE(open(two, clock.now));
    record_key const key{"things", "a"};
    REQUIRE(one.write([&](auto& tx) { return one.self.create(tx, key, fields({{"asked", 1}}), clock.now); }));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(sync(two, c, clock.now));
    REQUIRE(one.write([&](auto& tx) { return one.self.update(tx, key, {set("asked", 2)}, clock.now); }));
    REQUIRE(sync(one, c, clock.now));
    REQUIRE(two.write([&](auto& tx) { return two.self.update(tx, key, {set("asked", 3)}, clock.now); }));
    auto const ask = [&](bytes_view question) { return c.answer(question, clock.now); };
    CHECK(*look_ahead(two.store, two.self, ask, clock.now, two.random) == "to change: 1, to decide: 1");
}

TEST_CASE("the page's logging device has an entry for what it writes") {
    virtual_clock clock;
    logging_device d{.secrets = syncline::random_generator{7}};
    REQUIRE(d.open(clock.now));
    auto tx = d.store.begin(access_mode::write);
    REQUIRE(tx);
    REQUIRE(d.self.create(*tx, record_key{"things", "a"}, fields({{"name", 1}}), clock.now));
    REQUIRE(d.log.extent(*tx)->size == 2);  // the first: whose the store is
    CHECK(d.log.find(*tx, 1)->value().kind == audit_kind::local_write);
}

TEST_CASE("the page's deciding device knows no conflict that isn't there") {
    virtual_clock clock;
    deciding_device d;
    conflict none;
    none.id = 1;
    CHECK(d.decide(none, resolution::use_local(), clock.now).error() == errc::not_found);
}
