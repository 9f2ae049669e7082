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

// On a narrow screen the sections scroll sideways: the one that is shown is in sight.
document.querySelector("nav [aria-current='page']")?.scrollIntoView({ block: "nearest", inline: "center" });
