/* One span of every axis. */
struct slice {
  int32_t axes, size[8], begin[8], span[8];
};

static void slice(const struct slice *p, const uint8_t *x, uint8_t *y) {
  int32_t place[8] = {0, 0, 0, 0, 0, 0, 0, 0}, axis;
  do {
    size_t at = 0;
    for (axis = 0; axis < p->axes; axis++) at = at * (size_t)p->size[axis] + (size_t)(p->begin[axis] + place[axis]);
    *y++ = x[at];
    for (axis = p->axes - 1; axis >= 0; axis--) {
      place[axis] += 1;
      if (place[axis] < p->span[axis]) break;
      place[axis] = 0;
    }
  } while (axis >= 0);
}
