// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Mistakes that are planted in an exploration of small scopes, by patching what a node has stored or by acting on a
/// commit that failed: each has to be found.

#include <algorithm>
#include <iterator>
#include <vector>

#include <syncline/testing/small_scopes.hpp>

namespace planted {

using namespace syncline;
using testing::nothing_planted;
using testing::scope_image;
using testing::scopes::raw_sync;

inline bool of_kind(bytes_view key, std::string_view kind) { return starts_with(key, as_bytes(kind)); }

inline void drop(scope_image& image, std::string_view kind) {
    for (auto at = image.begin(); at != image.end();) {
        at = of_kind(at->first, kind) ? image.erase(at) : std::next(at);
    }
}
template <class F>
void edit_sync(scope_image& image, F&& f) {
    if (auto s = raw_sync::read(image)) {
        f(*s);
        s->write(image);
    }
}

/// A write is acknowledged before its commit, which fails.
struct acknowledged_too_early : nothing_planted {
    static constexpr bool acknowledges_what_fails = true;
};
/// A reply leaves before the commit of its verdicts, which fails.
struct answered_too_early : nothing_planted {
    static constexpr bool replies_to_what_fails = true;
};
/// A cursor goes one further than its page, where there is more.
struct cursor_too_far : nothing_planted {
    static void after_reply(scope_image const& before, scope_image& image) {
        auto const was = raw_sync::read(before);
        edit_sync(image, [&](raw_sync& s) {
            if (was && s.cursor > was->cursor && s.cursor < s.head) { ++s.cursor; }
        });
    }
};
/// The authority forgets that it decided what has no receipt yet.
struct decided_again : nothing_planted {
    static void before_answer(scope_image& image) {
        drop(image, "av");
        for (auto& [k, v] : image) {
            if (!of_kind(k, "au")) { continue; }
            cbor_reader in{v};
            (void)in.array();
            std::uint64_t const index = in.unsigned_integer();
            std::string const principal{in.text()};
            (void)in.unsigned_integer();
            std::uint64_t const receipts = in.unsigned_integer();
            bytes raw;
            cbor_writer w{raw};
            w.array(4);
            w.unsigned_integer(index);
            w.text(principal);
            w.unsigned_integer(receipts);
            w.unsigned_integer(receipts);
            v = raw;
        }
    }
};
/// The authority keeps no verdicts.
struct verdicts_dropped : nothing_planted {
    static void before_answer(scope_image& image) { drop(image, "av"); }
};
/// A deleted record leaves no tombstone.
struct tombstone_dropped : nothing_planted {
    static void after_answer(scope_image const&, scope_image& image) {
        for (auto at = image.begin(); at != image.end();) {
            bool dead = false;
            if (of_kind(at->first, "ar")) {
                cbor_reader in{at->second};
                row const r = decode_row(in);
                dead = r.deleted;
                if (dead) {
                    bytes position = to_bytes(as_bytes("ap"));
                    append_u64(position, r.version);
                    image.erase(position);
                }
            }
            at = dead ? image.erase(at) : std::next(at);
        }
    }
};
/// A reply is taken as if nothing had been held before.
struct replay_taken : nothing_planted {
    static void before_reply(scope_image& image, bytes_view message) {
        auto const p = decode_reply(message);
        if (!p) { return; }
        edit_sync(image, [&](raw_sync& s) { s.cursor = (std::min)(s.cursor, p->from); });
        for (auto at = image.begin(); at != image.end();) {
            bool clean = false;
            if (of_kind(at->first, "rv")) {
                auto const held = stored_records::parse(at->second);
                clean = held && !held->pending;
            }
            at = clean ? image.erase(at) : std::next(at);
        }
    }
    static void after_reply(scope_image const& before, scope_image& image) {
        auto const was = raw_sync::read(before);
        edit_sync(image, [&](raw_sync& s) {
            s.cursor = (std::max)(s.cursor, was->cursor);
            s.head = (std::max)(s.head, was->head);
        });
        for (auto const& [k, v] : before) {
            if (of_kind(k, "rv")) { image.emplace(k, v); }
        }
    }
};
/// A mutation that was decided is not shown until its row comes.
struct decided_forgotten : nothing_planted {
    static void after_reply(scope_image const&, scope_image& image) { drop(image, "rh"); }
};
/// The clock is not stored with a write.
struct clock_not_kept : nothing_planted {
    static void after_write(scope_image const& before, scope_image& image) {
        drop(image, "rt");
        for (auto const& [k, v] : before) {
            if (of_kind(k, "rt")) { image[k] = v; }
        }
    }
};
/// A sequence is given and not marked as given.
struct sequence_given_twice : nothing_planted {
    static void after_request(scope_image const& before, scope_image& image) {
        auto const was = raw_sync::read(before);
        edit_sync(image, [&](raw_sync& s) { s.next = was->next; });
    }
};
/// An event is not stored with its change.
struct event_lost : nothing_planted {
    static void after_reply(scope_image const&, scope_image& image) { drop(image, "re"); }
};
/// The confirmed row is not kept beside what is pending.
struct base_lost : nothing_planted {
    static void after_write(scope_image const&, scope_image& image) { drop(image, "rb"); }
};

/// One of them, chosen at run time, so that the explorer is compiled once for all.
class mistake {
public:
    template <class Plant>
    mistake(char const* name, testing::scope_oracle by, Plant)
        : acknowledges_what_fails(Plant::acknowledges_what_fails),
          replies_to_what_fails(Plant::replies_to_what_fails),
          name_(name),
          by_(by),
          after_write_(&Plant::after_write),
          after_request_(&Plant::after_request),
          before_answer_(&Plant::before_answer),
          after_answer_(&Plant::after_answer),
          before_reply_(&Plant::before_reply),
          after_reply_(&Plant::after_reply) {}

    [[nodiscard]] char const* name() const { return name_; }
    /// The oracle that finds it.
    [[nodiscard]] testing::scope_oracle by() const { return by_; }

    bool acknowledges_what_fails;
    bool replies_to_what_fails;
    void after_write(scope_image const& before, scope_image& image) const { after_write_(before, image); }
    void after_request(scope_image const& before, scope_image& image) const { after_request_(before, image); }
    void before_answer(scope_image& image) const { before_answer_(image); }
    void after_answer(scope_image const& before, scope_image& image) const { after_answer_(before, image); }
    void before_reply(scope_image& image, bytes_view reply) const { before_reply_(image, reply); }
    void after_reply(scope_image const& before, scope_image& image) const { after_reply_(before, image); }

private:
    char const* name_;
    testing::scope_oracle by_;
    void (*after_write_)(scope_image const&, scope_image&);
    void (*after_request_)(scope_image const&, scope_image&);
    void (*before_answer_)(scope_image&);
    void (*after_answer_)(scope_image const&, scope_image&);
    void (*before_reply_)(scope_image&, bytes_view);
    void (*after_reply_)(scope_image const&, scope_image&);
};

inline std::vector<mistake> all() {
    using testing::scope_oracle;
    return {
        {"acknowledged_too_early", scope_oracle::kept, acknowledged_too_early{}},
        {"answered_too_early", scope_oracle::cursor, answered_too_early{}},
        {"cursor_too_far", scope_oracle::cursor, cursor_too_far{}},
        {"decided_again", scope_oracle::once, decided_again{}},
        {"verdicts_dropped", scope_oracle::truthful, verdicts_dropped{}},
        {"tombstone_dropped", scope_oracle::model, tombstone_dropped{}},
        {"replay_taken", scope_oracle::events, replay_taken{}},
        {"decided_forgotten", scope_oracle::visible, decided_forgotten{}},
        {"clock_not_kept", scope_oracle::order, clock_not_kept{}},
        {"sequence_given_twice", scope_oracle::frozen, sequence_given_twice{}},
        {"event_lost", scope_oracle::events, event_lost{}},
        {"base_lost", scope_oracle::visible, base_lost{}},
    };
}

}  // namespace planted
