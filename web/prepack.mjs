// Before npm packs: the modules have to be built, for a package without them loads nothing.
import { existsSync } from "node:fs";

const names = ["relaxed", "relaxed-threads", "simd128", "simd128-threads"].map((build) => `wasm/oaq-${build}.wasm`);
const missing = names.filter((name) => !existsSync(new URL(name, import.meta.url)));
if (missing.length) {
  console.error(`web/${missing.join(", web/")}: not built; run python -m benchmarks.web.build in the clone, then npm pack`);
  process.exit(1);
}
