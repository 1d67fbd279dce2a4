/**
 * Records of the older system's files: numbers, lengths and texts of a window, each checked against
 * what is left of the file and against a limit before room is made for it.
 */

import {
  type ImportRefusal,
  type ImportSource,
  ImportWindow,
  refuseImport,
} from "./import_source.ts";

/** Some bytes of a record. */
export interface OldPart {
  /** Where they begin, counted from the record's first byte. */
  readonly at: number;
  /** How many there are. */
  readonly length: number;
}

/** What the readers of the older files have in common. */
export class OldRecords {
  /** The file. */
  readonly window: ImportWindow;
  /** Which record is being read, from 1; 0 in the file's header. */
  number = 0;
  readonly #unit: "frame" | "page";

  /** Begins at the file's first byte; `unit` is what its records are called. */
  constructor(source: ImportSource, unit: "frame" | "page") {
    this.window = new ImportWindow(source);
    this.#unit = unit;
  }

  /** Reads a u32. */
  u32(field: string): number {
    if (!this.window.has(4)) this.cut(field);
    return this.window.u32();
  }

  /** Reads a u64: a number, or a bigint where it is past 2^53. */
  u64(field: string): number | bigint {
    const low = this.u32(field), high = this.u32(field);
    return high < 2 ** 21 ? high * 2 ** 32 + low : BigInt(high) << 32n | BigInt(low);
  }

  /**
   * Reads a length and so many bytes.
   *
   * @param field What the bytes are.
   * @param max How many there can be.
   * @param words What their length is called; and what `max` is the size of, where more is damage and
   * not only too much for us.
   */
  part(
    field: string,
    max: number,
    words: { readonly length?: string; readonly limit?: string } = {},
  ): OldPart {
    const { length: lengthField = `${field} length`, limit } = words;
    const place = this.window.position, length = this.u32(lengthField), { left } = this.window;
    if (length > left) {
      this.refuse(lengthField, place, `it is ${length} and ${left} bytes are left in the file`);
    }
    if (length > max) {
      const [reason, code] = limit === undefined
        ? [`it is ${length}, at most ${max} bytes can be kept`, "limit" as const]
        : [`it is ${length}, longer than ${limit} of ${max}`, "corrupt-log" as const];
      this.refuse(lengthField, place, reason, { code });
    }
    if (!this.window.has(length)) this.cut(field);
    return { at: this.window.skip(length), length };
  }

  /** Refuses a file that ends too early. */
  cut(field: string): never {
    const { source, position } = this.window;
    this.refuse(field, position, `the file ends in it, at byte ${source.size}`);
  }

  /** Refuses a file. */
  refuse(field: string, offset: number, reason: string, refusal: ImportRefusal = {}): never {
    const place = { offset, number: this.number, unit: this.#unit, field };
    refuseImport(this.window.source, place, reason, refusal);
  }
}
