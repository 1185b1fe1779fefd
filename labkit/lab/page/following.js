// Keeps the techniques going on this page: each begins again from its cursor whenever its conversation ends.

import { ANSWER_MS, Lost, NEVER, Refused, Unexplained, Unreached, Watch, ask, askWhole, pause } from "./base.js";
import { BEGINNING } from "./listing.js";
import { slot, untilHidden, visible, whoHolds } from "./slots.js";

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

/** Requests pass, and upgrades do not. */
export class Blocked extends Error {}

const NO_UPGRADE = "this path does not pass WebSocket";
const NOT_ASKED = [400, 426]; // what a route for WebSocket says to a request without an upgrade

/**
 * EventSource and WebSocket do not say why they failed: ask the route over plain HTTP. Null if there is no reason.
 * A WebSocket has an Origin, and a plain GET of the page's own host has none, so an OPTIONS tells whether that was it.
 */
export async function reasonOf(problem, url, away) {
  const refused = await refusal(url, away);
  if (!problem.upgrade || !NOT_ASKED.includes(refused?.status)) return refused;
  const foreign = await refusal(url, away, { method: "OPTIONS" });
  return foreign?.status === 403 ? foreign : new Blocked(NO_UPGRADE);
}

async function refusal(url, away, options) {
  const watch = new Watch(away, ANSWER_MS);
  try {
    await ask(url, watch.signal, options);
  } catch (error) {
    if (error instanceof Refused || error instanceof Unreached) return error;
  } finally {
    watch.end();
  }
  return null;
}

/** Keep a technique going for as long as the page lives: paused while hidden, and held only with a slot. */
export async function follow(feed, route, { receive, pauses = true, held = true }, upstream) {
  const given = { address: (query, scheme) => address(route, { scheme, ...query }), settings: SETTINGS, upstream };
  feed.streams = held;
  for (;;) {
    if (pauses && document.hidden) feed.tell("hidden", "goes on when this tab is seen");
    if (pauses) await visible();
    const away = pauses ? untilHidden() : NEVER;
    if (held) feed.tell("waiting for a connection", whoHolds("other tabs hold them"));
    const release = held ? await slot(away) : () => {};
    if (release === null) continue;
    const until = release.turn ? AbortSignal.any([away, release.turn]) : away;
    await keepOn(feed, until, () => receive(feed, { ...given, signal: until }), route);
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
      problem = error;
      if (error instanceof Unexplained) problem = (await reasonOf(error, address(route, { after: feed.cursor }), away)) ?? error;
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
      lost(error.message);
    }
    await pause(RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]);
  }
}

/** Publish one event by POST: its id. */
export async function post(text) {
  return (await askWhole(address("events"), NEVER, ANSWER_MS, { method: "POST", body: text })).json.id;
}
