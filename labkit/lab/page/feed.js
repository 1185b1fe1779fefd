// What a technique has received on this page: its state in words, its place in the log, its counts. No sockets here.

import { HELD_BACK, Reader, size } from "./base.js";

const RECENT = 200; // events that the medians are taken over
const KNOWN = 2000; // events whose first arrival is remembered
const SHOWN = 160; // characters of an event's data
export const STRIP_MS = 60_000;
const HELD_MS = 5000; // behind another technique: no network does that
const MARKS = 1200; // in a strip, however fast events come

/** When each event came to this page first, and when this page published it, if it did. Times by performance.now(). */
export class Arrivals {
  #known = new Map();

  of(cursor) {
    let known = this.#known.get(cursor);
    if (known === undefined) {
      this.#known.set(cursor, (known = { first: null, pressed: null }));
      if (this.#known.size > KNOWN) this.#known.delete(this.#known.keys().next().value);
    }
    return known;
  }

  /** When an event came to this page, by any technique; null if it has not. */
  first(cursor) {
    return this.#known.get(cursor)?.first ?? null;
  }

  arrived(cursor, at) {
    const known = this.of(cursor);
    known.first ??= at;
    return known;
  }
}

export class Feed extends Reader {
  state = "connecting";
  why = "";
  count = 0;
  bytes = 0;
  missing = 0; // ids skipped without a gap being told: a fault of the lab or of this page
  repeated = 0;
  gaps = 0;
  gap = null; // the newest one
  last = null; // the newest event: {id, text}
  recent = [];
  marks = [];
  gapMarks = [];
  reached = false; // an answer came since it was last lost
  streams = false; // its events come as they happen, in one answer
  #live = 0; // since when it has been connected without a break

  constructor(arrivals, changed) {
    super();
    this.arrivals = arrivals;
    this.changed = changed;
  }

  get live() {
    return this.state === "connected" || this.state === "parked";
  }

  /** Say how things stand: connecting, connected, parked, waiting for a connection, held back, reconnecting, hidden, failed. */
  tell(state, why = "") {
    const was = this.live;
    if (this.state === state && this.why === why) return;
    [this.state, this.why] = [state, why];
    if (this.live) this.reached = true;
    if (this.live && !was) this.#live = performance.now();
    this.changed();
  }

  open(how) {
    this.tell("connected", how?.replace(/ (\S+)$/, "\u00a0$1")); // a figure and its unit stay on one line
  }

  parked() {
    this.tell("parked");
  }

  broken() {
    this.tell("reconnecting", "the browser does it by itself");
  }

  heldBack(why) {
    this.tell("held back", why);
  }

  /** Look whether another technique had the next event long ago: a head may pass where a body does not. */
  compare(now) {
    const [n, epoch] = this.cursor?.split("@") ?? [];
    const first = this.arrivals.first(`${Number(n) + 1}@${epoch}`);
    if (this.streams && this.state === "connected" && first !== null && now - first > HELD_MS) this.heldBack(HELD_BACK);
  }

  received(bytes) {
    this.bytes += bytes;
    this.changed();
  }

  event(item, cursor, at) {
    if (this.state === "held back") this.open();
    const held = this.cursor === null ? item.id - 1 : Number.parseInt(this.cursor, 10);
    if (item.id <= held) {
      this.repeated += 1;
    } else {
      this.missing += item.id - held - 1;
      this.cursor = cursor;
    }
    this.count += 1;
    this.last = { id: item.id, text: "base64" in item ? binary(item) : legible(item.data) };
    this.recent.push({ known: this.arrivals.arrived(cursor, at), at, live: this.#live });
    if (this.recent.length > RECENT) this.recent.shift();
    this.marks.push(at);
    if (this.marks.length > MARKS) this.marks.shift();
    this.changed();
  }

  hole(gap, cursor, at) {
    this.gaps += 1;
    this.gap = { after: gap.after, next: gap.next };
    this.cursor = cursor;
    this.gapMarks.push(at);
    this.changed();
  }

  /** Milliseconds from publishing on this page to arrival, oldest first; what was caught up on is left out. */
  own() {
    return this.recent
      .filter(({ known, at, live }) => known.pressed !== null && known.pressed >= live && at >= known.pressed)
      .map(({ known, at }) => at - known.pressed);
  }

  /** Milliseconds after the fastest technique on this page, oldest first; what was caught up on is left out. */
  spread() {
    return this.recent.filter(({ known, live }) => known.first >= live).map(({ known, at }) => at - known.first);
  }
}

/** The start of a text, with what would be invisible, break the line or turn the writing direction made visible. */
export function legible(text) {
  if (text === "") return "(empty)";
  const start = Array.from(text.slice(0, 2 * SHOWN)).slice(0, SHOWN);
  const shown = start.map(visible).join("");
  return shown.length && start.join("").length < text.length
    ? `${shown}… (${text.length.toLocaleString("en")} characters)`
    : shown;
}

function visible(character) {
  const code = character.codePointAt(0);
  if (code < 0x20) return String.fromCodePoint(0x2400 + code); // Control Pictures: ␍ for CR
  const joins = code === 0x200c || code === 0x200d; // parts of words and of emoji
  if (!joins && /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(character)) {
    return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  }
  return character;
}

function binary(item) {
  const bytes = size(item);
  const start = Array.from(atob(item.base64.slice(0, 32)), (c) => c.charCodeAt(0).toString(16).padStart(2, "0"));
  return `binary, ${bytes.toLocaleString("en")} bytes: ${start.join(" ")}${bytes > start.length ? " …" : ""}`;
}
