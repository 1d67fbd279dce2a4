/**
 * Writing HTML without a way to forget an escape: a template that escapes whatever is put into it,
 * unless it is markup that the same template made. Names and reasons in a report come from a user's
 * files and errors, so all of them are hostile until escaped.
 *
 * Attributes must be written in double quotes; nothing may be put into a tag's or an attribute's
 * name, a comment, a script or a style.
 */

/** Text that is HTML already; made by {@linkcode markup} and {@linkcode trusted} only. */
export class Markup {
  /** The HTML. */
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }
}

/** What a template takes: text and figures are escaped, lists are joined, nothing is left out. */
export type Content = string | number | Markup | undefined | readonly Content[];

/** Makes HTML of a template, with all that is put in escaped. */
export function markup(parts: TemplateStringsArray, ...contents: readonly Content[]): Markup {
  return new Markup(parts.map((part, index) => part + textOf(contents[index])).join(""));
}

/** Takes HTML as it stands: our own styles, and charts that were serialised with escapes. */
export function trusted(text: string): Markup {
  return new Markup(text);
}

function textOf(content: Content): string {
  if (content === undefined) return "";
  if (content instanceof Markup) return content.text;
  if (typeof content === "object") return content.map(textOf).join("");
  return escapeHtml(String(content));
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/**
 * Escapes text for elements and quoted attributes. What HTML does not hold (controls, half a
 * surrogate pair) becomes U+FFFD; so do the marks that turn the direction of writing, as they could
 * show a figure in another order than it has.
 */
export function escapeHtml(text: string): string {
  return clean(text).replace(/[&<>"']/g, (character) => ENTITIES[character]);
}

/** The same without the escapes, for texts that a serialiser escapes. */
export function clean(text: string): string {
  return text.toWellFormed()
    .replace(/\r\n?/g, "\n")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd");
}
