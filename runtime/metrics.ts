import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Closed set of values for each label: never a user, session, SQL text or anything that a peer chose. */
export type LabelSets = Readonly<Record<string, readonly string[]>>;

/** A metric and the closed sets that its labels take values from. */
export interface MetricDeclaration<Labels extends LabelSets> {
  /** `sallyport_sessions_total`: prefix, base unit, `_total` for counters only. */
  readonly name: `sallyport_${string}`;
  readonly help: string;
  readonly labels: Labels;
}

type LabelValues<Labels extends LabelSets> = { readonly [Name in keyof Labels]: Labels[Name][number] };

/** The metrics of one process. */
export interface Metrics {
  readonly registry: Registry;
  readonly contentType: string;
  /** The exposition text. */
  render(): Promise<string>;
  /** Names must end in `_total`. */
  counter<const Labels extends LabelSets>(declaration: MetricDeclaration<Labels>): (labels: LabelValues<Labels>, by?: number) => void;
  /**
   * A counter over plain numbers that their owner increments, for paths too hot for `counter`. Read when scraped; the keys are the closed set of its one label.
   * Names must end in `_total`.
   */
  tally(declaration: { readonly name: `sallyport_${string}`; readonly help: string; readonly label: string }, counts: Readonly<Record<string, number>>): void;
  /** Read when scraped, so it can never be stale. */
  gauge(declaration: MetricDeclaration<Record<string, never>>, read: () => number): void;
  /** Buckets in the unit of the name, `_seconds` or `_bytes`. */
  histogram<const Labels extends LabelSets>(declaration: MetricDeclaration<Labels> & { readonly buckets: readonly number[] }): (labels: LabelValues<Labels>, value: number) => void;
}

/**
 * Makes the registry of a process. Every series of a closed label set exists from the start, at zero, so that a rate is right from the first event on.
 *
 * @param options.process whether to add the process's own metrics (CPU, memory, event loop).
 * @throws RangeError for a name outside the house rules, a label set with more than 200 series, or a label value outside its set: all bugs.
 */
export function createMetrics(options: { readonly process: boolean }): Metrics {
  const registry = new Registry();
  if (options.process) collectDefaultMetrics({ register: registry });
  return {
    registry,
    contentType: registry.contentType,
    render: () => registry.metrics(),
    counter(declaration) {
      checkDeclaration(declaration, /_total$/);
      const metric = new Counter({ name: declaration.name, help: declaration.help, labelNames: Object.keys(declaration.labels), registers: [registry] });
      for (const labels of seriesOf(declaration.labels)) metric.inc(labels, 0);
      return (labels, by = 1) => metric.inc(checkedLabels(declaration, labels), by);
    },
    tally({ label, ...declaration }, counts) {
      checkDeclaration({ ...declaration, labels: { [label]: Object.keys(counts) } }, /_total$/);
      new Counter({
        ...declaration, labelNames: [label], registers: [registry],
        collect() {
          this.reset();
          for (const [value, count] of Object.entries(counts)) this.inc({ [label]: value }, count);
        },
      });
    },
    gauge(declaration, read) {
      checkDeclaration(declaration, /^(?!.*_total$)/);
      new Gauge({ name: declaration.name, help: declaration.help, registers: [registry], collect() { this.set(read()); } });
    },
    histogram(declaration) {
      checkDeclaration(declaration, /_(seconds|bytes|rows)$/);
      const metric = new Histogram({ name: declaration.name, help: declaration.help, labelNames: Object.keys(declaration.labels), buckets: [...declaration.buckets], registers: [registry] });
      for (const labels of seriesOf(declaration.labels)) metric.zero(labels);
      return (labels, value) => metric.observe(checkedLabels(declaration, labels), value);
    },
  };
}

const maxSeries = 200;

function checkDeclaration(declaration: MetricDeclaration<LabelSets>, ending: RegExp): void {
  if (!/^sallyport(_[a-z0-9]+)+$/.test(declaration.name) || !ending.test(declaration.name)) throw new RangeError(`metric name ${declaration.name} breaks the house rules`);
  if (Object.values(declaration.labels).reduce((product, values) => product * values.length, 1) > maxSeries) throw new RangeError(`metric ${declaration.name} has more than ${maxSeries} series`);
}

function checkedLabels(declaration: MetricDeclaration<LabelSets>, labels: Readonly<Record<string, string>>): Record<string, string> {
  for (const [name, values] of Object.entries(declaration.labels)) {
    if (!values.includes(labels[name] ?? '')) throw new RangeError(`label ${name} of ${declaration.name} is outside its closed set`);
  }
  return { ...labels };
}

function seriesOf(labels: LabelSets): Record<string, string>[] {
  return Object.entries(labels).reduce<Record<string, string>[]>((series, [name, values]) => series.flatMap((one) => values.map((value) => ({ ...one, [name]: value }))), [{}]);
}
