"use strict";
(() => {
  /* Boxes for the whole page. Elements name what they are about; charts and the gallery listen to the event. */
  const form = document.getElementById("filters");
  const named = [...form.elements].map((box) => `[data-${box.name}]`).join();
  const update = () => {
    underfire.wanted = Object.fromEntries(new FormData(form));
    for (const element of underfire.find(named)) element.hidden = !underfire.fits(element.dataset);
    document.dispatchEvent(new Event("underfire-filter"));
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  form.reset();
})();
