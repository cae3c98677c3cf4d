/* One entry of a table for each integer. */
struct lookup {
  int32_t size;
  const uint8_t *table;
};

static void lookup(const struct lookup *p, const uint8_t *x, uint8_t *y) {
  int32_t i;
  for (i = 0; i < p->size; i++) y[i] = p->table[x[i]];
}
