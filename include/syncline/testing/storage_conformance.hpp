// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `certify_storage`: runs the axioms of `storage` on a model of one's own and says which are broken.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/testing/commit_history.hpp>
#include <syncline/testing/violation.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// How the suite gets at the model under test. Objects that wait for locks should wait a millisecond or so:
/// the suite is one thread, which the other end of the lock belongs to as well.
template <storage S>
struct storage_factory {
    std::function<std::unique_ptr<S>()> fresh;    ///< an object on a new, empty store
    std::function<std::unique_ptr<S>()> another;  ///< one more on the store of the last fresh(); none: one object only
    std::function<std::unique_ptr<S>()> reopen;  ///< as `another`, after every object was destroyed; none: not reopened
    /// Cuts the power of the store of the last fresh(), while objects of it are alive: what is durable stays, and of
    /// the rest what the seed chooses. What the objects still do to it, while they are destroyed, must not count; then
    /// comes reopen(). None: no power is cut. testing/sqlite_power_loss.hpp has a disk for stores over SQLite.
    std::function<void(std::uint64_t seed)> power_cut{};
};

struct storage_conformance_options {
    std::uint64_t seed = 1;                        ///< of the random part
    std::uint32_t rounds = 150;                    ///< random transactions
    std::size_t long_value = value_bytes_min_max;  ///< bytes of the longest value that is tried
    std::uint32_t power_cuts = 40;                 ///< with a factory that can
    friend constexpr bool operator==(storage_conformance_options const&, storage_conformance_options const&) = default;
};

namespace detail {

template <storage S>
class storage_certifier {
public:
    storage_certifier(storage_factory<S> const& factory, storage_conformance_options const& options)
        : factory_(factory), options_(options), random_(options.seed) {}

    [[nodiscard]] std::vector<violation> run() {
        read_your_writes();
        order();
        limits();
        atomicity();
        one_open();
        isolation();
        durability_axiom();
        power_loss();
        random_transactions();
        return std::move(found_);
    }

private:
    using model = std::map<bytes, bytes>;
    using transaction = typename S::transaction;
    static constexpr std::string_view ryw = "read_your_writes";

    // --- saying what is wrong

    void report(std::string_view axiom, std::string what) {
        for (violation const& v : found_) {
            if (v.axiom == axiom && v.what == what) { return; }
        }
        found_.push_back({std::string(axiom), std::move(what)});
    }
    bool expect(bool holds, std::string_view axiom, char const* what) {
        if (!holds) { report(axiom, what); }
        return holds;
    }
    template <class R>
    bool expect_ok(R const& r, std::string_view axiom, char const* what) {
        if (!r) { report(axiom, std::string(what) + ": " + message(r.error().code)); }
        return static_cast<bool>(r);
    }
    template <class R>
    void expect_error(R const& r, errc e, std::string_view axiom, char const* what) {
        if (r) {
            report(axiom, std::string(what) + " succeeds");
        } else if (r.error() != e) {
            report(axiom, std::string(what) + " answers: " + message(r.error().code));
        }
    }
    static bool lost_race(errc e) { return e == errc::busy || e == errc::contended; }

    // --- small steps

    std::unique_ptr<S> fresh() {
        auto s = factory_.fresh();
        if (s == nullptr) { report("durability", "the factory makes no store"); }
        return s;
    }
    std::optional<transaction> begin(S& s, access_mode a, std::string_view axiom) {
        auto tx = s.begin(a);
        if (!expect_ok(tx, axiom, a == access_mode::read ? "begin(read)" : "begin(write)")) { return std::nullopt; }
        return std::optional<transaction>(std::move(*tx));
    }
    static bytes key(std::string_view text) { return to_bytes(text); }

    /// What the model holds; reports a wrong order under its own name.
    std::optional<model> content(transaction& tx, key_range range = {}) {
        model m;
        std::optional<bytes> last;
        status const s = tx.scan(range, [&](bytes_view k, bytes_view v) {
            bytes now = to_bytes(k);
            if (last && !(*last < now)) { report("order", "a scan does not ascend"); }
            if (!range.from.empty() && compare(k, range.from) < 0) {
                report("order", "a scan begins before its range");
            }
            if (!range.to.empty() && compare(k, range.to) >= 0) { report("order", "a scan goes on after its range"); }
            m[now] = to_bytes(v);
            last = std::move(now);
            return true;
        });
        if (!expect_ok(s, "order", "scan")) { return std::nullopt; }
        return m;
    }
    std::optional<model> committed(S& s, std::string_view axiom) {
        auto tx = begin(s, access_mode::read, axiom);
        if (!tx) { return std::nullopt; }
        auto m = content(*tx);
        expect_ok(tx->commit(), axiom, "commit of a transaction for reading");
        return m;
    }
    void expect_committed(S& s, model const& m, std::string_view axiom, char const* what) {
        auto const now = committed(s, axiom);
        if (now) { expect(*now == m, axiom, what); }
    }
    bool holds(transaction& tx, bytes const& k, std::optional<bytes> const& v, std::string_view axiom,
               char const* what) {
        bytes out = to_bytes("left over");
        auto const r = tx.get(k, out);
        if (!expect_ok(r, axiom, what)) { return false; }
        if (!v && !out.empty()) { report(axiom, "get leaves something in `out` for an absent key"); }
        return expect(*r == v.has_value() && (!v || out == *v), axiom, what);
    }
    bool fill(S& s, model const& m, std::string_view axiom) {
        auto tx = begin(s, access_mode::write, axiom);
        if (!tx) { return false; }
        for (auto const& [k, v] : m) {
            if (!expect_ok(tx->put(k, v), axiom, "put")) { return false; }
        }
        return expect_ok(tx->commit(), axiom, "commit");
    }

    std::uint64_t next() {  // splitmix64: the same on every machine
        std::uint64_t z = (random_ += 0x9E3779B97F4A7C15U);
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9U;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EBU;
        return z ^ (z >> 31);
    }
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
    bytes random_key() {
        // Few different bytes, so that keys meet and begin with each other; zeros, sign bits and 0xFF among them.
        constexpr unsigned char alphabet[] = {0x00, 0x01, 0x61, 0x7F, 0x80, 0xFF};
        bytes k(1 + below(below(8) == 0 ? 12 : 3));
        for (std::byte& b : k) { b = static_cast<std::byte>(alphabet[below(sizeof alphabet)]); }
        return k;
    }
    bytes random_value() {
        bytes v(below(20) == 0 ? below(9000) : below(12));
        for (std::byte& b : v) { b = static_cast<std::byte>(next() & 0xFFU); }
        return v;
    }

    // --- the axioms

    void read_your_writes() {
        auto s = fresh();
        if (!s) { return; }
        bytes const a = key("a");
        bytes const b = key("b");
        bytes const c = key("c");
        if (!fill(*s, {{b, key("committed")}, {c, key("committed")}}, ryw)) { return; }
        auto tx = begin(*s, access_mode::write, ryw);
        if (!tx) { return; }
        holds(*tx, a, std::nullopt, ryw, "get of an absent key");
        holds(*tx, b, key("committed"), ryw, "get of a committed key");
        if (!expect_ok(tx->put(a, key("1")), ryw, "put")) { return; }
        holds(*tx, a, key("1"), ryw, "get after put");
        if (!expect_ok(tx->put(a, key("longer than before")), ryw, "put again")) { return; }
        holds(*tx, a, key("longer than before"), ryw, "get after a second put");
        if (!expect_ok(tx->put(b, key("own")), ryw, "put over a committed value")) { return; }
        holds(*tx, b, key("own"), ryw, "get after a put over a committed value");
        if (!expect_ok(tx->erase(c), ryw, "erase")) { return; }
        holds(*tx, c, std::nullopt, ryw, "get after erase");
        model const own{{a, key("longer than before")}, {b, key("own")}};
        auto const seen = content(*tx);
        if (seen) { expect(*seen == own, ryw, "a scan shows other than the transaction's own writes"); }
        if (!expect_ok(tx->put(c, {}), ryw, "put after erase")) { return; }
        holds(*tx, c, bytes{}, ryw, "get of an empty value after an erase");
        status const scanned = tx->scan({}, [&](bytes_view k, bytes_view v) {
            bytes const here = to_bytes(k);
            holds(*tx, here, to_bytes(v), ryw, "get in a visitor");
            holds(*tx, key("absent"), std::nullopt, ryw, "get of an absent key in a visitor");
            expect(equal(k, here), ryw, "a get in a visitor changes the key that the visitor was given");
            return true;
        });
        expect_ok(scanned, ryw, "scan with a visitor that reads");
        expect_ok(tx->commit(), ryw, "commit");
    }

    void order() {
        constexpr std::string_view axiom = "order";
        auto s = fresh();
        if (!s) { return; }
        model m;
        for (int first : {0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF}) {
            bytes k{static_cast<std::byte>(first)};
            m[k] = k;
            for (int second : {0x00, 0x80, 0xFF}) {
                bytes longer = k;
                longer.push_back(static_cast<std::byte>(second));
                m[longer] = longer;
            }
        }
        m[bytes(key_bytes_max, std::byte{0x7F})] = key("longest");
        // Half of them committed, half the transaction's own, so that the two have to be merged.
        model before;
        bool even = false;
        for (auto const& [k, v] : m) {
            even = !even;
            if (even) { before[k] = v; }
        }
        before[key("erased")] = {};
        if (!fill(*s, before, axiom)) { return; }
        auto tx = begin(*s, access_mode::write, axiom);
        if (!tx) { return; }
        for (auto const& [k, v] : m) {
            if (before.count(k) == 0 && !expect_ok(tx->put(k, v), axiom, "put")) { return; }
        }
        if (!expect_ok(tx->erase(key("erased")), axiom, "erase")) { return; }
        std::vector<bytes> bounds{{}};
        for (auto const& [k, v] : m) { bounds.push_back(k); }
        bounds.push_back(key("between"));
        bounds.emplace_back(key_bytes_max + 1, std::byte{0x7F});  // a bound may be longer than any key
        for (bytes const& from : bounds) {
            for (bytes const& to : bounds) {
                model expected;
                for (auto const& [k, v] : m) {
                    if (!(k < from) && (to.empty() || k < to)) { expected[k] = v; }
                }
                std::size_t calls = 0;
                status const s2 = tx->scan({from, to}, [&](bytes_view, bytes_view) { return ++calls <= m.size(); });
                expect_ok(s2, axiom, "scan");
                expect(calls == expected.size(), axiom, "a scan gives more or fewer keys than its range holds");
                auto const seen = content(*tx, {from, to});
                if (seen) {
                    expect(*seen == expected, axiom, "a scan gives other keys or values than its range holds");
                }
            }
        }
        std::size_t calls = 0;
        expect_ok(tx->scan({}, [&](bytes_view, bytes_view) { return ++calls < 3; }), axiom, "a scan that is stopped");
        expect(calls == 3, axiom, "a scan goes on after the visitor stopped it");
        std::size_t inner = 0;
        std::size_t outer = 0;
        status const nested = tx->scan({}, [&](bytes_view k, bytes_view) {
            bytes const here = to_bytes(k);
            std::size_t first = 0;
            expect_ok(tx->scan({here, {}},
                               [&](bytes_view k2, bytes_view) {
                                   ++inner;
                                   if (first++ == 0) {
                                       expect(equal(k2, here), axiom, "a nested scan begins elsewhere");
                                   }
                                   return first < 2;
                               }),
                      axiom, "scan in a visitor");
            return ++outer < 2 * m.size();
        });
        expect_ok(nested, axiom, "scan with a visitor that scans");
        expect(outer == m.size(), axiom, "a scan in a visitor disturbs the outer one");
        expect(inner == 2 * m.size() - 1, axiom, "a scan in a visitor gives other keys");
    }

    void limits() {
        constexpr std::string_view axiom = "limits";
        auto s = fresh();
        if (!s) { return; }
        S const& constant = *s;
        expect(constant.value_bytes_max() >= value_bytes_min_max, axiom, "value_bytes_max() is under 16 MiB");
        bytes const longest(key_bytes_max, std::byte{0xFF});
        bytes const too_long(key_bytes_max + 1, std::byte{0xFF});
        bytes const nul{std::byte{0}};
        bytes out;
        model m;
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (!tx) { return; }
            expect_ok(tx->put(key("before"), key("1")), axiom, "put");
            expect_error(tx->put({}, key("v")), errc::invalid, axiom, "put of an empty key");
            expect_error(tx->put(too_long, key("v")), errc::invalid, axiom, "put of a key of 512 bytes");
            expect_error(tx->get({}, out), errc::invalid, axiom, "get of an empty key");
            expect_error(tx->get(too_long, out), errc::invalid, axiom, "get of a key of 512 bytes");
            expect_error(tx->erase({}), errc::invalid, axiom, "erase of an empty key");
            expect_error(tx->erase(too_long), errc::invalid, axiom, "erase of a key of 512 bytes");
            expect_ok(tx->erase(key("absent")), axiom, "erase of an absent key");
            holds(*tx, key("before"), key("1"), axiom, "get after refused calls");
            m = {{key("before"), key("1")}, {longest, key("v")}, {nul, nul}, {key("empty"), {}}};
            m[to_bytes(std::string_view("a\0b", 3))] = to_bytes(std::string_view("\0c\0", 3));
            for (auto const& [k, v] : m) {
                if (!expect_ok(tx->put(k, v), axiom, "put of what is in range")) { return; }
                holds(*tx, k, v, axiom, "get of what is in range");
            }
            if (options_.long_value != 0) {
                bytes const large((std::min)(options_.long_value, s->value_bytes_max()), std::byte{0x5A});
                if (expect_ok(tx->put(key("large"), large), axiom, "put of a long value")) {
                    holds(*tx, key("large"), large, axiom, "get of a long value");
                    expect_ok(tx->erase(key("large")), axiom, "erase of a long value");
                }
            }
            // One byte too many has to be made to be refused: only where that is a reasonable amount of memory.
            if (s->value_bytes_max() <= (std::size_t{1} << 27) && options_.long_value != 0) {
                bytes const over(s->value_bytes_max() + 1);
                expect_error(tx->put(key("before"), over), errc::limit, axiom, "put of a value over the limit");
            }
            auto const seen = content(*tx);
            if (seen) { expect(*seen == m, axiom, "a refused call changes something"); }
            if (!expect_ok(tx->commit(), axiom, "commit after refused calls")) { return; }
        }
        {
            auto tx = begin(*s, access_mode::read, axiom);
            if (!tx) { return; }
            expect_error(tx->put(key("k"), {}), errc::read_only, axiom, "put through a transaction for reading");
            expect_error(tx->erase(key("before")), errc::read_only, axiom, "erase through a transaction for reading");
            holds(*tx, key("before"), key("1"), axiom, "get after refused writes");
            expect_ok(tx->commit(), axiom, "commit of a transaction for reading");
        }
        expect_committed(*s, m, axiom, "a refused call leaves a trace");
    }

    void atomicity() {
        constexpr std::string_view axiom = "atomicity";
        auto s = fresh();
        if (!s) { return; }
        model m{{key("a"), key("1")}, {key("b"), key("2")}, {key("c"), key("3")}};
        if (!fill(*s, m, axiom)) { return; }
        expect_committed(*s, m, axiom, "what was committed is not there");
        for (bool const moved : {false, true}) {
            {
                auto tx = begin(*s, access_mode::write, axiom);
                if (!tx) { return; }
                expect_ok(tx->put(key("a"), key("changed")), axiom, "put");
                expect_ok(tx->put(key("new"), key("changed")), axiom, "put");
                expect_ok(tx->erase(key("b")), axiom, "erase");
                if (moved) {
                    transaction last(std::move(*tx));
                    tx.reset();
                    expect_ok(last.put(key("newer"), {}), axiom, "put after a move");
                }
            }
            expect_committed(*s, m, axiom, "a transaction that was not committed leaves a trace");
        }
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (!tx) { return; }
            for (int i = 0; i < 300; ++i) {
                bytes const k = key("many " + std::to_string(i));
                expect_ok(tx->put(k, key("v")), axiom, "put");
                m[k] = key("v");
            }
            expect_error(tx->put({}, {}), errc::invalid, "limits", "put of an empty key");
            expect_ok(tx->erase(key("c")), axiom, "erase");
            m.erase(key("c"));
            transaction last(std::move(*tx));
            tx.reset();
            expect_ok(last.commit(), axiom, "commit after a move");
        }
        expect_committed(*s, m, axiom, "a committed transaction is not whole");
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (tx) { expect_ok(tx->commit(), axiom, "commit of an empty transaction"); }
        }
        expect_committed(*s, m, axiom, "an empty transaction changes something");
    }

    void one_open() {
        constexpr std::string_view axiom = "one_open";
        for (access_mode const first : {access_mode::read, access_mode::write}) {
            auto s = fresh();
            if (!s) { return; }
            model m{{key("k"), key("v")}};
            if (!fill(*s, m, axiom)) { return; }
            {
                auto tx = begin(*s, first, axiom);
                if (!tx) { return; }
                if (first == access_mode::write) {
                    expect_ok(tx->put(key("j"), key("u")), axiom, "put before a refused begin");
                    m[key("j")] = key("u");
                }
                expect_error(s->begin(access_mode::read), errc::busy, axiom, "begin(read) beside an open transaction");
                expect_error(s->begin(access_mode::write), errc::busy, axiom,
                             "begin(write) beside an open transaction");
                transaction moved(std::move(*tx));
                tx.reset();
                expect_error(s->begin(access_mode::read), errc::busy, axiom,
                             "begin beside a transaction that was moved");
                holds(moved, key("k"), key("v"), axiom, "get after a refused begin");
                if (first == access_mode::write) {
                    expect_ok(moved.put(key("l"), key("w")), axiom, "put after a refused begin");
                    m[key("l")] = key("w");
                }
                expect_ok(moved.commit(), axiom, "commit after a refused begin");
                auto again = begin(*s, access_mode::read, axiom);  // ended by commit, though not destroyed yet
            }
            expect_committed(*s, m, axiom, "a refused begin changes something");
        }
    }

    void isolation() {
        if (!factory_.another) { return; }
        uncommitted_is_unseen();
        reader_sees_one_state();
        no_lost_update();
        no_write_skew();
    }
    void uncommitted_is_unseen() {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        if (!a || !fill(*a, {{key("k"), key("old")}}, axiom)) { return; }
        auto b = factory_.another();
        auto tx = begin(*a, access_mode::write, axiom);
        if (!b || !tx) { return; }
        if (!expect_ok(tx->put(key("k"), key("new")), axiom, "put")) { return; }
        auto reader = b->begin(access_mode::read);
        if (!reader) {
            if (!lost_race(reader.error().code)) { expect_ok(reader, axiom, "begin(read) beside a writer"); }
            return;
        }
        bytes out;
        auto const r = reader->get(key("k"), out);
        if (r) { expect(out == key("old"), axiom, "a reader sees what another object has not committed"); }
        if (!r && !lost_race(r.error().code)) { expect_ok(r, axiom, "get beside a writer"); }
    }
    void reader_sees_one_state() {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        model const m{{key("a"), key("old")}, {key("b"), key("old")}, {key("c"), key("old")}};
        if (!a || !fill(*a, m, axiom)) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        auto reader = begin(*b, access_mode::read, axiom);
        if (!reader) { return; }
        holds(*reader, key("a"), key("old"), axiom, "get");
        bool committed_new = false;
        if (auto tx = a->begin(access_mode::write); tx) {
            bool written = true;
            for (auto const& [k, v] : m) { written = written && tx->put(k, key("new")); }
            written = written && tx->put(key("d"), key("new"));
            if (written) {
                auto const done = tx->commit();
                committed_new = static_cast<bool>(done);
                if (!done && !lost_race(done.error().code)) { expect_ok(done, axiom, "commit beside a reader"); }
            }
        } else if (!lost_race(tx.error().code)) {
            expect_ok(tx, axiom, "begin(write) beside a reader");
        }
        auto const seen = content(*reader);
        if (seen) { expect(*seen == m, axiom, "a reader sees what was committed after it began"); }
        holds(*reader, key("b"), key("old"), axiom, "get of what was changed after the reader began");
        expect_ok(reader->commit(), axiom, "commit of a transaction for reading");
        reader.reset();
        auto const after = committed(*b, axiom);
        if (after) {
            bool const is_new = after->count(key("d")) != 0;
            expect(is_new == committed_new, axiom, "a later reader does not see what was committed before it");
        }
    }
    /// Two objects add one to a counter, their steps shuffled: each commit that succeeds has to count.
    void no_lost_update() {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        if (!a || !fill(*a, {{key("n"), counter(0)}}, axiom)) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        S* const objects[2] = {a.get(), b.get()};
        std::uint64_t added = 0;
        for (int round = 0; round < 24; ++round) {
            std::optional<transaction> open[2];
            int steps[2] = {0, 0};
            bytes values[2];
            while (steps[0] < 4 || steps[1] < 4) {
                std::size_t const i = steps[0] >= 4 ? 1 : steps[1] >= 4 ? 0 : below(2);
                std::optional<failure> failed;
                switch (steps[i]++) {
                    case 0:
                        if (auto tx = objects[i]->begin(access_mode::write); tx) {
                            open[i].emplace(std::move(*tx));
                        } else {
                            failed = tx.error();
                        }
                        break;
                    case 1:
                        if (auto const r = open[i]->get(key("n"), values[i]); !r) { failed = r.error(); }
                        break;
                    case 2: {
                        std::uint64_t const n = values[i].size() == 8 ? read_u64(values[i]) : 0;
                        if (auto const r = open[i]->put(key("n"), counter(n + 1)); !r) { failed = r.error(); }
                        break;
                    }
                    default:
                        if (auto const r = open[i]->commit(); !r) {
                            failed = r.error();
                        } else {
                            ++added;
                        }
                }
                if (failed) {
                    if (!lost_race(failed->code)) {
                        report(axiom, std::string("a lost race answers: ") + message(failed->code));
                    }
                    steps[i] = 4;
                }
                if (steps[i] == 4) { open[i].reset(); }
            }
        }
        auto tx = begin(*a, access_mode::read, axiom);
        if (tx) { holds(*tx, key("n"), counter(added), axiom, "a committed update is lost"); }
    }
    static bytes counter(std::uint64_t n) {
        bytes b;
        append_u64(b, n);
        return b;
    }
    /// Each writes its key if it finds the other's absent: one after the other, only one of them can.
    void no_write_skew() {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        if (!a) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        auto one = a->begin(access_mode::write);
        auto two = b->begin(access_mode::write);
        bytes out;
        std::size_t written = 0;
        auto const attempt = [&](auto& tx, bytes const& theirs, bytes const& mine) {
            if (!tx) { return; }
            auto const found = tx->get(theirs, out);
            if (found && !*found && !tx->put(mine, key("1"))) { tx = errc::contended; }
        };
        attempt(one, key("y"), key("x"));
        attempt(two, key("x"), key("y"));
        for (auto* tx : {&one, &two}) {
            if (*tx && (*tx)->commit()) { ++written; }
            *tx = errc::busy;
        }
        auto const now = committed(*a, axiom);
        if (now) { expect(now->size() <= 1, axiom, "two writers both act on what the other changes"); }
        expect(written != 0, axiom, "of two writers neither gets through");
    }

    void durability_axiom() {
        constexpr std::string_view axiom = "durability";
        auto s = fresh();
        if (!s) { return; }
        S const& constant = *s;
        durability const said = constant.commit_durability();
        expect(said == durability::none || said == durability::ordered || said == durability::full, axiom,
               "commit_durability() is none of the three");
        expect_ok_or_busy(s->barrier(), axiom, "barrier on an empty store");
        model m;
        for (int i = 0; i < 5; ++i) {
            model const more{{key("k" + std::to_string(i)), key(std::to_string(i))}};
            if (!fill(*s, more, axiom)) { return; }
            m.insert(more.begin(), more.end());
        }
        expect_ok_or_busy(s->barrier(), axiom, "barrier");
        expect_committed(*s, m, axiom, "a barrier changes what is stored");
        if (!factory_.reopen) { return; }
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (!tx) { return; }
            expect_ok(tx->put(key("uncommitted"), {}), axiom, "put");
        }
        s.reset();
        s = factory_.reopen();
        if (!expect(s != nullptr, axiom, "the store does not open again")) { return; }
        expect_committed(*s, m, axiom, "a reopened store holds other than was committed");
    }
    /// A few commits, some with a barrier after them, some of a transaction that is still open, and then the power goes.
    void power_loss() {
        if (!factory_.power_cut || !factory_.reopen) { return; }
        for (std::uint32_t round = 0; round < options_.power_cuts; ++round) {
            auto s = fresh();
            if (!s) { return; }
            commit_workload workload(next());
            commit_history history;
            commit_history::moment now = 0;
            for (std::size_t i = 1 + below(8); i != 0; --i) {
                durability const said = s->commit_durability();
                auto tx = begin(*s, access_mode::write, "durability");
                if (!tx || !expect_ok(workload.write(*tx), "durability", "write")) { return; }
                history.begins(++now, said, workload.content());
                if (!expect_ok(tx->commit(), "durability", "commit")) { return; }
                history.answered(++now);
                if (below(3) == 0 && s->barrier()) { history.barrier(++now); }
            }
            std::optional<transaction> open;
            if (below(2) == 0) {
                open = begin(*s, access_mode::write, "durability");
                if (!open || !expect_ok(workload.write(*open), "durability", "write")) { return; }
            }
            factory_.power_cut(next());
            open.reset();
            s.reset();
            s = factory_.reopen();
            if (!s) {
                expect(!history.promises(now), "durability", "the store does not open again after a power loss");
                return;
            }
            auto const left = committed(*s, "durability");
            auto const wrong = left ? history.judge(*left, now) : std::nullopt;
            if (wrong) {
                report(wrong->axiom, "after a power loss: " + wrong->what);
                return;
            }
        }
    }
    /// Inside the host's transaction there is no barrier to be had.
    void expect_ok_or_busy(status const& s, std::string_view axiom, char const* what) {
        if (!s && s.error() != errc::busy) { expect_ok(s, axiom, what); }
    }

    void random_transactions() {
        auto s = fresh();
        if (!s) { return; }
        auto other = factory_.another ? factory_.another() : nullptr;
        model truth;
        for (std::uint32_t round = 0; round < options_.rounds && found_.size() < 20; ++round) {
            if (factory_.reopen && below(16) == 0) {
                other.reset();
                s.reset();
                s = factory_.reopen();
                if (!expect(s != nullptr, "durability", "the store does not open again")) { return; }
                if (factory_.another) { other = factory_.another(); }
                expect_committed(*s, truth, "durability", "a reopened store holds other than was committed");
            }
            std::optional<transaction> reader;
            if (other != nullptr && below(3) == 0) { reader = begin(*other, access_mode::read, "isolation"); }
            model const before = truth;
            auto tx = s->begin(access_mode::write);
            if (!tx && reader && lost_race(tx.error().code)) {
                reader.reset();
                tx = s->begin(access_mode::write);
            }
            if (!expect_ok(tx, "isolation", "begin(write) alone")) { return; }
            model draft = truth;
            std::size_t const steps = below(40);
            for (std::size_t i = 0; i < steps; ++i) { random_step(*tx, draft); }
            if (below(3) == 0) {
                tx = errc::busy;  // destroys the transaction
            } else {
                auto const done = tx->commit();
                if (done) {
                    truth = draft;
                } else if (!reader || !lost_race(done.error().code)) {
                    expect_ok(done, "atomicity", "commit");
                }
                tx = errc::busy;
            }
            if (reader) {
                auto const seen = content(*reader);
                if (seen) {
                    expect(*seen == before, "isolation", "a reader does not see the state that it began with");
                }
                reader.reset();
            }
            expect_committed(*s, truth, "atomicity", "what is stored is not what the commits so far make");
            if (other != nullptr) {
                expect_committed(*other, truth, "isolation", "another object does not see what is committed");
            }
        }
    }
    void random_step(transaction& tx, model& draft) {
        bytes const k = random_key();
        switch (below(6)) {
            case 0:
            case 1: {
                bytes const v = random_value();
                if (expect_ok(tx.put(k, v), ryw, "put")) { draft[k] = v; }
                break;
            }
            case 2:
                if (expect_ok(tx.erase(k), ryw, "erase")) { draft.erase(k); }
                break;
            case 3: {
                auto const at = draft.lower_bound(k);
                if (at != draft.end()) {
                    bytes const present = at->first;
                    if (expect_ok(tx.erase(present), ryw, "erase")) { draft.erase(at); }
                }
                break;
            }
            case 4: {
                auto const at = draft.find(k);
                holds(tx, k, at == draft.end() ? std::optional<bytes>{} : std::optional<bytes>{at->second}, ryw,
                      "get gives other than was put last");
                break;
            }
            default: {
                bytes const to = below(3) == 0 ? bytes{} : random_key();
                auto const seen = content(tx, {k, to});
                model expected;
                for (auto at = draft.lower_bound(k); at != draft.end() && (to.empty() || at->first < to); ++at) {
                    expected.insert(*at);
                }
                if (seen) { expect(*seen == expected, ryw, "a scan gives other than was put last"); }
            }
        }
    }

    storage_factory<S> const& factory_;
    storage_conformance_options options_;
    std::uint64_t random_;
    std::vector<violation> found_;
};

}  // namespace detail

/// Runs every axiom of `storage` that the factory allows to check, and random transactions against a map.
///
/// Needs no test framework: `REQUIRE(to_text(certify_storage<my_storage>(factory)) == "")`, or print it.
/// Each violation names the axiom as storage/storage.hpp does: read_your_writes, order, limits, atomicity,
/// isolation, one_open, durability. Durability here is a reopened store; with the factory's `power_cut` it is also what
/// the store said of power loss, by commit_durability() and barrier(). The power is cut between two calls only.
/// The same seed makes the same calls. Cost: some thousand small calls and twice the longest value in memory.
template <storage S>
[[nodiscard]] std::vector<violation> certify_storage(storage_factory<S> const& factory,
                                                     storage_conformance_options const& options = {}) {
    return detail::storage_certifier<S>(factory, options).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
