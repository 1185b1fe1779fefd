import { askWhole, pause } from "./base.js";

export const held = false; // each answer gives its connection back
export const terminal = { command: "curl", query: { after: 0 }, what: ", everything held" };

/** RFC 6202 section 2.1: from the start of one poll to the start of the next; at once where there is more. */
export async function receive(reader, { address, signal, settings }) {
  for (let [more, next] = [false, 0]; !signal.aborted; ) {
    if (!more) next = performance.now() + settings.poll_interval_s * 1000;
    const { json, bytes, at } = await askWhole(address({ after: reader.cursor }), signal);
    reader.open(`asks every ${settings.poll_interval_s} s`);
    reader.received(bytes);
    reader.answer(json, at);
    more = json.more === true;
    if (!more) await pause(next - performance.now(), signal);
  }
}
