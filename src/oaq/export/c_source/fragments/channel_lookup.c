/* One entry of a table for each integer; every channel has a table of its own. */
struct channel_lookup {
  int32_t size, channels;
  const uint8_t *tables;
};

static void channel_lookup(const struct channel_lookup *p, const uint8_t *x, uint8_t *y) {
  int32_t i, channel = 0;
  for (i = 0; i < p->size; i++) {
    y[i] = p->tables[(size_t)channel * 256 + x[i]];
    channel = channel + 1 < p->channels ? channel + 1 : 0;
  }
}
