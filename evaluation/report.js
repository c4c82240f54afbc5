// The report's one script: the headers of a sortable table become buttons. Without it the table stands, worst class first.
const words = new Intl.Collator(undefined, { numeric: true });

function sort(table, head, column) {
  const numbers = head.classList.contains("n");
  const before = head.getAttribute("aria-sort");
  const up = before ? before === "descending" : !numbers; // first the largest number, or A
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = ({ cells: { [column]: cell } }) => numbers ? Number(cell.dataset.value ?? cell.textContent) : cell.textContent;
  const compare = numbers ? (a, b) => a - b : words.compare;
  const keyed = Array.from(table.tBodies[0].rows, (row) => [value(row), row]);
  keyed.sort(([a], [b]) => (up ? compare(a, b) : compare(b, a)));
  const sorted = document.createDocumentFragment();
  for (const [, row] of keyed) sorted.append(row);
  table.tBodies[0].append(sorted);
}

for (const table of document.querySelectorAll("table.sortable")) {
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = Object.assign(document.createElement("button"), { type: "button" });
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, head, column));
    head.append(button);
  });
}
for (const hint of document.querySelectorAll("[data-with-script]")) hint.hidden = false;
