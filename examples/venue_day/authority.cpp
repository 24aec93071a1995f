// SPDX-License-Identifier: BSL-1.0

/// The authority: one SQLite file behind HTTP on loopback.

#include <atomic>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include <syncline/adapters/http.hpp>
#include <syncline/adapters/sqlite.hpp>
#include <syncline/core/random.hpp>
#include <syncline/replica/authority.hpp>

#include "day.hpp"
#include "process.hpp"
#include "roles.hpp"

namespace venue {
namespace {

/// What the house insists on, whoever asks. It sees each mutation with the record before and after it.
struct house_rules {
    syncline::validation operator()(syncline::validation_input const& in) const {
        std::string_view const collection = in.change.record.collection;
        syncline::validation said;
        if (in.principal == "photographer" && in.change.kind == syncline::change_kind::erase && collection != "shots") {
            return no("the photographer may strike shots off the list, and nothing else");
        }
        if (in.after.deleted) { return said; }
        with_collection(collection, [&](auto t) {
            auto const record = syncline::decode_record<typename decltype(t)::record>(in.after.fields);
            said = record ? check(*record) : no("not a record of this collection");
        });
        return said;
    }

private:
    static syncline::validation no(std::string why) { return {false, syncline::errc::rejected, std::move(why)}; }

    template <class T>
    static syncline::validation check(T const&) {
        return {};
    }
    static syncline::validation check(table const& t) {
        if (t.seated <= t.places) { return {}; }
        return no(t.name + " has " + std::to_string(t.places) + " places; " + std::to_string(t.seated) +
                  " people would sit there");
    }
    static syncline::validation check(timeline_entry const& e) {
        if (e.begins < e.ends) { return {}; }
        return no("\"" + e.title + "\" would begin at " + show(e.begins) + " and end at " + show(e.ends));
    }
    static syncline::validation check(event const& e) {
        if (e.begins < e.ends) { return {}; }
        return no("\"" + e.title + "\" would begin at " + show(e.begins) + " and end at " + show(e.ends));
    }
};

}  // namespace

int run_authority(role_options const& options) {
    std::atomic<std::int64_t> wall_ms{options.now};
    auto const now = [&] { return syncline::instant{syncline::wall_time{syncline::milliseconds{wall_ms.load()}}, {}}; };
    auto store = syncline::sqlite_storage::open(options.database.c_str());
    if (!store) {
        std::fprintf(stderr, "%s: %s\n", options.database.c_str(), syncline::message(store.error().code));
        return 1;
    }
    syncline::authority<house_rules> const self{rules()};
    syncline::random_generator random{options.seed};
    {
        auto tx = store->begin(syncline::access_mode::write);
        if (!tx || !self.open(*tx, now(), random) || !tx->commit()) { return 1; }
    }

    // In this house the token is the device's name; elsewhere it is what your sign-in hands out.
    auto sign_in = [](std::string_view token) -> syncline::result<std::string> {
        if (token.empty()) { return syncline::errc::unauthorised; }
        return std::string{token};
    };
    auto answer = [&](syncline::request_context const& who, syncline::bytes_view request) {
        return syncline::peer_reply{syncline::serve(*store, self, who.principal, request, now())};
    };
    syncline::http_server server{{}, answer};
    server.authorise_by(sign_in);
    if (auto ok = server.listen(); !ok) {
        std::fprintf(stderr, "the authority: %s\n", ok.error().detail);
        return 1;
    }
    if (!write_line(stdout, {{"port", server.port()}})) { return 1; }

    // The day's clock comes from the parent; when the parent goes, so does the server.
    std::thread clock([&] {
        json told;
        while (read_line(stdin, told)) {
            wall_ms = told["now"].get<std::int64_t>();
            if (!write_line(stdout, json::object())) { break; }
        }
        server.stop();
    });
    server.run();
    clock.join();
    return store->close() ? 0 : 1;
}

}  // namespace venue
