# SPDX-License-Identifier: BSL-1.0
# Small scopes to the end: tests/simulation/small_scopes.cpp and small_events.cpp.

# Millions of states are too many for watched code; the sanitizers see the simulated worlds.
if(SYNCLINE_TEST_UNITS AND NOT SYNCLINE_TEST_TAG AND SYNCLINE_TEST_LAYERS_MAX GREATER_EQUAL 4
   AND NOT CMAKE_CXX_FLAGS MATCHES "sanitize")
    add_executable(simulation_small_scopes "${CMAKE_CURRENT_LIST_DIR}/small_scopes.cpp")
    target_include_directories(simulation_small_scopes PRIVATE "${CMAKE_CURRENT_LIST_DIR}/..")
    target_link_libraries(simulation_small_scopes PRIVATE syncline_strict)
    # To the end within minutes where it is optimised, else two writes a scope.
    set(quick "--quick")
    if(CMAKE_BUILD_TYPE MATCHES "Rel")
        set(quick "")
    elseif(NOT MSVC)
        target_compile_options(simulation_small_scopes PRIVATE -O1)
    endif()
    add_test(NAME simulation.small_scopes COMMAND simulation_small_scopes ${quick})
    set_tests_properties(simulation.small_scopes PROPERTIES TIMEOUT 1500)
    # The same with one event at each place: a restore, a copy, a lease that is over.
    add_executable(simulation_small_events "${CMAKE_CURRENT_LIST_DIR}/small_events.cpp")
    target_include_directories(simulation_small_events PRIVATE "${CMAKE_CURRENT_LIST_DIR}/..")
    target_link_libraries(simulation_small_events PRIVATE syncline_strict)
    if(NOT CMAKE_BUILD_TYPE MATCHES "Rel" AND NOT MSVC)
        target_compile_options(simulation_small_events PRIVATE -O1)
    endif()
    add_test(NAME simulation.small_events COMMAND simulation_small_events ${quick})
    set_tests_properties(simulation.small_events PROPERTIES TIMEOUT 1500)
endif()
