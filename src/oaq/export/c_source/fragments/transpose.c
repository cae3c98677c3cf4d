/* Axes in another order: along axis i of the result, neighbours lie `step[i]` apart in the input. */
struct transpose {
  int32_t axes, size[8], step[8];
};

static void transpose(const struct transpose *p, const uint8_t *x, uint8_t *y) {
  int32_t place[8] = {0, 0, 0, 0, 0, 0, 0, 0}, axis;
  do {
    size_t at = 0;
    for (axis = 0; axis < p->axes; axis++) at += (size_t)place[axis] * (size_t)p->step[axis];
    *y++ = x[at];
    for (axis = p->axes - 1; axis >= 0; axis--) {
      place[axis] += 1;
      if (place[axis] < p->size[axis]) break;
      place[axis] = 0;
    }
  } while (axis >= 0);
}
