// SPDX-License-Identifier: BSL-1.0
// A box office has sold from tables of its own for years; head office has a full store too, and other numbers for the
// same halls and shows. The two are brought together: first a dry run, which prints what would become of each row.

#include <iostream>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include <syncline/conflict.hpp>
#include <syncline/replica.hpp>
#include <syncline/storage.hpp>

using namespace syncline;

namespace {

struct hall {
    std::string name;
    std::int64_t seats = 0;
};
constexpr auto describe(hall const*) {
    return record_of<hall>("halls", field("name", &hall::name), field("seats", &hall::seats, rule::maximum));
}

struct show {
    std::string hall;  // its id
    std::string day;
    std::string title;
    std::optional<std::string> note;
};
constexpr auto describe(show const*) {
    return record_of<show>("shows", field("hall", &show::hall), field("day", &show::day), field("title", &show::title),
                           field("note", &show::note, rule::manual));
}

rule_table rules() { return rule_table::of<hall, show>(); }

/// The host reads its clocks and hands the time in. Here it stands still.
instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{0}}};
wall_time const last_week = now.wall - milliseconds{604'800'000};

// region: source
/// The program's own tables: numbers for ids, and a time for some rows.
struct own_tables {
    struct line {
        int number;
        bytes fields;
        std::optional<wall_time> written;
    };
    std::vector<line> halls, shows;

    /// Tells the rows after one, in the order of the table.
    status scan(std::string_view collection, bytes_view after, function_ref<bool(source_record const&)> visit) const {
        bool on = after.empty();
        for (line const& l : collection == "halls" ? halls : shows) {
            std::string const id = std::to_string(l.number);
            if (on && !visit({as_bytes(id), l.fields, l.written})) { return {}; }
            on = on || id == as_text(after);
        }
        return {};
    }
};
// endregion: source

// region: plan
/// A hall is known by its name, a show by its hall and day. Halls come first: a show's key has one in it.
adoption_plan house_plan() {
    adoption_plan plan;
    plan.source = "box office north";
    plan.collections = {{"halls", {"name"}}, {"shows", {"hall", "day"}, {{"hall", "halls"}}}};
    return plan;
}
// endregion: plan

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

struct head_office {
    memory_storage store{};
    authority<> self{rules()};
};

struct box_office {
    head_office& home;
    memory_storage store{};
    rule_table table = rules();
    conflict_queue queue{};
    conflict_desk desk{queue, table};
    basic_replica<stored_records, conflict_desk> self{table, {}, {}, desk};
    syncline::random_generator random{7};  // seeded, to print the same each time

    explicit box_office(head_office& h) : home(h) {}
    box_office(box_office const&) = delete;

    status exchange() {
        for (;;) {
            if (auto ok = write(store, [&](auto& tx) { return self.prepare(tx, now); }); !ok) { return ok; }
            auto const request = write(store, [&](auto& tx) { return self.request_message(tx); });
            if (!request) { return request.error(); }
            auto const reply = serve(home.store, home.self, "north", *request, now);
            if (!reply) { return reply.error(); }
            auto const report = write(store, [&](auto& tx) { return self.absorb(tx, *reply, now, random); });
            if (!report) { return report.error(); }
            if (!report->more) { return {}; }
        }
    }
    status print() {
        auto tx = store.begin(access_mode::read);
        if (!tx) { return tx.error(); }
        auto ok = self.scan(*tx, "shows", [&](record_key const&, record const& r) {
            auto const s = decode_record<show>(r.fields);
            auto const in = s ? self.read<hall>(*tx, s->hall) : failure{errc::not_found};
            if (!in || !*in) { return false; }
            std::cout << "  " << s->day << " in the " << (*in)->name << " (" << (*in)->seats << "): " << s->title;
            if (s->note) { std::cout << " [" << *s->note << ']'; }
            std::cout << '\n';
            return true;
        });
        return ok;
    }
};

void tell(adopted_row const& r) {
    std::cout << "  " << r.source.collection << ' ' << r.source.id_text() << ": " << name(r.how);
    if (r.how != adopted::refused) {
        std::cout << (r.how == adopted::created ? " as " : " with ") << r.target.id_text().substr(0, 6);
    } else {
        std::cout << ", " << r.why.detail;
    }
    for (std::string const& f : r.contested) { std::cout << ", a person decides on " << f; }
    std::cout << '\n';
}
void tell(adoption_counts const& c) {
    std::cout << "  " << c.records() << " rows: " << c.joined << " joined, " << c.merged << " merged, " << c.queued
              << " queued, " << c.created << " created, " << c.refused << " refused, " << c.kept << " kept\n";
}

bytes encoded(auto const& record) { return *encode_record(record); }

status run() {
    head_office home;
    box_office office{home};
    syncline::random_generator random{3};
    auto ok = write(home.store, [&](auto& tx) { return home.self.open(tx, now, random); });
    if (!ok) { return ok; }
    ok = write(office.store, [&](auto& tx) { return office.self.open(tx, "north", now, office.random); });
    if (!ok) { return ok; }
    // Head office's store is full: another device has seen to that.
    ok = write(office.store, [&](auto& tx) -> status {
        auto done = office.self.create(tx, "h81", hall{"Great Hall", 400}, now);
        if (done) { done = office.self.create(tx, "h82", hall{"Cellar", 60}, now); }
        if (done) { done = office.self.create(tx, "s1", show{"h81", "monday", "Hamlet", "sold out"}, now); }
        if (done) { done = office.self.create(tx, "s2", show{"h82", "monday", "Cabaret", std::nullopt}, now); }
        return done ? status{} : status{done.error()};
    });
    if (!ok) { return ok; }
    if (ok = office.exchange(); !ok) { return ok; }

    own_tables tables;
    tables.halls = {{1, encoded(hall{"Cellar", 60}), {}},
                    {2, encoded(hall{"Great Hall", 380}), {}},
                    {3, encoded(hall{"Terrace", 90}), {}}};
    tables.shows = {{1, encoded(show{"2", "monday", "Hamlet", "press comes"}), last_week},
                    {2, encoded(show{"1", "monday", "Cabaret", std::nullopt}), last_week},
                    {3, encoded(show{"3", "tuesday", "Jazz", std::nullopt}), last_week},
                    {4, encoded(show{"9", "tuesday", "Lost", std::nullopt}), last_week}};

    // region: run
    adoption const adopting{house_plan(), office.queue};
    std::cout << "Dry run:\n";
    auto const foretold =
        dry_run(office.store, adopting, office.self, tables, now, [](adopted_row const& r) { tell(r); });
    if (!foretold) { return foretold.error(); }
    tell(foretold->counts);

    std::cout << "The run itself, three rows a transaction:\n";
    adoption_report report;
    while (report.more) {
        auto const step = write(office.store, [&](auto& tx) {
            return adopting.step(tx, office.self, tables, now, 3, [](adopted_row const&) {});
        });
        if (!step) { return step.error(); }
        report = *step;
        if (report.full) { return errc::limit; }  // a program exchanges here, and goes on
    }
    tell(report.counts);
    // endregion: run
    if (ok = office.exchange(); !ok) { return ok; }
    if (ok = office.print(); !ok) { return ok; }

    std::cout << "The person takes the office's note, and hall 9 is found again:\n";
    resolution mine;
    mine.kind = resolve_kind::use_local;
    ok = write(office.store, [&](auto& tx) -> status {
        std::optional<conflict> open;
        auto found = office.queue.list(tx, {}, [&](conflict const& c) {
            open = c;
            return false;
        });
        if (!found || !open) { return found ? status{errc::not_found} : found; }
        auto done = office.desk.resolve(tx, office.self, open->id, open->revision, mine, as_bytes("Ann"), now);
        return done ? adopting.restart(tx) : status{done.error()};
    });
    if (!ok) { return ok; }
    tables.halls.push_back({9, encoded(hall{"Attic", 20}), {}});
    report = {};
    while (report.more) {
        auto const step = write(office.store, [&](auto& tx) {
            return adopting.step(tx, office.self, tables, now, 3, [](adopted_row const& r) { tell(r); });
        });
        if (!step) { return step.error(); }
        report = *step;
    }
    tell(report.counts);
    if (ok = office.exchange(); !ok) { return ok; }
    return office.print();
}

}  // namespace

int main() {
    auto const ok = run();
    if (!ok) { std::cout << message(ok.error().code) << ' ' << ok.error().detail << '\n'; }
    return ok ? 0 : 1;
}
