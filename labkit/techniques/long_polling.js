import { ANSWER_MS, askWhole } from "./base.js";

const HOLD_S = 30; // RFC 6202 section 5.5; as in labkit/theory/path.py
export const terminal = { command: "curl", what: ", the next event" };

/** RFC 6202 section 2: the lab holds each request until it has something to say. */
export async function receive(reader, { address, signal }) {
  let hold_s = 0; // the first is answered at once: only then is it known that the next one is parked
  while (!signal.aborted) {
    const url = address({ after: reader.cursor, timeout: hold_s });
    const { json, bytes, at } = await askWhole(url, signal, hold_s * 1000 + ANSWER_MS);
    reader.parked();
    reader.received(bytes);
    reader.answer(json, at);
    hold_s = HOLD_S;
  }
}
