// The words of a version: chosen by mouse or keys, typed over, deleted.

import { say } from "/studio/text.js";

const plain = (text) => text.toLowerCase().normalize("NFKC").replace(/[^\p{L}\p{N}']/gu, "");

/** The words as they stand in the text, with the punctuation around them. */
function written(alignment) {
  const { text, words } = alignment;
  const starts = [];
  let from = 0;
  for (const word of words) {
    const place = text.indexOf(word.text, from);
    starts.push(place < 0 ? null : place);
    if (place >= 0) from = place + word.text.length;
  }
  return words.map((word, index) => {
    if (starts[index] === null) return word.text;
    const next = starts.slice(index + 1, index + 4).find((place) => place !== null);
    const stretch = text.slice(starts[index], next ?? undefined);
    return stretch.length < word.text.length + 12 ? stretch.trimEnd() : word.text;
  });
}

export class Words {
  constructor(box, handlers) {
    this.box = box;
    this.handlers = handlers;
    this.alignment = null;
    this.from = this.to = this.anchor = null;
    this.elements = [];
    box.addEventListener("pointerdown", (event) => { this.isTouch = event.pointerType === "touch"; });
    box.addEventListener("mousedown", (event) => this.pressed(event));
    box.addEventListener("mouseover", (event) => this.dragged(event));
    box.addEventListener("dblclick", (event) => {
      if (event.target.dataset.word) handlers.onReplace(this.text());
    });
    box.addEventListener("keydown", (event) => this.typed(event));
    box.addEventListener("focusin", (event) => {
      if (event.target === box && this.elements.length) this.focus(this.anchor ?? 0);
    });
  }

  /** Say why there are no words. */
  wait(text) {
    this.show(null);
    this.box.replaceChildren(Object.assign(document.createElement("p"), { className: "waiting", textContent: text }));
  }

  show(alignment) {
    this.alignment = alignment;
    this.from = this.to = this.anchor = null;
    this.now = null;
    const page = document.createDocumentFragment();
    this.elements = [];
    const words = alignment?.words ?? [];
    const shown = alignment ? written(alignment) : [];
    const sentences = alignment?.sentences?.length
      ? alignment.sentences : words.length ? [{ words: [0, words.length], speaker: null }] : [];
    sentences.forEach((sentence, number) => {
      const line = document.createElement("div");
      line.className = "sentence";
      line.setAttribute("role", "group");
      line.setAttribute("aria-label", say("sentence", { n: number + 1 }));
      const mark = document.createElement("button");
      mark.type = "button";
      mark.dataset.sentence = number;
      mark.tabIndex = -1;
      mark.textContent = sentence.speaker ? `${number + 1} ${sentence.speaker}` : String(number + 1);
      mark.setAttribute("aria-label", say("sentence", { n: number + 1 }));
      line.append(mark);
      for (let index = sentence.words[0]; index < sentence.words[1]; index += 1) {
        const word = document.createElement("span");
        word.className = words[index].confidence !== null && words[index].confidence < 0.3
          ? "word doubtful" : "word";
        word.dataset.word = index;
        word.setAttribute("role", "button");
        word.setAttribute("aria-pressed", "false");
        word.tabIndex = index === 0 ? 0 : -1;
        word.textContent = shown[index];
        this.elements[index] = word;
        line.append(word, " ");
      }
      page.append(line);
    });
    this.box.replaceChildren(page);
    this.handlers.onChange();
  }

  // Choosing -----------------------------------------------------------------------------

  select(from, to, anchor = from) {
    for (let index = this.from ?? 0; this.from !== null && index <= this.to; index += 1) {
      this.mark(index, false);
    }
    this.from = from === null ? null : Math.min(from, to);
    this.to = from === null ? null : Math.max(from, to);
    if (from !== null) {
      this.anchor = anchor;
      for (let index = this.from; index <= this.to; index += 1) this.mark(index, true);
    }
    this.handlers.onChange();
  }

  mark(index, on) {
    const element = this.elements[index];
    if (!element) return;
    element.setAttribute("aria-pressed", String(on));
    element.classList.toggle("chosen", on);
  }

  focus(index) {
    const last = this.elements.length - 1;
    const place = Math.max(0, Math.min(last, index));
    for (const element of this.box.querySelectorAll('.word[tabindex="0"]')) element.tabIndex = -1;
    this.elements[place].tabIndex = 0;
    this.elements[place].focus();
    return place;
  }

  pressed(event) {
    const { word, sentence } = event.target.dataset;
    if (sentence !== undefined) {
      const [first, stop] = this.alignment.sentences[Number(sentence)]?.words ?? [0, 0];
      if (stop > first) {
        const extends_ = event.shiftKey && this.anchor !== null;
        this.select(extends_ ? Math.min(this.from, first) : first, extends_ ? Math.max(this.to, stop - 1) : stop - 1, first);
        this.focus(first);
      }
      event.preventDefault();
      return;
    }
    if (word === undefined) return;
    const index = Number(word);
    this.isDragging = true;
    addEventListener("mouseup", () => { this.isDragging = false; }, { once: true });
    // Fingers have no Shift: a second tap extends, a tap on the only chosen word lets it go.
    const extend = (event.shiftKey || (this.isTouch && !this.isEmpty)) && this.anchor !== null;
    if (this.isTouch && this.from === index && this.to === index) this.select(null, null);
    else if (extend) this.select(this.anchor, index, this.anchor);
    else this.select(index, index);
    this.focus(index);
    event.preventDefault();
  }

  dragged(event) {
    if (!this.isDragging || event.target.dataset.word === undefined) return;
    this.select(this.anchor, Number(event.target.dataset.word), this.anchor);
  }

  typed(event) {
    const { word, sentence } = event.target.dataset;
    if (word === undefined && sentence === undefined) return;
    const at = Number(word ?? this.alignment.sentences[Number(sentence)].words[0]);
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: this.below(at), ArrowUp: this.above(at),
      Home: -at, End: this.elements.length };
    if (event.key in steps) {
      const place = this.focus(at + steps[event.key]);
      if (event.shiftKey) this.select(this.anchor ?? at, place, this.anchor ?? at);
      else this.select(place, place);
    } else if (event.key === "a" && (event.ctrlKey || event.metaKey)) {
      // The sentence first; once more takes all, and so does a choice that reaches beyond it.
      const [first, stop] = this.alignment.sentences?.find(({ words }) => words[0] <= at && at < words[1])?.words
        ?? [0, this.elements.length];
      const isTaken = !this.isEmpty && this.from <= first && this.to >= stop - 1;
      this.select(isTaken ? 0 : first, isTaken ? this.elements.length - 1 : stop - 1, at);
    } else if (event.key === "Escape") this.select(null, null);
    else if (event.key === "Enter") { if (this.from === null) this.select(at, at); this.handlers.onPlay(); }
    else if (event.key === "Delete" || event.key === "Backspace") {
      if (this.from === null) this.select(at, at);
      this.handlers.onDelete();
    } else if (event.key.length === 1 && !" []".includes(event.key) && !event.ctrlKey && !event.metaKey && !event.altKey) {
      if (event.key.toLowerCase() === "b" && this.from === null) return;
      if (this.from === null) this.select(at, at);
      this.handlers.onReplace(event.key);
    } else if (event.key === "Process") { // an input method has the key: what it composes goes into the dialog
      if (this.from === null) this.select(at, at);
      this.handlers.onReplace();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  line(index) { return this.elements[index]?.offsetTop ?? 0; }

  below(at) {
    const top = this.line(at);
    const left = this.elements[at].offsetLeft;
    let steps = 1;
    while (at + steps < this.elements.length && this.line(at + steps) === top) steps += 1;
    const next = this.line(at + steps);
    while (at + steps + 1 < this.elements.length && this.line(at + steps + 1) === next
      && this.elements[at + steps].offsetLeft < left) steps += 1;
    return steps;
  }

  above(at) {
    const top = this.line(at);
    const left = this.elements[at].offsetLeft;
    let steps = -1;
    while (at + steps > 0 && this.line(at + steps) === top) steps -= 1;
    while (at + steps > 0 && this.elements[at + steps].offsetLeft > left
      && this.line(at + steps - 1) === this.line(at + steps)) steps -= 1;
    return steps;
  }

  // What is chosen -----------------------------------------------------------------------

  get isEmpty() { return this.from === null; }
  get isWhole() { return this.from === 0 && this.to === this.elements.length - 1; }
  get span() {
    const words = this.alignment.words;
    return [words[this.from].start, words[this.to].end];
  }

  text() {
    return this.alignment.words.slice(this.from, this.to + 1).map((word) => word.text).join(" ");
  }

  /** Numbers, from 1, of the sentences that are touched; and whether they are chosen whole. */
  sentences() {
    const touched = [];
    let whole = true;
    (this.alignment.sentences ?? []).forEach((sentence, number) => {
      const [first, stop] = sentence.words;
      if (first > this.to || stop <= this.from) return;
      touched.push(number + 1);
      whole = whole && this.from <= first && this.to >= stop - 1;
    });
    return { touched, whole };
  }

  /** Which occurrence of its words the choice is, from 1, counted from a word of the recording. */
  occurrence(start = 0) {
    const words = this.alignment.words.map((word) => plain(word.text));
    const wanted = words.slice(this.from, this.to + 1);
    let count = 0;
    for (let index = start; index <= this.from; index += 1) {
      if (wanted.every((word, offset) => words[index + offset] === word)) count += 1;
    }
    return Math.max(1, count);
  }

  playing(index) {
    if (this.now === index) return;
    this.elements[this.now]?.classList.remove("now");
    this.now = index;
    this.elements[index]?.classList.add("now");
  }
}
