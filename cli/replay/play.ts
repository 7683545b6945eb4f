/** Speed and pause, changed by keys while a recording plays. */
export interface PlayControl {
  readonly speed: number;
  readonly paused: boolean;
  readonly quit: boolean;
  /** Waits, or returns early when the control changes. */
  wait(ms: number): Promise<void>;
  /** Resolves at the next change. */
  changed(): Promise<void>;
}

/** Plays events at their own pace divided by the speed, no pause longer than `maxWaitMs` of recorded time. @returns false when the viewer quit. */
export async function play<T extends { readonly waitMs: number }>(events: AsyncIterable<T>, control: PlayControl, maxWaitMs: number, show: (event: T) => void): Promise<boolean> {
  for await (const event of events) {
    let left = Math.min(event.waitMs, maxWaitMs);
    while ((left > 0 || control.paused) && !control.quit) {
      if (control.paused) {
        await control.changed();
        continue;
      }
      const slice = Math.min(left, 50 * control.speed);
      await control.wait(slice / control.speed);
      left -= slice;
    }
    if (control.quit) return false;
    show(event);
  }
  return true;
}

/** A control that keys drive: space pauses, + and - double and halve the speed, q quits. */
export class KeyControl implements PlayControl {
  speed: number;
  paused = false;
  quit = false;
  #wake: PromiseWithResolvers<void> = Promise.withResolvers();

  constructor(speed: number) {
    this.speed = speed;
  }

  /** One chunk of what was typed. */
  keys(typed: string): void {
    for (const key of typed) {
      if (key === ' ') this.paused = !this.paused;
      else if (key === '+' || key === '=') this.speed = Math.min(256, this.speed * 2);
      else if (key === '-') this.speed = Math.max(1 / 16, this.speed / 2);
      else if (key === 'q' || key === '\u0003') this.quit = true;
      else continue;
      this.#wake.resolve();
      this.#wake = Promise.withResolvers();
    }
  }

  changed(): Promise<void> {
    return this.#wake.promise;
  }

  async wait(ms: number): Promise<void> {
    const timer = Promise.withResolvers<void>();
    const handle = setTimeout(timer.resolve, ms);
    await Promise.race([timer.promise, this.#wake.promise]);
    clearTimeout(handle);
  }
}
