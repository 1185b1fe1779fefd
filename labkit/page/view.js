/**
 * What is shown. Nothing that was received becomes markup: all of it goes through `textContent`, shortened, with
 * control characters made visible.
 */

import { median } from "./feed.js";

const SHOWN = 160; // characters of an event's data
const STRIP_MS = 60_000;
const [WIDTH, HEIGHT] = [240, 36];
const numbers = new Intl.NumberFormat("en");

/** Controls, line and paragraph separators, marks that turn the direction of writing, byte order mark. */
const INVISIBLE = /[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

/** Text as it can be shown on one line. */
export function legible(text, limit = SHOWN) {
  const short = text.length > limit ? [...text.slice(0, limit + 1)].slice(0, -1).join("") + "…" : text;
  return short.replace(INVISIBLE, (character) => {
    const code = character.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
  });
}

export function milliseconds(ms) {
  if (ms >= 10_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${ms < 99.95 ? ms.toFixed(1) : Math.round(ms)} ms`;
}

export function bytes(count) {
  if (count < 1e5) return `${numbers.format(count)} B`;
  return count < 1e8 ? `${numbers.format(Math.round(count / 1e3))} kB` : `${numbers.format(Math.round(count / 1e6))} MB`;
}

/** An event's data in words: `[what to show, what it is]`. */
function described({ data, base64 }) {
  if (base64 === undefined) return [legible(data), `text, ${bytes(new TextEncoder().encode(data).byteLength)}`];
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  const head = Array.from(atob(base64.slice(0, 64)), (c) => c.charCodeAt(0).toString(16).padStart(2, "0"));
  const size = (base64.length / 4) * 3 - padding;
  return [head.join(" ") + (size > head.length ? " …" : ""), `binary, ${bytes(size)}, in hexadecimal`];
}

/** One row of the table. */
export class Row {
  #row;
  #fields = {};
  #drawnLast = null;

  constructor(name, title, feed) {
    this.feed = feed;
    this.#row = document.getElementById("row").content.firstElementChild.cloneNode(true);
    this.#row.dataset.technique = name;
    this.#row.querySelector(".title").textContent = title;
    for (const element of this.#row.querySelectorAll("[data-field]")) this.#fields[element.dataset.field] = element;
    this.atLeast = name === "sse" ? "≥ " : ""; // of an event stream a page sees the data and ids only
    document.getElementById("techniques").append(this.#row);
  }

  #put(field, text) {
    const element = this.#fields[field];
    if (element.textContent !== text) element.textContent = text;
  }

  draw() {
    const { feed } = this;
    this.#drawState();
    if (feed.last !== this.#drawnLast) this.#drawLast();
    this.#drawDetail();
    this.#put("count", numbers.format(feed.count));
    this.#put("order", order(feed));
    this.#fields.order.classList.toggle("bad", feed.gaps + feed.faults > 0);
    this.#drawFigure("own", feed.ownLast, feed.own, "");
    this.#drawFigure("spread", feed.spreadLast, feed.spread, "+");
    this.#put("bytes", this.atLeast + bytes(feed.bytes));
    this.#put("bytes-each", feed.count ? `${bytes(Math.round(feed.bytes / feed.count))} each` : "");
    this.drawStrip();
  }

  #drawState() {
    const { state, why } = this.feed;
    const words = state === "waiting" ? `waiting ${legible(why)}` : why ? `${state}: ${legible(why)}` : state;
    this.#put("state", words);
    this.#row.querySelector(".state").dataset.kind = state;
    this.#row.querySelector(".state").title = words;
  }

  #drawLast() {
    this.#drawnLast = this.feed.last;
    const [data, kind] = described(this.feed.last);
    this.#put("id", `#${this.feed.last.id}`);
    this.#put("data", data);
    this.#fields.data.title = data;
    this.kind = kind;
  }

  #drawDetail() {
    const { lastGap } = this.feed;
    const text = lastGap ? legible(lastGap) : (this.kind ?? "");
    this.#put("detail", text);
    this.#fields.detail.title = text;
    this.#fields.detail.classList.toggle("bad", lastGap !== null);
  }

  #drawFigure(field, last, samples, sign) {
    if (last === null) return;
    const figure = last === "caught up" ? last : sign && last === 0 ? "first" : sign + milliseconds(last);
    this.#put(field, figure);
    this.#put(`${field}-median`, samples.length ? `median ${sign}${milliseconds(median(samples))}` : "");
  }

  /** A mark for each event of the last 60 s; marks that would share a place are drawn once. */
  drawStrip() {
    const now = performance.now();
    const places = [new Set(), new Set()];
    for (const [at, isGap] of this.feed.marks) {
      const x = Math.round((1 - (now - at) / STRIP_MS) * WIDTH * 2) / 2;
      if (x >= 0) places[Number(isGap)].add(Math.min(x, WIDTH - 1));
    }
    const path = (xs, top) => [...xs].map((x) => `M${x} ${top}V${HEIGHT}`).join("");
    this.#row.querySelector(".marks").setAttribute("d", path(places[0], 8));
    this.#row.querySelector(".gaps").setAttribute("d", path(places[1], 0));
  }
}

function order({ count, gaps, faults }) {
  const words = [];
  if (gaps) words.push(gaps === 1 ? "1 gap" : `${gaps} gaps`);
  if (faults) words.push(`${faults} out of order`);
  return words.join(", ") || (count ? "in order" : "");
}

/** Commands for a terminal, with this page's own address. */
export function drawCommands(commands) {
  const template = document.getElementById("command").content.firstElementChild;
  for (const [what, command] of commands) {
    const item = template.cloneNode(true);
    const button = item.querySelector("button");
    item.querySelector("span").textContent = what;
    item.querySelector("code").textContent = command;
    button.setAttribute("aria-label", `Copy the command: ${what}`);
    button.addEventListener("click", () => copy(command, item.querySelector("code"), button));
    document.getElementById("commands").append(item);
  }
}

async function copy(text, element, button) {
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(element); // no permission: one key press copies what is selected
    button.textContent = "Selected";
  }
  setTimeout(() => (button.textContent = "Copy"), 1500);
}
