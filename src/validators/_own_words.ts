/**
 * What is said of a user's directory: damage, ticks and pages in words that need no knowledge of the format.
 */

import type { SalvageRange, SalvageReport } from "../log/mod.ts";
import { text } from "./_figures.ts";
import type { ConcernedPage } from "./_own_concerned.ts";
import type { DamageAccount, DamagedPlace } from "./_own_damage.ts";

/** Pages that are named. */
const PAGES_NAMED = 8;

/** The first place of damage, the tick and pages that it concerns. */
export function damageSentence({ places: [first, ...others], more }: DamageAccount): string {
  const count = others.length + more;
  return `${placeText(first)}${concernedText(first)}${
    count === 0 ? "" : `; and ${count} more place${count === 1 ? "" : "s"}`
  }`;
}

/** What the sentence leaves open: what the places are part of, what can be saved, and what to do. */
export function damageNotes(directory: string, account: DamageAccount): string[] {
  const { places, more, salvage } = account;
  return [
    ...places.flatMap((place, i) => [
      ...(i === 0 ? [] : [`damaged, too: ${placeText(place)}${concernedText(place)}`]),
      ...detailNotes(place),
    ]),
    ...(more === 0 ? [] : [`and ${more} more damaged places`]),
    ...(salvage === undefined ? [] : salvageNotes(salvage)),
    `what to do: ${adviceText(directory, account)}`,
  ];
}

function detailNotes({ part, byte }: DamagedPlace): string[] {
  const certain = byte === undefined ? "" : "with that byte put right all checksums fit again";
  if (part === undefined) return certain === "" ? [] : [certain];
  return [`it is in ${part}${certain === "" ? "" : `; ${certain}`}`];
}

function placeText({ file, offset, byte, found }: DamagedPlace): string {
  if (byte === undefined) return `${file}, from byte ${offset} on: ${found}`;
  return `${file}, byte ${offset}: ${hex(byte.found)} stands where ${
    hex(byte.written)
  } was written`;
}

function hex(byte: number): string {
  return `0x${byte.toString(16).padStart(2, "0")}`;
}

function concernedText({ ticks, pages }: DamagedPlace): string {
  const parts = [
    ...(ticks === undefined ? [] : [rangeText("tick", ticks)]),
    ...(pages.length === 0 ? [] : [pagesText(pages)]),
  ];
  return parts.length === 0 ? "" : `; ${parts.join(", ")}`;
}

/** `tick 3`, `ticks 3 to 5`. */
export function rangeText(what: string, { first, last }: SalvageRange): string {
  return first === last ? `${what} ${first}` : `${what}s ${first} to ${last}`;
}

/** Pages by id and name, the first few of them. */
export function pagesText(pages: readonly ConcernedPage[]): string {
  const shown = pages.slice(0, PAGES_NAMED).map(({ page, name }) =>
    name === "" ? `${page}` : `${page} ${JSON.stringify(name)}`
  );
  const more = pages.length - shown.length;
  return `page${pages.length === 1 ? "" : "s"} ${shown.join(", ")}${
    more === 0 ? "" : ` and ${text(more)} more`
  }`;
}

function salvageNotes({ ticks, lastTick, ticksLost, pagesHurt, pagesLost }: SalvageReport) {
  const lost = ticksLost.map((range) => rangeText("tick", range));
  const later = pagesHurt.filter(({ ticks }) => ticks.last < lastTick);
  const hurt = later.map(({ page, name = "" }) => ({ page, name }));
  const repaired = later.filter((page) => page.repaired !== undefined).length;
  return [
    `a salvage would save ${text(ticks)} ticks, up to tick ${lastTick}; ${
      lost.length === 0 ? "no tick is lost" : `lost: ${lost.slice(0, 8).join(", ")}`
    }`,
    ...(hurt.length === 0 ? [] : [
      `later deltas of ${pagesText(hurt)} are kept, the lost ones are missing in ${
        hurt.length === 1 ? "its" : "their"
      } bytes${repaired === 0 ? "" : `; ${text(repaired)} of them a checkpoint makes good`}`,
    ]),
    ...(pagesLost.length === 0 ? [] : [
      `nothing can be saved of ${pagesText(pagesLost.map(({ page }) => ({ page, name: "" })))}`,
    ]),
  ];
}

/** What to do, by what is damaged. */
function adviceText(directory: string, { places, salvage }: DamageAccount): string {
  const files = new Set(places.map(({ file }) => file));
  if (places.every(({ file }) => file.endsWith(".idx"))) {
    return `delete ${
      [...files].join(", ")
    }, nothing is lost with it: it is made again when it is needed`;
  }
  if (salvage === undefined) {
    return `the log is whole, so delete ${
      [...files].join(", ")
    } if the whole log is kept, nothing is lost with it; else restore it from a backup`;
  }
  const from = shell(directory), to = shell(`${directory.replace(/[/\\]+$/, "")}-saved`);
  return `restore the file from a backup, or save everything else: mmsb log salvage ${from} --to ${to}`;
}

function shell(path: string): string {
  return /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
