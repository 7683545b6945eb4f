/**
 * A result value as the recording shows it: text for text format and for the binary form of common types, else `{hex}`.
 *
 * @param limitBytes bytes of the value that are kept; `cut` tells that there were more.
 * @see PostgreSQL source, the `*send` functions of each type, for the binary forms.
 */
export function readableValue(value: Buffer, typeOid: number, format: 0 | 1, limitBytes: number): { readonly json: string; readonly cut: boolean } {
  if (format === 1) {
    const decoded = decodeBinary(value, typeOid);
    if (decoded !== null) return { json: JSON.stringify(decoded), cut: false };
    if (!textual.has(typeOid)) {
      const kept = Math.min(value.length, Math.floor(limitBytes / 2));
      return { json: `{"hex":"${value.toString('hex', 0, kept)}"}`, cut: kept < value.length };
    }
  }
  if (value.length <= limitBytes) return { json: JSON.stringify(value.toString('utf8')), cut: false };
  // The cut may split a character: its replacement mark is not part of the value.
  return { json: JSON.stringify(value.toString('utf8', 0, limitBytes).replace(/\uFFFD$/, '')), cut: true };
}

// text, varchar, bpchar, name, "char", unknown, json, xml: their binary form is their text.
const textual: ReadonlySet<number> = new Set([25, 1043, 1042, 19, 18, 705, 114, 142]);
const epochMs = Date.UTC(2000, 0, 1);

function decodeBinary(value: Buffer, typeOid: number): string | null {
  switch (typeOid) {
    case 16: return value.length === 1 ? (value[0] === 0 ? 'f' : 't') : null;
    case 21: return value.length === 2 ? String(value.readInt16BE()) : null;
    case 23: return value.length === 4 ? String(value.readInt32BE()) : null;
    case 26: return value.length === 4 ? String(value.readUInt32BE()) : null;
    case 20: return value.length === 8 ? String(value.readBigInt64BE()) : null;
    case 700: return value.length === 4 ? String(Math.fround(value.readFloatBE())) : null;
    case 701: return value.length === 8 ? String(value.readDoubleBE()) : null;
    case 1082: return value.length === 4 ? dateText(value.readInt32BE()) : null;
    case 1114: return value.length === 8 ? timestampText(value.readBigInt64BE(), '') : null;
    case 1184: return value.length === 8 ? timestampText(value.readBigInt64BE(), '+00') : null;
    case 1700: return numericText(value);
    case 2950: return value.length === 16 ? value.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5') : null;
    default: return null;
  }
}

function dateText(days: number): string | null {
  const ms = epochMs + days * 86_400_000;
  return days === 2_147_483_647 ? 'infinity' : days === -2_147_483_648 ? '-infinity' : plainYear(ms) ? new Date(ms).toISOString().slice(0, 10) : null;
}

function timestampText(micros: bigint, zone: string): string | null {
  if (micros === 9_223_372_036_854_775_807n) return 'infinity';
  if (micros === -9_223_372_036_854_775_808n) return '-infinity';
  const whole = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n);
  const rest = Number(micros - whole * 1_000_000n);
  const ms = epochMs + Number(whole) * 1000;
  if (!plainYear(ms)) return null;
  const fraction = rest === 0 ? '' : `.${String(rest).padStart(6, '0').replace(/0+$/, '')}`;
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}${fraction}${zone}`;
}

/** Years 1 to 9999 print alike in PostgreSQL and ISO 8601. */
function plainYear(ms: number): boolean {
  return ms >= -62_135_596_800_000 && ms < 253_402_300_800_000;
}

function numericText(value: Buffer): string | null {
  if (value.length < 8) return null;
  const count = value.readUInt16BE(0);
  const weight = value.readInt16BE(2);
  const sign = value.readUInt16BE(4);
  const scale = value.readUInt16BE(6);
  if (sign === 0xc000) return 'NaN';
  if (sign === 0xd000) return 'Infinity';
  if (sign === 0xf000) return '-Infinity';
  if (value.length !== 8 + count * 2 || weight > 1000 || scale > 4000) return null;
  const group = (at: number): string => (at >= 0 && at < count ? String(value.readUInt16BE(8 + at * 2)).padStart(4, '0') : '0000');
  let whole = '';
  for (let at = 0; at <= weight; at += 1) whole += group(at);
  let fraction = '';
  for (let at = weight + 1; fraction.length < scale; at += 1) fraction += group(at);
  return `${sign === 0x4000 ? '-' : ''}${whole.replace(/^0+/, '') || '0'}${scale > 0 ? `.${fraction.slice(0, scale)}` : ''}`;
}
