// Finds the page's elements by id, and creates new ones.

export const at = (id) => document.getElementById(id);

export function element(tag, text = "", attributes = {}) {
  const created = Object.assign(document.createElement(tag), attributes);
  created.append(text);
  return created;
}
