import assert from "node:assert/strict";
import fc from "fast-check";
import { isMmsbError, type MmsbErrorCode } from "../base/mod.ts";
import { DeltaBatch, type DeltaRow } from "./delta_batch.ts";
import { combineKind, elementBytes, KIND_MASKED, KIND_SET } from "./kind.ts";
import { resolve } from "./resolve.ts";
import { inputOf, Pages } from "./_pages_test.ts";
import { drafts, fill, fit, type Flavour, flavours, poolBytes } from "./_rows_test.ts";

const SIZES = [[1, 100], [2, 4096], [70_000, 1], [2 ** 32 - 1, 20_000]] as const;
/** A page that is there but takes no deltas yet, and one that was deleted. */
const ALLOCATED = 5, DELETED = 6;

function makePages(): Pages {
  const pages = new Pages([...SIZES, [ALLOCATED, 4096], [DELETED, 4096]]);
  pages.table.setActive(pages.table.rowOf(ALLOCATED), false);
  pages.table.remove(DELETED);
  pages.sizes.delete(DELETED);
  pages.table.setEpoch(pages.table.rowOf(2), 7);
  return pages;
}

/** A batch with the rows in hand-filled columns, and room in the pool behind them. */
function filled(rows: readonly DeltaRow[], layout = { gaps: [0, 5, 2], reversed: true }) {
  const batch = new DeltaBatch({ rows: rows.length + 1, payloadBytes: poolBytes(rows) + 64 });
  batch.source("feed-a");
  fill(batch, rows, layout);
  return batch;
}

function pushed(rows: readonly DeltaRow[]): DeltaBatch {
  const batch = DeltaBatch.from(rows);
  batch.source("feed-a");
  return batch;
}

/** Resolving refuses the batch at this row with this code, and changes nothing. */
function assertRefused(pages: Pages, batch: DeltaBatch, row: number, code: MmsbErrorCode): void {
  const before = pages.copy(), rows = batch.columns.page.slice();
  assert.throws(() => pages.resolve(batch), (error) => {
    assert.ok(isMmsbError(error), String(error));
    assert.deepEqual([error.values.row, error.code], [row, code], error.message);
    assert.equal(error.values.page, batch.columns.page[row]);
    assert.match(error.message, new RegExp(`^Cannot apply row ${row} to .*page `));
    return true;
  });
  assert.deepEqual(pages.copy(), before);
  assert.deepEqual(batch.columns.page, rows);
  pages.checkInvariants();
}

/** A way to make a good row bad; gives its code, or nothing where it does not apply. */
type Fault = (batch: DeltaBatch, row: number, pages: Pages) => MmsbErrorCode | undefined;

const setColumn = (
  column: "page" | "offset" | "length" | "payloadStart" | "source" | "intent",
  code: MmsbErrorCode,
  value: number,
): Fault =>
(batch, row) => {
  batch.columns[column][row] = value;
  return code;
};

const FAULTS: Readonly<Record<string, Fault>> = {
  "page 0": setColumn("page", "invalid-handle", 0),
  "no such page": setColumn("page", "invalid-handle", 3),
  "no such block of ids": setColumn("page", "invalid-handle", 2 ** 31 + 5),
  "no such page at the end": setColumn("page", "invalid-handle", 2 ** 32 - 2),
  "deleted": setColumn("page", "invalid-handle", DELETED),
  "not active yet": setColumn("page", "invalid-handle", ALLOCATED),
  "one byte past the end": (batch, row, pages) => {
    const { page, offset, length } = batch.columns;
    offset[row] = pages.sizes.get(page[row])! - length[row] + 1;
    return "out-of-bounds";
  },
  "at the end": (batch, row, pages) => {
    batch.columns.offset[row] = pages.sizes.get(batch.columns.page[row])!;
    return "out-of-bounds";
  },
  "offset 2^31 - 1": setColumn("offset", "out-of-bounds", 2 ** 31 - 1),
  "offset 2^31": setColumn("offset", "out-of-bounds", 2 ** 31),
  "offset 2^32 - 1": setColumn("offset", "out-of-bounds", 2 ** 32 - 1),
  "length 2^24 + 1": setColumn("length", "out-of-bounds", 2 ** 24 + 1),
  "length 2^31 - 1": setColumn("length", "out-of-bounds", 2 ** 31 - 1),
  "length 2^31": setColumn("length", "out-of-bounds", 2 ** 31),
  "length 2^32 - 1": setColumn("length", "out-of-bounds", 2 ** 32 - 1),
  "length 0": setColumn("length", "usage", 0),
  "no page and a huge length": (batch, row) => {
    batch.columns.page[row] = ALLOCATED;
    batch.columns.length[row] = 2 ** 31 - 1;
    return "invalid-handle";
  },
  "no page and a huge offset": (batch, row) => {
    batch.columns.page[row] = ALLOCATED;
    batch.columns.offset[row] = 2 ** 31 - 1;
    return "invalid-handle";
  },
  "kind 2": (batch, row) => {
    batch.columns.kind[row] = 2;
    return "usage";
  },
  "kind or f64": (batch, row) => {
    batch.columns.kind[row] = 0x44;
    return "usage";
  },
  "kind 255": (batch, row) => {
    batch.columns.kind[row] = 255;
    return "usage";
  },
  "combining at an odd offset": (batch, row, pages) => {
    const { page, offset, length, kind } = batch.columns;
    if (kind[row] <= KIND_MASKED) return undefined;
    const size = pages.sizes.get(page[row])!;
    offset[row] += offset[row] + length[row] < size ? 1 : -1;
    return "usage";
  },
  "combining an odd length": (batch, row) => {
    const { length, kind } = batch.columns;
    if (kind[row] <= KIND_MASKED) return undefined;
    length[row] -= elementBytes(kind[row]) / 2;
    return "usage";
  },
  "payload ends past the pool": (batch, row) => {
    const { payloadStart, length } = batch.columns, end = batch.payloadLength;
    if (batch.columns.kind[row] !== KIND_MASKED) {
      payloadStart[row] = end - batch.payloadBytesOf(row) + 1;
      return "usage";
    }
    // A mask of its own behind all others: its one bit asks for a byte that is not there.
    const bytes = length[row] + 7 >>> 3;
    if (end + bytes > batch.payload.length) return undefined;
    batch.setLength(batch.length, end + bytes);
    batch.payload.fill(0, end, end + bytes);
    batch.payload[end] = 1;
    payloadStart[row] = end;
    return "usage";
  },
  "payload starts at the pool's end": (batch, row) => {
    batch.columns.payloadStart[row] = batch.payloadLength;
    return "usage";
  },
  "payload starts past the pool": setColumn("payloadStart", "usage", 2 ** 30),
  "payload starts at 2^31": setColumn("payloadStart", "usage", 2 ** 31),
  "payload starts at 2^32 - 4": setColumn("payloadStart", "usage", 2 ** 32 - 4),
  "mask with a bit past the span": (batch, row) => {
    const { kind, length, payloadStart } = batch.columns;
    if (kind[row] !== KIND_MASKED || length[row] % 8 === 0) return undefined;
    batch.payload[payloadStart[row] + (length[row] >> 3)] |= 0x80;
    return "usage";
  },
  "source not interned": setColumn("source", "usage", 2),
  "intent not interned": setColumn("intent", "usage", 65_535),
  ...Object.fromEntries([-1, 8, 6, 0.5, Infinity, -Infinity, 2 ** 53].map((epoch) => [
    `expects epoch ${epoch}`,
    (batch: DeltaBatch, row: number) => {
      batch.expectEpochs()[row] = epoch;
      return "stale-epoch";
    },
  ])),
};

const PLAIN: Flavour = { kinds: [KIND_SET], align: 1, uniform: 0, lengthMax: 50 };
const FLAVOURS: Readonly<Record<string, Flavour>> = {
  "bytes": PLAIN,
  "words": { ...PLAIN, align: 4 },
  "4 bytes each": { ...PLAIN, align: 4, uniform: 4 },
  "16 bytes each": { ...PLAIN, align: 4, uniform: 16 },
  "masked": { ...PLAIN, kinds: [KIND_MASKED] },
  "combining": {
    ...PLAIN,
    kinds: [
      combineKind("i32", "add"),
      combineKind("f64", "max"),
      combineKind("u32", "xor"),
    ],
  },
  "mixed": { ...PLAIN, kinds: [KIND_SET, KIND_MASKED, combineKind("f32", "add")] },
};

const DRAFTS = Array.from({ length: 9 }, (_, i) => ({
  page: i * 5,
  kind: i,
  offset: i * 13,
  length: i * 17 + 3,
  bytes: Uint8Array.of(i * 37 + 255, 3, 85),
}));

for (const [what, flavour] of Object.entries(FLAVOURS)) {
  const rows = fit(DRAFTS, SIZES, flavour);

  Deno.test(`resolve() takes rows of ${what}, pushed and filled, and changes nothing`, () => {
    const pages = makePages(), before = pages.copy();
    for (
      const batch of [pushed(rows), filled(rows), filled(rows, { gaps: [0], reversed: false })]
    ) {
      for (let count = 0; count <= rows.length; count++) {
        batch.setLength(count, batch.payloadLength);
        pages.resolve(batch);
      }
    }
    assert.deepEqual(pages.copy(), before);
  });

  Deno.test(`resolve() refuses each fault at each row of ${what}`, () => {
    const pages = makePages();
    let refused = 0;
    for (const fault of Object.values(FAULTS)) {
      for (let row = 0; row < rows.length; row++) {
        for (const make of [pushed, filled]) {
          const batch = make(rows);
          const code = fault(batch, row, pages);
          if (code === undefined) continue;
          assertRefused(pages, batch, row, code);
          refused++;
        }
      }
    }
    assert.ok(refused > 300);
  });
}

Deno.test("resolve() names the first bad row, whatever is wrong with later ones", () => {
  const faults = fc.constantFrom(...Object.entries(FAULTS));
  fc.assert(
    fc.property(drafts, flavours, faults, faults, fc.nat(), fc.nat(), fc.boolean(), (...given) => {
      const [drafts, flavour, [, first], [, second], a, b, isFilled] = given;
      const rows = fit(drafts, SIZES, { ...flavour, lengthMax: Math.min(flavour.lengthMax, 500) });
      fc.pre(rows.length >= 2);
      const pages = makePages(), batch = isFilled ? filled(rows) : pushed(rows);
      const early = a % (rows.length - 1), late = early + 1 + b % (rows.length - 1 - early);
      const code = first(batch, early, pages);
      fc.pre(code !== undefined);
      second(batch, late, pages);
      assertRefused(pages, batch, early, code);
    }),
    { numRuns: 150 },
  );
});

Deno.test("resolve() names the first fault of a row: page, span, payload, epoch", () => {
  const pages = makePages(), batch = pushed([...fit(DRAFTS.slice(0, 3), SIZES, PLAIN)]), row = 1;
  const { columns } = batch, { page, offset } = batch.at(row);
  batch.expectEpochs()[row] = 99;
  assertRefused(pages, batch, row, "stale-epoch");
  columns.source[row] = 9;
  assertRefused(pages, batch, row, "usage");
  columns.offset[row] = 2 ** 20;
  assertRefused(pages, batch, row, "out-of-bounds");
  columns.length[row] = 0;
  assertRefused(pages, batch, row, "out-of-bounds");
  columns.page[row] = 3;
  assertRefused(pages, batch, row, "invalid-handle");
  columns.page[row] = page;
  columns.offset[row] = offset;
  assertRefused(pages, batch, row, "usage");
});

Deno.test("resolve() compares expected epochs with those before the batch", () => {
  const pages = makePages();
  const batch = new DeltaBatch({ rows: 4, payloadBytes: 64 }), byte = Uint8Array.of(1);
  batch.push(2, 0, byte, { expectedEpoch: 7 });
  batch.push(1, 0, byte, { expectedEpoch: 0 });
  batch.push(2, 1, byte);
  batch.push(2, 2, byte, { expectedEpoch: 7 });
  pages.resolve(batch);
  batch.expectEpochs()[3] = 9;
  assertRefused(pages, batch, 3, "stale-epoch");
  assert.throws(() => pages.resolve(batch), {
    message: "Cannot apply row 3 to page 2 as its epoch is 7: the row expects 9",
    values: { row: 3, page: 2, epoch: 7, expectedEpoch: 9 },
  });
});

Deno.test("resolve() refuses a pool that is stated too short, at the row that leaves it", () => {
  const pages = makePages(), rows = fit(DRAFTS, SIZES, FLAVOURS["16 bytes each"]);
  const batch = pushed(rows), last = rows.length - 1;
  batch.setLength(rows.length, batch.payloadLength - 1);
  assertRefused(pages, batch, last, "usage");
  batch.setLength(rows.length, 16);
  assertRefused(pages, batch, 1, "usage");
  batch.setLength(rows.length, 0);
  assertRefused(pages, batch, 0, "usage");
});

Deno.test("resolve() refuses spans whose sums leave 32 bits, with room in the pool for a mask", () => {
  const pages = makePages();
  const batch = new DeltaBatch({ rows: 1, payloadBytes: 2 ** 28 });
  batch.columns.kind[0] = KIND_MASKED;
  batch.setLength(1, 2 ** 28);
  for (const length of [2 ** 31 - 4096, 2 ** 31 - 2, 2 ** 31 - 1]) {
    batch.columns.length[0] = length;
    for (const [page, code] of [[ALLOCATED, "invalid-handle"], [2, "out-of-bounds"]] as const) {
      batch.columns.page[0] = page;
      assertRefused(pages, batch, 0, code);
    }
  }
});

Deno.test("resolve() takes every interned string, though an or of their numbers is larger", () => {
  const pages = makePages(), batch = new DeltaBatch({ rows: 8, payloadBytes: 64 });
  for (let i = 1; i <= 5; i++) assert.equal(batch.source(`source ${i}`), i);
  for (let i = 0; i <= 5; i++) batch.push(1, i, Uint8Array.of(i), { source: i, intent: 5 - i });
  for (let rows = 0; rows <= 6; rows++) {
    batch.setLength(rows, batch.payloadLength);
    pages.resolve(batch);
  }
  batch.columns.intent[5] = 6;
  assertRefused(pages, batch, 5, "usage");
});

Deno.test("resolve() takes spans that end where their page ends", () => {
  const pages = makePages(), batch = new DeltaBatch({ rows: 16, payloadBytes: 100_000 });
  for (const [id, size] of SIZES) {
    batch.push(id, 0, new Uint8Array(size));
    batch.push(id, size - 1, Uint8Array.of(1));
    batch.pushMasked(id, 0, size, new Uint8Array(size + 7 >> 3), new Uint8Array(0));
  }
  batch.combine(2, "f64", "add", 4088, 1);
  batch.combine(1, "i32", "add", 96, 1);
  resolve(inputOf(batch), pages.table);
});
