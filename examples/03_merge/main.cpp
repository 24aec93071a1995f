// SPDX-License-Identifier: BSL-1.0
// Two people edited copies of one record. The rules beside its members merge them, and say what was decided.

#include <cstdint>
#include <iostream>
#include <optional>
#include <string>
#include <vector>

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
    std::vector<std::string> tags{};
    std::string menu{};
};
constexpr auto describe(booking const*) {
    return record_of<booking>("bookings",                                          // the collection
                              field("client", &booking::client),                   // last writer wins
                              field("guests", &booking::guests, rule::counter),    // changes add up
                              field("deposit", &booking::deposit, rule::maximum),  // the greater stays
                              field("table", &booking::table, rule::manual),       // a person decides
                              field("note", &booking::note),                       // missing is not empty
                              field("tags", &booking::tags, rule::add_wins),       // a set
                              field("menu", &booking::menu, rule::text_words));    // merged word by word
}
// endregion: record

}  // namespace

int main() {
    wall_time const noon{milliseconds{1'790'000'000'000}};

    // region: merge
    booking const base{"Dahl", 100, 50, "hall", "no nuts", {"wedding"}, "soup, trout, cake"};

    booking local = base;  // on the phone: five more, and they pay
    local.client = "Dahl & Co";
    local.guests += 5;
    local.deposit = 80;
    local.table = "garden";
    local.tags.emplace_back("paid");
    local.menu = "clear soup, trout, cake";

    booking remote = base;  // in the office, a second later: two fewer
    remote.client = "Dahl and Company";
    remote.guests -= 2;
    remote.deposit = 60;
    remote.table = "terrace";
    remote.note.reset();
    remote.tags = {"outdoors"};
    remote.menu = "soup, trout, ice";

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
              << b.note.value_or("none") << ", menu " << b.menu << ", tags";
    for (std::string const& tag : b.tags) { std::cout << ' ' << tag; }
    std::cout << '\n';
    for (decision const& d : both->decisions) {
        std::cout << to_text(d) << '\n';  // field, winner, rule, why
    }
    for (std::string const& undecided : both->conflicts) { std::cout << "for a person: " << undecided << '\n'; }
}
