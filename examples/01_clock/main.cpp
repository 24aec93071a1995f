// SPDX-License-Identifier: BSL-1.0
// A clock that orders cause before effect on devices whose wall clocks disagree.

#include <iostream>
#include <string>

#include <syncline/clock.hpp>

using namespace syncline;
using std::chrono::minutes;
using std::chrono::seconds;

namespace {

wall_time const noon{milliseconds{1'790'000'000'000}};

/// A stamp as a distance from noon in milliseconds, and its counter.
std::string to_text(timestamp t) {
    auto const ms = (t.time() - noon).count();
    return "noon" + std::string(ms < 0 ? " - " : " + ") + std::to_string(ms < 0 ? -ms : ms) + " ms, counter " +
           std::to_string(t.counter());
}

}  // namespace

int main() {
    hybrid_clock till;   // its wall clock is right
    hybrid_clock phone;  // its wall clock is two minutes slow

    // region: clock
    timestamp const ordered = till.now(noon);
    // The phone reads the order, then takes the payment for it. By its wall clock it would be the other way round.
    status const heard = phone.accept(ordered, noon - minutes{2} + seconds{1});
    timestamp const paid = phone.now(noon - minutes{2} + seconds{1});
    // endregion: clock
    std::cout << "ordered    " << to_text(ordered) << '\n'
              << "paid       " << to_text(paid) << '\n'
              << "in order   " << std::boolalpha << (heard.has_value() && ordered < paid) << '\n';

    // A device that believes that it is next year moves nobody's clock.
    status const refused = till.accept(timestamp::make(noon + std::chrono::hours{24 * 365}), noon);
    std::cout << "next year  " << (refused ? "accepted" : message(refused.error().code)) << '\n';

    // Somebody sets the till back by an hour: its stamps go on rising.
    std::cout << "set back   " << to_text(till.now(noon - minutes{60})) << '\n';

    // Eight bytes are all there is to store; a restarted clock goes on after them.
    auto const stored = to_array(till.last());
    auto const restored = timestamp_from(stored);
    if (!restored) {
        std::cerr << message(restored.error().code) << '\n';
        return 1;
    }
    hybrid_clock restarted(till.options(), *restored);
    std::cout << "restarted  " << to_text(restarted.now(noon - minutes{60})) << '\n';
}
