/**
 * The memory and the code that a shader's text asks for, before a compiler sees it.
 *
 * Neither Deno nor every driver refuses a private array of a gigabyte, workgroup memory above the device's limit, or
 * functions that call each other twice and so become a billion when the driver writes them out at each call: the first
 * two take all memory or read what is not there, the third compiles for ever. So sizes of types are worked out here, through
 * aliases, structs, nested arrays and constants that are computed, and calls are counted.
 *
 * What stands in the whole text counts, also what the entry never calls. A length that cannot be worked out is refused.
 *
 * Cost: some passes over the text where it has an array, a struct, workgroup memory or functions.
 */

/** Most bytes of one type with a length: an array or struct may be kept for each invocation. */
const TYPE_BYTES_MAX = 262_144;
/** Most bytes of all variables of functions and of invocations together. */
const PRIVATE_BYTES_MAX = 524_288;
/** Most tokens of a text once its functions are written out at each call. */
const TOKENS_MAX = 1_000_000;
/** Constants and types that are made of one another, at most. */
const CHAIN_MAX = 64;
/** Brackets, signs and constants that are worked out within each other, at most. */
const DEPTH_MAX = 256;

const TOKENS = /[\p{L}_][\p{L}\p{N}_]*|\d[\w.]*|[^\s\p{L}\p{N}_]/gu;
const NAME = /^[\p{L}_]/u;
const MATRIX = /^mat([234])x([234])/;
const ELEMENT_BYTES: Readonly<Record<string, number>> = { i64: 8, u64: 8, f64: 8 };

/** Refuses a text, with the place and what is wrong there. */
export type Refuse = (offset: number, what: string) => never;

/**
 * Refuses a text that asks for too much.
 *
 * @param text WGSL whose comments are blank.
 * @param workgroupBytesMax What the device has for a workgroup.
 * @param refuse Throws.
 */
export function checkShaderMemory(text: string, workgroupBytesMax: number, refuse: Refuse): void {
  if (!/\b(?:array|struct|workgroup|fn\b[^]*\bfn)\b/.test(text)) return;
  const tokens = [...text.matchAll(TOKENS)];
  new ShaderTypes(tokens, refuse).check(workgroupBytesMax);
  checkCalls(tokens, refuse);
}

/** Sizes of the types of a text. */
class ShaderTypes {
  readonly #words: readonly string[];
  readonly #offsets: readonly number[];
  readonly #refuse: Refuse;
  /** Places behind `const NAME … =`, behind `alias NAME =` and behind `struct NAME {`; a name may stand for some. */
  readonly #constants = new Map<string, number[]>();
  readonly #aliases = new Map<string, number[]>();
  readonly #structs = new Map<string, number[]>();
  readonly #bytes = new Map<string, number>();
  readonly #values = new Map<string, number>();
  #chain = 0;
  /** Brackets and signs that are open in an expression. */
  #depth = 0;
  /** Where an expression is read. */
  #at = 0;

  constructor(tokens: readonly RegExpExecArray[], refuse: Refuse) {
    this.#words = tokens.map(([word]) => word);
    this.#offsets = tokens.map(({ index }) => index);
    this.#refuse = refuse;
    this.#words.forEach((word, at) => {
      const name = this.#words[at + 1];
      if (word === "alias") append(this.#aliases, name, at + 3);
      if (word === "struct") append(this.#structs, name, at + 3);
      if (word !== "const") return;
      let place = at + 2;
      while (place < at + 16 && !/^[=;]$/.test(this.#words[place] ?? ";")) place++;
      if (this.#words[place] === "=") append(this.#constants, name, place + 1);
    });
  }

  check(workgroupBytesMax: number): void {
    let workgroup = 0, kept = 0;
    this.#words.forEach((word, at) => {
      if (word === "array" || word === "alias" || word === "struct") {
        const bytes = word === "array" ? this.#sizeAt(at)[0] : this.#sizeOf(this.#words[at + 1]);
        if (bytes > TYPE_BYTES_MAX) {
          this.#refuse(
            this.#offsets[at],
            `a type of more than ${TYPE_BYTES_MAX} bytes; in a storage buffer leave the length of an array out`,
          );
        }
      }
      const space = word === "var" && this.#words[at + 1] === "<" ? this.#words[at + 2] : "";
      if (space === "workgroup") {
        workgroup += Math.ceil(this.#declaredAt(at) / 16) * 16;
        if (workgroup > workgroupBytesMax) {
          this.#refuse(
            this.#offsets[at],
            `workgroup memory of ${workgroup} bytes, and this device has ${workgroupBytesMax}`,
          );
        }
      } else if (word === "let" || word === "var" && !/^(?:storage|uniform)$/.test(space)) {
        kept += this.#declaredAt(at);
        if (kept > PRIVATE_BYTES_MAX) {
          this.#refuse(
            this.#offsets[at],
            `variables of more than ${PRIVATE_BYTES_MAX} bytes in all`,
          );
        }
      }
    });
  }

  /** Bytes of what `var`, `let` at a place declare, as far as their type is said. */
  #declaredAt(at: number): number {
    let place = at + 1;
    if (this.#words[place] === "<") place = this.#words.indexOf(">", place) + 1;
    place++;
    const sign = this.#words[place];
    return sign === ":" || sign === "=" ? this.#sizeAt(place + 1)[0] : 0;
  }

  /** Bytes of a type that begins at a place, and the place behind it. */
  #sizeAt(at: number): [bytes: number, end: number] {
    const word = this.#words[at] ?? "";
    if (word !== "array" || this.#words[at + 1] !== "<") {
      return [NAME.test(word) ? this.#sizeOf(word) : 0, this.#behindTemplate(at + 1)];
    }
    const [element, behind] = this.#sizeAt(at + 2);
    const sign = this.#words[behind];
    if (sign !== "," || this.#words[behind + 1] === ">") return [0, this.#behindTemplate(at + 1)];
    const length = this.#valueAt(behind + 1);
    if (Number.isNaN(length)) {
      this.#refuse(
        this.#offsets[at],
        "an array whose length is neither a number nor made of numbers and constants by operators",
      );
    }
    // An element of no size, and a length below 1, is what the compiler refuses.
    return [Math.max(element, 1) * Math.max(length, 0), this.#behindTemplate(at + 1)];
  }

  /** The place behind `<…>`, if that begins at a place. */
  #behindTemplate(at: number): number {
    if (this.#words[at] !== "<") return at;
    let open = 0, brackets = 0;
    for (let place = at; place < this.#words.length; place++) {
      const word = this.#words[place];
      if (word === ";" || word === "{") return place;
      if (word === "(") brackets++;
      if (word === ")") brackets--;
      if (brackets > 0) continue;
      if (word === "<" && this.#words[place + 1] === "<") place++;
      else if (word === "<") open++;
      else if (word === ">" && --open === 0) return place + 1;
    }
    return this.#words.length;
  }

  /** Bytes of a type by name: what is no name of the text is a number, a vector or a matrix. */
  #sizeOf(name: string): number {
    const known = this.#bytes.get(name);
    if (known !== undefined) return known;
    const places = this.#aliases.get(name), members = this.#structs.get(name);
    if (places === undefined && members === undefined) return sizeOfOwn(name);
    if (this.#chain > CHAIN_MAX) return Infinity;
    // Types that are made of themselves are for the compiler to refuse.
    this.#bytes.set(name, 0);
    this.#chain++;
    let bytes = 0;
    for (const at of places ?? []) bytes = Math.max(bytes, this.#sizeAt(at)[0]);
    for (const at of members ?? []) bytes = Math.max(bytes, this.#membersAt(at));
    this.#chain--;
    this.#bytes.set(name, bytes);
    return bytes;
  }

  #membersAt(start: number): number {
    let bytes = 0;
    for (let at = start; at < this.#words.length && this.#words[at] !== "}"; at++) {
      if (this.#words[at] === ":") bytes += Math.ceil(this.#sizeAt(at + 1)[0] / 16) * 16;
      // `@size(…)` makes a member larger.
      if (this.#words[at - 1] === "@" && /^(?:size|align)$/.test(this.#words[at])) {
        const value = this.#valueAt(at + 2);
        bytes += Number.isNaN(value) ? Infinity : value;
      }
    }
    return bytes;
  }

  /** The value of an expression that begins at a place; NaN where it cannot be worked out. */
  #valueAt(at: number): number {
    const before = this.#at;
    this.#at = at;
    const value = this.#binary(0);
    this.#at = before;
    return value;
  }

  #binary(level: number): number {
    if (level === LEVELS.length) return this.#unary();
    let left = this.#binary(level + 1);
    while (true) {
      const word = this.#words[this.#at], next = this.#words[this.#at + 1];
      const sign = word === next && (word === "<" || word === ">") ? word + next : word;
      const operator = LEVELS[level][sign];
      if (operator === undefined) return left;
      // `>` `>` behind a length ends two types.
      if (sign === ">>" && !/^[\p{L}\p{N}_(]/u.test(this.#words[this.#at + 2] ?? "")) return left;
      this.#at += sign.length;
      left = operator(left, this.#binary(level + 1));
    }
  }

  #unary(): number {
    if (this.#depth >= DEPTH_MAX) return NaN;
    this.#depth++;
    const value = this.#operand(this.#words[this.#at++] ?? "");
    this.#depth--;
    return value;
  }

  #operand(word: string): number {
    if (word === "-") return -this.#unary();
    if (word === "(") {
      const value = this.#binary(0);
      return this.#words[this.#at++] === ")" ? value : NaN;
    }
    if (/^\d/.test(word)) return numberOf(word);
    if (/^[iu]32$/.test(word) && this.#words[this.#at] === "(") return this.#unary();
    if (!NAME.test(word) || this.#words[this.#at] === "(") return NaN;
    return this.#constant(word);
  }

  /** The largest value that a name stands for. */
  #constant(name: string): number {
    const known = this.#values.get(name);
    if (known !== undefined) return known;
    const places = this.#constants.get(name);
    if (places === undefined || this.#chain > CHAIN_MAX) return NaN;
    this.#values.set(name, NaN);
    this.#chain++;
    const value = Math.max(...places.map((at) => this.#valueAt(at)));
    this.#chain--;
    this.#values.set(name, value);
    return value;
  }
}

type Operator = (left: number, right: number) => number;

/** Operators of two values, weakest first. */
const LEVELS: readonly Readonly<Record<string, Operator | undefined>>[] = [
  { "|": (a, b) => Number(BigInt.asUintN(32, big(a) | big(b))) + 0 * a * b },
  { "^": (a, b) => Number(BigInt.asUintN(32, big(a) ^ big(b))) + 0 * a * b },
  { "&": (a, b) => Number(BigInt.asUintN(32, big(a) & big(b))) + 0 * a * b },
  { "<<": (a, b) => a * 2 ** b, ">>": (a, b) => Math.floor(a / 2 ** b) },
  { "+": (a, b) => a + b, "-": (a, b) => a - b },
  { "*": (a, b) => a * b, "/": (a, b) => Math.trunc(a / b), "%": (a, b) => a % b },
];

function big(value: number): bigint {
  return Number.isFinite(value) ? BigInt(Math.trunc(value)) : 0n;
}

/** `64`, `64u`, `0x40u`; NaN where it is no integer. */
function numberOf(literal: string): number {
  const [, digits] = /^(0[xX][\da-fA-F]+|\d+)[iu]?$/.exec(literal) ?? [];
  return digits === undefined ? NaN : Number(digits);
}

/** Bytes of a type of WGSL itself, the wider where it depends on what is in its template. */
function sizeOfOwn(name: string): number {
  const [, columns, rows] = MATRIX.exec(name) ?? [];
  if (columns !== undefined) return Number(columns) * (rows === "2" ? 8 : 16);
  if (/^vec2/.test(name)) return 8;
  if (/^vec[34]/.test(name)) return 16;
  return ELEMENT_BYTES[name] ?? 4;
}

/** Refuses functions that become too long where each call is written out. */
function checkCalls(tokens: readonly RegExpExecArray[], refuse: Refuse): void {
  const calls = new Map<string, { at: number; tokens: number; calls: string[] }>();
  let current: { at: number; tokens: number; calls: string[] } | undefined;
  tokens.forEach(([word], at) => {
    if (word === "fn") {
      current = { at: tokens[at].index, tokens: 0, calls: [] };
      calls.set(tokens[at + 1]?.[0] ?? "", current);
    } else if (current !== undefined && at > 0 && tokens[at - 1][0] !== "fn") {
      current.tokens++;
      if (tokens[at + 1]?.[0] === "(" && NAME.test(word)) current.calls.push(word);
    }
  });
  const sizes = new Map<string, number>();
  const sizeOf = (name: string): number => {
    const known = sizes.get(name), found = calls.get(name);
    if (known !== undefined || found === undefined) return known ?? 0;
    // One that calls itself is for the compiler to refuse.
    sizes.set(name, 0);
    const size = found.calls.reduce((sum, call) => sum + sizeOf(call), found.tokens);
    sizes.set(name, size);
    return size;
  };
  for (const [name, { at }] of calls) {
    if (sizeOf(name) > TOKENS_MAX) {
      refuse(at, `a function that is more than ${TOKENS_MAX} words with all that it calls`);
    }
  }
}

function append(places: Map<string, number[]>, name: string, at: number): void {
  const list = places.get(name);
  if (list === undefined) places.set(name, [at]);
  else list.push(at);
}
