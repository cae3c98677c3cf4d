static uint8_t fixed_point(const struct requantize *r, int64_t product, size_t n) {
  const int64_t value = product + ((int64_t)1 << (r->shift[n] - 1));
  int64_t steps = value >= 0 ? value >> r->shift[n] : ~(~value >> r->shift[n]); /* the floor */
  if (r->then != NULL) {
    const int64_t half = ((int64_t)1 << r->then[n]) / 2;
    steps = steps >= 0 ? (steps + half) >> r->then[n] : -((half - steps) >> r->then[n]);
  }
  steps += r->zero;
  if (steps < r->low) return (uint8_t)r->low;
  if (steps > r->high) return (uint8_t)r->high;
  return (uint8_t)steps;
}
