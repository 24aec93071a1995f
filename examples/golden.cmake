# SPDX-License-Identifier: BSL-1.0
# Runs PROGRAM in the empty folder FOLDER and compares what it prints with the file EXPECTED.
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")
execute_process(COMMAND "${PROGRAM}" WORKING_DIRECTORY "${FOLDER}"
                OUTPUT_VARIABLE printed ERROR_VARIABLE complaints RESULT_VARIABLE code)
message("${printed}")
if(NOT code EQUAL 0)
    message(FATAL_ERROR "${PROGRAM} ended with ${code}\n${complaints}")
endif()
file(WRITE "${FOLDER}/printed.txt" "${printed}")
execute_process(COMMAND "${CMAKE_COMMAND}" -E compare_files --ignore-eol "${EXPECTED}" "${FOLDER}/printed.txt"
                RESULT_VARIABLE different)
if(different)
    file(READ "${EXPECTED}" expected)
    message(FATAL_ERROR "the output differs from ${EXPECTED}, which says:\n${expected}")
endif()
