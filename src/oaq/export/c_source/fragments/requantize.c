static uint8_t requantize(const struct requantize *r, int32_t sum, size_t n) {
  if (r->multiplier != NULL) return nearest(r, rounded_product(sum, r->multiplier[n]));
  return fixed_point(r, (int64_t)sum * r->factor[n], n);
}
