// Connections are shared by all tabs of a browser, six to a host. Held requests take one of five slots, by Web Locks;
// a hidden tab gives its own back.

const SLOTS = ["labkit-slot-0", "labkit-slot-1", "labkit-slot-2", "labkit-slot-3", "labkit-slot-4"];
const WITHOUT_LOCKS = 2; // Web Locks need https or a loopback name; two tabs then hold four
let held = 0;

/** Resolves once the page is visible. */
export function visible() {
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
    look();
  });
}

/** A signal that fires when the page is hidden. */
export function untilHidden() {
  const away = new AbortController();
  const look = () => {
    if (!document.hidden) return;
    document.removeEventListener("visibilitychange", look);
    away.abort();
  };
  document.addEventListener("visibilitychange", look);
  return away.signal;
}

/**
 * Wait for one of the slots. Resolves to a function that gives it back, or to null if `away` fired first.
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
  while (held >= WITHOUT_LOCKS && !away.aborted) await new Promise((resolve) => setTimeout(resolve, 200));
  if (away.aborted) return null;
  held += 1;
  return () => {
    held -= 1;
  };
}
