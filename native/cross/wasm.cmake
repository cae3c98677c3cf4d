# Cross build for WebAssembly by the compiler of the ziglang wheel, whose C and C++ libraries come with it. OAQ_ZIG is
# the program `zig` of that wheel.
set(CMAKE_SYSTEM_NAME WASI)
set(CMAKE_SYSTEM_PROCESSOR wasm32)
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES OAQ_ZIG)
set(CMAKE_CXX_COMPILER ${OAQ_ZIG} c++)
set(CMAKE_CXX_COMPILER_TARGET wasm32-wasi)
set(CMAKE_CXX_FLAGS_INIT "-msimd128 -fexceptions")
