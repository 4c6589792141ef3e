/**
 * Names as text: one a line, synonyms as `label=query|query`, a backslash before a sign that stands
 * for itself.
 */

const SIGNS = /[,;:.=|#\\]|^[{[(<"'\-*]/g;

/**
 * The text of a list that the service has read.
 * @param {Record<string, string[]>} queries Of each label.
 */
export function textOf(queries) {
  const lines = Object.entries(queries).map(([label, own]) => {
    const isPlain = own.length === 1 && own[0] === label;
    return isPlain ? escaped(label) : `${escaped(label)}=${own.map(escaped).join("|")}`;
  });
  return lines.length === 1 ? lines[0] : lines.join("\n");
}

/** Whether a text is a names file, whose labels have more than queries. @param {string} text */
export function isNamesFile(text) {
  return /^[ \t]*\[\[[ \t]*(labels|groups)[ \t]*\]\]/m.test(text);
}

/** @param {string} name */
function escaped(name) {
  return name.replace(SIGNS, "\\$&");
}

/**
 * What is typed as the service takes it. It asks back about lines that hold commas, which a file may
 * mean as one name; a person who types means several.
 * @param {string} text
 */
export function typed(text) {
  if (isNamesFile(text)) return text;
  const isFree = /(?<!\\),/.test(text) && !/^\s*[[{<(]|:/.test(text);
  const parts = text.split(/(?<!\\),|\n/).map((part) => part.trim());
  return isFree && text.includes("\n") ? parts.filter((part) => part).join(", ") : text;
}
