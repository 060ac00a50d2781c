// What edits, their parameters and values are called in the page's language, where plugins say so.

import { language } from "/studio/text.js";

const known = new Map();

export function knowEdits(edits) {
  known.clear();
  for (const one of edits) known.set(one.name, one);
}

const field = (edit, name) => known.get(edit)?.phrases?.fields?.[name];

/** The name in the page's language; null where the English one stands. */
export const editName = (edit) => (language === "en" ? null : known.get(edit)?.phrases?.does?.[language] ?? null);
export const fieldName = (edit, name) => field(edit, name)?.name?.[language] ?? null;
export const fieldAbout = (edit, name) => field(edit, name)?.about?.[language] ?? null;
export const valueName = (edit, name, value) => field(edit, name)?.values?.[String(value)]?.[language] ?? null;

/** The values that a parameter is known to take; for texts these are suggestions. */
export const namedValues = (edit, name) => Object.keys(field(edit, name)?.values ?? {});

/** A name with the English one, by which it is found in documentation. */
export function both(name, own) {
  if (!name || name === own) return own;
  return language === "zh" ? `${name}（${own}）` : `${name} (${own})`;
}

/** An edit in words of the page's language, for titles; null where there are none. */
export function inWords(edit) {
  const name = editName(edit.edit);
  if (!name) return null;
  const values = Object.entries(edit).filter(([key, value]) => key !== "edit" && value !== null && value !== undefined)
    .map(([key, value]) => {
      const several = Array.isArray(value) ? value : [value];
      const said = several.map((one) => valueName(edit.edit, key, one));
      if (said.length && said.every(Boolean)) return said.join("、");
      const own = typeof value === "string" ? value : JSON.stringify(value);
      return `${fieldName(edit.edit, key) ?? key} ${own}`;
    });
  return values.length ? `${name}：${values.join("，")}` : name;
}
