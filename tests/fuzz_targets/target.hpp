// SPDX-License-Identifier: BSL-1.0
#pragma once

/// What each fuzz target says of itself; a driver (support/fuzz_main.cpp, or libFuzzer's by support/fuzz_libfuzzer.cpp)
/// does the rest.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include <syncline/core/bytes.hpp>
#include <syncline/core/function_ref.hpp>

namespace fuzz {

/// Takes an input to begin with, and its name.
using seed_sink = syncline::function_ref<void(std::string_view name, syncline::bytes_view input)>;

struct target {
    /// Whether all that is promised holds of an input; the process ends where it doesn't. Answers 0.
    int (*body)(std::uint8_t const* data, std::size_t size);
    unsigned cost = 1;        ///< of one input, in those of the target cbor: what has a dearer one gets fewer
    std::size_t length = 64;  ///< up to so long are inputs that our own driver makes from nothing
    void (*seeds)(seed_sink) = nullptr;
    /// Changes `size` bytes in a room for `size_max`; the new size. None: bits and bytes.
    std::size_t (*mutate)(std::uint8_t* data, std::size_t size, std::size_t size_max, unsigned seed) = nullptr;
};

/// The one that the program runs.
extern target const* this_target;

/// A target of several in one program.
class known_target {
public:
    known_target(std::string_view file, target const& what) : target_(what), next_(first()) {
        file.remove_suffix(std::string_view{".cpp"}.size());
        name_ = file.substr(file.rfind('/') + 1);
        first() = this;
    }

    /// Nullptr where no file has the name.
    static target const* find(std::string_view name) {
        known_target const* one = first();
        while (one != nullptr && one->name_ != name) { one = one->next_; }
        return one != nullptr ? &one->target_ : nullptr;
    }

private:
    static known_target const*& first() {
        static known_target const* head = nullptr;
        return head;
    }

    target target_;
    std::string_view name_{};
    known_target const* next_;
};

/// Bytes that the program has ever taken from the heap.
extern std::uint64_t allocated;

}  // namespace fuzz

/// Says which target a file is. Where several files are one program (SYNCLINE_FUZZ_JOINED), each in a namespace of its own,
/// it is known by its file's name: all of them together cost little more to compile than the dearest.
#if defined(SYNCLINE_FUZZ_JOINED)
    #define SYNCLINE_FUZZ_TARGET(...) fuzz::known_target const known_target(__FILE__, fuzz::target{__VA_ARGS__});
#else
    #define SYNCLINE_FUZZ_TARGET(...)                   \
        namespace {                                     \
        constexpr fuzz::target own_target{__VA_ARGS__}; \
        }                                               \
        fuzz::target const* fuzz::this_target = &own_target;
#endif

/// Changes bits and bytes: libFuzzer's own, or our driver's.
extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t size_max);
