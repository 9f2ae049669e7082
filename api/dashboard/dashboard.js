// The keys of the pages, and what selecting several of a list needs. Everything works without it, one by one.
"use strict";

const rows = () => [...document.querySelectorAll("[data-row]")];

function move(by) {
  const all = rows();
  if (!all.length) return;
  const here = document.activeElement?.closest("li, tr");
  const at = all.findIndex((row) => here?.contains(row));
  const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
  next.focus();
  next.scrollIntoView({ block: "nearest" });
}

function pick() {
  document.activeElement?.closest("li")?.querySelector("[name='ids']")?.click();
}

const acts = {
  "/": () => {
    const field = document.querySelector("[data-search]");
    field?.focus();
    field?.select();
  },
  j: () => move(1),
  k: () => move(-1),
  x: pick,
  "?": () => document.getElementById("keys")?.showModal(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type='checkbox']), textarea, select, dialog[open], [contenteditable]");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(acts, event.key)) return;
  event.preventDefault();
  acts[event.key]();
});

function count() {
  const bar = document.querySelector("[data-bar]");
  if (!bar) return;
  const all = [...document.querySelectorAll("[name='ids']")];
  const picked = all.filter((box) => box.checked).length;
  bar.querySelector("[data-count]").textContent = picked ? `${picked} selected` : "Nothing selected";
  bar.classList.toggle("picked", picked > 0);
  const every = bar.querySelector("[data-all]");
  every.checked = picked > 0 && picked === all.length;
  every.indeterminate = picked > 0 && picked < all.length;
}

document.addEventListener("change", (event) => {
  if (event.target.matches("[data-all]")) {
    for (const box of document.querySelectorAll("[name='ids']")) box.checked = event.target.checked;
  }
  count();
});
document.addEventListener("htmx:afterSwap", count);

// Times of day in the reader's own zone, on hover; what is written stays as the server wrote it.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (time && !time.title) time.title = new Date(time.dateTime).toString();
});

// What has happened is told by ids; whatever shows one of them asks for itself anew. A row that somebody has
// ticked or stands on waits. Tabs in the background close the line: a browser has six to one place.
let line = null;
const ROWS = "#rows [data-live]:not([data-live='*'])";

const MANY = 400; // rows, above which a list takes in no more by itself

function asks(element) {
  if (element.querySelector("input:checked") || (element.id === "fresh" && rows().length > MANY)) return;
  htmx.trigger(element, "news");
}

// What somebody stands on is not replaced under them, by news or by time; what they unfolded stays so.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt } = event.detail;
  if (elt.matches("[data-live]") && elt.contains(document.activeElement)) event.preventDefault();
});
let unfolded = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  const { elt, xhr } = event.detail;
  // What is wrong is said in forms; a list that could not go on stays as it is, and may be asked again.
  if (xhr.status === 400 && !elt.matches("form")) event.detail.shouldSwap = false;
  unfolded = elt.id ? [...elt.querySelectorAll("details")].map((one) => one.open) : [];
});
document.addEventListener("htmx:afterSwap", (event) => {
  const folds = document.getElementById(event.detail.elt.id)?.querySelectorAll("details") ?? [];
  if (folds.length === unfolded.length) folds.forEach((one, at) => (one.open = unfolded[at]));
  unfolded = [];
});

function told(words) {
  const ids = new Set(words.split(" "));
  lookAtLists();
  for (const element of document.querySelectorAll("[data-live]:not([data-live='*'])")) {
    if (ids.has("*") ? !element.matches(ROWS) : ids.has(element.dataset.live)) asks(element);
  }
}

// What shows many things asks at once, and then no more than every three seconds, however much happens.
let soon = null;
let lookedAt = 0;
function lookAtLists() {
  soon ??= setTimeout(() => {
    soon = null;
    lookedAt = Date.now();
    document.querySelectorAll("[data-live='*']").forEach(asks);
  }, Math.max(0, lookedAt + 3000 - Date.now()));
}

function listen() {
  const wanted = !document.hidden && document.querySelector("[data-live]");
  if (!wanted) {
    line?.close();
    line = null;
  } else if (!line || line.readyState === EventSource.CLOSED) {
    let opened = false;
    const returns = line !== null;
    line = new EventSource("/live");
    line.onopen = () => {
      if (opened || returns) told("*");
      opened = true;
    };
    line.onmessage = (event) => told(event.data);
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) told("*");
  listen();
});
document.addEventListener("htmx:afterSettle", listen);
addEventListener("pagehide", () => {
  line?.close();
  line = null;
});
listen();

// What was said shows at once; where the end of the conversation is not on the page, it is gone to.
document.addEventListener("htmx:afterRequest", (event) => {
  if (event.detail.elt.id !== "say" || !event.detail.successful) return;
  if (document.getElementById("tail")) told("*");
  else location.assign(event.detail.xhr.responseURL);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[data-send]")) {
    event.target.form.requestSubmit();
  }
});

// What somebody asked for and did not get is said; what the page asks for by itself is asked again later.
function trouble(words) {
  const place = document.getElementById("trouble");
  if (place) {
    place.textContent = words;
    place.hidden = !words;
  }
}
const signedOut = "You are signed out. Open the login again, in another tab, and come back.";
document.addEventListener("htmx:responseError", (event) => {
  if (event.detail.xhr.status === 401) trouble(signedOut);
  else if (event.detail.xhr.status === 404 && event.detail.elt.matches(ROWS)) event.detail.elt.remove();
  else if (event.detail.elt.matches("form")) trouble("That did not work. Try again in a moment.");
});
document.addEventListener("htmx:sendError", (event) => {
  if (event.detail.elt.matches("form")) trouble("The service could not be reached. Nothing was sent.");
});
document.addEventListener("htmx:afterOnLoad", () => trouble(""));

// On a narrow screen the sections scroll sideways: the one that is shown is in sight.
document.querySelector("nav [aria-current='page']")?.scrollIntoView({ block: "nearest", inline: "center" });
