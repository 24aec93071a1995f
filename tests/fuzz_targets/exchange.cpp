// SPDX-License-Identifier: BSL-1.0

/// Messages of a stranger as a replica absorbs and an authority handles them: a refused one leaves every byte of the
/// store as it was, one that was taken leaves a store that all operations can read, and the same one again changes
/// nothing. Messages are a body as it stands in a frame whose checksum is right, or one made of plausible parts. And
/// stores that somebody else has damaged, over which every operation has to answer.

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <syncline/replica/authority.hpp>
#include <syncline/replica/replica.hpp>
#include <syncline/storage/memory.hpp>

#include "fuzz_targets/cbor_mutator.hpp"
#include "fuzz_targets/choices.hpp"
#include "fuzz_targets/damage.hpp"
#include "fuzz_targets/fields.hpp"
#include "fuzz_targets/require.hpp"
#include "fuzz_targets/target.hpp"

namespace {

using namespace syncline;
using fuzz::choices;

instant const now{wall_time{milliseconds{1'790'000'000'000}}, monotonic_time{milliseconds{1'000}}};
constexpr std::string_view ids[] = {"x", "y", "z", "new"};

record_key key_of(choices& in) { return {"things", in.of(ids)}; }

/// Counts the writes.
struct watched {
    memory_storage::transaction& tx;
    std::uint64_t writes = 0;

    result<bool> get(bytes_view k, bytes& out) { return tx.get(k, out); }
    status put(bytes_view k, bytes_view v) {
        ++writes;
        return tx.put(k, v);
    }
    status erase(bytes_view k) {
        ++writes;
        return tx.erase(k);
    }
    status scan(key_range r, scan_visitor visit) { return tx.scan(r, visit); }
};

/// Runs `f(tx)` and commits when it succeeded.
template <class F>
auto write(memory_storage& store, F&& f) {
    auto tx = store.begin(access_mode::write);
    watched w{*tx};
    auto out = f(w);
    if (out) { SYNCLINE_FUZZ_REQUIRE(tx->commit()); }
    return out;
}

replica const& subject() {
    static replica const r(rule_table().add(fuzz::field_rules()));
    return r;
}
authority<> const& cloud() {
    static authority<> const a(rule_table().add(fuzz::field_rules()));
    return a;
}

result<bytes> answer_of(memory_storage& central, std::string_view principal, bytes const& message) {
    return write(central, [&](auto& tx) { return cloud().handle(tx, principal, message, now); });
}

/// Stores to begin with, and what they are called on the wire.
struct scene {
    std::vector<memory_snapshot> devices{};
    std::vector<request> requests{};  ///< the next request of each device
    std::vector<memory_snapshot> authorities{};
    id128 epoch{};
    bytes reply_seen{};  ///< one that the last device absorbed
};

scene make_scene() {
    scene s;
    random_generator random(1);
    memory_storage device;
    memory_storage other;
    memory_storage central;
    replica const& r = subject();
    auto const done = [](auto const& outcome) { SYNCLINE_FUZZ_REQUIRE(outcome); };
    auto const set = [](std::string_view f, std::int64_t n) {
        return field_op{std::string(f), op_kind::set, fuzz::integer_item(n), {}};
    };
    auto const fields = [](std::int64_t n) {
        fuzz::field_map all;
        for (auto const name : fuzz::field_names) { all[std::string(name)] = fuzz::integer_item(n); }
        return fuzz::encoded(all);
    };
    auto const update = [&](memory_storage& store, std::string_view id, field_op op) {
        done(write(store, [&](auto& tx) { return r.update(tx, {"things", id}, {op}, now); }));
    };
    auto const keep = [&] {
        done(write(device, [&](auto& tx) { return r.prepare(tx, now); }));
        s.requests.push_back(*decode_request(*write(device, [&](auto& tx) { return r.request_message(tx); })));
        s.devices.push_back(device.snapshot());
        s.authorities.push_back(central.snapshot());
    };
    auto const exchange = [&](memory_storage& store) {
        done(write(store, [&](auto& tx) { return r.prepare(tx, now); }));
        auto const message = write(store, [&](auto& tx) { return r.request_message(tx); });
        auto const answer = answer_of(central, "anna", *message);
        done(answer);
        done(write(store, [&](auto& tx) { return r.absorb(tx, *answer, now, random); }));
        s.reply_seen = *answer;
    };

    done(write(central, [&](auto& tx) { return cloud().open(tx, now, random); }));
    for (memory_storage* const store : {&device, &other}) {
        done(write(*store, [&](auto& tx) { return r.open(tx, "anna", now, random); }));
    }
    // Nobody met anybody yet: one mutation frozen, one waiting behind it.
    done(write(device, [&](auto& tx) { return r.create(tx, {"things", "x"}, fields(1), now); }));
    keep();
    update(device, "x", set("a", 2));
    keep();

    // Both met the authority; then both changed the same fields, so that one of the two has conflicts and losses.
    done(write(device, [&](auto& tx) { return r.create(tx, {"things", "y"}, fields(2), now); }));
    for (int i = 0; i < 3; ++i) { exchange(device); }
    exchange(other);
    for (auto const name : fuzz::field_names) {
        update(other, "y", set(name, 5));
        update(device, "y", set(name, 6));
    }
    update(other, "x", set("b", 7));
    update(device, "x", set("a", 8));
    exchange(other);
    exchange(device);
    update(device, "x", set("a", 9));
    keep();

    // A deleted record, a verdict without its row, and a rejection in the dead letters.
    done(write(other, [&](auto& tx) { return r.erase(tx, {"things", "y"}, now); }));
    exchange(other);
    update(device, "x", {"b", op_kind::add, fuzz::integer_item(1), {}});
    keep();
    reply p = *decode_reply(s.reply_seen);
    request const& q = s.requests.back();
    p.replica = q.replica;
    p.verdicts.clear();
    for (std::uint64_t n = 0; n < 2; ++n) {
        verdict v;
        v.sequence = q.receipts + 1 + n;
        v.kind = n == 0 ? verdict_kind::applied : verdict_kind::rejected;
        v.version = p.head + 5;
        p.verdicts.push_back(v);
    }
    p.rows.clear();
    p.own.clear();
    p.parts.clear();
    p.from = p.to = q.cursor;
    p.head += 6;
    p.decided = q.receipts + 2;
    done(write(device, [&](auto& tx) { return r.absorb(tx, encode(p), now, random); }));
    update(device, "x", set("most", 9));
    keep();
    s.epoch = p.epoch;
    return s;
}

scene const& the_scene() {
    static scene const s = make_scene();
    return s;
}

// --- plausible messages -----------------------------------------------------------------------------------------------

timestamp any_stamp(choices& in) {
    return in.below(4) == 0 ? timestamp{in.number()}
                            : timestamp::make(now.wall, static_cast<std::uint16_t>(in.below(8)));
}
std::uint64_t around(choices& in, std::uint64_t middle) {
    if (in.below(12) == 0) { return in.number(); }
    return middle + in.below(6) - 2;
}

row any_row(choices& in, position from, position to) {
    row r;
    r.version = from + 1 + in.below(to - from > 255 ? 255 : to - from);
    r.life = in.below(8) == 0 ? in.number() : 1 + in.below(3);
    r.deleted = in.below(5) == 0;
    auto const mark = [&] {
        std::uint64_t const back = in.below(8);
        write_mark m;
        m.at = back > r.version ? 0 : r.version - back;
        m.stamp = any_stamp(in);
        m.author = static_cast<author_index>(in.below(8) == 0 ? in.number() : in.below(4));
        return m;
    };
    r.floor = mark();
    std::uint64_t const marked = in.byte();
    fuzz::field_map names;  // only for their order
    for (std::size_t i = 0; i < std::size(fuzz::field_names); ++i) {
        if ((marked >> i & 1U) != 0) { names[std::string(fuzz::field_names[i])]; }
    }
    for (auto const& [name, ignored] : names) { r.exceptions.push_back({name, mark()}); }
    if (!r.deleted) { r.fields = fuzz::encoded(fuzz::any_fields(in)); }
    return r;
}

bytes any_reply(choices& in, request const& q) {
    reply p;
    p.replica = q.replica;
    if (in.below(16) == 0) { p.replica.incarnation ^= 1U; }
    p.epoch = in.below(16) == 0 ? id128{} : the_scene().epoch;
    p.head = around(in, q.cursor + 4);
    p.author = in.below(16) == 0 ? static_cast<author_index>(in.number()) : 1;
    p.decided = around(in, q.receipts + 2);
    p.from = in.below(4) == 0 ? around(in, q.cursor) : q.cursor;
    p.to = in.below(3) == 0 ? p.head : (std::min)(p.head, p.from + in.below(6));
    p.time = now.wall;
    for (std::uint64_t i = in.below(5); i != 0; --i) {
        verdict v;
        v.sequence = around(in, q.receipts + 2);
        v.kind = static_cast<verdict_kind>(1 + in.below(8));
        v.again = in.below(4) == 0;
        v.reason = in.below(3) == 0 ? errc::identity_fork : static_cast<errc>(in.byte());
        v.version = around(in, p.head);
        v.stamp = any_stamp(in);
        for (std::uint64_t k = in.below(4); k != 0; --k) {
            auto const field = in.of(fuzz::field_names);
            auto const by = static_cast<rule>(in.below(8));
            v.decisions.push_back({std::string(field), by, static_cast<winner>(in.below(6))});
        }
        p.verdicts.push_back(v);
    }
    for (std::uint64_t i = p.to > p.from ? in.below(5) : 0; i != 0; --i) {
        record_key const key = key_of(in);
        p.rows.push_back({key, any_row(in, p.from, p.to)});
    }
    return encode(p);
}

bytes any_request(choices& in, request const& like) {
    request q = like;
    q.mutations.clear();
    q.origins.clear();
    if (in.below(4) == 0) { q.replica.incarnation = static_cast<std::uint32_t>(in.below(4)); }
    if (in.below(8) == 0) { q.epoch = in.below(2) == 0 ? std::optional<id128>() : id128{}; }
    if (in.below(3) == 0) { q.cursor = around(in, q.cursor); }
    if (in.below(3) == 0) { q.receipts = around(in, q.receipts); }
    if (in.below(4) == 0) { q.rows_max = in.below(4); }
    if (in.below(4) == 0) { q.bytes_max = in.below(256); }
    std::uint64_t sequence = like.receipts + in.below(3);
    for (std::uint64_t i = in.below(6); i != 0; --i) {
        if (in.below(8) == 0 && !like.mutations.empty()) {
            q.mutations.push_back(like.mutations[static_cast<std::size_t>(in.below(like.mutations.size()))]);
            continue;
        }
        mutation m;
        sequence += in.below(8) == 0 ? in.below(3) : 1;
        m.sequence = sequence;
        m.stamp = any_stamp(in);
        m.kind = static_cast<change_kind>(1 + in.below(3));
        m.record = key_of(in);
        m.life = in.below(8) == 0 ? in.number() : 1 + in.below(3);
        m.base = in.below(8) == 0 ? in.number() : in.below(12);
        if (m.kind != change_kind::erase) { m.ops = fuzz::any_operations(in, m.stamp); }
        bytes raw;
        cbor_writer w(raw);
        encode_mutation(w, m);
        if (in.below(8) == 0) {
            raw[static_cast<std::size_t>(in.below(raw.size()))] ^= static_cast<std::byte>(in.byte());
        }
        q.mutations.push_back(raw);
    }
    if (in.below(2) == 0) {
        for (std::size_t i = 0; i < q.mutations.size(); ++i) { q.origins.push_back({in.below(3), in.below(6)}); }
    }
    return encode(q);
}

// --- the properties ---------------------------------------------------------------------------------------------------

/// Everything that a host can ask of a replica is answered.
void use(memory_storage& store) {
    replica const& r = subject();
    auto open_tx = store.begin(access_mode::write);
    watched tx{*open_tx};
    auto const stop = [](auto const&...) { return true; };
    SYNCLINE_FUZZ_REQUIRE(r.self(tx) && r.status_of(tx) && r.work_left(tx, now));
    SYNCLINE_FUZZ_REQUIRE(r.scan(tx, "things", stop));
    SYNCLINE_FUZZ_REQUIRE(r.events(tx, 0, stop));
    SYNCLINE_FUZZ_REQUIRE(r.queue().summary(tx) && r.queue().scan_dead(tx, stop));
    std::vector<open_conflict> open;
    SYNCLINE_FUZZ_REQUIRE(r.conflicts(tx, [&](open_conflict const& c) {
        open.push_back(c);
        return true;
    }));
    for (auto const id : ids) {
        record_key const key{"things", id};
        auto const held = r.read(tx, key);
        SYNCLINE_FUZZ_REQUIRE(held && r.read_confirmed(tx, key));
        if (*held) { SYNCLINE_FUZZ_REQUIRE(validate_fields((*held)->fields)); }
        field_op const op{"a", op_kind::set, fuzz::integer_item(77), {}};
        auto const written = *held ? r.update(tx, key, {op}, now)
                                   : r.create(tx, key, fuzz::encoded({{"a", fuzz::integer_item(77)}}), now);
        // The last life of all was a stranger's wish: then there is none to create.
        bool const spent = !written && !*held && written.error() == errc::overflow;
        SYNCLINE_FUZZ_REQUIRE(written || spent);
        auto const again = r.read(tx, key);
        SYNCLINE_FUZZ_REQUIRE(spent || (again && *again && equal(**map_find((**again).fields, "a"), op.value)));
    }
    for (open_conflict const& c : open) {
        auto const s = r.dismiss(tx, c.token);
        SYNCLINE_FUZZ_REQUIRE(s);
    }
    SYNCLINE_FUZZ_REQUIRE(r.prepare(tx, now));
    auto const message = r.request_message(tx);
    SYNCLINE_FUZZ_REQUIRE(message && decode_request(*message));
}

void absorb(memory_snapshot const& before, bytes const& message) {
    memory_storage store;
    store.restore(before);
    random_generator random(5);
    bool taken = false;
    {
        auto tx = store.begin(access_mode::write);
        watched w{*tx};
        auto const report = subject().absorb(w, message, now, random);
        taken = report.has_value();
        if (!decode_reply(message)) { SYNCLINE_FUZZ_REQUIRE(!taken && w.writes == 0); }
        if (!taken) { SYNCLINE_FUZZ_REQUIRE(report.error() != errc::corrupt); }
        if (taken) { SYNCLINE_FUZZ_REQUIRE(tx->commit()); }
    }
    memory_snapshot const after = store.snapshot();
    if (!taken) {
        SYNCLINE_FUZZ_REQUIRE(after == before);
        return;
    }
    use(store);
    SYNCLINE_FUZZ_REQUIRE(store.snapshot() == after);
    auto const again = write(store, [&](auto& tx) { return subject().absorb(tx, message, now, random); });
    SYNCLINE_FUZZ_REQUIRE(!again || store.snapshot() == after);
}

void handle(memory_snapshot const& before, bytes const& message, std::string_view principal) {
    memory_storage store;
    store.restore(before);
    auto const decoded = decode_request(message);
    std::optional<reply> first;
    {
        auto tx = store.begin(access_mode::write);
        watched w{*tx};
        auto const answer = cloud().handle(w, principal, message, now);
        if (!decoded) { SYNCLINE_FUZZ_REQUIRE(!answer && w.writes == 0); }
        if (!answer) { SYNCLINE_FUZZ_REQUIRE(answer.error() != errc::corrupt); }
        if (answer) {
            SYNCLINE_FUZZ_REQUIRE(tx->commit());
            auto const p = decode_reply(*answer);
            SYNCLINE_FUZZ_REQUIRE(p && p->replica == decoded->replica);
            first = *p;
        }
    }
    memory_snapshot const after = store.snapshot();
    if (!first) {
        SYNCLINE_FUZZ_REQUIRE(after == before);
        return;
    }
    {
        auto open_tx = store.begin(access_mode::read);
        watched tx{*open_tx};
        position newest = 0;
        SYNCLINE_FUZZ_REQUIRE(cloud().scan(tx, [&](record_key const&, row const& r) {
            if (!r.deleted) { SYNCLINE_FUZZ_REQUIRE(validate_fields(r.fields)); }
            newest = (std::max)(newest, r.version);
            return true;
        }));
        auto const head = cloud().head(tx);
        SYNCLINE_FUZZ_REQUIRE(head && *head == first->head && newest <= *head);
    }
    // Each is decided once.
    auto const answer = answer_of(store, principal, message);
    SYNCLINE_FUZZ_REQUIRE(answer && store.snapshot() == after);
    auto const second = decode_reply(*answer);
    SYNCLINE_FUZZ_REQUIRE(second && second->head == first->head && second->decided == first->decided);
    SYNCLINE_FUZZ_REQUIRE(second->verdicts.size() == first->verdicts.size());
    for (std::size_t i = 0; i < first->verdicts.size(); ++i) {
        verdict v = second->verdicts[i];
        v.again = first->verdicts[i].again;
        SYNCLINE_FUZZ_REQUIRE(v == first->verdicts[i]);
    }
}

/// A device and an authority in whose stores somebody has written: every operation answers.
void use_damaged(choices& in, std::size_t which) {
    scene const& s = the_scene();
    memory_storage device;
    memory_storage central;
    device.restore(s.devices[which]);
    central.restore(s.authorities[which]);
    for (std::uint64_t n = in.below(3); n != 0; --n) { fuzz::damage(in, device, "r"); }
    for (std::uint64_t n = in.below(3); n != 0; --n) { fuzz::damage(in, central, "a"); }
    replica const& r = subject();
    random_generator random(5);
    auto const visit = [](auto const&...) { return true; };
    auto const done = [](auto const& tried) { static_cast<void>(tried); };  // whatever it answers
    for (int rounds = 0; rounds < 2; ++rounds) {
        auto const asked = write(device, [&](auto& tx) { return r.prepare(tx, now); });
        done(asked);
        auto const message = write(device, [&](auto& tx) { return r.request_message(tx); });
        auto const answer = answer_of(central, "anna", message ? *message : encode(s.requests[which]));
        bytes const reply = answer ? *answer : s.reply_seen;
        done(write(device, [&](auto& tx) { return r.absorb(tx, reply, now, random); }));
        for (auto const id : ids) {
            record_key const key{"things", id};
            fuzz::field_map const fields = fuzz::any_fields(in);
            done(write(device, [&](auto& tx) { return r.put(tx, key, fuzz::encoded(fields), now); }));
            done(write(device, [&](auto& tx) { return r.read_confirmed(tx, key); }));
            if (in.below(4) == 0) {
                done(write(device, [&](auto& tx) { return r.erase(tx, key, now); }));
            }
        }
    }
    std::vector<std::uint64_t> open;
    done(write(device, [&](auto& tx) {
        return r.conflicts(tx, [&](open_conflict const& c) {
            open.push_back(c.token);
            return true;
        });
    }));
    for (std::uint64_t const token : open) {
        done(write(device, [&](auto& tx) { return r.dismiss(tx, token); }));
    }
    done(write(device, [&](auto& tx) { return r.scan(tx, "things", visit); }));
    done(write(device, [&](auto& tx) { return r.events(tx, 0, visit); }));
    done(write(device, [&](auto& tx) { return r.forget_events(tx, 3); }));
    done(write(device, [&](auto& tx) { return r.queue().summary(tx); }));
    done(write(central, [&](auto& tx) { return cloud().scan(tx, visit); }));
}

int body(std::uint8_t const* data, std::size_t size) {
    scene const& s = the_scene();
    choices in(data, size);
    std::uint64_t const how = in.byte();
    auto const which = static_cast<std::size_t>(in.below(s.devices.size()));
    bool const to_device = (how & 1U) == 0;
    if ((how & 18U) == 18U) {
        use_damaged(in, which);
        return 0;
    }
    bytes message;
    if ((how & 2U) == 0) {
        message.resize(frame_bytes);
        append(message, in.rest());
        detail::seal_frame(message);
    } else {
        message = to_device ? any_reply(in, s.requests[which]) : any_request(in, s.requests[which]);
    }
    if (to_device) {
        absorb(s.devices[which], message);
    } else {
        handle(s.authorities[which], message, (how & 12U) == 12U ? "boris" : "anna");
    }
    return 0;
}

void seeds(fuzz::seed_sink sink) {
    scene const& s = the_scene();
    auto const give = [&](int how, std::size_t which, std::string const& name, bytes const& message) {
        bytes out{static_cast<std::byte>(how), static_cast<std::byte>(which)};
        append(out, bytes_view{message}.subspan(frame_bytes));
        sink(name, out);
    };
    for (std::size_t i = 0; i < s.devices.size(); ++i) {
        give(1, i, "request" + std::to_string(i), encode(s.requests[i]));
        memory_storage store;
        store.restore(s.authorities[i]);
        give(0, i, "reply" + std::to_string(i), *answer_of(store, "anna", encode(s.requests[i])));
    }
    give(0, s.devices.size() - 1, "reply_seen", s.reply_seen);
    // Parts to choose from.
    bytes parts;
    for (unsigned n = 0; n < 250; ++n) { parts.push_back(static_cast<std::byte>(n * 37 % 251)); }
    for (int const how : {2, 3, 18}) {
        bytes out{static_cast<std::byte>(how), std::byte{2}};
        append(out, parts);
        sink("parts" + std::to_string(how), out);
    }
}

std::size_t mutate(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed) {
    bool const parts = size != 0 && (data[0] & 2U) != 0;
    return parts ? LLVMFuzzerMutate(data, size, size_max) : fuzz::mutate_cbor<2>(data, size, size_max, seed);
}

}  // namespace

SYNCLINE_FUZZ_TARGET(.body = body, .cost = 80, .length = 300, .seeds = seeds, .mutate = mutate)
