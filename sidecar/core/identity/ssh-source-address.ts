/**
 * Whether an address is in a list of CIDR blocks and addresses, as the certificate option `source-address` writes it: `10.0.0.0/8,2001:db8::1`.
 *
 * An IPv4 address that came as `::ffff:a.b.c.d` is that IPv4 address. False for everything that cannot be read, so that it never widens.
 */
export function isAddressWithin(address: string, list: string | null): boolean {
  const bits = list === null || list.length > 4_096 ? null : addressBits(address);
  return bits !== null && (list ?? '').split(',').some((block) => isWithinBlock(bits, block));
}

function isWithinBlock(bits: string, block: string): boolean {
  const match = /^([0-9A-Fa-f:.]{2,45})(?:\/(0|[1-9][0-9]{0,2}))?$/.exec(block);
  const base = match?.[1] === undefined ? null : addressBits(match[1]);
  if (base === null || base.length !== bits.length) return false;
  const length = match?.[2] === undefined ? base.length : Number(match[2]);
  return length <= base.length && bits.slice(0, length) === base.slice(0, length);
}

/** 32 or 128 characters of 0 and 1; null for what is no address. */
function addressBits(text: string): string | null {
  const bytes = ipv4(text) ?? ipv6(text);
  return bytes === null ? null : bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('');
}

function ipv4(text: string): readonly number[] | null {
  const plain = /^::ffff:(?=[0-9]+\.)/i.exec(text) === null ? text : text.slice('::ffff:'.length);
  const parts = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(plain)?.slice(1).map(Number);
  return parts === undefined || parts.some((part) => part > 255) ? null : parts;
}

function ipv6(text: string): readonly number[] | null {
  const halves = text.split('::');
  if (!/^[0-9A-Fa-f:]{2,39}$/.test(text) || halves.length > 2) return null;
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const missing = 8 - groups.flat().length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const all = halves.length === 2 ? [...(groups[0] ?? []), ...Array.from({ length: missing }, () => '0'), ...(groups[1] ?? [])] : (groups[0] ?? []);
  if (!all.every((group) => /^[0-9A-Fa-f]{1,4}$/.test(group))) return null;
  return all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 255]);
}
