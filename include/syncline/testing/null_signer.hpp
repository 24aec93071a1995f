// SPDX-License-Identifier: BSL-1.0
#pragma once

/// A signer that signs nothing, an anchor in memory: for tests and examples, and loud about it.

#include <cstdio>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/audit/head.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/result.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Models `head_signer` and `head_verifier` without a key: anybody makes its "signatures". The key's name and every
/// signature say so in words, and the first use of each object says it on the standard error stream.
class insecure_null_signer {
public:
    static constexpr std::string_view warning = "INSECURE: nobody signed this";

    /// `quiet` is for those who have read the warning, such as a test that compares what is printed.
    explicit insecure_null_signer(bool quiet = false) : warned_(quiet) {}

    [[nodiscard]] bytes_view key_id() noexcept { return as_bytes(warning); }
    [[nodiscard]] status sign(bytes_view, bytes& out) {
        warn();
        out = to_bytes(warning);
        return {};
    }
    [[nodiscard]] status verify(bytes_view key, bytes_view, bytes_view signature) {
        warn();
        if (!equal(key, as_bytes(warning))) { return errc::unauthorised; }
        if (!equal(signature, as_bytes(warning))) { return errc::forbidden; }
        return {};
    }

private:
    void warn() {
        if (warned_) { return; }
        warned_ = true;
        std::fprintf(stderr, "syncline: testing::insecure_null_signer is in use; heads are not signed\n");
    }
    bool warned_;
};
static_assert(head_signer<insecure_null_signer> && head_verifier<insecure_null_signer>);

/// Models `head_anchor` in memory: as safe as the process that holds it.
class memory_anchor {
public:
    [[nodiscard]] status publish(bytes_view head) {
        published_.push_back(to_bytes(head));
        return {};
    }
    [[nodiscard]] result<std::optional<bytes>> latest() const {
        if (published_.empty()) { return std::optional<bytes>{}; }
        return std::optional<bytes>{published_.back()};
    }
    [[nodiscard]] std::vector<bytes> const& all() const noexcept { return published_; }

private:
    std::vector<bytes> published_;
};
static_assert(head_anchor<memory_anchor>);

}  // namespace syncline::inline SYNCLINE_ABI::testing
