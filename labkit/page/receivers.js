/**
 * The five techniques, as a page uses them. Each takes a feed (see feed.js), tells it what arrives, and returns or
 * throws when the exchange is over; `keep` starts it again from the feed's cursor.
 */

import { sleep, takeSlot, whileVisible } from "./slots.js";

const POLL_INTERVAL_MS = 1000; // T: from the start of one poll to the start of the next
const RETRY_MS = 1000;
const PARKED_MS = 100; // no page sees a request arrive: one that was not refused for so long counts as parked

/** The address of a route beside this page, whatever path the page itself is served under. */
export function address(route, query = {}, scheme = "http") {
  const url = new URL(route, document.baseURI);
  url.search = new URLSearchParams(query);
  url.protocol = url.protocol.replace("http", scheme);
  return url.href;
}

/** A request that no cache answers. Throws with the server's own words. */
export async function request(url, options) {
  const response = await fetch(url, { cache: "no-store", ...options });
  if (!response.ok) {
    const words = (await response.text()).trim().slice(0, 200);
    throw Object.assign(new Error(`${response.status} ${words || response.statusText}`), { refused: true });
  }
  return response;
}

/** Ask once; an answer that is cut short or empty is an error like a lost connection. */
async function answer(feed, route, signal) {
  const response = await request(address(route, { after: feed.cursor }), { signal });
  const body = await response.arrayBuffer();
  feed.received(body.byteLength);
  if (body.byteLength === 0) throw new Error("the lab ended the exchange");
  feed.answer(JSON.parse(new TextDecoder().decode(body)));
}

/** Interval polling: RFC 6202 section 2.1. */
export async function polling(feed, signal) {
  feed.begins();
  for (let due = performance.now(); ; await sleep(due - performance.now(), signal)) {
    await answer(feed, "polling", signal);
    feed.say("connected", `asks every ${POLL_INTERVAL_MS / 1000} s`);
    due = Math.max(performance.now(), due + POLL_INTERVAL_MS);
  }
}

/** Long polling: RFC 6202 section 2.1. */
export async function longPolling(feed, signal) {
  feed.begins();
  const parked = setTimeout(() => feed.say("parked", "the lab holds the request"), PARKED_MS);
  try {
    for (;;) await answer(feed, "long-polling", signal);
  } finally {
    clearTimeout(parked);
  }
}

/** HTTP streaming: RFC 6202 section 3. A read is not a line: lines are cut at LF, and only there. */
export async function httpStreaming(feed, signal) {
  const response = await request(address("http-streaming", { after: feed.cursor }), { signal });
  feed.begins();
  feed.say("connected");
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    feed.received(value.byteLength);
    const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line) feed.item(JSON.parse(line));
  }
}

/** Server-Sent Events: the browser reconnects by itself, with the last id it has seen. */
export function sse(feed, signal) {
  return new Promise((resolve, reject) => {
    const source = new EventSource(address("sse", { after: feed.cursor }));
    const seen = (event) => feed.received(utf8Bytes(event.data) + utf8Bytes(event.lastEventId));
    source.onopen = () => {
      feed.begins();
      feed.say("connected");
    };
    source.onerror = () => {
      if (source.readyState !== EventSource.CLOSED) feed.say("reconnecting", "the browser asks again by itself");
      else reject(new Error("the browser has given up: the answer was not an event stream"));
    };
    source.onmessage = (event) => {
      seen(event);
      feed.event({ id: parseInt(event.lastEventId, 10), data: event.data });
    };
    for (const type of ["json", "gap"]) {
      source.addEventListener(type, (event) => {
        seen(event);
        feed.item(JSON.parse(event.data));
      });
    }
    signal.addEventListener("abort", () => {
      source.close();
      resolve();
    }, { once: true });
  });
}

/** WebSocket: RFC 6455. Its connection is not one of the six, so it stays while the page is hidden. */
export function webSocket(feed) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(address("websocket", { after: feed.cursor }, "ws"));
    socket.onopen = () => {
      feed.begins();
      feed.say("connected");
      feed.socket = socket;
    };
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if ("ref" in message) {
        feed.answered(message);
        return;
      }
      feed.received(utf8Bytes(data));
      feed.item(message);
    };
    socket.onclose = ({ code, reason }) => {
      feed.socket = null;
      feed.answered(null);
      reject(new Error(code === 1006 ? "the connection was lost" : `closed: ${code} ${reason}`.trim()));
    };
  });
}

const utf8 = new TextEncoder();

function utf8Bytes(text) {
  return utf8.encode(text).byteLength;
}

/**
 * Run a technique for as long as the page lives: from the feed's cursor, again and again.
 *
 * held: its request is held by the server, so it needs a slot.
 * hides: it gives its connection back while the page is hidden.
 */
export async function keep(feed, receive, { held = false, hides = true } = {}) {
  const never = new AbortController().signal;
  for (;;) {
    const signal = hides ? await whileVisible() : never;
    let release = () => {};
    try {
      if (held) {
        feed.say("waiting", "for a connection: other tabs hold them");
        release = await takeSlot(signal);
      }
      for (;;) await attempt(feed, receive, signal);
    } catch (error) {
      if (!signal.aborted) feed.say("failed", String(error.message ?? error));
    } finally {
      release();
    }
    if (signal.aborted) feed.say("hidden", "goes on from its cursor when shown");
    else await sleep(RETRY_MS, never);
  }
}

/** One exchange and the pause behind it. Rejects only when the page is hidden. */
async function attempt(feed, receive, signal) {
  try {
    if (feed.state !== "reconnecting" && feed.state !== "failed") feed.say("connecting"); // the reason stays to be read
    await receive(feed, signal);
    feed.say("reconnecting", feed.farewell ?? "the lab ended the exchange");
  } catch (error) {
    if (signal.aborted) throw error;
    const words = feed.farewell ?? String(error.message ?? error);
    feed.say(error.refused ? "failed" : "reconnecting", words);
  }
  feed.farewell = null;
  await sleep(RETRY_MS, signal);
}
