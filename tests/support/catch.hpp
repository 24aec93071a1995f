// SPDX-License-Identifier: BSL-1.0
#pragma once

/// Catch2, whichever major version is on the machine: Debian's 2, Conan's and vcpkg's 3.

#if __has_include(<catch2/catch_all.hpp>)
    #include <catch2/catch_all.hpp>
#else
    #include <catch2/catch.hpp>
#endif
