/** Writes what an NTP server answers, right or wrong, for responders and simulated networks of tests. */

/** Fields of an answer; what is left out is that of an honest server of stratum 2. */
export interface NtpAnswer {
  readonly leap?: number;
  readonly version?: number;
  readonly mode?: number;
  readonly stratum?: number;
  readonly precision?: number;
  readonly rootDelayNs?: number;
  readonly rootDispersionNs?: number;
  readonly referenceId?: number;
  /** Unix time, ns; no reference timestamp if left out. */
  readonly referenceNs?: bigint;
  /** Unix time when the question came, ns; `null` for none. */
  readonly receiveNs: bigint | null;
  /** Unix time when the answer went, ns; `null` for none. */
  readonly transmitNs: bigint | null;
}

/** The 64 bits of a time since 1900. */
export function ntpTimestamp(unixNs: bigint): bigint {
  return BigInt.asUintN(64, ((unixNs + 2_208_988_800_000_000_000n) << 32n) / 1_000_000_000n);
}

/** An answer to a question: its transmit timestamp comes back as the origin. */
export function ntpAnswer(request: Uint8Array, answer: NtpAnswer): Uint8Array {
  const bytes = new Uint8Array(48);
  const view = new DataView(bytes.buffer);
  const { leap = 0, version = 4, mode = 4, stratum = 2, precision = -24 } = answer;
  const { rootDelayNs = 0, rootDispersionNs = 0, referenceId = 0x0a000001 } = answer;
  view.setUint8(0, leap << 6 | version << 3 | mode);
  view.setUint8(1, stratum);
  view.setInt8(2, 4);
  view.setInt8(3, precision);
  view.setUint32(4, Math.ceil(rootDelayNs * 65_536 / 1e9));
  view.setUint32(8, Math.ceil(rootDispersionNs * 65_536 / 1e9));
  view.setUint32(12, referenceId);
  if (answer.referenceNs !== undefined) view.setBigUint64(16, ntpTimestamp(answer.referenceNs));
  bytes.set(request.subarray(40, 48), 24);
  if (answer.receiveNs !== null) view.setBigUint64(32, ntpTimestamp(answer.receiveNs));
  if (answer.transmitNs !== null) view.setBigUint64(40, ntpTimestamp(answer.transmitNs));
  return bytes;
}
