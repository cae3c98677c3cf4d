/** The module that computes a network: SIMD128 runs everywhere, relaxed SIMD is quicker where there is any. */
export type Build = "relaxed" | "simd128";

export interface LoadOptions {
  /** The build to use; the quickest that this engine runs if it is left out. */
  build?: Build;
  /** Threads, 1 to 256. If left out: where the page is cross-origin isolated one for each CPU, four at most; else one. */
  threads?: number;
  /** Where the modules are, by build; beside the package if left out. */
  wasm?: Partial<Record<Build | `${Build}-threads`, string | URL | ArrayBuffer | Uint8Array>>;
  /** SHA-256 that the certificate must have, in hexadecimal; any if left out. */
  certificate?: string;
  /** false: do not run the fixed inputs whose outputs the signature is of (two samples). */
  check?: boolean;
}

/** An input or output: real value = scale * (integer - zeroPoint). */
export interface Tensor {
  readonly name: string;
  /** Without the batch, channels last. */
  readonly shape: readonly number[];
  readonly bytes: number;
  readonly scale: number;
  readonly zeroPoint: number;
  readonly lo: number;
  readonly hi: number;
}

/** What is proved of a layer of a plan. */
export interface Layer {
  readonly name: string;
  /** The operator: "Conv2d", "Add", ... */
  readonly op: string;
  /** The kernel row that computes it. */
  readonly row: string;
  /** Bits of the registers it sums in; null where no products are summed. */
  readonly bits: number | null;
  /** Largest magnitude that a register can reach, for every input, in parts of what it holds; null likewise. */
  readonly used: number | null;
  /** Bits that the sum over the whole layer takes, for every input; null likewise. */
  readonly sum_bits: number | null;
  /** Mean number of steps between two spills; null where there are none. */
  readonly run: number | null;
}

/** How a photo becomes the input. */
export interface Photo {
  /** Rows, columns. */
  readonly size: readonly [number, number];
  readonly resize: number | null;
  readonly fit: "crop" | "pad" | "stretch";
  /** By channel, the integer of each of the 256 values of a pixel. */
  readonly tables: readonly (readonly number[])[];
}

export interface Classified {
  label: string;
  index: number;
  score: number;
  probability: number;
}

export interface Detected {
  label: string;
  index: number;
  score: number;
  /** Left, top, right, bottom. */
  box: [number, number, number, number];
}

export interface ImageLike {
  readonly data: Uint8ClampedArray | Uint8Array;
  readonly width: number;
  readonly height: number;
}

export type Input = Uint8Array | Uint8ClampedArray | ImageLike;

export declare class OaqError extends Error {
  /** "not-found", "damaged", "certificate", "signature", "engine", "photo", "bad-argument", "bad-plan", "no-memory",
   * "no-threads", "failed". */
  readonly code: string;
}

export declare class Network {
  private constructor();
  readonly name: string;
  readonly build: Build;
  readonly threads: number;
  readonly signature: string;
  readonly certificate: string;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly labels: readonly string[];
  readonly photo: Photo | null;
  readonly layers: readonly Layer[];
  run(input: Input | readonly Input[]): Uint8Array[];
  integers(image: ImageLike): Uint8Array;
  prepare(source: CanvasImageSource): ImageData;
  reals(integers: Uint8Array, output?: number): Float32Array;
  classify(input: Input, count?: number): Classified[];
  readonly task: string | null;
  detect(input: Input, picture?: CanvasImageSource, least?: number): Detected[];
  profile(): number[];
  measure(): string;
  check(): void;
  /** Chunks of work that each thread has computed in all runs, the calling one first; zeros with one thread. */
  shares(): number[];
  /** End the workers of a network of several threads. It runs no more. */
  close(): void;
}

export declare function load(url: string | URL, options?: LoadOptions): Promise<Network>;
export declare function supports(build: Build): boolean;
export declare function builds(): Build[];
/** Threads that `load` takes if nothing is said. */
export declare function defaultThreads(): number;
