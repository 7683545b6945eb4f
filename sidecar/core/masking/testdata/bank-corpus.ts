import type { DetectorName } from '../../../../contract/detectors.ts';
import { isRoutingNumber } from '../detectors/bank.ts';

/** One cell of the generated bank schema: what it is, where it stands. `none` is everything that no detector may touch. */
export interface CorpusCell {
  readonly kind: DetectorName | 'none';
  readonly column: string;
  readonly text: string;
}

/**
 * A generated bank schema of about 6,000 cells: regulated values in their usual spellings, alone and in sentences, and what looks like them:
 * order ids, epochs, UUIDs, SKUs, amounts, versions, hashes, tracking numbers. The same cells on every run. The generator draws each value from its own
 * definition (check digits computed here, not by the detector), so a detector that is too narrow loses recall.
 */
export function bankCorpus(): readonly CorpusCell[] {
  const random = seeded(20_240_601);
  const cells: CorpusCell[] = [];
  for (let row = 0; row < 200; row += 1) {
    for (const make of regulated) cells.push(...make(random));
    for (const make of lookalikes) cells.push({ kind: 'none', ...make(random) });
  }
  return cells;
}

type Random = (below: number) => number;

/** Mulberry32. */
function seeded(seed: number): Random {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const digits = (random: Random, count: number): string => Array.from({ length: count }, () => random(10)).join('');
const between = (random: Random, from: number, to: number): number => from + random(to - from + 1);
const pick = <T>(random: Random, values: readonly T[]): T => values[random(values.length)] as T;
const padded = (value: number, width: number): string => String(value).padStart(width, '0');
const hex = (random: Random, count: number): string => Array.from({ length: count }, () => random(16).toString(16)).join('');
const sentence = (random: Random, value: string): string => pick(random, [value, `customer gave ${value} by phone yesterday`.replace(' by phone', ''), `"${value}"`, `see ${value}, then close`, `value=${value};`]);

function withLuhn(body: string): string {
  let sum = 0;
  [...body].reverse().forEach((digit, at) => {
    const value = Number(digit) * (at % 2 === 0 ? 2 : 1);
    sum += value > 9 ? value - 9 : value;
  });
  return body + String((10 - (sum % 10)) % 10);
}

function card(random: Random): string {
  const [prefix, length] = pick(random, [['4', 16], ['51', 16], ['55', 16], ['2221', 16], ['2700', 16], ['34', 15], ['37', 15], ['6011', 16], ['65', 16], ['3530', 16], ['36', 14], ['62', 16]] as const);
  const plain = withLuhn(prefix + digits(random, length - prefix.length - 1));
  const grouped = length === 16 ? plain.replace(/(.{4})(.{4})(.{4})/, '$1 $2 $3 ') : length === 15 ? plain.replace(/(.{4})(.{6})/, '$1 $2 ') : plain.replace(/(.{4})(.{6})/, '$1 $2 ');
  return pick(random, [plain, plain, grouped, grouped.replaceAll(' ', '-')]);
}

function ibanOf(random: Random): string {
  const [country, bban] = pick(random, [['DE', digits(random, 18)], ['GB', `WEST${digits(random, 14)}`], ['FR', digits(random, 23)], ['NL', `ABNA${digits(random, 10)}`], ['NO', digits(random, 11)], ['ES', digits(random, 20)]] as const);
  const numeric = [...`${bban}${country}00`].map((character) => Number.parseInt(character, 36)).join('');
  const plain = `${country}${padded(98 - Number(BigInt(numeric) % 97n), 2)}${bban}`;
  return pick(random, [plain, plain.toLowerCase(), plain.replace(/(.{4})/g, '$1 ').trim()]);
}

function ssn(random: Random): string {
  let area = between(random, 1, 899);
  if (area === 666) area = 667;
  return `${padded(area, 3)}-${padded(between(random, 1, 99), 2)}-${padded(between(random, 1, 9999), 4)}`;
}

function routing(random: Random): string {
  for (;;) {
    const candidate = `${padded(between(random, 1, 12), 2)}${digits(random, 7)}`;
    if (isRoutingNumber(candidate)) return candidate;
  }
}

const date = (random: Random, from: number, to: number): string => `${between(random, from, to)}-${padded(between(random, 1, 12), 2)}-${padded(between(random, 1, 28), 2)}`;
const uuid = (random: Random): string => `${hex(random, 8)}-${hex(random, 4)}-4${hex(random, 3)}-a${hex(random, 3)}-${hex(random, 12)}`;
const name = (random: Random): string => pick(random, ['alice', 'bob.smith', 'carol_j', 'd.o-neil', 'erin+bank', 'f2']);

const regulated: readonly ((random: Random) => readonly CorpusCell[])[] = [
  (random) => [{ kind: 'us-ssn', column: 'note', text: sentence(random, ssn(random)) }],
  (random) => [{ kind: 'us-ssn', column: 'ssn', text: ssn(random).replaceAll('-', '') }],
  (random) => [{ kind: 'us-itin', column: 'note', text: `9${digits(random, 2)}-${between(random, 70, 88)}-${digits(random, 4)}` }],
  (random) => [{ kind: 'us-ein', column: 'tax', text: `${pick(random, ['12', '20', '45', '83', '95'])}-${digits(random, 7)}` }],
  (random) => [{ kind: 'payment-card', column: pick(random, ['pan', 'note', 'payload']), text: sentence(random, card(random)) }],
  (random) => [{ kind: 'us-bank-routing', column: 'routing_number', text: routing(random) }],
  (random) => [{ kind: 'us-bank-account', column: 'acct_no', text: `${between(random, 1, 9)}${digits(random, between(random, 7, 10))}` }],
  (random) => [{ kind: 'iban', column: 'beneficiary', text: sentence(random, ibanOf(random)) }],
  (random) => [{ kind: 'email', column: 'contact', text: sentence(random, `${name(random)}@${pick(random, ['example.com', 'mail.example.org', 'bank.co.uk'])}`) }],
  (random) => [{ kind: 'phone', column: 'contact', text: sentence(random, pick(random, [`(${between(random, 2, 9)}0${between(random, 1, 9)}) ${between(random, 2, 9)}${between(random, 20, 99)}-${digits(random, 4)}`, `+49 30 ${digits(random, 8)}`, `+44 20 7${digits(random, 3)} ${digits(random, 4)}`])) }],
  (random) => [{ kind: 'ip-address', column: 'source', text: sentence(random, `${between(random, 1, 126)}.${random(256)}.${random(256)}.${random(256)}`) }],
  (random) => [{ kind: 'date-of-birth', column: 'dob', text: date(random, 1930, 2005) }],
];

const lookalikes: readonly ((random: Random) => Omit<CorpusCell, 'kind'>)[] = [
  (random) => ({ column: 'order_id', text: `ORD-${between(random, 2019, 2026)}-${padded(random(1_000_000), 6)}` }),
  (random) => ({ column: 'order_id', text: String(10_000_000 + random(80_000_000)) }),
  (random) => ({ column: 'created_ms', text: String(1_600_000_000_000 + random(2_000_000_000) * 60) }),
  (random) => ({ column: 'created_us', text: `${1_600_000_000 + random(200_000_000)}${digits(random, 6)}` }),
  (random) => ({ column: 'created', text: String(1_600_000_000 + random(200_000_000)) }),
  (random) => ({ column: 'event_id', text: uuid(random) }),
  (random) => ({ column: 'sku', text: `${pick(random, ['AB', 'XK', 'ZZ'])}-${digits(random, 4)}-${digits(random, 4)}` }),
  (random) => ({ column: 'sku', text: `${digits(random, 5)}-${digits(random, 3)}-${digits(random, 2)}` }),
  (random) => ({ column: 'amount', text: `${random(1_000_000)}.${digits(random, 2)}` }),
  (random) => ({ column: 'rate', text: `0.${digits(random, 16)}` }),
  (random) => ({ column: 'created_at', text: `${date(random, 2019, 2026)} ${padded(random(24), 2)}:${padded(random(60), 2)}:${padded(random(60), 2)}.${digits(random, 6)}+00` }),
  (random) => ({ column: 'digest', text: hex(random, 64) }),
  (random) => ({ column: 'version', text: `${random(20)}.${random(30)}.${random(99)}` }),
  (random) => ({ column: 'tracking', text: `1Z${hex(random, 6).toUpperCase()}${digits(random, 10)}` }),
  (random) => ({ column: 'tracking', text: `00${digits(random, 18)}` }),
  (random) => ({ column: 'note', text: `shipped ${random(40)} boxes, ${random(400)} kg, on ${date(random, 2019, 2026)}` }),
  (random) => ({ column: 'path', text: `/srv/app-${random(9)}/releases/${between(random, 2019, 2026)}${padded(between(random, 1, 12), 2)}/v${random(90)}` }),
  (random) => ({ column: 'user_agent', text: `Mozilla/5.0 (X11; Linux x86_64; rv:${between(random, 90, 130)}.0) Gecko/20100101` }),
  (random) => ({ column: 'sequence', text: digits(random, 12).replace(/^0/, '1') }),
  (random) => ({ column: 'handle', text: `@${name(random)}` }),
];
