// Numbers and labels as text.
const NUMBER = new Intl.NumberFormat("en");

export const count = (n) => NUMBER.format(n);

export const percent = (fraction, digits = 1) => `${(100 * fraction).toFixed(digits)}%`;

export const megabytes = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;

// Adds the id to the label of classes whose labels are equal.
export function tellApart(guesses) {
  const ids = new Map();
  for (const { label, id } of guesses) ids.set(label, (ids.get(label) ?? new Set()).add(id));
  return guesses.map((guess) => (ids.get(guess.label).size > 1 ? { ...guess, label: `${guess.label} (${guess.id})` } : guess));
}

export function duration(seconds) {
  if (seconds < 99.5) return `${Math.ceil(seconds)} s`;
  if (seconds < 99.5 * 60) return `${Math.round(seconds / 60)} min`;
  return `${(seconds / 3600).toFixed(1)} h`;
}
