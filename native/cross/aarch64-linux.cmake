# Cross build for AArch64 Linux.
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-musl)
include(${CMAKE_CURRENT_LIST_DIR}/static-linux.cmake)
