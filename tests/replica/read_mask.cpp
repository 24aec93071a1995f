// SPDX-License-Identifier: BSL-1.0
#include <syncline/replica/read_mask.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/random.hpp>
#include <syncline/merge/apply.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

role_source const by_name{
    [](std::string_view principal, std::string_view role, void const*) { return principal == role; }};
read_mask const mask{{{"a", {"p", "q"}, "boss", {}}, {"b", {"z"}, "boss", {}}, {"a", {"s"}, "chief", "box"}}, by_name};

bytes integer(std::int64_t n) {
    bytes out;
    cbor_writer{out}.integer(n);
    return out;
}
std::optional<std::int64_t> at(row const& r, std::string_view name) {
    auto const found = map_find(r.fields, name);
    return found && *found ? detail::integer_of(**found) : std::nullopt;
}

}  // namespace

TEST_CASE("read_mask: groups, and who reads and writes them") {
    CHECK(mask.valid());
    CHECK(mask.groups_of("a") == 3);
    CHECK(mask.groups_of("c") == 1);
    CHECK(mask.groups_most() == 3);
    CHECK(mask.group_of("a", "q") == 1);
    CHECK(mask.group_of("a", "s") == 2);
    CHECK(mask.group_of("a", "z") == 0);
    CHECK(mask.readable("boss", "a") == 0b011);
    CHECK(mask.readable("box", "a") == 0b001);
    CHECK(mask.writable("box", "a") == 0b101);
    CHECK(mask.hides("boss", "a"));
    CHECK_FALSE(mask.hides("boss", "b"));
    CHECK_FALSE(mask.hides("anna", "c"));
    CHECK(mask.fingerprint("anna") != 0);
    CHECK(mask.fingerprint("anna") == mask.fingerprint("box"));
    CHECK(mask.fingerprint("anna") != mask.fingerprint("boss"));
    CHECK(read_mask{}.fingerprint("anna") == 0);
    CHECK_FALSE(read_mask{{{"a", {"p"}, "x", {}}, {"a", {"p"}, "y", {}}}}.valid());
    CHECK_FALSE(read_mask{{{"a", {"p", "p"}, "x", {}}}}.valid());
    CHECK_FALSE(read_mask{std::vector<masked_group>(16, {"a", {}, "x", {}})}.valid());
}

TEST_CASE("read_mask: what is left out and put back makes the row that the change makes of the whole") {
    // Changes to what is read only: on the masked row, then with the rest put back, or on the whole row at once.
    for (deletion const deletes : {deletion::wins, deletion::loses}) {
        collection_rules rules{"a", rule::last_writer, {{"n", rule::counter}}};
        rules.deletes = deletes;
        random_generator script{3};
        std::optional<row> whole;
        for (position step = 1; step <= 400; ++step) {
            bool const alive = whole && !whole->deleted;
            bool const open = below(script, 2) == 0;
            mutation m;
            m.sequence = step;
            m.stamp = timestamp{step << 16U};
            m.record = {"a", "r"};
            m.kind = !alive ? change_kind::create : below(script, 12) == 0 ? change_kind::erase : change_kind::update;
            m.life = !whole ? 1 : alive ? whole->life : whole->life + 1;
            m.base = whole ? whole->version : 0;
            auto const n = static_cast<std::int64_t>(below(script, 9));
            std::vector<std::string> names{"n", "o"};
            if (!open) { names.insert(names.end(), {"p", "q", "s"}); }
            for (std::string const& name : names) {
                if (m.kind == change_kind::erase || below(script, 2) == 0) { continue; }
                bool const counts = name == "n" && m.kind == change_kind::update;
                bool const goes = name == "o" && m.kind == change_kind::update && n == 0;
                m.ops.push_back({name,
                                 counts ? op_kind::add
                                 : goes ? op_kind::unset
                                        : op_kind::set,
                                 goes ? bytes{} : integer(n), m.stamp});
            }
            apply_context context;
            context.author = static_cast<author_index>(1 + below(script, 3));
            context.at = step;
            std::optional<row> next = whole;
            apply_outcome const outcome = apply(next, m, rules, context);
            if (open && whole) {
                row const seen = mask.masked(*whole, "a", 1, whole->version);
                CHECK_FALSE(at(seen, "p"));
                CHECK_FALSE(at(seen, "s"));
                CHECK(at(seen, "n") == at(*whole, "n"));
                std::optional<row> shown = seen;
                apply_outcome const apart = apply(shown, m, rules, context);
                CHECK(apart.changed == outcome.changed);
                if (apart.changed) {
                    row const both = mask.unmasked(*shown, *whole, "a", 1);
                    INFO("step " << step);
                    REQUIRE(both == *next);
                }
            }
            if (outcome.changed) {
                std::uint32_t const differs = mask.changed(whole ? &*whole : nullptr, *next, "a");
                bool const life = !whole || whole->deleted != next->deleted || whole->life != next->life;
                CHECK(((differs & 1U) != 0 || !open));
                CHECK((life ? differs == 0b111 : !open || differs == 1));
                whole = std::move(next);
            }
        }
    }
}
