// The page: a row for each technique, publishing, the round trip to the lab, and commands to copy.
// What comes from events is only ever written with textContent and setAttribute.

import { Arrivals, Feed, legible, STRIP_MS } from "./feed.js";
import { Lost, NEVER, NO_ANSWER, Unexplained } from "./base.js";
import { address, beginning, Blocked, follow, post, reasonOf } from "./following.js";
import { NONE, TECHNIQUES } from "./listing.js";

const DRAW_MS = 100; // at most ten times a second, however fast events come
const STRIP_EVERY_MS = 500;
const CLOCK_EVERY_MS = 2000;
const CLOCK_SAMPLES = 16; // the best of these counts
const UPSTREAM_MS = 10_000;
const SELDOM_MS = 5000; // what will not be mended by trying again at once

const arrivals = new Arrivals();
const element = (id) => document.getElementById(id);

// -- rows -------------------------------------------------------------------------------------------------------------

class Row {
  #fields = {};
  #drawing = null;

  constructor(technique) {
    this.feed = new Feed(arrivals, () => this.changed());
    const copy = element("row").content.cloneNode(true);
    this.row = copy.querySelector("tr");
    this.row.dataset.technique = technique.name;
    for (const field of copy.querySelectorAll("[data-field]")) this.#fields[field.dataset.field] = field;
    this.eventMarks = copy.querySelector(".events");
    this.gapMarks = copy.querySelector(".gaps");
    this.#put("title", technique.title);
    element("techniques").append(copy);
    this.draw();
  }

  changed() {
    this.#drawing ??= setTimeout(() => this.draw(), DRAW_MS);
  }

  draw() {
    this.#drawing = null;
    const { feed } = this;
    this.row.dataset.state = feed.state.split(" ")[0];
    this.#put("state", feed.why ? `${feed.state}: ${feed.why}` : feed.state);
    this.#fields.state.title = feed.why; // of which no more than three lines are shown
    this.#put("id", feed.last ? feed.last.id : "");
    this.#put("data", feed.last ? feed.last.text : "none yet");
    this.#put("gap", gapInWords(feed));
    this.row.classList.toggle("gapped", feed.gap !== null);
    this.#put("count", count(feed.count));
    this.#put("irregular", irregular(feed));
    this.#put("bytes", count(feed.bytes));
    this.#put("bytes-per-event", feed.count ? `${count(Math.round(feed.bytes / feed.count))} per event` : "");
    const own = feed.own();
    this.#put("own", own.length ? ms(own.at(-1)) : "–");
    this.#put("own-median", own.length ? `median ${ms(median(own))}` : "");
    const spread = feed.spread();
    this.#put("spread", spread.length ? later(spread.at(-1)) : "–");
    this.#put("spread-median", spread.length ? `median +${ms(median(spread))}` : "");
  }

  drawStrip() {
    const now = performance.now();
    const place = (at) => Math.round((1 - (now - at) / STRIP_MS) * 6000) / 10;
    for (const marks of [this.feed.marks, this.feed.gapMarks]) while (marks[0] < now - STRIP_MS) marks.shift();
    const path = (marks, top) => [...new Set(marks.map(place))].map((x) => `M${x} ${top}V28`).join("");
    this.eventMarks.setAttribute("d", path(this.feed.marks, 10));
    this.gapMarks.setAttribute("d", path(this.feed.gapMarks, 0));
  }

  #put(field, text) {
    const node = this.#fields[field];
    if (node.textContent !== String(text)) node.textContent = text;
  }
}

function gapInWords({ gap, gaps }) {
  if (gap === null) return "";
  const many = gaps > 1 ? `${count(gaps)} gaps, the last` : "gap";
  return `${many} after ${gap.after.slice(0, 40)}, next ${gap.next}`;
}

function irregular({ missing, repeated }) {
  return [missing && `${count(missing)} missing`, repeated && `${count(repeated)} repeated`].filter(Boolean).join(", ");
}

const count = (number) => number.toLocaleString("en");

function ms(value) {
  if (value >= 9999.5) return `${(value / 1000).toFixed(1)} s`;
  return `${value.toFixed(value < 99.95 ? 1 : 0)} ms`;
}

const later = (value) => (value < 0.05 ? "first" : `+${ms(value)}`);

function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

// -- publishing -------------------------------------------------------------------------------------------------------

/** No answer came: the event may have been published, so it is not tried again. */
class Uncertain extends Error {
  uncertain = true;
}

/** Publishes over the WebSocket while it is open, else by POST. */
class Upstream {
  #socket = null;
  #waiting = new Map();
  #ref = 0;

  opened(socket) {
    this.#socket = socket;
  }

  closed(socket, why) {
    if (this.#socket === socket) this.#socket = null;
    const error = new Uncertain(`the WebSocket closed before the lab answered (${why}): look whether it arrives`);
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }

  answered({ published, error, ref }, cursor) {
    const waiting = this.#waiting.get(ref);
    this.#waiting.delete(ref);
    if (error !== undefined) waiting?.reject(new Error(error));
    else waiting?.resolve({ id: published, epoch: cursor?.split("@")[1], by: "over the WebSocket" });
  }

  async publish(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) {
      return { id: await post(text), epoch: newestEpoch(), by: "by POST, since the WebSocket is closed" };
    }
    const ref = (this.#ref += 1);
    const answer = new Promise((resolve, reject) => this.#waiting.set(ref, { resolve, reject }));
    this.#socket.send(JSON.stringify({ publish: text, ref }));
    const late = new Promise((_, reject) => {
      setTimeout(reject, UPSTREAM_MS, new Uncertain("the lab has not answered yet: look whether it arrives"));
    });
    return Promise.race([answer, late]).finally(() => this.#waiting.delete(ref));
  }
}

function newestEpoch() {
  const live = rows.find(({ feed }) => feed.live && feed.cursor) ?? rows[0];
  return live.feed.cursor?.split("@")[1];
}

async function publish(submitted) {
  submitted.preventDefault();
  const pressed = performance.now();
  const input = element("text");
  const outcome = element("outcome");
  try {
    const { id, epoch, by } = await upstream.publish(input.value);
    arrivals.of(`${id}@${epoch}`).pressed = pressed;
    for (const row of rows) row.changed();
    outcome.className = "";
    outcome.textContent = `Published as event ${id}, ${by}.`;
    input.select();
  } catch (error) {
    outcome.className = "bad";
    const perhaps = error.uncertain || error.status === 504; // who gave up waiting does not know
    const again = error instanceof Lost && error.status ? " Try again." : "";
    outcome.textContent = `${perhaps ? "Perhaps not" : "Not"} published: ${error.message}.${again}`.replace("..", ".");
  }
}

// -- the lab and its clock --------------------------------------------------------------------------------------------

let knownLab = null;

/** Ask the lab for its clock again and again: the quickest round trip bounds the error best. */
function watchClock() {
  const socket = new WebSocket(address("browser", { scheme: "ws" }));
  const samples = [];
  let [timer, answered] = [null, false];
  const ask = () => {
    if (!document.hidden && socket.readyState === WebSocket.OPEN) {
      socket.send(JSON.stringify({ clock: performance.now() }));
    }
    timer = setTimeout(ask, samples.length < CLOCK_SAMPLES ? 100 : CLOCK_EVERY_MS);
  };
  socket.onopen = ask;
  socket.onmessage = ({ data }) => {
    const now = performance.now();
    const report = JSON.parse(data);
    answered = true;
    if ("lab" in report) return reached(report.lab);
    const between_ms = (report.sent_ns - report.received_ns) / 1e6;
    const offset_ms = (report.received_ns + report.sent_ns) / 2e6 - (report.clock + now) / 2;
    samples.push({ offset_ms, trip_ms: now - report.clock - between_ms });
    if (samples.length > CLOCK_SAMPLES) samples.shift();
    showClock(samples);
  };
  socket.onclose = async () => {
    clearTimeout(timer);
    element("clock").textContent = "\u00a0";
    const problem = new Unexplained(NO_ANSWER, { upgrade: true });
    const why = answered ? null : await reasonOf(problem, address("browser"), NEVER);
    element("lab").textContent = why ? inWords(why) : "The lab does not answer. This page goes on trying.";
    element("lab").className = "bad";
    setTimeout(watchClock, why ? SELDOM_MS : 1000);
  };
}

/** What is known without the lab's own word. */
function inWords(why) {
  if (why instanceof Blocked) {
    return `The lab answers at ${location.host}, but ${why.message}: an Upgrade does not get to it. So its name and clock are not known here.`;
  }
  if (why instanceof Lost) return `The lab does not answer (${why.message}). This page goes on trying.`;
  return `The lab answers at ${location.host}; its name and its clock are not known here, since ${why.message}`;
}

function reached(lab) {
  const where = location.host;
  const again = knownLab !== null && knownLab !== lab;
  element("lab").textContent = again
    ? `Another lab answers at ${where} now (${lab}): where it cannot go on from what came before, a gap says so.`
    : `Lab ${lab} at ${where}.`;
  element("lab").className = "";
  knownLab = lab;
}

function showClock(samples) {
  const best = samples.reduce((a, b) => (a.trip_ms <= b.trip_ms ? a : b));
  const error_ms = Math.max(best.trip_ms, 0) / 2 + 0.1; // a page's clock ticks in tenths of a millisecond
  element("clock").textContent =
    `Round trip to the lab ${ms(best.trip_ms)}, the best of ${samples.length}; half of it is about the way up. ` +
    `The lab's clock reads ${(best.offset_ms / 1000).toFixed(4)} s more than this page's, ± ${ms(error_ms)}.`;
}

// -- commands ---------------------------------------------------------------------------------------------------------

/** In double quotes, which sh, PowerShell and cmd all take; what the first two read inside them is percent-encoded. */
const quoted = (url) => `"${url.replace(/["$!`\\]/g, (char) => `%${char.charCodeAt(0).toString(16)}`)}"`;

/** A technique as a command: its own, or curl, which shows what comes at once. */
function commandOf({ title, route, half }) {
  const { command = "curl -N", query = {}, scheme = "", what = "" } = half.terminal ?? {};
  return [title + what, `${command} ${quoted(address(route, { scheme, ...query }))}`];
}

function listCommand([title, command]) {
  const item = document.createElement("li");
  const label = document.createElement("span");
  const code = document.createElement("code");
  const button = document.createElement("button");
  [label.textContent, code.textContent, button.textContent, button.type] = [title, command, "Copy", "button"];
  button.setAttribute("aria-label", `Copy the command: ${title}`);
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // without https or a loopback name there is no clipboard
      button.textContent = "Selected";
    }
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  item.append(label, code, button);
  element("commands").append(item);
}

// -- start ------------------------------------------------------------------------------------------------------------

const rows = TECHNIQUES.map((technique) => new Row(technique));
const upstream = new Upstream();

element("publish").addEventListener("submit", publish);
const own = TECHNIQUES.filter(({ half }) => half);
own.filter((one) => !one.bidirectional).map(commandOf).forEach(listCommand);
listCommand(["Publish", `curl --data-binary hello ${quoted(address("events"))}`]);
own.filter((one) => one.bidirectional).map(commandOf).forEach(listCommand);
element("none").textContent = NONE;
element("none").hidden = NONE === "";
const topic = new URLSearchParams(location.search).get("topic");
if (topic) {
  element("topic").textContent = `Topic: ${legible(topic)}.`;
  element("topic").hidden = false;
}
setInterval(() => {
  for (const { feed } of rows) feed.compare(performance.now());
  if (!document.hidden) for (const row of rows) row.drawStrip();
}, STRIP_EVERY_MS);
watchClock();

const cursor = await beginning((why) => rows.forEach(({ feed }) => feed.tell("reconnecting", why)));
TECHNIQUES.forEach(async (technique, index) => {
  const { feed } = rows[index];
  feed.cursor = cursor;
  try {
    follow(feed, technique.route, technique.half ?? (await fromElsewhere(technique)), upstream);
  } catch (error) {
    feed.tell("failed", `its half for a page: ${error.message}`);
  }
});

/** The half of a technique that is not the kit's own: a fault in it is that technique's alone. */
async function fromElsewhere(technique) {
  const half = await import(`./technique-${encodeURIComponent(technique.name)}.js`);
  listCommand(commandOf({ ...technique, half }));
  return half;
}
