/* An image of another size: half-pixel centres (0), corners on corners (1), or first pixels on each other (2); weights in parts of 2^11 on each axis, rounded once, halves up. */
struct resize_bilinear {
  int32_t height, width, channels, rows, columns, places;
};

struct mix {
  int32_t first, second, weight; /* of the second, 0 to 2^11 */
};

static struct mix mix_of(int32_t places, int32_t place, int32_t size, int32_t results) {
  const int64_t by_centres = (2 * (int64_t)place + 1) * size - results, by_corners = (int64_t)place * (size - 1);
  const int64_t numerator = places == 0 ? by_centres : places == 1 ? by_corners : (int64_t)place * size;
  const int64_t denominator = places == 0 ? 2 * (int64_t)results : places == 2 ? results : results > 1 ? results - 1 : 1;
  const int64_t first = numerator >= 0 ? numerator / denominator : -1;
  const int64_t rest = numerator - first * denominator;
  struct mix mix;
  mix.weight = (int32_t)((rest * 4096 + denominator) / (2 * denominator));
  mix.first = (int32_t)(first < 0 ? 0 : first);
  mix.second = (int32_t)(first + 1 < size ? first + 1 : size - 1);
  return mix;
}

static void resize_bilinear(const struct resize_bilinear *p, const uint8_t *x, uint8_t *y) {
  int32_t row, column, c;
  for (row = 0; row < p->rows; row++)
    for (column = 0; column < p->columns; column++) {
      const struct mix down = mix_of(p->places, row, p->height, p->rows);
      const struct mix across = mix_of(p->places, column, p->width, p->columns);
      const uint8_t *above = x + (size_t)down.first * (size_t)p->width * (size_t)p->channels;
      const uint8_t *below = x + (size_t)down.second * (size_t)p->width * (size_t)p->channels;
      const size_t left = (size_t)across.first * (size_t)p->channels;
      const size_t right = (size_t)across.second * (size_t)p->channels;
      for (c = 0; c < p->channels; c++) {
        const size_t at = (size_t)c;
        const int32_t top = above[left + at] * (2048 - across.weight) + above[right + at] * across.weight;
        const int32_t bottom = below[left + at] * (2048 - across.weight) + below[right + at] * across.weight;
        *y++ = (uint8_t)((top * (2048 - down.weight) + bottom * down.weight + (1 << 21)) >> 22);
      }
    }
}
