/**
 * Writes the fault catalogue into docs/validation.md, between its marks; a test beside this file holds the two together.
 *
 * Faults that are found by one name and with one kind of place stand together, so that what they have in common is said
 * once.
 *
 * ```
 * deno run -A tools/fault_catalogue.ts
 * ```
 */

import targets from "../benchmarks_targets.json" with { type: "json" };
import { CATALOGUE, type CatalogueFault } from "../src/validators/catalogue.ts";

/** The document. */
export const DOCUMENT = new URL("../docs/validation.md", import.meta.url);

const OPEN = "<!-- catalogue -->", CLOSE = "<!-- catalogue end -->";
const WIDTH = 115;

/** The document with the catalogue as it is. */
export function withCatalogue(document: string): string {
  const from = document.indexOf(OPEN), to = document.indexOf(CLOSE);
  if (from < 0 || to < from) throw new Error(`${DOCUMENT} has no ${OPEN} … ${CLOSE}`);
  return `${document.slice(0, from)}${OPEN}\n\n${catalogueText()}\n${document.slice(to)}`;
}

/** The catalogue in Markdown, by validator. */
function catalogueText(): string {
  return targets.benchmarks.map(({ id, name }) => {
    const faults = CATALOGUE.filter(({ validators }) => validators.includes(id));
    const places = Map.groupBy(faults, ({ place }) => place);
    const lists = [...places].map(([place, group]) => `Named with ${place}:\n\n${byName(group)}`);
    return `### #${id} ${name}: ${faults.length} faults\n\n${lists.join("\n")}`;
  }).join("\n");
}

function byName(faults: readonly CatalogueFault[]): string {
  return [...Map.groupBy(faults, ({ finding }) => finding)]
    .map(([finding, group]) => wrapped(`- found as _${finding}_: ${listed(group)}`)).join("");
}

function listed(faults: readonly CatalogueFault[]): string {
  return faults.map(({ id, title }) => `${title} (\`${id}\`)`).join(", ");
}

function wrapped(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const last = lines.length - 1;
    if (lines[last] === "") lines[last] = word;
    else if (lines[last].length + 1 + word.length <= WIDTH) lines[last] += ` ${word}`;
    else lines.push(`  ${word}`);
  }
  return `${lines.join("\n")}\n`;
}

if (import.meta.main) {
  await Deno.writeTextFile(DOCUMENT, withCatalogue(await Deno.readTextFile(DOCUMENT)));
}
