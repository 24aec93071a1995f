// SPDX-License-Identifier: BSL-1.0
// Outbox, replica and authority over SQLite on disks that lose their power in the middle of anything.
#include <syncline/testing/sqlite_power_loss.hpp>

#include <algorithm>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <syncline/adapters/sqlite.hpp>
#include <syncline/outbox/outbox.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>

#include "support/catch.hpp"

using namespace syncline;
using testing::sqlite_disk;

namespace {

/// A machine: a disk, and the store that is open on it.
struct machine {
    sqlite_options how;
    std::unique_ptr<sqlite_disk> disk = std::make_unique<sqlite_disk>();
    std::optional<sqlite_storage> store{};

    explicit machine(sqlite_synchronous s) : how{.busy_timeout = milliseconds{0}, .synchronous = s} { open(); }

    void open() {
        how.vfs = disk->vfs();
        auto s = sqlite_storage::open("store.db", how);
        REQUIRE(s);
        store.emplace(std::move(*s));
    }
    /// The power goes before that step, and comes back.
    void lose_power(std::uint64_t step, std::uint64_t seed) {
        auto after = std::make_unique<sqlite_disk>(disk->options(), disk->survivors(step, seed));
        store.reset();
        disk = std::move(after);
        open();
    }
    void lasting() {
        if (store->commit_durability() != durability::full) { REQUIRE(store->barrier()); }
    }
};

rule_table rules() {
    rule_table table;
    table.add({"things", rule::last_writer, {{"count", rule::counter}}});
    return table;
}
bytes integer(std::int64_t n) {
    bytes out;
    cbor_writer{out}.integer(n);
    return out;
}
std::int64_t count_in(bytes_view fields) {
    auto const found = map_find(fields, "count");
    if (!found || !*found) { return 0; }
    return syncline::detail::integer_of(**found).value_or(0);
}

/// What a careless host does wrong.
enum class mistake { none, reply_before_barrier, acknowledge_before_barrier };

/// One device that counts, and its authority. After any power loss of either: what was acknowledged is there, and in
/// the end the authority has counted each once.
class counting {
public:
    counting(std::uint64_t seed, sqlite_synchronous device, sqlite_synchronous authority, mistake wrong)
        : random_(seed), wrong_(wrong), device_(device), central_(authority) {
        start_central();
        start_device();
    }

    /// How often something acknowledged was gone.
    std::uint64_t run(int rounds) {
        for (int i = 0; i < rounds; ++i) {
            pass(50);
            if (below(random_, 3) != 0) {
                write();
            } else {
                exchange();
            }
        }
        for (int i = 0; i < 200; ++i) {
            pass(60'000);
            careful_ = true;
            exchange();
        }
        std::int64_t const there = central_count();
        std::int64_t const here = device_count();
        broken_ += there == here ? 0 : 1;
        broken_ += here >= acknowledged_ ? 0 : 1;
        return broken_;
    }
    std::uint64_t device_cuts = 0;
    std::uint64_t central_cuts = 0;
    std::uint64_t unacknowledged_lost = 0;

private:
    void pass(std::int64_t ms) {
        now_.wall += milliseconds{ms};
        now_.monotonic += milliseconds{ms};
    }
    void start_device() {
        auto tx = device_.store->begin(access_mode::write);
        REQUIRE(tx);
        REQUIRE(self_.open(*tx, "anna", now_, random_));
        REQUIRE(tx->commit());
        device_.lasting();
        link_.emplace(*device_.store, self_, syncline::random_generator{random_()});
    }
    void start_central() {
        auto tx = central_.store->begin(access_mode::write);
        REQUIRE(tx);
        REQUIRE(authority_.open(*tx, now_, random_));
        REQUIRE(tx->commit());
        central_.lasting();
    }

    /// Now and then the power goes at some step since `before`; true: what was being done is for nothing.
    bool device_cut(std::uint64_t before) {
        if (careful_ || below(random_, 4) != 0) { return false; }
        ++device_cuts;
        std::uint64_t const after = device_.disk->steps();
        std::uint64_t const step = below(random_, 2) == 0 ? after : before + below(random_, after - before + 1);
        device_.lose_power(step, random_());
        std::int64_t const held = acknowledged_;
        std::int64_t const count = device_count();
        if (step == after && doubtful_ != 0 && count < acknowledged_ + doubtful_) { ++unacknowledged_lost; }
        broken_ += count < held ? 1 : 0;
        acknowledged_ = (std::max)(count, held);  // what it shows it has
        doubtful_ = 0;
        start_device();
        return true;
    }
    bool central_cut(std::uint64_t before, bool in_the_middle) {
        if (careful_ || below(random_, 4) != 0) { return false; }
        ++central_cuts;
        std::uint64_t const after = central_.disk->steps();
        central_.lose_power(in_the_middle ? before + below(random_, after - before + 1) : after, random_());
        start_central();
        return true;
    }

    void write() {
        std::uint64_t const before = device_.disk->steps();
        {
            auto tx = device_.store->begin(access_mode::write);
            REQUIRE(tx);
            record_key const key{"things", "one"};
            auto const there = self_.read(*tx, key);
            REQUIRE(there);
            field_op const more{"count", op_kind::add, integer(1), {}};
            if (!*there) {
                bytes fields;
                cbor_writer w{fields};
                w.map(1);
                w.text("count");
                w.integer(1);
                REQUIRE(self_.create(*tx, key, fields, now_));
            } else {
                REQUIRE(self_.update(*tx, key, {more}, now_));
            }
            REQUIRE(tx->commit());
        }
        bool const full = device_.store->commit_durability() == durability::full;
        if (wrong_ == mistake::acknowledge_before_barrier || (full && below(random_, 2) == 0)) {
            ++acknowledged_;
        } else {
            ++doubtful_;
            if (below(random_, 3) == 0) {
                REQUIRE(device_.store->barrier());
                acknowledged_ += std::exchange(doubtful_, 0);
            }
        }
        // Inside the write nothing had been acknowledged; after it, what was counts.
        std::uint64_t const from = device_.disk->steps();
        (void)device_cut(doubtful_ != 0 ? before : from);
    }

    void exchange() {
        for (int i = 0; i < 8; ++i) {
            std::uint64_t before = device_.disk->steps();
            if (!link_->in_flight()) {
                auto tx = device_.store->begin(access_mode::write);
                REQUIRE(tx);
                REQUIRE(link_->handle(hurry{}, *tx, now_));
                REQUIRE(tx->commit());
                if (device_cut(before)) { return; }
            }
            before = device_.disk->steps();
            bytes request;
            for (;;) {
                auto out = link_->poll(now_);
                REQUIRE(out);
                if (auto const* send = std::get_if<transmit>(&*out)) {
                    request = to_bytes(send->message);
                    break;
                }
                if (std::get_if<wait_until>(&*out) != nullptr) { return; }
            }
            std::uint64_t const served = central_.disk->steps();
            result<bytes> reply = errc::unreachable;
            if (wrong_ == mistake::reply_before_barrier) {
                auto tx = central_.store->begin(access_mode::write);
                reply = authority_.handle(*tx, "anna", request, now_);
                REQUIRE(tx->commit());
            } else {
                reply = serve(*central_.store, authority_, "anna", request, now_);
            }
            // The power goes while it works on the request, and nobody gets a reply, or as soon as one has left.
            bool const in_the_middle = below(random_, 2) == 0;
            if (central_cut(served, in_the_middle) && in_the_middle) { reply = errc::connection_lost; }
            if (device_cut(before)) { return; }
            before = device_.disk->steps();
            {
                auto tx = device_.store->begin(access_mode::write);
                REQUIRE(tx);
                session_input const in =
                    reply ? session_input{received{*reply}} : session_input{failed{reply.error(), {}}};
                auto const taken = link_->handle(in, *tx, now_);
                REQUIRE((taken || link_->last_failure()));
                if (taken) { REQUIRE(tx->commit()); }
            }
            if (device_cut(before) || !reply) { return; }
        }
    }

    std::int64_t device_count() {
        auto tx = device_.store->begin(access_mode::read);
        REQUIRE(tx);
        auto const r = self_.read(*tx, {"things", "one"});
        REQUIRE(r);
        return *r ? count_in((*r)->fields) : 0;
    }
    std::int64_t central_count() {
        auto tx = central_.store->begin(access_mode::read);
        REQUIRE(tx);
        std::int64_t n = 0;
        REQUIRE(authority_.scan(*tx, [&](record_key const&, row const& r) {
            if (!r.deleted) { n += count_in(r.fields); }
            return true;
        }));
        return n;
    }

    random_generator random_;
    mistake wrong_;
    machine device_;
    machine central_;
    replica self_{rules()};
    authority<> authority_{rules()};
    std::optional<session<sqlite_storage, syncline::random_generator>> link_{};
    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    std::int64_t acknowledged_ = 0;
    std::int64_t doubtful_ = 0;  ///< committed, and not acknowledged yet
    std::uint64_t broken_ = 0;
    bool careful_ = false;
};

std::uint64_t play(std::uint64_t seeds, sqlite_synchronous device, sqlite_synchronous authority, mistake wrong) {
    std::uint64_t broken = 0;
    std::uint64_t cuts = 0;
    std::uint64_t lost = 0;
    for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
        counting c(seed, device, authority, wrong);
        broken += c.run(60);
        cuts += (std::min)(c.device_cuts, c.central_cuts);
        lost += c.unacknowledged_lost;
    }
    CHECK(cuts > seeds);
    CHECK((lost != 0) == (device == sqlite_synchronous::normal && wrong != mistake::acknowledge_before_barrier));
    return broken;
}

constexpr auto full = sqlite_synchronous::full;
constexpr auto normal = sqlite_synchronous::normal;

}  // namespace

TEST_CASE("power loss: acknowledged writes and served replies survive, at device and authority", "[testing][sqlite]") {
    CHECK(play(12, full, full, mistake::none) == 0);
    CHECK(play(12, full, normal, mistake::none) == 0);
    CHECK(play(12, normal, full, mistake::none) == 0);
    CHECK(play(12, normal, normal, mistake::none) == 0);
}

TEST_CASE("power loss: an authority that replies before the barrier is found", "[testing][sqlite]") {
    CHECK(play(12, full, normal, mistake::reply_before_barrier) > 0);
}

TEST_CASE("power loss: a device that acknowledges before the barrier is found", "[testing][sqlite]") {
    CHECK(play(12, normal, full, mistake::acknowledge_before_barrier) > 0);
}

TEST_CASE("power loss: the outbox holds what was enqueued, at every step", "[testing][sqlite]") {
    for (sqlite_synchronous const level : {full, normal}) {
        machine m(level);
        outbox const box;
        wall_time const now{milliseconds{1'790'000'000'000}};
        struct done {
            std::uint64_t began;
            std::uint64_t acknowledged;
        };
        std::vector<done> all;
        for (int i = 0; i < 30; ++i) {
            std::uint64_t const began = m.disk->steps();
            auto tx = m.store->begin(access_mode::write);
            REQUIRE(tx);
            REQUIRE(box.enqueue(*tx, {.payload = as_bytes("dish " + std::to_string(i))}, now));
            REQUIRE(tx->commit());
            m.lasting();
            all.push_back({began, m.disk->steps()});
        }
        testing::sqlite_disk_replay replay(*m.disk);
        std::uint64_t unheard = 0;
        for (std::uint64_t step = 0; step <= m.disk->steps(); ++step) {
            replay.advance(step);
            for (std::uint64_t seed = 0; seed < 3; ++seed) {
                sqlite_disk disk(m.disk->options(), replay.survivors(seed * 1'000 + step));
                auto s = sqlite_storage::open("store.db", {.synchronous = level, .vfs = disk.vfs()});
                REQUIRE(s);
                auto tx = s->begin(access_mode::read);
                REQUIRE(tx);
                auto const holds = box.summary(*tx);
                REQUIRE(holds);
                std::uint64_t least = 0;
                std::uint64_t most = 0;
                for (done const& d : all) {
                    least += d.acknowledged <= step ? 1U : 0U;
                    most += d.began <= step ? 1U : 0U;
                }
                CHECK(holds->entries >= least);
                CHECK(holds->entries <= most);
                unheard += holds->entries > least ? 1U : 0U;
            }
        }
        CHECK(unheard > 0);
    }
}
