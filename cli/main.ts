#!/usr/bin/env node
import { readdir } from 'node:fs/promises';
import type { CommandIo } from './gateway-client.ts';
import { UsageError } from './options.ts';

/** What a file in `commands/` exports: `config-check.ts` is `sallyport config check`, `serve.ts` is `sallyport serve`. */
export interface Command {
  /** One line for the help text. */
  readonly summary: string;
  /** @returns the exit status. Loads what it needs itself, so that `sallyport approve` starts without the proxy. */
  readonly run: (argv: readonly string[], io: CommandIo) => Promise<number>;
}

const exitFailed = 1;
const exitUsage = 4;

/**
 * The program `sallyport`: finds the command file that the first words name, loads it alone, and runs it with the other words.
 *
 * @returns the command's exit status; 1 when it failed, 4 for an unknown command or wrong options.
 */
export async function main(argv: readonly string[], io: CommandIo): Promise<number> {
  const names = await commandNames();
  const [first, second] = argv;
  if (first === undefined || first === 'help' || first === '--help' || first === '-h') {
    io.stdout.write(await helpText(names));
    return first === undefined ? exitUsage : 0;
  }
  const isOfTwoWords = names.includes(`${first}-${second}`);
  const name = isOfTwoWords ? `${first}-${second}` : names.find((each) => each === first);
  if (name === undefined) {
    const similar = names.filter((each) => each.split('-')[0] === first).map(spoken);
    io.stderr.write(`sallyport: unknown command: ${printable(first)}${similar.length > 0 ? `\nDid you mean: ${similar.join(', ')}?` : ''}\nSee: sallyport help\n`);
    return exitUsage;
  }
  try {
    return await (await load(name)).run(argv.slice(isOfTwoWords ? 2 : 1), io);
  } catch (error) {
    return reportFailure(error, name, io);
  }
}

async function commandNames(): Promise<readonly string[]> {
  const files = await readdir(new URL('commands/', import.meta.url));
  // Sources end in .ts, compiled output in .js beside .d.ts and maps.
  const extension = import.meta.url.endsWith('.ts') ? '.ts' : '.js';
  return files.filter((file) => file.endsWith(extension) && /^[a-z]+(-[a-z]+)*\.[jt]s$/.test(file)).map((file) => file.slice(0, -extension.length)).sort();
}

async function load(name: string): Promise<Command> {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  return (await import(new URL(`commands/${name}.${extension}`, import.meta.url).href)) as Command;
}

async function helpText(names: readonly string[]): Promise<string> {
  const lines: string[] = [];
  for (const name of names) lines.push(`  ${spoken(name).padEnd(18)} ${(await load(name)).summary}\n`);
  return `sallyport: an access gateway that verifies, decides, holds, masks and records\n\nUsage: sallyport COMMAND [OPTIONS]\n\n${lines.join('')}\nEach command explains itself: sallyport COMMAND --help\n`;
}

function reportFailure(error: unknown, name: string, io: CommandIo): number {
  const isUsage = error instanceof UsageError || (error instanceof Error && 'code' in error && String(error.code).startsWith('ERR_PARSE_ARGS'));
  const message = error instanceof Error ? error.message : 'unknown error';
  io.stderr.write(`sallyport ${spoken(name)}: ${message}${isUsage ? `\nSee: sallyport ${spoken(name)} --help` : ''}\n`);
  return isUsage ? exitUsage : exitFailed;
}

function spoken(name: string): string {
  // Only the first: the second word may hold some of its own.
  return name.replace('-', ' ');
}

/** What a user typed must not move the cursor of the terminal. */
function printable(text: string): string {
  return text.slice(0, 80).replaceAll(/[^\x20-\x7e]/g, '?');
}

if (import.meta.main) process.exitCode = await main(process.argv.slice(2), process);
