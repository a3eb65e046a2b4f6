"use strict";
(() => {
  // theme: as the system has it, until the button says otherwise
  const root = document.documentElement, button = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const kept = (value) => { try { return value ? localStorage.setItem("theme", value) : localStorage.getItem("theme"); } catch { return null; } };
  const isDark = () => (root.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = isDark() ? "Light mode" : "Dark mode"; };
  const before = kept();
  if (before === "dark" || before === "light") root.dataset.theme = before;
  button.hidden = false;
  button.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; kept(root.dataset.theme); label(); });
  system.addEventListener("change", label);
  label();

  // tables: a click on a column's head sorts; what has no value stays last
  const value = (row, column) => {
    const cell = row.cells[column];
    return cell.dataset.v !== undefined ? Number(cell.dataset.v) : cell.textContent.trim().replace(/^–$/, "");
  };
  const order = (a, b) => typeof a === "number" && typeof b === "number" ? a - b
    : typeof a === "number" ? -1 : typeof b === "number" ? 1 : a.localeCompare(b, undefined, { numeric: true });
  document.querySelectorAll("table").forEach((table) => {
    const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
    if (body.rows.length < 2) return;
    heads.forEach((head, column) => {
      const push = document.createElement("button");
      push.type = "button";
      push.append(...head.childNodes);
      if (!push.textContent.trim()) push.setAttribute("aria-label", "first column");
      head.append(push);
      push.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((each) => each.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => [value(row, column), row]);
        rows.sort(([a], [b]) => a === "" || b === "" ? (a === "") - (b === "") : down ? order(b, a) : order(a, b));
        body.append(...rows.map(([, row]) => row));
      });
    });
  });

  // plots: the point nearest to the pointer tells its value
  const tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true; tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  document.querySelectorAll("svg.plot").forEach((plot) => {
    const points = [...plot.querySelectorAll("[data-points]")].flatMap((mark) => mark.dataset.points.split(" ").filter(Boolean)
      .map((point) => { const [x, y, ...told] = point.split(","); return { x: +x, y: +y, told, label: mark.dataset.label }; }));
    const here = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    here.setAttribute("class", "here"); here.setAttribute("r", "6");
    const hide = () => { tip.hidden = true; here.remove(); };
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect(), scale = plot.viewBox.baseVal.width / box.width;
      const x = (event.clientX - box.left) * scale, y = (event.clientY - box.top) * scale;
      const far = (point) => (point.x - x) ** 2 + (point.y - y) ** 2;
      const near = points.reduce((best, point) => !best || far(point) < far(best) ? point : best, null);
      if (!near || far(near) > 1600) return hide();
      here.setAttribute("cx", near.x); here.setAttribute("cy", near.y); plot.append(here);
      tip.textContent = [near.label, ...near.told.map(decodeURIComponent)].filter(Boolean).join(" · ");
      tip.hidden = false;
      const left = box.left + near.x / scale + scrollX + 12, limit = scrollX + root.clientWidth - tip.offsetWidth - 4;
      tip.style.left = `${Math.max(4, Math.min(left, limit))}px`;
      tip.style.top = `${box.top + near.y / scale + scrollY - tip.offsetHeight - 10}px`;
    });
    plot.addEventListener("pointerleave", hide);
  });
})();
