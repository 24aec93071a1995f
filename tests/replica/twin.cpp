// SPDX-License-Identifier: BSL-1.0
// Two worlds with one script: in one each message arrives once, in the other again and again. Nothing tells them apart.
#include <algorithm>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>

#include "replica/world.hpp"
#include "support/catch.hpp"

using namespace world;

namespace {

/// Every key and value of a store, in order.
std::vector<std::pair<bytes, bytes>> image(memory_storage& store) {
    std::vector<std::pair<bytes, bytes>> all;
    auto tx = store.begin(access_mode::read);
    REQUIRE(tx->scan({}, [&](bytes_view k, bytes_view v) {
        all.emplace_back(to_bytes(k), to_bytes(v));
        return true;
    }));
    return all;
}

/// Devices and their authority, in which each message arrives as often as the script of doubles says.
template <class Device>
struct twins {
    virtual_clock clock{};
    cloud home{clock.now};
    std::vector<std::unique_ptr<Device>> devices{};
    std::vector<std::vector<bytes>> sent{};     // each device's earlier requests …
    std::vector<std::vector<bytes>> answers{};  // … and the replies to them
    std::size_t doubled = 0;
    std::size_t decided = 0;  // verdicts that came with rows

    twins() {
        for (std::uint64_t i = 0; i < 3; ++i) {
            devices.push_back(std::make_unique<Device>(100 + 10 * i));
            REQUIRE(open(*devices.back(), clock.now));
        }
        sent.resize(devices.size());
        answers.resize(devices.size());
    }

    void write(std::size_t who, random_generator& script) {
        Device& d = *devices[who];
        record_key const k{"things", "r" + std::to_string(below(script, 4))};
        auto const n = static_cast<std::int64_t>(below(script, 100));
        std::uint64_t const what = below(script, 6);
        (void)d.write([&](auto& tx) -> result<write_receipt> {
            switch (what) {
                case 0: return d.self.create(tx, k, fields({{"name", n}, {"count", 0}, {"asked", n}}), clock.now);
                case 1: return d.self.update(tx, k, {add("count", n)}, clock.now);
                case 2: return d.self.update(tx, k, {set("asked", n)}, clock.now);
                case 3: return d.self.erase(tx, k, clock.now);
                case 4: return d.self.update(tx, k, {set("least", n), unset("name")}, clock.now);
                default: return d.self.update(tx, k, {set("name", n), set("ruled", n)}, clock.now);
            }
        });
    }

    void exchange(std::size_t who, random_generator* doubles) {
        Device& d = *devices[who];
        bytes const request = request_of(d, clock.now);
        auto const reply = home.answer(request, clock.now);
        REQUIRE(reply);
        bytes taken = *reply;
        // The network delivers the request again; the reply to the last one is as good as the first.
        for (std::uint64_t n = doubles == nullptr ? 0 : below(*doubles, 3); n != 0; --n) {
            auto again = home.answer(request, clock.now);
            REQUIRE(again);
            ++doubled;
        }
        auto const report = absorb(d, taken, clock.now);
        REQUIRE(report);
        decided += report->rows == 0 ? 0 : report->verdicts;
        sent[who].push_back(request);
        answers[who].push_back(std::move(taken));
        if (doubles == nullptr) { return; }
        for (std::uint64_t n = below(*doubles, 3); n != 0; --n) {
            auto const& all = answers[who];
            bytes const& old = n == 1 ? all.back() : all[static_cast<std::size_t>(below(*doubles, all.size()))];
            REQUIRE(absorb(d, old, clock.now));
            ++doubled;
        }
        // An old session is played once more to the authority; whoever hears the answer is not who asked.
        if (below(*doubles, 2) == 0) {
            auto const& all = sent[who];
            (void)home.answer(all[static_cast<std::size_t>(below(*doubles, all.size()))], clock.now);
            ++doubled;
        }
    }

    void decide(std::size_t who) {
        Device& d = *devices[who];
        std::vector<open_conflict> open;
        REQUIRE(d.read([&](auto& tx) {
            return d.self.conflicts(tx, [&](open_conflict const& c) {
                open.push_back(c);
                return true;
            });
        }));
        for (open_conflict const& c : open) {
            std::vector<field_resolution> all;
            for (auto const& f : c.fields) { all.push_back({f, field_resolution::choice::local, {}}); }
            auto const seen = c.remote ? c.remote->version : 0;
            (void)d.write([&](auto& tx) { return d.self.resolve(tx, c.token, seen, all, clock.now); });
        }
    }
};

using twin = twins<device>;

/// A replica that tells each verdict and row on its own, as who listens wants it.
struct listener {
    template <class Tx>
    [[nodiscard]] status operator()(Tx&, journal_note const&) const {
        return {};
    }
};
struct listening_device : storing {
    basic_replica<stored_records, listener> self{rules()};
    explicit listening_device(std::uint64_t seed) : storing(seed) {}
};

/// A store without its events, and these in an order of their own.
std::pair<std::vector<std::pair<bytes, bytes>>, std::vector<std::string>> told_apart(memory_storage& store) {
    auto all = image(store);
    std::vector<std::string> events;
    auto const is_event = [](auto const& one) { return starts_with(one.first, to_bytes(std::string_view{"re"})); };
    for (auto const& one : all) {
        if (!is_event(one)) { continue; }
        REQUIRE(event_batch::read(one.second, [&](event const& e) {
            bytes said;
            cbor_writer w{said};
            encode_verdict(w, e.said);
            events.push_back(std::to_string(static_cast<int>(e.kind)) + to_hex(to_bytes(e.record)) + to_hex(said));
            return true;
        }));
    }
    all.erase(std::remove_if(all.begin(), all.end(), is_event), all.end());
    std::sort(events.begin(), events.end());
    return {std::move(all), std::move(events)};
}

}  // namespace

TEST_CASE("twin worlds: what is taken together is as what is taken one by one", "[replica][property]") {
    std::size_t decided = 0;
    for (std::uint64_t seed = 1; seed <= 150; ++seed) {
        twin together;
        twins<listening_device> singly;
        random_generator script{seed};
        for (int step = 0; step < 60; ++step) {
            auto const who = static_cast<std::size_t>(below(script, together.devices.size()));
            std::uint64_t const deed = below(script, 6);
            random_generator first = script;
            together.clock.pass(7);
            singly.clock.pass(7);
            if (deed < 4) {
                together.write(who, first);
                singly.write(who, script);
            } else {
                together.exchange(who, nullptr);
                singly.exchange(who, nullptr);
            }
            INFO("seed " << seed << ", step " << step);
            REQUIRE(told_apart(together.devices[who]->store) == told_apart(singly.devices[who]->store));
        }
        decided += together.decided;
    }
    REQUIRE(decided > 1'000);
}

TEST_CASE("twin worlds: messages that come again leave no trace", "[replica][property]") {
    std::size_t doubled = 0;
    for (std::uint64_t seed = 1; seed <= 60; ++seed) {
        twin once;
        twin often;
        random_generator script{seed};
        random_generator doubles{seed + 1'000};
        for (int step = 0; step < 60; ++step) {
            auto const who = static_cast<std::size_t>(below(script, once.devices.size()));
            std::uint64_t const deed = below(script, 5);
            random_generator first = script;
            once.clock.pass(7);
            often.clock.pass(7);
            if (deed < 2) {
                once.write(who, first);
                often.write(who, script);
            } else if (deed == 2) {
                once.decide(who);
                often.decide(who);
            } else {
                once.exchange(who, nullptr);
                often.exchange(who, &doubles);
            }
        }
        for (std::size_t i = 0; i < once.devices.size(); ++i) {
            INFO("seed " << seed << ", device " << i);
            REQUIRE(image(once.devices[i]->store) == image(often.devices[i]->store));
        }
        INFO("seed " << seed);
        REQUIRE(image(once.home.store) == image(often.home.store));
        doubled += often.doubled;
    }
    REQUIRE(doubled > 1'000);
}
