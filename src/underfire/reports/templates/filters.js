"use strict";
(() => {
  /* Boxes for the whole page. Elements name what they are about; charts and the gallery listen to the event. */
  const form = document.getElementById("filters");
  const fits = (wanted, about) => !wanted || !about || wanted === about;
  const update = () => {
    const wanted = Object.fromEntries(new FormData(form));
    for (const element of underfire.find("[data-interpreter], [data-attack]")) {
      element.hidden = !fits(wanted.interpreter, element.dataset.interpreter) || !fits(wanted.attack, element.dataset.attack);
    }
    underfire.wanted = wanted;
    document.dispatchEvent(new Event("underfire-filter"));
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  form.reset();
})();
