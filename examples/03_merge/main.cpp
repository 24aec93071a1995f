// SPDX-License-Identifier: BSL-1.0
// Two people edited copies of one record. The rules beside its members merge them, and say what was decided.

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>

#include <syncline/merge.hpp>

using namespace syncline;

namespace {

// region: record
struct booking {
    std::string client;
    std::int64_t guests = 0;
    std::int64_t deposit = 0;
    std::string table;
    std::optional<std::string> note{};
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings",                                          // the collection
                              field("client", &booking::client),                   // last writer wins
                              field("guests", &booking::guests, rule::counter),    // changes add up
                              field("deposit", &booking::deposit, rule::maximum),  // the greater stays
                              field("table", &booking::table, rule::manual),       // a person decides
                              field("note", &booking::note));
}
// endregion: record

}  // namespace

int main() {
    wall_time const noon{milliseconds{1'790'000'000'000}};

    // region: merge
    booking const base{"Dahl", 100, 50, "hall", "no nuts"};

    booking local = base;  // on the phone: five more, and they pay
    local.client = "Dahl & Co";
    local.guests += 5;
    local.deposit = 80;
    local.table = "garden";

    booking remote = base;  // in the office, a second later: two fewer
    remote.client = "Dahl and Company";
    remote.guests -= 2;
    remote.deposit = 60;
    remote.table = "terrace";
    remote.note.reset();

    side const phone{timestamp::make(noon), 1};
    side const office{timestamp::make(noon + std::chrono::seconds{1}), 2};
    auto const both = three_way(base, local, remote, phone, office);
    // endregion: merge
    if (!both) {
        std::cerr << message(both.error().code) << '\n';
        return 1;
    }

    booking const& b = both->record;
    std::cout << b.client << ": " << b.guests << " guests, deposit " << b.deposit << ", table " << b.table << ", note "
              << b.note.value_or("none") << '\n';
    for (decision const& d : both->decisions) {
        std::cout << "decided: " << d.field << " for " << name(d.won) << " (" << name(d.by) << ")\n";
    }
    for (std::string const& undecided : both->conflicts) { std::cout << "for a person: " << undecided << '\n'; }
}
