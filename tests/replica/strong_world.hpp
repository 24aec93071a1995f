// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Devices with a strong collection, their authority, and the naive one: a write counts if what its writer saw is there.

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/replica/strong.hpp>
#include <syncline/replica/validation.hpp>

#include "replica/world.hpp"

namespace strong_world {

using namespace syncline;
using namespace world;

inline record_key const seat{"seats", "1a"};

inline rule_table strong_rules() {
    rule_table table = rules();
    collection_rules seats;
    seats.collection = "seats";
    seats.fields = {{"count", rule::counter}, {"asked", rule::manual}};
    table.add(std::move(seats)).make_strong("seats");
    return table;
}

struct seller {
    memory_storage store{};
    replica self;
    syncline::random_generator random;
    bool sound = true;  ///< nothing failed that has no reason to

    seller(std::uint64_t seed, instant now, replica_options options = {})
        : self(strong_rules(), std::move(options)), random(seed) {
        open(now);
    }
    seller(seller const&) = delete;

    template <class F>
    auto write(F&& f) {
        auto tx = store.begin(access_mode::write);
        auto out = f(*tx);
        if (out) {
            if (auto ok = tx->commit(); !ok) { out = ok.error(); }
        }
        return out;
    }
    template <class F>
    auto read(F&& f) {
        auto tx = store.begin(access_mode::read);
        return f(*tx);
    }
    void open(instant now) {
        auto tx = store.begin(access_mode::write);
        sure(self.open(*tx, "anna", now, random));
        sure(tx->commit());
    }
    bytes request(instant now) {
        sure(write([&](auto& tx) { return self.prepare(tx, now); }));
        return *read([&](auto& tx) { return self.request_message(tx); });
    }
    void absorb(bytes_view reply, instant now) {
        sure(write([&](auto& tx) { return self.absorb(tx, reply, now, random); }));
    }
    std::vector<outbox_entry> letters() {
        std::vector<outbox_entry> out;
        sure(read([&](auto& tx) {
            return self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                out.push_back(e);
                return true;
            });
        }));
        return out;
    }
    std::vector<event> news() {
        std::vector<event> out;
        std::uint64_t last = 0;
        sure(read([&](auto& tx) {
            return self.events(tx, 0, [&](std::uint64_t batch, event const& e) {
                out.push_back(e);
                last = batch;
                return true;
            });
        }));
        sure(write([&](auto& tx) { return self.forget_events(tx, last); }));
        return out;
    }
    std::optional<record> shown(record_key const& k = seat) {
        return *read([&](auto& tx) { return self.read(tx, k); });
    }
    std::optional<record> hoped(record_key const& k = seat) {
        return *read([&](auto& tx) { return self.read_pending(tx, k); });
    }
    std::optional<row> confirmed(record_key const& k = seat) {
        return *read([&](auto& tx) { return self.read_confirmed(tx, k); });
    }
    bool work(instant now) {
        return *read([&](auto& tx) { return self.work_left(tx, now); });
    }
    std::int64_t value(std::string_view name) { return number(shown(), name); }
    std::int64_t hope(std::string_view name) { return number(hoped(), name); }

    template <class R>
    void sure(R const& r) {
        sound = sound && r.has_value();
    }

private:
    static std::int64_t number(std::optional<record> const& r, std::string_view name) {
        return r ? field(r->fields, name).value_or(-1) : -2;
    }
};

/// What a check may refuse: a count over 100.
inline validation no_crowd(validation_input const& in) {
    auto const n = in.after.deleted ? std::nullopt : field(in.after.fields, "count");
    return n && *n > 100 ? validation{false, errc::forbidden, "too many"} : validation{};
}

struct house {
    virtual_clock clock{};
    memory_storage store{};
    authority<validation (*)(validation_input const&)> self{strong_rules(), {}, no_crowd};
    bool sound = true;

    house() {
        syncline::random_generator random{7};
        auto tx = store.begin(access_mode::write);
        sound = self.open(*tx, clock.now, random).has_value() && tx->commit().has_value();
    }
    bytes answer(bytes_view request) {
        auto reply = serve(store, self, "anna", request, clock.now);
        sound = sound && reply.has_value();
        return reply ? *reply : bytes{};
    }
    void exchange(seller& d) { d.absorb(answer(d.request(clock.now)), clock.now); }
    void sync(seller& d) {
        do { exchange(d); } while (d.sound && d.work(clock.now));
    }
    std::optional<row> find(record_key const& k = seat) {
        auto tx = store.begin(access_mode::read);
        return *self.find(*tx, k);
    }
    std::int64_t value(std::string_view name) {
        auto const r = find();
        return r && !r->deleted ? field(r->fields, name).value_or(-1) : -2;
    }
    void update(seller& d, std::vector<field_op> ops) {
        clock.pass(10);
        d.sure(d.write([&](auto& tx) { return d.self.update(tx, seat, ops, clock.now); }));
    }
    void create(seller& d, std::int64_t sold) {
        clock.pass(10);
        bytes const made = fields({{"sold", sold}, {"count", 1}});
        d.sure(d.write([&](auto& tx) { return d.self.create(tx, seat, made, clock.now); }));
    }
    void erase(seller& d) {
        clock.pass(10);
        d.sure(d.write([&](auto& tx) { return d.self.erase(tx, seat, clock.now); }));
    }
};

/// Devices that write to a few seats, crash and are opened anew, over a network that loses, repeats and delays.
class crowd {
public:
    explicit crowd(std::uint64_t seed) : dice_(seed) {
        for (std::uint64_t i = 0; i < 3; ++i) {
            replica_options options;
            options.rows_max = 1 + below(3);
            options.mutations_max = 1 + below(4);
            devices_.push_back(std::make_unique<one>(seed * 10 + i, home_.clock.now, options));
        }
    }
    /// What was seen to be broken first; empty when all held.
    std::string run(int steps) {
        for (int i = 0; i < steps && wrong_.empty(); ++i) {
            home_.clock.pass(1 + static_cast<std::int64_t>(below(50)));
            one& d = *devices_[below(devices_.size())];
            switch (below(9)) {
                case 0:
                case 1:
                case 2:
                case 3: write(d); break;
                case 4: send(d, false); break;
                case 5: send(d, true); break;
                case 6: old_news(d); break;
                case 7: send_again(d); break;
                default: crash(d); break;
            }
            look(d);
        }
        for (int round = 0; round < 2; ++round) {
            for (auto const& d : devices_) {
                do { send(*d, false); } while (wrong_.empty() && d->self.work(home_.clock.now));
                look(*d);
            }
        }
        for (auto const& d : devices_) {
            for (record_key const& k : seats()) {
                auto const theirs = home_.find(k);
                auto const r = d->self.shown(k);
                bool const lives = theirs && !theirs->deleted;
                holds(r.has_value() == lives && (!lives || equal(r->fields, theirs->fields)), "the same at all ends");
                holds(!r || !r->pending, "nothing waits in the end");
            }
            for (auto const& [number, w] : d->writes) { holds(w.ended, "each write comes to an end"); }
        }
        return wrong_;
    }
    std::size_t confirmed = 0, refused = 0, collateral = 0;

private:
    struct written {
        std::string record;
        std::int64_t saw = 0;    ///< what its first change was made on
        std::int64_t makes = 0;  ///< … and what its last one makes
        bool ended = false;
    };
    struct one {
        seller self;
        std::map<std::uint64_t, written> writes{};           ///< by the number of their entries
        std::map<std::string, std::vector<position>> own{};  ///< versions that own writes came to, by record
        std::vector<bytes> requests{}, replies{};
        one(std::uint64_t seed, instant now, replica_options const& options) : self(seed, now, options) {}
    };

    void holds(bool so, char const* what) {
        if (!so && wrong_.empty()) { wrong_ = what; }
    }
    std::uint64_t below(std::uint64_t n) { return dice_() % n; }
    static std::vector<record_key> seats() { return {{"seats", "1"}, {"seats", "2"}}; }
    std::int64_t made(position at) const {
        auto const it = made_.find(at);
        return it == made_.end() ? (at == 0 ? 0 : -3) : it->second;
    }

    /// What a device sees on a record: the last of what waits and still can be, else what is confirmed.
    std::int64_t sees(one& d, record_key const& k) {
        std::uint64_t last = 0;
        d.self.sure(d.self.read([&](auto& tx) {
            return d.self.self.foresee(tx, k, [&](foreseen const& f) {
                if (f.outcome.verdict == verdict_kind::applied) { last = f.token; }
                return true;
            });
        }));
        std::int64_t label = 0;
        if (last != 0) {
            label = d.writes[detail::outbox_sequence(last)].makes;
        } else {
            position at = version_of(d.self.confirmed(k));
            for (position const v : d.own[std::string{k.id_text()}]) { at = (std::max)(at, v); }
            label = made(at);
        }
        auto const r = d.self.hoped(k);
        holds(!r || field(r->fields, "made") == label, "what waits is shown with what is confirmed, if it can be yet");
        return label;
    }
    void write(one& d) {
        auto const all = seats();
        record_key const k = all[below(all.size())];
        std::string const name{k.id_text()};
        std::int64_t const saw = sees(d, k);
        std::int64_t const makes = ++last_;
        auto const urgency = below(4) == 0 ? priority::important : priority::normal;
        bool const lives = d.self.hoped(k).has_value();
        std::uint64_t const kind = below(5);
        instant const now = home_.clock.now;
        bytes const fresh = fields({{"made", makes}, {"count", 0}});
        std::vector<field_op> ops{set("made", makes)};
        if (kind == 1) { ops.push_back(set("count", 101)); }  // refused by the house
        if (kind == 2) { ops.push_back(set("count", 1)); }
        auto const done = d.self.write([&](auto& tx) {
            if (!lives) { return d.self.self.create(tx, k, fresh, now, urgency); }
            return kind == 0 ? d.self.self.erase(tx, k, now, urgency) : d.self.self.update(tx, k, ops, now, urgency);
        });
        d.self.sure(done);
        if (!done) { return; }
        if (done->token == 0) {
            for (auto& [number, w] : d.writes) { w.ended = w.ended || (w.record == name && w.makes == saw); }
            return;
        }
        auto& w = d.writes[detail::outbox_sequence(done->token)];
        if (done->coalesced) {
            holds(w.makes == saw, "what is joined is made on what it is joined with");
        } else {
            w = {name, saw, 0, false};
        }
        w.makes = makes;
    }

    /// The authority decides, and the naive one with it.
    bytes serve_one(one& d, bytes const& asked) {
        auto const q = *decode_request(asked);
        std::map<std::string, position> before;
        for (record_key const& k : seats()) { before[std::string{k.id_text()}] = version_of(home_.find(k)); }
        bytes const answered = home_.answer(asked);
        auto const p = *decode_reply(answered);
        std::set<std::string> touched;
        for (std::size_t i = 0; i < p.verdicts.size(); ++i) {
            verdict const& v = p.verdicts[i];
            if (v.again) { continue; }
            cbor_reader in{q.mutations[i]};
            mutation const m = decode_mutation(in);
            std::string const name{m.record.id_text()};
            holds(touched.insert(name).second, "one of a record at a time");
            written const& w = d.writes[q.origins[i].number];
            bool const crowded = std::any_of(m.ops.begin(), m.ops.end(), [](field_op const& op) {
                return op.field == "count" && detail::integer_of(op.value) == 101;
            });
            bool const missed = v.kind == verdict_kind::rejected && v.reason == errc::contended;
            if (w.saw != made(before[name])) {
                holds(missed, "a write that saw something else has no effect");
                holds(v.version == before[name], "a refused write is told what is there");
            } else if (crowded) {
                holds(v.reason == errc::forbidden, "what the house refuses is refused");
            } else {
                holds(v.kind == verdict_kind::applied, "a write that saw what is there has its effect");
                made_[v.version] = w.makes;
            }
        }
        return answered;
    }
    void take(one& d, bytes const& answered) {
        d.self.absorb(answered, home_.clock.now);
        for (event const& e : d.self.news()) {
            if (e.kind != event_kind::decided) { continue; }
            confirmed += e.said.kind == verdict_kind::applied ? 1 : 0;
            refused += e.said.kind == verdict_kind::rejected ? 1 : 0;
            collateral += e.said.kind == verdict_kind::collateral ? 1 : 0;
            if (e.said.kind == verdict_kind::applied) {
                d.own[std::string{e.record.id_text()}].push_back(e.said.version);
            }
        }
        std::set<std::uint64_t> waits;
        d.self.sure(d.self.read([&](auto& tx) {
            return d.self.self.queue().scan(tx, [&](outbox_entry const& e) {
                waits.insert(detail::outbox_sequence(e.token));
                return true;
            });
        }));
        for (auto& [number, w] : d.writes) { w.ended = waits.count(number) == 0; }
    }
    void send(one& d, bool lost) {
        bytes const asked = d.self.request(home_.clock.now);
        d.requests.push_back(asked);
        if (lost && below(2) == 0) { return; }
        bytes const answered = serve_one(d, asked);
        d.replies.push_back(answered);
        if (!lost) { take(d, answered); }
    }
    void send_again(one& d) {
        if (d.requests.empty()) { return; }
        bytes const answered = serve_one(d, d.requests[below(d.requests.size())]);
        d.replies.push_back(answered);
        if (below(2) == 0) { take(d, answered); }
    }
    void old_news(one& d) {
        if (!d.replies.empty()) { take(d, d.replies[below(d.replies.size())]); }
    }
    /// It ends in the middle of an exchange, before the commit, and starts again.
    void crash(one& d) {
        if (!d.replies.empty()) {
            auto tx = d.self.store.begin(access_mode::write);
            d.self.sure(d.self.self.absorb(*tx, d.replies.back(), home_.clock.now, d.self.random));
        }
        d.self.open(home_.clock.now);
    }
    /// What is shown was confirmed at some time, whatever waits.
    void look(one& d) {
        for (record_key const& k : seats()) {
            auto const r = d.self.shown(k);
            auto const there = d.self.confirmed(k);
            holds(r.has_value() == (there && !there->deleted), "what is shown is confirmed");
            holds(!r || field(r->fields, "made") == made(r->confirmed), "what is shown is what was confirmed");
            (void)sees(d, k);
        }
        holds(d.self.sound && home_.sound, "no call fails");
    }

    house home_{};
    std::vector<std::unique_ptr<one>> devices_{};
    syncline::random_generator dice_;
    std::int64_t last_ = 0;
    std::map<position, std::int64_t> made_{};  ///< what each confirmed version is
    std::string wrong_{};
};

}  // namespace strong_world
