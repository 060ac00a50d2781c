// Waveform, spectrogram, the words beneath it, and playing: the edited version or its source.

import WaveSurfer from "/studio/vendor/wavesurfer.esm.js";
import Regions from "/studio/vendor/regions.esm.js";
import { getBlob, getJson, hasKey } from "/studio/api.js";

const DECODED_SECONDS = 120; // longer recordings are drawn from peaks that the service computes
const SHOWN = "shown"; // the region that shows chosen words

export class Wave {
  constructor(container, lane, handlers) {
    this.lane = lane;
    this.handlers = handlers;
    this.words = [];
    this.source = new Audio();
    this.source.preload = "auto";
    this.version = new Audio(); // the player of one version in the tree
    for (const event of ["ended", "pause"]) this.version.addEventListener(event, () => handlers.onVersion(null));
    this.urls = [];
    this.until = null;
    this.regions = Regions.create();
    this.surfer = WaveSurfer.create({
      container, height: 110, sampleRate: 16000, cursorWidth: 2, normalize: false,
      plugins: [this.regions], ...this.colours(),
    });
    this.regions.enableDragSelection({ color: "rgba(90, 150, 220, .25)" });
    this.regions.on("region-created", (region) => this.chosen(region));
    this.regions.on("region-updated", (region) => this.chosen(region));
    this.surfer.on("timeupdate", (time) => this.moved(time));
    for (const event of ["play", "pause", "finish"]) this.surfer.on(event, () => this.told());
    for (const event of ["scroll", "redraw", "zoom", "resize", "ready"]) {
      this.surfer.on(event, () => this.drawLane());
    }
    this.surfer.on("error", (error) => handlers.onError(error));
    for (const event of ["play", "pause", "ended"]) this.source.addEventListener(event, () => this.told());
    lane.addEventListener("click", (event) => this.clickedLane(event));
    new ResizeObserver(() => this.drawLane()).observe(lane);
  }

  colours() {
    const style = getComputedStyle(document.documentElement);
    const dark = style.colorScheme === "dark"
      || (style.colorScheme !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
    return dark ? { waveColor: "#7d8792", progressColor: "#78b8f0", cursorColor: "#e8e8e4" }
      : { waveColor: "#8b939b", progressColor: "#0b5fa5", cursorColor: "#1b1d20" };
  }

  recolour() { this.surfer.setOptions(this.colours()); this.drawLane(); }

  /** Show a version; the source of the session is what `compare` plays. */
  async load(session, node, root) {
    const at = `/v1/sessions/${session}/nodes/`;
    this.stop();
    for (const url of this.urls.splice(0)) URL.revokeObjectURL(url);
    this.seconds = node.seconds;
    this.sourceSeconds = root.seconds;
    this.regions.clearRegions();
    if (node.seconds <= DECODED_SECONDS) {
      await this.surfer.loadBlob(await getBlob(`${at}${node.id}/audio?format=wav`));
    } else {
      const points = Math.min(60000, Math.ceil(node.seconds * 20));
      const { peaks } = await getJson(`${at}${node.id}/peaks?points=${points}`);
      await this.surfer.load(await this.url(`${at}${node.id}/audio?format=wav`), [peaks], node.seconds);
    }
    this.surfer.setTime(0); // the cursor of what was shown before stays otherwise
    this.source.src = await this.url(`${at}${root.id}/audio?format=wav`);
  }

  /** An address that a media element can play: with a key the bytes have to be fetched first. */
  async url(path) {
    if (!hasKey()) return path;
    const url = URL.createObjectURL(await getBlob(path));
    this.urls.push(url);
    return url;
  }

  async spectrogram(on) {
    if (on && !this.spectrum) {
      const { default: Spectrogram } = await import("/studio/vendor/spectrogram.esm.js");
      this.spectrum = this.surfer.registerPlugin(Spectrogram.create({
        height: 160, labels: false, scale: "mel", frequencyMax: 8000, fftSamples: 512, useWebWorker: false,
      }));
    } else if (!on && this.spectrum) {
      this.surfer.unregisterPlugin(this.spectrum);
      this.spectrum.destroy?.();
      this.spectrum = null;
    }
  }

  canShowSpectrogram() { return this.seconds <= DECODED_SECONDS; }

  // Playing ------------------------------------------------------------------------------

  get isPlaying() { return this.surfer.isPlaying() || !this.source.paused; }
  get isSource() { return this.comparing === true; }

  toggle() {
    if (this.isPlaying) { this.stop(); return; }
    this.until = null;
    this.start();
  }

  start() {
    if (this.comparing) {
      this.source.currentTime = this.surfer.getCurrentTime() / this.seconds * this.sourceSeconds;
      this.source.play();
    } else this.surfer.play();
  }

  stop() { this.surfer.pause(); this.source.pause(); this.version.pause(); }

  /** Play a version by itself, or stop it; the one that is shown stays. */
  async playVersion(session, id) {
    const wasPlaying = !this.version.paused && this.playedVersion === id;
    this.stop();
    if (wasPlaying) return;
    this.playedVersion = id;
    this.version.src = await this.url(`/v1/sessions/${session}/nodes/${id}/audio?format=wav`);
    await this.version.play();
    this.handlers.onVersion(id);
  }

  playSpan(start, end) {
    this.comparing = false;
    this.stop();
    this.until = end;
    this.surfer.setTime(start);
    this.surfer.play();
  }

  /** Change between the edited version and the source at the same moment. */
  compare() {
    const playing = this.isPlaying;
    if (this.comparing) this.surfer.setTime(this.source.currentTime / this.sourceSeconds * this.seconds);
    this.stop();
    this.comparing = !this.comparing;
    if (playing) this.start();
    this.told();
  }

  told() { this.handlers.onPlaying(this.isPlaying, this.comparing === true); }

  moved(time) {
    if (this.until !== null && time >= this.until && this.surfer.isPlaying()) {
      this.until = null;
      this.surfer.pause();
    }
    this.handlers.onTime(time);
  }

  /** The present moment of what is shown, in seconds. */
  get time() {
    return this.comparing ? this.source.currentTime / this.sourceSeconds * this.seconds : this.surfer.getCurrentTime();
  }

  seek(time) {
    const to = Math.max(0, Math.min(this.seconds, time));
    this.surfer.setTime(to);
    if (this.comparing) this.source.currentTime = to / this.seconds * this.sourceSeconds;
  }

  // Regions and words --------------------------------------------------------------------

  chosen(region) {
    for (const other of this.regions.getRegions()) if (other !== region) other.remove();
    if (region.id !== SHOWN) this.handlers.onSpan(region.start, region.end);
  }

  show(start, end) {
    this.regions.clearRegions();
    if (start === null) return;
    this.regions.addRegion({
      start, end, drag: false, resize: false, color: "rgba(90, 150, 220, .25)", id: SHOWN,
    });
  }

  setWords(words) { this.words = words; this.drawLane(); }
  zoom(pixels) { if (this.surfer.getDuration()) this.surfer.zoom(pixels); }

  window() {
    const width = this.lane.clientWidth || 1;
    const wrapper = this.surfer.getWrapper();
    const whole = wrapper ? wrapper.clientWidth || width : width;
    const perSecond = whole / (this.seconds || 1);
    return { width, perSecond, from: this.surfer.getScroll() / perSecond };
  }

  drawLane() {
    if (this.drawing) return;
    this.drawing = requestAnimationFrame(() => { this.drawing = null; this.paint(); });
  }

  paint() {
    const { width, perSecond, from } = this.window();
    const ratio = devicePixelRatio || 1;
    const height = 26;
    this.lane.width = width * ratio;
    this.lane.height = height * ratio;
    const context = this.lane.getContext("2d");
    context.scale(ratio, ratio);
    const style = getComputedStyle(this.lane);
    context.font = `12px ${style.fontFamily}`;
    context.fillStyle = style.color;
    context.strokeStyle = style.color;
    context.globalAlpha = 0.9;
    for (let index = this.firstAfter(from); index < this.words.length; index += 1) {
      const word = this.words[index];
      const left = (word.start - from) * perSecond;
      if (left > width) break;
      const room = Math.max(1, (word.end - word.start) * perSecond - 2);
      context.fillRect(left, 2, room, 1);
      if (room > 14) context.fillText(word.text, left + 1, 18, room);
    }
  }

  firstAfter(time) {
    let low = 0;
    let high = this.words.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.words[middle].end < time) low = middle + 1; else high = middle;
    }
    return low;
  }

  clickedLane(event) {
    const { perSecond, from } = this.window();
    const time = from + event.offsetX / perSecond;
    const index = this.firstAfter(time);
    if (index < this.words.length) this.handlers.onWord(index, event.shiftKey);
  }
}
