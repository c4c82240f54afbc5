// Sends images to /v1/predict one by one, and lists their answers in the order of the images.
import { Answer } from "./answer.js";
import { at } from "./dom.js";
import { count } from "./words.js";

const MOST = 24; // images at a time: each answer holds 10 MB of pictures
let images = []; // of the last request
let newest = null; // the AbortController of the last request; a newer one stops it

export async function predict(chosen, scroll = true) {
  newest?.abort();
  const mine = newest = new AbortController();
  images = chosen.slice(0, MOST);
  at("failed").textContent = chosen.length > MOST ? `The page answers ${MOST} images at a time, the first of these ${count(chosen.length)}.` : "";
  busy(true);
  for (const [i, image] of images.entries()) {
    const answer = new Answer(image);
    await answer.ask(mine.signal);
    if (mine !== newest) return;
    if (i === 0) at("answers").replaceChildren();
    at("answers").append(answer.item);
    at("answers").hidden = false;
    at("answers").setAttribute("aria-busy", "false");
    if (i === 0 && scroll) answer.item.scrollIntoView();
  }
  busy(false);
}

// The images of the last request.
export const shown = () => images;

// Sends the last images again, to another model.
export function predictAgain() {
  if (images.length) predict(images, false);
}

function busy(now) {
  document.querySelector("main").classList.toggle("busy", now);
  at("answers").setAttribute("aria-busy", now);
}
