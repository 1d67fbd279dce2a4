import assert from "node:assert/strict";
import fc from "fast-check";
import { MemoryStorage } from "../log/mod.ts";
import { bytes, type Fields, table, utf8 } from "../schema/mod.ts";
import { StateBus, type Table } from "./mod.ts";

/** Schemas of which each continues the one before it. */
const FIRST = { a: "i16", b: utf8(5) } as const;
const SCHEMAS = [
  FIRST,
  { ...FIRST, c: "f64", d: "bool" },
  { ...FIRST, c: "f64", d: "bool", e: bytes(3), f: "u64" },
] as const;

type Row = Record<string, unknown>;

/** A value that is another one for each seed. */
function valueFrom(name: string, seed: number): unknown {
  switch (name) {
    case "a":
      return (seed * 7919) << 16 >> 16;
    case "b":
      return (seed % 1e5).toString(36).slice(0, 5);
    case "c":
      return seed / 3;
    case "d":
      return seed % 3 === 0;
    case "e":
      return Uint8Array.of(seed, seed >> 8, 7);
    default:
      return BigInt(seed) << 40n;
  }
}

const ZEROS: Row = { a: 0, b: "", c: 0, d: false, e: new Uint8Array(3), f: 0n };

/** The obvious table: an array of rows as of the last tick, and one with what is staged. */
class Model {
  real: Row[] = [];
  staged: Row[] = [];
  names: string[] = Object.keys(FIRST);

  append(count: number, seed: number): Row[] {
    const rows = Array.from(
      { length: count },
      (_, i) => Object.fromEntries(this.names.map((name) => [name, valueFrom(name, seed + i)])),
    );
    this.staged = [...this.staged, ...rows];
    return rows;
  }

  set(row: number, values: Row): void {
    this.staged = this.staged.with(row, { ...this.staged[row], ...values });
  }

  row(row: Row): Row {
    return Object.fromEntries(this.names.map((name) => [name, row[name] ?? ZEROS[name]]));
  }
}

type Step =
  | { readonly kind: "append" | "throwing"; readonly count: number; readonly seed: number }
  | { readonly kind: "set"; readonly row: number; readonly seed: number; readonly mask: number }
  | { readonly kind: "tick" | "refuse" | "reopen" | "evolve" | "handle" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: appendLike("append") },
  { weight: 1, arbitrary: appendLike("throwing") },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("set" as const),
      row: fc.nat(),
      seed: fc.nat({ max: 2 ** 20 }),
      mask: fc.integer({ min: 1, max: 63 }),
    }),
  },
  { weight: 4, arbitrary: fc.constant({ kind: "tick" as const }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "refuse" as const,
        "reopen" as const,
        "evolve" as const,
        "handle" as const,
      ),
    }),
  },
);

function appendLike<K extends "append" | "throwing">(kind: K) {
  const count = fc.oneof(fc.nat({ max: 5 }), fc.nat({ max: 700 }));
  return fc.record({ kind: fc.constant(kind), count, seed: fc.nat({ max: 2 ** 20 }) });
}

class Run {
  readonly model = new Model();
  readonly storage = new MemoryStorage();
  bus!: StateBus;
  version = 0;
  handles: Table<Fields>[] = [];
  turn = 0;

  async open(): Promise<void> {
    this.bus = await StateBus.open({
      storage: this.storage,
      durability: "buffered",
      memoryLimitBytes: 2 ** 24,
    });
    this.handles = [this.create()];
  }

  create(): Table<Fields> {
    return this.bus.createTable(table<Fields>(SCHEMAS[this.version]), { name: "t" });
  }

  /** One handle after the other. */
  get table(): Table<Fields> {
    return this.handles[this.turn++ % this.handles.length];
  }

  append(count: number, seed: number): void {
    const { table } = this, first = this.model.staged.length;
    const rows = this.model.append(count, seed);
    const columns = Object.fromEntries(
      this.model.names.map((name) => [name, rows.map((row) => row[name])]),
    );
    assert.equal(table.append(columns as never, { source: "test" }), first);
  }

  async step(step: Step): Promise<void> {
    const { model } = this;
    if (step.kind === "append") this.append(step.count, step.seed);
    else if (step.kind === "throwing") {
      const before = model.staged;
      const stage = () => {
        this.append(step.count, step.seed);
        this.append(3, step.seed);
        throw new Error("as planned");
      };
      await assert.rejects(this.bus.commit(stage), /as planned/);
      model.staged = before;
    } else if (step.kind === "set") this.set(step.row, step.seed, step.mask);
    else if (step.kind === "tick") {
      await this.bus.tick();
      model.real = model.staged;
    } else if (step.kind === "refuse") {
      this.table.page.write(0, new Uint8Array(1), { expectedEpoch: 2 ** 40 });
      await assert.rejects(this.bus.tick(), { code: "stale-epoch" });
      model.staged = model.real;
    } else if (step.kind === "reopen") {
      await this.bus.close();
      model.staged = model.real;
      await this.open();
    } else if (step.kind === "handle") this.handles.push(this.create());
    else {
      this.version = Math.min(this.version + 1, SCHEMAS.length - 1);
      model.names = Object.keys(SCHEMAS[this.version]);
      this.handles = [this.create()];
    }
  }

  set(at: number, seed: number, mask: number): void {
    const { model, table } = this;
    if (model.staged.length === 0) return;
    const names = model.names.filter((_, index) => mask >> index & 1);
    const values = Object.fromEntries(names.map((name) => [name, valueFrom(name, seed)]));
    const row = at % model.staged.length;
    table.set(row, values as never);
    model.set(row, values);
  }

  check(): void {
    const { model, table } = this;
    assert.deepEqual([table.length, table.stagedLength], [model.real.length, model.staged.length]);
    table.checkInvariants();
    const { length } = model.real;
    for (let row = 0; row < length; row += 1 + (length >> 4)) {
      assert.deepEqual(table.row(row), model.row(model.real[row]), `row ${row}`);
    }
  }

  checkAll(): void {
    const { model, table } = this;
    const rows = Array.from({ length: table.length }, (_, row) => table.row(row));
    assert.deepEqual(rows, model.real.map((row) => model.row(row)));
    const column = [...table.column("a")].flatMap((chunk) => [...chunk]);
    assert.deepEqual(column, model.real.map(({ a }) => a));
    if (this.version === 0) return;
    const target = new Float64Array(model.real.length);
    assert.equal(table.columnInto(target, "c"), target.length);
    assert.deepEqual([...target], model.real.map(({ c }) => c ?? 0));
  }
}

Deno.test("tables agree with an array of objects, over refusals, reopenings and added columns", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), async (steps) => {
      const run = new Run();
      await run.open();
      await run.bus.tick();
      for (const step of steps) {
        await run.step(step);
        run.check();
      }
      await run.bus.tick();
      run.model.real = run.model.staged;
      run.checkAll();
      assert((await run.bus.verify()).ok);
      await run.bus.close();
      await run.open();
      run.checkAll();
      await run.bus.close();
    }),
    { numRuns: 60 },
  );
});
