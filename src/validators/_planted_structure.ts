/**
 * Faults planted in edges, rules, marks and derived rows, each in a frame of its own that is whole.
 */

import { encodeBinding, type MemoryStorage, ROW_KIND, RULE_ROW, STRUCTURAL } from "../log/mod.ts";
import type { ForgedRow, ForgedTick } from "./_forge.ts";
import type { PlantedFault } from "./_planted_fault.ts";
import { dataFrame, plantInTicks } from "./_planted_frames.ts";
import { addFrame, deadPage, PLAIN } from "./_planted_rows.ts";

/** Pages that a fault is made of. */
interface Cast {
  /** A row of a page that lives, without anything. */
  readonly one: ForgedRow;
  /** Another page that lives. */
  readonly other: number;
  /** A page that died. */
  readonly dead: number;
  /** The rule of the sample: its number, output and input. */
  readonly rule: { readonly number: number; readonly output: number; readonly input: number };
}

/** All of them. */
export function plantInStructure(sample: MemoryStorage): PlantedFault[] {
  const plant = (
    id: string,
    rowKind: number,
    rowsOf: (cast: Cast) => ForgedRow[],
    payloadOf: (cast: Cast) => Uint8Array = () => new Uint8Array(0),
  ) =>
    plantInTicks(sample, id, (ticks) => {
      const { tickIndex, frame: { rows } } = dataFrame(ticks, ticks.length >> 1), [{ page }] = rows;
      const cast = {
        one: { ...PLAIN, page, epoch: rows[0].epoch },
        other: rows.find((row) => row.page !== page)!.page,
        dead: deadPage(ticks, tickIndex),
        rule: ruleOf(ticks),
      };
      const payload = payloadOf(cast).slice(), { length } = payload;
      const all = rowsOf(cast).map((row) => ({ ...row, length: row.length || length }));
      return addFrame(ticks, tickIndex, rowKind, all, payload);
    });
  return [...plantEdges(plant), ...plantRules(plant), ...plantMarks(plant)];
}

type Plant = (
  id: string,
  rowKind: number,
  rowsOf: (cast: Cast) => ForgedRow[],
  payloadOf?: (cast: Cast) => Uint8Array,
) => PlantedFault;

function plantEdges(plant: Plant): PlantedFault[] {
  const { addEdge, removeEdge } = STRUCTURAL;
  const edges = (id: string, rowsOf: (cast: Cast) => ForgedRow[]) =>
    plant(id, ROW_KIND.structural, (cast) => {
      return rowsOf(cast).map((row) => ({ ...row, kind: row.kind || addEdge }));
    });
  return [
    edges("edge-dead", ({ one, dead }) => [{ ...one, offset: dead }]),
    edges("edge-to-dead", ({ one, dead }) => [{ ...one, page: dead, offset: one.page }]),
    edges("edge-to-itself", ({ one }) => [{ ...one, offset: one.page }]),
    edges("edge-type-unknown", ({ one, other }) => [{ ...one, offset: other, shard: 9 }]),
    edges("edge-twice", ({ one, other }) => [{ ...one, offset: other }, { ...one, offset: other }]),
    edges("edge-removed-twice", ({ one, other }) => [{ ...one, kind: removeEdge, offset: other }]),
    edges("stored-cycle", ({ one, other }) => [
      { ...one, offset: other },
      { ...one, page: other, offset: one.page },
    ]),
  ];
}

function plantRules(plant: Plant): PlantedFault[] {
  const binding = (input: number, output: number, name = "planted") => {
    const about = { name, module: null, export: "", version: 1, params: null, mode: "" };
    return encodeBinding({ ...about, inputs: [input], outputs: [output], state: [] });
  };
  /** A binding that is right but for what is changed. */
  const bind = (
    id: string,
    edit: (cast: Cast) => Partial<ForgedRow>,
    payload: (cast: Cast) => Uint8Array = ({ one, other }) => binding(other, one.page),
  ) =>
    plant(
      id,
      ROW_KIND.rule,
      (cast) => [{ ...cast.one, kind: RULE_ROW.bind, offset: 90, ...edit(cast) }],
      payload,
    );
  return [
    bind("binding-dead", () => ({}), ({ one, dead }) => binding(dead, one.page)),
    bind("binding-twice", ({ rule }) => ({ offset: rule.number })),
    bind("binding-name-twice", () => ({}), ({ one, other }) => {
      return binding(other, one.page, "sum of the input");
    }),
    bind("two-writers", ({ rule }) => ({ page: rule.output }), ({ other, rule }) => {
      return binding(other, rule.output);
    }),
    bind("binding-unreadable", () => ({}), () => new TextEncoder().encode("{ no JSON")),
    bind("binding-elsewhere", ({ other }) => ({ page: other })),
    bind("rule-number-zero", () => ({ offset: 0 })),
    plant("unbound-twice", ROW_KIND.rule, ({ one }) => [
      { ...one, kind: RULE_ROW.unbind, offset: 90 },
    ]),
    plant("rule-operation-unknown", ROW_KIND.rule, ({ one }) => [{ ...one, kind: 9, offset: 1 }]),
    plant(
      "derived-unbound",
      ROW_KIND.derived,
      ({ one }) => [{ ...one, rule: 90, length: 1 }],
      () => new Uint8Array(1),
    ),
  ];
}

function plantMarks(plant: Plant): PlantedFault[] {
  const mark = (id: string, edit: (cast: Cast) => Partial<ForgedRow>) =>
    plant(id, ROW_KIND.mark, (cast) => [{ ...cast.one, kind: 1, offset: 1, ...edit(cast) }]);
  return [
    mark("mark-dead", ({ dead }) => ({ page: dead })),
    mark("mark-unknown", () => ({ kind: 9 })),
    mark("mark-value", () => ({ offset: 7 })),
  ];
}

/** The rule of the sample. */
function ruleOf(ticks: readonly ForgedTick[]): Cast["rule"] {
  for (const { frames } of ticks) {
    for (const { rowKind, rows: [row], payload } of frames) {
      if (rowKind !== ROW_KIND.rule) continue;
      const text = new TextDecoder().decode(payload.subarray(row.start, row.start + row.length));
      return { number: row.offset, output: row.page, input: JSON.parse(text).inputs[0] };
    }
  }
  throw new Error("no rule of the sample was bound");
}
