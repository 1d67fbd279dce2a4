/**
 * Axes of the charts: where they begin and end, and which figures stand on them. Own code, as the
 * ticks of a logarithmic axis are many by habit, and a chart as small as ours has room for five.
 */

/** Figures whose largest is so many times the smallest need a logarithmic axis. */
const LOG_FROM = 8;
/** A linear axis begins at 0 where the smallest figure is below this part of the largest. */
const ZERO_BELOW = 0.4;
/** Ticks of an axis, at most. */
const TICKS_MAX = 5;

/** Figures beyond this, and below its inverse, are not drawn: their quotients are no numbers. */
const DRAWN_MAX = 1e290;

/** Whether a figure can stand on an axis. */
export function isDrawable(value: number): boolean {
  const size = Math.abs(value);
  return size === 0 || (size >= 1 / DRAWN_MAX && size <= DRAWN_MAX);
}

/** An axis, as Plot takes a scale. */
export interface Axis {
  /** How figures are spread on it. */
  readonly type: "linear" | "log";
  /** Its ends. */
  readonly domain: readonly [number, number];
}

/** An axis that has room for all of some figures; those that cannot be drawn are left out. */
export function axisOf(figures: readonly number[]): Axis {
  const values = figures.filter(isDrawable);
  const low = Math.min(...values);
  const high = Math.max(...values);
  if (values.length === 0 || (low === 0 && high === 0)) return { type: "linear", domain: [0, 1] };
  if (low === high) {
    const pad = Math.abs(low) * 0.1;
    return { type: "linear", domain: [low - pad, high + pad] };
  }
  if (low > 0 && high / low >= LOG_FROM) {
    const pad = Math.min(Math.max((high / low) ** 0.06, 1.15), 10);
    return { type: "log", domain: [low / pad, high * pad] };
  }
  const pad = high / 8 - low / 8;
  const start = low >= 0 && low < high * ZERO_BELOW ? 0 : low - pad;
  return { type: "linear", domain: [start, high + pad] };
}

/** Where on an axis a figure stands, from 0 to 1. */
export function placeOn({ type, domain: [low, high] }: Axis, figure: number): number {
  const scale = type === "log" ? Math.log : (value: number) => value;
  return (scale(figure) - scale(low)) / (scale(high) - scale(low));
}

/** Round figures on an axis. */
export function ticksOf({ type, domain: [low, high] }: Axis): readonly number[] {
  if (type === "linear") return linearTicks(low, high);
  for (const steps of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = logTicks(low, high, steps);
    if (ticks.length >= 2 && ticks.length <= TICKS_MAX) return ticks;
  }
  const decades = logTicks(low, high, [1]);
  const stride = Math.ceil(decades.length / TICKS_MAX);
  return decades.filter((_, index) => index % stride === 0);
}

function linearTicks(low: number, high: number): number[] {
  const rough = high / (TICKS_MAX - 1) - low / (TICKS_MAX - 1);
  const decade = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * decade).find((size) => size >= rough)!;
  const first = Math.ceil(low / step);
  const ticks = Array.from(
    { length: TICKS_MAX + 1 },
    (_, index) => Number(((first + index) * step).toPrecision(12)),
  );
  return [...new Set(ticks)].filter((tick) => tick >= low && tick <= high);
}

function logTicks(low: number, high: number, steps: readonly number[]): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of steps) {
      const tick = Number(`${step}e${power}`);
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  return ticks;
}
