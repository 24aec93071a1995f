// SPDX-License-Identifier: BSL-1.0
#include <syncline/transport/live_hub.hpp>

#include <map>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include <syncline/core/random.hpp>

#include "support/catch.hpp"

using namespace syncline;

namespace {

id128 life(unsigned n) {
    id128 id;
    id.bytes[15] = static_cast<std::byte>(n);
    return id;
}
monotonic_time at(int ms) { return monotonic_time{milliseconds{ms}}; }
constexpr auto anyone = [](std::string_view, std::string_view) { return true; };
constexpr auto not_secret = [](std::string_view who, std::string_view topic) {
    return topic != "secret" || who == "anna";
};

live_frame answer(live_hub& hub, live_hub::member m, live_frame const& f, int now = 0) {
    auto const reply = hub.answer(m, encode(f), at(now), not_secret);
    REQUIRE(reply);
    return *decode_live_frame(*reply);
}
std::vector<live_frame> all_for(live_hub& hub, live_hub::member m) {
    std::vector<live_frame> out;
    while (auto const message = hub.take(m)) { out.push_back(*decode_live_frame(*message)); }
    return out;
}

}  // namespace

TEST_CASE("live hub: those who subscribed hear of news, once and of the newest") {
    live_hub hub(life(1));
    auto const anna = *hub.join("anna", at(0));
    auto const ben = *hub.join("ben", at(0));
    CHECK(answer(hub, anna, live_subscribe{{"rooms", "secret"}}) ==
          live_frame{live_welcome{life(1), {std::uint64_t{0}, std::uint64_t{0}}}});
    CHECK(answer(hub, ben, live_subscribe{{"rooms", "secret"}}) ==
          live_frame{live_welcome{life(1), {std::uint64_t{0}, std::nullopt}}});
    CHECK(!hub.next_ready());
    CHECK(hub.publish("rooms", 5) == 2);
    CHECK(hub.publish("rooms", 5) == 0);
    CHECK(hub.publish("rooms", 4) == 0);
    CHECK(hub.publish("rooms", 7) == 2);
    CHECK(hub.publish("secret", 8) == 1);
    CHECK(hub.publish("nobody", 8) == 0);
    CHECK(hub.next_ready() == anna);
    CHECK(hub.next_ready() == ben);
    CHECK(!hub.next_ready());
    CHECK(all_for(hub, ben) == std::vector<live_frame>{live_news{"rooms", 7}});
    CHECK(all_for(hub, anna) == std::vector<live_frame>{live_news{"rooms", 7}, live_news{"secret", 8}});
    // One who comes later is told how far it is; one who goes hears no more.
    auto const cleo = *hub.join("cleo", at(0));
    CHECK(answer(hub, cleo, live_subscribe{{"nobody", "rooms"}}) ==
          live_frame{live_welcome{life(1), {std::uint64_t{8}, std::uint64_t{7}}}});
    hub.leave(anna);
    hub.leave(anna);
    CHECK(answer(hub, ben, live_subscribe{{"other"}}) == live_frame{live_welcome{life(1), {std::uint64_t{0}}}});
    CHECK(hub.publish("rooms", 9) == 1);
    CHECK(hub.next_ready() == cleo);
    CHECK(hub.answer(anna, encode(live_ping{}), at(0), anyone).error() == errc::not_found);
}

TEST_CASE("live hub: notes go to the others, with who said it, in order; too many are dropped and that is said") {
    live_hub hub(life(1), {.waiting_max = 3, .notes = {.count = 1, .burst = 6}});
    auto const anna = *hub.join("anna", at(0));
    auto const ben = *hub.join("ben", at(0));
    answer(hub, anna, live_subscribe{{"rooms"}});
    answer(hub, ben, live_subscribe{{"rooms"}});
    auto const said = [&](unsigned i) { return live_say{"rooms", live_note_kind::own, bytes(i)}; };
    auto const heard = [&](unsigned i) {
        return live_frame{live_note{"rooms", "anna", live_note_kind::own, bytes(i)}};
    };
    for (unsigned i = 0; i < 3; ++i) { CHECK(answer(hub, anna, said(i)) == live_frame{live_done{}}); }
    CHECK(all_for(hub, anna).empty());
    CHECK(all_for(hub, ben) == std::vector<live_frame>{heard(0), heard(1), heard(2)});
    for (unsigned i = 0; i < 3; ++i) { answer(hub, anna, said(i)); }
    CHECK(hub.answer(anna, encode(said(9)), at(0), anyone).error() == errc::throttled);
    answer(hub, anna, said(3), 1000);
    answer(hub, anna, said(4), 2000);
    CHECK(hub.publish("rooms", 3) == 2);
    CHECK(all_for(hub, ben) == std::vector<live_frame>{live_news{"rooms", 3}, live_missed{}, heard(4)});
    CHECK(hub.answer(ben, encode(live_say{"secret", live_note_kind::own, {}}), at(0), not_secret).error() ==
          errc::forbidden);
}

TEST_CASE("live hub: who is too many, silent or no device is turned away") {
    live_hub hub(life(1), {.members_max = 2, .waiting_bytes_max = 10, .idle_timeout = milliseconds{100}});
    auto const a = *hub.join("a", at(0));
    auto const b = *hub.join("b", at(0));
    CHECK(hub.join("c", at(0)).error() == errc::throttled);
    CHECK(hub.join(std::string(257, 'x'), at(0)).error() == errc::invalid);
    CHECK(hub.join("\xFF", at(0)).error() == errc::invalid);
    CHECK(answer(hub, a, live_ping{}, 60) == live_frame{live_done{}});
    std::vector<live_hub::member> gone;
    auto const note = [&](live_hub::member m) { gone.push_back(m); };
    hub.expire(at(99), note);
    CHECK(gone.empty());
    hub.expire(at(100), note);
    CHECK(gone == std::vector{b});
    hub.heard(a, at(140));
    hub.expire(at(200), note);
    CHECK(hub.members() == 1);
    CHECK(hub.answer(a, encode(live_done{}), at(0), anyone).error() == errc::malformed);
    CHECK(hub.answer(a, as_bytes("what?"), at(0), anyone).error() != errc{});
    CHECK(hub.tell(a, bytes(10)));
    CHECK_FALSE(hub.tell(a, bytes(1)));
    CHECK(all_for(hub, a) == std::vector<live_frame>{live_missed{}});
    CHECK_FALSE(hub.tell(b, {}));
}

TEST_CASE("live hub: over random operations it tells what a naive one tells") {
    random_generator g(GENERATE(1U, 2U, 3U));
    live_hub hub(life(1),
                 {.members_max = 6, .topics_kept_max = 3, .waiting_max = 4, .notes = {.count = 1000, .burst = 1000}});
    struct model {
        std::set<std::string> topics{};
        std::map<std::string, std::uint64_t> news{};  ///< not told yet
        std::vector<live_frame> notes{};
        bool missed = false;
    };
    std::map<live_hub::member, model> members;
    std::map<std::string, std::uint64_t> newest;
    std::string const names[] = {"a", "b", "c"};
    for (int step = 0; step < 3000; ++step) {
        std::string const name = names[below(g, 3)];
        auto who = members.begin();
        if (!members.empty()) { std::advance(who, static_cast<std::ptrdiff_t>(below(g, members.size()))); }
        auto const what = members.empty() ? 0 : below(g, 6);
        if (what == 0) {
            auto const joined = hub.join("p", at(step));
            CHECK(static_cast<bool>(joined) == (members.size() < 6));
            if (joined) { members[*joined]; }
        } else if (what == 1) {
            hub.leave(who->first);
            members.erase(who);
        } else if (what == 2) {
            live_subscribe s;
            live_welcome wanted{life(1), {}};
            for (auto const& n : names) {
                if (below(g, 2) == 0) { continue; }
                s.topics.push_back(n);
                wanted.newest.emplace_back(newest[n]);
            }
            CHECK(answer(hub, who->first, s, step) == live_frame{wanted});
            who->second.topics = {s.topics.begin(), s.topics.end()};
            who->second.news.clear();
        } else if (what == 3) {
            auto const p = newest[name] + below(g, 2);
            bool const news = p > newest[name];
            hub.publish(name, p);
            newest[name] = p;
            for (auto& [id, m] : members) {
                if (news && m.topics.contains(name)) { m.news[name] = p; }
            }
        } else if (what == 4) {
            answer(hub, who->first, live_say{name, live_note_kind::own, bytes(below(g, 3))}, step);
            for (auto& [id, m] : members) {
                if (id == who->first || !m.topics.contains(name)) { continue; }
                if (m.notes.size() == 4) {
                    m.notes.clear();
                    m.missed = true;
                } else {
                    m.notes.push_back(live_note{name, "p", live_note_kind::own, {}});
                }
            }
        } else {
            std::map<std::string, std::uint64_t> news;
            std::size_t notes = 0;
            bool missed = false;
            for (live_frame const& f : all_for(hub, who->first)) {
                if (auto const* n = std::get_if<live_news>(&f)) { CHECK(news.emplace(n->topic, n->position).second); }
                if (std::holds_alternative<live_note>(f)) { ++notes; }
                if (std::holds_alternative<live_missed>(f)) { missed = true; }
            }
            CHECK(news == who->second.news);
            CHECK(notes == who->second.notes.size());
            CHECK(missed == who->second.missed);
            who->second.news.clear();
            who->second.notes.clear();
            who->second.missed = false;
        }
        CHECK(hub.members() == members.size());
    }
    // Whoever has something waiting is named, each once.
    std::set<live_hub::member> named;
    while (auto const m = hub.next_ready()) { CHECK(named.insert(*m).second); }
    for (auto const& [id, m] : members) {
        (void)m;
        CHECK((named.contains(id) || !hub.waiting(id)));
    }
}
