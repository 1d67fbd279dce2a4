/**
 * The 48 bytes of an NTP packet (RFC 5905 section 7.3): those of a question, and those of an answer.
 *
 * A question says nothing about the machine that asks: all fields are zero but version, mode and the transmit
 * timestamp, and that is 64 random bits. The server sends them back as the origin timestamp, so they match an answer to
 * its question and cannot be guessed by somebody who does not see the packets; when the question was sent is known here.
 *
 * NTP counts seconds since 1900 in 32 bits, which begin anew in February 2036. A time is taken to be the one between the
 * beginning of 2020 and that of 2156 that has those bits: no clock is asked, so a wrong one can't put it into the wrong
 * era.
 *
 * Whatever the bytes are, nothing is thrown: the result is a reason. Bytes behind the 48 (extension fields, a message
 * authentication code) are allowed and not read.
 *
 * Cost: some 30 loads; nothing is allocated.
 */

/** Bytes of a packet without extensions. */
export const SNTP_PACKET_BYTES = 48;

/** Where a client sends if no port is named. */
export const SNTP_PORT = 123;

/** Seconds from 1900 to 1970. */
const UNIX_S = 2_208_988_800;

/** The earliest time that a timestamp can mean, seconds since 1970: the beginning of 2020. */
const ERA_BEGIN_S = 1_577_836_800;

const NS_PER_S = 1e9;
const ERA_SECONDS = 2 ** 32;

/** ns of a unit of the short format: 16 bits of seconds, 16 of their fraction. */
const SHORT_NS = NS_PER_S / 65_536;

const VERSION = 4;
const MODE_CLIENT = 3;

/** Why bytes are no packet. */
export type SntpDecodeFault = "short" | "version";

/** One decoded packet, used again and again. */
export class SntpPacket {
  /** 0 none, 1 a leap second is added at the end of the day, 2 one is left out, 3 not synchronised. */
  leap = 0;
  /** Version, 1 to 7. */
  version = 0;
  /** 3 client, 4 server, 1 and 2 symmetric, 5 broadcast. */
  mode = 0;
  /** Servers between this one and a reference clock, and one; 0: not specified, or a kiss of death. */
  stratum = 0;
  /** Logarithm of the poll interval in seconds. */
  poll = 0;
  /** How fine the server's clock is, ns. */
  precisionNs = 0;
  /** Round trip to the reference clock, ns; negative values of old servers become what their size is. */
  rootDelayNs = 0;
  /** How wrong the server says it may be, its root delay aside, ns. */
  rootDispersionNs = 0;
  /** Reference id as an unsigned number: an IPv4 address, four letters, a kiss code. */
  referenceId = 0;
  /** When the server's clock was last set: whether it says, whole seconds since 1970, and ns. */
  hasReference = false;
  /** Seconds of the reference timestamp. */
  referenceS = 0;
  /** Its ns. */
  referenceNs = 0;
  /** Upper half of the origin timestamp, as it came. */
  originHi = 0;
  /** Its lower half. */
  originLo = 0;
  /** Whether there is a receive timestamp. */
  hasReceive = false;
  /** When the question arrived, seconds since 1970. */
  receiveS = 0;
  /** Its ns, with fractions. */
  receiveNs = 0;
  /** Whether there is a transmit timestamp. */
  hasTransmit = false;
  /** When the answer was sent, seconds since 1970. */
  transmitS = 0;
  /** Its ns, with fractions. */
  transmitNs = 0;
}

/**
 * Writes a question.
 *
 * @param bytes Takes it; at least 48 bytes.
 * @param nonceHi Upper half of the 64 random bits.
 * @param nonceLo Their lower half.
 */
export function encodeSntpRequest(bytes: Uint8Array, nonceHi: number, nonceLo: number): void {
  bytes.fill(0, 0, SNTP_PACKET_BYTES);
  bytes[0] = VERSION << 3 | MODE_CLIENT;
  writeU32(bytes, 40, nonceHi);
  writeU32(bytes, 44, nonceLo);
}

/**
 * Reads a packet.
 *
 * @param bytes Any bytes.
 * @param packet Takes its fields.
 * @returns Why it is none; undefined if it is one. Never throws.
 */
export function decodeSntp(bytes: Uint8Array, packet: SntpPacket): SntpDecodeFault | undefined {
  if (bytes.length < SNTP_PACKET_BYTES) return "short";
  const first = bytes[0];
  packet.leap = first >> 6;
  packet.version = first >> 3 & 7;
  packet.mode = first & 7;
  if (packet.version === 0) return "version";
  packet.stratum = bytes[1];
  packet.poll = signed(bytes[2]);
  packet.precisionNs = 2 ** signed(bytes[3]) * NS_PER_S;
  packet.rootDelayNs = Math.abs(readU32(bytes, 4) | 0) * SHORT_NS;
  packet.rootDispersionNs = readU32(bytes, 8) * SHORT_NS;
  packet.referenceId = readU32(bytes, 12);
  packet.hasReference = isPresent(bytes, 16);
  packet.referenceS = unixSeconds(readU32(bytes, 16));
  packet.referenceNs = nanoseconds(readU32(bytes, 20));
  packet.originHi = readU32(bytes, 24);
  packet.originLo = readU32(bytes, 28);
  packet.hasReceive = isPresent(bytes, 32);
  packet.receiveS = unixSeconds(readU32(bytes, 32));
  packet.receiveNs = nanoseconds(readU32(bytes, 36));
  packet.hasTransmit = isPresent(bytes, 40);
  packet.transmitS = unixSeconds(readU32(bytes, 40));
  packet.transmitNs = nanoseconds(readU32(bytes, 44));
  return undefined;
}

/**
 * A reference id as people read it: the letters of a reference clock or a kiss code, else an IPv4 address (which may be
 * the hash of an IPv6 one).
 *
 * @param referenceId The id.
 * @param stratum The stratum that came with it: letters stand only at 0 and 1.
 * @returns The text.
 */
export function referenceIdText(referenceId: number, stratum: number): string {
  const bytes = [24, 16, 8, 0].map((shift) => referenceId >>> shift & 0xff);
  if (stratum > 1) return bytes.join(".");
  const end = bytes.indexOf(0);
  const letters = end < 0 ? bytes : bytes.slice(0, end);
  const isText = letters.length > 0 && letters.every((byte) => byte > 0x20 && byte < 0x7f) &&
    bytes.slice(letters.length).every((byte) => byte === 0);
  return isText ? String.fromCharCode(...letters) : bytes.join(".");
}

/** Seconds since 1970, in the era that the head of the file tells. */
function unixSeconds(ntpSeconds: number): number {
  const seconds = ntpSeconds - UNIX_S;
  return seconds < ERA_BEGIN_S ? seconds + ERA_SECONDS : seconds;
}

function nanoseconds(fraction: number): number {
  return fraction * (NS_PER_S / ERA_SECONDS);
}

function isPresent(bytes: Uint8Array, offset: number): boolean {
  return (readU32(bytes, offset) | readU32(bytes, offset + 4)) !== 0;
}

function signed(byte: number): number {
  return byte << 24 >> 24;
}

function readU32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 24 | bytes[offset + 1] << 16 | bytes[offset + 2] << 8 |
    bytes[offset + 3]) >>> 0;
}

function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}
