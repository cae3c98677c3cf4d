/* The largest integer under a window; the least of the output where a window holds no input. */
struct max_pool {
  struct window window;
  int32_t channels, low;
};

static void max_pool(const struct max_pool *p, const uint8_t *x, uint8_t *y) {
  int32_t place[3] = {0, 0, 0};
  do {
    int32_t c;
    for (c = 0; c < p->channels; c++) {
      int32_t tap[3] = {0, 0, 0}, largest = p->low;
      do {
        const int32_t at = position(&p->window, place, tap);
        if (at >= 0 && x[(size_t)at * (size_t)p->channels + (size_t)c] > largest)
          largest = x[(size_t)at * (size_t)p->channels + (size_t)c];
      } while (next_place(tap, p->window.kernel));
      *y++ = (uint8_t)largest;
    }
  } while (next_place(place, p->window.count));
}
