// SPDX-License-Identifier: BSL-1.0
// The compiled core: everything of layers 0 to 3, each template with the archetypes of its concepts, so that a use
// of anything that a concept does not ask for fails the build. The object is searched for hidden inputs
// (check.purity): no clock, random device, file, socket, thread or exception of ours.
#include "core.hpp"
