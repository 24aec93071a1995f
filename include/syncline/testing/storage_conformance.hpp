// SPDX-License-Identifier: BSL-1.0
#pragma once

/// `certify_storage`: runs the axioms of `storage` on a model of one's own and says which are broken.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
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
    /// comes reopen(), more is written, and the power of the same store is cut again. None: no power is cut. testing/sqlite_power_loss.hpp has a disk for stores over SQLite.
    std::function<void(std::uint64_t seed)> power_cut{};
};

struct storage_conformance_options {
    std::uint64_t seed = 1;                        ///< of the random part
    std::uint32_t rounds = 150;                    ///< random transactions
    std::size_t long_value = value_bytes_min_max;  ///< bytes of the longest value that is tried
    std::size_t many_keys = 5'000;                 ///< keys of the largest transaction
    std::uint32_t power_cuts = 40;                 ///< stores that lose power up to four times; with a factory that can
    std::uint32_t commits_between_cuts = 48;       ///< at most; each number from 1 is tried
    friend constexpr bool operator==(storage_conformance_options const&, storage_conformance_options const&) = default;
};

namespace detail {

inline constexpr std::size_t told_bytes_max = 24;

/// Bytes as a report shows them: text as it is, others in hex, with their number where they are many.
[[nodiscard]] inline std::string told_bytes(bytes_view b) {
    constexpr char digits[] = "0123456789abcdef";
    bool const text = std::all_of(b.begin(), b.end(), [](std::byte x) {
        unsigned const c = std::to_integer<unsigned>(x);
        return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
    });
    std::string out = b.size() > told_bytes_max ? std::to_string(b.size()) + " bytes " : std::string{};
    out += text ? "\"" : "h'";
    for (std::byte const x : b.first((std::min)(b.size(), told_bytes_max))) {
        unsigned const c = std::to_integer<unsigned>(x);
        if (text) {
            out += static_cast<char>(c);
        } else {
            out += digits[c >> 4];
            out += digits[c & 15U];
        }
    }
    if (b.size() > told_bytes_max) { out += "..."; }
    return out + (text ? '"' : '\'');
}
[[nodiscard]] inline std::string told_value(std::optional<bytes> const& v) { return v ? told_bytes(*v) : "absent"; }
/// `put("k", "v")`, `get("k")`, `scan("a", "b")`.
[[nodiscard]] inline std::string told_call(char const* call, bytes_view k) {
    return std::string(call) + '(' + told_bytes(k) + ')';
}
[[nodiscard]] inline std::string told_call(char const* call, bytes_view k, bytes_view v) {
    return std::string(call) + '(' + told_bytes(k) + ", " + told_bytes(v) + ')';
}

template <storage S>
class storage_certifier {
public:
    storage_certifier(storage_factory<S> const& factory, storage_conformance_options const& options)
        : factory_(factory), options_(options), random_(options.seed) {}

    [[nodiscard]] std::vector<violation> run() {
        using self = storage_certifier;
        // Each on what it builds on: a store that loses its own writes keeps no commit whole either.
        bool const alone = sound(&self::read_your_writes) && sound(&self::limits) && sound(&self::keys) &&
                           sound(&self::order) && sound(&self::pages) && sound(&self::values) &&
                           sound(&self::many_writes) && sound(&self::atomicity);
        if (!alone) { return std::move(found_); }
        bool const open = sound(&self::one_open);
        bool const beside = sound(&self::isolation);
        bool const lasting = sound(&self::durability_axiom) && sound(&self::power_loss_after_each_number) &&
                             sound(&self::power_loss) && sound(&self::power_loss_after_each_size);
        if (open && beside && lasting) {
            static_cast<void>(sound(&self::random_transactions) && sound(&self::random_pairs));
        }
        return std::move(found_);
    }

private:
    using model = std::map<bytes, bytes>;
    using transaction = typename S::transaction;
    static constexpr std::string_view ryw = "read_your_writes";

    // --- saying what is wrong

    /// Runs a part of the suite. Of what is wrong in it the first is told, as all after it may follow from it.
    [[nodiscard]] bool sound(void (storage_certifier::*part)()) {
        told_ = false;
        where_.clear();
        calls_.clear();
        (this->*part)();
        return !told_;
    }
    void report(std::string_view axiom, std::string what) {
        if (!std::exchange(told_, true)) { found_.push_back({std::string(axiom), std::move(what) + where_}); }
    }
    bool expect(bool holds, std::string_view axiom, std::string const& what) {
        if (!holds) { report(axiom, what); }
        return holds;
    }
    template <class R>
    bool expect_ok(R const& r, std::string_view axiom, std::string const& what) {
        if (!r) { report(axiom, what + " answers: " + message(r.error().code)); }
        return static_cast<bool>(r);
    }
    template <class R>
    void expect_error(R const& r, errc e, std::string_view axiom, std::string const& what) {
        if (r) {
            report(axiom, what + " succeeds");
        } else if (r.error() != e) {
            report(axiom, what + " answers: " + message(r.error().code));
        }
    }
    static bool lost_race(errc e) { return e == errc::busy || e == errc::contended; }
    /// Where two long values part, which their beginnings don't show.
    [[nodiscard]] static std::string first_difference(bytes_view a, bytes_view b) {
        std::size_t const most = (std::min)(a.size(), b.size());
        std::size_t at = 0;
        while (at != most && a[at] == b[at]) { ++at; }
        return at < told_bytes_max || at == most ? std::string{} : ": other at byte " + std::to_string(at);
    }
    /// The first key that is other than it should be, how, and what was done to it lately; empty when none is.
    [[nodiscard]] std::string difference(model const& wanted, model const& seen) const {
        auto a = wanted.begin();
        auto b = seen.begin();
        while (a != wanted.end() && b != seen.end() && *a == *b) {
            ++a;
            ++b;
        }
        if (a == wanted.end() && b == seen.end()) { return {}; }
        bool const lacks = b == seen.end() || (a != wanted.end() && a->first < b->first);
        bool const extra = a == wanted.end() || (b != seen.end() && b->first < a->first);
        bytes const& k = extra ? b->first : a->first;
        std::string out = "key " + told_bytes(k) + " is " +
                          told_value(lacks ? std::optional<bytes>{} : std::optional<bytes>{b->second}) + ", not " +
                          told_value(extra ? std::optional<bytes>{} : std::optional<bytes>{a->second});
        if (!lacks && !extra) { out += first_difference(a->second, b->second); }
        std::string did;
        for (auto const& [key, call] : calls_) {
            if (key.empty() || key == k) { did += (did.empty() ? "" : ", ") + call; }
        }
        return did.empty() ? out : out + ", after " + did;
    }
    bool same(model const& wanted, model const& seen, std::string_view axiom, std::string const& what) {
        std::string const other = difference(wanted, seen);
        return expect(other.empty(), axiom, what + ": " + other);
    }

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
    bool put(transaction& tx, bytes const& k, bytes const& v, std::string_view axiom) {
        auto const r = tx.put(k, v);
        return r || expect_ok(r, axiom, told_call("put", k, v));
    }
    bool erase(transaction& tx, bytes const& k, std::string_view axiom) {
        auto const r = tx.erase(k);
        return r || expect_ok(r, axiom, told_call("erase", k));
    }

    /// What the model holds; reports a wrong order under its own name.
    std::optional<model> content(transaction& tx, key_range range = {}) {
        model m;
        std::optional<bytes> last;
        status const s = tx.scan(range, [&](bytes_view k, bytes_view v) {
            bytes now = to_bytes(k);
            if (last && !(*last < now)) {
                report("order", "a scan does not ascend: " + told_bytes(now) + " comes after " + told_bytes(*last));
            }
            if (!range.from.empty() && compare(k, range.from) < 0) {
                report("order",
                       told_call("scan", range.from, range.to) + " begins before its range, at " + told_bytes(now));
            }
            if (!range.to.empty() && compare(k, range.to) >= 0) {
                report("order",
                       told_call("scan", range.from, range.to) + " goes on after its range, to " + told_bytes(now));
            }
            m[now] = to_bytes(v);
            last = std::move(now);
            return true;
        });
        if (!s) {
            expect_ok(s, "order", told_call("scan", range.from, range.to));
            return std::nullopt;
        }
        return m;
    }
    std::optional<model> committed(S& s, std::string_view axiom) {
        auto tx = begin(s, access_mode::read, axiom);
        if (!tx) { return std::nullopt; }
        auto m = content(*tx);
        expect_ok(tx->commit(), axiom, "commit of a transaction for reading");
        return m;
    }
    bool expect_committed(S& s, model const& m, std::string_view axiom, char const* what) {
        auto const now = committed(s, axiom);
        return now && same(m, *now, axiom, what);
    }
    bool holds(transaction& tx, bytes const& k, std::optional<bytes> const& v, std::string_view axiom,
               char const* what) {
        bytes out = to_bytes("left over");
        auto const r = tx.get(k, out);
        if (r && *r == v.has_value() && (v ? out == *v : out.empty())) { return true; }
        std::string const call = std::string(what) + ": " + told_call("get", k);
        if (!r) { return expect_ok(r, axiom, call); }
        if (!v && !*r) { return expect(false, axiom, call + " leaves something in `out` for an absent key"); }
        std::optional<bytes> const seen = *r ? std::optional<bytes>{out} : std::nullopt;
        return expect(false, axiom,
                      call + " gives " + told_value(seen) + ", not " + told_value(v) +
                          (v && seen ? first_difference(*v, *seen) : std::string{}));
    }
    bool fill(S& s, model const& m, std::string_view axiom) {
        auto tx = begin(s, access_mode::write, axiom);
        if (!tx) { return false; }
        for (auto const& [k, v] : m) {
            if (!put(*tx, k, v, axiom)) { return false; }
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
    bytes random_bytes(std::size_t n) {
        bytes v(n);
        std::uint64_t word = 0;
        for (std::size_t i = 0; i < n; ++i, word >>= 8) {
            if (i % 8 == 0) { word = next(); }
            v[i] = static_cast<std::byte>(word & 0xFFU);
        }
        return v;
    }
    bytes random_value() { return random_bytes(below(20) == 0 ? below(9000) : below(12)); }

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
        if (seen) { same(own, *seen, ryw, "a scan after put(\"a\"), put(\"b\") and erase(\"c\")"); }
        if (!put(*tx, c, {}, "limits")) { return; }
        holds(*tx, c, bytes{}, ryw, "get of an empty value after an erase");
        status const scanned = tx->scan({}, [&](bytes_view k, bytes_view v) {
            bytes const here = to_bytes(k);
            holds(*tx, here, to_bytes(v), ryw, "get in a visitor");
            holds(*tx, key("absent"), std::nullopt, ryw, "get of an absent key in a visitor");
            expect(equal(k, here), ryw,
                   "a get in a visitor changes the key that the visitor was given: " + told_bytes(here));
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
        for (char const* letters : {"A", "B", "a", "b"}) { m[key(letters)] = key(letters); }
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
            if (before.count(k) == 0 && !put(*tx, k, v, axiom)) { return; }
        }
        if (!erase(*tx, key("erased"), axiom)) { return; }
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
                std::string const call = told_call("scan", from, to);
                status const s2 = tx->scan({from, to}, [&](bytes_view, bytes_view) { return ++calls <= m.size(); });
                expect_ok(s2, axiom, call);
                if (calls != expected.size()) {
                    report(axiom,
                           call + " gives " + std::to_string(calls) + " keys, not " + std::to_string(expected.size()));
                }
                auto const seen = content(*tx, {from, to});
                if (seen && !same(expected, *seen, axiom, call)) { return; }
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

    /// The first `most` of a range, from a scan that is stopped then.
    std::optional<model> page(transaction& tx, key_range range, std::size_t most) {
        model m;
        status const s = tx.scan(range, [&](bytes_view k, bytes_view v) {
            m[to_bytes(k)] = to_bytes(v);
            return m.size() < most;
        });
        if (!expect_ok(s, "order", told_call("scan", range.from, range.to) + ", stopped")) { return std::nullopt; }
        return m;
    }
    static model page(model const& all, key_range range, std::size_t most) {
        model m;
        for (auto at = all.lower_bound(to_bytes(range.from));
             at != all.end() && m.size() < most && (range.to.empty() || compare(at->first, range.to) < 0); ++at) {
            m.insert(*at);
        }
        return m;
    }
    /// Reads in pages and writes between them, before and behind where the scan was stopped: a cursor that is kept
    /// over that shows what was there.
    void pages() {
        auto s = fresh();
        if (!s) { return; }
        model committed_before;
        for (std::uint64_t i = 0; i != 60; ++i) { committed_before[counter(i * 256)] = counter(i); }
        if (!fill(*s, committed_before, ryw)) { return; }
        {
            auto tx = begin(*s, access_mode::write, ryw);
            if (!tx) { return; }
            model draft = committed_before;
            for (bytes from{};;) {
                model const wanted = page(draft, {from, {}}, 7);
                auto const seen = page(*tx, {from, {}}, 7);
                if (!seen || !same(wanted, *seen, ryw, "a page of 7, after writes since the page before")) { return; }
                if (seen->size() < 7) { break; }
                bytes const last = seen->rbegin()->first;
                bytes behind = last;
                behind.push_back(std::byte{1});
                if (!erase(*tx, seen->begin()->first, ryw) || !put(*tx, behind, key("new"), ryw)) { return; }
                draft.erase(seen->begin()->first);
                auto const next_page = draft.upper_bound(last);
                if (next_page != draft.end()) {
                    if (!erase(*tx, next_page->first, ryw)) { return; }
                    draft.erase(next_page);
                }
                draft[behind] = key("new");
                from = last;
                from.push_back(std::byte{0});
            }
            auto const all = content(*tx);
            if (!all || !same(draft, *all, ryw, "after pages with writes between them")) { return; }
            // What empties a range: the first few are erased until there are none.
            while (!draft.empty()) {
                model const wanted = page(draft, {}, 5);
                auto const seen = page(*tx, {}, 5);
                if (!seen || !same(wanted, *seen, ryw, "the first 5, after those before them were erased")) { return; }
                for (auto const& [k, v] : wanted) {
                    if (!erase(*tx, k, ryw)) { return; }
                    draft.erase(k);
                }
            }
            auto const none = content(*tx);
            if (!none || !same({}, *none, ryw, "a scan after all was erased")) { return; }
        }
        static_cast<void>(
            expect_committed(*s, committed_before, "atomicity", "a transaction that erased all and was not committed"));
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
            put(*tx, key("before"), key("1"), axiom);
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
                if (!put(*tx, k, v, axiom)) { return; }
                holds(*tx, k, v, axiom, "after its put");
            }
            // One byte too many has to be made to be refused: only where that is a reasonable amount of memory.
            if (s->value_bytes_max() <= (std::size_t{1} << 27) && options_.long_value != 0) {
                bytes const over(s->value_bytes_max() + 1);
                expect_error(tx->put(key("before"), over), errc::limit, axiom, "put of a value over the limit");
            }
            auto const seen = content(*tx);
            if (seen) { same(m, *seen, axiom, "a refused call changes something"); }
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

    /// Writes all in one transaction and looks for it there, after the commit, and when half is erased again.
    void write_and_read(S& s, model m) {
        {
            auto tx = begin(s, access_mode::write, "limits");
            if (!tx) { return; }
            for (auto const& [k, v] : m) {
                if (!put(*tx, k, v, "limits")) { return; }
            }
            for (auto const& [k, v] : m) {
                if (!holds(*tx, k, v, ryw, "before the commit")) { return; }
            }
            std::string const all = "a scan after puts of " + std::to_string(m.size()) + " keys";
            auto const seen = content(*tx);
            if (!seen || !same(m, *seen, ryw, all) || !expect_ok(tx->commit(), "atomicity", "commit")) { return; }
        }
        std::string const of = " of " + std::to_string(m.size()) + " puts";
        if (!expect_committed(s, m, "atomicity", ("after the commit" + of).c_str())) { return; }
        bool odd = false;
        auto tx = begin(s, access_mode::write, "atomicity");
        if (!tx) { return; }
        for (auto at = m.begin(); at != m.end(); odd = !odd) {
            if (odd && !erase(*tx, at->first, "limits")) { return; }
            at = odd ? m.erase(at) : std::next(at);
        }
        if (!expect_ok(tx->commit(), "atomicity", "commit")) { return; }
        tx.reset();
        static_cast<void>(expect_committed(s, m, "atomicity", "after the commit that erased half of it"));
    }
    /// What collations, patterns, number types and cut columns take one for the other, and every length.
    static model awkward_keys() {
        model m;
        auto const add = [&m](bytes k) {
            bytes v = k;
            v.push_back(std::byte{'='});
            m[std::move(k)] = std::move(v);
        };
        for (unsigned i = 0; i != 256; ++i) {
            add({static_cast<std::byte>(i)});
            add({std::byte{'a'}, static_cast<std::byte>(i)});
        }
        for (char const* word :
             {"key",      "Key",          "KEY",      " key",     "key ",     "key  ",     "key\t",
              "key\n",    "key\r\n",      "01",       "1.0",      "+1",       "1e0",       "0x1",
              "null",     "NULL",         "true",     "\\\\",     "..",       "a/b",       "a\\b",
              "a%b",      "a_b",          "a*b",      "\xC3\xA4", "\xC3\x84", "a\xCC\x88", "\xEF\xBB\xBFkey",
              "\xC0\x80", "\xED\xA0\x80", "\xC3\x9F", "ss"}) {
            add(key(word));
        }
        for (std::size_t n = 1; n <= key_bytes_max; ++n) {
            bytes k(n, std::byte{'k'});
            add(k);
            k.back() = std::byte{'l'};
            add(k);
        }
        for (std::size_t zeros = 1; zeros != 4; ++zeros) {
            bytes k = key("key");
            k.resize(k.size() + zeros);
            add(k);
        }
        return m;
    }
    void keys() {
        auto s = fresh();
        if (s) { write_and_read(*s, awkward_keys()); }
    }
    void many_writes() {
        auto s = fresh();
        if (!s) { return; }
        model m;
        for (std::size_t i = 0; i != options_.many_keys; ++i) { m[key("many " + std::to_string(i))] = counter(i); }
        write_and_read(*s, m);
    }
    /// Around the sizes at which length fields and pages end, and some in between; no longer than `most`.
    std::vector<std::size_t> value_sizes(std::size_t most) {
        std::vector<std::size_t> sizes{0, 1};
        for (std::size_t two = 128; two <= (std::size_t{1} << 24); two *= 2) {
            if (two <= (std::size_t{1} << 16)) { sizes.insert(sizes.end(), {two - 1, two}); }
            sizes.push_back(two + 1);
        }
        for (std::size_t two = 1'024; two <= (std::size_t{1} << 19); two *= 2) { sizes.push_back(two + below(two)); }
        if (most > 1) { sizes.insert(sizes.end(), {most - 1, most}); }
        sizes.erase(std::remove_if(sizes.begin(), sizes.end(), [most](std::size_t n) { return n > most; }),
                    sizes.end());
        return sizes;
    }
    /// Short ones whose ends a text column would cut or change.
    static model awkward_values() {
        model m;
        for (std::string_view const v :
             {std::string_view{" v "}, std::string_view{"v\n"}, std::string_view{"v\r\n"}, std::string_view{"\0v\0", 3},
              std::string_view{"v\0\0", 3}, std::string_view{"\xEF\xBB\xBFv"}, std::string_view{"\xFF\xFE"},
              std::string_view{"007"}, std::string_view{"NULL"}, std::string_view{"'\"\\%"}}) {
            m[key("value " + std::to_string(m.size()))] = key(v);
        }
        return m;
    }
    void values() {
        auto s = fresh();
        if (!s) { return; }
        write_and_read(*s, awkward_values());
        // One after the other over one key, each in a commit of its own: two of the longest are in memory at most.
        bytes const k = key("value");
        for (std::size_t const size : value_sizes((std::min)(options_.long_value, s->value_bytes_max()))) {
            bytes const v = random_bytes(size);
            auto tx = begin(*s, access_mode::write, "atomicity");
            if (!tx || !put(*tx, k, v, "limits") || !holds(*tx, k, v, ryw, "before the commit") ||
                !expect_ok(tx->commit(), "atomicity", "commit after " + told_call("put", k, v))) {
                return;
            }
            tx.reset();
            tx = begin(*s, access_mode::read, "atomicity");
            if (!tx || !holds(*tx, k, v, "atomicity", "after the commit")) { return; }
        }
    }

    void atomicity() {
        constexpr std::string_view axiom = "atomicity";
        auto s = fresh();
        if (!s) { return; }
        model m{{key("a"), key("1")}, {key("b"), key("2")}, {key("c"), key("3")}};
        if (!fill(*s, m, axiom)) { return; }
        expect_committed(*s, m, axiom, "after the commit");
        for (bool const moved : {false, true}) {
            {
                auto tx = begin(*s, access_mode::write, axiom);
                if (!tx) { return; }
                put(*tx, key("a"), key("changed"), axiom);
                put(*tx, key("new"), key("changed"), axiom);
                erase(*tx, key("b"), axiom);
                if (moved) {
                    transaction last(std::move(*tx));
                    tx.reset();
                    put(last, key("newer"), {}, axiom);
                }
            }
            expect_committed(*s, m, axiom, "a transaction that was not committed leaves a trace");
        }
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (!tx) { return; }
            put(*tx, key("d"), key("4"), axiom);
            m[key("d")] = key("4");
            expect_error(tx->put({}, {}), errc::invalid, "limits", "put of an empty key");
            erase(*tx, key("c"), axiom);
            m.erase(key("c"));
            transaction last(std::move(*tx));
            tx.reset();
            expect_ok(last.commit(), axiom, "commit after a move");
        }
        expect_committed(*s, m, axiom, "after the commit of a transaction that was moved");
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (tx) { expect_ok(tx->commit(), axiom, "commit of an empty transaction"); }
        }
        expect_committed(*s, m, axiom, "an empty transaction changes something");
        if (factory_.another) { loser_leaves_nothing(); }
    }
    /// Two writers of the same key, the one or the other first: a commit that loses is one that failed.
    void loser_leaves_nothing() {
        constexpr std::string_view axiom = "atomicity";
        for (std::size_t const first : {std::size_t{0}, std::size_t{1}}) {
            auto a = fresh();
            model m{{key("both"), key("old")}};
            if (!a || !fill(*a, m, axiom)) { return; }
            auto b = factory_.another();
            if (!b) { return; }
            S* const objects[2] = {a.get(), b.get()};
            std::optional<transaction> open[2];
            model both[2];
            for (std::size_t i = 0; i != 2; ++i) {
                std::string const mine = i == 0 ? "a's " : "b's ";
                both[i] = {{key("both"), key(mine)}, {key(mine + "one"), key("1")}, {key(mine + "two"), key("2")}};
                auto tx = objects[i]->begin(access_mode::write);
                bytes out;
                bool alive = tx && tx->get(key("both"), out);
                for (auto const& [k, v] : both[i]) { alive = alive && tx->put(k, v); }
                if (alive) { open[i].emplace(std::move(*tx)); }
            }
            std::string won;
            for (std::size_t const i : {first, 1 - first}) {
                if (open[i] && open[i]->commit()) {
                    for (auto const& [k, v] : both[i]) { m[k] = v; }
                    won += i == 0 ? " a" : " b";
                }
                open[i].reset();
            }
            expect_committed(
                *a, m, axiom,
                ("after two writers' commits, of which succeeded" + (won.empty() ? " none" : won)).c_str());
        }
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
                    put(*tx, key("j"), key("u"), axiom);
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
                    put(moved, key("l"), key("w"), axiom);
                    m[key("l")] = key("w");
                }
                expect_ok(moved.commit(), axiom, "commit after a refused begin");
                auto again = begin(*s, access_mode::read, axiom);  // ended by commit, though not destroyed yet
            }
            expect_committed(*s, m, axiom, "a refused begin changes something");
        }
        dropped_transactions();
    }
    /// None of them is committed: what each holds has to be given back.
    void dropped_transactions() {
        constexpr std::string_view axiom = "one_open";
        auto s = fresh();
        model const m{{key("k"), key("v")}};
        if (!s || !fill(*s, m, axiom)) { return; }
        for (int i = 1; i <= 300; ++i) {
            where_ = " (after " + std::to_string(i - 1) + " transactions that were dropped without a commit)";
            bool const writing = i % 2 == 0;
            auto tx = begin(*s, writing ? access_mode::write : access_mode::read, axiom);
            if (!tx || !holds(*tx, key("k"), key("v"), axiom, "in one of many transactions")) { return; }
            if (writing && !put(*tx, key("k"), key("dropped"), axiom)) { return; }
        }
        where_.clear();
        expect_committed(*s, m, axiom, "after 300 transactions that were dropped without a commit");
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
        if (!put(*tx, key("k"), key("new"), axiom)) { return; }
        auto reader = b->begin(access_mode::read);
        if (!reader) {
            if (!lost_race(reader.error().code)) { expect_ok(reader, axiom, "begin(read) beside a writer"); }
            return;
        }
        bytes out;
        auto const r = reader->get(key("k"), out);
        if (r) {
            expect(out == key("old"), axiom,
                   "get(\"k\") gives what another object has put and not committed: " + told_bytes(out));
        }
        if (!r && !lost_race(r.error().code)) { expect_ok(r, axiom, "get beside a writer"); }
    }
    void reader_sees_one_state() {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        model const m{{key("a"), key("old")}, {key("b"), key("old")}, {key("c"), key("old")}};
        if (!a || !fill(*a, m, axiom)) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        // From its first read on; without one its state may be that of its begin or a later one.
        auto reader = begin(*b, access_mode::read, axiom);
        if (!reader) { return; }
        holds(*reader, key("a"), key("old"), axiom, "before the commit of another object");
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
        if (seen) { same(m, *seen, axiom, "a reader sees what was committed after its first read"); }
        holds(*reader, key("b"), key("old"), axiom, "changed by another object after the reader's first read");
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
        for (int round = 0; round < 24 && !told_; ++round) {
            where_ = " (counter round " + std::to_string(round) + " of seed " + std::to_string(options_.seed) + ')';
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
        if (tx) {
            holds(*tx, key("n"), counter(added), axiom,
                  "an update is lost of two objects that each add 1 to a counter");
        }
        where_.clear();
    }
    static bytes counter(std::uint64_t n) {
        bytes b;
        append_u64(b, n);
        return b;
    }
    /// Each looks whether it may write and then does; had the one waited for the other, it might not have.
    struct skew {
        char const* told;  ///< what both saw and did
        model before;
        /// Looks, and writes what goes with what it saw. Side 0 or 1; false when it did not want to write.
        std::function<result<bool>(transaction& tx, std::size_t side)> act;
    };
    static bytes side_key(std::size_t side) { return key(side == 0 ? "x" : "y"); }
    /// How many keys a range has, by a scan; stopped at the first if so wanted. Adds up values of one byte.
    static result<std::size_t> looked_at(transaction& tx, key_range range, bool first_only,
                                         std::uint64_t* sum = nullptr) {
        std::size_t n = 0;
        status const s = tx.scan(range, [&](bytes_view, bytes_view v) {
            ++n;
            if (sum != nullptr && v.size() == 1) { *sum += std::to_integer<std::uint64_t>(v[0]); }
            return !first_only;
        });
        if (!s) { return s.error(); }
        return n;
    }
    static result<bool> written(status const& s) {
        if (!s) { return s.error(); }
        return true;
    }
    static std::vector<skew> skews() {
        bytes const one{std::byte{1}};
        std::vector<skew> all;
        all.push_back({"one object saw \"y\" absent and put \"x\", another saw \"x\" absent and put \"y\"",
                       {},
                       [one](transaction& tx, std::size_t side) -> result<bool> {
                           bytes out;
                           auto const there = tx.get(side_key(1 - side), out);
                           if (!there) { return there.error(); }
                           return *there ? result<bool>{false} : written(tx.put(side_key(side), one));
                       }});
        all.push_back({"each of two objects saw by a scan that the store is empty, and put a key",
                       {},
                       [one](transaction& tx, std::size_t side) -> result<bool> {
                           auto const n = looked_at(tx, {}, false);
                           if (!n) { return n.error(); }
                           return *n != 0 ? result<bool>{false} : written(tx.put(side_key(side), one));
                       }});
        all.push_back({"each of two objects saw by a scan that the other's range is empty, and put a key into its own",
                       {{key("a"), one}, {key("z"), one}},
                       [one](transaction& tx, std::size_t side) -> result<bool> {
                           bytes const theirs = side_key(1 - side);
                           bytes end = theirs;
                           end.push_back(std::byte{0xFF});
                           auto const n = looked_at(tx, {theirs, end}, false);
                           if (!n) { return n.error(); }
                           bytes mine = side_key(side);
                           mine.push_back(std::byte{'1'});
                           return *n != 0 ? result<bool>{false} : written(tx.put(mine, one));
                       }});
        all.push_back({"each of two objects saw two keys by a scan, and erased one of them",
                       {{key("x"), one}, {key("y"), one}},
                       [](transaction& tx, std::size_t side) -> result<bool> {
                           auto const n = looked_at(tx, {}, false);
                           if (!n) { return n.error(); }
                           return *n != 2 ? result<bool>{false} : written(tx.erase(side_key(side)));
                       }});
        all.push_back({"each of two objects saw by a scan that two values make 2, and took 1 from one of them",
                       {{key("x"), one}, {key("y"), one}},
                       [](transaction& tx, std::size_t side) -> result<bool> {
                           std::uint64_t sum = 0;
                           auto const n = looked_at(tx, {}, false, &sum);
                           if (!n) { return n.error(); }
                           return sum != 2 ? result<bool>{false} : written(tx.put(side_key(side), bytes(1)));
                       }});
        all.push_back(
            {"each of two objects saw \"z\" as the first key, by a scan that it stopped there, and put one before it",
             {{key("z"), one}, {key("zz"), one}},
             [one](transaction& tx, std::size_t side) -> result<bool> {
                 bytes first;
                 status const s = tx.scan({}, [&first](bytes_view k, bytes_view) {
                     first = to_bytes(k);
                     return false;
                 });
                 if (!s) { return s.error(); }
                 return first != key("z") ? result<bool>{false} : written(tx.put(side_key(side), one));
             }});
        return all;
    }
    void no_write_skew() {
        for (skew const& k : skews()) {
            // Who commits first, and whether the other has looked by then.
            for (int const how : {0, 1, 2}) {
                if (!told_) { try_skew(k, how); }
            }
        }
    }
    void try_skew(skew const& how_they_meet, int how) {
        constexpr std::string_view axiom = "isolation";
        auto a = fresh();
        if (!a || (!how_they_meet.before.empty() && !fill(*a, how_they_meet.before, axiom))) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        std::optional<transaction> open[2];
        bool wrote[2] = {false, false};
        std::size_t committed_by = 0;
        std::size_t wanted = 0;
        auto const expect_race = [&](errc e) {
            if (!lost_race(e)) { report(axiom, std::string("a lost race answers: ") + message(e)); }
        };
        auto const starts = [&](std::size_t side) {
            auto tx = (side == 0 ? *a : *b).begin(access_mode::write);
            if (!tx) { return expect_race(tx.error().code); }
            open[side].emplace(std::move(*tx));
        };
        auto const acts = [&](std::size_t side) {
            if (!open[side]) { return; }
            auto const did = how_they_meet.act(*open[side], side);
            if (!did) {
                expect_race(did.error().code);
                open[side].reset();
            }
            wrote[side] = did && *did;
        };
        auto const commits = [&](std::size_t side) {
            if (!open[side]) { return; }
            wanted += wrote[side] ? 1 : 0;
            auto const done = open[side]->commit();
            if (!done) { expect_race(done.error().code); }
            committed_by += done && wrote[side] ? 1 : 0;
            open[side].reset();
        };
        starts(0);
        starts(1);
        acts(0);
        if (how == 2) { commits(0); }
        acts(1);
        commits(how == 0 ? 0 : 1);
        commits(how == 0 ? 1 : 0);
        expect(committed_by < 2, axiom, std::string(how_they_meet.told) + ": both commits succeed");
        expect(wanted == 0 || committed_by != 0, axiom, "of two writers neither gets through");
    }

    /// One call of a transaction and what came of it.
    struct step {
        enum class call : std::uint8_t { get, scan, put, erase };
        call what{};
        bytes k{};
        bytes to{};
        std::size_t most = 0;  ///< of a scan: stopped after so many
        bytes v{};
        model seen{};

        [[nodiscard]] std::string told() const {
            switch (what) {
                case call::put: return told_call("put", k, v);
                case call::erase: return told_call("erase", k);
                case call::get:
                    return told_call("get", k) + (seen.empty() ? ": absent" : ": " + told_bytes(seen.begin()->second));
                case call::scan: break;
            }
            std::string out = told_call("scan", k, to) + ", stopped after " + std::to_string(most) + ':';
            for (auto const& [key, value] : seen) { out += ' ' + told_bytes(key) + '=' + told_bytes(value); }
            return seen.empty() ? out + " nothing" : out;
        }
        /// Whether it would have seen the same here; does what it does.
        [[nodiscard]] bool fits(model& here) const {
            switch (what) {
                case call::put: here[k] = v; return true;
                case call::erase: here.erase(k); return true;
                case call::get: {
                    auto const at = here.find(k);
                    return at == here.end() ? seen.empty() : !seen.empty() && seen.begin()->second == at->second;
                }
                case call::scan: break;
            }
            return page(here, {k, to}, most) == seen;
        }
    };
    /// Among few keys, so that two transactions meet.
    step random_call(std::uint64_t number) {
        step s;
        s.what = static_cast<typename step::call>(below(4));
        s.k = key(std::string(1, static_cast<char>('a' + below(4))));
        s.to = below(3) == 0 ? bytes{} : key(std::string(1, static_cast<char>('b' + below(4))));
        s.most = 1 + below(4);
        s.v = key(std::to_string(number));
        return s;
    }
    std::optional<failure> take(transaction& tx, step& s) {
        switch (s.what) {
            case step::call::put: {
                auto const r = tx.put(s.k, s.v);
                return r ? std::optional<failure>{} : r.error();
            }
            case step::call::erase: {
                auto const r = tx.erase(s.k);
                return r ? std::optional<failure>{} : r.error();
            }
            case step::call::get: {
                bytes out;
                auto const r = tx.get(s.k, out);
                if (r && *r) { s.seen[s.k] = out; }
                return r ? std::optional<failure>{} : r.error();
            }
            case step::call::scan: break;
        }
        auto const r = tx.scan({s.k, s.to}, [&s](bytes_view k, bytes_view v) {
            s.seen[to_bytes(k)] = to_bytes(v);
            return s.seen.size() < s.most;
        });
        return r ? std::optional<failure>{} : r.error();
    }
    /// Two objects, a transaction each, their calls shuffled: what those saw that were committed, and what is there
    /// then, has to be as if one had come after the other.
    void random_pairs() {
        constexpr std::string_view axiom = "isolation";
        if (!factory_.another) { return; }
        auto a = fresh();
        if (!a) { return; }
        auto b = factory_.another();
        if (!b) { return; }
        S* const objects[2] = {a.get(), b.get()};
        model truth;
        std::uint64_t number = 0;
        for (std::uint32_t round = 0; round < options_.rounds && !told_; ++round) {
            where_ = " (pair " + std::to_string(round) + " of seed " + std::to_string(options_.seed) + ')';
            std::optional<transaction> open[2];
            std::vector<step> did[2];
            std::size_t calls[2];
            bool ended[2] = {false, false};
            bool counts[2] = {false, false};
            for (std::size_t& n : calls) { n = 1 + below(4); }
            while (!told_ && (!ended[0] || !ended[1])) {
                std::size_t const i = ended[0] ? 1 : ended[1] ? 0 : below(2);
                std::optional<failure> failed;
                if (!open[i]) {
                    auto tx = objects[i]->begin(below(5) == 0 ? access_mode::read : access_mode::write);
                    if (tx) {
                        open[i].emplace(std::move(*tx));
                    } else {
                        failed = tx.error();
                    }
                } else if (did[i].size() < calls[i]) {
                    step s = random_call(++number);
                    failed = take(*open[i], s);
                    if (failed && failed->code == errc::read_only) {
                        failed.reset();
                        --calls[i];
                    } else {
                        did[i].push_back(std::move(s));
                    }
                } else {
                    auto const done = open[i]->commit();
                    if (!done) { failed = done.error(); }
                    counts[i] = static_cast<bool>(done);
                    ended[i] = true;
                }
                if (failed && !lost_race(failed->code)) {
                    report(axiom, std::string("a lost race answers: ") + message(failed->code));
                }
                ended[i] = ended[i] || failed;
                if (ended[i]) { open[i].reset(); }
            }
            auto const now = told_ ? std::nullopt : committed(*a, axiom);
            if (!now) { return; }
            bool explained = false;
            for (std::size_t const first : {std::size_t{0}, std::size_t{1}}) {
                model here = truth;
                bool fits = true;
                for (std::size_t const i : {first, 1 - first}) {
                    if (!counts[i]) { continue; }
                    for (step const& s : did[i]) { fits = s.fits(here) && fits; }
                }
                explained = explained || (fits && here == *now);
            }
            if (!explained) { report(axiom, unexplained(truth, *now, did, counts)); }
            truth = *now;
        }
    }
    static std::string unexplained(model const& before, model const& now, std::vector<step> const (&did)[2],
                                   bool const (&counts)[2]) {
        auto const list = [](model const& m) {
            std::string out;
            for (auto const& [k, v] : m) { out += (out.empty() ? "" : " ") + told_bytes(k) + '=' + told_bytes(v); }
            return out.empty() ? std::string("nothing") : out;
        };
        std::string out = "two transactions are as if neither came after the other; before them " + list(before);
        for (std::size_t const i : {std::size_t{0}, std::size_t{1}}) {
            out += i == 0 ? "; the one: " : "; the other: ";
            for (step const& s : did[i]) { out += s.told() + ", "; }
            out += counts[i] ? "committed" : "failed or lost the race";
        }
        return out + "; then there is " + list(now);
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
        std::vector<model> commits{awkward_keys(), awkward_values()};
        for (std::size_t const size : value_sizes((std::min)(options_.long_value, std::size_t{70'000}))) {
            commits.push_back({{key("size " + std::to_string(size)), random_bytes(size)}});
        }
        if (options_.long_value > 70'000) { commits.push_back({{key("long"), random_bytes(options_.long_value)}}); }
        commits.push_back({{key("last"), key("commit")}});
        for (model const& more : commits) {
            if (!fill(*s, more, axiom)) { return; }
            for (auto const& [k, v] : more) { m[k] = v; }
        }
        expect_ok_or_busy(s->barrier(), axiom, "barrier");
        expect_committed(*s, m, axiom, "a barrier changes what is stored");
        if (!factory_.reopen) { return; }
        {
            auto tx = begin(*s, access_mode::write, axiom);
            if (!tx) { return; }
            put(*tx, key("uncommitted"), {}, axiom);
        }
        s.reset();
        s = factory_.reopen();
        if (!expect(s != nullptr, axiom, "the store does not open again")) { return; }
        expect_committed(*s, m, axiom, "after reopening");
    }
    /// A store that goes through power losses, and what was committed to it.
    struct survivor {
        std::unique_ptr<S> store{};
        model now{};
        model dropped{};  ///< what was written last in transactions that were not committed
        commit_history history{};
        commit_history::moment moment = 0;
        std::uint32_t cuts = 0;
    };
    /// Writes a transaction: into the store and into what will be there.
    using writes = std::function<bool(transaction& tx, model& draft)>;

    bool commit_to(survivor& l, writes const& write) {
        durability const said = l.store->commit_durability();
        auto tx = begin(*l.store, access_mode::write, "durability");
        model after = l.now;
        if (!tx || !write(*tx, after)) { return false; }
        l.history.begins(++l.moment, said, after);
        if (!expect_ok(tx->commit(), "durability", "commit")) { return false; }
        l.history.answered(++l.moment);
        l.now = std::move(after);
        return true;
    }
    /// A transaction that is not committed; it stays open.
    std::optional<transaction> leave_open(survivor& l, writes const& write) {
        auto tx = begin(*l.store, access_mode::write, "durability");
        model after = l.now;
        if (!tx || !write(*tx, after)) { return std::nullopt; }
        for (auto& [k, v] : after) {
            auto const at = l.now.find(k);
            if (at == l.now.end() || at->second != v) { l.dropped[k] = v; }
        }
        return tx;
    }
    void barrier_of(survivor& l) {
        if (l.store->barrier()) { l.history.barrier(++l.moment); }
    }
    /// The power goes, `open` may be open, and what is there afterwards is judged. False when no more can be said of it.
    bool cut(survivor& l, std::optional<transaction> open = {}) {
        factory_.power_cut(next());
        open.reset();
        l.store.reset();
        l.store = factory_.reopen();
        std::string const when =
            ++l.cuts == 1 ? "after a power loss" : "after power loss " + std::to_string(l.cuts) + " of one store";
        bool const promised = l.history.promises(l.moment);
        if (!l.store) {
            expect(!promised, "durability", "the store does not open again " + when);
            return false;
        }
        auto const left = promised ? committed(*l.store, "durability") : std::nullopt;
        if (!left) { return false; }
        if (auto const wrong = l.history.judge(*left, l.moment)) {
            report(wrong->axiom, when + ": " + wrong->what + (wrong->axiom == "atomicity" ? strange(l, *left) : ""));
            return false;
        }
        l.history.survived(*l.history.position(*left, l.moment), l.moment);
        l.now = *left;
        return true;
    }
    /// The first key that is there and not as the last commit left it, or not there; and where it may be from.
    std::string strange(survivor const& l, model const& left) const {
        for (auto const& [k, v] : left) {
            auto const lost = l.dropped.find(k);
            auto const kept = l.now.find(k);
            if (lost != l.dropped.end() && lost->second == v && (kept == l.now.end() || kept->second != v)) {
                return "; key " + told_bytes(k) + " is " + told_bytes(v) +
                       ", from a transaction that was not committed";
            }
        }
        return "; " + difference(l.now, left);
    }
    /// Closed and opened again, as a program ends.
    bool close_and_open(survivor& l) {
        l.store.reset();
        l.store = factory_.reopen();
        return expect(l.store != nullptr, "durability", "the store does not open again") &&
               expect_committed(*l.store, l.now, "durability", "after it was closed and opened again");
    }
    bool can_cut() const { return factory_.power_cut && factory_.reopen; }
    std::string of_seed() const { return " of seed " + std::to_string(options_.seed) + ')'; }

    /// One write of the workload or several, and now and then hundreds: a commit of any size is one commit.
    bool write_some(commit_workload& workload, transaction& tx, model& draft) {
        workload.undo(std::move(draft));
        for (std::size_t n = below(3) == 0 ? 1 + below(8) : 1; n != 0; --n) {
            if (!expect_ok(workload.write(tx), "durability", "write")) { return false; }
        }
        draft = workload.content();
        if (below(6) != 0) { return true; }
        bool const large = below(2) == 0;
        for (std::size_t n = large ? 1 + below(3) : 20 + below(400); n != 0; --n) {
            bytes const k = key("bulk " + std::to_string(below(600)));
            bytes const v = random_bytes(large ? 20'000 + below(60'000) : below(20));
            if (!put(tx, k, v, "durability")) { return false; }
            draft[k] = v;
        }
        return true;
    }
    /// A few commits, some with a barrier after them, some transactions that are dropped or still open, and then the
    /// power goes; what comes back is used on, and the power goes again.
    void power_loss() {
        if (!can_cut()) { return; }
        for (std::uint32_t round = 0; round < options_.power_cuts && !told_; ++round) {
            where_ = " (store " + std::to_string(round) + of_seed();
            survivor l;
            l.store = fresh();
            if (!l.store) { return; }
            commit_workload workload(next());
            writes const some = [&](transaction& tx, model& draft) { return write_some(workload, tx, draft); };
            for (std::size_t lives = 1 + below(4); lives != 0; --lives) {
                // None at all between two power losses: the one comes in the recovery from the other.
                for (std::size_t i = l.cuts == 0 ? 1 + below(8) : below(4); i != 0; --i) {
                    if (below(5) == 0 && !leave_open(l, some)) { return; }
                    if (!commit_to(l, some)) { return; }
                    if (below(3) == 0) { barrier_of(l); }
                }
                std::optional<transaction> open;
                if (below(2) == 0) {
                    open = leave_open(l, some);
                    if (!open) { return; }
                }
                if (!open && below(4) == 0) {
                    if (!close_and_open(l)) { return; }
                } else if (!cut(l, std::move(open))) {
                    break;
                }
            }
        }
    }
    /// One commit and the power goes, then two, and so on: what a store does at every so many of them, a checkpoint, say.
    void power_loss_after_each_number() {
        if (!can_cut()) { return; }
        for (std::uint32_t commits = 1; commits <= options_.commits_between_cuts && !told_; ++commits) {
            where_ = " (round " + std::to_string(commits) + of_seed();
            survivor l;
            l.store = fresh();
            if (!l.store) { return; }
            commit_workload workload(next());
            writes const once = [&](transaction& tx, model& draft) {
                workload.undo(std::move(draft));
                bool const done = expect_ok(workload.write(tx), "durability", "write");
                draft = workload.content();
                return done;
            };
            for (std::uint32_t i = 0; i != commits; ++i) {
                if (!commit_to(l, once)) { return; }
            }
            if (l.store->commit_durability() != durability::full) { barrier_of(l); }
            static_cast<void>(cut(l));
        }
    }
    /// Commits of one key and of thousands, of a byte and of megabytes, each the last before the power goes.
    void power_loss_after_each_size() {
        if (!can_cut()) { return; }
        std::vector<model> commits{awkward_keys(), awkward_values()};
        model many;
        for (std::size_t i = 0; i != options_.many_keys; ++i) { many[key("many " + std::to_string(i))] = counter(i); }
        commits.push_back(std::move(many));
        auto const values_of = [&](std::size_t count, std::size_t size) {
            model m;
            for (std::size_t i = 0; i != count; ++i) { m[key("value " + std::to_string(i))] = random_bytes(size); }
            commits.push_back(std::move(m));
        };
        for (std::size_t const size : value_sizes((std::min)(options_.long_value, std::size_t{70'000}))) {
            values_of(1, size);
        }
        std::size_t const piece = (std::min)(options_.long_value, std::size_t{70'000});
        values_of(20, piece);
        values_of(70, piece);
        for (std::size_t const size : {(std::size_t{1} << 20) + 1, std::size_t{3'000'000}, options_.long_value}) {
            if (size > piece && size <= options_.long_value) { values_of(1, size); }
        }
        for (model const& m : commits) {
            if (told_) { return; }
            lose_power_after(m);
        }
    }
    void lose_power_after(model const& m) {
        std::size_t size = 0;
        for (auto const& [k, v] : m) { size += k.size() + v.size(); }
        where_ = " (a commit of " + std::to_string(m.size()) + (m.size() == 1 ? " put, " : " puts, ") +
                 std::to_string(size) + " bytes in all)";
        survivor l;
        l.store = fresh();
        if (!l.store) { return; }
        auto const commit_one = [&](model const& some) {
            bool const done = commit_to(l, [&](transaction& tx, model& draft) {
                for (auto const& [k, v] : some) {
                    if (!put(tx, k, v, "durability")) { return false; }
                    draft[k] = v;
                }
                return true;
            });
            if (done && l.store->commit_durability() != durability::full) { barrier_of(l); }
            return done;
        };
        writes const others = [&](transaction& tx, model& draft) {
            for (auto const& [k, v] : m) {
                bytes longer = v;
                longer.push_back(std::byte{1});
                if (longer.size() > options_.long_value) { longer.resize(1); }
                if (!put(tx, k, longer, "durability")) { return false; }
                draft[k] = std::move(longer);
            }
            return true;
        };
        if (!commit_one({{key("first"), key("1")}}) || !commit_one(m) || !cut(l)) { return; }
        auto open = leave_open(l, others);
        if (!open || !cut(l, std::move(open)) || !commit_one({{key("first"), key("2")}})) { return; }
        static_cast<void>(cut(l));
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
        for (std::uint32_t round = 0; round < options_.rounds && !told_; ++round) {
            where_ = " (round " + std::to_string(round) + " of seed " + std::to_string(options_.seed) + ')';
            calls_.clear();
            if (factory_.reopen && below(16) == 0) {
                other.reset();
                s.reset();
                s = factory_.reopen();
                if (!expect(s != nullptr, "durability", "the store does not open again")) { return; }
                if (factory_.another) { other = factory_.another(); }
                if (!expect_committed(*s, truth, "durability", "after reopening")) { return; }
            }
            std::optional<transaction> reader;
            bool has_read = false;
            if (other != nullptr && below(3) == 0) {
                reader = begin(*other, access_mode::read, "isolation");
                has_read = reader && below(2) == 0;
                if (has_read && !content(*reader)) { return; }
            }
            model const before = truth;
            auto tx = s->begin(access_mode::write);
            if (!tx && reader && lost_race(tx.error().code)) {
                reader.reset();
                tx = s->begin(access_mode::write);
            }
            if (!expect_ok(tx, "isolation", "begin(write) alone")) { return; }
            model draft = truth;
            for (std::size_t i = below(40); i != 0 && !told_; --i) { random_step(*tx, draft); }
            bool const rolled_back = below(3) == 0;
            bool committed_it = false;
            if (!rolled_back) {
                auto const done = tx->commit();
                committed_it = static_cast<bool>(done);
                if (!done && (!reader || !lost_race(done.error().code))) { expect_ok(done, "atomicity", "commit"); }
            }
            tx = errc::busy;  // destroys the transaction
            if (committed_it) { truth = draft; }
            calls_.push_back({{}, rolled_back ? "rolled back" : committed_it ? "committed" : "a commit that failed"});
            if (reader) {
                auto const seen = content(*reader);
                // Before it read for the first time it may have moved on to what was committed since.
                if (seen && (has_read || *seen != truth)) {
                    same(before, *seen, "isolation",
                         has_read ? "a reader does not see the state of its first read again"
                                  : "a reader sees neither the state of its begin nor a later one");
                }
                reader.reset();
            }
            expect_committed(*s, truth, "atomicity", "after the commits so far");
            if (other != nullptr) { expect_committed(*other, truth, "isolation", "as another object sees it"); }
        }
    }
    void random_step(transaction& tx, model& draft) {
        bytes const k = random_key();
        switch (below(6)) {
            case 0:
            case 1: {
                bytes const v = random_value();
                calls_.push_back({k, told_call("put", k, v)});
                if (put(tx, k, v, ryw)) { draft[k] = v; }
                break;
            }
            case 2: random_erase(tx, draft, k); break;
            case 3: {
                auto const at = draft.lower_bound(k);
                if (at != draft.end()) { random_erase(tx, draft, bytes(at->first)); }
                break;
            }
            case 4: {
                auto const at = draft.find(k);
                holds(tx, k, at == draft.end() ? std::optional<bytes>{} : std::optional<bytes>{at->second}, ryw,
                      "among random writes");
                break;
            }
            default: {
                bytes const to = below(3) == 0 ? bytes{} : random_key();
                auto const seen = content(tx, {k, to});
                model expected;
                for (auto at = draft.lower_bound(k); at != draft.end() && (to.empty() || at->first < to); ++at) {
                    expected.insert(*at);
                }
                if (seen) { same(expected, *seen, ryw, told_call("scan", k, to)); }
            }
        }
    }
    void random_erase(transaction& tx, model& draft, bytes const& k) {
        calls_.push_back({k, told_call("erase", k)});
        if (erase(tx, k, ryw)) { draft.erase(k); }
    }

    storage_factory<S> const& factory_;
    storage_conformance_options options_;
    std::uint64_t random_;
    std::vector<violation> found_;
    bool told_ = false;                                 // of the part that runs
    std::string where_;                                 // in a random part: the round and the seed
    std::vector<std::pair<bytes, std::string>> calls_;  // of that round; of the whole transaction: an empty key
};

}  // namespace detail

/// Runs every axiom of `storage` that the factory allows to check, and random transactions against a map.
///
/// Needs no test framework: `REQUIRE(to_text(certify_storage<my_storage>(factory)) == "")`, or print it.
/// Each violation names the axiom as storage/storage.hpp does: read_your_writes, order, limits, atomicity,
/// isolation, one_open, durability; and shows what was called and seen, with the round and the seed where it is random.
/// Of each axiom the first is told, and an axiom that builds on a broken one is not tried before that is mended: the
/// list is of causes, not of what follows. one_open, isolation and durability build on all others, not on each other.
/// Durability here is a reopened store; with the factory's `power_cut` it is also what the store said of power loss, by
/// commit_durability() and barrier(): after the first and after later ones, of each number of commits by one object up to
/// `commits_between_cuts`, and of commits of many sizes. The power is cut between two calls only.
/// The same seed makes the same calls. Cost: some ten thousand small calls, with power losses some twenty thousand; the
/// longest value written three times and twice in memory, with power losses twice as often.
template <storage S>
[[nodiscard]] std::vector<violation> certify_storage(storage_factory<S> const& factory,
                                                     storage_conformance_options const& options = {}) {
    return detail::storage_certifier<S>(factory, options).run();
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
