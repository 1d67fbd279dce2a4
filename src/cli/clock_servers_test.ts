/** What `mmsb clock` says of each NTP server that it is told to ask: one that lies, one that is silent, one alone. */
import assert from "node:assert/strict";
import { Chronyd, freePort, testWithChronyd } from "../temporal/sources/testdata/chronyd.ts";
import { mmsbIn, testFolder } from "./_mmsb_test.ts";

const folder = testFolder("mmsb-cli-clock-servers-");

testWithChronyd(
  "mmsb clock says which of the servers is wrong, and what to do about it",
  async () => {
    await using one = await Chronyd.start();
    await using other = await Chronyd.start();
    await using liar = await Chronyd.start();
    await liar.setOffset(30);
    const silent = `127.0.0.1:${await freePort()}`;
    const three = [one, other, liar].map(({ address }) => `--sntp ${address}`).join(" ");
    const kinds = "--sources sntp,system";
    const [text, sources, json, alone] = await Promise.all([
      mmsbIn(folder, `clock status ${kinds} ${three}`),
      mmsbIn(folder, `clock sources ${kinds} ${three} --sntp ${silent}`),
      mmsbIn(folder, `clock status ${kinds} ${three} --json`),
      mmsbIn(folder, `clock status --sources sntp --sntp ${one.address}`),
    ]);
    assert.deepEqual([text.code, sources.code, json.code, alone.code], [0, 0, 0, 0], text.err);
    const { status } = JSON.parse(json.out);
    if (status.kind !== "sntp") return; // This machine has something better.
    const [, advice] = text.out.split("\n→ ");
    assert(advice.startsWith(`leave out ${liar.address}: most other`), text.out);
    const wrong =
      `${liar.address}, contradicted: the majority of the servers contradicts it, stratum 5,`;
    for (const { out } of [text, sources]) {
      assert(out.replace(/\n +/g, " ").includes(wrong), out);
      for (const line of out.split("\n")) assert(line.length <= 100, line);
    }
    assert(sources.out.includes(`    – ${silent}, `), sources.out);
    assert.match(alone.out, /\n→ name four servers or more: /);

    const servers: Record<string, unknown>[] = status.servers;
    const { name, state, offsetNs } = servers[2];
    assert.deepEqual([servers.length, name, state], [3, liar.address, "falseticker"]);
    assert(Math.abs(Number(offsetNs) - 30e9) < 2e9, String(offsetNs));
  },
);
