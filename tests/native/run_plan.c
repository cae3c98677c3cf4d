/* Runs a plan by oaq.h alone: run_plan PLAN BATCH INPUTS OUTPUTS. Prints what the header says of inputs and outputs, then
 * how many blocks of memory oaq_run allocated; they are counted with COUNT_BLOCKS, which needs a sanitizer. INPUTS holds
 * all inputs one after another, OUTPUTS likewise. */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "oaq.h"

#define MOST 64

/* The caller's blocks are counted in every run. Threads that are only just starting allocate what the system gives each,
 * whenever they get a CPU; so theirs are those of the run in which they allocated least. */
enum { RUNS = 3, MOST_RUNS = 300 };
static _Thread_local int is_caller = 0;
static int is_running = 0;
static long of_caller = 0, of_helpers = 0;

/* Only a sanitizer's allocator says when it is called. */
#ifdef COUNT_BLOCKS
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void*, size_t),
                                              void (*on_free)(const volatile void*));

static void on_malloc(const volatile void* block, size_t size) {
  (void)block;
  (void)size;
  if (is_caller)
    ++of_caller;
  else if (is_running)
    __atomic_fetch_add(&of_helpers, 1, __ATOMIC_RELAXED);
}

static void on_free(const volatile void* block) { (void)block; }
#endif

static unsigned char* read_file(const char* path, size_t* size) {
  FILE* file = fopen(path, "rb");
  unsigned char* bytes = NULL;
  long end;
  if (!file || fseek(file, 0, SEEK_END) || (end = ftell(file)) < 0) return NULL;
  rewind(file);
  *size = (size_t)end;
  bytes = malloc(*size + 1);
  if (bytes && fread(bytes, 1, *size, file) != *size) {
    free(bytes);
    bytes = NULL;
  }
  fclose(file);
  return bytes;
}

static void show(const char* kind, const oaq_tensor* tensor) {
  int axis;
  printf("%s %s %g %d %d %d", kind, tensor->name, (double)tensor->scale, (int)tensor->zero_point, (int)tensor->lo,
         (int)tensor->hi);
  for (axis = 0; axis < tensor->rank; ++axis) printf(" %d", (int)tensor->dims[axis]);
  printf("\n");
}

static int fail(const char* where) {
  printf("%s: %s\n", where, oaq_error());
  return 1;
}

int main(int count, char** arguments) {
  oaq_options options = {2, (size_t)64 << 20};
  static oaq_session* session; /* static, as all that is not freed after an error: it is no leak */
  oaq_tensor tensor;
  const uint8_t* inputs[MOST];
  uint8_t* outputs[MOST];
  static unsigned char *plan, *x, *y;
  size_t size, x_size, y_size = 0, at = 0, batch, i;
  long least = 0;
  int runs;
  FILE* file;
  if (count != 5) return 2;
  if (!(plan = read_file(arguments[1], &size)) || !(x = read_file(arguments[3], &x_size))) return 2;
  batch = (size_t)strtoul(arguments[2], NULL, 10);
  if (oaq_load(plan, size, &options, &session) != OAQ_OK) return fail("load");
  free(plan);
  if (oaq_input_count(session) > MOST || oaq_output_count(session) > MOST) return 2;
  for (i = 0; i < oaq_input_count(session); ++i) {
    if (oaq_describe_input(session, i, &tensor) != OAQ_OK) return fail("input");
    show("input", &tensor);
    inputs[i] = x + at;
    at += batch * tensor.bytes;
  }
  if (at != x_size) return 2;
  for (i = 0; i < oaq_output_count(session); ++i) {
    if (oaq_describe_output(session, i, &tensor) != OAQ_OK) return fail("output");
    show("output", &tensor);
    y_size += batch * tensor.bytes;
  }
  if (!(y = malloc(y_size + 1))) return 2;
  for (i = 0, at = 0; i < oaq_output_count(session); ++i) {
    if (oaq_describe_output(session, i, &tensor) != OAQ_OK) return fail("output");
    outputs[i] = y + at;
    at += batch * tensor.bytes;
  }
  if (oaq_describe_output(session, oaq_output_count(session), &tensor) != OAQ_BAD_ARGUMENT) return 2;
#ifdef COUNT_BLOCKS
  __sanitizer_install_malloc_and_free_hooks(on_malloc, on_free);
#endif
  for (runs = 0; runs < RUNS || (least && runs < MOST_RUNS); ++runs) {
    const struct timespec millisecond = {0, 1000000};
    __atomic_store_n(&of_helpers, 0, __ATOMIC_RELAXED);
    is_caller = is_running = 1;
    if (oaq_run(session, inputs, outputs, batch) != OAQ_OK) return fail("run");
    is_running = is_caller = 0;
    if (!runs || of_helpers < least) least = of_helpers;
    if (least) nanosleep(&millisecond, NULL);
  }
  printf("allocated %ld\n", of_caller + least);
  file = fopen(arguments[4], "wb");
  if (!file || fwrite(y, 1, y_size, file) != y_size || fclose(file)) return 2;
  oaq_free(session);
  oaq_free(NULL);
  free(x);
  free(y);
  return 0;
}
