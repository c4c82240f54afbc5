// The set of labels of a calibrated model, in words.
import { element } from "./dom.js";
import { percent, tellApart } from "./words.js";

const MOST = 12; // labels that are named

// Shows the set of an answer in the paragraph `place`; `guesses` is undefined where the model is not calibrated.
export function showSet(place, guesses, coverage) {
  place.hidden = guesses === undefined;
  if (place.hidden) return;
  const labels = tellApart(guesses).map(({ label }) => label);
  const note = `On images like those that the model was calibrated on, such a set holds the right label in ${percent(coverage, 0)} of cases.`;
  place.replaceChildren(element("strong", sentence(labels)), " ", element("small", note));
}

function sentence(labels) {
  if (labels.length === 1) return `Sure: ${labels[0]}.`;
  const named = labels.slice(0, MOST).join(", ");
  return `Unsure: one of these ${labels.length}: ${named}${labels.length > MOST ? ", …" : "."}`;
}
