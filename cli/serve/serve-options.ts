import { readOptions, UsageError } from '../options.ts';

/** The command line of `sallyport serve`, checked. */
export interface ServeOptions {
  readonly config: string;
  readonly data: string;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  readonly allowPlaintextLoopback: boolean;
  readonly bind: string;
  readonly http: { readonly host: string; readonly port: number };
  readonly namespace: string | null;
  readonly drainMs: number;
  readonly maxSessions: number;
  readonly logLevel: 'error' | 'info' | 'debug';
  readonly auditToStdout: boolean;
  /** Space that is kept so that a full disk can still take the lines that close everything. */
  readonly reserveBytes: number;
  /** With less space than this left no session is opened. */
  readonly minFreeBytes: number;
}

/** Reads the options. @throws UsageError with one sentence for the first thing that is wrong. */
export function readServeOptions(argv: readonly string[]): ServeOptions {
  const { values, flags } = readOptions(argv, {
    config: 'text', data: 'text', 'tls-cert': 'text', 'tls-key': 'text', 'allow-plaintext-loopback': 'flag', bind: 'text', http: 'text', namespace: 'text', 'drain-seconds': 'text', 'max-sessions': 'text',
    'log-level': 'text', 'no-audit-stdout': 'flag', 'reserve-mib': 'text', 'min-free-mib': 'text',
  }, { min: 0, max: 0 });
  const tls = tlsOf(values['tls-cert'], values['tls-key']);
  const allowPlaintextLoopback = flags.has('allow-plaintext-loopback');
  if (tls === null && !allowPlaintextLoopback) throw new UsageError('tokens travel over TLS only: give --tls-cert and --tls-key (or, on a development machine, --allow-plaintext-loopback)');
  return {
    config: required(values.config, 'config'), data: required(values.data, 'data'), tls, allowPlaintextLoopback, bind: values.bind ?? '127.0.0.1', http: addressOf(values.http ?? '127.0.0.1:8087'),
    namespace: values.namespace ?? null, drainMs: number(values['drain-seconds'] ?? '25', 'drain-seconds', 0, 3_600) * 1000, maxSessions: number(values['max-sessions'] ?? '500', 'max-sessions', 1, 100_000),
    logLevel: levelOf(values['log-level'] ?? 'info'), auditToStdout: !flags.has('no-audit-stdout'),
    reserveBytes: number(values['reserve-mib'] ?? '64', 'reserve-mib', 1, 65_536) * mebibyte, minFreeBytes: number(values['min-free-mib'] ?? '512', 'min-free-mib', 0, 1_048_576) * mebibyte,
  };
}

const mebibyte = 1_048_576;

function required(value: string | undefined, option: string): string {
  if (value === undefined || value === '') throw new UsageError(`--${option} DIR is needed`);
  return value;
}

function tlsOf(certificateFile: string | undefined, keyFile: string | undefined): ServeOptions['tls'] {
  if (certificateFile === undefined && keyFile === undefined) return null;
  if (certificateFile === undefined || keyFile === undefined) throw new UsageError('--tls-cert and --tls-key come together');
  return { certificateFile, keyFile };
}

function addressOf(text: string): ServeOptions['http'] {
  const match = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})$/.exec(text);
  if (!match) throw new UsageError('--http needs ADDRESS:PORT, e.g. 127.0.0.1:8087');
  return { host: (match[1] ?? '').replace(/^\[|\]$/g, ''), port: number(match[2] ?? '', 'http', 0, 65_535) };
}

function levelOf(text: string): ServeOptions['logLevel'] {
  if (text === 'error' || text === 'info' || text === 'debug') return text;
  throw new UsageError('--log-level is error, info or debug');
}

function number(text: string, option: string, min: number, max: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) throw new UsageError(`--${option} is a number from ${min} to ${max}`);
  return value;
}
