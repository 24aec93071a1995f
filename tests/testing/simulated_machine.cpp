// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/simulated_machine.hpp>

#include <syncline/core/bytes.hpp>

#include "support/catch.hpp"

using namespace syncline;
using namespace syncline::testing;

namespace {

std::size_t rows(simulated_machine& box) {
    std::size_t n = 0;
    (void)box.read([&](auto& tx) {
        return tx.scan({}, [&](bytes_view, bytes_view) {
            ++n;
            return true;
        });
    });
    return n;
}

}  // namespace

TEST_CASE("what is committed on a simulated machine outlives its power, and nothing else does") {
    simulated_machine box;
    random_generator random{1};
    auto const put = [&](machine_mishap const& m) {
        return box.attempt(m, [&](auto& tx) { return tx.put(bytes{std::byte{1}}, bytes{std::byte{2}}); });
    };
    machine_mishap torn;
    torn.torn = true;
    auto const lost = put(torn);
    CHECK((!lost.took && !lost.faulty && lost.why == errc{} && rows(box) == 0));

    machine_mishap broken;
    broken.faulty = true;
    broken.fault.nth = 2;  // begins, and then can't write
    auto const failed = put(broken);
    CHECK((!failed.took && failed.faulty && failed.why == errc::storage_io && rows(box) == 0));

    auto const refused = box.attempt([](auto&) -> status { return failure{errc::forbidden}; });
    CHECK((!refused.took && !refused.faulty && refused.why == errc::forbidden));

    CHECK(put({}).took);
    box.cut(random);
    CHECK(rows(box) == 1);
}
