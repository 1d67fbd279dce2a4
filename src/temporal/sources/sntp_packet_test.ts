/** The packet: known bytes, the era of 2036, and hostile datagrams. */
import { deepEqual, equal, ok } from "node:assert/strict";
import fc from "fast-check";
import {
  decodeSntp,
  encodeSntpRequest,
  referenceIdText,
  SNTP_PACKET_BYTES,
  SntpPacket,
} from "./sntp_packet.ts";
import { fuzzSntp } from "./testdata/fuzz_sntp.ts";
import { ntpAnswer, ntpTimestamp } from "./testdata/ntp_answer.ts";

function hex(text: string): Uint8Array {
  return Uint8Array.from(text.match(/../g) ?? [], (byte) => parseInt(byte, 16));
}

Deno.test("encodeSntpRequest() says version 4, mode 3 and the random bits, and nothing else", () => {
  const bytes = new Uint8Array(60).fill(7);
  encodeSntpRequest(bytes, 0x01020304, 0xfffefdfc);
  deepEqual(bytes.subarray(0, 48), hex(`23${"00".repeat(39)}01020304fffefdfc`));
  deepEqual([...bytes.subarray(48)], Array(12).fill(7));
});

Deno.test("decodeSntp() reads an answer of a real server", () => {
  // chronyd 4.3, stratum 5, local, 2026-11-22: recorded from the wire, the last two timestamps set by hand.
  const bytes = hex(
    "240500e6" + "00018000" + "00000042" + "7f7f0101" + "eead9525b6a9871e" +
      "00000000075bcd15" +
      "eead952580000000" + "eead952640000000",
  );
  const packet = new SntpPacket();
  equal(decodeSntp(bytes, packet), undefined);
  equal(packet.leap, 0);
  equal(packet.version, 4);
  equal(packet.mode, 4);
  equal(packet.stratum, 5);
  equal(packet.precisionNs, 2 ** -26 * 1e9);
  equal(packet.rootDelayNs, 1.5e9);
  equal(packet.rootDispersionNs, 0x42 / 65_536 * 1e9);
  equal(referenceIdText(packet.referenceId, packet.stratum), "127.127.1.1");
  equal(packet.originLo, 0x075bcd15);
  equal(packet.receiveS, 0xeead9525 - 2_208_988_800);
  equal(packet.receiveNs, 5e8);
  equal(packet.transmitNs, 2.5e8);
});

Deno.test("decodeSntp() goes on over the end of the era in 2036", () => {
  const packet = new SntpPacket();
  for (
    const text of [
      "2020-01-01T00:00:00Z",
      "2026-11-22T00:00:00Z",
      "2036-02-07T06:28:15Z",
      "2036-02-07T06:28:16Z",
      "2036-02-07T06:28:17Z",
      "2040-06-01T12:00:00Z",
      "2100-01-01T00:00:00Z",
      "2155-12-31T23:59:59Z",
    ]
  ) {
    const seconds = Date.parse(text) / 1000;
    const ns = BigInt(seconds) * 1_000_000_000n + 250_000_000n;
    decodeSntp(ntpAnswer(new Uint8Array(48), { receiveNs: ns, transmitNs: ns }), packet);
    equal(packet.transmitS, seconds, text);
    ok(Math.abs(packet.transmitNs - 250_000_000) < 1);
  }
});

Deno.test("decodeSntp() gives back any time between 2020 and 2156 to a part of a ns", () => {
  const packet = new SntpPacket();
  const begin = 1_577_836_800_000_000_000n;
  fc.assert(fc.property(fc.bigInt(begin, begin + (1n << 32n) * 999_999_999n), (ns) => {
    decodeSntp(ntpAnswer(new Uint8Array(48), { receiveNs: ns, transmitNs: ns }), packet);
    const found = BigInt(packet.receiveS) * 1_000_000_000n + BigInt(Math.round(packet.receiveNs));
    const away = found - ns;
    ok(away >= -1n && away <= 1n, `${ns} became ${found}`);
  }));
  equal(ntpTimestamp(0n), 2_208_988_800n << 32n);
});

Deno.test("decodeSntp() refuses what is shorter than a packet or of no version, and takes extensions", () => {
  const packet = new SntpPacket();
  for (let length = 0; length < SNTP_PACKET_BYTES; length++) {
    equal(decodeSntp(new Uint8Array(length).fill(0x24), packet), "short");
  }
  equal(decodeSntp(new Uint8Array(48), packet), "version");
  for (const length of [48, 52, 68, 1500, 65_507]) {
    equal(decodeSntp(new Uint8Array(length).fill(0x24), packet), undefined);
  }
});

Deno.test("referenceIdText() gives letters at stratum 0 and 1, an address else", () => {
  equal(referenceIdText(0x47505300, 1), "GPS");
  equal(referenceIdText(0x52415445, 0), "RATE");
  equal(referenceIdText(0x52415445, 2), "82.65.84.69");
  equal(referenceIdText(0x00000000, 0), "0.0.0.0");
  equal(referenceIdText(0x47005053, 1), "71.0.80.83");
});

Deno.test("Hostile datagrams never throw, and only plausible answers are taken", () => {
  const counts = fuzzSntp(50_000, 1);
  for (const [kind, count] of Object.entries(counts)) ok(count > 100, `${count} ${kind}`);
});
