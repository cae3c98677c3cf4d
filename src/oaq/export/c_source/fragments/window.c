/* A window over depth, rows and columns; axes that a tensor lacks have size 1. */
struct window {
  int32_t size[3], count[3], kernel[3], stride[3], dilation[3], before[3];
};

/* Moves to the next place of a box, the last axis fastest; 0 after the last one. */
static int next_place(int32_t place[3], const int32_t box[3]) {
  int axis;
  for (axis = 2; axis >= 0; axis--) {
    place[axis] += 1;
    if (place[axis] < box[axis]) return 1;
    place[axis] = 0;
  }
  return 0;
}

/* The position that a tap of a window reads, channels not counted; -1 outside of the input. */
static int32_t position(const struct window *w, const int32_t place[3], const int32_t tap[3]) {
  int32_t result = 0;
  int axis;
  for (axis = 0; axis < 3; axis++) {
    const int32_t at = place[axis] * w->stride[axis] + tap[axis] * w->dilation[axis] - w->before[axis];
    if (at < 0 || at >= w->size[axis]) return -1;
    result = result * w->size[axis] + at;
  }
  return result;
}
