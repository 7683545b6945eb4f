/** Bounds of what a client may send before it starts something. */
export const environmentLimits = { variables: 32, bytes: 1_024 } as const;

/** Read by the gateway, never sent on. */
export const levelVariable = 'SALLYPORT_LEVEL';

/** Whether a variable of the client reaches the target: `LANG`, `LC_*` and `TERM` with plain values. */
export function passesEnvironment(name: string, value: string): boolean {
  return /^(?:LANG|LC_[A-Z]{1,32}|TERM)$/.test(name) && /^[A-Za-z0-9._@:+-]{0,128}$/.test(value);
}

/** The name for a record: whatever the client calls it, short and printable. */
export function recordedName(name: string): string {
  return name.replaceAll(/[^\x21-\x7e]/g, '?').slice(0, 64);
}
