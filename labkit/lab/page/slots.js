// Connections are shared by all tabs of a browser, six to a host. Held requests take one of five slots, by Web Locks;
// a hidden tab gives its own back. (The lab serves this folder and the techniques' halves as one; see page_files.py.)

import { NEVER, pause } from "./base.js";

const SLOTS = ["labkit-slot-0", "labkit-slot-1", "labkit-slot-2", "labkit-slot-3", "labkit-slot-4"];
const WITHOUT_LOCKS = 2; // Web Locks need https or a loopback name; two tabs then hold four
const TURN_MS = 15_000; // of one of those, while others wait
let taken = 0; // without Web Locks
const waiting = []; // likewise, the next one first

/** Why one waits for a slot: `others`, where tabs can agree. */
export const whoHolds = (others) =>
  navigator.locks
    ? others
    : `no Web Locks here: plain http under another name. ${WITHOUT_LOCKS} at a time, in turns of ${TURN_MS / 1000} s`;

/** Resolves once the page is visible, or `away` fires. */
export function visible(away = NEVER) {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden && !away.aborted) return;
      document.removeEventListener("visibilitychange", look);
      away.removeEventListener("abort", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    away.addEventListener("abort", look);
    look();
  });
}

/** A signal that fires when the page is hidden; it is not looked for any more once `ended` fires. */
export function untilHidden(ended = NEVER) {
  const away = new AbortController();
  const look = () => {
    if (document.hidden) away.abort();
  };
  document.addEventListener("visibilitychange", look, { signal: AbortSignal.any([away.signal, ended]) });
  return away.signal;
}

/**
 * Wait for one of the slots. Resolves to a function that gives it back, or to null if `away` fired first. Its `turn`,
 * if it has one, fires when it is somebody else's turn.
 * Asks for all five at once and keeps the one that comes first, so it never waits for one while another is free.
 */
export function slot(away) {
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
      if (others.signal.aborted) return undefined; // another came first, or nobody wants it any more
      others.abort(); // withdraws what is still asked for; a granted lock stays
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
  const turn = new AbortController();
  waiting.push(turn);
  while ((taken >= WITHOUT_LOCKS || waiting[0] !== turn) && !away.aborted) await pause(200, away);
  waiting.splice(waiting.indexOf(turn), 1);
  if (away.aborted) return null;
  taken += 1;
  const timer = setInterval(() => waiting.length && turn.abort(), TURN_MS);
  const release = () => {
    clearInterval(timer);
    taken -= 1;
  };
  return Object.assign(release, { turn: turn.signal });
}
