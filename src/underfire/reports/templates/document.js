"use strict";
/* What the scripts of all blocks share. Texts are set as textContent only: names may hold HTML. */
const underfire = {
  find: (selector, within = document) => [...within.querySelectorAll(selector)],
  read: (within) => JSON.parse(within.querySelector('script[type="application/json"]').textContent),
  make: (tag, properties = {}, children = []) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  },
  themed: [],
  wanted: {},
  clear: () => {},
  /* True if something about these parts fits the boxes of the page. A part that it does not name fits always. */
  fits: (about) => Object.entries(underfire.wanted).every(([name, value]) => !value || !about[name] || about[name] === value),
};
(() => {
  /* Dark and light: the system's choice, until the button is used. */
  const root = document.documentElement;
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => {
    button.textContent = isDark() ? "Light" : "Dark";
    button.title = `Show the page ${isDark() ? "light" : "dark"}`;
  };
  const changed = () => { label(); underfire.themed.forEach((call) => call()); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; changed(); });
  system.addEventListener("change", changed);
  button.hidden = false;
  label();
})();
