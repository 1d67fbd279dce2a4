/**
 * Explained extent: what is said of an explanation as a whole, from the list of its pages.
 *
 * Who makes an explanation has that list; to find the pages by their parents again costs as much as a good
 * part of making it.
 *
 * Cost: a few ns a page.
 */

import type { ExplainedPage, Explanation } from "./explanation.ts";

/** A page with all behind it, as it was made. */
export interface MadeExplanation {
  /** The page that was asked about. */
  readonly root: ExplainedPage;
  /** What is said of all of it. */
  readonly extent: Pick<Explanation, "depth" | "pages" | "truncated" | "complete">;
}

/** Sums up pages, each given once, the one that was asked about first. */
export function madeOf(pages: readonly ExplainedPage[]): MadeExplanation {
  let depth = 0, truncated = false, complete = true;
  for (const page of pages) {
    depth = Math.max(depth, page.depth);
    truncated ||= page.end === "depth" || page.end === "pages";
    complete &&= page.end === undefined;
  }
  return { root: pages[0], extent: { depth, pages: pages.length, truncated, complete } };
}
