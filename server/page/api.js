// Calls the server: sends the key where the server asks for one, and puts failures into words.
import { askForKey, key } from "./lock.js";

// The sub-path below which a proxy shows the server; empty at its root.
export const root = new URL("..", import.meta.url).pathname.slice(0, -1);

export class Failure extends Error {
  constructor(message, { status = 0, code = "" } = {}) {
    super(message);
    Object.assign(this, { status, code });
  }
}

// The reply to a request. Waits for a key where the server wants one. Throws Failure, or AbortError after its signal.
export async function call(path, options = {}) {
  const sent = key();
  const headers = { ...options.headers, ...(sent && { Authorization: `Bearer ${sent}` }) };
  const reply = await fetch(root + path, { ...options, headers }).catch(throwUnreachable);
  if (reply.ok) return reply;
  const failure = await readFailure(reply);
  if (reply.status !== 401) throw failure;
  if (key() === sent) await askForKey(sent ? "The server does not know this key." : "");
  return call(path, options);
}

// The data of a stream of server-sent events, each parsed from JSON. EventSource cannot send the key.
export async function* events(path) {
  const reader = (await call(path)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(throwUnreachable);
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block);
      if (data) yield JSON.parse(data[1]);
    }
  }
}

function throwUnreachable(error) {
  if (error.name === "AbortError") throw error;
  throw new Failure("The server cannot be reached.");
}

async function readFailure(reply) {
  const { code = "", message = reply.statusText } = (await reply.json().catch(() => ({}))).error ?? {};
  const sentence = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  const wait = reply.headers.get("Retry-After");
  const busy = wait ? `Try again in ${wait} s.` : "Try again in a moment.";
  return new Failure(reply.status === 429 ? `The server is busy: ${message}. ${busy}` : sentence, { status: reply.status, code });
}
