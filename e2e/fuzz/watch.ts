/** What must not happen while fuzzing, counted over the whole process. */
export interface Watch {
  /** Uncaught exceptions, unhandled rejections, errors of our own in logs, broken promises; the first ones in words. */
  readonly findings: string[];
  /** Largest single buffer asked for since `reset`. */
  largestAllocation(): number;
  /** Highest resident set since the start, in bytes. */
  peakRss(): number;
  report(what: string, details: string): void;
  stop(): void;
}

/** Starts watching: what is thrown without being caught, and how large a buffer anything allocates. */
export function startWatch(): Watch {
  const findings: string[] = [];
  let largest = 0;
  let peak = process.memoryUsage.rss();
  const report = (what: string, details: string): void => {
    if (findings.length < 20) findings.push(`${what}: ${details}`);
    else findings.length = Math.max(findings.length, 21);
  };
  const uncaught = (error: unknown): void => report('uncaught', String(error instanceof Error ? error.stack : error));
  const unhandled = (error: unknown): void => report('unhandled rejection', String(error instanceof Error ? error.stack : error));
  process.on('uncaughtException', uncaught);
  process.on('unhandledRejection', unhandled);
  const timer = setInterval(() => { peak = Math.max(peak, process.memoryUsage.rss()); }, 200).unref();
  const originals = { alloc: Buffer.alloc, allocUnsafe: Buffer.allocUnsafe, allocUnsafeSlow: Buffer.allocUnsafeSlow };
  const measured = <T extends (size: number, ...rest: never[]) => Buffer>(make: T): T => ((size: number, ...rest: never[]) => {
    if (size > largest) largest = size;
    return make(size, ...rest);
  }) as T;
  Object.assign(Buffer, { alloc: measured(originals.alloc as never), allocUnsafe: measured(originals.allocUnsafe as never), allocUnsafeSlow: measured(originals.allocUnsafeSlow as never) });
  return {
    findings, report,
    largestAllocation: () => largest,
    peakRss: () => peak,
    stop: () => {
      clearInterval(timer);
      Object.assign(Buffer, originals);
      process.off('uncaughtException', uncaught);
      process.off('unhandledRejection', unhandled);
    },
  };
}

/** Waits for a promise; one that takes longer is reported as a hang, and given up. */
export async function within<T>(watch: Watch, limitMs: number, what: () => string, promise: Promise<T>): Promise<T | null> {
  const late = Symbol('late');
  let timer: NodeJS.Timeout | null = null;
  const result = await Promise.race([promise, new Promise<typeof late>((resolve) => { timer = setTimeout(() => resolve(late), limitMs); })]);
  if (timer) clearTimeout(timer);
  if (result !== late) return result;
  watch.report('hang', what());
  return null;
}
