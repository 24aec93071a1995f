// SPDX-License-Identifier: BSL-1.0

/// A device: a replica in an SQLite file, and a session that exchanges over HTTP when there is a network.

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <syncline/adapters/http.hpp>
#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/replica/session.hpp>

#include "day.hpp"
#include "plan.hpp"
#include "process.hpp"
#include "roles.hpp"
#include "text.hpp"

namespace venue {
namespace {

using syncline::access_mode;
using syncline::record_key;
using transaction = syncline::sqlite_storage::transaction;

/// The device's name is its token.
struct name_tag {
    std::string name;
    syncline::result<std::string> token() { return name; }
    syncline::status refresh() { return syncline::errc::unauthorised; }
};

/// Keeps what went over the wire, one file a message, where VENUE_RECORD names a folder.
struct recorder {
    std::string name;
    unsigned count = 0;

    void keep(char const* what, syncline::bytes_view message) {
        char const* const folder = std::getenv("VENUE_RECORD");
        if (folder == nullptr) { return; }
        char end[32];
        std::snprintf(end, sizeof end, "-%05u-%s", ++count, what);
        if (std::FILE* const file = std::fopen((std::string{folder} + '/' + name + end).c_str(), "wb")) {
            (void)std::fwrite(message.data(), 1, message.size(), file);
            (void)std::fclose(file);
        }
    }
};

/// The way to the authority, through a network that may go in the middle of an exchange.
struct radio {
    syncline::http_transport& way;
    recorder seen;
    bool cut = false;  ///< the request arrives, the reply doesn't

    void exchange(syncline::bytes_view request, syncline::completion done) {
        seen.keep("request", request);
        auto heard = [&](syncline::transport_reply const& reply) {
            if (reply.message) { seen.keep("reply", *reply.message); }
            if (!std::exchange(cut, false)) { return done(reply); }
            done({syncline::errc::connection_lost, {}});
        };
        way.exchange(request, syncline::completion::to(heard));
    }
    [[nodiscard]] syncline::transport_limits limits() const { return way.limits(); }
};
static_assert(syncline::transport<radio>);

class device {
public:
    device(role_options const& options, syncline::sqlite_storage& store)
        : options_(options),
          store_(store),
          replica_(rules()),
          random_(options.seed),
          session_(store, replica_, syncline::random_generator{options.seed + 1'000}),
          tag_{options.name},
          http_({.host = "127.0.0.1", .port = options.port}, tag_),
          radio_{http_, {options.name}} {
        set_time(options.now, 0);
    }

    [[nodiscard]] syncline::status open() {
        return write([&](transaction& tx) { return replica_.open(tx, options_.name, now_, random_); });
    }

    /// {"do": "step", "now": wall ms, "elapsed": ms, "online": bool, "hurry": bool, "cut": bool, "edits": [...]}
    ///     the time is now; make these edits; then, online, exchange what is due, at once if in a hurry
    /// {"do": "look"}                      the conflicts that wait
    /// {"do": "preview" | "decide", "token": n, "seen": n, "decisions": [{"field", "take", "value"}]}
    ///     ends a conflict, or shows what record that would make
    json obey(json const& order) {
        if (order.contains("now")) { set_time(order["now"].get<std::int64_t>(), order["elapsed"].get<std::int64_t>()); }
        std::string const what = order["do"];
        if (what == "look") { return {{"conflicts", conflicts()}}; }
        if (what == "preview") { return decide(order, false); }
        if (what == "decide") { return decide(order, true); }

        json answer;
        answer["edits"] = make(order["edits"], order["together"]);
        answer["decided"] = json::array();
        if (order["online"]) {
            radio_.cut = order["cut"];
            exchange(order["hurry"], answer);
            answer["conflicts"] = conflicts();
        }
        return answer;
    }

private:
    void set_time(std::int64_t wall_ms, std::int64_t elapsed_ms) {
        now_.wall = syncline::wall_time{syncline::milliseconds{wall_ms + options_.ahead * 1'000}};
        now_.monotonic = syncline::monotonic_time{syncline::milliseconds{elapsed_ms}};
    }

    /// Runs `f(tx)` in a transaction and commits unless it failed.
    template <class F>
    auto write(F&& f) -> decltype(f(std::declval<transaction&>())) {
        auto tx = store_.begin(access_mode::write);
        if (!tx) { return tx.error(); }
        auto out = f(*tx);
        if (out) {
            if (auto ok = tx->commit(); !ok) { return ok.error(); }
        }
        return out;
    }

    /// One edit, as an app would make it: on a struct.
    syncline::result<syncline::write_receipt> make(transaction& tx, edit const& e) {
        syncline::result<syncline::write_receipt> receipt = syncline::errc::invalid;
        complaints no;
        with_collection(e.collection, [&](auto t) {
            using T = typename decltype(t)::record;
            switch (e.what) {
                case edit::action::create: {
                    T record;
                    read_record(e.fields, "", no, record);
                    receipt = replica_.create(tx, e.id, record, now_);
                    break;
                }
                case edit::action::set:
                    receipt = replica_.edit<T>(
                        tx, e.id, [&](T& r) { set_members(e.fields, "", no, r); }, now_);
                    break;
                case edit::action::add:
                    receipt = replica_.edit<T>(
                        tx, e.id, [&](T& r) { add_to_members(e.fields, "", no, r); }, now_);
                    break;
                case edit::action::erase: receipt = replica_.erase(tx, {e.collection, e.id}, now_); break;
            }
        });
        if (no.any()) { return syncline::failure{syncline::errc::invalid, "not a change to this record"}; }
        return receipt;
    }
    static json outcome(syncline::result<syncline::write_receipt> const& r) {
        if (!r) { return {{"became", "refused"}, {"why", syncline::message(r.error().code)}}; }
        if (r->token == 0) { return {{"became", r->coalesced ? "annihilated" : "unchanged"}}; }
        return {{"became", r->coalesced ? "coalesced" : "entered"}};
    }
    json make(json const& edits, bool together) {
        json out = json::array();
        if (together) {
            auto const all = write([&](transaction& tx) -> syncline::status {
                for (json const& j : edits) {
                    auto const r = make(tx, edit_from(j));
                    if (!r) { return r.error(); }
                    out.push_back(outcome(r));
                }
                return {};
            });
            if (!all) { return {{{"became", "refused"}, {"why", syncline::message(all.error().code)}}}; }
            return out;
        }
        for (json const& j : edits) {
            edit const e = edit_from(j);
            out.push_back(outcome(write([&](transaction& tx) { return make(tx, e); })));
        }
        return out;
    }

    void exchange(bool hurry, json& answer) {
        if (hurry) {
            auto const ok = write([&](transaction& tx) { return session_.handle(syncline::hurry{}, tx, now_); });
            if (!ok) { answer["failed"] = syncline::message(ok.error().code); }
        }
        auto const report = syncline::drive(
            session_, store_, radio_, [&] { return now_; },
            [&](syncline::event const& e) {
                if (e.kind == syncline::event_kind::decided) { answer["decided"].push_back(describe(e)); }
            });
        if (!report) {
            answer["failed"] = syncline::message(report.error().code);
            return;
        }
        answer["exchanges"] = report->exchanges;
        answer["pulled"] = report->rows;
        answer["sent"] = report->sent_bytes;
        answer["received"] = report->received_bytes;
        if (report->failed) { answer["failed"] = syncline::message(report->failed->code); }
        answer["rejected"] = read_dead_letters();
    }

    static json describe(syncline::event const& e) {
        json out{{"collection", e.record.collection},
                 {"id", e.record.id_text()},
                 {"verdict", name(e.said.kind)},
                 {"again", e.said.again},
                 {"fields", json::array()}};
        for (syncline::decision const& d : e.said.decisions) {
            out["fields"].push_back({{"field", d.field}, {"by", name(d.by)}, {"won", name(d.won)}});
        }
        return out;
    }

    /// What the authority refused: shown to the person with what they had written and what stands now, then
    /// discarded.
    json read_dead_letters() {
        json out = json::array();
        auto const ok = write([&](transaction& tx) -> syncline::status {
            std::vector<std::uint64_t> read;
            auto seen = replica_.queue().scan_dead(tx, [&](syncline::outbox_entry const& letter) {
                read.push_back(letter.token);
                auto const m = syncline::replica::mutation_of(letter);
                syncline::cbor_reader in{letter.verdict};
                syncline::verdict const said = decode_verdict(in);
                if (m) { out.push_back(describe_rejected(tx, *m, said)); }
                return true;
            });
            for (std::size_t i = 0; i < read.size() && seen; ++i) { seen = replica_.queue().discard(tx, read[i]); }
            return seen;
        });
        if (!ok) { return json::array(); }
        return out;
    }
    json describe_rejected(transaction& tx, syncline::mutation const& m, syncline::verdict const& said) {
        auto const stands = replica_.read(tx, m.record);
        syncline::bytes const fields = stands && *stands ? (*stands)->fields : syncline::bytes{};
        json out{{"collection", m.record.collection},
                 {"id", m.record.id_text()},
                 {"title", show_title(fields)},
                 {"why", said.text.empty() ? syncline::message(said.reason) : said.text},
                 {"change", m.kind == syncline::change_kind::erase ? "delete" : "change"},
                 {"fields", json::array()}};
        for (syncline::field_op const& op : m.ops) {
            out["fields"].push_back({{"field", op.field},
                                     {"written", show_op(m.record.collection, op)},
                                     {"stands", show_field(m.record.collection, op.field, fields)}});
        }
        return out;
    }

    static std::string show_op(std::string const& collection, syncline::field_op const& op) {
        std::string const v = show(collection, op.field, op.value);
        return op.kind == syncline::op_kind::add ? (v.starts_with('-') ? v : "+" + v) : v;
    }

    json conflicts() {
        json out = json::array();
        auto tx = store_.begin(access_mode::read);
        if (!tx) { return out; }
        (void)replica_.conflicts(*tx, [&](syncline::open_conflict const& c) {
            std::string const& collection = c.local.record.collection;
            bool const gone = !c.remote || c.remote->deleted;
            syncline::bytes const remote = gone ? syncline::bytes{} : c.remote->fields;
            json one{{"token", c.token},
                     {"collection", collection},
                     {"id", c.local.record.id_text()},
                     {"title", show_title(remote)},
                     {"gone", gone},
                     {"seen", c.remote ? c.remote->version : 0},
                     {"written", c.local.stamp.time().time_since_epoch().count()},
                     {"fields", json::array()}};
            for (syncline::field_op const& op : c.local.ops) {
                if (std::find(c.fields.begin(), c.fields.end(), op.field) == c.fields.end()) { continue; }
                json field{{"field", op.field},
                           {"base", show_field(collection, op.field, c.base)},
                           {"local", show_op(collection, op)},
                           {"remote", show_field(collection, op.field, remote)}};
                if (!gone) {
                    syncline::write_mark const& by = c.remote->mark_of(op.field);
                    field["author"] = by.author;
                    field["changed"] = by.stamp.time().time_since_epoch().count();
                }
                one["fields"].push_back(std::move(field));
            }
            out.push_back(std::move(one));
            return true;
        });
        return out;
    }

    /// A preview is the decision in a transaction that is not committed.
    json decide(json const& order, bool for_good) {
        std::uint64_t const token = order["token"];
        syncline::position const seen = order["seen"];
        json out{{"fields", json::object()}};
        auto tx = store_.begin(access_mode::write);
        if (!tx) { return {{"failed", syncline::message(tx.error().code)}}; }

        record_key about;
        auto found = replica_.conflicts(*tx, [&](syncline::open_conflict const& c) {
            if (c.token == token) { about = c.local.record; }
            return about.collection.empty();
        });
        if (!found) { return {{"failed", syncline::message(found.error().code)}}; }

        std::vector<syncline::field_resolution> decisions;
        for (json const& d : order["decisions"]) {
            using choice = syncline::field_resolution::choice;
            std::string const take = d["take"];
            syncline::field_resolution r;
            r.field = d["field"];
            r.take = take == "local" ? choice::local : take == "remote" ? choice::remote : choice::custom;
            if (r.take == choice::custom) {
                // A custom value comes as JSON; the described struct knows what it is in CBOR.
                complaints no;
                with_collection(about.collection, [&](auto t) {
                    typename decltype(t)::record scratch;
                    set_members(json{{r.field, d["value"]}}, "", no, scratch);
                    auto const fields = syncline::encode_record(scratch);
                    auto const item = fields ? syncline::map_find(*fields, r.field) : std::nullopt;
                    if (item && *item) { r.value = syncline::to_bytes(**item); }
                });
                if (no.any()) { return {{"failed", no.first()}}; }
            }
            decisions.push_back(std::move(r));
        }
        auto const ended = replica_.resolve(*tx, token, seen, decisions, now_);
        if (ended) {
            out.update(outcome(*ended));
            out["dismissed"] = false;
        } else if (ended.error() == syncline::errc::not_found && !about.collection.empty()) {
            // The record was deleted meanwhile: there is nothing left to decide about.
            if (auto ok = replica_.dismiss(*tx, token); !ok) {
                return {{"failed", syncline::message(ok.error().code)}};
            }
            out["became"] = "unchanged";
            out["dismissed"] = true;
        } else {
            return {{"failed", syncline::message(ended.error().code)}};
        }
        auto const record = replica_.read(*tx, about);
        if (record && *record) {
            syncline::cbor_map_cursor fields{(*record)->fields};
            while (fields.next()) {
                out["fields"][std::string{fields.key()}] = show(about.collection, fields.key(), fields.value());
            }
        }
        if (for_good) {
            if (auto ok = tx->commit(); !ok) { return {{"failed", syncline::message(ok.error().code)}}; }
        }
        return out;
    }

    role_options const& options_;
    syncline::sqlite_storage& store_;
    syncline::replica replica_;
    syncline::random_generator random_;
    syncline::session<syncline::sqlite_storage, syncline::random_generator> session_;
    name_tag tag_;
    syncline::http_transport http_;
    radio radio_;
    syncline::instant now_{};
};

}  // namespace

int run_device(role_options const& options) {
    auto store = syncline::sqlite_storage::open(options.database.c_str());
    if (!store) {
        std::fprintf(stderr, "%s: %s\n", options.database.c_str(), syncline::message(store.error().code));
        return 1;
    }
    {
        device self{options, *store};
        if (auto ok = self.open(); !ok) {
            std::fprintf(stderr, "%s: %s\n", options.database.c_str(), syncline::message(ok.error().code));
            return 1;
        }
        json order;
        while (read_line(stdin, order)) {
            if (!write_line(stdout, self.obey(order))) { return 1; }
        }
    }
    return store->close() ? 0 : 1;
}

}  // namespace venue
