/**
 * Errors that nobody awaits: a promise that rejects on the side, a throw in a timer, a worker that
 * dies. The runtime ends the process for each of them; a run of ten validators should rather fail the
 * one that was running and go on. Where an error arises between two validators, the next one has it.
 */

/**
 * Runs work, and rejects with the first error that strays from it.
 *
 * @typeParam T What the work gives.
 * @param work The work.
 * @returns What it gives.
 * @throws {unknown} What it throws, or the first stray error while it runs; then it may still be
 * running, and what it gives is ignored.
 */
export async function withStrays<T>(work: () => Promise<T>): Promise<T> {
  const stray = Promise.withResolvers<never>();
  const onRejection = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    stray.reject(event.reason);
  };
  const onError = (event: ErrorEvent) => {
    event.preventDefault();
    // A worker's error comes without its error object.
    stray.reject(event.error ?? new Error(event.message));
  };
  globalThis.addEventListener("unhandledrejection", onRejection);
  globalThis.addEventListener("error", onError);
  try {
    const result = await Promise.race([work(), stray.promise]);
    // Rejections on the side are told after the microtasks: give the last ones a turn.
    await Promise.race([new Promise((resolve) => setTimeout(resolve)), stray.promise]);
    return result;
  } finally {
    globalThis.removeEventListener("unhandledrejection", onRejection);
    globalThis.removeEventListener("error", onError);
  }
}
