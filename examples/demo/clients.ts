import { spawn, spawnSync } from 'node:child_process';
import pg from 'pg';
import type { World } from '../../e2e/hosts/gateway.ts';

/** What a client process (or the driver that stands in for it) showed. */
export interface Shown {
  readonly text: string;
  readonly failed: boolean;
}

/** A client of the demo: the machine's psql, or node-postgres where there is none. */
export interface DemoClient {
  readonly name: string;
  run(token: string, sql: string, onNotice?: (line: string) => void): Promise<Shown>;
}

/** psql when the machine has it, else the driver, and it says so. */
export function chooseClient(world: World): DemoClient {
  return spawnSync('psql', ['--version']).status === 0 ? psqlClient(world) : driverClient(world);
}

/** The line that a person would type. */
export function psqlLine(world: World): string {
  return `psql "host=localhost hostaddr=127.0.0.1 port=${world.port} dbname=postgres user=me sslmode=verify-full sslrootcert=${world.caFile}"`;
}

function psqlClient(world: World): DemoClient {
  return {
    name: 'psql',
    run: (token, sql, onNotice) => new Promise((resolve) => {
      const child = spawn('psql', ['-X', `host=localhost hostaddr=127.0.0.1 port=${world.port} dbname=postgres user=me sslmode=verify-full sslrootcert=${world.caFile}`, '-c', sql], { env: { ...process.env, PGPASSWORD: token } });
      let text = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (part: string) => {
          text += part;
          onNotice?.(part);
        });
      }
      child.once('exit', (code) => resolve({ text: text.trimEnd(), failed: code !== 0 }));
    }),
  };
}

function driverClient(world: World): DemoClient {
  return {
    name: 'node-postgres (no psql is installed here)',
    run: async (token, sql, onNotice) => {
      const client = new pg.Client({ host: 'localhost', port: world.port, database: 'postgres', user: 'me', password: token, ssl: { ca: world.ca } });
      const lines: string[] = [];
      client.on('notice', (notice) => {
        const line = `NOTICE:  ${notice.message}\nHINT:  ${notice.hint ?? ''}`;
        lines.push(line);
        onNotice?.(line);
      });
      try {
        await client.connect();
        const { rows, command } = await client.query<Record<string, unknown>>(sql);
        lines.push(...(rows.length > 0 ? table(rows) : [command]));
        return { text: lines.join('\n'), failed: false };
      } catch (error) {
        const { message, detail, hint } = error as { message: string; detail?: string; hint?: string };
        return { text: [...lines, `ERROR:  ${message}`, detail && `DETAIL:  ${detail}`, hint && `HINT:  ${hint}`].filter(Boolean).join('\n'), failed: true };
      } finally {
        await client.end().catch(() => undefined);
      }
    },
  };
}

function table(rows: readonly Readonly<Record<string, unknown>>[]): string[] {
  const names = Object.keys(rows[0] ?? {});
  const cells = rows.map((row) => names.map((name) => String(row[name] ?? '')));
  const widths = names.map((name, index) => Math.max(name.length, ...cells.map((row) => row[index]?.length ?? 0)));
  const line = (row: readonly string[]): string => row.map((cell, index) => ` ${cell.padEnd(widths[index] ?? 0)} `).join('|').trimEnd();
  return [line(names), widths.map((width) => '-'.repeat(width + 2)).join('+'), ...cells.map(line), `(${rows.length} rows)`];
}
