// SPDX-License-Identifier: BSL-1.0
// With link_second.cpp and link_unchecked.cpp: every header in three translation units of one program.
#include "everything.hpp"

int second();
int unchecked();

int main() { return syncline::version{}.minor == second() && second() == unchecked() ? 0 : 1; }
