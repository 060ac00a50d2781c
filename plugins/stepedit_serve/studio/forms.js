// Forms made from the JSON Schemas of edits, and edits made from forms.

import { both, editName, fieldAbout, fieldName, namedValues, valueName } from "/studio/names.js";
import { say } from "/studio/text.js";

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

const make = (tag, values = {}) => Object.assign(document.createElement(tag), values);
const isGiven = (value) => value !== undefined && value !== null;
const choicesOf = (schema) => schema.enum ?? (schema.const !== undefined ? [schema.const] : null);
const valueText = (edit, name, value) => both(valueName(edit, name, value), String(value).replaceAll("_", " "));

/** A text field that offers the values that are known. */
function suggesting(field, edit, name, values) {
  if (!values.length) return field;
  const list = make("datalist", { id: `${field.id}-list` });
  list.append(...values.map((value) => new Option(valueText(edit, name, value), value)));
  field.setAttribute("list", list.id);
  field.suggestions = list;
  return field;
}

/** Several values out of some: a box for each. */
function boxes(edit, name, choices, given, id) {
  const group = make("div", { id, className: "boxes" });
  group.setAttribute("role", "group");
  const all = choices.map((value) => {
    const box = make("input", { type: "checkbox", checked: (given ?? []).includes(value) });
    const label = make("label", { className: "check" });
    label.append(box, valueText(edit, name, value));
    group.append(label);
    return [box, value];
  });
  return [group, () => all.filter(([box]) => box.checked).map(([, value]) => value)];
}

/** A list of texts, one in a line, or of numbers, beside each other. */
function listed(schema, kind, values) {
  const field = make("textarea", values);
  const isText = kind === "string";
  field.value = (schema.default ?? []).join(isText ? "\n" : ", ");
  field.placeholder = say(isText ? "onePerLine" : "numbers");
  return [field, () => {
    const parts = field.value.split(isText ? "\n" : /[\s,，、]+/).map((one) => one.trim()).filter(Boolean);
    if (!parts.length) return schema.default?.length ? [] : undefined;
    return isText ? parts : parts.map(Number);
  }];
}

function control(edit, name, schema, isNullable, id, root) {
  const choices = choicesOf(schema);
  if (choices) {
    const select = make("select", { id, name });
    if (isNullable || schema.default === undefined) select.append(new Option(isNullable ? "–" : say("pick"), ""));
    for (const value of choices) select.append(new Option(valueText(edit, name, value), JSON.stringify(value)));
    if (isGiven(schema.default)) select.value = JSON.stringify(schema.default);
    return [select, () => (select.value ? JSON.parse(select.value) : undefined)];
  }
  if (schema.type === "boolean") {
    const box = make("input", { id, name, type: "checkbox", checked: schema.default === true });
    return [box, () => box.checked];
  }
  if (schema.type === "number" || schema.type === "integer") {
    const field = make("input", { id, name, type: "number", step: schema.type === "integer" ? 1 : "any" });
    const low = schema.minimum ?? schema.exclusiveMinimum;
    const high = schema.maximum ?? schema.exclusiveMaximum;
    if (low !== undefined) field.min = low;
    if (high !== undefined) field.max = high;
    if (isGiven(schema.default)) field.value = schema.default;
    return [field, () => (field.value === "" ? undefined : Number(field.value))];
  }
  if (schema.type === "string") {
    const field = make("input", { id, name, type: "text", value: schema.default ?? "" });
    if (schema.maxLength) field.maxLength = schema.maxLength;
    return [suggesting(field, edit, name, namedValues(edit, name)), () => (field.value === "" ? undefined : field.value)];
  }
  const items = schema.type === "array" && schema.items ? resolved(schema.items, root) : {};
  if (choicesOf(items)) return boxes(edit, name, choicesOf(items), schema.default, id);
  if (["string", "integer", "number"].includes(items.type)) {
    return listed(schema, items.type, { id, name, rows: 2, spellcheck: false });
  }
  if (schema.mixed?.every((one) => choicesOf(one) || ["string", "number", "integer"].includes(one.type))) {
    const field = make("input", { id, name, type: "text", value: schema.default ?? "" });
    const values = schema.mixed.flatMap((one) => choicesOf(one) ?? []);
    const isNumber = () => Number.isFinite(Number(field.value));
    return [suggesting(field, edit, name, values),
      () => (!field.value.trim() ? undefined : isNumber() ? Number(field.value) : field.value.trim())];
  }
  const field = make("textarea", { id, name, rows: 2, spellcheck: false, placeholder: "JSON" });
  if (isGiven(schema.default)) field.value = JSON.stringify(schema.default);
  return [field, () => {
    if (!field.value.trim()) return undefined;
    try { return JSON.parse(field.value); } catch { return schema.mixed ? field.value.trim() : invalid(field); }
  }];
}

function invalid(field) {
  field.setCustomValidity("JSON");
  field.reportValidity();
  field.setCustomValidity("");
  throw new Error(say("notJson", { f: field.name }));
}

/** Fill a form with the controls of an edit; returns a function that reads the edit from it. */
export function buildForm(form, info) {
  const root = info.parameters;
  const readers = [];
  const parts = [];
  const own = (info.phrases?.does?.en ?? info.summary).replaceAll("``", "");
  // The list of edits says the name in the page's language already.
  if (!editName(info.name)) parts.push(make("p", { className: "quiet", textContent: own }));
  for (const [name, given] of Object.entries(root.properties ?? {})) {
    const [schema, isNullable] = bare(given, root);
    const id = `field-${name}`;
    const [field, read] = control(info.name, name, schema, isNullable, id, root);
    const isGroup = field.getAttribute("role") === "group";
    field.required = (root.required ?? []).includes(name) && field.type !== "checkbox";
    const label = make(isGroup ? "span" : "label", { id: `${id}-label`, className: "name" });
    if (isGroup) field.setAttribute("aria-labelledby", label.id); else label.htmlFor = id;
    const own = name.replaceAll("_", " ");
    const called = fieldName(info.name, name);
    label.append(called ?? own);
    if (called) label.append(" ", make("span", { className: "quiet", lang: "en", textContent: name }));
    const row = make("div");
    if (field.type === "checkbox") { row.className = "bar"; row.append(field, label); } else row.append(label, field);
    if (field.suggestions) row.append(field.suggestions);
    const text = (given.description ?? schema.description ?? "").replaceAll("``", "");
    const said = fieldAbout(info.name, name);
    if (said ?? text) {
      const note = make("p", { className: "quiet", id: `${id}-note`, textContent: said ?? text, title: said ? text : "" });
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
