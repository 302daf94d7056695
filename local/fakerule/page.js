"use strict";
// Keeps the page up to date without a full reload: what has changed is taken
// from the server's next answer, and all else, what is open or typed, stays.
(() => {
  const pause = 2000; // ms between two looks
  const live = document.getElementById("live");
  const query = document.getElementById("q");
  const before = new Map(); // what the server said of each part, by its key
  let on = true, timer, asked = 0;

  function remember(root) {
    before.clear();
    root.querySelectorAll("[data-live]").forEach((region) => {
      before.set(region.id, region.outerHTML);
      region.querySelectorAll("[data-key]").forEach((part) => before.set(part.dataset.key, part.outerHTML));
    });
  }

  // keepOpen opens in a new part what was opened in the old one.
  function keepOpen(old, fresh) {
    const open = new Map();
    old.querySelectorAll("details[data-at]").forEach((d) => open.set(d.dataset.at, d.open));
    fresh.querySelectorAll("details[data-at]").forEach((d) => {
      if (open.has(d.dataset.at)) d.open = open.get(d.dataset.at);
    });
  }

  function update(region, next) {
    if (!next || before.get(region.id) === next.outerHTML) return;
    const old = new Map();
    region.querySelectorAll("[data-key]").forEach((part) => old.set(part.dataset.key, part));
    const focused = region.contains(document.activeElement) ? document.activeElement : null;
    next.querySelectorAll("[data-key]").forEach((part) => {
      const was = old.get(part.dataset.key);
      if (was && before.get(part.dataset.key) === part.outerHTML) {
        was.classList.remove("fresh");
        part.replaceWith(was);
        return;
      }
      if (was) keepOpen(was, part);
      part.classList.add("fresh");
    });
    region.replaceChildren(...next.childNodes);
    if (focused && region.contains(focused)) focused.focus();
  }

  async function look(url = location.href) {
    clearTimeout(timer);
    const mine = ++asked;
    try {
      const res = await fetch(url, { cache: "no-store" });
      const text = await res.text();
      if (res.ok && mine === asked) {
        const next = new DOMParser().parseFromString(text, "text/html");
        const said = new DOMParser().parseFromString(text, "text/html");
        document.querySelectorAll("[data-live]").forEach((region) => update(region, next.getElementById(region.id)));
        remember(said);
        document.title = next.title;
      }
      live.textContent = on ? "Live" : "Paused";
    } catch {
      live.textContent = "No answer";
    }
    if (mine === asked) timer = setTimeout(tick, pause);
  }

  function tick() {
    if (on && !document.hidden) look();
    else timer = setTimeout(tick, pause);
  }

  function find() {
    const url = new URL(location.href);
    url.searchParams.delete("page");
    url.searchParams.set("q", query.value);
    if (!query.value) url.searchParams.delete("q");
    history.replaceState(null, "", url);
    look();
  }

  let typing;
  query.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(find, 200); });
  query.form.addEventListener("submit", (e) => { e.preventDefault(); find(); });
  document.getElementById("account").addEventListener("change", (e) => { location.search = new URLSearchParams({ account: e.target.value }); });
  live.addEventListener("click", () => {
    on = !on;
    live.setAttribute("aria-pressed", String(on));
    look();
  });
  document.addEventListener("submit", async (e) => {
    if (!("quiet" in e.target.dataset)) return;
    e.preventDefault();
    await fetch(e.target.action, { method: "POST", redirect: "manual" });
    look();
  });
  document.addEventListener("click", async (e) => {
    const button = e.target.closest("[data-post]");
    if (!button) return;
    const res = await fetch(button.dataset.post, { method: "POST", body: button.dataset.body });
    const answer = await res.json();
    if (answer.key) document.getElementById("made").textContent = "New key, shown once: " + answer.key;
    look();
  });
  live.hidden = false;
  remember(document);
  timer = setTimeout(tick, pause);
})();
