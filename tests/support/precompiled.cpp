// SPDX-License-Identifier: BSL-1.0
// The unit that carries precompiled.hpp.
