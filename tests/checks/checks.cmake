# SPDX-License-Identifier: BSL-1.0
# Checks of the repository as a whole; they run in one build only.

foreach(rule IN ITEMS layers words umbrellas mirror versions)
    syncline_python_check("check.${rule}" rules.py ${rule} "${source_dir}")
endforeach()
syncline_python_check(check.rules_refuse rules.py refuse)
syncline_python_check(check.quotes quotes.py "${source_dir}")
syncline_python_check(check.format format.py "${source_dir}")
syncline_python_check(check.preprocessed_lines preprocessed_lines.py "${source_dir}" --compiler "${CMAKE_CXX_COMPILER}")

if(SYNCLINE_TEST_COMPILE_CHECKS)
    syncline_python_check(check.tidy tidy.py "${source_dir}" "${CMAKE_CURRENT_BINARY_DIR}/generated"
        "${checks_dir}/instantiate.cpp")

    # The planted impurity shows that the search for symbols finds.
    add_library(impure OBJECT EXCLUDE_FROM_ALL checks/impure.cpp)
    target_compile_features(impure PRIVATE cxx_std_20)
    target_compile_options(impure PRIVATE -ffunction-sections)
    syncline_build_check(check.impure.builds impure)
    set_tests_properties(check.impure.builds PROPERTIES FIXTURES_SETUP syncline_impure)
    syncline_python_check(check.purity purity.py $<TARGET_OBJECTS:instantiate>
        --readelf "${CMAKE_READELF}" --deny "${checks_dir}/denied_symbols.txt")
    syncline_python_check(check.purity_refuses purity.py $<TARGET_OBJECTS:impure>
        --readelf "${CMAKE_READELF}" --deny "${checks_dir}/denied_symbols.txt" --expect "${checks_dir}/impure.cpp")
    set_tests_properties(check.purity PROPERTIES FIXTURES_REQUIRED syncline_instantiate)
    set_tests_properties(check.purity_refuses PROPERTIES FIXTURES_REQUIRED syncline_impure)
endif()

if(TARGET syncline_single_header)
    add_library(single_header OBJECT EXCLUDE_FROM_ALL checks/single_header.cpp)
    add_dependencies(single_header syncline_single_header)
    target_include_directories(single_header PRIVATE "${PROJECT_BINARY_DIR}/single_include")
    target_compile_features(single_header PRIVATE cxx_std_20)
    syncline_build_check(check.single_header.builds single_header)
endif()
