/* An image of another size, by the nearest pixel. */
struct resize_nearest {
  int32_t height, width, channels, rows, columns;
};

static void resize_nearest(const struct resize_nearest *p, const uint8_t *x, uint8_t *y) {
  int32_t row, column, c;
  for (row = 0; row < p->rows; row++)
    for (column = 0; column < p->columns; column++) {
      const int64_t above = (int64_t)row * p->height / p->rows, left = (int64_t)column * p->width / p->columns;
      const uint8_t *pixel = x + (size_t)(above * p->width + left) * (size_t)p->channels;
      for (c = 0; c < p->channels; c++) *y++ = pixel[c];
    }
}
