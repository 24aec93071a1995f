// SPDX-License-Identifier: BSL-1.0
// The four workloads of a first sync and of offline edits, for the engines of the npm registry and for ours, each in a
// process of its own: CPU time, bytes on the wire, peak memory; the final states are compared. Run by
// `benchmarks/run peers`.
//
//     node peers.mjs [--ours PROGRAM] [--rounds N] [--json FILE] [--engines a,b] [--workloads W1,W2] [--small]
import { createHash } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

// ---- The records: the same in ours.cpp ---------------------------------------------------------------------------

const given = ('Ada Ben Chloe David Elif Farid Greta Hugo Ines Jonas Kira Liam Mara Noah Olga Pavel Quinn Rosa Samir ' +
    'Tessa Umar Vera Willem Xenia Yusuf Zoe Anouk Bruno Carla Dario Emil Fatima').split(' ');
const family = ('Abbott Becker Castillo Dubois Eriksson Fischer Garcia Hoffmann Ivanova Jansen Kowalski Lindqvist Moreau ' +
    'Novak Okafor Petrov Quiroga Rossi Schneider Tanaka Ueda Vogel Weber Ximenes Yilmaz Zimmermann Andersen Bianchi ' +
    'Costa Duarte Engel Ferrari').split(' ');
const city = ('Amsterdam Barcelona Copenhagen Dublin Edinburgh Florence Geneva Hamburg Istanbul Krakow Lisbon Madrid ' +
    'Naples Oslo Prague Rotterdam Stockholm Tallinn Utrecht Vienna').split(' ');
const word = ('arrives late with two friends prefers window seat vegetarian needs parking near entrance asked about music ' +
    'brings own cake allergic to nuts speaks Spanish paid deposit sent reminder called twice table for children ' +
    'quiet corner stays overnight taxi at midnight plays violin welcome drink').split(' ');

function generator(seed) {
    let a = seed >>> 0;
    return () => {
        a = (a + 0x6d2b79f5) >>> 0;
        let t = Math.imul(a ^ (a >>> 15), 1 | a);
        t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
        return (t ^ (t >>> 14)) >>> 0;
    };
}
const idOf = (n) => 'r' + String(n).padStart(6, '0');
function recordOf(n) {
    const dice = generator(n + 1);
    const pick = (list) => list[dice() % list.length];
    const g = pick(given);
    const f = pick(family);
    const note = [];
    for (let i = 0; i < 8; ++i) { note.push(pick(word)); }
    return {
        name: g + ' ' + f,
        email: g.toLowerCase() + '.' + f.toLowerCase() + (dice() % 1000) + '@example.org',
        city: pick(city),
        note: note.join(' '),
        seat: dice() % 500,
        score: dice() % 100000,
        active: dice() % 4 !== 0,
        updated: 1790000000 + (dice() % 10000000),
    };
}
function digestOf(entries) {
    const hash = createHash('sha256');
    for (const [id, r] of entries.sort((x, y) => (x[0] < y[0] ? -1 : 1))) {
        hash.update(`${id}|${r.name}|${r.email}|${r.city}|${r.note}|${r.seat}|${r.score}|${r.active}|${r.updated}\n`);
    }
    return hash.digest('hex').slice(0, 16);
}
const scoreOf = (n, device) => 200000 + 2 * n + device;
const seatOf = (n) => 1000 + n;

// ---- Measuring ---------------------------------------------------------------------------------------------------

let spent = 0;
let began = null;
const start = () => { began = process.cpuUsage(); };
const stop = () => {
    const used = process.cpuUsage(began);
    spent += (used.user + used.system) / 1000;
};
let wire = 0;
const sent = (x) => {
    wire += typeof x === 'string' ? Buffer.byteLength(x) : x.length;
    return x;
};

// ---- The engines: each gets a world with `records` on the server and makes its devices from it --------------------

const engines = {
    async yjs() {
        const Y = await import('yjs');
        const all = (doc) => [...doc.getMap('records').entries()].map(([id, m]) => [id, m.toJSON()]);
        const pull = (from, to) => Y.applyUpdate(to, sent(Y.encodeStateAsUpdate(from, sent(Y.encodeStateVector(to)))));
        return {
            fill(n) {
                const doc = new Y.Doc();
                doc.transact(() => {
                    const records = doc.getMap('records');
                    for (let i = 0; i < n; ++i) { records.set(idOf(i), new Y.Map(Object.entries(recordOf(i)))); }
                });
                return doc;
            },
            device: () => new Y.Doc(),
            async sync(server, device) {
                pull(device, server);
                pull(server, device);
            },
            async edit(doc, i, field, value) { doc.getMap('records').get(idOf(i)).set(field, value); },
            all: async (doc) => all(doc),
        };
    },

    async tinybase() {
        const { createMergeableStore } = await import('tinybase');
        let next = 0;
        const fresh = () => createMergeableStore('store' + next++);
        // The whole way of its synchronizer without its timers: hashes, then what differs.
        const pull = (from, to) => {
            const theirs = JSON.parse(sent(JSON.stringify(to.getMergeableContentHashes())));
            if (theirs[0] === from.getMergeableContentHashes()[0]) { return; }
            const diff = from.getMergeableTableDiff(JSON.parse(sent(JSON.stringify(to.getMergeableTableHashes()))));
            const rows = from.getMergeableRowDiff(JSON.parse(sent(JSON.stringify(to.getMergeableRowHashes(diff[1])))));
            const deep = from.getMergeableCellDiff(JSON.parse(sent(JSON.stringify(to.getMergeableCellHashes(rows[1])))));
            for (const tablesStamp of [diff[0], rows[0], deep]) {
                const message = JSON.parse(sent(JSON.stringify(tablesStamp, (_, v) => (v === undefined ? '\ufffc' : v))));
                to.applyMergeableChanges([message, [{}, '', 0], 1]);
            }
        };
        return {
            fill(n) {
                const store = fresh();
                store.transaction(() => {
                    for (let i = 0; i < n; ++i) { store.setRow('records', idOf(i), recordOf(i)); }
                });
                return store;
            },
            device: fresh,
            async sync(server, device) {
                pull(device, server);
                pull(server, device);
            },
            async edit(store, i, field, value) { store.setCell('records', idOf(i), field, value); },
            all: async (store) => Object.entries(store.getTable('records')),
        };
    },

    async rxdb() {
        const { createRxDatabase } = await import('rxdb/plugins/core');
        const { replicateRxCollection } = await import('rxdb/plugins/replication');
        const { getRxStorageMemory } = await import('rxdb/plugins/storage-memory');
        const storage = getRxStorageMemory();
        const text = { type: 'string' };
        const number = { type: 'number' };
        const schema = {
            version: 0,
            primaryKey: 'id',
            type: 'object',
            properties: { id: { type: 'string', maxLength: 20 }, name: text, email: text, city: text, note: text,
                seat: number, score: number, active: { type: 'boolean' }, updated: number },
        };
        const same = (a, b) => JSON.stringify(plain(a)) === JSON.stringify(plain(b));
        const plain = (d) => d && { id: d.id, name: d.name, email: d.email, city: d.city, note: d.note, seat: d.seat,
            score: d.score, active: d.active, updated: d.updated };
        const conflictHandler = {
            isEqual: same,
            async resolve({ assumedMasterState, realMasterState, newDocumentState }) {
                const out = { ...realMasterState };
                for (const f of Object.keys(newDocumentState)) {
                    if (!assumedMasterState || assumedMasterState[f] !== newDocumentState[f]) { out[f] = newDocumentState[f]; }
                }
                return out;
            },
        };
        let next = 0;
        return {
            // The server is a plain map: less than what the engine itself would spend.
            fill(n) {
                const server = { log: [], docs: new Map() };
                for (let i = 0; i < n; ++i) { this.put(server, { id: idOf(i), ...recordOf(i) }); }
                return server;
            },
            put(server, doc) {
                server.docs.set(doc.id, { doc, at: server.log.length });
                server.log.push(doc.id);
            },
            async device() {
                const db = await createRxDatabase({ name: 'db' + next++, storage, multiInstance: false });
                await db.addCollections({ records: { schema, conflictHandler } });
                return db;
            },
            async sync(server, db) {
                const state = replicateRxCollection({
                    collection: db.records,
                    replicationIdentifier: 'bench',
                    live: false,
                    waitForLeadership: false,
                    push: {
                        batchSize: 1000,
                        handler: async (rows) => {
                            const conflicts = [];
                            for (const row of JSON.parse(sent(JSON.stringify(rows)))) {
                                const held = server.docs.get(row.newDocumentState.id);
                                if (held && !(row.assumedMasterState && same(held.doc, row.assumedMasterState))) {
                                    conflicts.push({ ...held.doc, _deleted: false });
                                } else {
                                    this.put(server, plain(row.newDocumentState));
                                }
                            }
                            return JSON.parse(sent(JSON.stringify(conflicts)));
                        },
                    },
                    pull: {
                        batchSize: 1000,
                        handler: async (checkpoint, size) => {
                            const documents = [];
                            let at = checkpoint ? checkpoint.at : 0;
                            for (; at < server.log.length && documents.length < size; ++at) {
                                const held = server.docs.get(server.log[at]);
                                if (held.at === at) { documents.push({ ...held.doc, _deleted: false }); }
                            }
                            return JSON.parse(sent(JSON.stringify({ documents, checkpoint: { at } })));
                        },
                    },
                });
                state.error$.subscribe((e) => { throw e; });
                await state.awaitInitialReplication();
                await state.cancel();
            },
            async edit(db, i, field, value) {
                const doc = await db.records.findOne(idOf(i)).exec();
                await doc.patch({ [field]: value });
            },
            async all(x) {
                if (x.docs) { return [...x.docs.values()].map(({ doc }) => [doc.id, doc]); }
                return (await x.records.find().exec()).map((d) => [d.id, d.toJSON()]);
            },
        };
    },

    async pouchdb() {
        const PouchDB = (await import('pouchdb-core')).default;
        PouchDB.plugin((await import('pouchdb-adapter-memory')).default);
        PouchDB.plugin((await import('pouchdb-replication')).default);
        let next = 0;
        const fresh = () => new PouchDB('db' + next++, { adapter: 'memory', auto_compaction: true });
        return {
            async fill(n) {
                const db = fresh();
                const docs = [];
                for (let i = 0; i < n; ++i) { docs.push({ _id: idOf(i), ...recordOf(i) }); }
                await db.bulkDocs(docs);
                return db;
            },
            device: fresh,
            async sync(server, db) {
                await PouchDB.sync(db, server, { batch_size: 1000 });
                wire = null; // handed over as objects
            },
            async edit(db, i, field, value) { await db.put({ ...(await db.get(idOf(i))), [field]: value }); },
            async all(db) { return (await db.allDocs({ include_docs: true })).rows.map((r) => [r.id, r.doc]); },
            wholeRecords: true,
        };
    },
};

async function measure(name, workload, scale) {
    const e = await engines[name]();
    const few = scale / 10;
    const half = few / 2;
    const states = [];
    const noted = async (...all) => { for (const x of all) { states.push(digestOf(await e.all(x))); } };
    const timed = async (server, device) => {
        start();
        await e.sync(server, device);
        stop();
    };
    if (workload === 'W1') {
        const server = await e.fill(scale);
        start();
        const device = await e.device();
        await e.sync(server, device);
        stop();
        await noted(server, device);
    } else if (workload === 'W2') {
        const server = await e.fill(few);
        const device = await e.device();
        await e.sync(server, device);
        for (let i = 0; i < few; ++i) { await e.edit(device, i, 'score', scoreOf(i, 0)); }
        if (wire !== null) { wire = 0; }
        await timed(server, device);
        await noted(server, device);
    } else {
        const server = await e.fill(few);
        const a = await e.device();
        const b = await e.device();
        await e.sync(server, a);
        await e.sync(server, b);
        for (let i = 0; i < half; ++i) {
            await e.edit(a, i, 'score', scoreOf(i, 0));
            await e.edit(b, i, ...(workload === 'W3' ? ['seat', seatOf(i)] : ['score', scoreOf(i, 1)]));
        }
        if (wire !== null) { wire = 0; }
        await timed(server, a);
        await timed(server, b);
        await timed(server, a);
        await noted(server, a, b);
    }
    const converged = states.every((s) => s === states[0]);
    return { cpu_ms: spent, wire_bytes: wire, peak_kb: process.resourceUsage().maxRSS, digest: states[0], converged,
        wholeRecords: e.wholeRecords === true };
}

// ---- All of them, round by round, so that whatever loads the machine loads all ------------------------------------

const args = process.argv.slice(2);
const option = (name, otherwise) => (args.includes(name) ? args[args.indexOf(name) + 1] : otherwise);
const self = fileURLToPath(import.meta.url);
const scale = args.includes('--small') ? 1000 : 100000;

if (args.includes('--one')) {
    const at = args.indexOf('--one');
    console.log(JSON.stringify(await measure(args[at + 1], args[at + 2], scale)));
    process.exit(0);
}

const ours = option('--ours', null);
const rounds = Number(option('--rounds', '3'));
const workloads = option('--workloads', 'W1,W2,W3,W4').split(',');
const chosen = option('--engines', [...(ours ? ['ours', 'ours-random-ids', 'ours-sqlite', 'sqlite-insert'] : []),
    ...Object.keys(engines)].join(',')).split(',');
const results = {};
for (let round = 0; round < rounds; ++round) {
    for (const workload of workloads) {
        for (const engine of chosen) {
            if (engine === 'sqlite-insert' && workload !== 'W1') { continue; }
            const command = engine in engines
                ? [process.execPath, ['--max-old-space-size=6144', self, '--one', engine, workload]]
                : [ours, [engine, workload]];
            if (scale !== 100000) { command[1].push('--small'); }
            const out = JSON.parse(execFileSync(command[0], command[1], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
            ((results[workload] ??= {})[engine] ??= []).push(out);
        }
    }
}
const median = (list) => list.sort((x, y) => x - y)[Math.floor(list.length / 2)];
const rows = [];
let failed = false;
for (const workload of workloads) {
    let common = null;
    for (const engine of chosen) {
        const all = results[workload][engine];
        if (!all) { continue; }
        const last = all[all.length - 1];
        // Who wins the same field is each engine's own business; everything else has one right answer.
        const comparable = last.digest && !last.wholeRecords && engine !== 'ours-random-ids';
        if (comparable) { common ??= last.digest; }
        const right = last.converged && (workload === 'W4' || !comparable || last.digest === common);
        failed ||= !right;
        rows.push({ workload, engine, cpu_ms: median(all.map((x) => x.cpu_ms)), wire_bytes: last.wire_bytes,
            peak_kb: median(all.map((x) => x.peak_kb)), state: right ? 'right' : 'WRONG' });
    }
}
const pad = (s, n) => String(s).padStart(n);
console.log('| workload | engine          |   CPU ms | bytes on the wire | peak MB | final state |');
console.log('|----------|-----------------|---------:|------------------:|--------:|-------------|');
for (const r of rows) {
    console.log(`| ${r.workload.padEnd(8)} | ${r.engine.padEnd(15)} | ${pad(r.cpu_ms.toFixed(1), 8)} | ` +
        `${pad(r.wire_bytes ?? '-', 17)} | ${pad((r.peak_kb / 1024).toFixed(0), 7)} | ${r.state.padEnd(11)} |`);
}
const file = option('--json', null);
if (file) { writeFileSync(file, JSON.stringify({ scale, rounds, rows }, null, 2) + '\n'); }
process.exit(failed ? 1 : 0);
