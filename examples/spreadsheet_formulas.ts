/**
 * Formulas of the spreadsheet: text to a tree, a tree and values to a value. Nothing of the bus in here.
 *
 * ```text
 * formula = "=" sum              sum  = product (("+" | "-") product)*
 * product = unary (("*" | "/") unary)*        unary = "-" unary | operand
 * operand = number | cell | name "(" argument ("," argument)* ")" | "(" sum ")"
 * argument = cell ":" cell | sum
 * ```
 */

/** What a cell can hold: a number, an error as a value, or nothing. */
export type Value = number | "#DIV/0!" | "#NUM!" | "";

/** A formula as a tree; cells are places in {@linkcode Formula.cells}. */
export type Tree =
  | { readonly kind: "number"; readonly value: number }
  | { readonly kind: "cell"; readonly index: number }
  | { readonly kind: "cells"; readonly indices: readonly number[] }
  | { readonly kind: "call"; readonly name: string; readonly parts: readonly Tree[] };

/** A parsed formula. */
export interface Formula {
  /** Names of the cells that it reads, each once. */
  readonly cells: readonly string[];
  /** What to do with them. */
  readonly tree: Tree;
}

const LENGTH_MAX = 1000, RANGE_MAX = 10_000;

/** What the functions do with the numbers that they are given. */
const FUNCTIONS: Readonly<Record<string, (numbers: readonly number[]) => Value>> = {
  "+": ([a, b]) => a + b,
  "-": ([a, b]) => a - b,
  "*": ([a, b]) => a * b,
  "/": ([a, b]) => b === 0 ? "#DIV/0!" : a / b,
  SUM: (numbers) => numbers.reduce((sum, x) => sum + x, 0),
  AVERAGE: (numbers) =>
    numbers.length === 0 ? "#DIV/0!" : numbers.reduce((sum, x) => sum + x, 0) / numbers.length,
  MIN: (numbers) => numbers.reduce((a, b) => Math.min(a, b), numbers[0] ?? 0),
  MAX: (numbers) => numbers.reduce((a, b) => Math.max(a, b), numbers[0] ?? 0),
};

/** Reads a formula such as `=SUM(A1:A9)+B2*2`. */
export function parseFormula(text: string): Formula {
  const tokens = text.slice(0, LENGTH_MAX).match(/[A-Z]+\d*|\d+(\.\d+)?|\S/g) ?? [];
  const cells: string[] = [];
  let at = 0;
  const fail = (): never => {
    const found = at < tokens.length ? `at "${tokens[at]}"` : "at its end";
    throw new Error(`Cannot read the formula "${text.slice(0, 40)}" ${found}`);
  };
  const accept = (token: string): boolean => tokens[at] === token && ++at > 0;
  const expect = (token: string) => accept(token) || fail();
  const indexOf = (name: string): number => {
    const index = cells.indexOf(name);
    return index < 0 ? cells.push(name) - 1 : index;
  };
  const isCell = (token: string | undefined) => /^[A-Z]{1,2}[1-9]\d{0,6}$/.test(token ?? "");

  const chain = (operators: readonly string[], part: () => Tree): Tree => {
    let tree = part();
    while (operators.includes(tokens[at])) {
      tree = { kind: "call", name: tokens[at++], parts: [tree, part()] };
    }
    return tree;
  };
  const sum = (): Tree => chain(["+", "-"], product);
  const product = (): Tree => chain(["*", "/"], unary);
  const unary = (): Tree => {
    if (!accept("-")) return operand();
    return { kind: "call", name: "-", parts: [{ kind: "number", value: 0 }, unary()] };
  };
  const operand = (): Tree => {
    if (accept("(")) {
      const tree = sum();
      expect(")");
      return tree;
    }
    const token = tokens[at] ?? "";
    if (/^\d/.test(token)) return { kind: "number", value: Number(tokens[at++]) };
    if (isCell(token)) return { kind: "cell", index: indexOf(tokens[at++]) };
    if (!/^[A-Z]+$/.test(token) || !Object.hasOwn(FUNCTIONS, token)) fail();
    at++;
    expect("(");
    const parts = [argument()];
    while (accept(",")) parts.push(argument());
    expect(")");
    return { kind: "call", name: token, parts };
  };
  const argument = (): Tree => {
    if (!isCell(tokens[at]) || tokens[at + 1] !== ":") return sum();
    const first = tokens[at], last = tokens[at += 2];
    if (!isCell(last)) fail();
    at++;
    return { kind: "cells", indices: cellsBetween(first, last).map(indexOf) };
  };

  expect("=");
  const tree = sum();
  if (at < tokens.length || text.length > LENGTH_MAX) fail();
  return { cells, tree };
}

/** The names of a rectangle of cells, row by row. */
export function cellsBetween(first: string, last: string): string[] {
  const [a, b] = [first, last].map((name) => {
    const [, letters, digits] = name.match(/^([A-Z]+)(\d+)$/)!;
    return { column: columnNumber(letters), row: Number(digits) };
  });
  const [left, right] = [a.column, b.column].sort((x, y) => x - y);
  const [top, bottom] = [a.row, b.row].sort((x, y) => x - y);
  if ((right - left + 1) * (bottom - top + 1) > RANGE_MAX) {
    throw new Error(`Cannot use ${first}:${last}: it has more than ${RANGE_MAX} cells`);
  }
  const names: string[] = [];
  for (let row = top; row <= bottom; row++) {
    for (let column = left; column <= right; column++) names.push(columnName(column) + row);
  }
  return names;
}

function columnNumber(letters: string): number {
  return [...letters].reduce((number, letter) => 26 * number + letter.charCodeAt(0) - 64, 0);
}

function columnName(number: number): string {
  const letter = (place: number) => String.fromCharCode(65 + place);
  return number <= 26
    ? letter(number - 1)
    : letter(Math.floor((number - 1) / 26) - 1) + letter((number - 1) % 26);
}

/**
 * The value of a formula. An error in a cell becomes the error of all that read it; an empty cell is 0, or
 * left out in a range.
 */
export function evaluate(tree: Tree, read: (index: number) => Value): Value {
  if (tree.kind === "number") return tree.value;
  if (tree.kind === "cell") {
    const value = read(tree.index);
    return value === "" ? 0 : value;
  }
  if (tree.kind === "cells") throw new Error("A range stands in functions only");
  const numbers: number[] = [];
  for (const part of tree.parts) {
    const values = part.kind === "cells" ? part.indices.map(read) : [evaluate(part, read)];
    for (const value of values) {
      if (typeof value === "number") numbers.push(value);
      else if (value !== "") return value;
    }
  }
  const value = FUNCTIONS[tree.name](numbers);
  return typeof value === "number" && !Number.isFinite(value) ? "#NUM!" : value;
}
