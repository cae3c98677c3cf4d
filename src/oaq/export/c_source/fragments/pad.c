/* Positions that hold the zero point around a tensor. */
struct pad {
  int32_t size[3], before[3], padded[3], channels, zero;
};

static void pad(const struct pad *p, const uint8_t *x, uint8_t *y) {
  int32_t d, h, w, c;
  for (d = 0; d < p->padded[0]; d++)
    for (h = 0; h < p->padded[1]; h++)
      for (w = 0; w < p->padded[2]; w++) {
        const int32_t at[3] = {d - p->before[0], h - p->before[1], w - p->before[2]};
        const int inside = at[0] >= 0 && at[0] < p->size[0] && at[1] >= 0 && at[1] < p->size[1] && at[2] >= 0 &&
                           at[2] < p->size[2];
        for (c = 0; c < p->channels; c++) *y++ = inside ? *x++ : (uint8_t)p->zero;
      }
}
