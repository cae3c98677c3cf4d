// SHA-256 (FIPS 180-4). The browser's own is not there on pages without https, and is asynchronous.

const FIRST = [
  0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/** Fractional parts of the cube roots of the first 64 primes, 32 bits each. */
const ROUNDS = (() => {
  const primes = [];
  for (let n = 2; primes.length < 64; ++n) if (primes.every((prime) => n % prime)) primes.push(n);
  return new Uint32Array(primes.map((prime) => cubeRootBits(prime)));
})();

// floor(frac(cbrt(prime)) * 2^32), in exact integers.
function cubeRootBits(prime) {
  const target = BigInt(prime) << 96n;
  let low = 0n, high = 1n << 36n;
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (middle * middle * middle <= target) low = middle;
    else high = middle;
  }
  return Number(low & 0xffffffffn);
}

/**
 * The digest of some pieces one after another, in hexadecimal.
 * @param {...Uint8Array} pieces
 */
export function sha256(...pieces) {
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const padded = new Uint8Array(Math.ceil((length + 9) / 64) * 64);
  let at = 0;
  for (const piece of pieces) {
    padded.set(piece, at);
    at += piece.length;
  }
  padded[length] = 0x80;
  const view = new DataView(padded.buffer);
  view.setUint32(padded.length - 8, Math.floor(length / 2 ** 29));
  view.setUint32(padded.length - 4, (length << 3) >>> 0);
  const state = Uint32Array.from(FIRST), words = new Uint32Array(64);
  for (let block = 0; block < padded.length; block += 64) mix(state, words, view, block);
  return Array.from(state, (word) => word.toString(16).padStart(8, "0")).join("");
}

function mix(state, words, view, block) {
  for (let i = 0; i < 16; ++i) words[i] = view.getUint32(block + 4 * i);
  for (let i = 16; i < 64; ++i) {
    const a = words[i - 15], b = words[i - 2];
    const small = turned(a, 7) ^ turned(a, 18) ^ (a >>> 3), large = turned(b, 17) ^ turned(b, 19) ^ (b >>> 10);
    words[i] = words[i - 16] + small + words[i - 7] + large;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; ++i) {
    const first = (h + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + ((e & f) ^ (~e & g)) + ROUNDS[i] + words[i]) | 0;
    const second = ((turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + first) | 0, c, b, a, (first + second) | 0];
  }
  [a, b, c, d, e, f, g, h].forEach((word, i) => (state[i] += word));
}

function turned(word, by) {
  return (word >>> by) | (word << (32 - by));
}
