#!/usr/bin/env -S deno run -A
/**
 * A trading board: two feeds write quotes, rules make mids, an index and an alert of them, traders take
 * what is on offer.
 *
 * What it shows: structs and rules in a chain, `bus.events`, transactions that compete, `bus.history`, and
 * the question of every trading floor: why did this alert fire?
 *
 * ```text
 *  feed-a ─► quote AAPL ─► mid AAPL ─┐
 *  feed-a ─► quote MSFT ─► mid MSFT ─┼─► index ─► alert        fires when the index leaves a band
 *  feed-b ─► quote NVDA ─► mid NVDA ─┘
 *               ▲ traders take shares: transactions
 * ```
 *
 * ```sh
 * deno run -A examples/trading_board.ts                              # into ./data/board
 * deno task mmsb explain data/board alert                            # the whole tree
 * deno task mmsb log query data/board --source feed-b --limit 5      # what a feed said
 * ```
 *
 * To try: another band (`--band 0.5`, per cent), a rule that watches one quote's spread.
 */

import { defineRule, type ExplainedPage, StateBus, struct } from "@mmsb/mmsb";
import { flagsOf } from "./_flags.ts";
import { removeOldRun } from "./_fresh_directory.ts";

const Quote = struct({ bid: "f64", ask: "f64", offered: "u32" });
/** What a rule makes of others: a price, the index. */
const Value = struct({ value: "f64" });
const Alert = struct({ index: "f64", state: "u32", alerts: "u32" });
const Account = struct({ shares: "u32", cash: "f64" });
const STATES = ["inside the band", "above the band", "below the band"];

/** Symbols, their first price, their weight in the index, and who quotes them. */
export const SYMBOLS = [
  { name: "AAPL", price: 187, weight: 0.30, feed: "feed-a" },
  { name: "MSFT", price: 410, weight: 0.25, feed: "feed-a" },
  { name: "AMZN", price: 172, weight: 0.20, feed: "feed-a" },
  { name: "NVDA", price: 118, weight: 0.15, feed: "feed-b" },
  { name: "TSLA", price: 181, weight: 0.10, feed: "feed-b" },
] as const;

const midRule = defineRule({
  compute(ctx) {
    const quote = ctx.input(0).struct(Quote);
    ctx.output(0).struct(Value).set("value", (quote.get("bid") + quote.get("ask")) / 2);
  },
});

/** The weighted sum of prices, 100 at first. */
const indexRule = defineRule({
  compute(ctx) {
    const index = SYMBOLS.reduce(
      (sum, { price, weight }, i) => sum + weight * ctx.input(i).struct(Value).get("value") / price,
      0,
    );
    ctx.output(0).struct(Value).set("value", 100 * index);
  },
});

/** Writes only when the index leaves or enters the band: until then, nothing behind it would run. */
const alertRule = defineRule({
  compute(ctx) {
    const { low, high } = ctx.params as { low: number; high: number };
    const index = ctx.input(0).struct(Value).get("value"), alert = ctx.output(0).struct(Alert);
    const state = index > high ? 1 : index < low ? 2 : 0;
    if (state === alert.get("state")) return;
    alert.set({ index, state });
    if (state !== 0) alert.set("alerts", alert.get("alerts") + 1);
  },
});

/** The board on a bus: its pages, made or found, with their rules. */
function openBoard(bus: StateBus, bandPercent: number) {
  const quotes = SYMBOLS.map(({ name }) => bus.create(Quote, { name: `quote ${name}` }));
  const mids = SYMBOLS.map(({ name }, i) => {
    const mid = bus.create(Value, { name: `mid ${name}` });
    bus.rule(midRule, { name: `mid ${name}`, inputs: [quotes[i]], outputs: [mid] });
    return mid;
  });
  const index = bus.create(Value, { name: "index" }), alert = bus.create(Alert, { name: "alert" });
  bus.rule(indexRule, { name: "index", inputs: mids, outputs: [index] });
  const band = { low: 100 - bandPercent, high: 100 + bandPercent };
  bus.rule(alertRule, { name: "alert", inputs: [index], outputs: [alert], params: band });
  return { quotes, mids, index, alert };
}

/** Quotes that look random and are the same in every run; at step 60 NVDA has news. */
export function* quotesOf(steps: number): Generator<{ at: number; bid: number; intent: string }[]> {
  const prices: number[] = SYMBOLS.map(({ price }) => price);
  let state = 7;
  const random = () => (state = Math.imul(state, 1664525) + 1013904223 | 0) / 2 ** 31;
  for (let step = 1; step <= steps; step++) {
    const changes = [0, 1].map(() => {
      const at = Math.abs(Math.floor(random() * 1000)) % SYMBOLS.length;
      prices[at] *= 1 + 0.0004 * random();
      return { at, bid: Math.round(100 * prices[at]) / 100, intent: `quote ${step}` };
    });
    if (step === 60) {
      prices[3] *= 1.09;
      changes.push({ at: 3, bid: Math.round(100 * prices[3]) / 100, intent: "earnings beat" });
    }
    yield changes;
  }
}

/** The program. */
export async function main(
  { dir, steps, band }: { readonly dir: string; readonly steps: number; readonly band: number },
  print: (line: string) => void = console.log,
): Promise<void> {
  await removeOldRun(dir);
  await using bus = await StateBus.open({ dir });
  const { quotes, index, alert } = openBoard(bus, band);
  const ada = bus.create(Account, { name: "account ada" });
  const bob = bus.create(Account, { name: "account bob" });
  await bus.commit(() => {
    SYMBOLS.forEach(({ price, feed }, i) =>
      quotes[i].set({ bid: price - 0.05, ask: price + 0.05, offered: 100 }, {
        source: feed,
        intent: "open",
      })
    );
  });

  // Alerts are heard of when their tick is on the disk.
  await using events = bus.events({ kinds: ["page-changed"], pages: [alert] });
  const listening = (async (): Promise<number | undefined> => {
    for await (const { tick } of events) {
      await using then = await bus.at({ tick }); // ticks have gone on since
      const { index, state } = then.struct(Alert, "alert").get();
      print(`ALERT     tick ${tick}: the index is ${STATES[state]} at ${index.toFixed(3)}`);
      return tick;
    }
    return undefined;
  })();

  let derived = 0, fired = 0;
  for (const changes of quotesOf(steps)) {
    for (const { at, bid, intent } of changes) {
      quotes[at].set({ bid, ask: bid + 0.1 }, { source: SYMBOLS[at].feed, intent });
    }
    const report = await bus.tick();
    derived += report.derived;
    fired += report.fired;
  }
  print(
    `Board     ${steps} ticks: ${fired} rules run, ${derived} values new; the index is ` +
      index.get("value").toFixed(3),
  );

  // Two traders see the same 100 shares; who comes second sees what is left.
  const take = (account: typeof ada, source: string, wanted: number) =>
    bus.transaction(async (tx) => {
      const { offered, ask } = tx.get(quotes[3]);
      await Promise.resolve(); // others have their turn while we think
      const shares = Math.min(wanted, offered), { shares: had, cash } = tx.get(account);
      tx.set(quotes[3], { offered: offered - shares });
      tx.set(account, { shares: had + shares, cash: cash - shares * ask });
      return shares;
    }, { source, intent: `buy ${wanted} NVDA` });
  const filled = await Promise.all([take(ada, "ada", 80), take(bob, "bob", 80)]);
  const { conflicts } = bus.stats().transactions;
  print(
    `Orders    ada and bob want 80 NVDA each of 100: they get ${filled.join(" and ")}; ` +
      `${conflicts} conflict, tried again`,
  );

  print(`\nHistory of quote NVDA, newest first:`);
  for await (const delta of bus.history(quotes[3].page, { reverse: true, limit: 4 })) {
    const changes = Quote.fields.map(({ name, offset }) => {
      const at = offset - delta.offset;
      if (at < 0 || at >= delta.length) return [];
      const [before, after] = [delta.before, delta.after].map((span) => {
        const view = new DataView(span.buffer, span.byteOffset);
        return name === "offered" ? view.getUint32(at, true) : view.getFloat64(at, true).toFixed(2);
      });
      return [`${name} ${before} → ${after}`];
    }).flat();
    print(`  tick ${delta.tick}, ${delta.source}: ${changes.join(", ")} (${delta.intent})`);
  }

  if (alert.get("alerts") === 0) return print("\nNo alert: try --band 0.5");
  const tick = await listening;
  print(`\nWhy did the alert of tick ${tick} fire?`);
  const { root } = await bus.explain(alert, { tick, values: true });
  for (const line of reasons(root)) print(`  ${line}`);
}

/** The way from a page to the sources: of all its parents, those that changed in the same tick. */
function* reasons(page: ExplainedPage): Generator<string> {
  const { name, tick, kind, rule, parents, deltas } = page;
  const by = kind === "derived"
    ? `rule "${rule!.name}" over ${parents.length} page${parents.length === 1 ? "" : "s"}`
    : deltas.filter((delta) => delta.tick === tick)
      .map(({ source, intent }) => `${source}: ${intent}`).join(", ");
  const fields = Object.entries(page.value!).map(([field, value]) =>
    `${field} ${+(value as number).toFixed(3)}`
  );
  yield `${name.padEnd(12)} ${fields.join(", ").padEnd(44)}by ${by}`;
  for (const parent of parents) if (parent.tick === tick) yield* reasons(parent);
}

if (import.meta.main) {
  const flags = flagsOf("trading_board.ts", "./data/board", {
    steps: { help: "ticks with new quotes", value: 200, min: 1, max: 100_000, isWhole: true },
    band: { help: "per cent by which the index may move", value: 1, min: 0.01, max: 100 },
  });
  await main(flags);
}
