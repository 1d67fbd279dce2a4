/**
 * The part of the fault catalogue that is about everything but logs: checkpoints, rules and semirings, graphs,
 * and what each validator measures.
 */

import type { CatalogueFault } from "./catalogue.ts";

/** Id, title, and what it is. */
type Entry = readonly [id: string, title: string, about: string];

function listed(
  validator: number,
  finding: string,
  place: string,
  entries: readonly Entry[],
): CatalogueFault[] {
  return entries.map(([id, title, about]) => {
    return { id, title, about, validators: [validator], finding, place };
  });
}

const FLIPPED = "a bit of the disk turned, which a checksum must find";

/** Faults in checkpoints; validator 2 plants them in a directory with three. */
export const CHECKPOINT_CATALOGUE: readonly CatalogueFault[] = listed(
  2,
  "checkpoint",
  "file, tick",
  [
    ["checkpoint-header", "flipped byte in a checkpoint's header", FLIPPED],
    ["checkpoint-place", "flipped byte in a checkpoint's place in the log", FLIPPED],
    ["checkpoint-chunk-header", "flipped byte in the header of a checkpoint's chunk", FLIPPED],
    ["checkpoint-columns", "flipped byte in the columns of a checkpoint's chunk", FLIPPED],
    ["checkpoint-pages", "flipped byte in the pages of a checkpoint's chunk", FLIPPED],
    ["checkpoint-checksum", "wrong checksum in a checkpoint", "it is that of other bytes"],
    ["checkpoint-table", "flipped byte in a checkpoint's table", FLIPPED],
    ["checkpoint-footer", "flipped byte in a checkpoint's footer", FLIPPED],
    ["checkpoint-cut", "cut checkpoint", "the file ends too early"],
    ["checkpoint-empty", "empty checkpoint", "the file has no bytes"],
    ["checkpoint-stale", "stale checkpoint", "an older one stands under a newer one's name"],
    ["checkpoint-of-another-log", "checkpoint of another log", "it is whole, and of other pages"],
    [
      "checkpoint-bytes",
      "checkpoint with another byte",
      "it is whole, and of a log that went another way in one byte",
    ],
    [
      "checkpoint-edges",
      "checkpoint with another edge",
      "it is whole, and of a log that went another way in one edge",
    ],
    [
      "log-behind-checkpoint",
      "log that ends before its checkpoint",
      "the ticks behind which a good checkpoint was made are gone",
    ],
  ],
);

const REPLAY = listed(1, "the states differ", "page", [
  [
    "replay-byte",
    "byte that a replay gives otherwise",
    "a delta's payload is another, forged whole",
  ],
  [
    "replay-delta-lost",
    "delta that a replay drops",
    "the last delta of a page is gone, forged whole",
  ],
  ["replay-page-missing", "page that a replay lacks", "a page dies in the last tick, forged whole"],
  [
    "replay-page-extra",
    "page that a replay has besides",
    "a page is born at the end, forged whole",
  ],
  ["replay-name", "page that a replay names otherwise", "a page is born unnamed, forged whole"],
  [
    "replay-tick-lost",
    "last tick that a replay lacks",
    "a log that ends one tick early, forged whole",
  ],
  ["replay-edge-lost", "edge that a replay lacks", "the edges of a tick are gone, forged whole"],
]);

const GRAPH = [
  ...listed(3, "cycle", "pages of the cycle", [
    ["cycle-of-two", "edge turned round", "an edge that leads back beside one"],
    ["cycle-of-three", "cycle of three pages", "an edge back from the end of two"],
    [
      "cycle-longest",
      "cycle through the longest way",
      "from the deepest page to where its way begins",
    ],
    ["cycle-across", "cycle from the last to the first page", "an edge over all levels"],
    [
      "cycle-staged",
      "cycle of staged edges",
      "an edge that closes a cycle with one that is staged",
    ],
    ["cycle-in-list", "cycle in a list of changes", "the last change of a list closes one"],
    ["cycle-unseen", "cycle that was let in", "an edge back in the graph as it is stored"],
  ]),
  ...listed(3, "wrong answer", "page or edge", [
    ["graph-end-missing", "edge whose end is not there", "an edge of the graph leads to no page"],
    ["graph-edge-lost", "edge that the graph has lost", "an edge that was added is not there"],
    ["graph-ancestor-lost", "ancestor that is not told", "a page's ancestors lack one"],
    ["graph-level-wrong", "page on a wrong level", "a page is told with those of another level"],
  ]),
];

const PURITY = [
  ...listed(4, "results differ, or what was done beside the work", "rule", [
    ["rule-counts", "rule that counts its runs", "state that is kept outside of its state page"],
    ["rule-remembers", "rule that remembers its last input", "state that is kept outside"],
    ["rule-draws", "rule that draws a number", "chance"],
    ["rule-draws-unused", "rule that draws a number and does not use it", "chance"],
    ["rule-draws-uuid", "rule that draws an identifier", "chance, by another door"],
    ["rule-clock", "rule that asks for the time", "a clock"],
    ["rule-date", "rule that makes a date", "a clock, by another door"],
    ["rule-timer", "rule that times itself", "a clock, by another door"],
    ["rule-process-time", "rule that asks the process for its time", "a clock, by another door"],
    ["rule-writes-table", "rule that writes its table", "it writes outside of its output"],
    ["rule-writes-input", "rule that writes its input", "it writes outside of its output"],
    ["rule-writes-stranger", "rule that writes another page", "it writes outside of its output"],
    ["rule-reads-stranger", "rule that reads another page", "an input that is not told"],
    ["rule-global", "rule that sets a global", "a trace in the program"],
    ["rule-global-changed", "rule that changes a global", "a trace under a name that was there"],
    ["rule-params", "rule that changes its parameters", "the next run gets other ones"],
    ["rule-forgets", "rule that forgets the old value", "from changes it gives something else"],
    ["rule-idle", "rule that does nothing with changes", "from changes it gives something else"],
    ["rule-never", "rule that never does with changes", "it says that it could, and never does"],
    ["rule-past-output", "rule that writes past its output", "it writes outside of its output"],
    ["rule-thread", "rule that depends on its thread", "a worker computes something else"],
  ]),
  ...listed(4, "folds differ, or a law that is broken", "semiring", [
    ["ring-counts", "semiring that counts its calls", "the same column gives another fold"],
    ["ring-draws", "semiring that draws a number", "chance"],
    ["ring-order", "semiring that depends on the order", "in parts it gives another fold"],
    ["ring-writes", "semiring that writes its column", "it writes what it reads"],
    ["ring-neutral", "semiring without a neutral element", "a law is broken"],
  ]),
];

const WORK = [
  ...listed(5, "pages unlike the reference fold", "page", [
    ["throughput-byte", "byte that no delta wrote", "a page's bytes are not those of the fold"],
    ["throughput-delta-lost", "lost delta", "a page has a delta less than was submitted"],
    [
      "throughput-page-extra",
      "page that nobody asked for",
      "there is a page more than in the fold",
    ],
  ]),
  ...listed(6, "pages unlike plain arrays, or runs too few", "page or rule", [
    ["tick-source-byte", "wrong byte in a source", "a page's bytes are not those of the model"],
    [
      "tick-derived-byte",
      "wrong derived page",
      "a derived page is not what its rule makes of its inputs",
    ],
    [
      "tick-rule-lost",
      "rule that does not run",
      "a rule is gone, and what it derives stays behind",
    ],
  ]),
  ...listed(7, "wrong pages, wrong reuses, growth or a pause", "page or tick", [
    ["memory-byte", "page with another byte", "a page does not hold what was written to it"],
    ["memory-slot-dirty", "slot that was not zeroed", "a new page begins with an old one's bytes"],
    ["memory-slot-leaked", "slot that leaks", "what was deleted is not given out again"],
    ["memory-id-again", "new page with an old one's id", "a new page has an old one's id"],
    ["memory-pause", "long pause", "a tick that deletes takes 5 ms"],
  ]),
  ...listed(8, "failure", "page, edge or invariant", [
    ["invariant-byte", "byte that changes without a delta", "somebody writes to the page's memory"],
    ["invariant-epoch", "epoch that goes back", "a page's epoch is lower than it was"],
    ["invariant-page-lost", "page that is lost", "a page is gone that nobody deleted"],
    ["invariant-edge-lost", "edge that is lost", "an edge is gone that nobody removed"],
    ["invariant-cycle", "cycle among the edges", "the graph leads back"],
    ["invariant-user", "broken invariant of the user's", "money is made out of nothing"],
    ["invariant-log", "log that leads elsewhere", "live bytes are not what the log replays to"],
  ]),
  ...listed(9, "a figure that misses", "step", [
    ["stability-nan", "value that is no number", "one cell in one step is NaN"],
    ["stability-infinite", "value that is infinite", "one cell in one step is infinite"],
    ["stability-kick", "kick in the trajectory", "one cell jumps in one step"],
    ["stability-drift", "error that grows", "a system whose steps are too long for its diffusion"],
    ["stability-step", "step unlike plain arrays", "one cell in one step is another number"],
  ]),
  ...listed(10, "wrong answer", "page, as of tick", [
    ["provenance-parent", "missing parent", "an input is left out of an explanation"],
    ["provenance-epoch", "wrong epoch", "a parent is told at another epoch"],
    ["provenance-source", "wrong source", "a delta is told of another feed"],
    ["provenance-delta", "missing delta", "a source page without what was written to it"],
    ["provenance-rule", "wrong rule", "a derived page is told of another rule"],
    [
      "provenance-later",
      "value of a later tick",
      "an explanation of the past tells what came after",
    ],
  ]),
];

/** Faults of rules, graphs and what is measured. */
export const WORK_CATALOGUE: readonly CatalogueFault[] = [...REPLAY, ...GRAPH, ...PURITY, ...WORK];
