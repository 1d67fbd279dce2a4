/** The servers' vote: each that has said something of use lately gives its interval, and the majority decides. */
import type { SntpServer } from "./_sntp_server.ts";
import type { FilterInterval, FilterRate } from "./clock_filter.ts";
import { intersect } from "./intersection.ts";

/**
 * Where a majority of the servers agrees; leaves with each server whether it does.
 *
 * A server that did not answer this time votes with its older answers, which have become wider, until it has been silent
 * for eight syncs.
 *
 * @param servers All of them.
 * @param steadyNs The moment, by the counter.
 * @param rate How the counter runs.
 * @returns The interval; undefined where there is no majority.
 */
export function agree(
  servers: readonly SntpServer[],
  steadyNs: number,
  rate: FilterRate,
): FilterInterval | undefined {
  const voters: { server: SntpServer; interval: FilterInterval }[] = [];
  for (const server of servers) {
    const interval = server.reach === 0 ? undefined : server.filter.interval(steadyNs, rate);
    if (interval !== undefined) voters.push({ server, interval });
  }
  const lows = voters.map(({ interval }) => interval.low.ns);
  const highs = voters.map(({ interval }) => interval.high.ns);
  const found = intersect(lows, highs);
  for (const [i, { server }] of voters.entries()) {
    if (found === undefined) {
      contradicted(server, "the servers contradict each other, and none has a majority");
    } else if (!found.agrees[i]) {
      contradicted(server, "the majority of the servers contradicts it");
    } else if ((server.reach & 1) === 1 && !server.isKissed) {
      server.state = "selected";
      server.reason = "";
    }
  }
  if (found === undefined) return undefined;
  return {
    low: voters[lows.indexOf(found.low)].interval.low,
    high: voters[highs.indexOf(found.high)].interval.high,
  };
}

/**
 * The leap second that more than half of the selected servers announce.
 *
 * @param servers All of them.
 * @returns 0 none, 1 one second more at the end of the day, 2 one less.
 */
export function announcedLeap(servers: readonly SntpServer[]): number {
  const selected = servers.filter(({ state }) => state === "selected");
  const leaps = selected.map(({ filter }) => filter.newest?.leap ?? 0);
  return [1, 2].find((leap) => 2 * leaps.filter((one) => one === leap).length > leaps.length) ?? 0;
}

function contradicted(server: SntpServer, reason: string): void {
  server.state = "falseticker";
  server.reason = reason;
}
