// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Who may change what: rules by collection and role, asked for each mutation when it is decided. What no rule allows is
/// refused.

#include <algorithm>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/validation.hpp>

namespace syncline::inline SYNCLINE_ABI {

/// Something that an access rule allows. Rules add up: they never take anything away.
struct access_rule {
    std::string collection{};  ///< empty: every one
    std::string role{};        ///< whose; empty: everybody's who is authenticated
    bool creates = false;
    bool updates = false;
    bool erases = false;
    std::vector<std::string> fields{};  ///< that a creation or update may touch by this rule; empty: all
    /// A field whose text must be the principal's name: of the record before the change, and after it. So nobody takes
    /// what is another's, gives theirs away or creates in another's name by this rule. Empty: not asked.
    std::string owner{};
};

/// Which principal has which role; asked at each decision, so that a role that is taken away counts at once, for what
/// was written before and arrives later too.
struct role_source {
    bool (*has)(std::string_view principal, std::string_view role,
                void const* data) = nullptr;  ///< null: nobody has any
    void const* data = nullptr;               ///< the host's own, handed to `has`
};

/// A policy that also answers before a mutation is applied: what it refuses there learns nothing of the record, not
/// even by another refusal, an overruling or a conflict.
///
/// | expression | result | meaning |
/// |---|---|---|
/// | p.admits(principal, m, before) | validation | whether the principal may make such a change to the record at all |
/// Field names are those of the newest schema version.
template <class P>
concept admitting_policy = requires(P const& p, std::string_view principal, mutation const& m,
                                    std::optional<row> const& before) {
    { p.admits(principal, m, before) } -> std::same_as<validation>;
};

/// Refuses what no rule allows, with `errc::forbidden` and a text that says what was missing. An authority's `Validate`.
///
/// A change is allowed when some rule allows its kind, and each field that it touches is allowed by such a rule. What a
/// guard repairs and what a deletion takes along is the authority's doing, and not asked for.
/// `then` is a policy of the host's own, asked of what the rules allow.
/// Cost: rules times fields touched; a question to the role source for each rule of the collection.
template <class Then = accept_all>
class access_policy {
public:
    explicit access_policy(std::vector<access_rule> rules, role_source roles = {}, Then then = {})
        : rules_(std::move(rules)), roles_(roles), then_(std::move(then)) {}

    [[nodiscard]] validation admits(std::string_view principal, mutation const& m,
                                    std::optional<row> const& before) const {
        validation said = permits(principal, m, before, nullptr);
        if constexpr (admitting_policy<Then>) {
            if (said.accepted) { return then_.admits(principal, m, before); }
        }
        return said;
    }
    [[nodiscard]] validation operator()(validation_input const& in) const {
        validation said = permits(in.principal, in.change, in.before, &in.after);
        return said.accepted ? then_(in) : said;
    }

private:
    [[nodiscard]] static bool allows(access_rule const& r, change_kind k) noexcept {
        switch (k) {
            case change_kind::create: return r.creates;
            case change_kind::update: return r.updates;
            case change_kind::erase: return r.erases;
            case change_kind::group: break;  // asked for each of its parts
        }
        return false;
    }
    [[nodiscard]] static char const* verb(change_kind k) noexcept {
        switch (k) {
            case change_kind::create: return "create";
            case change_kind::update: return "change";
            case change_kind::erase: return "delete";
            case change_kind::group: break;
        }
        return "touch";
    }
    [[nodiscard]] static bool owns(std::string const& field, std::string_view principal, row const& r) {
        if (r.fields.empty()) { return false; }
        auto const found = map_find(r.fields, field);
        if (!found || !*found || cbor_reader{**found}.peek() != cbor_type::text) { return false; }
        return cbor_reader{**found}.text() == principal;
    }

    [[nodiscard]] validation permits(std::string_view principal, mutation const& m, std::optional<row> const& before,
                                     row const* after) const {
        std::vector<access_rule const*> matching;
        for (access_rule const& r : rules_) {
            if (!allows(r, m.kind) || (!r.collection.empty() && r.collection != m.record.collection)) { continue; }
            if (!r.role.empty() && (roles_.has == nullptr || !roles_.has(principal, r.role, roles_.data))) { continue; }
            if (!r.owner.empty()) {
                bool const there = before && !before->deleted;
                if (there && !owns(r.owner, principal, *before)) { continue; }
                if (!there && m.kind != change_kind::create && after == nullptr) { continue; }
                if (after != nullptr && !after->deleted && !owns(r.owner, principal, *after)) { continue; }
            }
            matching.push_back(&r);
        }
        if (matching.empty()) {
            return {false, errc::forbidden, std::string{"may not "} + verb(m.kind) + " this of " + m.record.collection};
        }
        for (field_op const& op : m.ops) {
            bool const free = std::any_of(matching.begin(), matching.end(), [&](access_rule const* r) {
                return r->fields.empty() || std::find(r->fields.begin(), r->fields.end(), op.field) != r->fields.end();
            });
            if (!free) { return {false, errc::forbidden, "may not set " + op.field + " in " + m.record.collection}; }
        }
        return {};
    }

    std::vector<access_rule> rules_;
    role_source roles_;
    SYNCLINE_NO_UNIQUE_ADDRESS Then then_;
};

}  // namespace syncline::inline SYNCLINE_ABI
