/**
 * What is said of a user's directory: damage, ticks and pages in words that need no knowledge of the format.
 */

import type { SalvageRange, SalvageReport } from "../log/mod.ts";
import type { ConcernedPage, DamageAccount, DamagedPlace } from "./_own_damage.ts";
import { text } from "./_figures.ts";

/** Pages that are named. */
const PAGES_NAMED = 8;

/** The first place of damage and what to do, in one sentence. */
export function damageSentence(directory: string, account: DamageAccount): string {
  const { places: [first, ...others], more } = account, count = others.length + more;
  return `${placeText(first)}${concernedText(first)}${
    count === 0 ? "" : `; and ${count} more place${count === 1 ? "" : "s"}`
  }; ${adviceText(directory, account)}`;
}

/** All of it, a line each. */
export function damageNotes(directory: string, account: DamageAccount): string[] {
  const { places, more, salvage } = account;
  return [
    ...places.flatMap((place) => [
      `damaged: ${placeText(place)}${
        place.byte === undefined ? "" : "; with it put right all checksums fit again"
      }`,
      `  ${place.part === undefined ? "concerns" : `in ${place.part};`}${
        concernedText(place).slice(1) || " no tick and no page"
      }`,
    ]),
    ...(more === 0 ? [] : [`and ${more} more damaged places`]),
    ...(salvage === undefined ? [] : salvageNotes(salvage)),
    `what to do: ${adviceText(directory, account)}`,
  ];
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
  const hurt = pagesHurt.map(({ page, name = "" }) => ({ page, name }));
  const repaired = pagesHurt.filter((page) => page.repaired !== undefined).length;
  return [
    `a salvage would save ${text(ticks)} ticks, up to tick ${lastTick}; ${
      lost.length === 0 ? "no tick is lost" : `lost: ${lost.slice(0, 8).join(", ")}`
    }`,
    ...(hurt.length === 0 ? [] : [
      `  later deltas of ${pagesText(hurt)} are kept, the lost ones are missing in ${
        hurt.length === 1 ? "its" : "their"
      } bytes${repaired === 0 ? "" : `; ${text(repaired)} of them a checkpoint makes good`}`,
    ]),
    ...(pagesLost.length === 0 ? [] : [
      `  nothing can be saved of ${pagesText(pagesLost.map(({ page }) => ({ page, name: "" })))}`,
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
