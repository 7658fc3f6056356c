# SPDX-License-Identifier: Apache-2.0
# penstock_room(NAME SOURCES … LINKS …): one static library a room, named room_NAME.
# penstock_program(NAME SOURCES … LINKS …): one binary in build/<preset>/bin.
option(PENSTOCK_TESTS "build the tests" ON)
option(PENSTOCK_FUZZ "build the libFuzzer targets" OFF)
option(PENSTOCK_FAILPOINTS "named places where a test can make the program fail" OFF)
set(PENSTOCK_MUTANT "" CACHE STRING "no_ledger, no_fence or ack_early: a broken build that tests/scenario/kill.py must catch")
set(PENSTOCK_SANITIZE "" CACHE STRING "address,undefined or thread")

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

add_library(penstock_flags INTERFACE)
target_include_directories(penstock_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_definitions(penstock_flags INTERFACE _GNU_SOURCE PENSTOCK_VERSION="${PROJECT_VERSION}")
target_compile_options(penstock_flags INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes
    -Wmissing-prototypes -Wswitch-enum -Wvla -Wformat=2 -Wpointer-arith -Wundef -Werror)
target_link_libraries(penstock_flags INTERFACE penstock_hardening)
if(PENSTOCK_FAILPOINTS)
    target_compile_definitions(penstock_flags INTERFACE PS_FAILPOINTS=1)
endif()
if(PENSTOCK_SANITIZE)
    target_compile_options(penstock_flags INTERFACE -fsanitize=${PENSTOCK_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(penstock_flags INTERFACE -fsanitize=${PENSTOCK_SANITIZE})
endif()
if(PENSTOCK_FUZZ)
    target_compile_options(penstock_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# Sources are every .c of the folder unless given. A room without sources is its headers.
function(penstock_room name)
    cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
    if(NOT ARG_SOURCES)
        file(GLOB ARG_SOURCES CONFIGURE_DEPENDS *.c)
    endif()
    if(PENSTOCK_MUTANT)
        # Only where a mutant can be: what else is built is the same as without, and ccache knows it.
        string(TOUPPER ${PENSTOCK_MUTANT} mutant)
        foreach(source ${ARG_SOURCES})
            file(STRINGS ${source} mutable REGEX "PS_MUTANT_" LIMIT_COUNT 1)
            if(mutable)
                set_property(SOURCE ${source} APPEND PROPERTY COMPILE_DEFINITIONS PS_MUTANT_${mutant}=1)
            endif()
        endforeach()
    endif()
    if(ARG_SOURCES)
        add_library(room_${name} STATIC ${ARG_SOURCES})
        target_link_libraries(room_${name} PUBLIC penstock_flags ${ARG_LINKS})
    else()
        add_library(room_${name} INTERFACE)
        target_link_libraries(room_${name} INTERFACE penstock_flags ${ARG_LINKS})
    endif()
    set_property(GLOBAL APPEND PROPERTY PENSTOCK_ROOMS room_${name})
endfunction()

# penstock_program(NAME LINKS …): main.c and the other .c of this folder; in build/<preset>/bin.
function(penstock_program name)
    cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
    file(GLOB sources CONFIGURE_DEPENDS *.c)
    if(sources)
        add_executable(${name} ${sources})
        target_link_libraries(${name} PRIVATE penstock_flags ${ARG_LINKS})
    endif()
endfunction()

# penstock_test_program(FILE): one Criterion program a file, in build/<preset>/tests.
function(penstock_test_program file)
    get_filename_component(stem ${file} NAME_WE)
    get_property(rooms GLOBAL PROPERTY PENSTOCK_ROOMS)
    add_executable(${stem} ${file})
    set_target_properties(${stem} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
    target_link_libraries(${stem} PRIVATE penstock_flags tests_support
        -Wl,--start-group ${rooms} -Wl,--end-group PkgConfig::CRITERION)
endfunction()

# penstock_test_run(NAME FAMILY PROGRAM): a run of it. Criterion says "passed" when LeakSanitizer
# finds a leak, hence the expression.
function(penstock_test_run name family program)
    add_test(NAME ${name} COMMAND ${program} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(${name} PROPERTIES LABELS ${family} TIMEOUT 300
        FAIL_REGULAR_EXPRESSION "LeakSanitizer|runtime error:")
endfunction()

# penstock_test(FAMILY FILE): both, named after the file.
function(penstock_test family file)
    get_filename_component(stem ${file} NAME_WE)
    file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR}/tests ${file})
    penstock_test_program(${file})
    penstock_test_run(${path} ${family} ${stem})
endfunction()
