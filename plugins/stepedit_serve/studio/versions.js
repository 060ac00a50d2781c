// The tree of versions, what each one did, and a player for each.

import { oneLine } from "/studio/forms.js";
import { both, editName, inWords } from "/studio/names.js";
import { say } from "/studio/text.js";

const made = (tag, values = {}) => Object.assign(document.createElement(tag), values);
const short = (text) => (text.length > 60 ? `${text.slice(0, 59)}…` : text);

/** An edit as people say it: words that come and go as such, others by their names in the page's
    language, or as the command line writes them. */
function said(edit) {
  if (edit.inner?.edit) return said(edit.inner);
  if (edit.edit === "replace") return `${edit.find} → ${edit.by}`;
  if (edit.edit === "delete") return `− ${edit.find}`;
  if (edit.edit === "insert") return `+ ${edit.text}`;
  return inWords(edit) ?? oneLine(edit);
}

const nameOf = (edit) => (edit.inner?.edit ? nameOf(edit.inner) : edit.edit);

/** What a version is called: its branch, what somebody said for it, or what its edits do. */
export function titleOf(node, names = {}) {
  if (node.parent === null) return say("source");
  if (names[node.id]) return short(names[node.id]);
  const edits = node.chain?.edits ?? [];
  const isNamed = node.title !== edits.map(nameOf).join(", ");
  return short(isNamed ? node.title : edits.map(said).join(", "));
}

/** The edits of a version as the command line writes them. */
const notation = (node) => (node.chain?.edits ?? []).map(oneLine).join(" ");

export const routeName = (route) => (route === "llm" || route === "dsp" ? say(route) : route);

function children(nodes) {
  const found = new Map();
  for (const node of nodes) found.set(node.parent, [...(found.get(node.parent) ?? []), node]);
  return found;
}

export class Versions {
  /**
   * @param tree the list that is filled
   * @param steps the box that says what the present version did
   * @param mark the line that says which mark its sound carries
   * @param handlers onGo(node id), onPlay(node, button): play one, or stop
   */
  constructor(tree, steps, mark, handlers) {
    Object.assign(this, { tree, steps, mark, handlers });
    tree.addEventListener("click", (event) => {
      const item = event.target.closest("[role=treeitem]");
      const button = event.target.closest("button");
      if (button) handlers.onPlay(item.dataset.node);
      else if (item) handlers.onGo(item.dataset.node);
    });
    tree.addEventListener("keydown", (event) => this.typed(event));
  }

  typed(event) {
    if (event.target.closest("button")) return;
    const items = [...this.tree.querySelectorAll("[role=treeitem]")];
    const place = items.indexOf(event.target);
    const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 }[event.key];
    if (to !== undefined) items[to]?.focus();
    else if (event.key === "Enter") this.handlers.onGo(event.target.dataset.node);
    else if (event.key.toLowerCase() === "p") this.handlers.onPlay(event.target.dataset.node);
    else return;
    event.preventDefault();
  }

  show(session) {
    const below = children(session.nodes);
    const names = Object.fromEntries(Object.entries(session.branches ?? {}).map(([name, node]) => [node, name]));
    const item = (node) => {
      const row = made("li", { tabIndex: node.id === session.head ? 0 : -1 });
      row.setAttribute("role", "treeitem");
      row.setAttribute("aria-selected", String(node.id === session.head));
      row.dataset.node = node.id;
      const line = made("div", { className: "version" });
      const title = titleOf(node, names);
      const play = made("button", { type: "button", tabIndex: -1, textContent: "▶" });
      play.setAttribute("aria-label", say("playVersion", { t: title }));
      play.setAttribute("aria-pressed", "false");
      const note = `${node.seconds.toFixed(1)} ${say("seconds")}`;
      line.append(play, made("span", { textContent: title, title: notation(node) }), made("span", { className: "quiet", textContent: note }));
      row.append(line);
      if (below.get(node.id)) {
        row.setAttribute("aria-expanded", "true");
        const list = made("ul");
        list.setAttribute("role", "group");
        list.append(...below.get(node.id).map(item));
        row.append(list);
      }
      return row;
    };
    this.tree.replaceChildren(...(below.get(null) ?? []).map(item));
  }

  /** Show which version a player of its own plays; null: none. */
  playing(id) {
    for (const item of this.tree.querySelectorAll("[role=treeitem]")) {
      const button = item.querySelector(".version button");
      const on = item.dataset.node === id;
      button.textContent = on ? "■" : "▶";
      button.setAttribute("aria-pressed", String(on));
    }
  }

  /** Say which mark the sound of a version carries when it is exported, or why it carries none. */
  showMark(node) {
    const { name, why, text } = node.mark;
    const parts = [say(why ? `mark_${why}` : "mark", { m: name })];
    if (["missing", "failed"].includes(why)) parts.push(" ", made("span", { lang: "en", textContent: `(${text})` }));
    this.mark.replaceChildren(...parts);
    this.mark.classList.toggle("missing", why === "missing" || why === "failed");
  }

  showSteps(node) {
    this.showMark(node);
    const edits = node.chain?.edits ?? [];
    const lines = node.steps.map((step, place) => {
      const inner = edits.length === node.steps.length && edits[place].inner?.edit ? nameOf(edits[place]) : null;
      const name = inner ?? step.edit;
      const edit = both(editName(name), name);
      const by = step.engine && step.route === "llm" ? `${routeName(step.route)} “${step.engine}”` : routeName(step.route);
      return say(inner ? "stepOnPart" : "step", { edit, by, s: step.seconds.toFixed(1) });
    });
    const notes = []; // what the service says of it, in English
    for (const step of node.report?.steps ?? []) {
      if (step.accepted !== undefined) lines.push(say(step.accepted ? "accepted" : "notAccepted"));
      for (const one of step.failed_tries ?? []) notes.push(`${one.try}: ${[].concat(one.why).join("; ")}`);
    }
    const list = made("ul");
    list.append(...lines.map((line) => made("li", { textContent: line })));
    list.append(...[...notes, ...node.notes].map((line) => made("li", { textContent: line, lang: "en" })));
    this.steps.replaceChildren(...(list.children.length ? [list] : []));
  }
}
