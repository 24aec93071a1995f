// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/record_store_conformance.hpp>

#include "support/catch.hpp"

#include <syncline/storage/memory.hpp>

using namespace syncline;

namespace {

enum class mistake {
    none,
    loses_marks,
    base_follows,
    base_stays,
    erases_all,
    scans_backwards,
    forgets_a_tombstone,
    range_without_end,
};

/// The default with one mistake.
struct bad_records {
    mistake made = mistake::none;
    stored_records good{};

    template <class Tx>
    result<std::optional<held_record>> find(Tx& tx, record_key const& k) const {
        auto h = good.find(tx, k);
        if (h && *h && made == mistake::loses_marks) { (*h)->visible.exceptions.clear(); }
        if (h && *h && (*h)->visible.deleted && made == mistake::forgets_a_tombstone) { h->reset(); }
        return h;
    }
    template <class Tx>
    result<std::optional<row>> find_confirmed(Tx& tx, record_key const& k) const {
        return good.find_confirmed(tx, k);
    }
    template <class Tx>
    status put(Tx& tx, record_key const& k, held_record const& h, row const* c) const {
        if (made == mistake::base_follows && h.pending && c == nullptr) { c = &h.visible; }
        return good.put(tx, k, h, c);
    }
    template <class Tx>
    status drop_confirmed(Tx& tx, record_key const& k) const {
        return made == mistake::base_stays ? status{} : good.drop_confirmed(tx, k);
    }
    template <class Tx>
    status erase(Tx& tx, record_key const& k) const {
        if (made == mistake::erases_all) {
            std::vector<record_key> all;
            auto ok = good.scan(tx, k.collection, [&](record_key const& other, held_record&) {
                all.push_back(other);
                return true;
            });
            for (record_key const& other : all) { (void)good.erase(tx, other); }
            return ok;
        }
        return good.erase(tx, k);
    }
    template <class Tx>
    status scan(Tx& tx, std::string_view collection, held_visitor visit) const {
        if (made != mistake::scans_backwards) { return good.scan(tx, collection, visit); }
        std::vector<std::pair<record_key, held_record>> all;
        auto ok = good.scan(tx, collection, [&](record_key const& k, held_record& h) {
            all.emplace_back(k, h);
            return true;
        });
        for (auto at = all.rbegin(); at != all.rend() && visit(at->first, at->second); ++at) {}
        return ok;
    }
    template <class Tx>
    status scan_range(Tx& tx, bytes_view from, bytes_view to, held_visitor visit) const {
        bytes const end{std::byte{0xFF}};
        return good.scan_range(tx, from, made == mistake::range_without_end ? bytes_view{end} : to, visit);
    }
};

// region: certify
/// What is broken in a record store, each with its axiom's name: here one with a mistake, over a storage in memory.
std::vector<testing::violation> tried(mistake m) {
    memory_storage storage;
    return testing::certify_record_store(storage, bad_records{m});
}
// endregion: certify

}  // namespace

TEST_CASE("the suite finds each mistake by the name of its axiom, and none where there is none") {
    CHECK(tried(mistake::none).empty());
    CHECK(breaks(tried(mistake::loses_marks), "exactness"));
    CHECK(breaks(tried(mistake::base_follows), "confirmed_apart"));
    CHECK(breaks(tried(mistake::base_stays), "clean_is_single"));
    CHECK(breaks(tried(mistake::erases_all), "separation"));
    CHECK(breaks(tried(mistake::scans_backwards), "order"));
    CHECK(breaks(tried(mistake::forgets_a_tombstone), "separation"));
    CHECK(breaks(tried(mistake::range_without_end), "order"));
}
