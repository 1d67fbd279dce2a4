/**
 * The pen: Observable Plot, loaded when the first page is written, drawing into a document that exists
 * for that alone.
 *
 * Static SVG in the page needs no script and no network to be seen, prints sharply, and takes its
 * colours from the page's style, so light and dark are one drawing. uPlot, the other candidate, draws
 * on a canvas in the reader's browser: a script of 50 KB in every page, nothing for a screen reader,
 * and a second drawing for the dark.
 *
 * Cost: half a second for the first chart, then some 10 ms and 3 to 20 KB of SVG a chart.
 */

import { clean, type Markup, trusted } from "./_html_text.ts";

/** What Plot's marks are; it checks its options itself. */
// The types of Plot name those of a browser, which a program outside of one does not have.
type Mark = (data: unknown, options?: object) => unknown;

/** The marks that the charts are made of. */
export interface Pen {
  readonly axisX: (options: object) => unknown;
  readonly axisY: (options: object) => unknown;
  readonly gridX: (options: object) => unknown;
  readonly gridY: (options: object) => unknown;
  readonly dot: Mark;
  readonly line: Mark;
  readonly link: Mark;
  readonly rect: Mark;
  readonly ruleX: Mark;
  readonly ruleY: Mark;
  readonly text: Mark;
  readonly tickX: Mark;
  /**
   * Draws a chart.
   *
   * @param label What it shows, for those who do not see it.
   * @param kind Its class in the style of the page.
   * @param options What Plot is told.
   * @returns An `<svg>`.
   */
  draw(label: string, kind: "chart" | "spark", options: object): Markup;
}

/** What Plot gives: an element of the document that it was given. */
interface Drawing {
  readonly outerHTML: string;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  querySelectorAll(selector: string): Iterable<{ remove(): void }>;
}

/** Loads what draws. */
export async function loadPen(): Promise<Pen> {
  const [Plot, { parseHTML }] = await Promise.all([
    import("@observablehq/plot"),
    import("linkedom"),
  ]);
  const { document } = parseHTML("<!doctype html><html><body></body></html>") as unknown as {
    document: object;
  };
  function draw(label: string, kind: string, options: object): Markup {
    const svg = Plot.plot(
      { document, className: "plot", ...options } as object,
    ) as unknown as Drawing;
    // The page has one style for all charts.
    for (const style of svg.querySelectorAll("style")) style.remove();
    for (const name of ["fill", "font-family", "font-size"]) svg.removeAttribute(name);
    svg.setAttribute("class", kind);
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", clean(label));
    return trusted(svg.outerHTML);
  }
  return { ...(Plot as unknown as Omit<Pen, "draw">), draw };
}
