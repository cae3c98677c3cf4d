/* From an exact sum to an integer of the output: y = clamp(round(sum * multiplier) + zero).
   float32: one conversion, one product, one rounding to the nearest, halves to even; never fused with what follows.
   Fixed point: (sum * factor + half) >> shift in 64 bits, then perhaps a second rounding, halves away from 0. */
struct requantize {
  const float *multiplier; /* NULL: fixed point */
  const int32_t *factor;
  const uint8_t *shift; /* 1 to 62 */
  const uint8_t *then;  /* 0 to 31; NULL: rounded once */
  int32_t zero, low, high;
};

static float rounded_product(int32_t sum, float multiplier) {
  volatile float product = (float)sum * multiplier; /* volatile: no wider format, no fused operation */
  return product;
}

static uint8_t nearest(const struct requantize *r, float value) {
  int32_t whole;
  float rest;
  if (!(value > (float)(r->low - r->zero))) return (uint8_t)r->low;
  if (value >= (float)(r->high - r->zero)) return (uint8_t)r->high;
  whole = (int32_t)value; /* towards 0, and the rest is exact */
  rest = value - (float)whole;
  if (rest > 0.5f || (rest >= 0.5f && whole % 2 != 0)) whole += 1;
  if (rest < -0.5f || (rest <= -0.5f && whole % 2 != 0)) whole -= 1;
  return (uint8_t)(whole + r->zero);
}
