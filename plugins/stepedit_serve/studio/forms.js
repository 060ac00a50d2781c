// Forms made from the JSON Schemas of edits, and edits made from forms.

import { language, say } from "/studio/text.js";

function resolved(schema, root) {
  let found = schema;
  while (found?.$ref) found = root.$defs[found.$ref.split("/").pop()];
  if (found?.allOf?.length === 1) return { ...resolved(found.allOf[0], root), ...found, allOf: undefined };
  return found ?? {};
}

/** The schema without "or null", and whether null is allowed. */
function bare(schema, root) {
  const found = resolved(schema, root);
  const kinds = (found.anyOf ?? found.oneOf ?? []).map((one) => resolved(one, root));
  if (!kinds.length) return [found, false];
  const real = kinds.filter((one) => one.type !== "null");
  const constants = real.flatMap((one) => one.enum ?? (one.const !== undefined ? [one.const] : []));
  const all = real.every((one) => one.enum || one.const !== undefined);
  const merged = all ? { enum: constants } : real.length === 1 ? real[0] : { mixed: real };
  return [{ ...found, ...merged, anyOf: undefined }, real.length < kinds.length];
}

function control(name, schema, isNullable, id) {
  const make = (tag, values = {}) => Object.assign(document.createElement(tag), { id, name, ...values });
  const choices = schema.enum ?? (schema.const !== undefined ? [schema.const] : null);
  if (choices) {
    const select = make("select");
    if (isNullable || schema.default === undefined) select.append(new Option(isNullable ? "–" : say("pick"), ""));
    for (const value of choices) select.append(new Option(String(value).replaceAll("_", " "), JSON.stringify(value)));
    if (schema.default !== undefined && schema.default !== null) select.value = JSON.stringify(schema.default);
    return [select, () => (select.value ? JSON.parse(select.value) : undefined)];
  }
  if (schema.type === "boolean") {
    const box = make("input", { type: "checkbox", checked: schema.default === true });
    return [box, () => box.checked];
  }
  if (schema.type === "number" || schema.type === "integer") {
    const field = make("input", { type: "number", step: schema.type === "integer" ? 1 : "any" });
    const low = schema.minimum ?? schema.exclusiveMinimum;
    const high = schema.maximum ?? schema.exclusiveMaximum;
    if (low !== undefined) field.min = low;
    if (high !== undefined) field.max = high;
    if (schema.default !== undefined && schema.default !== null) field.value = schema.default;
    return [field, () => (field.value === "" ? undefined : Number(field.value))];
  }
  if (schema.type === "string") {
    const field = make("input", { type: "text", value: schema.default ?? "" });
    if (schema.maxLength) field.maxLength = schema.maxLength;
    return [field, () => (field.value === "" ? undefined : field.value)];
  }
  const field = make("textarea", { rows: 2, spellcheck: false });
  if (schema.default !== undefined && schema.default !== null) field.value = JSON.stringify(schema.default);
  return [field, () => {
    if (!field.value.trim()) return undefined;
    try { return JSON.parse(field.value); } catch { return schema.mixed ? field.value.trim() : invalid(field); }
  }];
}

function invalid(field) {
  field.setCustomValidity("JSON");
  field.reportValidity();
  field.setCustomValidity("");
  throw new Error(`${field.name}: not JSON`);
}

/** Fill a form with the controls of an edit; returns a function that reads the edit from it. */
export function buildForm(form, info) {
  const root = info.parameters;
  const readers = [];
  const parts = [];
  const about = document.createElement("p");
  about.className = "quiet";
  about.textContent = info.phrases?.does?.[language] ?? info.summary.replaceAll("``", "");
  parts.push(about);
  for (const [name, given] of Object.entries(root.properties ?? {})) {
    const [schema, isNullable] = bare(given, root);
    const id = `field-${name}`;
    const [field, read] = control(name, schema, isNullable, id);
    field.required = (root.required ?? []).includes(name) && field.type !== "checkbox";
    const label = document.createElement("label");
    label.htmlFor = id;
    label.textContent = name.replaceAll("_", " ");
    const row = document.createElement("div");
    if (field.type === "checkbox") { row.className = "bar"; row.append(field, label); } else row.append(label, field);
    const text = given.description ?? schema.description;
    if (text) {
      const note = Object.assign(document.createElement("p"), {
        className: "quiet", id: `${id}-note`, textContent: text.replaceAll("``", ""),
      });
      field.setAttribute("aria-describedby", note.id);
      row.append(note);
    }
    parts.push(row);
    readers.push([name, read]);
  }
  form.replaceChildren(...parts);
  return () => {
    const edit = { edit: info.name };
    for (const [name, read] of readers) {
      const value = read();
      if (value !== undefined) edit[name] = value;
    }
    return edit;
  };
}

/** An edit in one line, as the command line writes it. */
export function oneLine(edit) {
  const { edit: name, ...rest } = edit;
  const values = Object.entries(rest).filter(([, value]) => value !== null && value !== undefined)
    .map(([key, value]) => key === "inner" && value.edit ? `inner=(${oneLine(value)})`
      : `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  return values.length ? `${name}:${values.join(",")}` : name;
}
