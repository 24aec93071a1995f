// SPDX-License-Identifier: BSL-1.0
// Deltas beside their peers, in one process on the same bytes:  delta CORPUS_FOLDER [WHO] > delta.csv
// WHO leaves only the rows of those whose name holds it.
// A row: corpus, who, bytes of the delta (a mean for records), MB/s of the target encoding and decoding (CPU time,
// medians), peak memory in KiB beyond base, target and delta. xdelta3 and bsdiff are commands: the time of the whole
// process less that of one that does nothing; their memory is the process's largest resident set, files and all.

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <librsync.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <syncline/adapters/openssl_hash.hpp>
#include <syncline/delta.hpp>

namespace {

using namespace syncline;

std::string folder;
std::string only;
std::string work;

std::size_t beside = 0;  ///< what else goes over the wire: a signature

double cpu_now() {
    timespec t{};
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}
bytes load(std::string const& file) {
    std::ifstream in(file, std::ios::binary);
    std::string const all{std::istreambuf_iterator<char>(in), {}};
    return to_bytes(all);
}
double median(std::vector<double> v) {
    std::sort(v.begin(), v.end());
    return v[v.size() / 2];
}

/// Pairs of base and target in one corpus.
struct corpus {
    std::string name;
    std::vector<std::pair<bytes, bytes>> pairs;
    std::size_t target_bytes() const {
        std::size_t n = 0;
        for (auto const& p : pairs) { n += p.second.size(); }
        return n;
    }
};
corpus file_pair(std::string const& name) {
    return {name, {{load(folder + '/' + name + ".old"), load(folder + '/' + name + ".new")}}};
}
/// A stream of versions, `versions` of each.
corpus stream(std::string const& name, std::size_t versions, std::size_t most) {
    bytes const all = load(folder + '/' + name);
    std::vector<bytes> list;
    for (bytes_view rest = all; rest.size() >= 4;) {
        std::size_t const n = syncline::detail::load_little32(rest.data());
        list.push_back(to_bytes(rest.subspan(4, n)));
        rest = rest.subspan(4 + n);
    }
    corpus out{name, {}};
    for (std::size_t i = 1; i < list.size() && out.pairs.size() < most; ++i) {
        if (i % versions != 0) { out.pairs.emplace_back(list[i - 1], list[i]); }
    }
    return out;
}

/// Encodes `base`, `target` and appends; decodes likewise. False: it can't.
struct way {
    std::string name;
    std::function<void(bytes_view, bytes_view, bytes&)> encode;
    std::function<bool(bytes_view, bytes_view, bytes&, std::size_t)> decode;
    std::function<std::size_t()> memory;  ///< bytes held for encoding
    bool slow = false;
};

void row(std::string const& where, std::string const& who, double size, double encode, double decode, double kib) {
    std::printf("%s,%s,%.1f,%.1f,%.1f,%.0f\n", where.c_str(), who.c_str(), size, encode, decode, kib);
    std::fflush(stdout);
}

void measure(corpus const& c, way& w) {
    if (w.name.find(only) == std::string::npos) { return; }
    std::size_t const count = w.slow && c.pairs.size() > 500 ? 500 : c.pairs.size();
    std::size_t target = 0;
    for (std::size_t i = 0; i < count; ++i) { target += c.pairs[i].second.size(); }
    std::vector<double> encoding;
    std::vector<double> decoding;
    bytes deltas;
    std::vector<std::size_t> ends;
    bytes made;
    bool good = true;
    int const rounds = w.slow ? 1 : 7;
    for (int round = 0; round < rounds; ++round) {
        deltas.clear();
        ends.clear();
        beside = 0;
        double const start = cpu_now();
        for (std::size_t i = 0; i < count; ++i) {
            w.encode(c.pairs[i].first, c.pairs[i].second, deltas);
            ends.push_back(deltas.size());
        }
        encoding.push_back(cpu_now() - start);
    }
    std::size_t const held = w.memory ? w.memory() : 0;
    for (int round = 0; round < 7; ++round) {
        double spent = 0;
        for (std::size_t i = 0, at = 0; i < count; at = ends[i++]) {
            made.clear();
            double const start = c.pairs.size() == 1 ? cpu_now() : 0;
            good = w.decode(c.pairs[i].first, bytes_view(deltas).subspan(at, ends[i] - at), made,
                            c.pairs[i].second.size()) &&
                   good;
            if (c.pairs.size() == 1) { spent += cpu_now() - start; }
            if (round == 0) { good = good && made == c.pairs[i].second; }
        }
        if (c.pairs.size() != 1 && round != 0) {
            double const start = cpu_now();
            for (std::size_t i = 0, at = 0; i < count; at = ends[i++]) {
                made.clear();
                (void)w.decode(c.pairs[i].first, bytes_view(deltas).subspan(at, ends[i] - at), made,
                               c.pairs[i].second.size());
            }
            spent = cpu_now() - start;
        }
        if (spent > 0) { decoding.push_back(spent); }
    }
    if (!good) { std::fprintf(stderr, "%s: %s does not give the target back\n", c.name.c_str(), w.name.c_str()); }
    double const size =
        static_cast<double>(deltas.size() + beside) / (c.pairs.size() > 5000 ? static_cast<double>(count) : 1.0);
    auto const rate = [&](std::vector<double> const& v) {
        return v.empty() ? 0.0 : static_cast<double>(target) / median(v) / 1e6;
    };
    row(c.name, w.name, size, rate(encoding), rate(decoding), static_cast<double>(held) / 1024);
}

// --- ours

way ours(delta_level level, char const* name, bool checksum = false) {
    auto* const scratch = new delta_scratch;  // lives as long as the program
    vcdiff_options const options{.level = level, .checksum = checksum};
    return {std::string("ours ") + name,
            [=](bytes_view a, bytes_view b, bytes& out) { vcdiff_encode(a, b, out, *scratch, options); },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) { return vcdiff_decode(a, d, out).has_value(); },
            [=] { return scratch->bytes_held(); }};
}
way ours_compact() {
    auto* const scratch = new delta_scratch;
    return {"ours compact", [=](bytes_view a, bytes_view b, bytes& out) { compact_encode(a, b, out, *scratch); },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) { return compact_decode(a, d, out).has_value(); },
            [=] { return scratch->bytes_held(); }};
}
way ours_lines() {
    auto* const scratch = new delta_scratch;
    return {"ours lines", [=](bytes_view a, bytes_view b, bytes& out) { line_delta_encode(a, b, out, *scratch); },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) { return compact_decode(a, d, out).has_value(); },
            [=] { return scratch->bytes_held(); }};
}
way ours_field() {
    auto* const scratch = new delta_scratch;
    return {"ours field",
            [=](bytes_view a, bytes_view b, bytes& out) {
                field_delta_encode(value_view(a), value_view(b), out, *scratch);
            },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) {
                return field_delta_apply(value_view(a), d, out).has_value();
            },
            [=] { return scratch->bytes_held(); }};
}
template <class Hash>
way ours_signature(char const* name) {
    auto* const scratch = new delta_scratch;
    return {name,
            [=](bytes_view a, bytes_view b, bytes& out) {
                bytes s;
                signature_encode(a, {}, s, Hash{});
                beside += s.size();
                auto const index = signature_index::read(s);
                if (index) { index->encode(b, out, *scratch, {}, Hash{}); }
            },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) { return vcdiff_decode(a, d, out).has_value(); },
            [=] { return scratch->bytes_held(); }};
}

// --- peers in the process

way zstd(int level, bool distant) {
    auto* const c = ZSTD_createCCtx();
    auto* const d = ZSTD_createDCtx();
    ZSTD_DCtx_setParameter(d, ZSTD_d_windowLogMax, 31);
    return {"zstd " + std::to_string(level) + (distant ? " long" : ""),
            [=](bytes_view a, bytes_view b, bytes& out) {
                ZSTD_CCtx_reset(c, ZSTD_reset_session_and_parameters);
                ZSTD_CCtx_setParameter(c, ZSTD_c_compressionLevel, level);
                if (a.size() > 100'000) {
                    int log = 17;
                    while ((std::size_t{1} << log) < a.size() + b.size()) { ++log; }
                    ZSTD_CCtx_setParameter(c, ZSTD_c_windowLog, log);
                    if (distant) { ZSTD_CCtx_setParameter(c, ZSTD_c_enableLongDistanceMatching, 1); }
                } else {
                    ZSTD_CCtx_setParameter(c, ZSTD_c_contentSizeFlag, 0);  // the smaller frame, as the length is known
                }
                ZSTD_CCtx_refPrefix(c, a.data(), a.size());
                std::size_t const old = out.size();
                out.resize(old + ZSTD_compressBound(b.size()));
                std::size_t const n = ZSTD_compress2(c, out.data() + old, out.size() - old, b.data(), b.size());
                out.resize(old + (ZSTD_isError(n) != 0 ? 0 : n));
            },
            [=](bytes_view a, bytes_view delta, bytes& out, std::size_t size) {
                ZSTD_DCtx_refPrefix(d, a.data(), a.size());
                out.resize(size);
                return ZSTD_decompressDCtx(d, out.data(), size, delta.data(), delta.size()) == size;
            },
            [=] { return ZSTD_sizeof_CCtx(c); }, level > 9};
}

rs_result job(rs_job_t* j, bytes_view in, bytes& out) {
    std::vector<char> piece(1 << 16);
    rs_buffers_t b{};
    b.next_in = const_cast<char*>(reinterpret_cast<char const*>(in.data()));
    b.avail_in = in.size();
    b.eof_in = 1;
    rs_result r = RS_BLOCKED;
    while (r == RS_BLOCKED) {
        b.next_out = piece.data();
        b.avail_out = piece.size();
        r = rs_job_iter(j, &b);
        append(out, as_bytes(std::string_view(piece.data(), piece.size() - b.avail_out)));
    }
    rs_job_free(j);
    return r;
}
struct lent {
    bytes_view whole;
};
rs_result read_lent(void* opaque, rs_long_t at, std::size_t* n, void** buffer) {
    auto const& whole = static_cast<lent*>(opaque)->whole;
    auto const from = static_cast<std::size_t>(at);
    *n = (std::min)(*n, whole.size() - (std::min)(from, whole.size()));
    *buffer = const_cast<std::byte*>(whole.data() + from);
    return RS_DONE;
}
way librsync() {
    return {"librsync",
            [](bytes_view a, bytes_view b, bytes& out) {
                bytes s;
                rs_magic_number magic = RS_RK_BLAKE2_SIG_MAGIC;
                std::size_t block = 0;
                std::size_t strong = 16;
                rs_sig_args(static_cast<rs_long_t>(a.size()), &magic, &block, &strong);
                job(rs_sig_begin(block, strong, magic), a, s);
                rs_signature_t* sums = nullptr;
                bytes none;
                job(rs_loadsig_begin(&sums), s, none);
                rs_build_hash_table(sums);
                beside += s.size();
                job(rs_delta_begin(sums), b, out);
                rs_free_sumset(sums);
            },
            [](bytes_view a, bytes_view d, bytes& out, std::size_t) {
                lent whole{a};
                return job(rs_patch_begin(read_lent, &whole), d, out) == RS_DONE;
            },
            [] { return std::size_t{0}; }};
}

// --- peers as commands

struct spent {
    double cpu = 0;
    std::size_t kib = 0;
    bool good = false;
};
spent run(std::vector<std::string> const& words) {
    std::vector<char*> argv;
    for (auto const& w : words) { argv.push_back(const_cast<char*>(w.c_str())); }
    argv.push_back(nullptr);
    pid_t const child = fork();
    if (child == 0) {
        int const nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 1);
        dup2(nowhere, 2);
        execvp(argv[0], argv.data());
        _exit(127);
    }
    int state = 0;
    rusage used{};
    wait4(child, &state, 0, &used);
    auto const seconds = [](timeval t) {
        return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    };
    return {seconds(used.ru_utime) + seconds(used.ru_stime), static_cast<std::size_t>(used.ru_maxrss),
            WIFEXITED(state) && WEXITSTATUS(state) == 0};
}
std::size_t size_of(std::string const& file) {
    return static_cast<std::size_t>(std::ifstream(file, std::ios::binary | std::ios::ate).tellg());
}
/// `@` a base, `+` a target or what is made, `=` a delta. No corpus is in memory here, as a child begins with our size.
void command(std::string const& where, std::string const& name, std::vector<std::string> encode,
             std::vector<std::string> decode, int rounds) {
    if (name.find(only) == std::string::npos) { return; }
    std::string const a = folder + '/' + where + ".old", b = folder + '/' + where + ".new", d = work + "/delta",
                      m = work + "/made";
    std::size_t const target = size_of(b);
    auto const filled = [&](std::vector<std::string> words, std::string const& plus) {
        for (auto& w : words) { w = w == "@" ? a : w == "+" ? plus : w == "=" ? d : w; }
        return words;
    };
    std::vector<double> encoding, decoding, nothing;
    spent last;
    for (int i = 0; i < rounds; ++i) {
        nothing.push_back(run({encode[0], "-V"}).cpu);
        last = run(filled(encode, b));
        if (!last.good) {
            std::fprintf(stderr, "SKIPPED: %s\n", name.c_str());
            return;
        }
        encoding.push_back(last.cpu);
        spent const back = run(filled(decode, m));
        decoding.push_back(back.cpu);
    }
    if (!run({"cmp", "-s", m, b}).good) { std::fprintf(stderr, "%s does not give the target back\n", name.c_str()); }
    double const start = median(nothing);
    auto const rate = [&](std::vector<double> const& v) {
        return static_cast<double>(target) / (std::max)(median(v) - start, 1e-4) / 1e6;
    };
    row(where, name, static_cast<double>(size_of(d)), rate(encoding), rate(decoding), static_cast<double>(last.kib));
}

}  // namespace

int main(int argc, char** argv) {
    if (argc < 2 || argc > 3) {
        std::fprintf(stderr, "usage: delta CORPUS_FOLDER [WHO]\n");
        return 2;
    }
    folder = argv[1];
    if (argc == 3) { only = argv[2]; }
    work = folder + "/work";
    (void)run({"mkdir", "-p", work});
    // Memory is kept between rounds, as a program that sends deltas all day has it.
    mallopt(M_MMAP_THRESHOLD, 1 << 30);
    mallopt(M_TRIM_THRESHOLD, (1LL << 31) - 1);
    std::printf("corpus,who,bytes,encode,decode,kib\n");
    // The commands first, while this process is small.
    for (std::string const name : {"package_tar", "sqlite", "random_edits", "identical", "unrelated"}) {
        if (!std::ifstream(folder + '/' + name + ".old")) { continue; }
        for (char const* const level : {"-1", "-9"}) {
            command(name, std::string("xdelta3 ") + level,
                    {"xdelta3", level, "-S", "none", "-A", "-e", "-f", "-B", "67108864", "-s", "@", "+", "="},
                    {"xdelta3", "-d", "-f", "-B", "67108864", "-s", "@", "=", "+"}, 3);
        }
        if (name != "unrelated" && name != "random_edits") {
            command(name, "bsdiff", {"bsdiff", "@", "+", "="}, {"bspatch", "@", "+", "="}, 1);
        }
    }
    for (char const* const name : {"records_json", "records_cbor"}) {
        corpus const c = stream(name, 6, 10'000);
        std::vector<way> ways{ours_compact(), zstd(1, false), zstd(3, false), zstd(19, false), librsync()};
        if (std::string(name) == "records_cbor") { ways.push_back(ours_field()); }
        ways.push_back(ours(delta_level::fastest, "fastest"));
        for (way& w : ways) { measure(c, w); }
    }
    std::vector<corpus> files;
    for (char const* const name : {"package_tar", "sqlite", "random_edits", "identical", "unrelated"}) {
        if (std::ifstream(folder + '/' + name + ".old")) { files.push_back(file_pair(name)); }
    }
    if (std::ifstream(folder + "/package_files")) { files.push_back(stream("package_files", 2, 100'000)); }
    for (corpus const& c : files) {
        std::vector<way> ways{ours(delta_level::fastest, "fastest"),
                              ours(delta_level::fast, "fast"),
                              ours(delta_level::smaller, "small"),
                              ours(delta_level::smallest, "smallest"),
                              ours(delta_level::fast, "fast Adler-32", true),
                              ours_signature<sha256_hasher>("ours signature"),
                              ours_signature<openssl_sha256>("ours signature OpenSSL"),
                              zstd(1, false),
                              zstd(3, true),
                              librsync()};
        if (c.name == "package_files") { ways.insert(ways.begin(), ours_lines()); }
        if (c.name != "unrelated") { ways.push_back(zstd(19, true)); }
        for (way& w : ways) { measure(c, w); }
    }
}
