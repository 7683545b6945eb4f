import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { fetchJsonOverHttps } from '../../operator/controllers/identity-provider/check-issuer.ts';
import { type Authority, createAuthority } from '../hosts/certificates.ts';

describe('fetching an issuer\'s documents', () => {
  let authority: Authority;
  let server: Server;
  let url = '';

  beforeAll(async () => {
    authority = await createAuthority();
    const pair = await authority.issue({ commonName: 'issuer', ips: ['127.0.0.1'] });
    server = createServer({ cert: pair.certificate, key: pair.key }, (request, response) => {
      if (request.url === '/moved') return void response.writeHead(302, { location: '/good' }).end();
      if (request.url === '/secret') return void response.writeHead(500).end('secret-of-the-issuer');
      if (request.url === '/text') return void response.end('secret-of-the-issuer');
      if (request.url === '/large') return void response.end(`"${'x'.repeat(300_000)}"`);
      if (request.url === '/silent') return undefined;
      return void response.end(JSON.stringify({ authorization: request.headers.authorization ?? null }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    url = `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });

  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  const fetchPath = (path: string, ca: string | null = authority.ca): Promise<unknown> => fetchJsonOverHttps(`${url}${path}`, ca, new AbortController().signal);

  test('works with the CA of the resource, and sends no credential', async () => {
    expect(await fetchPath('/good')).toEqual({ authorization: null });
  });
  test('does not trust a CA that is not the resource\'s', async () => {
    await expect(fetchPath('/good', null)).rejects.toThrow(/127\.0\.0\.1/);
    await expect(fetchPath('/good', (await createAuthority()).ca)).rejects.toThrow(/127\.0\.0\.1/);
  });
  test.each([['/moved', 'answered 302'], ['/secret', 'answered 500'], ['/text', 'sent no JSON'], ['/large', 'more than']])('%s is refused, and no message repeats what was sent', async (path, message) => {
    const error = await fetchPath(path).then(() => null, (caught: unknown) => String(caught));
    expect(error).toContain(message);
    expect(error).not.toContain('secret-of-the-issuer');
  });
  test('gives up on silence, and on being told to', async () => {
    await expect(fetchPath('/silent')).rejects.toThrow(/within 5 s/);
    const end = new AbortController();
    const asked = fetchJsonOverHttps(`${url}/silent`, authority.ca, end.signal);
    end.abort(new Error('the operator stops'));
    await expect(asked).rejects.toThrow();
  });
});
