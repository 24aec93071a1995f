// SPDX-License-Identifier: BSL-1.0

/// The retry budget against the words of its sources, its waits, and its state.

#include <syncline/retry/budget.hpp>

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

constexpr milliseconds ms(std::int64_t n) { return milliseconds{n}; }

static_assert(std::regular<retry_budget> && std::regular<retry_budget_options>);
static_assert(valid(retry_budget_options{}) && valid(grpc_retry_throttling()) && valid(aws_retry_quota()));
static_assert(valid(grpc_retry_throttling(1, 1)) && valid(grpc_retry_throttling(1000, 1000)));
static_assert(!valid(retry_budget_options{.capacity = 0}) && !valid(retry_budget_options{.threshold = 10'000}));
static_assert(!valid(retry_budget_options{.retry_cost = 10'001}) && !valid(retry_budget_options{.wait_min = ms(-1)}));
static_assert(!valid(retry_budget_options{.wait_per_token = ms((std::int64_t{1} << 31) + 1)}));

struct lowest {
    constexpr std::uint64_t operator()() noexcept { return 1; }
};
struct highest {
    constexpr std::uint64_t operator()() noexcept { return ~std::uint64_t{0}; }
};

constexpr bool first_failure_is_free_then_minutes() {
    retry_budget b;
    lowest least;
    highest most;
    b.failed();
    if (b.retry(least) != ms(0)) { return false; }
    b.failed();  // 8 tokens are left, and one thousandth more is wanted
    retry_budget c = b;
    if (b.retry(least) != ms(240'015)) { return false; }
    if (c.retry(most) != ms(360'022)) { return false; }
    b.failed();
    return b.retry(least) == ms(255'015);
}
static_assert(first_failure_is_free_then_minutes());

}  // namespace

TEST_CASE("with gRPC's throttling the budget does what A6 says") {
    // The naive model: tokens in a double, as the proposal has them; the ratio's three places are exact enough.
    random_generator g(1);
    for (std::uint32_t const tokens_max : {1U, 2U, 7U, 10U, 1000U}) {
        for (std::uint32_t const ratio : {1U, 100U, 500U, 2500U}) {
            retry_budget b(grpc_retry_throttling(tokens_max, ratio));
            std::int64_t model = std::int64_t{tokens_max} * 1000;
            for (int i = 0; i < 3000; ++i) {
                if (below(g, 3) == 0) {
                    b.failed();
                    model = (std::max)(std::int64_t{0}, model - 1000);
                } else {
                    b.succeeded(below(g, 2) == 0);
                    model = (std::min)(std::int64_t{tokens_max} * 1000, model + ratio);
                }
                REQUIRE(b.tokens() == model);
                bool const may = model > std::int64_t{tokens_max} * 1000 / 2;
                REQUIRE(b.retry(g).has_value() == may);
                REQUIRE(b.tokens() == model);  // a retry costs nothing but its failure
            }
        }
    }
}

TEST_CASE("with the AWS quota a retry costs 5, after a timeout 10, and its success gives that back") {
    random_generator g(2);
    retry_budget b(aws_retry_quota());
    int capacity = 500;
    int last = 0;
    for (int i = 0; i < 20'000; ++i) {
        switch (below(g, 4)) {
            case 0:
                b.succeeded(false);
                capacity = (std::min)(500, capacity + 1);
                last = 0;
                break;
            case 1:
                b.succeeded(true);
                capacity = (std::min)(500, capacity + last);
                last = 0;
                break;
            default: {
                bool const timed_out = below(g, 2) == 0;
                int const cost = timed_out ? 10 : 5;
                b.failed();
                auto const wait = b.retry(g, timed_out);
                REQUIRE(wait.has_value() == (capacity >= cost));
                if (wait) {
                    CHECK(*wait == ms(0));
                    capacity -= cost;
                    last = cost;
                }
            }
        }
        REQUIRE(b.tokens() == static_cast<std::uint32_t>(capacity) * retry_token);
    }
}

TEST_CASE("a client whose attempts fail settles below a tenth of its successes in free retries") {
    random_generator g(3);
    retry_budget b;
    int free_retries = 0;
    int successes = 0;
    for (int i = 0; i < 100'000; ++i) {
        if (below(g, 2) == 0) {
            b.succeeded(true);
            ++successes;
        } else {
            b.failed();
            free_retries += *b.retry(g) == ms(0) ? 1 : 0;
        }
    }
    CHECK(free_retries <= successes / 10 + 10);
}

TEST_CASE("the wait grows with what is missing, and has a bound") {
    random_generator g(4);
    retry_budget b({.capacity = 5000, .threshold = 4000, .wait_min = ms(1000), .wait_per_token = ms(100)});
    milliseconds longest{0};
    for (int i = 0; i < 1000; ++i) {
        b.failed();
        auto const wait = b.retry(g);
        REQUIRE(wait);
        REQUIRE(*wait >= ms(1000));
        REQUIRE(*wait <= ms(1400) + ms(701));
        longest = (std::max)(longest, *wait);
    }
    CHECK(b.tokens() == 0);
    CHECK(longest > ms(2000));  // jittered upward, and not only by a little
}

TEST_CASE("no number overflows") {
    constexpr auto most = (std::numeric_limits<std::uint32_t>::max)();
    random_generator g(5);
    retry_budget b({.capacity = most,
                    .threshold = most - 1,
                    .failure_cost = most,
                    .retry_cost = most,
                    .timeout_cost = most,
                    .success_gain = most,
                    .refund = true,
                    .wait_min = ms(std::int64_t{1} << 31),
                    .wait_per_token = ms(std::int64_t{1} << 31)});
    for (int i = 0; i < 10; ++i) {
        b.failed();
        auto const wait = b.retry(g, i % 2 == 0);
        REQUIRE(wait);
        CHECK(*wait >= ms(0));
        CHECK(*wait <= retry_time_max * 64);
        b.succeeded(i % 3 == 0);
        b.succeeded();
    }
    CHECK(b.tokens() == most);
}

TEST_CASE("the state goes there and back and survives options that changed") {
    retry_budget a;
    random_generator g(6);
    a.failed();
    a.failed();
    a.failed();
    CHECK(to_hex(to_array(a)) == "00001b5800000000");
    retry_budget b;
    REQUIRE(b.restore(to_array(a)));
    CHECK(a == b);
    retry_budget cut({.capacity = 2000, .threshold = 1000});
    REQUIRE(cut.restore(to_array(a)));
    CHECK(cut.tokens() == 2000);

    retry_budget c(aws_retry_quota());
    (void)c.retry(g, true);
    CHECK(to_hex(to_array(c)) == "00077a1000002710");
    auto const before = a;
    for (std::size_t n = 0; n < 20; ++n) {
        if (n != 8) { CHECK(a.restore(bytes(n)).error() == errc::malformed); }
    }
    CHECK(a == before);
    for (int i = 0; i < 2000; ++i) {
        bytes raw(8);
        fill(g, raw);
        REQUIRE(a.restore(raw));
        REQUIRE(a.tokens() <= a.options().capacity);
        (void)a.retry(g);
        a.succeeded(true);
    }
}
