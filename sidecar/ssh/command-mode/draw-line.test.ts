import { expect, test } from '@jest/globals';
import headless from '@xterm/headless';
import fc from 'fast-check';
import { drawLine, type Drawn, leaveLine, resizeDrawn } from './draw-line.ts';
import { clusters, type LineBuffer } from './line-buffer.ts';

const prompt = 'deploy@web-1:~$ ';

async function screenOf(output: string, columns: number): Promise<{ readonly text: string; readonly x: number; readonly y: number }> {
  const terminal = new headless.Terminal({ cols: columns, rows: 30, allowProposedApi: true });
  await new Promise<void>((resolve) => terminal.write(output, resolve));
  const { active } = terminal.buffer;
  const rows = Array.from({ length: 30 }, (_, row) => active.getLine(row)?.translateToString(false) ?? '');
  return { text: rows.map((row) => row.trimEnd()).join('\n').trimEnd(), x: active.cursorX, y: active.cursorY };
}

function draws(lines: readonly LineBuffer[], columns: number): string {
  let drawn: Drawn | null = null;
  return lines.map((line) => {
    const step = drawLine(drawn, prompt, line, columns);
    drawn = step.drawn;
    return step.output;
  }).join('');
}

test('text typed at the end is echoed as it is, so that scripts see what they typed', () => {
  const first = drawLine(null, prompt, { before: '', after: '' }, 80);
  const second = drawLine(first.drawn, prompt, { before: 'ls -l', after: '' }, 80);
  expect([first.output, second.output]).toEqual([`\r\x1b[J${prompt}`, 'ls -l']);
});

test('whatever is drawn step by step stands on the screen as if it were drawn at once, cursor included', async () => {
  const character = fc.constantFrom('a', 'b', ' ', '日', 'é', '🎉', '\n', '\t', 'x'.repeat(17));
  const line = fc.record({ before: fc.array(character, { maxLength: 12 }), after: fc.array(character, { maxLength: 6 }) }).map(({ before, after }) => ({ before: before.join(''), after: after.join('') }));
  await fc.assert(fc.asyncProperty(fc.array(line, { minLength: 1, maxLength: 5 }), fc.constantFrom(20, 21, 33, 80), async (lines, columns) => {
    const last = lines.at(-1) as LineBuffer;
    expect(await screenOf(draws(lines, columns), columns)).toEqual(await screenOf(draws([last], columns), columns));
  }), { numRuns: 150 });
});

test('the cursor stands behind what is before it', async () => {
  for (const [before, after] of [['abc', 'def'], ['日本', '語'], ['a'.repeat(30), 'b'.repeat(30)], ['', 'x'.repeat(50)]] as const) {
    const whole = await screenOf(draws([{ before, after }], 20), 20);
    const cells = clusters(prompt + before).reduce((sum, cluster) => sum + (/[日本語]/u.test(cluster) ? 2 : 1), 0);
    expect(whole.y * 20 + whole.x).toBe(cells);
  }
});

test('a line is left below its last row, wherever the cursor was', async () => {
  const line = { before: 'a', after: 'b'.repeat(40) };
  const { output, drawn } = drawLine(null, prompt, line, 20);
  const screen = await screenOf(`${output}${leaveLine(drawn, prompt, line, 20)}next`, 20);
  expect(screen.text.split('\n').at(-1)).toBe('next');
  expect(screen.text.replaceAll('\n', '')).toBe(`${prompt}a${'b'.repeat(40)}next`);
});

test('on a narrower terminal the rows are counted anew', () => {
  const line = { before: 'x'.repeat(60), after: '' };
  const { drawn } = drawLine(null, prompt, line, 80);
  expect([drawn.row, resizeDrawn(drawn, prompt, line, 40).row]).toEqual([0, 1]);
});
