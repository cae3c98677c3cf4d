/* Entries of one axis by index: the input is (outer, size, inner), the result (outer, count, inner). */
struct gather {
  int32_t outer, size, count, inner;
  const int32_t *index;
};

static void gather(const struct gather *p, const uint8_t *x, uint8_t *y) {
  int32_t i, j, k;
  for (i = 0; i < p->outer; i++)
    for (j = 0; j < p->count; j++) {
      const uint8_t *entry = x + ((size_t)i * (size_t)p->size + (size_t)p->index[j]) * (size_t)p->inner;
      for (k = 0; k < p->inner; k++) *y++ = entry[k];
    }
}
