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

/**
 * Finds the line of each value.
 *
 * @param text JSON that `JSON.parse` takes.
 * @returns Line numbers, from 1, by path; the whole has the empty path.
 */
export function linesOfPaths(text: string): Map<string, number> {
  const lines = new Map<string, number>();
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
      lines.set(path, line);
      if (token === "{") levels.push({ path, index: undefined, key: undefined });
      if (token === "[") levels.push({ path, index: 0, key: undefined });
    }
  }
  return lines;
}

function pathOf(level: Level | undefined): string {
  if (level === undefined) return "";
  if (level.index !== undefined) return `${level.path}[${level.index}]`;
  return level.path === "" ? level.key! : `${level.path}.${level.key}`;
}
