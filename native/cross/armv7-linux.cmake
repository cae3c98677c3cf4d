# Cross build for ARMv7 Linux.
set(CMAKE_SYSTEM_PROCESSOR armv7l)
set(CMAKE_CXX_COMPILER_TARGET arm-linux-musleabihf)
include(${CMAKE_CURRENT_LIST_DIR}/static-linux.cmake)
