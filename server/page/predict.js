// Sends one image to /v1/predict, and shows its five labels and ten views, or the failure in words.
import { call, Failure } from "./api.js";
import { at, element } from "./dom.js";
import { chosen } from "./models.js";
import { showViews } from "./views.js";
import { count, megabytes, percent, tellApart } from "./words.js";

const PASSING = [0, 429, 503, 504]; // statuses after which the same image may be answered; 0: no reply
let newest = null; // { image, stop } of the last request; a newer one stops it

export async function predict(image) {
  newest?.stop.abort();
  const mine = newest = { image, stop: new AbortController() };
  busy(true);
  at("failed").textContent = "";
  at("again").hidden = true;
  at("state").textContent = `Looking at ${nameOf(image)} …`;
  try {
    const [answer, bitmap] = await Promise.all([ask(image, mine.stop.signal), createImageBitmap(image).catch(() => null)]);
    if (mine === newest) show(image, answer, bitmap);
    bitmap?.close();
  } catch (failure) {
    if (mine === newest) fail(failure);
  } finally {
    if (mine === newest) busy(false);
  }
}

// Sends the last image again: after a failure, or to another model.
export function predictAgain() {
  if (newest) predict(newest.image);
}

function fail(failure) {
  at("failed").textContent = failure.message;
  at("state").textContent = "";
  at("again").hidden = !PASSING.includes(failure.status);
  at("answer").hidden = true;
}

const nameOf = (image) => image.name || "the image";

function busy(now) {
  document.querySelector("main").classList.toggle("busy", now);
  at("answer").setAttribute("aria-busy", now);
}

async function ask(image, signal) {
  await image.slice(0, 1).arrayBuffer().catch(() => { throw new Failure(`${nameOf(image)} cannot be read.`, { status: 400 }); });
  const form = new FormData();
  form.append("image", image);
  const asked = new URLSearchParams({ views: true, ...(chosen() && { model: chosen() }) });
  const reply = await call(`/v1/predict?${asked}`, { method: "POST", body: form, signal }).catch((failure) => explain(failure, image));
  return reply.json();
}

// A server that refuses a body may close the connection before the whole body has arrived. The browser then sees no reply.
async function explain(failure, image) {
  const size = megabytes(image.size);
  if (failure.status === 413) throw new Failure(`${nameOf(image)} (${size}) is too large: ${failure.message}`, failure);
  if (failure.status !== 0 || failure.name === "AbortError") throw failure;
  await call("/readyz");
  throw new Failure(`The server broke off; perhaps ${nameOf(image)} (${size}) is too large for it.`);
}

function show(image, { top: best, views: each, input, timing_ms: ms }, bitmap) {
  const guesses = tellApart([...best, ...each]);
  const [top, views] = [guesses.slice(0, best.length), guesses.slice(best.length)];
  at("failed").textContent = "";
  at("answer").hidden = false;
  at("labels").replaceChildren(...top.map(({ label, probability }) => {
    const row = element("li");
    const bar = element("span", "", { className: "bar" });
    bar.style.setProperty("--p", percent(probability));
    row.append(element("span", label), " ", element("span", percent(probability), { className: "share" }), bar);
    return row;
  }));
  showViews(views, top[0], bitmap);
  const turned = input.exif_rotated ? ", turned as its EXIF says" : "";
  at("unseen").textContent = bitmap ? "" : `This browser cannot show ${input.format} images; the server can read them.`;
  at("facts").textContent = `${input.format}, ${count(input.width)} × ${count(input.height)} pixels${turned}.`
    + ` Decoded in ${ms.decode.toFixed(1)} ms, waited ${ms.queue.toFixed(1)} ms, ten views in ${ms.engine.toFixed(1)} ms.`;
  at("state").textContent = `${nameOf(image)}: ${top[0].label}, ${percent(top[0].probability)}.`;
}
