/**
 * One server as its client sees it: where it is, whether it may be asked, what it has said.
 *
 * A kiss of death (RFC 5905 section 7.4) is obeyed: after DENY or RSTR the server is never asked again, after RATE it is
 * asked half as often each time.
 *
 * A name may have several addresses. At first one question goes to each of some, and who answers first stays the server
 * until it falls silent; then the name is looked up again.
 *
 * Cost: a socket and 48 bytes a question.
 */
import { isIPv4, isIPv6 } from "./_ip_address.ts";
import { judgeAnswer, type SntpQuestion, type SntpSample, type SntpVerdict } from "./sntp_check.ts";
import { ClockFilter } from "./clock_filter.ts";
import { decodeSntp, encodeSntpRequest, SNTP_PACKET_BYTES, SntpPacket } from "./sntp_packet.ts";
import type { SntpResolved, SntpTransport } from "./sntp_transport.ts";

/** Addresses of a name that are tried. */
const ADDRESSES_MAX = 4;

/** First pause after a kiss of death RATE, s; it doubles with each. */
const RATE_PAUSE_S = 64;
const RATE_PAUSE_S_MAX = 4096;

/** Between two questions on a short way, in round trips. */
const GAP_ROUND_TRIPS = 8;

/** What no answer is worth where nobody waits for it any more. */
const GIVEN_UP: SntpVerdict = { kind: "foreign", reason: "it was slower than the others" };

/** What a burst needs. */
export interface SntpBurst {
  /** Questions. */
  readonly samples: number;
  /** Between two questions. */
  readonly gapMs: number;
  /** How long to wait for each answer. */
  readonly timeoutMs: number;
  /** See {@linkcode SntpQuestion}. */
  readonly epochS: number;
  /** See {@linkcode SntpQuestion}. */
  readonly counterStepNs: number;
  /** See {@linkcode SntpQuestion}. */
  readonly rootDistanceNsMax: number;
  /** The network. */
  readonly transport: SntpTransport;
  /** Two random words of 32 bits. */
  readonly random: (words: Uint32Array) => void;
  /** Waits. */
  readonly sleep: (ms: number, signal: AbortSignal, isIdle: boolean) => Promise<void>;
  /** The counter, ns. */
  readonly nowNs: () => number;
  /** Ends it early. */
  readonly signal: AbortSignal;
}

/** How a server stands. */
export type SntpServerState =
  | "new"
  | "selected"
  | "falseticker"
  | "refused"
  | "silent"
  | "kiss"
  | "unresolved";

/** One server. */
export class SntpServer {
  /** As the user named it. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
  /** What it has said. */
  readonly filter: ClockFilter = new ClockFilter();
  /** How it stands. */
  state: SntpServerState = "new";
  /** Why it stands so; "" where there is nothing to say. */
  reason = "it has not been asked yet";
  /** Datagrams that were no answers to a question of ours. */
  foreign = 0;
  #address: string | undefined;
  /** The last address that answered well. */
  #lastAddress: string | undefined;
  #reach = 0;
  #isDenied = false;
  #pauseS = 0;
  #isKissed = false;
  #notBeforeNs = -Infinity;

  constructor(host: string, port: number) {
    this.host = host;
    this.port = port;
  }

  /** `host:port`. */
  get name(): string {
    return this.host.includes(":") ? `[${this.host}]:${this.port}` : `${this.host}:${this.port}`;
  }

  /** The numeric address that answers; undefined while none does. */
  get address(): string | undefined {
    return this.#address;
  }

  /** Whether its last answers were a kiss of death. */
  get isKissed(): boolean {
    return this.#isKissed;
  }

  /** The last eight syncs, the newest in bit 0: 1 where it gave a usable answer. */
  get reach(): number {
    return this.#reach;
  }

  /** Asks it, and takes what it says. Never rejects. */
  async burst(burst: SntpBurst): Promise<readonly SntpSample[]> {
    if (this.#isDenied || burst.nowNs() < this.#notBeforeNs) return this.#reached([]);
    this.#isKissed = false;
    const addresses = await this.#addresses(burst);
    if (addresses.length === 0) return this.#reached([]);
    const verdicts = this.#address === undefined && addresses.length > 1
      ? await this.#first(addresses, burst)
      : await this.#ask(this.#address = addresses[0], burst.samples, burst);
    const samples = verdicts.flatMap((verdict) =>
      verdict.kind === "sample" ? [verdict.sample] : []
    );
    if (samples.length === 0) this.#address = undefined;
    this.#note(verdicts, samples.length > 0, burst);
    return this.#reached(samples);
  }

  #reached(samples: readonly SntpSample[]): readonly SntpSample[] {
    this.#reach = (this.#reach << 1 | (samples.length > 0 ? 1 : 0)) & 0xff;
    if (samples.length > 0) this.#lastAddress = this.#address;
    if (samples.length > 0 && !this.#isKissed) {
      this.#pauseS = 0;
      this.reason = "";
    }
    return samples;
  }

  async #addresses(burst: SntpBurst): Promise<readonly string[]> {
    if (this.#address !== undefined) return [this.#address];
    if (isIPv4(this.host) || isIPv6(this.host)) return [this.host];
    const found = await this.#resolved(burst);
    const addresses = "addresses" in found ? found.addresses : [];
    if (addresses.length > 0) return addresses.slice(0, ADDRESSES_MAX);
    this.state = "unresolved";
    this.reason = "reason" in found ? found.reason : `the name ${this.host} has no address`;
    return [];
  }

  /** Looks the name up, for no longer than an answer may take: a lookup can't be ended, so it is left behind. */
  async #resolved({ transport, sleep, timeoutMs, signal }: SntpBurst): Promise<SntpResolved> {
    const done = new AbortController();
    const late = sleep(timeoutMs, AbortSignal.any([signal, done.signal]), false).then(() => ({
      reason: `the name ${this.host} was not found within ${timeoutMs} ms`,
    }));
    const found = await Promise.race([transport.resolve(this.host), late]);
    done.abort();
    return found;
  }

  /** Asks each address once; the first that answers well is it, and gets the other questions. */
  async #first(addresses: readonly string[], burst: SntpBurst): Promise<readonly SntpVerdict[]> {
    const others = new AbortController();
    const signal = AbortSignal.any([burst.signal, others.signal]);
    const before = this.#lastAddress;
    const found: SntpVerdict[] = [];
    const failed: SntpVerdict[] = [];
    await Promise.all(addresses.map(async (address) => {
      const [verdict] = await this.#ask(address, 1, { ...burst, signal });
      if (verdict?.kind !== "sample") failed.push(verdict ?? GIVEN_UP);
      if (verdict?.kind !== "sample" || found.length > 0) return;
      found.push(verdict);
      this.#address = address;
      others.abort();
    }));
    if (this.#address === undefined) return failed;
    // What another address said is another server's word, over another path.
    if (before !== undefined && before !== this.#address) this.filter.clear();
    return [...found, ...await this.#ask(this.#address, burst.samples - 1, burst)];
  }

  /** Sends some questions, a gap apart, and waits for all answers. A server that wants no more gets no more. */
  async #ask(address: string, count: number, burst: SntpBurst): Promise<readonly SntpVerdict[]> {
    const asked: Promise<SntpVerdict>[] = [];
    for (let i = 0; i < count && !burst.signal.aborted; i++) {
      if (i > 0 && (await this.#gap(asked[i - 1], burst))?.kind === "kiss") break;
      asked.push(this.#question(address, burst));
    }
    return await Promise.all(asked);
  }

  /**
   * Waits until the next question is due. Questions are apart so that not all are held up by the same thing; on a short
   * way that is shorter, too, so there it is some round trips instead of the whole gap.
   */
  async #gap(asked: Promise<SntpVerdict>, burst: SntpBurst): Promise<SntpVerdict | undefined> {
    const { gapMs, nowNs, signal, sleep } = burst;
    const beganNs = nowNs();
    const done = new AbortController();
    const gap = sleep(gapMs, AbortSignal.any([signal, done.signal]), false).then(() => undefined);
    const verdict = await Promise.race([asked, gap]);
    done.abort(); // ends the sleep
    if (verdict?.kind !== "sample") {
      // Silence and refusals come early, too, and are no reason to hurry.
      if (verdict !== undefined && verdict.kind !== "kiss") await this.#rest(gapMs, beganNs, burst);
      return verdict;
    }
    const wantedMs = Math.min(gapMs, verdict.sample.delayNs * GAP_ROUND_TRIPS / 1e6);
    await this.#rest(wantedMs, beganNs, burst);
    return verdict;
  }

  /** Waits for what is left of some time that began at a moment. */
  async #rest(ms: number, beganNs: number, { nowNs, signal, sleep }: SntpBurst): Promise<void> {
    const leftMs = ms - (nowNs() - beganNs) / 1e6;
    if (leftMs > 0) await sleep(leftMs, signal, false);
  }

  async #question(address: string, burst: SntpBurst): Promise<SntpVerdict> {
    const { transport, timeoutMs, epochS, counterStepNs, rootDistanceNsMax, signal } = burst;
    const nonce = new Uint32Array(2);
    burst.random(nonce);
    const question = { nonceHi: nonce[0], nonceLo: nonce[1], sentNs: 0 };
    const request = new Uint8Array(SNTP_PACKET_BYTES);
    encodeSntpRequest(request, nonce[0], nonce[1]);
    const packet = new SntpPacket();
    let verdict: SntpVerdict | undefined;
    const silence = await transport.ask({
      address,
      port: this.port,
      request,
      timeoutMs,
      signal,
      sent: (steadyNs) => question.sentNs = steadyNs,
      arrived: (datagram, steadyNs) => {
        const fault = decodeSntp(datagram, packet);
        const asked: SntpQuestion = { ...question, epochS, counterStepNs, rootDistanceNsMax };
        const found: SntpVerdict = fault === undefined
          ? judgeAnswer(packet, asked, steadyNs)
          : { kind: "foreign", reason: `its answer is no NTP packet (${fault})` };
        if (found.kind === "foreign") this.foreign++;
        verdict = found;
        return found.kind !== "foreign";
      },
    });
    return verdict ?? { kind: "foreign", reason: silence ?? "silent" };
  }

  /** Remembers a kiss of death, and why there is no sample. */
  #note(verdicts: readonly SntpVerdict[], hasSamples: boolean, burst: SntpBurst): void {
    const kiss = verdicts.find((verdict) => verdict.kind === "kiss");
    if (kiss?.kind === "kiss") return this.#kissed(kiss.code, burst);
    if (hasSamples) return;
    const refusal = verdicts.find((verdict) => verdict.kind === "refused");
    if (refusal !== undefined) {
      this.state = "refused";
      this.filter.clear();
    } else this.state = "silent";
    const last = refusal ?? verdicts.at(-1) ?? GIVEN_UP;
    this.reason = "reason" in last ? last.reason : "silent";
    if (this.reason === "silent") this.reason = `no answer within ${burst.timeoutMs} ms`;
  }

  #kissed(code: string, { nowNs }: SntpBurst): void {
    this.state = "kiss";
    this.#isKissed = true;
    if (code === "DENY" || code === "RSTR") {
      this.filter.clear();
      this.#isDenied = true;
      this.reason = `it refuses to be asked (kiss of death ${code}), so it is not asked again`;
      return;
    }
    this.#pauseS = Math.min(RATE_PAUSE_S_MAX, Math.max(RATE_PAUSE_S, this.#pauseS * 2));
    this.#notBeforeNs = nowNs() + this.#pauseS * 1e9;
    this.reason = `it wants to be asked less often (kiss of death ${code}): not before ` +
      `${this.#pauseS} s have passed`;
  }
}
