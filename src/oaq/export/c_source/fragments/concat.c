/* One of several tensors side by side on the channel axis, brought to the output's scale. */
struct concat {
  int32_t positions, channels, first, total, zero, index; /* index: of its multiplier */
  struct requantize out;
};

static void concat(const struct concat *p, const uint8_t *x, uint8_t *y) {
  int32_t at, c;
  for (at = 0; at < p->positions; at++)
    for (c = 0; c < p->channels; c++)
      y[(size_t)at * (size_t)p->total + (size_t)(p->first + c)] =
          requantize(&p->out, x[(size_t)at * (size_t)p->channels + (size_t)c] - p->zero, (size_t)p->index);
}
