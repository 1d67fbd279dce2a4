#!/usr/bin/env -S deno run -A
/**
 * A compiler that recompiles what an edit has changed, and nothing else.
 *
 * What it shows: early cutoff (a rule whose output stays the same ends the wave), one rule with many
 * outputs, pages that are stale until somebody asks for them (`page.stale`, `page.fresh`), and compiler edges
 * that only say that something is out of date (`page.invalidated`).
 *
 * ```text
 *            ┌─► tokens 0 ──► tree 0 ┄┄► code 0          ──► data edge: computed in the same tick
 *  source ───┼─► tokens 1 ──► tree 1 ┄┄► code 1          ┄┄► control edge: stale, computed when asked for
 *            └─► …            └──┐                        ══► compiler edge: invalidated, rebuilt by the linker
 *                       all trees ╧══► program
 * ```
 *
 * ```sh
 * deno run -A examples/compiler_pipeline.ts                            # into ./data/compiler
 * deno task mmsb graph data/compiler --mermaid --types data,control    # what is made of what
 * ```
 *
 * To try: an optimiser between tree and code that folds `2 * 3`; then edit `2 * 3` to `6`.
 */

import { defineRule, type Page, type RuleHandle, type RuleOutput, StateBus } from "@mmsb/mmsb";
import { flagsOf } from "./_flags.ts";
import { removeOldRun } from "./_fresh_directory.ts";

const SLOTS = 16, SOURCE_BYTES = 8192, TEXT_BYTES = 2048, PROGRAM_BYTES = 16_384;
const encoder = new TextEncoder(), decoder = new TextDecoder();

/** A text in a page: its length in 4 bytes, then UTF-8. */
function encodeText(text: string): Uint8Array {
  const bytes = encoder.encode(text), all = new Uint8Array(4 + bytes.length);
  new DataView(all.buffer).setUint32(0, bytes.length, true);
  all.set(bytes, 4);
  return all;
}

/** The text in a page, in a rule and outside. */
function textOf(page: Pick<RuleOutput, "getUint32" | "readInto"> | Page): string {
  const head = new Uint8Array(4);
  page.readInto(head, 0);
  const bytes = new Uint8Array(new DataView(head.buffer).getUint32(0, true));
  return decoder.decode(page.readInto(bytes, 4));
}

// ── source → tokens: text without comments and spaces, a page a function ────────────────────────────────────

const TOKEN = /[a-z]\w*|\d+(?:\.\d+)?|\S/gi;

const lexRule = defineRule({
  compute(ctx) {
    const lines = textOf(ctx.input(0)).split("\n").map((line) => line.replace(/#.*/, ""));
    const functions = lines.join("\n").split(/^(?=fn\b)/m).filter((text) => text.trim() !== "");
    if (functions.length > SLOTS) throw new Error(`More than ${SLOTS} functions`);
    for (let i = 0; i < SLOTS; i++) {
      ctx.output(i).set(0, encodeText((functions[i] ?? "").match(TOKEN)?.join(" ") ?? ""));
    }
  },
});

// ── tokens → tree: JSON, or what is wrong ───────────────────────────────────────────────────────────────────

/** An expression: `["num", 2]`, `["arg", "x"]`, `["+", a, b]`, `["call", "f", …]`, `["if", a, b, c]`. */
type Tree = readonly [string, ...(readonly unknown[])];
interface Function {
  readonly name: string;
  readonly args: readonly string[];
  readonly body: Tree;
  readonly error?: string;
}

const parseRule = defineRule({
  compute(ctx) {
    const tokens = textOf(ctx.input(0));
    ctx.output(0).set(0, encodeText(tokens === "" ? "" : JSON.stringify(parse(tokens))));
  },
});

function parse(text: string): Function {
  const tokens = text.split(" ");
  let at = 0;
  const accept = (token: string) => tokens[at] === token && ++at > 0;
  const expect = (token: string) => {
    if (!accept(token)) throw new Error(`"${token}" expected, found "${tokens[at] ?? "the end"}"`);
  };
  const word = () => {
    if (/^[a-z]\w*$/i.test(tokens[at] ?? "")) return tokens[at++];
    throw new Error(`a name expected, found "${tokens[at] ?? "the end"}"`);
  };
  const list = <T>(part: () => T): T[] => {
    const parts: T[] = [];
    expect("(");
    if (accept(")")) return parts;
    do parts.push(part()); while (accept(","));
    expect(")");
    return parts;
  };
  const chain = (operators: string, part: () => Tree): Tree => {
    let tree = part();
    while (at < tokens.length && operators.includes(tokens[at])) {
      tree = [tokens[at++], tree, part()];
    }
    return tree;
  };
  const expression = (): Tree => {
    if (!accept("if")) return chain("<", () => chain("+-", () => chain("*/", operand)));
    const condition = expression();
    expect("then");
    const then = expression();
    expect("else");
    return ["if", condition, then, expression()];
  };
  const operand = (): Tree => {
    if (accept("(")) {
      const inner = expression();
      expect(")");
      return inner;
    }
    if (/^\d/.test(tokens[at] ?? "")) return ["num", Number(tokens[at++])];
    const name = word();
    return tokens[at] === "(" ? ["call", name, ...list(expression)] : ["arg", name];
  };
  let name = "?";
  try {
    expect("fn");
    name = word();
    const args = list(word);
    expect("=");
    const body = expression();
    if (at < tokens.length) throw new Error(`the end expected, found "${tokens[at]}"`);
    return { name, args, body };
  } catch (error) {
    return { name, args: [], body: ["num", 0], error: (error as Error).message };
  }
}

// ── tree → code: instructions for a stack machine ───────────────────────────────────────────────────────────

const generateRule = defineRule({
  compute(ctx) {
    const tree = textOf(ctx.input(0));
    ctx.output(0).set(0, encodeText(tree === "" ? "" : generate(JSON.parse(tree))));
  },
});

function generate({ name, args, body, error }: Function): string {
  const lines: string[] = [];
  const emit = (tree: Tree): void => {
    const [kind, ...parts] = tree;
    if (kind === "num") lines.push(`num ${parts[0]}`);
    else if (kind === "arg") {
      const index = args.indexOf(parts[0] as string);
      lines.push(index < 0 ? `fail no argument "${parts[0]}"` : `arg ${index}`);
    } else if (kind === "if") {
      const [condition, then, otherwise] = parts as Tree[];
      emit(condition);
      const test = lines.push("") - 1;
      emit(then);
      const skip = lines.push("") - 1;
      lines[test] = `jumpzero ${lines.length}`;
      emit(otherwise);
      lines[skip] = `jump ${lines.length}`;
    } else {
      const operands = (kind === "call" ? parts.slice(1) : parts) as Tree[];
      operands.forEach(emit);
      lines.push(kind === "call" ? `call ${parts[0]} ${operands.length}` : kind);
    }
  };
  if (error === undefined) emit(body);
  else lines.push(`fail ${error}`);
  return [`${name} ${args.length}`, ...lines].join("\n");
}

// ── code → program: not a rule, but a program that is run when somebody wants the result ────────────────────

/** A compiler on a bus. */
export class Compiler {
  readonly bus: StateBus;
  readonly source: Page;
  readonly program: Page;
  readonly codes: readonly Page[];
  readonly #rules: Record<"lex" | "parse" | "generate", RuleHandle[]>;
  /** Times that the linker ran. */
  linked = 0;

  /** Stages pages, rules and edges; the tick that follows makes them real. */
  constructor(bus: StateBus) {
    this.bus = bus;
    const pages = (name: string) =>
      Array.from(
        { length: SLOTS },
        (_, i) => bus.createPage({ size: TEXT_BYTES, name: `${name} ${i}` }),
      );
    this.source = bus.createPage({ size: SOURCE_BYTES, name: "source" });
    this.program = bus.createPage({ size: PROGRAM_BYTES, name: "program" });
    const tokens = pages("tokens"), trees = pages("tree");
    this.codes = pages("code");
    this.#rules = {
      lex: [bus.rule(lexRule, { name: "lex", inputs: [this.source], outputs: tokens })],
      parse: tokens.map((page, i) =>
        bus.rule(parseRule, { name: `parse ${i}`, inputs: [page], outputs: [trees[i]] })
      ),
      generate: trees.map((region, i) =>
        bus.rule(generateRule, {
          name: `generate ${i}`,
          inputs: [{ region, edge: "control" }],
          outputs: [this.codes[i]],
        })
      ),
    };
    for (const tree of trees) bus.edge(tree, this.program, "compiler");
  }

  /** Runs of the rules so far. */
  get runs(): { readonly lex: number; readonly parse: number; readonly generate: number } {
    const sum = (rules: RuleHandle[]) => rules.reduce((runs, { fired }) => runs + fired, 0);
    const { lex, parse, generate } = this.#rules;
    return { lex: sum(lex), parse: sum(parse), generate: sum(generate) };
  }

  /** Another source; the tick brings tokens and trees up to date. */
  async edit(text: string, intent: string): Promise<void> {
    await this.bus.commit(() =>
      this.source.write(0, encodeText(text), { source: "editor", intent })
    );
  }

  /** The program, linked anew if it is out of date: only the code that is stale is made first. */
  async link(): Promise<string> {
    if (this.program.invalidated) {
      for (const code of this.codes) if (code.stale) await code.fresh();
      const text = this.codes.map(textOf).filter((code) => code !== "").join("\n\n");
      await this.bus.commit(() =>
        this.program.write(0, encodeText(text), { source: "linker", intent: "link" })
      );
      this.linked++;
    }
    return textOf(this.program);
  }

  /** The value of a function. */
  async run(name: string, ...args: number[]): Promise<number> {
    return execute(await this.link(), name, args);
  }
}

/** Runs a linked program. */
export function execute(program: string, name: string, args: readonly number[]): number {
  const functions = new Map(
    program.split("\n\n").map((text) => {
      const [head, ...lines] = text.split("\n"), [name, count] = head.split(" ");
      return [name, { count: Number(count), lines }];
    }),
  );
  const call = (name: string, args: readonly number[]): number => {
    const code = functions.get(name);
    if (code === undefined) throw new Error(`There is no function "${name}"`);
    if (code.count !== args.length) throw new Error(`"${name}" takes ${code.count} arguments`);
    const stack: number[] = [], pop = () => stack.pop()!;
    for (let at = 0; at < code.lines.length; at++) {
      const [operation, a, b] = code.lines[at].split(" ");
      if (operation === "num") stack.push(Number(a));
      else if (operation === "arg") stack.push(args[Number(a)]);
      else if (operation === "jump") at = Number(a) - 1;
      else if (operation === "jumpzero") at = pop() === 0 ? Number(a) - 1 : at;
      else if (operation === "call") stack.push(call(a, stack.splice(stack.length - Number(b))));
      else if (operation === "fail") throw new Error(`In "${name}": ${code.lines[at].slice(5)}`);
      else {
        const right = pop(), left = pop();
        if (operation === "+") stack.push(left + right);
        else if (operation === "-") stack.push(left - right);
        else if (operation === "*") stack.push(left * right);
        else if (operation === "/") stack.push(left / right);
        else stack.push(left < right ? 1 : 0);
      }
    }
    return pop();
  };
  return call(name, args);
}

/** The source that the program below begins with. */
export const SOURCE = `# Geometry, and the numbers of Fibonacci
fn square(x) = x * x
fn hypot2(a, b) = square(a) + square(b)
fn fib(n) = if n < 2 then n else fib(n - 1) + fib(n - 2)
fn main() = hypot2(3, 4) + fib(10)
`;

/** The program. */
export async function main(
  dir: string,
  print: (line: string) => void = console.log,
): Promise<void> {
  await removeOldRun(dir);
  await using bus = await StateBus.open({ dir });
  const compiler = new Compiler(bus);
  await bus.tick();
  let before = compiler.runs, linked = compiler.linked;
  const say = (what: string, result: string) => {
    const { lex, parse, generate } = compiler.runs;
    print(
      `${what.padEnd(34)}lexed ${lex - before.lex}, parsed ${parse - before.parse}, generated ${
        generate - before.generate
      }, linked ${compiler.linked - linked}   ${result}`,
    );
    before = compiler.runs, linked = compiler.linked;
  };
  const value = async () => {
    try {
      return `main() = ${await compiler.run("main")}`;
    } catch (error) {
      return (error as Error).message;
    }
  };
  const edit = async (what: string, find: string, replacement: string) => {
    await compiler.edit(textOf(compiler.source).replace(find, replacement), what);
    say(what, await value());
  };

  await compiler.edit(SOURCE, "first text");
  say("First text", await value());
  await edit("A comment", "# Geometry", "# Some geometry");
  await edit("Spaces", "x * x", "x  *  x");
  await edit("One function: x * x * x", "x  *  x", "x * x * x");
  await edit("Parentheses that change nothing", "x * x * x", "(x * x) * x");
  await edit("A wrong function", "fib(10)", "fib(10");
  await edit("Put right", "fib(10", "fib(10)");

  await compiler.edit(SOURCE, "back");
  const stale = compiler.codes.filter((code) => code.stale).map(({ name }) => name);
  say(
    "Back, but nobody runs it",
    `stale: ${stale.join(", ")}; program invalidated: ${compiler.program.invalidated}`,
  );
  say("Somebody runs it", await value());
}

if (import.meta.main) await main(flagsOf("compiler_pipeline.ts", "./data/compiler", {}).dir);
