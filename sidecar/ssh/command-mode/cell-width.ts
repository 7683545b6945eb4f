/** Cells that one character (grapheme cluster) takes on a terminal: 0, 1 or 2, as xterm and the C library's wcwidth count them. */
export function cellWidth(cluster: string): number {
  const code = cluster.codePointAt(0) ?? 0;
  if (code >= 0x20 && code < 0x7f) return 1;
  if (/^[\p{Cc}\p{Mn}\p{Me}\p{Cf}]/u.test(cluster)) return 0;
  return isWide(code) || /^\p{Emoji_Presentation}/u.test(cluster) ? 2 : 1;
}

/** East Asian Wide and Fullwidth (Unicode 16, EastAsianWidth.txt), in blocks: unassigned cells of a block count as wide. */
const wide: readonly (readonly [number, number])[] = [
  [0x1100, 0x115f], [0x2329, 0x232a], [0x2e80, 0x303e], [0x3041, 0x33ff], [0x3400, 0x4dbf], [0x4e00, 0xa4cf], [0xa960, 0xa97c], [0xac00, 0xd7a3], [0xf900, 0xfaff],
  [0xfe10, 0xfe19], [0xfe30, 0xfe6f], [0xff01, 0xff60], [0xffe0, 0xffe6], [0x16fe0, 0x18aff], [0x1b000, 0x1b2ff], [0x1f300, 0x1f64f], [0x1f900, 0x1f9ff], [0x20000, 0x3fffd],
];

function isWide(code: number): boolean {
  return wide.some(([from, to]) => code >= from && code <= to);
}
