/** Validator 8 on few cycles, and on buses that break what must hold. */

import assert from "node:assert/strict";
import { StateBus } from "../bus/mod.ts";
import { IncrementalOrder } from "../graph/incremental_order.ts";
import { GraphView } from "../graph/graph_view.ts";
import { PageStore } from "../physical/page_store.ts";
import { SlotAllocator } from "../physical/allocator.ts";
import { invariantMetrics, measureInvariants } from "./invariants.ts";
import type { InvariantOutcome } from "./_invariant_cycles.ts";

const SMALL = { cycles: 100, every: 20, seed: 1 };

/** Measures with a method replaced, and puts it back. */
async function planted<T extends object, K extends keyof T>(
  owner: T,
  method: K,
  fault: (original: T[K]) => T[K],
): Promise<InvariantOutcome> {
  const original = owner[method];
  owner[method] = fault(original);
  try {
    return await measureInvariants(SMALL, () => {});
  } finally {
    owner[method] = original;
  }
}

function assertFound({ failures }: InvariantOutcome, message: RegExp): void {
  assert(failures.some((failure) => message.test(failure)), failures.slice(0, 5).join("\n"));
}

Deno.test("measureInvariants() finds no failure, whatever the seed", async () => {
  for (const seed of [1, 2, 3, 4]) {
    const outcome = await measureInvariants({ ...SMALL, seed }, () => {});
    assert.deepEqual(outcome.failures, []);
    const { failures, cycles, checks, closingEdges } = invariantMetrics(outcome);
    assert.deepEqual([failures, cycles, checks], [0, 100, 5]);
    assert(closingEdges >= 50, `${closingEdges}`);
    const { created, deleted, resized, added, removed, violations } = outcome;
    assert(created > 40 && deleted > 5 && resized > 5 && added > 50 && removed > 5);
    assert.equal(violations, 4);
  }
});

Deno.test("measureInvariants() finds edges that close a cycle and are accepted", async () => {
  const outcome = await planted(
    StateBus.prototype,
    "edge",
    (edge) =>
      function (this: StateBus, ...given) {
        try {
          edge.apply(this, given);
        } catch {
          // As if it were nothing.
        }
      },
  );
  assertFound(outcome, /closes a cycle and was accepted/);
});

Deno.test("measureInvariants() finds edges that are refused without a reason, and a check that lies", async () => {
  let count = 0;
  const refused = await planted(
    IncrementalOrder.prototype,
    "add",
    (add) =>
      function (this: IncrementalOrder, ...given) {
        return ++count % 10 === 9 ? 0 : add.apply(this, given);
      },
  );
  assertFound(refused, /which closes no cycle|no cycle/);
  const lying = await planted(GraphView.prototype, "check", (check) =>
    function (this: GraphView) {
      return { ...check.call(this), ok: false };
    });
  assertFound(lying, /the graph's own check is false/);
});

Deno.test("measureInvariants() finds bytes and epochs that are not the model's", async () => {
  const changed = await planted(StateBus.prototype, "submit", (submit) => {
    let count = 0;
    return function (this: StateBus, batch, options) {
      if (++count === 99) batch.columns.offset[0] ^= batch.columns.kind[0] === 0 ? 1 : 0;
      if (count === 100) batch.payload[batch.payloadLength - 4] ^= 1;
      return submit.call(this, batch, options);
    };
  });
  assertFound(changed, /bytes of page \d+ are not those of the model/);
  const lost = await planted(StateBus.prototype, "submit", (submit) => {
    let count = 0;
    return function (this: StateBus, batch, options) {
      if (++count === 40 && batch.columns.kind[99] === 0) batch.setLength(99, batch.payloadLength);
      return submit.call(this, batch, options);
    };
  });
  assertFound(lost, /epoch of page \d+ is \d+, not \d+/);
});

Deno.test("measureInvariants() finds memory that is not the log's, and slots that are lost", async () => {
  const outcome = await planted(StateBus.prototype, "verify", (verify) => {
    let count = 0;
    return async function (this: StateBus) {
      // Past the log, as a stray write would be.
      const [page] = [...this.pages()].slice(-1);
      if (++count === 2) (page.view() as unknown as Uint8Array)[0] ^= 1;
      return await verify.call(this);
    };
  });
  assertFound(outcome, /bus\.verify\(\) is false/);
  assertFound(outcome, /so it was after cycle 40/);
  const lost = await planted(SlotAllocator.prototype, "retire", () => () => {});
  assert(lost.failures.length > 0);
});

Deno.test("measureInvariants() finds invariants that are not asked and ticks that are not taken back", async () => {
  const outcome = await planted(
    StateBus.prototype,
    "invariant",
    (invariant) =>
      function (this: StateBus, name, _, options) {
        return invariant.call(this, name, () => true, options);
      },
  );
  assertFound(outcome, /a tick that makes money was accepted/);
  assertFound(outcome, /the sum of all accounts is/);
});

Deno.test("measureInvariants() finds pages that stay when they were deleted", async () => {
  const outcome = await planted(
    PageStore.prototype,
    "remove",
    (remove) => {
      let count = 0;
      return function (this: PageStore, id) {
        if (++count !== 4) remove.call(this, id);
      };
    },
  ).catch((error) => ({ failures: [`${error}`] } as unknown as InvariantOutcome));
  assert(outcome.failures.length > 0);
});
