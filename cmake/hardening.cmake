# SPDX-License-Identifier: Apache-2.0
# Flags of the OpenSSF compiler hardening guide, each probed by itself: an old compiler loses one
# flag, not the list.
include(CheckCCompilerFlag)
include(CheckLinkerFlag)
add_library(penstock_hardening INTERFACE)
foreach(flag -fstack-protector-strong -fstack-clash-protection -fcf-protection=full
             -fno-strict-overflow -fno-delete-null-pointer-checks -ftrivial-auto-var-init=zero
             -Wformat-security -Wimplicit-fallthrough)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_c_compiler_flag(${flag} ${have})
    if(${have})
        target_compile_options(penstock_hardening INTERFACE ${flag})
    endif()
endforeach()
if(NOT PENSTOCK_SANITIZE)
    target_compile_options(penstock_hardening INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
foreach(flag -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
    string(MAKE_C_IDENTIFIER "HAVE${flag}" have)
    check_linker_flag(C ${flag} ${have})
    if(${have})
        target_link_options(penstock_hardening INTERFACE ${flag})
    endif()
endforeach()
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
target_link_options(penstock_hardening INTERFACE $<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)
