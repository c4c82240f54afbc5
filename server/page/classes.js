// What a model knows: its classes, which can be searched, its errors, and the example pictures of its classes.
import { call } from "./api.js";
import { at, element } from "./dom.js";
import { count } from "./words.js";

export async function showClasses(model) {
  let knowledge;
  try {
    knowledge = await (await call(`/v1/models/${encodeURIComponent(model)}`)).json();
  } catch (failure) {
    at("knows").textContent = failure.message;
    return;
  }
  const { labels, errors } = knowledge;
  at("knows").textContent = `${model} knows ${count(labels.length)} classes, and names one of them whatever an image shows. ${describe(errors)}`;
  at("classes").hidden = false;
  at("classes").querySelector("summary").textContent = `The ${count(labels.length)} classes`;
  at("classes").querySelector("ul").replaceChildren(...labels.map(nameOf).sort((a, b) => a.localeCompare(b)).map((name) => element("li", name)));
  search();
  const ids = new Set(labels.map(({ id }) => id));
  const examples = [...at("examples").querySelectorAll("button")];
  for (const example of examples) example.parentElement.hidden = !ids.has(example.dataset.label);
  at("examples").hidden = examples.every((example) => example.parentElement.hidden);
}

// Shows the classes whose names hold the words searched for.
export function search() {
  const wanted = at("search").value.trim().toLowerCase();
  const items = [...at("classes").querySelectorAll("li")];
  for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(wanted);
  const found = items.filter((item) => !item.hidden).length;
  at("matches").textContent = wanted ? `${count(found)} of ${count(items.length)}` : "";
}

function describe(errors) {
  if (!errors) return "How often it is wrong is not known: no summary.json lies beside its file.";
  const { dataset, n, ten_crop: tenCrop, mean_over_classes: mean } = errors;
  const alike = mean ? `, on ${of100(mean.ten_crop)} where classes count alike` : "";
  return `Of the ${count(n)} test images of ${dataset} it is wrong on ${of100(tenCrop)}${alike}.`;
}

const of100 = ({ top1_error: error }) => `${Math.round(100 * error)} of 100`;

const nameOf = ({ id, label }) => (id.replaceAll("_", " ") === label ? label : `${label} (${id})`);
