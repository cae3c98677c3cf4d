# Cross build for Linux by the compiler of the ziglang wheel, whose C and C++ libraries come with it: programs are static,
# so that an emulator needs nothing else. OAQ_ZIG is the program `zig` of that wheel. Included by a file per processor.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OAQ_ZIG)
set(CMAKE_CXX_COMPILER ${OAQ_ZIG} c++)
set(CMAKE_EXE_LINKER_FLAGS_INIT "-static")
