/* Blocks of channels laid out as pixels. */
struct depth_to_space {
  int32_t height, width, block, depth, outer; /* outer: the channel of the result is the slowest axis of the block */
};

static void depth_to_space(const struct depth_to_space *p, const uint8_t *x, uint8_t *y) {
  const int32_t channels = p->block * p->block * p->depth;
  int32_t row, column, c;
  for (row = 0; row < p->height * p->block; row++)
    for (column = 0; column < p->width * p->block; column++) {
      const int32_t at = row / p->block * p->width + column / p->block;
      const int32_t corner = row % p->block * p->block + column % p->block;
      for (c = 0; c < p->depth; c++) {
        const int32_t channel = p->outer ? c * p->block * p->block + corner : corner * p->depth + c;
        *y++ = x[(size_t)at * (size_t)channels + (size_t)channel];
      }
    }
}
