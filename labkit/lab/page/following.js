// Keeps the techniques going on this page: each begins again from its cursor whenever its conversation ends.

import { ANSWER_MS, Lost, NEVER, NO_ANSWER, Refused, Unexplained, Watch, ask, askWhole, pause } from "./base.js";
import { BEGINNING } from "./listing.js";
import { slot, untilHidden, visible } from "./slots.js";

const SETTINGS = { poll_interval_s: 1, accept: "" };
const RETRY_MS = [250, 500, 1000, 2000, 3000];
const REFUSED_RETRY_MS = 5000;

const topic = new URLSearchParams(location.search).get("topic");

/** A route of this lab, with the page's own path prefix and topic. */
export function address(route, { scheme = "", ...query } = {}) {
  const url = new URL(route, document.baseURI);
  if (topic) url.searchParams.set("topic", topic);
  for (const [name, value] of Object.entries(query)) if (value != null) url.searchParams.set(name, value);
  return scheme ? url.href.replace(/^http/, scheme) : url.href;
}

/** EventSource and WebSocket do not say why they failed: ask the route over plain HTTP. Null if it is not refused. */
async function refusal(url, away) {
  const watch = new Watch(away, ANSWER_MS);
  try {
    await ask(url, watch.signal);
  } catch (error) {
    if (error instanceof Refused && error.status !== 400) return error; // 400: no upgrade was asked for
  } finally {
    watch.end();
  }
  return null;
}

/** Keep a technique going for as long as the page lives: paused while hidden, and held only with a slot. */
export async function follow(feed, route, { receive, pauses = true, held = true }, upstream) {
  const given = { address: (query, scheme) => address(route, { scheme, ...query }), settings: SETTINGS, upstream };
  for (;;) {
    if (pauses && document.hidden) feed.tell("hidden", "goes on when this tab is seen");
    if (pauses) await visible();
    const away = pauses ? untilHidden() : NEVER;
    if (held) feed.tell("waiting for a connection", "other tabs hold them");
    const release = held ? await slot(away) : () => {};
    if (release === null) continue;
    await keepOn(feed, away, () => receive(feed, { ...given, signal: away }), route);
    release();
  }
}

/** Converse again and again, from the cursor, until `away` fires. */
async function keepOn(feed, away, converse, route) {
  if (feed.state !== "reconnecting") feed.tell("connecting");
  for (let failures = 0; !away.aborted; failures += 1) {
    feed.reached = false;
    let problem;
    try {
      await converse();
      problem = new Lost("ended");
    } catch (error) {
      const reason = error instanceof Unexplained ? await refusal(address(route, { after: feed.cursor }), away) : null;
      problem = reason ?? error;
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
      return (await askWhole(address(BEGINNING), NEVER)).json.cursor;
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
