// The dialog: a question that is answered by a text, or by yes and no.

const $ = (id) => document.getElementById(id);

function opened(title, label, yes) {
  const dialog = $("asker");
  $("asker-title").textContent = title;
  $("asker-label").textContent = label;
  $("asker-yes").textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Ask for a text; null where the question is refused. */
export async function ask(title, label, text = "", yes = "OK") {
  $("asker-text").hidden = false;
  const answer = opened(title, label, yes);
  $("asker-text").value = text;
  $("asker-text").focus();
  $("asker-text").setSelectionRange(text.length, text.length);
  return (await answer) ? $("asker-text").value.trim() : null;
}

/** Ask for a yes. */
export function confirmed(title, label, yes) {
  $("asker-text").hidden = true;
  const answer = opened(title, label, yes);
  $("asker-yes").focus();
  return answer;
}

$("asker-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("asker").close("yes");
  }
});
