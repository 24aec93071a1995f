// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Live connections in a simulated world: devices that pull when they are told to, over connections that break in every way,
/// from an authority that answers many with one commit and is restarted; notes that are kept nowhere, and notices for an app.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <syncline/conflict/presence.hpp>
#include <syncline/core/hash.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>
#include <syncline/replica/notice.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>
#include <syncline/testing/naive_merge.hpp>
#include <syncline/testing/simulated_machine.hpp>
#include <syncline/testing/step_dice.hpp>
#include <syncline/testing/violation.hpp>
#include <syncline/transport/carried.hpp>
#include <syncline/transport/live_frame.hpp>
#include <syncline/transport/live_hub.hpp>
#include <syncline/transport/live_inbox.hpp>
#include <syncline/transport/live_listener.hpp>
#include <syncline/transport/polled.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// What live connections promise, by the names under which a breach is reported.
struct live_promise {
    /// Once the network is well, each device listens and holds everything within a bounded time, though none asks by itself;
    /// and what is written then is everywhere within seconds. No wake-up is lost, nor forgotten where an exchange fails.
    static constexpr char const* prompt = "liveness";
    /// News tell of what is committed; a notice and an event tell of what the device has committed, once each.
    static constexpr char const* told = "true_events";
    /// A reply leaves after the commit that holds what it says, whoever else is in it, and nobody fails for another.
    static constexpr char const* durable = "durable_first";
    /// A note comes from who it says, to those who may hear it, once, as it was said; news are no data.
    static constexpr char const* notes = "authorisation";
    static constexpr char const* ephemeral = "ephemeral";   ///< what nobody says any more is over, at both ends
    static constexpr char const* bounded = "bounded";       ///< what waits is within the hub's options
    static constexpr char const* once = "exactly_once";     ///< each write counts once
    static constexpr char const* same = "convergence";      ///< at rest all hold what the authority holds
    static constexpr char const* honest = "honest_errors";  ///< no call fails but for the storage's reasons
};

struct live_simulation_options {
    std::uint32_t steps = 250;
    bool tell = false;  ///< write the story
    /// A mistake of the authority's host, to show that the judge sees it: it tells of news before it commits them, up to
    /// where it thinks that it will come.
    bool news_before_commit = false;
    step_choice only{};  ///< the steps that are done, each with the dice that it has in the whole life
};
struct live_simulation_report {
    std::uint64_t seed = 0;
    std::uint64_t steps = 0;
    std::uint64_t checks = 0;
    std::uint64_t faults = 0;  ///< storage calls that were made to fail
    std::uint64_t power_cuts = 0;
    std::uint64_t written = 0;
    std::uint64_t together = 0;     ///< requests that shared a commit
    std::uint64_t connections = 0;  ///< that came about
    std::uint64_t broken = 0;       ///< … and broke
    std::uint64_t gaps = 0, news = 0, notes = 0;
    std::uint64_t notices = 0;
    std::uint64_t restarts = 0;  ///< of the authority
    std::uint64_t trace = 0;     ///< of all messages: the same on every machine
    std::vector<violation> found{};
    std::vector<std::string> story{};
};

namespace detail {

class live_world {
public:
    live_world(std::uint64_t seed, live_simulation_options const& o)
        : options_(o), random_(seed * 2'654'435'761U + 80) {
        report_.seed = seed;
    }
    live_world(live_world const&) = delete;
    live_world& operator=(live_world const&) = delete;

    live_simulation_report run(step_dice& dice) {
        begin();
        dice.live(
            options_.steps, options_.only, random_, report_.steps, [&] { return fine(); }, [&] { step(); });
        if (fine()) { end(); }
        for (violation const& v : report_.found) { tell("VIOLATED " + v.axiom + ": " + v.what); }
        return std::move(report_);
    }

private:
    static constexpr std::array<char const*, 4> names{"anna", "ben", "cleo", "dora"};
    static constexpr milliseconds healed_within{240'000};  ///< heartbeats, backoff, budgets and breakers together
    static constexpr milliseconds heard_within{6'000};     ///< the news' spread, and the time that messages take
    static constexpr milliseconds asked_again{20'000};     ///< a reply's timeout, backoff or the news' spread
    static constexpr milliseconds hold{20'000};            ///< of a question for news
    static constexpr milliseconds poll_timeout{30'000};

    /// Refuses what is in the collection of closed things.
    struct doorman {
        validation operator()(validation_input const& in) const {
            if (in.change.record.collection == "closed") { return {false, errc::rejected, "closed"}; }
            return {};
        }
    };
    using home_type = authority<doorman>;

    /// What a device's session tells.
    struct ears : no_notices {
        std::uint64_t conflicts = 0, rejections = 0, syncs = 0, pauses = 0;
        std::uint64_t exchanges = 0;  ///< of all syncs
        bool strange = false;         ///< a pause for another reason
        using no_notices::noticed;
        void noticed(synced const& s) noexcept {
            ++syncs;
            exchanges += s.exchanges;
        }
        void noticed(conflict_opened const&) noexcept { ++conflicts; }
        void noticed(mutation_rejected const&) noexcept { ++rejections; }
        void noticed(sync_paused const& p) noexcept {
            ++pauses;
            strange = strange || !p.for_sign_in();
        }
    };
    using link_type = session<simulated_machine::store_type, random_generator, observer_ref<ears>>;
    using ear_type = live_listener<random_generator>;

    /// A connection, or the session of one that asks for news by questions. Each end has its own opinion of whether it stands.
    struct wire {
        std::uint64_t number = 0;
        std::size_t who = 0;
        bool here = true;   ///< the device
        bool there = true;  ///< the authority's host
        bool deaf = false;  ///< what is sent gets lost, and nobody is told
        live_hub::member member = 0;
        std::vector<bytes> up{}, down{};
        // Of questions for news.
        bool asking = false;
        monotonic_time asked{};
        bool held = false;
        monotonic_time until{};
    };
    struct device {
        std::size_t number = 0;
        std::string name{};
        simulated_machine box{};
        replica self{rules()};
        random_generator random;
        ears screen{};
        std::optional<link_type> link{};
        std::optional<ear_type> ear{};
        presences here{presence_options{.lease_max = milliseconds{60'000}}};
        syncline::detail::live_inbox inbox{};
        std::shared_ptr<wire> way{};
        std::uint64_t question = 0;  ///< of the listener, that is under way; 0: none
        std::optional<monotonic_time> link_due{};
        bool link_paused = false;
        std::optional<monotonic_time> ear_due{};
        bool ear_paused = false;
        bool subscribed = false;
        monotonic_time asleep{};  ///< until then
        bool signed_out = false;
        bool told_of_networks = false;  ///< by its system, when one is back
        std::vector<std::string> marks{};
        /// Of the present session: what was committed, and how often it was told.
        std::map<std::uint64_t, int> told{};
        std::uint64_t took = 0;    ///< replies whose transaction was committed
        std::uint64_t hollow = 0;  ///< … and that were rolled back, with nothing new in them
        std::uint64_t paused = 0;
        std::map<std::uint64_t, verdict_kind> decided{};  ///< committed here, in any life
        std::set<std::uint64_t> told_ever{};
        std::set<std::string> edited{};   ///< records of which a person may have to decide
        std::set<std::uint64_t> heard{};  ///< notes, by their numbers
        position news = 0;                ///< the present session knows of, and no exchange has brought since
        explicit device(std::uint64_t seed) : random(seed) {}
    };
    struct letter {
        std::size_t who = 0;
        bytes message{};
        std::optional<failure> failed{};
        bool stranger = false;
    };
    struct said {
        std::string topic, from;
        live_note_kind kind{};
    };

    [[nodiscard]] static rule_table rules() {
        rule_table table;
        table.add({"things", rule::last_writer, {{"count", rule::counter}, {"note", rule::manual}}});
        return table;
    }
    [[nodiscard]] static bytes integer(std::int64_t n) {
        bytes out;
        cbor_writer{out}.integer(n);
        return out;
    }
    [[nodiscard]] static bool may_hear(std::string_view principal, std::string_view topic) {
        return topic == "rooms" || (topic == "vault" && (principal == "anna" || principal == "ben"));
    }

    std::uint64_t draw(std::uint64_t n) { return below(random_, n); }
    void tell(std::string line) {
        if (options_.tell) { report_.story.push_back(std::to_string(report_.steps) + " " + std::move(line)); }
    }
    void trace(bytes_view what) { report_.trace = report_.trace * 1'099'511'628'211U + crc32c(what); }
    [[nodiscard]] bool fine() const { return report_.found.empty(); }
    bool holds(bool ok, char const* promise, std::string const& what) {
        ++report_.checks;
        if (!ok && fine()) { report_.found.push_back({promise, what + ", step " + std::to_string(report_.steps)}); }
        return ok;
    }
    bool honest(bool ok, std::string const& what) { return holds(ok, live_promise::honest, what); }
    void pass(milliseconds ms) {
        now_.wall += ms;
        now_.monotonic += ms;
    }

    void begin() {
        polling_ = draw(3) == 0;
        // Half of the seeds have networks that also lose, double and exchange messages and tell nobody, which no transport
        // may do: then devices hold everything in the end, as they ask by themselves.
        unruly_ = draw(2) == 0;
        spread_ = milliseconds{static_cast<std::int64_t>(draw(2) * 2'000)};
        open_home();
        for (std::size_t i = 0; i < names.size(); ++i) {
            devices_.push_back(std::make_unique<device>(random_()));
            device& d = *devices_.back();
            d.number = i;
            d.name = names[i];
            d.told_of_networks = draw(2) == 0;
            honest(d.box.attempt([&](auto& tx) { return d.self.open(tx, d.name, now_, d.random); }).took,
                   "a replica does not open");
            start(d);
        }
        for (char const* id : {"n0", "n1"}) {
            bytes const f = naive_fields({{"note", integer(0)}});
            honest(devices_[0]
                       ->box.attempt([&](auto& tx) { return devices_[0]->self.create(tx, thing(id), f, now_); })
                       .took,
                   "the first write is refused");
        }
        calm(false);
    }
    [[nodiscard]] static record_key thing(std::string_view id) { return {"things", id}; }

    // The authority's host.

    void open_home() {
        honest(home_.attempt([&](auto& tx) { return cloud_.open(tx, now_, random_); }).took,
               "the authority does not open");
        live_hub_options o;
        o.members_max = 6;
        o.waiting_max = 4;
        o.idle_timeout = milliseconds{75'000};
        hub_.emplace(make_id(now_.wall, random_), o);
        published_ = head();  // a hub that was made anew tells of what comes
    }
    /// It dies, with what it had in hand, and is there again.
    void restart() {
        ++report_.restarts;
        tell("the authority is started anew");
        home_.cut(random_);
        waiting_.clear();
        for (auto const& w : wires_) {
            w->there = false;
            w->up.clear();
        }
        open_home();
    }
    [[nodiscard]] position head() {
        auto const at = home_.read([&](auto& tx) { return cloud_.head(tx); });
        return at ? *at : 0;
    }
    /// What is there is answered with one commit, each request by itself where that fails.
    void serve(machine_mishap const& m, std::size_t most) {
        std::size_t const n = (std::min)(waiting_.size(), most);
        if (n == 0) { return; }
        if (options_.news_before_commit) { publish(head() + written_by(n)); }
        std::vector<asked_request> all;
        for (std::size_t i = 0; i < n; ++i) { all.push_back({names[waiting_[i].who], waiting_[i].message}); }
        std::uint64_t const before = home_.store().faults();
        if (m.faulty) { home_.store().inject(m.fault); }
        auto answers = serve_all(home_.store(), cloud_, all, now_);
        bool const faulty = home_.store().faults() != before;
        home_.store().heal();
        report_.faults += faulty ? 1 : 0;
        report_.together += n > 1 ? n : 0;
        publish(head());
        auto const rows = home_.rows('a', 'r');
        std::size_t failed = 0;
        for (std::size_t i = 0; i < n; ++i) {
            letter const& q = waiting_[i];
            auto const asked = decode_request(q.message);
            if (!answers[i]) {
                if (q.stranger) { continue; }
                ++failed;
                tell(std::string{"the authority answers "} + names[q.who] + ": " + message(answers[i].error().code));
                replies_.push_back({q.who, {}, failure{errc::peer_failed}, false});
                continue;
            }
            judge_reply(*asked, *answers[i], rows);
            trace(*answers[i]);
            tell(std::string{"the authority answers "} + names[q.who] + (n > 1 ? ", with others" : ""));
            if (devices_[q.who]->signed_out) {
                replies_.push_back({q.who, {}, failure{errc::unauthorised}, false});
            } else {
                replies_.push_back({q.who, std::move(*answers[i]), {}, false});
            }
        }
        holds(failed <= (faulty ? 1U : 0U), live_promise::durable,
              std::to_string(failed) + " of " + std::to_string(n) + " requests fail together");
        waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(n));
        speak();
    }
    /// How many mutations the first requests bring.
    [[nodiscard]] position written_by(std::size_t n) const {
        position out = 0;
        for (std::size_t i = 0; i < n; ++i) {
            auto const q = decode_request(waiting_[i].message);
            out += q ? q->mutations.size() : 0;
        }
        return out;
    }
    void judge_reply(request const& q, bytes_view message, simulated_machine::row_fields const& rows) {
        auto const p = decode_reply(message);
        if (!honest(p.has_value(), "a reply does not decode")) { return; }
        holds(p->head <= head(), live_promise::durable, "a reply tells of what is not committed");
        for (verdict const& v : p->verdicts) {
            if (v.kind != verdict_kind::applied) { continue; }
            for (bytes const& raw : q.mutations) {
                cbor_reader in{raw};
                mutation const m = decode_mutation(in);
                if (m.sequence != v.sequence) { continue; }
                auto const at = rows.find(std::string{m.record.id_text()});
                bool stored = at != rows.end();
                for (field_op const& op : m.ops) {
                    if (op.field[0] != 'm') { continue; }
                    if (!stored) { break; }
                    auto const found = map_find(at->second, op.field);
                    stored = found && *found;
                }
                holds(stored, live_promise::durable, "a reply left, and what it says is not stored");
            }
        }
    }
    void publish(position at) {
        if (at == published_) { return; }
        published_ = at;
        (void)hub_->publish("rooms", at);
        (void)hub_->publish("vault", at);
    }
    [[nodiscard]] std::shared_ptr<wire> wire_of(live_hub::member id) {
        for (auto const& w : wires_) {
            if (w->there && w->member == id) { return w; }
        }
        return nullptr;
    }
    /// Says to each what waits for it; who asks by questions hears it with its answer.
    void speak() {
        while (auto const id = hub_->next_ready()) {
            auto const w = wire_of(*id);
            if (!w) { continue; }
            if (!polling_) {
                while (auto const m = hub_->take(*id)) {
                    send_down(*w, encode(carried{carried_kind::unasked, 0, *m, {}, {}}));
                }
            } else if (w->held) {
                release(*w);
            }
        }
        bool bounded = hub_->members() <= hub_->options().members_max;
        holds(bounded, live_promise::bounded, "the hub has more members than it may");
    }
    void release(wire& w) {
        std::vector<bytes> all;
        while (all.size() < 3) {
            auto m = hub_->take(w.member);
            if (!m) { break; }
            all.push_back(std::move(*m));
        }
        w.held = false;
        send_down(w, encode_polled(all));
    }
    void send_down(wire& w, bytes m) {
        trace(m);
        if (!w.deaf) { w.down.push_back(std::move(m)); }
    }
    /// The host hears what a device has sent.
    void hear_up(wire& w, bytes_view m) {
        if (!w.there) { return; }
        if (is_live_poll(m)) {
            hub_->heard(w.member, now_.monotonic);
            if (w.held) { release(w); }
            w.held = true;
            w.until = now_.monotonic + hold;
            if (hub_->waiting(w.member)) { release(w); }
            return;
        }
        auto const q = decode_carried(m);
        if (!q || q->kind != carried_kind::request) { return end_there(w); }
        auto const answer = hub_->answer(w.member, q->body, now_.monotonic, may_);
        if (answer) {
            send_down(w, encode(carried{carried_kind::reply, q->number, *answer, {}, {}}));
            auto const frame = decode_live_frame(q->body);
            auto const* const note = frame ? std::get_if<live_say>(&*frame) : nullptr;
            if (note != nullptr && note->body.size() >= 8) {
                said_[number_in(*note)] = {note->topic, names[w.who], note->kind};
            }
        } else {
            send_down(w, encode(carried{carried_kind::failed, q->number, {}, answer.error().code, {}}));
        }
        speak();
    }
    /// The host's end goes; the device may learn of it.
    void end_there(wire& w) {
        if (!std::exchange(w.there, false)) { return; }
        hub_->leave(w.member);
    }
    void host_clock() {
        hub_->expire(now_.monotonic, [&](live_hub::member id) {
            if (auto const w = wire_of(id)) { w->there = false; }
        });
        for (auto const& w : wires_) {
            if (w->there && w->held && now_.monotonic >= w->until) {
                hub_->heard(w->member, now_.monotonic);
                release(*w);
            }
        }
        wires_.erase(std::remove_if(wires_.begin(), wires_.end(), [](auto const& w) { return !w->here && !w->there; }),
                     wires_.end());
    }
    static constexpr auto may_hook = [](std::string_view p, std::string_view t) { return may_hear(p, t); };

    // Devices.

    void start(device& d) {
        d.screen = {};
        d.told.clear();
        d.took = d.hollow = d.paused = 0;
        d.news = 0;
        session_options o;
        o.backoff.cap = milliseconds{10'000};
        o.poll_interval = unruly_ ? milliseconds{30'000} : milliseconds{86'400'000};
        o.news_spread = spread_;
        o.reply_timeout = asked_again;
        if (d.number % 2 == 1) { o.retry = patience(); }
        d.link.emplace(d.box.store(), d.self, random_generator{d.random()}, o, observer_ref<ears>(d.screen));
        live_options l;
        l.retry = patience();
        std::vector<std::string> topics{"rooms", "vault"};
        if (d.number == 3) { topics.pop_back(); }
        d.ear.emplace(live_subscribe{std::move(topics)}, random_generator{d.random()}, l);
        d.inbox = {};
        d.question = 0;
        d.link_paused = d.ear_paused = d.subscribed = false;
        d.link_due = d.ear_due = now_.monotonic;
        if (d.way) { d.way->here = false; }
        d.way.reset();
    }
    [[nodiscard]] static retry_policy_options patience() {
        retry_policy_options o;
        o.backoff.cap = milliseconds{10'000};
        o.budget.wait_min = milliseconds{20'000};
        o.budget.wait_per_token = milliseconds{1'000};
        o.breaker.open_for = milliseconds{5'000};
        o.breaker.open_max = milliseconds{20'000};
        return o;
    }
    [[nodiscard]] bool awake(device const& d) const { return now_.monotonic >= d.asleep; }
    /// Whatever is due, and what has come over its connection.
    void turn(device& d) {
        if (!awake(d)) { return; }
        std::vector<news> heard;
        auto const drain = [&] {
            for (;;) {
                live_output const out = d.ear->poll(now_.monotonic);
                if (auto const* w = std::get_if<live_wait>(&out)) {
                    d.ear_due = w->deadline;
                    d.ear_paused = w->paused.has_value();
                    d.subscribed = w->subscribed;
                    return;
                }
                if (auto const* ask = std::get_if<live_ask>(&out)) {
                    send_up(d, ask->message);
                } else if (auto const* n = std::get_if<live_news>(&out)) {
                    ++report_.news;
                    holds(n->position <= head(), live_promise::told,
                          d.name + " hears of " + std::to_string(n->position) + ", which is not committed");
                    holds(may_hear(d.name, n->topic), live_promise::notes, d.name + " hears of what it may not");
                    tell(d.name + " hears of news up to " + std::to_string(n->position));
                    heard.push_back({n->position});
                } else if (std::holds_alternative<live_gap>(out)) {
                    ++report_.gaps;
                    tell(d.name + " may have missed news");
                    heard.push_back({0});
                } else if (auto const* word = std::get_if<live_note>(&out)) {
                    take_note(d, *word);
                } else if (std::holds_alternative<live_close>(out)) {
                    tell(d.name + " gives its connection up");
                    d.question = 0;  // it waits for no answer any more
                    if (d.way) { lose_here(d); }
                }
            }
        };
        while (!answers_[d.number].empty()) {
            live_result const a = std::move(answers_[d.number].front());
            answers_[d.number].erase(answers_[d.number].begin());
            if (a.failed) {
                d.ear->handle(live_failed{*a.failed, {}}, now_.monotonic);
            } else {
                d.ear->handle(live_answered{a.body}, now_.monotonic);
            }
            drain();
        }
        status const all = d.inbox.receive([&](bytes_view m) { d.ear->handle(live_heard{m}, now_.monotonic); });
        if ((!all || !d.way) && d.ear->subscribed()) { d.ear->handle(live_lost{}, now_.monotonic); }
        d.ear->handle(live_tick{}, now_.monotonic);
        drain();
        for (news const& n : heard) { (void)step(d, n, draw_mishap(random_)); }
        if (heard.empty() && d.link_due && *d.link_due <= now_.monotonic) {
            (void)step(d, tick{}, draw_mishap(random_));
        }
    }
    /// The device notices that its connection is gone.
    void lose_here(device& d) {
        ++report_.broken;
        d.way->here = false;
        d.way->down.clear();
        d.way.reset();
        d.inbox.gap();
        if (d.question != 0) {
            d.question = 0;
            answers_[d.number].push_back({failure{errc::connection_lost}, {}});
        }
    }
    void send_up(device& d, bytes_view frame) {
        trace(frame);
        if (!d.way) {
            bool const refused = blocked_ || d.signed_out;
            auto const joined = refused
                                    ? result<live_hub::member>{d.signed_out ? errc::unauthorised : errc::unreachable}
                                    : hub_->join(d.name, now_.monotonic);
            if (!joined) {
                tell(d.name + " can't connect: " + message(joined.error().code));
                answers_[d.number].push_back({joined.error(), {}});
                return;
            }
            ++report_.connections;
            tell(d.name + " connects");
            d.way = std::make_shared<wire>();
            d.way->number = ++wires_made_;
            d.way->who = d.number;
            d.way->member = *joined;
            wires_.push_back(d.way);
        }
        d.question = ++questions_;
        if (!d.way->deaf) { d.way->up.push_back(encode(carried{carried_kind::request, d.question, frame, {}, {}})); }
        if (polling_) { ask_for_news(d); }
    }
    void ask_for_news(device& d) {
        wire& w = *d.way;
        if (w.asking || !d.subscribed) { return; }
        w.asking = true;
        w.asked = now_.monotonic;
        if (!w.deaf) { w.up.push_back(encode(live_poll{w.number})); }
    }
    /// A device hears what its peer has sent.
    void hear_down(device& d, bytes_view m) {
        auto const q = decode_carried(m);
        if (q && q->kind == carried_kind::unasked) {
            d.inbox.add(q->body, {1'000, 6, 4'000});
        } else if (q && q->kind != carried_kind::request) {
            if (q->number != d.question) { return; }  // of one that was given up
            d.question = 0;
            if (q->kind == carried_kind::failed) {
                answers_[d.number].push_back({failure{q->error}, {}});
            } else {
                answers_[d.number].push_back({{}, to_bytes(q->body)});
            }
        } else if (auto const all = decode_polled(m)) {
            d.way->asking = false;
            for (bytes_view const one : *all) { d.inbox.add(one, {1'000, 6, 4'000}); }
        } else {
            lose_here(d);
        }
    }

    /// One input of a session in one transaction, and then all that it has to say; whether it was committed.
    bool step(device& d, session_input const& in, machine_mishap const& m) {
        bool const is_reply = std::holds_alternative<received>(in);
        auto const shown = std::holds_alternative<news>(in) ? std::optional{d.box.rows('r', 'v')} : std::nullopt;
        bool const was_paused = d.link->paused().has_value();
        auto const out = d.box.attempt(m, [&](auto& tx) { return d.link->handle(in, tx, now_); });
        report_.faults += out.faulty ? 1 : 0;
        honest(out.why == errc{} || out.faulty || (is_reply && out.why == errc::foreign),
               std::string{"a session fails: "} + message(out.why));
        if (auto const* n = std::get_if<news>(&in); n != nullptr && out.took) { d.news = (std::max)(d.news, n->at); }
        if (is_reply && out.took) { d.news = 0; }
        if (shown) { holds(*shown == d.box.rows('r', 'v'), live_promise::notes, d.name + " takes news for data"); }
        if (is_reply) {
            tell(d.name + " takes a reply in" + (out.took ? "" : ", and rolls it back"));
            judge_taken(d, std::get<received>(in).message, out.took);
        }
        if (!was_paused && d.link->paused()) { ++d.paused; }
        drain(d);
        return out.took;
    }
    void judge_taken(device& d, bytes_view message, bool took) {
        auto const p = decode_reply(message);
        if (!p) { return; }
        d.took += took ? 1 : 0;
        if (!took) {
            d.hollow += moves_nothing(d, message) ? 1 : 0;
            return;
        }
        for (verdict const& v : p->verdicts) { d.decided.emplace(v.sequence, v.kind); }
    }
    /// Whether a reply leaves a replica where it stands: then nobody can tell whether it was rolled back.
    [[nodiscard]] bool moves_nothing(device& d, bytes_view message) {
        machine_mishap undone;
        undone.torn = true;
        bool same = false;
        random_generator dice = d.random;
        (void)d.box.attempt(undone, [&](auto& tx) -> status {
            auto const was = d.self.status_of(tx);
            auto const taken = d.self.absorb(tx, message, now_, dice);
            auto const is = d.self.status_of(tx);
            if (!was || !taken || !is) { return errc::cancelled; }
            same = was->cursor == is->cursor && was->head == is->head && was->settled == is->settled &&
                   was->complete == is->complete && was->met == is->met;
            return {};
        });
        return same;
    }
    void drain(device& d) {
        for (;;) {
            auto const out = d.link->poll(now_);
            if (!honest(out.has_value(), "a session can't be asked")) { return; }
            if (auto const* send = std::get_if<transmit>(&*out)) {
                trace(send->message);
                tell(d.name + " asks");
                waiting_for_.push_back({d.number, to_bytes(send->message), {}, false});
            } else if (auto const* note = std::get_if<notify>(&*out)) {
                if (note->what->kind == event_kind::decided) { judge_event(d, note->what->said); }
            } else {
                auto const& w = *std::get_if<wait_until>(&*out);
                d.link_due = w.deadline;
                d.link_paused = w.paused.has_value();
                judge_notices(d);
                if (d.news != 0 && !d.link_paused && d.number % 2 == 0) { judge_news(d); }
                return;
            }
        }
    }
    /// What a device was told of, and doesn't hold, it soon asks for: without a breaker, when backoff is over.
    void judge_news(device& d) {
        auto const s = d.box.read([&](auto& tx) { return d.self.status_of(tx); });
        bool const there = s && s->cursor >= d.news;
        holds(there || (d.link_due && *d.link_due <= now_.monotonic + asked_again), live_promise::prompt,
              d.name + " was told of news, and doesn't ask for them");
    }
    void judge_event(device& d, verdict const& v) {
        auto const at = d.decided.find(v.sequence);
        holds(at != d.decided.end(), live_promise::told,
              d.name + " is told what became of " + std::to_string(v.sequence) + ", and has not committed it");
        holds(++d.told[v.sequence] == 1, live_promise::told,
              d.name + " is told twice what became of " + std::to_string(v.sequence));
        d.told_ever.insert(v.sequence);
        bool const conflict = v.kind == verdict_kind::conflict;
        bool const refused = v.kind == verdict_kind::rejected || v.kind == verdict_kind::collateral;
        expected_[d.number][0] += conflict ? 1 : 0;
        expected_[d.number][1] += refused ? 1 : 0;
    }
    void judge_notices(device& d) {
        ears const& s = d.screen;
        auto& known = expected_[d.number];
        report_.notices += s.conflicts + s.rejections + s.syncs + s.pauses - known[2];
        known[2] = s.conflicts + s.rejections + s.syncs + s.pauses;
        holds(s.conflicts == known[0] && s.rejections == known[1], live_promise::told,
              d.name + "'s notices are not its events");
        holds(s.exchanges <= d.took + d.hollow, live_promise::told,
              d.name + " is told of " + std::to_string(s.exchanges) + " exchanges, and took " + std::to_string(d.took) +
                  " replies in");
        holds(s.pauses <= d.paused && !s.strange, live_promise::told, d.name + " is told of a pause that is none");
    }

    // Notes.

    [[nodiscard]] static std::uint64_t number_in(live_say const& n) {
        std::uint64_t out = 0;
        for (std::size_t i = n.body.size() - 8; i < n.body.size(); ++i) {
            out = out << 8 | std::to_integer<std::uint64_t>(n.body[i]);
        }
        return out;
    }
    /// A presence, with a number of its own behind it.
    void speak_of(device& d) {
        presence p;
        p.record = thing(draw(2) == 0 ? "a" : "b");
        p.who = to_bytes(as_bytes(d.name));
        p.stamp = timestamp::make(now_.wall);
        p.seconds = static_cast<std::uint32_t>(draw(90));
        live_say n{draw(3) == 0 ? "vault" : "rooms", live_note_kind::presence, {}};
        cbor_writer w{n.body};
        encode_presence(w, p);
        std::uint64_t const number = ++notes_made_;
        for (unsigned shift = 64; shift != 0;) {
            n.body.push_back(static_cast<std::byte>(number >> (shift -= 8) & 0xFFU));
        }
        bool const took = d.ear->say(n).has_value();
        honest(took || !d.subscribed || !d.ear->subscribed(), "a note is not taken");
        tell(d.name + " says that it has " + std::string{p.record.id_text()} + " in hand" +
             (took ? "" : ", to nobody"));
    }
    void take_note(device& d, live_note const& n) {
        ++report_.notes;
        if (!honest(n.body.size() > 8, "a note without its number")) { return; }
        std::uint64_t const number = number_in({n.topic, n.kind, n.body});
        auto const at = said_.find(number);
        if (!holds(at != said_.end(), live_promise::notes, d.name + " hears what nobody said")) { return; }
        holds(at->second.topic == n.topic && at->second.from == n.from && at->second.kind == n.kind,
              live_promise::notes, d.name + " hears otherwise what was said");
        holds(may_hear(d.name, n.topic) && may_hear(n.from, n.topic), live_promise::notes,
              d.name + " hears what it may not");
        holds(d.heard.insert(number).second || unruly_, live_promise::notes, d.name + " hears a note twice");
        cbor_reader in{bytes_view{n.body}.first(n.body.size() - 8)};
        presence const p = decode_presence(in);
        if (!honest(in.finish().has_value(), "a presence does not decode")) { return; }
        (void)d.box.attempt([&](auto& tx) -> status {
            auto r = d.here.take(tx, p, now_.wall);
            return r ? status{} : status{r.error()};
        });
    }
    /// Nobody has anything in hand that was not said within a lease.
    void judge_presence(device& d, bool none) {
        for (char const* id : {"a", "b"}) {
            auto const all = d.box.read([&](auto& tx) { return d.here.of(tx, thing(id), now_.wall); });
            if (!honest(all.has_value(), "presences can't be read")) { return; }
            holds(!none || all->empty(), live_promise::ephemeral, d.name + " still shows who has a record in hand");
            for (held_presence const& h : *all) {
                auto const age = now_.wall - h.said.stamp.time();
                holds(age <= milliseconds{60'000} + slowest, live_promise::ephemeral,
                      d.name + " shows a presence that is long over");
            }
        }
    }
    /// What a note may take: a device hears it when it wakes.
    static constexpr milliseconds slowest{700'000};

    // Deeds.

    void step() {
        pass(milliseconds{static_cast<std::int64_t>(draw(4) == 0 ? draw(4'000) : draw(400))});
        device& d = *devices_[static_cast<std::size_t>(draw(devices_.size()))];
        std::uint64_t const what = draw(100);
        if (what < 16) {
            if (awake(d)) { write(d); }
        } else if (what < 24) {
            if (awake(d)) { speak_of(d); }
        } else if (what < 34) {
            carry_request();
        } else if (what < 44) {
            machine_mishap const m = draw_mishap(random_);
            serve(m, 1 + static_cast<std::size_t>(draw(5)));
        } else if (what < 56) {
            carry_reply();
        } else if (what < 74) {
            carry_frames();
        } else if (what < 82) {
            disturb();
        } else if (what < 84) {
            d.asleep = now_.monotonic + milliseconds{static_cast<std::int64_t>(draw(8) == 0 ? 600'000 : draw(40'000))};
            tell(d.name + " is asleep");
        } else if (what < 86) {
            ++report_.power_cuts;
            tell(d.name + " loses power");
            d.box.cut(random_);
            reopen(d);
        } else if (what < 88) {
            restart();
        } else if (what < 89) {
            d.signed_out = !d.signed_out;
            tell(d.name + (d.signed_out ? " is signed out" : " signs in"));
            if (!d.signed_out) { resume_all(d); }
        } else if (what < 91) {
            blocked_ = !blocked_;
            tell(blocked_ ? "nobody can connect" : "connections come about again");
        } else if (what < 92) {
            calm(draw(2) == 0);
        } else if (what < 94) {
            pass(milliseconds{static_cast<std::int64_t>(draw(60'000))});
        } else if (what < 95) {
            waiting_for_.push_back({d.number, to_bytes(as_bytes("what is no request")), {}, true});
        }
        host_clock();
        for (auto const& each : devices_) {
            if (draw(2) == 0) { turn(*each); }
        }
        for (auto const& each : devices_) { give_up_questions(*each); }
        if (fine()) { judge_presence(d, false); }
    }
    void reopen(device& d) {
        std::size_t const n = d.number;
        answers_[n].clear();
        expected_[n] = {};
        start(d);
    }
    void resume_all(device& d) {
        d.ear->handle(live_resume{}, now_.monotonic);
        d.ear_due = now_.monotonic;
        (void)step(d, resume{}, {});
    }
    void give_up_questions(device& d) {
        if (!polling_ || !d.way || !awake(d)) { return; }
        if (d.way->asking && now_.monotonic >= d.way->asked + poll_timeout) {
            lose_here(d);
        } else {
            ask_for_news(d);
        }
    }
    void write(device& d) {
        std::uint64_t const how = draw(8);
        auto const there = d.box.rows('r', 'v');
        bool took = false;
        if (how == 0) {
            std::string const id = draw(2) == 0 ? "n0" : "n1";
            if (!there.contains(id)) { return; }
            field_op const op{"note", op_kind::set, integer(static_cast<std::int64_t>(report_.steps)), {}};
            took = d.box.attempt([&](auto& tx) { return d.self.update(tx, thing(id), {op}, now_); }).took;
            if (took) { d.edited.insert(id); }
            tell(d.name + " edits the note of " + id);
        } else if (how == 1) {
            std::string const id = d.name + std::to_string(report_.steps);
            bytes const f = naive_fields({{"count", integer(1)}});
            took = d.box.attempt([&](auto& tx) {
                            return d.self.create(tx, {"closed", std::string_view{id}}, f, now_);
                        })
                       .took;
            tell(d.name + " creates what is closed");
        } else {
            took = write_mark(d);
        }
        honest(took, "a write is refused");
        if (!took) { return; }
        bool const now = draw(2) == 0;
        (void)step(d, now ? session_input{hurry{}} : session_input{tick{}}, draw_mishap(random_));
    }
    bool write_mark(device& d) {
        std::string const id(1, static_cast<char>('a' + draw(3)));
        std::string const mark = "m" + std::to_string(report_.written);
        bool const there = d.box.rows('r', 'v').contains(id);
        field_op const count{"count", op_kind::add, integer(1), {}};
        field_op const marked{mark, op_kind::set, integer(1), {}};
        bytes const f = naive_fields({{"count", integer(1)}, {mark, integer(1)}});
        if (!there && made_.contains(id)) { return true; }
        bool const took = d.box
                              .attempt([&](auto& tx) {
                                  return there ? d.self.update(tx, thing(id), {count, marked}, now_)
                                               : d.self.create(tx, thing(id), f, now_);
                              })
                              .took;
        if (!took) { return false; }
        tell(d.name + (there ? " writes " : " creates ") + id + " with the mark " + mark);
        made_.insert(id);
        ++report_.written;
        d.marks.push_back(mark);
        return true;
    }
    void carry_request() {
        if (waiting_for_.empty()) { return; }
        std::size_t const i = static_cast<std::size_t>(draw(waiting_for_.size()));
        letter const l = waiting_for_[i];
        std::uint64_t const fate = draw(10);
        if (fate != 1) { waiting_for_.erase(waiting_for_.begin() + static_cast<std::ptrdiff_t>(i)); }
        if (fate == 0) {
            tell("a request of " + devices_[l.who]->name + " is lost");
            if (draw(2) == 0 && !l.stranger) { replies_.push_back({l.who, {}, failure{errc::connection_lost}, false}); }
            return;
        }
        waiting_.push_back(l);
    }
    void carry_reply() {
        if (replies_.empty()) { return; }
        std::size_t const i = static_cast<std::size_t>(draw(replies_.size()));
        device& d = *devices_[replies_[i].who];
        if (!awake(d)) { return; }
        letter const l = std::move(replies_[i]);
        replies_.erase(replies_.begin() + static_cast<std::ptrdiff_t>(i));
        if (draw(8) == 0) {
            tell("a reply to " + d.name + " is lost");
            if (draw(2) == 0) { (void)step(d, failed{errc::connection_lost, {}}, draw_mishap(random_)); }
            return;
        }
        take(d, l, draw_mishap(random_));
    }
    void take(device& d, letter const& l, machine_mishap const& m) {
        if (l.failed) {
            (void)step(d, failed{*l.failed, {}}, m);
        } else {
            (void)step(d, received{l.message}, m);
        }
    }
    /// Some of what is under way on one connection arrives: in order, but where the network is unruly.
    void carry_frames() {
        if (wires_.empty()) { return; }
        auto const w = wires_[static_cast<std::size_t>(draw(wires_.size()))];
        for (std::uint64_t n = 1 + draw(8); n != 0; --n) {
            bool const up = draw(2) == 0;
            auto& way = up ? w->up : w->down;
            if (way.empty()) { continue; }
            std::size_t i = 0;
            std::uint64_t const fate = unruly_ ? draw(16) : 15;
            if (fate == 0) { i = static_cast<std::size_t>(draw(way.size())); }
            bytes m = way[i];
            // A question for news that comes twice has an answer of its own each time, of which the device takes one.
            if (fate != 1 || polling_) { way.erase(way.begin() + static_cast<std::ptrdiff_t>(i)); }
            if (fate == 2) { continue; }
            if (fate == 3) { m.resize(static_cast<std::size_t>(draw(m.size()))); }
            if (up) {
                hear_up(*w, m);
            } else if (w->here) {
                hear_down(*devices_[w->who], m);
            }
        }
    }
    /// Something happens to a connection.
    void disturb() {
        if (wires_.empty()) { return; }
        auto const w = wires_[static_cast<std::size_t>(draw(wires_.size()))];
        device& d = *devices_[w->who];
        std::uint64_t const how = draw(4);
        if (how == 0) {
            tell("the connection of " + d.name + " is dead, and nobody notices");
            w->deaf = true;
            w->up.clear();
            w->down.clear();
        }
        if (how == 1 || how == 3) {
            tell("the authority's end of " + d.name + "'s connection breaks");
            end_there(*w);
            w->up.clear();
        }
        if ((how == 2 || how == 3) && w->here) {
            tell(d.name + "'s end of its connection breaks");
            lose_here(d);
        }
    }

    // When the network is well.

    /// Everything that is under way arrives, and time passes from one deadline to the next, until all hold everything; then
    /// somebody writes, and all hear of it.
    void calm(bool write_after) {
        tell("all is well for a while");
        blocked_ = false;
        for (auto const& w : wires_) {
            // What was broken stays so: ends find out by themselves.
            if (!w->there || !w->here) {
                w->up.clear();
                w->down.clear();
            }
        }
        for (auto const& d : devices_) {
            d->asleep = (std::min)(d->asleep, now_.monotonic);
            bool const was_out = std::exchange(d->signed_out, false);
            if (was_out || d->link_paused || d->ear_paused || d->told_of_networks) { resume_all(*d); }
        }
        monotonic_time const from = now_.monotonic;
        if (!settle(from + healed_within)) { return; }
        if (!write_after) { return; }
        // Who failed waits, whatever there is to hear, unless somebody is in a hurry.
        for (auto const& d : devices_) {
            if (d->link->last_failure()) { (void)step(*d, hurry{}, {}); }
        }
        if (!settle(from + healed_within)) { return; }
        device& d = *devices_[static_cast<std::size_t>(draw(devices_.size()))];
        if (!write_mark(d)) { return; }
        (void)step(d, tick{}, {});
        (void)settle(now_.monotonic + heard_within);
    }
    bool settle(monotonic_time limit) {
        std::size_t turns = 0;
        for (;;) {
            arrive();
            if (!fine()) { return false; }
            if (at_rest()) { return true; }
            if (!holds(++turns < 20'000, live_promise::prompt, "it does not come to rest")) { return false; }
            std::optional<monotonic_time> next;
            auto const sooner = [&](std::optional<monotonic_time> t) {
                if (t && (!next || *t < *next)) { next = t; }
            };
            for (auto const& d : devices_) {
                sooner(d->link_due);
                sooner(d->ear_due);
                if (d->way && d->way->asking) { sooner(d->way->asked + poll_timeout); }
            }
            for (auto const& w : wires_) {
                if (w->held) { sooner(w->until); }
            }
            if (!holds(next.has_value(), live_promise::prompt, "nobody waits for anything, and something is missing")) {
                return false;
            }
            if (!holds(*next < limit, live_promise::prompt, unrest())) { return false; }
            pass(std::max(milliseconds{1}, std::chrono::duration_cast<milliseconds>(*next - now_.monotonic)));
        }
    }
    /// Whatever is under way, until nothing is.
    void arrive() {
        for (int i = 0; i < 1'000 && fine(); ++i) {
            bool idle = true;
            host_clock();
            for (auto const& d : devices_) {
                if (d->link_paused || d->ear_paused) { resume_all(*d); }
                turn_soundly(*d);
                give_up_questions(*d);
            }
            for (std::size_t n = 0; n < wires_.size(); ++n) {
                auto const w = wires_[n];
                if (w->here && !w->there) {  // a well network says so
                    lose_here(*devices_[w->who]);
                    idle = false;
                    continue;
                }
                for (bytes const& m : std::exchange(w->up, {})) {
                    idle = false;
                    hear_up(*w, m);
                }
                for (bytes const& m : std::exchange(w->down, {})) {
                    idle = false;
                    if (w->here) { hear_down(*devices_[w->who], m); }
                }
            }
            for (letter& l : std::exchange(waiting_for_, {})) { waiting_.push_back(std::move(l)); }
            idle = idle && waiting_.empty() && replies_.empty();
            serve({}, 64);
            for (letter const& l : std::exchange(replies_, {})) { take(*devices_[l.who], l, {}); }
            if (idle) { return; }
        }
        holds(false, live_promise::prompt, "messages go on for ever");
    }
    void turn_soundly(device& d) {
        sound_ = true;
        turn(d);
        sound_ = false;
    }
    [[nodiscard]] machine_mishap draw_mishap(random_generator& random) {
        return sound_ ? machine_mishap{} : testing::draw_mishap(random);
    }
    [[nodiscard]] position held_by(device& d) {
        auto const s = d.box.read([&](auto& tx) { return d.self.status_of(tx); });
        return s ? s->cursor : 0;
    }
    [[nodiscard]] bool at_rest() {
        position const newest = head();
        return std::all_of(devices_.begin(), devices_.end(), [&](auto const& d) {
            auto const work = d->box.read([&](auto& tx) { return d->self.work_left(tx, now_); });
            // A dead connection is found by asking, and a question for news that was lost by waiting.
            bool const hears = d->ear->subscribed() && d->way && !d->way->deaf && (!polling_ || d->way->held);
            return hears && held_by(*d) == newest && !d->link->in_flight() && work && !*work;
        });
    }
    [[nodiscard]] std::string unrest() {
        std::string out = "after so long, of " + std::to_string(head());
        for (auto const& d : devices_) {
            auto const work = d->box.read([&](auto& tx) { return d->self.work_left(tx, now_); });
            out += ", " + d->name + " holds " + std::to_string(held_by(*d)) +
                   (d->ear->subscribed() ? "" : " and does not listen") + (work && *work ? " and has work" : "");
        }
        return out;
    }

    void end() {
        tell("the trouble is over");
        calm(true);
        if (!fine()) { return; }
        // Nobody says anything for longer than a lease, and than a silent connection is kept.
        monotonic_time const quiet = now_.monotonic + milliseconds{180'000};
        while (now_.monotonic < quiet && fine()) {
            pass(milliseconds{2'000});
            arrive();
        }
        if (!fine()) { return; }
        std::size_t standing = 0;
        for (auto const& d : devices_) {
            judge_presence(*d, true);
            standing += d->way ? 1 : 0;
            (void)d->box.attempt([&](auto& tx) { return d->here.sweep(tx, now_.wall + milliseconds{600'000}, 100); });
            std::size_t left = 0;
            (void)d->box.read([&](auto& tx) {
                return scan_prefix(tx, as_bytes("kw"), [&](bytes_view, bytes_view) {
                    ++left;
                    return true;
                });
            });
            holds(left == 0, live_promise::ephemeral, d->name + " keeps notes for ever");
            for (auto const& [sequence, kind] : d->decided) {
                holds(d->told_ever.contains(sequence), live_promise::told,
                      d->name + " was never told what became of " + std::to_string(sequence));
            }
            holds(d->screen.pauses == d->paused, live_promise::told, d->name + " was not told that it paused");
            holds(d->took == 0 || d->screen.exchanges != 0, live_promise::told,
                  d->name + " was not told that it is done");
        }
        holds(
            hub_->members() == standing, live_promise::ephemeral,
            "the hub keeps " + std::to_string(hub_->members()) + " members, and there are " + std::to_string(standing));
        (void)settle(now_.monotonic + healed_within);
        if (fine()) { judge_rest(); }
    }
    void judge_rest() {
        auto const rows = home_.rows('a', 'r');
        std::set<std::string> home;
        for (auto const& [id, f] : rows) {
            std::int64_t marks = 0;
            std::int64_t counts = 0;
            cbor_map_cursor at{f};
            while (at.next()) {
                if (at.key() == "count") { counts = naive_integer(to_bytes(at.value())).value_or(0); }
                if (at.key()[0] == 'm') {
                    ++marks;
                    home.insert(std::string{at.key()});
                }
            }
            holds(counts == marks, live_promise::once,
                  id + " counts " + std::to_string(counts) + " of " + std::to_string(marks) + " writes");
        }
        for (auto const& d : devices_) {
            auto const letters = dead_marks(*d);
            for (std::string const& m : d->marks) {
                holds(home.contains(m) || letters.contains(m), live_promise::once,
                      d->name + "'s write " + m + " is not home");
            }
            auto held = d->box.rows('r', 'v');
            auto told = rows;
            for (std::string const& id : d->edited) {
                held.erase(id);
                told.erase(id);
            }
            holds(held == told, live_promise::same, d->name + " holds something else");
        }
    }
    /// Of a record that two created: the second creation is a person's.
    [[nodiscard]] std::set<std::string> dead_marks(device& d) {
        std::set<std::string> out;
        auto const ok = d.box.read([&](auto& tx) {
            return d.self.queue().scan_dead(tx, [&](outbox_entry const& e) {
                auto const m = replica::mutation_of(e);
                if (!m) { return true; }
                for (field_op const& op : m->ops) { out.insert(op.field); }
                return true;
            });
        });
        honest(ok.has_value(), "dead letters can't be read");
        return out;
    }

    struct live_result {
        std::optional<failure> failed{};
        bytes body{};
    };

    live_simulation_options options_;
    live_simulation_report report_{};
    random_generator random_;
    instant now_{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
    bool polling_ = false;
    bool unruly_ = false;
    bool blocked_ = false;  ///< no connection comes about
    bool sound_ = false;    ///< no transaction goes wrong
    milliseconds spread_{0};
    simulated_machine home_{};
    home_type cloud_{rules()};
    std::optional<live_hub> hub_{};
    position published_ = 0;
    function_ref<bool(std::string_view, std::string_view)> may_{may_hook};
    std::vector<std::unique_ptr<device>> devices_{};
    std::vector<std::shared_ptr<wire>> wires_{};
    std::vector<letter> waiting_for_{};  ///< requests under way
    std::vector<letter> waiting_{};      ///< requests that have come
    std::vector<letter> replies_{};
    std::array<std::vector<live_result>, names.size()> answers_{};  ///< to listeners
    std::array<std::array<std::uint64_t, 3>, names.size()> expected_{};
    std::map<std::uint64_t, said> said_{};
    std::uint64_t wires_made_ = 0, questions_ = 0, notes_made_ = 0;
    std::set<std::string> made_{};
};

}  // namespace detail

/// One life of devices that listen. The same seed and options give the same life and the same report, on every machine.
/// With `only`, the whole life is lived first, for its dice.
[[nodiscard]] inline live_simulation_report simulate_live(std::uint64_t seed, live_simulation_options const& o = {}) {
    return detail::live_life<detail::live_world>(seed, o);
}

/// The options under which a seed that was found to break a promise breaks it with as few steps as `lives` tries find;
/// with `tell` set in them, one more life tells the story. Precondition: `failed` has found something, under `o`.
[[nodiscard]] inline live_simulation_options shrink_live(live_simulation_report const& failed,
                                                         live_simulation_options o = {}, std::size_t lives = 1'000) {
    return detail::shrink_life<detail::live_world>(failed, std::move(o), lives);
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
