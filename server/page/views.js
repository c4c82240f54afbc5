// The ten views: their tiles, cut from the picture, each with its own label, and their frames on the picture.
import { element } from "./dom.js";
import { percent } from "./words.js";

const FINE = 3; // pixels of the canvas for each pixel of the square that the net sees
const TILE = 336; // pixels
const SHADE = "rgb(0 0 0 / .6)";
const FRAME = "#ffd23f";

// Shows the views in the answer `item`. `mean` is the first label of their mean, which `agree` of the views share; `bitmap`
// is the image, or null where the browser cannot show it.
export function showViews(item, views, mean, agree, bitmap) {
  const side = Math.max(...views.map((view) => view.top + view.size)); // R: the last crop ends where the square does
  const whole = square(bitmap, side);
  const picture = item.querySelector(".picture");
  const draw = (view) => drawWhole(picture, whole, view ? [view] : views, Boolean(view));
  item.querySelector(".views").replaceChildren(...views.map((view) => {
    const row = element("li");
    row.append(tile(view, mean, side, whole, draw));
    return row;
  }));
  item.querySelector(".agreement").textContent = agreement(views, mean, agree);
  draw(null);
}

// A sentence: how many views alone have the label of the mean, and the labels of the others.
function agreement(views, mean, agree) {
  if (agree === views.length) return `All ${agree} views say ${mean.label} by themselves.`;
  const others = new Map();
  for (const { index, label } of views) if (index !== mean.index) others.set(label, (others.get(label) ?? 0) + 1);
  const labels = [...others].sort(([, a], [, b]) => b - a).map(([label, times]) => (times > 1 ? `${label} (${times})` : label));
  const alone = agree > 1 ? `say ${mean.label} by themselves` : `says ${mean.label} by itself`;
  return `${agree || "None"} of ${views.length} views ${alone}; ${agree ? "the others" : "they"} say ${labels.join(", ")}.`;
}

function place({ top, left, size, mirrored }, side) {
  const row = edge(top, size, side, "top", "bottom");
  const column = edge(left, size, side, "left", "right");
  return `${`${row} ${column}`.trim() || "center"}${mirrored ? ", mirrored" : ""}`;
}

// The name of the edge that a view touches, in one direction; "" in the middle.
function edge(start, size, side, first, last) {
  if (start === 0) return first;
  return start + size === side ? last : "";
}

// The central square, with transparency on white, as the net sees it.
function square(bitmap, side) {
  const canvas = element("canvas", "", { width: FINE * side, height: FINE * side });
  const paint = canvas.getContext("2d");
  paint.fillStyle = bitmap ? "#fff" : "#8a8f98";
  paint.fillRect(0, 0, canvas.width, canvas.height);
  if (bitmap) {
    const short = Math.min(bitmap.width, bitmap.height);
    const corner = [(bitmap.width - short) / 2, (bitmap.height - short) / 2];
    paint.imageSmoothingQuality = "high";
    paint.drawImage(bitmap, ...corner, short, short, 0, 0, canvas.width, canvas.height);
  }
  return canvas;
}

function drawWhole(picture, whole, framed, alone) {
  Object.assign(picture, { width: whole.width, height: whole.height }); // clears it too
  const paint = picture.getContext("2d");
  paint.drawImage(whole, 0, 0);
  for (const { top, left, size } of framed) {
    const box = [FINE * left, FINE * top, FINE * size, FINE * size];
    if (alone) {
      paint.fillStyle = SHADE;
      paint.beginPath();
      paint.rect(0, 0, whole.width, whole.height);
      paint.rect(...box);
      paint.fill("evenodd");
    }
    frame(paint, box, alone ? FINE * 2.5 : FINE);
  }
}

function frame(paint, [left, top, width, height], thick) {
  paint.lineWidth = thick;
  paint.strokeStyle = FRAME;
  paint.strokeRect(left + thick / 2, top + thick / 2, width - thick, height - thick);
}

function tile(view, mean, side, whole, draw) {
  const agrees = view.index === mean.index;
  const button = element("button", "", { type: "button", className: agrees ? "agrees" : "" });
  const bar = element("span", "", { className: "bar" });
  bar.style.setProperty("--p", percent(view.probability));
  button.append(
    cut(view, whole),
    bar,
    element("b", view.label),
    element("span", `${percent(view.probability)}${agrees ? " ✓" : ""}`, { className: "share" }),
    element("small", place(view, side)),
  );
  for (const event of ["mouseenter", "focus", "click"]) button.addEventListener(event, () => draw(view));
  for (const event of ["mouseleave", "blur"]) button.addEventListener(event, () => draw(null));
  return button;
}

function cut({ top, left, size, mirrored }, whole) {
  const canvas = element("canvas", "", { width: TILE, height: TILE });
  const paint = canvas.getContext("2d");
  if (mirrored) paint.setTransform(-1, 0, 0, 1, TILE, 0);
  paint.imageSmoothingQuality = "high";
  paint.drawImage(whole, FINE * left, FINE * top, FINE * size, FINE * size, 0, 0, TILE, TILE);
  return canvas;
}
