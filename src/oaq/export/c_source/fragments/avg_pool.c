/* The sum under a window, less the zero point for each position, with the multiplier of the number of positions. */
struct avg_pool {
  struct window window;
  int32_t channels, zero, counts_padding;
  struct requantize out; /* a multiplier for each of 1, 2, ... positions */
};

static void avg_pool(const struct avg_pool *p, const uint8_t *x, uint8_t *y) {
  int32_t place[3] = {0, 0, 0};
  do {
    int32_t c;
    for (c = 0; c < p->channels; c++) {
      int32_t tap[3] = {0, 0, 0}, sum = 0, count = 0;
      do {
        const int32_t at = position(&p->window, place, tap);
        if (at >= 0) sum += x[(size_t)at * (size_t)p->channels + (size_t)c] - p->zero;
        if (at >= 0 || p->counts_padding) count += 1;
      } while (next_place(tap, p->window.kernel));
      *y++ = requantize(&p->out, sum, (size_t)count - 1);
    }
  } while (next_place(place, p->window.count));
}
