import type { Readable } from 'node:stream';
import { KubeError } from './kube-client.ts';

/**
 * Reads a whole answer.
 *
 * @throws KubeError `AnswerTooLarge` above `limitBytes`, before they are in memory.
 */
export async function readAnswer(body: Readable, contentLength: string | string[] | undefined, limitBytes: number): Promise<Buffer> {
  if (Number(contentLength ?? 0) > limitBytes) throw tooLarge(body, limitBytes);
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > limitBytes) throw tooLarge(body, limitBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/**
 * Reads lines; empty ones and a last one without its end are left out. `waiting` is called before, `arrived` after each wait for bytes.
 *
 * @throws KubeError `AnswerTooLarge` for a line above `limitBytes`.
 */
export async function* readLines(body: Readable, limitBytes: number, told: { readonly waiting: () => void; readonly arrived: () => void }): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let length = 0;
  told.waiting();
  for await (const chunk of body as AsyncIterable<Buffer>) {
    told.arrived();
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]);
      if (line.length > limitBytes) throw tooLarge(body, limitBytes);
      parts = [];
      length = 0;
      start = end + 1;
      if (line.length > 0) yield line;
    }
    const rest = chunk.subarray(start);
    length += rest.length;
    if (length > limitBytes) throw tooLarge(body, limitBytes);
    if (rest.length > 0) parts.push(rest);
    told.waiting();
  }
}

const newline = 10;

function tooLarge(body: Readable, limitBytes: number): KubeError {
  body.destroy();
  return new KubeError({ status: 0, reason: 'AnswerTooLarge', message: `the API server answered more than ${limitBytes} bytes` });
}
