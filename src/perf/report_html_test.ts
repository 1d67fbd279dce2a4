import assert from "node:assert/strict";
import fc from "fast-check";
import { parseHTML } from "linkedom";
import { axisOf, isDrawable, ticksOf } from "./_html_axis.ts";
import { comparableRuns, seriesOf, trendOf } from "./_html_runs.ts";
import { escapeHtml, markup } from "./_html_text.ts";
import { MACHINE, sampleRun } from "./_sample_runs_test.ts";
import { htmlReport } from "./report_html.ts";
import type { StoredResult } from "./stored_result.ts";

/** The parts of a document that the tests read. */
interface Page {
  querySelector(selector: string): Part | null;
  querySelectorAll(selector: string): Iterable<Part>;
}

interface Part extends Page {
  readonly tagName: string;
  remove(): void;
  readonly textContent: string;
  readonly attributes: Iterable<{ readonly name: string; readonly value: string }>;
  getAttribute(name: string): string | null;
}

function open(page: string): Page {
  return (parseHTML(page) as unknown as { document: Page }).document;
}

function kindOf({ tagName, attributes }: Part): string {
  return `${tagName} ${[...attributes].map(({ name }) => name).sort().join(" ")}`;
}

function textsOf(page: Page, selector: string): string[] {
  return [...page.querySelectorAll(selector)].map(({ textContent }) => textContent.trim());
}

const history: readonly StoredResult[] = await Promise.all(
  Array.from({ length: 12 }, (_, hour) => sampleRun({ hour })),
);

Deno.test("htmlReport() shows what the terminal shows", async () => {
  const run = await sampleRun({
    hour: 20,
    change: (id, measured) => {
      if (id === 7) throw new Error("the machine has 512 MiB left");
      return id === 5
        ? { ...measured, metrics: { ...measured.metrics, oneThread: 782_345 } }
        : { ...measured, planted: [{ id: `fault-${id}`, found: true }] };
    },
  });
  const page = open(await htmlReport(run, { history }));
  assert.equal(textsOf(page, "header strong")[0], "Failed: 2 of 10");
  const text = page.querySelector("body")!.textContent;
  for (
    const said of [
      "Result: 8/10 PASS – 2 failed",
      "Faults: 8 of 8 planted and found (the catalogue has ",
      "782K/sec, target: 1M/sec",
      "Error: the machine has 512 MiB left",
      "Sample Processor, 2 cores, 16 GiB of memory",
      "0.78× the target",
      ...run.benchmarks.flatMap(({ name, notes }) => [name, ...notes]),
    ]
  ) assert(text.includes(said), said);
  assert.equal(textsOf(page, ".overview tbody tr").length, 10);
  assert.equal(textsOf(page, "section.benchmark.failed").length, 2);
});

Deno.test("htmlReport() draws each graded metric over the runs, and says what is left out", async () => {
  const run = await sampleRun({ hour: 20, repeats: 3 });
  const others = [
    await sampleRun({ hour: 13, quick: true }),
    await sampleRun({ hour: 14, machine: { ...MACHINE, cores: 64 } }),
    await sampleRun({ hour: 30 }),
  ];
  const page = open(
    await htmlReport(run, { history: [...others, ...history, run], warnings: ["x.json is torn"] }),
  );
  const charts = [...page.querySelectorAll("svg.chart")];
  const labels = charts.map((chart) => chart.getAttribute("aria-label")!);
  const ofOne = labels.find((label) => label.startsWith("one thread over"))!;
  assert.match(ofOne, /^one thread over 13 runs, from .*, target ≥ 1M\/sec, goal ≥ 5M\/sec; /);
  const chart = charts[labels.indexOf(ofOne)];
  const titles = textsOf(chart, "title");
  assert.equal(titles.length, 13);
  assert.match(titles[12], /^this run, 2026-01-01 20:00 UTC\n[\d,.]+\/sec\nrepeats from /);
  assert.deepEqual(textsOf(chart, "text").filter((text) => /target|goal/.test(text)), [
    "target",
    "goal",
  ]);
  const footer = page.querySelector("footer")!.textContent;
  assert.match(footer, /this run and 12 earlier ones/);
  assert.match(footer, /1 quick, 1 of another machine, 1 later than this run/);
  assert.match(footer, /x\.json is torn/);
});

Deno.test("htmlReport() shows a run without a history, one in which nothing ran, and damage", async () => {
  const alone = open(await htmlReport(history[0]));
  assert.match(alone.querySelector("header")!.textContent, /No earlier run to compare with/);
  assert.equal([...alone.querySelectorAll("svg.spark")].length, 0);

  const counts = { passed: 0, failed: 0, "not built": 0, skipped: 0 };
  const nothing: StoredResult = { ...history[0], benchmarks: [], counts, exitCode: 2 };
  const empty = open(await htmlReport(nothing, { history }));
  assert.equal(textsOf(empty, "header strong")[0], "Nothing was checked");
  const damaged = open(await htmlReport({ ...history[0], exitCode: 3 }, { history }));
  assert.equal(textsOf(damaged, "header strong")[0], "Damaged data");
});

Deno.test("htmlReport() needs nothing from outside itself", async () => {
  const page = await htmlReport(history[11], { history });
  assert.match(page, /<meta http-equiv="Content-Security-Policy" content="default-src 'none'/);
  assert.doesNotMatch(page, /<(script|link|img|iframe|object|embed)\b/);
  const addresses = page.match(/\b(src|href|url)\s*[=(][^>\s]*/g) ?? [];
  for (const address of addresses) assert.match(address, /^href="#b\d+"$/);
  // Names of namespaces are no addresses.
  assert.doesNotMatch(page.replaceAll(/xmlns(:\w+)?="[^"]*"/g, ""), /https?:/);
});

/** Texts that were made to break out of markup, or out of a line. */
const ATTACKS = [
  "<script>alert(1)</script>",
  '"><img src=x onerror=alert(1)>',
  "' onload='alert(1)",
  "</title></style><svg onload=alert(1)>",
  "<!-- ]]> --> &lt;script&gt;",
  "\u202eevil\u2066\u0000\ud800",
  "${x} {{x}} javascript:alert(1)",
  "two\nlines\r\nor\u2028three",
  " ",
  "",
];

const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.constantFrom(...ATTACKS),
);

Deno.test("htmlReport() lets no text of a result become markup", async () => {
  const [clean, ...rest] = history;
  /** All elements outside of charts in order, and the kinds of those inside: some have no text. */
  const tagsOf = (text: string): { all: string[]; drawn: Set<string> } => {
    const page = open(text);
    const drawn = new Set([...page.querySelectorAll("svg *")].map(kindOf));
    for (const svg of page.querySelectorAll("svg")) svg.remove();
    return { all: [...page.querySelectorAll("*")].map(kindOf), drawn };
  };
  const reportOf = (text: string | undefined) => {
    const spoil = <T>(value: T): T => (text === undefined ? value : text) as T;
    const run: StoredResult = {
      ...clean,
      directory: spoil("data"),
      machine: { ...clean.machine, processor: spoil("P"), osRelease: spoil("1") },
      benchmarks: clean.benchmarks.slice(1, 6).map((benchmark) => ({
        ...benchmark,
        name: spoil(benchmark.name),
        description: spoil(benchmark.description),
        notes: benchmark.notes.map(spoil),
        ...(benchmark.id < 3 ? { reason: spoil("why"), status: "failed" as const } : {}),
        planted: [{ id: spoil("fault"), found: false }],
        verdicts: benchmark.verdicts.map((verdict) => ({
          ...verdict,
          label: spoil(verdict.label),
          reason: spoil("why"),
        })),
      })),
    };
    const past = rest.slice(0, 2).map((result) => ({
      ...result,
      startedAt: new Date(clean.startedAt.getTime() - result.startedAt.getTime() / 1e6),
      directory: run.directory,
      machine: run.machine,
    }));
    return htmlReport(run, { history: past, warnings: [spoil("x")] });
  };
  const expected = tagsOf(await reportOf(undefined));
  await fc.assert(
    fc.asyncProperty(hostile, async (text) => {
      const page = await reportOf(text);
      const { all, drawn } = tagsOf(page);
      assert.deepEqual(all, expected.all);
      assert.deepEqual(drawn.difference(expected.drawn), new Set());
      // deno-lint-ignore no-control-regex
      assert.doesNotMatch(page, /[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe]/);
      assert(page.isWellFormed());
    }),
    { numRuns: 16, examples: ATTACKS.map((text): [string] => [text]) },
  );
});

Deno.test("markup() escapes all that is put into it, and nothing twice", () => {
  fc.assert(fc.property(hostile, (text) => {
    const page = open(
      markup`
        <body>
          <p title="${text}">${[markup`<b>${text}</b>`]}</p>
        </body>
      `.text,
    );
    const shown = text.toWellFormed().replace(/\r\n?/g, "\n")
      // deno-lint-ignore no-control-regex
      .replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]/g, "\ufffd");
    assert.equal(page.querySelector("b")!.textContent, shown);
    assert.equal(page.querySelector("p")!.getAttribute("title"), shown);
    assert.doesNotMatch(escapeHtml(text), /[<>"']/);
  }));
});

Deno.test("axisOf() holds all figures, and ticksOf() stays on the axis", () => {
  const figures = fc.array(fc.oneof(fc.double(), fc.double({ min: 0, max: 1e9, noNaN: true })), {
    maxLength: 8,
  });
  fc.assert(fc.property(figures, (values) => {
    const axis = axisOf(values);
    const [low, high] = axis.domain;
    assert(Number.isFinite(low) && Number.isFinite(high) && low < high, `${axis.domain}`);
    assert(axis.type === "linear" || low > 0);
    for (const value of values.filter(isDrawable)) assert(low <= value && value <= high);
    const ticks = ticksOf(axis);
    assert(ticks.length <= 6);
    for (const tick of ticks) assert(low <= tick && tick <= high, `${tick} of ${axis.domain}`);
    assert.deepEqual(ticks, [...new Set(ticks)].sort((a, b) => a - b));
  }));
  assert.deepEqual(ticksOf(axisOf([1e6, 5e7])), [1e6, 3e6, 1e7, 3e7]);
  assert.deepEqual(ticksOf(axisOf([0.2, 16])), [0.3, 1, 3, 10]);
  assert.deepEqual(ticksOf(axisOf([4, 16])), [0, 5, 10, 15]);
});

Deno.test("trendOf() says better or worse only outside of what was usual", async () => {
  const trend = async (factor: number) => {
    const run = await sampleRun({
      hour: 20,
      change: (_, measured) => ({
        ...measured,
        metrics: { ...measured.metrics, oneThread: 5e6 / 0.82 * factor },
      }),
    });
    const { runs } = comparableRuns(run, history);
    return trendOf(seriesOf(5, run.benchmarks[4].verdicts[0], runs));
  };
  assert.equal((await trend(1)).direction, "steady");
  assert.deepEqual((await trend(3)).direction, "better");
  assert.match((await trend(0.3)).text, /^worse, \d\d% below the median \S+ of 12 runs before$/);
  const few = comparableRuns(history[3], history);
  const early = trendOf(seriesOf(5, history[3].benchmarks[4].verdicts[0], few.runs));
  assert.deepEqual([few.runs.length, early.direction], [4, "unknown"]);
});
