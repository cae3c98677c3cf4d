/* The sum over all positions, less the zero point for each. */
struct global_avg_pool {
  int32_t positions, channels, zero;
  struct requantize out;
};

static void global_avg_pool(const struct global_avg_pool *p, const uint8_t *x, uint8_t *y) {
  int32_t c, at;
  for (c = 0; c < p->channels; c++) {
    int32_t sum = 0;
    for (at = 0; at < p->positions; at++) sum += x[(size_t)at * (size_t)p->channels + (size_t)c] - p->zero;
    y[c] = requantize(&p->out, sum, 0);
  }
}
