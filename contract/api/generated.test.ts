import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { generateApi } from '../../tools/generate-api.ts';

test('the generated files are what crds/ says', async () => {
  const root = new URL('../../', import.meta.url);
  for (const [path, text] of await generateApi(root)) expect(`${path}\n${readFileSync(new URL(path, root), 'utf8')}`).toBe(`${path}\n${text}`);
});
