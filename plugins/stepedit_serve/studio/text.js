// What the page says, in English and Chinese.

const CHINESE = {
  skip: "跳到文字", recording: "录音", open: "打开文件", record: "录音", stop: "停止录音",
  remove: "删除", openBig: "打开录音", recordBig: "自己录一段", sample: "试试示例",
  lead: "改说的话，或改说话的方式：声音还是原来的声音。",
  how1: "打开一段录音，波形下面会出现文字。", how2: "在词上直接输入、删除，或写下想改什么：“更开心一点”。",
  how3: "听一听，与原声比较，撤销，导出。", save: "保存", replaceTitle: "替换“{t}”", insertTitle: "在“{t}”之后插入",
  insertNow: "插入", correctTitle: "修改识别文本", oneVersion: "1 个版本", nVersions: "{n} 个版本",
  playVersion: "播放：{t}", llm: "语言模型", dsp: "信号处理", routeAuto: "已知最好的", off: "无", normal: "普通", strict: "严格",
  runsBy: "路线：{by}", step: "{edit}：{by}，{s} 秒", stepOnPart: "{edit}，只在选中部分：{by}，{s} 秒", noSound: "请同时选择录音和字幕",
  recordingNow: "正在录音 … 再按一次结束。", secureOnly: "浏览器只允许本机或 https 页面使用麦克风",
  language: "页面语言", theme: "明暗", welcome: "像改文字一样改语音",
  drop: "也可以把录音（连同字幕）拖到页面上的任何地方。",
  transcript: "文本（如果有；没有则自动识别）", spoken: "语言", unknown: "自动识别", sound: "声音",
  play: "播放", pause: "暂停", before: "听原声（B）", zoom: "缩放", spectrogram: "频谱图",
  waveform: "波形；拖动选择一段", ask: "想改什么",
  askHint: "更开心一点 · 把“你好”换成“您好” · 去掉噪音", show: "显示编辑", cancel: "取消",
  words: "文字", wordsLabel: "录音的文字", playThis: "播放选中", replace: "替换", delete: "删除",
  insert: "在后面插入", clear: "取消选择", correct: "修改识别文本",
  keys: "点一个词或拖过几个词：输入即替换，Delete 删除，回车播放选中，Ctrl+A 选整句，再按选全部。空格播放全部，B 听原声，[ 和 ] 在播放处开始和结束一段，方向键移动播放处，Ctrl+Z 撤销。",
  side: "版本与编辑", versions: "版本", undo: "撤销", redo: "重做", export: "导出", choose: "选择格式",
  audio: "音频", labels: "文字", chain: "编辑链", edits: "编辑", edit: "编辑", options: "运行方式",
  route: "路线", accept: "必须满足的限度", seed: "随机种子", ok: "确定", run: "运行",
  runSelection: "只对选中部分运行", scope: "用于选中部分", readFrom: "（来自“{t}”）", onePerLine: "一行一个", numbers: "1, 3", notJson: "{f}：不是 JSON",
  mark: "导出的音频带有标记“{m}”，表明语音经过编辑。", mark_unedited: "原始录音按原样导出，不带标记。",
  mark_too_long: "长录音逐段编辑，导出的音频不带标记。", mark_off: "这个服务关闭了标记：导出的音频不会表明它经过编辑。",
  mark_missing: "导出的音频不带标记：没有安装音频标记。", mark_failed: "导出的音频不带标记：标记在这里不能用。",
  pick: "请选择", nothing: "没有选中", selectedWord: "选中 1 个词，{s} 秒",
  selectedWords: "选中 {n} 个词，{s} 秒",
  selectedSpan: "选中 {s} 秒", listening: "正在听写 … 可以先听录音。", uploading: "正在上传 {t} …",
  queued: "排队中 …", running: "运行中", left: "还需约 {s} 秒", cancelled: "已取消", done: "完成：{t}。空格播放，B 听原声。",
  source: "原始录音", seconds: "秒",
  newWords: "改成什么？", insertWords: "插入什么？", correctWords: "录音里说的是：",
  consentTitle: "声音的使用许可", consent: "谁同意了使用这个声音？（此编辑会用这个声音说新的话）",
  keyTitle: "密钥", key: "这个服务需要密钥：", removeAsk: "删除这个录音和它的所有版本？",
  noMic: "不能使用麦克风：{m}", oneSentence: "长录音：请在一个句子之内选择",
  noWords: "还没有文字", sentence: "第 {n} 句", notKnown: "引擎没有学过", accepted: "满足所设的限度", notAccepted: "未通过限度，保留原样",
  nowhere: "请先选择词语", session: "已有的录音", noEdit: "这里没有可用的路线", noEngine: "需要引擎，这个服务没有",
};

const ENGLISH = {
  play: "Play", record: "Record", recordBig: "Record yourself", cancel: "Cancel", remove: "Remove", replace: "Replace",
  save: "Save", replaceTitle: "Replace “{t}”", insertTitle: "Insert after “{t}”", insertNow: "Insert",
  correctTitle: "Correct the transcript", oneVersion: "1 version", nVersions: "{n} versions",
  playVersion: "Play: {t}", llm: "language model", dsp: "signal processing",
  runsBy: "Route: {by}", step: "{edit}: {by}, {s} s", stepOnPart: "{edit} on a part: {by}, {s} s", noSound: "Choose a recording together with the subtitles",
  recordingNow: "Recording … Press again to stop.", secureOnly: "browsers allow it on this machine's own pages and on https alone",
  stop: "Stop recording", pause: "Pause", run: "Run", runSelection: "Run on the selection",
  scope: "for the selection", readFrom: "from “{t}”", onePerLine: "one in each line", numbers: "1, 3", notJson: "{f}: not JSON",
  mark: "Exported audio carries the mark “{m}”, which tells that the speech was edited.",
  mark_unedited: "The source is exported as it came in, without a mark.",
  mark_too_long: "Long recordings are edited piece by piece: exported audio carries no mark.",
  mark_off: "This service runs without marks: exported audio does not tell that it was edited.",
  mark_missing: "Exported audio carries no mark: none for sound is installed.",
  mark_failed: "Exported audio carries no mark: it does not work here.", pick: "choose", nothing: "nothing selected",
  selectedWord: "1 word, {s} s", selectedWords: "{n} words, {s} s", selectedSpan: "{s} s", listening: "Finding the words … You can listen meanwhile.",
  uploading: "Sending {t} …", queued: "Waiting …", running: "Running", left: "about {s} s left",
  cancelled: "Cancelled", done: "Done: {t}. Space plays it, B the source.",
  source: "source", seconds: "s", newWords: "Say what instead?", insertWords: "Say what after it?",
  correctWords: "What is said in the recording:", consentTitle: "Consent to use the voice",
  consent: "Who agreed that this voice says new words, and how?", keyTitle: "Key",
  key: "This service asks for a key:", removeAsk: "Remove this recording and all its versions?",
  noMic: "The microphone cannot be used: {m}", oneSentence: "Long recording: select within one sentence",
  noWords: "No words yet", sentence: "Sentence {n}", notKnown: "the engine was not taught this",
  accepted: "the limits are kept", notAccepted: "limits not kept: left as it was", nowhere: "Select words first",
  session: "Your recordings", noEdit: "no route can carry this out here",
  noEngine: "needs an engine, and this service has none",
};

// What went wrong, by the codes of the service; its own line, in English, follows.
const PROBLEMS = {
  invalid_request: "请求有误", invalid_chain: "这个编辑做不了", invalid_audio: "无法使用这个音频", invalid_sentence: "没有看懂这句话",
  unsupported: "不支持", invalid_key: "密钥无效", consent_required: "需要声音的使用许可", not_permitted: "不允许",
  not_found: "找不到", method_not_allowed: "不允许", gone: "已经过期", conflict: "现在不能这样做", too_large: "文件太大",
  too_long: "录音太长", step_failed: "编辑没有成功，录音保持不变", rate_limited: "请求太频繁，请稍后再试",
  audio_quota: "本小时的音频额度已用完", too_many_jobs: "同时进行的任务太多", busy: "服务正忙，请稍后再试",
  unavailable: "服务缺少所需的引擎或组件", no_space: "服务器磁盘已满", internal: "服务器出错",
};

/** The kind of an error in the page's language; null where its own line says it. */
export const problem = (code) => (language === "zh" ? `${PROBLEMS[code] ?? "出错"}：` : null);

export let language = localStorage.getItem("stepedit-language")
  ?? (navigator.language.startsWith("zh") ? "zh" : "en");
const shown = new Map();

export function say(name, values = {}) {
  const text = (language === "zh" ? CHINESE[name] : ENGLISH[name]) ?? ENGLISH[name] ?? name;
  return text.replace(/\{(\w+)\}/g, (_, key) => values[key] ?? "");
}

/** Put the page into a language; the English text of the page itself is what is in its HTML. */
export function setLanguage(to) {
  language = to;
  localStorage.setItem("stepedit-language", to);
  document.documentElement.lang = to === "zh" ? "zh-CN" : "en";
  const places = [["data-i18n", "textContent"], ["data-i18n-label", "aria-label"],
    ["data-i18n-placeholder", "placeholder"], ["data-i18n-group", "label"]];
  for (const [attribute, target] of places) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      const id = `${attribute}:${element.getAttribute(attribute)}`;
      const read = () => target === "textContent" ? element.textContent : element.getAttribute(target);
      if (!shown.has(id)) shown.set(id, read());
      const text = (to === "zh" ? CHINESE[element.getAttribute(attribute)] : null) ?? shown.get(id);
      if (target === "textContent") element.textContent = text; else element.setAttribute(target, text);
    }
  }
}
