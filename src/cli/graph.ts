/**
 * `mmsb graph`: which pages depend on which, at the end of a log or at an earlier tick: counts, levels and
 * digest, or a drawing for Graphviz or Mermaid.
 *
 * The directory is opened to read only, so nothing in it is changed, and it may be in use.
 *
 * Cost: opening the directory, once more up to a tick that is asked for, and a pass over the edges.
 */

import { MmsbError } from "../base/errors.ts";
import type { StateBus } from "../bus/mod.ts";
import type { GraphCheck } from "../graph/mod.ts";
import { EXIT, type ExitCode, type Progress } from "../perf/mod.ts";
import type { EdgeType } from "../physical/mod.ts";
import type { Call, Command } from "./_command.ts";
import { counted, json, shown } from "./_log_text.ts";
import { requireFolder, writeStdout } from "./_platform.ts";
import { progressLine } from "./_progress.ts";
import { integerOf } from "./_values.ts";

const TYPES: readonly EdgeType[] = ["data", "control", "gpu", "compiler"];
/** Pages of a cycle that the text names. */
const CYCLE_NAMED_MAX = 20;

/**
 * The command `graph`.
 *
 * @returns The command.
 */
export function graphCommand(): Command {
  return {
    name: "graph",
    summary: "which pages depend on which: levels and digest, or a drawing",
    operands: ["DIR"],
    flags: {
      dot: { help: "write the graph in the DOT language, for Graphviz" },
      mermaid: { help: "write the graph as a Mermaid flowchart" },
      types: { value: "TYPES", help: `only edges of these types: ${TYPES.join(",")}` },
      "to-tick": { value: "N", help: "the graph after this tick; the last one if left out" },
      json: { help: "write JSON in place of text" },
    },
    details: [
      "A page's level is the number of edges on the longest way to it. The digest is SHA-256 over page\n" +
      "ids and edges of all types: the same digest, the same graph. Pages without edges are not drawn.",
      "The exit code is 1 where the graph has a cycle, which only a damaged log can hold, and 3 where the\n" +
      "log is damaged; the graph is then that of its whole part.",
    ],
    examples: [
      "mmsb graph data/board --dot | dot -Tsvg > board.svg",
      "mmsb graph data/board --mermaid --types data,control",
      "mmsb graph data/board --to-tick 41 --json",
    ],
    run: graph,
  };
}

async function graph(call: Call): Promise<ExitCode> {
  const [directory] = call.operands;
  const tick = integerOf("to-tick", call.text("to-tick"), 0, Number.MAX_SAFE_INTEGER);
  const types = typesOf(call.text("types"));
  const forms = ["dot", "mermaid", "json"].filter((form) => call.has(form));
  if (forms.length > 1) {
    throw new MmsbError(
      "usage",
      `Cannot use both --${forms[0]} and --${forms[1]}: give one of them`,
    );
  }
  await requireFolder("DIR", directory);
  const progress = progressLine();
  try {
    await using bus = await open(directory, progress);
    const isNewest = tick === undefined || tick === bus.tickNumber;
    if (!isNewest) {
      if (bus.opened.state === "damaged" && tick > bus.tickNumber) throw damaged(directory, bus);
      progress.update(`replaying to tick ${tick}`);
    }
    await using state = isNewest ? bus : await bus.at({ tick });
    progress.clear();
    const check = state.graph.check();
    if (call.has("dot")) writeStdout(state.graph.toDot({ types }));
    else if (call.has("mermaid")) writeStdout(state.graph.toMermaid({ types }));
    else if (call.has("json")) writeStdout(json(jsonOf(directory, bus, state, types, check), 2));
    else {for (const line of linesOf(directory, bus, state, types, check)) {
        if (!writeStdout(`${line}\n`)) break;
      }}
    if (bus.opened.state === "damaged") throw damaged(directory, bus);
    return check.ok ? EXIT.done : EXIT.failed;
  } finally {
    progress.clear();
  }
}

function typesOf(text: string | undefined): EdgeType[] | undefined {
  return text?.split(",").map((word) => {
    const type = TYPES.find((type) => type === word);
    if (type !== undefined) return type;
    throw new MmsbError(
      "usage",
      `Cannot use ${JSON.stringify(word)} in --types: give some of ${TYPES.join(",")}`,
      { values: { types: text } },
    );
  });
}

async function open(directory: string, progress: Progress): Promise<StateBus> {
  progress.update(`reading ${directory}`);
  const { StateBus } = await import("../bus/mod.ts");
  const { requireDirectory } = await import("../log/mod.ts");
  requireDirectory(directory);
  return await StateBus.open({ dir: directory, readOnly: true });
}

function jsonOf(
  directory: string,
  bus: StateBus,
  state: StateBus,
  types: EdgeType[] | undefined,
  check: GraphCheck,
): object {
  const { graph } = state, nameOf = (page: number) => state.page(page).name;
  const edges = graph.edges({ types });
  const pages = [...new Set(edges.flatMap(({ from, to }) => [from, to]))].sort((a, b) => a - b);
  return {
    directory,
    state: bus.opened.state,
    ...(bus.opened.reason === "" ? {} : { reason: bus.opened.reason }),
    tick: state.tickNumber,
    version: graph.version,
    digest: graph.digest(),
    check,
    pages: pages.map((id) => nameOf(id) === "" ? { id } : { id, name: nameOf(id) }),
    edges,
    ...(check.cycle.length > 0 ? {} : { levels: graph.levels({ types }) }),
  };
}

function* linesOf(
  directory: string,
  bus: StateBus,
  state: StateBus,
  types: EdgeType[] | undefined,
  check: GraphCheck,
): Generator<string> {
  const { graph } = state, { state: how, reason } = bus.opened;
  const name = (text: string) => text.padEnd(12);
  const edges = graph.edges({ types });
  const counts = TYPES.map((type) =>
    [type, edges.filter((edge) => edge.type === type).length] as const
  )
    .filter(([, count]) => count > 0).map(([type, count]) => `${count} ${type}`).join(", ");
  yield `${name("directory")}${shown(directory)}`;
  yield `${name("state")}${how === "whole" ? how : `${how}: ${shown(reason)}`}`;
  yield `${name("tick")}${state.tickNumber} of ${bus.tickNumber}`;
  yield `${name("version")}${graph.version}`;
  yield `${name("pages")}${check.pages}`;
  yield `${name("edges")}${edges.length}${counts === "" ? "" : `: ${counts}`}`;
  if (check.cycle.length === 0) {
    const levels = graph.levels({ types });
    const widest = levels.reduce((most, level) => Math.max(most, level.length), 0);
    yield `${name("levels")}${levels.length}${
      levels.length === 0 ? "" : `, the widest of ${counted(widest, "page")}`
    }`;
  } else {
    const named = check.cycle.slice(0, CYCLE_NAMED_MAX).join(" → ");
    const rest = check.cycle.length > CYCLE_NAMED_MAX ? " → …" : "";
    yield `${name("cycle")}${counted(check.cycle.length, "page")}: ${named}${rest} → ${
      check.cycle[0]
    }`;
  }
  if (check.dangling > 0) yield `${name("dangling")}${counted(check.dangling, "edge")}`;
  yield `${name("digest")}${graph.digest()}`;
}

function damaged(directory: string, bus: StateBus): MmsbError {
  const { reason } = bus.opened, tick = bus.tickNumber;
  return new MmsbError(
    "corrupt-log",
    `Cannot read the graph of ${
      JSON.stringify(directory)
    } past tick ${tick} as it is damaged: ${reason}; ` +
      "save what is whole behind it with mmsb log salvage DIR --to DIR2",
    { values: { directory, tick, reason } },
  );
}
