# SPDX-License-Identifier: BSL-1.0
# Known-bad variants of the headers, which the simulator (plants/*.plant) or a property of a part (parts/*.plant) has to
# find. Never in the shipped path.

# Makes the interface library `target` of the plants in a folder beside this file: who links it sees the planted headers and <syncline_plants.hpp>, with our own
# warnings, instead of the shipped headers. Makes nothing where there is no python3: ask `if(TARGET ...)`.
# Link it before anything that brings the shipped headers along; the wrong order does not compile.
function(syncline_planted_headers target plants_folder)
    if(NOT SYNCLINE_PYTHON)
        return()
    endif()
    set(here "${PROJECT_SOURCE_DIR}/tests/simulation")
    set(folder "${CMAKE_CURRENT_BINARY_DIR}/${target}")
    set(planted "${folder}/include/syncline_plants.hpp")
    foreach(header IN LISTS syncline_headers)
        file(RELATIVE_PATH name "${PROJECT_SOURCE_DIR}/include" "${header}")
        list(APPEND planted "${folder}/include/${name}")
    endforeach()
    file(GLOB plants CONFIGURE_DEPENDS "${here}/${plants_folder}/*.plant")
    add_custom_command(
        OUTPUT "${folder}/stamp"
        BYPRODUCTS ${planted}
        COMMAND "${SYNCLINE_PYTHON}" "${here}/plant.py" --output "${folder}/include"
                --include "${PROJECT_SOURCE_DIR}/include" --plants "${here}/${plants_folder}"
        COMMAND "${CMAKE_COMMAND}" -E touch "${folder}/stamp"
        DEPENDS ${syncline_headers} ${plants} "${here}/plant.py"
        COMMENT "Planting mistakes in a copy of the headers"
        VERBATIM)
    add_custom_target(${target}_tree DEPENDS "${folder}/stamp")
    add_library(${target} INTERFACE)
    add_dependencies(${target} ${target}_tree)
    target_include_directories(${target} BEFORE INTERFACE "${folder}/include")
    target_link_libraries(${target} INTERFACE syncline_strict)
endfunction()

# That every plant fits, that what doesn't is refused, and that a planted tree with every switch off behaves as the
# shipped one, and with one on doesn't.
function(syncline_plants_tests)
    set(script "${PROJECT_SOURCE_DIR}/tests/simulation/plant.py")
    if(NOT SYNCLINE_PYTHON)
        syncline_skipped_test(simulation.plants "no python3 on this machine")
        return()
    endif()
    syncline_check(simulation.plants.fit "${SYNCLINE_PYTHON}" "${script}" --check)
    syncline_check(simulation.plants.page "${SYNCLINE_PYTHON}" "${script}"
        --page "${PROJECT_SOURCE_DIR}/docs/testing.md")
    syncline_check(simulation.parts.fit "${SYNCLINE_PYTHON}" "${script}" --check
        --plants "${PROJECT_SOURCE_DIR}/tests/simulation/parts")
    syncline_check(simulation.plants.refuse "${SYNCLINE_PYTHON}" "${script}" refuse)
    set(source "${CMAKE_CURRENT_BINARY_DIR}/generated/planted_self_check.cpp")
    file(CONFIGURE OUTPUT "${source}" @ONLY CONTENT [[
#include <syncline_plants.hpp>
static_assert(syncline_plants::count != 0 && syncline_plants::find(syncline_plants::all[0].name) == 0);
#define main self_check
#include "@PROJECT_SOURCE_DIR@/tests/checks/self_check.cpp"
#undef main
int main() {
    if (self_check() != 0) { return 1; }
    std::puts("and with a plant:");
    syncline_plants::set(syncline_plants::index::counter_sent_as_value, true);
    return self_check() != 0 ? 0 : 1;
}
]])
    add_executable(planted_self_check EXCLUDE_FROM_ALL "${source}")
    target_link_libraries(planted_self_check PRIVATE syncline_planted)
    syncline_build_check(simulation.plants.builds planted_self_check)
    set_tests_properties(simulation.plants.builds PROPERTIES FIXTURES_SETUP syncline_planted_self_check)
    syncline_check(simulation.plants $<TARGET_FILE:planted_self_check>)
    set_tests_properties(simulation.plants PROPERTIES FIXTURES_REQUIRED syncline_planted_self_check)
endfunction()

syncline_planted_headers(syncline_planted plants)
syncline_planted_headers(syncline_planted_parts parts)
