/* Integers in [low, high] from SplitMix64 in counter form: word i is a function of i alone. */
static void fill(uint8_t *x, uint32_t count, uint64_t start, uint32_t low, uint32_t high) {
  uint32_t i;
  for (i = 0; i < count; i++) {
    uint64_t word = (start + i + 1) * (uint64_t)GOLDEN;
    word = (word ^ word >> 30) * (uint64_t)FIRST_MIX;
    word = (word ^ word >> 27) * (uint64_t)SECOND_MIX;
    word ^= word >> 31;
    x[i] = (uint8_t)(low + (((word >> 32) * (high - low + 1)) >> 32));
  }
}
