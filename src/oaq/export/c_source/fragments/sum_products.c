/* sum[n] = folded[n] + sum of weight * x, x as stored; a padded position holds the zero point, and folded[n] is the
   bias less the zero point times all weights. It is proved that no partial sum leaves 32 bits. */
struct sum_products {
  struct window window;
  int32_t channels, groups, outputs;
  const int8_t *narrow; /* (outputs, taps, channels / groups) */
  const int16_t *wide;  /* in its place, where a weight leaves 8 bits */
  const int32_t *folded;
  int32_t zero;
  struct requantize out;
};

static int32_t one_tap(const struct sum_products *p, size_t weight, const uint8_t *x, int32_t terms) {
  int32_t sum = 0, k;
  if (p->wide != NULL) {
    for (k = 0; k < terms; k++) sum += (int32_t)p->wide[weight + (size_t)k] * (x != NULL ? x[k] : p->zero);
  } else if (x != NULL) {
    for (k = 0; k < terms; k++) sum += (int32_t)p->narrow[weight + (size_t)k] * x[k];
  } else {
    for (k = 0; k < terms; k++) sum += (int32_t)p->narrow[weight + (size_t)k] * p->zero;
  }
  return sum;
}

static void sum_products(const struct sum_products *p, const uint8_t *x, uint8_t *y) {
  const int32_t terms = p->channels / p->groups, per_group = p->outputs / p->groups;
  int32_t place[3] = {0, 0, 0};
  do {
    size_t weight = 0;
    int32_t n;
    for (n = 0; n < p->outputs; n++) {
      const int32_t first = n / per_group * terms;
      int32_t tap[3] = {0, 0, 0}, sum = p->folded[n];
      do {
        const int32_t at = position(&p->window, place, tap);
        sum += one_tap(p, weight, at < 0 ? NULL : x + (size_t)at * (size_t)p->channels + (size_t)first, terms);
        weight += (size_t)terms;
      } while (next_place(tap, p->window.kernel));
      *y++ = requantize(&p->out, sum, (size_t)n);
    }
  } while (next_place(place, p->window.count));
}
