// SPDX-License-Identifier: BSL-1.0
#include <syncline/testing/null_signer.hpp>

#include <string>

#include "support/catch.hpp"

namespace {
using namespace syncline;
}  // namespace

TEST_CASE("null signer: whoever looks at a head that it signed sees that nobody did", "[null_signer]") {
    testing::insecure_null_signer signer{true};
    testing::memory_anchor anchor;
    audit_head head;
    head.size = 3;
    CHECK_FALSE(*anchored_head(signer, anchor));
    auto const signed_one = anchor_head(signer, anchor, head);
    REQUIRE(signed_one);
    std::string const bytes_of{as_text(encode(*signed_one))};
    CHECK(bytes_of.find("INSECURE: nobody signed this") != std::string::npos);
    REQUIRE(anchor.all().size() == 1);
    CHECK(**anchored_head(signer, anchor) == head);
    auto other = *signed_one;
    other.signature.push_back(std::byte{1});
    CHECK(verify_head(signer, other).error() == errc::forbidden);
    other = *signed_one;
    other.key_id.clear();
    CHECK(verify_head(signer, other).error() == errc::unauthorised);
}
