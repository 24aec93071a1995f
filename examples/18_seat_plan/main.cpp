// SPDX-License-Identifier: BSL-1.0
// Two box offices sell one seat while they are offline. The authority decides, says why, and leaves a choice. What a
// ticket may be, and who may do what, is asked too.

#include <iostream>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/replica.hpp>
#include <syncline/storage.hpp>
#include <syncline/transport.hpp>

using namespace syncline;

namespace {

struct show {
    std::string title;
};
constexpr auto describe(show const*) { return record_of<show>("shows", field("title", &show::title)); }

struct ticket {
    std::string show;
    std::string seat;
    std::string guest;
};
constexpr auto describe(ticket const*) {
    return record_of<ticket>("tickets", field("show", &ticket::show), field("seat", &ticket::seat),
                             field("guest", &ticket::guest));
}

// region: constraints
/// A seat of a show is sold once, to a show that there is; a show with tickets can't be deleted.
constraint_table house_constraints() {
    constraint_table table;
    table.uniques = {{"one_a_seat", "tickets", {"show", "seat"}}};
    table.references = {{"ticket_show", "tickets", "show", "shows", parent_deletion::refused}};
    return table;
}
// endregion: constraints

// region: checks
/// A ticket has a guest with a name that fits on it, and a seat. Devices and the authority have the same table.
check_table house_checks() {
    field_check guest{"guest", field_types::text};
    guest.required = true;
    guest.length_max = 20;
    field_check seat{"seat", field_types::text};
    seat.required = true;
    check_table checks;
    checks.add({"tickets", {guest, seat}});
    return checks;
}
// endregion: checks

// region: policy
/// Every box office sells and moves tickets; shows are the manager's. What no rule allows is refused.
access_policy<> house_policy() {
    access_rule tickets;
    tickets.collection = "tickets";
    tickets.creates = tickets.updates = tickets.erases = true;
    access_rule shows;
    shows.collection = "shows";
    shows.role = "manager";
    shows.creates = shows.updates = shows.erases = true;
    role_source const roles{[](std::string_view principal, std::string_view role, void const*) {
        return principal == "north" && role == "manager";  // a program looks it up
    }};
    return access_policy<>{{tickets, shows}, roles};
}
// endregion: policy

rule_table rules() {
    rule_table all = rule_table::of<ticket>();
    all.add({"shows"});
    return all;
}

/// The host reads its clocks and hands the time in. Here it stands still.
instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};

/// Runs `f(tx)` in a transaction, which commits when it succeeds.
template <class Store, class F>
auto write(Store& store, F f) -> std::invoke_result_t<F, typename Store::transaction&> {
    auto tx = store.begin(access_mode::write);
    if (!tx) { return tx.error(); }
    auto out = f(*tx);
    if (!out) { return out; }
    if (auto ok = tx->commit(); !ok) { return ok.error(); }
    return out;
}

struct house {
    constraint_table constraints = house_constraints();
    check_table checks = house_checks();
    memory_storage store{};
    authority<access_policy<>> self{rules(), options(), house_policy()};

    house() = default;
    house(house const&) = delete;
    [[nodiscard]] authority_options options() const {
        authority_options o;
        o.constraints = &constraints;
        o.checks = &checks;
        return o;
    }
    [[nodiscard]] replica_options device_options() const {
        replica_options o;
        o.constraints = &constraints;
        o.checks = &checks;
        return o;
    }
};

struct box_office {
    std::string name;
    house& home;
    syncline::random_generator random;  // seeded, to print the same each time; a program takes the system's entropy
    memory_storage store{};
    replica self;
    session<memory_storage, syncline::random_generator> link{store, self, random};

    box_office(std::string n, house& h, std::uint64_t seed)
        : name(std::move(n)), home(h), random(seed), self(rules(), h.device_options()) {}
    box_office(box_office const&) = delete;

    status open() {
        return write(store, [&](auto& tx) { return self.open(tx, name, now, random); });
    }
    status sell(std::string_view id, ticket const& t) {
        std::cout << "  " << name << " sells " << t.seat << " to " << t.guest << '\n';
        auto const sold = write(store, [&](auto& tx) { return self.create(tx, id, t, now); });
        return sold ? status{} : status{sold.error()};
    }
    // region: check
    /// Says what the checks say before anything is written.
    void try_to_sell(std::string_view id, std::vector<field_op> ops) {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return; }
        auto const said = self.check(*tx, {"tickets", id}, change_kind::create, std::move(ops), now);
        if (said && !said->accepted) { std::cout << "  " << name << " can't: " << said->text << '\n'; }
    }
    // endregion: check
    status erase(record_key const& k) {
        auto const gone = write(store, [&](auto& tx) { return self.erase(tx, k, now); });
        return gone ? status{} : status{gone.error()};
    }
    status sync() {
        auto answer = [&](bytes_view request) { return serve(home.store, home.self, name, request, now); };
        loopback_transport way(answer);
        auto const done = drive(
            link, store, way, [] { return now; }, [](event const&) {}, hurry{});
        if (!done) { return done.error(); }
        return done->failed ? status{*done->failed} : status{};
    }
    void list() {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return; }
        std::cout << "  " << name << " has:";
        (void)self.scan(*tx, "tickets", [&](record_key const&, record const& r) {
            if (auto const t = decode_record<ticket>(r.fields)) {
                std::cout << ' ' << t->seat << '=' << t->guest << (r.pending ? "?" : "");
            }
            return true;
        });
        std::cout << '\n';
    }
};

// region: refused
/// What the authority refused, and why.
struct refusal_letter {
    std::uint64_t token = 0;  ///< of the dead letter
    mutation wrote{};
    std::string said;              ///< in words
    std::optional<refusal> why{};  ///< where a constraint refused it
};
template <class Tx>
result<std::vector<refusal_letter>> refusals(replica const& self, Tx& tx) {
    std::vector<refusal_letter> all;
    auto ok = self.queue().scan_dead(tx, [&](outbox_entry const& letter) {
        auto wrote = replica::mutation_of(letter);
        cbor_reader in{letter.verdict};
        verdict const said = decode_verdict(in);
        if (wrote && in.finish()) {
            all.push_back({letter.token, std::move(*wrote), said.text, refusal_from(said.text)});
        }
        return true;
    });
    if (!ok) { return ok.error(); }
    return all;
}
// endregion: refused

// region: choice
/// Whoever came second sees who has the seat, and sells another one: a new ticket, and the dead letter goes.
status move_to(box_office& office, std::string_view seat) {
    return write(office.store, [&](auto& tx) -> status {
        auto const all = refusals(office.self, tx);
        if (!all) { return all.error(); }
        for (refusal_letter const& sale : *all) {
            if (!sale.why || sale.why->kind != refusal_kind::taken || !sale.why->other) { continue; }
            auto const holder = office.self.template read<ticket>(tx, sale.why->other->id_text());
            if (!holder) { return holder.error(); }
            std::cout << "  " << office.name << " is told: " << to_text(*sale.why);
            if (*holder) { std::cout << ", by " << (*holder)->guest; }
            ticket again;
            for (field_op const& op : sale.wrote.ops) {
                if (op.field == "show") { again.show = std::string{cbor_reader{op.value}.text()}; }
                if (op.field == "guest") { again.guest = std::string{cbor_reader{op.value}.text()}; }
            }
            again.seat = std::string{seat};
            std::cout << "; " << again.guest << " takes " << seat << '\n';
            auto const sold = office.self.create(tx, sale.wrote.record.id_text(), again, now);
            if (!sold) { return sold.error(); }
            if (auto ok = office.self.queue().discard(tx, sale.token); !ok) { return ok; }
        }
        return {};
    });
}
// endregion: choice

status evening() {
    house home;
    syncline::random_generator dice(1);
    auto opened = write(home.store, [&](auto& tx) { return home.self.open(tx, now, dice); });
    if (!opened) { return opened; }
    box_office north("north", home, 2);
    box_office south("south", home, 3);
    for (box_office* b : {&north, &south}) {
        if (auto ok = b->open(); !ok) { return ok; }
    }
    auto const made = write(north.store, [&](auto& tx) { return north.self.create(tx, "ball", show{"Ball"}, now); });
    if (!made) { return made.error(); }
    if (auto ok = north.sync(); !ok) { return ok; }
    if (auto ok = south.sync(); !ok) { return ok; }

    std::cout << "Both offices are offline.\n";
    north.try_to_sell("n0", {});
    if (auto ok = north.sell("n1", {"ball", "12", "Ann"}); !ok) { return ok; }
    if (auto ok = south.sell("s1", {"ball", "12", "Ben"}); !ok) { return ok; }
    if (auto ok = south.sell("s2", {"ball", "14", "Cas"}); !ok) { return ok; }

    std::cout << "The network is back, for the north first.\n";
    if (auto ok = north.sync(); !ok) { return ok; }
    if (auto ok = south.sync(); !ok) { return ok; }
    south.list();
    if (auto ok = move_to(south, "13"); !ok) { return ok; }
    if (auto ok = south.sync(); !ok) { return ok; }
    if (auto ok = north.sync(); !ok) { return ok; }
    north.list();

    std::cout << "Both delete the show.\n";
    for (box_office* b : {&south, &north}) {
        if (auto ok = b->erase({"shows", "ball"}); !ok) { return ok; }
        if (auto ok = b->sync(); !ok) { return ok; }
        auto tx = b->store.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto const refused = refusals(b->self, *tx);
        if (!refused) { return refused.error(); }
        for (refusal_letter const& s : *refused) { std::cout << "  " << b->name << " is told: " << s.said << '\n'; }
    }
    auto tx = north.store.begin(access_mode::read);
    if (!tx) { return tx.error(); }
    auto const kept = north.self.read<show>(*tx, "ball");
    if (!kept) { return kept.error(); }
    std::cout << "  the show is " << (*kept ? "still on" : "off") << '\n';
    return {};
}

}  // namespace

int main() {
    if (auto const outcome = evening(); !outcome) {
        std::cerr << message(outcome.error().code) << ": " << outcome.error().detail << '\n';
        return 1;
    }
}
