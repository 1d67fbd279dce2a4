/**
 * The obvious graph: edges, rules and marks in sets and maps, and a walk for every question. It is the
 * oracle of whatever keeps them in columns, files and orders.
 */

/** What a tick does to edges, rules and marks; takes effect at its end, before pages are deleted. */
export type StructureStep =
  | {
    readonly kind: "edge";
    readonly source: number;
    readonly target: number;
    readonly type: number;
    readonly adds: boolean;
  }
  | {
    readonly kind: "bind";
    readonly rule: number;
    readonly name: string;
    readonly inputs: readonly number[];
    readonly outputs: readonly number[];
    readonly state: readonly number[];
  }
  | { readonly kind: "unbind"; readonly rule: number }
  | {
    readonly kind: "mark";
    readonly page: number;
    readonly mark: number;
    readonly isSet: boolean;
  };

/** An edge. */
export interface ModelEdge {
  /** Page that it leads from. */
  readonly source: number;
  /** Page that it leads to. */
  readonly target: number;
  /** 0 data, 1 control, 2 gpu, 3 compiler. */
  readonly type: number;
}

/** A rule that is bound. */
export interface ModelRule {
  /** Its name. */
  readonly name: string;
  /** All pages that it reads, writes or keeps its state in. */
  readonly pages: readonly number[];
  /** Those of them that it writes. */
  readonly written: readonly number[];
}

/** Edges, rules and marks. */
export class Structure {
  /** The edges. */
  edges: ModelEdge[] = [];
  /** The rules by number. */
  readonly rules = new Map<number, ModelRule>();
  /** Marks, as "page mark". */
  readonly marks = new Set<string>();
  /** How often an edge or a binding came or went. */
  version = 0;
  /** The next number of a rule. */
  nextRule = 1;

  /** What is wrong with a step now, in a word; `undefined` for nothing. */
  faultOf(step: StructureStep, lives: (page: number) => boolean): string | undefined {
    switch (step.kind) {
      case "edge": {
        const { source, target, adds } = step;
        if (source === target) return "loop";
        if (!lives(source) || !lives(target)) return "page";
        if (this.#has(step) === adds) return adds ? "twice" : "absent";
        return adds && this.reaches(target, source) ? "cycle" : undefined;
      }
      case "bind": {
        const { rule, name, inputs, outputs, state } = step;
        const rules = [...this.rules];
        if (![...inputs, ...outputs, ...state].every(lives)) return "page";
        if (rules.some(([number, other]) => number >= rule || other.name === name)) return "twice";
        const written = [...outputs, ...state];
        const isTaken = rules.some(([, other]) => other.written.some((id) => written.includes(id)));
        return rule < this.nextRule || isTaken ? "twice" : undefined;
      }
      case "unbind":
        return this.rules.has(step.rule) ? undefined : "absent";
      case "mark":
        return lives(step.page) ? undefined : "page";
    }
  }

  /** Takes a step that nothing is wrong with. */
  apply(step: StructureStep): void {
    switch (step.kind) {
      case "edge":
        if (step.adds) this.edges.push(step);
        else this.#drop((edge) => isSame(edge, step));
        if (step.adds) this.version++;
        return;
      case "bind": {
        const written = [...step.outputs, ...step.state];
        this.rules.set(step.rule, {
          name: step.name,
          pages: [...step.inputs, ...written],
          written,
        });
        this.nextRule = step.rule + 1;
        this.version++;
        return;
      }
      case "unbind":
        this.rules.delete(step.rule);
        this.version++;
        return;
      case "mark": {
        const key = `${step.page} ${step.mark}`;
        if (step.isSet) this.marks.add(key);
        else this.marks.delete(key);
      }
    }
  }

  /** Takes the death of a page. */
  removePage(page: number): void {
    this.#drop(({ source, target }) => source === page || target === page);
    for (const [number, { pages }] of this.rules) {
      if (!pages.includes(page)) continue;
      this.rules.delete(number);
      this.version++;
    }
    for (const key of this.marks) if (key.startsWith(`${page} `)) this.marks.delete(key);
  }

  /** Whether edges lead from a page to another one, or it is the same. */
  reaches(from: number, to: number): boolean {
    const found = new Set([from]);
    for (const page of found) {
      for (const { source, target } of this.edges) if (source === page) found.add(target);
    }
    return found.has(to);
  }

  /** All of it as lines of text in order, so that two can be compared. */
  lines(): string[] {
    return [
      ...this.edges.map(({ source, target, type }) => `edge ${source} ${target} ${type}`).sort(),
      ...[...this.rules].sort(([a], [b]) => a - b)
        .map(([number, { name, pages }]) => `rule ${number} ${name} ${pages.join(" ")}`),
      ...[...this.marks].map((mark) => `mark ${mark}`).sort(),
      `version ${this.version}, next rule ${this.nextRule}`,
    ];
  }

  #has(edge: ModelEdge): boolean {
    return this.edges.some((other) => isSame(edge, other));
  }

  #drop(isGone: (edge: ModelEdge) => boolean): void {
    const kept = this.edges.filter((edge) => !isGone(edge));
    this.version += this.edges.length - kept.length;
    this.edges = kept;
  }
}

function isSame(a: ModelEdge, b: ModelEdge): boolean {
  return a.source === b.source && a.target === b.target && a.type === b.type;
}
