/* sum[n] = folded[n] + sum of weight * x, x as stored, modulo 2^32; then one entry of a table for its last bits. A padded
   position holds the zero point. The layer counts modulo mask + 1 by design: sums wrap, and no entry depends on it. */
struct sum_residues {
  struct window window;
  int32_t channels, groups, outputs;
  const int8_t *narrow; /* (outputs, taps, channels / groups) */
  const int16_t *wide;  /* in its place, where a weight leaves 8 bits */
  const int32_t *folded;
  int32_t zero;
  const uint8_t *tables; /* mask + 1 entries for each output, or for all */
  int32_t table_stride;  /* mask + 1, or 0 */
  int32_t mask;
};

static uint32_t one_tap_wrapped(const struct sum_residues *p, size_t weight, const uint8_t *x, int32_t terms) {
  uint32_t sum = 0;
  int32_t k;
  for (k = 0; k < terms; k++) {
    const int32_t w = p->wide != NULL ? p->wide[weight + (size_t)k] : p->narrow[weight + (size_t)k];
    sum += (uint32_t)(w * (x != NULL ? (int32_t)x[k] : p->zero));
  }
  return sum;
}

static void sum_residues(const struct sum_residues *p, const uint8_t *x, uint8_t *y) {
  const int32_t terms = p->channels / p->groups, per_group = p->outputs / p->groups;
  int32_t place[3] = {0, 0, 0};
  do {
    size_t weight = 0;
    int32_t n;
    for (n = 0; n < p->outputs; n++) {
      const int32_t first = n / per_group * terms;
      int32_t tap[3] = {0, 0, 0};
      uint32_t sum = (uint32_t)p->folded[n];
      do {
        const int32_t at = position(&p->window, place, tap);
        sum += one_tap_wrapped(p, weight, at < 0 ? NULL : x + (size_t)at * (size_t)p->channels + (size_t)first, terms);
        weight += (size_t)terms;
      } while (next_place(tap, p->window.kernel));
      *y++ = p->tables[(size_t)n * (size_t)p->table_stride + (sum & (uint32_t)p->mask)];
    }
  } while (next_place(place, p->window.count));
}
