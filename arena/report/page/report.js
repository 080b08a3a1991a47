"use strict";
// Sorting, filtering, tooltips, and the drill-down of a match. Text from results is only ever set as text.
(() => {
  const FILTER_FROM = 8; // rows: a shorter table is not filtered
  const CLASSES = 10; // with the largest posteriors
  const make = (tag, words, name) => {
    const element = document.createElement(tag);
    if (words !== undefined) element.textContent = words;
    if (name) element.className = name;
    return element;
  };

  const valueOf = (cell) => {
    if (cell.dataset.value !== undefined) return Number(cell.dataset.value);
    return cell.textContent.trim();
  };
  const order = (one, other) => {
    const numbers = [typeof one === "number", typeof other === "number"];
    if (numbers[0] && numbers[1]) return one - other;
    if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
    return one.localeCompare(other, "en", { numeric: true });
  };
  const sortBy = (table, place) => {
    const head = table.tHead.rows[0].cells[place];
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row.cells[place]), row]);
    rows.sort((one, other) => (down ? -1 : 1) * order(one[0], other[0]));
    table.tBodies[0].append(...rows.map((pair) => pair[1]));
  };
  const filterable = (table) => {
    const name = make("label", "Filter rows", "filter");
    const input = make("input");
    input.type = "search";
    const told = make("span", "");
    told.setAttribute("role", "status");
    name.append(input, " ", told);
    table.parentElement.before(name); // between the title and the table
    let texts = null;
    input.addEventListener("input", () => {
      texts ??= [...table.tBodies[0].rows].map((row) => [row, row.textContent.toLowerCase()]);
      const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const [row, text] of texts) {
        row.hidden = !wanted.every((word) => text.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      told.textContent = wanted.length ? `${shown} of ${texts.length} rows` : "";
    });
  };
  for (const table of document.querySelectorAll("main table")) {
    if (table.tBodies[0].rows.length >= FILTER_FROM) filterable(table);
  }
  document.addEventListener("click", (event) => {
    const head = event.target.closest(".sort");
    if (head) sortBy(head.closest("table"), head.closest("th").cellIndex);
    const open = event.target.closest(".open");
    if (open) location.hash = `match=${open.closest("tr").dataset.match}`;
  });

  const tip = document.getElementById("tip");
  const wordsOf = (target) => {
    const found = target instanceof Element ? target.closest("[data-tip], .point") : null;
    return found ? [found, found.dataset.tip ?? found.getAttribute("aria-label")] : [null, ""];
  };
  const show = (event) => {
    const [found, words] = wordsOf(event.target);
    tip.hidden = !found;
    if (!found) return;
    tip.textContent = words;
    const box = found.getBoundingClientRect();
    const left = Math.min(Math.max(4, box.left), innerWidth - tip.offsetWidth - 8);
    const below = box.bottom + tip.offsetHeight + 12 < innerHeight;
    tip.style.left = `${left}px`;
    tip.style.top = `${below ? box.bottom + 6 : Math.max(4, box.top - tip.offsetHeight - 6)}px`;
  };
  for (const kind of ["mouseover", "focusin"]) document.addEventListener(kind, show);
  for (const cell of document.querySelectorAll("main [data-tip]")) cell.tabIndex = 0;
  document.addEventListener("focusout", () => { tip.hidden = true; });
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") tip.hidden = true; });
  for (const title of document.querySelectorAll("svg .point > title")) title.remove(); // the tooltip says it instead

  const dialog = document.getElementById("match");
  const body = document.getElementById("match-body");
  let details = null;
  const picture = (data, words) => {
    const image = make("img");
    image.src = `data:image/png;base64,${data}`;
    image.alt = words;
    return image;
  };
  const bars = (query) => {
    const table = make("table", undefined, "bars");
    const largest = (label) => Math.max(query.released[label], query.clean[label] ?? 0);
    const labels = [...query.released.keys()].sort((one, other) => largest(other) - largest(one)).slice(0, CLASSES);
    labels.sort((one, other) => one - other).forEach((label) => {
      const [released, clean] = [query.released[label], query.clean[label]];
      const row = table.insertRow();
      row.insertCell().textContent = label;
      const cell = row.insertCell();
      for (const [value, name] of [[clean, "clean"], [released, "released"]]) {
        if (value === undefined) continue;
        const bar = make("i", undefined, name);
        bar.style.width = `${100 * value}%`;
        cell.append(bar);
      }
      row.insertCell().textContent = (clean === undefined ? "" : `${clean.toFixed(2)} / `) + released.toFixed(2);
    });
    return table;
  };
  const queryOf = (query, number) => {
    const block = make("div");
    if (query.picture) block.append(picture(query.picture, `query ${number + 1}`));
    if (query.explanation) block.append(picture(query.explanation, `explanation of query ${number + 1}`));
    const known = query.clean.length ? "Undefended (striped) and released (solid) posteriors by class" : "Released posteriors by class; those of the undefended victim are not in the transcripts";
    block.append(make("p", query.refused ? "Refused." : `${known}:`, "caption"));
    if (!query.refused) block.append(bars(query));
    return block;
  };
  const matrixOf = (counts, classes, from) => {
    const table = make("table", undefined, "confusion");
    const head = table.createTHead().insertRow();
    head.append(make("th", `${from} ↓ clone →`));
    for (let label = 0; label < classes; label += 1) head.append(make("th", label));
    const rows = table.createTBody();
    for (let label = 0; label < classes; label += 1) {
      const row = rows.insertRow();
      const name = make("th", label);
      name.scope = "row";
      row.append(name);
      const found = counts.slice(label * classes, (label + 1) * classes);
      const total = found.reduce((sum, count) => sum + count, 0);
      found.forEach((count, other) => {
        const cell = row.insertCell();
        cell.textContent = count || "";
        if (count) cell.style.setProperty("--share", `${Math.round(30 * count / total)}%`);
        if (count) cell.className = label === other ? "agreed" : "confused";
      });
    }
    const box = make("div", undefined, "sideways");
    box.tabIndex = 0;
    box.append(table);
    return box;
  };
  const openMatch = () => {
    const name = /^#match=([0-9a-f]+)$/.exec(location.hash)?.[1];
    if (!name) return;
    details ??= JSON.parse(document.getElementById("details").textContent);
    const found = details[name];
    document.getElementById("match-title").textContent = `Match ${name}`;
    body.replaceChildren();
    if (!found) {
      body.append(make("p", "This report has no such match."));
    } else {
      const list = make("dl");
      for (const [key, value] of found.rows) list.append(make("dt", key), make("dd", value));
      body.append(list);
      if (found.why_not) body.append(make("p", found.why_not));
      if (found.confusion) {
        const { classes, victim, labels, track } = found.confusion;
        const whose = track === "b" ? "the attack's own clone" : "the referee's clone (track A)";
        body.append(make("h3", `Which classes ${whose} confuses`));
        body.append(make("p", "Test rows by the class that the undefended victim decides, then by their label. The diagonal is underlined.", "caption"));
        body.append(matrixOf(victim, classes, "victim"), matrixOf(labels, classes, "label"));
      } else {
        body.append(make("p", "No confusion matrix was recorded: there was no clone, the task has many classes, or an older version played.", "caption"));
      }
      if (found.queries?.length) {
        const queries = make("div", undefined, "queries");
        found.queries.forEach((query, number) => queries.append(queryOf(query, number)));
        body.append(make("h3", "The first queries"), queries);
      }
      if (found.images?.length) {
        const images = make("div", undefined, "images");
        found.images.forEach((image, number) => images.append(picture(image, `image ${number + 1} of a threat`)));
        body.append(make("h3", "Images that threats made"), images);
      }
    }
    if (!dialog.open) dialog.showModal();
  };
  dialog.addEventListener("close", () => history.replaceState(null, "", location.pathname + location.search));
  addEventListener("hashchange", openMatch);
  openMatch();
  addEventListener("beforeprint", () => { for (const one of document.querySelectorAll("details")) one.open = true; });
})();
