// The page as a client of a lab: its own EventSource, WebSocket and fetch are the subscribers. What arrives is told to
// the lab over its /browser WebSocket, and so also while a cell runs; the widget's comm carries settings only. Text of
// events is never drawn, and all else only by textContent.

const PORT_MS = 1000; // to answer on the port itself
const PROXY_MS = 5000;
const TELL_MS = 40; // between reports, at least
const MOST_UNKEPT = 20_000; // reports, while the lab does not answer
const FIRST_TRIPS = 12; // of the clock, before anything is subscribed to
const TRIP_EVERY_MS = 2000;
const TICK_MS = 250; // a timer that shows whether timers are slowed down
const LATE_MS = 600; // how much later than due is more than a busy page
const HOLD_S = 30; // RFC 6202 section 5.5
const ANSWER_MS = 10_000;
const SILENCE_MS = 60_000; // of a stream: four heartbeats
const PATIENCE_MS = 2000; // without an answer: something else has the connection, or holds the answer back
const RETRY_MS = [250, 500, 1000, 2000, 3000];
const SLOTS = ["labkit-slot-0", "labkit-slot-1", "labkit-slot-2", "labkit-slot-3", "labkit-slot-4"];
const WITHOUT_LOCKS = 2;
const NEVER = new AbortController().signal;
const NO_ANSWER = "the lab does not answer";

class Lost extends Error {} // going on from the cursor is worth trying
class Refused extends Error {}

const utf8 = (text) => new TextEncoder().encode(text).length;
const size = (item) =>
  "base64" in item ? Math.floor((item.base64.length * 3) / 4) - (item.base64.match(/=*$/)?.[0].length ?? 0) : utf8(item.data);

function pause(ms, away = NEVER) {
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

// -- where the lab is -------------------------------------------------------------------------------------------------

/** The Jupyter server's base_url: from JupyterLab and Notebook 7, or from the classic notebook; null elsewhere. */
function baseUrl() {
  try {
    return JSON.parse(document.getElementById("jupyter-config-data").textContent).baseUrl ?? null;
  } catch {
    return document.body?.dataset?.baseUrl ?? null;
  }
}

const atPort = (port) => new URL(`http://127.0.0.1:${port}/`);
const atProxy = (base, port) => new URL(`${base.replace(/\/?$/, "/")}proxy/${port}/`, location.origin);

/** A route below an address, with a query; `ws` for a WebSocket. */
function under(address, route, { ws = false, ...query }) {
  const url = new URL(route, address);
  for (const [name, value] of Object.entries(query)) if (value != null && value !== "") url.searchParams.set(name, value);
  if (ws) return url.href.replace(/^http/, "ws");
  // a JupyterHub asks for it, even for a GET, and an EventSource has no headers to put it into
  const xsrf = document.cookie.match(/\b_xsrf=([^;]*)/)?.[1];
  if (url.origin === location.origin && xsrf) url.searchParams.set("_xsrf", decodeURIComponent(xsrf));
  return url.href;
}

/** The token as a subprotocol: jupyter-server-proxy writes the addresses of WebSockets into its log. */
const protocols = (token) => ["labkit", token];

/** Open /browser there: resolves to the socket if it answers as this lab, else to the reason why not. */
function reach(address, token, labId, limit_ms) {
  return new Promise((resolve) => {
    let socket;
    const end = (found) => {
      clearTimeout(timer);
      if (found !== socket) socket?.close();
      if (socket) socket.onmessage = socket.onclose = null;
      resolve(found);
    };
    const timer = setTimeout(() => end("no answer in time"), limit_ms);
    try {
      socket = new WebSocket(under(address, "browser", { ws: true }), protocols(token));
    } catch {
      return end("this page may not open a WebSocket there");
    }
    socket.onclose = () => end("no connection");
    socket.onmessage = ({ data }) => {
      try {
        end(JSON.parse(data).lab === labId ? socket : "another lab answers there");
      } catch {
        end("something else answers there");
      }
    };
  });
}

/** Why the Jupyter server's proxy does not lead to the lab, as advice. */
async function proxyTrouble(address, token) {
  try {
    const answer = await fetch(under(address, "", { token }), { cache: "no-store" });
    if (answer.status === 404) return "The Jupyter server has no jupyter-server-proxy: install it there (pip install jupyter-server-proxy) and restart the Jupyter server.";
    if (answer.status === 403) return `jupyter-server-proxy answers 403: ${(await answer.text()).trim().slice(0, 160)}`;
    if (answer.status >= 500) return "jupyter-server-proxy is there but cannot reach the lab: is the kernel on another machine than the Jupyter server, or the lab closed?";
    return "jupyter-server-proxy is there, but lets no WebSocket through: something before it stops them.";
  } catch {
    return "The Jupyter server does not answer.";
  }
}

const ALLOW = "Or let this page reach your own machine: allow local network access for it in the site settings of the browser.";

async function find(settings) {
  const { port, token, lab_id: labId, via } = settings;
  const base = baseUrl();
  const tried = [];
  if (via !== "proxy") {
    const found = await reach(atPort(port), token, labId, PORT_MS);
    if (found instanceof WebSocket) return { socket: found, through: "port", address: atPort };
    tried.push(`127.0.0.1:${port}: ${found}.`);
  }
  if (via !== "port" && base !== null) {
    const address = (port_) => atProxy(base, port_);
    const found = await reach(address(port), token, labId, PROXY_MS);
    if (found instanceof WebSocket) return { socket: found, through: "proxy", address };
    tried.push(`${address(port).pathname}: ${found}. ${await proxyTrouble(address(port), token)}`);
  }
  if (base === null) {
    tried.push("This page is not served by a Jupyter server (VS Code, Colab and the like), so only a lab on this very machine can be reached. JupyterLab or Notebook 7 with jupyter-server-proxy reach one anywhere.");
  }
  return { advice: [...tried, ...(via !== "proxy" ? [ALLOW] : [])].join(" ") };
}

// -- connections are shared by all tabs: held requests take one of five slots -------------------------------------------

let held = 0;

/** Resolves to what gives the slot back; to null if `away` fired first. */
function slot(away) {
  if (!navigator.locks) return withoutLocks(away);
  return new Promise((resolve, reject) => {
    const others = new AbortController();
    const leave = () => {
      others.abort();
      resolve(null);
    };
    if (away.aborted) return leave();
    away.addEventListener("abort", leave, { signal: others.signal });
    const granted = () => {
      if (others.signal.aborted) return undefined;
      others.abort();
      return new Promise((release) => resolve(release));
    };
    for (const name of SLOTS) {
      navigator.locks.request(name, { signal: others.signal }, granted).catch((error) => {
        if (error.name !== "AbortError") reject(error);
      });
    }
  });
}

async function withoutLocks(away) {
  while (held >= WITHOUT_LOCKS && !away.aborted) await pause(200, away);
  if (away.aborted) return null;
  held += 1;
  return () => {
    held -= 1;
  };
}

// -- one technique on this page -----------------------------------------------------------------------------------------

class Stream {
  state = "connecting";
  why = "";
  count = 0;
  lastId = null;
  answered = false; // by the conversation that runs now

  constructor(name, cursor, page) {
    [this.name, this.cursor, this.page] = [name, cursor, page];
  }

  tell(state, why = "") {
    if (state === "subscribed") this.answered = true;
    if (this.state === state && this.why === why) return;
    [this.state, this.why] = [state, why];
    this.page.changed(this);
  }

  event(id, epoch, bytes, at) {
    this.cursor = `${id}@${epoch ?? this.cursor.split("@")[1]}`;
    this.count += 1;
    this.lastId = id;
    this.page.arrived(this, [id, at, bytes]);
  }

  gap({ after, next }, cursor, at) {
    this.cursor = cursor;
    this.page.missed(this, [String(after), next, cursor, at]);
  }

  /** One item of a stream: an event, a gap, where it begins, or why it ends. */
  read(item, at) {
    if ("id" in item) this.event(item.id, null, size(item), at);
    else if ("gap" in item) this.gap(item.gap, item.cursor, at);
    else if ("cursor" in item) this.cursor = item.cursor;
    else if ("closing" in item) this.tell("reconnecting", `the lab says: ${item.closing}`);
  }

  /** The answer to a poll. */
  answer(page, at) {
    const epoch = page.cursor.split("@")[1];
    if (page.gap) this.gap(page.gap, `${page.gap.next - 1}@${epoch}`, at);
    for (const item of page.events) this.event(item.id, epoch, size(item), at);
    this.cursor = page.cursor;
  }
}

/** A signal that follows `away`, and fires by itself after a silence. */
class Watch {
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
    this.#control.abort();
  }
}

const orLost = (promise, reason = NO_ANSWER) =>
  promise.catch(() => {
    throw new Lost(reason);
  });

async function ask(url, signal, headers = {}) {
  const response = await orLost(fetch(url, { cache: "no-store", signal, headers }));
  if (!response.ok) {
    const Kind = response.status >= 500 ? Lost : Refused;
    throw new Kind(`HTTP ${response.status}: ${(await orLost(response.text())).trim().slice(0, 200)}`);
  }
  return response;
}

async function askWhole(url, away, limit_ms = ANSWER_MS) {
  const watch = new Watch(away, limit_ms);
  try {
    const text = await orLost((await ask(url, watch.signal)).text());
    return { at: performance.now(), page: JSON.parse(text) };
  } finally {
    watch.end();
  }
}

// Each of these runs one conversation until it ends, and throws when it breaks.

/** RFC 6202 section 2.1: from the start of one poll to the start of the next; at once where there is more. */
async function polling(stream, away, { url, settings }) {
  for (let [more, next] = [false, 0]; !away.aborted; ) {
    if (!more) next = performance.now() + settings.poll_interval_s * 1000;
    const { page, at } = await askWhole(url("polling", { after: stream.cursor }), away);
    stream.tell("subscribed", `asks every ${settings.poll_interval_s} s`);
    stream.answer(page, at);
    more = page.more === true;
    if (!more) await pause(next - performance.now(), away);
  }
}

/** RFC 6202 section 2: held until there is something to say. */
async function longPolling(stream, away, { url }) {
  let hold_s = 0; // the first is answered at once: only then is it known that the next one is parked
  while (!away.aborted) {
    const asked = url("long-polling", { after: stream.cursor, timeout: hold_s });
    const { page, at } = await askWhole(asked, away, hold_s * 1000 + ANSWER_MS);
    stream.tell("subscribed", "a request is parked");
    stream.answer(page, at);
    hold_s = HOLD_S;
  }
}

/** RFC 6202 section 3: one response that does not end, a line of JSON for each event. */
async function httpStreaming(stream, away, { url, settings }) {
  const watch = new Watch(away, SILENCE_MS);
  try {
    const headers = settings.accept ? { Accept: settings.accept } : {};
    const response = await ask(url("http-streaming", { after: stream.cursor }), watch.signal, headers);
    stream.tell("subscribed");
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (let rest = ""; ; ) {
      const { done, value } = await orLost(reader.read(), "the connection was lost");
      if (done) throw new Lost("the lab ended the response");
      const at = performance.now();
      watch.alive();
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n"); // pieces are not events
      rest = lines.pop();
      for (const line of lines) if (line) stream.read(JSON.parse(line), at);
    }
  } finally {
    watch.end();
  }
}

/** WHATWG HTML section 9.2. The browser reconnects by itself, with the last id; only a refusal ends it. */
async function serverSentEvents(stream, away, { url }) {
  const source = new EventSource(url("sse", { after: stream.cursor }));
  const ended = new AbortController();
  try {
    await new Promise((resolve, reject) => {
      away.addEventListener("abort", resolve, { signal: ended.signal });
      source.onopen = () => stream.tell("subscribed");
      source.onmessage = ({ data, lastEventId }) => {
        const at = performance.now();
        const [id, epoch] = lastEventId.split("@");
        stream.event(Number(id), epoch, utf8(data), at);
      };
      source.addEventListener("json", ({ data, lastEventId }) => {
        const at = performance.now();
        stream.event(JSON.parse(data).id, lastEventId.split("@")[1], size(JSON.parse(data)), at);
      });
      for (const type of ["gap", "closing"]) {
        source.addEventListener(type, ({ data }) => stream.read(JSON.parse(data), performance.now()));
      }
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) reject(new Lost("the event stream ended for good"));
        else stream.tell("reconnecting", "the browser does it by itself, with the last event id");
      };
    });
  } finally {
    ended.abort();
    source.close();
  }
}

/** RFC 6455: one message for each event. */
async function webSocket(stream, away, { url, settings }) {
  const address = url("websocket", { ws: true, after: stream.cursor, token: null });
  const socket = new WebSocket(address, protocols(settings.token));
  const ended = new AbortController();
  try {
    await new Promise((resolve, reject) => {
      away.addEventListener("abort", resolve, { signal: ended.signal });
      socket.onopen = () => stream.tell("subscribed");
      socket.onmessage = ({ data }) => stream.read(JSON.parse(data), performance.now());
      socket.onclose = ({ code, reason }) => reject(new Lost(reason || (code === 1006 ? NO_ANSWER : `closed: ${code}`)));
    });
  } finally {
    ended.abort();
    socket.close();
  }
}

/** The widget's own comm: the kernel sends events in custom messages. */
async function notebookComm(stream, away, { model }) {
  const take = (message) => {
    const at = performance.now();
    for (const item of message?.events ?? []) stream.event(item.id, item.cursor.split("@")[1], size(item), at);
  };
  stream.tell("subscribed", "the notebook's own connection");
  model.on("msg:custom", take);
  await new Promise((resolve) => away.addEventListener("abort", resolve));
  model.off("msg:custom", take);
}

// `held`: takes one of the browser's six connections for as long as it runs
const TECHNIQUES = {
  polling: { converse: polling, pauses: true },
  "long-polling": { converse: longPolling, pauses: true, held: true },
  "http-streaming": { converse: httpStreaming, pauses: true, held: true },
  sse: { converse: serverSentEvents, pauses: true, held: true },
  websocket: { converse: webSocket },
  "notebook-comm": { converse: notebookComm },
};

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

const SETTINGS = ["key", "token", "lab_id", "port", "stream_port", "techniques", "topic", "via", "accept", "poll_interval_s", "while_hidden"];

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
    this.#flush();
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

  /** The HTTP version of this page's connections: known for the port; for the proxy it is that of the page itself. */
  #version(through) {
    if (through === "port") return "1.1";
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
    const { converse, pauses, held: holds } = TECHNIQUES[stream.name];
    const ended = this.#ended.signal;
    const query = { topic: this.settings.topic, token: this.settings.token };
    const url = (route, more) => under(address(this.settings.stream_port), route, { ...query, ...more });
    const hides = pauses && this.settings.while_hidden === "pause";
    for (let failures = 0; !ended.aborted; failures += 1) {
      if (hides && document.hidden) {
        stream.tell("hidden", "goes on when this tab is seen");
        await this.#seen(ended);
        continue;
      }
      const away = hides ? AbortSignal.any([ended, this.#untilHidden(ended)]) : ended;
      if (holds) stream.tell("waiting for a connection", "other tabs and subscribers hold the five that a page may hold");
      const release = holds ? await slot(away) : () => {};
      if (release === null) continue;
      if (stream.state !== "reconnecting") stream.tell("connecting");
      stream.answered = false;
      const patience = setTimeout(() => {
        if (stream.answered) return;
        const why = "no answer yet: the browser's six connections to this address are taken, or something on the way holds the answer back";
        stream.tell("waiting for an answer", why);
      }, PATIENCE_MS);
      let problem = null;
      try {
        await converse(stream, away, { url, settings: this.settings, model: this.model });
      } catch (error) {
        problem = error;
      }
      clearTimeout(patience);
      release();
      if (away.aborted) continue;
      if (stream.answered) failures = 0;
      if (problem instanceof Lost) stream.tell("reconnecting", problem.message);
      else stream.tell("failed", problem?.message ?? "ended");
      await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)], away);
    }
  }

  #seen(ended) {
    return new Promise((resolve) => {
      const look = () => {
        if (document.hidden && !ended.aborted) return;
        document.removeEventListener("visibilitychange", look);
        resolve();
      };
      document.addEventListener("visibilitychange", look);
      ended.addEventListener("abort", look);
      look();
    });
  }

  #untilHidden(ended) {
    const away = new AbortController();
    const look = () => {
      if (document.hidden) away.abort();
    };
    document.addEventListener("visibilitychange", look, { signal: AbortSignal.any([away.signal, ended]) });
    return away.signal;
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

// -- what is shown --------------------------------------------------------------------------------------------------------

function make(tag, parent, properties = {}) {
  const element = document.createElement(tag);
  Object.assign(element, properties);
  parent.append(element);
  return element;
}

class View {
  #rows = new Map();

  constructor(el) {
    const root = make("div", el, { className: "labkit-browser" });
    root.style.cssText = "font-size: var(--jp-ui-font-size1, 13px); line-height: 1.5; max-width: 60em";
    this.head = make("p", root, { role: "status" });
    this.advice = make("p", root);
    this.list = make("ul", root);
    this.presence = make("p", root, { role: "status" });
    this.clock = make("p", root);
    for (const p of [this.head, this.advice, this.presence, this.clock, this.list]) p.style.margin = "0";
    this.head.style.fontWeight = "bold";
  }

  draw(page) {
    put(this.head, `This page as a subscriber: ${page.offline && !page.over ? "this page has lost its network" : page.state}.`);
    put(this.advice, page.advice);
    for (const stream of page.streams.values()) {
      if (!this.#rows.has(stream.name)) this.#rows.set(stream.name, make("li", this.list));
      const state = stream.why ? `${stream.state} (${stream.why})` : stream.state;
      const last = stream.lastId === null ? "" : `, last id ${stream.lastId}`;
      const through = stream.name === "notebook-comm" ? "" : ` through ${page.through?.address.href ?? "?"}`;
      put(this.#rows.get(stream.name), `${stream.name}: ${state}${through}; ${stream.count} event${stream.count === 1 ? "" : "s"}${last}`);
    }
    put(this.presence, page.presence());
    const clock = page.clock;
    put(this.clock, clock ? `The lab's clock reads ${(clock.offset_ms / 1000).toFixed(3)} s more than this page's, ± ${clock.error_ms.toFixed(2)} ms.` : "");
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
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
