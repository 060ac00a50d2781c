// The studio: one recording, its words, its versions, and what is to change.

import { ApiError, followJob, getBlob, getEither, getJson, onKeyNeeded, remove, sendForm, sendJson } from "/studio/api.js";
import { ask, confirmed } from "/studio/asking.js";
import { buildForm } from "/studio/forms.js";
import { both, editName, inWords, knowEdits } from "/studio/names.js";
import { language, problem, say, setLanguage } from "/studio/text.js";
import { routeName, titleOf, Versions } from "/studio/versions.js";
import { Wave } from "/studio/wave.js";
import { Words } from "/studio/words.js";

const LONG_SECONDS = 60; // longer recordings are edited sentence by sentence
const $ = (id) => document.getElementById(id);
const state = { edits: [], session: null, node: null, span: null, readForm: null, job: null, loading: 0 };

// Saying what happens ------------------------------------------------------------------------

function status(text) { $("status").textContent = text; }

function failed(error) {
  if (error?.name === "AbortError") return;
  const text = String(error?.message ?? error);
  const kind = error instanceof ApiError ? problem(error.code) : null;
  if (kind) $("error").replaceChildren(kind, Object.assign(document.createElement("span"), { lang: "en", textContent: text }));
  else $("error").textContent = text;
  $("error").hidden = false;
  $("error").scrollIntoView({ block: "nearest" });
  status("");
}

function calm() { $("error").hidden = true; $("error").textContent = ""; }

async function doing(work) {
  calm();
  try { return await work(); } catch (error) { failed(error); return undefined; }
}

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
      $("play").textContent = say(playing ? "pause" : "play");
      $("play").setAttribute("aria-pressed", String(playing));
      $("compare").setAttribute("aria-pressed", String(isSource));
    },
    onSpan: (start, end) => { words.select(null, null); state.span = [start, end]; showSelection(); },
    onWord: (index, extend) => words.select(extend && words.anchor !== null ? words.anchor : index, index),
    onVersion: (id) => versions.playing(id),
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
    $("selection").textContent = say(n === 1 ? "selectedWord" : "selectedWords", { n, s: (end - start).toFixed(2) });
  } else if (state.span) {
    wave?.show(...state.span);
    $("selection").textContent = say("selectedSpan", { s: (state.span[1] - state.span[0]).toFixed(2) });
  } else {
    wave?.show(null);
    $("selection").textContent = say("nothing");
  }
  $("tools").hidden = words.isEmpty && !state.span;
  for (const id of ["replace", "delete", "insert"]) $(id).disabled = words.isEmpty;
}

/** Choose a span that begins or ends at the present moment. */
function spanTo(start, end) {
  if (end <= start) return;
  words.select(null, null);
  state.span = [start, end];
  showSelection();
}

function playSelection() {
  const span = words.isEmpty ? state.span : words.span;
  if (span) wave.playSpan(span[0], span[1]);
}

// Sessions and versions ----------------------------------------------------------------------

async function listSessions() {
  const { sessions } = await getJson("/v1/sessions");
  const options = sessions.map((one) => new Option(
    `${one.title} (${clock(one.seconds)}, ${say(one.nodes === 1 ? "oneVersion" : "nVersions", { n: one.nodes })})`, one.id));
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
  versions.show(session);
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
  versions.showSteps(node);
  words.wait(say("listening"));
  status("");
  if (node.parent !== null) showReport(session.id, node, turn).catch(failed);
  const alignment = await loadAlignment(session.id, node.id);
  if (turn !== state.loading) return;
  words.show(alignment);
  wave.setWords(alignment?.words ?? []);
  if (!alignment) words.wait(say("noWords"));
  status(state.news ?? "");
  state.news = null;
}

/** Say what limits a version kept or missed, which its report alone knows. */
async function showReport(session, node, turn) {
  const whole = await getJson(`/v1/sessions/${session}/nodes/${node.id}`);
  if (turn !== state.loading) return;
  node.report = whole.report;
  versions.showSteps(node);
}

async function loadAlignment(session, node) {
  const path = `/v1/sessions/${session}/nodes/${node}/alignment`;
  try {
    const [code, body] = await getEither(path);
    if (code !== 202) return body;
    const job = await followJob(body.job.id, showJob);
    hideJob();
    if (job.state !== "done") { failed(new ApiError(0, job.error)); return null; }
    return await getJson(path);
  } catch (error) {
    hideJob();
    failed(error);
    return null;
  }
}

const versions = new Versions($("versions"), $("steps"), $("mark"), {
  onGo: goTo,
  onPlay: (id) => doing(() => theWave().playVersion(state.session.id, id)),
});

async function goTo(node) {
  await doing(async () => {
    if (node === state.session.head) return;
    await showSession(await sendJson(`/v1/sessions/${state.session.id}/branch`, { node }));
  });
}

for (const path of ["undo", "redo"]) {
  $(path).addEventListener("click", () => doing(async () => {
    await showSession(await sendJson(`/v1/sessions/${state.session.id}/${path}`, {}));
  }));
}

// Beginning ----------------------------------------------------------------------------------

const isText = (file) => /\.(srt|vtt|ass|ssa|textgrid|txt|json)$/i.test(file.name);

async function begin(files, text = $("begin-text").value.trim()) {
  const sound = files.find((file) => !isText(file));
  if (!sound) { if (files.length) failed(new Error(say("noSound"))); return; }
  await doing(async () => {
    status(say("uploading", { t: sound.name }));
    try {
      const subtitles = files.find(isText);
      const session = await sendForm("/v1/sessions", {
        file: sound, subtitles, title: sound.name,
        transcript: subtitles ? "" : text, language: $("begin-language").value,
      });
      $("begin-text").value = "";
      await openSession(session.id);
    } finally { if ($("status").textContent === say("uploading", { t: sound.name })) status(""); }
  });
}

const SAMPLE = "Doubt is not a pleasant condition, but certainty is absurd.";
$("sample").addEventListener("click", () => doing(async () => {
  await begin([new File([await getBlob("/studio-sample.flac")], "Sample.flac")], SAMPLE);
}));

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop") begin([...event.dataTransfer.files]);
  });
}
$("begin").addEventListener("submit", (event) => event.preventDefault());
for (const id of ["open", "open-big"]) $(id).addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { begin([...$("file").files]); $("file").value = ""; });

let recorder = null;

function showRecording(on) {
  for (const [id, name] of [["record", "record"], ["record-big", "recordBig"]]) {
    $(id).textContent = say(on ? "stop" : name);
    $(id).setAttribute("aria-pressed", String(on));
  }
  status(on ? say("recordingNow") : "");
}

async function record() {
  if (recorder) { recorder.stop(); return; }
  calm();
  try {
    if (!navigator.mediaDevices) throw new Error(say("secureOnly"));
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
      showRecording(false);
      const name = `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.${kind}`;
      begin([new File(parts, name)]);
    });
    recorder.start();
    showRecording(true);
  } catch (error) { failed(new Error(say("noMic", { m: error.message }))); }
}

for (const id of ["record", "record-big"]) $(id).addEventListener("click", record);

$("sessions").addEventListener("change", () => { if ($("sessions").value) doing(() => openSession($("sessions").value)); });
$("forget").addEventListener("click", async () => {
  if (!await confirmed(state.session.title, say("removeAsk"), say("remove"))) return;
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
  if (words.isWhole) return null; // nothing is left that has to stay as it is
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
      const by = await ask(say("replaceTitle", { t: find }), say("newWords"), start, say("replace"));
      if (!by || by === find) return;
      edit = { edit: "replace", find, by, occurrence };
    } else if (kind === "insert") {
      const text = await ask(say("insertTitle", { t: find }), say("insertWords"), "", say("insertNow"));
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
  const asks = (edit) => state.edits.find((one) => one.name === edit.edit)?.consent || (edit.inner?.edit && asks(edit.inner));
  if (chain.edits.some(asks)) {
    consent_attestation = await ask(say("consentTitle"), say("consent"));
    if (!consent_attestation) return;
  }
  $("proposal").hidden = true;
  const job = await sendJson(`/v1/sessions/${state.session.id}/edits`, {
    chain, parent: state.node.id, sentences: sentences ?? null, seed: Number($("seed").value) || 0,
    route: $("route").value, accept: $("accept").value, wait: false, consent_attestation,
    title: said ? said.slice(0, 200) : null,
  });
  showJob(job);
  const last = await followJob(job.id, showJob).finally(hideJob);
  if (last.state === "failed") { failed(new ApiError(0, last.error)); return; }
  if (last.state === "cancelled") { status(say("cancelled")); return; }
  const session = await getJson(`/v1/sessions/${state.session.id}`);
  const node = session.nodes.find((one) => one.id === last.node);
  if (node && session.head === last.node) state.news = say("done", { t: titleOf(node) });
  await showSession(session);
  await listSessions();
}

function showJob(job) {
  if (state.job !== job.id) state.since = performance.now();
  state.job = job.id;
  state.progress = job;
  state.told = performance.now();
  $("job").hidden = false;
  const { done, total } = job.progress;
  if (total > 1) { $("progress").max = total; $("progress").value = done; } else $("progress").removeAttribute("value");
  sayProgress();
  state.ticking ??= setInterval(sayProgress, 1000);
}

function sayProgress() {
  const { state: at, progress: { done, total, seconds_left: left } } = state.progress;
  const parts = [say(at === "queued" ? "queued" : "running")];
  if (total > 1) parts.push(`${done} / ${total}`);
  const still = left ? Math.max(1, Math.ceil(left - (performance.now() - state.told) / 1000)) : null;
  parts.push(still ? say("left", { s: still }) : `${Math.round((performance.now() - state.since) / 1000)} ${say("seconds")}`);
  $("job-text").textContent = parts.join(", ");
}

function hideJob() {
  clearInterval(state.ticking);
  state.job = state.ticking = null;
  $("job").hidden = true;
}
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
    reading.explanation.forEach((one, place) => {
      const line = document.createElement("li");
      const edit = reading.chain.edits.length === reading.explanation.length ? reading.chain.edits[place] : null;
      const called = edit ? inWords(edit) : null;
      if (called) line.append(`${called} `);
      line.append(Object.assign(document.createElement("code"), { textContent: one.edit }),
        ` ${say("readFrom", { t: one.read_from })}`);
      list.append(line);
    });
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
  const no = Object.assign(document.createElement("button"), { type: "button", className: "plain", textContent: say("cancel") });
  no.addEventListener("click", () => { box.hidden = true; $("say").focus(); });
  parts.push(no);
  box.replaceChildren(...parts);
  box.hidden = false;
}

// Forms of all edits -------------------------------------------------------------------------

async function loadEdits() {
  const { edits, engine } = await getJson("/v1/edits");
  state.edits = edits;
  knowEdits(edits);
  state.engine = engine;
  const first = edits.find((one) => one.name === "emotion" && one.route) ?? edits.find((one) => one.route) ?? edits[0];
  showEdits(first?.name ?? "");
}

function showEdits(chosen) {
  $("edit").replaceChildren(...state.edits.map((one) => new Option(both(editName(one.name), one.title), one.name)));
  $("edit").value = chosen;
  showForm();
}

function showForm() {
  const info = state.edits.find((one) => one.name === $("edit").value);
  if (!info) return;
  const read = buildForm($("form"), info);
  const note = Object.assign(document.createElement("p"), { className: "quiet" });
  const route = info.route ? say("runsBy", { by: routeName(info.route) }) : say(!info.routes.includes("llm") ? "noEdit" : state.engine ? "notKnown" : "noEngine");
  note.textContent = `${route} (${info.plugin.distribution} ${info.plugin.version})`;
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
  const text = await ask(say("correctTitle"), say("correctWords"), state.node.transcript ?? words.alignment?.text ?? "", say("save"));
  if (text === null) return;
  await doing(async () => {
    await sendJson(`/v1/sessions/${state.session.id}/nodes/${state.node.id}/transcript`, { transcript: text }, "PUT");
    await showSession(await getJson(`/v1/sessions/${state.session.id}`), true);
  });
});

document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, dialog") || !wave || $("desk").hidden) return;
  if (event.ctrlKey || event.metaKey) {
    const back = event.key.toLowerCase() === "z" && !event.shiftKey;
    const again = event.key.toLowerCase() === "y" || (event.key.toLowerCase() === "z" && event.shiftKey);
    if (back || again) { $(back ? "undo" : "redo").click(); event.preventDefault(); }
    return;
  }
  if (event.key === " " && event.target.closest("button")) return; // it presses the button
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === " ") wave.toggle();
  else if (event.key.toLowerCase() === "b") wave.compare();
  else if (step && !event.target.closest("[role=tree]")) wave.seek(wave.time + step * (event.shiftKey ? 0.1 : 1));
  else if (event.key === "[") spanTo(wave.time, state.span?.[1] ?? state.node.seconds);
  else if (event.key === "]") spanTo(state.span?.[0] ?? 0, wave.time);
  else if (event.key === "Escape" && state.span) $("clear").click();
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
  if (state.edits.length) showEdits($("edit").value);
  showRecording(recorder !== null);
  if (state.session) {
    versions.show(state.session);
    versions.showSteps(state.node);
    words.show(words.alignment);
    doing(listSessions);
  }
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
