/* The same integers at another place. */
struct copy {
  int32_t size;
};

static void copy(const struct copy *p, const uint8_t *x, uint8_t *y) {
  int32_t i;
  for (i = 0; i < p->size; i++) y[i] = x[i];
}
