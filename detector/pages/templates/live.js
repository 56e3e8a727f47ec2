// Puts new parts in place of old ones, and leaves the reader where the reader was: the scroll, the focus,
// what is unfolded, what is selected. Text of records never becomes a script here: the parser runs none.
"use strict";

const every = Number(document.body.dataset.refreshS) * 1000;
const button = document.getElementById("pause");
const state = document.getElementById("state");
const announce = document.getElementById("announce");
let paused = false;
let timer = 0;
let failedAt = "";
let lastSaid = headline();

function headline() {
  const tile = document.querySelector("#now .tile");
  const notes = document.querySelectorAll("#now .note.bad");
  return [tile, ...notes].map((part) => (part ? part.textContent.trim().replace(/\s+/g, " ") : "")).join(". ");
}

// What a thing is called, within its part: its id, its key, or its place among its kind.
function places(part) {
  return [...part.querySelectorAll("a, button, summary, [tabindex]")];
}

function folds(part) {
  return [...part.querySelectorAll("details")];
}

function keyOf(fold) {
  return fold.id || fold.dataset.key;
}

function replace(old, fresh) {
  const opened = new Map(folds(old).map((fold) => [keyOf(fold), fold.open]));
  for (const fold of folds(fresh)) {
    if (opened.has(keyOf(fold))) fold.open = opened.get(keyOf(fold));
  }
  if (old.innerHTML === fresh.innerHTML) return;
  const selection = document.getSelection();
  if (selection && !selection.isCollapsed && old.contains(selection.anchorNode)) return; // being copied
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const fold = focused && focused.matches("summary") ? keyOf(focused.parentElement) : "";
  const at = focused ? places(old).indexOf(focused) : -1;
  const across = [...old.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  old.replaceChildren(...fresh.childNodes);
  [...old.querySelectorAll(".scroll")].forEach((box, n) => { box.scrollLeft = across[n] || 0; });
  if (!focused) return;
  const same = fold ? folds(old).find((one) => keyOf(one) === fold) : null;
  const next = same ? same.querySelector("summary") : places(old)[at];
  if (next) next.focus({ preventScroll: true });
}

// The part at the top of the window, and where it stands there.
function anchor() {
  for (const part of document.querySelectorAll("main section, main article")) {
    const box = part.getBoundingClientRect();
    if (box.bottom > 0 && part.id) return [part.id, box.top];
  }
  return null;
}

function put(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html");
  const held = anchor();
  for (const part of fresh.querySelectorAll("section[id]")) {
    const old = document.getElementById(part.id);
    if (old) replace(old, document.adoptNode(part));
  }
  if (held) {
    const moved = document.getElementById(held[0]).getBoundingClientRect().top - held[1];
    if (Math.abs(moved) > 1) window.scrollBy({ top: moved, behavior: "instant" });
  }
}

async function update() {
  clearTimeout(timer);
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch("view", { cache: "no-store", credentials: "same-origin" });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      put(await answer.text());
      failedAt = "";
      state.textContent = `Updated ${new Date().toLocaleTimeString()}`;
      const said = headline();
      if (said !== lastSaid) announce.textContent = lastSaid = said;
    } catch (wrong) {
      if (!failedAt) {
        failedAt = new Date().toLocaleTimeString();
        announce.textContent = "The page's server does not answer.";
      }
      state.textContent = `The page's server does not answer since ${failedAt}: what stands here is old.`;
    }
    document.body.classList.toggle("old", failedAt !== "");
  }
  timer = setTimeout(update, every);
}

button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  button.setAttribute("aria-pressed", String(paused));
  button.textContent = paused ? "Resume updates" : "Pause updates";
  state.textContent = paused ? `Paused ${new Date().toLocaleTimeString()}` : "";
  if (!paused) update();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
timer = setTimeout(update, every);
