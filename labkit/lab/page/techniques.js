// How a browser speaks each technique: fetch, EventSource and WebSocket as they are. Each function below runs one
// conversation until it ends, and throws when it breaks; `follow` starts it again from the cursor.

import { slot, untilHidden, visible } from "./slots.js";

export const POLL_INTERVAL_MS = 1000;
const HOLD_S = 30; // RFC 6202 section 5.5
const ANSWER_MS = 10_000; // to answer what is not held
const SILENCE_MS = 60_000; // of a stream: four heartbeats
const RETRY_MS = [250, 500, 1000, 2000, 3000];
const REFUSED_RETRY_MS = 5000;

const NO_ANSWER = "the lab does not answer";
const NEVER = new AbortController().signal;
const topic = new URLSearchParams(location.search).get("topic");

/** The connection broke: going on from the cursor is worth trying. */
class Lost extends Error {}

/** An answer that says no. */
class Refused extends Error {}

/** A route of this lab, with the page's own path prefix and topic. */
export function address(route, { scheme = "", ...query } = {}) {
  const url = new URL(route, document.baseURI);
  if (topic) url.searchParams.set("topic", topic);
  for (const [name, value] of Object.entries(query)) if (value != null) url.searchParams.set(name, value);
  return scheme ? url.href.replace(/^http/, scheme) : url.href;
}

/** Wait, but not beyond `away`. */
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

/** What the network refuses, with this reason. */
const orLost = (promise, reason = NO_ANSWER) =>
  promise.catch(() => {
    throw new Lost(reason);
  });

/** A signal that follows `away`, and fires by itself `silence_ms` after the last sign of life. */
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
    this.#control.abort(); // an answer that is not read to its end must not keep its connection
  }
}

async function ask(url, signal, options = {}) {
  const response = await orLost(fetch(url, { cache: "no-store", signal, ...options }));
  if (!response.ok) throw new Refused(`HTTP ${response.status}: ${(await orLost(response.text())).trim().slice(0, 200)}`);
  return response;
}

/** Ask once for one whole JSON body: `{json, bytes, at}`. */
async function askWhole(url, away, limit_ms = ANSWER_MS, options = {}) {
  const watch = new Watch(away, limit_ms);
  try {
    const body = await orLost((await ask(url, watch.signal, options)).arrayBuffer());
    return { at: performance.now(), bytes: body.byteLength, json: JSON.parse(new TextDecoder().decode(body)) };
  } finally {
    watch.end();
  }
}

// -- the techniques ---------------------------------------------------------------------------------------------------

/** RFC 6202 section 2.1: ask every second, from the start of one poll to the start of the next; at once for more. */
async function polling(feed, away) {
  for (let [more, next] = [false, 0]; !away.aborted; ) {
    if (!more) next = performance.now() + POLL_INTERVAL_MS;
    const { json, bytes, at } = await askWhole(address("polling", { after: feed.cursor }), away);
    feed.tell("connected", `asks every ${POLL_INTERVAL_MS / 1000}\u00a0s`);
    feed.received(bytes);
    feed.answer(json, at);
    more = json.more === true;
    if (!more) await pause(next - performance.now(), away);
  }
}

/** RFC 6202 section 2: the lab holds each request until it has something to say. */
async function longPolling(feed, away) {
  let hold_s = 0; // the first is answered at once: only then is it known that the next one is parked
  while (!away.aborted) {
    const url = address("long-polling", { after: feed.cursor, timeout: hold_s });
    const { json, bytes, at } = await askWhole(url, away, hold_s * 1000 + ANSWER_MS);
    feed.tell("parked");
    feed.received(bytes);
    feed.answer(json, at);
    hold_s = HOLD_S;
  }
}

/** RFC 6202 section 3: one response that does not end, a line of JSON for each event. */
async function httpStreaming(feed, away) {
  const watch = new Watch(away, SILENCE_MS);
  try {
    const response = await ask(address("http-streaming", { after: feed.cursor }), watch.signal);
    feed.tell("connected");
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    for (let rest = ""; ; ) {
      const { done, value } = await orLost(reader.read(), "the connection was lost");
      if (done) throw new Lost("the lab ended the response");
      const at = performance.now();
      watch.alive();
      feed.received(value.length);
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n"); // pieces are not events
      rest = lines.pop();
      for (const line of lines) if (line) feed.read(JSON.parse(line), at);
    }
  } finally {
    watch.end();
  }
}

/** WHATWG HTML section 9.2. The browser reconnects by itself, with the last id; only a refusal ends it. */
async function serverSentEvents(feed, away) {
  const url = address("sse", { after: feed.cursor });
  const source = new EventSource(url);
  const ended = new AbortController();
  try {
    await new Promise((resolve, reject) => {
      away.addEventListener("abort", resolve, { signal: ended.signal });
      const take = (message, item) => {
        const type = message.type === "message" ? "" : message.type;
        feed.received(utf8(message.data) + utf8(message.lastEventId) + type.length);
        feed.read(item, performance.now());
      };
      source.onopen = () => feed.tell("connected");
      source.onmessage = (message) => {
        const [id, epoch] = message.lastEventId.split("@");
        if (feed.cursor === null) feed.cursor = `${Number(id) - 1}@${epoch}`;
        take(message, { id: Number(id), data: message.data });
      };
      for (const type of ["json", "gap", "closing"]) {
        source.addEventListener(type, (message) => take(message, JSON.parse(message.data)));
      }
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) reject(new Lost("the event stream ended for good"));
        else feed.tell("reconnecting", "the browser does it by itself");
      };
    });
  } catch (error) {
    throw (await refusal(url, away)) ?? error;
  } finally {
    ended.abort();
    source.close();
  }
}

/** RFC 6455: one message for each event; and events to publish go up the same connection. */
async function webSocket(feed, away, upstream) {
  const url = address("websocket", { scheme: "ws", after: feed.cursor });
  const socket = new WebSocket(url);
  const ended = new AbortController();
  let [opened, why] = [false, NO_ANSWER];
  try {
    await new Promise((resolve, reject) => {
      away.addEventListener("abort", resolve, { signal: ended.signal });
      socket.onopen = () => {
        opened = true;
        feed.tell("connected");
        upstream.opened(socket);
      };
      socket.onmessage = ({ data }) => {
        const at = performance.now();
        const item = JSON.parse(data);
        if ("published" in item || "error" in item) {
          upstream.answered(item, feed.cursor);
        } else {
          feed.received(utf8(data));
          feed.read(item, at);
        }
      };
      socket.onclose = ({ code, reason }) => {
        if (code !== 1006) why = reason || `closed with code ${code}`; // 1006: no close frame came
        reject(new Lost(why));
      };
    });
  } catch (error) {
    throw (opened ? null : await refusal(address("websocket"), away)) ?? error;
  } finally {
    ended.abort();
    upstream.closed(socket, why);
    socket.close();
  }
}

const encoder = new TextEncoder();
const utf8 = (text) => encoder.encode(text).length;

/** EventSource and WebSocket do not say why they failed: ask the route over plain HTTP. Null if it is not refused. */
async function refusal(url, away) {
  const watch = new Watch(away, ANSWER_MS);
  try {
    await ask(url, watch.signal);
  } catch (error) {
    if (error instanceof Refused && !error.message.startsWith("HTTP 400")) return error; // 400: no upgrade was asked for
  } finally {
    watch.end();
  }
  return null;
}

/** What the page shows, in this order. `held`: takes one of the browser's six connections for as long as it runs. */
export const TECHNIQUES = [
  { name: "polling", title: "Interval polling", converse: polling, pauses: true, held: false },
  { name: "long-polling", title: "Long polling", converse: longPolling, pauses: true, held: true },
  { name: "http-streaming", title: "HTTP streaming", converse: httpStreaming, pauses: true, held: true },
  { name: "sse", title: "Server-Sent Events", converse: serverSentEvents, pauses: true, held: true },
  { name: "websocket", title: "WebSocket", converse: webSocket, pauses: false, held: false },
];

// -- keeping them going -----------------------------------------------------------------------------------------------

/** Keep a technique going for as long as the page lives: paused while hidden, and held only with a slot. */
export async function follow(feed, { converse, pauses, held }, upstream) {
  for (;;) {
    if (pauses && document.hidden) feed.tell("hidden", "goes on when this tab is seen");
    if (pauses) await visible();
    const away = pauses ? untilHidden() : NEVER;
    if (held) feed.tell("waiting for a connection", "other tabs hold them");
    const release = held ? await slot(away) : () => {};
    if (release === null) continue;
    await keepOn(feed, away, () => converse(feed, away, upstream));
    release();
  }
}

/** Converse again and again, from the cursor, until `away` fires. */
async function keepOn(feed, away, converse) {
  if (feed.state !== "reconnecting") feed.tell("connecting");
  for (let failures = 0; !away.aborted; failures += 1) {
    feed.reached = false;
    let problem;
    try {
      await converse();
    } catch (error) {
      problem = error;
    }
    if (away.aborted) return;
    if (feed.reached) failures = 0;
    const lost = problem instanceof Lost; // anything else will not be mended by trying again at once
    feed.tell(lost ? "reconnecting" : "failed", problem.message);
    await pause(lost ? RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] : REFUSED_RETRY_MS, away);
  }
}

/** The cursor of now, from which every technique starts; null from a lab that serves no polling. */
export async function beginning(lost) {
  for (let failures = 0; ; failures += 1) {
    try {
      return (await askWhole(address("polling"), NEVER)).json.cursor;
    } catch (error) {
      if (error instanceof Refused) return null;
      lost(NO_ANSWER);
    }
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  }
}

/** Publish one event by POST: its id. */
export async function post(text) {
  return (await askWhole(address("events"), NEVER, ANSWER_MS, { method: "POST", body: text })).json.id;
}
