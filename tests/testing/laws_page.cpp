// SPDX-License-Identifier: BSL-1.0
// What docs/laws.md quotes.

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

#include <syncline/core/cbor.hpp>
#include <syncline/testing/laws.hpp>
#include <syncline/testing/nth_failure.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

/// What the page says is printed: tests/testing/laws_laws_page_<name>.txt.
std::string printed(std::string const& name) {
    std::ifstream in(std::string{SYNCLINE_TESTS_DIR} + "/testing/laws_page_" + name + ".txt");
    return {std::istreambuf_iterator<char>(in), {}};
}

// region: merge
/// The tables that a guest would sit at, in order of preference; both devices may reorder them.
using wishes = std::vector<std::string>;

wishes merge_wishes(wishes const& base, wishes const& local, wishes const& remote) {
    if (local == base) { return remote; }
    wishes out = local;  // mine first, …
    for (std::string const& table : remote) {
        if (std::find(out.begin(), out.end(), table) == out.end()) { out.push_back(table); }  // … then theirs
    }
    return out;
}
// endregion: merge

// region: codec
struct seat {
    std::uint64_t table = 0;
    std::optional<std::string> guest{};
};
constexpr auto describe(seat const*) {
    return record_of<seat>("seats", field("table", &seat::table), field("guest", &seat::guest));
}

bytes encode_seat(seat const& s) {
    bytes out;
    cbor_writer w{out};
    w.array(2);
    w.unsigned_integer(s.table);
    w.text(s.guest.value_or(""));
    return out;
}
result<seat> decode_seat(bytes_view b) {
    cbor_reader in{b};
    seat s;
    (void)in.array();
    s.table = in.unsigned_integer();
    if (std::string_view const guest = in.text(); !guest.empty()) { s.guest = guest; }
    if (auto ok = in.finish(); !ok) { return ok.error(); }
    return s;
}
// endregion: codec

// region: operation
/// A stock that is never less than nothing.
std::int64_t take_from_stock(std::int64_t stock, std::int64_t change) {
    return (std::max)(stock + change, std::int64_t{0});
}
// endregion: operation

// region: clock
struct wall_clock_only {
    timestamp now(wall_time wall) { return timestamp::make(wall); }
    status accept(timestamp, wall_time) { return {}; }
};
// endregion: clock

// region: write
status move_guest(testing::failing_storage& store) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    if (auto ok = tx->put(as_bytes("table 1"), as_bytes("")); !ok) { return ok; }
    if (auto ok = tx->commit(); !ok) { return ok; }

    tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    if (auto ok = tx->put(as_bytes("table 2"), as_bytes("Anna")); !ok) { return ok; }
    return tx->commit();
}
// endregion: write

}  // namespace

TEST_CASE("the page of laws: each of its models is found broken, in the words that it shows") {
    // region: check_merge
    auto found = testing::check_three_way(merge_wishes, testing::any<wishes>{});
    // endregion: check_merge
    CHECK(to_text(found) == printed("merge"));

    // region: check_codec
    found = testing::check_codec(encode_seat, decode_seat, testing::any<seat>{});
    // endregion: check_codec
    CHECK(to_text(found) == printed("codec"));

    // region: check_operation
    auto const changes = [](random_generator& r) { return static_cast<std::int64_t>(below(r, 9)) - 4; };
    found = testing::check_operations(std::int64_t{0}, take_from_stock, changes);
    // endregion: check_operation
    CHECK(to_text(found) == printed("operation"));

    // region: check_clock
    found = testing::check_clock([] { return wall_clock_only{}; });
    // endregion: check_clock
    CHECK(to_text(found) == printed("clock"));

    // region: check_record
    found = testing::check_record<seat>();  // its rules, its encoding, its merges
    // endregion: check_record
    CHECK(found.empty());

    // region: check_write
    auto const report = testing::nth_failure(
        [](testing::failing_storage& store) {  // the state before
            auto tx = store.begin(access_mode::write);
            if (tx && tx->put(as_bytes("table 1"), as_bytes("Anna"))) { (void)tx->commit(); }
        },
        move_guest);
    found = report.violations;
    // endregion: check_write
    CHECK(to_text(found) == printed("write"));
}
