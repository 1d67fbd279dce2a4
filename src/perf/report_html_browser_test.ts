/**
 * The page in a real browser: it opens without an error and without a request, nothing is wider than
 * a telephone, every chart is drawn, and its letters stand out from their ground in light and dark.
 *
 * Wants Chromium (`apt-get install chromium`, or the path of one in `CHROMIUM`); where there is none the
 * tests are skipped by name, and fail under `CI=true`.
 */

import assert from "node:assert/strict";
import { openBrowser } from "./_browser_test.ts";
import { MACHINE, sampleRun } from "./_sample_runs_test.ts";
import { htmlReport } from "./report_html.ts";
import type { StoredResult } from "./stored_result.ts";

/** What a page looks like to a reader. */
interface Look {
  readonly pageWidth: number;
  readonly windowWidth: number;
  readonly charts: number;
  readonly marks: number;
  readonly empty: string[];
  readonly faint: string[];
  readonly outside: string[];
  readonly pwned: boolean;
}

/** Runs in the page; gives what {@linkcode Look} names. */
const LOOK = `(() => {
  const luminance = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const groundOf = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const colour = rgb(getComputedStyle(e).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim() !== "");
    if (!own || element.closest("title, .hidden")) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement ? style.fill : style.color;
    const [a, b] = [luminance(rgb(drawn)), luminance(groundOf(element))].sort((x, y) => y - x);
    if ((a + 0.05) / (b + 0.05) < 4.5) faint.add(element.tagName + "." + element.className + " " + drawn);
  }
  const svgs = [...document.querySelectorAll("svg")];
  const boxes = svgs.map((svg) => svg.getBoundingClientRect());
  return JSON.stringify({
    pageWidth: document.documentElement.scrollWidth,
    windowWidth: document.documentElement.clientWidth,
    charts: document.querySelectorAll("svg.chart").length,
    marks: document.querySelectorAll("svg path, svg circle, svg line").length,
    empty: svgs.filter((svg, i) => boxes[i].width < 50 || boxes[i].height < 10 ||
      svg.querySelector("path, circle") === null).map((svg) => svg.getAttribute("aria-label")),
    faint: [...faint],
    outside: [...document.querySelectorAll("svg.chart")].flatMap((svg) => {
      const box = svg.getBoundingClientRect();
      return [...svg.querySelectorAll("text")].filter((text) => {
        const { left, right, top, bottom } = text.getBoundingClientRect();
        return left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1;
      }).map((text) => text.textContent);
    }),
    pwned: "pwned" in window,
  });
})()`;

const hostile =
  '<script>window.pwned=1</script><img src="https://a.test/x" onerror="window.pwned=1">' +
  `\u202e"'&${"w".repeat(150)}`;

const NARROW_DARK = { scheme: "dark", width: 390 } as const;
const WIDE_LIGHT = { scheme: "light", width: 1280 } as const;
const LOOKS = [
  NARROW_DARK,
  WIDE_LIGHT,
  { scheme: "light", width: 390 },
  { scheme: "dark", width: 1280 },
] as const;

/** A page, and how it is looked at. */
interface Subject {
  readonly page: string;
  readonly looks: readonly { readonly scheme: "light" | "dark"; readonly width: number }[];
}

async function pages(): Promise<Record<string, Subject>> {
  const history: StoredResult[] = [];
  for (let hour = 0; hour < 30; hour++) history.push(await sampleRun({ hour }));
  history[4] = await sampleRun({ hour: 4, change: () => assert.fail("broken off") });
  const failed = await sampleRun({
    hour: 40,
    repeats: 3,
    change: (id, measured) => {
      if (id === 7) throw new Error(`no room: ${"a long reason ".repeat(20)}`);
      return { ...measured, metrics: { ...measured.metrics, oneThread: 782_345, meanMs: NaN } };
    },
  });
  const run = await sampleRun({ hour: 41 });
  const spoiled: StoredResult = {
    ...run,
    directory: hostile,
    machine: { ...MACHINE, processor: hostile },
    benchmarks: run.benchmarks.map((benchmark) => ({
      ...benchmark,
      name: hostile,
      description: hostile,
      notes: [hostile],
      verdicts: benchmark.verdicts.map((verdict) => ({ ...verdict, label: hostile })),
    })),
  };
  const past = history.map((result) => ({
    ...result,
    directory: hostile,
    machine: spoiled.machine,
  }));
  const hostileRun = { history: past, warnings: [hostile] };
  return {
    passed: { page: await htmlReport(run, { history }), looks: LOOKS },
    failed: { page: await htmlReport(failed, { history }), looks: [NARROW_DARK, WIDE_LIGHT] },
    alone: { page: await htmlReport(run), looks: [NARROW_DARK] },
    hostile: { page: await htmlReport(spoiled, hostileRun), looks: [NARROW_DARK, WIDE_LIGHT] },
  };
}

const browser = await openBrowser();
const isCi = Deno.env.get("CI") === "true";

Deno.test({
  name: browser === undefined
    ? "htmlReport() in a browser: skipped as there is no Chromium (apt-get install chromium)"
    : "htmlReport() in a browser",
  ignore: browser === undefined && !isCi,
  // The browser is a process that outlives its steps.
  sanitizeResources: false,
  sanitizeOps: false,
  async fn(test) {
    assert(
      browser !== undefined,
      "Cannot test the page without Chromium: apt-get install chromium",
    );
    const folder = await Deno.makeTempDir({ prefix: "mmsb-html-" });
    try {
      for (const [name, { page, looks }] of Object.entries(await pages())) {
        const path = `${folder}/${name}.html`;
        await Deno.writeTextFile(path, page);
        for (const { scheme, width } of looks) {
          await test.step(`${name}, ${scheme}, ${width} pixels`, async () => {
            const opened = await browser.open(`file://${path}`, { scheme, width });
            assert.deepEqual(opened.messages, []);
            assert.deepEqual(opened.requests, [`file://${path}`]);
            const look: Look = JSON.parse(await opened.evaluate(LOOK));
            assert.equal(look.pwned, false);
            assert.equal(look.pageWidth, look.windowWidth);
            assert.deepEqual(look.empty, []);
            assert.deepEqual(look.faint, []);
            assert.deepEqual(look.outside, []);
            const drawn = page.match(/ class="chart"/g)?.length ?? 0;
            assert.equal(look.charts, drawn);
            assert(look.charts >= 3 && look.marks > look.charts);
          });
        }
      }
    } finally {
      await browser.close();
      await Deno.remove(folder, { recursive: true });
    }
  },
});
