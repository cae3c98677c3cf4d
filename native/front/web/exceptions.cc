// What throwing does in WebAssembly: the text goes to the page, which throws an error of its own and gives the instance
// up. Nothing is unwound, so nothing is caught; the page makes a new instance for the next network. Of the C++ run-time
// library only the beginning of an exception is needed then.
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <typeinfo>

#include "front/c/oaq.h"
#include "plan/read.h"

// Given by the page; does not return.
extern "C" [[noreturn]] __attribute__((import_module("oaq"), import_name("fail"))) void oaq_page_fail(
    std::int32_t status, const char* text);

namespace {

// Every exception thrown here derives from std::exception, and from it first: it lies where the object begins.
[[noreturn]] void fail(void* thrown, const std::type_info* type) {
  oaq_status status = OAQ_BAD_ARGUMENT;
  if (*type == typeid(oaq::PlanError)) status = OAQ_BAD_PLAN;
  if (*type == typeid(oaq::MemoryExceeded) || *type == typeid(std::bad_alloc)) status = OAQ_NO_MEMORY;
  oaq_page_fail(status, static_cast<const std::exception*>(thrown)->what());
}

}  // namespace

extern "C" {

void* __cxa_allocate_exception(std::size_t bytes) noexcept { return std::malloc(bytes); }

[[noreturn]] void __cxa_throw(void* thrown, std::type_info* type, void (*)(void*)) { fail(thrown, type); }

}  // extern "C"
