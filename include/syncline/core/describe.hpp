// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Says once which members of a struct are the fields of a record; from it come encoding, decoding and equality.

#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <syncline/core/bytes.hpp>
#include <syncline/core/cbor.hpp>
#include <syncline/core/config.hpp>
#include <syncline/core/error.hpp>
#include <syncline/core/limits.hpp>
#include <syncline/core/result.hpp>
#include <syncline/core/utf8.hpp>
#include <syncline/core/value.hpp>

namespace syncline::inline SYNCLINE_ABI {

namespace detail {
struct record_access;
}

/// The fields of a decoded record that its type doesn't know, kept byte for byte and written back.
///
/// A member of this type, named by `unknown()` in the description, lets a program carry what a newer one wrote.
class unknown_fields {
public:
    /// How many there are.
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
    /// The encoded value of one; nothing when it isn't there. Borrowed from this. Cost: linear.
    [[nodiscard]] std::optional<value_view> find(std::string_view name) const noexcept {
        cbor_reader r(pairs_, detail::cbor_depth_only());
        while (!r.at_end()) {
            std::string_view const key = r.text();
            bytes_view const item = r.skip();
            if (key == name) { return value_view(item); }
        }
        return std::nullopt;
    }
    friend bool operator==(unknown_fields const&, unknown_fields const&) = default;

private:
    friend struct detail::record_access;

    bytes pairs_{};  // encoded keys, each with its encoded value, in canonical order
    std::size_t count_ = 0;
};

/// One field: its name on the wire, the member that holds it, and options for the layers above, found by type.
template <class Record, class Member, class... Options>
struct field_description {
    using record_type = Record;
    using member_type = Member;

    std::string_view name;
    Member Record::*member;
    std::tuple<Options...> options;

    [[nodiscard]] constexpr Member& get(Record& r) const noexcept { return r.*member; }
    [[nodiscard]] constexpr Member const& get(Record const& r) const noexcept { return r.*member; }

    /// Whether an option of just this type was given.
    template <class Option>
    static constexpr bool has_option = (std::same_as<Option, Options> || ...);
    /// The option of this type, or `otherwise`.
    template <class Option>
    [[nodiscard]] constexpr Option option(Option otherwise = {}) const {
        if constexpr (has_option<Option>) {
            return std::get<Option>(options);
        } else {
            return otherwise;
        }
    }
};

/// The member that keeps what the type doesn't know.
template <class Record>
struct unknown_description {
    using record_type = Record;
    unknown_fields Record::*member;
};

/// What `describe()` returns: the collection's name and the fields in the order given, and options of the record as such.
template <class Record, class Fields, class Unknown, class Options>
struct record_description {
    using record_type = Record;
    static constexpr std::size_t field_count = std::tuple_size_v<Fields>;
    static constexpr bool keeps_unknown = std::tuple_size_v<Unknown> == 1;

    std::string_view collection;
    Fields fields;
    Unknown unknown;
    Options options;
};

/// A field. `options` are constexpr values of distinct types; this layer keeps them and gives them no meaning.
template <class Record, class Member, class... Options>
[[nodiscard]] constexpr field_description<Record, Member, Options...> field(std::string_view name,
                                                                            Member Record::*member,
                                                                            Options... options) {
    static_assert(!std::is_same_v<Member, unknown_fields>, "unknown fields are named by unknown(), not by field()");
    return {name, member, std::tuple<Options...>(options...)};
}

/// Where the fields go that the type doesn't know; at most one in a description.
template <class Record>
[[nodiscard]] constexpr unknown_description<Record> unknown(unknown_fields Record::*member) noexcept {
    return {member};
}

namespace detail {

template <class Part>
struct part_of_record : std::false_type {};
template <class Record, class M, class... O>
struct part_of_record<field_description<Record, M, O...>> : std::true_type {
    static constexpr bool field = true;
    using record_type = Record;
};
template <class Record>
struct part_of_record<unknown_description<Record>> : std::true_type {
    static constexpr bool field = false;
    using record_type = Record;
};

template <class Part>
[[nodiscard]] constexpr auto only_field(Part part) {
    if constexpr (part_of_record<Part>::value) {
        if constexpr (part_of_record<Part>::field) {
            return std::tuple<Part>(part);
        } else {
            return std::tuple<>{};
        }
    } else {
        return std::tuple<>{};
    }
}
template <class Part>
[[nodiscard]] constexpr auto only_unknown(Part part) {
    if constexpr (part_of_record<Part>::value) {
        if constexpr (!part_of_record<Part>::field) {
            return std::tuple<Part>(part);
        } else {
            return std::tuple<>{};
        }
    } else {
        return std::tuple<>{};
    }
}
template <class Part>
[[nodiscard]] constexpr auto only_option(Part part) {
    if constexpr (part_of_record<Part>::value) {
        return std::tuple<>{};
    } else {
        return std::tuple<Part>(part);
    }
}
template <class Record, class Part>
[[nodiscard]] constexpr bool belongs_to() noexcept {
    if constexpr (part_of_record<Part>::value) {
        return std::is_same_v<Record, typename part_of_record<Part>::record_type>;
    } else {
        return true;
    }
}

template <class Option, class... Options>
[[nodiscard]] constexpr Option option_of(std::tuple<Options...> const& options, Option otherwise) {
    if constexpr ((std::same_as<Option, Options> || ...)) {
        return std::get<Option>(options);
    } else {
        return otherwise;
    }
}
template <class Option, class Tuple>
inline constexpr bool holds_option = false;
template <class Option, class... Options>
inline constexpr bool holds_option<Option, std::tuple<Options...>> = (std::same_as<Option, Options> || ...);

}  // namespace detail

/// The description of a record type, to be returned by a function that argument-dependent lookup finds:
///
///     struct guest {
///         std::string name;
///         std::optional<std::int64_t> seat;
///         syncline::unknown_fields rest;
///     };
///     constexpr auto describe(guest const*) {
///         return syncline::record_of<guest>("guests", syncline::field("name", &guest::name),
///                                           syncline::field("seat", &guest::seat), syncline::unknown(&guest::rest));
///     }
///
/// Names of fields are distinct, 1 to 255 bytes of UTF-8; so is the collection's: else it does not compile.
/// Without `unknown()` a record with a field that the type doesn't know is refused (`errc::unsupported`): it is
/// never dropped in silence.
/// What is no field stands for the record as such: constexpr values of distinct types, which this layer keeps and gives no
/// meaning, as those of a field.
template <class Record, class... Parts>
[[nodiscard]] constexpr auto record_of(std::string_view collection, Parts... parts) {
    static_assert((detail::belongs_to<Record, Parts>() && ...), "every field is a member of the record itself");
    auto fields = std::tuple_cat(detail::only_field(parts)...);
    auto unknown = std::tuple_cat(detail::only_unknown(parts)...);
    static_assert(std::tuple_size_v<decltype(unknown)> <= 1, "at most one member keeps the unknown fields");
    auto options = std::tuple_cat(detail::only_option(parts)...);
    return record_description<Record, decltype(fields), decltype(unknown), decltype(options)>{collection, fields,
                                                                                              unknown, options};
}

namespace detail {

template <class T>
struct is_record_description : std::false_type {};
template <class R, class F, class U, class O>
struct is_record_description<record_description<R, F, U, O>> : std::true_type {};

}  // namespace detail

/// A type with a `describe(T const*)` that argument-dependent lookup finds. Do not ask it of an incomplete type.
template <class T>
concept described = std::is_class_v<T> && std::default_initializable<T> && requires(T const* p) {
    typename std::bool_constant<detail::is_record_description<std::remove_cvref_t<decltype(describe(p))>>::value>;
    requires detail::is_record_description<std::remove_cvref_t<decltype(describe(p))>>::value;
};

/// The description itself, a constant.
template <described T>
inline constexpr auto description_of = describe(static_cast<T const*>(nullptr));

namespace detail {

template <class T>
inline constexpr std::size_t field_count = std::remove_cvref_t<decltype(description_of<T>)>::field_count;

[[nodiscard]] constexpr bool valid_name(std::string_view name) noexcept {
    return !name.empty() && name.size() <= 255 && valid_utf8(name);
}
/// `compare_keys(a, b) < 0`, also at compile time.
[[nodiscard]] constexpr bool key_before(std::string_view a, std::string_view b) noexcept {
    if (a.size() != b.size()) { return a.size() < b.size(); }
    return a < b;  // char_traits<char> compares as unsigned char, as memcmp does
}

template <class T>
[[nodiscard]] constexpr auto field_names() noexcept {
    return std::apply([](auto const&... f) { return std::array<std::string_view, sizeof...(f)>{f.name...}; },
                      description_of<T>.fields);
}
/// The places of the fields in the description, in canonical order of their names.
template <class T>
[[nodiscard]] constexpr auto canonical_order() noexcept {
    constexpr auto names = field_names<T>();
    std::array<std::size_t, names.size()> order{};
    for (std::size_t i = 0; i < order.size(); ++i) {
        std::size_t at = i;
        for (; at != 0 && key_before(names[i], names[order[at - 1]]); --at) { order[at] = order[at - 1]; }
        order[at] = i;
    }
    return order;
}
template <class T>
inline constexpr auto order_of = canonical_order<T>();

template <class T>
[[nodiscard]] constexpr bool valid_names() noexcept {
    constexpr auto names = field_names<T>();
    constexpr auto order = canonical_order<T>();
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (!valid_name(names[i])) { return false; }
        if (i != 0 && names[order[i - 1]] == names[order[i]]) { return false; }
    }
    return valid_name(description_of<T>.collection);
}

/// The field at a place of the canonical order.
template <class T, std::size_t Place>
[[nodiscard]] constexpr auto const& field_in_order() noexcept {
    return std::get<order_of<T>[Place]>(description_of<T>.fields);
}

template <class T, std::size_t Place>
[[nodiscard]] constexpr auto encode_key() noexcept {
    constexpr std::string_view name = field_in_order<T, Place>().name;
    std::array<std::byte, cbor_head_size(name.size()) + name.size()> encoded{};
    std::byte* p = cbor_put_head(encoded.data(), 3, name.size());
    for (char const c : name) { *p++ = static_cast<std::byte>(static_cast<unsigned char>(c)); }
    return encoded;
}
/// The encoded name, written once at compile time.
template <class T, std::size_t Place>
inline constexpr auto encoded_key = encode_key<T, Place>();

template <class T>
struct is_optional : std::false_type {};
template <class T>
struct is_optional<std::optional<T>> : std::true_type {};
template <class T>
struct is_vector : std::false_type {};
template <class T, class A>
struct is_vector<std::vector<T, A>> : std::true_type {};

template <class T>
inline constexpr bool is_floating = std::same_as<T, float> || std::same_as<T, double>;

template <class>
inline constexpr bool never = false;

}  // namespace detail

/// The collection's name.
template <described T>
[[nodiscard]] constexpr std::string_view collection() noexcept {
    static_assert(detail::valid_names<T>(), "names: distinct, 1 to 255 bytes of UTF-8");
    return description_of<T>.collection;
}

/// Whether the description has an option of just this type for the record as such.
template <described T, class Option>
inline constexpr bool has_record_option =
    detail::holds_option<Option, std::remove_cvref_t<decltype(description_of<T>.options)>>;
/// That option, or `otherwise`.
template <described T, class Option>
[[nodiscard]] constexpr Option record_option(Option otherwise = {}) {
    return detail::option_of<Option>(description_of<T>.options, otherwise);
}

/// Calls `f(field)` with each field's description, in the order given.
template <described T, class F>
constexpr void for_each_field(F&& f) {
    static_assert(detail::valid_names<T>(), "names: distinct, 1 to 255 bytes of UTF-8");
    std::apply([&](auto const&... one) { (static_cast<void>(f(one)), ...); }, description_of<T>.fields);
}

namespace detail {

/// How members become items and back. Sizes are upper bounds, near enough; text is checked while they are summed.
struct record_access {
    // --- size ---------------------------------------------------------------------------------------------------

    /// Adds at most how many bytes the item takes; false for what has no encoding (text that isn't UTF-8).
    template <class M>
    [[nodiscard]] static bool measure(M const& m, std::size_t& size) noexcept {
        if constexpr (std::same_as<M, bool>) {
            size += 1;
        } else if constexpr (std::integral<M> || std::is_enum_v<M> || is_floating<M>) {
            size += cbor_head_max;
        } else if constexpr (std::same_as<M, std::string>) {
            size += cbor_head_size(m.size()) + m.size();
            return valid_utf8(m);
        } else if constexpr (std::same_as<M, bytes>) {
            size += cbor_head_size(m.size()) + m.size();
        } else if constexpr (std::same_as<M, value>) {
            size += m.encoded().size();
        } else if constexpr (is_optional<M>::value) {
            static_assert(!is_optional<typename M::value_type>::value, "an optional of an optional has no encoding");
            return !m || measure(*m, size);
        } else if constexpr (is_vector<M>::value) {
            using item = typename M::value_type;
            static_assert(!is_optional<item>::value, "an element of an array cannot be missing");
            size += cbor_head_size(m.size());
            if constexpr (std::same_as<item, bool>) {
                size += m.size();
            } else {
                for (item const& i : m) {
                    if (!measure(i, size)) { return false; }
                }
            }
        } else if constexpr (described<M>) {
            return measure_record(m, size);
        } else {
            static_assert(never<M>, "not a type that a field can have");
        }
        return true;
    }

    template <class T>
    [[nodiscard]] static bool measure_record(T const& r, std::size_t& size) noexcept {
        static_assert(valid_names<T>(), "names: distinct, 1 to 255 bytes of UTF-8");
        size += cbor_head_max;
        if constexpr (description_of<T>.keeps_unknown) { size += unknown_of(r).pairs_.size(); }
        return [&]<std::size_t... I>(std::index_sequence<I...>) { return (measure_field<T, I>(r, size) && ...); }
        (std::make_index_sequence<field_count<T>>{});
    }
    template <class T, std::size_t Place>
    [[nodiscard]] static bool measure_field(T const& r, std::size_t& size) noexcept {
        size += encoded_key<T, Place>.size();
        return measure(field_in_order<T, Place>().get(r), size);
    }

    // --- encoding -----------------------------------------------------------------------------------------------

    /// Writes at `p`, where as many bytes are free as `measure` said; returns what follows.
    template <class M>
    [[nodiscard]] static std::byte* put(std::byte* p, M const& m) noexcept {
        if constexpr (std::same_as<M, bool>) {
            *p = m ? std::byte{0xF5} : std::byte{0xF4};
            return p + 1;
        } else if constexpr (std::is_enum_v<M>) {
            return put(p, static_cast<std::underlying_type_t<M>>(m));
        } else if constexpr (std::signed_integral<M>) {
            return cbor_put_head(p, cbor_integer_major(m), cbor_integer_magnitude(m));
        } else if constexpr (std::integral<M>) {
            return cbor_put_head(p, 0, m);
        } else if constexpr (is_floating<M>) {
            return cbor_put_floating(p, m);
        } else if constexpr (std::same_as<M, std::string>) {
            return put_bytes(cbor_put_head(p, 3, m.size()), as_bytes(m));
        } else if constexpr (std::same_as<M, bytes>) {
            return put_bytes(cbor_put_head(p, 2, m.size()), m);
        } else if constexpr (std::same_as<M, value>) {
            return put_bytes(p, m.encoded());
        } else if constexpr (is_vector<M>::value) {
            p = cbor_put_head(p, 4, m.size());
            for (auto const& i : m) { p = put<typename M::value_type>(p, i); }
            return p;
        } else {
            return put_record(p, m);
        }
    }
    [[nodiscard]] static std::byte* put_bytes(std::byte* p, bytes_view b) noexcept {
        if (!b.empty()) { std::memcpy(p, b.data(), b.size()); }
        return p + b.size();
    }

    template <class T>
    [[nodiscard]] static std::byte* put_record(std::byte* p, T const& r) noexcept {
        return [&]<std::size_t... I>(std::index_sequence<I...>) {
            std::size_t count = (std::size_t{0} + ... + (present(field_in_order<T, I>().get(r)) ? 1U : 0U));
            if constexpr (description_of<T>.keeps_unknown) {
                if (unknown_fields const& rest = unknown_of(r); !rest.empty()) {
                    // Taken from a record of another type it may name fields of this one: then the member counts.
                    auto const shadowed = [&]([[maybe_unused]] std::string_view name) {
                        return ((field_in_order<T, I>().name == name) || ...);
                    };
                    cbor_reader more(rest.pairs_, cbor_depth_only());
                    while (!more.at_end()) {
                        count += shadowed(more.text()) ? 0U : 1U;
                        static_cast<void>(more.skip());
                    }
                    p = cbor_put_head(p, 5, count);
                    more = cbor_reader(rest.pairs_, cbor_depth_only());
                    ((p = put_unknown_before(p, more, rest.pairs_, field_in_order<T, I>().name),
                      p = put_field<T, I>(p, r)),
                     ...);
                    return put_bytes(p, bytes_view(rest.pairs_).subspan(more.position()));
                }
            }
            p = cbor_put_head(p, 5, count);
            ((p = put_field<T, I>(p, r)), ...);
            return p;
        }
        (std::make_index_sequence<field_count<T>>{});
    }
    template <class T, std::size_t Place>
    [[nodiscard]] static std::byte* put_field(std::byte* p, T const& r) noexcept {
        auto const& m = field_in_order<T, Place>().get(r);
        if (!present(m)) { return p; }
        std::memcpy(p, encoded_key<T, Place>.data(), encoded_key<T, Place>.size());
        p += encoded_key<T, Place>.size();
        if constexpr (is_optional<std::remove_cvref_t<decltype(m)>>::value) {
            return put(p, *m);
        } else {
            return put(p, m);
        }
    }
    template <class M>
    [[nodiscard]] static bool present(M const& m) noexcept {
        if constexpr (is_optional<M>::value) {
            return m.has_value();
        } else {
            return true;
        }
    }
    /// Writes the unknown pairs whose keys come before `name`, and passes over one of that very name.
    [[nodiscard]] static std::byte* put_unknown_before(std::byte* p, cbor_reader& more, bytes_view pairs,
                                                       std::string_view name) noexcept {
        std::size_t const begin = more.position();
        while (!more.at_end()) {
            cbor_reader ahead = more;
            auto const order = compare_keys(ahead.text(), name);
            if (order > 0) { break; }
            std::size_t const end = more.position();
            static_cast<void>(ahead.skip());
            more = ahead;
            if (order == 0) { return put_bytes(p, pairs.subspan(begin, end - begin)); }
        }
        return put_bytes(p, pairs.subspan(begin, more.position() - begin));
    }

    template <class T>
    [[nodiscard]] static unknown_fields const& unknown_of(T const& r) noexcept {
        return r.*(std::get<0>(description_of<T>.unknown).member);
    }
    template <class T>
    [[nodiscard]] static unknown_fields& unknown_of(T& r) noexcept {
        return r.*(std::get<0>(description_of<T>.unknown).member);
    }

    // --- decoding -----------------------------------------------------------------------------------------------

    /// Reads one item into `m`; errors stick to the reader, `m` is then unspecified. `entered`: arrays and maps around it.
    template <class M>
    static void take(cbor_reader& in, M& m, std::size_t entered) {
        if constexpr (std::same_as<M, bool>) {
            m = in.boolean();
        } else if constexpr (std::is_enum_v<M>) {
            std::underlying_type_t<M> number{};
            take(in, number, entered);
            m = static_cast<M>(number);
        } else if constexpr (std::unsigned_integral<M>) {
            m = narrow<M>(in, in.unsigned_integer());
        } else if constexpr (std::integral<M>) {
            m = narrow<M>(in, in.integer());
        } else if constexpr (std::same_as<M, double>) {
            m = in.floating();
        } else if constexpr (std::same_as<M, float>) {
            m = single(in);
        } else if constexpr (std::same_as<M, std::string>) {
            m = in.text();
        } else if constexpr (std::same_as<M, bytes>) {
            bytes_view const b = in.byte_string();
            m.assign(b.begin(), b.end());
        } else if constexpr (std::same_as<M, value>) {
            if (bytes_view const item = in.skip(entered); !in.failed()) { m = value(value_view(item)); }
        } else if constexpr (is_optional<M>::value) {
            take(in, m.emplace(), entered);
        } else if constexpr (is_vector<M>::value) {
            take_array(in, m, entered);
        } else {
            take_record(in, m, entered);
        }
    }
    template <class M, class N>
    [[nodiscard]] static M narrow(cbor_reader& in, N n) noexcept {
        auto const m = static_cast<M>(n);
        if (static_cast<N>(m) != n) { in.fail({errc::overflow, "integer outside the field's range"}); }
        return m;
    }
    /// Only what a float holds exactly: a rounded number would be another one when written back.
    [[nodiscard]] static float single(cbor_reader& in) noexcept {
        double const number = in.floating();
        if (number != number) { return (std::numeric_limits<float>::quiet_NaN)(); }
        auto const bits = cbor_single_of(std::bit_cast<std::uint64_t>(number));
        if (!bits) { in.fail({errc::overflow, "float outside the field's range or precision"}); }
        return std::bit_cast<float>(bits.value_or(0));
    }
    [[nodiscard]] static bool enter(cbor_reader& in, std::size_t entered) noexcept {
        if (entered >= in.depth_max()) { in.fail({errc::limit, "deeper than depth_max"}); }
        return !in.failed();
    }

    template <class V>
    static void take_array(cbor_reader& in, V& m, std::size_t entered) {
        using item = typename V::value_type;
        m.clear();
        if (!enter(in, entered)) { return; }
        std::size_t const count = in.array();
        // An element may be far larger in memory than on the wire: charged as what it takes there, one by one, so
        // that a count that is not followed by elements costs nothing.
        for (std::size_t i = 0; i < count && !in.failed(); ++i) {
            if (!in.charge(sizeof(item))) { return; }
            if constexpr (std::same_as<item, bool>) {
                m.push_back(in.boolean());
            } else {
                m.emplace_back();
                take(in, m.back(), entered + 1);
            }
        }
    }

    /// Where the walk through a map is.
    struct walk {
        std::size_t left;        // pairs whose key has not been read
        std::size_t key_at = 0;  // where the encoded key begins
        std::string_view key{};  // the key that was read last
        bool pending = false;    // it was read, its value was not
        bool any = false;        // one was read
    };

    template <class T>
    static void take_record(cbor_reader& in, T& r, std::size_t entered) {
        static_assert(valid_names<T>(), "names: distinct, 1 to 255 bytes of UTF-8");
        if (!enter(in, entered)) { return; }
        walk w{in.map()};
        [&]<std::size_t... I>(std::index_sequence<I...>) { (take_field<T, I>(in, r, w, entered), ...); }
        (std::make_index_sequence<field_count<T>>{});
        while (next_key(in, w)) { take_unknown(in, r, w, entered); }
    }
    /// The field at this place of the canonical order: found, or passed because the keys are beyond it.
    template <class T, std::size_t Place>
    static void take_field(cbor_reader& in, T& r, walk& w, std::size_t entered) {
        constexpr auto const& f = field_in_order<T, Place>();
        for (;;) {
            if (!w.pending && w.left != 0 && in.match(encoded_key<T, Place>)) {
                // Every key before this one was smaller, so the order holds; the usual way, when nothing is missing.
                --w.left;
                w.key = f.name;
                w.any = true;
                return take(in, f.get(r), entered + 1);
            }
            if (!next_key(in, w)) { return; }
            auto const order = compare_keys(w.key, f.name);
            if (order > 0) { return; }
            if (order == 0) {
                w.pending = false;
                return take(in, f.get(r), entered + 1);
            }
            take_unknown(in, r, w, entered);
        }
    }
    /// Reads the next key, unless one is pending; false at the end of the map and on errors.
    [[nodiscard]] static bool next_key(cbor_reader& in, walk& w) noexcept {
        if (in.failed()) { return false; }
        if (w.pending) { return true; }
        if (w.left == 0) { return false; }
        std::string_view const before = w.key;
        w.key_at = in.position();
        w.key = in.text();
        if (w.any && !in.failed()) {
            auto const order = compare_keys(before, w.key);
            if (order == 0) { in.fail({errc::malformed, "duplicate key"}); }
            if (order > 0) { in.fail({errc::not_deterministic, "keys out of order"}); }
        }
        if (in.failed()) { return false; }
        --w.left;
        w.any = true;
        w.pending = true;
        return true;
    }
    template <class T>
    static void take_unknown(cbor_reader& in, T& r, walk& w, std::size_t entered) {
        w.pending = false;
        if constexpr (description_of<T>.keeps_unknown) {
            bytes_view const item = in.skip(entered + 1);
            if (in.failed()) { return; }
            unknown_fields& rest = unknown_of(r);
            std::size_t const key_size = in.position() - item.size() - w.key_at;
            append(rest.pairs_, {item.data() - key_size, key_size + item.size()});
            ++rest.count_;
        } else {
            in.fail({errc::unsupported, "a field that the type does not know and cannot keep"});
        }
    }

    // --- equality -----------------------------------------------------------------------------------------------

    template <class M>
    [[nodiscard]] static bool same(M const& a, M const& b) noexcept {
        if constexpr (is_floating<M>) {
            if (a != a || b != b) { return a != a && b != b; }
            return a == b && (a != 0 || sign(a) == sign(b));
        } else if constexpr (is_optional<M>::value) {
            return a.has_value() == b.has_value() && (!a || same(*a, *b));
        } else if constexpr (is_vector<M>::value) {
            if (a.size() != b.size()) { return false; }
            for (std::size_t i = 0; i < a.size(); ++i) {
                if (!same<typename M::value_type>(a[i], b[i])) { return false; }
            }
            return true;
        } else if constexpr (described<M>) {
            return same_record(a, b);
        } else {
            return a == b;
        }
    }
    [[nodiscard]] static bool sign(double number) noexcept { return std::bit_cast<std::uint64_t>(number) >> 63 != 0; }
    template <class T>
    [[nodiscard]] static bool same_record(T const& a, T const& b) noexcept {
        static_assert(valid_names<T>(), "names: distinct, 1 to 255 bytes of UTF-8");
        if constexpr (description_of<T>.keeps_unknown) {
            if (!(unknown_of(a) == unknown_of(b))) { return false; }
        }
        return std::apply([&](auto const&... f) { return (same(f.get(a), f.get(b)) && ...); },
                          description_of<T>.fields);
    }
};

}  // namespace detail

/// Appends the canonical encoding of a member of any type that a field can have.
///
/// Types: bool, integers, enumerations (as their number), float, double, std::string, bytes, `value`, std::vector and
/// described structs of these. `errc::invalid` for text that isn't UTF-8; `out` is then unchanged.
/// Cost: `out` grows once.
template <class M>
[[nodiscard]] status encode_field(M const& m, bytes& out) {
    static_assert(!detail::is_optional<M>::value, "a missing field has no encoding");
    std::size_t size = 0;
    if (!detail::record_access::measure(m, size)) { return failure{errc::invalid, "text that is not UTF-8"}; }
    std::size_t const old = out.size();
    out.resize(old + size);
    std::byte const* const end = detail::record_access::put(out.data() + old, m);
    out.resize(static_cast<std::size_t>(end - out.data()));
    return {};
}

/// The canonical CBOR map of a record: keys are the names, an empty optional is left out, unknown fields are put
/// back in their place. `errc::invalid` for text that isn't UTF-8. Cost: one allocation, at most some bytes a number
/// larger than needed.
template <described T>
[[nodiscard]] result<bytes> encode_record(T const& r) {
    bytes out;
    if (auto const ok = encode_field(r, out); !ok) { return ok.error(); }
    return out;
}

/// One encoded item as a member's type; nothing may follow it. Errors as of `decode_record`.
template <class M>
[[nodiscard]] result<M> decode_field(bytes_view encoded, decode_limits const& limits = {}) {
    static_assert(!detail::is_optional<M>::value, "a missing field has no encoding");
    result<M> out{M{}};
    cbor_reader in(encoded, limits);
    detail::record_access::take(in, *out, 0);
    if (auto const ok = in.finish(); !ok) { return ok.error(); }
    return out;
}

/// A record from its canonical CBOR map; the bytes are not trusted.
///
/// A field that is missing leaves its member as `T{}` has it; a field that is null is `errc::type_mismatch`, but for
/// a `value`: missing and null differ. An integer outside the member's range, and a number that a float member cannot
/// hold exactly, is `errc::overflow`; an integer where a float is due is `errc::type_mismatch`. A number that no
/// enumerator has is taken. Fields that `T` doesn't know go to its `unknown()` member; without one,
/// `errc::unsupported`. The rest is as of `cbor_reader`.
/// Cost: linear; no allocation but the members' own.
template <described T>
[[nodiscard]] result<T> decode_record(bytes_view encoded, decode_limits const& limits = {}) {
    return decode_field<T>(encoded, limits);
}

/// Whether two records have the same encoding: NaN equals itself, -0.0 differs from 0.0, missing from null.
/// Cost: no allocation.
template <described T>
[[nodiscard]] bool equal_fields(T const& a, T const& b) noexcept {
    return detail::record_access::same_record(a, b);
}

}  // namespace syncline::inline SYNCLINE_ABI
