// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/chunk_store_conformance.hpp>

#include <syncline/storage/memory.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

enum class flaw : std::uint8_t { none, forgets, cuts, doubles, endless, mixes, volatile_ };

/// A chunk store with one flaw.
class flawed {
public:
    flawed(std::map<sha256_digest, bytes>& kept, flaw f) : kept_(&kept), flaw_(f) {}
    status put(sha256_digest const& id, bytes_view b) {
        ++n_;
        bool const cut = flaw_ == flaw::cuts && b.size() > 65'536;
        if (flaw_ == flaw::forgets && n_ % 11 == 0) { return {}; }
        (*kept_)[id] = to_bytes(b.first(cut ? 65'536 : b.size()));
        return {};
    }
    result<bool> get(sha256_digest const& id, bytes& out) {
        auto const at = kept_->find(id);
        if (at == kept_->end()) {
            if (flaw_ != flaw::mixes) { out.clear(); }
            return false;
        }
        out = at->second;
        return true;
    }
    status erase(sha256_digest const& id) {
        if (flaw_ == flaw::doubles && kept_->erase(id) == 0) { return errc::not_found; }
        kept_->erase(id);
        return {};
    }
    status scan(chunk_visitor visit) {
        for (auto const& [id, b] : *kept_) {
            if (!visit(id) && flaw_ != flaw::endless) { break; }
        }
        return {};
    }
    status flush() {
        if (flaw_ == flaw::volatile_) { kept_->clear(); }
        return {};
    }

private:
    std::map<sha256_digest, bytes>* kept_;
    flaw flaw_;
    int n_ = 0;
};

std::vector<testing::violation> check(flaw f) {
    std::map<sha256_digest, bytes> kept;
    return testing::check_chunk_store([&](auto&& use) {
        flawed store(kept, f);
        use(store);
    });
}

}  // namespace

TEST_CASE("chunk store conformance: each flaw is found by the name of its axiom", "[testing]") {
    CHECK(check(flaw::none).empty());
    CHECK(testing::breaks(check(flaw::forgets), "content"));
    CHECK(testing::breaks(check(flaw::cuts), "content"));
    CHECK(testing::breaks(check(flaw::mixes), "content"));
    CHECK(testing::breaks(check(flaw::doubles), "idempotent"));
    CHECK(testing::breaks(check(flaw::endless), "complete"));
    CHECK(testing::breaks(check(flaw::volatile_), "durable"));
}
