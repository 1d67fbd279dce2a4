/**
 * The look at a shader's text before a compiler sees it.
 *
 * Deno's WGSL compiler (naga) is recursive and has no limit of its own on most kinds of nesting: some thousand brackets,
 * operators or `else if` behind one another overflow its stack, and that ends the process. A private array of millions of
 * elements takes all memory or minutes. Text that a program writes gets there easily. The limits are half or less of what
 * was measured to work in a worker, and far above what people write. Memory is looked at by _shader_memory.ts.
 *
 * Cost: a pass over the text, some 10 ns a character.
 */

import { checkInteger, MmsbError } from "../../base/mod.ts";
import { checkShaderMemory } from "./_shader_memory.ts";

/** Longest text of a shader, in characters. */
export const SHADER_CHARACTERS_MAX = 1_048_576;

/** Most brackets that are open and operators that wait for their right side, at one place. */
const DEPTH_MAX = 400;

/** Most of each of these words in one text: each takes a step down in the compiler, or in a driver behind it. */
const WORDS_MAX: Readonly<Record<string, number>> = {
  else: 250,
  fn: 250,
  case: 1000,
  const: 2000,
  override: 2000,
  alias: 2000,
  struct: 2000,
};

/** What is looked at in a text: words, numbers, and signs one by one. */
const TOKENS = /[\p{L}_][\p{L}\p{N}_]*|\d[\w.]*|[^\s\p{L}\p{N}_]/gu;

/**
 * Refuses a text that may end the process.
 *
 * @param workgroupBytesMax What the device has for a workgroup.
 * @throws {MmsbError} `limit`, with the line of the place.
 */
export function checkShaderText(
  label: string,
  code: string,
  lineOffset: number,
  workgroupBytesMax: number,
): void {
  checkInteger("length of a shader", code.length, 1, SHADER_CHARACTERS_MAX, "limit");
  const text = withoutComments(code);
  const refuse = (offset: number, what: string): never => {
    const line = Math.max(0, text.slice(0, offset).split("\n").length - lineOffset);
    throw new MmsbError("limit", `Cannot compile shader "${label}": line ${line} has ${what}`, {
      values: { shader: label, line },
    });
  };
  const counts = new Map<string, number>();
  const depth = new Depth();
  for (const token of text.matchAll(TOKENS)) {
    const [word] = token;
    if (depth.after(word) > DEPTH_MAX) {
      refuse(token.index, `what is nested or chained more than ${DEPTH_MAX} deep`);
    }
    const max = Object.hasOwn(WORDS_MAX, word) ? WORDS_MAX[word] : undefined;
    if (max === undefined) continue;
    const count = (counts.get(word) ?? 0) + 1;
    counts.set(word, count);
    if (count > max) refuse(token.index, `the word ${word} for the ${max + 1}th time`);
  }
  checkShaderMemory(text, workgroupBytesMax, refuse);
}

/** How deep the compiler stands: brackets that are open, and operators before this place in each of them. */
class Depth {
  readonly #open: number[] = [];
  #operators = 0;
  #below = 0;
  #isIndexed = false;

  /** The depth behind a token. */
  after(token: string): number {
    const isChained = this.#isIndexed && token === "[";
    this.#isIndexed = token === "]";
    // `x[0][0]` is as deep as it has indexes.
    if (isChained) this.#operators += 1;
    switch (token) {
      case ";":
      case "{":
      case "}":
        this.#open.length = 0;
        this.#operators = this.#below = 0;
        break;
      case "(":
      case "[":
        this.#open.push(this.#operators + 1);
        this.#below += this.#operators + 1;
        this.#operators = 0;
        break;
      case ")":
      case "]": {
        const before = this.#open.pop();
        if (before === undefined) break;
        this.#below -= before;
        // What stood in brackets is one value of the chain that goes on: `f(x) + g(y)`.
        this.#operators = before - 1;
        break;
      }
      case ",":
        this.#operators = 0;
        break;
      default:
        if (!/^[\p{L}\p{N}_]/u.test(token)) this.#operators += 1;
    }
    return this.#below + this.#operators;
  }
}

/** What ends a line, and with it a comment, in WGSL. */
const LINE_END = /[\n\v\f\r\u0085\u2028\u2029]/g;

/** The text with each character of a comment as a space; comments of WGSL nest. */
function withoutComments(code: string): string {
  let text = "";
  let kept = 0;
  for (const { index } of code.matchAll(/\/[/*]/g)) {
    if (index < kept) continue;
    const end = endOfComment(code, index);
    text += code.slice(kept, index) + code.slice(index, end).replace(/[^\n]/g, " ");
    kept = end;
  }
  return text + code.slice(kept);
}

function endOfComment(code: string, start: number): number {
  if (code[start + 1] === "/") {
    LINE_END.lastIndex = start;
    return LINE_END.exec(code)?.index ?? code.length;
  }
  let open = 0;
  const signs = /\/\*|\*\//g;
  signs.lastIndex = start;
  for (let sign = signs.exec(code); sign !== null; sign = signs.exec(code)) {
    open += sign[0] === "/*" ? 1 : -1;
    if (open === 0) return signs.lastIndex;
  }
  return code.length;
}
