// The nearest images of an index: a row for each image that was given, as figure 4 (right) of the paper shows them.
import { call } from "./api.js";
import { at, element } from "./dom.js";
import { chosen } from "./models.js";
import { shown } from "./predict.js";
import { count } from "./words.js";

const SIDE = 224; // pixels, as the server's thumbnails have
let newest = null; // the AbortController of the last search; a newer one stops it

export async function findNearest() {
  newest?.abort();
  const mine = newest = new AbortController();
  at("near").replaceChildren();
  at("nearest-error").textContent = shown().length ? "" : "Pick an image first.";
  at("nearest-state").textContent = "";
  const [index, dataset] = ["index", "indexed"].map((id) => at(id).value);
  const asked = new URLSearchParams({ index, thumbnails: true, model: chosen(), ...(dataset && { dataset }) });
  try {
    for (const image of shown()) {
      const found = await search(`/v1/neighbours?${asked}`, image, mine.signal);
      if (mine.signal.aborted) return;
      at("near").append(await row(image, found));
    }
  } catch (failure) {
    if (!mine.signal.aborted) at("nearest-error").textContent = failure.message;
    return;
  }
  at("nearest-state").textContent = `Found the nearest images of ${count(shown().length)}.`;
}

async function search(path, image, signal) {
  const form = new FormData();
  form.append("image", image);
  return (await (await call(path, { method: "POST", body: form, signal })).json()).neighbours;
}

async function row(image, found) {
  const list = element("ol", "", { ariaLabel: `Nearest to ${image.name}` });
  list.append(...found.map(({ id, label, distance, thumbnail, without_thumbnail: why }) => {
    const picture = thumbnail ? element("img", "", { src: thumbnail, alt: id }) : element("span", why, { className: "note" });
    return tile(picture, label, `distance ${distance.toPrecision(3)}`);
  }));
  const item = element("li");
  item.append(tile(await picture(image), image.name, "", "div"), list);
  return item;
}

function tile(picture, label, note, tag = "li") {
  const item = element(tag, picture, { className: "tile" });
  item.append(element("b", label), element("small", note));
  return item;
}

// The central square of an image; its name where the browser cannot show it.
async function picture(image) {
  const bitmap = await createImageBitmap(image).catch(() => null);
  if (!bitmap) return element("span", "This browser cannot show it.", { className: "note" });
  const canvas = element("canvas", "", { width: SIDE, height: SIDE, role: "img", ariaLabel: image.name });
  const short = Math.min(bitmap.width, bitmap.height);
  const corner = [(bitmap.width - short) / 2, (bitmap.height - short) / 2];
  canvas.getContext("2d").drawImage(bitmap, ...corner, short, short, 0, 0, SIDE, SIDE);
  bitmap.close();
  return canvas;
}
