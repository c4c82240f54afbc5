// The served models: their list, the chosen model, its engine, its kernels and its classes.
import { call, root } from "./api.js";
import { showClasses } from "./classes.js";
import { at, element } from "./dom.js";

const RETRY = 3000; // ms
const COVERAGE = 0.9;
let models = [];

export const chosen = () => at("model").value;

// The parameter for the set of labels: 0.9, or the nearest lower coverage of the chosen model. None where it has none.
export function coverage() {
  const known = models.find((model) => model.name === chosen())?.coverages ?? [];
  const found = known.findLast((each) => each <= COVERAGE);
  return found === undefined ? {} : { coverage: found };
}

export async function loadModels() {
  try {
    ({ models } = await (await call("/readyz")).json());
  } catch (failure) {
    at("engine").textContent = `${failure.message} Trying again …`;
    setTimeout(loadModels, RETRY);
    return;
  }
  for (const id of ["model", "validated"]) {
    at(id).replaceChildren(...models.map(({ name }) => element("option", name, { value: name })));
    at(id).hidden = at(id).labels[0].hidden = models.length < 2;
  }
  showModel();
}

export function showModel() {
  const { name, engine, device, precision, features } = models.find((model) => model.name === chosen());
  at("engine").textContent = `${models.length < 2 ? `${name}, ` : ""}run by ${engine} on ${device} in ${precision}`;
  at("kernels").src = `${root}/page/kernels.png?model=${encodeURIComponent(name)}`;
  at("kernels").alt = `The first-layer kernels of ${name}`;
  at("kernels").hidden = false;
  at("nearest").hidden = !features.length || at("off").textContent !== ""; // an index lies below the data root
  showClasses(name);
}
