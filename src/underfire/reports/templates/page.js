"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector, within = document) => [...within.querySelectorAll(selector)];

  /* Dark and light: the system's choice, until the button is used. */
  const button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const label = () => { button.textContent = isDark() ? "Light" : "Dark"; button.title = `Show the page ${isDark() ? "light" : "dark"}`; };
  const themed = () => { label(); draw(); };
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; themed(); });
  system.addEventListener("change", themed);

  /* Curves: the library is unpacked when they come near. If that fails, their tables are opened instead. */
  const places = find(".plot");
  const charts = places.length ? JSON.parse(document.getElementById("charts").textContent) : [];
  let library = null;
  const unpack = async () => {
    const packed = Uint8Array.from(atob(document.getElementById("library").textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    const script = document.createElement("script");
    script.textContent = await new Response(stream).text();
    document.head.append(script);
    library = window.Plotly;
    if (!library) throw new Error("the chart library did not start");
  };
  const colour = (name) => {
    const probe = document.createElement("span");
    probe.style.color = `var(--${name})`;
    document.body.append(probe);
    const value = getComputedStyle(probe).color;
    probe.remove();
    return value;
  };
  function draw() {
    if (!library) return;
    const [ink, muted, line, sheet, attack, control] = ["ink", "muted", "line", "sheet", "attack", "control"].map(colour);
    for (const place of places) {
      const figure = structuredClone(charts[place.dataset.chart]);
      for (const curve of figure.data) curve.line.color = curve.meta === "attack" ? attack : control;
      for (const axis of [figure.layout.xaxis, figure.layout.yaxis]) Object.assign(axis, { gridcolor: line, linecolor: line });
      for (const shape of figure.layout.shapes) shape.line.color = muted;
      for (const text of figure.layout.annotations) text.font = { color: muted, size: 12 };
      Object.assign(figure.layout, {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12.5 },
        hoverlabel: { bgcolor: sheet, bordercolor: line, font: { color: ink } },
      });
      library.react(place, figure.data, figure.layout, { displayModeBar: false, responsive: true });
    }
  }
  const openTables = (open) => places.forEach((place) => {
    place.hidden = open;
    place.closest(".chart").querySelector("details").open = open;
  });
  let begun = false;
  const begin = () => { if (!begun) { begun = true; unpack().then(draw).catch(() => openTables(true)); } };
  if (places.length && !("DecompressionStream" in window)) openTables(true);
  else if (places.length) {
    const watch = new IntersectionObserver((seen) => {
      if (seen.some((entry) => entry.isIntersecting)) { watch.disconnect(); begin(); }
    }, { rootMargin: "800px" });
    watch.observe(document.getElementById("curves"));
    /* Paper cannot wait for the library: without it, the tables are printed. */
    addEventListener("beforeprint", () => { if (!library) openTables(true); });
    addEventListener("afterprint", () => { if (!library) { openTables(false); begin(); } });
  }

  /* Maps lie over images that their card already holds. */
  const cards = find(".card");
  for (const card of cards) {
    for (const under of find(".under", card)) under.src = card.querySelector(`[data-name="${under.dataset.from}"]`).src;
  }

  /* Filters: a card shows the rows of maps that fit, and is hidden if none does. */
  const form = document.getElementById("filters");
  const shelf = document.getElementById("cards");
  const shown = document.getElementById("shown");
  const smallest = (card) => Math.min(...find(".map-row:not([hidden])", card).map((r) => Number(r.dataset.distance)));
  const update = () => {
    const wanted = Object.fromEntries(new FormData(form));
    let images = 0;
    for (const card of cards) {
      let any = false;
      for (const row of find(".map-row", card)) {
        const fits = (!wanted.comparison || card.dataset.comparison === wanted.comparison)
          && (!wanted.interpreter || row.dataset.interpreter === wanted.interpreter)
          && (!wanted.verdict || row.dataset.verdict === wanted.verdict);
        row.hidden = !fits;
        any = any || fits;
      }
      card.hidden = !any;
      images += any;
    }
    const sign = wanted.sort === "-distance" ? -1 : 1;
    const key = wanted.sort === "order" ? (card) => Number(card.dataset.order) : (card) => sign * smallest(card);
    const keyed = cards.map((card, index) => [card.hidden ? 0 : key(card), index, card]);
    keyed.sort((a, b) => a[0] - b[0] || a[1] - b[1]);
    shelf.append(...keyed.map((entry) => entry[2]));
    shown.textContent = images ? `${images} of ${cards.length} shown` : "No image fits these filters.";
  };
  form.addEventListener("change", update);
  form.addEventListener("submit", (event) => event.preventDefault());

  button.hidden = false;
  label();
  if (cards.length) { form.hidden = false; update(); }
})();
