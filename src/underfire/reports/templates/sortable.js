"use strict";
(() => {
  const { find, make } = underfire;
  /* A click on a heading sorts: numbers from the largest first, texts from A; a third click restores the order. */
  const value = (row, place) => {
    const cell = row.cells[place];
    return "value" in cell.dataset ? Number(cell.dataset.value) : cell.querySelector("bdi") ? cell.querySelector("bdi").textContent : null;
  };
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  for (const block of find(".sortable")) {
    const heads = find("thead th", block), body = block.querySelector("tbody"), original = [...body.rows];
    heads.forEach((head, place) => {
      const button = make("button", { type: "button" }, [...head.childNodes]);
      head.append(button);
      const first = head.classList.contains("text") ? "ascending" : "descending";
      const second = first === "ascending" ? "descending" : "ascending";
      button.addEventListener("click", () => {
        const next = { [first]: second, [second]: null }[head.ariaSort] ?? (head.ariaSort ? null : first);
        for (const other of heads) other.removeAttribute("aria-sort");
        if (next) head.setAttribute("aria-sort", next);
        const sign = next === "descending" ? -1 : 1;
        const known = original.filter((row) => value(row, place) !== null);
        const rows = next ? [...known.sort((a, b) => sign * compare(value(a, place), value(b, place))), ...original.filter((row) => value(row, place) === null)] : original;
        body.append(...rows);
      });
    });
    const form = block.querySelector("form");
    if (!form) continue;
    const output = form.querySelector("output");
    const search = () => {
      const text = form.elements.find.value.trim().toLowerCase();
      let count = 0;
      for (const row of original) {
        const fits = row.textContent.toLowerCase().includes(text);
        row.classList.toggle("unfit", !fits);
        count += fits;
      }
      output.textContent = text ? `${count} of ${original.length} rows` : "";
    };
    form.addEventListener("input", search);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
  }
})();
