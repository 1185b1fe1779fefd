import { ANSWER_MS, Lost, NO_ANSWER, Unexplained, untilAway, utf8 } from "./base.js";

export const held = false; // browsers count WebSockets apart
export const pauses = false;
export const terminal = { command: "python -m websockets", scheme: "ws", what: ", with the websockets library" };

/** RFC 6455: one message for each event; what a page publishes goes up the same connection. */
export async function receive(reader, { address, signal, protocols, upstream }) {
  const socket = new WebSocket(address({ after: reader.cursor }, "ws"), protocols);
  let [why, Kind, timer] = [NO_ANSWER, Unexplained, null];
  try {
    await untilAway(signal, (broke) => {
      timer = setTimeout(() => broke(new Unexplained(NO_ANSWER, { upgrade: true })), ANSWER_MS);
      socket.onopen = () => {
        clearTimeout(timer);
        Kind = Lost;
        reader.open();
        upstream?.opened(socket);
      };
      socket.onmessage = ({ data }) => {
        const at = performance.now();
        const item = JSON.parse(data);
        if ("published" in item || "error" in item) return upstream?.answered(item, reader.cursor);
        reader.received(utf8(data));
        reader.read(item, at);
      };
      socket.onclose = ({ code, reason }) => {
        if (code !== 1006) why = reason || `closed with code ${code}`; // 1006: no close frame came
        broke(new Kind(why, { upgrade: true }));
      };
    });
  } finally {
    clearTimeout(timer);
    upstream?.closed(socket, why);
    socket.close();
  }
}
