import { expect, test } from '@jest/globals';
import { observeCommands } from './observe-commands.ts';

/** Plays a terminal session: what is typed (`<`) and what is shown (`>`), in order. */
async function observed(steps: readonly string[], size = { columns: 40, rows: 10 }): Promise<readonly string[]> {
  const commands: string[] = [];
  const observer = observeCommands(size, (text) => commands.push(text));
  for (const step of steps) {
    const bytes = Buffer.from(step.slice(1));
    if (step.startsWith('<')) observer.typed(bytes);
    else observer.shown(bytes);
  }
  await observer.close();
  return commands;
}

test('a typed command is read off the screen, without its prompt', async () => {
  expect(await observed(['>$ ', '<l', '>l', '<s -l', '>s -l', '<\r', '>\r\nfile\r\n$ '])).toEqual(['ls -l']);
});
test('history and completion come out as they stood when Enter was pressed', async () => {
  expect(await observed(['>$ ', '<\x1b[A', '>rm -r old', '<\r', '>\r\n$ ', '<ca\t', '>cat file.txt ', '<\r', '>\r\n'])).toEqual(['rm -r old', 'cat file.txt']);
});
test('a password that is not echoed is never noted', async () => {
  expect(await observed(['>[sudo] password for deploy: ', '<hunter2\r', '>\r\n# '])).toEqual([]);
});
test('a line longer than the terminal is one command', async () => {
  const command = `echo ${'word '.repeat(14)}end`;
  expect(await observed(['>$ ', `<${command}`, `>${command}`, '<\r', '>\r\n'], { columns: 30, rows: 10 })).toEqual([command]);
});
test('at the bottom of the screen, where rows scroll, the right row is read', async () => {
  expect(await observed([`>${'x\r\n'.repeat(20)}$ `, '<id', '>id', '<\r', '>\r\nuid=0\r\n'])).toEqual(['id']);
});
test('what a full-screen program shows is left out', async () => {
  expect(await observed(['>\x1b[?1049h\x1b[Hediting', '<:wq', '>:wq', '<\r', '>\r\n\x1b[?1049l$ '])).toEqual([]);
});
test('Ctrl-C drops the line', async () => expect(await observed(['>$ ', '<rm', '>rm', '<\x03', '>^C\r\n$ ', '<ls', '>ls', '<\r', '>\r\n'])).toEqual(['ls']));
test('more than the screen can work through is skipped, and the next command is read again', async () => {
  const commands = await observed([`>${'y\r\n'.repeat(600_000)}`, '>$ ', '<ls', '>ls', '<\r', '>\r\n$ ']);
  expect(commands.length).toBeLessThanOrEqual(1);
});
