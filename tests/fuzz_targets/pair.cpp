// SPDX-License-Identifier: BSL-1.0

/// Two replicas and their authority as a list of operations: writes, and exchanges of which requests are repeated,
/// replies lost, late and overtaken, and transactions rolled back. What only one of them writes is at every moment what
/// a map has in which the writes are done at once; what both add to has every addition once; and when all is told, all
/// three hold the same.

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/fields.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;
using fuzz::field_map;
using records = std::map<std::string, field_map>;

std::int64_t number_in(bytes const& item) {
    cbor_reader in(item);
    return in.integer();
}

template <class R>
void must(R const& r) {
    SYNCLINE_FUZZ_REQUIRE(r);
}
/// Runs `f(tx)` and commits when it succeeded.
template <class F>
auto write(memory_storage& store, F&& f) {
    auto tx = store.begin(access_mode::write);
    auto out = f(*tx);
    if (out) { must(tx->commit()); }
    return out;
}

struct device {
    std::size_t number = 0;
    memory_storage store{};
    random_generator random{0};
    wall_time time{milliseconds{1'790'000'000'000}};
    records own{};                  ///< what it alone writes, naively
    std::vector<bytes> requests{};  ///< that were sent
    std::vector<bytes> replies{};   ///< that are under way

    std::string name(std::uint64_t n) const { return std::to_string(number) + "-" + std::to_string(n); }
};

class world {
public:
    explicit world(choices& c) : in_(c), replica_(rule_table().add(fuzz::field_rules()), narrow(c)) {
        must(write(central_, [&](auto& tx) { return authority_.open(tx, now(time_), random_); }));
        for (device& d : devices_) {
            d.number = static_cast<std::size_t>(&d - devices_.data());
            d.random = random_generator(d.number + 10);
            must(write(d.store, [&](auto& tx) { return replica_.open(tx, "anna", now(d.time), d.random); }));
        }
        // What both write has one beginning.
        field_map const zero{{"count", fuzz::integer_item(0)}};
        for (auto const id : {"sum", "race"}) {
            must(write(devices_[0].store, [&](auto& tx) {
                return replica_.create(tx, {"things", id}, fuzz::encoded(zero), now(devices_[0].time));
            }));
        }
        settle();
    }

    void step() {
        device& d = devices_[static_cast<std::size_t>(in_.below(devices_.size()))];
        d.time += milliseconds{in_.below(3)};
        switch (in_.below(12)) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4: return change_own(d);
            case 5: return add_to_sum(d);
            case 6: return race(d);
            case 7: return send(d);
            case 8: return ask_again(d);
            case 9: return receive(d);
            case 10: {
                send(d);
                if (!d.replies.empty()) { take(d, d.replies.back()); }
                return;
            }
            default: time_ += milliseconds{in_.below(256)}; return;
        }
    }

    /// Everything is sent and fetched; then all agree.
    void finish() {
        settle();
        records const confirmed = authority_records();
        for (device& d : devices_) {
            SYNCLINE_FUZZ_REQUIRE(visible(d) == confirmed);
            for (std::uint64_t n = 0; n < own_records; ++n) {
                auto const held = confirmed.find(d.name(n));
                auto const wanted = d.own.find(d.name(n));
                SYNCLINE_FUZZ_REQUIRE((held == confirmed.end()) == (wanted == d.own.end()));
                if (wanted != d.own.end()) { SYNCLINE_FUZZ_REQUIRE(held->second == wanted->second); }
            }
        }
        SYNCLINE_FUZZ_REQUIRE(number_in(confirmed.at("sum").at("count")) == sum_);
    }

private:
    static constexpr std::uint64_t own_records = 3;

    static replica_options narrow(choices& in) {
        replica_options o;
        o.mutations_max = static_cast<std::size_t>(1 + in.below(4));
        o.rows_max = 1 + in.below(4);
        return o;
    }
    static instant now(wall_time t) { return {t, monotonic_time{milliseconds{1}}}; }
    priority any_priority() { return in_.below(3) == 0 ? static_cast<priority>(in_.below(4)) : priority::normal; }

    static field_map decoded(bytes const& fields) {
        field_map out;
        cbor_map_cursor all(fields);
        while (all.next()) { out[std::string(all.key())] = to_bytes(all.value()); }
        return out;
    }
    records visible(device& d) {
        records out;
        auto tx = d.store.begin(access_mode::read);
        must(replica_.scan(*tx, "things", [&](record_key const& k, record const& r) {
            out[std::string(k.id_text())] = decoded(r.fields);
            return true;
        }));
        return out;
    }
    records authority_records() {
        records out;
        auto tx = central_.begin(access_mode::read);
        must(authority_.scan(*tx, [&](record_key const& k, row const& r) {
            if (!r.deleted) { out[std::string(k.id_text())] = decoded(r.fields); }
            return true;
        }));
        return out;
    }

    /// A write to a record that nobody else writes, done at once in the map too.
    void change_own(device& d) {
        std::string const id = d.name(in_.below(own_records));
        record_key const key{"things", id};
        auto const there = d.own.find(id);
        bool const alive = there != d.own.end();
        priority const urgency = any_priority();
        field_map next = alive ? there->second : field_map();
        errc got{};
        errc expected{};
        std::uint64_t const what = in_.below(6);
        auto const code = [](auto const& r) { return r ? errc{} : r.error().code; };
        if (what == 0) {
            got = code(write(d.store, [&](auto& tx) { return replica_.erase(tx, key, now(d.time), urgency); }));
            expected = alive ? errc{} : errc::not_found;
            if (alive) { d.own.erase(id); }
        } else if (what == 1) {
            field_map fields = fuzz::any_fields(in_);
            fields["count"] = fuzz::integer_item(static_cast<std::int64_t>(in_.below(8)));
            got = code(write(d.store, [&](auto& tx) {
                return replica_.create(tx, key, fuzz::encoded(fields), now(d.time), urgency);
            }));
            expected = alive ? errc::already_exists : errc{};
            if (!alive) { d.own[id] = fields; }
        } else {
            std::vector<field_op> ops;
            for (field_op& op : fuzz::any_operations(in_, {})) {
                // Sums are of integers here: what is rejected is no concern of this test.
                bool const counts = op.field == "count";
                if (!counts && op.kind == op_kind::add) { op.kind = op_kind::set; }
                if (counts && op.kind != op_kind::unset) {
                    op.kind = op_kind::add;
                    op.value = fuzz::integer_item(static_cast<std::int64_t>(in_.below(8)) - 3);
                }
                apply(next, op);
                ops.push_back(std::move(op));
            }
            got = code(write(d.store, [&](auto& tx) { return replica_.update(tx, key, ops, now(d.time), urgency); }));
            expected = alive ? errc{} : errc::not_found;
            if (alive) { d.own[id] = next; }
        }
        SYNCLINE_FUZZ_REQUIRE(got == expected);
        compare_own(d);
    }
    static void apply(field_map& fields, field_op const& op) {
        auto const at = fields.find(op.field);
        bool const had = at != fields.end();
        if (op.kind == op_kind::unset) {
            fields.erase(op.field);
        } else if (op.kind == op_kind::add) {
            std::int64_t const before = had ? number_in(at->second) : 0;
            fields[op.field] = fuzz::integer_item(before + number_in(op.value));
        } else if (had && op.field == "least") {
            if (compare_values(op.value, at->second) < 0) { at->second = op.value; }
        } else if (had && op.field == "most") {
            if (compare_values(op.value, at->second) > 0) { at->second = op.value; }
        } else {
            fields[op.field] = op.value;
        }
    }
    void compare_own(device& d) {
        auto tx = d.store.begin(access_mode::read);
        for (std::uint64_t n = 0; n < own_records; ++n) {
            auto const held = replica_.read(*tx, {"things", d.name(n)});
            auto const wanted = d.own.find(d.name(n));
            SYNCLINE_FUZZ_REQUIRE(held && held->has_value() == (wanted != d.own.end()));
            if (*held) { SYNCLINE_FUZZ_REQUIRE((*held)->fields == fuzz::encoded(wanted->second)); }
        }
    }

    void add_to_sum(device& d) {
        auto const n = static_cast<std::int64_t>(in_.below(16)) - 5;
        field_op const op{"count", op_kind::add, fuzz::integer_item(n), {}};
        priority const urgency = any_priority();
        must(write(d.store, [&](auto& tx) {
            return replica_.update(tx, {"things", "sum"}, {op}, now(d.time), urgency);
        }));
        sum_ += n;
    }
    /// A write to what the other writes too; what comes of it has only to be the same everywhere.
    void race(device& d) {
        record_key const key{"things", "race"};
        std::uint64_t const what = in_.below(8);
        auto const ops = fuzz::any_operations(in_, {});
        field_map const fields = fuzz::any_fields(in_);
        auto const s = write(d.store, [&](auto& tx) {
            if (what == 0) { return replica_.erase(tx, key, now(d.time)); }
            if (what == 1) { return replica_.create(tx, key, fuzz::encoded(fields), now(d.time)); }
            return replica_.update(tx, key, ops, now(d.time));
        });
        if (!s) {
            errc const e = s.error().code;
            SYNCLINE_FUZZ_REQUIRE(e == errc::not_found || e == errc::already_exists || e == errc::type_mismatch ||
                                  e == errc::overflow);
        }
    }

    bytes answer(bytes const& request) {
        auto const reply = serve(central_, authority_, "anna", request, now(time_));
        must(reply);
        return *reply;
    }
    /// A request arrives, and its answer is under way.
    void send(device& d) {
        must(write(d.store, [&](auto& tx) { return replica_.prepare(tx, now(d.time)); }));
        auto tx = d.store.begin(access_mode::read);
        auto const request = replica_.request_message(*tx);
        must(request);
        d.requests.push_back(*request);
        d.replies.push_back(answer(*request));
        if (d.replies.size() > 8) { d.replies.erase(d.replies.begin()); }
    }
    /// One that was sent before arrives once more.
    void ask_again(device& d) {
        if (d.requests.empty()) { return; }
        bytes const& request = d.requests[static_cast<std::size_t>(in_.below(d.requests.size()))];
        d.replies.push_back(answer(request));
    }
    /// One of the answers under way arrives, is lost, or its transaction comes to nothing.
    void receive(device& d) {
        if (d.replies.empty()) { return; }
        auto const which = static_cast<std::size_t>(in_.below(d.replies.size()));
        bytes const reply = d.replies[which];
        std::uint64_t const fate = in_.below(4);
        if (fate != 0) { d.replies.erase(d.replies.begin() + static_cast<std::ptrdiff_t>(which)); }
        if (fate == 1) { return; }
        if (fate == 2) {
            memory_snapshot const before = d.store.snapshot();
            {
                auto tx = d.store.begin(access_mode::write);
                static_cast<void>(replica_.absorb(*tx, reply, now(d.time), d.random));
            }
            SYNCLINE_FUZZ_REQUIRE(d.store.snapshot() == before);
            return;
        }
        take(d, reply);
    }
    std::optional<exchange_report> take(device& d, bytes const& reply) {
        auto const report = write(d.store, [&](auto& tx) { return replica_.absorb(tx, reply, now(d.time), d.random); });
        // One that was overtaken may begin after a gap; nothing else is wrong with an honest reply.
        if (!report) { SYNCLINE_FUZZ_REQUIRE(report.error() == errc::foreign); }
        SYNCLINE_FUZZ_REQUIRE(!report || !report->reincarnated);
        compare_own(d);
        return report ? std::optional(*report) : std::nullopt;
    }
    /// Honest exchanges until nobody has anything to send or to fetch.
    void settle() {
        position heads[2] = {0, 0};
        for (int rounds = 0;; ++rounds) {
            SYNCLINE_FUZZ_REQUIRE(rounds < 4000);
            bool more = false;
            for (device& d : devices_) {
                send(d);
                auto const report = take(d, d.replies.back());
                must(report.has_value());
                more = more || report->more;
                auto tx = d.store.begin(access_mode::read);
                auto const progress = replica_.status_of(*tx);
                must(progress);
                heads[d.number] = progress->cursor;
            }
            if (!more && heads[0] == heads[1]) { return; }
        }
    }

    choices& in_;
    replica replica_;
    authority<> authority_{rule_table().add(fuzz::field_rules())};
    memory_storage central_{};
    random_generator random_{1};
    wall_time time_{milliseconds{1'790'000'000'000}};
    std::array<device, 2> devices_{};
    std::int64_t sum_ = 0;
};

int body(std::uint8_t const* data, std::size_t size) {
    choices in(data, (std::min)(size, std::size_t{400}));
    world w(in);
    while (!in.done()) { w.step(); }
    w.finish();
    return 0;
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 80, .length = 300)
