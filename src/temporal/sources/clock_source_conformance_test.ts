/** The suite itself: a source that is broken in one way fails, in the criterion that is meant for it. */
import { deepEqual } from "node:assert/strict";
import { MmsbError } from "../../base/mod.ts";
import type { ClockReading, ClockSource, ClockStatus } from "./clock_source.ts";
import { testClockSource } from "./clock_source_conformance.ts";
import { SimulatedClock } from "./simulated_clock.ts";

/** A good source, of which a test replaces a part. */
class Planted implements ClockSource {
  readonly name = "planted";
  readonly kind = "simulated";
  readonly good = new SimulatedClock({ name: "planted", syncErrorNs: 1000 });

  get isSynchronised(): boolean {
    return this.good.isSynchronised;
  }

  read(out: ClockReading): void {
    this.good.read(out);
  }

  nowUs(): number {
    return this.good.nowUs();
  }

  errorUs(): number {
    return this.good.errorUs();
  }

  start(): Promise<void> {
    return this.good.start();
  }

  sync(): Promise<void> {
    return this.good.sync();
  }

  status(): ClockStatus {
    return this.good.status();
  }

  close(): Promise<void> {
    return this.good.close();
  }
}

/** Names of the criteria that a source fails. */
async function failures(make: () => Planted): Promise<string[]> {
  const failed: string[] = [];
  const tests: [string, () => Promise<void>][] = [];
  testClockSource({
    name: "",
    make,
    trueNs: ({ good }) => good.trueNs,
    pass: ({ good }, ns) => good.advance(ns),
  }, (name, body) => tests.push([name.trim(), body]));
  for (const [name, body] of tests) {
    await body().catch(() => failed.push(name));
  }
  return failed;
}

const kept: unknown[] = [];
const FAULTS: Readonly<Record<string, [new () => Planted, string]>> = {
  "its bound is too small": [
    class extends Planted {
      override read(out: ClockReading): void {
        this.good.read(out);
        out.set(out.seconds + 1, out.nanoseconds, out.errorNs);
      }
    },
    "reads before it is started, and after",
  ],
  "its bound is NaN": [
    class extends Planted {
      override read(out: ClockReading): void {
        this.good.read(out);
        out.set(out.seconds, out.nanoseconds, NaN);
      }
    },
    "reads before it is started, and after",
  ],
  "its nanoseconds are not within a second": [
    class extends Planted {
      override read(out: ClockReading): void {
        this.good.read(out);
        out.set(out.seconds - 1, out.nanoseconds + 1e9, out.errorNs);
      }
    },
    "reads before it is started, and after",
  ],
  "its forms differ": [
    class extends Planted {
      override nowUs(): number {
        return this.good.nowUs() + 50;
      }
    },
    "says the same time in all forms",
  ],
  "its bound shrinks": [
    class extends Planted {
      #errorNs = 1e9;
      override read(out: ClockReading): void {
        this.good.read(out);
        out.set(out.seconds, out.nanoseconds, this.#errorNs /= 1.01);
      }
    },
    "has a bound that grows while nobody confirms the time",
  ],
  "its readings allocate": [
    class extends Planted {
      readonly #last: unknown[] = [];
      override read(out: ClockReading): void {
        this.#last[0] = { ns: this.good.trueNs };
        this.good.read(out);
      }
    },
    "allocates nothing for a reading",
  ],
  "its parts do not add up": [
    class extends Planted {
      override status(): ClockStatus {
        const status = this.good.status();
        return { ...status, bound: status.bound.slice(1) };
      }
    },
    "explains its bound by parts that add up",
  ],
  "it syncs but once at a time": [
    class extends Planted {
      #isBusy = false;
      override async sync(): Promise<void> {
        if (this.#isBusy) throw new MmsbError("clock", "Cannot sync as a sync is under way");
        this.#isBusy = true;
        await Promise.resolve();
        this.#isBusy = false;
      }
    },
    "starts twice and syncs twice at once",
  ],
  "it has a time when it is closed": [
    class extends Planted {
      override async close(): Promise<void> {}
    },
    "has no time once it is closed, and closes twice",
  ],
  "it cannot be closed twice": [
    class extends Planted {
      #isClosed = false;
      override async close(): Promise<void> {
        if (this.#isClosed) throw new TypeError("closed");
        this.#isClosed = true;
        await this.good.close();
      }
    },
    "has no time once it is closed, and closes twice",
  ],
  "it opens again": [
    class extends Planted {
      #gate: ClockSource = this.good;
      override errorUs(): number {
        return this.#gate.errorUs();
      }
      override async start(): Promise<void> {
        await Promise.resolve();
        this.#gate = new SimulatedClock();
      }
    },
    "closes while it starts",
  ],
  "it holds much": [
    class extends Planted {
      constructor() {
        super();
        kept.push(Array.from({ length: 40_000 }, (_, i) => ({ i })));
      }
    },
    "holds less than 200 KB",
  ],
};

Deno.test("testClockSource() passes a good source", async () => {
  deepEqual(await failures(() => new Planted()), []);
});

for (const [fault, [Source, criterion]] of Object.entries(FAULTS)) {
  Deno.test(`testClockSource() finds a source of which ${fault}`, async () => {
    const failed = await failures(() => new Source());
    kept.length = 0;
    deepEqual(failed.filter((name) => name === criterion), [criterion]);
  });
}
