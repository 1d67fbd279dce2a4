/**
 * The line of every value in a JSON text, by its path (`benchmarks[4].metrics[0].unit`), so that a
 * message can point at the place. `JSON.parse` forgets where things stood.
 *
 * The text has been parsed before, so this only follows the brackets; one pass, one entry a value,
 * no recursion.
 */

const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|\n|[^\s{}[\],:"]+/g;

interface Level {
  readonly path: string;
  /** Index of the next item in a list; in an object there is `key` instead. */
  index: number | undefined;
  key: string | undefined;
}

/** One value: its path and the line it begins on. */
interface Place {
  readonly path: string;
  readonly line: number;
}

/**
 * Finds the line of each value.
 *
 * @param text JSON that `JSON.parse` takes.
 * @returns Line numbers, from 1, by path; the whole has the empty path.
 */
export function linesOfPaths(text: string): Map<string, number> {
  return new Map(placesOf(text).map(({ path, line }) => [path, line]));
}

/**
 * Finds a field that is given twice, of which `JSON.parse` keeps the last without a word.
 *
 * @param text JSON that `JSON.parse` takes.
 * @returns The second one, if there is one.
 */
export function findRepeatedField(text: string): Place | undefined {
  const seen = new Set<string>();
  return placesOf(text).find(({ path }) => seen.size === seen.add(path).size);
}

function placesOf(text: string): Place[] {
  const places: Place[] = [];
  const levels: Level[] = [];
  let line = 1;
  for (const [token] of text.matchAll(TOKEN)) {
    const level = levels.at(-1);
    if (token === "\n") {
      line++;
    } else if (token === "}" || token === "]") {
      levels.pop();
    } else if (token === ",") {
      if (level?.index !== undefined) level.index++;
      else if (level !== undefined) level.key = undefined;
    } else if (level !== undefined && level.index === undefined && level.key === undefined) {
      level.key = JSON.parse(token) as string;
    } else if (token !== ":") {
      const path = pathOf(level);
      places.push({ path, line });
      if (token === "{") levels.push({ path, index: undefined, key: undefined });
      if (token === "[") levels.push({ path, index: 0, key: undefined });
    }
  }
  return places;
}

function pathOf(level: Level | undefined): string {
  if (level === undefined) return "";
  if (level.index !== undefined) return `${level.path}[${level.index}]`;
  return level.path === "" ? level.key! : `${level.path}.${level.key}`;
}

/** What can stand at a place: a value, a key, a colon, a comma, or nothing more. */
type Expected = "value" | "first value" | "key" | "first key" | "colon" | "comma" | "end";

/** Every token, and single characters that are none. */
const ANY_TOKEN =
  // deno-lint-ignore no-control-regex
  /"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[\da-fA-F]{4}))*"|[{}[\],:]|[^\s{}[\],:"]+|\n|[^\s]/g;
const SCALAR = /^(".*"|true|false|null|-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?)$/s;

/**
 * Finds where a text stops being JSON; `JSON.parse` does not always say.
 *
 * @param text A text that `JSON.parse` refuses.
 * @returns The line, from 1, of the first token that cannot stand there; the last line where the text
 * ends too early.
 */
export function lineOfSyntaxFault(text: string): number {
  const open: string[] = [];
  let expected: Expected = "value";
  let line = 1;
  for (const [token] of text.trimEnd().matchAll(ANY_TOKEN)) {
    if (token === "\n") line++;
    else {
      const next = step(token, expected, open);
      if (next === undefined) return line;
      expected = next;
    }
  }
  return line;
}

/** What is expected after a token; nothing where the token cannot stand there. */
function step(token: string, expected: Expected, open: string[]): Expected | undefined {
  const isValue = expected === "value" || expected === "first value";
  if (token === "{" || token === "[") {
    if (!isValue) return undefined;
    open.push(token);
    return token === "{" ? "first key" : "first value";
  }
  if (token === "}" || token === "]") {
    const isEmpty = expected === (token === "}" ? "first key" : "first value");
    if (!(isEmpty || expected === "comma") || open.pop() !== (token === "}" ? "{" : "[")) {
      return undefined;
    }
    return open.length === 0 ? "end" : "comma";
  }
  if (token === ",") {
    if (expected !== "comma") return undefined;
    return open.at(-1) === "{" ? "key" : "value";
  }
  if (token === ":") return expected === "colon" ? "value" : undefined;
  if (!SCALAR.test(token)) return undefined;
  if (expected === "key" || expected === "first key") {
    return token.startsWith('"') ? "colon" : undefined;
  }
  if (!isValue) return undefined;
  return open.length === 0 ? "end" : "comma";
}
