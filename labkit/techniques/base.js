// What the techniques' halves for a page stand on. Each is a module of its own beside the Python file:
//
//   export async function receive(reader, { address, signal, settings, protocols, upstream }) { ... }
//
// runs one conversation until it ends, and throws when it breaks: whoever called it begins another one from
// `reader.cursor`. `address(query, scheme)` is the technique's own route; `signal` fires when the page wants the
// connection back. `export const held = false` says that it does not keep one of the browser's six connections for as
// long as it runs, `pauses = false` that it goes on while the page is hidden, `terminal` what to show as a command.

export const ANSWER_MS = 10_000; // to answer what is not held
const HELD_MS = 5000; // until an answer that has not begun is asked after
export const NO_ANSWER = "the lab does not answer";
export const HELD_BACK = "nothing comes until the answer ends";
export const NEVER = new AbortController().signal;

/** The connection broke: going on from the cursor is worth trying. */
export class Lost extends Error {}

/** Something on the way, or a lab that has no room, says that there is no answer now. */
export class Unreached extends Lost {
  constructor(status, text) {
    super(`HTTP ${status}${text || ": something on the way does not reach the lab"}`);
    this.status = status;
  }
}

/** The same, of an interface that does not tell a page whether it was refused, or its upgrade dropped on the way. */
export class Unexplained extends Lost {
  constructor(message, { upgrade = false } = {}) {
    super(message);
    this.upgrade = upgrade;
  }
}

/** An answer that says no. */
export class Refused extends Error {
  constructor(status, text) {
    super(`HTTP ${status}${text || ": not from a lab"}`);
    this.status = status;
  }
}

/** What one technique receives on one page, and where it goes on from. A page says what it does with it. */
export class Reader {
  cursor = null; // "17@k3f9"

  tell(state, why) {} // in words
  open(how = "") {} // the lab has answered
  parked() {} // the lab has answered, and holds a request
  broken() {} // the browser reconnects by itself
  heldBack(why) {} // the lab answers, and what it answers here does not come
  received(bytes) {}
  event(item, cursor, at) {} // item: {id, data} or {id, base64}; at: performance.now()
  hole(gap, cursor, at) {} // gap: {after, next}

  /** One item of a stream: an event, a gap, where it begins, or why it ends. */
  read(item, at, epoch = this.cursor?.split("@")[1]) {
    if ("id" in item) this.event(item, `${item.id}@${epoch}`, at);
    else if ("gap" in item) this.hole(item.gap, item.cursor, at);
    else if ("cursor" in item) this.cursor = item.cursor;
    else if ("closing" in item) this.tell("reconnecting", `the lab says: ${item.closing}`);
  }

  /** The answer to a poll. */
  answer(page, at) {
    const epoch = page.cursor.split("@")[1];
    if (page.gap) this.hole(page.gap, `${page.gap.next - 1}@${epoch}`, at);
    for (const item of page.events) this.event(item, `${item.id}@${epoch}`, at);
    this.cursor = page.cursor;
  }
}

const encoder = new TextEncoder();
export const utf8 = (text) => encoder.encode(text).length;

/** How many bytes an event's data has. */
export const size = (item) =>
  "base64" in item ? Math.floor((item.base64.length * 3) / 4) - (item.base64.match(/=*$/)?.[0].length ?? 0) : utf8(item.data);

/** Wait, but not beyond `away`. */
export function pause(ms, away = NEVER) {
  return new Promise((resolve) => {
    const ended = new AbortController();
    const end = () => {
      clearTimeout(timer);
      ended.abort();
      resolve();
    };
    const timer = setTimeout(end, ms);
    away.addEventListener("abort", end, { signal: ended.signal });
    if (away.aborted) end();
  });
}

/** Resolves when `away` fires; rejects with what `begin` hands to the function that it is given. */
export function untilAway(away, begin) {
  const ended = new AbortController();
  return new Promise((resolve, reject) => {
    away.addEventListener("abort", resolve, { signal: ended.signal });
    if (away.aborted) resolve();
    else begin(reject);
  }).finally(() => ended.abort());
}

/** What the network refuses, with this reason. */
export const orLost = (promise, reason = NO_ANSWER) =>
  promise.catch(() => {
    throw new Lost(reason);
  });

/** A signal that follows `away`, and fires by itself `silence_ms` after the last sign of life. */
export class Watch {
  #control = new AbortController();
  #ended = new AbortController();
  #timer;

  constructor(away, silence_ms) {
    this.silence_ms = silence_ms;
    if (away.aborted) this.#control.abort();
    away.addEventListener("abort", () => this.#control.abort(), { signal: this.#ended.signal });
    this.alive();
  }

  get signal() {
    return this.#control.signal;
  }

  alive() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#control.abort(), this.silence_ms);
  }

  end() {
    clearTimeout(this.#timer);
    this.#ended.abort();
    this.#control.abort(); // an answer that is not read to its end must not keep its connection
  }
}

export async function ask(url, signal, options = {}) {
  const response = await orLost(fetch(url, { cache: "no-store", signal, ...options }));
  if (response.ok) return response;
  const is_page = response.headers.get("Content-Type")?.includes("html"); // of a server on the way, for a person
  const text = is_page ? "" : (await orLost(response.text())).trim();
  const Kind = response.status >= 502 && response.status <= 504 ? Unreached : Refused;
  throw new Kind(response.status, text && `: ${text.slice(0, 200)}`);
}

/**
 * Looks after a stream that says nothing, although a lab begins each with where it begins: while a HEAD of the same
 * address is answered, the lab is there, and something on the way holds the stream back (RFC 6202 section 3.2).
 */
export class Silence {
  held = false;
  #timer;
  #ended = new AbortController();

  constructor(reader, url) {
    this.#timer = setTimeout(() => this.#look(reader, url), HELD_MS);
  }

  async #look(reader, url) {
    try {
      await ask(url, AbortSignal.any([this.#ended.signal, AbortSignal.timeout(ANSWER_MS)]), { method: "HEAD" });
    } catch {
      return; // then that is not known
    }
    if (this.#ended.signal.aborted) return;
    this.held = true;
    reader.heldBack(HELD_BACK);
  }

  /** It speaks, or is over. */
  end() {
    clearTimeout(this.#timer);
    this.#ended.abort();
    this.held = false;
  }
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    throw new Refused(200, ": something else than a lab answers there");
  }
}

/** Ask once for one whole JSON body: `{json, bytes, at}`. */
export async function askWhole(url, away, limit_ms = ANSWER_MS, options = {}) {
  const watch = new Watch(away, limit_ms);
  try {
    const body = await orLost((await ask(url, watch.signal, options)).arrayBuffer());
    return { at: performance.now(), bytes: body.byteLength, json: read(new TextDecoder().decode(body)) };
  } finally {
    watch.end();
  }
}
