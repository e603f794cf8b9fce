"use strict";
(() => {
  /* The library is unpacked when the first chart comes near, or else when the browser has nothing to do: printing can
     wait for nothing. If that fails, tables are opened instead of charts. */
  const { find } = underfire;
  const charts = find(".chart").map((chart) => ({ chart, place: chart.querySelector(".plot"), figure: underfire.read(chart), near: false }));
  if (!charts.length) return;
  let library = null, begun = null;
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
  const faint = (value) => value.replace("rgb(", "rgba(").replace(")", ", .16)");
  const draw = ({ place, figure }) => {
    const { data, layout } = structuredClone(figure);
    const [ink, muted, line, sheet, attack, control] = ["ink", "muted", "line", "sheet", "attack", "control"].map(colour);
    for (const trace of data) {
      const { role, place: number, band } = trace.meta;
      const own = number >= 0 && number !== null ? colour(`line-${number % 6}`) : role === "attack" ? attack : control;
      if (role === "heat") trace.colorscale = [[0, line], [1, attack]];
      if (band) trace.fillcolor = faint(own);
      else if (trace.line) trace.line.color = own;
      if (trace.marker) {
        trace.marker.color = own;
        trace.marker.line = { color: own, width: role === "attack" ? 0 : 2 };
        for (const bar of [trace.error_x, trace.error_y]) if (bar) bar.color = own;
      }
      if (!underfire.fits(trace.meta.about || {})) trace.visible = false;
    }
    /* An entry of the legend goes with the last of its traces. */
    const there = new Set(data.filter(({ meta, visible }) => !meta.entry && visible !== false).map((trace) => trace.legendgroup));
    for (const trace of data) if (trace.meta.entry && !there.has(trace.legendgroup)) trace.visible = false;
    for (const axis of [layout.xaxis, layout.yaxis]) {
      Object.assign(axis, { gridcolor: line, linecolor: line });
      axis.title.font = { size: 13 };
    }
    for (const shape of layout.shapes) shape.line.color = muted;
    for (const text of layout.annotations) text.font = { color: muted, size: 12 };
    Object.assign(layout, {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, family: getComputedStyle(document.body).fontFamily, size: 12.5 },
      hoverlabel: { bgcolor: sheet, bordercolor: line, font: { color: ink }, namelength: -1 },
    });
    library.react(place, data, layout, { displayModeBar: false, responsive: true });
  };
  const drawNear = () => { if (library) charts.filter((each) => each.near && !each.chart.hidden).forEach(draw); };
  const openTables = (open) => charts.forEach(({ chart, place }) => {
    place.hidden = open;
    chart.querySelector("details").open = open;
  });
  const begin = () => { begun ??= unpack().catch(() => openTables(true)); return begun; };
  if (!("DecompressionStream" in window)) { openTables(true); return; }
  const watch = new IntersectionObserver((seen) => {
    for (const entry of seen.filter((each) => each.isIntersecting)) {
      const found = charts.find((each) => each.place === entry.target);
      watch.unobserve(entry.target);
      found.near = true;
      begin().then(() => { if (library && !found.chart.hidden) draw(found); });
    }
  }, { rootMargin: "600px" });
  charts.forEach(({ place }) => watch.observe(place));
  underfire.themed.push(drawNear);
  document.addEventListener("underfire-filter", () => {
    for (const { chart, figure } of charts) {
      const metas = figure.data.map(({ meta }) => meta).filter(({ entry }) => !entry);
      /* Controls without their attack are no chart. */
      const attacks = metas.filter(({ role }) => role === "attack");
      const some = (attacks.length ? attacks : metas).some(({ about }) => underfire.fits(about || {}));
      chart.hidden = !some || !underfire.fits(chart.dataset);
    }
    drawNear();
  });
  const idle = window.requestIdleCallback ?? ((call) => setTimeout(call, 200));
  if (document.readyState === "complete") idle(begin); else addEventListener("load", () => idle(begin));
  /* Paper gets all charts; who prints before the library is there gets the tables. */
  addEventListener("beforeprint", () => {
    if (!library) { openTables(true); return; }
    for (const each of charts.filter(({ near, chart }) => !near && !chart.hidden)) { each.near = true; draw(each); }
  });
  addEventListener("afterprint", () => { if (!library) openTables(false); });
})();
