// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Values for checks of laws: made from one seed, made smaller when one breaks a law, and shown to a person.

#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/clock/hybrid_clock.hpp>
#include <syncline/clock/version_vector.hpp>
#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/describe.hpp>
#include <syncline/core/id.hpp>
#include <syncline/core/random.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/time.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/core/value.hpp>
#include <syncline/merge/three_way.hpp>
#include <syncline/model/mutation.hpp>
#include <syncline/model/record.hpp>
#include <syncline/replica/event.hpp>
#include <syncline/replica/protocol.hpp>

namespace syncline::inline SYNCLINE_ABI::testing {

/// Makes values out of random words: any callable `T operator()(random_generator&) const`, a lambda for one.
///
/// Axioms: the same generator state gives the same value, on every machine; so it uses no `std` distribution, no
/// hash order and no address. Laws are broken where values meet: draw most of them from a handful ("hot" values),
/// one in ten from the edges of the type. `any<T>` does so for many types.
template <class G>
concept generator = requires(G const& make, random_generator& r) {
    { make(r) } -> std::copyable;
};

/// What a generator makes.
template <generator G>
using generated = std::remove_cvref_t<decltype(std::declval<G const&>()(std::declval<random_generator&>()))>;

/// True with a chance of one in `n`. Precondition: n > 0.
[[nodiscard]] inline bool one_in(random_generator& r, std::uint64_t n) noexcept { return below(r, n) == 0; }

/// One of the choices, each equally likely. Precondition: there is one.
template <class T>
[[nodiscard]] T pick(random_generator& r, std::initializer_list<T> choices) {
    return *(choices.begin() + below(r, choices.size()));
}

/// The fields of a dynamic record: names in canonical key order, each once.
struct field_map {
    std::vector<std::pair<std::string, value>> fields{};

    /// The fields in a canonical map. Precondition: `map` is one with text keys, or empty.
    [[nodiscard]] static field_map parse(bytes_view map) {
        field_map out;
        cbor_map_cursor in{map};
        while (!map.empty() && in.next()) {
            out.fields.emplace_back(std::string{in.key()}, value(value_view(in.value())));
        }
        return out;
    }
    /// The canonical map.
    [[nodiscard]] bytes encode() const {
        bytes out;
        cbor_writer w{out};
        w.map(fields.size());
        for (auto const& [name, item] : fields) {
            w.text(name);
            w.raw(item.encoded());
        }
        return out;
    }
    [[nodiscard]] value const* find(std::string_view name) const noexcept {
        for (auto const& f : fields) {
            if (f.first == name) { return &f.second; }
        }
        return nullptr;
    }
    /// Puts a field in its place, or takes it out.
    void put(std::string_view name, std::optional<value> item) {
        auto at = fields.begin();
        while (at != fields.end() && compare_keys(at->first, name) < 0) { ++at; }
        bool const there = at != fields.end() && at->first == name;
        if (there && item) {
            at->second = std::move(*item);
        } else if (there) {
            fields.erase(at);
        } else if (item) {
            fields.insert(at, {std::string{name}, std::move(*item)});
        }
    }
    friend bool operator==(field_map const&, field_map const&) = default;
};

namespace detail {

using namespace syncline::detail;  // is_optional, is_vector, …

template <class T>
inline constexpr bool is_pair = false;
template <class A, class B>
inline constexpr bool is_pair<std::pair<A, B>> = true;
template <class T>
inline constexpr bool is_tuple = false;
template <class... T>
inline constexpr bool is_tuple<std::tuple<T...>> = true;
template <class T>
inline constexpr bool is_array = false;
template <class T, std::size_t N>
inline constexpr bool is_array<std::array<T, N>> = true;
template <class T>
inline constexpr bool is_result = false;
template <class T>
inline constexpr bool is_result<result<T>> = true;
template <class T>
inline constexpr bool is_time_point = false;
template <class C, class D>
inline constexpr bool is_time_point<std::chrono::time_point<C, D>> = true;

// ---- Making --------------------------------------------------------------------------------------------------

struct generation {
    template <class T>
    [[nodiscard]] static T make(random_generator& r) {
        if constexpr (requires {
                          { generate(r, static_cast<T const*>(nullptr)) } -> std::same_as<T>;
                      }) {
            return generate(r, static_cast<T const*>(nullptr));
        } else if constexpr (std::same_as<T, bool>) {
            return one_in(r, 2);
        } else if constexpr (std::same_as<T, std::byte>) {
            return static_cast<std::byte>(integer<std::uint8_t>(r));
        } else if constexpr (std::integral<T>) {
            return integer<T>(r);
        } else if constexpr (std::floating_point<T>) {
            return floating<T>(r);
        } else if constexpr (std::same_as<T, std::string>) {
            return text(r);
        } else if constexpr (std::same_as<T, value>) {
            return item(r, 2);
        } else if constexpr (std::same_as<T, field_map>) {
            return fields(r);
        } else if constexpr (is_optional<T>::value) {
            if (one_in(r, 3)) { return std::nullopt; }
            return make<typename T::value_type>(r);
        } else if constexpr (is_vector<T>::value) {
            T out;
            for (std::uint64_t n = below(r, one_in(r, 10) ? 30 : 4); n != 0; --n) {
                out.push_back(make<typename T::value_type>(r));
            }
            return out;
        } else if constexpr (is_array<T>) {
            T out{};
            for (auto& x : out) { x = make<std::remove_cvref_t<decltype(x)>>(r); }
            return out;
        } else if constexpr (is_pair<T>) {
            auto first = make<typename T::first_type>(r);
            return {std::move(first), make<typename T::second_type>(r)};
        } else if constexpr (is_tuple<T>) {
            T out{};
            std::apply([&](auto&... x) { ((x = make<std::remove_cvref_t<decltype(x)>>(r)), ...); }, out);
            return out;
        } else if constexpr (is_time_point<T>) {
            return T{typename T::duration{make<typename T::rep>(r)}};
        } else if constexpr (described<T>) {
            T out{};
            for_each_field<T>([&](auto const& f) {
                auto& member = f.get(out);
                member = make<std::remove_cvref_t<decltype(member)>>(r);
            });
            return out;
        } else if constexpr (std::same_as<T, timestamp>) {
            if (one_in(r, 10)) { return {integer<std::uint64_t>(r)}; }
            auto const ms = static_cast<std::int64_t>(below(r, 3));  // before the counter: arguments have no order
            return timestamp::make(wall_time{milliseconds{ms}}, static_cast<std::uint16_t>(below(r, 3)));
        } else if constexpr (std::same_as<T, id128>) {
            T id;
            id.bytes[0] = one_in(r, 10) ? std::byte{0xFF} : std::byte{0};
            id.bytes[15] = static_cast<std::byte>(below(r, 3));
            return id;
        } else if constexpr (std::same_as<T, replica_id>) {
            auto const device = make<id128>(r);
            return {device, integer<std::uint32_t>(r)};
        } else if constexpr (std::same_as<T, dot>) {
            auto const who = make<replica_id>(r);
            return {who, integer<std::uint64_t>(r)};
        } else if constexpr (std::same_as<T, interval_set>) {
            T set;
            for (std::uint64_t n = 1 + below(r, 4); n != 0; --n) {
                auto const first = integer<std::uint64_t>(r);
                set.add(interval{first, saturating_add(first, below(r, 3))});
            }
            return set;
        } else if constexpr (std::same_as<T, version_vector>) {
            T v;
            for (std::uint64_t n = below(r, 4); n != 0; --n) {
                auto const who = make<replica_id>(r);
                auto const runs = make<interval_set>(r);
                for (interval const& run : runs.intervals()) { v.add(who, run); }
            }
            return v;
        } else if constexpr (std::same_as<T, record_key>) {
            std::string collection = name(r);
            while (collection.size() > collection_bytes_max) { collection = name(r); }
            bytes id = make<bytes>(r);
            if (id.empty()) { id.push_back(std::byte{'x'}); }
            return {collection, id};
        } else if constexpr (std::same_as<T, write_mark>) {
            return mark(r, 4);
        } else if constexpr (std::same_as<T, row>) {
            return some_row(r, integer<std::uint64_t>(r));
        } else if constexpr (std::same_as<T, field_op>) {
            return op(r, name(r));
        } else if constexpr (std::same_as<T, mutation>) {
            return some_mutation(r);
        } else if constexpr (std::same_as<T, decision>) {
            return decision{one_in(r, 4) ? std::string{} : name(r), static_cast<rule>(1 + below(r, 6)),
                            static_cast<winner>(1 + below(r, 4))};
        } else if constexpr (std::same_as<T, verdict>) {
            verdict v;
            v.sequence = integer<std::uint64_t>(r);
            v.kind = static_cast<verdict_kind>(1 + below(r, 8));
            v.again = one_in(r, 2);
            v.reason = static_cast<errc>(below(r, 33));
            v.version = integer<std::uint64_t>(r);
            v.stamp = make<timestamp>(r);
            for (std::uint64_t n = below(r, 3); n != 0; --n) { v.decisions.push_back(make<decision>(r)); }
            v.text = text(r);
            return v;
        } else if constexpr (std::same_as<T, event>) {
            event e;
            e.kind = static_cast<event_kind>(1 + below(r, 4));
            if (e.kind != event_kind::reincarnated) { e.record = make<record_key>(r); }
            if (e.kind == event_kind::decided) { e.said = make<verdict>(r); }
            return e;
        } else if constexpr (std::same_as<T, request>) {
            request q;
            q.replica = make<replica_id>(r);
            if (one_in(r, 2)) { q.epoch = make<id128>(r); }
            q.cursor = integer<std::uint64_t>(r);
            q.receipts = integer<std::uint64_t>(r);
            for (std::uint64_t n = below(r, 3); n != 0; --n) {
                cbor_writer w{q.mutations.emplace_back()};
                encode_mutation(w, some_mutation(r));
            }
            q.rows_max = integer<std::uint64_t>(r);
            q.bytes_max = integer<std::uint64_t>(r);
            return q;
        } else if constexpr (std::same_as<T, reply>) {
            return some_reply(r);
        } else {
            static_assert(never<T>,
                          "no generator for this type: describe it, or add a generate(random_generator&, "
                          "T const*) beside it");
        }
    }

    template <std::integral I>
    [[nodiscard]] static I integer(random_generator& r) {
        if (one_in(r, 10)) {
            return static_cast<I>(pick<std::uint64_t>(
                r, {23, 24, 127, 128, 255, 256, 32'767, 32'768, 65'535, 65'536, 0x7FFF'FFFF, 0x8000'0000, 0xFFFF'FFFF,
                    0x1'0000'0000, 0x7FFF'FFFF'FFFF'FFFF, 0x8000'0000'0000'0000, 0xFFFF'FFFF'FFFF'FFFF}));
        }
        auto const n = static_cast<I>(below(r, 4));
        if constexpr (std::signed_integral<I>) {
            return one_in(r, 4) ? static_cast<I>(-n) : n;
        } else {
            return n;
        }
    }
    template <std::floating_point F>
    [[nodiscard]] static F floating(random_generator& r) {
        using limits = std::numeric_limits<F>;
        if (one_in(r, 5)) {
            return pick<F>(r, {F(-0.0), (limits::quiet_NaN)(), (limits::infinity)(), -(limits::infinity)(),
                               (limits::denorm_min)(), (limits::max)(), (limits::lowest)(), F(65504), F(1e30),
                               F(9223372036854775808.0), F(18446744073709551616.0)});
        }
        return pick<F>(r, {F(0), F(1), F(-1), F(0.5), F(2)});
    }
    [[nodiscard]] static std::string text(random_generator& r) {
        if (one_in(r, 10)) {
            return pick<std::string>(
                r, {std::string(1, '\0'), "\xC3\xA9", "\xF0\x9F\x8E\xB8", std::string(23, 'z'), std::string(24, 'z'),
                    std::string(256, 'z'), std::string(1'025, 'z'), " ", "a ", " a", "a\n", "\r\n", "\t", "\"\\%"});
        }
        return pick<std::string>(r, {"", "a", "b", "ab", "B"});
    }
    /// A name of a field or collection: never empty.
    [[nodiscard]] static std::string name(random_generator& r) {
        std::string out = text(r);
        if (out.empty() || out.size() > field_name_bytes_max) { out = "c"; }
        return out;
    }
    [[nodiscard]] static value item(random_generator& r, unsigned depth) {
        switch (below(r, depth == 0 ? 8 : 10)) {
            case 0: return nullptr;
            case 1: return one_in(r, 2);
            case 2: return integer<std::uint64_t>(r);
            case 3: return integer<std::int64_t>(r);
            case 4: return floating<double>(r);
            case 5: return make<bytes>(r);
            case 6: {
                if (!one_in(r, 10)) { return integer<std::int64_t>(r); }
                // Below the range of 64 signed bits: -1 - n.
                bytes raw{std::byte{0x3B}};
                append_u64(raw, (std::uint64_t{1} << 63) + below(r, 3));
                return value(value_view(raw));
            }
            case 7: return text(r);
            case 8: {
                std::vector<value> items;
                for (std::uint64_t n = below(r, 3); n != 0; --n) { items.push_back(item(r, depth - 1)); }
                auto const out = value::array(items);
                SYNCLINE_ASSERT(out.has_value());
                return *out;
            }
            default: {
                std::vector<value_entry> entries;
                for (std::uint64_t n = below(r, 3); n != 0; --n) {
                    value key = one_in(r, 10) ? item(r, 0) : value(text(r));
                    bool fresh = true;
                    for (value_entry const& e : entries) { fresh = fresh && !(e.key == key); }
                    if (fresh) { entries.push_back({std::move(key), item(r, depth - 1)}); }
                }
                auto const out = value::map(entries);
                SYNCLINE_ASSERT(out.has_value());
                return *out;
            }
        }
    }
    [[nodiscard]] static field_map fields(random_generator& r) {
        field_map out;
        for (std::uint64_t n = below(r, 4); n != 0; --n) {
            std::string key = name(r);
            out.put(key, item(r, 1));
        }
        return out;
    }
    [[nodiscard]] static write_mark mark(random_generator& r, position at_max) {
        write_mark m;
        m.at = at_max < 3 ? at_max : at_max - below(r, 3);
        m.stamp = make<timestamp>(r);
        m.author = one_in(r, 10) ? unknown_author : static_cast<author_index>(below(r, 4));
        return m;
    }
    [[nodiscard]] static row some_row(random_generator& r, position version) {
        row out;
        out.version = version;
        out.life = 1 + below(r, 3);
        out.deleted = one_in(r, 4);
        out.floor = mark(r, version);
        if (out.deleted) { return out; }
        field_map const named = fields(r);
        for (auto const& f : named.fields) {
            out.exceptions.push_back({f.first, mark(r, version)});
            if (one_in(r, 4)) { out.exceptions.push_back({f.first, mark(r, version), to_bytes(item(r, 1).encoded())}); }
        }
        out.fields = fields(r).encode();
        return out;
    }
    [[nodiscard]] static field_op op(random_generator& r, std::string name) {
        field_op out;
        out.field = std::move(name);
        out.kind = static_cast<op_kind>(1 + below(r, 6));
        out.stamp = make<timestamp>(r);
        if (out.kind == op_kind::add) {
            cbor_writer{out.value}.integer(integer<std::int64_t>(r));
        } else if (out.kind != op_kind::unset) {
            out.value = to_bytes(item(r, 1).encoded());
        }
        return out;
    }
    [[nodiscard]] static mutation some_mutation(random_generator& r) {
        mutation m;
        m.sequence = integer<std::uint64_t>(r);
        m.stamp = make<timestamp>(r);
        m.kind = static_cast<change_kind>(1 + below(r, 3));
        m.record = make<record_key>(r);
        m.life = integer<std::uint64_t>(r);
        m.base = integer<std::uint64_t>(r);
        m.hint = one_in(r, 3) ? static_cast<merge_hint>(1 + below(r, 2)) : merge_hint::merge;
        if (m.kind == change_kind::erase) { return m; }
        field_map const named = fields(r);
        for (auto const& f : named.fields) {
            m.ops.push_back(op(r, f.first));
            if (one_in(r, 2)) { m.ops.back().stamp = m.stamp; }
        }
        return m;
    }
    [[nodiscard]] static reply some_reply(random_generator& r) {
        reply p;
        p.epoch = make<id128>(r);
        p.replica = make<replica_id>(r);
        p.author = static_cast<author_index>(below(r, 4));
        p.decided = integer<std::uint64_t>(r);
        p.from = below(r, 4);
        p.to = p.from + below(r, 4);
        p.head = p.to + below(r, 4);
        for (std::uint64_t n = below(r, 3); n != 0; --n) { p.verdicts.push_back(make<verdict>(r)); }
        for (std::uint64_t n = p.to == p.from ? 0 : below(r, 3); n != 0; --n) {
            auto const key = make<record_key>(r);
            p.rows.push_back({key, some_row(r, p.from + 1 + below(r, p.to - p.from))});
        }
        p.time = make<wall_time>(r);
        return p;
    }
};

}  // namespace detail

/// The generator for a type: arithmetic types, text, `bytes`, `value`, optionals, vectors, arrays, pairs, tuples,
/// described structs by their members; timestamps, ids, version vectors; keys, rows, operations, mutations;
/// verdicts, events, requests, replies. For a type of yours that isn't described, put beside it
/// `T generate(syncline::random_generator&, T const*)`.
template <class T>
struct any {
    [[nodiscard]] T operator()(random_generator& r) const { return detail::generation::make<T>(r); }
};

// ---- Showing -------------------------------------------------------------------------------------------------

namespace detail {

struct showing {
    template <class T>
    [[nodiscard]] static std::string text(T const& x) {
        if constexpr (requires {
                          { show(x) } -> std::convertible_to<std::string>;
                      }) {
            return show(x);
        } else if constexpr (std::same_as<T, bool>) {
            return x ? "true" : "false";
        } else if constexpr (std::same_as<T, std::byte>) {
            return hex({&x, 1});
        } else if constexpr (std::is_enum_v<T>) {
            if constexpr (requires {
                              { name(x) } -> std::convertible_to<char const*>;
                          }) {
                return name(x);
            } else if constexpr (std::same_as<T, errc>) {
                return message(x);
            } else {
                return std::to_string(static_cast<std::underlying_type_t<T>>(x));
            }
        } else if constexpr (std::integral<T>) {
            return std::to_string(x);
        } else if constexpr (std::floating_point<T>) {
            return number(static_cast<double>(x));
        } else if constexpr (std::convertible_to<T const&, std::string_view>) {
            return quoted(x);
        } else if constexpr (std::same_as<T, bytes> || std::same_as<T, bytes_view>) {
            return hex(x);
        } else if constexpr (std::same_as<T, value> || std::same_as<T, value_view>) {
            return item(x);
        } else if constexpr (std::same_as<T, field_map>) {
            return parts('{', '}', x.fields, [](auto const& f) { return f.first + ": " + item(f.second); });
        } else if constexpr (is_optional<T>::value) {
            return x ? text(*x) : "none";
        } else if constexpr (is_result<T>) {
            if (!x) { return std::string{"error: "} + message(x.error().code); }
            if constexpr (std::is_void_v<typename T::value_type>) {
                return "success";
            } else {
                return text(*x);
            }
        } else if constexpr (is_vector<T>::value || is_array<T>) {
            return parts('[', ']', x, [](typename T::value_type const& one) { return text(one); });
        } else if constexpr (is_pair<T> || is_tuple<T>) {
            std::string out;
            std::apply([&](auto const&... one) { ((out += (out.empty() ? "(" : ", ") + text(one)), ...); }, x);
            return out + ')';
        } else if constexpr (is_time_point<T>) {
            return std::to_string(x.time_since_epoch().count());
        } else if constexpr (described<T>) {
            std::string out;
            for_each_field<T>([&](auto const& f) {
                auto const& member = f.get(x);
                if constexpr (is_optional<std::remove_cvref_t<decltype(member)>>::value) {
                    if (!member) { return; }
                }
                out += (out.empty() ? "" : ", ") + std::string{f.name} + ": " + text(member);
            });
            return '{' + out + '}';
        } else if constexpr (std::same_as<T, timestamp>) {
            return std::to_string(x.raw >> 16) + '.' + std::to_string(x.counter());
        } else if constexpr (std::same_as<T, id128> || std::same_as<T, replica_id>) {
            return to_string(x);
        } else if constexpr (std::same_as<T, dot>) {
            return to_string(x.replica) + '#' + std::to_string(x.sequence);
        } else if constexpr (std::same_as<T, interval_set>) {
            return parts('{', '}', x.intervals(), [](interval const& i) {
                return i.first == i.last ? text(i.first) : text(i.first) + ".." + text(i.last);
            });
        } else if constexpr (std::same_as<T, version_vector>) {
            return parts('{', '}', x.entries(),
                         [](auto const& e) { return to_string(e.replica) + ": " + text(e.sequences); });
        } else if constexpr (std::same_as<T, record_key>) {
            return x.collection + '/' + (valid_utf8(as_text(x.id)) ? std::string{as_text(x.id)} : hex(x.id));
        } else if constexpr (std::same_as<T, write_mark>) {
            return "author " + text(x.author) + " at " + text(x.stamp) + " position " + text(x.at);
        } else if constexpr (std::same_as<T, row>) {
            std::string out = "{version " + text(x.version) + ", life " + text(x.life) + ", " + text(x.floor);
            for (field_mark const& e : x.exceptions) { out += ", " + quoted(e.field) + " by " + text(e.mark); }
            return out + ", " + (x.deleted ? "deleted" : text(field_map::parse(x.fields))) + '}';
        } else if constexpr (std::same_as<T, field_op>) {
            if (x.kind == op_kind::unset) { return "unset " + quoted(x.field) + " at " + text(x.stamp); }
            constexpr std::array<char const*, 7> kinds{"? ",        "set ",    "unset ", "add ",
                                                       "elements ", "revise ", "nested "};
            return kinds[static_cast<std::size_t>(x.kind) % 7] + quoted(x.field) + " " + item(value_view(x.value)) +
                   " at " + text(x.stamp);
        } else if constexpr (std::same_as<T, mutation>) {
            constexpr std::array<char const*, 4> kinds{"?", "create", "update", "erase"};
            return std::string{kinds[static_cast<std::size_t>(x.kind) % 4]} + ' ' + text(x.record) + " sequence " +
                   text(x.sequence) + " at " + text(x.stamp) + " life " + text(x.life) + " base " + text(x.base) + ' ' +
                   text(x.ops);
        } else if constexpr (std::same_as<T, decision>) {
            return quoted(x.field) + ' ' + syncline::name(x.by) + ": " + syncline::name(x.won);
        } else if constexpr (std::same_as<T, verdict>) {
            return text(x.sequence) + ' ' + syncline::name(x.kind) + (x.again ? " again" : "") + " (" +
                   message(x.reason) + ") version " + text(x.version) + " at " + text(x.stamp) + ' ' +
                   text(x.decisions) + ' ' + quoted(x.text);
        } else if constexpr (std::same_as<T, event>) {
            return "event " + std::to_string(static_cast<unsigned>(x.kind)) + ' ' + text(x.record) + ' ' + text(x.said);
        } else if constexpr (std::same_as<T, request>) {
            return text(x.replica) + " epoch " + text(x.epoch) + " cursor " + text(x.cursor) + " receipts " +
                   text(x.receipts) + ' ' + text(x.mutations) + " rows " + text(x.rows_max) + " bytes " +
                   text(x.bytes_max);
        } else if constexpr (std::same_as<T, row_update>) {
            return text(x.key) + ' ' + text(x.state);
        } else if constexpr (std::same_as<T, reply>) {
            return text(x.epoch) + " to " + text(x.replica) + " author " + text(x.author) + " head " + text(x.head) +
                   " decided " + text(x.decided) + ' ' + text(x.verdicts) + " page " + text(x.from) + ".." +
                   text(x.to) + ' ' + text(x.rows) + " time " + text(x.time);
        } else {
            return "(a value that has no show())";
        }
    }

    template <class Range, class F>
    [[nodiscard]] static std::string parts(char open, char close, Range const& range, F const& one) {
        std::string out(1, open);
        bool first = true;
        for (auto const& x : range) {
            out += (first ? "" : ", ") + one(x);
            first = false;
        }
        return out + close;
    }
    [[nodiscard]] static std::string number(double x) {
        if (x != x) { return "NaN"; }
        std::array<char, 32> out;
        // The shortest that reads back as the same number.
        for (int digits = 1;; ++digits) {
            int const n = std::snprintf(out.data(), out.size(), "%.*g", digits, x);
            double back = 0;
            (void)std::sscanf(out.data(), "%lf", &back);
            if (digits == 17 || back == x) {
                std::string shown(out.data(), static_cast<std::size_t>(n));
                return shown.find_first_of(".ein") == std::string::npos ? shown + ".0" : shown;
            }
        }
    }
    [[nodiscard]] static std::string quoted(std::string_view s) {
        std::string out = "\"";
        for (char const c : s) {
            if (c == '"' || c == '\\') {
                out += {'\\', c};
            } else if (static_cast<unsigned char>(c) < 32 || c == 127) {
                out += "\\x" + to_hex(as_bytes({&c, 1}));
            } else {
                out += c;
            }
        }
        return out + '"';
    }
    [[nodiscard]] static std::string hex(bytes_view b) { return "h'" + to_hex(b) + '\''; }
    /// As of RFC 8949 §8. What is shown was let in as canonical, so it nests at most `cbor_depth_max` deep.
    [[nodiscard]] static std::string item(value_view v) {
        switch (v.type()) {
            case cbor_type::null: return "null";
            case cbor_type::boolean: return text(*v.as_bool());
            case cbor_type::unsigned_integer: return text(*v.as_uint64());
            case cbor_type::negative_integer:
                return v.as_int64() ? text(*v.as_int64()) : "-1-0x" + to_hex(v.encoded().subspan(1));
            case cbor_type::floating: return number(*v.as_double());
            case cbor_type::text: return quoted(*v.as_text());
            case cbor_type::byte_string: return hex(*v.as_bytes());
            case cbor_type::array:
            case cbor_type::map: {
                bool const map = v.is_map();
                std::string out(1, map ? '{' : '[');
                value_cursor in(v);
                for (bool first = true; in.next(); first = false) {
                    out += (first ? "" : ", ") + (map ? item(in.key()) + ": " : std::string{}) + item(in.item());
                }
                return out + (map ? '}' : ']');
            }
            default: return "(not canonical: " + hex(v.encoded()) + ')';
        }
    }
};

}  // namespace detail

/// A value as a person reads it. For a type of yours that isn't described, put beside it
/// `std::string show(T const&)`.
template <class T>
[[nodiscard]] std::string shown(T const& x) {
    return detail::showing::text(x);
}

// ---- Making smaller ------------------------------------------------------------------------------------------

namespace detail {

struct shrinking {
    template <class T>
    [[nodiscard]] static std::vector<T> of(T const& x) {
        std::vector<T> out;
        if constexpr (requires {
                          { shrink(x) } -> std::same_as<std::vector<T>>;
                      }) {
            return shrink(x);
        } else if constexpr (std::same_as<T, bool>) {
            if (x) { out.push_back(false); }
        } else if constexpr (std::same_as<T, std::byte>) {
            for (auto const n : of(std::to_integer<std::uint8_t>(x))) { out.push_back(static_cast<std::byte>(n)); }
        } else if constexpr (std::integral<T>) {
            integers(x, out);
        } else if constexpr (std::floating_point<T>) {
            if (x == 0 && std::signbit(x)) { out.push_back(T(0)); }
            for (T const y : {T(0), T(1), T(-1)}) {
                if (x == y || x == 0) { break; }  // a NaN is smaller than none
                out.push_back(y);
            }
        } else if constexpr (std::same_as<T, std::string>) {
            strings(x, out);
        } else if constexpr (std::same_as<T, bytes>) {
            sequences(x, out);
            for (std::size_t i = 0; i < x.size() && i < 64; ++i) {
                if (x[i] == std::byte{0}) { continue; }
                T less = x;
                less[i] = std::byte{0};
                out.push_back(std::move(less));
            }
        } else if constexpr (std::same_as<T, value>) {
            items(x, out);
        } else if constexpr (std::same_as<T, field_map>) {
            for (std::size_t i = 0; i < x.fields.size(); ++i) {
                T less = x;
                less.fields.erase(less.fields.begin() + static_cast<std::ptrdiff_t>(i));
                out.push_back(std::move(less));
            }
            for (std::size_t i = 0; i < x.fields.size(); ++i) {
                for (value& v : of(x.fields[i].second)) {
                    T less = x;
                    less.fields[i].second = std::move(v);
                    out.push_back(std::move(less));
                }
            }
        } else if constexpr (is_optional<T>::value) {
            if (!x) { return out; }
            out.push_back(std::nullopt);
            for (auto&& y : of(*x)) { out.push_back(T{static_cast<typename T::value_type>(std::move(y))}); }
        } else if constexpr (is_vector<T>::value) {
            sequences(x, out);
            if constexpr (!std::same_as<typename T::value_type, bool>) {
                for (std::size_t i = 0; i < x.size(); ++i) {
                    member(
                        x, out, [i](auto& v) -> auto& { return v[i]; });
                }
            }
        } else if constexpr (is_array<T>) {
            return array_steps(x, [](auto const& one) { return of(one); });
        } else if constexpr (is_pair<T> || is_tuple<T>) {
            [&]<std::size_t... I>(std::index_sequence<I...>) {
                (member(
                     x, out, [](auto& v) -> auto& { return std::get<I>(v); }),
                 ...);
            }
            (std::make_index_sequence<std::tuple_size_v<T>>{});
        } else if constexpr (is_time_point<T>) {
            for (auto const n : of(x.time_since_epoch().count())) { out.push_back(T{typename T::duration{n}}); }
        } else if constexpr (described<T>) {
            for_each_field<T>([&](auto const& f) {
                member(
                    x, out, [&f](auto& v) -> auto& { return f.get(v); });
            });
        } else if constexpr (std::same_as<T, timestamp>) {
            for (auto const n : of(x.raw >> 16)) { out.push_back({(n << 16) | x.counter()}); }
            for (auto const n : of(x.counter())) { out.push_back({(x.raw >> 16 << 16) | n}); }
        } else if constexpr (std::same_as<T, id128>) {
            member(
                x, out, [](auto& v) -> auto& { return v.bytes; });
        } else if constexpr (std::same_as<T, replica_id>) {
            member(
                x, out, [](auto& v) -> auto& { return v.device; });
            member(
                x, out, [](auto& v) -> auto& { return v.incarnation; });
        } else if constexpr (std::same_as<T, dot>) {
            member(
                x, out, [](auto& v) -> auto& { return v.replica; });
            member(
                x, out, [](auto& v) -> auto& { return v.sequence; });
        } else if constexpr (std::same_as<T, interval_set>) {
            std::size_t const k = x.intervals().size();
            for (std::size_t i = 0; i < 2 * k; ++i) {
                T less;
                for (std::size_t j = 0; j < k; ++j) {
                    interval const run = x.intervals()[j];
                    if (j != i % k) {
                        less.add(run);
                    } else if (i >= k) {
                        less.add(run.first);
                    }
                }
                if (!(less == x)) { out.push_back(std::move(less)); }
            }
            for (std::uint64_t const shift : {std::uint64_t{1} << 32, std::uint64_t{256}, std::uint64_t{1}}) {
                if (k == 0 || x.intervals()[0].first < shift) { continue; }
                T less;
                for (interval const& run : x.intervals()) { less.add(interval{run.first - shift, run.last - shift}); }
                out.push_back(std::move(less));
            }
        } else if constexpr (std::same_as<T, version_vector>) {
            auto const held = x.entries();
            for (std::size_t i = 0; i < held.size(); ++i) {
                auto smaller_sets = of(held[i].sequences);
                smaller_sets.insert(smaller_sets.begin(), interval_set{});
                for (interval_set const& set : smaller_sets) {
                    T less;
                    for (std::size_t j = 0; j < held.size(); ++j) {
                        for (interval const& run : (i == j ? set : held[j].sequences).intervals()) {
                            less.add(held[j].replica, run);
                        }
                    }
                    out.push_back(std::move(less));
                }
            }
        } else if constexpr (std::same_as<T, record_key>) {
            for (std::string const& c : of(x.collection)) {
                if (!c.empty()) { out.push_back({c, x.id}); }
            }
            for (bytes const& id : of(x.id)) {
                if (!id.empty()) { out.push_back({x.collection, id}); }
            }
        } else if constexpr (std::same_as<T, write_mark>) {
            member(
                x, out, [](auto& v) -> auto& { return v.at; });
            member(
                x, out, [](auto& v) -> auto& { return v.stamp; });
            member(
                x, out, [](auto& v) -> auto& { return v.author; });
        } else if constexpr (std::same_as<T, row>) {
            for (std::size_t i = 0; i < x.exceptions.size(); ++i) {
                out.push_back(x);
                out.back().exceptions.erase(out.back().exceptions.begin() + static_cast<std::ptrdiff_t>(i));
            }
            for (field_map const& f : of(field_map::parse(x.fields))) {
                out.push_back(x);
                out.back().fields = f.encode();
            }
            member(
                x, out, [](auto& v) -> auto& { return v.life; });
            member(
                x, out, [](auto& v) -> auto& { return v.floor.stamp; });
            member(
                x, out, [](auto& v) -> auto& { return v.floor.author; });
        } else if constexpr (std::same_as<T, field_op>) {
            if (x.kind != op_kind::unset) {
                for (value const& v : of(value(value_view(x.value)))) {
                    if (x.kind == op_kind::add && !v.as_int64()) { continue; }
                    out.push_back(x);
                    out.back().value = to_bytes(v.encoded());
                }
            }
            member(
                x, out, [](auto& v) -> auto& { return v.stamp; });
        } else if constexpr (std::same_as<T, mutation>) {
            member(
                x, out, [](auto& v) -> auto& { return v.ops; });
            member(
                x, out, [](auto& v) -> auto& { return v.record; });
            member(
                x, out, [](auto& v) -> auto& { return v.sequence; });
            member(
                x, out, [](auto& v) -> auto& { return v.stamp; });
            member(
                x, out, [](auto& v) -> auto& { return v.life; });
            member(
                x, out, [](auto& v) -> auto& { return v.base; });
        } else if constexpr (std::same_as<T, verdict>) {
            sequence_member(
                x, out, [](auto& v) -> auto& { return v.decisions; });
            member(
                x, out, [](auto& v) -> auto& { return v.text; });
            member(
                x, out, [](auto& v) -> auto& { return v.sequence; });
            member(
                x, out, [](auto& v) -> auto& { return v.version; });
            member(
                x, out, [](auto& v) -> auto& { return v.stamp; });
            member(
                x, out, [](auto& v) -> auto& { return v.again; });
        } else if constexpr (std::same_as<T, event>) {
            if (x.kind != event_kind::reincarnated) {
                member(
                    x, out, [](auto& v) -> auto& { return v.record; });
            }
            if (x.kind == event_kind::decided) {
                member(
                    x, out, [](auto& v) -> auto& { return v.said; });
            }
        } else if constexpr (std::same_as<T, request>) {
            sequence_member(
                x, out, [](auto& v) -> auto& { return v.mutations; });
            member(
                x, out, [](auto& v) -> auto& { return v.epoch; });
            member(
                x, out, [](auto& v) -> auto& { return v.replica; });
            member(
                x, out, [](auto& v) -> auto& { return v.cursor; });
            member(
                x, out, [](auto& v) -> auto& { return v.receipts; });
            member(
                x, out, [](auto& v) -> auto& { return v.rows_max; });
            member(
                x, out, [](auto& v) -> auto& { return v.bytes_max; });
        } else if constexpr (std::same_as<T, reply>) {
            sequence_member(
                x, out, [](auto& v) -> auto& { return v.rows; });
            sequence_member(
                x, out, [](auto& v) -> auto& { return v.verdicts; });
            member(
                x, out, [](auto& v) -> auto& { return v.replica; });
            member(
                x, out, [](auto& v) -> auto& { return v.epoch; });
            member(
                x, out, [](auto& v) -> auto& { return v.time; });
        }
        return out;
    }

    /// Each element by itself, two together, and all in step: what a law says of several often goes by how they differ.
    template <class T, std::size_t N, class Steps>
    [[nodiscard]] static std::vector<std::array<T, N>> array_steps(std::array<T, N> const& x, Steps const& steps_of) {
        std::vector<std::array<T, N>> out;
        std::array<std::vector<T>, N> steps;
        for (std::size_t i = 0; i < N; ++i) { steps[i] = steps_of(x[i]); }
        for (std::size_t i = 0; i < N; ++i) {
            for (std::size_t j = i + 1; j < N; ++j) {
                for (std::size_t k = 0; k < steps[i].size() && k < steps[j].size(); ++k) {
                    out.push_back(x);
                    out.back()[i] = steps[i][k];
                    out.back()[j] = steps[j][k];
                }
            }
            for (T const& less : steps[i]) {
                out.push_back(x);
                out.back()[i] = less;
            }
        }
        for (std::size_t k = 0; N > 2; ++k) {
            std::array<T, N> all = x;
            for (std::size_t i = 0; i < N; ++i) {
                if (k >= steps[i].size()) { return out; }
                all[i] = steps[i][k];
            }
            out.push_back(std::move(all));
        }
        return out;
    }

private:
    template <class T, class Access>
    static void member(T const& x, std::vector<T>& out, Access const& access) {
        for (auto&& y : of(static_cast<std::remove_cvref_t<decltype(access(x))> const&>(access(x)))) {
            out.push_back(x);
            access(out.back()) = std::move(y);
        }
    }
    /// Drops elements only: they don't become smaller by themselves.
    template <class T, class Access>
    static void sequence_member(T const& x, std::vector<T>& out, Access const& access) {
        std::vector<std::remove_cvref_t<decltype(access(x))>> shorter;
        sequences(access(x), shorter);
        for (auto& y : shorter) {
            out.push_back(x);
            access(out.back()) = std::move(y);
        }
    }
    /// 0, 1, the same without its sign, then ever nearer: a half, three quarters, … of it, one less.
    template <class I>
    static void integers(I x, std::vector<I>& out) {
        if (x == 0) { return; }
        out.push_back(0);
        if (x != 1) { out.push_back(1); }
        if constexpr (std::signed_integral<I>) {
            if (x < 0 && x != -1 && x != (std::numeric_limits<I>::min)()) { out.push_back(static_cast<I>(-x)); }
        }
        for (I part = static_cast<I>(x / 2); part != 0; part = static_cast<I>(part / 2)) {
            auto const nearer = static_cast<I>(x - part);
            if (nearer != 1) { out.push_back(nearer); }
        }
    }
    template <class V>
    static void sequences(V const& x, std::vector<V>& out) {
        if (x.empty()) { return; }
        out.emplace_back();
        auto const at = [&](std::size_t i) { return x.begin() + static_cast<std::ptrdiff_t>(i); };
        if (x.size() > 3) {
            out.emplace_back(x.begin(), at(x.size() / 2));
            out.emplace_back(at(x.size() / 2), x.end());
        }
        for (std::size_t i = 0; i < x.size() && i < 64 && x.size() > 1; ++i) {
            out.emplace_back(x.begin(), at(i));
            out.back().insert(out.back().end(), at(i + 1), x.end());
        }
    }
    static void strings(std::string const& x, std::vector<std::string>& out) {
        sequences(x, out);
        for (std::size_t i = 0; i < x.size() && i < 64; ++i) {
            if (x[i] == 'a') { continue; }
            out.push_back(x);
            out.back()[i] = 'a';
        }
        if (!valid_utf8(x)) { return; }
        std::erase_if(out, [](std::string const& s) { return !valid_utf8(s); });
    }
    static void items(value const& x, std::vector<value>& out) {
        if (x.is_null()) { return; }
        out.emplace_back();
        switch (x.type()) {
            case cbor_type::boolean:
                if (*x.as_bool()) { out.emplace_back(false); }
                break;
            case cbor_type::unsigned_integer:
                for (auto const n : of(*x.as_uint64())) { out.emplace_back(n); }
                break;
            case cbor_type::negative_integer:
                out.emplace_back(-1);
                if (auto const n = x.as_int64()) {
                    out.pop_back();
                    for (auto const less : of(*n)) { out.emplace_back(less); }
                }
                break;
            case cbor_type::floating:
                for (auto const n : of(*x.as_double())) { out.emplace_back(n); }
                break;
            case cbor_type::text:
                for (auto const& s : of(std::string{*x.as_text()})) { out.emplace_back(s); }
                break;
            case cbor_type::byte_string:
                for (auto const& b : of(to_bytes(*x.as_bytes()))) { out.emplace_back(b); }
                break;
            default: containers(x, out); break;
        }
    }
    static void containers(value const& x, std::vector<value>& out) {
        std::vector<value_entry> held;
        value_cursor in(x);
        while (in.next()) { held.push_back({value(in.key()), value(in.item())}); }
        auto const rebuilt = [&](std::vector<value_entry> const& entries) {
            std::vector<value> only_items;
            for (value_entry const& e : entries) { only_items.push_back(e.item); }
            auto made = x.is_map() ? value::map(entries) : value::array(only_items);
            if (made) { out.push_back(std::move(*made)); }
        };
        for (value_entry const& e : held) { out.push_back(e.item); }
        std::vector<std::vector<value_entry>> shorter;
        sequences(held, shorter);
        for (auto const& entries : shorter) { rebuilt(entries); }
        for (std::size_t i = 0; i < held.size(); ++i) {
            for (value const& less : of(held[i].item)) {
                auto entries = held;
                entries[i].item = less;
                rebuilt(entries);
            }
        }
    }
};

}  // namespace detail

/// Values that are a step smaller, the smallest first; none when there are none. For a type of yours that isn't
/// described, put beside it `std::vector<T> shrink(T const&)`: every chain of steps must end.
template <class T>
[[nodiscard]] std::vector<T> smaller(T const& x) {
    return detail::shrinking::of(x);
}
/// The same, of what a generator made: by the generator's own `shrink(value)`, if it has one, so that a smaller value
/// is still one that it makes.
template <generator G>
[[nodiscard]] std::vector<generated<G>> smaller(G const& make, generated<G> const& x) {
    if constexpr (requires {
                      { make.shrink(x) } -> std::same_as<std::vector<generated<G>>>;
                  }) {
        return make.shrink(x);
    } else {
        return smaller(x);
    }
}

/// A generator of those values of another that `fits(value)` accepts, also when they are made smaller.
/// Precondition: it accepts one now and then.
template <generator G, class Fits>
struct only_those {
    G make;
    Fits fits;

    [[nodiscard]] generated<G> operator()(random_generator& r) const {
        auto x = make(r);
        while (!fits(x)) { x = make(r); }
        return x;
    }
    [[nodiscard]] std::vector<generated<G>> shrink(generated<G> const& x) const {
        auto out = smaller(make, x);
        std::erase_if(out, [this](auto const& less) { return !fits(less); });
        return out;
    }
};
template <class G, class Fits>
only_those(G, Fits) -> only_those<G, Fits>;

// ---- Equality ------------------------------------------------------------------------------------------------

/// Whether two values are the same: of described structs by their fields, of floats by their bits (save that there
/// is one NaN), of all else by `==`.
template <class T>
[[nodiscard]] bool same(T const& a, T const& b) {
    if constexpr (described<T>) {
        return equal_fields(a, b);
    } else if constexpr (std::floating_point<T>) {
        return (a != a && b != b) || (a == b && std::signbit(a) == std::signbit(b));
    } else if constexpr (detail::is_optional<T>::value) {
        return a.has_value() == b.has_value() && (!a || same(*a, *b));
    } else if constexpr (detail::is_vector<T>::value || detail::is_array<T>) {
        if (a.size() != b.size()) { return false; }
        for (std::size_t i = 0; i < a.size(); ++i) {
            if (!same<typename T::value_type>(a[i], b[i])) { return false; }
        }
        return true;
    } else {
        return a == b;
    }
}

}  // namespace syncline::inline SYNCLINE_ABI::testing
