# SPDX-License-Identifier: BSL-1.0
# Checks PROGRAM in the empty folder FOLDER. CHECK says what:
#   golden     the whole day prints what expected.txt says
#   bad_data   each kind of bad file is complained about in one line that says where
#   ask        a person at the terminal decides the conflict, or nobody answers
#   scale      with more devices all databases are the same, too
cmake_minimum_required(VERSION 3.20)
file(REMOVE_RECURSE "${FOLDER}")
file(MAKE_DIRECTORY "${FOLDER}")

# A day that fits on a page: one guest, two tablets, one conflict.
set(day [=[{
  "date": "2026-09-19", "utc_offset_minutes": 120, "venue": "Ballhaus", "opens": "10:00", "closes": "12:00",
  "events": [{"id": "e1", "title": "Zoé & Łukasz", "room": "Saal", "begins": "10:30", "ends": "11:30",
              "status": "planned", "arrived": 0, "plates": 0}],
  "tables": [{"id": "t1", "event": "e1", "name": "Linde", "places": 8, "seated": 0}],
  "timeline": [],
  "guests": [{"id": "g1", "event": "e1", "name": "Þóra", "table": "1", "seat": 1, "diet": "any"}],
  "vendors": [], "shots": []
}
]=])
set(edits [=[{
  "asks_every_seconds": 1800, "decided_by": "Amélie",
  "devices": [{"name": "one"}, {"name": "two", "offline": [{"from": "10:10", "to": "11:00"}]}],
  "edits": [{"at": "10:20", "device": "one", "do": "set", "collection": "guests", "id": "g1", "fields": {"table": "3"}},
            {"at": "10:30", "device": "two", "do": "set", "collection": "guests", "id": "g1", "fields": {"table": "5"}},
            {"at": "11:30", "device": "one", "do": "erase", "collection": "tables", "id": "t1"},
            {"at": "11:45", "device": "two", "do": "add", "collection": "tables", "id": "t1", "fields": {"seated": 1}}]
}
]=])

function(write_data day_text edits_text)
    file(WRITE "${FOLDER}/data/day.json" "${day_text}")
    file(WRITE "${FOLDER}/data/edits.json" "${edits_text}")
endfunction()

# Runs PROGRAM with arguments and what is typed; sets code, printed and complaints.
function(run typed)
    file(WRITE "${FOLDER}/typed.txt" "${typed}")
    execute_process(COMMAND "${PROGRAM}" ${ARGN} INPUT_FILE "${FOLDER}/typed.txt" WORKING_DIRECTORY "${FOLDER}"
                    OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE result)
    set(code "${result}" PARENT_SCOPE)
    set(printed "${out}" PARENT_SCOPE)
    set(complaints "${err}" PARENT_SCOPE)
endfunction()

function(expect text)
    string(FIND "${printed}" "${text}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "\"${text}\" is not printed, but:\n${printed}\n${complaints}")
    endif()
endfunction()
function(expect_success)
    if(NOT code EQUAL 0)
        message(FATAL_ERROR "the program ended with ${code}:\n${printed}\n${complaints}")
    endif()
endfunction()

# Changes one thing in one of the files and expects the complaint.
function(expect_complaint file from to complaint)
    set(changed "${${file}}")
    string(FIND "${changed}" "${from}" at)
    if(at EQUAL -1)
        message(FATAL_ERROR "\"${from}\" is not in ${file}.json")
    endif()
    string(REPLACE "${from}" "${to}" changed "${changed}")
    if(file STREQUAL "day")
        write_data("${changed}" "${edits}")
    else()
        write_data("${day}" "${changed}")
    endif()
    run("" --data data --dir run)
    if(NOT code EQUAL 2 OR NOT printed STREQUAL "" OR NOT complaints STREQUAL "venue_day: data/${file}.json${complaint}\n")
        message(FATAL_ERROR "${code}: ${printed}${complaints}instead of: venue_day: data/${file}.json${complaint}")
    endif()
endfunction()

if(CHECK STREQUAL "golden")
    run("" --golden --dir run)
    message("${printed}")
    expect_success()
    file(WRITE "${FOLDER}/printed.txt" "${printed}")
    execute_process(COMMAND "${CMAKE_COMMAND}" -E compare_files --ignore-eol
                            "${CMAKE_CURRENT_LIST_DIR}/expected.txt" "${FOLDER}/printed.txt" RESULT_VARIABLE different)
    if(different)
        message(FATAL_ERROR "the output differs from ${CMAKE_CURRENT_LIST_DIR}/expected.txt")
    endif()
    file(READ "${FOLDER}/run/report.html" report)
    foreach(part IN ITEMS "</svg></div>" "id=\"c9\"" "id=\"r3\"" "&lt;in the safe&gt;" "</body></html>")
        string(FIND "${report}" "${part}" at)
        if(at EQUAL -1)
            message(FATAL_ERROR "report.html has no ${part}")
        endif()
    endforeach()
    string(FIND "${report}" "<in the safe>" at)
    if(NOT at EQUAL -1)
        message(FATAL_ERROR "report.html holds a note as it was written")
    endif()

elseif(CHECK STREQUAL "bad_data")
    expect_complaint(day "\"venue\": \"Ballhaus\"," "\"venue\": \"Ballhaus\",," ":2:72: not JSON: expected string literal")
    expect_complaint(day "\"venue\": \"Ballhaus\", " "" ": \$: field \"venue\" is missing")
    expect_complaint(day "2026-09-19" "2026-02-30" ": \$.date: expected a date such as \"2026-09-19\", found \"2026-02-30\"")
    expect_complaint(day "\"seat\": 1, " "" ": \$.guests[0]: field \"seat\" is missing")
    expect_complaint(day "\"seat\": 1" "\"seat\": \"1\"" ": \$.guests[0].seat: expected a whole number, found \"1\"")
    expect_complaint(day "\"10:30\"" "\"10:99\"" ": \$.events[0].begins: expected a time such as \"14:05\", found \"10:99\"")
    expect_complaint(day "\"seat\": 1" "\"seat\": 1, \"hat\": true" ": \$.guests[0]: no field \"hat\" in guests")
    expect_complaint(day "\"g1\", \"event\": \"e1\"" "\"g1\", \"event\": \"e7\"" ": \$.guests[0].event: no event \"e7\"")
    expect_complaint(day "\"shots\": []" "\"shots\": {}" ": \$.shots: expected a list, found {}")
    expect_complaint(day "\"tables\": [" "\"tables\": [{\"id\": \"t1\", \"event\": \"e1\", \"name\": \"Eiche\", \"places\": 8, \"seated\": 0}, "
                     ": \$.tables[1].id: \"t1\" is there already")
    expect_complaint(edits "\"device\": \"two\"" "\"device\": \"three\"" ": \$.edits[1].device: no device \"three\"")
    expect_complaint(edits "{\"name\": \"one\"}" "{\"name\": \"two\"}" ": \$.devices[1].name: \"two\" is there already")
    expect_complaint(edits "\"to\": \"11:00\"" "\"to\": \"10:00\"" ": \$.devices[1].offline[0].to: not after \"from\"")
    expect_complaint(edits "{\"table\": \"5\"}" "{\"table\": 5}" ": \$.edits[1].fields.table: expected a text, found 5")
    expect_complaint(edits "\"at\": \"10:30\"" "\"at\": \"09:30\"" ": \$.edits[1].at: the day goes from 10:00 to 12:00")
    expect_complaint(edits "\"one\", \"do\": \"set\"" "\"one\", \"do\": \"add\"" ": \$.edits[0].fields.table: expected a whole number, found \"3\"")
    expect_complaint(edits "\"one\", \"do\": \"set\"" "\"one\", \"do\": \"sell\"" ": \$.edits[0].do: expected create, set, add or erase, found \"sell\"")
    expect_complaint(edits "\"id\": \"g1\"" "\"id\": \"g2\"" ": \$.edits[0].id: no record \"g2\" in guests")
    file(REMOVE "${FOLDER}/data/edits.json")
    run("" --data data --dir run)
    if(NOT code EQUAL 2 OR NOT complaints STREQUAL "venue_day: data/edits.json: No such file or directory\n")
        message(FATAL_ERROR "${code}: ${complaints}")
    endif()
    run("" --devices none)
    if(NOT code EQUAL 2 OR NOT complaints STREQUAL "venue_day: --devices can't be \"none\"\n")
        message(FATAL_ERROR "${code}: ${complaints}")
    endif()

elseif(CHECK STREQUAL "ask")
    write_data("${day}" "${edits}")
    # The first answer's preview is declined.
    run("l\nn\n=9\ny\n" --ask --golden --data data --dir run)
    expect_success()
    expect("table       1     5          3  one, 10:20\n")
    expect("  table     5\n")
    expect("manual: person at the terminal       1             1              0     0")
    expect("Þóra, table: \"5\" or \"3\"?  \"9\", says person at the terminal")
    expect("All 3 hold the same records")
    # One edit of the other tablet's was too late: the table was gone.
    expect("two      3          0       0          0        1       2")
    run("r\ny\n" --ask --golden --data data --dir run)
    expect_success()
    expect("table: \"5\" or \"3\"?  \"3\", says person at the terminal")
    run("l\n" --ask --golden --data data --dir run)
    expect_success()
    expect("nobody answers: Amélie decides")
    expect("table: \"5\" or \"3\"?  \"3\", says Amélie")

elseif(CHECK STREQUAL "scale")
    write_data("${day}" "${edits}")
    run("" --golden --devices 6 --data data --dir run)
    message("${printed}")
    expect_success()
    expect("tablet-6.db")
    expect("manual: Amélie")
    expect("All 7 hold the same records; every edit is accounted for.")

else()
    message(FATAL_ERROR "no such check: ${CHECK}")
endif()
