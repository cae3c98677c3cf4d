/* Runs a plan that oaq has written as bytes (docs/plan-format.md). C99; the library is liboaq.so.
 *
 * The proof that no sum overflows was checked before the bytes were written, by `oaq` in Python. The library does not
 * prove it again: it checks that the bytes are whole, that they fit together, and that loading and running stay inside
 * the memory they are given, whatever the bytes hold. Keep plans as safe from change as programs.
 *
 * No function throws. oaq_run allocates nothing, but for threads where sessions of several threads run at the same time
 * for the first time: sessions share helpers. Sessions are independent; one session is for one caller at a time.
 */
#ifndef OAQ_H
#define OAQ_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32) && defined(OAQ_BUILDING)
#define OAQ_API __declspec(dllexport)
#elif defined(_WIN32)
#define OAQ_API __declspec(dllimport)
#elif defined(__GNUC__)
#define OAQ_API __attribute__((visibility("default")))
#else
#define OAQ_API
#endif

#define OAQ_MAX_RANK 8

typedef struct oaq_session oaq_session;

typedef enum oaq_status {
  OAQ_OK = 0,
  OAQ_BAD_ARGUMENT = 1, /* a null pointer, a number out of range, an integer outside its input's range */
  OAQ_BAD_PLAN = 2,     /* the bytes are not a plan, or this CPU lacks instructions that it needs */
  OAQ_NO_MEMORY = 3,    /* more memory is needed than the limit, or than there is */
  OAQ_NO_THREADS = 4    /* the system starts no more threads */
} oaq_status;

typedef struct oaq_options {
  int threads;         /* that share the work, 1 to 256 */
  size_t memory_limit; /* most bytes for tensors, weights and scratch; 0: 4 GiB, or what size_t holds */
} oaq_options;

/* An input or output: real value = scale * (integer - zero_point). Samples lie one after another, channels last. */
typedef struct oaq_tensor {
  const char* name; /* lives as long as the session */
  int rank;         /* without the batch */
  int32_t dims[OAQ_MAX_RANK];
  size_t bytes; /* of one sample: the product of dims */
  float scale;
  int32_t zero_point;
  int32_t lo, hi; /* range of the integers, inside [0, 255] */
} oaq_tensor;

/* Makes a session of `size` bytes, which may go afterwards. options: null for one thread and the default limit. On
 * failure *session is null and oaq_error() says why. */
OAQ_API oaq_status oaq_load(const void* plan, size_t size, const oaq_options* options, oaq_session** session);

OAQ_API size_t oaq_input_count(const oaq_session* session);
OAQ_API size_t oaq_output_count(const oaq_session* session);

/* OAQ_BAD_ARGUMENT: there is no such input or output. */
OAQ_API oaq_status oaq_describe_input(const oaq_session* session, size_t index, oaq_tensor* tensor);
OAQ_API oaq_status oaq_describe_output(const oaq_session* session, size_t index, oaq_tensor* tensor);

/* Runs `batch` samples. inputs[i] and outputs[i] each point to batch times the tensor's bytes; they may not overlap.
 * OAQ_BAD_ARGUMENT: an integer lies outside its input's range, for which nothing is proved; nothing is run then. */
OAQ_API oaq_status oaq_run(oaq_session* session, const uint8_t* const* inputs, uint8_t* const* outputs, size_t batch);

/* Why the last call of this thread that failed did so; never null, good until the thread's next call. */
OAQ_API const char* oaq_error(void);

/* Null is taken too. */
OAQ_API void oaq_free(oaq_session* session);

#ifdef __cplusplus
}
#endif

#endif
