(function () {
  "use strict";
  const all = (selector, root) => Array.from((root || document).querySelectorAll(selector));
  const read = (id) => { const found = document.getElementById(id); return found ? JSON.parse(found.textContent) : null; };
  const images = read("images") || [];

  // Images: each is in the page once, and shown in any number of places.
  for (const image of all("img[data-image]")) {
    const address = images[Number(image.dataset.image)];
    if (address) image.src = address; else image.classList.add("empty");
  }

  // Colours.
  const root = document.documentElement;
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  document.getElementById("theme").addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; });

  // Charts. Colours are variables of the style sheet, so that they follow the theme and print.
  const axis = { labelColor: "var(--soft)", titleColor: "var(--soft)", gridColor: "var(--line)", domainColor: "var(--line)", tickColor: "var(--line)", titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12 };
  const colours = [1, 2, 3, 4, 5, 6, 7, 8].map((number) => `var(--c${number})`);
  const config = {
    background: null, font: getComputedStyle(document.body).fontFamily, view: { stroke: null }, axis,
    legend: { labelColor: "var(--ink)", titleColor: "var(--soft)", titleFontWeight: "normal", labelFontSize: 12, labelLimit: 240, symbolLimit: 40 },
    title: { color: "var(--ink)", anchor: "start", fontSize: 13, fontWeight: 600 }, text: { color: "var(--ink)", fontSize: 12 },
    rule: { color: "var(--soft)" }, mark: { color: "var(--c1)" }, point: { size: 60, filled: true }, range: { category: colours },
  };
  // A row's image is its number; its tooltip takes an address.
  const withImages = (node) => {
    if (Array.isArray(node)) node.forEach(withImages);
    else if (node && typeof node === "object") {
      if (typeof node.image === "number") { const address = images[node.image]; if (address) node.image = address; else delete node.image; }
      Object.values(node).forEach(withImages);
    }
    return node;
  };
  const readouts = (place, view, spec) => {
    for (const readout of all("[data-readout]", place.closest(".of-case, section"))) {
      const name = readout.dataset.readout;
      const rows = spec.data.values;
      const show = (_, value) => {
        const row = rows.reduce((best, each) => Math.abs(each[name] - value) < Math.abs(best[name] - value) ? each : best);
        for (const each of all("[data-value]", readout)) each.textContent = typeof row[each.dataset.value] === "number" ? row[each.dataset.value].toFixed(Number(each.dataset.digits)) : "–";
      };
      view.addSignalListener(name, show);
      show(name, view.signal(name));
    }
  };
  const drawn = [];
  const draw = (place) => {
    if (place.dataset.drawn || place.closest("[hidden], details:not([open])")) return;
    place.dataset.drawn = "yes";
    const spec = withImages(read(`chart-${place.dataset.chart}`));
    const tooltip = { disableDefaultStyle: true, sanitize: (value) => { const holder = document.createElement("span"); holder.textContent = String(value); return holder.innerHTML; } };
    drawn.push(vegaEmbed(place, spec, { renderer: "svg", actions: false, mode: "vega-lite", config, tooltip, ast: false })
      .then((result) => { if ((spec.params || []).some((each) => each.bind && each.bind.input)) readouts(place, result.view, spec); })
      .catch((error) => { place.textContent = `This chart cannot be drawn: ${error.message}`; place.classList.add("fault"); console.error(error); }));
  };
  const drawAll = () => { if (window.vegaEmbed) all("[data-chart]").forEach(draw); return Promise.all(drawn); };

  for (const each of all("details")) each.addEventListener("toggle", () => { if (each.open) drawAll(); });

  // The case in detail.
  const parts = all("[data-case]");
  const chooser = document.getElementById("case");
  const choose = (name) => { for (const part of parts) part.hidden = part.dataset.case !== name; drawAll(); };
  if (chooser) { chooser.addEventListener("change", () => choose(chooser.value)); choose(chooser.value); }

  // Tables: sorted by a column, filtered by a text, with the columns that the reader chooses.
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    const body = table.tBodies[0];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const falling = head.getAttribute("aria-sort") ? head.getAttribute("aria-sort") === "ascending" : head.dataset.first === "falling";
        const key = (row) => { const cell = row.cells[column]; return cell.dataset.v === undefined ? cell.textContent.trim() : cell.dataset.v === "" ? NaN : Number(cell.dataset.v); };
        const rows = Array.from(body.rows).map((row) => [key(row), row]);
        const none = (value) => Number.isNaN(value) || value === "";
        rows.sort(([a], [b]) => none(a) || none(b) ? none(a) - none(b) : (falling ? -1 : 1) * (typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b));
        body.append(...rows.map(([, row]) => row));
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      });
    });
    const filter = document.querySelector(`[data-filter="${table.id}"]`);
    const count = document.querySelector(`[data-count="${table.id}"]`);
    const apply = () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of body.rows) { row.hidden = !words.every((word) => row.cells[0].textContent.toLowerCase().includes(word)); shown += !row.hidden; }
      if (count) count.textContent = `${shown} of ${body.rows.length} rows`;
    };
    if (filter) filter.addEventListener("input", apply);
    const chosen = document.querySelector(`[data-columns="${table.id}"]`);
    const show = (column, visible) => { for (const row of table.rows) if (row.cells[column]) row.cells[column].hidden = !visible; };
    heads.forEach((head, column) => {
      const off = head.dataset.off !== undefined;
      if (off) show(column, false);
      if (!chosen || column === 0) return;
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox"; box.checked = !off;
      box.addEventListener("change", () => show(column, box.checked));
      label.append(box, ` ${head.textContent}`);
      chosen.append(label);
    });
  }

  window.pageDrawn = drawAll();
})();
