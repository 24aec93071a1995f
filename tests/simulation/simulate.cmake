# SPDX-License-Identifier: BSL-1.0
# Simulated worlds: tests/simulation/simulate.cpp, over the shipped headers and over the planted ones.

if(SYNCLINE_TEST_UNITS AND NOT SYNCLINE_TEST_TAG AND TARGET Threads::Threads)
    set(seeds 150)
    if(SYNCLINE_TEST_REPOSITORY)
        set(seeds 300)
    endif()
    set(SYNCLINE_TEST_SEEDS "${seeds}" CACHE STRING "Seeds that simulation.seeds runs, beside the kept ones")
    set(here "${CMAKE_CURRENT_LIST_DIR}")

    function(syncline_simulation program headers)
        add_executable(${program} "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/simulate.cpp"
            "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/worlds.cpp")
        target_link_libraries(${program} PRIVATE ${headers} Threads::Threads)
        # Both share most of their templates: as one unit they compile in a quarter of the time.
        set_target_properties(${program} PROPERTIES UNITY_BUILD ON)
        if(NOT MSVC AND NOT CMAKE_CXX_FLAGS MATCHES "sanitize")
            target_compile_options(${program} PRIVATE -O1)
        endif()
        if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
            # GCC 12 takes optional values that it has moved through several layers for uninitialised ones.
            target_compile_options(${program} PRIVATE -Wno-maybe-uninitialized)
        endif()
    endfunction()

    syncline_simulation(simulation_simulate syncline_strict)
    set(simulation simulation_simulate)
    if(SYNCLINE_TEST_REPOSITORY AND TARGET syncline_planted)
        # Planted headers with nothing switched on live the same lives, by the same traces: built once, for both. The
        # headers as they are shipped live theirs in the other legs.
        set(simulation simulation_planted)
        set_target_properties(simulation_simulate PROPERTIES EXCLUDE_FROM_ALL ON)
    endif()
    add_test(NAME simulation.seeds COMMAND ${simulation}
        --seeds-file "${here}/seeds.txt" --seeds ${SYNCLINE_TEST_SEEDS})
    set_tests_properties(simulation.seeds PROPERTIES TIMEOUT 900)
    # The same on every compiler, standard library and level of optimisation.
    if(NOT CMAKE_CXX_FLAGS MATCHES "sanitize")
        add_test(NAME simulation.trace COMMAND ${simulation} --seeds 40 --trace "${here}/trace.txt")
        set_tests_properties(simulation.trace PROPERTIES TIMEOUT 900)
    endif()
    if(SYNCLINE_TEST_REPOSITORY AND TARGET syncline_planted)
        syncline_simulation(simulation_planted syncline_planted)
        add_test(NAME simulation.finds COMMAND simulation_planted --known "${here}/plants.txt")
        set_tests_properties(simulation.finds PROPERTIES TIMEOUT 900)
        # Mistakes in parts that no simulated world runs.
        add_executable(simulation_parts "${here}/parts.cpp")
        target_include_directories(simulation_parts PRIVATE "${here}/..")
        target_link_libraries(simulation_parts PRIVATE syncline_planted_parts)
        add_test(NAME simulation.parts COMMAND simulation_parts)
    endif()
endif()
