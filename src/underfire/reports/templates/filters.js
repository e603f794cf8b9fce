"use strict";
(() => {
  /* Boxes for the whole page. Elements name what they are about; charts and the gallery listen to the event. */
  const { find, make } = underfire;
  const form = document.getElementById("filters"), output = form.querySelector("output");
  const named = find("select", form).map((box) => `[data-${box.name}]`).join();
  /* A section of which nothing fits says so, and offers to show everything again. */
  const sections = find("section").map((section) => ({ section, parts: find(`${named}, .chart`, section) }))
    .filter(({ parts }) => parts.length);
  for (const each of sections) {
    const button = make("button", { type: "button", textContent: "Clear the filters" });
    button.addEventListener("click", () => underfire.clear());
    each.text = make("span");
    each.note = make("p", { className: "about nothing", hidden: true }, [each.text, " ", button]);
    each.section.querySelector(".blocks").before(each.note);
  }
  const update = () => {
    underfire.wanted = Object.fromEntries(new FormData(form));
    for (const element of find(named)) element.hidden = !underfire.fits(element.dataset);
    document.dispatchEvent(new Event("underfire-filter"));
    const asked = Object.entries(underfire.wanted).filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join(", ");
    for (const { parts, note, text } of sections) {
      note.hidden = parts.some((part) => !part.hidden);
      text.textContent = `Nothing here fits ${asked}.`;
    }
    output.textContent = sections.every(({ note }) => !note.hidden) ? "Nothing fits all of these." : "";
  };
  underfire.clear = () => {
    form.reset();
    update();
    form.elements[0].focus({ preventScroll: true });
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  form.reset();
})();
