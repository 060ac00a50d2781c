// The studio: one recording, its words, its versions, and what is to change.

import { ApiError, followJob, getBlob, getEither, getJson, onKeyNeeded, remove, sendForm, sendJson } from "/studio/api.js";
import { buildForm, oneLine } from "/studio/forms.js";
import { language, say, setLanguage } from "/studio/text.js";
import { Wave } from "/studio/wave.js";
import { Words } from "/studio/words.js";

const LONG_SECONDS = 60; // longer recordings are edited sentence by sentence
const $ = (id) => document.getElementById(id);
const state = { edits: [], session: null, node: null, span: null, readForm: null, job: null, loading: 0 };

// Saying what happens ------------------------------------------------------------------------

function status(text) { $("status").textContent = text; }

function failed(error) {
  if (error?.name === "AbortError") return;
  $("error").textContent = error instanceof ApiError ? error.message : String(error?.message ?? error);
  $("error").hidden = false;
}

function calm() { $("error").hidden = true; $("error").textContent = ""; }

async function doing(work) {
  calm();
  try { return await work(); } catch (error) { failed(error); return undefined; }
}

function ask(title, label, text = "") {
  const dialog = $("asker");
  $("asker-title").textContent = title;
  $("asker-label").textContent = label;
  $("asker-text").value = text;
  dialog.returnValue = "";
  dialog.showModal();
  $("asker-text").focus();
  $("asker-text").setSelectionRange(text.length, text.length);
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? $("asker-text").value.trim() : null);
    }, { once: true });
  });
}

$("asker-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("asker").close("yes");
  }
});

const clock = (seconds) => `${Math.floor(seconds / 60)}:${(seconds % 60).toFixed(1).padStart(4, "0")}`;

// Parts of the page --------------------------------------------------------------------------

let wave = null;

const words = new Words($("words"), {
  onChange: showSelection,
  onPlay: playSelection,
  onDelete: () => changeWords("delete"),
  onReplace: (start) => changeWords("replace", start),
});

function theWave() {
  wave ??= new Wave($("wave"), $("lane"), {
    onTime: (time) => {
      $("clock").textContent = clock(time);
      const index = wave.firstAfter(time);
      words.playing(wave.words[index]?.start <= time ? index : null);
    },
    onPlaying: (playing, isSource) => {
      $("play").textContent = say(playing ? "pause" : "play") || (playing ? "Pause" : "Play");
      $("play").setAttribute("aria-pressed", String(playing));
      $("compare").setAttribute("aria-pressed", String(isSource));
    },
    onSpan: (start, end) => { words.select(null, null); state.span = [start, end]; showSelection(); },
    onWord: (index, extend) => words.select(extend && words.anchor !== null ? words.anchor : index, index),
    onError: failed,
  });
  return wave;
}

function showSelection() {
  if (!words.isEmpty) {
    state.span = null;
    const [start, end] = words.span;
    wave?.show(start, end);
    const n = words.to - words.from + 1;
    $("selection").textContent = say(n === 1 ? "selectedWord" : "selectedWords", { n, s: (end - start).toFixed(1) });
  } else if (state.span) {
    $("selection").textContent = say("selectedSpan", { s: (state.span[1] - state.span[0]).toFixed(2) });
  } else {
    wave?.show(null);
    $("selection").textContent = say("nothing");
  }
  $("tools").hidden = words.isEmpty && !state.span;
  for (const id of ["replace", "delete", "insert"]) $(id).disabled = words.isEmpty;
}

function playSelection() {
  const span = words.isEmpty ? state.span : words.span;
  if (span) wave.playSpan(span[0], span[1]);
}

// Sessions and versions ----------------------------------------------------------------------

async function listSessions() {
  const { sessions } = await getJson("/v1/sessions");
  const options = sessions.map((one) => new Option(`${one.title} (${clock(one.seconds)}, ${one.nodes})`, one.id));
  $("sessions").replaceChildren(new Option(say("session"), ""), ...options);
  $("sessions").value = state.session?.id ?? "";
  $("forget").hidden = !state.session;
}

async function openSession(id) {
  const session = await getJson(`/v1/sessions/${id}`);
  history.replaceState(null, "", `#${id}`);
  $("drop").hidden = true;
  $("desk").hidden = false;
  await showSession(session, true);
  await listSessions();
}

async function showSession(session, fresh = false) {
  const before = fresh ? null : state.node?.id;
  state.session = session;
  state.node = session.nodes.find((node) => node.id === session.head);
  showVersions();
  $("undo").disabled = !session.can_undo;
  $("redo").disabled = !session.can_redo;
  if (state.node.id !== before) await showNode();
}

async function showNode() {
  const turn = ++state.loading;
  const { session, node } = state;
  const root = session.nodes.find((one) => one.id === session.root);
  const spectrum = $("spectrogram");
  words.show(null);
  await theWave().load(session.id, node, root);
  spectrum.disabled = !wave.canShowSpectrogram();
  if (spectrum.disabled && spectrum.checked) { spectrum.checked = false; await wave.spectrogram(false); }
  wave.setWords([]);
  showSteps();
  status(say("listening"));
  const alignment = await loadAlignment(session.id, node.id);
  if (turn !== state.loading) return;
  words.show(alignment);
  wave.setWords(alignment?.words ?? []);
  status(alignment ? (alignment.notes ?? []).join(" · ") : say("noWords"));
}

async function loadAlignment(session, node) {
  const path = `/v1/sessions/${session}/nodes/${node}/alignment`;
  try {
    const [code, body] = await getEither(path);
    if (code !== 202) return body;
    const job = await followJob(body.job.id, showJob);
    hideJob();
    if (job.state !== "done") { failed(new Error(job.error?.message ?? job.state)); return null; }
    return await getJson(path);
  } catch (error) {
    hideJob();
    failed(error);
    return null;
  }
}

function showVersions() {
  const { session } = state;
  const children = Map.groupBy ? Map.groupBy(session.nodes, (node) => node.parent) : grouped(session.nodes);
  const names = Object.fromEntries(Object.entries(session.branches ?? {}).map(([name, node]) => [node, name]));
  const item = (node) => {
    const row = document.createElement("li");
    row.setAttribute("role", "treeitem");
    row.setAttribute("aria-selected", String(node.id === session.head));
    row.tabIndex = node.id === session.head ? 0 : -1;
    row.dataset.node = node.id;
    const line = document.createElement("div");
    line.className = "version";
    const name = document.createElement("span");
    name.textContent = node.parent === null ? say("source") : names[node.id] ?? node.say ?? node.title;
    const note = document.createElement("span");
    note.className = "quiet";
    const route = [...new Set(node.steps.map((step) => step.route))].join("+");
    note.textContent = `${route} ${node.seconds.toFixed(1)} ${say("seconds")}`;
    line.append(name, note);
    row.append(line);
    const below = children.get(node.id) ?? [];
    if (below.length) {
      row.setAttribute("aria-expanded", "true");
      const list = document.createElement("ul");
      list.setAttribute("role", "group");
      list.append(...below.map(item));
      row.append(list);
    }
    return row;
  };
  $("versions").replaceChildren(...(children.get(null) ?? []).map(item));
}

function grouped(nodes) {
  const found = new Map();
  for (const node of nodes) found.set(node.parent, [...(found.get(node.parent) ?? []), node]);
  return found;
}

function showSteps() {
  const lines = state.node.steps.map((step) => {
    const engine = step.engine ? `, ${say("engine")} ${step.engine}` : "";
    return `${step.edit} ${say("by")} ${step.route}${engine}, ${step.seconds.toFixed(1)} s`;
  });
  const report = state.node.report ?? {};
  for (const step of report.steps ?? []) {
    if (step.accepted === false) lines.push(say("notAccepted"));
    for (const one of step.failed_tries ?? []) lines.push(`${one.try}: ${[].concat(one.why).join("; ")}`);
  }
  const list = document.createElement("ul");
  for (const line of [...lines, ...state.node.notes]) list.append(Object.assign(document.createElement("li"), { textContent: line }));
  $("steps").replaceChildren(...(list.children.length ? [list] : []));
}

async function goTo(node) {
  await doing(async () => {
    if (node === state.session.head) return;
    await showSession(await sendJson(`/v1/sessions/${state.session.id}/branch`, { node }));
  });
}

$("versions").addEventListener("click", (event) => {
  const item = event.target.closest("[role=treeitem]");
  if (item) goTo(item.dataset.node);
});
$("versions").addEventListener("keydown", (event) => {
  const items = [...$("versions").querySelectorAll("[role=treeitem]")];
  const place = items.indexOf(event.target);
  const to = { ArrowDown: place + 1, ArrowUp: place - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined && items[to]) items[to].focus();
  else if (event.key === "Enter") goTo(event.target.dataset.node);
  else return;
  event.preventDefault();
});

for (const [id, path] of [["undo", "undo"], ["redo", "redo"]]) {
  $(id).addEventListener("click", () => doing(async () => {
    await showSession(await sendJson(`/v1/sessions/${state.session.id}/${path}`, {}));
  }));
}

// Beginning ----------------------------------------------------------------------------------

const isText = (file) => /\.(srt|vtt|ass|ssa|textgrid|txt|json)$/i.test(file.name);

async function begin(files) {
  const sound = files.find((file) => !isText(file));
  if (!sound) return;
  await doing(async () => {
    status(say("uploading"));
    const subtitles = files.find(isText);
    const session = await sendForm("/v1/sessions", {
      file: sound, subtitles, title: sound.name,
      transcript: subtitles ? "" : $("begin-text").value.trim(), language: $("begin-language").value,
    });
    $("begin-text").value = "";
    await openSession(session.id);
  });
}

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") begin([...event.dataTransfer.files]);
  });
}
$("begin").addEventListener("submit", (event) => event.preventDefault());
$("open").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { begin([...$("file").files]); $("file").value = ""; });

let recorder = null;
$("record").addEventListener("click", async () => {
  if (recorder) { recorder.stop(); return; }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    recorder.addEventListener("stop", () => {
      for (const track of stream.getTracks()) track.stop();
      const kind = recorder.mimeType.includes("mp4") ? "m4a" : recorder.mimeType.includes("ogg") ? "ogg" : "webm";
      recorder = null;
      $("record").textContent = language === "zh" ? say("record") : "Record";
      $("record").setAttribute("aria-pressed", "false");
      const name = `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${kind}`;
      begin([new File(parts, name)]);
    });
    recorder.start();
    $("record").textContent = say("stop");
    $("record").setAttribute("aria-pressed", "true");
  } catch (error) { failed(new Error(say("noMic", { m: error.message }))); }
});

$("sessions").addEventListener("change", () => { if ($("sessions").value) doing(() => openSession($("sessions").value)); });
$("forget").addEventListener("click", async () => {
  const answer = await ask(state.session.title, say("removeAsk"));
  if (answer?.toLowerCase() !== "yes") return;
  await doing(async () => {
    wave?.stop();
    await remove(`/v1/sessions/${state.session.id}`);
    state.session = state.node = null;
    history.replaceState(null, "", " ");
    $("desk").hidden = true;
    $("drop").hidden = false;
    await listSessions();
  });
});

// Editing ------------------------------------------------------------------------------------

/** Where an edit is to work: fields of `masked`, and numbers of sentences for long recordings. */
function where() {
  const isLong = state.node.seconds > LONG_SECONDS;
  if (words.isEmpty) {
    if (!state.span) return null;
    if (isLong) throw new Error(say("nowhere"));
    return { masked: { spans: [state.span.map((second) => Math.round(second * 1000) / 1000)] } };
  }
  const { touched, whole } = words.sentences();
  if (whole && touched.length) return isLong ? { sentences: touched } : { masked: { sentences: touched } };
  return { masked: phrase(isLong, touched), sentences: isLong ? touched : undefined };
}

function phrase(isLong, touched) {
  if (isLong && touched.length !== 1) throw new Error(say("oneSentence"));
  const start = isLong ? words.alignment.sentences[touched[0] - 1].words[0] : 0;
  return { words: words.text(), occurrence: words.occurrence(start) };
}

function scoped(edit, place) {
  if (!place?.masked || edit.edit === "masked") return edit;
  const info = state.edits.find((one) => one.name === edit.edit);
  return info?.phrases?.whole ? edit : { edit: "masked", inner: edit, ...place.masked };
}

async function changeWords(kind, start = "") {
  if (words.isEmpty) { failed(new Error(say("nowhere"))); return; }
  await doing(async () => {
    const isLong = state.node.seconds > LONG_SECONDS;
    const { touched } = words.sentences();
    const { words: find, occurrence } = phrase(isLong, touched);
    let edit = { edit: "delete", find, occurrence };
    if (kind === "replace") {
      const by = await ask(find, say("newWords"), start);
      if (!by || by === find) return;
      edit = { edit: "replace", find, by, occurrence };
    } else if (kind === "insert") {
      const text = await ask(find, say("insertWords"));
      if (!text) return;
      edit = { edit: "insert", text, after: find, occurrence };
    }
    await run({ edits: [edit] }, { sentences: isLong ? touched : undefined });
  });
  $("words").focus();
}

$("replace").addEventListener("click", () => changeWords("replace", words.text()));
$("delete").addEventListener("click", () => changeWords("delete"));
$("insert").addEventListener("click", () => changeWords("insert"));
$("clear").addEventListener("click", () => { state.span = null; words.select(null, null); });
$("play-selection").addEventListener("click", playSelection);

async function run(chain, { said = null, sentences } = {}) {
  calm();
  let consent_attestation = null;
  const needsConsent = chain.edits.some((edit) => state.edits.find((one) => one.name === edit.edit)?.consent);
  if (needsConsent) {
    consent_attestation = await ask(say("consentTitle"), say("consent"));
    if (!consent_attestation) return;
  }
  $("proposal").hidden = true;
  const job = await sendJson(`/v1/sessions/${state.session.id}/edits`, {
    chain, parent: state.node.id, sentences: sentences ?? null, seed: Number($("seed").value) || 0,
    route: $("route").value, accept: $("accept").value, wait: false, consent_attestation,
    title: said ? said.slice(0, 200) : null,
  });
  state.job = job.id;
  showJob(job);
  const last = await followJob(job.id, showJob);
  hideJob();
  if (last.state === "failed") { failed(new Error(say("failed", { m: last.error?.message ?? "" }))); return; }
  if (last.state === "cancelled") { status(say("cancelled")); return; }
  const session = await getJson(`/v1/sessions/${state.session.id}`);
  await showSession(session);
  if (state.node.id === last.node) status(say("done", { t: state.node.title }));
  await listSessions();
}

function showJob(job) {
  state.job = job.id;
  $("job").hidden = false;
  const { done, total, seconds_left: left } = job.progress;
  if (total > 1) { $("progress").max = total; $("progress").value = done; } else $("progress").removeAttribute("value");
  const parts = [say(job.state === "queued" ? "queued" : "running")];
  if (total > 1) parts.push(`${done} / ${total}`);
  if (left) parts.push(say("left", { s: Math.ceil(left) }));
  $("job-text").textContent = parts.join(", ");
}

function hideJob() { state.job = null; $("job").hidden = true; }
$("cancel").addEventListener("click", () => doing(async () => { if (state.job) await remove(`/v1/jobs/${state.job}`); }));

// A sentence ---------------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const said = $("say").value.trim();
  if (said && state.session) doing(() => propose(said));
});

async function propose(said) {
  $("proposal").hidden = true;
  const read = await sendJson("/v1/interpret", { say: said, session: state.session.id, node: state.node.id });
  const readings = read.chain ? [read, ...read.alternatives] : read.alternatives;
  showProposal(said, read.question, readings.filter((one) => one.chain));
}

function showProposal(said, question, readings) {
  const box = $("proposal");
  const parts = [];
  if (question) parts.push(Object.assign(document.createElement("p"), { textContent: question }));
  const place = where();
  readings.forEach((reading, number) => {
    const list = document.createElement("ol");
    for (const one of reading.explanation) {
      const line = document.createElement("li");
      line.append(Object.assign(document.createElement("code"), { textContent: one.edit }),
        ` ${say("readFrom")} “${one.read_from}”`);
      list.append(line);
    }
    const go = Object.assign(document.createElement("button"), { type: "button", className: "go" });
    const scopeIt = place && reading.chain.edits.every((edit) => edit.edit !== "masked");
    go.textContent = say(scopeIt ? "runSelection" : "run");
    go.addEventListener("click", () => doing(async () => {
      const edits = scopeIt ? reading.chain.edits.map((edit) => scoped(edit, place)) : reading.chain.edits;
      await run({ ...reading.chain, edits }, { said, sentences: scopeIt ? place.sentences : undefined });
      $("say").value = "";
    }));
    parts.push(list, go);
    if (number === 0) queueMicrotask(() => go.focus());
  });
  const no = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: language === "zh" ? say("cancel") : "Cancel" });
  no.addEventListener("click", () => { box.hidden = true; $("say").focus(); });
  parts.push(no);
  box.replaceChildren(...parts);
  box.hidden = false;
}

// Forms of all edits -------------------------------------------------------------------------

async function loadEdits() {
  const { edits, engine } = await getJson("/v1/edits");
  state.edits = edits;
  state.engine = engine;
  $("edit").replaceChildren(...edits.map((one) => new Option(one.title, one.name)));
  $("edit").value = (edits.find((one) => one.route) ?? edits[0])?.name ?? "";
  showForm();
}

function showForm() {
  const info = state.edits.find((one) => one.name === $("edit").value);
  if (!info) return;
  const read = buildForm($("form"), info);
  const note = Object.assign(document.createElement("p"), { className: "quiet" });
  const route = info.route ? `${say("by")} ${info.route}` : say(!info.routes.includes("llm") ? "noEdit" : state.engine ? "notKnown" : "noEngine");
  note.textContent = `${info.plugin.distribution} ${info.plugin.version}, ${route}`;
  const parts = [note];
  let box = null;
  if (!info.phrases?.whole && info.name !== "masked") {
    const label = Object.assign(document.createElement("label"), { className: "check" });
    box = Object.assign(document.createElement("input"), { type: "checkbox", checked: true });
    label.append(box, say("scope"));
    parts.push(label);
  }
  parts.push(Object.assign(document.createElement("button"), {
    type: "submit", textContent: say("run"), disabled: !info.route,
  }));
  $("form").append(...parts);
  state.readForm = () => {
    const place = box?.checked ? where() : null;
    return [{ edits: [scoped(read(), place)] }, { sentences: place?.sentences }];
  };
}

$("edit").addEventListener("change", showForm);
$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (state.session) doing(() => run(...state.readForm()));
});

// The rest -----------------------------------------------------------------------------------

$("play").addEventListener("click", () => wave?.toggle());
$("compare").addEventListener("click", () => wave?.compare());
$("zoom").addEventListener("input", () => wave?.zoom(Number($("zoom").value)));
$("spectrogram").addEventListener("change", () => doing(async () => { await wave?.spectrogram($("spectrogram").checked); }));

$("export").addEventListener("change", () => doing(async () => {
  const [kind, format] = $("export").value.split(":");
  $("export").value = "";
  if (!kind || !state.node) return;
  const path = kind === "chain" ? "chain" : `${kind}?format=${format}`;
  const blob = await getBlob(`/v1/sessions/${state.session.id}/nodes/${state.node.id}/${path}`);
  const name = state.session.title.replace(/\.[^.]+$/, "");
  const endings = { textgrid: "TextGrid", audacity: "txt" };
  const ending = kind === "chain" ? "chain.json" : endings[format] ?? format;
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: `${name}-${state.node.number}.${ending}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}));

$("correct").addEventListener("click", async () => {
  const text = await ask(state.session.title, say("correctWords"), state.node.transcript ?? words.alignment?.text ?? "");
  if (text === null) return;
  await doing(async () => {
    await sendJson(`/v1/sessions/${state.session.id}/nodes/${state.node.id}/transcript`, { transcript: text }, "PUT");
    await showSession(await getJson(`/v1/sessions/${state.session.id}`), true);
  });
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, dialog, button") || !wave || event.ctrlKey || event.metaKey) return;
  if (event.key === " ") wave.toggle();
  else if (event.key.toLowerCase() === "b") wave.compare();
  else return;
  event.preventDefault();
});

$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme ?? (dark ? "dark" : "light");
  document.documentElement.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("stepedit-theme", document.documentElement.dataset.theme);
  wave?.recolour();
});

function inLanguage(to) {
  setLanguage(to);
  $("language").value = to;
  if (state.edits.length) showForm();
  if (state.session) { showVersions(); showSteps(); showSelection(); words.show(words.alignment); }
}

$("language").addEventListener("change", () => inLanguage($("language").value));

async function start() {
  const theme = localStorage.getItem("stepedit-theme");
  if (theme) document.documentElement.dataset.theme = theme;
  inLanguage(language);
  onKeyNeeded(() => ask(say("keyTitle"), say("key")));
  await doing(async () => {
    await loadEdits();
    await listSessions();
    if (location.hash.length > 1) await openSession(location.hash.slice(1));
  });
}

start();
