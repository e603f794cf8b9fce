"use strict";
(() => {
  const { find, make } = underfire;
  const PART = 60; /* so many tiles are made at a time */
  const block = document.querySelector(".gallery");
  const { groups, images, items } = underfire.read(block);
  const form = block.querySelector("form"), shelf = block.querySelector(".shelf"), output = form.querySelector("output");
  const more = block.querySelector(".more"), clear = block.querySelector(".nothing"), viewer = block.querySelector("dialog");
  const text = (name, value) => { viewer.querySelector(`[data-text="${name}"]`).textContent = value; };
  const control = (name) => viewer.querySelector(`[data-do="${name}"]`);
  const number = (value) => (value === null ? "unknown" : value.toFixed(3));
  const share = (value) => {
    if (value === null) return "unknown";
    const rounded = Math.round(100 * value);
    return rounded === 0 && value > 0 ? "< 1\u00a0%" : rounded === 100 && value < 1 ? "> 99\u00a0%" : `${rounded}\u00a0%`;
  };
  const group = (item) => groups[item.group], image = (item) => images[item.image];
  const isFar = (item) => item.distance !== null && group(item).far !== null && item.distance > group(item).far;
  const words = (item) => group(item).verdicts[item.verdict];
  /* In what the groups differ, beginning with the interpreter; the run only if the rest does not tell them apart. */
  const namesOf = (item, parts) => parts.map((part) => group(item)[part]).join(", ");
  const differing = ["interpreter", "attack", "classifier"].filter((part) => new Set(groups.map((each) => each[part])).size > 1);
  const told = new Set(groups.map((each) => differing.map((part) => each[part]).join("\n"))).size === groups.length;
  const naming = groups.length > 1 && !told ? [...differing, "run"] : differing;
  /* The same image under other attacks and interpreters, also of other runs: of one id, and of one file. */
  const keyOf = (item) => `${image(item).id}\n${image(item).path}`;
  const same = new Map(items.map((item) => [keyOf(item), []]));
  for (const item of items) same.get(keyOf(item)).push(item);
  const namesOfSibling = ["attack", "interpreter", ...naming.filter((part) => part === "classifier" || part === "run")];
  let chosen = [], made = 0, current = 0, opened = null;

  /* The shelf: one button for each image. The arrow keys move between them; Tab reaches one. */
  const tile = (item, place) => {
    const { label, id, small, width, height } = image(item);
    const reads = naming.length ? `${namesOf(item, naming)}, ` : "";
    const pictures = 3;
    const thumb = make("img", { src: item.thumb, loading: "lazy", alt: "" });
    thumb.style.setProperty("--shape", `${pictures * width} / ${height}`);
    const name = make("bdi", { textContent: `${label} → ${item.verdict === "failed" ? item.target : item.became}` });
    const dot = make("i", { className: "dot", ariaHidden: "true" });
    const button = make("button", { type: "button", className: `open ${item.verdict}${small ? " pixels" : ""}`, title: id }, [
      thumb, make("span", {}, [make("b", {}, [name])]),
      make("span", { className: "quiet small" }, [dot, `${reads}${number(item.distance)}${isFar(item) ? ", unusually far" : ""}`]),
    ]);
    button.ariaLabel = `${label}, attacked towards ${item.target}; ${reads}${words(item)}; map distance ${number(item.distance)}`;
    button.dataset.place = place;
    button.tabIndex = place === current ? 0 : -1;
    return make("li", {}, [button]);
  };
  const grow = (count = PART) => {
    const end = Math.min(made + count, chosen.length);
    shelf.append(...chosen.slice(made, end).map((item, i) => tile(item, made + i)));
    made = end;
    more.hidden = made >= chosen.length;
  };
  const button = (place) => {
    while (made <= place && made < chosen.length) grow();
    return shelf.children[place]?.firstChild;
  };
  const settle = (place) => {
    const [before, now] = [button(current), button(place)];
    if (before) before.tabIndex = -1;
    if (now) { now.tabIndex = 0; current = place; }
    return now;
  };

  /* Filters and order. */
  const update = () => {
    const wanted = Object.fromEntries(new FormData(form));
    const search = wanted.find.trim().toLowerCase();
    const fits = (item) => {
      const { id, label } = image(item);
      const outlier = { any: () => item.verdict === "class" || isFar(item), class: () => item.verdict === "class", far: () => isFar(item) };
      return underfire.fits(group(item))
        && (!wanted.verdict || wanted.verdict === item.verdict) && (!wanted.outliers || outlier[wanted.outliers]())
        && (!search || [id, label, item.target, item.became].some((each) => each.toLowerCase().includes(search)));
    };
    const [sign, key] = wanted.sort.startsWith("-") ? [-1, wanted.sort.slice(1)] : [1, wanted.sort];
    const value = key === "order" ? (item) => image(item).order : (item) => item[key] ?? sign * Infinity;
    chosen = items.filter(fits);
    chosen.sort((a, b) => sign * (value(a) - value(b)) || a.group - b.group || image(a).order - image(b).order);
    shelf.replaceChildren();
    made = current = 0;
    grow();
    output.textContent = chosen.length ? `${chosen.length} of ${items.length} shown` : "No image fits these filters.";
    clear.hidden = chosen.length > 0 || !items.length;
  };

  /* The viewer: one image with its maps and predictions. */
  const layer = (source, name = "") => make("img", { src: source, className: name, alt: "" });
  const picture = (title, note, alt, layers, outline) => {
    layers[0].alt = alt;
    const stack = make("span", { className: "stack" }, layers);
    if (outline) stack.append(layer(outline, "outline"));
    const about = make("figcaption", { textContent: title });
    if (note) about.append(" ", make("span", { className: "num", textContent: note }));
    return make("figure", {}, [stack, about]);
  };
  const put = (name, source) => {
    const found = viewer.querySelector(`[data-img="${name}"]`);
    found.hidden = !source;
    if (source) found.src = source; else found.removeAttribute("src");
  };
  const slide = () => {
    const at = Number(control("slide").value) / 100;
    for (const name of ["under-attack", "heat-attack"]) viewer.querySelector(`[data-img="${name}"]`).style.opacity = at;
    viewer.querySelector('[data-img="heat-clean"]').style.opacity = 1 - at;
    control("slide").ariaValueText = `${Math.round(100 * at)} % of the map under the attack`;
  };
  const show = (item) => {
    const about = group(item), { id, path, label, clean, outline, small } = image(item);
    opened = item;
    viewer.classList.toggle("pixels", small);
    text("name", groups.length > 1 ? `${id}, ${about.label}` : id);
    text("path", path);
    text("place", chosen.includes(item) ? `${chosen.indexOf(item) + 1} of ${chosen.length}` : "");
    text("label", label);
    text("before", `probability of ${item.target}: ${share(item.before)}`);
    text("after-class", item.became);
    text("after", `probability of ${item.target}: ${share(item.after)}`);
    text("outcome", words(item) + (isFar(item) ? ", unusually far" : ""));
    text("distance", `${about.interpreter}: map distance ${number(item.distance)}, limit ${number(item.limit)}`);
    text("scores", item.scores.join("; "));
    viewer.querySelector(".outcome").className = `outcome ${item.verdict}`;
    /* The blend: the wanted map over the clean image, fading into the map under the attack over the adversarial one. */
    text("slide-from", item.maps.wanted ? "wanted map" : "benign map");
    put("under-clean", clean);
    put("under-attack", item.adversarial);
    put("heat-clean", item.maps.wanted || item.maps.clean);
    put("heat-attack", item.maps.attack);
    put("outline", outline);
    slide();
    const change = picture(`change × ${about.factor}`, "", `change of ${id}, times ${about.factor}; black is none`, [layer(clean), layer(item.adversarial)]);
    change.firstChild.classList.add("amplify");
    change.firstChild.style.setProperty("--factor", about.factor);
    const under = { clean, wanted: clean, control: item.control, attack: item.adversarial };
    const maps = ["clean", "wanted", "control", "attack"].filter((role) => item.maps[role]).map((role) => {
      const note = role in item.distances ? number(item.distances[role]) : "";
      const alt = `${about.interpreter} map of ${id}, ${about.titles[role]}${note ? `: distance ${note} to the wanted map` : ""}`;
      return picture(about.titles[role], note, alt, [layer(under[role], "grey"), layer(item.maps[role], "heat")], outline);
    });
    viewer.querySelector(".pictures").replaceChildren(
      picture("clean", "", `clean image ${id}`, [layer(clean)]),
      picture("adversarial", "", `adversarial image of ${id}`, [layer(item.adversarial)]),
      change, ...maps,
    );
    const siblings = same.get(keyOf(item));
    const select = control("sibling");
    select.hidden = siblings.length < 2;
    select.replaceChildren(...siblings.map((each) => make("option", {
      value: items.indexOf(each), selected: each === item,
      textContent: namesOf(each, namesOfSibling),
    })));
  };
  const open = (place) => {
    settle(place);
    control("slide").value = 0;
    show(chosen[place]);
    if (!viewer.open) viewer.showModal();
    viewer.scrollTop = 0;
  };
  const move = (by) => { const place = current + by; if (place >= 0 && place < chosen.length) open(place); };

  shelf.addEventListener("click", (event) => {
    const found = event.target.closest("button");
    if (found) open(Number(found.dataset.place));
  });
  shelf.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(shelf).gridTemplateColumns.split(" ").length;
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, Home: -current, End: chosen.length - 1 - current }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    settle(Math.max(0, Math.min(chosen.length - 1, current + by)))?.focus();
  });
  // The browser tells of a closed dialog later, and gives the focus back to where it was before: so it is moved here.
  const left = () => { if (opened !== null) { opened = null; button(current)?.focus(); } };
  const close = () => { viewer.close(); left(); };
  viewer.addEventListener("keydown", (event) => {
    if (event.key === "Escape") { event.preventDefault(); close(); }
    if (event.target.matches("input, select")) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (by) { event.preventDefault(); move(by); }
  });
  viewer.addEventListener("click", (event) => { if (event.target === viewer) close(); });
  viewer.addEventListener("close", left);
  control("back").addEventListener("click", () => move(-1));
  control("on").addEventListener("click", () => move(1));
  control("close").addEventListener("click", close);
  control("slide").addEventListener("input", slide);
  control("sibling").addEventListener("change", (event) => show(items[event.target.value]));
  more.firstChild.addEventListener("click", () => grow());
  new IntersectionObserver((seen) => {
    if (seen.some((entry) => entry.isIntersecting) && made < chosen.length) grow();
  }, { rootMargin: "600px" }).observe(more);
  clear.firstChild.addEventListener("click", () => {
    form.reset();
    underfire.clear();
    update();
    form.elements[0].focus({ preventScroll: true });
  });
  form.addEventListener("input", update);
  form.addEventListener("submit", (event) => event.preventDefault());
  document.addEventListener("underfire-filter", update);
  form.hidden = false;
  form.reset();
  update();
})();
