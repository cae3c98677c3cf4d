/* Products of two tensors; the second may be one value per channel. */
struct mul {
  int32_t size, period, zero_a, zero_b;
  struct requantize out;
};

static void mul(const struct mul *p, const uint8_t *a, const uint8_t *b, uint8_t *y) {
  int32_t i;
  for (i = 0; i < p->size; i++)
    y[i] = requantize(&p->out, (a[i] - p->zero_a) * (b[i % p->period] - p->zero_b), 0);
}
