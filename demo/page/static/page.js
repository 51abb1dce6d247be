// Keeps the page up to date without disturbing who reads it: only what differs is replaced, so that
// focus, selection, scroll positions and typed text stay as they are.
"use strict";

const box = document.getElementById("slackbox");
const conversation = document.getElementById("slack");
const last = new Map(); // region → HTML as it came
const counts = new Map(); // pane → messages that were seen

function keyOf(node) {
  return node.nodeType === 1 ? node.getAttribute("data-key") || node.id || null : null;
}

// morph makes node look like wanted, keeping every element that can stay.
function morph(node, wanted) {
  if (node.nodeType !== wanted.nodeType || node.nodeName !== wanted.nodeName) {
    node.replaceWith(wanted);
    return;
  }
  if (node.nodeType !== 1) {
    if (node.nodeValue !== wanted.nodeValue) node.nodeValue = wanted.nodeValue;
    return;
  }
  for (const a of [...node.attributes]) if (!wanted.hasAttribute(a.name)) node.removeAttribute(a.name);
  for (const a of wanted.attributes) if (node.getAttribute(a.name) !== a.value) node.setAttribute(a.name, a.value);
  morphChildren(node, wanted);
}

function morphChildren(node, wanted) {
  const keyed = new Map();
  for (const child of node.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let at = node.firstChild;
  for (const next of [...wanted.childNodes]) {
    const match = keyOf(next) && keyed.get(keyOf(next));
    if (match) {
      if (match !== at) node.insertBefore(match, at);
      else at = at.nextSibling;
      morph(match, next);
    } else if (at && !keyOf(at) && !keyOf(next) && at.nodeName === next.nodeName) {
      const old = at;
      at = at.nextSibling;
      morph(old, next);
    } else {
      node.insertBefore(next, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function show(id, html) {
  if (last.get(id) === html) return;
  last.set(id, html);
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const region = document.getElementById(id);
  const atEnd = conversation.scrollHeight - conversation.scrollTop - conversation.clientHeight < 60;
  morphChildren(region, holder.content);
  if (id === "slack") {
    announce();
    if (atEnd) conversation.scrollTop = conversation.scrollHeight;
  }
}

// announce marks the other tab when something was written there.
function announce() {
  for (const tab of document.querySelectorAll(".tabs [data-tab]")) {
    const name = tab.dataset.tab === "dm" ? "dm-" + box.dataset.me : "channel";
    const n = conversation.querySelectorAll('[data-pane="' + name + '"] > .post').length;
    const shown = tab.dataset.tab === box.dataset.tab;
    tab.classList.toggle("news", !shown && n > (counts.get(name) || 0));
    if (shown) counts.set(name, n);
  }
}

async function refresh() {
  try {
    const answer = await fetch("/state", { headers: { "X-Requested-With": "page" } });
    const state = await answer.json();
    for (const [id, html] of Object.entries(state.regions)) show(id, html);
    document.body.classList.remove("gone");
  } catch {
    document.body.classList.add("gone"); // the demo was stopped
  }
  setTimeout(refresh, document.hidden ? 3000 : 600);
}

function complain(text) {
  document.getElementById("slack-error").textContent = text;
}

document.addEventListener("submit", async (event) => {
  const form = event.target;
  if (form.id !== "command" && !form.hasAttribute("data-quiet")) return;
  event.preventDefault();
  if (form.dataset.confirm && !window.confirm(form.dataset.confirm)) return;
  const data = new URLSearchParams(new FormData(form));
  if (data.has("user")) data.set("user", box.dataset.me);
  complain("");
  try {
    const answer = await fetch(form.action, { method: "POST", body: data, headers: { "X-Requested-With": "page" } });
    if (!answer.ok) complain(await answer.text());
    else if (form.id === "command") {
      form.elements.text.value = "";
      choose("channel");
      conversation.scrollTop = conversation.scrollHeight;
    }
  } catch {
    complain("The demo does not answer. Was it stopped?");
  }
});

// A menu acts when something is chosen from it, and shows its name again.
document.addEventListener("change", (event) => {
  if (!event.target.matches("select[data-go]") || !event.target.value) return;
  event.target.form.requestSubmit();
  event.target.value = "";
});

function choose(tab) {
  box.dataset.tab = tab;
  for (const t of document.querySelectorAll(".tabs [data-tab]")) t.setAttribute("aria-selected", String(t.dataset.tab === tab));
  conversation.setAttribute("aria-labelledby", "tab-" + tab);
  announce();
  conversation.scrollTop = conversation.scrollHeight;
}

for (const tab of document.querySelectorAll(".tabs [data-tab]")) {
  tab.addEventListener("click", () => choose(tab.dataset.tab));
  tab.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    const other = tab.nextElementSibling || tab.previousElementSibling;
    other.focus();
    choose(other.dataset.tab);
  });
}
for (const radio of document.querySelectorAll('.me input')) {
  if (radio.checked) box.dataset.me = radio.value; // browsers restore a form on reload
  radio.addEventListener("change", () => {
    box.dataset.me = radio.value;
    announce();
  });
}
conversation.scrollTop = conversation.scrollHeight;
refresh();
