// The server: calls that carry the key where one is asked for, and failures in words.
import { anotherKey, key } from "/page/lock.js";

export class Failure extends Error {
  constructor(message, { status = 0, code = "" } = {}) {
    super(message);
    Object.assign(this, { status, code });
  }
}

// The reply to a request; waits for a key where the server wants one. Throws Failure, or AbortError where its signal says so.
export async function call(path, options = {}) {
  const sent = key();
  const headers = { ...options.headers, ...(sent && { Authorization: `Bearer ${sent}` }) };
  const reply = await fetch(path, { ...options, headers }).catch(unanswered);
  if (reply.ok) return reply;
  const failure = await told(reply);
  if (reply.status !== 401) throw failure;
  if (key() === sent) await anotherKey(sent ? "The server does not know this key." : "");
  return call(path, options);
}

// What a stream of server-sent events says, each parsed from JSON. EventSource could not send the key.
export async function* events(path) {
  const reader = (await call(path)).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch(unanswered);
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = /^data: (.*)$/m.exec(block);
      if (data) yield JSON.parse(data[1]);
    }
  }
}

function unanswered(error) {
  if (error.name === "AbortError") throw error;
  throw new Failure("The server cannot be reached.");
}

async function told(reply) {
  const { code = "", message = reply.statusText } = (await reply.json().catch(() => ({}))).error ?? {};
  const said = `${message.charAt(0).toUpperCase()}${message.slice(1)}.`;
  const wait = reply.headers.get("Retry-After");
  const busy = wait ? `Try again in ${wait} s.` : "Try again in a moment.";
  return new Failure(reply.status === 429 ? `The server is busy: ${message}. ${busy}` : said, { status: reply.status, code });
}
