// What a program for WASI (preview 1) asks of a system: arguments, a clock, random bytes, files that are only read, and
// two streams that are only written. All of it lives in memory: there is no disk, no network and no process.

const OK = 0, BADF = 8, EXIST = 20, INVAL = 28, ISDIR = 31, NOENT = 44, NOSYS = 52, NOTDIR = 54, ROFS = 69;
const DIRECTORY = 3, REGULAR = 4, CHARACTERS = 2;
const ROOT = 3, CREATE = 1, DIRECTORY_ONLY = 2, EXCLUSIVE = 4;
const ALL_RIGHTS = (1n << 29n) - 1n;

/** Thrown where the program ends itself. */
export class Exit extends Error {
  constructor(code) {
    super(`exit code ${code}`);
    this.code = code;
  }
}

/** A system for one instance: files by absolute path, and what the program has written. */
export class System {
  #memory = null;
  #files = new Map();
  #folders = new Set([""]);
  #open = new Map();
  #next = ROOT + 1;
  #streams = { 1: [], 2: [] };

  /**
   * @param {string[]} args
   * @param {Record<string, string>} environment
   */
  constructor(args, environment = {}) {
    this.args = args.map(encode);
    this.environment = Object.entries(environment).map(([key, value]) => encode(`${key}=${value}`));
    // Addresses come as signed numbers, those beyond 2 GB as negative ones.
    const own = (name) => (...values) => this[name](...values.map((value) => (typeof value === "number" ? value >>> 0 : value)));
    this.imports = Object.fromEntries([
      "args_get", "args_sizes_get", "environ_get", "environ_sizes_get", "clock_res_get", "clock_time_get", "fd_close",
      "fd_fdstat_get", "fd_filestat_get", "fd_pread", "fd_prestat_get", "fd_prestat_dir_name", "fd_read", "fd_readdir",
      "fd_seek", "fd_tell", "fd_write", "path_filestat_get", "path_open", "path_readlink", "proc_exit", "random_get",
      "sched_yield",
    ].map((name) => [name, own(name)]));
  }

  /** The functions that a module imports, those that it will be refused included. */
  importsOf(module) {
    const wanted = WebAssembly.Module.imports(module).filter((entry) => entry.module === "wasi_snapshot_preview1");
    return Object.fromEntries(wanted.map(({ name }) =>
      [name, this.imports[name] ?? (() => (name.startsWith("path_") ? ROFS : NOSYS))]));
  }

  /** The instance's memory: before anything runs. */
  attach(memory) {
    this.#memory = memory;
  }

  /** Put a file at an absolute path. */
  put(path, bytes) {
    const name = tidy(path);
    this.#files.set(name, bytes);
    for (let end = name.lastIndexOf("/"); end > 0; end = name.lastIndexOf("/", end - 1)) this.#folders.add(name.slice(0, end));
  }

  remove(path) {
    this.#files.delete(tidy(path));
  }

  /** What was written to a stream, 1 or 2, since this was last asked. */
  take(stream) {
    const parts = this.#streams[stream], decoder = new TextDecoder();
    this.#streams[stream] = [];
    return parts.map((part) => decoder.decode(part, { stream: true })).join("") + decoder.decode();
  }

  get #view() {
    return new DataView(this.#memory.buffer);
  }

  #bytes(at, length) {
    return new Uint8Array(this.#memory.buffer, at, length);
  }

  #word(at, value) {
    this.#view.setUint32(at, value, true);
    return OK;
  }

  #strings(texts, pointers, buffer) {
    for (const text of texts) {
      this.#word(pointers, buffer);
      this.#bytes(buffer, text.length).set(text);
      pointers += 4;
      buffer += text.length;
    }
    return OK;
  }

  #sizes(texts, count, bytes) {
    this.#word(count, texts.length);
    return this.#word(bytes, texts.reduce((sum, text) => sum + text.length, 0));
  }

  args_get(pointers, buffer) {
    return this.#strings(this.args, pointers, buffer);
  }

  args_sizes_get(count, bytes) {
    return this.#sizes(this.args, count, bytes);
  }

  environ_get(pointers, buffer) {
    return this.#strings(this.environment, pointers, buffer);
  }

  environ_sizes_get(count, bytes) {
    return this.#sizes(this.environment, count, bytes);
  }

  clock_res_get(_clock, to) {
    this.#view.setBigUint64(to, 1000n, true);
    return OK;
  }

  clock_time_get(clock, _precision, to) {
    const milliseconds = clock === 0 ? Date.now() : performance.now();
    this.#view.setBigUint64(to, BigInt(Math.round(milliseconds * 1e6)), true);
    return OK;
  }

  random_get(to, length) {
    for (let start = 0; start < length; start += 65536)
      crypto.getRandomValues(this.#bytes(to + start, Math.min(65536, length - start)));
    return OK;
  }

  sched_yield() {
    return OK;
  }

  proc_exit(code) {
    throw new Exit(code);
  }

  // --- descriptors: 0 to 2 are streams, 3 is the folder "/", the others were opened ---

  fd_prestat_get(fd, to) {
    if (fd !== ROOT) return BADF;
    this.#word(to, 0);
    return this.#word(to + 4, 1);
  }

  fd_prestat_dir_name(fd, to, length) {
    if (fd !== ROOT || length < 1) return BADF;
    this.#bytes(to, 1)[0] = "/".charCodeAt(0);
    return OK;
  }

  fd_fdstat_get(fd, to) {
    const kind = this.#kind(fd);
    if (kind === null) return BADF;
    this.#bytes(to, 24).fill(0);
    this.#view.setUint8(to, kind);
    this.#view.setBigUint64(to + 8, ALL_RIGHTS, true);
    this.#view.setBigUint64(to + 16, ALL_RIGHTS, true);
    return OK;
  }

  fd_filestat_get(fd, to) {
    const kind = this.#kind(fd);
    if (kind === null) return BADF;
    return this.#describe(kind, this.#open.get(fd)?.path ?? "", to);
  }

  fd_close(fd) {
    return this.#open.delete(fd) || fd <= ROOT ? OK : BADF;
  }

  fd_read(fd, vectors, count, to) {
    if (fd === 0) return this.#word(to, 0);
    const file = this.#open.get(fd);
    if (!file?.bytes) return BADF;
    const read = this.#scatter(file.bytes, file.at, vectors, count);
    file.at += read;
    return this.#word(to, read);
  }

  fd_pread(fd, vectors, count, offset, to) {
    const file = this.#open.get(fd);
    if (!file?.bytes) return BADF;
    return this.#word(to, this.#scatter(file.bytes, Number(offset), vectors, count));
  }

  fd_seek(fd, offset, whence, to) {
    const file = this.#open.get(fd);
    if (!file?.bytes) return BADF;
    const place = Number(offset) + [0, file.at, file.bytes.length][whence];
    if (!(place >= 0)) return INVAL;
    file.at = place;
    this.#view.setBigUint64(to, BigInt(place), true);
    return OK;
  }

  fd_tell(fd, to) {
    return this.fd_seek(fd, 0n, 1, to);
  }

  fd_write(fd, vectors, count, to) {
    const stream = this.#streams[fd];
    if (!stream) return this.#open.has(fd) ? ROFS : BADF;
    let written = 0;
    for (let i = 0; i < count; ++i) {
      const at = this.#view.getUint32(vectors + 8 * i, true), length = this.#view.getUint32(vectors + 8 * i + 4, true);
      stream.push(this.#bytes(at, length).slice());
      written += length;
    }
    return this.#word(to, written);
  }

  // Entries of a folder from number `cookie` on, as many as fit; the last may be cut.
  fd_readdir(fd, to, room, cookie, used) {
    const folder = fd === ROOT ? "" : this.#open.get(fd)?.path;
    if (folder === undefined || !this.#folders.has(folder)) return BADF;
    const names = this.#names(folder);
    let at = 0;
    for (let i = Number(cookie); i < names.length && at < room; ++i) {
      const name = encoder.encode(names[i]), entry = new Uint8Array(24 + name.length), view = new DataView(entry.buffer);
      const kind = this.#folders.has(join(folder, names[i])) ? DIRECTORY : REGULAR;
      view.setBigUint64(0, BigInt(i + 1), true);
      view.setUint32(16, name.length, true);
      view.setUint8(20, kind);
      entry.set(name, 24);
      const part = entry.subarray(0, Math.min(entry.length, room - at));
      this.#bytes(to + at, part.length).set(part);
      at += part.length;
    }
    return this.#word(used, at);
  }

  // --- paths, below a folder that is open ---

  path_open(folder, _follow, at, length, flags, _base, _inheriting, _fdflags, to) {
    const path = this.#path(folder, at, length);
    if (path === null) return BADF;
    const bytes = this.#files.get(path), isFolder = this.#folders.has(path);
    if (!bytes && !isFolder) return flags & CREATE ? ROFS : NOENT;
    if (bytes && flags & CREATE && flags & EXCLUSIVE) return EXIST;
    if (bytes && flags & DIRECTORY_ONLY) return NOTDIR;
    if (isFolder && flags & CREATE) return ISDIR;
    this.#open.set(this.#next, { path, bytes: bytes ?? null, at: 0 });
    return this.#word(to, this.#next++);
  }

  path_filestat_get(folder, _flags, at, length, to) {
    const path = this.#path(folder, at, length);
    if (path === null) return BADF;
    if (this.#folders.has(path)) return this.#describe(DIRECTORY, path, to);
    return this.#files.has(path) ? this.#describe(REGULAR, path, to) : NOENT;
  }

  path_readlink(folder, at, length) {
    const path = this.#path(folder, at, length);
    return path !== null && (this.#files.has(path) || this.#folders.has(path)) ? INVAL : NOENT;
  }

  #path(folder, at, length) {
    const base = folder === ROOT ? "" : this.#open.get(folder)?.path;
    return base === undefined ? null : tidy(join(base, new TextDecoder().decode(this.#bytes(at, length).slice())));
  }

  #names(folder) {
    const start = folder ? `${folder}/` : "", names = new Set([".", ".."]);
    for (const path of [...this.#files.keys(), ...this.#folders])
      if (path.startsWith(start) && path.length > start.length) names.add(path.slice(start.length).split("/")[0]);
    return [...names];
  }

  #kind(fd) {
    if (fd < ROOT) return CHARACTERS;
    if (fd === ROOT) return DIRECTORY;
    const file = this.#open.get(fd);
    return file ? (file.bytes ? REGULAR : DIRECTORY) : null;
  }

  #describe(kind, path, to) {
    this.#bytes(to, 64).fill(0);
    const view = this.#view;
    view.setBigUint64(to + 8, BigInt(numberOf(path)), true);
    view.setUint8(to + 16, kind);
    view.setBigUint64(to + 24, 1n, true);
    view.setBigUint64(to + 32, BigInt(kind === REGULAR ? this.#files.get(path).length : 0), true);
    return OK;
  }

  #scatter(bytes, start, vectors, count) {
    let read = 0;
    for (let i = 0; i < count; ++i) {
      const at = this.#view.getUint32(vectors + 8 * i, true), length = this.#view.getUint32(vectors + 8 * i + 4, true);
      const part = bytes.subarray(Math.min(start + read, bytes.length), Math.min(start + read + length, bytes.length));
      this.#bytes(at, part.length).set(part);
      read += part.length;
      if (part.length < length) break;
    }
    return read;
  }
}

const encoder = new TextEncoder();
const encode = (text) => encoder.encode(`${text}\0`);
const join = (folder, name) => (folder ? `${folder}/${name}` : name);

// A path without "." and "..", which do not lead out of "/".
function tidy(path) {
  const parts = [];
  for (const part of path.split("/"))
    if (part === "..") parts.pop();
    else if (part && part !== ".") parts.push(part);
  return parts.join("/");
}

// A number that a path keeps: Python tells files apart by it.
function numberOf(path) {
  let hash = 7;
  for (let i = 0; i < path.length; ++i) hash = (Math.imul(hash, 31) + path.charCodeAt(i)) >>> 0;
  return hash + 1;
}
