// The page as a client of a lab: its own EventSource, WebSocket and fetch are the subscribers. What arrives is told to
// the lab over its /browser WebSocket, and so also while a cell runs; the widget's comm carries settings only.
// A widget's module is one text: module.py joins this file to those that it imports.

import { Lost, Reader, Refused, pause, size } from "./base.js";
import { find, protocols, under } from "./finding.js";
import { slot, untilHidden, visible, whoHolds } from "./slots.js";
import { TECHNIQUES } from "./techniques.js";
import { View } from "./view.js";

const TELL_MS = 40; // between reports, at least
const MOST_UNKEPT = 20_000; // reports, while the lab does not answer
const FIRST_TRIPS = 12; // of the clock, before anything is subscribed to
const TRIP_EVERY_MS = 2000;
const TICK_MS = 250; // a timer that shows whether timers are slowed down
const LATE_MS = 600; // how much later than due is more than a busy page
const PATIENCE_MS = 2000; // without an answer: something else has the connection, or holds the answer back
const RETRY_MS = [250, 500, 1000, 2000, 3000];

// -- one technique on this page -----------------------------------------------------------------------------------------

class Stream extends Reader {
  state = "connecting";
  why = "";
  count = 0;
  lastId = null;
  answered = false; // by the conversation that runs now

  constructor(name, cursor, page) {
    super();
    [this.name, this.cursor, this.page] = [name, cursor, page];
  }

  tell(state, why = "") {
    if (state === "subscribed") this.answered = true;
    if (this.state === state && this.why === why) return;
    [this.state, this.why] = [state, why];
    this.page.changed(this);
  }

  open(how) {
    this.tell("subscribed", how);
  }

  parked() {
    this.tell("subscribed", "a request is parked");
  }

  broken() {
    this.tell("reconnecting", "the browser does it by itself, with the last event id");
  }

  heldBack(why) {
    this.tell("waiting for an answer", why);
  }

  event(item, cursor, at) {
    this.cursor = cursor;
    this.count += 1;
    this.lastId = item.id;
    this.page.arrived(this, [item.id, at, size(item)]);
  }

  hole({ after, next }, cursor, at) {
    this.cursor = cursor;
    this.page.missed(this, [String(after), next, cursor, at]);
  }
}

/** Whether going on from the cursor is worth trying, after this. */
const passing = (problem) => problem instanceof Lost || (problem instanceof Refused && problem.status >= 500);

// -- this page ------------------------------------------------------------------------------------------------------------

/** A name that a tab keeps through a reload. */
function pageName(key) {
  const drawn = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");
  const place = `labkit-page-${key}`;
  try {
    const name = sessionStorage.getItem(place) ?? drawn();
    sessionStorage.setItem(place, name);
    return { name, another: () => sessionStorage.setItem(place, drawn()) };
  } catch {
    const name = drawn();
    return { name, another: () => {} };
  }
}

const AGAIN = "To have it back, run the cells with labkit.Lab() and labkit.BrowserSubscriber again.";
const SETTINGS = ["key", "token", "lab_id", "scheme", "version", "port", "stream_port", "techniques", "topic", "via", "accept", "poll_interval_s", "while_hidden"];

class Page {
  state = "looking for the lab";
  advice = "";
  through = null;
  streams = new Map();
  clock = null; // {offset_ms, error_ms}
  late_ms = 0; // of a timer, beyond when it was due
  offline = !navigator.onLine;
  #views = new Set();
  #drawing = null;
  #ended = new AbortController();
  #socket = null;
  #serial = 0;
  #report = null; // being filled
  #ready = false; // for reports
  #unkept = []; // sent or to be sent, until the lab says that it has them
  #told_at = 0;
  #timer = null;
  #hiddenSince = document.hidden ? performance.now() : null;
  #retry = new AbortController();

  constructor(model) {
    this.model = model;
    this.settings = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
    this.end = this.end.bind(this);
    const watch = { signal: this.#ended.signal };
    document.addEventListener("visibilitychange", () => this.#looked(), watch);
    addEventListener("offline", () => this.#online(false), watch);
    addEventListener("online", () => this.#online(true), watch);
    model.on("change:closed", this.end);
    this.#tick();
    this.#introduce();
    if (model.get("closed")) this.end();
    else this.#live();
  }

  /** The kernel registers this origin for the widget's token. */
  #introduce() {
    try {
      this.model.send({ origin: location.origin });
    } catch {
      // the kernel is gone; the page says so when the lab does not answer
    }
  }

  get over() {
    return this.#ended.signal.aborted;
  }

  end() {
    if (this.#ended.signal.aborted) return;
    this.state = this.model.get("closed") || "ended";
    this.advice = this.model.get("closed") ? AGAIN : "";
    this.#flush();
    this.clock = null;
    for (const stream of this.streams.values()) [stream.state, stream.why] = ["ended", ""]; // what was, is not
    this.#ended.abort();
    this.#socket?.close();
    this.draw();
  }

  // -- the line to the lab

  async #live() {
    const ended = this.#ended.signal;
    for (let failures = 0; !ended.aborted; failures += 1) {
      const found = await find(this.settings);
      if (ended.aborted) return found.socket?.close();
      if (found.socket) {
        failures = -1;
        this.advice = "";
        await this.#attached(found);
        if (ended.aborted) return;
        this.state = "the lab does not answer; looking for it again";
      } else {
        this.state = "the lab cannot be reached from this page";
        this.advice = this.offline ? "" : found.advice;
      }
      this.draw();
      this.#retry = new AbortController();
      const wait_ms = RETRY_MS[Math.min(Math.max(failures, 0), RETRY_MS.length - 1)];
      await pause(wait_ms, AbortSignal.any([ended, this.#retry.signal]));
    }
  }

  async #attached({ socket, through, address }) {
    this.#socket = socket;
    this.through = { kind: through, address: address(this.settings.port) };
    const gone = new AbortController();
    const name = pageName(this.settings.key);
    let asked = performance.now();
    let last = null;
    let trips = 0;
    let timer;
    const trip = () => {
      asked = performance.now();
      this.#say({ clock: asked, ...(last ? { last } : {}) });
    };
    socket.onmessage = ({ data }) => {
      const at = performance.now();
      const told = JSON.parse(data);
      if ("attached" in told) {
        this.#resume(told.attached);
        trip();
      } else if ("clock" in told) {
        last = [told.clock, at];
        if ("offset_ms" in told) this.clock = told;
        trips = told.trips ?? trips;
        if (trips >= FIRST_TRIPS && !this.#ready) {
          this.#ready = true; // from now on the lab can tell what the page's times mean
          for (const report of this.#unkept) this.#say(report);
          this.#subscribe(address);
        }
        clearTimeout(timer);
        if (trips < FIRST_TRIPS) trip();
        else timer = setTimeout(trip, TRIP_EVERY_MS);
        this.draw();
      } else if ("kept" in told) {
        this.#unkept = this.#unkept.filter((report) => report.report > told.kept);
      }
    };
    const closed = new Promise((resolve) => {
      socket.onclose = ({ code }) => {
        clearTimeout(timer);
        gone.abort();
        if (code === 4001) name.another(); // a copy of this tab has taken its name
        this.#socket = null;
        this.#ready = false;
        resolve();
      };
    });
    this.#say({
      attach: {
        subscriber: this.settings.key,
        page: name.name,
        topic: this.settings.topic,
        through: `${through}: ${address(this.settings.port).href}`,
        version: this.#version(through),
        streams: this.settings.techniques,
      },
    });
    await closed;
  }

  /** The HTTP version of this page's connections: the port's, where it speaks one; for the proxy that of the page itself. */
  #version(through) {
    if (through === "port") return this.settings.version;
    const protocol = performance.getEntriesByType("navigation")[0]?.nextHopProtocol ?? "";
    return { "http/1.1": "1.1", "http/1.0": "1.0", h2: "2", h3: "3" }[protocol] ?? "";
  }

  #resume({ kept, cursors }) {
    this.#serial = Math.max(this.#serial, kept);
    for (const [name, cursor] of Object.entries(cursors)) {
      if (!this.streams.has(name)) this.streams.set(name, new Stream(name, cursor, this));
    }
    this.#unkept = this.#unkept.filter((report) => report.report > kept);
    this.state = `attached through ${this.through.kind === "port" ? "the lab's own port" : "jupyter-server-proxy"}`;
    this.#be();
  }

  #subscribe(address) {
    for (const stream of this.streams.values()) {
      if (!stream.running) this.#follow(stream, address);
    }
  }

  #say(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  // -- reports: at once if there was none for a while, since timers of hidden pages are slow

  #part(part, name) {
    this.#report ??= { report: (this.#serial += 1) };
    this.#report[part] ??= {};
    if (name !== undefined) this.#report[part][name] ??= [];
    return this.#report[part];
  }

  arrived(stream, row) {
    this.#part("arrivals", stream.name)[stream.name].push(row);
    this.#part("cursors")[stream.name] = stream.cursor;
    this.#tellSoon();
  }

  missed(stream, row) {
    this.#part("gaps", stream.name)[stream.name].push(row);
    this.#part("cursors")[stream.name] = stream.cursor;
    this.#tellSoon();
  }

  changed(stream) {
    this.#part("states")[stream.name] = [stream.state, stream.why];
    this.#tellSoon();
  }

  #be() {
    this.#report ??= { report: (this.#serial += 1) };
    this.#report.presence = { hidden: document.hidden, late_ms: Math.round(this.late_ms) };
    this.#tellSoon();
  }

  #tellSoon() {
    this.draw();
    if (performance.now() - this.#told_at >= TELL_MS) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), TELL_MS);
  }

  #flush() {
    clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#report === null) return;
    this.#told_at = performance.now();
    this.#unkept.push(this.#report);
    if (this.#unkept.length > MOST_UNKEPT) this.#unkept.shift();
    if (this.#ready) this.#say(this.#report);
    this.#report = null;
  }

  // -- techniques

  async #follow(stream, address) {
    stream.running = true;
    const { route, receive, pauses = true, held = true } = TECHNIQUES[stream.name];
    const { settings, model } = this;
    const ended = this.#ended.signal;
    const given = {
      address: (query, scheme) => {
        const token = scheme ? null : settings.token; // a WebSocket has it among its subprotocols
        return under(address(settings.stream_port), route, { scheme, topic: settings.topic, token, ...query });
      },
      protocols: protocols(settings.token),
      settings,
      model,
    };
    const hides = pauses && this.settings.while_hidden === "pause";
    for (let failures = 0; !ended.aborted; failures += 1) {
      if (hides && document.hidden) {
        stream.tell("hidden", "goes on when this tab is seen");
        await visible(ended);
        continue;
      }
      const away = hides ? AbortSignal.any([ended, untilHidden(ended)]) : ended;
      if (held) stream.tell("waiting for a connection", whoHolds("other tabs and subscribers hold the five that a page may hold"));
      const release = held ? await slot(away) : () => {};
      if (release === null) continue;
      const until = release.turn ? AbortSignal.any([away, release.turn]) : away;
      if (stream.state !== "reconnecting") stream.tell("connecting");
      stream.answered = false;
      const patience = setTimeout(() => {
        if (stream.answered) return;
        const why = "no answer yet: the browser's six connections to this address are taken, or something on the way holds the answer back";
        stream.tell("waiting for an answer", why);
      }, PATIENCE_MS);
      let problem = null;
      try {
        await receive(stream, { ...given, signal: until });
      } catch (error) {
        problem = error;
      }
      clearTimeout(patience);
      release();
      if (until.aborted) continue;
      if (stream.answered) failures = 0;
      if (passing(problem)) stream.tell("reconnecting", problem.message);
      else stream.tell("failed", problem?.message ?? "ended");
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], away);
    }
  }

  // -- how this page is

  #looked() {
    this.#hiddenSince = document.hidden ? performance.now() : null;
    this.#be();
  }

  #online(is) {
    this.offline = !is;
    if (is) this.#retry.abort();
    this.draw();
  }

  async #tick() {
    while (!this.#ended.signal.aborted) {
      const began = performance.now();
      await pause(TICK_MS, this.#ended.signal);
      const late_ms = performance.now() - began - TICK_MS;
      const was = this.late_ms >= LATE_MS;
      this.late_ms = Math.max(0, late_ms);
      if (was !== this.late_ms >= LATE_MS) this.#be();
    }
  }

  presence() {
    const words = [];
    if (this.offline) words.push("This page has no network.");
    if (document.hidden) words.push(`This page is hidden since ${Math.round((performance.now() - this.#hiddenSince) / 1000)} s.`);
    if (this.late_ms >= LATE_MS) words.push(`Its timers are slowed down: one of ${TICK_MS} ms takes ${Math.round(this.late_ms + TICK_MS)} ms.`);
    const starved = [...this.streams.values()].filter(({ state }) => state.startsWith("waiting")).map(({ name }) => name);
    if (starved.length) words.push(`Starved: ${starved.join(", ")}.`);
    return words.join(" ") || "This page is visible.";
  }

  // -- views

  show(view) {
    this.#views.add(view);
    view.draw(this);
    return () => this.#views.delete(view);
  }

  draw() {
    this.#drawing ??= setTimeout(() => {
      this.#drawing = null;
      for (const view of this.#views) view.draw(this);
    }, 100);
  }
}

const pages = new Map();

export default {
  initialize({ model }) {
    const page = new Page(model);
    pages.set(model.get("key"), page);
    return () => {
      page.end();
      pages.delete(model.get("key"));
    };
  },
  render({ model, el }) {
    return pages.get(model.get("key"))?.show(new View(el));
  },
};
