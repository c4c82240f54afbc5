// The page's elements: found by id, or made.

export const at = (id) => document.getElementById(id);

export function element(tag, text = "", attributes = {}) {
  const made = Object.assign(document.createElement(tag), attributes);
  made.append(text);
  return made;
}
