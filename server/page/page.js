// The page: takes images by button, drop and paste, and loads the models and the validations.
import { call } from "./api.js";
import { search } from "./classes.js";
import { at } from "./dom.js";
import { suggest } from "./folders.js";
import { loadModels, showModel } from "./models.js";
import { findNearest } from "./nearest.js";
import { predict, predictAgain } from "./predict.js";
import { refresh, start } from "./validations.js";

for (const [button, input] of [["pick", "file"], ["photograph", "camera"]]) {
  at(button).addEventListener("click", () => at(input).click());
  at(input).addEventListener("change", () => {
    take(at(input).files);
    at(input).value = ""; // so that the same file can be picked again
  });
}
for (const button of at("examples").querySelectorAll("button")) {
  button.addEventListener("click", async () => take([await loadExample(button)]));
}
at("model").addEventListener("change", () => {
  showModel();
  predictAgain();
});

document.addEventListener("paste", (event) => {
  if (!event.clipboardData.files.length) return; // text, into a field
  event.preventDefault();
  take(event.clipboardData.files);
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  at("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) at("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  at("drop").classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  else at("failed").textContent = "That was no file. Save the image first, or copy and paste it.";
});

at("search").addEventListener("input", search);
for (const event of ["focus", "input"]) at("dataset").addEventListener(event, suggest);
at("search-index").addEventListener("submit", (event) => {
  event.preventDefault();
  findNearest();
});
at("start").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !at("on").hidden) refresh(); // others may have started validations
});

function take(files) {
  if (files.length) predict([...files]);
}

async function loadExample(button) {
  const path = `/page/examples/${button.dataset.label}.jpg`;
  const image = new File([await (await call(path)).blob()], `${button.dataset.label}.jpg`, { type: "image/jpeg" });
  return Object.assign(image, { example: path });
}

loadModels();
if (at("off").textContent === "") refresh();
