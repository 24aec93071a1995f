// SPDX-License-Identifier: BSL-1.0
// A program that checks itself without a test framework, for builds without exceptions and run-time type
// information: from bytes to two replicas that meet. It answers 0 when all held, and says which line did not.
#include <cstdint>
#include <cstdio>
#include <string>

#include <syncline/syncline.hpp>

namespace {

using namespace syncline;

int failures = 0;

void expect(bool held, int line) {
    if (!held) {
        std::printf("self_check.cpp:%d does not hold\n", line);
        ++failures;
    }
}
#define EXPECT(condition) expect(static_cast<bool>(condition), __LINE__)

struct guest {
    std::string name;
    std::int64_t seats = 0;
};
constexpr auto describe(guest const*) {
    return record_of<guest>("guests", field("name", &guest::name), field("seats", &guest::seats, rule::counter));
}

constexpr instant at(std::int64_t ms) {
    return {wall_time{milliseconds{1'790'000'000'000 + ms}}, monotonic_time{milliseconds{ms}}};
}

void words() {
    bytes b;
    append_u64(b, 0x0102030405060708U);
    EXPECT(to_hex(b) == "0102030405060708");
    EXPECT(read_u64(b) == 0x0102030405060708U);
    result<int> const bad = errc::malformed;
    EXPECT(!bad && bad.error() == errc::malformed);

    guest const anna{"Anna", 2};
    auto const encoded = encode_record(anna);
    EXPECT(encoded);
    auto const decoded = decode_record<guest>(*encoded);
    EXPECT(decoded && equal_fields(*decoded, anna));
    EXPECT(!decode_record<guest>(bytes_view{*encoded}.first(encoded->size() - 1)));
}

void merging() {
    auto const both = three_way(guest{"Anna", 2}, guest{"Anna", 5}, guest{"Anne", 3});
    EXPECT(both && both->record.name == "Anne" && both->record.seats == 6);
}

void queue() {
    memory_storage store;
    outbox const box;
    auto tx = store.begin(access_mode::write);
    EXPECT(tx);
    outbox_item item;
    item.payload = as_bytes("hello");
    auto const token = box.enqueue(*tx, item, at(0).wall);
    EXPECT(token);
    auto const claimed = box.claim(*tx, {}, at(1).wall);
    EXPECT(claimed && claimed->size() == 1);
    EXPECT(box.ack(*tx, claimed->front().token, claimed->front().fence));
    EXPECT(!box.ack(*tx, claimed->front().token, claimed->front().fence));
    EXPECT(tx->commit());
}

struct device {
    memory_storage store{};
    syncline::random_generator random;
    replica self{rule_table::of<guest>()};
    session<memory_storage, syncline::random_generator> link{store, self, random};

    explicit device(std::uint64_t seed) : random(seed) {
        auto tx = store.begin(access_mode::write);
        EXPECT(tx && self.open(*tx, "anna", at(0), random) && tx->commit());
    }
    device(device const&) = delete;
    device& operator=(device const&) = delete;

    template <class F>
    void edit(F change, instant now) {
        auto tx = store.begin(access_mode::write);
        EXPECT(tx && self.edit<guest>(*tx, "1", change, now) && tx->commit());
    }
    guest read() {
        auto tx = store.begin(access_mode::read);
        auto const r = self.read<guest>(*tx, "1");
        EXPECT(r && *r);
        return r && *r ? **r : guest{};
    }
};

void replicas() {
    memory_storage home;
    authority<> const decides{rule_table::of<guest>()};
    syncline::random_generator entropy(1);
    {
        auto tx = home.begin(access_mode::write);
        EXPECT(tx && decides.open(*tx, at(0), entropy) && tx->commit());
    }
    device a(2);
    device b(3);
    std::int64_t now = 1;
    auto const meet = [&](device& d) {
        now += 60'000;
        auto answer = [&](bytes_view request) { return serve(home, decides, "anna", request, at(now)); };
        loopback_transport way(answer);
        auto const done = drive(
            d.link, d.store, way, [&] { return at(now); }, [](event const&) {});
        EXPECT(done && !done->failed);
    };
    {
        auto tx = a.store.begin(access_mode::write);
        EXPECT(tx && a.self.create(*tx, "1", guest{"Anna", 2}, at(now)) && tx->commit());
    }
    meet(a);
    meet(b);
    a.edit([](guest& g) { g.seats += 3; }, at(now));
    b.edit([](guest& g) { g.seats += 4; }, at(now));
    EXPECT(a.read().seats == 5 && b.read().seats == 6);
    meet(a);
    meet(b);
    meet(a);
    EXPECT(a.read().seats == 9 && b.read().seats == 9);
}

}  // namespace

int main() {
    words();
    merging();
    queue();
    replicas();
    return failures == 0 ? 0 : 1;
}
