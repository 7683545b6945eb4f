import { textAt } from '../../sidecar/core/recording/record-view.ts';
import type { RecordedEvent } from './recorded-event.ts';
import { EventRenderer } from './render-event.ts';

/** Turns a `sqlrec/1` recording into the lines of an asciicast v3, as `replay` shows it. */
export class AsciicastWriter {
  readonly #renderer: EventRenderer = new EventRenderer();
  #exactMs = 0;
  #writtenMs = 0;

  header(header: Readonly<Record<string, unknown>>): readonly string[] {
    const started = Date.parse(textAt(header, 'started_at') ?? '');
    const first = { version: 3, term: { cols: 120, rows: 40 }, ...(Number.isNaN(started) ? {} : { timestamp: Math.floor(started / 1000) }), title: `${textAt(header, 'user') ?? '?'} on ${textAt(header, 'target') ?? '?'}` };
    return [JSON.stringify(first), this.#output(0, this.#renderer.header(header))];
  }

  /** The lines of one event; none for what has nothing to show. */
  event(event: RecordedEvent): readonly string[] {
    this.#exactMs += event.waitMs;
    const text = this.#renderer.render(event);
    return text === '' ? [] : [this.#output(this.#exactMs, text)];
  }

  #output(atMs: number, text: string): string {
    const ms = Math.max(this.#writtenMs, Math.round(atMs));
    const interval = ms - this.#writtenMs;
    this.#writtenMs = ms;
    return JSON.stringify([interval / 1000, 'o', text.replaceAll('\n', '\r\n')]);
  }
}
