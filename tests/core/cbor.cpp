// SPDX-License-Identifier: BSL-1.0

/// The CBOR reader and writer against RFC 8949, its examples, and a naive model of it.

#include <syncline/core/cbor.hpp>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#if defined(__unix__) || defined(__APPLE__)
    #include <csignal>

    #include <sys/wait.h>
    #include <unistd.h>
#endif

#include "core/rfc8949.hpp"
#include "fuzz_targets/cbor.hpp"
#include "support/catch.hpp"

using namespace syncline;
using rfc8949::unhex;

namespace {

static_assert(std::is_trivially_copyable_v<cbor_reader>);
static_assert(noexcept(std::declval<cbor_reader&>().skip()) && noexcept(validate_canonical(bytes_view())));

template <class Write>
std::string written(Write write) {
    bytes out;
    cbor_writer w(out);
    write(w);
    return to_hex(out);
}
failure failed_with(std::string_view hex) { return validate_canonical(unhex(hex)).error(); }

}  // namespace

TEST_CASE("the checks judge all of appendix A", "[core][cbor]") {
    for (auto const& e : rfc8949::appendix_a) {
        CAPTURE(e.encoded);
        bytes const in = unhex(e.encoded);
        CHECK(well_formed(in));
        auto const strict = validate_canonical(in);
        if (e.canonical == "=") {
            CHECK(strict);
        } else if (e.canonical.empty()) {
            REQUIRE(!strict);
            CHECK(strict.error() == errc::unsupported);
        } else {
            REQUIRE(!strict);
            CHECK(strict.error() == errc::not_deterministic);
            CHECK(validate_canonical(unhex(e.canonical)));
        }
    }
}

TEST_CASE("all of appendix F is refused", "[core][cbor]") {
    for (auto const hex : rfc8949::appendix_f) {
        CAPTURE(hex);
        bytes const in = unhex(hex);
        auto const any = well_formed(in);
        REQUIRE(!any);
        CHECK(any.error() == errc::malformed);
        CHECK(!validate_canonical(in));
        cbor_reader reader(in);
        CHECK(reader.skip().empty());
        CHECK(reader.failed());
        CHECK(reader.at_end());
    }
}

TEST_CASE("the writer writes the shortest form", "[core][cbor]") {
    auto const integer = [](std::int64_t n) { return written([n](cbor_writer& w) { w.integer(n); }); };
    auto const floating = [](double n) { return written([n](cbor_writer& w) { w.floating(n); }); };
    CHECK(integer(0) == "00");
    CHECK(integer(23) == "17");
    CHECK(integer(24) == "1818");
    CHECK(integer(255) == "18ff");
    CHECK(integer(256) == "190100");
    CHECK(integer(65536) == "1a00010000");
    CHECK(integer(4294967296) == "1b0000000100000000");
    CHECK(integer(-1) == "20");
    CHECK(integer(-256) == "38ff");
    CHECK(integer((std::numeric_limits<std::int64_t>::max)()) == "1b7fffffffffffffff");
    CHECK(integer((std::numeric_limits<std::int64_t>::min)()) == "3b7fffffffffffffff");
    CHECK(written([](cbor_writer& w) { w.unsigned_integer(~std::uint64_t{0}); }) == "1bffffffffffffffff");
    CHECK(floating(0.0) == "f90000");
    CHECK(floating(-0.0) == "f98000");
    CHECK(floating(65504) == "f97bff");
    CHECK(floating(65505) == "fa477fe100");
    CHECK(floating(1.1) == "fb3ff199999999999a");
    CHECK(floating(5.960464477539063e-8) == "f90001");
    CHECK(floating(2.9802322387695312e-8) == "fa33000000");          // half of the smallest half
    CHECK(floating(1.401298464324817e-45) == "fa00000001");          // the smallest single
    CHECK(floating(7.006492321624085e-46) == "fb3690000000000000");  // half of it
    CHECK(floating(5e-324) == "fb0000000000000001");
    CHECK(floating(3.4028234663852886e+38) == "fa7f7fffff");
    CHECK(floating(3.402823669209385e+38) == "fb47f0000000000000");
    CHECK(floating(std::numeric_limits<double>::quiet_NaN()) == "f97e00");
    CHECK(floating(-std::numeric_limits<double>::quiet_NaN()) == "f97e00");
    CHECK(floating(-std::numeric_limits<double>::infinity()) == "f9fc00");
    CHECK(written([](cbor_writer& w) {
              w.map(2);
              w.text("a");
              w.array(3);
              w.null();
              w.boolean(true);
              w.boolean(false);
              w.text("bb");
              w.byte_string(unhex("0102"));
              w.raw(unhex("6161"));
          }) ==
          "a2616183f6f5f4626262420102"
          "6161");
    std::string const longer(300, 'x');
    CHECK(written([&](cbor_writer& w) { w.text(longer); }) == "79012c" + to_hex(as_bytes(longer)));
}

TEST_CASE("into room that is enough the same is written, and nothing behind it", "[core][cbor]") {
    random_generator random{11};
    std::string const letters(70'000, 'x');
    std::uint64_t const numbers[] = {0, 23, 24, 255, 256, 65'535, 65'536, 0xFFFFFFFF, 0x100000000, ~std::uint64_t{0}};
    std::size_t const lengths[] = {0, 1, 23, 24, 255, 256, 65'535, 65'536};
    for (int round = 0; round < 500; ++round) {
        struct item {
            std::uint64_t kind, number;
            std::size_t length;
        };
        std::vector<item> items(static_cast<std::size_t>(below(random, 6)));
        for (item& i : items) { i = {below(random, 7), numbers[below(random, 10)], lengths[below(random, 8)]}; }
        auto const write = [&](auto& w) {
            for (item const& i : items) {
                switch (i.kind) {
                    case 0: w.null(); break;
                    case 1: w.unsigned_integer(i.number); break;
                    case 2: w.text(std::string_view{letters}.substr(0, i.length)); break;
                    case 3: w.byte_string(as_bytes(letters).first(i.length)); break;
                    case 4: w.array(i.length); break;
                    case 5: w.map(i.length); break;
                    default: w.raw(as_bytes(letters).first(i.length));
                }
            }
        };
        bytes expected;
        cbor_writer grows{expected};
        write(grows);
        // Exactly enough, and more than that: behind what is written all stays as it was.
        for (std::size_t const more : {std::size_t{0}, std::size_t{1}, std::size_t{40}}) {
            bytes room(expected.size() + more + 16, std::byte{0xA5});
            cbor_room_writer w{std::span{room}.first(expected.size() + more)};
            CHECK(w.size() == 0);
            write(w);
            REQUIRE(w.size() == expected.size());
            REQUIRE(std::equal(expected.begin(), expected.end(), room.begin()));
            REQUIRE(std::count(room.begin() + static_cast<std::ptrdiff_t>(expected.size()), room.end(),
                               std::byte{0xA5}) == static_cast<std::ptrdiff_t>(more + 16));
        }
    }
}

#if (defined(__unix__) || defined(__APPLE__)) && defined(SYNCLINE_CHECKED) && SYNCLINE_CHECKED
TEST_CASE("an item that is larger than its room ends the program before a byte is written behind it", "[core][cbor]") {
    std::string const letters(300, 'x');
    auto const ends = [](std::size_t room, auto write) {
        pid_t const child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            for (int const s : {SIGILL, SIGTRAP, SIGSEGV, SIGABRT}) { (void)std::signal(s, SIG_DFL); }
            bytes memory(room);
            cbor_room_writer w{memory};
            write(w);
            _exit(0);
        }
        int how = 0;
        REQUIRE(waitpid(child, &how, 0) == child);
        CHECK_FALSE((WIFSIGNALED(how) && WTERMSIG(how) == SIGSEGV));  // told, not found out by a bad write
        return !(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    };
    auto const needs = [&](std::size_t size, auto write) {
        CHECK_FALSE(ends(size, write));
        CHECK(ends(size - 1, write));
        CHECK(ends(0, write));
    };
    needs(1, [](auto& w) { w.null(); });
    needs(1, [](auto& w) { w.unsigned_integer(23); });
    needs(2, [](auto& w) { w.unsigned_integer(24); });
    needs(9, [](auto& w) { w.unsigned_integer(~std::uint64_t{0}); });
    needs(3, [](auto& w) { w.array(256); });
    needs(3, [](auto& w) { w.map(256); });
    needs(303, [&](auto& w) { w.text(letters); });
    needs(303, [&](auto& w) { w.byte_string(as_bytes(letters)); });
    needs(300, [&](auto& w) { w.raw(as_bytes(letters)); });
    needs(2, [](auto& w) {
        w.null();
        w.null();
    });
    // No size wraps round: neither that of an item nor of what is left.
    CHECK(ends(20, [&](auto& w) { w.raw({as_bytes(letters).data(), ~std::size_t{0}}); }));
    CHECK(ends(20, [&](auto& w) { w.byte_string({as_bytes(letters).data(), ~std::size_t{0}}); }));
}
#endif

TEST_CASE("every half is read as appendix D says and written back", "[core][cbor]") {
    std::size_t wrong = 0;
    for (unsigned h = 0; h < 0x10000; ++h) {
        bytes in{std::byte{0xF9}, static_cast<std::byte>(h >> 8), static_cast<std::byte>(h & 0xFF)};
        double const expected = cbor_model::parser::half(h);
        cbor_reader reader(in);
        double const number = reader.floating();
        bool const nan = expected != expected;
        if (nan && h != 0x7E00) {
            if (!reader.failed() || !(reader.error() == errc::not_deterministic)) { ++wrong; }
            continue;
        }
        if (reader.failed() || (nan ? number == number : !cbor_model::same_number(number, expected))) { ++wrong; }
        bytes out;
        cbor_writer(out).floating(number);
        if (out != in) { ++wrong; }
    }
    CHECK(wrong == 0);
}

TEST_CASE("a well-formed item that is not in canonical form is told from a malformed one", "[core][cbor]") {
    for (auto const hex : {"1800",
                           "1817",
                           "1900ff",
                           "1a0000ffff",
                           "1b00000000ffffffff",
                           "3817",
                           "5800",
                           "7800",
                           "9800",
                           "b800",
                           "fa00000000",
                           "fb3ff0000000000000",
                           "fb36a0000000000000",
                           "f97e01",
                           "f9fe00",
                           "fa7fc00001",
                           "fb7ff8000000000001",
                           "5fff",
                           "7fff",
                           "9fff",
                           "bfff",
                           "a2616201616100",
                           "a262616101616202",
                           "a2200100f6"}) {
        CAPTURE(hex);
        CHECK(failed_with(hex) == errc::not_deterministic);
        CHECK(well_formed(unhex(hex)));
    }
    CHECK(failed_with("a2616101616102") == errc::malformed);   // a key twice
    CHECK(failed_with("a2a0f6a0f6") == errc::malformed);       // also of keys that are maps
    CHECK(validate_canonical(unhex("a3617af6626161f680f6")));  // the shorter first, then other types
    CHECK(failed_with("61ff") == errc::malformed);             // not UTF-8
    CHECK(failed_with("a161ff00") == errc::malformed);
    CHECK(failed_with("0000") == errc::malformed);
    CHECK(failed_with("") == errc::malformed);
}

TEST_CASE("a message is read through and checked once", "[core][cbor]") {
    bytes out;
    cbor_writer w(out);
    w.array(7);
    w.text("hello");
    w.integer(-7);
    w.unsigned_integer(~std::uint64_t{0});
    w.floating(2.5);
    w.boolean(true);
    w.byte_string(unhex("beef"));
    w.null();

    cbor_reader in(out);
    CHECK(in.peek() == cbor_type::array);
    CHECK(in.array() == 7);
    CHECK(!in.null());
    CHECK(!in.match(unhex("6568656c6c70")));
    CHECK(in.text() == "hello");
    CHECK(in.peek() == cbor_type::negative_integer);
    CHECK(in.integer() == -7);
    CHECK(in.unsigned_integer() == ~std::uint64_t{0});
    CHECK(in.floating() == 2.5);
    CHECK(in.boolean());
    CHECK(to_hex(in.byte_string()) == "beef");
    CHECK(!in.at_end());
    CHECK(in.null());
    CHECK(in.at_end());
    CHECK(in.position() == out.size());
    CHECK(in.finish());
}

TEST_CASE("the first error stays, and all that follows is empty", "[core][cbor]") {
    bytes const in = unhex("83016161f5");
    cbor_reader reader(in);
    CHECK(reader.array() == 3);
    CHECK(reader.integer() == 1);
    CHECK(reader.integer() == 0);
    CHECK(reader.failed());
    CHECK(reader.error() == errc::type_mismatch);
    CHECK(reader.position() == 2);
    CHECK(reader.text().empty());
    CHECK(!reader.boolean());
    CHECK(reader.array() == 0);
    CHECK(reader.skip().empty());
    CHECK(reader.peek() == cbor_type::invalid);
    reader.fail(errc::limit);
    REQUIRE(!reader.finish());
    CHECK(reader.finish().error() == errc::type_mismatch);

    cbor_reader caller(in);
    caller.fail({errc::invalid, "what the caller found"});
    CHECK(caller.array() == 0);
    CHECK(caller.finish().error() == errc::invalid);
}

TEST_CASE("integers outside a getter's range are an overflow", "[core][cbor]") {
    auto const integer = [](std::string_view hex) {
        bytes const in = unhex(hex);
        cbor_reader r(in);
        static_cast<void>(r.integer());
        return r.finish();
    };
    CHECK(integer("3b7fffffffffffffff"));
    CHECK(integer("1b8000000000000000").error() == errc::overflow);
    CHECK(integer("3b8000000000000000").error() == errc::overflow);
    bytes const minus_one = unhex("20");
    cbor_reader r(minus_one);
    CHECK(r.unsigned_integer() == 0);
    CHECK(r.finish().error() == errc::overflow);
}

TEST_CASE("each limit is held, exactly", "[core][cbor]") {
    auto const judge = [](std::string_view hex, decode_limits const& limits) {
        bytes const in = unhex(hex);
        auto const strict = validate_canonical(in, limits);
        auto const any = well_formed(in, limits);
        CHECK(strict.has_value() == any.has_value());
        if (!strict) { CHECK((strict.error() == errc::limit && any.error() == errc::limit)); }
        return strict.has_value();
    };
    CHECK(judge("83010203", {.bytes_max = 4}));
    CHECK(!judge("83010203", {.bytes_max = 3}));
    CHECK(judge("6568656c6c6f", {.string_max = 5}));
    CHECK(!judge("6568656c6c6f", {.string_max = 4}));
    CHECK(judge("83010203", {.items_max = 3}));
    CHECK(!judge("83010203", {.items_max = 2}));
    CHECK(judge("a2010203f6", {.items_max = 2}));
    CHECK(!judge("a2010203f6", {.items_max = 1}));
    CHECK(judge("818180", {.depth_max = 3}));
    CHECK(!judge("818180", {.depth_max = 2}));
    CHECK(!judge("818101", {.depth_max = 1}));
    CHECK(judge("01", {.depth_max = 0}));
    CHECK(!judge("80", {.depth_max = 0}));
    CHECK(!judge("8a01020304050607080901", {.work_max = 10}));
    CHECK(!judge("6568656c6c6f", {.work_max = 5}));
    std::string deep;
    for (std::uint32_t i = 0; i < cbor_depth_max; ++i) { deep += "81"; }
    CHECK(!judge(deep + "80", {.depth_max = 1000}));
    CHECK(judge(deep + "00", {.depth_max = 1000}));
    std::string indefinite;
    for (int i = 0; i < 100; ++i) { indefinite += "9f"; }
    CHECK(well_formed(unhex(indefinite)).error() == errc::limit);
    CHECK(well_formed(unhex("9f010203ff"), {.items_max = 2}).error() == errc::limit);
    CHECK(well_formed(unhex("5f41014101ff"), {.string_max = 1}).error() == errc::limit);
}

TEST_CASE("a count is never larger than what is left can hold", "[core][cbor]") {
    for (auto const hex :
         {"9a000fffff00", "ba000fffff0000", "9bffffffffffffffff", "bbffffffffffffffff00", "a2000000"}) {
        CAPTURE(hex);
        bytes const in = unhex(hex);
        cbor_reader reader(in);
        CHECK((reader.peek() == cbor_type::map ? reader.map() : reader.array()) == 0);
        CHECK(reader.error() == errc::malformed);
    }
}

TEST_CASE("keys are looked up in a map without decoding it", "[core][cbor]") {
    bytes const map = unhex("a4616101616282f6f562616103636e6d65f4");
    CHECK(to_hex(**map_find(map, "a")) == "01");
    CHECK(to_hex(**map_find(map, "b")) == "82f6f5");
    CHECK(to_hex(**map_find(map, "aa")) == "03");
    CHECK(to_hex(**map_find(map, "nme")) == "f4");
    CHECK(!*map_find(map, "c"));
    CHECK(!*map_find(map, "zzzz"));
    CHECK(!*map_find(unhex("a0"), "a"));
    CHECK(map_find(unhex("80"), "a").error() == errc::type_mismatch);
    CHECK(map_find(unhex("a1"), "a").error() == errc::malformed);
    CHECK(map_find(unhex("a10102"), "a").error() == errc::type_mismatch);
    CHECK(map_find(unhex("a1616201ff"), "c").error() == errc::malformed);
    CHECK(map_find(unhex("a2616201616102"), "a").value_or(bytes_view()) == std::nullopt);  // the rest is not looked at
    CHECK(map_find(unhex("a2616201616102"), "c").error() == errc::not_deterministic);
    CHECK((compare_keys("b", "aa") < 0));
    CHECK((compare_keys("a", "b") < 0));
    CHECK((compare_keys("\x7F", "\xC3") < 0));
    CHECK((compare_keys("a", "a") == 0));
}

TEST_CASE("random items, loose, canonical and damaged, hold what the fuzzer asks", "[core][cbor][fuzz]") {
    syncline::random_generator g(20240601);
    for (int i = 0; i < 4000; ++i) {
        auto const node = cbor_model::random_node(g, 4);
        cbor_model::verdict v = cbor_model::verdict::fine;
        std::string const canonical = cbor_model::canonical(node, v);
        REQUIRE(validate_canonical(as_bytes(canonical)));
        std::string const loose = cbor_model::loose(node, g);
        REQUIRE(well_formed(as_bytes(loose)));
        for (bytes const& in :
             {to_bytes(canonical), to_bytes(loose), cbor_model::mutate(canonical, g), cbor_model::mutate(loose, g)}) {
            fuzz::fuzz_cbor(reinterpret_cast<std::uint8_t const*>(in.data()), in.size());
        }
    }
}

TEST_CASE("every change of one byte is decoded or refused", "[core][cbor][fuzz]") {
    syncline::random_generator g(7);
    for (int i = 0; i < 12; ++i) {
        cbor_model::verdict v = cbor_model::verdict::fine;
        bytes in = to_bytes(cbor_model::canonical(cbor_model::random_node(g, 3), v));
        if (in.size() > 60) { in.resize(60); }
        for (std::size_t at = 0; at < in.size(); ++at) {
            std::byte const old = in[at];
            for (unsigned b = 0; b < 256; ++b) {
                in[at] = static_cast<std::byte>(b);
                fuzz::fuzz_cbor(reinterpret_cast<std::uint8_t const*>(in.data()), in.size());
            }
            in[at] = old;
        }
    }
}
