// SPDX-License-Identifier: BSL-1.0
// The compiled core: everything of layers 0 to 3, each template with the archetypes of its concepts, so that a use
// of anything that a concept does not ask for fails the build. The object is searched for hidden inputs
// (check.purity): no clock, random device, file, socket, thread or exception of ours.
//
// A new template of layers 0 to 3 gets its line here.
#include "core.hpp"

namespace syncline::inline SYNCLINE_ABI {

// Archetypes of the small concepts.

/// Models `random_source`, and is movable as what is stored has to be.
struct random_archetype {
    random_archetype() = delete;
    random_archetype(random_archetype&&) noexcept = default;
    random_archetype& operator=(random_archetype&&) noexcept = default;
    std::uint64_t operator()() noexcept { return 4; }
};
static_assert(random_source<random_archetype>);

/// Models `backoff_jitter`.
struct jitter_archetype {
    explicit jitter_archetype(int) {}
    milliseconds operator()(backoff_step const&, random_archetype&) const noexcept { return {}; }
};
static_assert(backoff_jitter<jitter_archetype, random_archetype>);

/// Models `rate_limiter`.
struct limiter_archetype {
    using state = std::array<std::byte, 3>;
    explicit limiter_archetype(int) {}
    milliseconds take(monotonic_time) { return {}; }
    friend state to_array(limiter_archetype const&, instant) { return {}; }
    status restore(bytes_view, instant) { return {}; }
};
static_assert(rate_limiter<limiter_archetype>);

/// Models `concurrency_limit`.
struct limit_archetype {
    using state = std::array<std::byte, 3>;
    explicit limit_archetype(int) {}
    std::uint32_t limit() const { return 1; }
    void sampled(concurrency_sample) {}
    state to_array() const { return {}; }
    status restore(bytes_view) { return {}; }
};
static_assert(concurrency_limit<limit_archetype>);

/// Models `digest_function`.
struct digest_archetype {
    explicit digest_archetype(int) {}
    sha256_digest operator()(bytes_view) const noexcept { return {}; }
};
static_assert(digest_function<digest_archetype>);
/// Models `sequence_delta`.
struct sequence_archetype {
    bool offered(bytes_view, bytes_view) { return false; }
    status encode(bytes_view, bytes_view, bytes&) { return {}; }
    status decode(bytes_view, bytes_view, bounded_sink&) { return {}; }
};
static_assert(sequence_delta<sequence_archetype>);

/// Models `peer_handler`.
struct handler_archetype {
    handler_archetype() = delete;
    handler_archetype(handler_archetype const&) = delete;
    handler_archetype& operator=(handler_archetype const&) = delete;
    peer_reply operator()(bytes_view) { return {}; }
};
static_assert(peer_handler<handler_archetype>);

/// Models `observer`.
struct observer_archetype {
    observer_archetype() = delete;
    observer_archetype(observer_archetype const&) = delete;
    observer_archetype& operator=(observer_archetype const&) = delete;
    void counted(metric_counter, std::uint64_t) noexcept {}
    void measured(metric_gauge, std::uint64_t) noexcept {}
    void took(metric_latency, std::chrono::microseconds) noexcept {}
    void failed(observed_part, failure const&, wall_time) noexcept {}
};
static_assert(observer<observer_archetype>);

/// Models `notice_observer`.
struct notice_archetype : observer_archetype {
    void noticed(synced const&) noexcept {}
    void noticed(conflict_opened const&) noexcept {}
    void noticed(mutation_rejected const&) noexcept {}
    void noticed(sync_paused const&) noexcept {}
};
static_assert(notice_observer<notice_archetype> && !notice_observer<observer_archetype>);

/// A described record with a member of each kind.
struct described_inner {
    std::int64_t n = 0;
};
constexpr auto describe(described_inner const*) {
    return record_of<described_inner>("inner", field("n", &described_inner::n));
}
struct described_record {
    std::string text;
    std::int64_t number = 0;
    bool flag = false;
    double real = 0;
    std::optional<std::int64_t> maybe;
    std::vector<std::string> list;
    described_inner inner;
    unknown_fields rest;
};
constexpr auto describe(described_record const*) {
    using r = described_record;
    return record_of<r>("records", field("text", &r::text), field("number", &r::number, rule::counter),
                        field("flag", &r::flag), field("real", &r::real), field("maybe", &r::maybe),
                        field("list", &r::list), field("inner", &r::inner), unknown(&r::rest));
}
static_assert(described<described_record>);

// Class templates, whole.

template class result<int>;
template class result<bytes>;
template class keyspace<storage_transaction_archetype>;
template class checksummed_storage<storage_archetype>;
template class backoff<full_jitter>;
template class backoff<equal_jitter>;
template class backoff<decorrelated_jitter>;
template class backoff<no_jitter>;
template class backoff<jitter_archetype>;
template class adaptive_concurrency<aimd_limit>;
template class adaptive_concurrency<gradient_limit>;
template class retry_policy<full_jitter, no_limiter, aimd_limit>;
template class retry_policy<decorrelated_jitter, gcra, gradient_limit>;
template class adaptive_concurrency<limit_archetype>;
template class authority<accept_all>;
template class observer_ref<observer_archetype>;
template class until_commit<observer_archetype>;
template class session<storage_archetype, random_archetype>;
template class session<storage_archetype, random_archetype, no_observer, stored_records, journal_archetype>;
template class session<storage_archetype, random_archetype, observer_ref<observer_archetype>>;
template class session<storage_archetype, random_archetype, observer_ref<notice_archetype>>;
template class live_listener<random_archetype>;
template class audit_log<digest_archetype>;
template class delta_chooser<codec_archetype, sequence_archetype>;

// Function and member templates. None of this runs.

namespace instantiation {

using tx_type = storage_transaction_archetype;

void core(random_archetype& random, bytes_view b);
void core(random_archetype& random, bytes_view b) {
    (void)make_id({}, random);
    (void)below(random, 3);
    described_record r;
    auto const encoded = encode_record(r);
    (void)encoded;
    (void)decode_record<described_record>(b);
    (void)equal_fields(r, r);
    (void)collection<described_record>();
}

void ground(tx_type& tx, random_archetype& random, handler_archetype& handler, bytes_view b, wall_time now);
void ground(tx_type& tx, random_archetype& random, handler_archetype& handler, bytes_view b, wall_time now) {
    (void)get(tx, b);
    auto const visit = [](bytes_view, bytes_view) { return true; };
    (void)scan_prefix(tx, b, visit);
    if (auto clock = reserved_clock::open(tx, b)) {
        (void)clock->now(tx, now);
        (void)clock->accept(tx, {}, now);
    }
    backoff<jitter_archetype> waiting({}, jitter_archetype(0));
    (void)waiting.next(random);
    (void)waiting.next(random, milliseconds{1});
    backoff<decorrelated_jitter> other;
    (void)other.next(random);
    (void)other.reconnect(random);
    retry_budget budget;
    (void)budget.retry(random);
    retry_policy<> policy;
    (void)policy.failed({}, {}, random);
    (void)policy.reconnect(random);
    retry_policy<jitter_archetype, limiter_archetype, limit_archetype> own({}, limiter_archetype(0), limit_archetype(0),
                                                                           jitter_archetype(0));
    (void)own.begin({});
    own.succeeded({});
    (void)own.failed({}, {}, random);
    own.cancelled({});
    (void)own.hedge_after({});
    (void)own.restore(to_array(own, {}), {});
    loopback_transport const loop(handler);
    (void)loop.limits();
    live_loopback live(handler);
    (void)live.limits();
    auto const may = [](std::string_view, std::string_view) { return true; };
    auto const stopwatch = [] { return monotonic_time{}; };
    live_hub hub({});
    hub_loopback member(hub, handler, "", may, stopwatch);
    (void)member.limits();
}

void listening(live_listener<random_archetype>& ear, live_transport_archetype& way);
void listening(live_listener<random_archetype>& ear, live_transport_archetype& way) {
    auto const stopwatch = [] { return monotonic_time{}; };
    auto const tell = [](live_output const&) {};
    (void)attend(ear, way, stopwatch, tell);
}

void observed(tx_type& tx, outbox const& o, conflict_queue const& q, audit_log<> const& log, traced_schedule& s,
              random_archetype& random, bytes_view b, wall_time now, observer_archetype& told);
void observed(tx_type& tx, outbox const& o, conflict_queue const& q, audit_log<> const& log, traced_schedule& s,
              random_archetype& random, bytes_view b, wall_time now, observer_archetype& told) {
    (void)o.enqueue(tx, {}, now, told);
    (void)o.amend(tx, 1, b, told);
    (void)o.claim(tx, {}, now, told);
    (void)o.ack(tx, 1, 1, told);
    (void)o.ack_all(tx, {}, told);
    (void)o.nack(tx, 1, 1, backoff<>(), random, now, {}, told);
    (void)o.bury(tx, 1, 1, errc::rejected, b, told);
    (void)o.answer_all(tx, {}, told);
    (void)q.raise(tx, {}, now, no_audit{}, told);
    (void)q.resolve(tx, 1, 1, {}, collection_rules{}, {}, no_audit{}, told);
    (void)log.append(tx, {}, random, told);
    (void)s.decide({}, now, told);
}

void queue(tx_type& tx, outbox const& o, random_archetype& random, bytes_view b, wall_time now);
void queue(tx_type& tx, outbox const& o, random_archetype& random, bytes_view b, wall_time now) {
    auto const visit = [](outbox_entry const&) { return true; };
    (void)o.enqueue(tx, {}, now);
    (void)o.enqueue_all(tx, {}, now);
    (void)o.amend(tx, 1, b);
    (void)o.withdraw(tx, 1);
    (void)o.scan_record(tx, b, visit);
    (void)o.claim(tx, {}, now);
    (void)o.set_payload(tx, 1, 1, b);
    (void)o.ack(tx, 1, 1);
    (void)o.ack_all(tx, {});
    (void)o.ack_claims(tx, {});
    (void)o.set_payloads(tx, {});
    (void)o.payloads_of(tx, {}, [](std::size_t, bytes_view) { return true; });
    (void)o.release(tx, 1, 1, now);
    (void)o.bury(tx, 1, 1, errc::rejected, b);
    (void)o.scan_dead(tx, visit);
    (void)o.revive(tx, 1, now);
    (void)o.discard(tx, 1);
    (void)o.find(tx, 1);
    (void)o.summary(tx);
    (void)o.next_due(tx, now);
    (void)o.next_due(tx, now, claim_options{});
    (void)o.renew(tx, 1, 1, now);
    (void)o.nack(tx, 1, 1, backoff<jitter_archetype>{{}, jitter_archetype{1}}, random, now);
    (void)o.answer_all(tx, {});
    (void)o.split(tx, {});
    (void)o.hurry(tx, 1);
    (void)o.hurry_all(tx, now);
    (void)o.scan_dependants(tx, 1, [](std::uint64_t) { return true; });
    (void)o.release_dependants(tx, 1);
    (void)o.bury_dependants(tx, 1, errc::rejected, b);
    (void)o.scan(tx, visit);
    (void)o.load(tx);
    (void)enqueue_coalesced(o, tx, {}, now, [](bytes_view, bytes_view, bytes&) { return change_union::apart; });
    inbox const in;
    (void)in.receive(tx, b, 1, b, [](std::uint64_t, bytes_view) { return status{}; });
    (void)in.through(tx, b);
    (void)in.gaps(tx, b);
    (void)in.forget(tx, b);
    (void)conversation_numbers{}.next(tx, b);
    receipt_book const book;
    (void)book.ack(tx, o, 1, 1, receipt_level::accepted, now);
    (void)book.note(tx, 1, receipt_level::stable, now);
    (void)book.settle(tx, 1, now);
    (void)book.find(tx, o, 1);
    (void)book.forget(tx, now, 1);
    lane_health const health;
    (void)health.sent(tx, 0, 1, 1, milliseconds{1}, now);
    (void)health.failed(tx, 0, now);
    (void)health.pause(tx, 0, now, now);
    (void)health.report(tx, 0, now);
    (void)health.history(tx, [](lane_day const&) { return true; });
    (void)health.forget(tx, now, 1);
}

void auditing(tx_type& tx, random_archetype& random, bytes_view b, wall_time now, signer_archetype& signer,
              verifier_archetype& verifier, anchor_archetype& anchor);
void auditing(tx_type& tx, random_archetype& random, bytes_view b, wall_time now, signer_archetype& signer,
              verifier_archetype& verifier, anchor_archetype& anchor) {
    digest_archetype const hash{0};
    audit_log<digest_archetype> const log({}, "a", hash);
    auto const each = [](audit_entry const&) { return true; };
    (void)log.open(tx, now, random);
    (void)log.append(tx, {}, random);
    (void)log.append_all(tx, {}, random);
    (void)log.redact(tx, "", b, {}, random);
    (void)log.redact_field(tx, "", b, "a", {}, random);
    (void)log.extent(tx);
    (void)log.head(tx, {});
    (void)log.head_at(tx, 1, {});
    (void)log.find(tx, 1);
    (void)log.scan(tx, 0, 1, each);
    (void)log.scan_record(tx, {}, each);
    (void)log.prove_inclusion(tx, 1);
    (void)log.prove_consistency(tx, 1);
    (void)log.leaf_data(tx, 1);
    (void)log.opening(tx, 1);
    (void)log.verify(tx);
    (void)log.compare(tx, {});
    (void)log.export_segment(tx, 0, 1, {});
    (void)log.seal(tx, b, {}, random);
    (void)log.drop(tx, 1);
    (void)verify_inclusion(hash, {}, {}, sha256_digest{});
    (void)verify_inclusion(hash, {}, {}, audit_head{});
    (void)verify_consistency(hash, {}, {}, {});
    (void)compare_heads(hash, {}, {}, {});
    (void)verify_archive(hash, b);
    (void)redact_archive(hash, b, each);
    (void)redact_archive_fields(hash, b, [](audit_entry const&, std::string_view) { return true; });
    audited_conflicts<tx_type, random_archetype, digest_archetype> told{log, tx, random};
    (void)conflict_queue{}.raise(tx, {}, now, told);
    (void)draft_of(decision{}, mutation{});
    (void)anchor_head(signer, anchor, {});
    (void)anchored_head(verifier, anchor);
    mutation_history const past;
    (void)past.record(tx, {}, {}, b, b);
    (void)past.extent(tx);
    (void)past.find(tx, 1);
    auto const hear = [](history_event const&) { return true; };
    (void)past.scan(tx, 1, 1, hear);
    (void)past.scan_record(tx, {}, hear);
    (void)past.as_of(tx, record_key{}, {});
    (void)past.as_of(tx, "", {}, [](record_key const&, bytes_view) { return true; });
    (void)past.undo(tx, 1, {});
    (void)past.recover(tx, {}, {}, b, {});
    (void)past.forget(tx, 1, 1);
    (void)past.redact(tx, {});
}

void conflicts(tx_type& tx, conflict_queue const& q, conflict const& c, row const& r, collection_rules const& by,
               bytes_view b, wall_time now, suggester_archetype& host, learned_suggester& model);
void conflicts(tx_type& tx, conflict_queue const& q, conflict const& c, row const& r, collection_rules const& by,
               bytes_view b, wall_time now, suggester_archetype& host, learned_suggester& model) {
    decision_maker const who;
    (void)q.raise(tx, c, now);
    (void)q.remote_changed(tx, c.record, r, c.remote_by, by, now);
    (void)q.suggest(tx, 1, {}, now);
    (void)q.find(tx, 1);
    (void)q.list(tx, {}, [](conflict const&) { return true; });
    (void)q.counts(tx);
    (void)q.history(tx, 1);
    (void)q.preview(tx, 1, {}, by, who);
    (void)q.resolve(tx, 1, 1, {}, by, who);
    (void)q.resolve_all(
        tx, {}, [](conflict const&) { return std::optional<resolution>{}; }, by, who);
    (void)q.undo(tx, 1, r, by, who);
    (void)q.redo(tx, 1, 1, by, who);
    (void)q.forget(tx, now, 1);
    (void)q.verify(tx);
    (void)suggest_or_apply(q, tx, 1, host, by, {}, who);
    (void)with_fallback<suggester_archetype&>{host}.suggest({});
    (void)by_rule(c, rule::last_writer, by);
    (void)learn_from(model, c, {}, b);
    model.stood({});
    (void)model.save(tx, b);
    (void)learned_suggester::load(tx, b);
    conflict_preferences const preferences;
    (void)preferences.set(tx, b, {}, {}, standing_choice::ask);
    (void)preferences.clear(tx, b, {}, {});
    conflict_statistics const statistics;
    (void)statistics.raised(tx, c);
    (void)statistics.undone(tx, c);
    (void)statistics.decided(tx, c, {}, by, false);
    (void)statistics.advice(tx);
    presences const here;
    (void)here.take(tx, {}, now);
    (void)here.before_write(tx, c.local, r, by, b, now);
    (void)here.sweep(tx, now, 1);
}

void merging();
void merging() {
    described_record const r;
    (void)rules_of<described_record>();
    (void)three_way(r, r, r);
}

template <class Records, class Journal>
void replicas(tx_type& tx, basic_replica<Records, Journal> const& r, random_archetype& random, bytes_view b,
              record_key const& k, instant now) {
    (void)r.open(tx, "", now, random);
    (void)r.self(tx);
    (void)r.read(tx, k);
    (void)r.template read<described_record>(tx, "");
    (void)r.read_confirmed(tx, k);
    auto const each = [](record_key const&, record const&) { return true; };
    (void)r.scan(tx, "", each);
    (void)r.create(tx, k, b, now);
    (void)r.create(tx, "", described_record{}, now);
    (void)r.update(tx, k, {}, now);
    (void)r.put(tx, k, b, now);
    (void)r.put(tx, k, b, b, now);
    (void)r.put(tx, "", described_record{}, described_record{}, now);
    (void)r.template edit<described_record>(
        tx, "", [](described_record&) {}, now);
    (void)r.erase(tx, k, now);
    (void)r.prepare(tx, now);
    (void)r.request_message(tx);
    (void)r.absorb(tx, b, now, random);
    (void)r.work_left(tx, now);
    mac_sealer sealer({}, {});
    peer_exchange meeting(r, sealer);
    (void)meeting.ask(tx, now);
    (void)meeting.take(tx, b, "", now);
    (void)meeting.answer(tx, b, "", now);
    (void)r.status_of(tx);
    auto const hear = [](std::uint64_t, event const&) { return true; };
    (void)r.events(tx, 0, hear);
    (void)r.forget_events(tx, 0);
    auto const meet = [](open_conflict const&) { return true; };
    (void)r.conflicts(tx, meet);
    (void)r.resolve(tx, 1, 1, {}, now);
    (void)r.dismiss(tx, 1);
    (void)r.as_read(k, {});
    auto const ahead = [](foreseen const&) { return true; };
    (void)r.foresee(tx, k, ahead);
    (void)pull_message(tx, r);
    (void)issue_refused(tx, r, now);
    storage_archetype* const store = nullptr;
    (void)dry_run(*store, r, b, now, random);
}
template void replicas(tx_type&, replica const&, random_archetype&, bytes_view, record_key const&, instant);
template void replicas(tx_type&, basic_replica<record_store_archetype> const&, random_archetype&, bytes_view,
                       record_key const&, instant);
template void replicas(tx_type&, basic_replica<stored_records, journal_archetype> const&, random_archetype&, bytes_view,
                       record_key const&, instant);

template <class Journal>
void authorities(tx_type& tx, storage_archetype& store, authority<accept_all, Journal> const& a,
                 random_archetype& random, bytes_view b, instant now) {
    (void)a.open(tx, now, random);
    (void)a.handle(tx, "", b, now);
    (void)serve(store, a, "", b, now);
    (void)serve_all(store, a, std::span<asked_request const>{}, now);
}
template void authorities(tx_type&, storage_archetype&, authority<> const&, random_archetype&, bytes_view, instant);
template void authorities(tx_type&, storage_archetype&, authority<accept_all, journal_archetype> const&,
                          random_archetype&, bytes_view, instant);

void journals(tx_type& tx, audit_journal<random_archetype> const& audit, conflict_desk const& desk,
              journal_note const& n);
void journals(tx_type& tx, audit_journal<random_archetype> const& audit, conflict_desk const& desk,
              journal_note const& n) {
    (void)two_journals<conflict_desk, audit_journal<random_archetype>>{desk, audit}(tx, n);
}
template <class Records, class Journal>
void desks(tx_type& tx, conflict_desk const& desk, basic_replica<Records, Journal> const& r, instant now) {
    (void)desk.gather(tx, r, now);
    (void)desk.resolve(tx, r, 1, 1, {}, {}, now);
    (void)desk.undo(tx, r, 1, {}, now);
    (void)desk.redo(tx, r, 1, 1, {}, now);
}
template void desks(tx_type&, conflict_desk const&, basic_replica<record_store_archetype> const&, instant);
template void desks(tx_type&, conflict_desk const&, basic_replica<stored_records, journal_archetype> const&, instant);

void deltas(codec_archetype& codec, dictionary_set const& set, bounded_sink& sink, bytes& out, bytes_view b,
            delta_scratch& scratch);
void deltas(codec_archetype& codec, dictionary_set const& set, bounded_sink& sink, bytes& out, bytes_view b,
            delta_scratch& scratch) {
    (void)compress_with(codec, set, 1, b, out);
    (void)decompress_with(codec, set, b, sink);
    compact_encode(b, b, out, scratch);
    line_delta_encode(b, b, out, scratch);
    vcdiff_encode(b, b, out, scratch);
    signature_encode(b, {}, out);
}

void meetings(peer_exchange<replica, mac_sealer>& e, storage_archetype& store, transport_archetype& way, instant now);
void meetings(peer_exchange<replica, mac_sealer>& e, storage_archetype& store, transport_archetype& way, instant now) {
    (void)meet(store, e, way, "", now);
    (void)serve_peer(store, e, "", {}, now);
}

void sessions(session<storage_archetype, random_archetype>& s, storage_archetype& store, transport_archetype& way,
              instant now);
void sessions(session<storage_archetype, random_archetype>& s, storage_archetype& store, transport_archetype& way,
              instant now) {
    (void)drive(
        s, store, way, [=] { return now; }, [](event const&) {});
}

void reconciling(tx_type& tx, row_source_archetype& rows, row_summary const& summary, reconciler const& asks,
                 bytes_view b);
void reconciling(tx_type& tx, row_source_archetype& rows, row_summary const& summary, reconciler const& asks,
                 bytes_view b) {
    (void)summary.flush(tx, rows, summary.changes());
    (void)summary.fold(tx, rows);
    (void)summary.rebuild(tx, rows);
    (void)summary.verify(tx, rows);
    (void)summary.sum(tx, rows, {}, {});
    (void)asks.begin(tx);
    (void)asks.ask(tx);
    (void)asks.absorb(tx, rows, b);
    (void)asks.differences(tx, [](row_difference const&) { return true; });
    (void)asks.settle(tx, b);
    (void)asks.progress(tx);
    (void)answer_reconcile(tx, rows, summary, b);
}

void blobs(tx_type& tx, chunk_store_archetype& chunks, blob_book const& book, blob_transfers const& t, bytes_view b,
           wall_time now);
void blobs(tx_type& tx, chunk_store_archetype& chunks, blob_book const& book, blob_transfers const& t, bytes_view b,
           wall_time now) {
    bytes out;
    (void)book.store(tx, chunks, b, "", b);
    (void)book.expect(tx, {}, b);
    (void)book.arrived(tx, chunks, {}, b);
    (void)book.read(tx, chunks, {}, 0, 1, out);
    (void)book.collect(tx, 1);
    (void)book.sweep(tx, chunks, 1);
    (void)book.scrub(tx, chunks);
    (void)book.references(tx, {});
    (void)book.discard_drafts(tx);
    blob_writer writer(book, b, "");
    (void)writer.write(tx, chunks, b);
    (void)writer.finish(tx, chunks);
    (void)answer_blob(tx, chunks, book, b, b);
    (void)t.upload(tx, {});
    (void)t.download(tx, {});
    (void)t.next(tx, chunks, {}, now);
    (void)t.absorb(tx, chunks, b);
    (void)t.failed(tx, 1);
    (void)t.restart(tx);
    (void)t.next_due(tx, {}, now);
    (void)t.retry(tx, 1);
    (void)t.cancel(tx, 1);
    storage_chunks own(tx);
    (void)own.scan([](sha256_digest const&) { return true; });
}

void schedules(schedule_memory& memory, traced_schedule& traced, conditions const& c, schedule_options const& o,
               random_archetype& random, wall_time now);
void schedules(schedule_memory& memory, traced_schedule& traced, conditions const& c, schedule_options const& o,
               random_archetype& random, wall_time now) {
    (void)make_plan<schedule_steps>(c, memory, o, now);
    memory.failed({}, o, now, random);
    traced.failed({}, now, random);
    (void)traced_schedule::replay({}, o);
}

void observers(observer_archetype& o, wall_time now);
void observers(observer_archetype& o, wall_time now) {
    observer_ref<observer_archetype> const all(o);
    all.counted(metric_counter::exchanges, 1);
    all.measured(metric_gauge::staleness, 1);
    all.took(metric_latency::commit, {});
    all.failed(observed_part::outbox, {}, now);
}

}  // namespace instantiation

}  // namespace syncline::inline SYNCLINE_ABI
