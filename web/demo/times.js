// Times of runs in a page.

/** Lets the page draw. */
export const sleep = () => new Promise((resolve) => setTimeout(resolve, 0));

/** Milliseconds of each of `count` runs, after two that do not count; fewer once `goes` says no. */
export async function timesOf(run, count, goes = () => true) {
  const times = [];
  for (let i = -2; i < count && goes(); ++i) {
    const begin = performance.now();
    await run();
    const time = performance.now() - begin;
    if (i >= 0) times.push(time);
    await sleep();
  }
  return times;
}

/** The middle of some numbers. */
export function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
