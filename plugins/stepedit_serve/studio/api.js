// Requests to the service. A key, where one is needed, is kept for this tab alone.

let askForKey = async () => null;

export function onKeyNeeded(ask) { askForKey = ask; }

export class ApiError extends Error {
  constructor(status, body) {
    super(body?.message ?? (status ? `the service answered ${status}` : "the job failed"));
    this.status = status;
    this.code = body?.code;
    this.alternatives = body?.alternatives ?? null;
  }
}

function headers(extra) {
  const key = sessionStorage.getItem("stepedit-key");
  return { ...(key ? { Authorization: `Bearer ${key}` } : {}), ...extra };
}

export function hasKey() { return sessionStorage.getItem("stepedit-key") !== null; }

async function send(path, options) {
  for (let tries = 0; ; tries += 1) {
    const { headers: given, ...rest } = options;
    const answer = await fetch(path, { ...rest, headers: headers(given) });
    if (answer.status === 401 && tries < 3) {
      const key = await askForKey();
      if (key) { sessionStorage.setItem("stepedit-key", key); continue; }
    }
    if (!answer.ok) {
      const body = await answer.json().catch(() => null);
      throw new ApiError(answer.status, body?.error);
    }
    return answer;
  }
}

export async function getJson(path) { return (await send(path, {})).json(); }
export async function getBlob(path) { return (await send(path, {})).blob(); }

/** The status and the body, for answers that may say "not yet". */
export async function getEither(path) {
  const answer = await send(path, {});
  return [answer.status, await answer.json()];
}

export async function sendJson(path, body, method = "POST") {
  const answer = await send(path, {
    method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" },
  });
  return answer.status === 204 ? null : answer.json();
}

export async function sendForm(path, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) if (value) form.append(name, value);
  return (await send(path, { method: "POST", body: form })).json();
}

export async function remove(path) { await send(path, { method: "DELETE" }); }

/** Follow a job to its end; `onProgress` is called with each state. Returns the last state. */
export async function followJob(id, onProgress, signal) {
  const answer = await send(`/v1/jobs/${id}/events`, {
    headers: { Accept: "text/event-stream" }, signal,
  });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  let last = null;
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    waiting += value;
    let end;
    while ((end = waiting.search(/\r?\n\r?\n/)) >= 0) {
      const event = waiting.slice(0, end);
      waiting = waiting.slice(end).replace(/^\r?\n\r?\n/, "");
      const data = event.split(/\r?\n/).filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5).trim()).join("\n");
      if (data) { last = JSON.parse(data); onProgress(last); }
    }
  }
  return last ?? getJson(`/v1/jobs/${id}`);
}
