// The page: takes images by button, drop and paste, and loads the models and the validations.
import { at } from "./dom.js";
import { loadModels, showModel } from "./models.js";
import { predict, predictAgain } from "./predict.js";
import { refresh, start } from "./validations.js";

for (const [button, input] of [["pick", "file"], ["photograph", "camera"]]) {
  at(button).addEventListener("click", () => at(input).click());
  at(input).addEventListener("change", () => {
    if (at(input).files[0]) predict(at(input).files[0]);
    at(input).value = ""; // so that the same file can be picked again
  });
}
at("again").addEventListener("click", () => {
  at("pick").focus(); // the button disappears
  predictAgain();
});
at("model").addEventListener("change", () => {
  showModel();
  predictAgain();
});

document.addEventListener("paste", (event) => {
  const image = event.clipboardData.files[0];
  if (!image) return; // text, into a field
  event.preventDefault();
  predict(image);
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
  const image = event.dataTransfer.files[0];
  if (image) predict(image);
  else at("failed").textContent = "That was no file. Save the image first, or copy and paste it.";
});

at("start").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !at("on").hidden) refresh(); // others may have started validations
});

loadModels();
refresh();
