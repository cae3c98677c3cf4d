/* a + b at the output's scale: three float32 roundings and one to an integer, or one in fixed point. */
struct add {
  int32_t size, zero_a, zero_b;
  struct requantize out; /* a multiplier for each of the two */
};

static void add(const struct add *p, const uint8_t *a, const uint8_t *b, uint8_t *y) {
  const struct requantize *r = &p->out;
  int32_t i;
  for (i = 0; i < p->size; i++) {
    const int32_t left = a[i] - p->zero_a, right = b[i] - p->zero_b;
    if (r->multiplier != NULL) {
      volatile float sum = rounded_product(left, r->multiplier[0]) + rounded_product(right, r->multiplier[1]);
      y[i] = nearest(r, sum);
    } else {
      y[i] = fixed_point(r, (int64_t)left * r->factor[0] + (int64_t)right * r->factor[1], 0);
    }
  }
}
