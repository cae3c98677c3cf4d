# Build for another Linux, or an older glibc than this machine's, by the compiler of the ziglang wheel: what wheels are
# made of. OAQ_ZIG is the program `zig` of that wheel, OAQ_TRIPLE such as aarch64-linux-gnu.2.17. The C++ library is
# linked in: none of the target's is needed.
set(CMAKE_SYSTEM_NAME Linux)
string(REGEX REPLACE "-.*" "" CMAKE_SYSTEM_PROCESSOR "${OAQ_TRIPLE}")
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OAQ_ZIG OAQ_TRIPLE)
set(CMAKE_CXX_COMPILER ${OAQ_ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET ${OAQ_TRIPLE})
set(CMAKE_ASM_COMPILER ${OAQ_ZIG} cc)
set(CMAKE_ASM_COMPILER_TARGET ${OAQ_TRIPLE})
# nanobind's headers print to stderr without <cstdio>, which this C++ library does not bring along. Where it comes before
# Python.h, both define the same two macros.
set(CMAKE_CXX_FLAGS_INIT "-include cstdio -Wno-macro-redefined")
