// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Two replicas meet without their authority: they tell what they hold, hand over what the other lacks, and show it.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/envelope.hpp>
#include <syncline/replica/protocol.hpp>
#include <syncline/replica/ranges.hpp>
#include <syncline/replica/relay.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/scope_index.hpp>
#include <syncline/replica/scopes.hpp>
#include <syncline/storage/storage.hpp>
#include <syncline/transport/transport.hpp>

namespace syncline::inline SYNCLINE_ABI {

inline constexpr std::size_t peer_authors_max = 4'096;    ///< replicas of one message
inline constexpr std::size_t peer_envelopes_max = 4'096;  ///< envelopes of one message

/// What one replica says to another: what it holds, and what of it the other lacks. Both ways it is the same message, and
/// any of them may be lost, doubled or come late: what it brings is a set that grows.
struct peer_message {
    replica_id replica{};
    std::string realm{};
    std::optional<id128> epoch{};  ///< of the authority; the positions below are its
    position cursor = 0;
    std::vector<held_of_author> held{};  ///< in the order of authors
    std::vector<handed_envelope> envelopes{};
    bool more = false;                 ///< the other lacks more than is in this message
    std::optional<bytes> rows_from{};  ///< confirmed rows are wanted, of the records from this key on
    std::vector<row_update> rows{};    ///< confirmed after the cursor of the one who asked
    std::optional<bytes> rows_next{};  ///< where the rows go on; nothing: they were told to the end, or not at all
    std::vector<scope> scopes{};       ///< of which rows are wanted, of who holds scopes; in order
    std::vector<scope_run> runs{};     ///< in which of those that were asked for the rows are
    friend bool operator==(peer_message const&, peer_message const&) = default;
};

namespace detail {

inline constexpr std::array<std::byte, 3> peer_magic{std::byte{'S'}, std::byte{'Y'}, std::byte{'P'}};

[[nodiscard]] inline std::vector<held_of_author> decode_held(cbor_reader& in) {
    std::vector<held_of_author> all;
    std::size_t const n = in.array();
    if (n > peer_authors_max) { in.fail({errc::limit, "too many authors"}); }
    for (std::size_t i = 0; i < n && !in.failed(); ++i) {
        if (in.array() != 3) { in.fail({errc::malformed, "what is held of the wrong length"}); }
        held_of_author h;
        h.author = read_replica(in);
        h.home = in.unsigned_integer();
        h.held = decode_interval_set(in);
        if (!all.empty() && !(all.back().author < h.author)) {
            in.fail({errc::not_deterministic, "authors out of order"});
        }
        all.push_back(std::move(h));
    }
    return all;
}

/// What a list says of one replica; nothing where it doesn't name it.
[[nodiscard]] inline held_of_author const* held_in(std::vector<held_of_author> const& all,
                                                   replica_id const& who) noexcept {
    auto const at = std::lower_bound(all.begin(), all.end(), who,
                                     [](held_of_author const& h, replica_id const& w) { return h.author < w; });
    return at != all.end() && at->author == who ? &*at : nullptr;
}
/// Adds what another list says.
inline void merge_held(std::vector<held_of_author>& all, held_of_author const& one) {
    auto const at = std::lower_bound(all.begin(), all.end(), one.author,
                                     [](held_of_author const& h, replica_id const& w) { return h.author < w; });
    if (at == all.end() || at->author != one.author) {
        all.insert(at, one);
        return;
    }
    at->home = (std::max)(at->home, one.home);
    (void)at->held.merge(one.held);
}

}  // namespace detail

/// Whether a message is one of these, so that a host may hand it to whom it is for.
[[nodiscard]] inline bool is_peer_message(bytes_view message) noexcept {
    return message.size() >= frame_bytes && starts_with(message, detail::peer_magic);
}

/// A frame like that of a request, under "SYP"; the body is a map: 1 replica, 2 realm, 3 epoch, 4 cursor, 5 held, 6
/// envelopes, 7 more, 8 rows from, 9 rows, 10 rows go on at, 11 scopes, 12 the runs of rows in them.
[[nodiscard]] inline bytes encode(peer_message const& m) {
    bytes out(frame_bytes);
    cbor_writer w{out};
    w.map(std::size_t{5} + (m.epoch ? 1 : 0) + (m.more ? 1 : 0) + (m.rows_from ? 1 : 0) + (m.rows.empty() ? 0 : 1) +
          (m.rows_next ? 1 : 0) + (m.scopes.empty() ? 0 : 1) + (m.runs.empty() ? 0 : 1));
    w.unsigned_integer(1);
    w.byte_string(to_array(m.replica));
    w.unsigned_integer(2);
    w.text(m.realm);
    if (m.epoch) {
        w.unsigned_integer(3);
        w.byte_string(m.epoch->bytes);
    }
    w.unsigned_integer(4);
    w.unsigned_integer(m.cursor);
    w.unsigned_integer(5);
    w.array(m.held.size());
    for (held_of_author const& h : m.held) {
        w.array(3);
        w.byte_string(to_array(h.author));
        w.unsigned_integer(h.home);
        encode_interval_set(w, h.held);
    }
    w.unsigned_integer(6);
    w.array(m.envelopes.size() * 2);
    for (handed_envelope const& e : m.envelopes) {
        w.unsigned_integer(e.clear);
        w.byte_string(e.sealed);
    }
    if (m.more) {
        w.unsigned_integer(7);
        w.boolean(true);
    }
    if (m.rows_from) {
        w.unsigned_integer(8);
        w.byte_string(*m.rows_from);
    }
    if (!m.rows.empty()) {
        w.unsigned_integer(9);
        w.array(m.rows.size());
        bytes one;
        for (row_update const& u : m.rows) {
            one.clear();
            cbor_writer state{one};
            encode_row(state, u.state);
            encode_row_update(w, u.key.collection, u.key.id, one);
        }
    }
    if (m.rows_next) {
        w.unsigned_integer(10);
        w.byte_string(*m.rows_next);
    }
    if (!m.scopes.empty()) {
        w.unsigned_integer(11);
        w.array(m.scopes.size() * 2);
        for (scope const& s : m.scopes) { detail::encode_scope(w, s); }
    }
    if (!m.runs.empty()) {
        w.unsigned_integer(12);
        detail::encode_scope_runs(w, m.runs);
    }
    detail::seal_frame(out, detail::peer_magic);
    return out;
}

/// Reads a stranger's. Errors as of `decode_request`. Whose the envelopes are is not looked at.
[[nodiscard]] inline result<peer_message> decode_peer_message(bytes_view message, decode_limits const& limits = {}) {
    auto const body = detail::open_frame(message, detail::peer_magic);
    if (!body) { return body.error(); }
    peer_message m;
    unsigned seen = 0;
    cbor_reader in{*body, limits};
    auto const ok = detail::read_body(in, [&](std::uint64_t key) {
        if (key <= 12) { seen |= 1U << key; }
        auto const bound = [&] {
            bytes b = to_bytes(in.byte_string());
            if (b.size() > range_bound_bytes_max) { in.fail({errc::malformed, "bound of rows"}); }
            return b;
        };
        switch (key) {
            case 1: m.replica = detail::read_replica(in); return true;
            case 2:
                m.realm = std::string{in.text()};
                if (m.realm.size() > envelope_name_max) { in.fail({errc::limit, "realm"}); }
                return true;
            case 3: m.epoch = detail::read_id(in); return true;
            case 4: m.cursor = in.unsigned_integer(); return true;
            case 5: m.held = detail::decode_held(in); return true;
            case 6: {
                std::size_t const n = in.array();
                if (n % 2 != 0) { in.fail({errc::malformed, "envelopes of the wrong length"}); }
                if (n / 2 > peer_envelopes_max) { in.fail({errc::limit, "too many envelopes"}); }
                for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
                    handed_envelope e;
                    e.clear = in.unsigned_integer();
                    e.sealed = to_bytes(in.byte_string());
                    m.envelopes.push_back(std::move(e));
                }
                return true;
            }
            case 7:
                m.more = in.boolean();
                if (!in.failed() && !m.more) { in.fail({errc::not_deterministic, "nothing more, said at length"}); }
                return true;
            case 8: m.rows_from = bound(); return true;
            case 9: {
                std::size_t const n = detail::bounded_array(in);
                if (!in.failed() && n == 0) { in.fail({errc::not_deterministic, "no rows, said at length"}); }
                for (std::size_t i = 0; i < n && !in.failed(); ++i) { m.rows.push_back(detail::decode_row_update(in)); }
                return true;
            }
            case 10: m.rows_next = bound(); return true;
            case 11: {
                std::size_t const n = in.array();
                if (!in.failed() && (n == 0 || n % 2 != 0)) {
                    in.fail({errc::malformed, "scopes of the wrong length"});
                }
                if (n / 2 > scopes_max) { in.fail({errc::limit, "too many scopes"}); }
                for (std::size_t i = 0; i < n / 2 && !in.failed(); ++i) {
                    m.scopes.push_back(detail::decode_scope(in));
                    if (i != 0 && !(m.scopes[i - 1] < m.scopes[i])) {
                        in.fail({errc::not_deterministic, "scopes out of order"});
                    }
                }
                return true;
            }
            case 12:
                m.runs = detail::decode_scope_runs(in);
                if (!in.failed() && m.runs.empty()) { in.fail({errc::not_deterministic, "no runs, said at length"}); }
                return true;
            default: return false;
        }
    });
    if (!ok) { return ok.error(); }
    constexpr unsigned needed = 0b1110110;
    if ((seen & needed) != needed) { return failure{errc::malformed, "a part of the message is missing"}; }
    for (row_update const& u : m.rows) {
        if (u.state.fields.empty()) { continue; }
        if (auto fields = validate_fields(u.state.fields, limits); !fields) { return fields.error(); }
    }
    return m;
}

/// One meeting of two replicas, of the one who asks and of the one who answers.
///
/// Who asks: `ask`, commit, send; with the answer `take`, commit; until `done`. Who answers: `answer`, commit, send. What is
/// handed over leaves after the commit that froze it, and where that alone does not last, after the store's barrier. The
/// object keeps only what was heard in this meeting: after a failure a new meeting goes on where the other stands.
/// `principal` is whom the host has authenticated at the other end; empty where nobody was.
/// Cost: of a message a seal for each of the own mutations in it, a few storage operations an envelope.
template <class Replica, envelope_sealer Sealer = no_seal>
class peer_exchange {
public:
    /// It refers to both.
    peer_exchange(Replica const& self, Sealer& sealer) : self_(self), sealer_(sealer) {}

    /// The next message of who asks. Errors: the storage's, the sealer's; `errc::invalid` without
    /// `replica_options::relay`.
    template <storage_transaction Tx>
    [[nodiscard]] result<bytes> ask(Tx& tx, instant now) {
        auto m = begin(tx, now);
        if (!m) { return m.error(); }
        relay_options const& o = self_.carried().options();
        if (o.trust_rows && m->epoch && !rows_done_) {
            if (auto ok = want_rows(tx, *m); !ok) { return ok.error(); }
        }
        if (heard_) {
            // Once each in a meeting: what the other would not have the first time it won't the second.
            auto theirs = *heard_;
            for (held_of_author const& h : given_) { detail::merge_held(theirs, h); }
            if (auto ok = hand(tx, theirs, *m, &given_); !ok) { return ok.error(); }
        }
        for (held_of_author const& h : left_out_) { detail::merge_held(m->held, h); }
        return encode(*m);
    }

    /// Takes in the answer. `message` is a stranger's. Errors, all to be rolled back: those of `decode_peer_message`;
    /// `errc::forbidden` for another realm; the storage's.
    template <storage_transaction Tx>
    [[nodiscard]] result<handed_report> take(Tx& tx, bytes_view message, std::string_view principal, instant now) {
        auto m = read(message);
        if (!m) { return m.error(); }
        auto state = self_.meeting(tx);
        if (!state) { return state.error(); }
        bool const same_epoch = state->epoch && m->epoch && *state->epoch == *m->epoch;
        auto report = self_.take_envelopes(tx, m->envelopes, {m->replica, principal, same_epoch}, now);
        if (!report) { return report; }
        hear_rows(*m, same_epoch && self_.carried().options().trust_rows);
        if (rows_done_ && !rows_.empty()) {
            auto rows = self_.take_peer_rows(tx, rows_, rows_at_, now, members_);
            rows_.clear();
            members_.clear();
            if (!rows) { return rows; }
            report->rows = rows->rows;
            report->changed += rows->changed;
        }
        for (dot const& d : report->left_out) { note(left_out_, d); }
        // More may follow only what was new: who tells the same again and again is left.
        bool const went_on = report->added != 0 || !report->left_out.empty();
        heard_ = std::move(m->held);
        auto theirs = *heard_;
        for (held_of_author const& h : given_) { detail::merge_held(theirs, h); }
        auto const gives = lacks(tx, theirs);
        if (!gives) { return gives.error(); }
        done_ = !(m->more && went_on) && !*gives && rows_done_;
        return report;
    }
    /// Whether neither lacks what the other holds, but for what one of them would not have.
    [[nodiscard]] bool done() const noexcept { return done_; }

    /// Answers who asks: takes what is brought, and tells what they lack. Errors as of `take` and `ask`. It needs no memory of
    /// the meeting. Of what it took `report` tells, where it isn't null.
    template <storage_transaction Tx>
    [[nodiscard]] result<bytes> answer(Tx& tx, bytes_view message, std::string_view principal, instant now,
                                       handed_report* report = nullptr) const {
        auto q = read(message);
        if (!q) { return q.error(); }
        auto m = begin(tx, now);
        if (!m) { return m.error(); }
        bool const same_epoch = m->epoch && q->epoch && *m->epoch == *q->epoch;
        auto taken = self_.take_envelopes(tx, q->envelopes, {q->replica, principal, same_epoch}, now);
        if (!taken) { return taken.error(); }
        if (report != nullptr) { *report = std::move(*taken); }
        auto held = all_held(tx);
        if (!held) { return held.error(); }
        m->held = std::move(*held);
        if (auto ok = hand(tx, q->held, *m, nullptr); !ok) { return ok.error(); }
        bool tells = q->rows_from && self_.carried().options().trust_rows && same_epoch && m->cursor > q->cursor;
        if (tells) {
            auto const stands = self_.status_of(tx);
            if (!stands) { return stands.error(); }
            tells = stands->complete;  // what is told in part has parts of groups
        }
        if (tells) {
            if (auto ok = tell_rows(tx, *q, principal, *m); !ok) { return ok.error(); }
        }
        return encode(*m);
    }

private:
    [[nodiscard]] result<peer_message> read(bytes_view message) const {
        auto m = decode_peer_message(message, self_.options().message);
        if (!m) { return m; }
        if (m->realm != self_.carried().options().realm) { return failure{errc::forbidden, "of another realm"}; }
        return m;
    }
    /// Keeps the rows that were told until all are, of one state of the peer: in another a group stands elsewhere.
    void hear_rows(peer_message& m, bool trusted) {
        if (rows_done_) { return; }
        bool const moved = rows_at_ != m.cursor;
        bool const begins = rows_from_.empty();
        rows_at_ = m.cursor;
        if (moved && !begins) {
            rows_.clear();
            members_.clear();
            rows_bytes_ = 0;
            rows_from_.clear();
            rows_done_ = ++rows_again_ == 3;
            return;
        }
        std::size_t run = 0;
        std::uint64_t of_run = 0;
        for (row_update& u : m.rows) {
            if (!trusted) { break; }
            std::vector<std::uint64_t>& in = members_.emplace_back();
            if (run < m.runs.size()) {
                for (std::uint64_t const i : m.runs[run].members) {
                    if (i < scopes_.size()) { in.push_back(scopes_[static_cast<std::size_t>(i)].number); }
                }
                rows_bytes_ += 8 * in.size();
                if (++of_run == m.runs[run].rows) {
                    ++run;
                    of_run = 0;
                }
            }
            rows_bytes_ += u.state.fields.size() + u.key.collection.size() + u.key.id.size() + 64;
            rows_.push_back(std::move(u));
        }
        rows_done_ = !m.rows_next || compare(*m.rows_next, rows_from_) <= 0;
        if (rows_bytes_ > self_.carried().options().rows_bytes_max) {
            rows_.clear();
            members_.clear();
            rows_done_ = true;
        }
        if (!rows_done_) { rows_from_ = *m.rows_next; }
    }
    static void note(std::vector<held_of_author>& all, dot const& d) {
        held_of_author one{d.replica, 0, {}};
        one.held.add(d.sequence);
        detail::merge_held(all, one);
    }

    template <class Tx>
    [[nodiscard]] result<std::vector<held_of_author>> all_held(Tx& tx) const {
        auto all = self_.carried().summary(tx);
        if (!all) { return all.error(); }
        auto state = self_.meeting(tx);
        if (!state) { return state.error(); }
        detail::merge_held(*all, state->own);
        return all;
    }
    /// A message that says where this replica stands, and no more.
    template <class Tx>
    [[nodiscard]] result<peer_message> begin(Tx& tx, instant now) const {
        if (auto ok = self_.prepare_handover(tx, now); !ok) { return ok.error(); }
        auto state = self_.meeting(tx);
        if (!state) { return state.error(); }
        peer_message m;
        m.replica = state->self;
        m.realm = self_.carried().options().realm;
        m.epoch = state->epoch;
        m.cursor = state->cursor;
        auto held = all_held(tx);
        if (!held) { return held.error(); }
        m.held = std::move(*held);
        return m;
    }

    /// What of `mine` another lacks who holds `theirs`; nobody is handed what is home.
    [[nodiscard]] static interval_set lacking(held_of_author const& mine, std::vector<held_of_author> const& theirs) {
        auto const* const other = detail::held_in(theirs, mine.author);
        interval_set has = other == nullptr ? interval_set{} : other->held;
        std::uint64_t const home = (std::max)(mine.home, other == nullptr ? 0 : other->home);
        if (home != 0) { has.add(interval{1, home}); }
        return mine.held.difference(has);
    }
    template <class Tx>
    [[nodiscard]] result<bool> lacks(Tx& tx, std::vector<held_of_author> const& theirs) const {
        auto const held = all_held(tx);
        if (!held) { return held.error(); }
        return std::any_of(held->begin(), held->end(),
                           [&](held_of_author const& mine) { return !lacking(mine, theirs).empty(); });
    }

    /// Puts in a message what another lacks who holds `theirs`: of the own first, then of each that is carried, in the
    /// order of sequences. What is put in is noted in `given`, where that isn't null.
    template <class Tx>
    [[nodiscard]] status hand(Tx& tx, std::vector<held_of_author> const& theirs, peer_message& m,
                              std::vector<held_of_author>* given) const {
        relay_options const& o = self_.carried().options();
        std::size_t size = 0;
        auto const fits = [&](std::size_t one) {
            return m.envelopes.size() < (std::min)(o.page_max, peer_envelopes_max) &&
                   (m.envelopes.empty() || size + one <= o.page_bytes);
        };
        auto const put = [&](dot const& id, position clear, bytes&& sealed) {
            size += sealed.size();
            m.envelopes.push_back({clear, std::move(sealed)});
            if (given != nullptr) { note(*given, id); }
        };
        auto const state = self_.meeting(tx);
        if (!state) { return state.error(); }
        interval_set const own = lacking(state->own, theirs);
        if (!own.empty()) {
            status outcome;
            auto ok = self_.each_own(tx, [&](std::uint64_t sequence, envelope const& e) {
                if (!own.contains(sequence)) { return true; }
                if (!fits(0)) {
                    m.more = true;
                    return false;
                }
                auto sealed = seal(e, sealer_);
                if (!sealed && sealed.error() == errc::limit) {  // it goes by its author alone
                    if (given != nullptr) { note(*given, {state->self, sequence}); }
                    return true;
                }
                if (!sealed) {
                    outcome = sealed.error();
                    return false;
                }
                if (!fits(sealed->size())) {
                    m.more = true;
                    return false;
                }
                put({state->self, sequence}, state->cursor, std::move(*sealed));
                return true;
            });
            if (!ok || !outcome) { return ok ? outcome : ok; }
        }
        auto const carried = self_.carried().summary(tx);
        if (!carried) { return carried.error(); }
        for (held_of_author const& mine : *carried) {
            interval_set const rest = lacking(mine, theirs);
            if (rest.empty()) { continue; }
            if (m.more) { return {}; }
            auto ok =
                self_.carried().scan(tx, {mine.author, rest.intervals().front().first}, [&](carried_envelope const& c) {
                    if (c.id.replica != mine.author) { return false; }
                    if (!rest.contains(c.id.sequence) || c.decided) { return true; }
                    if (!fits(c.sealed.size())) {
                        m.more = true;
                        return false;
                    }
                    put(c.id, c.clear, bytes(c.sealed));
                    return true;
                });
            if (!ok) { return ok; }
        }
        return {};
    }

    /// Asks for rows; of who holds scopes, of these, as they were when the meeting began.
    template <class Tx>
    [[nodiscard]] status want_rows(Tx& tx, peer_message& m) {
        if (self_.options().scoped) {
            if (!heard_) {
                auto held = self_.shared_scopes(tx);
                if (!held) { return held.error(); }
                scopes_ = std::move(*held);
                std::sort(scopes_.begin(), scopes_.end(),
                          [](held_scope const& a, held_scope const& b) { return a.what < b.what; });
            }
            rows_done_ = scopes_.empty();
            if (rows_done_) { return {}; }
            for (held_scope const& h : scopes_) { m.scopes.push_back(h.what); }
        }
        m.rows_from = rows_from_;
        return {};
    }
    /// Whether rows may be told to who asks: nobody holds scopes, or both do, and all that are asked for are held here and
    /// may be held there. Else a group might be told in half. `numbers` has the own number of each, in their order.
    template <class Tx>
    [[nodiscard]] result<bool> shares(Tx& tx, peer_message const& q, std::string_view principal,
                                      std::vector<std::uint64_t>& numbers) const {
        if (!self_.options().scoped) { return q.scopes.empty(); }
        auto const held = self_.shared_scopes(tx);
        if (!held) { return held.error(); }
        scope_table const* const table = self_.carried().options().scopes;
        for (scope const& s : q.scopes) {
            auto const at = std::find_if(held->begin(), held->end(), [&](held_scope const& h) { return h.what == s; });
            if (at == held->end() || (table != nullptr && !table->permits(principal, s))) { return false; }
            numbers.push_back(at->number);
        }
        return !numbers.empty();
    }
    template <class Tx>
    [[nodiscard]] status tell_rows(Tx& tx, peer_message const& q, std::string_view principal, peer_message& m) const {
        relay_options const& o = self_.carried().options();
        record_range const rest{*q.rows_from, key_space_end()};
        if (!valid(rest)) { return {}; }
        std::vector<std::uint64_t> numbers;
        auto const may = shares(tx, q, principal, numbers);
        if (!may) { return may.error(); }
        if (!*may) { return {}; }
        bool const scoped = self_.options().scoped;
        status outcome;
        std::size_t looked = 0;
        std::size_t size = 0;
        auto const ok = self_.scan_confirmed(tx, rest, [&](record_key const& k, row const& r) {
            if (looked++ >= o.rows_max || size >= o.page_bytes) {
                m.rows_next = to_bytes(k);
                return false;
            }
            if (r.version <= q.cursor) { return true; }
            if (scoped) {
                auto const in = self_.scopes_of(tx, k);
                if (!in) { outcome = in.error(); }
                if (!in) { return false; }
                std::vector<std::uint64_t> members;
                for (std::size_t i = 0; i < numbers.size(); ++i) {
                    if (std::binary_search(in->begin(), in->end(), numbers[i])) { members.push_back(i); }
                }
                if (members.empty()) { return true; }
                if (!m.runs.empty() && m.runs.back().members == members) {
                    ++m.runs.back().rows;
                } else {
                    m.runs.push_back({1, std::move(members)});
                }
            }
            size += r.fields.size() + k.id.size() + k.collection.size();
            m.rows.push_back({k, r});
            return true;
        });
        return ok ? outcome : ok;
    }

    Replica const& self_;
    Sealer& sealer_;
    std::optional<std::vector<held_of_author>> heard_{};
    std::vector<held_of_author> given_{};
    std::vector<held_of_author> left_out_{};
    bytes rows_from_{};
    std::vector<held_scope> scopes_{};  ///< of which rows are asked for, in order
    std::vector<row_update> rows_{};
    std::vector<std::vector<std::uint64_t>> members_{};  ///< of each the numbers of its scopes
    std::size_t rows_bytes_ = 0;
    position rows_at_ = 0;  ///< where the peer stood that tells them
    unsigned rows_again_ = 0;
    bool rows_done_ = false;
    bool done_ = false;
};

/// How a meeting went.
struct meeting_report {
    std::size_t messages = 0;         ///< asked
    handed_report taken{};            ///< what the other brought, in sum; `left_out` of the last message
    std::optional<failure> failed{};  ///< what ended it, if it did not come to its end
};

/// Answers one message of a meeting over a store: begins, answers, commits, and makes it durable before it returns.
template <storage S, class Replica, envelope_sealer Sealer>
[[nodiscard]] result<bytes> serve_peer(S& store, peer_exchange<Replica, Sealer> const& e, std::string_view principal,
                                       bytes_view message, instant now, handed_report* report = nullptr) {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto answer = e.answer(*tx, message, principal, now, report);
    if (!answer) { return answer.error(); }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    if (store.commit_durability() == durability::ordered) {
        if (auto ok = store.barrier(); !ok) { return ok.error(); }
    }
    return answer;
}

/// Meets another replica over a transport that completes before `exchange` returns, until neither lacks what the other
/// holds. `principal` is whom the host has authenticated there. Begins and commits its own transactions.
/// Errors: the own store's and sealer's; what was committed stays. What fails at the other end, or on the way, is in the
/// report.
template <storage S, transport T, class Replica, envelope_sealer Sealer>
[[nodiscard]] result<meeting_report> meet(S& store, peer_exchange<Replica, Sealer>& e, T& way,
                                          std::string_view principal, instant now) {
    meeting_report report;
    while (!e.done()) {
        result<bytes> question = errc::busy;
        {
            auto tx = store.begin(access_mode::write);
            if (!tx) { return tx.error(); }
            question = e.ask(*tx, now);
            if (!question) { return question.error(); }
            if (auto ok = tx->commit(); !ok) { return ok.error(); }
        }
        if (store.commit_durability() == durability::ordered) {
            if (auto ok = store.barrier(); !ok) { return ok.error(); }
        }
        result<bytes> reply = errc::cancelled;
        auto take = [&](transport_reply const& r) {
            reply = r.message ? result<bytes>{to_bytes(*r.message)} : result<bytes>{r.message.error()};
        };
        ++report.messages;
        way.exchange(*question, completion::to(take));
        if (!reply) {
            report.failed = reply.error();
            return report;
        }
        auto tx = store.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto taken = e.take(*tx, *reply, principal, now);
        if (!taken) {
            report.failed = taken.error();
            return report;
        }
        if (auto ok = tx->commit(); !ok) { return ok.error(); }
        report.taken.added += taken->added;
        report.taken.known += taken->known;
        report.taken.full += taken->full;
        report.taken.refused += taken->refused;
        report.taken.forked += taken->forked;
        report.taken.distant += taken->distant;
        report.taken.rows += taken->rows;
        report.taken.changed += taken->changed;
        report.taken.left_out = std::move(taken->left_out);
    }
    return report;
}

}  // namespace syncline::inline SYNCLINE_ABI
